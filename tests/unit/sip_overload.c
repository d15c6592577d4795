/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of overload control in Via (RFC 7339), and the memory of who wants to be spared: exact shares, dialogs pass,
 * late words do not count, everything ends by itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include "sip-proxy/overload.h"

#define VIA(params) "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1" params

static struct sip_via via_of(const char *text)
{
	struct sip_via v;
	assert_int_equal(sip_via_parse(text_of(text), &v), 0);
	return v;
}

static void who_takes_part_says_so(void **state)
{
	static const struct {
		const char *via;
		bool asks;
	} rows[] = {
		{ VIA(""), false },
		{ VIA(";oc"), true },
		{ VIA(";OC;rport"), true },
		{ VIA(";oc;oc-algo=\"loss\""), true },
		{ VIA(";oc;oc-algo=\"rate, loss\""), true },
		{ VIA(";oc;oc-algo=loss"), true },
		{ VIA(";oc;oc-algo=\"rate\""), false },
		{ VIA(";oc=20;oc-algo=\"loss\""), false }, /* that is an answer */
		{ VIA(";oc-algo=\"loss\""), false },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct sip_via v = via_of(rows[i].via);
		assert_int_equal(sip_oc_asks(&v), rows[i].asks);
	}
	struct sip_via twice;
	assert_true(sip_via_parse(TEXT(VIA(";oc;oc")), &twice) < 0);
}

static void an_answer_stands_in_place_of_the_question(void **state)
{
	const struct sip_via v =
		via_of(VIA(";oc;received=192.0.2.9;oc-algo=\"loss,rate\";oc-seq=5;x=\"y;z\""));
	const struct sip_oc_wish some = { 20, 1282321615781 }, none = { 0, 1282321616005 };
	char buf[512];
	ptrdiff_t n;
	(void)state;
	n = sip_oc_answer(&some, &v, buf, sizeof buf);
	assert_true(n > 0);
	buf[n] = 0;
	assert_string_equal(
		buf,
		VIA(";received=192.0.2.9;x=\"y;z\";oc=20;oc-algo=\"loss\";oc-validity=1000;oc-seq=1282321615.781"));
	n = sip_oc_answer(&none, &v, buf, sizeof buf);
	buf[n] = 0;
	assert_non_null(strstr(buf, ";oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq=1282321616.005"));
	for (size_t cap = 0; cap < (size_t)n; cap++)
		assert_int_equal(sip_oc_answer(&none, &v, buf, cap), -ENOSPC);
}

