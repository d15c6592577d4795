/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ChannelBind and ChannelData (RFC 8656 11.5, 12): binding, what stands in its way, how long it lasts, and
 * the padding on streams.
 */
#include "tests/scenario/turn_world.h"

static void a_channel_carries_data_both_ways(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	channel_data(&alice, 0x4000, "odd");
	assert_peer_got(w, "9.9.9.9:53", "odd");
	peer_says(w, &alice.relay, "9.9.9.9:53", "unpadded");
	assert_channel_got(&alice, 0x4000, "unpadded");
	peer_says(w, &alice.relay, "9.9.9.9:53", "five5");
	assert_channel_got(&alice, 0x4000, "five5");
	channel_data(&alice, 0x4000, "");
	assert_peer_got(w, "9.9.9.9:53", "");
	peer_says(w, &alice.relay, "9.9.9.9:53", "");
	assert_channel_got(&alice, 0x4000, "");
}

static void binding_a_channel_permits_its_peer(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	peer_says(w, &alice.relay, "9.9.9.9:99", "another port");
	assert_client_got(&alice, "9.9.9.9:99", "another port");
	send_to(&alice, "9.9.9.9:99", "back");
	assert_peer_got(w, "9.9.9.9:99", "back");
}

static void on_a_stream_channel_data_is_padded(void **state)
{
	static const char *const texts[] = { "", "1", "22", "333", "4444", "55555" };
	struct world *w = *state;
	struct client alice = client_tcp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x7FFF, "9.9.9.9:53"), 0);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		channel_data(&alice, 0x7FFF, texts[i]);
		assert_peer_got(w, "9.9.9.9:53", texts[i]);
		peer_says(w, &alice.relay, "9.9.9.9:53", texts[i]);
		assert_channel_got(&alice, 0x7FFF, texts[i]);
		peer_says(w, &alice.relay, "9.9.9.9:99", texts[i]);
		assert_client_got(&alice, "9.9.9.9:99", texts[i]);
	}
}

static void without_headroom_the_header_goes_beside_the_data(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	uint8_t data[] = "tail";

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4002, "9.9.9.9:53"), 0);
	peer_sends(w, &alice.relay, "9.9.9.9:53",
		   &(struct turn_packet){ .data = data, .n = 4, .mark = DGRAM_MARK_NONE, .stable = true });
	assert_channel_got(&alice, 0x4002, "tail");
	assert_string_equal((char *)data, "tail");
}

static void a_number_out_of_range_is_bad(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x3FFF, "9.9.9.9:53"), 400);
	assert_int_equal(bind_channel(&alice, 0x8000, "9.9.9.9:53"), 400);
	assert_int_equal(bind_channel(&alice, 0xFFFF, "9.9.9.9:53"), 400);
	assert_int_equal(bind_channel(&alice, 0x7FFF, "9.9.9.9:53"), 0);
}

static void number_and_peer_are_both_needed(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct addr peer = address("9.9.9.9:53");

	assert_int_equal(allocate(&alice), 0);
	begin(&alice, STUN_CHANNEL_BIND);
	stun_put_addr(&alice.sw, STUN_A_XOR_PEER_ADDRESS, &peer);
	assert_int_equal(ask(&alice), 400);
	begin(&alice, STUN_CHANNEL_BIND);
	stun_put_u32(&alice.sw, STUN_A_CHANNEL_NUMBER, 0x40000000);
	assert_int_equal(ask(&alice), 400);
}

static void a_bound_number_keeps_its_peer_and_a_bound_peer_its_number(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:54"), 400);
	assert_int_equal(bind_channel(&alice, 0x4001, "9.9.9.9:53"), 400);
	assert_int_equal(bind_channel(&alice, 0x4001, "9.9.9.9:54"), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0); /* the same again */
	assert_int_equal(counted(w, TURN_M_CHANNELS, 0), 2);
}

