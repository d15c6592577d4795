/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PROXY protocol version 2 (common/proxy_protocol.h): headers made by hand from the specification's
 * tables, whole and byte by byte, in blocks of exactly their size; and what is written is read again.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "common/proxy_protocol.h"

/* clang-format off */
#define SIGNATURE "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
#define ADDRESSES4 "\xc0\x00\x02\x01" "\xc6\x33\x64\x02" "\x12\x67" "\x01\xbb" /* 192.0.2.1:4711 → 198.51.100.2:443 */
#define ADDRESSES6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02" "\x12\x67" "\x14\xe5"

struct vector {
	const char *bytes;
	size_t n;
	enum proxy_error error;
};
#define V(error, bytes) { bytes, sizeof(bytes) - 1, error }
static const struct vector refused[] = {
	V(PROXY_MISSING, "GET / HTTP/1.1\r\n\r\n"),
	V(PROXY_MISSING, "\x16\x03\x01"),
	V(PROXY_MISSING, "\x00\x01\x00\x00\x21\x12\xa4\x42"),
	V(PROXY_MISSING, "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0d"),
	V(PROXY_MISSING, "PROXX"),
	V(PROXY_VERSION_1, "PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n"),
	V(PROXY_VERSION_1, "PROXY UNKNOWN\r\n"),
	V(PROXY_BAD_VERSION, SIGNATURE "\x11\x11\x00\x0c" ADDRESSES4),
	V(PROXY_BAD_VERSION, SIGNATURE "\x31\x11\x00\x0c" ADDRESSES4),
	V(PROXY_BAD_COMMAND, SIGNATURE "\x22\x11\x00\x0c" ADDRESSES4),
	V(PROXY_BAD_COMMAND, SIGNATURE "\x2f"),
	V(PROXY_BAD_FAMILY, SIGNATURE "\x21\x41\x00\x0c" ADDRESSES4),
	V(PROXY_BAD_FAMILY, SIGNATURE "\x21\x13\x00\x0c" ADDRESSES4),
	V(PROXY_TOO_LONG, SIGNATURE "\x21\x11\x0f\xf1"),
	V(PROXY_TOO_LONG, SIGNATURE "\x20\x00\xff\xff"),
	V(PROXY_BAD_ADDRESS, SIGNATURE "\x21\x11\x00\x0b\xc0\x00\x02\x01\xc6\x33\x64\x02\x12\x67\x01"),
	V(PROXY_BAD_ADDRESS, SIGNATURE "\x21\x21\x00\x0c" ADDRESSES4),
	V(PROXY_BAD_ADDRESS, SIGNATURE "\x21\x11\x00\x00"),
	V(PROXY_BAD_TLV, SIGNATURE "\x21\x11\x00\x0d" ADDRESSES4 "\x04"),
	V(PROXY_BAD_TLV, SIGNATURE "\x21\x11\x00\x0f" ADDRESSES4 "\x04\x00\x01"),
	V(PROXY_BAD_TLV, SIGNATURE "\x21\x11\x00\x10" ADDRESSES4 "\x04\x00\x02x"),
	V(PROXY_BAD_TLV, SIGNATURE "\x21\x11\x00\x14" ADDRESSES4 "\x02\x00\x01" "a" "\x02\x00\x01" "b"),
	V(PROXY_BAD_TLV, SIGNATURE "\x21\x11\x00\x12" ADDRESSES4 "\x03\x00\x03xxx"),
	V(PROXY_BAD_CHECKSUM, SIGNATURE "\x21\x11\x00\x13" ADDRESSES4 "\x03\x00\x04\x00\x00\x00\x00"),
	V(PROXY_BAD_CHECKSUM, SIGNATURE "\x21\x11\x00\x17" ADDRESSES4 "\x02\x00\x01" "a" "\x03\x00\x04\x17\xd7\xdf\x30"),
};
/* Good, and telling no address. */
static const struct vector silent[] = {
	V(PROXY_OK, SIGNATURE "\x20\x00\x00\x00"),
	V(PROXY_OK, SIGNATURE "\x20\x11\x00\x0c" ADDRESSES4),
	V(PROXY_OK, SIGNATURE "\x20\xff\x00\x03" "xyz"),
	V(PROXY_OK, SIGNATURE "\x21\x00\x00\x00"),
	V(PROXY_OK, SIGNATURE "\x21\x00\x00\x05" "hello"),
	V(PROXY_OK, SIGNATURE "\x21\x12\x00\x0c" ADDRESSES4),
	V(PROXY_OK, SIGNATURE "\x21\x22\x00\x24" ADDRESSES6),
	V(PROXY_OK, SIGNATURE "\x21\x10\x00\x0c" ADDRESSES4),
};
/* clang-format on */

