/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn/budget.c and turn/rate.h: how much an unauthenticated answer may exceed its request.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "turn/rate.h"
#include "turn/totals.h"

#define RATE 80000u /* bit/s: 10000 bytes at once */

static struct addr at(const char *s)
{
	struct addr a;

	assert_int_equal(addr_parse(text_of(s), 4000, &a), 0);
	return a;
}

static void an_answer_no_longer_than_its_request_is_free(void **state)
{
	(void)state;
	_cleanup_(turn_budget_freep) struct turn_budget *b = turn_budget_new();
	struct addr from = at("198.51.100.7");

	for (int i = 0; i < 100000; i++)
		assert_true(turn_budget_charge(b, &from, 100, 100, RATE, 1));
	assert_true(turn_budget_charge(b, &from, 0, 10000, RATE, 1)); /* nothing was spent until now */
}

/* Advisory: amplification. */
static void only_the_excess_is_charged(void **state)
{
	(void)state;
	_cleanup_(turn_budget_freep) struct turn_budget *b = turn_budget_new();
	struct addr from = at("198.51.100.7");

	for (int i = 0; i < 100; i++)
		assert_true(turn_budget_charge(b, &from, 20, 120, RATE, 5));
	assert_false(turn_budget_charge(b, &from, 20, 120, RATE, 5));
	assert_false(turn_budget_charge(b, &from, 20, 21, RATE, 5));
	assert_true(turn_budget_charge(b, &from, 20, 20, RATE, 5));
}

static void a_refused_answer_costs_nothing(void **state)
{
	(void)state;
	_cleanup_(turn_budget_freep) struct turn_budget *b = turn_budget_new();
	struct addr from = at("198.51.100.7");

	assert_false(turn_budget_charge(b, &from, 0, 10001, RATE, 5));
	assert_true(turn_budget_charge(b, &from, 0, 10000, RATE, 5));
}

static void the_allowance_comes_back_with_time_and_no_more_than_a_second_of_it(void **state)
{
	(void)state;
	_cleanup_(turn_budget_freep) struct turn_budget *b = turn_budget_new();
	struct addr from = at("198.51.100.7");

	assert_true(turn_budget_charge(b, &from, 0, 10000, RATE, 1000));
	assert_false(turn_budget_charge(b, &from, 0, 1, RATE, 1000));
	assert_true(turn_budget_charge(b, &from, 0, 1000, RATE, 1100));
	assert_false(turn_budget_charge(b, &from, 0, 1, RATE, 1100));
	assert_false(turn_budget_charge(b, &from, 0, 10001, RATE, 900000));
	assert_true(turn_budget_charge(b, &from, 0, 10000, RATE, 900000));
	assert_false(turn_budget_charge(b, &from, 0, 1, RATE, 900000));
}