static void what_others_say_is_read_strictly(void **state)
{
	static const struct {
		const char *via;
		int r;
		unsigned loss, validity;
		uint64_t seq;
	} rows[] = {
		{ VIA(""), -ENOENT, 0, 0, 0 },
		{ VIA(";oc;oc-algo=\"loss\""), -ENOENT, 0, 0, 0 }, /* our own words */
		{ VIA(";oc=20;oc-algo=\"loss\";oc-validity=500;oc-seq=1282321615.781"), 0, 20, 500,
		  128232161578100 },
		{ VIA(";oc=0;oc-validity=0"), 0, 0, 0, 0 },
		{ VIA(";oc=100"), 0, 100, 500, 0 },
		{ VIA(";oc=7;oc-validity=4294967295;oc-seq=3"), 0, 7, SIP_OC_VALIDITY_MAX_MS, 300000 },
		{ VIA(";oc=101"), -EBADMSG, 0, 0, 0 },
		{ VIA(";oc=-1"), -EBADMSG, 0, 0, 0 },
		{ VIA(";oc=x"), -EBADMSG, 0, 0, 0 },
		{ VIA(";oc=20;oc-algo=\"rate\""), -EBADMSG, 0, 0, 0 },
		{ VIA(";oc=20;oc-validity=99999999999"), -EBADMSG, 0, 0, 0 },
		{ VIA(";oc=20;oc-seq=1.123456"), -EBADMSG, 0, 0, 0 },
		{ VIA(";oc=20;oc-seq=1234567890123"), -EBADMSG, 0, 0, 0 },
		{ VIA(";oc=20;oc-seq=a.b"), -EBADMSG, 0, 0, 0 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct sip_via v = via_of(rows[i].via);
		struct sip_oc_said s = { 0 };
		assert_int_equal(sip_oc_read(&v, &s), rows[i].r);
		assert_int_equal(s.loss, rows[i].loss);
		assert_int_equal(s.validity_ms, rows[i].validity);
		assert_int_equal(s.seq, rows[i].seq);
	}
}

static struct sip_hop hop_of(const char *at)
{
	struct sip_hop h = { .proto = SIP_UDP };
	assert_int_equal(addr_parse(text_of(at), 0, &h.remote), 0);
	return h;
}

static struct sip_spared *spared_new(void)
{
	return sip_spared_new(&(struct hash_seed){ 1, 2 });
}

static void the_share_that_was_asked_for_is_held_back(void **state)
{
	const struct sip_hop busy = hop_of("192.0.2.1:5060"), other = hop_of("192.0.2.2:5060");
	struct sip_spared *s = spared_new();
	(void)state;
	for (unsigned loss = 1; loss <= 100; loss += 9) {
		unsigned held = 0;
		(void)sip_spared_hear(s, &busy, &(struct sip_oc_said){ loss, 1000, loss }, 0);
		for (unsigned i = 0; i < 1000; i++) {
			held += sip_spared_holds_back(s, &busy, true, 0);
			assert_false(sip_spared_holds_back(s, &other, true, 0));
		}
		assert_in_range(held, loss * 10 - 1, loss * 10 + 1);
	}
	sip_spared_free(s);
}

static void dialogs_pass_and_others_make_up_for_them(void **state)
{
	const struct sip_hop busy = hop_of("192.0.2.1:5060");
	struct sip_spared *s = spared_new();
	unsigned held = 0;
	(void)state;
	assert_true(sip_spared_hear(s, &busy, &(struct sip_oc_said){ 30, 1000, 1 }, 0));
	for (unsigned i = 0; i < 500; i++) {
		assert_false(sip_spared_holds_back(s, &busy, false, 0));
		held += sip_spared_holds_back(s, &busy, true, 0);
	}
	assert_in_range(held, 299, 300); /* of a thousand */
	for (unsigned i = 0; i < 10000; i++)
		assert_false(sip_spared_holds_back(s, &busy, false, 0));
	held = 0;
	for (unsigned i = 0; i < 100; i++)
		held += sip_spared_holds_back(s, &busy, true, 0);
	assert_in_range(held, 30, 60); /* an hour of dialogs is not paid for by a minute of new calls */
	sip_spared_free(s);
}

static void a_wish_ends_by_its_time_or_by_a_word_and_late_words_do_not_count(void **state)
{
	const struct sip_hop busy = hop_of("192.0.2.1:5060");
	struct sip_spared *s = spared_new();
	(void)state;
	assert_true(sip_spared_hear(s, &busy, &(struct sip_oc_said){ 100, 500, 10 }, 0));
	assert_false(sip_spared_hear(s, &busy, &(struct sip_oc_said){ 0, 0, 9 }, 1)); /* said before */
	assert_true(sip_spared_holds_back(s, &busy, true, 499));
	assert_false(sip_spared_holds_back(s, &busy, true, 500));
	assert_int_equal(sip_spared_count(s), 0);
	assert_true(sip_spared_hear(s, &busy, &(struct sip_oc_said){ 100, 500, 1 },
				    600)); /* after the end anything counts */
	assert_false(sip_spared_hear(s, &busy, &(struct sip_oc_said){ 50, 500, 2 }, 601)); /* no news, but less */
	assert_false(sip_spared_hear(s, &busy, &(struct sip_oc_said){ 0, 0, 3 }, 602));
	assert_false(sip_spared_holds_back(s, &busy, true, 603));
	sip_spared_free(s);
}

static void a_thousand_next_hops_are_remembered_and_no_more(void **state)
{
	struct sip_spared *s = spared_new();
	char at[32];
	(void)state;
	for (unsigned i = 0; i < SIP_SPARED_MAX + 100; i++) {
		(void)snprintf(at, sizeof at, "192.0.%u.%u:5060", i / 256, i % 256);
		const struct sip_hop h = hop_of(at);
		assert_true(sip_spared_hear(s, &h, &(struct sip_oc_said){ 100, 500, 1 }, 0));
	}
	assert_int_equal(sip_spared_count(s), SIP_SPARED_MAX);
	const struct sip_hop first = hop_of("192.0.0.0:5060"), last = hop_of(at);
	assert_false(sip_spared_holds_back(s, &first, true, 1));
	assert_true(sip_spared_holds_back(s, &last, true, 1));
	sip_spared_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_takes_part_says_so),
		cmocka_unit_test(an_answer_stands_in_place_of_the_question),
		cmocka_unit_test(what_others_say_is_read_strictly),
		cmocka_unit_test(the_share_that_was_asked_for_is_held_back),
		cmocka_unit_test(dialogs_pass_and_others_make_up_for_them),
		cmocka_unit_test(a_wish_ends_by_its_time_or_by_a_word_and_late_words_do_not_count),
		cmocka_unit_test(a_thousand_next_hops_are_remembered_and_no_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
