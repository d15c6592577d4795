/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices, strict numbers, the string builder, hex and base64 (common/text.h). Tables of what is
 * taken and what is refused; a refusal leaves the output untouched. Base64 is held against the
 * vectors of RFC 4648.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "common/text.h"

#define assert_text(t, lit) assert_true(text_eq((t), TEXT(lit)))

static void slices_compare_by_bytes_and_by_ascii_case(void **state)
{
	(void)state;
	assert_true(text_eq(TEXT("a\0b"), TEXT("a\0b")));
	assert_false(text_eq(TEXT("a\0b"), TEXT("a\0c")));
	assert_false(text_eq(TEXT("ab"), TEXT("abc")));
	assert_true(text_eq(TEXT(""), text_of(NULL)));
	assert_false(text_eq(TEXT("Via"), TEXT("via")));
	assert_true(text_ieq(TEXT("Call-ID"), TEXT("cALL-id")));
	assert_false(text_ieq(TEXT("Call-ID"), TEXT("Call-IE")));
	/* characters 32 apart that are no letters, and letters beyond ASCII */
	assert_false(text_ieq(TEXT("@"), TEXT("`")));
	assert_false(text_ieq(TEXT("["), TEXT("{")));
	assert_false(text_ieq(TEXT("\xc4"), TEXT("\xe4")));
	assert_true(text_starts(TEXT("abc"), TEXT("ab")));
	assert_true(text_starts(TEXT("abc"), text_of(NULL)));
	assert_false(text_starts(TEXT("ab"), TEXT("abc")));
}

static void trimming_and_dropping_stay_inside(void **state)
{
	(void)state;
	assert_text(text_trim(TEXT(" \t a b\t ")), "a b");
	assert_int_equal(text_trim(TEXT(" \t ")).n, 0);
	assert_int_equal(text_trim(text_of(NULL)).n, 0);
	assert_text(text_trim(TEXT("\na\r")), "\na\r"); /* blanks and tabs only */
	assert_text(text_drop(TEXT("abc"), 1), "bc");
	assert_int_equal(text_drop(TEXT("abc"), 99).n, 0);
	assert_null(text_drop(text_of(NULL), 1).p);
	assert_int_equal(text_find(TEXT("abc"), 'c'), 2);
	assert_int_equal(text_find(TEXT("abc"), 'x'), -1);
	assert_int_equal(text_find(text_of(NULL), 'x'), -1);
}

static void cutting_yields_every_part_and_ends(void **state)
{
	struct text rest = TEXT("a,,bc,");
	(void)state;
	assert_text(text_cut(&rest, ','), "a");
	assert_text(text_cut(&rest, ','), "");
	assert_text(text_cut(&rest, ','), "bc");
	assert_non_null(rest.p); /* the separator at the end has an empty part behind it */
	assert_text(text_cut(&rest, ','), "");
	assert_null(rest.p);
	assert_text(text_cut(&rest, ','), "");
	rest = TEXT("whole");
	assert_text(text_cut(&rest, ','), "whole");
	assert_null(rest.p);
}

static void a_copy_is_terminated_and_keeps_every_byte(void **state)
{
	char *s = text_dup(TEXT("a\0b"));
	(void)state;
	assert_non_null(s);
	assert_memory_equal(s, "a\0b", 4);
	free(s);
	s = text_dup(text_of(NULL));
	assert_string_equal(s, "");
	free(s);
}

