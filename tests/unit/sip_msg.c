/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIP messages (sip-proxy/msg.h, headers.h): the index, values over several lines and commas, bodies, and with which
 * verdict a bad message is refused. Every message is parsed in a block of exactly its size. The messages of RFC 4475
 * and RFC 5118 are in sip_torture.c.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "sip-proxy/headers.h"
#include "sip-proxy/refusals.h"

static struct sip_msg msg;
static char *block;

static int setup(void **state)
{
	(void)state;
	return sip_headers_init();
}

static int teardown(void **state)
{
	(void)state;
	sip_msg_deinit(&msg);
	free(block);
	sip_headers_deinit();
	return 0;
}

static int parse_text(struct text in, enum sip_framing framing, const struct sip_limits *limits)
{
	sip_msg_deinit(&msg);
	free(block);
	block = malloc(in.n ? in.n : 1);
	assert_non_null(block);
	memcpy(block, in.p, in.n);
	return sip_msg_parse(&msg, (struct text){ block, in.n }, framing, limits);
}

static int parse(const char *s)
{
	return parse_text(text_of(s), SIP_DATAGRAM, NULL);
}

static int parse_stream(const char *s)
{
	return parse_text(text_of(s), SIP_STREAM, NULL);
}

#define assert_text(t, s) assert_true(text_eq((t), text_of(s)))

#define VIA "Via: SIP/2.0/UDP pc33.example.com;branch=z9hG4bK776asdhds\r\n"
#define FROM "From: Alice <sip:alice@example.com>;tag=1928301774\r\n"
#define TO "To: Bob <sip:bob@example.com>\r\n"
#define ID "Call-ID: a84b4c76e66710@pc33.example.com\r\n"
#define CSEQ "CSeq: 314159 INVITE\r\n"
#define LINE "INVITE sip:bob@example.com SIP/2.0\r\n"
#define REST VIA FROM TO ID CSEQ

static void the_rows_stand_in_the_order_of_their_ids(void **state)
{
	(void)state;
	for (unsigned id = 1; id < SIP_HEADERS; id++)
		assert_int_equal(sip_header_row((enum sip_header)id)->id, id);
	assert_null(sip_header_row(SIP_H_UNKNOWN));
	assert_null(sip_header_row(SIP_HEADERS));
}

static void every_verdict_has_its_row(void **state)
{
	(void)state;
	for (unsigned v = 0; v < SIP_VERDICTS; v++) {
		const struct sip_verdict_row *row = sip_verdict_row((enum sip_verdict)v);
		assert_non_null(row->text);
		assert_true(row->code == 0 || (row->code >= 400 && row->reason[0]));
		for (unsigned w = 0; w < v; w++)
			assert_string_not_equal(row->label, sip_verdict_row((enum sip_verdict)w)->label);
	}
}

static void a_request_is_taken_apart(void **state)
{
	(void)state;
	assert_int_equal(parse(LINE REST "Max-Forwards: 70\r\nContent-Length: 4\r\n\r\nbodyEXTRA"),
			 SIP_OK);
	assert_true(msg.is_request);
	assert_int_equal(msg.method, SIP_INVITE);
	assert_text(msg.method_name, "INVITE");
	assert_text(msg.uri, "sip:bob@example.com");
	assert_text(msg.body, "body");
	assert_int_equal(msg.raw.n,
			 strlen(LINE REST "Max-Forwards: 70\r\nContent-Length: 4\r\n\r\nbody"));
	assert_text(sip_value(&msg, SIP_H_MAX_FORWARDS), "70");
	assert_null(sip_value(&msg, SIP_H_ROUTE).p);
	assert_false(sip_has(&msg, SIP_H_ROUTE));
}

static void a_response_is_taken_apart(void **state)
{
	(void)state;
	assert_int_equal(parse("SIP/2.0 180 Ringing, please wait\r\n" REST "\r\n"), SIP_OK);
	assert_false(msg.is_request);
	assert_int_equal(msg.status, 180);
	assert_text(msg.reason, "Ringing, please wait");
	assert_int_equal(parse("SIP/2.0 100 \r\n" REST "\r\n"), SIP_OK);
	assert_text(msg.reason, "");
}

