/* SPDX-License-Identifier: Apache-2.0 */
/* Question and answer of a connection back. */
#include "tests/unit/support.h"

#include <stdlib.h>
#include <string.h>

#include "common/reach.h"

static const uint8_t nonce[REACH_NONCE] = "nnnnnnnnnnnnnnn";

static void the_question_is_known_again_and_the_answer_is_its_proof(void **state)
{
	char q[REACH_QUESTION_MAX], a[REACH_ANSWER_MAX];
	size_t nq = reach_question(nonce, q), na = reach_answer(nonce, a);
	uint8_t got[REACH_NONCE], other[REACH_NONCE] = { 1 };

	(void)state;
	assert_true(reach_asked((struct text){ q, nq }, got));
	assert_memory_equal(got, nonce, REACH_NONCE);
	assert_true(reach_is_answer(nonce, (struct text){ a, na }));
	assert_false(reach_is_answer(other, (struct text){ a, na }));
	assert_false(reach_is_answer(nonce, (struct text){ q, nq })); /* an echo */
}

static void a_beginning_is_neither_question_nor_answer(void **state)
{
	char q[REACH_QUESTION_MAX], a[REACH_ANSWER_MAX];
	size_t nq = reach_question(nonce, q), na = reach_answer(nonce, a), line = (size_t)(strstr(q, " HTTP/") - q) + 1;
	uint8_t got[REACH_NONCE];

	(void)state;
	for (size_t n = 0; n < line; n++) {
		char *block = malloc(n + !n);

		memcpy(block, q, n);
		assert_false(reach_asked((struct text){ block, n }, got));
		free(block);
	}
	assert_true(reach_asked((struct text){ q, line }, got));
	for (size_t n = 0; n < na - 1; n++) {
		char *block = malloc(n + !n);

		memcpy(block, a, n);
		assert_false(reach_is_answer(nonce, (struct text){ block, n }));
		free(block);
	}
	assert_true(nq < REACH_QUESTION_MAX && na < REACH_ANSWER_MAX);
}

static void other_paths_are_no_questions(void **state)
{
	static const char *const bad[] = { "", "/", "/.well-known/stile-reach/", "/.well-known/stile-reach/00", "/.well-known/stile-reach/zz000000000000000000000000000000",
					   "/.well-known/stile-reach/000000000000000000000000000000000", "/well-known/stile-reach/00000000000000000000000000000000" };
	uint8_t got[REACH_NONCE];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(reach_path_nonce(text_of(bad[i]), got));
	assert_true(reach_path_nonce(TEXT("/.well-known/stile-reach/000102030405060708090a0b0c0d0e0f"), got));
	assert_int_equal(got[15], 15);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_question_is_known_again_and_the_answer_is_its_proof),
		cmocka_unit_test(a_beginning_is_neither_question_nor_answer),
		cmocka_unit_test(other_paths_are_no_questions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
