/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link's decisions about time, on fake time: keep-alive, what a NAT tolerates, how many ready carriers are wanted,
 * and when a lost connection is tried again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tunnel/link/backoff.h"
#include "tunnel/link/keepalive.h"
#include "tunnel/link/pool.h"

static void a_silent_link_is_asked_and_a_dead_one_found_within_seconds(void **state)
{
	struct keepalive k;
	uint64_t cookie;

	(void)state;
	keepalive_init(&k, 1000, KEEPALIVE_CONTROL_MS, 0);
	assert_int_equal(keepalive_due(&k, 5999), KEEPALIVE_WELL);
	assert_int_equal(keepalive_next(&k), 6000);
	assert_int_equal(keepalive_due(&k, 6000), KEEPALIVE_PING);
	cookie = keepalive_asked(&k, 6000, 6000000, 0);
	assert_int_equal(keepalive_due(&k, 8999), KEEPALIVE_WELL);
	assert_int_equal(keepalive_due(&k, 9000), KEEPALIVE_DEAD);
	keepalive_heard(&k, 6100);
	assert_true(keepalive_answered(&k, cookie, 6100000));
	assert_int_equal(k.rtt_us, 100000);
	assert_int_equal(keepalive_due(&k, 9000), KEEPALIVE_WELL);
	assert_int_equal(keepalive_next(&k), 11100);
	assert_false(keepalive_answered(&k, cookie + 1, 6100000));
}

static void a_slow_line_is_given_four_round_trips(void **state)
{
	struct keepalive k;

	(void)state;
	keepalive_init(&k, 0, KEEPALIVE_CONTROL_MS, 0);
	assert_true(keepalive_answered(&k, keepalive_asked(&k, 5000, 5000000, 0), 7000000));
	keepalive_heard(&k, 7000);
	assert_int_equal(keepalive_patience(&k), 8000);
	(void)keepalive_asked(&k, 12000, 12000000, 0);
	assert_int_equal(keepalive_due(&k, 19999), KEEPALIVE_WELL);
	assert_int_equal(keepalive_due(&k, 20000), KEEPALIVE_DEAD);
}

static void intervals_are_spread(void **state)
{
	struct keepalive k;

	(void)state;
	keepalive_init(&k, 0, 5000, 0xffff);
	assert_true(keepalive_next(&k) >= 4000 && keepalive_next(&k) < 4010);
	keepalive_init(&k, 0, 5000, 0x8000);
	assert_int_equal(keepalive_next(&k), 4500);
}

/* Lives behind a NAT that forgets after so many ms; returns the interval that is found after so many hours. */
static uint32_t live_behind(uint32_t forgets_ms, unsigned hours, unsigned *ret_lost)
{
	struct nat_life n;
	uint64_t now = 0;

	nat_life_init(&n);
	*ret_lost = 0;
	while (now < hours * 3600000ull) {
		uint32_t silence = n.try_ms;

		now += silence;
		if (silence < forgets_ms) {
			nat_life_survived(&n, silence);
		} else {
			nat_life_lost(&n, silence);
			++*ret_lost;
		}
		assert_true(n.try_ms >= NAT_LIFE_MIN_MS && n.try_ms <= NAT_LIFE_MAX_MS);
	}
	return n.try_ms;
}

static void the_interval_finds_what_the_nat_tolerates(void **state)
{
	unsigned lost;
	uint32_t found;

	(void)state;
	assert_int_equal(live_behind(UINT32_MAX, 2, &lost), NAT_LIFE_MAX_MS);
	assert_int_equal(lost, 0);
	found = live_behind(120000, 24, &lost);
	assert_true(found >= 60000 && found < 120000);
	assert_true(lost <= 2); /* and does not try it again and again */
	found = live_behind(60000, 24, &lost);
	assert_true(found >= 30000 && found < 60000);
	assert_true(lost <= 2);
	found = live_behind(25000, 24, &lost);
	assert_true(found >= NAT_LIFE_MIN_MS && found < 25000);
	assert_true(lost <= 2);
}

static void a_short_silence_teaches_nothing(void **state)
{
	struct nat_life n;

	(void)state;
	nat_life_init(&n);
	for (unsigned i = 0; i < 100; i++)
		nat_life_survived(&n, 1000);
	assert_int_equal(n.try_ms, NAT_LIFE_FIRST_MS);
	nat_life_lost(&n, 5000);
	assert_int_equal(n.try_ms, NAT_LIFE_FIRST_MS);
}

