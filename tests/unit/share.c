/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes, keys, records, names and ranges of shares, without any I/O. What is written is what a second implementation wrote
 * (share_vectors.h).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "common/bytes.h"
#include "share/code.h"
#include "share/names.h"
#include "share/records.h"
#include "share/request.h"
#include "tests/unit/share_vectors.h"

static size_t unhex(const char *hex, uint8_t *out, size_t cap)
{
	size_t n;

	assert_int_equal(hex_decode(text_of(hex), out, cap, &n), 0);
	return n;
}

static void codes_and_keys_are_those_of_the_decision(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(share_vectors); i++) {
		struct share_code c = { 0 }, back;
		struct share_keys k;
		char text[SHARE_CODE_STRLEN], hex[65];

		unhex(share_vectors[i].secret, c.secret, sizeof(c.secret));
		assert_string_equal(share_code_write(&c, text), share_vectors[i].code);
		assert_int_equal(share_code_parse(text_of(text), &back), SHARE_CODE_OK);
		assert_memory_equal(back.secret, c.secret, sizeof(c.secret));
		assert_int_equal(share_keys_make(c.secret, &k), 0);
		hex_encode(k.id, sizeof(k.id), hex);
		assert_string_equal(hex, share_vectors[i].id);
		hex_encode(k.token, sizeof(k.token), hex);
		assert_string_equal(hex, share_vectors[i].token);
		hex_encode(k.knock, sizeof(k.knock), hex);
		assert_string_equal(hex, share_vectors[i].knock);
	}
}

static void a_code_is_read_as_people_say_it(void **state)
{
	static const char *const good[] = {
		"000g40r40m30e209185gr38e1zrr", " oooG 40R4 om30-E2O9 I85G r38e lZRR\n", "000G-40R4-0M30-E209-185G-R38E-1ZRR@tunnel.example.org:7443", "000G-40R4-0M30-E209-185G-R38E-1ZRR@tunnel.example.org:7443,1935,443,80",
		"https://share.example.org/s/8789d63b4e4bc7c8#000G-40R4-0M30-E209-185G-R38E-1ZRR",
		"https://share.example.org/s/8789d63b4e4bc7c8/#000G-40R4-0M30-E209-185G-R38E-1ZRR@[2001:db8::1]:7443",
	};
	static const struct {
		const char *text;
		enum share_code_error e;
	} bad[] = {
		{ "", SHARE_CODE_LENGTH }, { "000G", SHARE_CODE_LENGTH }, { "000G40R40M30E209185GR38E1ZRR0", SHARE_CODE_LENGTH },
		{ "000G40R40M30E209185GR38E1ZRU", SHARE_CODE_CHARACTER }, { "000G40R40M30E209185GR38E1ZRS", SHARE_CODE_CHECKSUM },
		{ "000G40R40M30E209185GR38E1ZRR@", SHARE_CODE_PLACE }, { "000G40R40M30E209185GR38E1ZRR@a", SHARE_CODE_PLACE },
		{ "000G40R40M30E209185GR38E1ZRR@a:0", SHARE_CODE_PLACE }, { "000G40R40M30E209185GR38E1ZRR@a:1,", SHARE_CODE_PLACE },
		{ "000G40R40M30E209185GR38E1ZRR@a:1,x", SHARE_CODE_PLACE }, { "000G40R40M30E209185GR38E1ZRR@a:1,2,3,4,5,6,7,8,9", SHARE_CODE_PLACE }, { "000G40R40M30E209185GR38E1ZRR@[::1", SHARE_CODE_PLACE },
		{ "000G40R40M30E209185GR38E1ZRR#x", SHARE_CODE_CHARACTER }, { "https://a/s/8789d63b4e4bc7c8", SHARE_CODE_LINK },
		{ "https://a/s/8789d63b4e4bc7c9#000G-40R4-0M30-E209-185G-R38E-1ZRR", SHARE_CODE_LINK }, { "https://a/#000G", SHARE_CODE_LINK },
	};
	struct share_code c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(share_code_parse(text_of(good[i]), &c), SHARE_CODE_OK);
		for (unsigned k = 0; k < SHARE_SECRET; k++)
			assert_int_equal(c.secret[k], k);
	}
	assert_string_equal(c.host, "2001:db8::1");
	assert_int_equal(c.port, 7443);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(share_code_parse(text_of(bad[i].text), &c), bad[i].e);
}

