/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocate (RFC 8656 7.2): what a good request gets, what a repeated one gets, and every reason for
 * which one is refused. Families and reservations have files of their own.
 */
#include <errno.h>
#include "tests/scenario/turn_world.h"

static void begin_allocate(struct client *c, unsigned transport)
{
	begin(c, STUN_ALLOCATE);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_TRANSPORT, transport << 24);
}

static void an_allocation_has_a_relay_address_of_the_range_and_says_who_asked(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct addr relay_ip = address("198.51.100.10");

	assert_int_equal(allocate(&alice), 0);
	assert_true(addr_equal_ip(&alice.relay, &relay_ip));
	assert_in_range(addr_port(&alice.relay), 49152, 65535);
	assert_true(addr_equal(&alice.mapped, &alice.path.client));
	assert_int_equal(alice.lifetime, 600);
	assert_int_equal(counted(w, TURN_M_ALLOCATIONS, 0), 1);
	assert_int_equal(counted(w, TURN_M_ALLOCATIONS_CREATED, TURN_UDP), 1);
}

static void the_same_request_again_gets_the_same_answer_and_no_second_socket(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	uint8_t first[4096];

	assert_int_equal(allocate(&alice), 0);
	size_t n = alice.answer_n;
	memcpy(first, alice.answer, n);
	world_wait(w, 700);
	assert_int_equal(ask_again(&alice), 0);
	assert_int_equal(alice.answer_n, n);
	assert_memory_equal(alice.answer, first, n);
	assert_int_equal(w->n_relays, 1);
}

static void a_second_allocation_on_one_five_tuple_is_a_mismatch(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(allocate(&alice), 437);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_EXISTS), 1);
	assert_int_equal(w->n_relays, 1);
}

static void the_same_client_port_on_another_transport_is_another_client(void **state)
{
	struct world *w = *state;
	struct client udp = client_udp(w, "192.0.2.1:4000", "alice"),
		      tcp = client_tcp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&udp), 0);
	assert_int_equal(allocate(&tcp), 0);
	assert_false(addr_equal(&udp.relay, &tcp.relay));
}

static void the_same_client_port_on_another_address_of_ours_is_another_client(void **state)
{
	struct world *w = *state;
	struct client one = client_udp(w, "192.0.2.1:4000", "alice"), two = one;

	two.path.local = address("198.51.100.2:3478");
	assert_int_equal(allocate(&one), 0);
	assert_int_equal(allocate(&two), 0);
}

static void without_a_transport_the_request_is_bad(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(handshake(&alice), 401);
	begin(&alice, STUN_ALLOCATE);
	assert_int_equal(ask(&alice), 400);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_MISSING), 1);
}

static void a_transport_other_than_udp_and_tcp_is_not_supported(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(handshake(&alice), 401);
	begin_allocate(&alice, 132);
	assert_int_equal(ask(&alice), 442);
	begin_allocate(&alice, 0);
	assert_int_equal(ask(&alice), 442);
	assert_int_equal(w->n_relays, 0);
}

static uint32_t granted(struct world *w, const char *at, uint32_t asked)
{
	struct client c = client_udp(w, at, "alice");

	assert_int_equal(handshake(&c), 401);
	begin_allocate(&c, 17);
	stun_put_u32(&c.sw, STUN_A_LIFETIME, asked);
	assert_int_equal(read_allocation(&c, ask(&c)), 0);
	return c.lifetime;
}

static void a_lifetime_is_kept_between_the_default_and_the_maximum(void **state)
{
	struct world *w = *state;

	assert_int_equal(granted(w, "192.0.2.1:1", 1), 600);
	assert_int_equal(granted(w, "192.0.2.1:2", 0), 600);
	assert_int_equal(granted(w, "192.0.2.1:3", 1800), 1800);
	assert_int_equal(granted(w, "192.0.2.1:4", 3601), 3600);
	assert_int_equal(granted(w, "192.0.2.1:5", UINT32_MAX), 3600);
}

static void an_allocation_ends_when_its_lifetime_does(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	world_wait(w, 599999);
	assert_int_equal(w->n_relays, 1);
	world_wait(w, 1);
	assert_int_equal(w->n_relays, 0);
	assert_int_equal(counted(w, TURN_M_ALLOCATIONS, 0), 0);
	assert_int_equal(counted(w, TURN_M_ALLOCATIONS_ENDED, TURN_END_EXPIRED), 1);
	assert_int_equal(turn_server_count(w->server), 0);
	assert_silence(w);
}

static void dont_fragment_is_understood(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(handshake(&alice), 401);
	begin_allocate(&alice, 17);
	stun_put_flag(&alice.sw, STUN_A_DONT_FRAGMENT);
	assert_int_equal(ask(&alice), 0);
}

static void an_unknown_attribute_that_must_be_understood_is_named(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(handshake(&alice), 401);
	begin_allocate(&alice, 17);
	stun_put_raw(&alice.sw, 0x7abc, "x", 1);
	stun_put_raw(&alice.sw, 0xfabc, "x", 1); /* this one may be ignored */
	assert_int_equal(ask(&alice), 420);
	assert_int_equal(alice.m.attr[STUN_A_UNKNOWN_ATTRIBUTES].n, 2);
	assert_int_equal(load_be16(alice.m.attr[STUN_A_UNKNOWN_ATTRIBUTES].p), 0x7abc);
	assert_int_equal(w->n_relays, 0);
}

