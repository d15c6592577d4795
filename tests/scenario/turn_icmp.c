/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ICMP errors on a relay socket (RFC 8656 11.5, 18.13): which become a Data indication with the ICMP
 * attribute, what it carries, and who gets none.
 */
#include "tests/scenario/turn_world.h"

static struct dgram_error error_of(const char *to, uint8_t type, uint8_t code, uint32_t info)
{
	struct dgram_error e = { .to = address(to), .icmp_type = type, .icmp_code = code, .info = info };

	e.v6 = addr_family(&e.to) == AF_INET6;
	return e;
}

static void assert_told(struct client *c, const struct dgram_error *e, uint32_t data)
{
	struct sent s;
	struct stun_msg m;
	struct addr peer;

	assert_true(take(c->w, &s));
	assert_false(s.to_peer);
	assert_true(addr_equal(&s.to, &c->path.client));
	assert_int_equal(stun_parse(s.data, s.n, &m), STUN_OK);
	assert_int_equal(m.type, stun_type(STUN_DATA, STUN_INDICATION));
	assert_int_equal(stun_get_addr(&m, STUN_A_XOR_PEER_ADDRESS, &peer), 0);
	assert_true(addr_equal(&peer, &e->to));
	assert_int_equal(m.attr[STUN_A_ICMP].n, 8);
	const uint8_t *v = m.attr[STUN_A_ICMP].p;
	assert_int_equal(load_be16(v), 0);
	assert_int_equal(v[2], e->icmp_type);
	assert_int_equal(v[3], e->icmp_code);
	assert_int_equal(load_be32(v + 4), data);
	assert_false(stun_has(&m, STUN_A_DATA));
	free(s.data);
}

static void an_unreachable_peer_is_told_to_the_client(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct dgram_error port = error_of("9.9.9.9:53", 3, 3, 77), hops = error_of("9.9.9.9:9", 11, 0, 0);

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	icmp_error(w, &alice.relay, &port);
	assert_told(&alice, &port, 0); /* error data is for an MTU only */
	icmp_error(w, &alice.relay, &hops);
	assert_told(&alice, &hops, 0);
	assert_silence(w);
}

static void a_packet_too_big_tells_the_mtu(void **state)
{
	struct world *w = *state;
	struct client alice = client_tcp(w, "192.0.2.1:4000", "alice"), six = client_udp(w, "192.0.2.1:4001", "alice");
	struct dgram_error v4 = error_of("9.9.9.9:53", 3, 4, 1400), v6 = error_of("[2606:4700::1]:53", 2, 0, 1280);

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0); /* a channel brings the permission */
	icmp_error(w, &alice.relay, &v4);
	assert_told(&alice, &v4, 1400);
	assert_int_equal(allocate_family(&six, 2), 0);
	assert_int_equal(permit(&six, "[2606:4700::1]:1"), 0);
	icmp_error(w, &six.relay6, &v6);
	assert_told(&six, &v6, 1280);
}

static void without_a_permission_nothing_is_told(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct dgram_error e = error_of("9.9.9.9:53", 3, 3, 0), other = error_of("9.9.9.8:53", 3, 3, 0);

	assert_int_equal(allocate(&alice), 0);
	icmp_error(w, &alice.relay, &e);
	assert_silence(w);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	icmp_error(w, &alice.relay, &other);
	assert_silence(w);
	world_wait(w, TURN_PERMISSION_MS);
	icmp_error(w, &alice.relay, &e);
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_PEER_ERRORS, 0), 3);
}

static void types_that_are_no_error_of_delivery_are_not_passed_on(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	static const uint8_t types[] = { 0, 4, 5, 8, 12, 128 };

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct dgram_error e = error_of("9.9.9.9:53", types[i], 0, 0);
		icmp_error(w, &alice.relay, &e);
	}
	assert_silence(w);
}

static void a_storm_of_errors_is_a_trickle_to_the_client(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct dgram_error e = error_of("9.9.9.9:53", 3, 1, 0);

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	world_wait(w, 1000 - w->now % 1000);
	for (unsigned i = 0; i < 1000; i++)
		icmp_error(w, &alice.relay, &e);
	assert_int_equal(w->n_queue, 10);
	for (unsigned i = 0; i < 10; i++)
		assert_told(&alice, &e, 0);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_ICMP_LIMIT), 990);
	world_wait(w, 1000);
	icmp_error(w, &alice.relay, &e);
	assert_told(&alice, &e, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(an_unreachable_peer_is_told_to_the_client),
		TALK(a_packet_too_big_tells_the_mtu),
		TALK(without_a_permission_nothing_is_told),
		TALK(types_that_are_no_error_of_delivery_are_not_passed_on),
		TALK(a_storm_of_errors_is_a_trickle_to_the_client),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
