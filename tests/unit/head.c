/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header tables (common/header_table.h) and the head parser (common/head.h): what is taken, what is
 * refused and with which word, in HTTP and in SIP, whole and byte by byte as a stream delivers it.
 * Every message is parsed in a block of exactly its size.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "common/head.h"

enum { VIA = 1, FROM, TO, CALL_ID, CONTENT_LENGTH, HOST, UPGRADE, CONNECTION };

static const struct header_row rows[] = {
	{ "Via", 'v', HDR_LIST, VIA },
	{ "From", 'f', HDR_SINGLE, FROM },
	{ "To", 't', HDR_SINGLE, TO },
	{ "Call-ID", 'i', HDR_SINGLE, CALL_ID },
	{ "Content-Length", 'l', HDR_SINGLE, CONTENT_LENGTH },
	{ "Host", 0, HDR_SINGLE, HOST },
	{ "Upgrade", 0, HDR_LIST, UPGRADE },
	{ "Connection", 0, HDR_LIST, CONNECTION },
};
static struct header_table table;

static int setup(void **state)
{
	(void)state;
	return header_table_init(&table, rows, ARRAY_LEN(rows));
}

static int teardown(void **state)
{
	(void)state;
	header_table_deinit(&table);
	header_table_deinit(&table); /* twice is fine */
	return 0;
}

static void names_are_found_without_regard_to_case(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char name[32];
		size_t n = strlen(rows[i].name);
		for (unsigned upper = 0; upper < 2; upper++) {
			for (size_t j = 0; j <= n; j++) {
				char c = rows[i].name[j];
				bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
				name[j] = (char)(!letter ? c : upper ? c & ~0x20 : c | 0x20);
			}
			assert_ptr_equal(header_find(&table, text_of(name)), &rows[i]);
		}
	}
	assert_int_equal(header_find(&table, TEXT("v"))->id, VIA);
	assert_int_equal(header_find(&table, TEXT("V"))->id, VIA);
}

static void a_name_that_only_resembles_one_is_unknown(void **state)
{
	static const struct text names[] = {
		TEXT(""),
		TEXT("Vi"),
		TEXT("Vias"),
		TEXT("To\x01"),
		TEXT("To "),
		TEXT("\x14o"),
		TEXT("Call\rID"),
		TEXT("Call_ID"),
		TEXT("x"),
		TEXT("Hosts"),
		TEXT("Xost"),
		TEXT("\x16"),
		TEXT("Content Length"),
		TEXT("Content-Lengt"),
		TEXT("Via\0"),
	};
	struct header_table zero = { 0 };
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_null(header_find(&table, names[i]));
	assert_null(header_find(&table, text_of(NULL)));
	assert_null(header_find(&zero, TEXT("Via")));
	/* same length, same letters where the hash looks: the name decides */
	for (unsigned c = 1; c < 256; c++) {
		char name[] = "Connection";
		name[1] = (char)c;
		assert_int_equal(header_find(&table, text_of(name)) != NULL, c == 'o' || c == 'O');
	}
}

static void a_table_that_contradicts_itself_is_refused(void **state)
{
	static const struct header_row twice[] = { { "Via", 0, 0, 1 }, { "via", 0, 0, 2 } };
	static const struct header_row compact_twice[] = { { "Via", 'v', 0, 1 }, { "Vary", 'V', 0, 2 } };
	static const struct header_row id_twice[] = { { "Via", 0, 0, 1 }, { "To", 0, 0, 1 } };
	static const struct header_row no_id[] = { { "Via", 0, 0, 0 } };
	static struct header_row many[HEADER_TABLE_MAX + 1];
	static char names[HEADER_TABLE_MAX + 1][8];
	struct header_table t;
	(void)state;
	assert_int_equal(header_table_init(&t, twice, 2), -EINVAL);
	assert_int_equal(header_table_init(&t, compact_twice, 2), -EINVAL);
	assert_int_equal(header_table_init(&t, id_twice, 2), -EINVAL);
	assert_int_equal(header_table_init(&t, no_id, 1), -EINVAL);
	assert_int_equal(header_table_init(&t, rows, 0), -EINVAL);
	for (uint16_t i = 0; i <= HEADER_TABLE_MAX; i++) {
		struct sb b = sb_init(names[i], sizeof names[i]);
		sb_fmt(&b, "x%u", i);
		many[i] = (struct header_row){ .name = names[i], .id = (uint16_t)(i + 1) };
	}
	assert_int_equal(header_table_init(&t, many, HEADER_TABLE_MAX + 1), -EINVAL);
	assert_int_equal(header_table_init(&t, many, HEADER_TABLE_MAX), 0);
	for (uint16_t i = 0; i < HEADER_TABLE_MAX; i++)
		assert_ptr_equal(header_find(&t, text_of(names[i])), &many[i]);
	header_table_deinit(&t);
}

