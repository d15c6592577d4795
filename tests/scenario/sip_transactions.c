/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four machines of RFC 3261 17 and RFC 6026, driven through the proxy on fake time: every timer, on unreliable and
 * on reliable transports, and repetitions of everything that can be repeated.
 */
#include <stdio.h>
#include <string.h>
#include "tests/scenario/sip_world.h"

#define ALICE "udp:192.0.2.1:5060"
#define BOB "udp:192.0.2.20:5060"
#define ALICE_TCP "tcp:192.0.2.1:33000"
#define BOB_TCP "tcp:192.0.2.20:5060"

static void begin(struct world *w, bool tcp)
{
	world_init(w);
	world_place(w, tcp ? "sip:bob@192.0.2.20;transport=tcp" : "sip:bob@192.0.2.20", NULL, 1000);
	world_start(w);
}

static struct sent invite(struct world *w)
{
	say_req(w, ALICE, &(struct req){ 0 });
	return expect_request(w, "INVITE", BOB);
}

static struct sent message(struct world *w)
{
	say_req(w, ALICE, &(struct req){ .method = "MESSAGE", .body = "hello" });
	return expect_request(w, "MESSAGE", BOB);
}

static const struct sip_tx_counts *counts(struct world *w)
{
	return sip_txs_counts(sip_proxy_txs(w->px));
}

static unsigned n_txs;
static bool count_tx(const struct sip_tx_view *v, void *arg)
{
	(void)v;
	(void)arg;
	n_txs++;
	return true;
}

static unsigned transactions(struct world *w)
{
	n_txs = 0;
	sip_txs_each(sip_proxy_txs(w->px), count_tx, NULL);
	return n_txs;
}

/* Times (ms from the beginning) at which what is in the queue was sent; everything is freed. */
static unsigned times(struct world *w, uint64_t from, uint64_t *ret)
{
	struct sent s;
	unsigned n = 0;
	while (take(w, &s)) {
		ret[n++] = s.at - from;
		sent_free(&s);
	}
	return n;
}

static void an_invite_is_repeated_with_doubling_intervals_until_timer_b(void **state)
{
	static const uint64_t due[] = { 500, 1500, 3500, 7500, 15500, 31500, 32000 };
	static struct world w;
	uint64_t got[16];
	(void)state;
	begin(&w, false);
	uint64_t from = w.now;
	struct sent s = invite(&w);
	world_wait(&w, 199);
	expect_nothing(&w);
	world_wait(&w, 1);
	expect_and_free(&w, 100, ALICE);
	world_wait(&w, 31799);
	assert_int_equal(times(&w, from, got), 6);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(got[i], due[i]);
	world_wait(&w, 1);
	expect_and_free(&w, 408, ALICE);
	assert_int_equal(counts(&w)->client_timeouts, 1);
	assert_int_equal(w.bad_reports, 1);
	sent_free(&s);
	world_stop(&w);
}

static void a_message_is_repeated_up_to_t2_until_timer_f_and_no_408_is_sent(void **state)
{
	static const uint64_t due[] = { 500,   1500,  3500,  7500,  11500,
					15500, 19500, 23500, 27500, 31500 };
	static struct world w;
	uint64_t got[16];
	(void)state;
	begin(&w, false);
	uint64_t from = w.now;
	struct sent s = message(&w);
	world_wait(&w, 32000);
	assert_int_equal(times(&w, from, got), ARRAY_LEN(due)); /* and no 100, no 408: RFC 4320 */
	for (unsigned i = 0; i < ARRAY_LEN(due); i++)
		assert_int_equal(got[i], due[i]);
	assert_int_equal(sip_proxy_counts(w.px)->refused[SIP_REFUSE_TIMEOUT], 1);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .body = "hello" }); /* absorbed */
	expect_nothing(&w);
	world_wait(&w, 32001);
	assert_int_equal(transactions(&w), 0);
	sent_free(&s);
	world_stop(&w);
}

