/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's way: method, allocation, authentication (RFC 8489 9.2.4), unknown attributes (420, after the
 * authentication as 6.3 says), handler; then an answer, or a refusal by its row.
 *
 * The checks of 9.2.4 come in its order, so a wrong credential is 401 even when the nonce has expired; but a
 * nonce that is not ours costs no hash and is 438 at once.
 *
 * The long-term credential of a request on an existing allocation is checked with the allocation's
 * own key first, so it goes on when the password has changed or a time-limited credential has run
 * out: nothing that lives is cut off. That holds for what comes from another five-tuple and names the allocation, too: a
 * ConnectionBind, a Refresh with a ticket; one that another worker may have is judged there. Who failed too often is not
 * judged for a while (turn/backoff.h). An answer to a source that has not proved its address is charged to its budget;
 * a good nonce is such a proof, for it was sent there.
 */
#include <stdio.h>
#include <string.h>
#include "turn/alloc.h"

/* ---- answers ---- */

void turn_answer_begin(struct turn_request *q, struct stun_writer *sw)
{
	stun_begin_response(sw, q->s->scratch, TURN_ANSWER_MAX, q->m, STUN_SUCCESS);
}

static bool may_answer(struct turn_request *q, size_t n)
{
	size_t asked = q->m->raw_n;

	if (q->way && addr_port(&q->way->client) != addr_port(&q->from->client))
		asked = 0; /* RESPONSE-PORT: who gets it has sent nothing */
	else if (q->proven || q->from->transport->proto != TURN_UDP)
		return true;
	return turn_budget_charge(q->s->budget, &q->from->client, asked, n,
				  q->s->cfg->limits.unauthenticated_bitrate, q->now);
}

static void send_message(struct turn_request *q, struct stun_writer *sw)
{
	const struct turn_path *way = q->way ? q->way : q->from;
	ssize_t n;

	if (q->key)
		turn_key_sign(q->key, sw, q->m);
	if (q->m->has_fingerprint)
		stun_put_fingerprint(sw);
	n = stun_end(sw);
	if (n < 0)
		return; /* no memory for the signature: the client asks again */
	if (!may_answer(q, (size_t)n)) {
		turn_drop(q->s, TURN_DROP_BUDGET);
		return;
	}
	way->transport->send(way, &(struct turn_out){ .body = q->s->scratch,
						      .body_n = (size_t)n,
						      .mark = DGRAM_MARK_NONE });
}

/* To an authenticated client always; else only while the answer is at most 1.6 times the request. */
static bool has_room_for_software(const struct turn_request *q, const struct stun_writer *sw)
{
	size_t n = strlen(q->s->cfg->software ? q->s->cfg->software : "");
	size_t total = wr_len(&sw->w) + 4 + ((n + 3) & ~(size_t)3) + (q->m->has_fingerprint ? 8 : 0);

	return n > 0 && (q->key || 5 * total <= 8 * q->m->raw_n);
}

void turn_answer_send(struct turn_request *q, struct stun_writer *sw)
{
	if (has_room_for_software(q, sw))
		stun_put_text(sw, STUN_A_SOFTWARE, text_of(q->s->cfg->software));
	send_message(q, sw);
}

/* ---- refusals ---- */

enum turn_refusal turn_because(struct turn_request *q, enum turn_refusal what, const char *why)
{
	snprintf(q->why, sizeof q->why, "%s", why);
	return what;
}

/* What a nonce is bound to: the realm, so that it is worthless in another. The default one may change its name,
 * and its nonces stay good; no realm has the empty name. */
static struct text nonce_realm(const struct turn_realm *x)
{
	return x->slot ? text_of(x->name) : TEXT("");
}

