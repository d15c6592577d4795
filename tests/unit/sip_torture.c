/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 4475 and RFC 5118, all of their messages: each gets the verdict of tests/torture/table.h, a refused request can
 * be answered, and what a proxy forwards leaves it as it came but for what the proxy changed. What the valid ones are
 * made of is checked by hand below: taken apart wrongly is not taken.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "sip-proxy/edit.h"
#include "sip-proxy/framer.h"
#include "sip-proxy/headers.h"
#include "sip-proxy/write.h"
#include "tests/torture/file.h"
#include "tests/torture/table.h"

static struct sip_msg msg;
static struct sip_basics basics;
static char *block;
static size_t block_n;

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

/* Reads the file into a block of exactly its size, and parses it. */
static int load(const char *file)
{
	sip_msg_deinit(&msg);
	free(block);
	block = torture_read(file, ".sip", &block_n);
	return sip_msg_parse(&msg, (struct text){ block, block_n }, SIP_DATAGRAM, NULL);
}

#define assert_text(t, s) assert_true(text_eq((t), text_of(s)))

static void load_good(const char *file)
{
	assert_int_equal(load(file), SIP_OK);
	assert_int_equal(sip_basics_read(&msg, &basics), SIP_OK);
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

static unsigned count_values(enum sip_header id)
{
	struct sip_values it = sip_values(&msg, id);
	struct text v;
	unsigned n = 0;
	while (sip_values_next(&it, &v))
		n++;
	return n;
}

/* A response that goes nowhere: its second Via must not be sent to. */
static bool goes_to_nobody(void)
{
	struct sip_via via;
	return !msg.is_request && count_values(SIP_H_VIA) > 1 &&
	       (sip_via_parse(value_number(SIP_H_VIA, 1), &via) < 0 || !sip_via_is_unicast(&via));
}

static void every_message_gets_its_verdict(void **state)
{
	unsigned rfc4475 = 0, rfc5118 = 0;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(torture_rows); i++) {
		const struct torture_row *row = &torture_rows[i];
		enum sip_verdict v = (enum sip_verdict)load(row->file), b = SIP_OK;
		if (v != row->parse)
			fail_msg("%s: %s, not %s", row->file, sip_verdict_row(v)->label,
				 sip_verdict_row(row->parse)->label);
		if (v == SIP_OK)
			b = sip_basics_read(&msg, &basics);
		if (b != row->basics)
			fail_msg("%s: %s, not %s", row->file, sip_verdict_row(b)->label,
				 sip_verdict_row(row->basics)->label);
		enum sip_verdict bad = v != SIP_OK ? v : b;
		int want = bad == SIP_OK && !goes_to_nobody() ? TORTURE_FORWARD
			   : msg.is_request		      ? sip_verdict_row(bad)->code
							      : TORTURE_DROP;
		if (want != TORTURE_FORWARD || row->proxy == TORTURE_FORWARD)
			assert_int_equal(want, row->proxy);
		else /* the proxy core's matter: Max-Forwards and Proxy-Require */
			assert_true(row->proxy == 483 ? basics.max_forwards == 0
						      : sip_has(&msg, SIP_H_PROXY_REQUIRE));
		rfc4475 += strncmp(row->file, "rfc4475/", 8) == 0;
		rfc5118 += strncmp(row->file, "rfc5118/", 8) == 0 && !strstr(row->file, "as-printed");
	}
	assert_int_equal(rfc4475, 49);
	assert_int_equal(rfc5118, 12);
}

static void refused_requests_can_be_answered(void **state)
{
	char out[8192];
	struct sip_msg answer;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(torture_rows); i++) {
		const struct torture_row *row = &torture_rows[i];
		if (row->proxy < 400)
			continue;
		load(row->file);
		const struct sip_response_parts parts = { .code = (unsigned)row->proxy,
							  .reason = TEXT("No") };
		ssize_t n = sip_response_write(out, sizeof out, &msg, &parts);
		if (strcmp(row->file, "rfc4475/insuf") == 0) { /* nothing to answer with */
			assert_int_equal(n, -EBADMSG);
			continue;
		}
		if (n < 0)
			fail_msg("%s has no answer", row->file);
		/* a response repeats the headers of the request, bad ones too; its lines are good in any case */
		assert_int_equal(
			sip_msg_parse(&answer, (struct text){ out, (size_t)n }, SIP_DATAGRAM, NULL),
			SIP_OK);
		assert_int_equal(answer.status, row->proxy);
		sip_msg_deinit(&answer);
	}
}

