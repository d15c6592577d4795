/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where frames end on a stream: STUN, padded ChannelData, the largest of both, and what can never be
 * one. Bytes come one by one, as they may.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include "turn/server.h"

static void three_bytes_say_nothing(void **state)
{
	size_t payload = 77;
	static const uint8_t p[3] = { 0x40, 0, 0 };

	(void)state;
	for (size_t n = 0; n < 4; n++)
		assert_int_equal(turn_frame_length(p, n, &payload), 0);
	assert_int_equal(payload, 77);
}

static void channel_data_is_padded_to_four(void **state)
{
	(void)state;
	for (unsigned len = 0; len <= 65535; len++) {
		uint8_t p[4] = { 0x40, 1, (uint8_t)(len >> 8), (uint8_t)len };
		size_t payload = 0;
		ssize_t n = turn_frame_length(p, sizeof p, &payload);
		assert_int_equal(payload, 4 + len);
		assert_true(n >= (ssize_t)payload && n < (ssize_t)payload + 4 && n % 4 == 0);
	}
}

static void a_stun_message_ends_where_its_header_says(void **state)
{
	uint8_t p[20] = { 0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42 };
	size_t payload = 0;

	(void)state;
	for (size_t n = 4; n <= sizeof p; n++) {
		assert_int_equal(turn_frame_length(p, n, &payload), 28);
		assert_int_equal(payload, 28);
	}
	p[2] = 0xff;
	p[3] = 0xfc;
	assert_int_equal(turn_frame_length(p, sizeof p, &payload), 20 + 65532);
}

static void what_is_neither_is_an_error_at_once(void **state)
{
	static const char *const texts[] = {
		"\x16\x03\x01\x02", /* a TLS ClientHello */
		"\x80\x60zz",	    "\xff\xff\xff\xff", "\x17zzz", "\x05zzz",
	};
	uint8_t unaligned[4] = { 0, 1, 0, 5 }, no_magic[8] = { 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x43 };
	size_t payload;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_int_equal(turn_frame_length((const uint8_t *)texts[i], 4, &payload), -EBADMSG);
	assert_int_equal(turn_frame_length(unaligned, 4, &payload), -EBADMSG);
	assert_int_equal(turn_frame_length(no_magic, 7, &payload), 20);
	assert_int_equal(turn_frame_length(no_magic, 8, &payload), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_bytes_say_nothing),
		cmocka_unit_test(channel_data_is_padded_to_four),
		cmocka_unit_test(a_stun_message_ends_where_its_header_says),
		cmocka_unit_test(what_is_neither_is_an_error_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
