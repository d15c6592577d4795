/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rounds and the judgment over their answers; see public.h.
 *
 * Timers of a round: those of its transactions, and one that ends it: PUBLIC_ROUND_MS after its start, and no later
 * than PUBLIC_COMPARE_MS after the first answer that was of use, so that a silent second server delays nothing.
 *
 * A server is inside if what it sees is no public address: then it is on our side of the NAT (or of one of two), and
 * what it says is not what the internet sees. One that sees our own, public address shows that there is no NAT.
 */
#include "stun/public.h"
#include <errno.h>
#include "common/bytes.h"
#include "stun/nat.h"
#include "stun/transaction.h"

struct question {
	struct public_round *r;
	struct stun_tx *tx;
	struct addr server, mapped;
	bool ended, answered, refused;
};

struct public_round {
	struct public_round_options o;
	struct timer end;
	uint64_t now;
	size_t n;
	struct question q[PUBLIC_SERVERS_MAX];
};

static const struct {
	const char *key, *text;
} whys[PUBLIC_WHYS] = {
	[PUBLIC_FOUND] = { "found", "found" },
	[PUBLIC_ASKING] = { "asking", "the servers of stun_servers are being asked" },
	[PUBLIC_NO_SERVERS] = { "no-servers", "stun_servers names no server; write one outside of this network: "
					      "stun_servers: [stun.example.net:3478]" },
	[PUBLIC_NO_NAME] = { "no-name", "the servers of stun_servers have no address of this family, or their names cannot "
					"be resolved" },
	[PUBLIC_NO_WAY] = { "no-way", "nothing can be sent from this address; see: ip address, ip route" },
	[PUBLIC_SILENT] = { "silent", "no server of stun_servers answers; is UDP let out?" },
	[PUBLIC_REFUSED] = { "refused", "the servers of stun_servers answer with an error" },
	[PUBLIC_INSIDE] = { "same-nat", "the servers of stun_servers are behind the same NAT and cannot tell; name one "
					"outside of this network" },
	[PUBLIC_DISAGREE] = { "disagree", "the servers of stun_servers see different addresses; the NAT has several, or one "
					  "of the servers is wrong" },
	[PUBLIC_FAILED] = { "failed", "no memory or no random numbers to ask with" },
};

const char *public_why_text(enum public_why w)
{
	return whys[w].text;
}

const char *public_why_key(enum public_why w)
{
	return whys[w].key;
}

/* ---- judgment ---- */

static bool is_outside(const struct question *q)
{
	return q->answered && !nat_is_inside(&q->mapped) && addr_classify(&q->mapped) != ADDR_UNSPECIFIED;
}

static void judge_outside(const struct public_round *r, const struct question *first, struct public_finding *f)
{
	f->why = PUBLIC_FOUND;
	f->server = first->server;
	f->external = first->mapped;
	addr_set_port(&f->external, 0);
	f->port_kept = addr_port(&first->mapped) == addr_port(&r->o.local);
	for (size_t i = 0; i < r->n; i++) {
		if (!is_outside(&r->q[i]) || addr_equal_ip(&r->q[i].mapped, &first->mapped))
			continue;
		f->why = PUBLIC_DISAGREE;
		f->other = r->q[i].mapped;
		addr_set_port(&f->other, 0);
	}
}

static struct public_finding judge(const struct public_round *r)
{
	struct public_finding f = { .why = r->n ? PUBLIC_SILENT : PUBLIC_NO_SERVERS };

	for (size_t i = 0; i < r->n; i++)
		if (is_outside(&r->q[i])) {
			judge_outside(r, &r->q[i], &f);
			return f;
		}
	for (size_t i = 0; i < r->n; i++) {
		const struct question *q = &r->q[i];
		if (q->answered) {
			f = (struct public_finding){ .why = PUBLIC_INSIDE, .server = q->server, .other = q->mapped };
			addr_set_port(&f.other, 0);
			return f;
		}
		if (q->refused)
			f = (struct public_finding){ .why = PUBLIC_REFUSED, .server = q->server };
	}
	return f;
}

/* ---- a round ---- */

/* The last thing done with r: done() may free it. */
static void finish(struct public_round *r)
{
	const struct public_finding f = judge(r);

	timer_stop(&r->end);
	for (size_t i = 0; i < r->n; i++) {
		r->q[i].ended = true;
		r->q[i].tx = stun_tx_free(r->q[i].tx);
	}
	r->o.ops->done(&f, r->o.arg);
}

static void on_end(struct timer *t, uint64_t now)
{
	struct public_round *r = container_of(t, struct public_round, end);

	r->now = now;
	finish(r);
}

