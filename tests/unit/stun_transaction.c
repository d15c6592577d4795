/* SPDX-License-Identifier: Apache-2.0 */
/* Client transactions on fake time: RFC 8489 6.2.1 (unreliable), 6.2.2 (reliable), 6.3.3, 6.3.4, 9.2.5. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "stun/transaction.h"

enum { MAX_SENDS = 16, START = 1000 };

/* One client, its fake clock, and all that its transaction told it. */
struct world {
	struct timers *timers;
	struct stun_tx *tx;
	struct stun_key *key, *wrong_key;
	uint64_t now, sent_at[MAX_SENDS], done_at;
	unsigned sends, dones;
	bool answered, free_in_done;
	enum stun_tx_failure failure;
	uint8_t request[256], sent[256], response[256];
	size_t request_n, sent_n;
};

static void on_send(struct stun_tx *t, const void *p, size_t n, void *arg)
{
	struct world *w = arg;
	assert_ptr_equal(t, w->tx);
	assert_true(w->sends < MAX_SENDS);
	w->sent_at[w->sends++] = w->now - START;
	memcpy(w->sent, p, n);
	w->sent_n = n;
}

static void on_done(struct stun_tx *t, const struct stun_msg *m, void *arg)
{
	struct world *w = arg;
	w->dones++;
	w->done_at = w->now - START;
	w->answered = m != NULL;
	w->failure = stun_tx_failure(t);
	if (w->free_in_done)
		w->tx = stun_tx_free(t);
}

static const struct stun_tx_ops ops = { .send = on_send, .done = on_done };
static const uint8_t tid[STUN_TID_LEN] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct stun_writer sw;

	w->now = START;
	w->timers = timers_new(START);
	assert_int_equal(stun_key_short_term(STUN_MAC_SHA1, TEXT("secret"), &w->key), 0);
	assert_int_equal(stun_key_short_term(STUN_MAC_SHA1, TEXT("guess"), &w->wrong_key), 0);
	stun_begin(&sw, w->request, sizeof w->request, STUN_BINDING, STUN_REQUEST, tid);
	stun_put_text(&sw, STUN_A_SOFTWARE, TEXT("Stile"));
	w->request_n = (size_t)stun_end(&sw);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	stun_tx_free(w->tx);
	stun_key_free(w->key);
	stun_key_free(w->wrong_key);
	timers_free(w->timers);
	free(w);
	return 0;
}

static void start(struct world *w, bool reliable, const struct stun_key *key)
{
	struct stun_tx_options o = {
		.timers = w->timers, .reliable = reliable, .key = key, .ops = &ops, .arg = w
	};
	assert_int_equal(stun_tx_new(&o, w->now, w->request, w->request_n, &w->tx), 0);
	assert_int_equal(w->sends, 1);
}

static void run_until(struct world *w, uint64_t t)
{
	for (; w->now <= START + t; w->now++)
		timers_run(w->timers, w->now);
	w->now--;
}

/* Feeds a response: code 0 is a success; key signs it. */
struct response {
	enum stun_method method;
	enum stun_class class;
	unsigned code;
	const struct stun_key *key;
	uint16_t extra_type; /* an attribute more */
	const uint8_t *tid;
};

static bool answer(struct world *w, struct response a)
{
	struct stun_writer sw;
	struct stun_msg m;

	stun_begin(&sw, w->response, sizeof w->response, a.method, a.class, a.tid ? a.tid : tid);
	if (a.code)
		stun_put_error(&sw, a.code, "reason");
	if (a.extra_type)
		stun_put_raw(&sw, a.extra_type, "xxxx", 4);
	if (a.key)
		stun_put_integrity(&sw, a.key);
	ssize_t n = stun_end(&sw);
	assert_true(n > 0);
	assert_int_equal(stun_parse(w->response, (size_t)n, &m), STUN_OK);
	return stun_tx_input(w->tx, &m);
}
#define SUCCESS .method = STUN_BINDING, .class = STUN_SUCCESS
#define FAILURE .method = STUN_BINDING, .class = STUN_ERROR

static void over_udp_the_request_is_sent_seven_times_and_fails_at_39500_ms(void **state)
{
	static const uint64_t at[] = { 0, 500, 1500, 3500, 7500, 15500, 31500 };
	struct world *w = *state;

	start(w, false, NULL);
	run_until(w, 39499);
	assert_int_equal(w->sends, ARRAY_LEN(at));
	assert_int_equal(stun_tx_sent(w->tx), ARRAY_LEN(at));
	for (size_t i = 0; i < ARRAY_LEN(at); i++)
		assert_int_equal(w->sent_at[i], at[i]);
	assert_int_equal(w->dones, 0);
	run_until(w, 100000);
	assert_int_equal(w->dones, 1);
	assert_int_equal(w->done_at, 39500);
	assert_false(w->answered);
	assert_int_equal(w->failure, STUN_TX_TIMEOUT);
	assert_int_equal(w->sends, ARRAY_LEN(at));
}

