/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What we write: changes as splices (sip-proxy/edit.h), responses, ACK, CANCEL and requests (write.h), and where
 * messages end on a stream (framer.h), byte by byte.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "sip-proxy/edit.h"
#include "sip-proxy/framer.h"
#include "sip-proxy/headers.h"
#include "sip-proxy/write.h"

static struct sip_msg msg;
static struct sip_edit edit;
static char out[8192];

static int setup(void **state)
{
	(void)state;
	return sip_headers_init();
}

static int teardown(void **state)
{
	(void)state;
	sip_msg_deinit(&msg);
	sip_headers_deinit();
	return 0;
}

static void begin(const char *s)
{
	sip_msg_deinit(&msg);
	assert_int_equal(sip_msg_parse(&msg, text_of(s), SIP_DATAGRAM, NULL), SIP_OK);
	sip_edit_init(&edit, &msg);
}

static void assert_out(ssize_t n, const char *want)
{
	if (n != (ssize_t)strlen(want) || memcmp(out, want, (size_t)n) != 0)
		fail_msg("%zd bytes:\n%.*s\nnot %zu:\n%s", n, (int)MAX(n, 0), out, strlen(want), want);
}

static void assert_edited(const char *want)
{
	assert_out(sip_edit_write(&edit, out, sizeof out), want);
}

static struct text value_number(enum sip_header id, unsigned n)
{
	struct sip_values it = sip_values(&msg, id);
	struct text v;
	do
		assert_true(sip_values_next(&it, &v));
	while (n--);
	return v;
}

#define L "INVITE sip:bob@example.com SIP/2.0\r\n"
#define V1 "Via: SIP/2.0/UDP one;branch=z9hG4bK1 , SIP/2.0/UDP two\r\n"
#define R "Route : <sip:a;lr>,<sip:b;lr>\r\n ,\t<sip:c;lr>  \r\n"
#define REST "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\n"
#define END "\r\nv=0\r\n"

static void an_edit_without_changes_changes_nothing(void **state)
{
	(void)state;
	begin(L V1 R REST END);
	assert_edited(L V1 R REST END);
}

static void what_a_proxy_does_to_a_request(void **state)
{
	(void)state;
	begin(L V1 "Max-Forwards:  70 \r\n" R REST END);
	sip_edit_prepend(&edit, SIP_H_VIA, TEXT("SIP/2.0/TCP me;branch=z9hG4bK0"));
	sip_edit_set(&edit, SIP_H_MAX_FORWARDS, TEXT("69"));
	sip_edit_remove_value(&edit, value_number(SIP_H_ROUTE, 0));
	sip_edit_prepend(&edit, SIP_H_RECORD_ROUTE, TEXT("<sip:me;lr>"));
	sip_edit_uri(&edit, TEXT("sip:bob@192.0.2.7"));
	sip_edit_set(&edit, SIP_H_MAX_BREADTH, TEXT("60"));
	assert_edited("INVITE sip:bob@192.0.2.7 SIP/2.0\r\nVia: SIP/2.0/TCP me;branch=z9hG4bK0\r\nRecord-Route: <sip:me;lr>\r\n" V1
		      "Max-Forwards:  69 \r\nRoute : <sip:b;lr>\r\n ,\t<sip:c;lr>  \r\n" REST
		      "Max-Breadth: 60\r\n" END);
	assert_true(sip_edit_bound(&edit) >= strlen(out));
}

static void values_go_with_the_right_comma(void **state)
{
	static const struct {
		unsigned set; /* of the three Route values, which go */
		const char *left;
	} rows[] = {
		/* clang-format off */
		{ 1, "Route : <sip:b;lr>\r\n ,\t<sip:c;lr>  \r\n" },
		{ 2, "Route : <sip:a;lr>\r\n ,\t<sip:c;lr>  \r\n" },
		{ 3, "Route : <sip:c;lr>  \r\n" },
		{ 4, "Route : <sip:a;lr>,<sip:b;lr>  \r\n" },
		{ 5, "Route : <sip:b;lr>  \r\n" },
		{ 6, "Route : <sip:a;lr>  \r\n" },
		{ 7, "" },
		/* clang-format on */
	};
	char want[1024];
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (unsigned backwards = 0; backwards < 2; backwards++) {
			begin(L R REST END);
			for (unsigned j = 0; j < 3; j++) {
				unsigned v = backwards ? 2 - j : j;
				if (rows[i].set >> v & 1)
					sip_edit_remove_value(&edit, value_number(SIP_H_ROUTE, v));
			}
			sip_edit_prepend(&edit, SIP_H_ROUTE, TEXT("<sip:new>"));
			struct sb b = sb_init(want, sizeof want);
			sb_fmt(&b, "%sRoute: <sip:new>\r\n%s%s%s", L, rows[i].left, REST, END);
			assert_edited(want);
		}
	}
}