static struct head_field fields[16];
static struct head head;

static enum head_error parse(struct text in, unsigned flags)
{
	/* the message in a block of exactly its size, so that the sanitizers see a byte too many */
	static char *block;
	free(block);
	block = malloc(in.n ? in.n : 1);
	assert_non_null(block);
	memcpy(block, in.p, in.n);
	const struct head_rules rules = { &table, flags, 65536 };
	enum head_error e =
		head_parse((struct text){ block, in.n }, &rules, fields, ARRAY_LEN(fields), &head);
	if (e != HEAD_OK) {
		free(block);
		block = NULL;
	}
	return e;
}

static void assert_field(unsigned i, uint16_t id, const char *name, const char *value)
{
	assert_true(i < head.n_fields);
	assert_true(text_eq(head.fields[i].name, text_of(name)));
	assert_true(text_eq(head.fields[i].value, text_of(value)));
	assert_int_equal(head.fields[i].row ? head.fields[i].row->id : 0, id);
}

static void an_http_head_is_split_into_its_fields(void **state)
{
	struct text in = TEXT("GET /chat HTTP/1.1\r\nhost:example.com\r\nUpgrade: \t websocket \t\r\n"
			      "X-Empty:\r\nX-Blank: \t\r\nX-UTF: \xc3\xa4\tb\r\n\r\nbody\r\n\r\n");
	(void)state;
	assert_int_equal(parse(in, 0), HEAD_OK);
	assert_int_equal(head.length, in.n - 8);
	assert_true(text_eq(head.start_line, TEXT("GET /chat HTTP/1.1")));
	assert_int_equal(head.n_fields, 5);
	assert_field(0, HOST, "host", "example.com");
	assert_field(1, UPGRADE, "Upgrade", "websocket");
	assert_field(2, 0, "X-Empty", "");
	assert_field(3, 0, "X-Blank", "");
	assert_field(4, 0, "X-UTF", "\xc3\xa4\tb");
	assert_ptr_equal(head_find(&head, UPGRADE), &head.fields[1]);
	assert_null(head_find(&head, VIA));
}

static void a_sip_head_may_fold_and_abbreviate(void **state)
{
	struct text in = TEXT("INVITE sip:b@example.com SIP/2.0\r\nv: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP b,\r\n"
			      "\tSIP/2.0/UDP c\r\nTo \t:\r\n  <sip:b@example.com>\r\n \r\n"
			      "f: \"\\\x07\\\\\" <sip:a@example.com>\r\nSubject: \r\n \r\n\r\n");
	(void)state;
	assert_int_equal(parse(in, HEAD_SIP), HEAD_OK);
	assert_int_equal(head.length, in.n);
	assert_int_equal(head.n_fields, 5);
	assert_field(0, VIA, "v", "SIP/2.0/UDP a");
	assert_field(1, VIA, "Via", "SIP/2.0/UDP b,\r\n\tSIP/2.0/UDP c");
	assert_field(2, TO, "To", "<sip:b@example.com>");
	assert_field(3, FROM, "f", "\"\\\x07\\\\\" <sip:a@example.com>");
	assert_field(4, 0, "Subject", "");
	assert_ptr_equal(head_find(&head, VIA), &head.fields[0]);
}

struct verdict {
	struct text in;
	enum head_error http, sip;
};
#define START "A b SIP/2.0\r\n"