static void methods_are_case_sensitive(void **state)
{
	(void)state;
	assert_int_equal(sip_method_of(TEXT("MESSAGE")), SIP_MESSAGE);
	assert_int_equal(sip_method_of(TEXT("message")), SIP_UNKNOWN_METHOD);
	assert_int_equal(sip_method_of(TEXT("")), SIP_UNKNOWN_METHOD);
	assert_int_equal(parse("invite sip:bob@example.com SIP/2.0\r\n" REST "\r\n"), SIP_OK);
	assert_int_equal(msg.method, SIP_UNKNOWN_METHOD);
	assert_text(msg.method_name, "invite");
	for (unsigned m = 1; m < SIP_METHODS; m++)
		assert_int_equal(sip_method_of(sip_method_name((enum sip_method)m)), m);
}

static void values_come_one_by_one_over_lines_and_commas(void **state)
{
	static const char *const want[] = {
		"<sip:a,b@one.example>;x=\"p,q\\\",\"",
		"\"Two, \\\" <\" <sip:two>",
		"sip:three",
		"",
		"<sip:four>",
	};
	struct text v;
	unsigned n = 0;
	(void)state;
	assert_int_equal(parse(LINE REST "Route: <sip:a,b@one.example>;x=\"p,q\\\",\" , \"Two, \\\" <\" <sip:two>\r\n"
					 "Subject: a, b\r\nroute:sip:three,,\r\n <sip:four>\r\n\r\n"),
			 SIP_OK);
	struct sip_values it = sip_values(&msg, SIP_H_ROUTE);
	for (; sip_values_next(&it, &v); n++)
		assert_text(v, want[n]);
	assert_int_equal(n, ARRAY_LEN(want));
	it = sip_values(&msg, SIP_H_SUBJECT); /* no list: the comma is its own */
	assert_true(sip_values_next(&it, &v));
	assert_text(v, "a, b");
	assert_false(sip_values_next(&it, &v));
	it = sip_values(&msg, SIP_H_PATH);
	assert_false(sip_values_next(&it, &v));
}

static void what_opens_and_does_not_close_is_one_value(void **state)
{
	struct text v;
	(void)state;
	assert_int_equal(parse(LINE REST "Route: \"a, b\r\nRoute: <sip:a, b\r\n\r\n"), SIP_OK);
	struct sip_values it = sip_values(&msg, SIP_H_ROUTE);
	assert_true(sip_values_next(&it, &v));
	assert_text(v, "\"a, b");
	assert_true(sip_values_next(&it, &v)); /* a '<' alone quotes nothing */
	assert_text(v, "<sip:a");
	assert_true(sip_values_next(&it, &v));
	assert_text(v, "b");
	assert_false(sip_values_next(&it, &v));
}

static void compact_forms_are_the_same_headers(void **state)
{
	(void)state;
	assert_int_equal(parse("OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/TCP h;branch=z9hG4bKa\r\nF: <sip:a@b>;tag=1\r\n"
			       "t: <sip:c@d>\r\ni: x\r\nCSeq: 1 OPTIONS\r\nm: *\r\nl: 0\r\n\r\n"),
			 SIP_OK);
	assert_text(sip_value(&msg, SIP_H_CALL_ID), "x");
	assert_text(sip_value(&msg, SIP_H_CONTACT), "*");
	assert_int_equal(parse("OPTIONS sip:a@b SIP/2.0\r\nTo: <sip:c@d>\r\nt: <sip:c@d>\r\n\r\n"),
			 SIP_DUPLICATE);
}

