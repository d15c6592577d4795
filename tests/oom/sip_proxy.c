/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy core without memory: in each conversation every allocation fails once. There may be 503, 500 or silence,
 * never a wrong answer; nothing is half there afterwards, everything charged is given back, and the same request,
 * when there is memory again, succeeds.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tests/oom/failing.h"
#include "tests/scenario/sip_world.h"

#define ALICE "udp:192.0.2.1:5060"

static void a_core_is_made_whole_or_not_at_all(void **state)
{
	static struct world w;
	unsigned rounds = 0;
	(void)state;
	for (unsigned n = 1; oom_next(&n); rounds++) {
		oom_pause();
		world_init(&w);
		assert_int_equal(sip_headers_init(), 0);
		w.timers = timers_new(w.now);
		w.o.timers = w.timers;
		oom_resume();
		int r = sip_proxy_new(&w.o, &w.px);
		assert_true(r == 0 || (r == -ENOMEM && oom_hit()));
		world_stop(&w);
	}
	assert_true(rounds >= 2);
}

/* Everybody answers what comes, once each; alice acknowledges. Returns the last final response to her. */
static unsigned converse(struct world *w, const struct sent *hold, bool refuse)
{
	unsigned last = 0;
	struct sent s;
	(void)hold;
	while (take(w, &s)) {
		char to[96], ip[ADDR_STRLEN];
		snprintf(to, sizeof to, "%s:%s", sip_proto_rows[s.to.hop.proto].name,
			 addr_print(&s.to.hop.remote, ip));
		if (strncmp(s.bytes, "SIP/2.0 ", 8) == 0) {
			unsigned code = (unsigned)atoi(s.bytes + 8);
			if (code >= 200 && strstr(sent_value(&s, SIP_H_CSEQ, 0), "CANCEL") == NULL)
				last = code;
		} else if (strncmp(s.bytes, "INVITE ", 7) == 0) {
			reply(w, to, &s, 180, "b", NULL);
			reply(w, to, &s, refuse ? 486 : 200, "b", NULL);
		} else if (strncmp(s.bytes, "ACK ", 4) != 0) {
			reply(w, to, &s, refuse ? 407 : 200, "b",
			      refuse ? "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\n" : NULL);
		}
		sent_free(&s);
	}
	return last;
}

struct talk {
	void (*set_up)(struct world *w);
	unsigned (*say)(struct world *w); /* the final response's code, 0: none */
	unsigned good;
	unsigned at_least;
};

static void lookups(struct world *w)
{
	for (unsigned i = 0; i < w->n_lookups; i++)
		if (w->lookups[i])
			answer_lookup(w, i, true);
}

static void one_place(struct world *w)
{
	world_place(w, "sip:bob@192.0.2.21", NULL, 1000);
}

static void two_places(struct world *w)
{
	one_place(w);
	world_place(w, "sip:bob@192.0.2.22", NULL, 1000);
	w->strip = "X-Strip";
}

static void by_name(struct world *w)
{
	w->names[0].name = "b.test";
	w->names[0].at[0] = "udp:192.0.2.21:5060";
	w->names[0].at[1] = "udp:192.0.2.22:5060";
	world_place(w, "sip:bob@b.test", NULL, 1000);
}

static void waiting(struct world *w)
{
	one_place(w);
	w->wait_in_hook = true;
	w->strip = "X-Strip";
}

static unsigned say_message(struct world *w)
{
	say_req(w, ALICE,
		&(struct req){ .method = "MESSAGE", .body = "hello", .more = "X-Strip: 1\r\n" });
	lookups(w);
	return converse(w, NULL, false);
}

static unsigned say_invite(struct world *w)
{
	say_req(w, ALICE, &(struct req){ .more = "X-Strip: 1\r\n" });
	lookups(w);
	return converse(w, NULL, false);
}

static unsigned say_refused_fork(struct world *w)
{
	say_req(w, ALICE, &(struct req){ .more = "X-Strip: 1\r\n" });
	return converse(w, NULL, true);
}

