/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Behind a 1:1 NAT (turn.relay.external): what clients are told, how two clients of one server reach each other by
 * their external addresses without the NAT's help, that the rest of one's own addresses stays refused, and what
 * becomes of it all when the external address is another one.
 */
#include "tests/scenario/turn_world.h"

#define INSIDE "198.51.100.10"
#define OUTSIDE "9.9.9.77"
#define OUTSIDE_2 "9.9.9.88"

/* NULL: not known yet. */
static void tell(struct world *w, const char *outside)
{
	w->external_addresses[0] = outside ? address(outside) : (struct addr){ 0 };
	w->external_addresses[1] = w->relay_addresses[1];
	w->cfg.relay.outside = (struct cfg_list){ w->external_addresses, 2 };
	world_reload(w);
}

static struct client with_allocation(struct world *w, const char *at, const char *user)
{
	struct client c = client_udp(w, at, user);

	assert_int_equal(allocate(&c), 0);
	return c;
}

static const char *told(const struct client *c)
{
	static char buf[4][ADDR_STRLEN];
	static unsigned next;

	return addr_print(&c->relay, buf[next++ % 4]);
}

/* The socket behind what the client was told. */
static struct addr behind(const struct client *c)
{
	struct addr at = address(INSIDE);

	addr_set_port(&at, addr_port(&c->relay));
	return at;
}

/* What went out to `to` comes in there, as the kernel would bring it: from the socket inside. */
static void cross(struct world *w, const struct client *from, const struct client *to, const char *text)
{
	struct addr at = behind(to), source = behind(from);
	char at_text[ADDR_STRLEN], source_text[ADDR_STRLEN];

	assert_peer_got(w, addr_print(&at, at_text), text);
	peer_says(w, &at, addr_print(&source, source_text), text);
}

static void two_clients_reach_each_other_by_their_external_addresses(void **state)
{
	struct world *w = *state;

	tell(w, OUTSIDE);
	struct client alice = with_allocation(w, "192.0.2.1:4000", "alice");
	struct client bob = with_allocation(w, "192.0.2.2:4000", "bob");
	struct addr outside = address(OUTSIDE);

	assert_true(addr_equal_ip(&alice.relay, &outside));
	assert_int_equal(permit(&alice, OUTSIDE), 0);
	assert_int_equal(permit(&bob, OUTSIDE), 0);
	send_to(&alice, told(&bob), "hello");
	cross(w, &alice, &bob, "hello");
	assert_client_got(&bob, told(&alice), "hello");
	assert_int_equal(bind_channel(&bob, 0x4001, told(&alice)), 0);
	channel_data(&bob, 0x4001, "and back");
	cross(w, &bob, &alice, "and back");
	assert_client_got(&alice, told(&bob), "and back");
	send_to(&alice, told(&bob), "again");
	cross(w, &alice, &bob, "again");
	assert_channel_got(&bob, 0x4001, "again");
	assert_silence(w);
}

static void an_icmp_error_names_the_external_address(void **state)
{
	struct world *w = *state;

	tell(w, OUTSIDE);
	struct client alice = with_allocation(w, "192.0.2.1:4000", "alice");
	struct client bob = with_allocation(w, "192.0.2.2:4000", "bob");
	struct addr at = behind(&alice), peer;
	struct dgram_error e = { .to = behind(&bob), .offender = address(INSIDE), .icmp_type = 3, .icmp_code = 3 };
	struct sent s;
	struct stun_msg m;

	assert_int_equal(permit(&alice, OUTSIDE), 0);
	icmp_error(w, &at, &e);
	assert_true(take(w, &s));
	assert_int_equal(stun_parse(s.data, s.n, &m), STUN_OK);
	assert_int_equal(stun_get_addr(&m, STUN_A_XOR_PEER_ADDRESS, &peer), 0);
	assert_true(addr_equal(&peer, &bob.relay));
	free(s.data);
}

static void the_rest_of_one_s_own_addresses_stays_refused(void **state)
{
	struct world *w = *state;

	tell(w, OUTSIDE);
	struct client alice = with_allocation(w, "192.0.2.1:4000", "alice");

	assert_int_equal(permit(&alice, INSIDE), 403); /* nobody was told it */
	assert_int_equal(bind_channel(&alice, 0x4001, OUTSIDE ":22"), 403);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_OWN_PEER), 1);
	assert_int_equal(permit(&alice, OUTSIDE), 0);
	send_to(&alice, OUTSIDE ":22", "ssh");
	send_to(&alice, OUTSIDE ":65000", "a relay port that is not open");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_OWN_ADDRESS), 2);
	/* Another program of this machine is no relay socket, and not taken for one. */
	struct addr at = behind(&alice);
	peer_says(w, &at, INSIDE ":53", "who am I");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_PEER_UNWANTED), 1);
}