static void bad_messages_are_refused_with_the_right_word(void **state)
{
	static const struct {
		const char *in;
		enum sip_verdict want;
	} rows[] = {
		/* clang-format off */
		{ "", SIP_EMPTY },
		{ "\r\n\r\n", SIP_EMPTY },
		{ "hello", SIP_NOT_SIP },
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", SIP_NOT_SIP },
		{ "P/2.0 100 \r\n\r\n", SIP_NOT_SIP },
		{ "HTTP/1.1 200 SIP/2.0\r\n\r\n", SIP_BAD_START_LINE },
		{ "A b S/2\r\n\r\n", SIP_NOT_SIP },
		{ LINE REST, SIP_NOT_SIP },
		{ " " LINE REST "\r\n", SIP_NOT_SIP },
		{ "INVITE  sip:bob@example.com SIP/2.0\r\n" REST "\r\n", SIP_BAD_START_LINE },
		{ "INVITE sip:bob@example.com SIP/2.0 \r\n" REST "\r\n", SIP_BAD_START_LINE },
		{ "IN#ITE sip:bob@example.com SIP/2.0\r\n" REST "\r\n", SIP_BAD_START_LINE },
		{ "INVITE sip:bob@example.com SIP/7.0\r\n" REST "\r\n", SIP_BAD_VERSION },
		{ "SIP/2.0 99 Low\r\n" REST "\r\n", SIP_BAD_START_LINE },
		{ "SIP/2.0 700 High\r\n" REST "\r\n", SIP_BAD_START_LINE },
		{ "SIP/2.0 4294967301 OK\r\n" REST "\r\n", SIP_BAD_START_LINE },
		{ "SIP/3.0 200 OK\r\n" REST "\r\n", SIP_BAD_VERSION },
		{ LINE REST "To\x01: x\r\n\r\n", SIP_BAD_VALUE },
		{ LINE REST "To\x80: x\r\n\r\n", SIP_BAD_NAME },
		{ LINE REST "X#: x\r\n\r\n", SIP_BAD_NAME },
		{ LINE REST ": x\r\n\r\n", SIP_BAD_NAME },
		{ LINE REST "Subject: a\nb\r\n\r\n", SIP_BAD_LINE_END },
		{ LINE REST "Subject: a\rb\r\n\r\n", SIP_BAD_LINE_END },
		{ LINE REST "Subject: a\x01" "b\r\n\r\n", SIP_BAD_VALUE },
		{ LINE REST TO "\r\n", SIP_DUPLICATE },
		{ LINE REST "Content-Length: 0\r\nl: 0\r\n\r\n", SIP_DUPLICATE },
		{ LINE REST "Content-Length: -1\r\n\r\n", SIP_BAD_CONTENT_LENGTH },
		{ LINE REST "Content-Length: +1\r\n\r\nx", SIP_BAD_CONTENT_LENGTH },
		{ LINE REST "Content-Length: 0x1\r\n\r\nx", SIP_BAD_CONTENT_LENGTH },
		{ LINE REST "Content-Length: 1, 1\r\n\r\nx", SIP_BAD_CONTENT_LENGTH },
		{ LINE REST "Content-Length:\r\n\r\n", SIP_BAD_CONTENT_LENGTH },
		{ LINE REST "Content-Length: 2147483648\r\n\r\n", SIP_BAD_CONTENT_LENGTH },
		{ LINE REST "Content-Length: 18446744073709551617\r\n\r\nx", SIP_BAD_CONTENT_LENGTH },
		{ LINE REST "Content-Length: 2147483647\r\n\r\n", SIP_BODY_TOO_LONG },
		{ LINE REST "Content-Length: 2\r\n\r\nx", SIP_SHORT_BODY },
		/* clang-format on */
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int r = parse(rows[i].in);
		if (r != (int)rows[i].want)
			fail_msg("%s: verdict %s, not %s", rows[i].in,
				 sip_verdict_row((enum sip_verdict)r)->label,
				 sip_verdict_row(rows[i].want)->label);
	}
}

static void a_stream_must_say_how_long_the_body_is(void **state)
{
	(void)state;
	assert_int_equal(parse_stream(LINE REST "\r\n"), SIP_NO_CONTENT_LENGTH);
	assert_int_equal(parse_stream(LINE REST "Content-Length: 2\r\n\r\nx"), SIP_INCOMPLETE);
	assert_int_equal(parse_stream(LINE REST "Content-Length: 2\r\n"), SIP_INCOMPLETE);
	assert_int_equal(parse_stream(LINE REST "Content-Length: 2\r\n\r\nxyz"), SIP_OK);
	assert_text(msg.body, "xy");
}

