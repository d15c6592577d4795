/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Send and Data indications (RFC 8656 11) and what a relay does to a packet on its way: hop count, DF,
 * DSCP, sizes, counters, bit rates.
 */
#include "tests/scenario/turn_world.h"

static void a_send_indication_without_permission_goes_nowhere(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      bob = client_udp(w, "192.0.2.2:4000", "bob");

	send_to(&bob, "9.9.9.9:53", "x");
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_NO_ALLOCATION), 1);
	assert_int_equal(allocate(&alice), 0);
	send_to(&alice, "9.9.9.9:53", "x");
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_NO_PERMISSION), 1);
	assert_silence(w);
}

static void send_parts(struct client *c, const char *peer, const char *data, uint16_t extra)
{
	static const uint8_t tid[STUN_TID_LEN] = { 9 };
	uint8_t buf[256];
	struct stun_writer sw;
	struct addr a = address(peer ? peer : "9.9.9.9:1");

	stun_begin(&sw, buf, sizeof buf, STUN_SEND, STUN_INDICATION, tid);
	if (peer)
		stun_put_addr(&sw, STUN_A_XOR_PEER_ADDRESS, &a);
	if (data)
		stun_put(&sw, STUN_A_DATA, data, strlen(data));
	if (extra)
		stun_put_raw(&sw, extra, NULL, 0);
	raw(c, buf, (size_t)stun_end(&sw));
}

static void a_send_indication_needs_peer_and_data(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	send_parts(&alice, NULL, "x", 0);
	send_parts(&alice, "9.9.9.9:53", NULL, 0);
	send_parts(&alice, "9.9.9.9:53", "x", 0x7abc); /* something that must be understood */
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_MALFORMED), 3);
	send_to(&alice, "9.9.9.9:53", "");
	assert_peer_got(w, "9.9.9.9:53", "");
}

/* What a Send indication with DONT-FRAGMENT becomes at this peer. */
static int df_towards(struct client *c, const char *at)
{
	static const uint8_t tid[STUN_TID_LEN] = { 9 };
	uint8_t buf[256];
	struct stun_writer sw;
	struct addr peer = address(at);
	struct sent s;

	assert_int_equal(permit(c, at), 0);
	stun_begin(&sw, buf, sizeof buf, STUN_SEND, STUN_INDICATION, tid);
	stun_put_addr(&sw, STUN_A_XOR_PEER_ADDRESS, &peer);
	stun_put_flag(&sw, STUN_A_DONT_FRAGMENT);
	stun_put(&sw, STUN_A_DATA, "x", 1);
	turn_input(c->w->server, &c->path,
		   &(struct turn_packet){ .data = buf, .n = (size_t)stun_end(&sw), .mark = DGRAM_MARK_NONE },
		   c->w->now);
	assert_true(take(c->w, &s));
	free(s.data);
	return s.mark.df;
}

static void dont_fragment_on_a_send_indication_sets_df(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(df_towards(&alice, "9.9.9.9:53"), 1);
}

/* RFC 8656 13.1 to 13.3: "MUST be ignored by the server"; 15 keeps it for clients over TCP. */
static void between_udp_and_udp_dont_fragment_is_ignored_where_ipv6_is_involved(void **state)
{
	struct world *w = *state;
	struct client four = client_udp(w, "192.0.2.1:4000", "alice"),
		      six = client_udp(w, "[2001:db8:5::1]:4000", "alice"),
		      tcp = client_tcp(w, "[2001:db8:5::1]:4001", "alice");

	assert_int_equal(allocate_both(&four), 0);
	assert_int_equal(allocate_both(&six), 0);
	assert_int_equal(allocate_both(&tcp), 0);
	assert_int_equal(df_towards(&four, "9.9.9.9:53"), 1);
	assert_int_equal(df_towards(&four, "[2a00::9]:53"), -1);
	assert_int_equal(df_towards(&six, "9.9.9.9:53"), -1);
	assert_int_equal(df_towards(&six, "[2a00::9]:53"), -1);
	assert_int_equal(df_towards(&tcp, "9.9.9.9:53"), 1);
	assert_int_equal(df_towards(&tcp, "[2a00::9]:53"), 1);
}