static void every_slip_of_one_digit_is_found(void **state)
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	char text[] = "000G40R40M30E209185GR38E1ZRR";
	unsigned missed = 0;
	struct share_code c;

	(void)state;
	for (size_t i = 0; i < SHARE_DIGITS; i++) {
		char was = text[i];

		for (size_t d = 0; d < 32; d++) {
			text[i] = digits[d];
			missed += digits[d] != was && share_code_parse(text_of(text), &c) == SHARE_CODE_OK;
		}
		text[i] = was;
	}
	assert_int_equal(missed, 0);
}

static void records_are_those_of_the_decision(void **state)
{
	uint8_t secret[SHARE_SECRET], salt[SHARE_SALT], key[SHARE_KEY], want[128], got[128], plain[128];

	(void)state;
	unhex(share_vectors[0].secret, secret, sizeof(secret));
	for (unsigned i = 0; i < SHARE_SALT; i++)
		salt[i] = (uint8_t)(0xa0 + i);
	for (size_t i = 0; i < ARRAY_LEN(record_vectors); i++) {
		struct share_records_ctx *seal, *open;
		size_t n = unhex(record_vectors[i].plain, plain, sizeof(plain)), m = unhex(record_vectors[i].record, want, sizeof(want));

		assert_int_equal(share_stream_key(secret, salt, record_vectors[i].kind, key), 0);
		unhex(record_vectors[i].key, got, sizeof(got));
		assert_memory_equal(key, got, sizeof(key));
		assert_int_equal(share_records_new(key, true, &seal), 0);
		assert_int_equal(share_records_new(key, false, &open), 0);
		assert_int_equal(share_records_seal(seal, record_vectors[i].number, record_vectors[i].last, plain, n, got), 0);
		assert_int_equal(m, n + RECORD_TAG);
		assert_memory_equal(got, want, m);
		assert_int_equal(share_records_open(open, record_vectors[i].number, record_vectors[i].last, want, m, got), 0);
		assert_memory_equal(got, plain, n);
		assert_int_equal(share_records_open(open, record_vectors[i].number, !record_vectors[i].last, want, m, got), -EBADMSG);
		assert_int_equal(share_records_open(open, record_vectors[i].number + 1, record_vectors[i].last, want, m, got), -EBADMSG);
		for (size_t cut = 0; cut < m; cut++)
			assert_int_equal(share_records_open(open, record_vectors[i].number, record_vectors[i].last, want, cut, got), -EBADMSG);
		for (size_t at = 0; at < m; at++) {
			want[at] ^= 1;
			assert_int_equal(share_records_open(open, record_vectors[i].number, record_vectors[i].last, want, m, got), -EBADMSG);
			want[at] ^= 1;
		}
		share_records_free(seal);
		share_records_free(open);
	}
}

static void sizes_go_both_ways(void **state)
{
	static const uint64_t sizes[] = { 0, 1, 65535, 65536, 65537, 131072, 1000000000, UINT64_C(1) << 46 };
	uint64_t plain;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		assert_int_equal(share_records_plain(share_records_size(sizes[i]), &plain), 0);
		assert_int_equal(plain, sizes[i]);
	}
	for (uint64_t n = 0; n < 16; n++)
		assert_int_equal(share_records_plain(n, &plain), -EINVAL);
	for (uint64_t n = 1; n <= 16; n++)
		assert_int_equal(share_records_plain(RECORD_SIZE + n, &plain), -EINVAL);
}

