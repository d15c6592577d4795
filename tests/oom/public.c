/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watcher of one's public address with every allocation failed once: it is made or not, a round that cannot be
 * asked is told as failed, and the next one begins in its turn.
 */
#include "tests/unit/support.h"
#include <errno.h>
#include "stun/public_watch.h"
#include "tests/oom/failing.h"

struct hearing {
	bool heard;
	unsigned told;
};

static void on_told(const struct public_watched *w, bool changed, void *arg)
{
	struct hearing *h = arg;

	assert_false(changed || w->state.known); /* nobody answers there */
	h->heard = ++h->told == 2;
}

static void a_watch_goes_on_or_is_not_made(void **state)
{
	const struct public_watched watched = { addr_v4(0x7f000001, 0), PUBLIC_STATE_NEW };
	const struct cfg_hostport server = { .host = (char *)"::1", .port = 9 }; /* of the other family: no round waits */
	struct loop *l;

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	for (unsigned n = 1; oom_next(&n);) {
		struct hearing h = { 0 };
		struct dns *dns = NULL;
		struct public_watch *w = NULL;
		int r = dns_new(l, NULL, &dns);

		if (r == 0) {
			const struct public_watch_options o = { .loop = l, .dns = dns, .servers = &server, .n_servers = 1, .watched = &watched,
								.n_watched = 1, .interval_ms = 10, .told = on_told, .arg = &h };
			r = public_watch_new(&o, &w);
		}
		if (r == 0)
			support_run_until(l, &h.heard, 3000);
		else
			assert_int_equal(r, -ENOMEM);
		public_watch_free(w);
		dns_free(dns);
	}
	oom_arm(0);
	loop_free(l);
}

static void nothing_to_send(const struct addr *to, const void *p, size_t n, void *arg)
{
	(void)to;
	(void)p;
	(void)n;
	(void)arg;
}

static void nothing_to_say(const struct public_finding *f, void *arg)
{
	(void)f;
	(void)arg;
}

static void a_round_is_made_or_not(void **state)
{
	static const struct public_round_ops ops = { nothing_to_send, nothing_to_say };
	const struct addr servers[] = { addr_v4(0xcb00710a, 3478), addr_v4(0xcb00710b, 3478) };
	struct timers *timers = timers_new(0);

	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		const struct public_round_options o = { .timers = timers, .ops = &ops, .local = addr_v4(0x0a000005, 4000),
							.servers = servers, .n_servers = 2 };
		struct public_round *r = NULL;
		int e = public_round_new(&o, 0, &r);

		assert_true(e == 0 ? r != NULL : e == -ENOMEM);
		public_round_free(r);
	}
	timers_free(timers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_watch_goes_on_or_is_not_made),
		cmocka_unit_test(a_round_is_made_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
