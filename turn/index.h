/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small open-addressing index over an array: the hash of a key finds positions, the item there
 * confirms. The array owns the items; here are only 16-bit positions, so an allocation with one
 * permission and one channel spends a few dozen bytes on it. Items are never removed one by one: who
 * compacts the array fills the index again, and the next probe finds nothing stale.
 *
 *   for (uint32_t at = hash, pos; (pos = turn_index_at(x, at)) != 0; at++)
 *           if (items[pos - 1] is it) …
 */
#pragma once
#include <errno.h>
#include <string.h>
#include "common/defs.h"

enum { TURN_INDEX_MAX = 32767 }; /* items */

struct turn_index {
	uint16_t *slots; /* position + 1; 0: free */
	uint32_t n_slots; /* a power of two, at least twice the items; or 0 */
};

static inline uint32_t turn_index_at(const struct turn_index *x, uint32_t at)
{
	return x->n_slots ? x->slots[at & (x->n_slots - 1)] : 0;
}

static inline void turn_index_put(struct turn_index *x, uint32_t hash, uint32_t pos)
{
	while (turn_index_at(x, hash) != 0)
		hash++;
	x->slots[hash & (x->n_slots - 1)] = (uint16_t)(pos + 1);
}

static inline void turn_index_clear(struct turn_index *x)
{
	if (x->slots)
		memset(x->slots, 0, x->n_slots * sizeof *x->slots);
}

/* Room for n items. 1: the index is empty now and must be filled again; 0: nothing changed; -ENOMEM. */
static inline int turn_index_reserve(struct turn_index *x, uint32_t n)
{
	uint32_t want = MAX(x->n_slots, 4u);

	while (want < 2 * n)
		want *= 2;
	if (want == x->n_slots)
		return 0;
	uint16_t *slots = calloc(want, sizeof *slots);
	if (!slots)
		return -ENOMEM;
	free(x->slots);
	*x = (struct turn_index){ .slots = slots, .n_slots = want };
	return 1;
}

static inline void turn_index_deinit(struct turn_index *x)
{
	free(x->slots);
	*x = (struct turn_index){ 0 };
}
