/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls and messages through the proxy over a network that loses, doubles and delays datagrams, on fake time. The ends
 * are as RFC 3261 has them: they repeat what was not answered. Every call is made, acknowledged and ended, the callee
 * sees each request as one transaction however often it came, and nothing is left in the proxy afterwards.
 */
#include <stdio.h>
#include <string.h>
#include "tests/scenario/sip_world.h"

#define ALICE "udp:192.0.2.1:5060"
#define BOB "udp:192.0.2.20:5060"

enum { CALLS = 150, FLYING = 4096, MAX_DELAY = 60 };

struct flight { /* a datagram under way */
	uint64_t at;
	bool to_bob, to_alice; /* neither: to the proxy, from whom? */
	bool from_bob;
	char *bytes;
};

enum step { INVITING, ACKING, TALKING, LEAVING, OVER };
struct call {
	enum step step;
	unsigned sent;	/* repetitions of what is being asked */
	uint64_t again; /* when it is repeated */
	char routes[512];
	unsigned rang;
	/* bob's side */
	char branch[64], bye_branch[64]; /* of the one INVITE, the one BYE */
	unsigned invites, byes, acks;
	uint64_t repeat_200;
	char *ok; /* his 200 */
};

static struct world w;
static struct flight flying[FLYING];
static unsigned n_flying, n_lost, n_doubled;
static struct call calls[CALLS];
static uint32_t dice;

static uint32_t roll(uint32_t n)
{
	dice = dice * 1664525u + 1013904223u;
	return (dice >> 8) % n;
}

static void fly(const char *bytes, bool to_bob, bool to_alice, bool from_bob)
{
	unsigned copies = roll(100) < 15 ? 0 : roll(100) < 15 ? 2 : 1;
	n_lost += copies == 0;
	n_doubled += copies == 2;
	while (copies-- > 0) {
		assert_true(n_flying < FLYING);
		flying[n_flying++] = (struct flight){ w.now + 1 + roll(MAX_DELAY), to_bob, to_alice,
						      from_bob, strdup(bytes) };
	}
}

/* Header's value in a message that was written by us or the proxy. */
static const char *value(const char *bytes, enum sip_header id, unsigned nth)
{
	const struct sent s = { .bytes = (char *)bytes, .n = strlen(bytes) };
	return sent_value(&s, id, nth);
}

static struct call *call_of(const char *bytes, unsigned *ret_i)
{
	*ret_i = (unsigned)atoi(value(bytes, SIP_H_CALL_ID, 0) + 5); /* "call-17" */
	assert_true(*ret_i < CALLS);
	return &calls[*ret_i];
}

static void alice_sends(unsigned i, const char *method, const char *branch, bool in_dialog)
{
	char call[32], id[64];
	snprintf(call, sizeof call, "call-%u", i);
	snprintf(id, sizeof id, "z9hG4bK-%s-%u", branch, i);
	fly(req_text(&w, &(struct req){ .method = method,
					.call = call,
					.branch = id,
					.to_tag = in_dialog ? "b" : NULL,
					.uri = in_dialog ? "sip:bob@192.0.2.20" : NULL,
					.cseq = strcmp(method, "BYE") == 0 ? 2 : 1,
					.more = in_dialog ? calls[i].routes : "" }),
	    false, false, false);
}

static void alice_step(unsigned i, enum step step, const char *method)
{
	struct call *c = &calls[i];
	c->step = step;
	c->sent = 0;
	c->again = w.now;
	(void)method;
}

static void alice_hears(const char *bytes)
{
	unsigned i, n = 0, code = (unsigned)atoi(bytes + 8);
	struct call *c = call_of(bytes, &i);
	bool invite = strstr(value(bytes, SIP_H_CSEQ, 0), "INVITE") != NULL;
	assert_true(strncmp(bytes, "SIP/2.0 ", 8) == 0);
	if (code == 100)
		c->rang |= 1; /* she need not repeat the INVITE */
	else if (code == 180)
		c->rang |= 3;
	if (code < 200)
		return;
	assert_int_equal(code, 200);
	if (!invite) {
		c->step = OVER;
		return;
	}
	struct sb sb = sb_init(c->routes, sizeof c->routes);
	while (value(bytes, SIP_H_RECORD_ROUTE, n)[0])
		n++;
	assert_int_equal(n, 1);
	sb_fmt(&sb, "Route: %s\r\n", value(bytes, SIP_H_RECORD_ROUTE, 0));
	alice_sends(i, "ACK", "ack", true); /* each 200 gets one */
	if (c->step == INVITING) {
		c->step = TALKING;
		c->again = w.now + 8000; /* long enough for bob to hear the ACK */
	}
}