static void lines_come_and_go(void **state)
{
	(void)state;
	begin(L "Xa: 1\r\n folded\r\nVia: a\r\nXa: 2\r\nv: b\r\n\r\n");
	sip_edit_append(&edit, SIP_H_VIA, TEXT("c"));
	sip_edit_append_named(&edit, TEXT("Y"), TEXT("3"));
	sip_edit_append(&edit, SIP_H_PATH, TEXT("<sip:p>"));
	sip_edit_remove_field(&edit, &msg.head.fields[0]);
	sip_edit_prepend(&edit, SIP_H_VIA, TEXT("z"));
	sip_edit_prepend(&edit, SIP_H_VIA, TEXT("zz"));
	assert_edited(L "Via: z\r\nVia: zz\r\nVia: a\r\nXa: 2\r\nv: b\r\nVia: c\r\nY: 3\r\nPath: <sip:p>\r\n\r\n");
	begin(L "Via: a\r\nXa: 2\r\nv: b\r\n\r\n");
	sip_edit_remove(&edit, SIP_H_VIA);
	assert_edited(L "Xa: 2\r\n\r\n");
	begin(L "\r\nbody");
	sip_edit_append(&edit, SIP_H_VIA, TEXT("a"));
	assert_edited(L "Via: a\r\n\r\nbody");
}

static void any_slice_can_be_replaced(void **state)
{
	struct sip_via via;
	(void)state;
	begin("SIP/2.0 200 OK\r\n" V1 REST END);
	assert_int_equal(sip_via_parse(value_number(SIP_H_VIA, 0), &via), 0);
	sip_edit_replace(&edit, via.branch, TEXT("z9hG4bKother"));
	sip_edit_replace(&edit, (struct text){ via.raw.p + via.raw.n, 0 }, TEXT(";received=192.0.2.1"));
	assert_edited("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP one;branch=z9hG4bKother;received=192.0.2.1 , SIP/2.0/UDP two\r\n" REST
			      END);
}

static void an_edit_that_cannot_be_made_fails(void **state)
{
	(void)state;
	begin(L V1 REST END);
	assert_int_equal(sip_edit_write(&edit, out, 10), -ENOSPC);
	sip_edit_append(&edit, SIP_H_ROUTE, TEXT("<sip:x>\r\nEvil: yes"));
	assert_int_equal(sip_edit_write(&edit, out, sizeof out), -EOVERFLOW);
	begin(L V1 REST END);
	sip_edit_uri(&edit, TEXT("sip:a b"));
	assert_int_equal(sip_edit_write(&edit, out, sizeof out), -EOVERFLOW);
	begin(L V1 REST END);
	sip_edit_replace(&edit, sip_value(&msg, SIP_H_TO), TEXT("a"));
	sip_edit_remove(&edit, SIP_H_TO);
	assert_int_equal(sip_edit_write(&edit, out, sizeof out), -EOVERFLOW);
	begin(L V1 REST END);
	sip_edit_replace(&edit, msg.body, TEXT("x"));
	assert_int_equal(sip_edit_write(&edit, out, sizeof out), -EOVERFLOW);
	begin("SIP/2.0 200 OK\r\n" V1 REST END);
	sip_edit_uri(&edit, TEXT("sip:a"));
	assert_int_equal(sip_edit_write(&edit, out, sizeof out), -EOVERFLOW);
	begin(L V1 REST END);
	for (unsigned i = 0; i <= SIP_EDIT_MAX; i++)
		sip_edit_append_named(&edit, TEXT("X"), TEXT("y"));
	assert_int_equal(sip_edit_write(&edit, out, sizeof out), -EOVERFLOW);
	begin(L V1 REST END);
	for (unsigned i = 0; i < 5; i++)
		sip_edit_append_named(&edit, TEXT("X"), (struct text){ memset(out, 'x', 1000), 1000 });
	assert_int_equal(sip_edit_write(&edit, out, sizeof out), -EOVERFLOW);
}

/* An edit that has failed stays so: what comes after it must not make a message of which half is missing. */
static void after_a_failure_nothing_is_written(void **state)
{
	(void)state;
	begin(L V1 REST END);
	sip_edit_uri(&edit, (struct text){ 0 });
	sip_edit_prepend(&edit, SIP_H_VIA, TEXT("SIP/2.0/UDP x"));
	sip_edit_append(&edit, SIP_H_ROUTE, TEXT("<sip:x>"));
	sip_edit_append_named(&edit, TEXT("X"), TEXT("y"));
	sip_edit_remove(&edit, SIP_H_TO);
	sip_edit_remove_value(&edit, value_number(SIP_H_VIA, 0));
	sip_edit_replace(&edit, sip_value(&msg, SIP_H_TO), TEXT("a"));
	assert_int_equal(sip_edit_write(&edit, out, sizeof out), -EOVERFLOW);
}

