/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When an agent is at rest: nothing was carried since the last look, and it gives back once.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "tunnel/agent/rest.h"

static uint64_t carried(void *arg)
{
	return *(uint64_t *)arg;
}

static void an_agent_rests_when_nothing_was_carried_between_two_looks(void **state)
{
	uint64_t bytes = 7;
	struct agent_rest r = { .work = carried, .arg = &bytes };

	(void)state;
	agent_rest_look(&r);
	assert_false(r.resting);
	agent_rest_look(&r);
	assert_true(r.resting);
	agent_rest_look(&r);
	assert_true(r.resting);
	bytes = 8;
	agent_rest_look(&r);
	assert_false(r.resting);
	agent_rest_look(&r);
	assert_true(r.resting);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_agent_rests_when_nothing_was_carried_between_two_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