static void utf8_is_accepted_in_its_shortest_form_only(void **state)
{
	static const struct {
		struct text t;
		bool ok;
	} rows[] = {
		{ TEXT(""), true },
		{ TEXT("plain \x7f"), true },
		{ TEXT("\xc2\x80 \xdf\xbf"), true },
		{ TEXT("\xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf"), true },
		{ TEXT("\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf"), true },
		{ TEXT("\x80"), false },
		{ TEXT("\xc0\x80"), false }, /* overlong NUL */
		{ TEXT("\xc1\xbf"), false },
		{ TEXT("\xe0\x9f\xbf"), false },
		{ TEXT("\xed\xa0\x80"), false }, /* surrogate */
		{ TEXT("\xf0\x8f\xbf\xbf"), false },
		{ TEXT("\xf4\x90\x80\x80"), false }, /* beyond U+10FFFF */
		{ TEXT("\xf5\x80\x80\x80"), false },
		{ TEXT("\xff"), false },
		{ TEXT("\xc3"), false },
		{ TEXT("\xe2\x82"), false },
		{ TEXT("\xf0\x9f\x98"), false },
		{ TEXT("\xc3\x41"), false },
		{ TEXT("\xe2\x82\x41"), false },
		{ TEXT("\xf0\x9f\x98\x41"), false },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(text_is_utf8(rows[i].t), rows[i].ok);
}

static void edit_distance_counts_typing_errors(void **state)
{
	(void)state;
	assert_int_equal(text_distance(TEXT("realm"), TEXT("realm")), 0);
	assert_int_equal(text_distance(TEXT("relam"), TEXT("realm")), 1); /* swapped */
	assert_int_equal(text_distance(TEXT("realms"), TEXT("realm")), 1);
	assert_int_equal(text_distance(TEXT("relm"), TEXT("realm")), 1);
	assert_int_equal(text_distance(TEXT("reaim"), TEXT("realm")), 1);
	assert_int_equal(text_distance(TEXT("kitten"), TEXT("sitting")), 3);
	assert_int_equal(text_distance(TEXT("ca"), TEXT("abc")), 3); /* alignment, not full Damerau */
	assert_int_equal(text_distance(TEXT(""), TEXT("abc")), 3);
	assert_int_equal(text_distance(TEXT("abc"), text_of(NULL)), 3);
	assert_int_equal(text_distance(text_of(NULL), text_of(NULL)), 0);
}

static void edit_distance_does_no_work_on_long_texts(void **state)
{
	static char a[100000], b[TEXT_DISTANCE_MAX];
	(void)state;
	memset(a, 'a', sizeof a);
	memset(b, 'a', sizeof b);
	assert_int_equal(text_distance((struct text){ a, sizeof a }, TEXT("aaa")), sizeof a);
	assert_int_equal(text_distance(TEXT("aaa"), (struct text){ a, sizeof a }), sizeof a);
	assert_int_equal(text_distance((struct text){ a, sizeof b }, (struct text){ b, sizeof b }), 0);
	b[0] = 'b';
	assert_int_equal(text_distance((struct text){ a, sizeof b }, (struct text){ b, sizeof b }), 1);
	assert_int_equal(text_distance((struct text){ a, sizeof b }, text_of(NULL)), sizeof b);
}

struct number_row {
	struct text t;
	int r;
	uint64_t v;
};

static void check_numbers(const struct number_row *rows, size_t n, int (*parse)(struct text, uint64_t *))
{
	for (size_t i = 0; i < n; i++) {
		uint64_t v = 4711; /* must survive every failure */
		int r = parse(rows[i].t, &v);
		if (r != rows[i].r || v != (r == 0 ? rows[i].v : 4711))
			fail_msg("row %zu '%.*s': got %d, %llu", i, TEXT_FMT(rows[i].t), r,
				 (unsigned long long)v);
	}
}

static void numbers_are_strict(void **state)
{
	static const struct number_row rows[] = {
		{ TEXT("0"), 0, 0 },
		{ TEXT("007"), 0, 7 },
		{ TEXT("18446744073709551615"), 0, UINT64_MAX },
		{ TEXT("18446744073709551616"), -ERANGE, 0 },
		{ TEXT("99999999999999999999999"), -ERANGE, 0 },
		{ TEXT("99999999999999999999999x"), -EINVAL, 0 },
		{ TEXT(""), -EINVAL, 0 },
		{ TEXT("+1"), -EINVAL, 0 },
		{ TEXT("-1"), -EINVAL, 0 },
		{ TEXT(" 1"), -EINVAL, 0 },
		{ TEXT("1 "), -EINVAL, 0 },
		{ TEXT("1\0"), -EINVAL, 0 },
		{ TEXT("1a"), -EINVAL, 0 },
		{ TEXT("0x10"), -EINVAL, 0 },
		{ TEXT("1.0"), -EINVAL, 0 },
		{ TEXT("\xb2"), -EINVAL, 0 },
	};
	static const struct number_row hex_rows[] = {
		{ TEXT("0"), 0, 0 },
		{ TEXT("dEadBeef"), 0, 0xdeadbeef },
		{ TEXT("ffffffffffffffff"), 0, UINT64_MAX },
		{ TEXT("10000000000000000"), -ERANGE, 0 },
		{ TEXT("0x1"), -EINVAL, 0 },
		{ TEXT("g"), -EINVAL, 0 },
		{ TEXT("@"), -EINVAL, 0 },
		{ TEXT("`"), -EINVAL, 0 },
		{ TEXT(":"), -EINVAL, 0 },
		{ TEXT("/"), -EINVAL, 0 },
		{ TEXT(""), -EINVAL, 0 },
	};
	(void)state;
	check_numbers(rows, ARRAY_LEN(rows), text_u64);
	check_numbers(hex_rows, ARRAY_LEN(hex_rows), text_u64_hex);
}

static void durations_have_a_unit_or_are_seconds(void **state)
{
	static const struct number_row rows[] = {
		{ TEXT("500ms"), 0, 500 },
		{ TEXT("30s"), 0, 30000 },
		{ TEXT("30"), 0, 30000 },
		{ TEXT("0"), 0, 0 },
		{ TEXT("5m"), 0, 300000 },
		{ TEXT("2h"), 0, 7200000 },
		{ TEXT("7d"), 0, UINT64_C(604800000) },
		{ TEXT("18446744073709551615ms"), 0, UINT64_MAX },
		{ TEXT("18446744073709551615"), -ERANGE, 0 },
		{ TEXT("213503982335d"), -ERANGE, 0 },
		{ TEXT("213503982334d"), 0, UINT64_C(213503982334) * 86400000 },
		{ TEXT("99999999999999999999s"), -ERANGE, 0 },
		{ TEXT("s"), -EINVAL, 0 },
		{ TEXT(""), -EINVAL, 0 },
		{ TEXT("5 m"), -EINVAL, 0 },
		{ TEXT("5M"), -EINVAL, 0 },
		{ TEXT("5min"), -EINVAL, 0 },
		{ TEXT("-5s"), -EINVAL, 0 },
		{ TEXT("1.5h"), -EINVAL, 0 },
		{ TEXT("1h30m"), -EINVAL, 0 },
	};
	(void)state;
	check_numbers(rows, ARRAY_LEN(rows), text_duration);
}

static void sizes_know_powers_of_ten_and_of_two(void **state)
{
	static const struct number_row rows[] = {
		{ TEXT("10"), 0, 10 },
		{ TEXT("10B"), 0, 10 },
		{ TEXT("64KB"), 0, 64000 },
		{ TEXT("64kB"), 0, 64000 },
		{ TEXT("64KiB"), 0, 65536 },
		{ TEXT("10MB"), 0, 10000000 },
		{ TEXT("10MiB"), 0, 10485760 },
		{ TEXT("2GB"), 0, UINT64_C(2000000000) },
		{ TEXT("3GiB"), 0, UINT64_C(3) << 30 },
		{ TEXT("1TB"), 0, UINT64_C(1000000000000) },
		{ TEXT("1TiB"), 0, UINT64_C(1) << 40 },
		{ TEXT("16777215TiB"), 0, UINT64_C(16777215) << 40 },
		{ TEXT("16777216TiB"), -ERANGE, 0 },
		{ TEXT("10M"), -EINVAL, 0 },
		{ TEXT("10Mb"), -EINVAL, 0 },
		{ TEXT("10mb"), -EINVAL, 0 },
		{ TEXT("10 MB"), -EINVAL, 0 },
		{ TEXT("MB"), -EINVAL, 0 },
		{ TEXT("unlimited"), -EINVAL, 0 },
		{ TEXT(""), -EINVAL, 0 },
	};
	(void)state;
	check_numbers(rows, ARRAY_LEN(rows), text_size);
}

static void bitrates_can_be_unlimited_only_in_words(void **state)
{
	static const struct number_row rows[] = {
		{ TEXT("64000"), 0, 64000 },
		{ TEXT("64bit/s"), 0, 64 },
		{ TEXT("64kbit/s"), 0, 64000 },
		{ TEXT("2Mbit/s"), 0, 2000000 },
		{ TEXT("1Gbit/s"), 0, 1000000000 },
		{ TEXT("unlimited"), 0, UINT64_MAX },
		{ TEXT("18446744073709551614"), 0, UINT64_MAX - 1 },
		{ TEXT("18446744073709551615"), -ERANGE, 0 },
		{ TEXT("18446744074Gbit/s"), -ERANGE, 0 },
		{ TEXT("Unlimited"), -EINVAL, 0 },
		{ TEXT("2MB/s"), -EINVAL, 0 },
		{ TEXT("2Mbit"), -EINVAL, 0 },
		{ TEXT(""), -EINVAL, 0 },
	};
	(void)state;
	check_numbers(rows, ARRAY_LEN(rows), text_bitrate);
}

static void the_builder_appends_and_terminates(void **state)
{
	char buf[64];
	struct sb b = sb_init(buf, sizeof buf);
	(void)state;
	sb_text(&b, TEXT("a"));
	sb_str(&b, "bc");
	sb_str(&b, NULL);
	sb_char(&b, '-');
	sb_fmt(&b, "%d/%s", 7, "x");
	assert_string_equal(buf, "abc-7/x");
	assert_int_equal(b.n, 7);
	assert_false(b.truncated);
}

static void the_builder_truncates_once_and_leaves_no_hole(void **state)
{
	char buf[8] = "unused!";
	struct sb b = sb_init(buf, 6);
	(void)state;
	sb_str(&b, "12345");
	assert_false(b.truncated); /* exactly full */
	sb_str(&b, "");
	sb_fmt(&b, "%s", "");
	assert_false(b.truncated);
	sb_char(&b, '6');
	assert_true(b.truncated);
	assert_string_equal(buf, "12345");
	b = sb_init(buf, 6);
	sb_fmt(&b, "%s", "123\xe2\x82\xac"); /* the euro sign does not fit */
	assert_true(b.truncated);
	assert_string_equal(buf, "123");
	sb_char(&b, '4'); /* would fit, but not behind a cut */
	sb_fmt(&b, "4");
	assert_string_equal(buf, "123");
	assert_int_equal(b.n, 3);
	assert_int_equal(buf[6], '!'); /* nothing beyond cap was touched */
}

static void a_cut_never_splits_a_utf8_sequence(void **state)
{
	static const char all[] = "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z";
	char buf[sizeof all];
	(void)state;
	for (size_t cap = 1; cap <= sizeof all; cap++) {
		struct sb b = sb_init(buf, cap), f = { 0 };
		sb_str(&b, all);
		assert_true(text_is_utf8((struct text){ buf, b.n }));
		assert_int_equal(b.truncated, cap < sizeof all);
		assert_int_equal(strlen(buf), b.n);
		size_t n = b.n;
		f = sb_init(buf, cap);
		sb_fmt(&f, "%s", all);
		assert_int_equal(f.n, n);
	}
	/* what was never UTF-8 is cut at the byte */
	struct sb b = sb_init(buf, 4);
	sb_str(&b, "\x80\x80\x80\x80\x80");
	assert_true(b.truncated);
	assert_int_equal(strlen(buf), b.n);
}

static void a_part_is_cut_too_and_more_may_follow(void **state)
{
	char buf[8];
	struct sb b;

	(void)state;
	for (size_t max = 0; max <= 6; max++) {
		b = sb_init(buf, sizeof buf);
		sb_part(&b, TEXT("äöü"), max);
		assert_int_equal(b.n, max / 2 * 2);
		sb_char(&b, '.');
		assert_false(b.truncated);
		assert_int_equal(strlen(buf), max / 2 * 2 + 1);
	}
	b = sb_init(buf, 4);
	sb_part(&b, TEXT("äöü"), 4); /* the whole is full before the part */
	assert_true(b.truncated);
	assert_string_equal(buf, "ä");
}

static void a_builder_without_room_only_latches(void **state)
{
	struct sb b = sb_init(NULL, 0);
	char one[1] = { 'x' };
	(void)state;
	sb_text(&b, text_of(NULL));
	assert_false(b.truncated);
	sb_str(&b, "x");
	sb_fmt(&b, "x");
	assert_true(b.truncated);
	b = sb_init(one, 1);
	sb_str(&b, "x");
	assert_true(b.truncated);
	assert_int_equal(one[0], 0);
}

static void durations_and_sizes_are_printed_for_people(void **state)
{
	static const struct {
		uint64_t v;
		const char *want;
	} durations[] = {
		{ 0, "0 ms" },	       { 350, "350 ms" },   { 999, "999 ms" },	   { 1000, "1 s" },
		{ 1540, "1.5 s" },     { 9999, "9.9 s" },   { 10900, "10 s" },	   { 59999, "59 s" },
		{ 60000, "1m" },       { 312000, "5m 12s" }, { 3600000, "1h" },	   { 7500000, "2h 5m" },
		{ 86400000, "1d" },    { 86400000 + 59000, "1d" }, { 273600000, "3d 4h" },
		{ UINT64_MAX, "213503982334d 14h" },
	}, sizes[] = {
		{ 0, "0 B" },		{ 999, "999 B" },	{ 1000, "1.0 KB" },	{ 1049, "1.0 KB" },
		{ 1050, "1.1 KB" },	{ 10400000, "10.4 MB" }, { 999949, "999.9 KB" }, { 999950, "1.0 MB" },
		{ 999949999, "999.9 MB" }, { 999950000, "1.0 GB" }, { UINT64_MAX, "18.4 EB" },
	};
	char buf[64];
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		struct sb b = sb_init(buf, sizeof buf);
		sb_duration(&b, durations[i].v);
		assert_string_equal(buf, durations[i].want);
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct sb b = sb_init(buf, sizeof buf);
		sb_size(&b, sizes[i].v);
		assert_string_equal(buf, sizes[i].want);
	}
}

