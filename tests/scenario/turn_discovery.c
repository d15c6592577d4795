/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NAT behaviour discovery (RFC 5780): what a server with two addresses and two ports answers, from where
 * and to where, and that no part of it makes an amplifier.
 */
#include "tests/scenario/turn_world.h"
#include "turn/discovery.h"

/* The clients' listener is 198.51.100.1:3478; the first address of the set is the other one, on purpose. */
static void find_set(struct world *w)
{
	const struct addr udp[] = { address("198.51.100.2:3479"), address("198.51.100.1:3479"),
				    address("198.51.100.1:3478"), address("198.51.100.2:3478") };

	turn_discovery_find(&w->discovery, udp, ARRAY_LEN(udp));
	assert_int_equal(w->discovery.n, 1);
}

static void begin_change(struct client *c, uint32_t change)
{
	begin(c, STUN_BINDING);
	stun_put_u32(&c->sw, STUN_A_CHANGE_REQUEST, change);
}

/* The answer to what has begun, with the addresses that its datagram really had. */
static unsigned answer_way(struct client *c, struct addr *ret_from, struct addr *ret_to)
{
	ssize_t n = stun_end(&c->sw);
	uint8_t *block;
	struct sent s;
	unsigned code = 0;
	struct text reason;

	assert_true(n > 0);
	block = malloc((size_t)n);
	assert_non_null(block);
	memcpy(block, c->request, (size_t)n);
	c->request_n = (size_t)n;
	turn_input(c->w->server, &c->path,
		   &(struct turn_packet){ .data = block, .n = (size_t)n, .mark = DGRAM_MARK_NONE }, c->w->now);
	free(block);
	if (!take(c->w, &s))
		return NO_ANSWER;
	*ret_from = s.from;
	*ret_to = s.to;
	c->answer_n = s.n;
	memcpy(c->answer, s.data, s.n);
	free(s.data);
	assert_int_equal(stun_parse(c->answer, c->answer_n, &c->m), STUN_OK);
	if (c->m.class == STUN_ERROR)
		assert_int_equal(stun_get_error(&c->m, &code, &reason), 0);
	return code;
}

static void assert_addr(const struct client *c, enum stun_attr a, const char *text)
{
	struct addr got, want = address(text);

	assert_int_equal(stun_get_addr(&c->m, a, &got), 0);
	assert_true(addr_equal(&got, &want));
}

static void every_answer_names_its_origin_and_the_other_address(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "");

	find_set(w);
	begin(&c, STUN_BINDING);
	assert_int_equal(ask(&c), 0);
	assert_addr(&c, STUN_A_XOR_MAPPED_ADDRESS, "192.0.2.1:4000");
	assert_addr(&c, STUN_A_MAPPED_ADDRESS, "192.0.2.1:4000");
	assert_addr(&c, STUN_A_RESPONSE_ORIGIN, "198.51.100.1:3478");
	assert_addr(&c, STUN_A_OTHER_ADDRESS, "198.51.100.2:3479");
}

static void a_change_request_is_answered_from_where_it_says(void **state)
{
	static const struct {
		uint32_t change;
		const char *from;
	} table[] = { /* RFC 5780 6.1, table 1 */
		{ 0, "198.51.100.1:3478" },
		{ 2, "198.51.100.1:3479" },
		{ 4, "198.51.100.2:3478" },
		{ 6, "198.51.100.2:3479" },
		{ 0xfffffff9, "198.51.100.1:3478" }, /* other bits mean nothing */
	};
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "");
	struct addr from, to, want;

	find_set(w);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		begin_change(&c, table[i].change);
		assert_int_equal(answer_way(&c, &from, &to), 0);
		want = address(table[i].from);
		assert_true(addr_equal(&from, &want));
		assert_true(addr_equal(&to, &c.path.client));
		assert_addr(&c, STUN_A_RESPONSE_ORIGIN, table[i].from);
		assert_addr(&c, STUN_A_OTHER_ADDRESS, "198.51.100.2:3479");
	}
}

static void a_client_of_rfc_3489_is_answered_from_there_too(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "");
	uint8_t change[28] = { 0, 1,  0,  8,  1,  2,  3,  4,  5, 6, 7, 8,
			       9, 10, 11, 12, 13, 14, 15, 16, 0, 3, 0, 4, 0, 0, 0, 6 };

	find_set(w);
	assert_int_equal(raw(&c, change, sizeof change), 0);
	assert_addr(&c, STUN_A_MAPPED_ADDRESS, "192.0.2.1:4000");
	assert_addr(&c, STUN_A_SOURCE_ADDRESS, "198.51.100.2:3479");
	assert_addr(&c, STUN_A_CHANGED_ADDRESS, "198.51.100.2:3479");
	assert_false(stun_has(&c.m, STUN_A_OTHER_ADDRESS));
}

