/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of refusals holds what it promises (each row complete, one text per code, all labels there),
 * and the ring keeps the newest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "turn/metrics.h"
#include "turn/policy.h"
#include "turn/refusals.h"

static void every_row_is_complete(void **state)
{
	(void)state;
	for (unsigned i = 1; i < TURN_REFUSALS; i++) {
		const struct turn_refusal_row *r = &turn_refusal_rows[i];
		assert_in_range(r->code, 300, 599);
		assert_true(r->text[0] && r->label[0] && r->sentence[0]);
		assert_string_equal(turn_refusal_labels[i], r->label);
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(turn_refusal_labels[k], r->label);
	}
	assert_null(turn_refusal_labels[TURN_REFUSALS]);
}

static void a_code_has_one_text_on_the_wire_whatever_the_cause(void **state)
{
	(void)state;
	for (unsigned i = 1; i < TURN_REFUSALS; i++)
		for (unsigned k = 1; k < i; k++)
			if (turn_refusal_rows[i].code == turn_refusal_rows[k].code)
				assert_string_equal(turn_refusal_rows[i].text,
						    turn_refusal_rows[k].text);
}

static void what_every_handshake_has_is_no_event(void **state)
{
	(void)state;
	for (unsigned i = 1; i < TURN_REFUSALS; i++) {
		bool routine = i == TURN_REFUSE_CHALLENGE || i == TURN_REFUSE_STALE_NONCE || i == TURN_REFUSE_BACKOFF;
		assert_int_equal(turn_refusal_rows[i].msg == NULL, routine);
	}
}

static unsigned labels(enum turn_metric row)
{
	unsigned n = 0;

	assert_non_null(turn_metric_rows[row].label_values);
	while (turn_metric_rows[row].label_values[n])
		n++;
	return n;
}

static void every_counter_has_a_label_for_every_cause(void **state)
{
	(void)state;
	assert_int_equal(labels(TURN_M_REFUSALS), TURN_REFUSALS);
	assert_int_equal(labels(TURN_M_AUTH), TURN_AUTH_CODES);
	assert_int_equal(labels(TURN_M_DROPS), TURN_DROPS);
	for (unsigned i = 0; i < TURN_METRICS; i++) {
		const struct metric_row *r = &turn_metric_rows[i];
		assert_int_equal(strncmp(r->name, "stile_turn_", 11), 0);
		assert_int_equal(r->kind == METRIC_COUNTER,
				 strlen(r->name) > 6 &&
					 !strcmp(r->name + strlen(r->name) - 6, "_total"));
		assert_true(r->help[0] != 0);
	}
}

struct seen {
	unsigned n, stop_after;
	uint64_t at[TURN_REFUSALS_KEPT];
};

static bool look(const struct turn_refused *r, void *arg)
{
	struct seen *s = arg;

	s->at[s->n++] = r->at_ms;
	return s->n < s->stop_after;
}

static void the_ring_keeps_the_newest_and_lists_them_first(void **state)
{
	struct turn_refusals *rs = turn_refusals_new();
	struct seen s = { .stop_after = 1000 };

	(void)state;
	assert_non_null(rs);
	turn_refusals_each(rs, look, &s);
	assert_int_equal(s.n, 0);
	for (uint64_t i = 1; i <= TURN_REFUSALS_KEPT + 10; i++)
		turn_refusals_add(rs, &(struct turn_refused){ .at_ms = i, .what = TURN_REFUSE_PEER });
	turn_refusals_each(rs, look, &s);
	assert_int_equal(s.n, TURN_REFUSALS_KEPT);
	for (unsigned i = 0; i < s.n; i++)
		assert_int_equal(s.at[i], TURN_REFUSALS_KEPT + 10 - i);
	s = (struct seen){ .stop_after = 3 };
	turn_refusals_each(rs, look, &s);
	assert_int_equal(s.n, 3);
	assert_null(turn_refusals_free(rs));
}

static void both_rings_are_listed_in_the_order_of_time(void **state)
{
	struct turn_refusals *rs = turn_refusals_new();
	struct seen s = { .stop_after = 1000 };

	(void)state;
	assert_non_null(rs);
	for (uint64_t i = 1; i <= 9; i++)
		turn_refusals_add(rs, &(struct turn_refused){ .at_ms = i, .unproven = i % 3 != 0 });
	turn_refusals_each(rs, look, &s);
	assert_int_equal(s.n, 9);
	for (unsigned i = 0; i < s.n; i++)
		assert_int_equal(s.at[i], 9 - i);
	assert_null(turn_refusals_free(rs));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_is_complete),
		cmocka_unit_test(a_code_has_one_text_on_the_wire_whatever_the_cause),
		cmocka_unit_test(what_every_handshake_has_is_no_event),
		cmocka_unit_test(every_counter_has_a_label_for_every_cause),
		cmocka_unit_test(the_ring_keeps_the_newest_and_lists_them_first),
		cmocka_unit_test(both_rings_are_listed_in_the_order_of_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
