/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which socket of a SO_REUSEPORT group gets a client: a classic BPF program that maps source
 * address and port to a position in the group, so that the choice depends on nothing but the
 * client and the group's size (the kernel's own choice also moves with every bind and close).
 */
#pragma once
#include <sys/socket.h>
#include "common/addr.h"

/* fd: any socket of the group, which the other n - 1 may join later: their order of binding is their position. The
 * kernel chooses for itself when the one at the position is not there yet.
 * 0 or -errno. A group of one needs none and is left alone. */
int reuseport_steer(int fd, sa_family_t family, unsigned n);
/* A group of UDP sockets with n for each kind of datagram, all of the first kind first: kind is code that leaves a
 * number in the accumulator. It sees the payload from offset 0, and its length; it must end at its end. */
struct sock_filter;
int reuseport_steer_by(int fd, sa_family_t family, unsigned n, const struct sock_filter *kind, size_t n_kind);
/* The position that the program chooses for this client among n, of each kind. */
unsigned reuseport_position(const struct addr *client, unsigned n);
/* Whether nobody has this port (type: SOCK_STREAM or SOCK_DGRAM): with SO_REUSEPORT one that another socket of our user
 * has would be shared, not refused. It is bound without, as a question; nobody is let in. 0, -EADDRINUSE or other -errno. */
int reuseport_probe(int type, const struct addr *at);