static void a_channel_lives_600_s_but_its_permission_only_300(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(refresh(&alice, 3600), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	world_wait(w, 299999);
	channel_data(&alice, 0x4000, "still");
	assert_peer_got(w, "9.9.9.9:53", "still");
	world_wait(w, 1);
	channel_data(&alice, 0x4000, "not permitted");
	peer_says(w, &alice.relay, "9.9.9.9:53", "not permitted");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_NO_PERMISSION), 1);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0); /* the channel is still there */
	channel_data(&alice, 0x4000, "again");
	assert_peer_got(w, "9.9.9.9:53", "again");
	peer_says(w, &alice.relay, "9.9.9.9:53", "again");
	assert_channel_got(&alice, 0x4000, "again");
	world_wait(w, 299999);
	channel_data(&alice, 0x4000, "last");
	assert_peer_got(w, "9.9.9.9:53", "last");
	world_wait(w, 1);
	channel_data(&alice, 0x4000, "gone");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_NO_CHANNEL), 1);
}

static void after_its_end_a_number_may_have_another_peer(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(refresh(&alice, 3600), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(bind_channel(&alice, 0x4001, "9.9.9.8:53"), 0);
	world_wait(w, 500000);
	assert_int_equal(bind_channel(&alice, 0x4001, "9.9.9.8:53"), 0);
	world_wait(w, 100000);
	alice.nonce[0] = 0; /* it has grown old by now */
	assert_int_equal(handshake(&alice), 401);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.7:53"), 0);
	assert_int_equal(bind_channel(&alice, 0x4002, "9.9.9.9:53"), 0);
	channel_data(&alice, 0x4000, "seven");
	assert_peer_got(w, "9.9.9.7:53", "seven");
	channel_data(&alice, 0x4001, "eight");
	assert_peer_got(w, "9.9.9.8:53", "eight");
	channel_data(&alice, 0x4002, "nine");
	assert_peer_got(w, "9.9.9.9:53", "nine");
	peer_says(w, &alice.relay, "9.9.9.9:53", "nine");
	assert_channel_got(&alice, 0x4002, "nine");
}

static void an_unbound_number_goes_nowhere(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      bob = client_udp(w, "192.0.2.2:4000", "bob");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	channel_data(&alice, 0x4001, "x");
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_NO_CHANNEL), 1);
	channel_data(&bob, 0x4000, "x"); /* another's channel */
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_NO_ALLOCATION), 1);
	assert_silence(w);
}

static void many_channels_are_all_found(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	char peer[32], text[16];

	w->cfg.limits.channels_per_allocation = w->cfg.limits.permissions_per_allocation = 1000;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(peer, sizeof peer, "9.9.%u.%u:%u", i / 250, i % 250, 1000 + i);
		assert_int_equal(bind_channel(&alice, 0x4000 + i * 4, peer), 0);
	}
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(peer, sizeof peer, "9.9.%u.%u:%u", i / 250, i % 250, 1000 + i);
		snprintf(text, sizeof text, "to %u", i);
		channel_data(&alice, 0x4000 + i * 4, text);
		assert_peer_got(w, peer, text);
		peer_says(w, &alice.relay, peer, text);
		assert_channel_got(&alice, 0x4000 + i * 4, text);
	}
	assert_int_equal(bind_channel(&alice, 0x4001, "9.9.10.1:1"), 508);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(a_channel_carries_data_both_ways),
		TALK(binding_a_channel_permits_its_peer),
		TALK(on_a_stream_channel_data_is_padded),
		TALK(without_headroom_the_header_goes_beside_the_data),
		TALK(a_number_out_of_range_is_bad),
		TALK(number_and_peer_are_both_needed),
		TALK(a_bound_number_keeps_its_peer_and_a_bound_peer_its_number),
		TALK(a_channel_lives_600_s_but_its_permission_only_300),
		TALK(after_its_end_a_number_may_have_another_peer),
		TALK(an_unbound_number_goes_nowhere),
		TALK(many_channels_are_all_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