/* A new nonce, and what a client needs to use it. */
static void put_challenge(struct turn_request *q, struct stun_writer *sw)
{
	struct turn_server *s = q->s;
	char nonce[STUN_NONCE_MAX];
	uint32_t features = STUN_FEATURE_PASSWORD_ALGORITHMS |
			    (q->realm->hides_names ? STUN_FEATURE_USERNAME_ANONYMITY : 0);
	size_t n = stun_nonce_make(&s->nonces, &q->from->client, nonce_realm(q->realm), features, q->now, nonce);

	stun_put_text(sw, STUN_A_REALM, text_of(q->realm->name));
	stun_put_text(sw, STUN_A_NONCE, (struct text){ nonce, n });
	stun_put_password_algorithms(sw);
}

static void answer_refusal(struct turn_request *q, enum turn_refusal what)
{
	const struct turn_refusal_row *row = &turn_refusal_rows[what];
	struct stun_writer sw;

	stun_begin_response(&sw, q->s->scratch, TURN_ANSWER_MAX, q->m, STUN_ERROR);
	stun_put_error(&sw, row->code, row->text);
	if (row->code == 401 || row->code == 438)
		put_challenge(q, &sw);
	if (row->code == 300)
		turn_alternate_put(q, &sw);
	if (row->code == 420)
		stun_put_unknown(&sw, q->unknown, q->n_unknown);
	send_message(q, &sw);
}

/* The user as known: of the credential, of the allocation, or as the request claims. */
static struct text user_of(const struct turn_request *q)
{
	struct text t = { 0 };

	if (q->id.user[0])
		return text_of(q->id.user);
	if (q->alloc && q->key)
		return text_of(q->alloc->user);
	if (q->m->tid && stun_get_text(q->m, STUN_A_USERNAME, &t) < 0)
		t = (struct text){ 0 };
	return t;
}

static void keep_refusal(struct turn_request *q, enum turn_refusal what)
{
	const struct turn_refusal_row *row = &turn_refusal_rows[what];
	struct turn_refused r = { .at_ms = q->now, .what = what, .client = q->from->client,
				  .unproven = !q->proven && q->from->transport->proto == TURN_UDP };
	struct text user = user_of(q);
	struct sb reason = sb_init(r.reason, sizeof r.reason);
	struct log_field f[10];
	unsigned n = 0;
	uint64_t suppressed;

	memcpy(r.user, user.p ? user.p : "", MIN(user.n, sizeof r.user - 1));
	snprintf(r.realm, sizeof r.realm, "%s", q->realm ? q->realm->name : "");
	snprintf(r.method, sizeof r.method, "%s", stun_method_name(q->m->method));
	sb_str(&reason, row->sentence);
	if (q->why[0])
		sb_fmt(&reason, ": %s", q->why);
	turn_refusals_add(q->s->refusals, &r);
	if (!log_enabled(row->msg->level) ||
	    !log_gate_pass(&q->s->refusal_gates[what], q->now, &suppressed))
		return;
	f[n++] = LF_U64("code", row->code);
	f[n++] = LF_STR("reason", r.reason);
	f[n++] = LF_STR("method", r.method);
	f[n++] = LF_TEXT("user", user);
	if (q->realm)
		f[n++] = LF_STR("realm", r.realm);
	f[n++] = LF_ADDR("client", &q->from->client);
	f[n++] = LF_STR("transport", q->from->transport->name);
	if (q->id.secret_id[0])
		f[n++] = LF_STR("secret", q->id.secret_id);
	if (suppressed)
		f[n++] = LF_U64("suppressed", suppressed);
	f[n] = (struct log_field){ .type = LF_END };
	log_emit_fields(row->msg, f);
}

void turn_refuse(struct turn_request *q, enum turn_refusal what)
{
	turn_count(q->s, TURN_M_REFUSALS, what, 1);
	if (what == TURN_REFUSE_BACKOFF)
		return; /* in silence: the failure that began the wait was answered, and is in ring and log */
	answer_refusal(q, what);
	if (!turn_refusal_rows[what].msg)
		return;
	if (q->realm)
		turn_count(q->s, TURN_M_REALM_REFUSALS, q->realm->slot, 1);
	keep_refusal(q, what);
}

