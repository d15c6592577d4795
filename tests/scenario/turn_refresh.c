/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refresh (RFC 8656 7.3, 8): an allocation is prolonged, or given back with lifetime 0; and the other
 * ways in which one ends.
 */
#include "tests/scenario/turn_world.h"

static void a_refresh_prolongs_the_allocation(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	w->cfg.lifetime.nonce_ms = 3600000;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	world_wait(w, 500000);
	assert_int_equal(refresh(&alice, -1), 0);
	assert_int_equal(alice.lifetime, 600);
	world_wait(w, 599999);
	assert_int_equal(w->n_relays, 1);
	assert_int_equal(refresh(&alice, 1800), 0);
	assert_int_equal(alice.lifetime, 1800);
	world_wait(w, 1799999);
	assert_int_equal(w->n_relays, 1);
	world_wait(w, 1);
	assert_int_equal(w->n_relays, 0);
}

static void a_refresh_never_shortens_below_the_default(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(refresh(&alice, 5), 0);
	assert_int_equal(alice.lifetime, 600);
	assert_int_equal(refresh(&alice, 1000000), 0);
	assert_int_equal(alice.lifetime, 3600);
}

static void lifetime_zero_gives_everything_back(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(refresh(&alice, 0), 0);
	assert_int_equal(alice.lifetime, 0);
	assert_int_equal(w->n_relays, 0);
	assert_int_equal(counted(w, TURN_M_ALLOCATIONS_ENDED, TURN_END_RELEASED), 1);
	assert_int_equal(refresh(&alice, 0), 437); /* the same again, as a retransmission would be */
	assert_int_equal(allocate(&alice), 0);	   /* the five-tuple is free */
}

static void without_an_allocation_there_is_a_mismatch_but_only_for_who_may_know(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	begin(&alice, STUN_REFRESH);
	assert_int_equal(ask(&alice), 401);
	assert_int_equal(refresh(&alice, 600), 437);
	assert_int_equal(permit(&alice, "9.9.9.9"), 437);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 437);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_NO_ALLOCATION), 3);
}

static void the_family_of_a_refresh_must_be_the_allocations(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	begin(&alice, STUN_REFRESH);
	stun_put_u32(&alice.sw, STUN_A_REQUESTED_ADDRESS_FAMILY, 2u << 24);
	assert_int_equal(ask(&alice), 443);
	begin(&alice, STUN_REFRESH);
	stun_put_u32(&alice.sw, STUN_A_REQUESTED_ADDRESS_FAMILY, 1u << 24);
	assert_int_equal(ask(&alice), 0);
}

static void the_end_of_a_connection_ends_its_allocation_and_no_other(void **state)
{
	struct world *w = *state;
	struct client alice = client_tcp(w, "192.0.2.1:4000", "alice"),
		      bob = client_tcp(w, "192.0.2.2:4000", "bob");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(allocate(&bob), 0);
	assert_true(turn_path_in_use(w->server, &alice.path));
	turn_path_gone(w->server, &alice.path, w->now);
	assert_false(turn_path_in_use(w->server, &alice.path));
	turn_path_gone(w->server, &alice.path, w->now); /* harmless */
	assert_int_equal(w->n_relays, 1);
	assert_int_equal(counted(w, TURN_M_ALLOCATIONS_ENDED, TURN_END_DISCONNECTED), 1);
	assert_int_equal(refresh(&bob, -1), 0);
}

static void a_new_connection_from_the_same_port_does_not_inherit(void **state)
{
	struct world *w = *state, *other_handle = calloc(1, sizeof *w);
	struct client old = client_tcp(w, "192.0.2.1:4000", "alice");
	struct turn_path fresh = old.path;

	assert_int_equal(allocate(&old), 0);
	fresh.handle = other_handle;
	assert_true(turn_path_in_use(w->server, &old.path));
	assert_false(turn_path_in_use(w->server, &fresh));
	free(other_handle);
}

static void a_second_allocation_is_free_to_have_what_the_first_gave_back(void **state)
{
	struct world *w = *state;

	w->cfg.limits.allocations_per_user = 1;
	world_reload(w);
	for (unsigned i = 0; i < 100; i++) { /* counts go back: nothing leaks in a loop */
		struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
		assert_int_equal(allocate(&alice), 0);
		assert_int_equal(refresh(&alice, 0), 0);
	}
	assert_int_equal(turn_totals_allocations(w->totals), 0);
}

/* The process was held up: packets and timers are due at once, and the packets come first. */
static void what_has_expired_is_gone_though_its_timer_has_not_run(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      bob = client_udp(w, "192.0.2.2:4000", "bob");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(allocate(&bob), 0);
	w->now += 601000;
	assert_int_equal(refresh(&bob, -1), 438);
	assert_int_equal(refresh(&bob, -1), 437);
	assert_int_equal(allocate(&alice), 438);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(counted(w, TURN_M_ALLOCATIONS_ENDED, TURN_END_EXPIRED), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(a_refresh_prolongs_the_allocation),
		TALK(a_refresh_never_shortens_below_the_default),
		TALK(lifetime_zero_gives_everything_back),
		TALK(without_an_allocation_there_is_a_mismatch_but_only_for_who_may_know),
		TALK(the_family_of_a_refresh_must_be_the_allocations),
		TALK(the_end_of_a_connection_ends_its_allocation_and_no_other),
		TALK(a_new_connection_from_the_same_port_does_not_inherit),
		TALK(a_second_allocation_is_free_to_have_what_the_first_gave_back),
		TALK(what_has_expired_is_gone_though_its_timer_has_not_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
