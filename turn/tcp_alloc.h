/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP allocations (RFC 6062): the relay socket listens, and a connection to or from a peer waits for the client
 * to bind a data connection of its own to it. This is the core's side: who may connect, ids and their
 * 30 seconds, answers. The edge has the sockets (struct turn_flow) and moves the bytes, once both ends are there.
 *
 * A peer connection belongs to its allocation and dies with it. Its id carries the number of the
 * worker that has the allocation: a data connection that was accepted elsewhere is sent there.
 */
#pragma once
#include "turn/metrics.h"
#include "turn/server.h"

struct turn_request;
struct turn_tcp; /* a peer connection */

enum { TURN_TCP_WAIT_MS = 30000, TURN_TCP_MAX = 64 /* of one allocation */ };

/* The edge's events. */
void turn_tcp_connected(struct turn_tcp *t, int err, uint64_t now); /* 0, or positive errno: then t is gone */
/* A peer came to the relay address. False: it is not wanted, and f is still the edge's. */
bool turn_tcp_accepted(struct turn_alloc *a, const struct addr *peer, struct turn_flow *f, uint64_t now);
void turn_tcp_closed(struct turn_tcp *t); /* one of the two ends is gone; f is the edge's to free */
/* Those of an allocation, one after the other; before may be ended once the next is known. NULL: no more. */
struct turn_tcp *turn_tcp_next(struct turn_alloc *a, struct turn_tcp *before, struct addr *ret_peer);
void turn_tcp_revoke(struct turn_tcp *t, uint64_t now); /* its peer is not allowed any more: both ends are cut */
/* How many of n bytes may pass now, by the bit rates; counted. */
size_t turn_tcp_pass(struct turn_tcp *t, enum turn_way way, size_t n, uint64_t now);
