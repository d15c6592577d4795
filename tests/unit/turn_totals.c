/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn/totals.c: allocations counted per account and in total, leases of bytes, live relay ports; also by
 * four threads at once, which is worth most when built with ThreadSanitizer.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdio.h>
#include <cmocka.h>
#include "turn/totals.h"

#define NO_LIMIT UINT64_MAX
#define CAPS(all, each) (&(struct turn_caps){ .total = (all), .realm = NO_LIMIT, .account = (each) })

static enum turn_limit take(struct turn_totals *t, const char *name, uint64_t all, uint64_t each, struct turn_account **ret_a)
{
	return turn_totals_take(t, 0, name, CAPS(all, each), ret_a);
}

static struct addr at(const char *s)
{
	struct addr a;

	assert_int_equal(addr_parse(text_of(s), 0, &a), 0);
	return a;
}

/* ---- counts ---- */

static void an_account_has_its_limit_and_others_are_not_touched(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct turn_account *a[3], *other, *none = NULL;

	assert_int_equal(take(t, "alice", 10, 2, &a[0]), TURN_LIMIT_OK);
	assert_int_equal(take(t, "alice", 10, 2, &a[1]), TURN_LIMIT_OK);
	assert_ptr_equal(a[0], a[1]);
	assert_int_equal(take(t, "alice", 10, 2, &none), TURN_LIMIT_ACCOUNT);
	assert_null(none);
	assert_int_equal(take(t, "bob", 10, 2, &other), TURN_LIMIT_OK);
	assert_int_equal(turn_totals_allocations(t), 3);
	turn_totals_give(t, a[0]);
	assert_int_equal(take(t, "alice", 10, 2, &a[2]), TURN_LIMIT_OK);
	turn_totals_give(t, a[1]);
	turn_totals_give(t, a[2]);
	turn_totals_give(t, other);
	turn_totals_give(t, NULL);
	assert_int_equal(turn_totals_allocations(t), 0);
}

static void the_total_has_its_limit(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct turn_account *a[3], *none = NULL;
	char name[8];

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "u%d", i);
		assert_int_equal(take(t, name, 3, 5, &a[i]), TURN_LIMIT_OK);
	}
	assert_int_equal(take(t, "u0", 3, 5, &none), TURN_LIMIT_TOTAL);
	assert_int_equal(take(t, "u0", 0, 5, &none), TURN_LIMIT_TOTAL);
	assert_null(none);
	turn_totals_give(t, a[0]);
	assert_int_equal(take(t, "new", 3, 5, &a[0]), TURN_LIMIT_OK);
	for (int i = 0; i < 3; i++)
		turn_totals_give(t, a[i]);
}

static void the_peak_is_of_the_time_since_it_was_asked(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct turn_account *a[3];

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(take(t, "alice", 10, 10, &a[i]), TURN_LIMIT_OK);
	turn_totals_give(t, a[0]);
	turn_totals_give(t, a[1]);
	assert_int_equal(turn_totals_allocations(t), 1);
	assert_int_equal(turn_totals_peak(t), 3);
	assert_int_equal(turn_totals_peak(t), 1);
	turn_totals_give(t, a[2]);
	assert_int_equal(turn_totals_peak(t), 0);
}

static void a_refusal_by_the_account_gives_the_total_back(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct turn_account *a, *b, *none;

	assert_int_equal(take(t, "alice", 2, 1, &a), TURN_LIMIT_OK);
	for (int i = 0; i < 10; i++)
		assert_int_equal(take(t, "alice", 2, 1, &none), TURN_LIMIT_ACCOUNT);
	assert_int_equal(take(t, "bob", 2, 1, &b), TURN_LIMIT_OK);
	turn_totals_give(t, a);
	turn_totals_give(t, b);
}

static void a_lower_limit_after_a_reload_holds_for_new_ones_only(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct turn_account *a, *b, *none;

	assert_int_equal(take(t, "alice", NO_LIMIT, NO_LIMIT, &a), TURN_LIMIT_OK);
	assert_int_equal(take(t, "alice", NO_LIMIT, NO_LIMIT, &b), TURN_LIMIT_OK);
	assert_int_equal(take(t, "alice", NO_LIMIT, 1, &none), TURN_LIMIT_ACCOUNT);
	turn_totals_give(t, a);
	turn_totals_give(t, b);
}