static void a_provisional_response_slows_the_repetitions_of_other_requests_to_t2(void **state)
{
	static struct world w;
	uint64_t got[16];
	(void)state;
	begin(&w, false);
	uint64_t from = w.now;
	struct sent s = message(&w);
	world_wait(&w, 100);
	reply(&w, BOB, &s, 100, NULL, NULL);
	world_wait(&w, 31900);
	unsigned n = times(&w, from, got);
	assert_int_equal(got[0], 4100);
	assert_int_equal(got[1], 8100);
	assert_int_equal(n, 7);
	assert_int_equal(transactions(&w), 1); /* F came all the same */
	sent_free(&s);
	world_stop(&w);
}

static void nothing_is_repeated_on_a_reliable_transport(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, true);
	say_req(&w, ALICE, &(struct req){ 0 });
	struct sent s = expect_request(&w, "INVITE", BOB_TCP);
	world_wait(&w, 200);
	expect_and_free(&w, 100, ALICE);
	world_wait(&w, 31799);
	expect_nothing(&w);
	world_wait(&w, 1); /* B runs all the same */
	expect_and_free(&w, 408, ALICE);
	sent_free(&s);
	world_stop(&w);
}

static void a_hundred_is_sent_only_if_nothing_else_was_said_within_200_ms(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, false);
	struct sent s = invite(&w);
	world_wait(&w, 150);
	reply(&w, BOB, &s, 100, NULL, NULL); /* is not passed on, and changes nothing */
	expect_nothing(&w);
	assert_int_equal(w.heard, 0);
	world_wait(&w, 10);
	reply(&w, BOB, &s, 180, "b", NULL);
	expect_and_free(&w, 180, ALICE);
	world_wait(&w, 10000);
	expect_nothing(&w);
	reply(&w, BOB, &s, 183, "b", NULL);
	expect_and_free(&w, 183, ALICE);
	assert_int_equal(w.heard, 1); /* once, and then */
	assert_int_equal(w.setup, 160);
	assert_int_equal(w.answered, 0);
	sent_free(&s);
	world_stop(&w);
}

static void a_repeated_invite_gets_the_last_provisional_response_again(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, false);
	struct sent s = invite(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	expect_nothing(&w); /* nothing to say yet */
	reply(&w, BOB, &s, 180, "b", NULL);
	expect_and_free(&w, 180, ALICE);
	say_req(&w, ALICE, &(struct req){ 0 });
	expect_and_free(&w, 180, ALICE);
	expect_nothing(&w);
	assert_int_equal(counts(&w)->requests_absorbed, 2);
	sent_free(&s);
	world_stop(&w);
}

static void a_refusal_is_acknowledged_and_repeated_until_it_is_acknowledged(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, false);
	struct sent s = invite(&w), ack;
	reply(&w, BOB, &s, 486, "b", NULL);
	ack = expect_request(&w, "ACK", BOB);
	assert_true(sent_has(&ack, ";tag=b"));
	assert_true(sent_has(&ack, "CSeq: 1 ACK"));
	assert_int_equal(sent_count(&ack, "Via:"), 1);
	sent_free(&ack);
	expect_and_free(&w, 486, ALICE);
	world_wait(&w, 500); /* G */
	expect_and_free(&w, 486, ALICE);
	world_wait(&w, 1000);
	expect_and_free(&w, 486, ALICE);
	reply(&w, BOB, &s, 486, "b", NULL); /* repeated by bob: the ACK again, and nothing upstream */
	ack = expect_request(&w, "ACK", BOB);
	sent_free(&ack);
	expect_nothing(&w);
	say_req(&w, ALICE, &(struct req){ .method = "ACK", .to_tag = "b" });
	world_wait(&w, 4999);
	expect_nothing(&w);
	assert_int_equal(transactions(&w), 2);
	world_wait(&w, 1); /* I */
	assert_int_equal(transactions(&w), 1);
	world_wait(&w, 26000); /* D */
	assert_int_equal(transactions(&w), 0);
	assert_int_equal(counts(&w)->acks_missing, 0);
	sent_free(&s);
	world_stop(&w);
}

