/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forward job as it is told, put into an agent's table, and given a port in the server's book, with every allocation of
 * ours failed once: each step is done whole or says so, and nothing leaks.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <string.h>

#include "tests/oom/failing.h"
#include "tunnel/agent/jobs.h"
#include "tunnel/job_wire.h"
#include "tunnel/server/ports.h"

static void nothing(const struct agent_job *j, void *arg)
{
	(void)j;
	(void)arg;
}

static const struct agent_jobs_ops ops = {
	.put = nothing, .gone = nothing, .target = nothing, .expired = nothing
};

static struct wire_job told(void)
{
	struct wire_job w = { .id = 1,
			      .kind = WIRE_JOB_TCP,
			      .port = 20000,
			      .count = 2,
			      .target_port = 80,
			      .flags = WIRE_JOB_ENCRYPT | WIRE_JOB_ENABLED,
			      .name = TEXT("web"),
			      .host = TEXT("10.0.0.1"),
			      .note = TEXT("yard"),
			      .expires = 1796148030,
			      .n_allow = 1 };

	assert_int_equal(prefix_parse(TEXT("10.0.0.0/8"), &w.allow[0]), 0);
	return w;
}

static void a_job_is_read_and_put_or_not(void **state)
{
	const struct wire_job w = told();

	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		_cleanup_(loop_freep) struct loop *l = NULL;
		_cleanup_(cfg_freep) struct cfg *c = NULL;
		struct agent_jobs *js = NULL;
		struct agent_job *j = NULL;
		char err[512] = "";
		int rc = loop_new(&l);

		if (rc == 0)
			rc = agent_jobs_new(l, &ops, NULL, &js);
		if (rc == 0)
			rc = job_from_wire(&w, err, sizeof(err), &c);
		if (rc == 0)
			rc = agent_jobs_put(js, &(struct agent_job_from){ .origin = AGENT_JOB_OF_STORE },
					    cfg_values(c), &j);
		if (rc < 0) {
			assert_true(oom_hit());
			assert_true(!js || list_empty(agent_jobs_all(js)));
		} else {
			assert_string_equal(j->name, "web");
		}
		agent_jobs_free(js);
	}
}

static void a_port_is_claimed_or_not(void **state)
{
	static const struct wire_range ranges[] = { { 20000, 20009 } };
	static struct cfg_list none;
	const struct ports_ask a = {
		.identity = { 1 }, .job = "web", .first = 20000, .count = 2, .ranges = ranges, .n_ranges = 1
	};

	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		struct ports *p = ports_new();
		struct ports_grant g;

		if (!p) {
			assert_true(oom_hit());
			continue;
		}
		ports_set_rules(p, &(struct ports_rules){
					   .binds = &none, .bind = addr_v4(0, 0), .most_ports = 10 });
		ports_claim(p, &a, NULL, NULL, &g);
		assert_true(g.reason == WIRE_R_NONE || (g.reason == WIRE_R_MEMORY && oom_hit()));
		assert_int_equal(ports_of(p, a.identity), g.reason == WIRE_R_NONE ? 2 : 0);
		ports_free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_job_is_read_and_put_or_not),
		cmocka_unit_test(a_port_is_claimed_or_not),
	};

	oom_openssl();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
