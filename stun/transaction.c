/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STUN client transactions, RFC 8489 6.2 and 6.3. See transaction.h for the contract.
 *
 * The one timer of a transaction means, in turn:
 *  - unreliable transport: repeat the request after RTO, 2 RTO, 4 RTO … until it was sent Rc times (at 0, 500,
 *    1500, 3500, 7500, 15500, 31500 ms), then give up Rm RTO after the last (at 39500 ms);
 *  - reliable transport: give up after Ti (39500 ms); the request is sent once.
 * An interval counts from when the request really left, so a stalled loop makes no burst of repeats.
 */
#include <errno.h>
#include <string.h>
#include "stun/transaction.h"

struct stun_tx {
	struct timer timer;
	struct stun_tx_options o;
	uint64_t started, rto;
	unsigned sent;
	bool finished;	      /* done() has been called, or is being called */
	bool integrity_wrong; /* some response failed the check */
	enum stun_tx_failure failure;
	uint16_t n;
	uint8_t request[];
};

static void send_request(struct stun_tx *t)
{
	t->sent++;
	t->o.ops->send(t, t->request, t->n, t->o.arg);
}

/* The last thing done with t: done() may free it. */
static void finish(struct stun_tx *t, const struct stun_msg *m, enum stun_tx_failure failure)
{
	timer_stop(&t->timer);
	t->finished = true;
	t->failure = failure;
	t->o.ops->done(t, m, t->o.arg);
}

/* How long to wait after the request went out for the sent-th time. */
static uint64_t interval(const struct stun_tx *t)
{
	if (t->o.reliable)
		return STUN_TI_MS;
	return t->sent < STUN_RC ? t->rto << (t->sent - 1) : t->rto * STUN_RM;
}

static void on_timer(struct timer *timer, uint64_t now)
{
	struct stun_tx *t = container_of(timer, struct stun_tx, timer);

	if (t->o.reliable || t->sent >= STUN_RC) {
		finish(t, NULL, t->integrity_wrong ? STUN_TX_INTEGRITY : STUN_TX_TIMEOUT);
		return;
	}
	send_request(t);
	timers_set(t->o.timers, &t->timer, now + interval(t));
}

int stun_tx_new(const struct stun_tx_options *o, uint64_t now, const void *request, size_t n,
		struct stun_tx **ret_t)
{
	struct stun_msg m;

	if (n > STUN_REQUEST_MAX)
		return -EMSGSIZE;
	if (stun_parse(request, n, &m) != STUN_OK || m.class != STUN_REQUEST)
		return -EINVAL;
	struct stun_tx *t = calloc(1, sizeof *t + n);
	if (!t)
		return -ENOMEM;
	t->timer.fire = on_timer;
	t->o = *o;
	t->started = now;
	t->rto = STUN_RTO_MS;
	t->n = (uint16_t)n;
	memcpy(t->request, request, n);
	*ret_t = t;
	send_request(t);
	timers_set(o->timers, &t->timer, now + interval(t));
	return 0;
}

struct stun_tx *stun_tx_free(struct stun_tx *t)
{
	if (t)
		timer_stop(&t->timer);
	free(t);
	return NULL;
}

static bool is_response(const struct stun_tx *t, const struct stun_msg *m)
{
	return (m->class == STUN_SUCCESS || m->class == STUN_ERROR) &&
	       m->method == stun_type_method(load_be16(t->request)) &&
	       memcmp(m->raw + 4, t->request + 4, 4 + STUN_TID_LEN) == 0; /* the cookie too */
}

static bool authentic(const struct stun_tx *t, const struct stun_msg *m, unsigned code)
{
	if (!t->o.key || stun_check_integrity(m, t->o.key))
		return true;
	return (code == 401 || code == 438) && !stun_has(m, STUN_A_MESSAGE_INTEGRITY) &&
	       !stun_has(m, STUN_A_MESSAGE_INTEGRITY_SHA256);
}

bool stun_tx_input(struct stun_tx *t, const struct stun_msg *m)
{
	struct text reason;
	unsigned code = 0;

	if (t->finished || !is_response(t, m))
		return false;
	bool no_code = m->class == STUN_ERROR && stun_get_error(m, &code, &reason) < 0;
	if (!authentic(t, m, code)) {
		t->integrity_wrong = true;
		if (!t->o.reliable)
			return false;
		finish(t, NULL, STUN_TX_INTEGRITY);
	} else if (no_code || m->n_unknown > 0) {
		finish(t, NULL, STUN_TX_BAD_RESPONSE);
	} else {
		finish(t, m, STUN_TX_OK);
	}
	return true;
}

void stun_tx_rto(struct stun_tx *t, uint64_t rto_ms)
{
	if (t->o.reliable || t->sent != 1 || t->finished || rto_ms == 0)
		return;
	t->rto = rto_ms;
	timers_set(t->o.timers, &t->timer, t->started + interval(t));
}

unsigned stun_tx_sent(const struct stun_tx *t)
{
	return t->sent;
}

enum stun_tx_failure stun_tx_failure(const struct stun_tx *t)
{
	return t->failure;
}