static void a_refusal_that_nobody_acknowledges_ends_with_timer_h(void **state)
{
	static struct world w;
	uint64_t got[32];
	(void)state;
	begin(&w, false);
	struct sent s = invite(&w);
	reply(&w, BOB, &s, 603, "b", NULL);
	uint64_t from = w.now;
	world_wait(&w, 32000);
	unsigned n = times(&w, from, got); /* ACK, 603, and at 500, 1500, 3500, 7500, 11500 … 31500 */
	assert_int_equal(n, 12);
	assert_int_equal(got[5], 7500);
	assert_int_equal(got[6], 11500);
	assert_int_equal(counts(&w)->acks_missing, 1);
	assert_int_equal(transactions(&w), 0);
	sent_free(&s);
	world_stop(&w);
}

static void accepted_transactions_absorb_repeated_invites_and_pass_every_200(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, false);
	struct sent s = invite(&w);
	reply(&w, BOB, &s, 200, "b", NULL);
	expect_and_free(&w, 200, ALICE);
	say_req(&w, ALICE, &(struct req){ 0 });
	expect_nothing(&w); /* RFC 6026: neither passed on nor answered */
	world_wait(&w, 500);
	reply(&w, BOB, &s, 200, "b", NULL); /* bob has not seen the ACK */
	expect_and_free(&w, 200, ALICE);
	reply(&w, BOB, &s, 200, "b2", NULL); /* another one behind a forking proxy */
	expect_and_free(&w, 200, ALICE);
	world_wait(&w, 31499);
	assert_int_equal(transactions(&w), 2);
	world_wait(&w, 1); /* L and M */
	assert_int_equal(transactions(&w), 0);
	reply(&w, BOB, &s, 200, "b", NULL);
	expect_nothing(&w);
	assert_int_equal(sip_proxy_counts(w.px)->stray_responses, 1);
	sent_free(&s);
	world_stop(&w);
}

static void a_repeated_message_gets_its_response_again_until_timer_j(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, false);
	struct sent s = message(&w);
	reply(&w, BOB, &s, 200, "b", NULL);
	expect_and_free(&w, 200, ALICE);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .body = "hello" });
	expect_and_free(&w, 200, ALICE);
	reply(&w, BOB, &s, 200, "b", NULL);
	expect_nothing(&w);
	world_wait(&w, 5000); /* K */
	assert_int_equal(transactions(&w), 1);
	world_wait(&w, 26999);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .body = "hello" });
	expect_and_free(&w, 200, ALICE);
	world_wait(&w, 1); /* J */
	assert_int_equal(transactions(&w), 0);
	assert_int_equal(w.answered, 1);
	sent_free(&s);
	world_stop(&w);
}

static void on_reliable_transports_nothing_stays_behind_a_final_response(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, true);
	say_req(&w, ALICE_TCP, &(struct req){ .method = "MESSAGE", .proto = "TCP", .body = "hello" });
	struct sent s = expect_request(&w, "MESSAGE", BOB_TCP);
	reply(&w, BOB_TCP, &s, 200, "b", NULL);
	expect_and_free(&w, 200, ALICE_TCP);
	world_wait(&w, 1);
	assert_int_equal(transactions(&w), 0);
	sent_free(&s);
	world_stop(&w);
}