/* ---- authentication ---- */

bool turn_alloc_signed(const struct turn_alloc *a, const struct stun_msg *m)
{
	struct text name;

	if (!a->key || !turn_key_check(a->key, m))
		return false;
	if (stun_has(m, STUN_A_USERHASH))
		return true; /* the key is made of the name */
	return stun_get_text(m, STUN_A_USERNAME, &name) == 0 && text_eq(name, text_of(a->user));
}

bool turn_request_owns(const struct turn_request *q, const struct turn_alloc *a)
{
	return q->key == a->key || turn_alloc_is_of(a, q->realm->slot, q->id.user);
}

/* The allocation that the request is about, as far as it is this worker's: of its five-tuple, or named in it. */
static struct turn_alloc *alloc_of(const struct turn_request *q)
{
	if (q->alloc)
		return q->alloc;
	return q->m->method == STUN_CONNECTION_BIND ? turn_tcp_named(q)
	       : q->m->method == STUN_REFRESH	    ? turn_mobility_named(q)
						    : NULL;
}

/* An allocation keeps the key that was good when it was made. Each of these counts as a guess at a password (turn/backoff.h). */
static bool may_be_outlived(enum turn_auth a)
{
	return a == TURN_AUTH_EXPIRED || a == TURN_AUTH_WRONG_PASSWORD ||
	       a == TURN_AUTH_UNKNOWN_USER || a == TURN_AUTH_UNKNOWN_USERHASH;
}

static bool names_another(const struct turn_request *q)
{
	return !q->alloc && (q->m->method == STUN_CONNECTION_BIND ||
			     (q->m->method == STUN_REFRESH && stun_has(q->m, STUN_A_MOBILITY_TICKET)));
}

/* To the worker that may have what it names; false: it goes nowhere. */
static bool is_judged_elsewhere(struct turn_request *q, enum turn_refusal *ret_r)
{
	*ret_r = TURN_ACCEPTED;
	return q->m->method == STUN_CONNECTION_BIND ? turn_tcp_send_home(q)
						    : turn_mobility_ask(q, ret_r);
}

/* A stranger's bytes, shown as they are escaped wherever they are shown; a long one is cut. */
static void say_wrong_realm(struct turn_request *q)
{
	struct text named = { 0 };
	char at[ADDR_STRLEN];

	if (stun_get_text(q->m, STUN_A_REALM, &named) < 0)
		named = TEXT("");
	named.n = MIN(named.n, (size_t)48);
	snprintf(q->why, sizeof q->why, "realm \"%.*s\" is not served on %s %s%s, which is realm \"%.48s\"", TEXT_FMT(named),
		 q->from->transport->name, addr_print(&q->from->local, at),
		 q->from->realm ? " for this client's server name" : "", q->realm->name);
}

static enum turn_refusal refusal_of_auth(struct turn_request *q, enum turn_auth a, uint64_t detail)
{
	turn_count(q->s, TURN_M_AUTH, a, 1);
	switch (a) {
	case TURN_AUTH_OK: return TURN_ACCEPTED;
	case TURN_AUTH_NO_MEMORY: return TURN_REFUSE_RESOURCES;
	case TURN_AUTH_BAD_ALGORITHM:
		return turn_because(q, TURN_REFUSE_ALGORITHM, turn_auth_text(a));
	case TURN_AUTH_WRONG_REALM:
		say_wrong_realm(q);
		return TURN_REFUSE_CREDENTIAL;
	default:
		turn_credential_bad(q, a, detail);
		return TURN_REFUSE_CREDENTIAL;
	}
}

static enum stun_nonce_state check_nonce(struct turn_request *q)
{
	struct turn_server *s = q->s;
	struct text nonce;
	uint64_t age;

	if (stun_get_text(q->m, STUN_A_NONCE, &nonce) < 0)
		return STUN_NONCE_FOREIGN;
	return stun_nonce_check(&s->nonces, nonce, &q->from->client, nonce_realm(q->realm), q->now, &age);
}

