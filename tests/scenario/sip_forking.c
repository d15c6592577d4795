/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several places for one request (RFC 3261 16.5 to 16.10): in parallel, in sequence by q, by flows of one device; which
 * response goes back; CANCEL; timer C; addresses that fail; and what has to be looked up, while nobody overtakes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tests/scenario/sip_world.h"

#define ALICE "udp:192.0.2.1:5060"
#define B1 "udp:192.0.2.21:5060"
#define B2 "udp:192.0.2.22:5060"

static struct sent s1, s2, s3;

static void begin(struct world *w, unsigned q1, unsigned q2)
{
	world_init(w);
	world_place(w, "sip:bob@192.0.2.21", NULL, q1);
	world_place(w, "sip:bob@192.0.2.22", NULL, q2);
	world_start(w);
}

/* Both get the INVITE and ring. */
static void ring_both(struct world *w)
{
	begin(w, 1000, 1000);
	say_req(w, ALICE, &(struct req){ 0 });
	s1 = expect_request(w, "INVITE", B1);
	s2 = expect_request(w, "INVITE", B2);
	reply(w, B1, &s1, 180, "b1", NULL);
	reply(w, B2, &s2, 180, "b2", NULL);
	expect_and_free(w, 180, ALICE);
	expect_and_free(w, 180, ALICE);
}

static void end(struct world *w)
{
	sent_free(&s1);
	sent_free(&s2);
	sent_free(&s3);
	world_stop(w);
}

static void drop_request(struct world *w, const char *method, const char *to)
{
	struct sent s = expect_request(w, method, to);
	sent_free(&s);
}

static void the_first_who_answers_gets_the_call_and_the_others_are_cancelled(void **state)
{
	static struct world w;
	(void)state;
	ring_both(&w);
	assert_string_equal(sent_value(&s1, SIP_H_MAX_BREADTH, 0), "30");
	reply(&w, B2, &s2, 200, "b2", NULL);
	expect_and_free(&w, 200, ALICE);
	struct sent c = expect_request(&w, "CANCEL", B1);
	assert_true(sent_has(&c, "Reason: SIP;cause=200;text=\"Call completed elsewhere\""));
	assert_true(sent_has(&c, "CSeq: 1 CANCEL"));
	assert_int_equal(sent_count(&c, "Via:"), 1);
	reply(&w, B1, &c, 200, NULL, NULL);
	reply(&w, B1, &s1, 487, "b1", NULL);
	drop_request(&w, "ACK", B1);
	expect_nothing(&w);
	sent_free(&c);
	end(&w);
}

static void a_late_second_200_is_passed_too(void **state)
{
	static struct world w;
	(void)state;
	ring_both(&w);
	reply(&w, B2, &s2, 200, "b2", NULL);
	expect_and_free(&w, 200, ALICE);
	drop_request(&w, "CANCEL", B1);
	reply(&w, B1, &s1, 200, "b1",
	      NULL); /* crossed with the CANCEL: the caller has two calls, and must know */
	struct sent r = expect_response(&w, 200, ALICE);
	assert_true(sent_has(&r, "tag=b1"));
	sent_free(&r);
	expect_nothing(&w);
	end(&w);
}

static void the_best_response_goes_back_when_all_have_refused(void **state)
{
	static const struct {
		unsigned a, b, best;
	} cases[] = {
		{ 486, 404, 486 }, { 404, 486, 404 }, { 500, 404, 404 }, { 404, 302, 302 },
		{ 486, 484, 484 }, { 503, 486, 486 }, { 503, 503, 500 }, { 480, 408, 480 },
		{ 408, 480, 480 }, { 500, 501, 500 }, { 401, 486, 401 },
	};
	static struct world w;
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		ring_both(&w);
		reply(&w, B1, &s1, cases[i].a, "b1", NULL);
		drop_request(&w, "ACK", B1);
		expect_nothing(&w);
		reply(&w, B2, &s2, cases[i].b, "b2", NULL);
		drop_request(&w, "ACK", B2);
		expect_and_free(&w, cases[i].best, ALICE);
		expect_nothing(&w);
		end(&w);
	}
}

