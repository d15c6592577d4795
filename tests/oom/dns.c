/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resolver with every allocation of ours failed once: it is made or not, a query is made or not, and one that
 * was made ends with an answer or with a reason.
 */
#include "tests/unit/support.h"
#include <errno.h>
#include "common/dns.h"
#include "tests/oom/failing.h"
#include "tests/unit/dns_server.h"

static const struct dns_row names[] = {
	{ "a.test", "192.0.2.1", "2001:db8::1", 60, RCODE_OK },
	{ "1.2.0.192.in-addr.arpa", "a.test", NULL, 60, RCODE_OK },
};

struct hearing {
	bool over;
	enum dns_status status;
};

static void on_done(const struct dns_answer *a, void *arg)
{
	struct hearing *h = arg;

	h->over = true;
	h->status = a->status;
}

static void look_up(struct loop *l, struct dns *d, const char *host)
{
	struct hearing h = { 0 };
	const struct dns_request rq = { .host = host, .deadline_ms = 300, .done = on_done, .arg = &h };
	struct dns_query *q;
	int r = dns_addresses(d, &rq, &q);

	if (r < 0) {
		assert_int_equal(r, -ENOMEM);
		return;
	}
	support_run_until(l, &h.over, 2000);
	assert_true(h.status == DNS_OK || oom_hit());
}

static void ask_name(struct loop *l, struct dns *d)
{
	struct hearing h = { 0 };
	const struct dns_request rq = { .deadline_ms = 300, .done = on_done, .arg = &h };
	struct dns_query *q;
	struct addr a;
	int r;

	assert_int_equal(addr_parse(TEXT("192.0.2.1"), 0, &a), 0);
	r = dns_name(d, &a, &rq, &q);
	if (r < 0) {
		assert_int_equal(r, -ENOMEM);
		return;
	}
	support_run_until(l, &h.over, 2000);
	assert_true(h.status == DNS_OK || oom_hit());
}

static void names_are_looked_up_or_it_is_said_why_not(void **state)
{
	struct loop *l;
	struct dns_server server;

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	dns_server_start(&server, l, names, ARRAY_LEN(names));
	for (unsigned n = 1; oom_next(&n);) {
		const struct dns_options o = { .servers = server.servers, .timeout_ms = 100, .tries = 2 };
		struct dns *d;
		int r = dns_new(l, &o, &d);

		if (r < 0) {
			assert_int_equal(r, -ENOMEM);
			continue;
		}
		look_up(l, d, "a.test");
		look_up(l, d, "a.test"); /* remembered, unless there was no memory for it */
		dns_forget(d);
		look_up(l, d, "a.test");
		look_up(l, d, "127.0.0.1");
		ask_name(l, d);
		ask_name(l, d);
		dns_free(d);
	}
	oom_arm(0);
	dns_server_stop(&server);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(names_are_looked_up_or_it_is_said_why_not) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
