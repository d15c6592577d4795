/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cursor (common/bytes.h): bounds, latching and nesting, reading what was written, and the
 * handling of secret bytes. That a comparison takes constant time is not shown here: it is
 * OpenSSL's.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "common/bytes.h"

static void integers_are_read_big_endian(void **state)
{
	static const uint8_t in[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18 };
	struct rd r = rd_init(in, sizeof in);
	(void)state;
	assert_int_equal(rd_u8(&r), 0x01);
	assert_int_equal(rd_u16(&r), 0x0203);
	assert_int_equal(rd_u24(&r), 0x040506);
	assert_int_equal(rd_u32(&r), 0x0708090a);
	assert_true(rd_u64(&r) == UINT64_C(0x0b0c0d0e0f101112));
	assert_true(rd_done(&r));
}

static void a_short_read_latches_failure(void **state)
{
	static const uint8_t in[] = { 0xff, 0xff, 0xff };
	struct rd r = rd_init(in, sizeof in);
	(void)state;
	assert_int_equal(rd_u32(&r), 0);
	assert_true(r.failed);
	assert_int_equal(rd_left(&r), 0);
	assert_int_equal(rd_u8(&r), 0); /* though there is a byte */
	assert_null(rd_take(&r, 0));
	assert_false(rd_done(&r));
}

