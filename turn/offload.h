/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels in the kernel, as the protocol core sees them: which may go there, until when, and what they have
 * relayed. The edge (edge_offload.c) gets them there or does not; user space is right without it.
 *
 * A channel passes in the kernel exactly while it would here: client over UDP, no bit rate to count, the
 * channel, its permission and its allocation alive. Whatever ends one of these, ends it there in the same call.
 */
#pragma once
#include "turn/fastpath/wire.h"
#include "turn/metrics.h"

struct turn_alloc;
struct turn_channel;
struct turn_relay;
struct turn_server;

struct turn_offload_counts { /* by enum turn_way */
	uint64_t packets[2], bytes[2];
};

struct turn_offload_ops {
	/* A handle, which remove() gives back; 0: no memory. Whether it is in the kernel, why() tells. */
	uint32_t (*add)(void *edge, struct turn_relay *r, const struct fast_channel *c, uint64_t until);
	void (*until)(void *edge, uint32_t h, uint64_t until); /* on the timers' clock */
	/* What was relayed since the last call; with remove() nothing comes after it. */
	void (*take)(void *edge, uint32_t h, struct turn_offload_counts *ret_c);
	void (*remove)(void *edge, uint32_t h, struct turn_offload_counts *ret_c);
	enum fast_why (*why)(void *edge, uint32_t h);
};

void turn_offload_channel(struct turn_alloc *a, struct turn_channel *c); /* after any change of it */
void turn_offload_alloc(struct turn_alloc *a);		      /* after a change that concerns all its channels */
void turn_offload_end(struct turn_alloc *a, struct turn_channel *c);
void turn_offload_end_all(struct turn_alloc *a);
void turn_offload_end_family(struct turn_alloc *a, unsigned family); /* of peers */
void turn_offload_count(struct turn_alloc *a); /* its counters are complete now */
