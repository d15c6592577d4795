/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channels that are in the kernel, or could be: one slot each, given out and taken back, and two rules
 * made of its addresses and of where its packets go now. An owner is the connection that asked for it.
 * Main loop of stile-fastpath only; what goes wrong with one channel is a reason, never an error.
 */
#pragma once
#include "turn/fastpath/kernel.h"
#include "turn/fastpath/routes.h"
#include "turn/fastpath/wire.h"

struct fast_channels;
struct fast_channels *fast_channels_new(struct fast_kernel *k, struct fast_routes *r); /* NULL: no memory */
struct fast_channels *fast_channels_free(struct fast_channels *cs);

/* Gives it a slot, but perhaps no rules yet, for this reason; or FAST_NO_SLOT, with FAST_WHY_FULL or FAST_WHY_BAD. */
enum fast_why fast_channels_add(struct fast_channels *cs, const struct fast_channel *c, const void *owner,
				uint32_t *ret_slot, uint32_t *ret_generation);
bool fast_channels_remove(struct fast_channels *cs, const void *owner, uint32_t slot, uint32_t generation);
void fast_channels_drop(struct fast_channels *cs, const void *owner); /* all of its */
void fast_channels_refresh(struct fast_channels *cs, unsigned n); /* the next n slots: their ways are asked anew */
void fast_channels_refresh_all(struct fast_channels *cs);

/* A channel of this owner whose state it was not told: false if there is none. The caller tells it. */
bool fast_channels_news(struct fast_channels *cs, const void *owner, struct fast_msg *ret_state);
struct fast_channels_count {
	unsigned slots, used, offloaded;
};
struct fast_channels_count fast_channels_count(const struct fast_channels *cs);
