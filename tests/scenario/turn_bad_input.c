/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What strangers send: cut, lying, misaligned and random messages get the RFC's answer or silence, with
 * a counter, and leave nothing behind.
 */
#include "tests/scenario/turn_world.h"

static void an_empty_or_foreign_datagram_is_dropped(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");
	static const char *const texts[] = { "",	   "\x16\xfe\xfd", "\x80\x60rtp",
					     "\x50\x01zz", "\xffnonsense", "\x02" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_int_equal(raw(&c, texts[i], strlen(texts[i])), NO_ANSWER);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_NOT_TURN) +
				 counted(w, TURN_M_DROPS, TURN_DROP_MALFORMED),
			 6);
}

/* Advisory: CVE-2026-43994. */
static void a_message_cut_anywhere_is_refused_or_dropped(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");
	uint8_t whole[4096];

	assert_int_equal(allocate(&c), 0);
	size_t n = c.request_n;
	memcpy(whole, c.request, n);
	for (size_t i = 0; i < n; i++) {
		unsigned code = raw(&c, whole, i);
		assert_true(code == NO_ANSWER || code == 400);
	}
	assert_int_equal(w->n_relays, 1);
	assert_int_equal(refresh(&c, -1), 0);
}

/* Advisory: 16-bit truncation. */
static void channel_data_whose_length_lies_is_dropped(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");
	static const uint8_t lies[][8] = {
		{ 0x40, 0, 0, 5, 1, 2, 3, 4 },
		{ 0x40, 0, 0xff, 0xff, 1, 2, 3, 4 },
		{ 0x40, 0, 0, 0, 1, 2, 3, 4 },
	};

	assert_int_equal(allocate(&c), 0);
	assert_int_equal(bind_channel(&c, 0x4000, "9.9.9.9:53"), 0);
	for (size_t i = 0; i < ARRAY_LEN(lies); i++)
		assert_int_equal(raw(&c, lies[i], 8), NO_ANSWER);
	for (size_t n = 1; n < 4; n++)
		assert_int_equal(raw(&c, lies[0], n), NO_ANSWER);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_MALFORMED), 6);
}

static void a_bad_attribute_makes_a_bad_request_and_an_indication_silent(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");

	begin(&c, STUN_BINDING);
	stun_put_raw(&c.sw, 0x000d, "12", 2); /* a LIFETIME of two bytes */
	assert_int_equal(ask(&c), 400);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_MALFORMED), 1);
	begin(&c, STUN_BINDING);
	stun_put_raw(&c.sw, 0x000d, "12", 2);
	ssize_t n = stun_end(&c.sw);
	c.request[0] = 0;
	c.request[1] = 0x11;
	assert_int_equal(raw(&c, c.request, (size_t)n), NO_ANSWER);
}

static void a_wrong_fingerprint_is_not_for_us(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");

	c.fingerprint = true;
	begin(&c, STUN_BINDING);
	assert_int_equal(ask(&c), 0);
	c.request[c.request_n - 1] ^= 1;
	assert_int_equal(ask_again(&c), NO_ANSWER);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_FINGERPRINT), 1);
}

static void responses_and_unknown_methods_are_dropped(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");

	begin(&c, (enum stun_method)0x0ab);
	assert_int_equal(ask(&c), NO_ANSWER);
	begin(&c, STUN_BINDING);
	ssize_t n = stun_end(&c.sw);
	c.request[0] = 1;
	assert_int_equal(raw(&c, c.request, (size_t)n), NO_ANSWER);
	c.request[1] = 0x11;
	assert_int_equal(raw(&c, c.request, (size_t)n), NO_ANSWER);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_UNEXPECTED), 3);
}