static enum turn_refusal check_credential(struct turn_request *q)
{
	const struct turn_alloc *about = alloc_of(q);
	uint64_t detail = 0;
	enum turn_refusal r;
	enum turn_auth a;

	if (about && about->realm == q->realm->slot && turn_alloc_signed(about, q->m)) {
		q->key = turn_key_ref(about->key);
		turn_count(q->s, TURN_M_AUTH, TURN_AUTH_OK, 1);
		return TURN_ACCEPTED;
	}
	if (!turn_credential_may_try(q))
		return TURN_REFUSE_BACKOFF;
	a = turn_realm_authenticate(q->realm, q->m, &(struct turn_auth_options){ q->s->o.unix_s(), q->s->keys }, &q->id, &q->key, &detail);
	if (may_be_outlived(a) && !about && names_another(q)) {
		if (!q->proven)
			return TURN_REFUSE_STALE_NONCE; /* behind a good one another worker is asked */
		if (is_judged_elsewhere(q, &r))
			return r;
	}
	return refusal_of_auth(q, a, detail);
}

/* 441 is the answer to requests on an allocation; an Allocate only learns that the five-tuple is in use
 * (RFC 8656 19: "non-Allocate"), and then tries from another port. */
static enum turn_refusal check_owner(struct turn_request *q)
{
	if (!q->alloc || q->key == q->alloc->key)
		return TURN_ACCEPTED;
	if (strcmp(q->alloc->user, q->id.user) != 0)
		return q->m->method == STUN_ALLOCATE ? TURN_REFUSE_EXISTS : TURN_REFUSE_OWNER;
	turn_key_unref(q->alloc->key); /* the same user with a new password */
	q->alloc->key = turn_key_ref(q->key);
	return TURN_ACCEPTED;
}

static enum turn_refusal authenticate(struct turn_request *q)
{
	const struct stun_msg *m = q->m;
	enum stun_nonce_state nonce;
	enum turn_refusal r;

	if (!stun_has(m, STUN_A_MESSAGE_INTEGRITY) && !stun_has(m, STUN_A_MESSAGE_INTEGRITY_SHA256))
		return TURN_REFUSE_CHALLENGE;
	if ((!stun_has(m, STUN_A_USERNAME) && !stun_has(m, STUN_A_USERHASH)) ||
	    !stun_has(m, STUN_A_REALM) || !stun_has(m, STUN_A_NONCE))
		return turn_because(q, TURN_REFUSE_MISSING, "USERNAME, REALM or NONCE");
	nonce = check_nonce(q);
	if (nonce == STUN_NONCE_FOREIGN) /* no work for who never heard from us */
		return TURN_REFUSE_STALE_NONCE;
	q->proven = nonce == STUN_NONCE_GOOD;
	r = check_credential(q);
	if (q->deferred)
		return r;
	if (r == TURN_ACCEPTED && nonce == STUN_NONCE_STALE) {
		q->key = turn_key_unref(q->key);
		return TURN_REFUSE_STALE_NONCE;
	}
	if (r == TURN_ACCEPTED && q->id.user[0])
		turn_credential_good(q);
	return r == TURN_ACCEPTED ? check_owner(q) : r;
}

/* ---- the way ---- */

/* What this server does with comprehension-required attributes; the others that ask for something
 * (RFC 5780's without two addresses, ICE's, RFC 7635's) get 420. CHANGE-REQUEST asks only if a flag is set. */