static const struct verdict verdicts[] = {
	{ TEXT(START "\r\n"), HEAD_OK, HEAD_OK },
	{ TEXT(START "To: a\r\n\r\n"), HEAD_OK, HEAD_OK },
	/* SIP only */
	{ TEXT(START "To : a\r\n\r\n"), HEAD_BAD_NAME, HEAD_OK },
	{ TEXT(START "To: a\r\n b\r\n\r\n"), HEAD_BAD_NAME, HEAD_OK },
	{ TEXT(START "To: \"\\\x01\"\r\n\r\n"), HEAD_BAD_VALUE, HEAD_OK },
	{ TEXT(START "To: \"\\\0\"\r\n\r\n"), HEAD_BAD_VALUE, HEAD_OK },
	{ TEXT(START "To: \"\\\x7f\"\r\n\r\n"), HEAD_BAD_VALUE, HEAD_OK },
	{ TEXT(START "To: \"\\\\\\\x01\"\r\n\r\n"), HEAD_BAD_VALUE, HEAD_OK },
	{ TEXT(START "To: \"\\\"\\\x01\"\r\n\r\n"), HEAD_BAD_VALUE, HEAD_OK },
	{ TEXT(START "To: \"a\r\n b\\\x01\"\r\n\r\n"), HEAD_BAD_VALUE, HEAD_OK },
	/* nobody */
	{ TEXT(START "To: \"a\r\n b\" \\\x01\r\n\r\n"), HEAD_BAD_VALUE, HEAD_BAD_VALUE },
	{ TEXT(START "To: \\\x01\r\n\r\n"), HEAD_BAD_VALUE, HEAD_BAD_VALUE },
	{ TEXT(START "To: \\\0\r\n\r\n"), HEAD_BAD_VALUE, HEAD_BAD_VALUE },
	{ TEXT(START "To: \"a\" \\\x01\r\n\r\n"), HEAD_BAD_VALUE, HEAD_BAD_VALUE },
	{ TEXT(START "To: \\\"\x01\r\n\r\n"), HEAD_BAD_VALUE, HEAD_BAD_VALUE },
	{ TEXT(START "To: \\\\\x01\r\n\r\n"), HEAD_BAD_VALUE, HEAD_BAD_VALUE },
	{ TEXT(START "To: \x01\r\n\r\n"), HEAD_BAD_VALUE, HEAD_BAD_VALUE },
	{ TEXT(START "To: a\0b\r\n\r\n"), HEAD_BAD_VALUE, HEAD_BAD_VALUE },
	{ TEXT(START "To: a\x7f\r\n\r\n"), HEAD_BAD_VALUE, HEAD_BAD_VALUE },
	{ TEXT(START "To: 0123456789abcdef\x1f"
		     "0123456789\r\n\r\n"),
	  HEAD_BAD_VALUE, HEAD_BAD_VALUE },
	{ TEXT(START "To: a\rb\r\n\r\n"), HEAD_BAD_LINE_END, HEAD_BAD_LINE_END },
	{ TEXT(START "To: a\r\r\n\r\n"), HEAD_BAD_LINE_END, HEAD_BAD_LINE_END },
	{ TEXT(START "To: a\nb\r\n\r\n"), HEAD_BAD_LINE_END, HEAD_BAD_LINE_END },
	{ TEXT(START "To: \\\r\\\n\r\n\r\n"), HEAD_BAD_LINE_END, HEAD_BAD_LINE_END },
	{ TEXT(START "To: a\r\n\n"), HEAD_BAD_LINE_END, HEAD_BAD_LINE_END },
	{ TEXT("A b SIP/2.0\nTo: a\n\n"), HEAD_BAD_LINE_END, HEAD_BAD_LINE_END },
	{ TEXT(START "To\x01: a\r\n\r\n"), HEAD_BAD_VALUE, HEAD_BAD_VALUE },
	{ TEXT(START "To\xc3: a\r\n\r\n"), HEAD_BAD_NAME, HEAD_BAD_NAME },
	{ TEXT(START "T o: a\r\n\r\n"), HEAD_BAD_NAME, HEAD_BAD_NAME },
	{ TEXT(START "T(o: a\r\n\r\n"), HEAD_BAD_NAME, HEAD_BAD_NAME },
	{ TEXT(START ": a\r\n\r\n"), HEAD_BAD_NAME, HEAD_BAD_NAME },
	{ TEXT(START " To: a\r\n\r\n"), HEAD_BAD_NAME, HEAD_BAD_NAME },
	{ TEXT(START "To\r\n\r\n"), HEAD_BAD_NAME, HEAD_BAD_NAME },
	{ TEXT(START "To \r\n\r\n"), HEAD_BAD_NAME, HEAD_BAD_NAME },
	{ TEXT(START "To\r\n : a\r\n\r\n"), HEAD_BAD_NAME, HEAD_BAD_NAME },
	{ TEXT(START "To: a\r\nTo: a\r\n\r\n"), HEAD_DUPLICATE, HEAD_DUPLICATE },
	{ TEXT(START "To: a\r\nt: b\r\n\r\n"), HEAD_DUPLICATE, HEAD_DUPLICATE },
	{ TEXT(START "l: 1\r\nCONTENT-length: 1\r\n\r\n"), HEAD_DUPLICATE, HEAD_DUPLICATE },
	{ TEXT(START "Via: 1\r\nv: 1\r\nX: 1\r\nX: 1\r\n\r\n"), HEAD_OK, HEAD_OK },
	{ TEXT("\r\n\r\n"), HEAD_BAD_START_LINE, HEAD_BAD_START_LINE },
	{ TEXT(" A b SIP/2.0\r\n\r\n"), HEAD_BAD_START_LINE, HEAD_BAD_START_LINE },
	{ TEXT("A \\\x01 SIP/2.0\r\n\r\n"), HEAD_BAD_VALUE, HEAD_BAD_VALUE },
};

