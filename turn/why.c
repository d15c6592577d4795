/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs turn.why and turn.peer. turn.why: what was refused lately, to whom and for what reason, newest first; the answer to
 * `stile turn why USER|ADDRESS`. Each worker keeps a bounded ring; here they are merged. User names are
 * a stranger's bytes: what is not printable becomes a question mark. turn.peer answers the question before it is one: which
 * rule decides about an address.
 */
#include <stdio.h>
#include <string.h>
#include "common/clock.h"
#include "turn/edge.h"
#include "turn/refusals.h"

enum { WHY_DEFAULT = 20, WHY_MAX = 1000, WHY_RING = TURN_REFUSALS_KEPT + TURN_REFUSALS_UNPROVEN };

struct found {
	const char *match; /* NULL: all */
	const char *realm; /* NULL: all */
	struct addr ip;	   /* match as an address; AF_UNSPEC if it is none */
	struct turn_refused *list;
	size_t n, cap;
	uint64_t now;
};

/* name: the user's, or what of it begins there; the ring has it cut. */
static bool is_user(const struct turn_refused *r, const char *name, const char *wanted)
{
	return strncmp(name, wanted, sizeof r->user - 1 - (size_t)(name - r->user)) == 0;
}

static bool wanted(const struct found *f, const struct turn_refused *r)
{
	const char *colon = strchr(r->user, ':'); /* REST: "expiry:name" */

	if (f->realm && strcmp(f->realm, r->realm) != 0)
		return false;
	if (!f->match)
		return true;
	if (addr_family(&f->ip) != AF_UNSPEC)
		return addr_port(&f->ip) ? addr_equal(&f->ip, &r->client) : addr_equal_ip(&f->ip, &r->client);
	return is_user(r, r->user, f->match) || (colon && colon[1] && is_user(r, colon + 1, f->match));
}

static bool take(const struct turn_refused *r, void *arg)
{
	struct found *f = arg;

	if (wanted(f, r) && f->n < f->cap)
		f->list[f->n++] = *r;
	return true;
}

static void take_from(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;
	struct found *f = arg;

	f->now = MAX(f->now, loop_now(w->loop));
	turn_refusals_each(turn_server_refusals(w->server), take, f);
}

static int newest_first(const void *a, const void *b)
{
	const struct turn_refused *x = a, *y = b;

	return x->at_ms < y->at_ms ? 1 : x->at_ms > y->at_ms ? -1 : 0;
}

static json_t *clean_string(const char *s)
{
	char out[256];
	size_t n = 0;
	bool utf8 = text_is_utf8(text_of(s));

	for (; *s && n < sizeof out - 1; s++) {
		unsigned char c = (unsigned char)*s;
		out[n++] = c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8) ? '?' : (char)c;
	}
	out[n] = 0;
	return json_string_nocheck(out);
}

/* id: like no other row's, and the same in each answer, for who shows them again and again. */
static json_t *row_json(const struct turn_refused *r, uint64_t now, unsigned nth)
{
	const struct turn_refusal_row *row = &turn_refusal_rows[r->what];
	uint64_t ago = now > r->at_ms ? now - r->at_ms : 0;
	char client[ADDR_STRLEN], id[32];

	snprintf(id, sizeof id, "%llu-%u", (unsigned long long)r->at_ms, nth);
	return json_pack("{s:s, s:I, s:I, s:i, s:s, s:s, s:o, s:s, s:s, s:o}", "id", id, "at", (json_int_t)(clock_unix_ms() - (int64_t)ago),
			 "ago_ms", (json_int_t)ago, "code",
			 (int)row->code, "key", row->label, "method", r->method, "user", clean_string(r->user), "realm", r->realm, "client",
			 addr_print(&r->client, client), "reason", clean_string(r->reason));
}

void turn_verb_why(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	json_int_t limit = json_integer_value(json_object_get(args, "limit"));
	struct found f = { .match = json_string_value(json_object_get(args, "match")),
			   .realm = json_string_value(json_object_get(args, "realm")), .cap = (size_t)ts->n_workers * WHY_RING };
	size_t most = limit > 0 ? (size_t)MIN(limit, WHY_MAX) : WHY_DEFAULT;
	json_t *rows = json_array();
	unsigned nth = 0; /* of those of one millisecond */

	if (f.match && addr_parse(text_of(f.match), 0, &f.ip) < 0)
		f.ip = (struct addr){ 0 };
	f.list = malloc(f.cap * sizeof *f.list);
	if (!f.list || !rows) {
		free(f.list);
		json_decref(rows);
		control_fail(rq, "failed", NULL, "out of memory");
		return;
	}
	workers_call(&ts->workers, take_from, &f);
	qsort(f.list, f.n, sizeof *f.list, newest_first);
	for (size_t i = 0; i < f.n && i < most; i++) {
		nth = i && f.list[i].at_ms == f.list[i - 1].at_ms ? nth + 1 : 0;
		json_array_append_new(rows, row_json(&f.list[i], f.now, nth));
	}
	free(f.list);
	control_reply(rq, json_pack("{s:o}", "rows", rows));
}

void turn_verb_peer(struct control_request *rq, const json_t *args, void *arg)
{
	const struct turn_service *ts = arg;
	const struct turn_realm *x = turn_realm_of_args(ts, rq, args);
	const char *text = json_string_value(json_object_get(args, "address"));
	struct turn_verdict v;
	struct addr peer;

	if (!x)
		return;
	if (!text || addr_parse(text_of(text), 0, &peer) < 0) {
		control_fail(rq, "bad-request", "192.0.2.7, or [2001:db8::7]:3478", "address is an IP address, with a port or without one");
		return;
	}
	if (turn_policy_is_own(ts->policy, x, &peer)) {
		control_reply(rq, json_pack("{s:b, s:s}", "allowed", 1, "rule", "a relay address of this server: on the ports of live relay sockets"));
		return;
	}
	v = turn_policy_peer(ts->policy, x, &peer);
	control_reply(rq, json_pack("{s:b, s:s}", "allowed", v.allowed, "rule", v.rule));
}