static void a_6xx_ends_the_search(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, 1000, 1000);
	world_place(&w, "sip:bob@192.0.2.23", NULL, 500);
	say_req(&w, ALICE, &(struct req){ 0 });
	s1 = expect_request(&w, "INVITE", B1);
	s2 = expect_request(&w, "INVITE", B2);
	reply(&w, B2, &s2, 180, "b2", NULL);
	expect_and_free(&w, 180, ALICE);
	reply(&w, B1, &s1, 603, "b1", NULL);
	drop_request(&w, "ACK", B1);
	drop_request(&w, "CANCEL", B2);
	expect_nothing(&w); /* not before all have ended */
	reply(&w, B2, &s2, 487, "b2", NULL);
	drop_request(&w, "ACK", B2);
	expect_and_free(&w, 603, ALICE);
	expect_nothing(&w); /* the third one was never asked */
	end(&w);
}

static void challenges_of_all_branches_are_merged(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, 1000, 1000);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE" });
	s1 = expect_request(&w, "MESSAGE", B1);
	s2 = expect_request(&w, "MESSAGE", B2);
	reply(&w, B1, &s1, 401, "b1", "WWW-Authenticate: Digest realm=\"one\", nonce=\"1\"\n");
	reply(&w, B2, &s2, 407, "b2", "Proxy-Authenticate: Digest realm=\"two\", nonce=\"2\"\n");
	struct sent r = expect_response(&w, 401, ALICE);
	assert_int_equal(sent_count(&r, "Digest realm=\"one\""), 1);
	assert_int_equal(sent_count(&r, "Digest realm=\"two\""), 1);
	assert_true(sent_has(&r, "\r\nProxy-Authenticate: Digest realm=\"two\""));
	sent_free(&r);
	end(&w);
}

static void lower_q_is_tried_when_the_higher_has_failed(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, 300, 800);
	say_req(&w, ALICE, &(struct req){ 0 });
	s2 = expect_request(&w, "INVITE", B2);
	expect_nothing(&w);
	assert_string_equal(sent_value(&s2, SIP_H_MAX_BREADTH, 0), "60");
	reply(&w, B2, &s2, 486, "b2", NULL);
	drop_request(&w, "ACK", B2);
	s1 = expect_request(&w, "INVITE", B1);
	assert_true(strncmp(s1.bytes, "INVITE sip:bob@192.0.2.21 ", 26) == 0);
	reply(&w, B1, &s1, 200, "b1", NULL);
	expect_and_free(&w, 200, ALICE);
	expect_nothing(&w);
	end(&w);
}

static void max_breadth_limits_how_many_are_asked_at_once(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, 1000, 1000);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .more = "Max-Breadth: 1\r\n" });
	s1 = expect_request(&w, "MESSAGE", B1);
	expect_nothing(&w);
	assert_string_equal(sent_value(&s1, SIP_H_MAX_BREADTH, 0), "1");
	reply(&w, B1, &s1, 480, "b1", NULL);
	s2 = expect_request(&w, "MESSAGE", B2);
	reply(&w, B2, &s2, 200, "b2", NULL);
	expect_and_free(&w, 200, ALICE);
	say_req(&w, ALICE,
		&(struct req){ .method = "MESSAGE", .branch = "z9hG4bK-2", .more = "Max-Breadth: 0\r\n" });
	expect_and_free(&w, 440, ALICE);
	end(&w);
}

static void flows_of_one_device_are_tried_one_after_the_other(void **state)
{
	static struct world w;
	(void)state;
	world_init(&w);
	for (unsigned i = 0; i < 2; i++)
		w.places[w.n_places++] = (struct sip_place){
			.uri = TEXT("sip:bob@192.168.1.2"),
			.q = 1000,
			.has_flow = true,
			.only_flow = true,
			.group = 1,
			.hop = hop_of(i ? "tcp:192.0.2.21:41000" : "tcp:192.0.2.21:40000")
		};
	world_start(&w);
	w.dead_conn = 40000;
	say_req(&w, ALICE, &(struct req){ 0 });
	s1 = expect_request(&w, "INVITE", "tcp:192.0.2.21:41000");
	expect_nothing(&w);
	assert_true(s1.to.only_flow);
	reply(&w, "tcp:192.0.2.21:41000", &s1, 486, "b", NULL); /* the device has spoken */
	drop_request(&w, "ACK", "tcp:192.0.2.21:41000");
	expect_and_free(&w, 486, ALICE);
	say_req(&w, ALICE, &(struct req){ .method = "ACK", .to_tag = "b" });
	w.dead_conn = 0;
	say_req(&w, ALICE, &(struct req){ .branch = "z9hG4bK-2" });
	s2 = expect_request(&w, "INVITE", "tcp:192.0.2.21:40000");
	reply(&w, "tcp:192.0.2.21:40000", &s2, 486, "b", NULL);
	drop_request(&w, "ACK", "tcp:192.0.2.21:40000");
	expect_and_free(&w, 486, ALICE); /* and the second flow is not used */
	expect_nothing(&w);
	end(&w);
}