static void find_unknown(struct turn_request *q)
{
	uint64_t understood =
		STUN_BIT(STUN_A_MAPPED_ADDRESS) | STUN_BIT(STUN_A_USERNAME) |
		STUN_BIT(STUN_A_MESSAGE_INTEGRITY) | STUN_BIT(STUN_A_MESSAGE_INTEGRITY_SHA256) |
		STUN_BIT(STUN_A_ERROR_CODE) | STUN_BIT(STUN_A_UNKNOWN_ATTRIBUTES) |
		STUN_BIT(STUN_A_CHANNEL_NUMBER) | STUN_BIT(STUN_A_LIFETIME) |
		STUN_BIT(STUN_A_XOR_PEER_ADDRESS) | STUN_BIT(STUN_A_DATA) | STUN_BIT(STUN_A_REALM) |
		STUN_BIT(STUN_A_NONCE) | STUN_BIT(STUN_A_XOR_RELAYED_ADDRESS) |
		STUN_BIT(STUN_A_REQUESTED_ADDRESS_FAMILY) | STUN_BIT(STUN_A_EVEN_PORT) |
		STUN_BIT(STUN_A_REQUESTED_TRANSPORT) | STUN_BIT(STUN_A_DONT_FRAGMENT) |
		STUN_BIT(STUN_A_PASSWORD_ALGORITHM) | STUN_BIT(STUN_A_USERHASH) |
		STUN_BIT(STUN_A_XOR_MAPPED_ADDRESS) | STUN_BIT(STUN_A_RESERVATION_TOKEN) | STUN_BIT(STUN_A_CONNECTION_ID);
	uint32_t change;

	if (stun_get_u32(q->m, STUN_A_CHANGE_REQUEST, &change) == 0 && change == 0)
		understood |= STUN_BIT(STUN_A_CHANGE_REQUEST);
	understood |= turn_binding_understood(q);
	q->n_unknown = stun_not_understood(q->m, understood, q->unknown);
}

/* What lives keeps its realm, wherever a reload sends new clients of its path. */
static const struct turn_realm *realm_of(const struct turn_request *q)
{
	static const enum turn_listen_proto protos[] = {
		[TURN_UDP] = TURN_LISTEN_UDP, [TURN_TCP] = TURN_LISTEN_TCP, [TURN_TLS] = TURN_LISTEN_TLS, [TURN_DTLS] = TURN_LISTEN_DTLS,
	};

	if (q->alloc)
		return turn_alloc_realm(q->alloc);
	return turn_policy_realm_at(q->s->policy, q->from->realm, protos[q->from->transport->proto], &q->from->local);
}

void turn_request_run(struct turn_request *q)
{
	enum turn_refusal r = TURN_ACCEPTED;
	unsigned i = 0;

	while (i < TURN_METHODS && turn_methods[i].method != q->m->method)
		i++;
	if (i == TURN_METHODS) { /* RFC 8489 6.3: silently discarded */
		turn_drop(q->s, TURN_DROP_UNEXPECTED);
		return;
	}
	uint64_t began = q->s->o.clock_ns ? q->s->o.clock_ns() : 0;
	if (!q->s->asked_already) /* else it was counted when it came */
		turn_count(q->s, TURN_M_REQUESTS, i, 1);
	if (!turn_methods[i].open) {
		q->alloc = turn_alloc_unless_over(turn_alloc_find(q->s, q->from), q->now);
		q->realm = realm_of(q);
		r = authenticate(q);
	}
	if (r == TURN_ACCEPTED && q->alloc && q->alloc->unsettled && !stun_has(q->m, STUN_A_MOBILITY_TICKET))
		turn_mobility_settle(q->alloc);
	find_unknown(q);
	if (r == TURN_ACCEPTED && !q->deferred)
		r = q->n_unknown ? TURN_REFUSE_UNKNOWN : turn_methods[i].handle(q);
	if (r != TURN_ACCEPTED)
		turn_refuse(q, r);
	else if (!q->deferred)
		turn_count(q->s, TURN_M_SUCCESSES, i, 1);
	turn_key_unref(q->key);
	if (q->s->o.clock_ns && !q->deferred)
		metric_observe(q->s->o.metrics, q->s->o.worker, TURN_M_LATENCY, i, (double)(q->s->o.clock_ns() - began) / 1e9);
}