static void each_malformed_head_is_refused_with_its_own_word(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
		enum head_error http = parse(verdicts[i].in, 0), sip = parse(verdicts[i].in, HEAD_SIP);
		if (http != verdicts[i].http || sip != verdicts[i].sip)
			fail_msg("row %zu: %s and %s", i, head_error_text(http), head_error_text(sip));
	}
}

static void a_stream_byte_by_byte_is_incomplete_until_its_verdict(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
		for (unsigned sip = 0; sip < 2; sip++) {
			enum head_error want = sip ? verdicts[i].sip : verdicts[i].http,
					e = HEAD_INCOMPLETE;
			size_t n = 0;
			for (; n <= verdicts[i].in.n && e == HEAD_INCOMPLETE; n++)
				e = parse((struct text){ verdicts[i].in.p, n }, sip ? HEAD_SIP : 0);
			assert_int_equal(e, want);
			if (e == HEAD_OK)
				assert_int_equal(head.length, verdicts[i].in.n); /* not a byte earlier */
		}
	}
}

static enum head_error parse_limited(struct text in, size_t max, struct head_field *into,
				     unsigned cap, struct head *ret_h)
{
	return head_parse(in, &(struct head_rules){ &table, 0, max }, into, cap, ret_h);
}

static void the_limits_hold_exactly(void **state)
{
	struct text in = TEXT(START "X: 1\r\nY: 2\r\nZ: 3\r\n\r\n");
	struct head before = { .length = 4711 }, h = before;
	(void)state;
	assert_int_equal(parse_limited(in, in.n, fields, 3, &h), HEAD_OK);
	h = before;
	assert_int_equal(parse_limited(in, in.n - 1, fields, 3, &h), HEAD_TOO_LONG);
	assert_int_equal(parse_limited(in, 5, fields, 3, &h), HEAD_TOO_LONG);
	assert_int_equal(parse_limited(in, 0, fields, 3, &h), HEAD_TOO_LONG);
	assert_int_equal(parse_limited(in, in.n, fields, 2, &h), HEAD_TOO_MANY);
	assert_int_equal(parse_limited(in, in.n, NULL, 0, &h), HEAD_TOO_MANY);
	in.n -= 1; /* as many bytes as allowed, and the end is still missing */
	assert_int_equal(parse_limited(in, in.n, fields, 3, &h), HEAD_TOO_LONG);
	assert_int_equal(parse_limited(in, in.n + 1, fields, 3, &h), HEAD_INCOMPLETE);
	assert_int_equal(parse_limited(text_of(NULL), 9, fields, 3, &h), HEAD_INCOMPLETE);
	assert_memory_equal(&h, &before, sizeof h); /* written only on success */
}