static void a_dead_flow_is_430(void **state)
{
	static struct world w;
	(void)state;
	world_init(&w);
	w.places[w.n_places++] = (struct sip_place){ .uri = TEXT("sip:bob@192.168.1.2"),
						     .q = 1000,
						     .has_flow = true,
						     .only_flow = true,
						     .hop = hop_of("tcp:192.0.2.21:40000") };
	world_start(&w);
	w.dead_conn = 40000;
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE" });
	expect_and_free(&w, 430, ALICE);
	world_stop(&w);
}

static void cancel_is_answered_and_reaches_whoever_rings(void **state)
{
	static struct world w;
	(void)state;
	ring_both(&w);
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL", .more = "Reason: SIP;cause=487\r\n" });
	expect_and_free(&w, 200, ALICE);
	struct sent c = expect_request(&w, "CANCEL", B1);
	assert_true(sent_has(&c, "Reason: SIP;cause=487\r\n"));
	sent_free(&c);
	drop_request(&w, "CANCEL", B2);
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL" }); /* repeated: its own transaction answers */
	expect_and_free(&w, 200, ALICE);
	reply(&w, B1, &s1, 487, "b1", NULL);
	drop_request(&w, "ACK", B1);
	reply(&w, B2, &s2, 487, "b2", NULL);
	drop_request(&w, "ACK", B2);
	expect_and_free(&w, 487, ALICE);
	expect_nothing(&w);
	end(&w);
}

static void a_cancel_waits_for_the_first_provisional_response(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, 1000, 500);
	say_req(&w, ALICE, &(struct req){ 0 });
	s1 = expect_request(&w, "INVITE", B1);
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL" });
	expect_and_free(&w, 200, ALICE);
	expect_nothing(&w);
	reply(&w, B1, &s1, 100, NULL, NULL);
	drop_request(&w, "CANCEL", B1);
	reply(&w, B1, &s1, 487, "b1", NULL);
	drop_request(&w, "ACK", B1);
	expect_and_free(&w, 487, ALICE);
	expect_nothing(&w); /* the second place is not tried any more */
	end(&w);
}

static void a_cancel_that_nobody_answers_ends_with_487_all_the_same(void **state)
{
	static struct world w;
	(void)state;
	ring_both(&w);
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL" });
	world_wait(&w, 31999);
	world_forget(&w);
	world_wait(&w, 1);
	expect_and_free(&w, 487, ALICE);
	world_forget(&w);
	end(&w);
}

static void a_cancel_that_fits_nothing_is_481_and_too_late_changes_nothing(void **state)
{
	static struct world w;
	(void)state;
	ring_both(&w);
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL", .branch = "z9hG4bK-x" });
	expect_and_free(&w, 481, ALICE);
	reply(&w, B1, &s1, 200, "b1", NULL);
	expect_and_free(&w, 200, ALICE);
	drop_request(&w, "CANCEL", B2);
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL" });
	expect_and_free(&w, 200, ALICE);
	expect_nothing(&w);
	end(&w);
}

/* What a CANCEL is to end may be gone, and with it the way of the CANCEL: the call ends all the same (RFC 3261 9.1). */
static void a_call_whose_cancel_cannot_be_sent_ends_as_if_it_had_been_lost(void **state)
{
	static struct world w;
	(void)state;
	for (unsigned by_timer_c = 0; by_timer_c < 2; by_timer_c++) {
		world_init(&w);
		w.places[w.n_places++] = (struct sip_place){ .uri = TEXT("sip:bob@192.168.1.2"),
							     .q = 1000,
							     .has_flow = true,
							     .only_flow = true,
							     .hop = hop_of("tcp:192.0.2.21:40000") };
		world_start(&w);
		say_req(&w, ALICE, &(struct req){ 0 });
		s1 = expect_request(&w, "INVITE", "tcp:192.0.2.21:40000");
		reply(&w, "tcp:192.0.2.21:40000", &s1, 180, "b1", NULL);
		expect_and_free(&w, 180, ALICE);
		w.dead_conn = 40000; /* the page in the browser was closed */
		if (by_timer_c) {
			world_wait(&w, 181000);
		} else {
			say_req(&w, ALICE, &(struct req){ .method = "CANCEL" });
			expect_and_free(&w, 200, ALICE);
		}
		expect_nothing(&w);
		world_wait(&w, 32000);
		expect_and_free(&w, by_timer_c ? 408 : 487, ALICE);
		world_forget(&w); /* it is repeated: nobody acknowledges it here */
		assert_int_equal(sip_txs_charges(sip_proxy_txs(w.px))->open, 0);
		sent_free(&s1);
		world_stop(&w);
	}
}