/* Parses in a block of exactly n bytes; slices of h are not kept. */
static enum proxy_error parse(const char *bytes, size_t n, struct proxy_header *ret_h)
{
	uint8_t *block = malloc(n ? n : 1);
	enum proxy_error e;

	assert_non_null(block);
	memcpy(block, bytes, n);
	e = proxy_parse(block, n, ret_h);
	free(block);
	return e;
}

static void assert_addr(const struct addr *a, const char *expected)
{
	char buf[ADDR_STRLEN];

	assert_string_equal(addr_print(a, buf), expected);
}

static void addresses_of_both_families_are_told(void **state)
{
	static const char v4[] = SIGNATURE "\x21\x11\x00\x0c" ADDRESSES4 "the connection's own";
	static const char v6[] = SIGNATURE "\x21\x21\x00\x24" ADDRESSES6;
	struct proxy_header h;

	(void)state;
	assert_int_equal(parse(v4, sizeof(v4) - 1, &h), PROXY_OK);
	assert_int_equal(h.length, 28);
	assert_false(h.local);
	assert_addr(&h.client, "192.0.2.1:4711");
	assert_addr(&h.server, "198.51.100.2:443");
	assert_int_equal(parse(v6, sizeof(v6) - 1, &h), PROXY_OK);
	assert_int_equal(h.length, sizeof(v6) - 1);
	assert_addr(&h.client, "[2001:db8::1]:4711");
	assert_addr(&h.server, "[2001:db8::2]:5349");
}

static void a_header_that_tells_nothing_leaves_the_connections_own_addresses(void **state)
{
	struct proxy_header h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(silent); i++) {
		assert_int_equal(parse(silent[i].bytes, silent[i].n, &h), PROXY_OK);
		assert_int_equal(h.length, silent[i].n);
		assert_int_equal(h.local, (silent[i].bytes[12] & 15) == 0);
		assert_int_equal(addr_family(&h.client), AF_UNSPEC);
		assert_int_equal(addr_family(&h.server), AF_UNSPEC);
	}
}

static void unix_addresses_are_skipped(void **state)
{
	uint8_t header[16 + 216 + 5] = SIGNATURE "\x21\x31\x00\xdd";
	struct proxy_header h;

	(void)state;
	memcpy(header + 16 + 216, "\x02\x00\x02hi", 5);
	assert_int_equal(proxy_parse(header, sizeof(header), &h), PROXY_OK);
	assert_int_equal(h.length, sizeof(header));
	assert_int_equal(addr_family(&h.client), AF_UNSPEC);
	assert_true(text_eq(h.authority, TEXT("hi")));
}

static void what_is_no_header_is_refused_with_its_reason(void **state)
{
	struct proxy_header h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		assert_int_equal(parse(refused[i].bytes, refused[i].n, &h), refused[i].error);
		assert_true(strlen(proxy_error_text(refused[i].error)) > 20);
	}
}

/* A stream delivers it as it likes; whoever follows proxy_wanted() reads the header and not a byte more. */
static void a_reader_that_asks_how_much_it_may_read_ends_behind_the_header(void **state)
{
	static const char v6[] = SIGNATURE "\x21\x21\x00\x24" ADDRESSES6 "\x16\x03\x01 and so on";
	size_t n = 0, wanted;
	unsigned reads = 0;
	struct proxy_header h;

	(void)state;
	while ((wanted = proxy_wanted((const uint8_t *)v6, n)) > 0) {
		assert_int_equal(parse(v6, n, &h), PROXY_INCOMPLETE);
		n += reads++ % 2 ? wanted : MIN(wanted, 5U);
	}
	assert_int_equal(n, 16 + 36);
	assert_int_equal(parse(v6, n, &h), PROXY_OK);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		assert_true(parse(refused[i].bytes, refused[i].n, &h) == PROXY_INCOMPLETE ||
			    proxy_wanted((const uint8_t *)refused[i].bytes, refused[i].n) == 0);
}

static void every_beginning_is_incomplete_or_has_the_verdict_of_the_whole(void **state)
{
	struct proxy_header h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		for (size_t n = 0; n < refused[i].n; n++) {
			enum proxy_error e = parse(refused[i].bytes, n, &h);
			assert_true(e == PROXY_INCOMPLETE || e == refused[i].error);
		}
}