static void response_port_sends_the_answer_to_another_port(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "");
	struct addr from, to, want = address("192.0.2.1:5000");

	find_set(w);
	begin(&c, STUN_BINDING);
	stun_put(&c.sw, STUN_A_RESPONSE_PORT, (uint8_t[]){ 5000 >> 8, 5000 & 255, 0, 0 }, 4);
	assert_int_equal(answer_way(&c, &from, &to), 0);
	assert_true(addr_equal(&to, &want));
	assert_addr(&c, STUN_A_XOR_MAPPED_ADDRESS, "192.0.2.1:4000"); /* of who asked */
}

static void bad_wishes_are_refused_to_whom_they_came_from(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "");
	struct addr from, to;
	uint8_t padding[64] = { 0 };

	find_set(w);
	begin(&c, STUN_BINDING);
	stun_put(&c.sw, STUN_A_RESPONSE_PORT, (uint8_t[]){ 0, 0, 0, 0 }, 4);
	assert_int_equal(answer_way(&c, &from, &to), 400);
	begin_change(&c, 6);
	stun_put(&c.sw, STUN_A_RESPONSE_PORT, (uint8_t[]){ 1, 2, 0, 0 }, 4);
	stun_put(&c.sw, STUN_A_PADDING, padding, sizeof padding);
	assert_int_equal(answer_way(&c, &from, &to), 400);
	assert_true(addr_equal(&to, &c.path.client));
	assert_true(addr_equal(&from, &c.path.local));
	begin_change(&c, 6);
	stun_put_raw(&c.sw, 0x7777, padding, 4);
	assert_int_equal(answer_way(&c, &from, &to), 420);
	assert_true(addr_equal(&from, &c.path.local));
}

static void padding_is_as_long_as_the_request_s_and_at_most_the_mtu(void **state)
{
	static const struct {
		size_t asked, got;
	} table[] = { { 0, 0 }, { 64, 64 }, { 1023, 1020 }, { 1500, 1500 }, { 3000, 1500 } };
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "");
	uint8_t padding[3000] = { 0 };

	find_set(w);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		begin(&c, STUN_BINDING);
		stun_put(&c.sw, STUN_A_PADDING, padding, table[i].asked);
		assert_int_equal(ask(&c), 0);
		assert_true(stun_has(&c.m, STUN_A_PADDING));
		assert_int_equal(c.m.attr[STUN_A_PADDING].n, table[i].got);
	}
}

static void without_a_second_address_each_wish_is_420(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", ""), tcp = client_tcp(w, "192.0.2.1:4000", "");

	begin_change(&c, 6);
	assert_int_equal(ask(&c), 420);
	begin(&c, STUN_BINDING);
	stun_put(&c.sw, STUN_A_RESPONSE_PORT, (uint8_t[]){ 1, 2, 0, 0 }, 4);
	assert_int_equal(ask(&c), 420);
	begin(&c, STUN_BINDING);
	stun_put(&c.sw, STUN_A_PADDING, "0123", 4);
	assert_int_equal(ask(&c), 420);
	find_set(w); /* nor on a connection, which has one way only */
	begin_change(&tcp, 6);
	assert_int_equal(ask(&tcp), 420);
	begin(&tcp, STUN_BINDING);
	assert_int_equal(ask(&tcp), 0);
	assert_false(stun_has(&tcp.m, STUN_A_OTHER_ADDRESS));
}

static void other_methods_take_no_such_wish(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");

	find_set(w);
	assert_int_equal(handshake(&c), 401);
	begin(&c, STUN_ALLOCATE);
	stun_put_u32(&c.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&c.sw, STUN_A_RESPONSE_PORT, (uint8_t[]){ 1, 2, 0, 0 }, 4);
	assert_int_equal(ask(&c), 420);
}