static void transactions_without_a_magic_cookie_are_matched_as_rfc_2543_did(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, false);
	say_req(&w, ALICE, &(struct req){ .branch = "old" });
	struct sent s = expect_request(&w, "INVITE", BOB);
	reply(&w, BOB, &s, 404, "b", NULL);
	world_forget(&w);
	say_req(&w, ALICE, &(struct req){ .branch = "old" });
	expect_and_free(&w, 404, ALICE);
	say_req(&w, ALICE, &(struct req){ .branch = "old", .method = "ACK", .to_tag = "b" });
	world_wait(&w, 4000);
	expect_nothing(&w);
	say_req(&w, ALICE, &(struct req){ .branch = "old", .cseq = 2 }); /* another one */
	sent_free(&s);
	s = expect_request(&w, "INVITE", BOB);
	sent_free(&s);
	world_stop(&w);
}

static void the_same_branch_of_another_sender_or_method_is_another_transaction(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, false);
	struct sent s = invite(&w), other;
	say_req(&w, ALICE, &(struct req){ .via_host = "192.0.2.9:5060" });
	other = expect_request(&w, "INVITE", BOB);
	sent_free(&other);
	say_req(&w, ALICE, &(struct req){ .method = "OPTIONS" });
	other = expect_request(&w, "OPTIONS", BOB);
	sent_free(&other);
	sent_free(&s);
	world_stop(&w);
}

static void responses_of_nobody_are_dropped(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, false);
	struct sent s = message(&w);
	sent_free(&s);
	say(&w, BOB,
	    "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.100:5060;branch=z9hG4bKguess\r\n"
	    "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@c>;tag=2\r\n"
	    "Call-ID: x\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n");
	expect_nothing(&w);
	assert_int_equal(sip_proxy_counts(w.px)->stray_responses, 1);
	world_stop(&w);
}

static void a_transport_error_ends_a_transaction_at_once(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, true);
	say_req(&w, ALICE, &(struct req){ 0 });
	struct sent s = expect_request(&w, "INVITE", BOB_TCP);
	assert_true(fail_sends_to(&w, BOB_TCP));
	expect_and_free(&w, 500, ALICE);
	assert_int_equal(w.refused, SIP_REFUSE_UNREACHABLE);
	sent_free(&s);
	world_stop(&w);
}

static void a_connection_that_goes_behind_a_provisional_response_ends_nothing(void **state)
{
	static struct world w;
	(void)state;
	begin(&w, true);
	say_req(&w, ALICE, &(struct req){ 0 });
	struct sent s = expect_request(&w, "INVITE", BOB_TCP);
	reply(&w, BOB_TCP, &s, 180, "b", NULL);
	expect_and_free(&w, 180, ALICE);
	assert_false(fail_sends_to(&w, BOB_TCP)); /* nothing waits for it any more */
	expect_nothing(&w);
	reply(&w, "tcp:192.0.2.20:40000", &s, 200, "b", NULL); /* by another one */
	expect_and_free(&w, 200, ALICE);
	sent_free(&s);
	world_stop(&w);
}

static void the_oldest_completed_transactions_give_way_when_there_are_too_many(void **state)
{
	static struct world w;
	char branch[32];
	(void)state;
	world_init(&w);
	w.o.limits.kept = 10;
	world_place(&w, "sip:bob@192.0.2.20", NULL, 1000);
	world_start(&w);
	for (unsigned i = 0; i < 25; i++) {
		snprintf(branch, sizeof branch, "z9hG4bK-m%u", i);
		say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .branch = branch });
		struct sent s = expect_request(&w, "MESSAGE", BOB);
		reply(&w, BOB, &s, 200, "b", NULL);
		expect_and_free(&w, 200, ALICE);
		sent_free(&s);
	}
	assert_int_equal(counts(&w)->evicted, 15);
	assert_int_equal(sip_txs_charges(sip_proxy_txs(w.px))->kept, 10);
	assert_int_equal(sip_txs_charges(sip_proxy_txs(w.px))->open, 0);
	world_stop(&w);
}

