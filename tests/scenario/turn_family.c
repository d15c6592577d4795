/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address families (RFC 8656 7.2, RFC 6156): an IPv6 relay for an IPv4 client and the other way round, two
 * at once, and what is refused.
 */
#include "tests/scenario/turn_world.h"
#include <errno.h>

static void an_ipv4_client_may_have_an_ipv6_relay_and_the_other_way_round(void **state)
{
	struct world *w = *state;
	struct client four = client_udp(w, "192.0.2.1:4000", "alice"),
		      six = client_udp(w, "[2001:db8:5::1]:4000", "alice");

	assert_int_equal(allocate_family(&four, 2), 0);
	assert_int_equal(addr_family(&four.relay6), AF_INET6);
	assert_int_equal(bind_channel(&four, 0x4000, "[2a00::9]:53"), 0);
	channel_data(&four, 0x4000, "to six");
	assert_peer_got(w, "[2a00::9]:53", "to six");
	peer_says(w, &four.relay6, "[2a00::9]:54", "from six");
	assert_client_got(&four, "[2a00::9]:54", "from six");
	assert_int_equal(allocate(&six), 0); /* IPv4 is what one gets without asking */
	assert_int_equal(addr_family(&six.relay), AF_INET);
	assert_int_equal(permit(&six, "9.9.9.9"), 0);
	send_to(&six, "9.9.9.9:53", "to four");
	assert_peer_got(w, "9.9.9.9:53", "to four");
}

static void a_peer_of_the_other_family_is_a_mismatch(void **state)
{
	struct world *w = *state;
	struct client four = client_udp(w, "192.0.2.1:4000", "alice"),
		      six = client_udp(w, "192.0.2.2:4000", "alice");

	assert_int_equal(allocate(&four), 0);
	assert_int_equal(permit(&four, "2a00::9"), 443);
	assert_int_equal(bind_channel(&four, 0x4000, "[2a00::9]:53"), 443);
	assert_int_equal(allocate_family(&six, 2), 0);
	assert_int_equal(permit(&six, "9.9.9.9"), 443);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_PEER_FAMILY), 3);
}

static void a_family_that_there_is_not_is_not_supported(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate_family(&alice, 3), 440);
	w->cfg.relay.addresses.n = 1;
	world_reload(w);
	assert_int_equal(allocate_family(&alice, 2), 440);
	assert_int_equal(allocate_family(&alice, 1), 0);
}

static void without_relay_addresses_the_one_that_the_client_came_to_serves(void **state)
{
	struct world *w = *state;
	struct client four = client_udp(w, "192.0.2.1:4000", "alice"),
		      six = client_udp(w, "[2001:db8:5::1]:4000", "alice");

	w->cfg.relay.addresses.n = 0;
	world_reload(w);
	assert_int_equal(allocate(&four), 0);
	assert_true(addr_equal_ip(&four.relay, &four.path.local));
	assert_int_equal(allocate(&six), 440);
	assert_int_equal(allocate_family(&six, 2), 0);
	assert_true(addr_equal_ip(&six.relay6, &six.path.local));
}

static void a_dual_allocation_has_an_address_of_each_family(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate_both(&alice), 0);
	assert_int_equal(addr_family(&alice.relay), AF_INET);
	assert_int_equal(addr_family(&alice.relay6), AF_INET6);
	assert_int_equal(w->n_relays, 2);
	assert_int_equal(turn_totals_allocations(w->totals), 1);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_int_equal(permit(&alice, "2a00::9"), 0);
	send_to(&alice, "9.9.9.9:53", "four");
	assert_peer_got(w, "9.9.9.9:53", "four");
	send_to(&alice, "[2a00::9]:53", "six");
	assert_peer_got(w, "[2a00::9]:53", "six");
	peer_says(w, &alice.relay6, "[2a00::9]:53", "six");
	assert_client_got(&alice, "[2a00::9]:53", "six");
}

