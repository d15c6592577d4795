/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two packet paths share: turn/relay_data.c, a datagram at a time, and turn/relay_run.c, a run of
 * them at once.
 * Nobody else includes it.
 */
#pragma once
#include "turn/alloc.h"

enum { TURN_CHANNEL_HEAD = 4, TURN_UDP_MAX = 65507 };

/* n: bytes of payload. */
static inline void turn_count_relayed(struct turn_alloc *a, enum turn_way way, unsigned packets, size_t n)
{
	a->packets[way] += packets;
	a->bytes[way] += n;
	turn_count(a->server, TURN_M_PACKETS, way, packets);
	turn_count(a->server, TURN_M_BYTES, way, (int64_t)n);
	if (a->server->by_realm)
		turn_count(a->server, TURN_M_REALM_BYTES, a->realm, (int64_t)n);
}

/* RFC 8656 14: a relay is a hop. False: the packet has made its last one. */
static inline bool turn_hop(struct dgram_mark *m)
{
	if (m->ttl < 0)
		return true;
	return --m->ttl > 0;
}
