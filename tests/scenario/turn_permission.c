/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CreatePermission (RFC 8656 9, 10): who is let through and for how long, several peers at once or none, and
 * the peers that are refused in every spelling.
 */
#include "tests/scenario/turn_world.h"

static void a_permission_lets_any_port_of_its_address_through_both_ways(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.9:1"), 0);
	send_to(&alice, "9.9.9.9:53", "question");
	assert_peer_got(w, "9.9.9.9:53", "question");
	peer_says(w, &alice.relay, "9.9.9.9:54", "answer");
	assert_client_got(&alice, "9.9.9.9:54", "answer");
	send_to(&alice, "9.9.9.8:53", "question");
	assert_silence(w);
	peer_says(w, &alice.relay, "9.9.9.8:53", "answer");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_NO_PERMISSION), 1);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_PEER_UNWANTED), 1);
}

static void a_permission_ends_after_300_s_whatever_is_sent(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	world_wait(w, 299999);
	send_to(&alice, "9.9.9.9:53", "still");
	assert_peer_got(w, "9.9.9.9:53", "still");
	peer_says(w, &alice.relay, "9.9.9.9:53", "still");
	assert_client_got(&alice, "9.9.9.9:53", "still");
	world_wait(w, 1);
	send_to(&alice, "9.9.9.9:53", "late");
	peer_says(w, &alice.relay, "9.9.9.9:53", "late");
	assert_silence(w);
}

static void a_permission_is_renewed_by_asking_again(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	world_wait(w, 200000);
	assert_int_equal(permit(&alice, "9.9.9.9:77"), 0);
	world_wait(w, 200000);
	send_to(&alice, "9.9.9.9:53", "hello");
	assert_peer_got(w, "9.9.9.9:53", "hello");
	assert_int_equal(counted(w, TURN_M_PERMISSIONS, 0), 1);
}

static unsigned permit_three(struct client *c, const char *a, const char *b, const char *d)
{
	const char *peers[] = { a, b, d };

	begin(c, STUN_CREATE_PERMISSION);
	for (size_t i = 0; i < 3; i++) {
		struct addr peer = address(peers[i]);
		stun_put_addr(&c->sw, STUN_A_XOR_PEER_ADDRESS, &peer);
	}
	return ask(c);
}

static void several_peers_are_permitted_at_once(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit_three(&alice, "9.9.9.1", "9.9.9.2", "9.9.9.1"), 0);
	send_to(&alice, "9.9.9.1:53", "one");
	assert_peer_got(w, "9.9.9.1:53", "one");
	send_to(&alice, "9.9.9.2:53", "two");
	assert_peer_got(w, "9.9.9.2:53", "two");
	assert_int_equal(counted(w, TURN_M_PERMISSIONS, 0), 2);
}

static void one_bad_peer_among_several_lets_none_through(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit_three(&alice, "9.9.9.1", "9.9.9.2", "10.0.0.1"), 403);
	assert_int_equal(permit_three(&alice, "9.9.9.1", "[2a00::1]:1", "9.9.9.2"), 443);
	send_to(&alice, "9.9.9.1:53", "one");
	send_to(&alice, "9.9.9.2:53", "two");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_PERMISSIONS, 0), 0);
}

static void without_a_peer_the_request_is_bad(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	begin(&alice, STUN_CREATE_PERMISSION);
	assert_int_equal(ask(&alice), 400);
	begin(&alice, STUN_CREATE_PERMISSION);
	stun_put(&alice.sw, STUN_A_XOR_PEER_ADDRESS, "\0\3abcdef", 8); /* a family that there is not */
	assert_int_equal(ask(&alice), 400);
}