/* Names and routes may be long; so is the CANCEL then, and it is sent. */
static void a_long_invite_is_cancelled_too(void **state)
{
	static struct world w;
	static char long_name[6000], more[6100];
	(void)state;
	begin(&w, 1000, 500);
	memset(long_name, 'n', sizeof long_name - 1);
	snprintf(more, sizeof more, "Route: <sip:192.0.2.20;lr;x=%s>\r\n", long_name);
	say_req(&w, ALICE, &(struct req){ .more = more });
	s1 = expect_request(&w, "INVITE", "tcp:192.0.2.20:5060");
	reply(&w, "tcp:192.0.2.20:5060", &s1, 180, "b1", NULL);
	expect_and_free(&w, 180, ALICE);
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL" });
	expect_and_free(&w, 200, ALICE);
	drop_request(&w, "CANCEL", "tcp:192.0.2.20:5060");
	world_forget(&w);
	end(&w);
}

static void timer_c_ends_what_rings_too_long(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, 1000, 500);
	say_req(&w, ALICE, &(struct req){ 0 });
	s1 = expect_request(&w, "INVITE", B1);
	reply(&w, B1, &s1, 180, "b1", NULL);
	world_wait(&w, 100000);
	reply(&w, B1, &s1, 183, "b1", NULL); /* begins it anew */
	reply(&w, B1, &s1, 100, NULL, NULL); /* does not */
	world_forget(&w);
	world_wait(&w, 180999);
	expect_nothing(&w);
	world_wait(&w, 1);
	drop_request(&w, "CANCEL", B1);
	reply(&w, B1, &s1, 487, "b1", NULL);
	drop_request(&w, "ACK", B1);
	s2 = expect_request(&w, "INVITE", B2); /* as if it were 408: the next one's turn */
	reply(&w, B2, &s2, 486, "b2", NULL);
	drop_request(&w, "ACK", B2);
	expect_and_free(&w, 486, ALICE);
	end(&w);
}

/* ---- names, addresses that fail ---- */

static void begin_by_name(struct world *w)
{
	world_init(w);
	w->names[0].name = "b.test";
	w->names[0].at[0] = B1;
	w->names[0].at[1] = B2;
	world_place(w, "sip:bob@b.test", NULL, 1000);
	world_start(w);
}

static void an_address_that_refuses_is_followed_by_the_next_at_once(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	w.dead = B1; /* send() fails */
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE" });
	answer_lookup(&w, 0, true);
	s2 = expect_request(&w, "MESSAGE", B2);
	w.dead = NULL;
	say_req(&w, ALICE,
		&(struct req){ .method = "MESSAGE", .branch = "z9hG4bK-2", .call = "call-2" });
	answer_lookup(&w, 1, true);
	s1 = expect_request(&w, "MESSAGE", B1);
	assert_true(fail_sends_to(&w, B1)); /* ICMP says no */
	s3 = expect_request(&w, "MESSAGE", B2);
	assert_string_not_equal(strstr(s3.bytes, "branch="), strstr(s1.bytes, "branch="));
	reply(&w, B2, &s3, 200, "b", NULL);
	expect_and_free(&w, 200, ALICE);
	assert_int_equal(sip_proxy_counts(w.px)->failovers, 1);
	expect_nothing(&w);
	end(&w);
}

static void a_503_is_followed_by_the_next_address(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	answer_lookup(&w, 0, true);
	s1 = expect_request(&w, "INVITE", B1);
	reply(&w, B1, &s1, 503, "b", NULL);
	drop_request(&w, "ACK", B1);
	s2 = expect_request(&w, "INVITE", B2);
	reply(&w, B2, &s2, 503, "b", NULL);
	drop_request(&w, "ACK", B2);
	expect_and_free(&w, 500, ALICE);
	end(&w);
}