static void tx_send(struct stun_tx *t, const void *p, size_t n, void *arg)
{
	const struct question *q = arg;

	(void)t;
	q->r->o.ops->send(&q->server, p, n, q->r->o.arg);
}

static bool all_ended(const struct public_round *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (!r->q[i].ended)
			return false;
	return true;
}

/* The round ends by its timer, so that no transaction is freed while it speaks. */
static void look(struct public_round *r, const struct question *q)
{
	uint64_t end = r->end.deadline;

	if (is_outside(q))
		end = MIN(end, r->now + PUBLIC_COMPARE_MS);
	if (all_ended(r))
		end = r->now;
	if (end != r->end.deadline)
		timers_set(r->o.timers, &r->end, end);
}

static void tx_done(struct stun_tx *t, const struct stun_msg *m, void *arg)
{
	struct question *q = arg;

	(void)t;
	q->ended = true;
	if (m) {
		q->refused = m->class == STUN_ERROR;
		q->answered = !q->refused && (stun_get_addr(m, STUN_A_XOR_MAPPED_ADDRESS, &q->mapped) == 0 ||
					      stun_get_addr(m, STUN_A_MAPPED_ADDRESS, &q->mapped) == 0) &&
			      addr_family(&q->mapped) == addr_family(&q->server);
	}
	look(q->r, q);
}

static const struct stun_tx_ops tx_ops = { .send = tx_send, .done = tx_done };

static int ask(struct public_round *r, struct question *q, uint64_t now)
{
	const struct stun_tx_options o = { .timers = r->o.timers, .ops = &tx_ops, .arg = q };
	uint8_t out[64], tid[STUN_TID_LEN];
	struct stun_writer sw;
	ssize_t n;
	int e = bytes_random(tid, sizeof tid);

	if (e < 0)
		return -EIO;
	stun_begin(&sw, out, sizeof out, STUN_BINDING, STUN_REQUEST, tid);
	n = stun_end(&sw);
	if (n < 0)
		return (int)n;
	e = stun_tx_new(&o, now, out, (size_t)n, &q->tx);
	if (e == 0)
		stun_tx_rto(q->tx, PUBLIC_RTO_MS);
	return e;
}

int public_round_new(const struct public_round_options *o, uint64_t now, struct public_round **ret_r)
{
	_cleanup_(public_round_freep) struct public_round *r = calloc(1, sizeof *r);
	int e;

	if (!r)
		return -ENOMEM;
	r->o = *o;
	r->now = now;
	r->n = MIN(o->n_servers, (size_t)PUBLIC_SERVERS_MAX);
	r->end.fire = on_end;
	timers_set(o->timers, &r->end, r->n ? now + PUBLIC_ROUND_MS : now);
	for (size_t i = 0; i < r->n; i++) {
		r->q[i] = (struct question){ .r = r, .server = o->servers[i] };
		if ((e = ask(r, &r->q[i], now)) < 0)
			return e;
	}
	*ret_r = steal_ptr(&r);
	return 0;
}

struct public_round *public_round_free(struct public_round *r)
{
	if (!r)
		return NULL;
	timer_stop(&r->end);
	for (size_t i = 0; i < r->n; i++)
		stun_tx_free(r->q[i].tx);
	free(r);
	return NULL;
}

void public_round_input(struct public_round *r, const struct addr *from, const void *p, size_t n, uint64_t now)
{
	struct stun_msg m;

	if (stun_parse(p, n, &m) != STUN_OK)
		return;
	r->now = now;
	for (size_t i = 0; i < r->n; i++) {
		struct question *q = &r->q[i];
		if (!q->ended && addr_equal(&q->server, from) && stun_tx_input(q->tx, &m))
			return;
	}
}

/* ---- over the rounds ---- */

bool public_state_take(struct public_state *st, const struct public_finding *f, int64_t unix_s)
{
	bool changed;

	st->why = f->why;
	st->last = *f;
	if (f->why != PUBLIC_FOUND) {
		st->failures++;
		return false;
	}
	changed = !st->known || !addr_equal_ip(&st->external, &f->external);
	st->known = true;
	st->remembered = false;
	st->external = f->external;
	st->server = f->server;
	st->port_kept = f->port_kept;
	st->found_at = unix_s;
	st->failures = 0;
	return changed;
}

uint64_t public_state_wait(const struct public_state *st, uint64_t interval_ms)
{
	if (!st->failures)
		return interval_ms;
	return MIN(interval_ms, (uint64_t)PUBLIC_RETRY_MS << MIN(st->failures - 1, 10u));
}
