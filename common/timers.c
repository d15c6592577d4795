/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timer wheel. Eleven levels of 64 slots cover all 64 bits of a millisecond clock, so there is
 * no horizon and no overflow list.
 *
 * A timer waits at the level of the highest group of six bits in which its deadline differs from
 * the wheel's position; its slot is that group's value. So every slot of level 0 is one
 * millisecond, every timer of level N is due before every timer of level N+1, and the next slot is
 * found in one bitmap per level. When the position enters a slot of a higher level, its timers move
 * down, in order, before anything else can be set there: that keeps equal deadlines in the order in
 * which they were set.
 *
 * A deadline that the position has reached already goes to the `late` list, which the next run
 * fires first. That is also where a callback's "again, now" goes, so that every run ends.
 *
 * A timer is stopped without the wheel at hand, so a bit may be set for a slot that has become
 * empty: the bitmaps are hints, the lists are the truth. The wheel owns no timer.
 */
#include "common/timers.h"

enum { LEVEL_BITS = 6, SLOTS = 1 << LEVEL_BITS, LEVELS = 11 };

struct timers {
	uint64_t position; /* all that is due up to here has been fired, except `late` */
	struct list late;
	uint64_t used[LEVELS]; /* bit per slot; may be set for an empty one */
	struct list slots[LEVELS][SLOTS];
};

struct slot_at {
	unsigned level, index;
	uint64_t start; /* first millisecond that it covers */
};

struct timers *timers_new(uint64_t now)
{
	struct timers *ts = malloc(sizeof(*ts));
	if (!ts)
		return NULL;
	ts->position = now;
	list_init(&ts->late);
	for (unsigned level = 0; level < LEVELS; level++) {
		ts->used[level] = 0;
		for (unsigned i = 0; i < SLOTS; i++)
			list_init(&ts->slots[level][i]);
	}
	return ts;
}

static void unlink_all(struct list *l)
{
	while (!list_empty(l))
		list_unlink(l->next);
}

struct timers *timers_free(struct timers *ts)
{
	if (!ts)
		return NULL;
	/* Owners may outlive the wheel and stop their timers later: leave none pointing into it. */
	unlink_all(&ts->late);
	for (unsigned level = 0; level < LEVELS; level++)
		for (unsigned i = 0; i < SLOTS; i++)
			unlink_all(&ts->slots[level][i]);
	free(ts);
	return NULL;
}

static void place(struct timers *ts, struct timer *t)
{
	uint64_t differs = (t->deadline ^ ts->position) | 1; /* never 0: clz is undefined for it */
	unsigned level = (63 - (unsigned)__builtin_clzll(differs)) / LEVEL_BITS;
	unsigned index = (t->deadline >> (level * LEVEL_BITS)) % SLOTS;
	list_append(&ts->slots[level][index], &t->node);
	ts->used[level] |= UINT64_C(1) << index;
}

void timers_set(struct timers *ts, struct timer *t, uint64_t deadline)
{
	list_unlink(&t->node);
	t->deadline = deadline;
	if (deadline == TIMERS_NEVER)
		return;
	if (deadline <= ts->position)
		list_append(&ts->late, &t->node);
	else
		place(ts, t);
}

void timer_stop(struct timer *t)
{
	list_unlink(&t->node);
}

/* The position's bits above this level, the slot's, and zeroes below. */
static uint64_t slot_start(const struct timers *ts, unsigned level, unsigned index)
{
	unsigned shift = level * LEVEL_BITS;
	uint64_t above = shift + LEVEL_BITS < 64 ? ts->position >> (shift + LEVEL_BITS) : 0;
	return (above << LEVEL_BITS | index) << shift;
}

/* The slot whose timers are due first. Each timer in it is due at its start or later, and no timer
 * elsewhere before its end. */
static bool first_slot(const struct timers *ts, struct slot_at *ret_at)
{
	for (unsigned level = 0; level < LEVELS; level++) {
		for (uint64_t bits = ts->used[level]; bits; bits &= bits - 1) {
			unsigned index = (unsigned)__builtin_ctzll(bits);
			if (list_empty(&ts->slots[level][index]))
				continue;
			*ret_at = (struct slot_at){ level, index, slot_start(ts, level, index) };
			return true;
		}
	}
	return false;
}

static void fire_all(struct list *due, uint64_t now)
{
	while (!list_empty(due)) {
		struct timer *t = list_entry(due->next, struct timer, node);
		list_unlink(&t->node);
		t->fire(t, now);
	}
}

/* Takes all that is linked in *from over to *to, an uninitialised head. */
static void take_all(struct list *from, struct list *to)
{
	list_init(to);
	if (list_empty(from))
		return;
	*to = *from;
	to->next->prev = to->prev->next = to;
	list_init(from);
}

void timers_run(struct timers *ts, uint64_t now)
{
	struct list due;
	struct slot_at at;
	now = MAX(now, ts->position);
	take_all(&ts->late, &due);
	fire_all(&due, now);
	while (first_slot(ts, &at) && at.start <= now) {
		struct list *slot = &ts->slots[at.level][at.index];
		ts->position = at.start;
		ts->used[at.level] &= ~(UINT64_C(1) << at.index);
		take_all(slot, &due);
		if (at.level == 0)
			fire_all(&due, now);
		while (!list_empty(&due)) { /* one level or more down, in their order */
			struct timer *t = list_entry(due.next, struct timer, node);
			list_unlink(&t->node);
			place(ts, t);
		}
	}
	ts->position = now;
}

uint64_t timers_next(const struct timers *ts)
{
	struct slot_at at;
	if (!list_empty(&ts->late))
		return ts->position;
	return first_slot(ts, &at) ? at.start : TIMERS_NEVER;
}