static void a_silent_address_is_joined_by_the_next_within_a_second(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	answer_lookup(&w, 0, true);
	s1 = expect_request(&w, "INVITE", B1);
	world_wait(&w, 800);
	expect_and_free(&w, 100, ALICE);
	drop_request(&w, "INVITE", B1); /* repeated */
	struct sent x;
	bool found = false;
	while (take(&w, &x)) {
		if (!found && strncmp(x.bytes, "INVITE", 6) == 0) {
			s2 = x;
			found = true;
		} else {
			sent_free(&x);
		}
	}
	assert_true(found);
	reply(&w, B2, &s2, 180, "b2", NULL);
	expect_and_free(&w, 180, ALICE);
	reply(&w, B1, &s1, 180, "b1", NULL); /* it wakes up: it is not wanted any more */
	drop_request(&w, "CANCEL", B1);
	expect_nothing(&w);
	reply(&w, B2, &s2, 200, "b2", NULL);
	expect_and_free(&w, 200, ALICE);
	reply(&w, B1, &s1, 487, "b1", NULL);
	drop_request(&w, "ACK", B1);
	expect_nothing(&w);
	world_wait(&w, 40000);
	world_forget(&w); /* the CANCEL, which nobody answered */
	assert_true(sip_proxy_idle(w.px));
	end(&w);
}

static void a_silent_address_counts_again_when_the_one_beside_it_is_dead(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	answer_lookup(&w, 0, true);
	s1 = expect_request(&w, "INVITE", B1);
	world_wait(&w, 800);
	world_forget(&w); /* 100, and the INVITE to both */
	assert_true(fail_sends_to(&w, B2));
	expect_nothing(&w);
	reply(&w, B1, &s1, 180, "b", NULL);
	expect_and_free(&w, 180, ALICE);
	reply(&w, B1, &s1, 200, "b", NULL);
	expect_and_free(&w, 200, ALICE);
	end(&w);
}

static void two_addresses_that_are_dead_and_silent_end_in_time(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	world_place(&w, "sip:bob@192.0.2.29", NULL, 500);
	say_req(&w, ALICE, &(struct req){ 0 });
	answer_lookup(&w, 0, true);
	world_wait(&w, 800);
	world_forget(&w);
	assert_true(fail_sends_to(&w, B2));
	s2 = expect_request(&w, "INVITE", "udp:192.0.2.29:5060"); /* whom the policy names next is asked first */
	reply(&w, "udp:192.0.2.29:5060", &s2, 503, "b", NULL);
	drop_request(&w, "ACK", "udp:192.0.2.29:5060");
	expect_nothing(&w);
	while (w.now < 1034000) {
		struct sent x;
		world_wait(&w, 1000);
		while (take(&w, &x)) {
			assert_true(strncmp(x.bytes, "INVITE", 6) == 0 || strncmp(x.bytes, "SIP/2.0 408", 11) == 0);
			sent_free(&x);
		}
	}
	assert_true(sip_proxy_counts(w.px)->responses_out[SIP_INVITE][4] == 1);
	end(&w);
}

static void a_name_that_nobody_knows_is_502(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE" });
	answer_lookup(&w, 0, false);
	expect_and_free(&w, 502, ALICE);
	world_stop(&w);
}

static void a_large_request_goes_by_tcp_and_by_udp_if_that_fails(void **state)
{
	static struct world w;
	static char body[1400];
	(void)state;
	memset(body, 'x', sizeof body - 1);
	begin(&w, 1000, 500);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .body = body });
	s1 = expect_request(&w, "MESSAGE", "tcp:192.0.2.21:5060");
	assert_true(sent_has(&s1, "Via: SIP/2.0/TCP 192.0.2.100:5060"));
	assert_true(fail_sends_to(&w, "tcp:192.0.2.21:5060"));
	s2 = expect_request(&w, "MESSAGE", B1);
	assert_true(sent_has(&s2, "Via: SIP/2.0/UDP 192.0.2.100:5060"));
	reply(&w, B1, &s2, 200, "b", NULL);
	expect_and_free(&w, 200, ALICE);
	w.dead = "tcp:192.0.2.21:5060";
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .body = body, .branch = "z9hG4bK-2" });
	s3 = expect_request(&w, "MESSAGE", B1);
	end(&w);
}

/* ---- order ---- */

