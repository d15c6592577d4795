/* SPDX-License-Identifier: Apache-2.0 */
/* The stable words of refusals: made of the sentence's form, with the values that stand in its gaps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "common/reason.h"

static void a_word_is_made_of_the_form(void **state)
{
	static const struct {
		const char *fmt, *word;
	} rows[] = {
		{ "there is no connection %llu", "there-is-no-connection" },
		{ "%s is not in the store", "is-not-in-the-store" },
		{ "change %llu of %s waits for its confirmation", "change-of-waits-for-its-confirmation" },
		{ "\"%s\" is an integer from %d on", "is-an-integer-from-on" },
		{ "the console's own", "the-consoles-own" },
		{ "more than 90 %% full", "more-than-90-full" },
		{ "%s", "" },
		{ "", "" },
		{ "%-5.2lu%", "" },
		{ "a sentence that is a good deal longer than any word of a catalogue should ever be, and goes on",
		  "a-sentence-that-is-a-good-deal-longer-than-any-word-of-a-catalogue-shou" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char word[REASON_WORD];

		reason_word(rows[i].fmt, word);
		assert_string_equal(word, rows[i].word);
	}
}

static void values_are_what_stands_in_the_gaps(void **state)
{
	static const struct {
		const char *fmt, *text, *values; /* NULL: none, or not to be told */
	} rows[] = {
		{ "there is no connection %llu", "there is no connection 17", "[\"17\"]" },
		{ "change %llu of %s waits", "change 4 of console alice waits", "[\"4\",\"console alice\"]" },
		{ "%s is not in the store", "a.b is not in the store", "[\"a.b\"]" },
		{ "%u %% of %s", "90 % of it", "[\"90\",\"it\"]" },
		{ "%s%s", "ab", NULL },
		{ "no gap", "no gap", NULL },
		{ "cut off %s here", "cut off in the mid", NULL },
		{ "%s", "", "[\"\"]" },
		{ "other %s", "text", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *values = reason_values(rows[i].fmt, rows[i].text);
		char *text = values ? json_dumps(values, JSON_COMPACT) : NULL;

		if (rows[i].values)
			assert_string_equal(text, rows[i].values);
		else
			assert_null(text);
		free(text);
		json_decref(values);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_word_is_made_of_the_form),
		cmocka_unit_test(values_are_what_stands_in_the_gaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
