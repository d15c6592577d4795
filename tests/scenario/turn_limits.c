/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits: each with its own code, counter and reason, and each given back when what it counted ends.
 */
#include "tests/scenario/turn_world.h"

static void a_user_has_so_many_allocations_and_no_more(void **state)
{
	struct world *w = *state;
	struct client one = client_udp(w, "192.0.2.1:1", "alice"),
		      two = client_udp(w, "192.0.2.1:2", "alice"),
		      three = client_udp(w, "192.0.2.1:3", "alice"),
		      bob = client_udp(w, "192.0.2.1:4", "bob");

	w->cfg.limits.allocations_per_user = 2;
	world_reload(w);
	assert_int_equal(allocate(&one), 0);
	assert_int_equal(allocate(&two), 0);
	assert_int_equal(allocate(&three), 486);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_QUOTA_USER), 1);
	assert_int_equal(allocate(&bob), 0);
	world_wait(w, 600000);
	three.nonce[0] = 0;
	assert_int_equal(allocate(&three), 0);
}

static void the_server_has_so_many_allocations_and_no_more(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice"),
		      bob = client_udp(w, "192.0.2.1:4", "bob");

	w->cfg.limits.allocations = 1;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(allocate(&bob), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_QUOTA_TOTAL), 1);
	assert_int_equal(refresh(&alice, 0), 0);
	assert_int_equal(allocate(&bob), 0);
}

/* Advisory: unbounded permissions. */
static void an_allocation_has_so_many_permissions_and_no_more(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice");

	w->cfg.limits.permissions_per_allocation = 3;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.1"), 0);
	assert_int_equal(permit(&alice, "9.9.9.2"), 0);
	assert_int_equal(permit(&alice, "9.9.9.3"), 0);
	assert_int_equal(permit(&alice, "9.9.9.4"), 508);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.4:1"), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_PERMISSIONS), 2);
	assert_int_equal(permit(&alice, "9.9.9.3"), 0); /* one that is there may be renewed */
	world_wait(w, 300000);
	assert_int_equal(permit(&alice, "9.9.9.4"), 0); /* ended ones make room */
	assert_int_equal(permit(&alice, "9.9.9.5"), 0);
	assert_int_equal(permit(&alice, "9.9.9.6"), 0);
	assert_int_equal(permit(&alice, "9.9.9.7"), 508);
}

static void one_address_on_many_ports_is_one_permission(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice");

	w->cfg.limits.permissions_per_allocation = 2;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.8.1"), 0);
	begin(&alice, STUN_CREATE_PERMISSION);
	for (uint16_t port = 1; port <= 9; port++) {
		struct addr peer = addr_v4(0x09090901, port);
		stun_put_addr(&alice.sw, STUN_A_XOR_PEER_ADDRESS, &peer);
	}
	assert_int_equal(ask(&alice), 0);
	assert_int_equal(ask_again(&alice), 0);
	assert_int_equal(counted(w, TURN_M_PERMISSIONS, 0), 2);
	assert_int_equal(permit(&alice, "9.9.9.2"), 508);
}

static void a_request_with_too_many_peers_gets_none(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.8.1"), 0);
	begin(&alice, STUN_CREATE_PERMISSION);
	for (uint32_t i = 0; i < 20; i++) {
		struct addr peer = addr_v4(0x09090900u + i, 1);
		stun_put_addr(&alice.sw, STUN_A_XOR_PEER_ADDRESS, &peer);
	}
	assert_int_equal(ask(&alice), 508);
	begin(&alice, STUN_CREATE_PERMISSION);
	for (uint32_t i = 0; i < 100; i++) { /* more than there could ever be */
		struct addr peer = addr_v4(0x09090900u + i, 1);
		stun_put_addr(&alice.sw, STUN_A_XOR_PEER_ADDRESS, &peer);
	}
	assert_int_equal(ask(&alice), 508);
	assert_int_equal(counted(w, TURN_M_PERMISSIONS, 0), 1);
}

static void an_allocation_has_so_many_channels_and_no_more(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice");

	w->cfg.limits.channels_per_allocation = 2;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(refresh(&alice, 3600), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:1"), 0);
	assert_int_equal(bind_channel(&alice, 0x4001, "9.9.9.9:2"), 0);
	assert_int_equal(bind_channel(&alice, 0x4002, "9.9.9.9:3"), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_CHANNELS), 1);
	assert_int_equal(bind_channel(&alice, 0x4001, "9.9.9.9:2"), 0);
	world_wait(w, 600000);
	alice.nonce[0] = 0;
	assert_int_equal(handshake(&alice), 401);
	assert_int_equal(bind_channel(&alice, 0x4002, "9.9.9.9:3"), 0);
}