static void what_one_sender_sends_in_a_call_keeps_its_order_while_a_name_is_looked_up(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	for (unsigned i = 1; i <= 5; i++) {
		char branch[32];
		snprintf(branch, sizeof branch, "z9hG4bK-%u", i);
		say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .cseq = i, .branch = branch });
	}
	expect_nothing(&w);
	assert_int_equal(w.n_lookups, 1); /* only the first asks; the others wait */
	say_req(&w, ALICE,
		&(struct req){ .method = "MESSAGE", .call = "call-2", .branch = "z9hG4bK-o" });
	assert_int_equal(w.n_lookups, 2); /* another call does not */
	answer_lookup(&w, 1, true);
	s3 = expect_request(&w, "MESSAGE", B1);
	for (unsigned i = 1; i <= 5; i++) {
		char cseq[32];
		answer_lookup(&w, i == 1 ? 0 : i, true); /* each asks when its turn has come */
		struct sent s = expect_request(&w, "MESSAGE", B1);
		snprintf(cseq, sizeof cseq, "CSeq: %u MESSAGE", i);
		assert_true(sent_has(&s, cseq));
		sent_free(&s);
		expect_nothing(&w);
	}
	assert_int_equal(sip_proxy_counts(w.px)->waited, 4);
	assert_int_equal(sip_txs_charges(sip_proxy_txs(w.px))->waiting, 0);
	end(&w);
}

static void a_waiting_message_is_followed_by_responses_of_the_same_sender_in_order(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	answer_lookup(&w, 0, true);
	s1 = expect_request(&w, "INVITE", B1);
	/* bob sends an OPTIONS that must be looked up, and only then his 180 */
	say_req(&w, B1,
		&(struct req){ .method = "MESSAGE",
			       .from_tag = "b",
			       .branch = "z9hG4bK-b",
			       .via_host = "192.0.2.21" });
	reply(&w, B1, &s1, 180, "b", NULL);
	expect_nothing(&w);
	answer_lookup(&w, 1, true);
	s2 = expect_request(&w, "MESSAGE", B1);
	expect_and_free(&w, 180, ALICE);
	end(&w);
}

static void what_follows_a_cancelled_lookup_does_not_wait_for_the_other_branches(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	world_place(&w, "sip:bob@192.0.2.22", NULL, 1000);
	say_req(&w, ALICE, &(struct req){ 0 });
	s1 = expect_request(&w, "INVITE", B2); /* silent; the other one is still looked up */
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .cseq = 2, .branch = "z9hG4bK-2" });
	expect_nothing(&w);
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL" });
	expect_and_free(&w, 200, ALICE);
	world_wait(&w, 10);
	assert_int_equal(w.n_lookups, 2); /* the MESSAGE's turn has come */
	s2 = expect_request(&w, "MESSAGE", B2);
	answer_lookup(&w, 1, true);
	s3 = expect_request(&w, "MESSAGE", B1);
	sent_free(&s1);
	sent_free(&s2);
	sent_free(&s3);
	world_stop(&w);
}

static void a_cancel_need_not_wait_for_the_lookup(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL" });
	expect_and_free(&w, 200, ALICE);
	expect_and_free(&w, 487, ALICE);
	expect_nothing(&w);
	assert_null(w.lookups[0]);
	world_stop(&w);
}

static void a_cancel_waits_with_its_invite(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE" });
	say_req(&w, ALICE, &(struct req){ .cseq = 2, .branch = "z9hG4bK-2" });
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL", .cseq = 2, .branch = "z9hG4bK-2" });
	expect_nothing(&w);
	answer_lookup(&w, 0, true);
	s1 = expect_request(&w, "MESSAGE", B1);
	answer_lookup(&w, 1, true); /* the INVITE goes, then the CANCEL's turn has come */
	s2 = expect_request(&w, "INVITE", B1);
	expect_and_free(&w, 200, ALICE);
	expect_nothing(&w);
	reply(&w, B1, &s2, 180, "b", NULL);
	drop_request(&w, "CANCEL", B1);
	end(&w);
}

static void a_hook_may_wait_and_later_messages_wait_behind_it(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, 1000, 500);
	w.wait_in_hook = true;
	w.strip = "X-Secret";
	say_req(&w, ALICE, &(struct req){ .more = "X-Secret: 1\r\n" });
	struct sip_passage *kept = w.kept;
	assert_non_null(kept);
	say_req(&w, ALICE, &(struct req){ .method = "INFO", .cseq = 2, .branch = "z9hG4bK-2" });
	world_wait(&w, 200);
	expect_and_free(&w, 100, ALICE);
	w.wait_in_hook = false;
	assert_int_equal(sip_forward(kept, &w.places[0]), 0);
	sip_passage_resume(kept, w.now);
	s1 = expect_request(&w, "INVITE", B1);
	assert_false(sent_has(&s1, "X-Secret"));
	timers_run(w.timers, w.now);
	s2 = expect_request(&w, "INFO", B1);
	end(&w);
}