static void every_repeat_is_byte_for_byte_the_request(void **state)
{
	struct world *w = *state;

	start(w, false, NULL);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(w->sent_n, w->request_n);
		assert_memory_equal(w->sent, w->request, w->request_n);
		memset(w->sent, 0, sizeof w->sent);
		run_until(w, (500u << (i + 1)) - 500);
		assert_int_equal(w->sends, i + 2);
	}
}

static void the_next_deadline_is_told_to_the_caller(void **state)
{
	struct world *w = *state;

	/* timers_next() is a lower bound, so step by it, as a loop does: no repeat may be missed or late. */
	start(w, false, NULL);
	for (int steps = 0; w->dones == 0; steps++) {
		assert_true(steps < 10000);
		uint64_t next = timers_next(w->timers);
		assert_true(next != TIMERS_NEVER);
		w->now = MAX(next, w->now + 1);
		timers_run(w->timers, w->now);
	}
	assert_int_equal(w->sends, 7);
	assert_int_equal(w->done_at, 39500);
	assert_true(timers_next(w->timers) == TIMERS_NEVER);
}

static void over_tcp_the_request_is_sent_once_and_fails_at_39500_ms(void **state)
{
	struct world *w = *state;

	start(w, true, NULL);
	run_until(w, 39499);
	assert_int_equal(w->sends, 1);
	assert_int_equal(w->dones, 0);
	run_until(w, 39500);
	assert_int_equal(w->sends, 1);
	assert_int_equal(w->dones, 1);
	assert_int_equal(w->failure, STUN_TX_TIMEOUT);
}

static void a_measured_rto_moves_every_repeat(void **state)
{
	static const uint64_t at[] = { 0, 100, 300, 700, 1500, 3100, 6300 };
	struct world *w = *state;

	start(w, false, NULL);
	stun_tx_rto(w->tx, 100);
	run_until(w, 100000);
	assert_int_equal(w->sends, ARRAY_LEN(at));
	for (size_t i = 0; i < ARRAY_LEN(at); i++)
		assert_int_equal(w->sent_at[i], at[i]);
	assert_int_equal(w->done_at, 6300 + 16 * 100);
}

static void an_rto_after_the_first_repeat_changes_nothing(void **state)
{
	struct world *w = *state;

	start(w, false, NULL);
	run_until(w, 500);
	stun_tx_rto(w->tx, 10);
	run_until(w, 100000);
	assert_int_equal(w->sends, 7);
	assert_int_equal(w->done_at, 39500);
}

static void a_stalled_loop_makes_no_burst(void **state)
{
	struct world *w = *state;

	start(w, false, NULL);
	w->now = START + 5000;
	timers_run(w->timers, w->now);
	assert_int_equal(w->sends, 2);
	run_until(w, 5999);
	assert_int_equal(w->sends, 2);
	run_until(w, 6000);
	assert_int_equal(w->sends, 3);
}

static void a_response_ends_it_and_a_second_one_is_not_taken(void **state)
{
	struct world *w = *state;

	start(w, false, NULL);
	run_until(w, 700);
	assert_true(answer(w, (struct response){ SUCCESS }));
	assert_true(w->answered);
	assert_int_equal(w->failure, STUN_TX_OK);
	assert_false(answer(w, (struct response){ SUCCESS }));
	run_until(w, 100000);
	assert_int_equal(w->dones, 1);
	assert_int_equal(w->sends, 2);
}

static void an_error_response_is_an_answer_too(void **state)
{
	struct world *w = *state;

	start(w, false, NULL);
	assert_true(answer(w, (struct response){ FAILURE, .code = 500 }));
	assert_true(w->answered);
}

static void somebody_elses_message_is_not_taken(void **state)
{
	static const uint8_t other[STUN_TID_LEN] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13 };
	struct world *w = *state;

	start(w, false, NULL);
	assert_false(answer(w, (struct response){ SUCCESS, .tid = other }));
	assert_false(answer(w, (struct response){ .method = STUN_ALLOCATE, .class = STUN_SUCCESS }));
	assert_false(answer(w, (struct response){ .method = STUN_BINDING, .class = STUN_INDICATION }));
	assert_false(answer(w, (struct response){ .method = STUN_BINDING, .class = STUN_REQUEST }));
	assert_int_equal(w->dones, 0);
	assert_true(answer(w, (struct response){ SUCCESS }));
}

static void over_udp_a_wrong_integrity_is_ignored_and_a_right_one_accepted(void **state)
{
	struct world *w = *state;

	start(w, false, w->key);
	assert_false(answer(w, (struct response){ SUCCESS, .key = w->wrong_key }));
	assert_false(answer(w, (struct response){ SUCCESS }));
	assert_false(answer(w, (struct response){ FAILURE, .code = 400 }));
	assert_int_equal(w->dones, 0);
	run_until(w, 500);
	assert_int_equal(w->sends, 2);
	assert_true(answer(w, (struct response){ SUCCESS, .key = w->key }));
	assert_true(w->answered);
}

static void a_timeout_after_only_wrong_integrity_says_so(void **state)
{
	struct world *w = *state;

	start(w, false, w->key);
	assert_false(answer(w, (struct response){ SUCCESS, .key = w->wrong_key }));
	run_until(w, 39500);
	assert_int_equal(w->dones, 1);
	assert_int_equal(w->failure, STUN_TX_INTEGRITY);
}

