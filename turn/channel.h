/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels (RFC 8656 12): a number in place of a peer's address, for 600 s from the last ChannelBind. A
 * channel needs the peer's permission, which ends after 300 s unless it is renewed: the channel
 * carries a copy of that time, so that one look-up tells the packet path all.
 */
#pragma once
#include "common/addr.h"
#include "turn/index.h"
#include "turn/refusals.h"

/* RFC 5766 11 gives clients 0x4000-0x7FFF, and turnutils_uclient still takes numbers from all of it; RFC 8656 12
 * leaves only 0x4000-0x4FFF to new ones. A server that serves both takes the elder's range. */
enum { TURN_CHANNEL_FIRST = 0x4000, TURN_CHANNEL_LAST = 0x7FFF };

struct turn_alloc;
struct turn_request;

struct turn_channel {
	struct addr peer;
	uint16_t number;
	bool own;	    /* as in struct turn_permission */
	uint32_t hash;	    /* of peer */
	uint32_t offload;   /* handle of turn/offload.h; 0: not in the kernel */
	uint64_t expires;
	uint64_t permitted; /* until then the peer has a permission */
};
struct turn_channels {
	struct turn_channel *v;
	uint16_t n, cap;
	uint16_t recent; /* the last one that was found, by either way: a run asks for it again; may be >= n */
	struct turn_index by_number, by_peer;
};

void turn_channels_deinit(struct turn_alloc *a);
/* NULL: never bound, or expired. Whether the permission lives is the caller's question. */
const struct turn_channel *turn_channel_by_number(struct turn_alloc *a, uint16_t number, uint64_t now);
const struct turn_channel *turn_channel_by_peer(struct turn_alloc *a, const struct addr *peer, uint64_t now);
void turn_channels_forget(struct turn_alloc *a, unsigned family); /* those with its peers */
unsigned turn_channels_count(const struct turn_alloc *a, uint64_t now);
/* The permission of this address now lasts until then. */
void turn_channels_permit(struct turn_alloc *a, const struct addr *peer, bool own, uint64_t until);
/* Binds or prolongs, with the permission. */
enum turn_refusal turn_channel_bind(struct turn_request *q, uint16_t number, const struct addr *peer, bool own);