static void hex_round_trips_and_refuses_the_rest(void **state)
{
	uint8_t all[256], back[256];
	char text[513];
	size_t n = 4711;
	(void)state;
	for (size_t i = 0; i < sizeof all; i++)
		all[i] = (uint8_t)i;
	hex_encode(all, sizeof all, text);
	assert_int_equal(strlen(text), 512);
	assert_memory_equal(text + 20, "0a0b0c", 6);
	assert_int_equal(hex_decode(text_of(text), back, sizeof back, &n), 0);
	assert_int_equal(n, 256);
	assert_memory_equal(all, back, sizeof all);
	assert_int_equal(hex_decode(TEXT("aAfF"), back, 2, &n), 0);
	assert_int_equal(back[0] << 8 | back[1], 0xaaff);
	assert_int_equal(hex_decode(TEXT(""), NULL, 0, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(hex_decode(TEXT("abc"), back, 9, &n), -EINVAL);
	assert_int_equal(hex_decode(TEXT("0g"), back, 9, &n), -EINVAL);
	assert_int_equal(hex_decode(TEXT("@0"), back, 9, &n), -EINVAL);
	assert_int_equal(hex_decode(TEXT(" 0"), back, 9, &n), -EINVAL);
	assert_int_equal(hex_decode(TEXT("0011"), back, 1, &n), -ENOSPC);
	assert_int_equal(n, 0); /* as the last success left it */
}

static void base64_matches_the_vectors_of_rfc_4648(void **state)
{
	static const char *const rows[][3] = {
		{ "", "", "" },
		{ "f", "Zg==", "Zg" },
		{ "fo", "Zm8=", "Zm8" },
		{ "foo", "Zm9v", "Zm9v" },
		{ "foob", "Zm9vYg==", "Zm9vYg" },
		{ "fooba", "Zm9vYmE=", "Zm9vYmE" },
		{ "foobar", "Zm9vYmFy", "Zm9vYmFy" },
		{ "\xfb\xff\xfe", "+//+", "-__-" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char out[16];
		uint8_t back[16];
		size_t n;
		base64_encode(rows[i][0], strlen(rows[i][0]), out);
		assert_string_equal(out, rows[i][1]);
		assert_int_equal(strlen(out), BASE64_LEN(strlen(rows[i][0])));
		base64url_encode(rows[i][0], strlen(rows[i][0]), out);
		assert_string_equal(out, rows[i][2]);
		assert_int_equal(base64_decode(text_of(rows[i][1]), back, sizeof back, &n), 0);
		assert_int_equal(n, strlen(rows[i][0]));
		assert_memory_equal(back, rows[i][0], n);
	}
}

static void base64_has_one_spelling_per_value(void **state)
{
	static const struct text bad[] = {
		TEXT("Zg"),	  TEXT("Zg="),	  TEXT("Zg==="), TEXT("Z==="),	TEXT("===="),
		TEXT("Zm9vZ"),	  TEXT("Zm8"),	  TEXT("Z=g="),	 TEXT("=m9v"),	TEXT("Zg==Zg=="),
		TEXT("Zm8=Zm9v"), TEXT("Zh=="),	  TEXT("Zn=="),	 TEXT("Zm9="),	TEXT("Zm+="),
		TEXT("Zm 9"),	  TEXT("Zm9v\n"), TEXT("-__-"),	 TEXT("Zm9\0"), TEXT("Zm9\xff"),
	};
	uint8_t out[16];
	size_t n = 4711;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (base64_decode(bad[i], out, sizeof out, &n) != -EINVAL || n != 4711)
			fail_msg("row %zu was not refused", i);
	assert_int_equal(base64_decode(TEXT("Zm9v"), out, 2, &n), -ENOSPC);
	assert_int_equal(base64_decode(TEXT("Zm8="), out, 2, &n), 0);
}

static void base64_decodes_exactly_what_it_encodes(void **state)
{
	/* every four-digit text over the alphabet's corners decodes only if it is what encode makes */
	static const char digits[] = "AQgw/+9=";
	(void)state;
	for (unsigned i = 0; i < 8 * 8 * 8 * 8; i++) {
		char t[4] = { digits[i >> 9], digits[i >> 6 & 7], digits[i >> 3 & 7], digits[i & 7] },
		     again[5];
		uint8_t out[3];
		size_t n;
		if (base64_decode((struct text){ t, 4 }, out, sizeof out, &n) < 0)
			continue;
		base64_encode(out, n, again);
		assert_memory_equal(t, again, 4);
	}
}

static void appending_never_leaves_the_buffer(void **state)
{
	char small[8] = "abc", full[4] = "abc";

	(void)state;
	text_append(small, sizeof small, "de");
	assert_string_equal(small, "abcde");
	text_append(small, sizeof small, "fghi");
	assert_string_equal(small, "abcdefg");
	text_append(full, sizeof full, "d");
	assert_string_equal(full, "abc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appending_never_leaves_the_buffer),
		cmocka_unit_test(slices_compare_by_bytes_and_by_ascii_case),
		cmocka_unit_test(trimming_and_dropping_stay_inside),
		cmocka_unit_test(cutting_yields_every_part_and_ends),
		cmocka_unit_test(a_copy_is_terminated_and_keeps_every_byte),
		cmocka_unit_test(utf8_is_accepted_in_its_shortest_form_only),
		cmocka_unit_test(edit_distance_counts_typing_errors),
		cmocka_unit_test(edit_distance_does_no_work_on_long_texts),
		cmocka_unit_test(numbers_are_strict),
		cmocka_unit_test(durations_have_a_unit_or_are_seconds),
		cmocka_unit_test(sizes_know_powers_of_ten_and_of_two),
		cmocka_unit_test(bitrates_can_be_unlimited_only_in_words),
		cmocka_unit_test(the_builder_appends_and_terminates),
		cmocka_unit_test(the_builder_truncates_once_and_leaves_no_hole),
		cmocka_unit_test(a_cut_never_splits_a_utf8_sequence),
		cmocka_unit_test(a_part_is_cut_too_and_more_may_follow),
		cmocka_unit_test(a_builder_without_room_only_latches),
		cmocka_unit_test(durations_and_sizes_are_printed_for_people),
		cmocka_unit_test(hex_round_trips_and_refuses_the_rest),
		cmocka_unit_test(base64_matches_the_vectors_of_rfc_4648),
		cmocka_unit_test(base64_has_one_spelling_per_value),
		cmocka_unit_test(base64_decodes_exactly_what_it_encodes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
