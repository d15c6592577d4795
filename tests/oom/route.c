/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A route made, put into a relay (without workers yet) and taken out again, with every allocation of ours failed
 * once: each step says -ENOMEM with a sentence or is done whole, and nothing leaks.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <string.h>

#include "tests/oom/failing.h"
#include "tunnel/relay.h"

static void no_event(enum relay_event e, const struct event_about *a, void *arg)
{
	(void)e;
	(void)a;
	(void)arg;
}

/* 0 or -ENOMEM. */
static int put_one(struct relay *r, const json_t *o)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	char err[512] = "";
	int rc = route_parse(o, err, sizeof(err), &c);

	if (rc == 0)
		rc = relay_put(r, cfg_values(c), ROUTE_OF_STORE, err, sizeof(err));
	if (rc < 0)
		assert_true(strlen(err) > 5);
	return rc;
}

static void a_route_is_put_or_not(void **state)
{
	json_t *o = json_pack("{s:s, s:s, s:[s, s]}", "name", "r", "listen", "127.0.0.1:24990", "target", "10.0.0.1:1", "10.0.0.2:2");

	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		_cleanup_(loop_freep) struct loop *l = NULL;
		struct relay *r = NULL;
		int rc = loop_new(&l);

		if (rc == 0)
			rc = relay_new(l, &(struct relay_options){ .workers = 1, .on_event = no_event }, &r);
		if (rc == 0)
			rc = put_one(r, o);
		if (rc < 0)
			assert_true(oom_hit());
		else
			assert_non_null(relay_find(r, "r"));
		relay_free(r);
	}
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_route_is_put_or_not) };

	oom_openssl();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