static void one_of_two_families_can_be_given_back(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate_both(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_int_equal(refresh_family(&alice, 1, 0), 0);
	assert_int_equal(w->n_relays, 1);
	assert_int_equal(ask_again(&alice), 0); /* its answer was lost */
	assert_int_equal(refresh_family(&alice, 1, 0), 0);
	assert_int_equal(alice.lifetime, 0);
	assert_int_equal(refresh_family(&alice, 1, 600), 443);
	assert_int_equal(w->n_relays, 1);
	send_to(&alice, "9.9.9.9:53", "four"); /* permitted, but there is no socket any more */
	assert_silence(w);
	assert_int_equal(permit(&alice, "9.9.9.8"), 443);
	assert_int_equal(permit(&alice, "2a00::9"), 0);
	assert_int_equal(refresh(&alice, 0), 0);
	assert_int_equal(w->n_relays, 0);
}

static struct turn_session_info seen; /* the one session */

static void see(const struct turn_session_info *i, void *arg)
{
	(void)arg;
	seen = *i;
}

static const struct turn_session_info *session(struct world *w)
{
	turn_server_sessions(w->server, &(struct turn_session_query){ .limit = 1 }, w->now, see, NULL);
	return &seen;
}

/* RFC 8656 8.1: "destroys any permissions or channels", and those of the other family stay. */
static void what_is_given_back_takes_its_channels_and_permissions_along(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	w->cfg.limits.channels_per_user = 2;
	w->cfg.limits.permissions_per_user = 2;
	world_reload(w);
	assert_int_equal(allocate_both(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4001, "9.9.9.9:53"), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "[2a00::9]:53"), 0);
	assert_int_equal(permit(&alice, "9.9.9.8"), 508);
	assert_int_equal(refresh_family(&alice, 2, 0), 0);
	assert_int_equal(session(w)->channels, 1);
	assert_int_equal(session(w)->permissions, 1);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.8:53"),
			 0); /* the number is free, and the place in the quota */
	channel_data(&alice, 0x4000, "new");
	assert_peer_got(w, "9.9.9.8:53", "new");
	channel_data(&alice, 0x4001, "old");
	assert_peer_got(w, "9.9.9.9:53", "old");
	peer_says(w, &alice.relay, "9.9.9.9:53", "old");
	assert_channel_got(&alice, 0x4001, "old");
}

static void each_of_two_families_has_its_own_time(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	w->cfg.lifetime.nonce_ms = 7200000;
	world_reload(w);
	assert_int_equal(allocate_both(&alice), 0);
	assert_int_equal(refresh_family(&alice, 1, 3600), 0);
	assert_int_equal(alice.lifetime, 3600);
	assert_int_equal(refresh_family(&alice, 2, 600), 0);
	assert_int_equal(alice.lifetime, 600);
	assert_int_equal(session(w)->expires_ms, w->now + 3600000);
	world_wait(w, 599999);
	assert_int_equal(w->n_relays, 2);
	assert_int_equal(bind_channel(&alice, 0x4000, "[2a00::9]:53"), 0);
	world_wait(w, 1); /* the second one's is over */
	assert_int_equal(w->n_relays, 1);
	assert_int_equal(session(w)->channels, 0);
	assert_int_equal(refresh_family(&alice, 2, 0), 0); /* as the client has it */
	assert_int_equal(permit(&alice, "2a00::9"), 443);
	assert_int_equal(refresh_family(&alice, 2, 600), 443);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	send_to(&alice, "9.9.9.9:53", "still here");
	assert_peer_got(w, "9.9.9.9:53", "still here");
	world_wait(w, 2999999);
	assert_int_equal(refresh(&alice, 0), 0); /* to its last moment */
	assert_int_equal(w->n_relays, 0);
}

static void a_refresh_that_names_no_family_prolongs_both(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	w->cfg.lifetime.nonce_ms = 7200000;
	world_reload(w);
	assert_int_equal(allocate_both(&alice), 0);
	assert_int_equal(refresh_family(&alice, 2, 3600), 0);
	world_wait(w, 300000);
	assert_int_equal(refresh(&alice, 1200), 0);
	world_wait(w, 1199999);
	assert_int_equal(w->n_relays, 2);
	world_wait(w, 1);
	assert_int_equal(w->n_relays, 0);
	assert_int_equal(counted(w, TURN_M_ALLOCATIONS_ENDED, TURN_END_EXPIRED), 1);
}