/* ---- leases ---- */

static void a_lease_is_bounded_by_the_accounts_rate(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct turn_account *a;

	take(t, "alice", 9, 9, &a);
	assert_int_equal(turn_totals_lease(t, a, CAPS(NO_LIMIT, 80000), 4000, 50), 4000);
	assert_int_equal(turn_totals_lease(t, a, CAPS(NO_LIMIT, 80000), 50000, 50), 6000);
	assert_int_equal(turn_totals_lease(t, a, CAPS(NO_LIMIT, 80000), 1, 50), 0);
	assert_int_equal(turn_totals_lease(t, a, CAPS(NO_LIMIT, 80000), 50000, 150), 1000);
	assert_int_equal(turn_totals_lease(t, a, CAPS(NO_LIMIT, 80000), 50000, 600000), 10000);
	turn_totals_give(t, a);
}

static void a_lease_is_bounded_by_the_total_and_leaves_the_account_the_rest(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct turn_account *a, *b;

	take(t, "alice", 9, 9, &a);
	take(t, "bob", 9, 9, &b);
	assert_int_equal(turn_totals_lease(t, a, CAPS(80000, 80000), 7000, 1), 7000);
	assert_int_equal(turn_totals_lease(t, b, CAPS(80000, 80000), 7000, 1), 3000);
	assert_int_equal(turn_totals_lease(t, b, CAPS(NO_LIMIT, 80000), 50000, 1), 7000);
	turn_totals_give(t, a);
	turn_totals_give(t, b);
}

static void unlimited_is_unlimited_and_zero_is_nothing(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct turn_account *a;

	take(t, "alice", 9, 9, &a);
	assert_true(turn_totals_lease(t, a, CAPS(NO_LIMIT, NO_LIMIT), UINT64_MAX, 1) == UINT64_MAX);
	assert_int_equal(turn_totals_lease(t, a, CAPS(NO_LIMIT, 0), 5, 1), 0);
	assert_int_equal(turn_totals_lease(t, a, CAPS(0, NO_LIMIT), 5, 1), 0);
	turn_totals_give(t, a);
}

static void leaving_and_coming_back_does_not_renew_the_allowance(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct turn_account *a;
	uint64_t sum = 0;

	for (int i = 0; i < 1000; i++) { /* one loop in a millisecond, for a second */
		assert_int_equal(take(t, "alice", 9, 9, &a), TURN_LIMIT_OK);
		sum += turn_totals_lease(t, a, CAPS(NO_LIMIT, 80000), 10000, (uint64_t)i);
		turn_totals_give(t, a);
	}
	assert_true(sum <= 20000);
	assert_true(sum >= 19900);
	assert_int_equal(turn_totals_allocations(t), 0);
}

static void debts_of_many_accounts_are_forgotten_when_paid(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct turn_account *a;
	char name[24];

	for (int i = 0; i < 50000; i++) { /* more debtors than are kept: their number is bounded */
		snprintf(name, sizeof(name), "user-%d", i);
		assert_int_equal(take(t, name, 9, 9, &a), TURN_LIMIT_OK);
		turn_totals_lease(t, a, CAPS(NO_LIMIT, 80000), 10000, 5);
		turn_totals_give(t, a);
	}
	assert_int_equal(take(t, "user-49999", 9, 9, &a), TURN_LIMIT_OK);
	assert_int_equal(turn_totals_lease(t, a, CAPS(NO_LIMIT, 80000), 10000, 5), 0);
	assert_int_equal(turn_totals_lease(t, a, CAPS(NO_LIMIT, 80000), 10000, 5000), 10000);
	turn_totals_give(t, a);
}

/* ---- relay ports ---- */

