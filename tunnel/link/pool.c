/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of the pool of ready carriers. A carrier takes three round trips and more to be made (TCP, TLS, HELLO and
 * its answer), so the lead is measured and not guessed; until then a slow line is assumed. Surplus carriers are
 * not closed all at once, for those who came together may come together again.
 */
#include "tunnel/link/pool.h"

enum { LEAD_FIRST_MS = 400, LEAD_MIN_MS = 100, LEAD_MAX_MS = 3000 };

void pool_init(struct pool *p, uint64_t now)
{
	*p = (struct pool){ .window_at = now, .peak_at = now, .lead_ms = LEAD_FIRST_MS };
}

static void fade(struct pool *p, uint64_t now)
{
	while (p->peak && now - p->peak_at >= POOL_FADE_MS) {
		p->peak -= MAX(p->peak / 4, 1u);
		p->peak_at += POOL_FADE_MS;
	}
}

void pool_opened(struct pool *p, uint64_t now)
{
	fade(p, now);
	if (now - p->window_at > p->lead_ms) {
		p->window_at = now;
		p->opens = 0;
	}
	p->opens++;
	if (p->opens >= p->peak) {
		p->peak = MIN(p->opens, (unsigned)POOL_MAX);
		p->peak_at = now;
	}
}

void pool_arrived(struct pool *p, uint32_t took_ms)
{
	uint32_t took = MAX((uint32_t)LEAD_MIN_MS, MIN(took_ms, (uint32_t)LEAD_MAX_MS));

	p->lead_ms = (p->lead_ms * 3 + took) / 4;
}

unsigned pool_wanted(struct pool *p, uint64_t now, unsigned waiting)
{
	fade(p, now);
	return MIN(POOL_MIN + p->peak + waiting, (unsigned)POOL_MAX + waiting);
}

unsigned pool_surplus(struct pool *p, uint64_t now, unsigned ready, unsigned waiting)
{
	unsigned wanted = pool_wanted(p, now, waiting);

	if (ready <= wanted) {
		p->surplus_since = 0;
		return 0;
	}
	if (!p->surplus_since)
		p->surplus_since = MAX(now, (uint64_t)1);
	/* One in four at a time: those who came by thirties may come again. */
	return now - p->surplus_since >= POOL_SURPLUS_MS ? MAX((ready - wanted) / 4, 1u) : 0;
}