static void a_request_cancelled_while_a_hook_waits_is_487(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, 1000, 500);
	w.wait_in_hook = true;
	say_req(&w, ALICE, &(struct req){ 0 });
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL" });
	expect_and_free(&w, 200, ALICE);
	sip_passage_resume(w.kept, w.now);
	expect_and_free(&w, 487, ALICE);
	expect_nothing(&w);
	world_stop(&w);
}

static void a_proxy_may_be_freed_in_the_middle_of_everything(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	say_req(&w, ALICE, &(struct req){ .method = "INFO", .cseq = 2, .branch = "z9hG4bK-2" });
	w.wait_in_hook = true;
	say_req(&w, ALICE, &(struct req){ .call = "call-2", .branch = "z9hG4bK-3" });
	w.wait_in_hook = false;
	say_req(&w, ALICE, &(struct req){ .call = "call-3", .branch = "z9hG4bK-4" });
	answer_lookup(&w, 1, true);
	world_stop(&w);
}

static void hooks_that_are_not_in_the_order_of_their_stages_are_refused(void **state)
{
	static const struct sip_hook out_of_order[] = { { .stage = SIP_STAGE_ROUTING },
							{ .stage = SIP_STAGE_IDENTITY } };
	static const struct sip_hook *const bad[] = { &out_of_order[0], &out_of_order[1] };
	static struct world w;
	(void)state;
	world_init(&w);
	w.o.hooks = bad;
	w.o.n_hooks = ARRAY_LEN(bad);
	assert_int_equal(world_try_start(&w), -EINVAL);
	world_stop(&w);
}

static void a_cancel_may_push_out_the_very_call_that_is_over(void **state)
{
	static struct world w;
	(void)state;
	world_init(&w);
	w.o.limits.kept = 1;
	world_place(&w, "sip:bob@192.0.2.21", NULL, 1000);
	world_start(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	s1 = expect_request(&w, "INVITE", B1);
	reply(&w, B1, &s1, 200, "b", NULL);
	expect_and_free(&w, 200, ALICE);
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL" });
	expect_and_free(&w, 200, ALICE);
	expect_nothing(&w);
	end(&w);
}

static void an_invite_that_rings_for_nobody_ends(void **state)
{
	static struct world w;
	(void)state;
	world_init(&w);
	w.o.limits.kept = 1;
	world_place(&w, "sip:bob@192.0.2.21", NULL, 1000);
	world_place(&w, "sip:bob@192.0.2.22", NULL, 1000);
	world_start(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	s1 = expect_request(&w, "INVITE", B1);
	s2 = expect_request(&w, "INVITE", B2);
	reply(&w, B1, &s1, 200, "b1", NULL);
	expect_and_free(&w, 200, ALICE);
	for (unsigned i = 0; i < 2; i++) { /* others push the accepted transaction out */
		say_req(&w, ALICE,
			&(struct req){ .method = "MESSAGE", .branch = i ? "z9hG4bK-m1" : "z9hG4bK-m0" });
		s3 = expect_request(&w, "MESSAGE", B1);
		drop_request(&w, "MESSAGE", B2);
		reply(&w, B1, &s3, 200, "b", NULL);
		expect_and_free(&w, 200, ALICE);
		sent_free(&s3);
	}
	assert_int_equal(sip_txs_counts(sip_proxy_txs(w.px))->evicted, 2);
	reply(&w, B2, &s2, 180, "b2", NULL);
	world_wait(&w, 70000);
	world_forget(&w);
	assert_int_equal(sip_txs_charges(sip_proxy_txs(w.px))->bytes, 0);
	end(&w);
}

static void too_many_that_wait_are_dropped_not_kept(void **state)
{
	static struct world w;
	(void)state;
	begin_by_name(&w);
	for (unsigned i = 1; i <= 50; i++) {
		char branch[32];
		snprintf(branch, sizeof branch, "z9hG4bK-%u", i);
		say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .cseq = i, .branch = branch });
	}
	assert_int_equal(sip_txs_charges(sip_proxy_txs(w.px))->waiting, 32);
	world_stop(&w);
}