static void names_and_a_right_checksum_are_read(void **state)
{
	static const char sum[] = SIGNATURE "\x21\x11\x00\x17" ADDRESSES4 "\x02\x00\x01" "a" "\x03\x00\x04\x17\xd7\xdf\x31";
	static const char names[] = SIGNATURE "\x21\x11\x00\x27" ADDRESSES4 "\x01\x00\x09stun.turn\x04\x00\x00\xea\x00\x03" "aws\x02\x00\x03x.y";
	struct proxy_header h;

	(void)state;
	assert_int_equal(proxy_parse((const uint8_t *)sum, sizeof(sum) - 1, &h), PROXY_OK);
	assert_true(h.checksum && text_eq(h.authority, TEXT("a")) && !h.alpn.p);
	assert_int_equal(proxy_parse((const uint8_t *)names, sizeof(names) - 1, &h), PROXY_OK);
	assert_true(!h.checksum && text_eq(h.authority, TEXT("x.y")) && text_eq(h.alpn, TEXT("stun.turn")));
}

static void what_is_written_is_read_again(void **state)
{
	static const uint8_t ip6[2][16] = { { 0x20, 1, 0xd, 0xb8, [15] = 1 }, { 0x20, 1, 0xd, 0xb8, [15] = 2 } };
	struct proxy_header all[] = {
		{ .local = true },
		{ .local = false },
		{ .client = addr_v4(0xc0000201, 4711), .server = addr_v4(0xc6336402, 443) },
		{ .client = addr_v4(1, 1), .server = addr_v4(2, 2), .authority = TEXT("a.b"), .alpn = TEXT("h2"), .checksum = true },
		{ .client = addr_v6(ip6[0], 5), .server = addr_v6(ip6[1], 6), .authority = TEXT("x"), .checksum = true },
		{ .client = addr_v6(ip6[0], 5), .server = addr_v6(ip6[1], 6), .alpn = TEXT("") },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		uint8_t out[PROXY_WRITE_MAX];
		struct wr w = wr_init(out, sizeof(out));
		struct proxy_header h;

		proxy_write(&w, &all[i]);
		assert_false(w.failed);
		assert_int_equal(proxy_parse(out, wr_len(&w), &h), PROXY_OK);
		assert_int_equal(h.length, wr_len(&w));
		assert_int_equal(h.local, all[i].local);
		assert_true(addr_equal(&h.client, &all[i].client) && addr_equal(&h.server, &all[i].server));
		assert_true(text_eq(h.alpn, all[i].alpn) && text_eq(h.authority, all[i].authority));
		assert_int_equal(h.checksum, all[i].checksum);
	}
}

static void the_writer_makes_the_specifications_bytes(void **state)
{
	static const char expected[] = SIGNATURE "\x21\x11\x00\x17" ADDRESSES4 "\x02\x00\x01" "a" "\x03\x00\x04\x17\xd7\xdf\x31";
	struct proxy_header h = { .client = addr_v4(0xc0000201, 4711), .server = addr_v4(0xc6336402, 443),
				  .authority = TEXT("a"), .checksum = true };
	uint8_t out[PROXY_WRITE_MAX];
	struct wr w = wr_init(out, sizeof(out));

	(void)state;
	proxy_write(&w, &h);
	assert_int_equal(wr_len(&w), sizeof(expected) - 1);
	assert_memory_equal(out, expected, sizeof(expected) - 1);
}

static void the_writer_says_when_it_does_not_fit(void **state)
{
	static const char long_name[256];
	struct proxy_header h = { .client = addr_v4(1, 1), .server = addr_v4(2, 2), .checksum = true };
	uint8_t out[PROXY_WRITE_MAX];

	(void)state;
	for (size_t cap = 0; cap < 16 + 12 + 7; cap++) {
		struct wr w = wr_init(out, cap);
		proxy_write(&w, &h);
		assert_true(w.failed);
	}
	h.authority = (struct text){ long_name, sizeof(long_name) };
	struct wr w = wr_init(out, sizeof(out));
	proxy_write(&w, &h);
	assert_true(w.failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_of_both_families_are_told),
		cmocka_unit_test(a_header_that_tells_nothing_leaves_the_connections_own_addresses),
		cmocka_unit_test(unix_addresses_are_skipped),
		cmocka_unit_test(what_is_no_header_is_refused_with_its_reason),
		cmocka_unit_test(a_reader_that_asks_how_much_it_may_read_ends_behind_the_header),
		cmocka_unit_test(every_beginning_is_incomplete_or_has_the_verdict_of_the_whole),
		cmocka_unit_test(names_and_a_right_checksum_are_read),
		cmocka_unit_test(what_is_written_is_read_again),
		cmocka_unit_test(the_writer_makes_the_specifications_bytes),
		cmocka_unit_test(the_writer_says_when_it_does_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