/* Advisory: CVE-2020-26262, CVE-2026-27624, embedded IPv4. */
static void dangerous_peers_are_refused_in_every_spelling(void **state)
{
	static const char *const v4[] = {
		"0.0.0.0",    "127.0.0.1",    "127.9.9.9",   "169.254.1.1",  "10.1.2.3",
		"172.16.0.1", "192.168.1.1",  "100.64.0.1",  "224.0.0.1",    "255.255.255.255",
		"192.0.2.9",  "198.51.100.9", "203.0.113.9", "198.51.100.1",
	};
	static const char *const v6[] = {
		"::",
		"::1",
		"fe80::1",
		"fc00::1",
		"fd12::1",
		"ff02::1",
		"2001:db8::9",
		"::ffff:127.0.0.1",
		"::ffff:10.1.2.3",
		"::127.0.0.1",
		"64:ff9b::7f00:1",
		"64:ff9b::a00:1",
		"2002:7f00:1::1",
		"2002:a00:1::1",
		"2001:0:1:2:0:0:f5ff:fffe", /* Teredo of 10.0.0.1 */
		"::ffff:0.0.0.0",
	};
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      six = client_udp(w, "192.0.2.2:1", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(allocate_family(&six, 2), 0);
	for (size_t i = 0; i < ARRAY_LEN(v4); i++)
		assert_int_equal(permit(&alice, v4[i]), 403);
	for (size_t i = 0; i < ARRAY_LEN(v6); i++) {
		assert_int_equal(permit(&six, v6[i]), 403);
		assert_int_equal(permit(&alice, v6[i]), 403); /* the family does not help either */
	}
	assert_int_equal(bind_channel(&alice, 0x4000, "10.1.2.3:5"), 403);
	assert_int_equal(counted(w, TURN_M_PERMISSIONS, 0), 0);
}

static void an_ipv4_address_in_disguise_is_no_ipv6_peer(void **state)
{
	struct world *w = *state;
	struct client six = client_udp(w, "192.0.2.2:1", "alice");

	assert_int_equal(allocate_family(&six, 2), 0);
	assert_int_equal(permit(&six, "::ffff:9.9.9.9"), 443);
	assert_int_equal(permit(&six, "::9.9.9.9"), 443);
}

static void an_allowed_prefix_is_allowed_and_a_denied_one_denied(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct prefix allow, deny;

	assert_int_equal(prefix_parse(TEXT("10.0.0.0/8"), &allow), 0);
	assert_int_equal(prefix_parse(TEXT("9.9.9.0/24"), &deny), 0);
	w->cfg.peers.allow = (struct cfg_list){ &allow, 1 };
	w->cfg.peers.deny = (struct cfg_list){ &deny, 1 };
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "10.1.2.3"), 0);
	assert_int_equal(permit(&alice, "192.168.0.1"), 403);
	assert_int_equal(permit(&alice, "9.9.9.9"), 403);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_PEER), 2);
}

static void two_clients_of_one_server_reach_each_other_and_nothing_else_of_it(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      bob = client_udp(w, "192.0.2.2:4000", "bob");
	char bobs[ADDR_STRLEN];

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(allocate(&bob), 0);
	addr_print(&bob.relay, bobs);
	assert_int_equal(permit(&alice, "198.51.100.10"), 0);
	send_to(&alice, bobs, "hello bob");
	assert_peer_got(w, bobs, "hello bob");
	send_to(&alice, "198.51.100.10:22", "hello ssh");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_OWN_ADDRESS), 1);
	assert_int_equal(bind_channel(&alice, 0x4001, "198.51.100.10:22"), 403);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_OWN_PEER), 1);
	assert_int_equal(bind_channel(&alice, 0x4000, bobs), 0);
	channel_data(&alice, 0x4000, "hello again");
	assert_peer_got(w, bobs, "hello again");
	peer_says(w, &alice.relay, bobs, "hello alice");
	assert_channel_got(&alice, 0x4000, "hello alice");
	peer_says(w, &alice.relay, "198.51.100.10:53", "I am the resolver of this machine");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_OWN_ADDRESS), 2);
	assert_int_equal(refresh(&bob, 0), 0); /* and the port is no relay socket any more */
	peer_says(w, &alice.relay, bobs, "too late");
	channel_data(&alice, 0x4000, "anybody?");
	send_to(&alice, bobs, "anybody?");
	assert_silence(w);
}