static void with_a_rule_that_allows_it_the_short_way_is_taken_too(void **state)
{
	struct world *w = *state;
	struct prefix all;

	assert_int_equal(prefix_parse(TEXT("0.0.0.0/0"), &all), 0);
	w->cfg.peers.allow = (struct cfg_list){ &all, 1 };
	tell(w, OUTSIDE);
	struct client alice = with_allocation(w, "192.0.2.1:4000", "alice");
	struct client bob = with_allocation(w, "192.0.2.2:4000", "bob");

	assert_int_equal(permit(&alice, OUTSIDE), 0);
	assert_int_equal(permit(&bob, OUTSIDE), 0);
	send_to(&alice, told(&bob), "hello");
	cross(w, &alice, &bob, "hello");
	assert_client_got(&bob, told(&alice), "hello");
	send_to(&alice, OUTSIDE ":22", "as the rule says");
	assert_peer_got(w, OUTSIDE ":22", "as the rule says");
}

static void until_it_is_known_allocations_of_that_family_are_refused(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"), bob = client_udp(w, "192.0.2.2:4000", "bob");

	tell(w, NULL);
	assert_int_equal(allocate(&alice), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_EXTERNAL), 1);
	assert_int_equal(w->n_relays, 0);
	assert_int_equal(handshake(&bob), 401);
	assert_int_equal(allocate_family(&bob, 2), 0); /* IPv6 has no NAT */
	tell(w, OUTSIDE);
	assert_int_equal(allocate(&alice), 0);
}

static void another_external_address_is_told_to_new_allocations_only(void **state)
{
	struct world *w = *state;

	tell(w, OUTSIDE);
	struct client alice = with_allocation(w, "192.0.2.1:4000", "alice");
	struct addr was = alice.relay, second = address(OUTSIDE_2);

	tell(w, OUTSIDE_2);
	struct client bob = with_allocation(w, "192.0.2.2:4000", "bob");
	assert_true(addr_equal_ip(&bob.relay, &second));
	assert_int_equal(ask_again(&alice), 0); /* her Allocate, once more: as before */
	assert_int_equal(read_allocation(&alice, 0), 0);
	assert_true(addr_equal(&alice.relay, &was));
	assert_int_equal(refresh(&alice, -1), 0);
	assert_int_equal(permit(&bob, OUTSIDE_2), 0);
	assert_int_equal(permit(&alice, OUTSIDE_2), 0);
	send_to(&alice, told(&bob), "still here");
	struct addr at = behind(&bob);
	char text[ADDR_STRLEN];
	assert_peer_got(w, addr_print(&at, text), "still here");
}

static void an_address_that_becomes_one_s_own_is_guarded_at_once(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w, "192.0.2.1:4000", "alice");

	assert_int_equal(permit(&alice, OUTSIDE), 0); /* anybody's */
	assert_int_equal(bind_channel(&alice, 0x4001, OUTSIDE ":22"), 0);
	send_to(&alice, OUTSIDE ":22", "a stranger's");
	assert_peer_got(w, OUTSIDE ":22", "a stranger's");
	tell(w, OUTSIDE);
	send_to(&alice, OUTSIDE ":22", "ours");
	channel_data(&alice, 0x4001, "ours");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_OWN_ADDRESS), 2);
}

static void a_rule_that_denies_ends_what_it_denies(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w, "192.0.2.1:4000", "alice");
	struct prefix bad;

	assert_int_equal(bind_channel(&alice, 0x4001, "9.9.8.1:53"), 0);
	assert_int_equal(permit(&alice, "9.9.7.1"), 0);
	assert_int_equal(prefix_parse(TEXT("9.9.8.0/24"), &bad), 0);
	w->cfg.peers.deny = (struct cfg_list){ &bad, 1 };
	world_reload(w);
	channel_data(&alice, 0x4001, "no more");
	assert_silence(w);
	send_to(&alice, "9.9.7.1:53", "still");
	assert_peer_got(w, "9.9.7.1:53", "still");
}

static void tcp_allocations_reach_each_other_the_same_way(void **state)
{
	struct world *w = *state;
	struct client alice = client_tcp(w, "192.0.2.1:4000", "alice"), bob = client_tcp(w, "192.0.2.2:4000", "bob");
	struct addr at, source;
	char text[ADDR_STRLEN];

	tell(w, OUTSIDE);
	assert_int_equal(allocate_tcp(&alice), 0);
	assert_int_equal(allocate_tcp(&bob), 0);
	assert_int_equal(permit(&bob, OUTSIDE), 0);
	assert_int_equal(connect_to(&alice, OUTSIDE ":22"), 403);
	assert_int_equal(connect_to(&alice, told(&bob)), NO_ANSWER);
	at = behind(&bob);
	source = behind(&alice);
	assert_true(peer_connects(w, &at, addr_print(&source, text)));
	assert_true(attempted(&bob, told(&alice)) != 0);
	peer_answers(&alice, addr_print(&at, text), 0); /* where the connection went */
	assert_int_equal(late_answer(&alice), 0);
	assert_false(peer_connects(w, &at, INSIDE ":53"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(two_clients_reach_each_other_by_their_external_addresses),
		TALK(an_icmp_error_names_the_external_address),
		TALK(the_rest_of_one_s_own_addresses_stays_refused),
		TALK(with_a_rule_that_allows_it_the_short_way_is_taken_too),
		TALK(until_it_is_known_allocations_of_that_family_are_refused),
		TALK(another_external_address_is_told_to_new_allocations_only),
		TALK(an_address_that_becomes_one_s_own_is_guarded_at_once),
		TALK(a_rule_that_denies_ends_what_it_denies),
		TALK(tcp_allocations_reach_each_other_the_same_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
