/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a lost connection is tried again: soon at first, then less and less often, each time with a random part, so that
 * hundreds of agents do not come back together. For two minutes no wait is longer than 5 s, because most
 * outages are a restart; after that up to 30 s. The other side may ask for more patience.
 */
#pragma once
#include "common/defs.h"

enum {
	BACKOFF_FIRST_MS = 300,
	BACKOFF_EARLY_MAX_MS = 5000,
	BACKOFF_MAX_MS = 30 * 1000,
	BACKOFF_EARLY_MS = 120 * 1000
};

struct backoff {
	uint64_t since; /* of the first failure; 0: none */
	uint32_t next_ms;
	unsigned failures;
};
/* A failure: ms to wait. at_least_ms: what the other side asked for, 0 if nothing. random: any 32 bits. */
uint32_t backoff_failed(struct backoff *b, uint64_t now, uint32_t at_least_ms, uint32_t random);
void backoff_reset(struct backoff *b); /* it is well again, or the network has changed */