static void what_is_sealed_is_opened_whole_or_not_at_all(void **state)
{
	static char big[70000];
	const struct text plain = { big, sizeof(big) };
	uint8_t secret[SHARE_SECRET] = { 7 }, *p;
	size_t n, m;
	char *back;

	(void)state;
	memset(big, 'x', sizeof(big));
	assert_int_equal(sealed_make(secret, "meta", plain, &p, &n), 0);
	assert_int_equal(n, 16 + sizeof(big) + 32);
	assert_int_equal(sealed_open(secret, "meta", (struct text){ (char *)p, n }, &back, &m), 0);
	assert_int_equal(m, sizeof(big));
	assert_memory_equal(back, big, m);
	free(back);
	assert_int_equal(sealed_open(secret, "name", (struct text){ (char *)p, n }, &back, &m), -EBADMSG);
	for (size_t cut = 0; cut < n; cut += cut < 100 || cut > n - 100 ? 1 : 997)
		assert_int_equal(sealed_open(secret, "meta", (struct text){ (char *)p, cut }, &back, &m), -EBADMSG);
	assert_int_equal(sealed_open(secret, "meta", (struct text){ (char *)p, 16 + RECORD_SIZE }, &back, &m), -EBADMSG); /* the end is missing */
	free(p);
}

static void paths_have_one_meaning_or_none(void **state)
{
#define ID "/s/0123456789abcdef"
	static const struct {
		const char *path;
		enum share_place place;
	} rows[] = {
		{ ID, SHARE_AT_PAGE }, { ID "/", SHARE_AT_PAGE }, { ID "/app.js", SHARE_AT_PAGE }, { ID "/meta", SHARE_AT_META }, { ID "/e/0", SHARE_AT_ENTRY },
		{ ID "/e/9999", SHARE_AT_ENTRY }, { ID "/e/", SHARE_AT_NOTHING }, { ID "/e/00", SHARE_AT_NOTHING }, { ID "/e/-1", SHARE_AT_NOTHING },
		{ ID "/e/1x", SHARE_AT_NOTHING }, { ID "/h/7", SHARE_AT_HASH }, { ID "/a", SHARE_AT_ARCHIVE }, { ID "/done", SHARE_AT_DONE },
		{ ID "/u/00112233445566778899aabbccddeeff", SHARE_AT_UPLOAD }, { ID "/u/00112233445566778899AABBCCDDEEFF", SHARE_AT_NOTHING },
		{ ID "/u/0011", SHARE_AT_NOTHING }, { ID "/plain/meta", SHARE_AT_PLAIN_META }, { ID "/plain/a", SHARE_AT_PLAIN_ARCHIVE },
		{ ID "/f/a/b.txt", SHARE_AT_PLAIN_FILE }, { ID "/f/../b", SHARE_AT_NOTHING }, { ID "/f/a/../b", SHARE_AT_NOTHING },
		{ ID "/f/a//b", SHARE_AT_NOTHING }, { ID "/f//etc/passwd", SHARE_AT_NOTHING }, { ID "/f/./b", SHARE_AT_NOTHING },
		{ ID "/f/a\\b", SHARE_AT_NOTHING }, { ID "/f/a\nb", SHARE_AT_NOTHING }, { ID "/f/\xff", SHARE_AT_NOTHING },
		{ ID "/n/x.bin", SHARE_AT_PLAIN_UPLOAD }, { ID "/n/a/x.bin", SHARE_AT_NOTHING }, { ID "/n/..", SHARE_AT_NOTHING },
		{ "/s/0123456789ABCDEF/meta", SHARE_AT_NOTHING }, { "/s/0123/meta", SHARE_AT_NOTHING }, { "/", SHARE_AT_NOTHING }, { "", SHARE_AT_NOTHING },
		{ "/s/", SHARE_AT_NOTHING }, { ID "x/meta", SHARE_AT_NOTHING }, { ID "/../meta", SHARE_AT_NOTHING },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (share_where(text_of(rows[i].path)).place != rows[i].place)
			fail_msg("%s", rows[i].path);
	assert_int_equal(share_where(TEXT(ID "/meta")).id, UINT64_C(0x0123456789abcdef));
}

static void ranges_are_read_as_rfc_9110_has_them(void **state)
{
	static const struct {
		const char *range;
		enum share_range kind;
		uint64_t first, n;
	} rows[] = {
		{ "bytes=0-0", SHARE_RANGE_PART, 0, 1 }, { "bytes=0-", SHARE_RANGE_PART, 0, 1000 }, { "bytes=999-", SHARE_RANGE_PART, 999, 1 },
		{ "bytes=-1", SHARE_RANGE_PART, 999, 1 }, { "bytes=-5000", SHARE_RANGE_PART, 0, 1000 }, { "bytes=10-99999", SHARE_RANGE_PART, 10, 990 },
		{ "bytes=1000-", SHARE_RANGE_NOT, 0, 0 }, { "bytes=-0", SHARE_RANGE_NOT, 0, 0 }, { "", SHARE_RANGE_ALL, 0, 1000 },
		{ "bytes=5-1", SHARE_RANGE_ALL, 0, 1000 }, { "bytes=0-1,5-6", SHARE_RANGE_ALL, 0, 1000 }, { "items=0-1", SHARE_RANGE_ALL, 0, 1000 },
		{ "bytes=", SHARE_RANGE_ALL, 0, 1000 }, { "bytes=a-b", SHARE_RANGE_ALL, 0, 1000 }, { "bytes=-", SHARE_RANGE_ALL, 0, 1000 },
		{ "bytes=99999999999999999999-", SHARE_RANGE_ALL, 0, 1000 }, { "bytes=18446744073709551615-", SHARE_RANGE_NOT, 0, 0 },
		{ "bytes=0-18446744073709551615", SHARE_RANGE_PART, 0, 1000 },
	};
	uint64_t a, n, t;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(share_range(text_of(rows[i].range), 1000, &a, &n), rows[i].kind);
		if (rows[i].kind != SHARE_RANGE_NOT) {
			assert_int_equal(a, rows[i].first);
			assert_int_equal(n, rows[i].n);
		}
	}
	assert_int_equal(share_range(TEXT("bytes=0-"), 0, &a, &n), SHARE_RANGE_NOT);
	assert_int_equal(share_content_range(TEXT("bytes 0-9/10"), &a, &n, &t), 0);
	assert_int_equal(n, 10);
	for (const char *const *bad = (const char *const[]){ "", "bytes", "bytes 0-9", "bytes 0-9/*", "bytes */10", "bytes 5-4/10", "bytes 0-10/10",
							     "bytes 0-18446744073709551615/18446744073709551615", "bytes -1/10", NULL };
	     *bad; bad++)
		assert_int_equal(share_content_range(text_of(*bad), &a, &n, &t), -EINVAL);
	assert_true(share_tag_matches(TEXT("\"a\", \"b\""), "b"));
	assert_true(share_tag_matches(TEXT("*"), "b"));
	assert_false(share_tag_matches(TEXT("W/\"b\""), "b"));
	assert_false(share_tag_matches(TEXT("b"), "b"));
}