static void what_exceeds_the_request_is_charged_and_a_redirected_answer_whole(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", ""), victim = client_udp(w, "192.0.3.1:4000", "");
	struct addr from, to;
	unsigned answered = 0, redirected = 0;

	find_set(w);
	w->cfg.limits.unauthenticated_bitrate = 8 * 48 * 50; /* the excess of 50 Bindings of 20 bytes, a second */
	world_reload(w);
	for (unsigned i = 0; i < 200; i++) {
		begin(&c, STUN_BINDING);
		answered += ask(&c) == 0;
	}
	assert_in_range(answered, 45, 51);
	for (unsigned i = 0; i < 200; i++) {
		begin(&victim, STUN_BINDING);
		stun_put(&victim.sw, STUN_A_RESPONSE_PORT, (uint8_t[]){ 0, 53, 0, 0 }, 4);
		stun_put_text(&victim.sw, STUN_A_SOFTWARE, TEXT("so long a request that its answer exceeds nothing"));
		redirected += answer_way(&victim, &from, &to) == 0;
	}
	assert_in_range(redirected, 20, 36);
}

static void the_set_is_found_among_the_listeners(void **state)
{
	struct turn_discovery d;
	unsigned ip, port;
	const struct addr one_port[] = { address("9.9.9.1:3478"), address("9.9.9.2:3478") },
			  one_address[] = { address("9.9.9.1:3478"), address("9.9.9.1:3479") },
			  crossed[] = { address("9.9.9.1:3478"), address("9.9.9.1:3479"), address("9.9.9.2:3478"),
					address("9.9.9.2:3480") },
			  wild[] = { address("0.0.0.0:3478"), address("0.0.0.0:3479"), address("9.9.9.2:3478"),
				     address("9.9.9.2:3479") },
			  both[] = { address("9.9.9.1:3478"),	    address("[2001:db8::1]:3478"), address("9.9.9.1:80"),
				     address("[2001:db8::1]:3479"), address("9.9.9.2:80"),	   address("9.9.9.3:3478"),
				     address("[2001:db8::2]:3479"), address("9.9.9.2:3478"),	   address("[2001:db8::2]:3478") };

	(void)state;
	turn_discovery_find(&d, one_port, ARRAY_LEN(one_port));
	assert_int_equal(d.n, 0);
	turn_discovery_find(&d, one_address, ARRAY_LEN(one_address));
	assert_int_equal(d.n, 0);
	turn_discovery_find(&d, crossed, ARRAY_LEN(crossed));
	assert_int_equal(d.n, 0);
	turn_discovery_find(&d, wild, ARRAY_LEN(wild));
	assert_int_equal(d.n, 0);
	turn_discovery_find(&d, both, ARRAY_LEN(both));
	assert_int_equal(d.n, 2);
	assert_non_null(turn_discovery_set_of(&d, &both[4], &ip, &port)); /* 9.9.9.2:80 */
	assert_int_equal(ip, 1);
	assert_int_equal(port, 1);
	assert_ptr_equal(turn_discovery_set_of(&d, &both[6], &ip, &port), &d.set[1]);
	assert_null(turn_discovery_set_of(&d, &both[5], &ip, &port)); /* 9.9.9.3:3478 has no second port */
}

static void behind_a_1_to_1_nat_the_public_addresses_are_told(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "");
	struct addr inside[] = { address("198.51.100.1"), address("198.51.100.2") },
		    outside[] = { address("203.0.113.1"), address("203.0.113.2") };

	w->cfg.relay.addresses = (struct cfg_list){ inside, 2 };
	w->cfg.relay.outside = (struct cfg_list){ outside, 2 };
	find_set(w);
	world_reload(w);
	begin(&c, STUN_BINDING);
	assert_int_equal(ask(&c), 0);
	assert_addr(&c, STUN_A_RESPONSE_ORIGIN, "203.0.113.1:3478");
	assert_addr(&c, STUN_A_OTHER_ADDRESS, "203.0.113.2:3479");

	outside[1] = (struct addr){ 0 }; /* not known yet: nothing wrong is told */
	world_reload(w);
	begin(&c, STUN_BINDING);
	assert_int_equal(ask(&c), 0);
	assert_false(stun_has(&c.m, STUN_A_OTHER_ADDRESS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(every_answer_names_its_origin_and_the_other_address),
		TALK(a_change_request_is_answered_from_where_it_says),
		TALK(a_client_of_rfc_3489_is_answered_from_there_too),
		TALK(response_port_sends_the_answer_to_another_port),
		TALK(bad_wishes_are_refused_to_whom_they_came_from),
		TALK(padding_is_as_long_as_the_request_s_and_at_most_the_mtu),
		TALK(without_a_second_address_each_wish_is_420),
		TALK(other_methods_take_no_such_wish),
		TALK(what_exceeds_the_request_is_charged_and_a_redirected_answer_whole),
		TALK(the_set_is_found_among_the_listeners),
		TALK(behind_a_1_to_1_nat_the_public_addresses_are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
