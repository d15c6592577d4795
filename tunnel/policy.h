/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What routes and forward jobs hold strangers against: lists of prefixes, and a bit rate that all connections share.
 * And the sockets that both listen on. Pure functions over values that somebody else owns.
 * Who is refused, and what is said of it, is the caller's.
 */
#pragma once
#include <stdatomic.h>
#include "common/config.h"

/* Does the list (struct prefix) hold this address, in whatever spelling it came? An empty list holds none. */
bool prefixes_hold(const struct cfg_list *prefixes, const struct addr *a);
/* Is something of the first list in none of the second? */
bool prefixes_less(const struct cfg_list *was, const struct cfg_list *is);

/* A bucket (turn/rate.h) of one second's worth: how many of want bytes may pass now, and that n did. rate: bit/s. */
size_t bucket_room(const _Atomic uint64_t *spent_until, uint64_t rate, size_t want, uint64_t now_ms);
void bucket_take(_Atomic uint64_t *spent_until, uint64_t rate, size_t n, uint64_t now_ms);

struct port_socket_options {
	bool udp;
	bool share;  /* SO_REUSEPORT: several sockets of ours are bound there */
	bool absent; /* also an address that this machine does not have yet */
	bool single; /* UDP: whoever reads takes one datagram at a time, so the kernel joins none (UDP_GRO) */
};
/* A listening socket, whose connections have TCP_NODELAY and keep-alives; or a bound UDP one. 0 or -errno. */
int port_socket(const struct addr *at, const struct port_socket_options *o, int *ret_fd);
const char *port_socket_advice(int error); /* "; another program has this port, see: ss -lnp"; "" */
