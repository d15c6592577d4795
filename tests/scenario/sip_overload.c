/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overload control in conversation (RFC 7339): neighbours that take part are told how much to spare us, and are spared when
 * they ask; those that do not get 503 with a Retry-After as ever; running calls go on in any case.
 */
#include <stdio.h>
#include <string.h>
#include "tests/scenario/sip_world.h"

#define ALICE "udp:192.0.2.1:5060"
#define BOB "udp:192.0.2.20:5060"
#define BOB2 "udp:192.0.2.21:5060"
#define TAKES_PART "z9hG4bK-1;oc;oc-algo=\"loss\""

static struct world w;

static void begin(unsigned open)
{
	world_init(&w);
	w.o.overload_control = true;
	w.o.unix_offset = 1700000000000;
	w.o.limits.open = open;
	world_start(&w);
	world_place(&w, "sip:bob@192.0.2.20", NULL, 1000);
}

/* Another request each time. */
static void message(const char *more_via)
{
	static unsigned n;
	char branch[128], call[32];
	n++;
	(void)snprintf(branch, sizeof branch, "z9hG4bK-m%u%s", n, more_via);
	(void)snprintf(call, sizeof call, "m%u", n);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .branch = branch, .call = call });
}

static void the_copy_says_that_we_take_part_and_every_answer_that_we_are_well(void **state)
{
	(void)state;
	begin(0);
	say_req(&w, ALICE, &(struct req){ .branch = TAKES_PART });
	struct sent s = expect_request(&w, "INVITE", BOB);
	assert_non_null(strstr(sent_value(&s, SIP_H_VIA, 0), ";oc;oc-algo=\"loss\""));
	reply(&w, BOB, &s, 180, "b", NULL);
	struct sent r = expect_response(&w, 180, ALICE);
	assert_string_equal(
		sent_value(&r, SIP_H_VIA, 0),
		"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1;oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq=1700001000.000");
	assert_int_equal(sent_count(&r, "Via:"), 1);
	sent_free(&r);
	reply(&w, BOB, &s, 200, "b", NULL);
	sent_free(&s);
	r = expect_response(&w, 200, ALICE);
	assert_true(sent_has(&r, ";oc=0;"));
	sent_free(&r);
	/* Who does not take part gets his Via as it was. */
	message("");
	s = expect_request(&w, "MESSAGE", BOB);
	reply(&w, BOB, &s, 200, "b", NULL);
	sent_free(&s);
	r = expect_response(&w, 200, ALICE);
	assert_false(sent_has(&r, "oc="));
	sent_free(&r);
	world_stop(&w);
}

static void near_its_limits_the_proxy_asks_to_be_spared_and_beyond_refuses(void **state)
{
	struct sent s;
	(void)state;
	begin(10);
	for (unsigned i = 0; i < 9; i++) {
		message(";oc");
		s = expect_request(&w, "MESSAGE", BOB);
		if (i < 8)
			sent_free(&s);
	}
	reply(&w, BOB, &s, 100, NULL, NULL);
	reply(&w, BOB, &s, 183, "b", NULL); /* nine of ten: half of what is above four fifths */
	sent_free(&s);
	s = expect_response(&w, 183, ALICE);
	assert_true(sent_has(&s, ";oc=50;oc-algo=\"loss\";oc-validity=1000;oc-seq="));
	sent_free(&s);
	message(";oc");
	s = expect_request(&w, "MESSAGE", BOB);
	sent_free(&s);
	message(";oc"); /* one too many, from a neighbour that takes part … */
	s = expect_response(&w, 503, ALICE);
	assert_true(sent_has(&s, ";oc=100;"));
	assert_string_equal(sent_value(&s, SIP_H_RETRY_AFTER, 0), "");
	sent_free(&s);
	message(""); /* … and from one that does not */
	s = expect_response(&w, 503, ALICE);
	assert_false(sent_has(&s, "oc="));
	assert_true(sent_value(&s, SIP_H_RETRY_AFTER, 0)[0] != 0);
	sent_free(&s);
	world_stop(&w);
}

static void full_queues_are_a_reason_too_and_calm_is_not_believed_at_once(void **state)
{
	(void)state;
	begin(0);
	sip_proxy_set_pressure(w.px, 100);
	assert_int_equal(sip_proxy_loss(w.px), 100);
	sip_proxy_set_pressure(w.px, 85);
	assert_int_equal(sip_proxy_loss(w.px), 25);
	sip_proxy_set_pressure(w.px, 0);
	assert_int_equal(sip_proxy_loss(w.px), 0);
	sip_proxy_set_overload_control(w.px, false);
	sip_proxy_set_pressure(w.px, 100);
	assert_int_equal(sip_proxy_loss(w.px), 0);
	world_stop(&w);
}

/* The next hop's words, in our Via. */
static void reply_with_wish(const char *at, struct sent *s, const char *wish)
{
	char *words = strstr(s->bytes, ";oc;oc-algo=\"loss\"");
	char text[WORLD_TEXT], *end;
	assert_non_null(words);
	end = words + strlen(";oc;oc-algo=\"loss\"");
	(void)snprintf(text, sizeof text, "%.*s%s%s", (int)(words - s->bytes), s->bytes, wish, end);
	const struct sent other = { .bytes = text, .n = strlen(text) };
	reply(&w, at, &other, 200, "b", NULL);
}

