/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hierarchical timer wheel in milliseconds, on whatever clock the caller feeds it: the loop's
 * monotonic clock, or a test's fake time. Setting, resetting and stopping are O(1). Timers fire
 * in the order of their deadlines (equal deadlines in the order they were set), never early.
 *
 * A struct timer lives inside its owner, who stops it before it dies. A callback may set, stop or
 * free any timer, its own included.
 */
#pragma once
#include "common/list.h"

#define TIMERS_NEVER UINT64_MAX

struct timer {
	struct list node;
	uint64_t deadline; /* ms; meaningful while linked */
	void (*fire)(struct timer *t, uint64_t now);
};

struct timers; /* one per loop */

struct timers *timers_new(uint64_t now);
struct timers *timers_free(struct timers *ts);
void timers_set(struct timers *ts, struct timer *t, uint64_t deadline); /* resets if already set */
void timer_stop(struct timer *t);
static inline bool timer_is_set(const struct timer *t)
{
	return t->node.next && t->node.next != &t->node;
}
/* Fires all that is due at now; now never goes back. */
void timers_run(struct timers *ts, uint64_t now);
/* The time at which timers_run should next be called: a lower bound that is never late. */
uint64_t timers_next(const struct timers *ts);
DEFINE_CLEANUP(struct timers, timers_free)