static void peer_with_mark(struct world *w, const struct client *c, struct dgram_mark mark)
{
	uint8_t data[] = "data";

	peer_sends(w, &c->relay, "9.9.9.9:53",
		   &(struct turn_packet){ .data = data, .n = 4, .mark = mark });
}

static void a_relay_is_a_hop_and_keeps_dscp_and_ecn(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct sent s;

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	peer_with_mark(w, &alice, (struct dgram_mark){ .tos = 0xb9, .ttl = 61, .df = -1 });
	assert_true(take(w, &s));
	assert_int_equal(s.mark.tos, 0xb9);
	assert_int_equal(s.mark.ttl, 60);
	free(s.data);
	peer_with_mark(w, &alice, (struct dgram_mark){ .tos = -1, .ttl = 1, .df = -1 });
	peer_with_mark(w, &alice, (struct dgram_mark){ .tos = -1, .ttl = 0, .df = -1 });
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_TTL), 2);
}

static void the_largest_frames_pass_and_larger_ones_are_dropped(void **state)
{
	struct world *w = *state;
	struct client udp = client_udp(w, "192.0.2.1:4000", "alice"),
		      tcp = client_tcp(w, "192.0.2.1:4000", "alice");
	uint8_t *big = calloc(1, 65536);
	struct sent s;
	struct turn_packet pk = { .data = big, .n = 65507, .mark = DGRAM_MARK_NONE };

	assert_non_null(big);
	assert_int_equal(allocate(&udp), 0);
	assert_int_equal(allocate(&tcp), 0);
	assert_int_equal(bind_channel(&udp, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(bind_channel(&tcp, 0x4000, "9.9.9.9:53"), 0);
	peer_sends(w, &udp.relay, "9.9.9.9:53", &pk); /* with the header it is no datagram any more */
	peer_sends(w, &udp.relay, "9.9.9.9:54", &pk);
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_TOO_BIG), 2);
	peer_sends(w, &tcp.relay, "9.9.9.9:53", &pk);
	assert_true(take(w, &s));
	assert_int_equal(s.n, 65512);
	free(s.data);
	peer_sends(w, &tcp.relay, "9.9.9.9:54", &pk); /* as a Data indication it just fits */
	assert_true(take(w, &s));
	assert_int_equal(s.n, 20 + 12 + 4 + 65508);
	free(s.data);
	pk.n = 65503;
	peer_sends(w, &udp.relay, "9.9.9.9:53", &pk);
	assert_true(take(w, &s));
	assert_int_equal(s.n, 65507);
	free(s.data);
	free(big);
}

static void what_no_data_indication_can_hold_is_dropped(void **state)
{
	struct world *w = *state;
	struct client tcp = client_tcp(w, "192.0.2.1:4000", "alice");
	uint8_t *big = calloc(1, 65536);
	struct turn_packet pk = { .data = big, .n = 65527, .mark = DGRAM_MARK_NONE }; /* IPv6's largest */

	assert_non_null(big);
	assert_int_equal(allocate_family(&tcp, 2), 0);
	assert_int_equal(permit(&tcp, "2a00::9"), 0);
	peer_sends(w, &tcp.relay6, "[2a00::9]:53", &pk);
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_TOO_BIG), 1);
	free(big);
}

static void the_last_hop_of_a_packet_to_a_peer_is_here_too(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	uint8_t frame[] = { 0x40, 0, 0, 1, 'x' };
	struct sent s;

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	turn_input(w->server, &alice.path,
		   &(struct turn_packet){ .data = frame, .n = 5, .mark = { .tos = -1, .ttl = 1, .df = -1 } }, w->now);
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_TTL), 1);
	turn_input(w->server, &alice.path,
		   &(struct turn_packet){ .data = frame, .n = 5, .mark = { .tos = -1, .ttl = 2, .df = -1 } }, w->now);
	assert_true(take(w, &s));
	assert_int_equal(s.mark.ttl, 1);
	free(s.data);
}