static void what_is_good_of_a_bad_head_is_kept_on_request(void **state)
{
	static const struct {
		struct text in;
		enum head_error want;
		unsigned fields;
		bool ends; /* the empty line was found */
	} cases[] = {
		{ TEXT(START "Via: a\r\nTo\x01: b\r\n more\r\nFrom: c\r\n\r\n"), HEAD_BAD_VALUE, 2, true },
		{ TEXT(START "Via: a\r\nTo : b\nFrom: x\r\nFrom: c\r\n\r\n"), HEAD_BAD_LINE_END, 2, true },
		{ TEXT(START "Via: a\r\nT(o: b\r\nFrom: c\r\nFrom: d\r\n\r\n"), HEAD_BAD_NAME, 2, true },
		{ TEXT(START "Via: a\r\nTo: b\r\nTo: c\r\n: d\r\n\r\n"), HEAD_DUPLICATE, 2, true },
		{ TEXT("a\nb\r\nVia: a\r\nTo: b\r\n\r\n"), HEAD_BAD_LINE_END, 2, true },
		{ TEXT(START "Via: a\r\nTo: b\r\n: d\r\nFr"), HEAD_BAD_NAME, 2, false },
		{ TEXT(START "Via: a\r\nTo: b\r\nX: d\ne\n\n"), HEAD_BAD_LINE_END, 2, false },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum head_error e = head_parse(
			cases[i].in, &(struct head_rules){ &table, HEAD_SIP | HEAD_GO_ON, 65536 },
			fields, ARRAY_LEN(fields), &head);
		assert_int_equal(e, cases[i].want);
		assert_int_equal(head.n_fields, cases[i].fields);
		assert_int_equal(head.fields[0].row->id, VIA);
		assert_int_equal(head.length, cases[i].ends ? cases[i].in.n : 0);
		if (i < 3)
			assert_true(text_eq(head.fields[1].value, TEXT("c")));
		else
			assert_true(text_eq(head.fields[1].value, TEXT("b")));
	}
}