static void sources_of_one_prefix_share_and_others_do_not(void **state)
{
	(void)state;
	static const struct {
		const char *first, *second;
		bool share;
	} rows[] = {
		{ "198.51.100.7", "198.51.100.250", true },
		{ "198.51.100.7", "198.51.101.7", false },
		{ "198.51.100.7", "[::ffff:198.51.100.9]:1", true },
		{ "2001:db8:1::1", "2001:db8:1:ffff::2", true },
		{ "2001:db8:1::1", "2001:db8:2::1", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct addr a = at(rows[i].first), c = at(rows[i].second);
		unsigned shared = 0;

		/* Two prefixes fall together in one of 16384 tables: five tables never do in practice. */
		for (int k = 0; k < 5; k++) {
			_cleanup_(turn_budget_freep) struct turn_budget *b = turn_budget_new();

			assert_true(turn_budget_charge(b, &a, 0, 10000, RATE, 7));
			shared += !turn_budget_charge(b, &c, 0, 10000, RATE, 7);
		}
		if (rows[i].share)
			assert_int_equal(shared, 5);
		else
			assert_true(shared < 5);
	}
}

static void rates_at_both_ends_hold(void **state)
{
	(void)state;
	_cleanup_(turn_budget_freep) struct turn_budget *b = turn_budget_new();
	struct addr from = at("198.51.100.7");

	assert_false(turn_budget_charge(b, &from, 0, 1, 0, 1));
	for (int i = 0; i < 1000; i++)
		assert_true(turn_budget_charge(b, &from, 0, 65535, UINT64_MAX, 1));
	assert_false(turn_budget_charge(b, &from, 0, 65535, 8000, 1));
}

/* Advisory: state for spoofed packets. */
static void a_million_spoofed_sources_take_no_memory(void **state)
{
	(void)state;
	_cleanup_(turn_budget_freep) struct turn_budget *b = turn_budget_new();
	size_t before = mallinfo2().uordblks;
	size_t refused = 0;

	for (uint32_t i = 0; i < 1000000; i++) {
		struct addr from = addr_v4(i * 4099u, (uint16_t)i);

		refused += !turn_budget_charge(b, &from, 28, 128, RATE, 1);
	}
	assert_int_equal(mallinfo2().uordblks, before);
	/* At most one second's worth for each bucket, whoever they say they are. */
	for (uint32_t i = 0; i < 2000000; i++) {
		struct addr from = addr_v4(i << 8, 1);

		refused += !turn_budget_charge(b, &from, 28, 128, RATE, 1);
	}
	assert_true(refused >= 3000000 - 16384 * 100);
}

static void cost_is_rounded_up_and_bytes_down(void **state)
{
	(void)state;
	static const uint64_t rates[] = { 1, 7, 8000, 64000, 999999937, 100000000000 };

	for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
		for (uint64_t ns = 1; ns < RATE_BURST_NS; ns = ns * 3 + 1) {
			uint64_t n = rate_bytes(ns, rates[i]);

			assert_true(rate_cost_ns(n, rates[i]) <= ns);
			assert_true(rate_cost_ns(n + 1, rates[i]) > ns);
		}
	}
	assert_int_equal(rate_cost_ns(UINT64_MAX, 1), UINT64_MAX);
	assert_int_equal(rate_bytes(UINT64_MAX, UINT64_MAX), UINT64_MAX);
}

static void by_parts_is_what_wide_numbers_say(void **state)
{
	static const uint64_t edges[] = { 0, 1, 2, 7, UINT32_MAX, 1ull << 32, 8000000000ull, UINT64_MAX / 3, 1ull << 63, UINT64_MAX - 1,
					  UINT64_MAX };
	uint64_t x = 88172645463325252ull; /* xorshift */

	(void)state;
	for (size_t a = 0; a < ARRAY_LEN(edges); a++)
		for (size_t b = 0; b < ARRAY_LEN(edges); b++)
			for (size_t c = 1; c < ARRAY_LEN(edges); c++)
				for (int up = 0; up < 2; up++)
					assert_true(rate_scale_by_parts(edges[a], edges[b], edges[c], up) == rate_scale(edges[a], edges[b], edges[c], up));
	for (unsigned i = 0; i < 30000; i++) {
		uint64_t v[3];

		for (unsigned k = 0; k < 3; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			v[k] = (x >> x % 61) | 1;
		}
		assert_true(rate_scale_by_parts(v[0], v[1], v[2], i & 1) == rate_scale(v[0], v[1], v[2], i & 1));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_parts_is_what_wide_numbers_say),
		cmocka_unit_test(an_answer_no_longer_than_its_request_is_free),
		cmocka_unit_test(only_the_excess_is_charged),
		cmocka_unit_test(a_refused_answer_costs_nothing),
		cmocka_unit_test(the_allowance_comes_back_with_time_and_no_more_than_a_second_of_it),
		cmocka_unit_test(sources_of_one_prefix_share_and_others_do_not),
		cmocka_unit_test(rates_at_both_ends_hold),
		cmocka_unit_test(a_million_spoofed_sources_take_no_memory),
		cmocka_unit_test(cost_is_rounded_up_and_bytes_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
