/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses of NAT behaviour discovery (RFC 5780 6): two addresses with the same two ports each, found
 * among the UDP listeners, one set per family. Made once before the workers start and only read after
 * that, so all of them share it. No I/O: answering from another address is the transport's reply_from().
 */
#pragma once
#include "turn/config.h"

struct turn_discovery_set {
	struct addr at[2][2]; /* [address][port], as bound; clients are told turn_public_address() of them */
};
struct turn_discovery {
	struct turn_discovery_set set[2];
	unsigned n;
};

/* The first set of each family among these listeners. */
void turn_discovery_find(struct turn_discovery *d, const struct addr *udp, size_t n);
/* The set that a listener belongs to, and its place there; NULL: it is in none. */
const struct turn_discovery_set *turn_discovery_set_of(const struct turn_discovery *d, const struct addr *local,
						       unsigned *ret_ip, unsigned *ret_port);