static void a_relay_is_known_by_address_and_port_while_it_lives(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct addr a = at("192.0.2.10:50000"), next = at("192.0.2.10:50001"), other = at("192.0.2.11:50000");
	struct addr mapped = at("[::ffff:192.0.2.10]:50000"), v6 = at("[2001:db8::1]:50000");

	assert_false(turn_totals_is_relay(t, &a));
	turn_totals_relay_closed(t, &a);
	turn_totals_relay_opened(t, &a);
	assert_true(turn_totals_is_relay(t, &a));
	assert_true(turn_totals_is_relay(t, &mapped));
	assert_false(turn_totals_is_relay(t, &next));
	assert_false(turn_totals_is_relay(t, &other));
	assert_false(turn_totals_is_relay(t, &v6));
	turn_totals_relay_opened(t, &v6);
	turn_totals_relay_closed(t, &a);
	assert_false(turn_totals_is_relay(t, &a));
	assert_true(turn_totals_is_relay(t, &v6));
	assert_false(turn_totals_is_listener(t, &v6));
	assert_true(turn_totals_listener_opened(t, &a));
	assert_false(turn_totals_listener_opened(t, &mapped)); /* somebody else did */
	assert_true(turn_totals_is_listener(t, &a));
	assert_false(turn_totals_is_relay(t, &a)); /* the same port on UDP may be anybody's */
	turn_totals_relay_opened(t, &a);	   /* or one of ours that was reserved before */
	turn_totals_relay_closed(t, &a);
	assert_true(turn_totals_is_listener(t, &a));
	turn_totals_relay_opened(t, &a);
	turn_totals_listener_closed(t, &a);
	assert_false(turn_totals_is_listener(t, &a));
	assert_true(turn_totals_is_relay(t, &a));
}

static void every_port_has_its_own_bit(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct addr a = at("192.0.2.10");

	for (unsigned port = 0; port <= 65535; port += 3) {
		addr_set_port(&a, (uint16_t)port);
		turn_totals_relay_opened(t, &a);
	}
	for (unsigned port = 0; port <= 65535; port++) {
		addr_set_port(&a, (uint16_t)port);
		assert_int_equal(turn_totals_is_relay(t, &a), port % 3 == 0);
	}
}

static void more_addresses_than_there_is_room_for_are_just_no_relays(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();

	for (uint32_t i = 0; i < TURN_TOTALS_RELAY_ADDRESSES + 10; i++) {
		struct addr a = addr_v4(0xc6120000 + i, 50000);

		turn_totals_relay_opened(t, &a);
		assert_int_equal(turn_totals_is_relay(t, &a), i < TURN_TOTALS_RELAY_ADDRESSES);
	}
}

static void an_address_without_a_live_port_makes_room_for_another(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct addr kept = addr_v4(0xc6120001, 50001);

	turn_totals_relay_opened(t, &kept);
	for (uint32_t i = 0; i < 5 * TURN_TOTALS_RELAY_ADDRESSES; i++) { /* an external address that changes every night */
		struct addr a = addr_v4(0xc6130000 + i, 50000);

		turn_totals_relay_opened(t, &a);
		assert_true(turn_totals_is_relay(t, &a));
		assert_true(turn_totals_any_relay(t, &a));
		turn_totals_relay_closed(t, &a);
		assert_false(turn_totals_any_relay(t, &a));
	}
	assert_true(turn_totals_is_relay(t, &kept));
}

/* ---- four workers ---- */

enum { THREADS = 4, ROUNDS = 4000, NAMES = 7, MAX_TOTAL = 11, MAX_NAME = 3 };

struct together {
	struct turn_totals *t;
	_Atomic int live[NAMES];
	_Atomic int total;
	_Atomic uint64_t leased;
	_Atomic int faults; /* cmocka's asserts belong to the main thread */
	_Atomic unsigned next;
};

static void *worker_loop(void *arg)
{
	struct together *g = arg;
	unsigned me = atomic_fetch_add(&g->next, 1);
	struct addr relay = addr_v4(0xc0000200 + me, 50000), seen;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned k = (i * 5 + me) % NAMES;
		struct turn_account *a;
		char name[8];
		enum turn_limit r;

		snprintf(name, sizeof(name), "n%u", k);
		addr_set_port(&relay, (uint16_t)(50000 + i % 1000));
		turn_totals_relay_opened(g->t, &relay);
		g->faults += !turn_totals_is_relay(g->t, &relay);
		seen = addr_v4(0xc0000200 + (me + 1) % THREADS, 50000);
		(void)turn_totals_is_relay(g->t, &seen);
		r = take(g->t, name, MAX_TOTAL, MAX_NAME, &a);
		if (r == TURN_LIMIT_OK) {
			g->faults += atomic_fetch_add(&g->live[k], 1) >= MAX_NAME;
			g->faults += atomic_fetch_add(&g->total, 1) >= MAX_TOTAL;
			g->leased += turn_totals_lease(g->t, a, CAPS(8000000, 8000000), 1200, i / 8);
			atomic_fetch_sub(&g->live[k], 1);
			atomic_fetch_sub(&g->total, 1);
			turn_totals_give(g->t, a);
		}
		turn_totals_relay_closed(g->t, &relay);
		g->faults += turn_totals_is_relay(g->t, &relay);
	}
	return NULL;
}

