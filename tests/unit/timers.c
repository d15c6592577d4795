/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timer wheel (common/timers.h) on fake time: order, jumps of days, callbacks that stop, free
 * and set any timer, late deadlines; and at random against a naive model, an array that is searched
 * for what should have come first.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "common/timers.h"

#define DAY UINT64_C(86400000)

struct probe {
	struct timer t;
	int name;
	struct timers *ts;
	struct probe *other; /* for callbacks that touch another timer */
	uint64_t again;	     /* what a callback sets next */
};

static int fired[64];
static size_t n_fired;
static uint64_t fired_at;

static void note(struct timer *t, uint64_t now)
{
	assert_false(timer_is_set(t)); /* already unlinked: it may be set or freed */
	fired_at = now;
	assert_true(n_fired < ARRAY_LEN(fired));
	fired[n_fired++] = container_of(t, struct probe, t)->name;
}

static void expect(size_t n, const int *names)
{
	assert_int_equal(n_fired, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(fired[i], names[i]);
	n_fired = 0;
}
#define EXPECT(...) expect(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int), (int[]){ __VA_ARGS__ })
#define EXPECT_NONE() expect(0, NULL)

static struct probe probe(int name, void (*fire)(struct timer *, uint64_t))
{
	n_fired = 0;
	return (struct probe){ .t = { .fire = fire }, .name = name };
}

static void a_timer_fires_at_its_deadline_and_never_early(void **state)
{
	struct timers *ts = timers_new(1000);
	struct probe a = probe(1, note);
	(void)state;
	timers_set(ts, &a.t, 1500);
	assert_true(timer_is_set(&a.t));
	timers_run(ts, 1499);
	EXPECT_NONE();
	timers_run(ts, 1500);
	EXPECT(1);
	assert_int_equal(fired_at, 1500);
	assert_false(timer_is_set(&a.t));
	timers_run(ts, 99999);
	EXPECT_NONE();
	timers_free(ts);
}

static void deadlines_decide_the_order_and_equal_ones_keep_it(void **state)
{
	struct timers *ts = timers_new(0);
	struct probe p[8];
	static const uint64_t at[8] = { 5000, 70, 5000, 1, 70, 4999, 5000, 64 };
	(void)state;
	for (int i = 0; i < 8; i++) {
		p[i] = probe(i, note);
		timers_set(ts, &p[i].t, at[i]);
	}
	timers_run(ts, 10000);
	EXPECT(3, 7, 1, 4, 5, 0, 2, 6);
	timers_free(ts);
}

static void equal_deadlines_set_from_near_and_far_keep_their_order(void **state)
{
	struct timers *ts = timers_new(0);
	struct probe p[6];
	static const uint64_t set_at[6] = { 0, 100, 262000, 262143, 262145, 262199 };
	(void)state;
	for (int i = 0; i < 6; i++) {
		p[i] = probe(i, note);
		timers_run(ts, set_at[i]); /* the same deadline begins at another level each time */
		timers_set(ts, &p[i].t, 262200);
	}
	timers_run(ts, 262199);
	EXPECT_NONE();
	timers_run(ts, 262200);
	EXPECT(0, 1, 2, 3, 4, 5);
	timers_free(ts);
}

static void resetting_moves_and_stopping_prevents(void **state)
{
	struct timers *ts = timers_new(0);
	struct probe a = probe(1, note), b = probe(2, note), c = probe(3, note);
	(void)state;
	timers_set(ts, &a.t, 10);
	timers_set(ts, &b.t, 20);
	timers_set(ts, &c.t, 30);
	timers_set(ts, &a.t, 30); /* now behind c, which was set earlier */
	timer_stop(&b.t);
	timer_stop(&b.t);
	assert_false(timer_is_set(&b.t));
	timers_run(ts, 29);
	EXPECT_NONE();
	timers_run(ts, 30);
	EXPECT(3, 1);
	timers_free(ts);
}

static void stopping_a_zeroed_timer_is_harmless(void **state)
{
	struct probe a = { 0 };
	(void)state;
	assert_false(timer_is_set(&a.t));
	timer_stop(&a.t);
	assert_false(timer_is_set(&a.t));
}

static void a_deadline_in_the_past_is_due_at_the_next_run(void **state)
{
	struct timers *ts = timers_new(1000);
	struct probe a = probe(1, note), b = probe(2, note);
	(void)state;
	timers_set(ts, &a.t, 3);
	timers_set(ts, &b.t, 1000);
	assert_true(timers_next(ts) <= 1000);
	timers_run(ts, 1000);
	EXPECT(1, 2);
	assert_true(timers_next(ts) == TIMERS_NEVER);
	timers_free(ts);
}

static void never_means_never(void **state)
{
	struct timers *ts = timers_new(0);
	struct probe a = probe(1, note);
	(void)state;
	timers_set(ts, &a.t, 5);
	timers_set(ts, &a.t, TIMERS_NEVER);
	assert_false(timer_is_set(&a.t));
	assert_true(timers_next(ts) == TIMERS_NEVER);
	timers_run(ts, UINT64_MAX);
	EXPECT_NONE();
	timers_free(ts);
}

static void time_may_jump_by_days_and_to_the_end_of_the_clock(void **state)
{
	struct timers *ts = timers_new(7);
	struct probe p[5];
	static const uint64_t at[5] = { 400 * DAY, DAY, UINT64_MAX - 1, 30 * DAY, UINT64_C(1) << 63 };
	(void)state;
	for (int i = 0; i < 5; i++) {
		p[i] = probe(i, note);
		timers_set(ts, &p[i].t, at[i]);
	}
	timers_run(ts, DAY - 1);
	EXPECT_NONE();
	timers_run(ts, 31 * DAY);
	EXPECT(1, 3);
	timers_run(ts, 400 * DAY - 1);
	EXPECT_NONE();
	timers_run(ts, 400 * DAY);
	EXPECT(0);
	timers_run(ts, UINT64_MAX - 2);
	EXPECT(4);
	timers_run(ts, UINT64_MAX - 1);
	EXPECT(2);
	timers_free(ts);
}

static void a_clock_that_goes_back_fires_nothing_early(void **state)
{
	struct timers *ts = timers_new(1000);
	struct probe a = probe(1, note);
	(void)state;
	timers_set(ts, &a.t, 1100);
	timers_run(ts, 5);
	EXPECT_NONE();
	timers_run(ts, 1099);
	EXPECT_NONE();
	timers_run(ts, 1100);
	EXPECT(1);
	timers_free(ts);
}

static void stop_other(struct timer *t, uint64_t now)
{
	note(t, now);
	timer_stop(&container_of(t, struct probe, t)->other->t);
}

static void wipe_other(struct timer *t, uint64_t now)
{
	struct probe *other = container_of(t, struct probe, t)->other;
	note(t, now);
	timer_stop(&other->t);
	free(other);
}

static void wipe_self(struct timer *t, uint64_t now)
{
	note(t, now);
	free(container_of(t, struct probe, t));
}

static void set_other(struct timer *t, uint64_t now)
{
	struct probe *p = container_of(t, struct probe, t);
	note(t, now);
	timers_set(p->ts, &p->other->t, p->again);
}

static void callbacks_may_stop_and_free_timers_due_in_the_same_run(void **state)
{
	struct timers *ts = timers_new(0);
	struct probe a = probe(1, stop_other), b = probe(2, note), c = probe(3, wipe_other),
		     e = probe(6, note);
	struct probe *d = malloc(sizeof *d), *f = malloc(sizeof *f);
	(void)state;
	assert_non_null(d);
	assert_non_null(f);
	*d = probe(4, note);
	*f = probe(5, wipe_self);
	a.other = &b;
	c.other = d;
	timers_set(ts, &a.t, 10);
	timers_set(ts, &b.t, 10); /* the very next in the same slot */
	timers_set(ts, &c.t, 11);
	timers_set(ts, &d->t, 5000); /* another level, same run */
	timers_set(ts, &f->t, 11);
	timers_set(ts, &e.t, 11);
	timers_run(ts, 6000);
	EXPECT(1, 3, 5, 6);
	timers_free(ts);
}

static void a_callback_may_stop_the_rest_of_the_late_ones(void **state)
{
	struct timers *ts = timers_new(100);
	struct probe a = probe(1, stop_other), b = probe(2, note);
	(void)state;
	a.other = &b;
	timers_set(ts, &a.t, 50);
	timers_set(ts, &b.t, 50);
	timers_run(ts, 100);
	EXPECT(1);
	assert_true(timers_next(ts) == TIMERS_NEVER);
	timers_free(ts);
}

static void a_callback_may_move_another_forward_into_this_run_or_out_of_it(void **state)
{
	struct timers *ts = timers_new(0);
	struct probe a = probe(1, set_other), b = probe(2, note), c = probe(3, set_other),
		     d = probe(4, note);
	(void)state;
	a.ts = c.ts = ts;
	a.other = &b;
	a.again = 300;
	c.other = &d;
	c.again = 900;
	timers_set(ts, &b.t, 9999); /* a brings it into this run */
	timers_set(ts, &d.t, 200);  /* c takes it out */
	timers_set(ts, &a.t, 10);
	timers_set(ts, &c.t, 20);
	timers_run(ts, 500);
	EXPECT(1, 3, 2);
	timers_run(ts, 900);
	EXPECT(4);
	timers_free(ts);
}

static void again_now_does_not_keep_a_run_from_ending(void **state)
{
	struct timers *ts = timers_new(0);
	struct probe a = probe(1, set_other);
	(void)state;
	a.ts = ts;
	a.other = &a; /* sets itself to a moment that has passed */
	a.again = 5;
	timers_set(ts, &a.t, 10);
	timers_run(ts, 10);
	EXPECT(1);
	assert_true(timers_next(ts) <= 10);
	timers_run(ts, 10);
	EXPECT(1);
	timer_stop(&a.t);
	timers_run(ts, 10);
	EXPECT_NONE();
	timers_free(ts);
}

static void the_next_run_is_never_too_late_and_soon_exact(void **state)
{
	struct timers *ts = timers_new(12345);
	struct probe a = probe(1, note);
	uint64_t next;
	int wakeups = 0;
	(void)state;
	assert_true(timers_next(ts) == TIMERS_NEVER);
	timers_set(ts, &a.t, 12345 + 7 * DAY);
	while ((next = timers_next(ts)) != TIMERS_NEVER) {
		assert_true(next <= 12345 + 7 * DAY);
		timers_run(ts, next);
		assert_true(++wakeups < 12); /* one for each level at most */
	}
	EXPECT(1);
	assert_int_equal(fired_at, 12345 + 7 * DAY);
	timers_set(ts, &a.t, fired_at + 1000);
	timer_stop(&a.t);
	assert_true(timers_next(ts) == TIMERS_NEVER); /* a stopped timer wakes nobody */
	timers_free(ts);
}

static void timers_outlive_their_wheel(void **state)
{
	struct timers *ts = timers_new(0);
	struct probe a = probe(1, note), b = probe(2, note);
	(void)state;
	timers_set(ts, &a.t, 100000);
	timers_set(ts, &b.t, 0);
	timers_free(ts);
	assert_false(timer_is_set(&a.t));
	timer_stop(&a.t);
	timer_stop(&b.t);
	assert_null(timers_free(NULL));
}

/* The naive model: an array. A timer set for a moment that had passed counts from the position
 * of then and waits for the next run; everything else fires by deadline, then by the order of
 * setting. */
enum { N_MODEL = 200 };
static struct model {
	struct timer t;
	bool set;
	uint64_t deadline, order;
	uint64_t first_run; /* the run that may fire it */
} model[N_MODEL];
static struct timers *model_ts;
static uint64_t rnd, model_order, model_fired, model_postponed, model_position, model_run;
static bool model_running;

static uint64_t next_random(void)
{
	rnd ^= rnd << 13, rnd ^= rnd >> 7, rnd ^= rnd << 17;
	return rnd >> 11;
}

static unsigned random_below(unsigned n)
{
	return (unsigned)(next_random() % n);
}

static void model_set(struct model *m, uint64_t deadline)
{
	bool passed = deadline <= model_position;
	m->set = true;
	m->deadline = MAX(deadline, model_position);
	m->order = model_order++;
	m->first_run = model_run + (passed || !model_running);
	model_postponed += passed && model_running;
	timers_set(model_ts, &m->t, deadline);
}

static void random_touch(uint64_t now)
{
	struct model *m = &model[random_below(N_MODEL)];
	/* near and far, on and beside the edges of the levels, sometimes in the past */
	unsigned bits = random_below(34);
	uint64_t delta = next_random() & ((UINT64_C(1) << bits) - 1);
	if (random_below(4) == 0) {
		m->set = false;
		timer_stop(&m->t);
	} else if (random_below(8) == 0) {
		model_set(m, now - MIN(now, delta));
	} else {
		model_set(m, now + delta);
	}
}

static void model_fire(struct timer *t, uint64_t now)
{
	struct model *m = container_of(t, struct model, t);
	assert_true(m->set && m->deadline <= now && m->first_run <= model_run);
	for (size_t i = 0; i < N_MODEL; i++) { /* nothing that is set should have come before it */
		const struct model *o = &model[i];
		if (o == m || !o->set || o->first_run > model_run)
			continue;
		assert_false(o->deadline < m->deadline);
		assert_false(o->deadline == m->deadline && o->order < m->order);
	}
	m->set = false;
	model_fired++;
	model_position = MAX(model_position, m->deadline);
	for (unsigned n = random_below(3); n > 0; n--)
		random_touch(random_below(4) == 0 ? now : m->deadline);
}

static void random_run(uint64_t seed)
{
	uint64_t now = 1000;
	rnd = seed;
	model_position = now;
	model_ts = timers_new(now);
	for (size_t i = 0; i < N_MODEL; i++)
		model[i] = (struct model){ .t = { .fire = model_fire } };
	for (int step = 0; step < 10000; step++) {
		for (unsigned n = random_below(4); n > 0; n--)
			random_touch(now);
		now += next_random() & ((UINT64_C(1) << random_below(26)) - 1);
		uint64_t next = timers_next(model_ts);
		for (size_t i = 0; i < N_MODEL; i++) {
			assert_int_equal(model[i].set, timer_is_set(&model[i].t));
			assert_true(!model[i].set || next <= MAX(model[i].deadline, model_position));
		}
		model_running = true;
		model_run++;
		timers_run(model_ts, now);
		model_running = false;
		model_position = now;
		for (size_t i = 0; i < N_MODEL; i++) /* all that was due is gone */
			assert_false(model[i].set && model[i].deadline <= now &&
				     model[i].first_run <= model_run);
	}
	timers_free(model_ts);
}

static void random_runs_agree_with_a_naive_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++)
		random_run(seed * UINT64_C(0x9e3779b97f4a7c15));
	assert_true(model_fired > 50000);
	assert_true(model_postponed > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_timer_fires_at_its_deadline_and_never_early),
		cmocka_unit_test(deadlines_decide_the_order_and_equal_ones_keep_it),
		cmocka_unit_test(equal_deadlines_set_from_near_and_far_keep_their_order),
		cmocka_unit_test(resetting_moves_and_stopping_prevents),
		cmocka_unit_test(stopping_a_zeroed_timer_is_harmless),
		cmocka_unit_test(a_deadline_in_the_past_is_due_at_the_next_run),
		cmocka_unit_test(never_means_never),
		cmocka_unit_test(time_may_jump_by_days_and_to_the_end_of_the_clock),
		cmocka_unit_test(a_clock_that_goes_back_fires_nothing_early),
		cmocka_unit_test(callbacks_may_stop_and_free_timers_due_in_the_same_run),
		cmocka_unit_test(a_callback_may_stop_the_rest_of_the_late_ones),
		cmocka_unit_test(a_callback_may_move_another_forward_into_this_run_or_out_of_it),
		cmocka_unit_test(again_now_does_not_keep_a_run_from_ending),
		cmocka_unit_test(the_next_run_is_never_too_late_and_soon_exact),
		cmocka_unit_test(timers_outlive_their_wheel),
		cmocka_unit_test(random_runs_agree_with_a_naive_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