/* Advisory: unbounded permissions. */
static void a_user_has_so_many_permissions_over_all_allocations(void **state)
{
	struct world *w = *state;
	struct client one = client_udp(w, "192.0.2.1:1", "alice"), two = client_udp(w, "192.0.2.1:2", "alice"),
		      bob = client_udp(w, "192.0.2.2:1", "bob");

	w->cfg.limits.permissions_per_user = 3;
	world_reload(w);
	assert_int_equal(allocate(&one), 0);
	assert_int_equal(allocate(&two), 0);
	assert_int_equal(allocate(&bob), 0);
	begin(&one, STUN_CREATE_PERMISSION); /* one address on three ports is one permission */
	for (uint16_t port = 1; port <= 3; port++) {
		struct addr peer = addr_v4(0x09090901, port);
		stun_put_addr(&one.sw, STUN_A_XOR_PEER_ADDRESS, &peer);
	}
	assert_int_equal(ask(&one), 0);
	assert_int_equal(permit(&one, "9.9.9.2"), 0);
	assert_int_equal(bind_channel(&two, 0x4000, "9.9.9.1:1"), 0);
	assert_int_equal(bind_channel(&two, 0x4001, "9.9.9.2:1"), 508);
	assert_int_equal(permit(&one, "9.9.9.3"), 508);
	assert_int_equal(permit(&one, "9.9.9.2"), 0); /* which is there */
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_PERMISSIONS_USER), 2);
	assert_int_equal(permit(&bob, "9.9.9.9"), 0);
	assert_int_equal(refresh(&two, 0), 0); /* gives its one back */
	assert_int_equal(permit(&one, "9.9.9.3"), 0);
	assert_int_equal(permit(&one, "9.9.9.4"), 508);
	assert_int_equal(refresh(&one, 3600), 0);
	world_wait(w, 300000); /* and those that have ended make room */
	assert_int_equal(permit(&one, "9.9.9.4"), 0);
}

/* Advisory: unbounded permissions. */
static void the_server_has_so_many_permissions_and_no_more(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice"), bob = client_udp(w, "192.0.2.2:1", "bob");

	w->cfg.limits.permissions = 2;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(allocate(&bob), 0);
	assert_int_equal(permit(&alice, "9.9.9.1"), 0);
	assert_int_equal(permit(&bob, "9.9.9.1"), 0);
	assert_int_equal(permit(&bob, "9.9.9.2"), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_PERMISSIONS_TOTAL), 1);
	world_wait(w, 600000); /* both end */
	assert_int_equal(w->n_relays, 0);
	alice.nonce[0] = 0;
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.1"), 0);
	assert_int_equal(permit(&alice, "9.9.9.2"), 0);
}

/* Advisory: unbounded permissions. */
static void channels_of_a_user_and_of_all_are_counted_alike(void **state)
{
	struct world *w = *state;
	struct client one = client_udp(w, "192.0.2.1:1", "alice"), two = client_udp(w, "192.0.2.1:2", "alice"),
		      bob = client_udp(w, "192.0.2.2:1", "bob");

	w->cfg.limits.channels_per_user = 2;
	w->cfg.limits.channels = 3;
	world_reload(w);
	assert_int_equal(allocate(&one), 0);
	assert_int_equal(allocate(&two), 0);
	assert_int_equal(allocate(&bob), 0);
	assert_int_equal(bind_channel(&one, 0x4000, "9.9.9.9:1"), 0);
	assert_int_equal(bind_channel(&two, 0x4000, "9.9.9.9:1"), 0);
	assert_int_equal(bind_channel(&two, 0x4001, "9.9.9.9:2"), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_CHANNELS_USER), 1);
	assert_int_equal(bind_channel(&bob, 0x4000, "9.9.9.9:1"), 0);
	assert_int_equal(bind_channel(&bob, 0x4001, "9.9.9.9:2"), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_CHANNELS_TOTAL), 1);
	assert_int_equal(bind_channel(&two, 0x4000, "9.9.9.9:1"), 0); /* prolonged, not a second one */
	assert_int_equal(refresh(&one, 0), 0);
	assert_int_equal(bind_channel(&bob, 0x4001, "9.9.9.9:2"), 0);
	assert_int_equal(refresh(&bob, 3600), 0);
	world_wait(w, 600000);
	bob.nonce[0] = 0;
	assert_int_equal(handshake(&bob), 401);
	assert_int_equal(bind_channel(&bob, 0x4002, "9.9.9.9:3"), 0); /* in the place of one that has ended */
}

static void a_lowered_limit_holds_for_what_comes(void **state)
{
	struct world *w = *state;
	struct client one = client_udp(w, "192.0.2.1:1", "alice"),
		      two = client_udp(w, "192.0.2.1:2", "alice");

	assert_int_equal(allocate(&one), 0);
	w->cfg.limits.allocations_per_user = 1;
	w->cfg.limits.permissions_per_allocation = 1;
	world_reload(w);
	assert_int_equal(allocate(&two), 486);
	assert_int_equal(permit(&one, "9.9.9.1"), 0);
	assert_int_equal(permit(&one, "9.9.9.2"), 508);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(a_user_has_so_many_allocations_and_no_more),
		TALK(the_server_has_so_many_allocations_and_no_more),
		TALK(an_allocation_has_so_many_permissions_and_no_more),
		TALK(one_address_on_many_ports_is_one_permission),
		TALK(a_request_with_too_many_peers_gets_none),
		TALK(an_allocation_has_so_many_channels_and_no_more),
		TALK(a_user_has_so_many_permissions_over_all_allocations),
		TALK(the_server_has_so_many_permissions_and_no_more),
		TALK(channels_of_a_user_and_of_all_are_counted_alike),
		TALK(a_lowered_limit_holds_for_what_comes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
