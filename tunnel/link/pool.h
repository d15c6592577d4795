/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many ready carriers a server wants of an agent: enough for the next burst of a browser, few when nobody comes. No
 * I/O; the caller tells each opening and each arrival of a carrier, and asks.
 *
 * What decides is the most that was opened within the time that new carriers take to arrive: those who come later than
 * that find new ones. That peak is remembered and fades, a quarter every ten seconds in which it is not
 * reached again. One who waits is always counted on top.
 */
#pragma once
#include "common/defs.h"

enum { POOL_MIN = 2, POOL_MAX = 48, POOL_FADE_MS = 10 * 1000, POOL_SURPLUS_MS = 15 * 1000 };

struct pool {
	uint64_t window_at; /* the opens below are from here on */
	unsigned opens;
	unsigned peak;
	uint64_t peak_at; /* reached, or faded, the last time */
	uint32_t lead_ms; /* that a carrier takes from being wanted to being ready, smoothed */
	uint64_t surplus_since; /* more than wanted are ready since then; 0: not */
};
void pool_init(struct pool *p, uint64_t now);
void pool_opened(struct pool *p, uint64_t now); /* somebody takes a carrier, or begins to wait for one */
void pool_arrived(struct pool *p, uint32_t took_ms); /* one that was waited for so long */
unsigned pool_wanted(struct pool *p, uint64_t now, unsigned waiting); /* ready ones, and on their way */
/* How many of the ready ones may be closed now. */
unsigned pool_surplus(struct pool *p, uint64_t now, unsigned ready, unsigned waiting);