/* 16.7.5: who was silent when we said no may say yes after all, and then two are in a call that one of them must learn of. */
static void a_200_behind_our_own_refusal_is_not_lost(void **state)
{
	static struct world w;
	const struct addr second = hop_of(B2).remote;
	struct sent x;
	bool found = false;
	(void)state;
	begin_by_name(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	answer_lookup(&w, 0, true);
	s1 = expect_request(&w, "INVITE", B1);
	world_wait(&w, 800);
	while (take(&w, &x)) {
		if (!found && strncmp(x.bytes, "INVITE", 6) == 0 && addr_equal(&x.to.hop.remote, &second)) {
			s2 = x;
			found = true;
		} else {
			sent_free(&x);
		}
	}
	assert_true(found);
	reply(&w, B2, &s2, 486, "b2", NULL);
	drop_request(&w, "ACK", B2);
	expect_and_free(&w, 486, ALICE);
	say_req(&w, ALICE, &(struct req){ .method = "ACK", .to_tag = "b2" });
	world_forget(&w);
	reply(&w, B1, &s1, 200, "b1", NULL);
	expect_and_free(&w, 200, ALICE);
	world_wait(&w, 40000);
	world_forget(&w);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_who_answers_gets_the_call_and_the_others_are_cancelled),
		cmocka_unit_test(a_late_second_200_is_passed_too),
		cmocka_unit_test(the_best_response_goes_back_when_all_have_refused),
		cmocka_unit_test(a_6xx_ends_the_search),
		cmocka_unit_test(challenges_of_all_branches_are_merged),
		cmocka_unit_test(lower_q_is_tried_when_the_higher_has_failed),
		cmocka_unit_test(max_breadth_limits_how_many_are_asked_at_once),
		cmocka_unit_test(flows_of_one_device_are_tried_one_after_the_other),
		cmocka_unit_test(a_dead_flow_is_430),
		cmocka_unit_test(cancel_is_answered_and_reaches_whoever_rings),
		cmocka_unit_test(a_cancel_waits_for_the_first_provisional_response),
		cmocka_unit_test(a_cancel_that_nobody_answers_ends_with_487_all_the_same),
		cmocka_unit_test(a_cancel_that_fits_nothing_is_481_and_too_late_changes_nothing),
		cmocka_unit_test(a_call_whose_cancel_cannot_be_sent_ends_as_if_it_had_been_lost),
		cmocka_unit_test(a_long_invite_is_cancelled_too),
		cmocka_unit_test(timer_c_ends_what_rings_too_long),
		cmocka_unit_test(an_address_that_refuses_is_followed_by_the_next_at_once),
		cmocka_unit_test(a_503_is_followed_by_the_next_address),
		cmocka_unit_test(a_silent_address_is_joined_by_the_next_within_a_second),
		cmocka_unit_test(a_silent_address_counts_again_when_the_one_beside_it_is_dead),
		cmocka_unit_test(two_addresses_that_are_dead_and_silent_end_in_time),
		cmocka_unit_test(a_name_that_nobody_knows_is_502),
		cmocka_unit_test(a_large_request_goes_by_tcp_and_by_udp_if_that_fails),
		cmocka_unit_test(what_one_sender_sends_in_a_call_keeps_its_order_while_a_name_is_looked_up),
		cmocka_unit_test(a_waiting_message_is_followed_by_responses_of_the_same_sender_in_order),
		cmocka_unit_test(what_follows_a_cancelled_lookup_does_not_wait_for_the_other_branches),
		cmocka_unit_test(a_cancel_need_not_wait_for_the_lookup),
		cmocka_unit_test(a_cancel_waits_with_its_invite),
		cmocka_unit_test(a_hook_may_wait_and_later_messages_wait_behind_it),
		cmocka_unit_test(a_request_cancelled_while_a_hook_waits_is_487),
		cmocka_unit_test(a_proxy_may_be_freed_in_the_middle_of_everything),
		cmocka_unit_test(hooks_that_are_not_in_the_order_of_their_stages_are_refused),
		cmocka_unit_test(a_cancel_may_push_out_the_very_call_that_is_over),
		cmocka_unit_test(an_invite_that_rings_for_nobody_ends),
		cmocka_unit_test(too_many_that_wait_are_dropped_not_kept),
		cmocka_unit_test(a_200_behind_our_own_refusal_is_not_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