static void beyond_the_limits_there_is_503_with_retry_after_and_no_memory(void **state)
{
	static struct world w;
	char branch[32];
	(void)state;
	world_init(&w);
	w.o.limits.open_per_source = 3;
	w.o.limits.open = 5;
	world_place(&w, "sip:bob@192.0.2.20", NULL, 1000);
	world_start(&w);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(branch, sizeof branch, "z9hG4bK-m%u", i);
		say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .branch = branch });
	}
	world_forget(&w);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .branch = "z9hG4bK-more" });
	struct sent s = expect_response(&w, 503, ALICE);
	assert_true(atoi(sent_value(&s, SIP_H_RETRY_AFTER, 0)) >= 5);
	sent_free(&s);
	assert_int_equal(w.refused, SIP_REFUSE_OVERLOAD_SOURCE);
	for (unsigned i = 3; i < 6; i++) {
		snprintf(branch, sizeof branch, "z9hG4bK-m%u", i);
		say_req(&w, "udp:192.0.2.2:5060",
			&(struct req){ .method = "MESSAGE", .branch = branch });
	}
	assert_int_equal(w.refused, SIP_REFUSE_OVERLOAD);
	world_forget(&w);
	assert_int_equal(sip_txs_charges(sip_proxy_txs(w.px))->open, 5);
	world_stop(&w);
}

static bool add_bytes(const struct sip_tx_view *v, void *arg)
{
	*(size_t *)arg += v->bytes;
	return true;
}

static void a_live_transaction_holds_less_than_4_kb(void **state)
{
	static struct world w;
	size_t bytes = 0;
	static char body[700];
	(void)state;
	begin(&w, false);
	memset(body, 'x', sizeof body - 1);
	say_req(&w, ALICE, &(struct req){ .body = body });
	struct sent s = expect_request(&w, "INVITE", BOB);
	reply(&w, BOB, &s, 180, "b", NULL);
	expect_and_free(&w, 180, ALICE);
	sip_txs_each(sip_proxy_txs(w.px), add_bytes, &bytes);
	bytes += strlen(w.text) + 1000; /* the request as it came, the context and its branch */
	assert_in_range(bytes, 3000, 4096);
	sent_free(&s);
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_invite_is_repeated_with_doubling_intervals_until_timer_b),
		cmocka_unit_test(a_message_is_repeated_up_to_t2_until_timer_f_and_no_408_is_sent),
		cmocka_unit_test(a_provisional_response_slows_the_repetitions_of_other_requests_to_t2),
		cmocka_unit_test(nothing_is_repeated_on_a_reliable_transport),
		cmocka_unit_test(a_hundred_is_sent_only_if_nothing_else_was_said_within_200_ms),
		cmocka_unit_test(a_repeated_invite_gets_the_last_provisional_response_again),
		cmocka_unit_test(a_refusal_is_acknowledged_and_repeated_until_it_is_acknowledged),
		cmocka_unit_test(a_refusal_that_nobody_acknowledges_ends_with_timer_h),
		cmocka_unit_test(accepted_transactions_absorb_repeated_invites_and_pass_every_200),
		cmocka_unit_test(a_repeated_message_gets_its_response_again_until_timer_j),
		cmocka_unit_test(on_reliable_transports_nothing_stays_behind_a_final_response),
		cmocka_unit_test(transactions_without_a_magic_cookie_are_matched_as_rfc_2543_did),
		cmocka_unit_test(the_same_branch_of_another_sender_or_method_is_another_transaction),
		cmocka_unit_test(responses_of_nobody_are_dropped),
		cmocka_unit_test(a_transport_error_ends_a_transaction_at_once),
		cmocka_unit_test(a_connection_that_goes_behind_a_provisional_response_ends_nothing),
		cmocka_unit_test(the_oldest_completed_transactions_give_way_when_there_are_too_many),
		cmocka_unit_test(beyond_the_limits_there_is_503_with_retry_after_and_no_memory),
		cmocka_unit_test(a_live_transaction_holds_less_than_4_kb),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