/* The process was held up: packets and timers are due at once, and the packets come first. */
static void a_family_whose_time_is_over_relays_nothing_though_the_timer_has_not_run(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	w->cfg.lifetime.nonce_ms = 7200000;
	world_reload(w);
	assert_int_equal(allocate_both(&alice), 0);
	assert_int_equal(refresh_family(&alice, 1, 3600), 0);
	world_wait(w, 590000);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(bind_channel(&alice, 0x4001, "[2a00::9]:53"), 0);
	w->now += 10000;
	channel_data(&alice, 0x4001, "six");
	peer_says(w, &alice.relay6, "[2a00::9]:53", "six");
	assert_silence(w);
	channel_data(&alice, 0x4000, "four");
	assert_peer_got(w, "9.9.9.9:53", "four");
	peer_says(w, &alice.relay, "9.9.9.9:53", "four");
	assert_channel_got(&alice, 0x4000, "four");
	assert_int_equal(w->n_relays, 2);
	assert_int_equal(permit(&alice, "2a00::9"), 443);
	assert_int_equal(w->n_relays, 1);
}

static void a_family_that_could_not_be_had_is_named_beside_the_one_that_could(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	sa_family_t family;
	unsigned code;
	struct text reason;

	w->cfg.relay.addresses.n = 1;
	world_reload(w);
	assert_int_equal(allocate_both(&alice), 0);
	assert_int_equal(addr_family(&alice.relay), AF_INET);
	assert_int_equal(addr_family(&alice.relay6), AF_UNSPEC);
	assert_int_equal(stun_get_address_error(&alice.m, &family, &code, &reason), 0);
	assert_int_equal(family, AF_INET6);
	assert_int_equal(code, 440);
}

static void of_a_dual_allocation_the_second_family_alone_is_enough(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"), bob = client_udp(w, "192.0.2.1:4001", "bob");
	sa_family_t family;
	unsigned code;
	struct text reason;

	w->relay_addresses[0] = w->relay_addresses[1];
	w->cfg.relay.addresses.n = 1;
	world_reload(w);
	assert_int_equal(allocate_both(&alice), 0);
	assert_int_equal(addr_family(&alice.relay6), AF_INET6);
	assert_int_equal(stun_get_address_error(&alice.m, &family, &code, &reason), 0);
	assert_int_equal(family, AF_INET);
	assert_int_equal(code, 440);
	assert_int_equal(ask_again(&alice), 0); /* and again the same */
	assert_int_equal(stun_get_address_error(&alice.m, &family, &code, &reason), 0);
	w->open_error = -EMFILE;
	assert_int_equal(allocate_both(&bob),
			 508); /* not that there is no IPv4: IPv6 would have been enough (RFC 8656 7.2, 9) */
	assert_int_equal(turn_totals_allocations(w->totals), 1);
}

static void wishes_that_exclude_each_other_are_bad(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(handshake(&alice), 401);
	begin(&alice, STUN_ALLOCATE);
	stun_put_u32(&alice.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put_u32(&alice.sw, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2u << 24);
	stun_put_u32(&alice.sw, STUN_A_REQUESTED_ADDRESS_FAMILY, 1u << 24);
	assert_int_equal(ask(&alice), 400);
	begin(&alice, STUN_ALLOCATE);
	stun_put_u32(&alice.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put_u32(&alice.sw, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 1u << 24);
	assert_int_equal(ask(&alice), 400);
	begin(&alice, STUN_ALLOCATE);
	stun_put_u32(&alice.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put_u32(&alice.sw, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2u << 24);
	stun_put(&alice.sw, STUN_A_EVEN_PORT, "\x80", 1);
	assert_int_equal(ask(&alice), 400);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_CONTRADICTION), 3);
	assert_int_equal(w->n_relays, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(an_ipv4_client_may_have_an_ipv6_relay_and_the_other_way_round),
		TALK(a_peer_of_the_other_family_is_a_mismatch),
		TALK(a_family_that_there_is_not_is_not_supported),
		TALK(without_relay_addresses_the_one_that_the_client_came_to_serves),
		TALK(a_dual_allocation_has_an_address_of_each_family),
		TALK(one_of_two_families_can_be_given_back),
		TALK(what_is_given_back_takes_its_channels_and_permissions_along),
		TALK(each_of_two_families_has_its_own_time),
		TALK(a_refresh_that_names_no_family_prolongs_both),
		TALK(a_family_whose_time_is_over_relays_nothing_though_the_timer_has_not_run),
		TALK(a_family_that_could_not_be_had_is_named_beside_the_one_that_could),
		TALK(of_a_dual_allocation_the_second_family_alone_is_enough),
		TALK(wishes_that_exclude_each_other_are_bad),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