static void over_tcp_a_wrong_integrity_ends_it_at_once(void **state)
{
	struct world *w = *state;

	start(w, true, w->key);
	assert_true(answer(w, (struct response){ SUCCESS, .key = w->wrong_key }));
	assert_int_equal(w->dones, 1);
	assert_false(w->answered);
	assert_int_equal(w->failure, STUN_TX_INTEGRITY);
}

static void a_challenge_needs_no_integrity_but_a_wrong_one_is_ignored(void **state)
{
	struct world *w = *state;

	start(w, false, w->key);
	assert_false(answer(w, (struct response){ FAILURE, .code = 401, .key = w->wrong_key }));
	assert_int_equal(w->dones, 0);
	assert_true(answer(w, (struct response){ FAILURE, .code = 401 }));
	assert_true(w->answered);
}

static void a_stale_nonce_needs_no_integrity(void **state)
{
	struct world *w = *state;

	start(w, false, w->key);
	assert_true(answer(w, (struct response){ FAILURE, .code = 438 }));
	assert_true(w->answered);
}

static void a_response_that_needs_an_unknown_attribute_is_a_failure(void **state)
{
	struct world *w = *state;

	start(w, false, NULL);
	assert_true(answer(w, (struct response){ SUCCESS, .extra_type = 0x7f00 }));
	assert_false(w->answered);
	assert_int_equal(w->failure, STUN_TX_BAD_RESPONSE);
}

static void an_unknown_optional_attribute_does_no_harm(void **state)
{
	struct world *w = *state;

	start(w, false, NULL);
	assert_true(answer(w, (struct response){ SUCCESS, .extra_type = 0xff00 }));
	assert_true(w->answered);
}

static void an_error_without_a_code_is_a_failure(void **state)
{
	struct world *w = *state;

	start(w, false, NULL);
	assert_true(answer(w, (struct response){ FAILURE }));
	assert_int_equal(w->failure, STUN_TX_BAD_RESPONSE);
}

static void it_may_be_freed_in_its_done_callback(void **state)
{
	struct world *w = *state;

	w->free_in_done = true;
	start(w, false, NULL);
	assert_true(answer(w, (struct response){ SUCCESS }));
	assert_null(w->tx);
	w->sends = 0;
	w->now = START;
	start(w, false, NULL);
	w->now = START;
	run_until(w, 100000);
	assert_int_equal(w->dones, 2);
	assert_null(w->tx);
}

static void freeing_it_stops_the_repeats(void **state)
{
	struct world *w = *state;

	start(w, false, NULL);
	w->tx = stun_tx_free(w->tx);
	run_until(w, 100000);
	assert_int_equal(w->sends, 1);
	assert_int_equal(w->dones, 0);
	assert_null(stun_tx_free(NULL));
}

static void only_a_well_formed_request_of_bounded_size_starts_one(void **state)
{
	struct world *w = *state;
	struct stun_tx_options o = { .timers = w->timers, .ops = &ops, .arg = w };
	uint8_t big[STUN_REQUEST_MAX + 4] = { 0, 1 };

	assert_int_equal(stun_tx_new(&o, 0, w->request, w->request_n - 1, &w->tx), -EINVAL);
	assert_int_equal(stun_tx_new(&o, 0, big, sizeof big, &w->tx), -EMSGSIZE);
	w->request[0] = 1; /* a success response */
	assert_int_equal(stun_tx_new(&o, 0, w->request, w->request_n, &w->tx), -EINVAL);
	assert_null(w->tx);
	assert_int_equal(w->sends, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(over_udp_the_request_is_sent_seven_times_and_fails_at_39500_ms),
		TEST(every_repeat_is_byte_for_byte_the_request),
		TEST(the_next_deadline_is_told_to_the_caller),
		TEST(over_tcp_the_request_is_sent_once_and_fails_at_39500_ms),
		TEST(a_measured_rto_moves_every_repeat),
		TEST(an_rto_after_the_first_repeat_changes_nothing),
		TEST(a_stalled_loop_makes_no_burst),
		TEST(a_response_ends_it_and_a_second_one_is_not_taken),
		TEST(an_error_response_is_an_answer_too),
		TEST(somebody_elses_message_is_not_taken),
		TEST(over_udp_a_wrong_integrity_is_ignored_and_a_right_one_accepted),
		TEST(a_timeout_after_only_wrong_integrity_says_so),
		TEST(over_tcp_a_wrong_integrity_ends_it_at_once),
		TEST(a_challenge_needs_no_integrity_but_a_wrong_one_is_ignored),
		TEST(a_stale_nonce_needs_no_integrity),
		TEST(a_response_that_needs_an_unknown_attribute_is_a_failure),
		TEST(an_unknown_optional_attribute_does_no_harm),
		TEST(an_error_without_a_code_is_a_failure),
		TEST(it_may_be_freed_in_its_done_callback),
		TEST(freeing_it_stops_the_repeats),
		TEST(only_a_well_formed_request_of_bounded_size_starts_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