static unsigned say_challenged_fork(struct world *w)
{
	say_req(w, ALICE, &(struct req){ .method = "MESSAGE" });
	return converse(w, NULL, true);
}

static unsigned say_kept(struct world *w)
{
	w->kept = NULL;
	w->wait_in_hook = true;
	say_req(w, ALICE, &(struct req){ .more = "X-Strip: 1\r\n" });
	w->wait_in_hook = false;
	if (w->kept) {
		if (sip_forward(w->kept, &w->places[0]) < 0)
			sip_refuse(w->kept, SIP_REFUSE_RESOURCES, NULL);
		sip_passage_resume(w->kept, w->now);
	}
	return converse(w, NULL, false);
}

static unsigned say_queued(struct world *w)
{
	say_req(w, ALICE, &(struct req){ .method = "MESSAGE", .branch = "z9hG4bK-q1" });
	say_req(w, ALICE, &(struct req){ .method = "MESSAGE", .cseq = 2, .branch = "z9hG4bK-q2" });
	lookups(w);
	lookups(w);
	return converse(w, NULL, false);
}

static unsigned say_cancelled(struct world *w)
{
	say_req(w, ALICE, &(struct req){ 0 });
	struct sent s = { 0 };
	while (take(w, &s) && strncmp(s.bytes, "INVITE", 6) != 0)
		sent_free(&s);
	if (!s.bytes)
		return 0;
	reply(w, "udp:192.0.2.21:5060", &s, 180, "b", NULL);
	say_req(w, ALICE, &(struct req){ .method = "CANCEL", .more = "Reason: SIP;cause=487\r\n" });
	reply(w, "udp:192.0.2.21:5060", &s, 487, "b", NULL);
	sent_free(&s);
	return converse(w, NULL, false);
}

static bool say_with_failure(const struct talk *t, unsigned nth)
{
	static struct world w;
	oom_pause();
	world_init(&w);
	world_start(&w);
	t->set_up(&w);
	oom_resume();
	oom_arm(nth);
	unsigned code = t->say(&w);
	bool failed = oom_hit();
	oom_arm(0);
	if (!failed)
		assert_int_equal(code, t->good);
	assert_true(code == t->good || code == 0 || code >= 480);
	world_wait(&w, 70000); /* all that went wrong times out */
	lookups(&w);
	world_wait(&w, 140000);
	world_forget(&w);
	const struct sip_charges *cs = sip_txs_charges(sip_proxy_txs(w.px));
	assert_int_equal(cs->open, 0);
	assert_int_equal(cs->kept, 0);
	assert_int_equal(cs->waiting, 0);
	assert_int_equal(cs->bytes, 0);
	code = t->say(&w);
	assert_int_equal(code, t->good);
	world_stop(&w);
	return failed;
}

static void check(const struct talk *t)
{
	unsigned nth = 1;
	while (say_with_failure(t, nth))
		nth++;
	assert_true(nth > t->at_least);
}

static void messages_and_calls(void **state)
{
	static const struct talk talks[] = {
		{ one_place, say_message, 200, 8 },
		{ one_place, say_invite, 200, 8 },
		{ two_places, say_invite, 200, 12 },
		{ two_places, say_refused_fork, 486, 12 },
		{ two_places, say_challenged_fork, 407, 10 },
	};
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(talks); i++)
		check(&talks[i]);
}

static void lookups_and_decisions_that_wait(void **state)
{
	static const struct talk talks[] = {
		{ by_name, say_message, 200, 9 },
		{ by_name, say_invite, 200, 9 },
		{ by_name, say_queued, 200, 14 },
		{ waiting, say_kept, 200, 9 },
	};
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(talks); i++)
		check(&talks[i]);
}

static void a_call_that_is_cancelled(void **state)
{
	static const struct talk t = { one_place, say_cancelled, 487, 10 };
	(void)state;
	check(&t);
}

int main(void)
{
	oom_openssl();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_core_is_made_whole_or_not_at_all),
		cmocka_unit_test(messages_and_calls),
		cmocka_unit_test(lookups_and_decisions_that_wait),
		cmocka_unit_test(a_call_that_is_cancelled),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