static void what_the_library_knows_and_the_server_does_not_offer_is_unknown_too(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(handshake(&alice), 401);
	begin_allocate(&alice, 17);
	stun_put(&alice.sw, STUN_A_ACCESS_TOKEN, "0123456789abcdef", 16);
	assert_int_equal(ask(&alice), 420);
}

static void relay_ports_cannot_be_foretold(void **state)
{
	struct world *w = *state;
	unsigned steps[5] = { 0 }, last = 0;

	w->cfg.limits.allocations_per_user = 100;
	world_reload(w);
	for (unsigned i = 0; i < 60; i++) {
		char at[32];
		snprintf(at, sizeof at, "192.0.2.1:%u", 1000 + i);
		struct client c = client_udp(w, at, "alice");
		assert_int_equal(allocate(&c), 0);
		unsigned port = addr_port(&c.relay);
		steps[port > last + 2 || port + 2 < last ? 0 : 1]++;
		steps[2 + (port >= 57344)]++;
		last = port;
	}
	assert_true(steps[1] <= 3);		     /* no counting up or down */
	assert_true(steps[2] > 10 && steps[3] > 10); /* all over the range */
}

static void ports_of_other_programs_are_passed_over(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	w->cfg.relay.ports = (struct cfg_port_range){ 50000, 50003 };
	w->foreign[0] = 50000;
	w->foreign[1] = 50001;
	w->foreign[2] = 50003;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(addr_port(&alice.relay), 50002);
}

static void a_used_up_range_is_insufficient_capacity_and_costs_no_system_calls(void **state)
{
	struct world *w = *state;
	struct client one = client_udp(w, "192.0.2.1:1", "alice"),
		      two = client_udp(w, "192.0.2.1:2", "alice"),
		      three = client_udp(w, "192.0.2.1:3", "alice");

	w->cfg.relay.ports = (struct cfg_port_range){ 50000, 50001 };
	world_reload(w);
	assert_int_equal(allocate(&one), 0);
	assert_int_equal(allocate(&two), 0);
	w->opens = 0;
	assert_int_equal(allocate(&three), 508);
	assert_int_equal(w->opens, 0);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_PORTS), 1);
	assert_int_equal(refresh(&one, 0), 0);
	assert_int_equal(allocate(&three), 0);
	assert_true(addr_equal(&three.relay, &one.relay));
}

static void a_range_taken_by_others_is_given_up_after_a_bounded_number_of_tries(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice");

	w->open_error = -EADDRINUSE;
	assert_int_equal(allocate(&alice), 508);
	assert_in_range(w->opens, 64, 512);
}

static void without_descriptors_there_is_insufficient_capacity(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice");

	w->open_error = -EMFILE;
	assert_int_equal(allocate(&alice), 508);
	assert_int_equal(w->opens, 1);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_RESOURCES), 1);
	w->open_error = 0;
	assert_int_equal(allocate(&alice), 0);
}

static void the_client_is_told_the_external_address(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice");
	struct addr outside = address("203.0.113.77");

	w->external_addresses[0] = outside;
	w->external_addresses[1] = w->relay_addresses[1];
	w->cfg.relay.outside = (struct cfg_list){ w->external_addresses, 2 };
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_true(addr_equal_ip(&alice.relay, &outside));
	struct addr at = w->relay_addresses[0];
	addr_set_port(&at, addr_port(&alice.relay));
	assert_true(turn_totals_is_relay(w->totals, &at));
	assert_true(turn_totals_is_relay(w->totals, &alice.relay));
}

static void with_several_relay_addresses_the_one_the_client_came_to_is_first(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice");
	struct addr came_to = address("198.51.100.1");

	w->relay_addresses[2] = came_to;
	w->cfg.relay.addresses.n = 3;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_true(addr_equal_ip(&alice.relay, &came_to));
}

static void the_address_is_told_even_when_software_is(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice");

	w->cfg.software = (char *)"Stile";
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(alice.m.attr[STUN_A_SOFTWARE].n, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(an_allocation_has_a_relay_address_of_the_range_and_says_who_asked),
		TALK(the_same_request_again_gets_the_same_answer_and_no_second_socket),
		TALK(a_second_allocation_on_one_five_tuple_is_a_mismatch),
		TALK(the_same_client_port_on_another_transport_is_another_client),
		TALK(the_same_client_port_on_another_address_of_ours_is_another_client),
		TALK(without_a_transport_the_request_is_bad),
		TALK(a_transport_other_than_udp_and_tcp_is_not_supported),
		TALK(a_lifetime_is_kept_between_the_default_and_the_maximum),
		TALK(an_allocation_ends_when_its_lifetime_does),
		TALK(dont_fragment_is_understood),
		TALK(an_unknown_attribute_that_must_be_understood_is_named),
		TALK(what_the_library_knows_and_the_server_does_not_offer_is_unknown_too),
		TALK(relay_ports_cannot_be_foretold),
		TALK(ports_of_other_programs_are_passed_over),
		TALK(a_used_up_range_is_insufficient_capacity_and_costs_no_system_calls),
		TALK(a_range_taken_by_others_is_given_up_after_a_bounded_number_of_tries),
		TALK(without_descriptors_there_is_insufficient_capacity),
		TALK(the_client_is_told_the_external_address),
		TALK(with_several_relay_addresses_the_one_the_client_came_to_is_first),
		TALK(the_address_is_told_even_when_software_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
