/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's own view of this machine's sockets (sock_diag(7)): state, both ends, what waits in the queues, round-trip
 * time, retransmissions. Asked when somebody wants to see it; it costs a walk over the kernel's tables, and blocks
 * for as long. Whose a socket is, the caller finds by its inode or its ends.
 */
#pragma once
#include "common/addr.h"

struct sock_diag {
	bool udp;
	struct addr local, peer; /* peer: AF_UNSPEC of a listener */
	const char *state; /* "established", "listen", "time-wait" … */
	uint32_t recv_queue, send_queue; /* bytes; of a listener: connections that wait, and the most that may */
	uint32_t rtt_us; /* 0: not known */
	uint32_t retransmits; /* of its life */
	uint32_t lost; /* segments that are believed lost now */
	uint64_t sent, received; /* bytes acknowledged; bytes received; 0: not known */
	uint32_t inode; /* 0: of no process any more */
};
/* All TCP and UDP sockets of this network namespace that this process may see. 0, or -errno of the netlink socket. */
int sock_diag_each(void (*fn)(const struct sock_diag *s, void *arg), void *arg);
/* The inodes of this process's sockets, sorted: malloc'd, *ret_n of them. NULL without memory or /proc. */
uint32_t *sock_diag_own(size_t *ret_n);
bool sock_diag_is_own(const uint32_t *own, size_t n, uint32_t inode);