/* Advisory: behind the integrity. */
static void what_stands_behind_the_integrity_does_not_count(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");
	struct addr evil = address("9.9.9.66:1");

	assert_int_equal(allocate(&c), 0);
	begin(&c, STUN_CREATE_PERMISSION);
	struct addr good = address("9.9.9.9:1");
	stun_put_addr(&c.sw, STUN_A_XOR_PEER_ADDRESS, &good);
	assert_int_equal(ask(&c), 0);
	/* the same request once more, with a peer added by somebody without the password */
	struct stun_writer sw = c.sw;
	sw.w.end = c.request + sizeof c.request;
	stun_put_addr(&sw, STUN_A_XOR_PEER_ADDRESS, &evil);
	c.request_n = (size_t)stun_end(&sw);
	assert_int_equal(ask_again(&c), 0);
	send_to(&c, "9.9.9.66:1", "x");
	assert_silence(w);
}

/* Advisory: format string. */
static void a_name_with_percent_signs_and_control_bytes_is_only_a_name(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "%s%n%s%n\x01\x1b[31m");

	assert_int_equal(allocate(&c), 401);
	assert_int_equal(w->n_relays, 0);
}

static uint32_t next(uint32_t *seed)
{
	return *seed = *seed * 1664525u + 1013904223u;
}

static void random_bytes_and_flipped_bits_change_nothing(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice"),
		      stranger = client_udp(w, "192.0.2.9:9", "bob");
	uint8_t buf[4096];
	uint32_t seed = 1;
	struct sent s;

	assert_int_equal(allocate(&c), 0);
	assert_int_equal(bind_channel(&c, 0x4000, "9.9.9.9:53"), 0);
	for (unsigned i = 0; i < 20000; i++) {
		size_t n = next(&seed) % 200;
		if (i % 2) {
			n = c.request_n;
			memcpy(buf, c.request, n);
			buf[next(&seed) % n] ^= (uint8_t)(1u << next(&seed) % 8);
		} else {
			for (size_t k = 0; k < n; k++)
				buf[k] = (uint8_t)(next(&seed) >> 24);
			if (n && i % 4 == 0)
				buf[0] &= 0x43;
		}
		uint8_t *block = malloc(n ? n : 1);
		assert_non_null(block);
		memcpy(block, buf, n);
		turn_input(w->server, &stranger.path,
			   &(struct turn_packet){ .data = block, .n = n, .mark = DGRAM_MARK_NONE },
			   w->now);
		free(block);
		while (take(w, &s)) {
			assert_false(s.to_peer);
			free(s.data);
		}
	}
	assert_int_equal(w->n_relays, 1);
	assert_int_equal(refresh(&c, -1), 0);
}

/* Advisory: state for spoofed packets. */
static void a_million_sources_leave_nothing_behind(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");
	struct turn_path from;

	w->cfg.limits.unauthenticated_bitrate = 1000000;
	world_reload(w);
	assert_int_equal(allocate(&c), 0);
	begin(&c, STUN_ALLOCATE);
	size_t n = (size_t)stun_end(&c.sw);
	from = c.path;
	w->lossy = true; /* their answers are not kept here either */
	for (uint32_t i = 0; i < 1000000; i++) {
		from.client = addr_v4(0x20000000u + i * 977, (uint16_t)i);
		turn_input(w->server, &from,
			   &(struct turn_packet){ .data = c.request, .n = n, .mark = DGRAM_MARK_NONE },
			   w->now);
	}
	w->lossy = false;
	assert_int_equal(turn_server_count(w->server), 1);
	assert_int_equal(w->server->by_tuple.count, 1);
	assert_int_equal(refresh(&c, -1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(an_empty_or_foreign_datagram_is_dropped),
		TALK(a_message_cut_anywhere_is_refused_or_dropped),
		TALK(channel_data_whose_length_lies_is_dropped),
		TALK(a_bad_attribute_makes_a_bad_request_and_an_indication_silent),
		TALK(a_wrong_fingerprint_is_not_for_us),
		TALK(responses_and_unknown_methods_are_dropped),
		TALK(what_stands_behind_the_integrity_does_not_count),
		TALK(a_name_with_percent_signs_and_control_bytes_is_only_a_name),
		TALK(random_bytes_and_flipped_bits_change_nothing),
		TALK(a_million_sources_leave_nothing_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