static void every_read_past_the_end_fails_and_gives_zero(void **state)
{
	static const uint8_t in[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	(void)state;
	for (size_t n = 0; n < 8; n++) {
		struct rd r = rd_init(in, n), a = r, b = r, c = r, d = r;
		assert_true(rd_u64(&r) == 0 && r.failed);
		assert_int_equal(n < 4, rd_u32(&a) == 0 && a.failed);
		assert_int_equal(n < 3, rd_u24(&b) == 0 && b.failed);
		assert_int_equal(n < 2, rd_u16(&c) == 0 && c.failed);
		assert_int_equal(n < 1, rd_u8(&d) == 0 && d.failed);
	}
}

static void a_length_near_the_end_of_the_address_space_does_not_wrap(void **state)
{
	static const uint8_t in[4];
	struct rd r = rd_init(in, sizeof in);
	(void)state;
	assert_null(rd_take(&r, SIZE_MAX));
	assert_true(r.failed);
	uint8_t out[4];
	struct wr w = wr_init(out, sizeof out);
	assert_null(wr_take(&w, SIZE_MAX));
	assert_true(w.failed);
}

static void a_child_cannot_see_past_its_length(void **state)
{
	static const uint8_t in[] = { 1, 2, 3, 4 };
	struct rd r = rd_init(in, sizeof in);
	struct rd child = rd_sub(&r, 2);
	(void)state;
	assert_int_equal(rd_left(&child), 2);
	assert_int_equal(rd_u16(&child), 0x0102);
	assert_true(rd_done(&child));
	assert_int_equal(rd_u8(&child), 0);
	assert_true(child.failed);
	assert_false(r.failed); /* the child's failure is its own */
	assert_int_equal(rd_u16(&r), 0x0304);
	assert_true(rd_done(&r));
}

static void a_child_longer_than_its_parent_fails_both(void **state)
{
	static const uint8_t in[] = { 1, 2 };
	struct rd r = rd_init(in, sizeof in);
	struct rd child = rd_sub(&r, 3);
	(void)state;
	assert_true(child.failed);
	assert_true(r.failed);
	assert_int_equal(rd_u8(&child), 0);
}

static void nothing_is_a_legal_buffer(void **state)
{
	struct rd r = rd_init(NULL, 0);
	struct wr w = wr_init(NULL, 0);
	(void)state;
	assert_true(rd_done(&r));
	rd_take(&r, 0);
	assert_false(r.failed);
	struct rd child = rd_sub(&r, 0);
	assert_true(rd_done(&child));
	wr_bytes(&w, NULL, 0);
	wr_zero(&w, 0);
	assert_false(w.failed);
	assert_int_equal(wr_len(&w), 0);
	wr_u8(&w, 1);
	assert_true(w.failed);
}

static void what_is_written_is_read_back(void **state)
{
	uint8_t buf[26];
	struct wr w = wr_init(buf, sizeof buf);
	(void)state;
	memset(buf, 0xee, sizeof buf);
	wr_u8(&w, 0x9a);
	wr_u16(&w, 0xfedc);
	wr_u24(&w, 0xabcdef);
	wr_u32(&w, 0x89abcdef);
	wr_u64(&w, UINT64_C(0xf123456789abcdef));
	wr_bytes(&w, "text", 4);
	wr_zero(&w, 4);
	assert_false(w.failed);
	assert_int_equal(wr_len(&w), sizeof buf);
	struct rd r = rd_init(buf, sizeof buf);
	assert_int_equal(rd_u8(&r), 0x9a);
	assert_int_equal(rd_u16(&r), 0xfedc);
	assert_int_equal(rd_u24(&r), 0xabcdef);
	assert_int_equal(rd_u32(&r), 0x89abcdef);
	assert_true(rd_u64(&r) == UINT64_C(0xf123456789abcdef));
	assert_memory_equal(rd_take(&r, 4), "text", 4);
	assert_int_equal(rd_u32(&r), 0);
	assert_true(rd_done(&r));
}

static void a_write_that_does_not_fit_writes_nothing_and_latches(void **state)
{
	uint8_t buf[4] = { 0xee, 0xee, 0xee, 0xee };
	struct wr w = wr_init(buf, 3);
	(void)state;
	wr_u8(&w, 1);
	wr_u24(&w, 0x020304);
	assert_true(w.failed);
	assert_int_equal(wr_len(&w), 1);
	wr_u8(&w, 5); /* would fit, but the message has a hole */
	static const uint8_t want[4] = { 1, 0xee, 0xee, 0xee };
	assert_memory_equal(buf, want, sizeof want);
}

static void a_value_of_more_than_24_bits_is_refused(void **state)
{
	uint8_t buf[8];
	struct wr w = wr_init(buf, sizeof buf);
	(void)state;
	wr_u24(&w, 0xffffff);
	assert_false(w.failed);
	wr_u24(&w, 0x1000000);
	assert_true(w.failed);
}

static void nested_lengths_are_patched_from_inside_out(void **state)
{
	uint8_t buf[32];
	struct wr w = wr_init(buf, sizeof buf);
	(void)state;
	wr_u8(&w, 0xaa);
	size_t outer = wr_open16(&w);
	wr_u8(&w, 1);
	size_t inner = wr_open16(&w);
	wr_bytes(&w, "xyz", 3);
	wr_close16(&w, inner);
	size_t empty = wr_open16(&w);
	wr_close16(&w, empty);
	wr_close16(&w, outer);
	static const uint8_t want[] = { 0xaa, 0, 8, 1, 0, 3, 'x', 'y', 'z', 0, 0 };
	assert_false(w.failed);
	assert_int_equal(wr_len(&w), sizeof want);
	assert_memory_equal(buf, want, sizeof want);
}

static void a_block_longer_than_its_length_field_is_refused(void **state)
{
	uint8_t *buf = malloc(70000);
	(void)state;
	assert_non_null(buf);
	struct wr w = wr_init(buf, 70000);
	size_t mark = wr_open16(&w);
	wr_zero(&w, 65535);
	wr_close16(&w, mark);
	assert_false(w.failed);
	assert_int_equal(load_be16(buf), 65535);
	w = wr_init(buf, 70000);
	mark = wr_open16(&w);
	wr_zero(&w, 65536);
	wr_close16(&w, mark);
	assert_true(w.failed);
	free(buf);
}

static void closing_a_block_that_never_fitted_touches_nothing(void **state)
{
	uint8_t buf[1] = { 0xee };
	struct wr w = wr_init(buf, sizeof buf);
	size_t mark = wr_open16(&w);
	(void)state;
	wr_close16(&w, mark);
	assert_true(w.failed);
	assert_int_equal(buf[0], 0xee);
}

static void loads_and_stores_need_no_alignment(void **state)
{
	uint8_t buf[8] = { 0 };
	(void)state;
	store_be16(buf + 1, 0xa1b2);
	store_be32(buf + 3, 0xc3d4e5f6);
	static const uint8_t want[] = { 0, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 0 };
	assert_memory_equal(buf, want, sizeof want);
	assert_int_equal(load_be16(buf + 1), 0xa1b2);
	assert_int_equal(load_be32(buf + 3), 0xc3d4e5f6);
}

/* That it takes as long for each is OpenSSL's word; that it is used is tests/lint/constant_time.py's.
 * Advisory: compare time. */
static void equality_sees_a_difference_in_any_single_bit(void **state)
{
	uint8_t a[20], b[20];
	(void)state;
	memset(a, 0x5a, sizeof a);
	memcpy(b, a, sizeof a);
	assert_true(bytes_equal_ct(a, b, sizeof a));
	assert_true(bytes_equal_ct(NULL, NULL, 0));
	for (size_t bit = 0; bit < sizeof a * 8; bit++) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(bytes_equal_ct(a, b, sizeof a));
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void wiping_zeroes_exactly_what_it_was_given(void **state)
{
	uint8_t a[5] = { 1, 2, 3, 4, 5 };
	static const uint8_t want[5] = { 1, 0, 0, 0, 5 };
	(void)state;
	bytes_wipe(a + 1, 3);
	bytes_wipe(NULL, 0);
	assert_memory_equal(a, want, sizeof a);
}

static void random_bytes_fill_the_whole_buffer_and_differ(void **state)
{
	uint8_t a[64] = { 0 }, b[64] = { 0 }, seen[66] = { 0 };
	(void)state;
	assert_int_equal(bytes_random(a, sizeof a), 0);
	assert_int_equal(bytes_random(b, sizeof b), 0);
	assert_memory_not_equal(a, b, sizeof a);
	for (int i = 0; i < 64; i++) { /* each byte is hit in one of 64 draws; nothing beside them is */
		assert_int_equal(bytes_random(a, sizeof a), 0);
		for (size_t j = 0; j < sizeof a; j++)
			seen[j + 1] |= a[j];
	}
	for (size_t j = 1; j <= 64; j++)
		assert_int_not_equal(seen[j], 0);
	memset(seen, 0, sizeof seen);
	assert_int_equal(bytes_random(seen + 1, 64), 0);
	assert_int_equal(seen[0] | seen[65], 0);
	assert_int_equal(bytes_random(NULL, 0), 0);
}

static void a_pool_gives_each_byte_once(void **state)
{
	struct bytes_pool pool = { 0 };
	uint8_t got[100][4], large[300];
	unsigned zeros = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(got); i++) {
		assert_int_equal(bytes_pool_take(&pool, got[i], sizeof got[i]), 0);
		assert_true(pool.left < sizeof pool.bytes);
		for (size_t k = 0; k < sizeof got[i]; k++)
			assert_int_equal(pool.bytes[pool.left + k], 0); /* nothing of it stays */
		for (size_t j = 0; j < i; j++)
			zeros += memcmp(got[i], got[j], sizeof got[i]) == 0;
	}
	assert_true(zeros < 5); /* repeats of four bytes: one in a million such tests has one */
	assert_int_equal(bytes_pool_take(&pool, large, sizeof large), 0); /* more than the pool holds */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pool_gives_each_byte_once),
		cmocka_unit_test(integers_are_read_big_endian),
		cmocka_unit_test(a_short_read_latches_failure),
		cmocka_unit_test(every_read_past_the_end_fails_and_gives_zero),
		cmocka_unit_test(a_length_near_the_end_of_the_address_space_does_not_wrap),
		cmocka_unit_test(a_child_cannot_see_past_its_length),
		cmocka_unit_test(a_child_longer_than_its_parent_fails_both),
		cmocka_unit_test(nothing_is_a_legal_buffer),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(a_write_that_does_not_fit_writes_nothing_and_latches),
		cmocka_unit_test(a_value_of_more_than_24_bits_is_refused),
		cmocka_unit_test(nested_lengths_are_patched_from_inside_out),
		cmocka_unit_test(a_block_longer_than_its_length_field_is_refused),
		cmocka_unit_test(closing_a_block_that_never_fitted_touches_nothing),
		cmocka_unit_test(loads_and_stores_need_no_alignment),
		cmocka_unit_test(equality_sees_a_difference_in_any_single_bit),
		cmocka_unit_test(wiping_zeroes_exactly_what_it_was_given),
		cmocka_unit_test(random_bytes_fill_the_whole_buffer_and_differ),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
