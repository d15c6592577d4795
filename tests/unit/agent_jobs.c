/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of an agent's jobs, held against a server that offers without end.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "tunnel/agent/jobs.h"

static void count_put(const struct agent_job *j, void *arg)
{
	(void)j;
	++*(unsigned *)arg;
}

static void count_gone(const struct agent_job *j, void *arg)
{
	(void)j;
	--*(unsigned *)arg;
}

static const struct agent_jobs_ops ops = { .put = count_put, .gone = count_gone };

static void servers_make_a_thousand_jobs_and_no_more(void **state)
{
	struct agent_job_from from = { .origin = AGENT_JOB_OF_SERVER };
	const struct agent_job_from own = { .origin = AGENT_JOB_OF_STORE };
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	json_t *o = json_pack("{s:s, s:s}", "port", "*", "target", "127.0.0.1:1");
	struct agent_jobs *js;
	struct loop *l;
	char err[300] = "";
	unsigned n = 0;

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(agent_jobs_new(l, &ops, &n, &js), 0);
	assert_int_equal(job_parse(o, err, sizeof(err), &c), 0);
	for (from.id = AGENT_OFFERED; from.id < AGENT_OFFERED + AGENT_OFFERED_MAX; from.id++) {
		from.server = from.id % 2; /* the number is of all servers */
		assert_int_equal(agent_jobs_put(js, &from, cfg_values(c), NULL), 0);
	}
	from.server = 0;
	assert_int_equal(agent_jobs_put(js, &from, cfg_values(c), NULL), -EUSERS);
	assert_null(agent_jobs_numbered(js, 0, from.id));
	assert_int_equal(agent_jobs_put(js, &own, cfg_values(c), NULL), 0); /* the agent's own */
	from.id = AGENT_OFFERED;
	assert_int_equal(agent_jobs_put(js, &from, cfg_values(c), NULL), 0); /* it is there */
	agent_jobs_remove(agent_jobs_numbered(js, 0, from.id));
	from.id = AGENT_OFFERED + AGENT_OFFERED_MAX;
	assert_int_equal(agent_jobs_put(js, &from, cfg_values(c), NULL), 0);
	agent_jobs_free(js);
	loop_free(l);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers_make_a_thousand_jobs_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
