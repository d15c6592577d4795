/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timers of the transactions (RFC 3261 17, table 4; RFC 6026 for L and M), listed below. T1 is 500 ms, T2 4 s, T4 5 s.
 * On a reliable transport nothing is repeated (A, E, G do not run), and waiting for repetitions (D, I, J, K) takes no
 * time. Timer C, which bounds how long a branch may ring, belongs to the proxy: sip-proxy/branch.c.
 *
 * A transaction has one timer of the wheel with two hands, repeat_at and end_at; the nearer one is set. The functions
 * here are named after what happened; what is then done is the machines' (tx_server.c, tx_client.c).
 */
#include "sip-proxy/tx_priv.h"

/*
 *	client, INVITE
 *	A	T1, doubling	repeats the request until something comes
 *	B	64*T1		nothing has come: timeout
 *	D	64*T1		completed: late repetitions of the final response get the ACK again
 *	M	64*T1		accepted: more 2xx may come
 *	(cancel) 64*T1		a cancelled INVITE that got no final response is over; one that rings for nobody, too
 *	client, other methods
 *	E	T1, doubling up to T2; T2 behind a provisional response: repeats the request
 *	F	64*T1		timeout
 *	K	T4		completed: absorbs late repetitions
 *	server, INVITE
 *	(trying) 200 ms		nobody has said anything: 100 Trying is due
 *	G	T1, doubling up to T2: repeats the final response until the ACK comes
 *	H	64*T1		no ACK has come
 *	I	T4		confirmed: absorbs more ACKs
 *	L	64*T1		accepted: absorbs repetitions of INVITE, passes more 2xx
 *	server, other methods
 *	J	64*T1		completed: repetitions of the request get the response again
 */

void sip_timers_defaults(struct sip_timer_values *v)
{
	v->t1 = v->t1 ? v->t1 : 500;
	v->t2 = v->t2 ? v->t2 : 4000;
	v->t4 = v->t4 ? v->t4 : 5000;
	v->trying = v->trying ? v->trying : 200;
}

static void arm(struct sip_txs *t, struct sip_clock *k)
{
	uint64_t next = MIN(k->repeat_at, k->end_at);
	if (next == TIMERS_NEVER)
		timer_stop(&k->timer);
	else
		timers_set(t->o.timers, &k->timer, next);
}

/* first 0: nothing is repeated; end TIMERS_NEVER: it does not end by itself. */
static void wind(struct sip_txs *t, struct sip_clock *k, uint32_t first, uint32_t cap, uint64_t end)
{
	uint64_t now = sip_txs_now(t);
	k->interval = first;
	k->cap = cap;
	k->repeat_at = first ? now + first : TIMERS_NEVER;
	k->end_at = end == TIMERS_NEVER ? end : now + end;
	arm(t, k);
}

/* True: the repeating hand was due, and stands at its next place. */
static bool turn(struct sip_txs *t, struct sip_clock *k, uint64_t now)
{
	if (now < k->repeat_at) {
		arm(t, k);
		return false;
	}
	k->interval = k->interval > k->cap / 2 ? k->cap : k->interval * 2;
	k->repeat_at = now + k->interval;
	arm(t, k);
	return true;
}

static void server_fire(struct timer *timer, uint64_t now)
{
	struct sip_server_tx *s = container_of(timer, struct sip_server_tx, clock.timer);
	if (now >= s->clock.end_at)
		sip_server_expire(s);
	else if (turn(s->txs, &s->clock, now))
		sip_server_repeat(s);
}

static void client_fire(struct timer *timer, uint64_t now)
{
	struct sip_client_tx *c = container_of(timer, struct sip_client_tx, clock.timer);
	if (now >= c->clock.end_at)
		sip_client_expire(c);
	else if (turn(c->txs, &c->clock, now))
		sip_client_repeat(c);
}

static uint64_t t1_64(const struct sip_txs *t)
{
	return UINT64_C(64) * t->v.t1;
}

void sip_on_invite_received(struct sip_server_tx *s)
{
	s->clock.timer.fire = server_fire;
	wind(s->txs, &s->clock, s->method == SIP_INVITE ? s->txs->v.trying : 0, UINT32_MAX,
	     TIMERS_NEVER);
}

void sip_on_response_sent(struct sip_server_tx *s)
{
	wind(s->txs, &s->clock, 0, 0, TIMERS_NEVER);
}

void sip_on_final_sent(struct sip_server_tx *s) /* G and H, or J */
{
	bool repeats = s->method == SIP_INVITE && !s->reliable;
	bool waits = s->method == SIP_INVITE || !s->reliable;
	wind(s->txs, &s->clock, repeats ? s->txs->v.t1 : 0, s->txs->v.t2, waits ? t1_64(s->txs) : 0);
}

void sip_on_success_sent(struct sip_server_tx *s) /* L */
{
	wind(s->txs, &s->clock, 0, 0, t1_64(s->txs));
}

void sip_on_ack_received(struct sip_server_tx *s) /* I */
{
	wind(s->txs, &s->clock, 0, 0, s->reliable ? 0 : s->txs->v.t4);
}

void sip_on_request_sent(struct sip_client_tx *c) /* A and B, or E and F */
{
	struct sip_txs *t = c->txs;
	c->clock.timer.fire = client_fire;
	wind(t, &c->clock, c->reliable ? 0 : t->v.t1,
	     c->method == SIP_INVITE ? UINT32_MAX : t->v.t2, t1_64(t));
}

void sip_on_provisional_received(struct sip_client_tx *c)
{
	struct sip_txs *t = c->txs;
	if (c->method == SIP_INVITE && !c->owner) {
		c->clock.repeat_at = TIMERS_NEVER; /* B stays: nobody else would end it */
		arm(t, &c->clock);
	} else if (c->method == SIP_INVITE) {
		if (!c->cancelled)
			wind(t, &c->clock, 0, 0, TIMERS_NEVER);
	} else if (!c->reliable) { /* E goes on at T2, F goes on as it was */
		c->clock.interval = c->clock.cap = t->v.t2;
		c->clock.repeat_at = sip_txs_now(t) + t->v.t2;
		arm(t, &c->clock);
	}
}

void sip_on_final_received(struct sip_client_tx *c) /* D or K */
{
	uint64_t wait = c->method == SIP_INVITE ? t1_64(c->txs) : c->txs->v.t4;
	wind(c->txs, &c->clock, 0, 0, c->reliable ? 0 : wait);
}

void sip_on_success_received(struct sip_client_tx *c) /* M */
{
	wind(c->txs, &c->clock, 0, 0, t1_64(c->txs));
}

void sip_on_abandoned(struct sip_client_tx *c)
{
	wind(c->txs, &c->clock, 0, 0, t1_64(c->txs));
}

void sip_on_cancel_sent(struct sip_client_tx *c)
{
	wind(c->txs, &c->clock, 0, 0, t1_64(c->txs));
}