static void a_bad_message_leaves_what_an_answer_needs(void **state)
{
	(void)state;
	assert_int_equal(parse(LINE VIA "Bad\x01Name: x\r\n folded\r\n" FROM TO ID
					"To: <sip:other@example.com>\r\n" CSEQ "Subject: a\nb\r\n\r\n"),
			 SIP_BAD_VALUE);
	assert_true(msg.is_request);
	assert_text(sip_value(&msg, SIP_H_TO), "Bob <sip:bob@example.com>");
	assert_text(sip_value(&msg, SIP_H_CSEQ), "314159 INVITE");
	assert_false(sip_has(&msg, SIP_H_SUBJECT));
	assert_int_equal(msg.head.n_fields, 5);
	assert_int_equal(parse("INVITE sip:\x01 SIP/2.0\r\n" REST "\r\n"), SIP_BAD_VALUE);
	assert_true(msg.is_request);
	assert_int_equal(msg.head.n_fields, 5);
}

static void more_headers_than_the_index_holds_are_taken_up_to_the_limit(void **state)
{
	static char many[65536];
	struct sip_limits limits = { .max_fields = 300 };
	struct sip_msg copy;
	(void)state;
	for (unsigned extra = 250; extra <= 300; extra += 50) {
		struct sb b = sb_init(many, sizeof many);
		sb_str(&b, LINE REST);
		for (unsigned i = 0; i < extra; i++)
			sb_fmt(&b, "X-%u: %u\r\n", i, i);
		sb_str(&b, "Route: <sip:last;lr>\r\n\r\n");
		int r = parse_text((struct text){ many, b.n }, SIP_DATAGRAM, &limits);
		assert_int_equal(r, extra == 250 ? SIP_OK : SIP_TOO_MANY_HEADERS);
		assert_int_equal(msg.head.n_fields, extra == 250 ? 256 : 300);
		assert_int_equal(sip_has(&msg, SIP_H_ROUTE), extra == 250);
		if (extra != 250)
			continue;
		static char place[sizeof many];
		assert_int_equal(sip_msg_copy(&copy, &msg, place), 0);
		assert_text(sip_value(&copy, SIP_H_ROUTE), "<sip:last;lr>");
		assert_true(sip_value(&copy, SIP_H_ROUTE).p > place);
		assert_true(sip_value(&copy, SIP_H_ROUTE).p < place + sizeof place);
		sip_msg_deinit(&copy);
	}
}

static void many_headers_without_an_end_leave_none(void **state)
{
	static char many[1024];
	struct sb b = sb_init(many, sizeof many);
	(void)state;
	sb_str(&b, "OPTIONS sip:a SIP/2.0\r\n");
	for (unsigned i = 0; i < SIP_INLINE_FIELDS + 2; i++)
		sb_str(&b, "v:a\r\n");
	assert_int_equal(parse_text((struct text){ many, b.n }, SIP_DATAGRAM, NULL), SIP_NOT_SIP);
	assert_int_equal(msg.head.n_fields, 0);
	assert_int_equal(parse_text((struct text){ many, b.n }, SIP_STREAM, NULL), SIP_INCOMPLETE);
	assert_int_equal(msg.head.n_fields, 0);
}

static void limits_are_kept(void **state)
{
	struct sip_limits limits = { .max_head = 100, .max_body = 3 };
	(void)state;
	assert_int_equal(parse_text(TEXT(LINE REST "\r\n"), SIP_DATAGRAM, &limits), SIP_HEAD_TOO_LONG);
	limits.max_head = 0;
	assert_int_equal(parse_text(TEXT(LINE REST "\r\nabcd"), SIP_DATAGRAM, &limits),
			 SIP_BODY_TOO_LONG);
	assert_int_equal(parse_text(TEXT(LINE REST "\r\nabc"), SIP_DATAGRAM, &limits), SIP_OK);
}