static void what_is_forwarded_keeps_its_bytes(void **state)
{
	static char out[16384];
	static struct sip_edit edit;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(torture_rows); i++) {
		struct sip_msg after;
		if (torture_rows[i].proxy != TORTURE_FORWARD)
			continue;
		load(torture_rows[i].file);
		sip_edit_init(&edit, &msg);
		ssize_t n = sip_edit_write(&edit, out, sizeof out);
		assert_int_equal(n, msg.raw.n);
		assert_memory_equal(out, msg.raw.p, msg.raw.n);
		sip_edit_prepend(&edit, SIP_H_VIA,
				 TEXT("SIP/2.0/UDP proxy.example.com;branch=z9hG4bKours"));
		sip_edit_set(&edit, SIP_H_MAX_FORWARDS, TEXT("9"));
		n = sip_edit_write(&edit, out, sizeof out);
		assert_true(n > 0);
		assert_int_equal(
			sip_msg_parse(&after, (struct text){ out, (size_t)n }, SIP_DATAGRAM, NULL),
			SIP_OK);
		assert_true(text_eq(after.head.start_line, msg.head.start_line));
		assert_true(text_eq(after.body, msg.body));
		assert_int_equal(after.head.n_fields,
				 msg.head.n_fields + 1u + !sip_has(&msg, SIP_H_MAX_FORWARDS));
		for (unsigned j = 0, k = 0; j < msg.head.n_fields; j++, k++) {
			const struct head_field *f = &msg.head.fields[j], *g = &after.head.fields[k];
			if (g->row && g->row->id == SIP_H_VIA &&
			    text_starts(g->value, TEXT("SIP/2.0/UDP proxy.")))
				g = &after.head.fields[++k];
			assert_true(text_eq(f->name, g->name));
			if (!f->row || f->row->id != SIP_H_MAX_FORWARDS)
				assert_true(text_eq(f->value, g->value));
		}
		sip_msg_deinit(&after);
	}
}

static void wsinv_is_taken_apart(void **state)
{
	struct sip_via via;
	struct sip_addr a;
	uint16_t q;
	(void)state;
	load_good("rfc4475/wsinv");
	assert_text(basics.to.tag, "1918181833n");
	assert_text(basics.from.tag, "98asjd8");
	assert_text(basics.from.display, "\"J Rosenberg \\\\\\\"\"");
	assert_text(basics.from.uri, "sip:jdrosen@example.com");
	assert_int_equal(basics.max_forwards, 68);
	assert_int_equal(basics.cseq.number, 9);
	assert_int_equal(basics.cseq.method, SIP_INVITE);
	assert_int_equal(count_values(SIP_H_VIA), 3);
	assert_text(basics.via.protocol, "UDP");
	assert_text(basics.via.host, "192.0.2.2");
	assert_text(basics.via.branch, "390skdjuw");
	assert_false(sip_branch_is_3261(basics.via.branch));
	assert_int_equal(sip_via_parse(value_number(SIP_H_VIA, 1), &via), 0);
	assert_text(via.protocol, "TCP");
	assert_text(via.host, "spindle.example.com");
	assert_text(via.branch, "z9hG4bK9ikj8");
	assert_int_equal(sip_via_parse(value_number(SIP_H_VIA, 2), &via), 0);
	assert_text(via.host, "192.168.255.111");
	assert_text(via.branch, "z9hG4bK30239");
	assert_text(basics.route.uri, "sip:services.example.com;lr;unknownwith=value;unknown-no-value");
	assert_int_equal(sip_addr_parse(value_number(SIP_H_CONTACT, 0), &a), 0);
	assert_text(sip_param(a.params, TEXT("newparam")), "newvalue");
	assert_true(sip_has_param(a.params, TEXT("secondparam")));
	assert_int_equal(sip_addr_q(&a, &q), 0);
	assert_int_equal(q, 330);
	assert_text(sip_value(&msg, SIP_H_SUBJECT), "");
	assert_int_equal(msg.body.n, 150);
}