static void a_fold_may_go_along_and_a_line_end_may_not(void **state)
{
	(void)state;
	begin(L V1 REST END);
	sip_edit_replace(&edit, sip_value(&msg, SIP_H_CALL_ID), TEXT("x\r\n\ty"));
	assert_edited(L V1 "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\n\ty\r\nCSeq: 7 INVITE\r\n" END);
	begin(L V1 REST END);
	sip_edit_replace(&edit, sip_value(&msg, SIP_H_CALL_ID), TEXT("x\r\nEvil: yes"));
	assert_int_equal(sip_edit_write(&edit, out, sizeof out), -EOVERFLOW);
	begin(L V1 REST END);
	sip_edit_remove_value(&edit, msg.uri); /* only a header has values that can go */
	assert_int_equal(sip_edit_write(&edit, out, sizeof out), -EOVERFLOW);
}

static void a_response_takes_over_what_it_must(void **state)
{
	const struct sip_line lines[] = { { TEXT("Retry-After"), TEXT("5") } };
	struct sip_response_parts parts = { .code = 503,
					    .reason = TEXT("Service Unavailable"),
					    .to_tag = TEXT("t1"),
					    .top_via = TEXT("SIP/2.0/UDP one;received=192.0.2.1"),
					    .lines = lines,
					    .n_lines = 1 };
	(void)state;
	begin(L V1 R "v: SIP/2.0/UDP three\r\nRecord-Route: <sip:r>\r\nTimestamp: 5\r\n" REST END);
	assert_out(sip_response_write(out, sizeof out, &msg, &parts),
		   "SIP/2.0 503 Service Unavailable\r\nVia: SIP/2.0/UDP one;received=192.0.2.1\r\nVia: SIP/2.0/UDP two\r\n"
		   "v: SIP/2.0/UDP three\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=t1\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\n"
		   "Retry-After: 5\r\nContent-Length: 0\r\n\r\n");
	parts = (struct sip_response_parts){ .code = 100, .reason = TEXT("Trying"), .record_routes = true };
	assert_out(sip_response_write(out, sizeof out, &msg, &parts),
		   "SIP/2.0 100 Trying\r\n" V1 "v: SIP/2.0/UDP three\r\nRecord-Route: <sip:r>\r\n" REST
		   "Timestamp: 5\r\nContent-Length: 0\r\n\r\n");
	parts.reason = TEXT("a\r\nb");
	assert_int_equal(sip_response_write(out, sizeof out, &msg, &parts), -ENOSPC);
	assert_int_equal(sip_response_write(out, 50, &msg, &parts), -ENOSPC);
	begin(L REST END);
	assert_int_equal(sip_response_write(out, sizeof out, &msg, &parts), -EBADMSG);
}

static void a_tag_that_is_there_stays(void **state)
{
	const struct sip_response_parts parts = { .code = 486,
						  .reason = TEXT("Busy Here"),
						  .to_tag = TEXT("new") };
	(void)state;
	begin(L V1
	      "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d> ; Tag = old\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\n" END);
	assert_true(sip_response_write(out, sizeof out, &msg, &parts) > 0);
	assert_non_null(strstr(out, "To: <sip:c@d> ; Tag = old\r\n"));
}

