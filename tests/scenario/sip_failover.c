/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places that say nothing (RFC 3263 4.3): within a second another one of the name is asked, and nothing arrives twice that
 * must not. What waits for a connection is taken back; what has left by UDP is not doubled but its place is remembered;
 * nothing overtakes what waits, and Max-Breadth holds (RFC 5393).
 */
#include <stdio.h>
#include <string.h>
#include "tests/scenario/sip_world.h"

#define ALICE "udp:192.0.2.1:5060"
#define A "tcp:192.0.2.20:5060"
#define B "tcp:192.0.2.21:5060"

static struct world w;
static char large[1400];

static void begin(const char *first, const char *second)
{
	world_init(&w);
	world_start(&w);
	world_place(&w, "sip:bob@farm.test", NULL, 1000);
	w.names[0].name = "farm.test";
	w.names[0].at[0] = first;
	w.names[0].at[1] = second;
}

static void ask(const char *method, const char *more)
{
	static unsigned n;
	char branch[32], call[32];
	n++;
	(void)snprintf(branch, sizeof branch, "z9hG4bK-f%u", n);
	(void)snprintf(call, sizeof call, "f%u", n);
	say_req(&w, ALICE,
		&(struct req){ .method = method, .branch = branch, .call = call, .more = more });
}

static void what_waits_for_a_connection_goes_elsewhere_within_a_second_and_comes_back(void **state)
{
	static const char *const methods[] = { "MESSAGE", "INVITE" };
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		begin(A, B);
		w.connecting[0] = A;
		ask(methods[i], NULL);
		answer_lookup(&w, 0, true);
		expect_nothing(&w);
		unsigned bad = w.bad_reports;
		world_wait(&w, 800);
		if (i == 1)
			expect_and_free(&w, 100, ALICE);
		struct sent s = expect_request(&w, methods[i], B);
		sent_free(&s);
		assert_int_equal(w.bad_reports, bad + 1); /* the next one does not begin with A */
		w.connecting[0] = NULL;			  /* A was only slow */
		assert_true(fail_sends_to(&w, B));
		s = expect_request(&w, methods[i], A);
		reply(&w, A, &s, 200, "b", NULL);
		sent_free(&s);
		expect_and_free(&w, 200, ALICE);
		expect_nothing(&w);
		world_forget(&w);
		world_stop(&w);
	}
}

static void when_no_connection_comes_about_each_place_is_tried_twice_and_no_more(void **state)
{
	(void)state;
	begin(A, B);
	w.connecting[0] = A;
	w.connecting[1] = B;
	ask("MESSAGE", NULL);
	answer_lookup(&w, 0, true);
	world_wait(&w, 3000);
	assert_int_equal(w.held, 4);
	world_wait(&w, 60000);
	assert_int_equal(w.held, 4);
	world_forget(&w);
	world_stop(&w);
}

static void what_has_left_by_udp_is_not_doubled_but_its_place_is_remembered(void **state)
{
	(void)state;
	begin("udp:192.0.2.20:5060", "udp:192.0.2.21:5060");
	ask("MESSAGE", NULL);
	answer_lookup(&w, 0, true);
	struct sent s = expect_request(&w, "MESSAGE", "udp:192.0.2.20:5060");
	sent_free(&s);
	world_wait(&w, 900);
	assert_int_equal(w.bad_reports, 1);
	s = expect_request(&w, "MESSAGE", "udp:192.0.2.20:5060"); /* its own repetition */
	unsigned good = w.reports;
	reply(&w, "udp:192.0.2.20:5060", &s, 200, "b", NULL);
	sent_free(&s);
	assert_int_equal(w.reports, good + 1); /* it was slow, and is well */
	expect_and_free(&w, 200, ALICE);
	expect_nothing(&w);
	world_stop(&w);
}

/* A large message that waits for TCP, and a small one of the same dialog behind it. */
static void a_small_message_does_not_overtake_a_large_one_that_waits_for_tcp(void **state)
{
	char route[600];
	struct sent s;
	(void)state;
	world_init(&w);
	world_start(&w);
	world_place(&w, "sip:bob@192.0.2.20", NULL, 1000);
	memset(large, 'x', sizeof large - 1);
	call_up(&w, ALICE, "udp:192.0.2.20:5060", route, sizeof route);
	w.connecting[0] = A;
	for (unsigned i = 0; i < 2; i++) {
		char branch[32];
		(void)snprintf(branch, sizeof branch, "z9hG4bK-o%u", i);
		say_req(&w, ALICE,
			&(struct req){ .method = "INFO",
				       .uri = "sip:bob@192.0.2.20",
				       .to_tag = "b",
				       .branch = branch,
				       .cseq = 2 + i,
				       .more = route,
				       .body = i == 0 ? large : NULL });
	}
	expect_nothing(&w);
	world_wait(&w, 799);
	expect_nothing(&w);
	world_wait(&w, 1); /* no connection: as it is by UDP, and then the other */
	for (unsigned i = 0; i < 2; i++) {
		s = expect_request(&w, "INFO", "udp:192.0.2.20:5060");
		assert_int_equal(sent_value(&s, SIP_H_CSEQ, 0)[0], '2' + i);
		sent_free(&s);
	}
	world_forget(&w);
	/* With a TCP that is known to fail there is no waiting. */
	w.fails = A;
	say_req(&w, ALICE,
		&(struct req){ .method = "INFO",
			       .uri = "sip:bob@192.0.2.20",
			       .to_tag = "b",
			       .branch = "z9hG4bK-o9",
			       .cseq = 9,
			       .more = route,
			       .body = large });
	s = expect_request(&w, "INFO", "udp:192.0.2.20:5060");
	sent_free(&s);
	world_stop(&w);
}

