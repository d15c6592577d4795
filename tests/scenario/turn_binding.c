/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binding (RFC 8489 12, RFC 3489): everybody gets their address, cheaply and without an amplifier.
 */
#include "tests/scenario/turn_world.h"

static void everybody_is_told_their_address(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", ""),
		      six = client_udp(w, "[2001:db8:5::1]:4000", "");
	struct addr a;

	begin(&c, STUN_BINDING);
	assert_int_equal(ask(&c), 0);
	assert_int_equal(stun_get_addr(&c.m, STUN_A_XOR_MAPPED_ADDRESS, &a), 0);
	assert_true(addr_equal(&a, &c.path.client));
	assert_int_equal(c.answer_n, 32); /* 1.6 times the request */
	begin(&six, STUN_BINDING);
	assert_int_equal(ask(&six), 0);
	assert_int_equal(stun_get_addr(&six.m, STUN_A_XOR_MAPPED_ADDRESS, &a), 0);
	assert_true(addr_equal(&a, &six.path.client));
}

static void software_is_told_only_where_there_is_room(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "");

	w->cfg.software = (char *)"Stile";
	world_reload(w);
	begin(&c, STUN_BINDING);
	assert_int_equal(ask(&c), 0);
	assert_false(stun_has(&c.m, STUN_A_SOFTWARE));
	begin(&c, STUN_BINDING);
	stun_put_text(&c.sw, STUN_A_SOFTWARE, TEXT("a client with a long name"));
	assert_int_equal(ask(&c), 0);
	assert_true(stun_has(&c.m, STUN_A_SOFTWARE));
	assert_true(5 * c.answer_n <= 8 * c.request_n);
}

static void a_client_of_rfc_3489_gets_its_address_in_the_clear(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "");
	uint8_t request[20] = { 0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	uint8_t change[28] = { 0, 1,  0,  8,  1,  2,  3,  4,  5, 6, 7, 8,
			       9, 10, 11, 12, 13, 14, 15, 16, 0, 3, 0, 4 };
	struct addr a;

	assert_int_equal(raw(&c, request, sizeof request), 0);
	assert_memory_equal(c.answer + 4, request + 4, 16);
	assert_int_equal(stun_get_addr(&c.m, STUN_A_MAPPED_ADDRESS, &a), 0);
	assert_true(addr_equal(&a, &c.path.client));
	assert_false(stun_has(&c.m, STUN_A_XOR_MAPPED_ADDRESS));
	assert_int_equal(raw(&c, change, sizeof change), 0); /* CHANGE-REQUEST that wants no change */
	change[27] = 6; /* change address and port: that would take a second address */
	assert_int_equal(raw(&c, change, sizeof change), 420);
	assert_int_equal(load_be16(c.m.attr[STUN_A_UNKNOWN_ATTRIBUTES].p), 3);
}

static void the_excess_of_answers_to_strangers_is_charged(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice"),
		      neighbour = client_udp(w, "192.0.2.200:9", ""),
		      other = client_udp(w, "192.0.3.1:4000", ""),
		      tcp = client_tcp(w, "192.0.2.1:4000", "");
	unsigned answered = 0;

	w->cfg.limits.unauthenticated_bitrate = 96 * 100; /* the excess of 100 Bindings of 20 bytes, a second */
	world_reload(w);
	assert_int_equal(handshake(&c), 401);
	for (unsigned i = 0; i < 300; i++) {
		begin(&c, STUN_BINDING);
		c.unsigned_next = true;
		answered += ask(&c) == 0;
	}
	assert_in_range(answered, 80, 101);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_BUDGET), 300 - answered);
	begin(&neighbour, STUN_BINDING); /* the same /24 */
	assert_int_equal(ask(&neighbour), NO_ANSWER);
	begin(&other, STUN_BINDING);
	assert_int_equal(ask(&other), 0);
	begin(&tcp, STUN_BINDING); /* whoever has a connection has proved its address */
	assert_int_equal(ask(&tcp), 0);
	assert_int_equal(allocate(&c), 0); /* and so has who got the nonce */
	world_wait(w, 1000);
	begin(&neighbour, STUN_BINDING);
	assert_int_equal(ask(&neighbour), 0);
}

static void a_good_nonce_passes_before_the_budget(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(handshake(&alice), 401);
	w->cfg.limits.unauthenticated_bitrate = 1; /* nothing at all may exceed its request now */
	w->cfg.software = (char *)"a server with a name so long that its answers are longer than what was asked, "
				  "by much more than the credential of the request";
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_true(alice.answer_n > alice.request_n);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_BUDGET), 0);
	strcpy(alice.nonce, "x"); /* not ours, and shorter than the one to come */
	begin(&alice, STUN_REFRESH);
	assert_int_equal(ask(&alice), NO_ANSWER);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_BUDGET), 1);
}

static void an_answer_that_is_no_larger_than_its_request_is_free(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "");

	w->cfg.limits.unauthenticated_bitrate = 1;
	world_reload(w);
	for (unsigned i = 0; i < 100; i++) {
		begin(&c, STUN_BINDING);
		stun_put_text(&c.sw, STUN_A_SOFTWARE, TEXT("0123456789"));
		assert_int_equal(ask(&c), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(everybody_is_told_their_address),
		TALK(software_is_told_only_where_there_is_room),
		TALK(a_client_of_rfc_3489_gets_its_address_in_the_clear),
		TALK(the_excess_of_answers_to_strangers_is_charged),
		TALK(a_good_nonce_passes_before_the_budget),
		TALK(an_answer_that_is_no_larger_than_its_request_is_free),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