static void names_of_strangers_are_made_harmless(void **state)
{
	static const struct {
		const char *name, *safe;
	} rows[] = {
		{ "report.pdf", "report.pdf" }, { "../../etc/passwd", "passwd" }, { "C:\\Users\\x\\a.txt", "a.txt" }, { "", "upload" }, { "..", "upload" },
		{ ".bashrc", "bashrc" }, { "a\nb\x7f", "a_b_" }, { "con.txt", "_con.txt" }, { "COM1", "_COM1" }, { "com.txt", "com.txt" }, { "a/", "upload" },
		{ "x. . ", "x" }, { "Gr\xc3\xbc\xc3\x9f""e.txt", "Gr\xc3\xbc\xc3\x9f""e.txt" }, { "\xff\xfe", "__" }, { "gpj.\xe2\x80\xae""exe", "gpj._exe" },
		{ "a:b?", "a_b_" }, { "a\xc3", "a_" }, { "\xed\xa0\x80", "___" },
	};
	char out[SHARE_NAME_MAX + 1], longest[2000];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		share_name_safe(text_of(rows[i].name), out);
		assert_string_equal(out, rows[i].safe);
	}
	memset(longest, 'y', sizeof(longest));
	memcpy(longest + 1990, ".tar.gz", 8);
	share_name_safe(text_of(longest), out);
	assert_true(strlen(out) <= SHARE_NAME_MAX && strcmp(out + strlen(out) - 3, ".gz") == 0);
	share_name_again(out, 999, longest);
	assert_true(strlen(longest) <= SHARE_NAME_MAX && strstr(longest, " (999).gz"));
	share_name_again("report.pdf", 2, out);
	assert_string_equal(out, "report (2).pdf");
}