static void four_threads_keep_every_limit(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct together g = { .t = t };
	pthread_t th[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&th[i], NULL, worker_loop, &g), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(th[i], NULL);
	assert_int_equal(g.faults, 0);
	assert_int_equal(turn_totals_allocations(t), 0);
	/* One burst, and half a second's worth: ROUNDS / 8 ms. */
	assert_true(g.leased > 0);
	assert_true(g.leased <= 1000000 + 1000000 / 2);
}

static void uses_are_all_or_none_and_come_back(void **state)
{
	(void)state;
	_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
	struct turn_account *a, *b;

	assert_int_equal(take(t, "alice", 10, 10, &a), TURN_LIMIT_OK);
	assert_int_equal(take(t, "bob", 10, 10, &b), TURN_LIMIT_OK);
	assert_int_equal(turn_totals_use(t, a, TURN_USE_CHANNELS, 3, CAPS(5, 4)), TURN_LIMIT_OK);
	assert_int_equal(turn_totals_use(t, a, TURN_USE_CHANNELS, 2, CAPS(5, 4)), TURN_LIMIT_ACCOUNT);
	assert_int_equal(turn_totals_use(t, b, TURN_USE_CHANNELS, 3, CAPS(5, 4)), TURN_LIMIT_TOTAL);
	assert_int_equal(turn_totals_use(t, b, TURN_USE_CHANNELS, 2, CAPS(5, 2)), TURN_LIMIT_OK); /* the 3 took nothing */
	assert_int_equal(turn_totals_use(t, a, TURN_USE_CHANNELS, 1, CAPS(4, 9)), TURN_LIMIT_TOTAL); /* lowered since */
	assert_int_equal(turn_totals_use(t, a, TURN_USE_PERMISSIONS, 4, CAPS(5, 4)), TURN_LIMIT_OK); /* not the same */
	assert_int_equal(turn_totals_use(t, a, TURN_USE_CHANNELS, UINT64_MAX, CAPS(UINT64_MAX, UINT64_MAX)), TURN_LIMIT_ACCOUNT);
	turn_totals_unuse(t, a, TURN_USE_CHANNELS, 3);
	turn_totals_unuse(t, a, TURN_USE_CHANNELS, 0);
	assert_int_equal(turn_totals_use(t, b, TURN_USE_CHANNELS, 3, CAPS(5, 5)), TURN_LIMIT_OK);
	turn_totals_give(t, a);
	turn_totals_give(t, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uses_are_all_or_none_and_come_back),
		cmocka_unit_test(an_account_has_its_limit_and_others_are_not_touched),
		cmocka_unit_test(the_total_has_its_limit),
		cmocka_unit_test(the_peak_is_of_the_time_since_it_was_asked),
		cmocka_unit_test(a_refusal_by_the_account_gives_the_total_back),
		cmocka_unit_test(a_lower_limit_after_a_reload_holds_for_new_ones_only),
		cmocka_unit_test(a_lease_is_bounded_by_the_accounts_rate),
		cmocka_unit_test(a_lease_is_bounded_by_the_total_and_leaves_the_account_the_rest),
		cmocka_unit_test(unlimited_is_unlimited_and_zero_is_nothing),
		cmocka_unit_test(leaving_and_coming_back_does_not_renew_the_allowance),
		cmocka_unit_test(debts_of_many_accounts_are_forgotten_when_paid),
		cmocka_unit_test(a_relay_is_known_by_address_and_port_while_it_lives),
		cmocka_unit_test(every_port_has_its_own_bit),
		cmocka_unit_test(more_addresses_than_there_is_room_for_are_just_no_relays),
		cmocka_unit_test(an_address_without_a_live_port_makes_room_for_another),
		cmocka_unit_test(four_threads_keep_every_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