static void a_browser_finds_ready_carriers_the_second_time(void **state)
{
	struct pool p;

	(void)state;
	pool_init(&p, 1000);
	assert_int_equal(pool_wanted(&p, 1000, 0), POOL_MIN);
	for (unsigned i = 0; i < 30; i++)
		pool_opened(&p, 1000 + i);
	assert_true(pool_wanted(&p, 1030, 0) >= 30);
	assert_true(pool_wanted(&p, 1030, 5) >= 35); /* who waits counts on top */
	assert_true(pool_wanted(&p, 9000, 0) >= 30); /* the next page of the same browser */
}

static void nobody_comes_and_the_pool_shrinks_to_its_least(void **state)
{
	struct pool p;

	(void)state;
	pool_init(&p, 1000);
	for (unsigned i = 0; i < 30; i++)
		pool_opened(&p, 1000 + i);
	assert_true(pool_wanted(&p, 60000, 0) < 16);
	assert_int_equal(pool_wanted(&p, 400000, 0), POOL_MIN);
}

static void a_flood_does_not_keep_hundreds(void **state)
{
	struct pool p;

	(void)state;
	pool_init(&p, 1000);
	for (unsigned i = 0; i < 5000; i++)
		pool_opened(&p, 1000 + i / 10);
	assert_int_equal(pool_wanted(&p, 1500, 0), POOL_MAX);
	/* One after the other needs few, however many in all. */
	pool_init(&p, 1000);
	for (unsigned i = 0; i < 1000; i++)
		pool_opened(&p, 1000 + i * 500);
	assert_true(pool_wanted(&p, 501000, 0) <= POOL_MIN + 2);
}

static void surplus_is_given_up_slowly(void **state)
{
	struct pool p;
	unsigned ready = 40;
	uint64_t now = 1000;

	(void)state;
	pool_init(&p, now);
	assert_int_equal(pool_surplus(&p, now, ready, 0), 0);
	assert_int_equal(pool_surplus(&p, now + POOL_SURPLUS_MS - 1, ready, 0), 0);
	assert_int_equal(pool_surplus(&p, now + POOL_SURPLUS_MS, ready, 0), 9);
	for (now += POOL_SURPLUS_MS; now < 200000; now += 1000)
		ready -= pool_surplus(&p, now, ready, 0);
	assert_int_equal(ready, POOL_MIN);
}

static void a_restarted_server_is_found_again_within_seconds(void **state)
{
	struct backoff b = { 0 };
	uint64_t now = 5000;

	(void)state;
	assert_true(backoff_failed(&b, now, 0, 0) == 300);
	assert_true(backoff_failed(&b, now, 0, 0xffff) <= 301);
	for (; now < 100000; now += 5000) {
		uint32_t wait = backoff_failed(&b, now, 0, (uint32_t)now * 77777);

		assert_true(wait <= BACKOFF_EARLY_MAX_MS && wait >= 300);
	}
	for (; now < 400000; now += 20000)
		(void)backoff_failed(&b, now, 0, 0);
	assert_int_equal(backoff_failed(&b, now, 0, 0), BACKOFF_MAX_MS);
	backoff_reset(&b);
	assert_int_equal(backoff_failed(&b, now, 0, 0), BACKOFF_FIRST_MS);
}

static void what_the_server_asks_for_is_kept_and_spread(void **state)
{
	struct backoff b = { 0 };

	(void)state;
	assert_int_equal(backoff_failed(&b, 1, 60000, 0), 60000);
	assert_true(backoff_failed(&b, 1, 60000, 0xffff) > 71000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_silent_link_is_asked_and_a_dead_one_found_within_seconds),
		cmocka_unit_test(a_slow_line_is_given_four_round_trips),
		cmocka_unit_test(intervals_are_spread),
		cmocka_unit_test(the_interval_finds_what_the_nat_tolerates),
		cmocka_unit_test(a_short_silence_teaches_nothing),
		cmocka_unit_test(a_browser_finds_ready_carriers_the_second_time),
		cmocka_unit_test(nobody_comes_and_the_pool_shrinks_to_its_least),
		cmocka_unit_test(a_flood_does_not_keep_hundreds),
		cmocka_unit_test(surplus_is_given_up_slowly),
		cmocka_unit_test(a_restarted_server_is_found_again_within_seconds),
		cmocka_unit_test(what_the_server_asks_for_is_kept_and_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