static void start_lines_have_three_words(void **state)
{
	static const struct {
		struct text line;
		const char *words[3]; /* the first NULL: refused */
	} cases[] = {
		{ TEXT("GET / HTTP/1.1"), { "GET", "/", "HTTP/1.1" } },
		{ TEXT("!a%b sip:x@y;z SIP/7.0"), { "!a%b", "sip:x@y;z", "SIP/7.0" } },
		{ TEXT("CONNECT a:1 HTTP/10.20"), { "CONNECT", "a:1", "HTTP/10.20" } },
		{ TEXT("HTTP/1.1 200 Connection  established "),
		  { "HTTP/1.1", "200", "Connection  established " } },
		{ TEXT("SIP/2.0 100 "), { "SIP/2.0", "100", "" } },
		{ TEXT("SIP/2.0 200 \xc3\xa4"), { "SIP/2.0", "200", "\xc3\xa4" } },
		{ TEXT(""), { 0 } },
		{ TEXT("GET"), { 0 } },
		{ TEXT("GET /"), { 0 } },
		{ TEXT("GET  / HTTP/1.1"), { 0 } },
		{ TEXT("GET /  HTTP/1.1"), { 0 } },
		{ TEXT("GET / HTTP/1.1 "), { 0 } },
		{ TEXT(" GET / HTTP/1.1"), { 0 } },
		{ TEXT("GET\t/ HTTP/1.1 x"), { 0 } },
		{ TEXT("GET /a\tb HTTP/1.1"), { 0 } },
		{ TEXT("GET /a b HTTP/1.1"), { 0 } },
		{ TEXT("GET /\xc3\xa4 HTTP/1.1"), { 0 } },
		{ TEXT("GET /\x7f HTTP/1.1"), { 0 } },
		{ TEXT("G(T / HTTP/1.1"), { 0 } },
		{ TEXT("GET / HTTP"), { 0 } },
		{ TEXT("GET / HTTP/"), { 0 } },
		{ TEXT("GET / HTTP/1"), { 0 } },
		{ TEXT("GET / HTTP/1."), { 0 } },
		{ TEXT("GET / HTTP/.1"), { 0 } },
		{ TEXT("GET / HTTP/1.1x"), { 0 } },
		{ TEXT("GET / /1.1"), { 0 } },
		{ TEXT("HTTP/1.1 200"), { 0 } },
		{ TEXT("HTTP/1.1 20 OK"), { 0 } },
		{ TEXT("HTTP/1.1 2000 OK"), { 0 } },
		{ TEXT("HTTP/1.1 2x0 OK"), { 0 } },
		{ TEXT("HTTP/1.1  200 OK"), { 0 } },
		{ TEXT("HTTP/1 200 OK"), { 0 } },
		{ TEXT("/1.1 200 OK"), { 0 } },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct text words[3];
		bool ok = head_start_words(cases[i].line, words) == HEAD_OK;
		if (ok != (cases[i].words[0] != NULL))
			fail_msg("row %zu '%.*s'", i, TEXT_FMT(cases[i].line));
		for (size_t j = 0; ok && j < 3; j++)
			assert_true(text_eq(words[j], text_of(cases[i].words[j])));
	}
}

static void token_characters_are_those_of_the_rfc(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		char s = (char)c;
		bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		bool want = alnum || (c != 0 && strchr("!#$%&'*+-.^_`|~", c));
		assert_int_equal(head_is_token((struct text){ &s, 1 }), want);
	}
	assert_false(head_is_token(TEXT("")));
	assert_true(head_is_token(TEXT("Content-Length")));
	assert_false(head_is_token(TEXT("Content-Length ")));
}

static void control_characters_are_found_at_every_place(void **state)
{
	(void)state; /* the scan works on eight bytes at a time: try each byte at each offset */
	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 0; at < 20; at++) {
			char in[] = START "X: yyyyyyyyyyyyyyyyyyyyyyyyyy\r\n\r\n";
			in[sizeof START - 1 + 3 + at] = (char)c;
			enum head_error e = parse((struct text){ in, sizeof in - 1 }, 0);
			bool ok = (c >= 0x20 && c != 0x7f) || c == '\t';
			bool end = c == '\r' || c == '\n';
			assert_int_equal(e, ok	  ? HEAD_OK
					    : end ? HEAD_BAD_LINE_END
						  : HEAD_BAD_VALUE);
		}
	}
}

static void every_error_has_a_text(void **state)
{
	(void)state;
	for (int e = HEAD_OK; e <= HEAD_TOO_MANY; e++)
		assert_string_not_equal(head_error_text(e), "unknown");
	assert_string_equal(head_error_text(HEAD_TOO_MANY + 1), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_found_without_regard_to_case),
		cmocka_unit_test(a_name_that_only_resembles_one_is_unknown),
		cmocka_unit_test(a_table_that_contradicts_itself_is_refused),
		cmocka_unit_test(an_http_head_is_split_into_its_fields),
		cmocka_unit_test(a_sip_head_may_fold_and_abbreviate),
		cmocka_unit_test(each_malformed_head_is_refused_with_its_own_word),
		cmocka_unit_test(a_stream_byte_by_byte_is_incomplete_until_its_verdict),
		cmocka_unit_test(the_limits_hold_exactly),
		cmocka_unit_test(what_is_good_of_a_bad_head_is_kept_on_request),
		cmocka_unit_test(start_lines_have_three_words),
		cmocka_unit_test(token_characters_are_those_of_the_rfc),
		cmocka_unit_test(control_characters_are_found_at_every_place),
		cmocka_unit_test(every_error_has_a_text),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