static void an_empty_packet_is_a_packet_both_ways(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      tcp = client_tcp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(allocate(&tcp), 0);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	send_to(&alice, "9.9.9.9:53", "");
	assert_peer_got(w, "9.9.9.9:53", "");
	peer_says(w, &alice.relay, "9.9.9.9:53", "");
	assert_client_got(&alice, "9.9.9.9:53", "");
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(bind_channel(&tcp, 0x4000, "9.9.9.9:53"), 0);
	channel_data(&alice, 0x4000, "");
	channel_data(&tcp, 0x4000, "");
	assert_peer_got(w, "9.9.9.9:53", "");
	assert_peer_got(w, "9.9.9.9:53", "");
	peer_says(w, &alice.relay, "9.9.9.9:53", "");
	assert_channel_got(&alice, 0x4000, "");
	peer_says(w, &tcp.relay, "9.9.9.9:53", "");
	assert_channel_got(&tcp, 0x4000, "");
}

/* As after a stop of the process: packets were waiting, and are seen before the timer that is due. */
static void what_is_read_after_the_allocations_time_goes_nowhere(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	world_wait(w, 400000);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0); /* permits the peer until 700 s */
	w->now += 200000;
	channel_data(&alice, 0x4000, "late");
	send_to(&alice, "9.9.9.9:53", "late");
	peer_says(w, &alice.relay, "9.9.9.9:53", "late");
	peer_says(w, &alice.relay, "9.9.9.9:54", "late");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_NO_ALLOCATION), 4);
}

static void packets_and_bytes_are_counted_each_way(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	channel_data(&alice, 0x4000, "12345");
	send_to(&alice, "9.9.9.9:53", "123");
	peer_says(w, &alice.relay, "9.9.9.9:53", "1234567");
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_UP), 2);
	assert_int_equal(counted(w, TURN_M_BYTES, TURN_UP), 8);
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_DOWN), 1);
	assert_int_equal(counted(w, TURN_M_BYTES, TURN_DOWN), 7);
}

static unsigned relayed_in(struct world *w, struct client *c, unsigned ms)
{
	static const char kilobyte[] = /* 100 times 10 */
		"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
	unsigned n = 0;
	struct sent s;

	for (unsigned i = 0; i < ms; i++) {
		world_wait(w, 1);
		for (unsigned k = 0; k < 5; k++) {
			channel_data(c, 0x4000, kilobyte);
			if (take(w, &s)) {
				free(s.data);
				n++;
			}
		}
	}
	return n;
}

static void a_user_is_held_to_its_bit_rate_and_another_is_not(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      bob = client_udp(w, "192.0.2.2:4000", "bob");

	w->cfg.limits.bitrate_per_user = 800000; /* 100 kB/s: 1000 packets of 100 bytes */
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(allocate(&bob), 0);
	assert_int_equal(bind_channel(&bob, 0x4000, "9.9.9.9:53"), 0);
	unsigned first = relayed_in(w, &alice, 1000); /* the burst of one second, and what comes in one */
	assert_in_range(first, 1800, 2100);
	unsigned second = relayed_in(w, &alice, 1000);
	assert_in_range(second, 900, 1100);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_BITRATE_USER), 10000 - first - second);
	assert_true(relayed_in(w, &bob, 100) == 500);
}

static void all_users_together_are_held_to_the_bit_rate_of_the_server(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      bob = client_udp(w, "192.0.2.2:4000", "bob");

	w->cfg.limits.bitrate = 800000;
	w->cfg.limits.bitrate_per_user = 80000000;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(allocate(&bob), 0);
	assert_int_equal(bind_channel(&bob, 0x4000, "9.9.9.9:53"), 0);
	unsigned first = relayed_in(w, &alice, 1000);
	unsigned second = relayed_in(w, &bob, 1000);
	assert_in_range(first, 1800, 2100);
	assert_in_range(second, 900, 1100);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_BITRATE_TOTAL), 10000 - first - second);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_BITRATE_USER), 0);
}

static void what_comes_down_is_held_to_the_bit_rate_too(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	w->cfg.limits.bitrate_per_user = 64; /* eight bytes a second */
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	peer_says(w, &alice.relay, "9.9.9.9:53", "eight by");
	assert_channel_got(&alice, 0x4000, "eight by");
	peer_says(w, &alice.relay, "9.9.9.9:53", "x");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_BITRATE_USER), 1);
	world_wait(w, 1000);
	peer_says(w, &alice.relay, "9.9.9.9:53", "x");
	assert_channel_got(&alice, 0x4000, "x");
}

