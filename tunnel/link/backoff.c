/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doubling with a random part of half: a wait of n ms is between n/2 and n. What the other side asks for is prolonged by up
 * to a fifth instead, because it asks all alike. Nothing here looks at a clock or draws a random number: both are
 * given.
 */
#include "tunnel/link/backoff.h"

uint32_t backoff_failed(struct backoff *b, uint64_t now, uint32_t at_least_ms, uint32_t random)
{
	uint32_t most, wait;

	if (!b->since)
		b->since = MAX(now, (uint64_t)1);
	b->failures++;
	most = now - b->since < BACKOFF_EARLY_MS ? BACKOFF_EARLY_MAX_MS : BACKOFF_MAX_MS;
	b->next_ms = b->next_ms ? MIN(b->next_ms * 2, most) : (uint32_t)BACKOFF_FIRST_MS;
	wait = b->next_ms - (uint32_t)((uint64_t)b->next_ms / 2 * (random & 0xffff) >> 16);
	if (at_least_ms)
		wait = MAX(wait,
			   at_least_ms +
				   (uint32_t)((uint64_t)at_least_ms / 5 * (random & 0xffff) >> 16));
	return wait;
}

void backoff_reset(struct backoff *b)
{
	*b = (struct backoff){ 0 };
}