static void bob_answers(const char *bytes, unsigned code, char **keep)
{
	struct sip_msg m;
	char buf[4096];
	const struct sip_response_parts parts = {
		.code = code, .reason = TEXT("Well"), .to_tag = TEXT("b"), .record_routes = true
	};
	assert_int_equal(sip_msg_parse(&m, text_of(bytes), SIP_DATAGRAM, NULL), SIP_OK);
	ssize_t n = sip_response_write(buf, sizeof buf - 1, &m, &parts);
	assert_true(n > 0);
	buf[n] = 0;
	sip_msg_deinit(&m);
	fly(buf, false, false, true);
	if (keep && !*keep)
		*keep = strdup(buf);
}

static void bob_hears(const char *bytes)
{
	unsigned i;
	struct call *c = call_of(bytes, &i);
	const char *branch = strstr(value(bytes, SIP_H_VIA, 0), "branch=");
	assert_non_null(branch);
	if (strncmp(bytes, "INVITE ", 7) == 0) {
		if (c->invites++ == 0)
			snprintf(c->branch, sizeof c->branch, "%.40s", branch);
		assert_memory_equal(c->branch, branch,
				    strlen(c->branch)); /* one transaction, however often it comes */
		bob_answers(bytes, 180, NULL);
		bob_answers(bytes, 200, &c->ok);
		if (c->invites == 1)
			c->repeat_200 = w.now + 500;
	} else if (strncmp(bytes, "ACK ", 4) == 0) {
		c->acks++;
		c->repeat_200 = 0;
	} else {
		assert_true(strncmp(bytes, "BYE ", 4) == 0);
		assert_true(c->acks > 0); /* nothing overtook by seconds */
		if (c->byes++ == 0)
			snprintf(c->bye_branch, sizeof c->bye_branch, "%.40s", branch);
		assert_memory_equal(c->bye_branch, branch, strlen(c->bye_branch));
		bob_answers(bytes, 200, NULL);
	}
}

static void collect(void)
{
	struct sent s;
	while (take(&w, &s)) {
		struct sip_hop bob = hop_of(BOB);
		bool to_bob = addr_equal(&s.to.hop.remote, &bob.remote);
		fly(s.bytes, to_bob, !to_bob, false);
		sent_free(&s);
	}
}

static void arrive(void)
{
	for (unsigned i = 0; i < n_flying;) {
		struct flight f = flying[i];
		if (f.at > w.now) {
			i++;
			continue;
		}
		flying[i] = flying[--n_flying];
		if (f.to_bob)
			bob_hears(f.bytes);
		else if (f.to_alice)
			alice_hears(f.bytes);
		else
			say(&w, f.from_bob ? BOB : ALICE, f.bytes);
		free(f.bytes);
		collect();
	}
}

static void repeat(void)
{
	for (unsigned i = 0; i < CALLS; i++) {
		struct call *c = &calls[i];
		if (c->repeat_200 && w.now >= c->repeat_200) {
			fly(c->ok, false, false, true);
			c->repeat_200 += 1000;
		}
		if (c->step == OVER || w.now < c->again || (c->step == INVITING && c->rang))
			continue;
		if (c->step == TALKING)
			alice_step(i, LEAVING, "BYE");
		alice_sends(i, c->step == INVITING ? "INVITE" : "BYE",
			    c->step == INVITING ? "inv" : "bye", c->step == LEAVING);
		c->again = w.now + (UINT64_C(500) << MIN(c->sent++, 3u));
	}
}

static bool all_over(void)
{
	for (unsigned i = 0; i < CALLS; i++)
		if (calls[i].step != OVER)
			return false;
	return true;
}

static void play(uint32_t seed)
{
	dice = seed;
	n_flying = 0;
	memset(calls, 0, sizeof calls);
	world_init(&w);
	world_place(&w, "sip:bob@192.0.2.20", NULL, 1000);
	world_start(&w);
	uint64_t end = w.now + 120000;
	for (unsigned i = 0; i < CALLS; i++)
		calls[i].again = w.now + i * 7;
	while (!all_over() && w.now < end) {
		repeat();
		world_wait(&w, 5);
		collect();
		arrive();
	}
	assert_true(all_over());
	for (unsigned i = 0; i < CALLS; i++) {
		assert_true(calls[i].invites > 0 && calls[i].byes > 0 && calls[i].acks > 0);
		free(calls[i].ok);
		calls[i].ok = NULL;
	}
	while (n_flying > 0)
		free(flying[--n_flying].bytes);
	world_wait(&w, 70000);
	world_forget(&w);
	assert_true(sip_proxy_idle(w.px));
	assert_int_equal(sip_txs_charges(sip_proxy_txs(w.px))->kept, 0);
	assert_int_equal(sip_txs_charges(sip_proxy_txs(w.px))->bytes, 0);
	world_stop(&w);
}

static void all_calls_are_made_and_ended_over_a_network_that_loses_and_doubles_datagrams(void **state)
{
	(void)state;
	n_lost = n_doubled = 0;
	for (uint32_t seed = 1; seed <= 3; seed++)
		play(seed);
	assert_true(n_lost > 500 && n_doubled > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			all_calls_are_made_and_ended_over_a_network_that_loses_and_doubles_datagrams),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