static void a_next_hop_that_asks_is_spared_until_it_says_otherwise(void **state)
{
	unsigned passed = 0, refused = 0;
	struct sent s;
	(void)state;
	begin(0);
	say_req(&w, ALICE, &(struct req){ 0 });
	s = expect_request(&w, "INVITE", BOB);
	char route[512];
	(void)snprintf(route, sizeof route, "Route: %s\r\n", sent_value(&s, SIP_H_RECORD_ROUTE, 0));
	reply_with_wish(BOB, &s, ";oc=40;oc-algo=\"loss\";oc-validity=5000;oc-seq=5.1");
	sent_free(&s);
	s = expect_response(&w, 200, ALICE);
	assert_false(sent_has(&s, "oc=40")); /* it was said to us */
	sent_free(&s);
	assert_int_equal(sip_proxy_spared(w.px), 1);
	for (unsigned i = 0; i < 100; i++) {
		message("");
		assert_true(take(&w, &s));
		if (s.bytes[0] == 'M') {
			passed++;
		} else {
			assert_true(strncmp(s.bytes, "SIP/2.0 503 ", 12) == 0);
			assert_string_equal(sent_value(&s, SIP_H_RETRY_AFTER, 0), "");
			refused++;
		}
		sent_free(&s);
	}
	assert_int_equal(refused, 40);
	assert_int_equal(w.refused, SIP_REFUSE_SPARED);
	assert_int_equal(sip_proxy_counts(w.px)->held_back, 40);
	for (unsigned i = 0; i < 10; i++) { /* the call that there is goes on */
		char branch[32];
		(void)snprintf(branch, sizeof branch, "z9hG4bK-i%u", i);
		say_req(&w, ALICE,
			&(struct req){ .method = "INFO",
				       .uri = "sip:bob@192.0.2.20",
				       .to_tag = "b",
				       .branch = branch,
				       .cseq = 2 + i,
				       .more = route });
		s = expect_request(&w, "INFO", BOB);
		if (i < 9)
			sent_free(&s);
	}
	reply_with_wish(BOB, &s, ";oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq=5.2");
	sent_free(&s);
	expect_and_free(&w, 200, ALICE);
	for (unsigned i = 0; i < 10; i++) {
		message("");
		s = expect_request(&w, "MESSAGE", BOB);
		sent_free(&s);
	}
	world_stop(&w);
}

static void another_place_of_its_name_takes_what_one_cannot(void **state)
{
	struct sent s;
	(void)state;
	begin(0);
	w.n_places = 0;
	world_place(&w, "sip:bob@farm.test", NULL, 1000);
	w.names[0].name = "farm.test";
	w.names[0].at[0] = BOB;
	w.names[0].at[1] = BOB2;
	message("");
	answer_lookup(&w, 0, true);
	s = expect_request(&w, "MESSAGE", BOB);
	reply_with_wish(BOB, &s, ";oc=100;oc-validity=60000;oc-seq=1");
	sent_free(&s);
	expect_and_free(&w, 200, ALICE);
	message("");
	answer_lookup(&w, 1, true);
	s = expect_request(&w, "MESSAGE", BOB2);
	sent_free(&s);
	world_wait(&w, 61000);
	world_forget(&w);
	message("");
	answer_lookup(&w, 2, true);
	s = expect_request(&w, "MESSAGE", BOB);
	sent_free(&s);
	world_stop(&w);
}

static void a_503_is_remembered_against_its_place(void **state)
{
	(void)state;
	begin(0);
	message("");
	struct sent s = expect_request(&w, "MESSAGE", BOB);
	unsigned before = w.bad_reports;
	reply(&w, BOB, &s, 503, "b", "Retry-After: 5\n");
	sent_free(&s);
	expect_and_free(&w, 500, ALICE);
	assert_int_equal(w.bad_reports, before + 1);
	world_stop(&w);
}

static void running_calls_have_a_tenth_of_the_limit_for_themselves(void **state)
{
	struct sent s;
	char route[512], branch[32];
	(void)state;
	begin(10);
	call_up(&w, ALICE, BOB, route, sizeof route);
	for (unsigned i = 0; i < 10; i++) {
		message("");
		s = expect_request(&w, "MESSAGE", BOB);
		sent_free(&s);
	}
	message("");
	expect_and_free(&w, 503, ALICE);
	for (unsigned i = 0; i < 3; i++) {
		(void)snprintf(branch, sizeof branch, "z9hG4bK-b%u", i);
		say_req(&w, ALICE,
			&(struct req){ .method = i ? "INFO" : "BYE",
				       .uri = "sip:bob@192.0.2.20",
				       .to_tag = "b",
				       .branch = branch,
				       .cseq = 2 + i,
				       .more = route });
		s = i < 2 ? expect_request(&w, i ? "INFO" : "BYE", BOB)
			  : expect_response(&w, 503, ALICE);
		sent_free(&s);
	}
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_copy_says_that_we_take_part_and_every_answer_that_we_are_well),
		cmocka_unit_test(near_its_limits_the_proxy_asks_to_be_spared_and_beyond_refuses),
		cmocka_unit_test(full_queues_are_a_reason_too_and_calm_is_not_believed_at_once),
		cmocka_unit_test(a_next_hop_that_asks_is_spared_until_it_says_otherwise),
		cmocka_unit_test(another_place_of_its_name_takes_what_one_cannot),
		cmocka_unit_test(a_503_is_remembered_against_its_place),
		cmocka_unit_test(running_calls_have_a_tenth_of_the_limit_for_themselves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