static void no_allocation_hoards_what_its_user_may_send(void **state)
{
	struct world *w = *state;
	struct client one = client_udp(w, "192.0.2.1:4000", "alice"),
		      two = client_udp(w, "192.0.2.1:4001", "alice");

	w->cfg.limits.bitrate_per_user = 800000;
	world_reload(w);
	assert_int_equal(allocate(&one), 0);
	assert_int_equal(bind_channel(&one, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(allocate(&two), 0);
	assert_int_equal(bind_channel(&two, 0x4000, "9.9.9.9:53"), 0);
	channel_data(&one, 0x4000, "a little");
	assert_peer_got(w, "9.9.9.9:53", "a little");
	assert_true(relayed_in(w, &two, 180) > 800); /* nearly all of the burst is still there */
}

static void indications_are_never_answered(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	static const enum stun_method methods[] = {
		STUN_BINDING, STUN_ALLOCATE,	      STUN_REFRESH,
		STUN_DATA,    STUN_CREATE_PERMISSION, STUN_CHANNEL_BIND,
	};
	static const uint8_t tid[STUN_TID_LEN] = { 9 };
	uint8_t buf[64];
	struct stun_writer sw;

	assert_int_equal(allocate(&alice), 0);
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		stun_begin(&sw, buf, sizeof buf, methods[i], STUN_INDICATION, tid);
		assert_int_equal(raw(&alice, buf, (size_t)stun_end(&sw)), NO_ANSWER);
	}
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_UNEXPECTED), 5);
}

/* The bytes of a TCP peer (RFC 6062) go in pieces of what the rate has left, and in the next millisecond on. */
static void a_streams_bytes_go_as_the_rate_lets_them(void **state)
{
	enum { MANY = 100000000 };
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct turn_alloc *a;
	size_t first, later = 0;

	assert_int_equal(allocate(&alice), 0);
	a = turn_alloc_find(w->server, &alice.path);
	assert_int_equal(turn_spend_some(a, TURN_DOWN, MANY, w->now), MANY); /* unlimited */
	w->cfg.limits.bitrate_per_user = 800000;
	world_reload(w);
	first = turn_spend_some(a, TURN_UP, MANY, w->now);
	assert_in_range(first, 1, 1000000);
	while (turn_spend_some(a, TURN_UP, 1000, w->now))
		;
	assert_int_equal(turn_spend_some(a, TURN_UP, 1000, w->now), 0);
	for (unsigned i = 0; i < 100; i++) { /* ten seconds */
		world_wait(w, 100);
		later += turn_spend_some(a, TURN_UP, MANY, w->now);
	}
	assert_in_range(later, 900000, 1200000);
	assert_int_equal(a->bytes[TURN_DOWN], MANY);
	assert_true(a->bytes[TURN_UP] >= first + later);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(a_send_indication_without_permission_goes_nowhere),
		TALK(a_send_indication_needs_peer_and_data),
		TALK(dont_fragment_on_a_send_indication_sets_df),
		TALK(between_udp_and_udp_dont_fragment_is_ignored_where_ipv6_is_involved),
		TALK(a_relay_is_a_hop_and_keeps_dscp_and_ecn),
		TALK(the_largest_frames_pass_and_larger_ones_are_dropped),
		TALK(what_no_data_indication_can_hold_is_dropped),
		TALK(the_last_hop_of_a_packet_to_a_peer_is_here_too),
		TALK(an_empty_packet_is_a_packet_both_ways),
		TALK(what_is_read_after_the_allocations_time_goes_nowhere),
		TALK(packets_and_bytes_are_counted_each_way),
		TALK(a_user_is_held_to_its_bit_rate_and_another_is_not),
		TALK(all_users_together_are_held_to_the_bit_rate_of_the_server),
		TALK(what_comes_down_is_held_to_the_bit_rate_too),
		TALK(no_allocation_hoards_what_its_user_may_send),
		TALK(indications_are_never_answered),
		TALK(a_streams_bytes_go_as_the_rate_lets_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