static void the_other_valid_ones_are_what_they_say(void **state)
{
	struct sip_addr a;
	struct sip_uri u;
	(void)state;
	load_good("rfc4475/intmeth");
	assert_int_equal(msg.method, SIP_UNKNOWN_METHOD);
	assert_text(basics.uri.password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)");
	assert_true(text_eq(basics.to.display, TEXT("\"BEL:\\\x07 NUL:\\\0 DEL:\\\x7f\"")));
	assert_text(basics.from.tag, "_token~1'+`*%!-.");
	assert_int_equal(basics.max_forwards, 255);
	load_good("rfc4475/esc01");
	assert_text(basics.uri.user, "sips%3Auser%40example.com");
	assert_text(basics.uri.host, "example.net");
	assert_int_equal(sip_uri_parse(basics.contact.uri, &u), 0);
	assert_false(u.lr); /* an escaped name is another name until somebody unescapes it */
	load_good("rfc4475/escnull");
	assert_int_equal(count_values(SIP_H_CONTACT), 2);
	assert_int_equal(sip_addr_parse(value_number(SIP_H_CONTACT, 1), &a), 0);
	assert_text(a.uri, "sip:%00%00@host5.example.com");
	load_good("rfc4475/esc02");
	assert_int_equal(msg.method, SIP_UNKNOWN_METHOD);
	assert_int_equal(count_values(SIP_H_CONTACT), 2);
	load_good("rfc4475/lwsdisp");
	assert_text(basics.from.display, "caller");
	load_good("rfc4475/longreq");
	assert_int_equal(count_values(SIP_H_VIA), 34);
	assert_int_equal(msg.body.n, 150);
	load_good("rfc4475/dblreq");
	assert_int_equal(msg.body.n, 0);
	assert_true(msg.raw.n < block_n);
	load_good("rfc4475/semiuri");
	assert_text(basics.uri.user, "user;par=u%40example.net");
	assert_null(basics.uri.params.p);
	load_good("rfc4475/mpart01");
	assert_int_equal(msg.body.n, 553);
	load_good("rfc4475/unreason");
	assert_int_equal(msg.status, 200);
	assert_true(msg.reason.n > 40 && text_is_utf8(msg.reason));
	load_good("rfc4475/noreason");
	assert_text(msg.reason, "");
	load_good("rfc4475/badbranch");
	assert_false(sip_branch_is_3261(basics.via.branch));
	load_good("rfc4475/inv2543");
	assert_null(basics.via.branch.p);
	assert_null(basics.from.tag.p);
	assert_int_equal(basics.max_forwards, -1);
	assert_int_equal(msg.body.n, 105);
}

static void ipv6_is_where_it_should_be(void **state)
{
	struct sip_via via;
	(void)state;
	load_good("rfc5118/port-ambiguous");
	assert_text(basics.uri.host, "2001:db8::10:5070");
	assert_int_equal(basics.uri.port, 0);
	load_good("rfc5118/port-unambiguous");
	assert_text(basics.uri.host, "2001:db8::10");
	assert_int_equal(basics.uri.port, 5070);
	load_good("rfc5118/via-received-param-with-delim");
	assert_text(basics.via.received, "[2001:db8::9:255]");
	load_good("rfc5118/via-received-param-no-delim");
	assert_text(basics.via.received, "2001:db8::9:255");
	assert_text(basics.via.branch, "z9hG4bKas3");
	load_good("rfc5118/mult-ip-in-header");
	assert_text(basics.via.sent_by, "[2001:db8::9:1]:6050");
	assert_int_equal(sip_via_parse(value_number(SIP_H_VIA, 2), &via), 0);
	assert_text(via.received, "192.0.2.200");
	load_good("rfc5118/ipv4-mapped-ipv6");
	assert_int_equal(basics.via.host_kind, SIP_HOST_IPV6);
	assert_int_equal(basics.via.port, 19823);
}

static void on_a_stream_a_message_without_a_length_ends_it(void **state)
{
	struct sip_framer framer = { 0 };
	enum sip_verdict why;
	struct sip_msg m;
	size_t used;
	(void)state;
	load("rfc4475/inv2543");
	assert_int_equal(sip_framer_next(&framer, (struct text){ block, block_n }, &m, &used, &why),
			 SIP_FRAME_BAD);
	assert_int_equal(why, SIP_NO_CONTENT_LENGTH);
	sip_msg_deinit(&m);
	load("rfc4475/dblreq"); /* two messages, there */
	framer = (struct sip_framer){ 0 };
	assert_int_equal(sip_framer_next(&framer, (struct text){ block, block_n }, &m, &used, &why),
			 SIP_FRAME_MESSAGE);
	sip_msg_deinit(&m);
	assert_int_equal(sip_framer_next(&framer, (struct text){ block + used, block_n - used }, &m,
					 &used, &why),
			 SIP_FRAME_MESSAGE);
	assert_int_equal(m.method, SIP_INVITE);
	sip_msg_deinit(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_gets_its_verdict),
		cmocka_unit_test(refused_requests_can_be_answered),
		cmocka_unit_test(what_is_forwarded_keeps_its_bytes),
		cmocka_unit_test(wsinv_is_taken_apart),
		cmocka_unit_test(the_other_valid_ones_are_what_they_say),
		cmocka_unit_test(ipv6_is_where_it_should_be),
		cmocka_unit_test(on_a_stream_a_message_without_a_length_ends_it),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