/* It waits for TCP in vain, and UDP does not take it either: that was the last of its places, and the branch is gone with it. */
static void a_large_message_that_nobody_takes_is_refused_when_it_is_taken_back(void **state)
{
	(void)state;
	world_init(&w);
	world_start(&w);
	world_place(&w, "sip:bob@192.0.2.20", NULL, 1000);
	memset(large, 'x', sizeof large - 1);
	w.connecting[0] = A;
	w.dead = "udp:192.0.2.20:5060";
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .body = large });
	expect_nothing(&w);
	world_wait(&w, 800);
	expect_and_free(&w, 500, ALICE);
	world_stop(&w);
}

/* With its offer in the ACK, a call without one in the INVITE. */
static void a_large_ack_goes_by_tcp_and_by_udp_where_nobody_takes_it(void **state)
{
	char route[600];
	struct sent s;
	(void)state;
	world_init(&w);
	world_start(&w);
	world_place(&w, "sip:bob@192.0.2.20", NULL, 1000);
	memset(large, 'x', sizeof large - 1);
	call_up(&w, ALICE, "udp:192.0.2.20:5060", route, sizeof route);
	const struct req ack = { .method = "ACK", .uri = "sip:bob@192.0.2.20", .to_tag = "b", .branch = "z9hG4bK-a",
				 .more = route, .body = large };
	say_req(&w, ALICE, &ack);
	s = expect_request(&w, "ACK", A);
	assert_true(sent_has(&s, "Via: SIP/2.0/TCP 192.0.2.100:5060"));
	sent_free(&s);
	w.fails = A;
	say_req(&w, ALICE, &ack);
	s = expect_request(&w, "ACK", "udp:192.0.2.20:5060");
	assert_true(sent_has(&s, "Via: SIP/2.0/UDP 192.0.2.100:5060"));
	sent_free(&s);
	expect_nothing(&w);
	world_stop(&w);
}

static void a_place_beside_a_silent_one_gets_its_part_of_max_breadth(void **state)
{
	struct sent s;
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		begin("udp:192.0.2.20:5060", "udp:192.0.2.21:5060");
		ask("INVITE", i == 0 ? "Max-Breadth: 7\r\n" : "Max-Breadth: 1\r\n");
		answer_lookup(&w, 0, true);
		s = expect_request(&w, "INVITE", "udp:192.0.2.20:5060");
		if (i == 0)
			assert_string_equal(sent_value(&s, SIP_H_MAX_BREADTH, 0), "4");
		sent_free(&s);
		world_forget(&w);
		world_wait(&w, 820);
		bool second = false;
		while (take(&w, &s)) {
			char at[ADDR_STRLEN];
			if (strcmp(addr_print(&s.to.hop.remote, at), "192.0.2.21:5060") == 0) {
				second = true;
				assert_string_equal(sent_value(&s, SIP_H_MAX_BREADTH, 0), "3");
			}
			sent_free(&s);
		}
		assert_int_equal(second, i == 0); /* one cannot be shared */
		world_stop(&w);
	}
}

static void a_cancelled_call_asks_nobody_else(void **state)
{
	(void)state;
	begin("udp:192.0.2.20:5060", "udp:192.0.2.21:5060");
	say_req(&w, ALICE, &(struct req){ 0 });
	answer_lookup(&w, 0, true);
	struct sent s = expect_request(&w, "INVITE", "udp:192.0.2.20:5060");
	sent_free(&s);
	say_req(&w, ALICE, &(struct req){ .method = "CANCEL" });
	world_wait(&w, 2000);
	while (take(&w, &s)) {
		assert_string_not_equal(addr_print(&s.to.hop.remote, (char[ADDR_STRLEN]){ 0 }),
					"192.0.2.21:5060");
		sent_free(&s);
	}
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_waits_for_a_connection_goes_elsewhere_within_a_second_and_comes_back),
		cmocka_unit_test(when_no_connection_comes_about_each_place_is_tried_twice_and_no_more),
		cmocka_unit_test(what_has_left_by_udp_is_not_doubled_but_its_place_is_remembered),
		cmocka_unit_test(a_small_message_does_not_overtake_a_large_one_that_waits_for_tcp),
		cmocka_unit_test(a_large_message_that_nobody_takes_is_refused_when_it_is_taken_back),
		cmocka_unit_test(a_large_ack_goes_by_tcp_and_by_udp_where_nobody_takes_it),
		cmocka_unit_test(a_place_beside_a_silent_one_gets_its_part_of_max_breadth),
		cmocka_unit_test(a_cancelled_call_asks_nobody_else),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