static void the_eight_headers_are_read_together(void **state)
{
	struct sip_basics b;
	(void)state;
	assert_int_equal(parse(LINE REST "Max-Forwards: 0070\r\nRoute: <sip:p1;lr>, <sip:p2;lr>\r\n"
					 "Contact: \"A\" <sip:alice@pc33.example.com>;q=0.7\r\n\r\n"),
			 SIP_OK);
	assert_int_equal(sip_basics_read(&msg, &b), SIP_OK);
	assert_text(b.via.branch, "z9hG4bK776asdhds");
	assert_text(b.via.host, "pc33.example.com");
	assert_text(b.route.uri, "sip:p1;lr");
	assert_text(b.from.tag, "1928301774");
	assert_text(b.from.display, "Alice");
	assert_null(b.to.tag.p);
	assert_text(b.call_id, "a84b4c76e66710@pc33.example.com");
	assert_int_equal(b.cseq.number, 314159);
	assert_int_equal(b.max_forwards, 70);
	assert_text(b.contact.uri, "sip:alice@pc33.example.com");
	assert_text(b.uri.user, "bob");
	assert_int_equal(parse(LINE REST "\r\n"), SIP_OK);
	assert_int_equal(sip_basics_read(&msg, &b), SIP_OK);
	assert_null(b.route.raw.p);
	assert_null(b.contact.raw.p);
	assert_int_equal(b.max_forwards, -1);
}

static void what_is_wrong_with_one_of_the_eight_is_said(void **state)
{
	static const struct {
		const char *in;
		enum sip_verdict want;
	} rows[] = {
		/* clang-format off */
		{ LINE FROM TO ID CSEQ, SIP_MISSING_HEADER },
		{ LINE VIA TO ID CSEQ, SIP_MISSING_HEADER },
		{ LINE VIA FROM ID CSEQ, SIP_MISSING_HEADER },
		{ LINE VIA FROM TO CSEQ, SIP_MISSING_HEADER },
		{ LINE VIA FROM TO ID, SIP_MISSING_HEADER },
		{ LINE "Via: SIP/2.0/UDP\r\n" FROM TO ID CSEQ, SIP_BAD_VIA },
		{ LINE "Via: ,\r\n" FROM TO ID CSEQ, SIP_BAD_VIA },
		{ LINE VIA "From: <sip:a@b\r\n" TO ID CSEQ, SIP_BAD_FROM },
		{ LINE VIA FROM "To: *\r\n" ID CSEQ, SIP_BAD_TO },
		{ LINE VIA FROM TO "Call-ID: a b\r\n" CSEQ, SIP_BAD_CALL_ID },
		{ LINE VIA FROM TO ID "CSeq: 1INVITE\r\n", SIP_BAD_CSEQ },
		{ LINE VIA FROM TO ID "CSeq: 2147483648 INVITE\r\n", SIP_BAD_CSEQ },
		{ LINE VIA FROM TO ID "CSeq: 1 invite\r\n", SIP_CSEQ_METHOD },
		{ LINE REST "Max-Forwards: 256\r\n", SIP_BAD_MAX_FORWARDS },
		{ LINE REST "Max-Forwards: 7 0\r\n", SIP_BAD_MAX_FORWARDS },
		{ LINE REST "Route: sip:p1;lr\r\n", SIP_BAD_ROUTE },
		{ LINE REST "Contact: <sip:a@b>;\r\n", SIP_BAD_CONTACT },
		{ "INVITE sip: SIP/2.0\r\n" REST, SIP_BAD_URI },
		{ "INVITE http://example.com/ SIP/2.0\r\n" REST, SIP_URI_SCHEME },
		/* clang-format on */
	};
	struct sip_basics b;
	char in[1024];
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sb s = sb_init(in, sizeof in);
		sb_fmt(&s, "%s\r\n", rows[i].in);
		assert_int_equal(parse(in), SIP_OK);
		enum sip_verdict v = sip_basics_read(&msg, &b);
		if (v != rows[i].want)
			fail_msg("%s: verdict %s", rows[i].in, sip_verdict_row(v)->label);
	}
}