static void ack_and_cancel_are_those_of_the_request(void **state)
{
	static const char response[] =
		"SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP one;branch=z9hG4bK1\r\nTo: <sip:c@d>;tag=9\r\n"
		"From: <sip:a@b>;tag=1\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\n\r\n";
	const struct sip_line reason = { TEXT("Reason"), TEXT("SIP;cause=200") };
	struct sip_msg m;
	(void)state;
	begin(L V1 R REST END);
	assert_int_equal(sip_msg_parse(&m, text_of(response), SIP_DATAGRAM, NULL), SIP_OK);
	assert_out(sip_ack_write(out, sizeof out, &msg, &m),
		   "ACK sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP one;branch=z9hG4bK1\r\n"
		   "Route: <sip:a;lr>,<sip:b;lr>\r\n ,\t<sip:c;lr>\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=9\r\n"
		   "Call-ID: x\r\nCSeq: 7 ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n");
	assert_out(sip_cancel_write(out, sizeof out, &msg, &reason, 1),
		   "CANCEL sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP one;branch=z9hG4bK1\r\n"
		   "Route: <sip:a;lr>,<sip:b;lr>\r\n ,\t<sip:c;lr>\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n"
		   "Call-ID: x\r\nCSeq: 7 CANCEL\r\nMax-Forwards: 70\r\nReason: SIP;cause=200\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(sip_cancel_write(out, sizeof out, &m, NULL, 0), -EBADMSG);
	sip_msg_deinit(&m);
}

static void a_request_of_our_own_is_taken_by_our_parser(void **state)
{
	const struct sip_request_parts parts = {
		.method = TEXT("OPTIONS"),
		.uri = TEXT("sip:example.com"),
		.via = TEXT("SIP/2.0/UDP me;branch=z9hG4bK5"),
		.from = TEXT("<sip:me>;tag=1"),
		.to = TEXT("<sip:example.com>"),
		.call_id = TEXT("c1"),
		.cseq = 3,
		.max_forwards = 0,
		.content_type = TEXT("text/plain"),
		.body = TEXT("hi"),
	};
	struct sip_basics b;
	(void)state;
	ssize_t n = sip_request_write(out, sizeof out, &parts);
	assert_true(n > 0);
	sip_msg_deinit(&msg);
	assert_int_equal(sip_msg_parse(&msg, (struct text){ out, (size_t)n }, SIP_STREAM, NULL), SIP_OK);
	assert_int_equal(sip_basics_read(&msg, &b), SIP_OK);
	assert_int_equal(b.max_forwards, 0);
	assert_true(text_eq(msg.body, TEXT("hi")));
}

/* Feeds in as pieces of so many bytes; what came out as letters: M message, P ping, p pong, B bad. */
static const char *framed(const char *in, size_t step, const struct sip_limits *limits)
{
	static char letters[64];
	struct sb b = sb_init(letters, sizeof letters);
	struct sip_framer f = { .limits = limits };
	struct sip_msg m;
	enum sip_verdict why;
	size_t used, at = 0, n = strlen(in);
	for (size_t have = MIN(step, n);; have = MIN(have + step, n)) {
		int r;
		while ((r = sip_framer_next(&f, (struct text){ in + at, have - at }, &m, &used, &why)) !=
		       SIP_FRAME_MORE) {
			sb_char(&b, "-PpMB"[r]);
			if (r == SIP_FRAME_MESSAGE || r == SIP_FRAME_BAD)
				sip_msg_deinit(&m);
			if (r == SIP_FRAME_BAD)
				return letters;
			at += used;
		}
		if (have == n)
			return letters;
	}
}

static void messages_are_cut_out_of_a_stream(void **state)
{
	static const char two[] = L V1 REST "Content-Length: 5\r\n\r\n12\r\n5" L V1 REST "l: 0\r\n\r\n";
	(void)state;
	for (size_t step = 1; step < sizeof two; step++)
		assert_string_equal(framed(two, step, NULL), "MM");
	assert_string_equal(framed("\r\n\r\n" L V1 REST "l: 0\r\n\r\n\r\n", 1000, NULL), "PMp");
	assert_string_equal(framed("\r\n\r\n" L V1 REST "l: 0\r\n\r\n\r\n", 1, NULL), "pPMp");
	assert_string_equal(framed("\r\n\r\n\r\n\r\n", 4, NULL), "PP");
}

static void a_stream_that_cannot_be_trusted_ends(void **state)
{
	static const struct sip_limits small = { .max_head = 120, .max_body = 10 };
	static const char *const rows[] = {
		L V1 REST "\r\n",
		L V1 REST "l: 1\r\nl: 1\r\n\r\nx",
		L V1 REST "l: -1\r\n\r\n",
		"\rx\r\n\r\n",
		L V1 "From: a\nTo: b\r\n\r\n",
		"INVITE sip:a SIP/2.0\nVia: x\n\n",
		"GET / HTTP/1.0\r\n\r\n",
		L V1 REST "l: 2147483648\r\n\r\n",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_string_equal(framed(rows[i], 1, NULL), "B");
		assert_string_equal(framed(rows[i], 10000, NULL), "B");
	}
	assert_string_equal(framed(L V1 REST, 1, &small), "B");
	assert_string_equal(framed(L "l: 11\r\n\r\n", 7, &small), "B");
	assert_string_equal(framed(L "l: 10\r\n\r\n", 7, &small), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_edit_without_changes_changes_nothing),
		cmocka_unit_test(what_a_proxy_does_to_a_request),
		cmocka_unit_test(values_go_with_the_right_comma),
		cmocka_unit_test(lines_come_and_go),
		cmocka_unit_test(any_slice_can_be_replaced),
		cmocka_unit_test(an_edit_that_cannot_be_made_fails),
		cmocka_unit_test(after_a_failure_nothing_is_written),
		cmocka_unit_test(a_fold_may_go_along_and_a_line_end_may_not),
		cmocka_unit_test(a_response_takes_over_what_it_must),
		cmocka_unit_test(a_tag_that_is_there_stays),
		cmocka_unit_test(ack_and_cancel_are_those_of_the_request),
		cmocka_unit_test(a_request_of_our_own_is_taken_by_our_parser),
		cmocka_unit_test(messages_are_cut_out_of_a_stream),
		cmocka_unit_test(a_stream_that_cannot_be_trusted_ends),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