static void each_fault_of_a_code_has_its_words(void **state)
{
	(void)state;
	for (unsigned e = SHARE_CODE_OK; e <= SHARE_CODE_LINK; e++) {
		assert_string_not_equal(share_code_error_text((enum share_code_error)e), "unknown");
		for (unsigned other = SHARE_CODE_OK; other < e; other++)
			assert_string_not_equal(share_code_error_text((enum share_code_error)e), share_code_error_text((enum share_code_error)other));
	}
	assert_string_equal(share_code_error_text((enum share_code_error)(SHARE_CODE_LINK + 1)), "unknown");
}

static void a_code_is_written_with_all_ports_of_its_place(void **state)
{
	static const char text[] = "000G-40R4-0M30-E209-185G-R38E-1ZRR@tunnel.example.org:7443,1935,443,80";
	char buf[SHARE_CODE_STRLEN];
	struct share_code c;

	(void)state;
	assert_int_equal(share_code_parse(text_of(text), &c), SHARE_CODE_OK);
	assert_string_equal(share_code_write(&c, buf), text);
}

/* A context seals or opens, and takes no record that could not be one. */
static void a_record_has_one_direction_and_a_bound(void **state)
{
	static uint8_t in[RECORD_SIZE + 1], out[RECORD_SIZE + 1];
	const uint8_t key[SHARE_KEY] = { 1 };
	struct share_records_ctx *seal, *open;
	uint64_t plain;

	(void)state;
	assert_int_equal(share_records_new(key, true, &seal), 0);
	assert_int_equal(share_records_new(key, false, &open), 0);
	assert_int_equal(share_records_seal(seal, 0, true, in, RECORD_PLAIN + 1, out), -EIO);
	assert_int_equal(share_records_seal(open, 0, true, in, 1, out), -EIO);
	assert_int_equal(share_records_open(seal, 0, true, in, RECORD_SIZE, out), -EBADMSG);
	assert_int_equal(share_records_open(open, 0, true, in, RECORD_SIZE + 1, out), -EBADMSG);
	assert_int_equal(share_records_open(open, 0, true, in, RECORD_TAG - 1, out), -EBADMSG);
	assert_int_equal(share_records_seal(seal, 0, true, in, 0, out), 0); /* an empty one, alone */
	assert_int_equal(share_records_open(open, 0, true, out, RECORD_TAG, in), 0);
	assert_int_equal(share_records_open(open, 0, false, out, RECORD_TAG, in), -EBADMSG); /* not as one of several */
	assert_int_equal(share_records_plain(RECORD_SIZE + RECORD_TAG + 1, &plain), 0);
	assert_int_equal(plain, RECORD_PLAIN + 1);
	share_records_free(seal);
	share_records_free(open);
	assert_null(share_records_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes_and_keys_are_those_of_the_decision), cmocka_unit_test(a_code_is_read_as_people_say_it),
		cmocka_unit_test(every_slip_of_one_digit_is_found),	    cmocka_unit_test(records_are_those_of_the_decision),
		cmocka_unit_test(sizes_go_both_ways),			    cmocka_unit_test(what_is_sealed_is_opened_whole_or_not_at_all),
		cmocka_unit_test(paths_have_one_meaning_or_none),	    cmocka_unit_test(ranges_are_read_as_rfc_9110_has_them),
		cmocka_unit_test(names_of_strangers_are_made_harmless),
		cmocka_unit_test(each_fault_of_a_code_has_its_words),
		cmocka_unit_test(a_code_is_written_with_all_ports_of_its_place),
		cmocka_unit_test(a_record_has_one_direction_and_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