/* Forms that no other test of this file sends, each by the rule of RFC 3261 25.1 that it breaks. */
static void values_that_break_the_grammar_are_refused(void **state)
{
	static const char *const vias[] = {
		"SIP/2.0/UDP h;branch=a;branch=b", "SIP/2.0/UDP h;alias;alias", "SIP/2.0/UDP h;branch", "SIP/2.0/UDP h;rport=123456",
		"SIP/2.0/UDP h;rport=5o60", "SIP/2.0/UDP h : 0", "SIP/2.0/UDP h : 65536", "SIP/2.0/UDP h : x", "SIP/1.0/UDP h",
		"SIP/2.0/ h", "SIP/2.0/UDP", "HTTP/2.0/UDP h", "SIP/2.0/UDP h;branch=", "SIP/2.0/UDP h;=x", "SIP/2.0/UDP [::1", "",
	};
	static const char *const qs[] = { "", "2", "1.001", "0.1234", "0,5", "0.x", "00.5", "-1" };
	static const char *const ids[] = { "", "@", "a@", "@b", "a@b@c", "a b" };
	struct sip_via v;
	uint16_t q;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vias); i++)
		assert_int_equal(sip_via_parse(text_of(vias[i]), &v), -EBADMSG);
	for (size_t i = 0; i < ARRAY_LEN(qs); i++)
		assert_int_equal(sip_q_parse(text_of(qs[i]), &q), -EBADMSG);
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		assert_int_equal(sip_call_id_check(text_of(ids[i])), -EBADMSG);
}

static void values_that_keep_the_grammar_are_read(void **state)
{
	struct sip_via v;
	uint16_t q;
	(void)state;
	assert_int_equal(sip_via_parse(TEXT("SIP / 2.0 / UDP h.test : 5070 ;rport;alias;oc;ttl=1;x=\"y\""), &v), 0);
	assert_text(v.host, "h.test");
	assert_text(v.sent_by, "h.test : 5070");
	assert_int_equal(v.port, 5070);
	assert_true(v.has_rport && v.alias && v.oc && !v.rport.p);
	assert_int_equal(sip_q_parse(TEXT("1.000"), &q), 0);
	assert_int_equal(q, 1000);
	assert_int_equal(sip_q_parse(TEXT("0.75"), &q), 0);
	assert_int_equal(q, 750);
}

static void quotes_are_taken_off(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "\"a \\\"b\\\" c\"", "a \"b\" c" }, { "plain\\x", "plain\\x" }, { "\"\"", "" }, { "\"", "\"" }, { "", "" },
	};
	char out[16];
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		ptrdiff_t n = sip_unquote(text_of(rows[i].in), out, sizeof(out));
		assert_int_equal(n, strlen(rows[i].want));
		assert_memory_equal(out, rows[i].want, (size_t)n);
	}
	assert_int_equal(sip_unquote(TEXT("\"abc\""), out, 3), 3);
	assert_int_equal(sip_unquote(TEXT("\"abcd\""), out, 3), -ENOSPC);
}

static void codes_have_their_phrases(void **state)
{
	(void)state;
	assert_text(sip_reason_phrase(200), "OK");
	assert_text(sip_reason_phrase(486), "Busy Here");
	assert_text(sip_reason_phrase(299), ""); /* RFC 3261 7.2: it may be empty */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rows_stand_in_the_order_of_their_ids),
		cmocka_unit_test(every_verdict_has_its_row),
		cmocka_unit_test(a_request_is_taken_apart),
		cmocka_unit_test(a_response_is_taken_apart),
		cmocka_unit_test(methods_are_case_sensitive),
		cmocka_unit_test(values_come_one_by_one_over_lines_and_commas),
		cmocka_unit_test(what_opens_and_does_not_close_is_one_value),
		cmocka_unit_test(compact_forms_are_the_same_headers),
		cmocka_unit_test(bad_messages_are_refused_with_the_right_word),
		cmocka_unit_test(a_stream_must_say_how_long_the_body_is),
		cmocka_unit_test(a_bad_message_leaves_what_an_answer_needs),
		cmocka_unit_test(more_headers_than_the_index_holds_are_taken_up_to_the_limit),
		cmocka_unit_test(many_headers_without_an_end_leave_none),
		cmocka_unit_test(limits_are_kept),
		cmocka_unit_test(the_eight_headers_are_read_together),
		cmocka_unit_test(values_that_break_the_grammar_are_refused),
		cmocka_unit_test(values_that_keep_the_grammar_are_read),
		cmocka_unit_test(quotes_are_taken_off),
		cmocka_unit_test(what_is_wrong_with_one_of_the_eight_is_said),
		cmocka_unit_test(codes_have_their_phrases),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