static void two_clients_meet_at_the_external_address_and_at_no_other_port_of_it(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      bob = client_udp(w, "192.0.2.2:4000", "bob");
	char bobs[ADDR_STRLEN];

	w->external_addresses[0] = address("203.0.113.10");
	w->external_addresses[1] = address("2001:db8:ffff::10");
	w->cfg.relay.outside = (struct cfg_list){ w->external_addresses, 2 };
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(allocate(&bob), 0);
	assert_true(addr_equal_ip(&bob.relay, &w->external_addresses[0]));
	addr_print(&bob.relay, bobs);
	assert_int_equal(permit(&alice, "203.0.113.10"), 0);
	assert_int_equal(permit(&alice, "203.0.113.11"), 403);
	send_to(&alice, bobs, "hello bob");
	struct addr inside = w->relay_addresses[0];
	char insides[ADDR_STRLEN];
	addr_set_port(&inside, addr_port(&bob.relay));
	assert_peer_got(w, addr_print(&inside, insides), "hello bob"); /* straight to his socket: turn_external.c */
	send_to(&alice, "203.0.113.10:22", "hello ssh");
	assert_silence(w);
	assert_int_equal(bind_channel(&alice, 0x4000, "203.0.113.10:22"), 403);
	assert_int_equal(refresh(&bob, 0), 0);
	send_to(&alice, bobs, "anybody?");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_OWN_ADDRESS), 2);
}

static void a_reload_that_forbids_a_peer_ends_its_permission_and_no_other(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct prefix deny;

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(bind_channel(&alice, 0x4001, "8.8.8.8:53"), 0);
	world_reload(w); /* the same rules */
	channel_data(&alice, 0x4000, "before");
	assert_peer_got(w, "9.9.9.9:53", "before");
	assert_int_equal(prefix_parse(TEXT("9.9.9.0/24"), &deny), 0);
	w->cfg.peers.deny = (struct cfg_list){ &deny, 1 };
	world_reload(w);
	channel_data(&alice, 0x4000, "after");
	send_to(&alice, "9.9.9.9:53", "after");
	peer_says(w, &alice.relay, "9.9.9.9:53", "after");
	assert_silence(w);
	channel_data(&alice, 0x4001, "of another");
	assert_peer_got(w, "8.8.8.8:53", "of another");
	peer_says(w, &alice.relay, "8.8.8.8:53", "from another");
	assert_channel_got(&alice, 0x4001, "from another");
	assert_int_equal(counted(w, TURN_M_REVOKED, TURN_REVOKED_PERMISSION), 1);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 403);
	w->cfg.peers.deny.n = 0;
	world_reload(w);
	channel_data(&alice, 0x4000, "allowed again, but nobody asked");
	assert_silence(w);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	channel_data(&alice, 0x4000, "asked");
	assert_peer_got(w, "9.9.9.9:53", "asked");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(a_permission_lets_any_port_of_its_address_through_both_ways),
		TALK(a_permission_ends_after_300_s_whatever_is_sent),
		TALK(a_permission_is_renewed_by_asking_again),
		TALK(several_peers_are_permitted_at_once),
		TALK(one_bad_peer_among_several_lets_none_through),
		TALK(without_a_peer_the_request_is_bad),
		TALK(dangerous_peers_are_refused_in_every_spelling),
		TALK(an_ipv4_address_in_disguise_is_no_ipv6_peer),
		TALK(an_allowed_prefix_is_allowed_and_a_denied_one_denied),
		TALK(two_clients_of_one_server_reach_each_other_and_nothing_else_of_it),
		TALK(two_clients_meet_at_the_external_address_and_at_no_other_port_of_it),
		TALK(a_reload_that_forbids_a_peer_ends_its_permission_and_no_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
