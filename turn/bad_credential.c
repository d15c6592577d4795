/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows from a credential that was judged: for a bad one the cause, in words an administrator can act
 * on (log, `stile turn why`), and the wait that it leads to (turn/backoff.h); for a good one the end of that
 * wait. Nothing of this goes to the client.
 *
 * Only senders that returned a nonce of ours are counted, a stale one included: it was sent to this address,
 * and to judge passwords behind old nonces for free would be a way around. A wrong realm or algorithm is no guess at a
 * password and is not counted.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "turn/alloc.h"

enum { LEAST_TIME = 1000000000, A_YEAR_S = 366 * 86400, A_WEEK_S = 7 * 86400 };

static void put_time(struct sb *b, uint64_t unix_s, bool date)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (!gmtime_r(&t, &tm))
		return;
	if (date)
		sb_fmt(b, "%04d-%02d-%02d ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
	sb_fmt(b, "%02d:%02d:%02d UTC", tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* ---- causes ---- */

static bool is_expiry(const char *user)
{
	struct text rest = text_of(user);
	uint64_t n;

	return text_u64(text_cut(&rest, ':'), &n) == 0;
}

static void put_expired(const struct turn_request *q, uint64_t ago_s, struct sb *b)
{
	sb_fmt(b, ", %llu s ago (secret %s)", (unsigned long long)ago_s, q->id.secret_id);
	if (q->id.expires_unix < LEAST_TIME) {
		sb_fmt(b, "; %llu is no point in time: the service that makes it should write now + lifetime",
		       (unsigned long long)q->id.expires_unix);
		return;
	}
	sb_str(b, ago_s > A_WEEK_S ? "; the client keeps an old one, or a clock is wrong: here it is " : "; here it is ");
	put_time(b, q->s->o.unix_s(), true);
}

static void put_cause(const struct turn_request *q, enum turn_auth a, uint64_t detail, struct sb *b)
{
	size_t secrets = q->realm->secrets.n;

	sb_str(b, turn_auth_text(a));
	if (a == TURN_AUTH_EXPIRED)
		put_expired(q, detail, b);
	else if (a == TURN_AUTH_WRONG_PASSWORD && secrets && is_expiry(q->id.user))
		sb_fmt(b, ": none of the %zu shared secrets made it, or it was altered", secrets);
	else if (a == TURN_AUTH_UNKNOWN_USER && !secrets && is_expiry(q->id.user))
		sb_str(b, ": it looks time-limited, but there is no shared secret");
}

/* ---- waits ---- */

static bool is_counted(enum turn_auth a)
{
	return a == TURN_AUTH_UNKNOWN_USER || a == TURN_AUTH_WRONG_PASSWORD || a == TURN_AUTH_EXPIRED ||
	       a == TURN_AUTH_BAD_USERNAME || a == TURN_AUTH_UNKNOWN_USERHASH;
}

static struct turn_backoff_limits limits_of(const struct turn_server *s)
{
	return (struct turn_backoff_limits){ s->cfg->limits.bad_credentials, s->cfg->limits.bad_credentials_per_address,
					     s->cfg->limits.backoff_ms };
}

static struct turn_backoff_who who_of(const struct turn_request *q)
{
	const struct stun_value *v = &q->m->attr[stun_has(q->m, STUN_A_USERHASH) ? STUN_A_USERHASH : STUN_A_USERNAME];

	return (struct turn_backoff_who){ &q->from->client, text_of(q->realm->name), { (const char *)v->p, v->n } };
}

static void begin_wait(struct turn_request *q, const struct turn_backoff_wait *w, struct sb *b)
{
	struct turn_server *s = q->s;
	uint64_t suppressed;

	sb_str(b, "; backing off until ");
	put_time(b, s->o.unix_s() + (w->ms + 999) / 1000, false);
	sb_fmt(b, " after %llu bad credentials%s", (unsigned long long)w->failures, w->address ? " of this address" : "");
	if (log_gate_pass(&s->backoff_gate, q->now, &suppressed))
		log_emit(&MSG_TURN_BACKOFF, LF_ADDR("client", &q->from->client), LF_TEXT("user", text_of(q->id.user)),
			 LF_STR("of", w->address ? "address" : "user"), LF_U64("failures", w->failures), LF_U64("wait_ms", w->ms),
			 LF_U64("suppressed", suppressed));
}

bool turn_credential_may_try(const struct turn_request *q)
{
	struct turn_backoff_limits l = limits_of(q->s);
	struct turn_backoff_who who = who_of(q);

	return turn_backoff_may_try(q->s->backoff, &l, &who, q->now);
}

void turn_credential_bad(struct turn_request *q, enum turn_auth a, uint64_t detail)
{
	struct turn_backoff_limits l = limits_of(q->s);
	struct turn_backoff_who who = who_of(q);
	struct turn_backoff_wait w;
	struct sb b = sb_init(q->why, sizeof q->why);

	put_cause(q, a, detail, &b);
	if (is_counted(a) && turn_backoff_failed(q->s->backoff, &l, &who, q->now, &w))
		begin_wait(q, &w, &b);
}

void turn_credential_good(struct turn_request *q)
{
	struct turn_backoff_who who = who_of(q);
	uint64_t suppressed;

	turn_backoff_passed(q->s->backoff, &who, q->now);
	if (q->id.expires_unix > q->s->o.unix_s() + A_YEAR_S && log_gate_pass(&q->s->long_gate, q->now, &suppressed))
		log_emit(&MSG_TURN_CREDENTIAL_LONG, LF_TEXT("user", text_of(q->id.user)), LF_ADDR("client", &q->from->client),
			 LF_STR("secret", q->id.secret_id), LF_U64("suppressed", suppressed));
}
