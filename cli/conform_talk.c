/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What checks say and expect, in the words of the RFCs: credentials, answers judged, and the whole steps
 * that most conversations begin with (an allocation, a permission, a channel). Each step fails the check
 * with its own sentence, so that the report says where a conversation went another way.
 */
#include <stdio.h>
#include <string.h>
#include "cli/conform.h"

/* ---- requests ---- */

void put_transport(struct client *c, unsigned protocol)
{
	put_first_byte(c, STUN_A_REQUESTED_TRANSPORT, protocol);
}

void put_first_byte(struct client *c, enum stun_attr a, unsigned v)
{
	stun_put_u32(&c->w, a, (uint32_t)v << 24);
}

void put_channel(struct client *c, unsigned number)
{
	stun_put_u32(&c->w, STUN_A_CHANNEL_NUMBER, (uint32_t)number << 16);
}

static void copy_text(const struct stun_msg *m, enum stun_attr a, char *out, size_t cap)
{
	struct text t = { 0 };

	if (stun_get_text(m, a, &t) < 0)
		t = (struct text){ 0 };
	snprintf(out, cap, "%.*s", TEXT_FMT(t));
}

/* What a 401 or 438 tells for the next try. */
void learn(struct client *c)
{
	struct login *l = &c->login;
	const struct stun_value *v = &c->m.attr[STUN_A_PASSWORD_ALGORITHMS];

	copy_text(&c->m, STUN_A_REALM, l->realm, sizeof l->realm);
	copy_text(&c->m, STUN_A_NONCE, l->nonce, sizeof l->nonce);
	l->n_algorithms = v->p && v->n <= sizeof l->algorithms ? v->n : 0;
	if (l->n_algorithms)
		memcpy(l->algorithms, v->p, l->n_algorithms);
	l->known = l->realm[0] && l->nonce[0];
}

void challenge(struct client *c)
{
	begin(c, c->allocated ? STUN_REFRESH : STUN_ALLOCATE); /* a second Allocate may get 437 first */
	if (!c->allocated)
		put_transport(c, REQUESTED_UDP);
	ask(c);
	if (!going_on(c->t))
		return;
	if (error_code(c) != 401 && error_code(c) != 438)
		want_error(c, 401);
	learn(c);
	want(c->t, c->login.known, "the 401 has no REALM or no NONCE");
}

/* The message in the making is kept aside while the server is asked for a nonce. */
static void get_nonce(struct client *c)
{
	struct stun_writer w = c->w;
	enum stun_method method = c->method;
	uint8_t tid[STUN_TID_LEN], *out = c->out;

	memcpy(tid, c->tid, sizeof tid);
	c->out = malloc(OUT_MAX);
	if (c->out)
		challenge(c);
	else
		fail(c->t, "out of memory");
	free(c->out);
	c->out = out;
	c->w = w;
	c->out_n = 0;
	c->method = method;
	c->answered = false;
	memcpy(c->tid, tid, sizeof tid);
}

static void put_name(struct client *c)
{
	const struct login *l = &c->login;
	uint8_t hash[STUN_USERHASH_LEN];

	if (l->no_user)
		return;
	if (!l->hash) {
		stun_put_raw(&c->w, stun_attr_table[STUN_A_USERNAME].type, l->user, strlen(l->user));
		return;
	}
	stun_userhash(text_of(l->user), text_of(l->realm), hash);
	stun_put(&c->w, STUN_A_USERHASH, hash, sizeof hash);
}

void put_login(struct client *c)
{
	struct login *l = &c->login;

	if (!(c->t->s->have & NEED_AUTH) || !going_on(c->t))
		return;
	if (!l->known)
		get_nonce(c);
	put_name(c);
	if (!l->no_realm)
		stun_put_raw(&c->w, stun_attr_table[STUN_A_REALM].type, l->realm, strlen(l->realm));
	if (!l->no_nonce)
		stun_put_raw(&c->w, stun_attr_table[STUN_A_NONCE].type, l->nonce, strlen(l->nonce));
	if (l->choose) {
		stun_put(&c->w, STUN_A_PASSWORD_ALGORITHMS, l->algorithms, l->n_algorithms);
		stun_put_password_algorithm(&c->w, l->algorithm);
	}
}

void put_mac(struct client *c)
{
	const struct login *l = &c->login;

	if (!(c->t->s->have & NEED_AUTH) || !going_on(c->t))
		return;
	c->key = stun_key_free(c->key);
	if (stun_key_long_term(l->algorithm, l->mac, text_of(l->user), text_of(l->realm), text_of(l->password),
			       &c->key) < 0)
		fail(c->t, "out of memory");
	else
		stun_put_integrity(&c->w, c->key);
}

void sign(struct client *c)
{
	put_login(c);
	put_mac(c);
}

/* ---- answers ---- */

unsigned error_code(const struct client *c)
{
	unsigned code = 0;
	struct text reason;

	if (!c->answered || c->m.class != STUN_ERROR || stun_get_error(&c->m, &code, &reason) < 0)
		return 0;
	return code;
}

/* "an error 403 (Forbidden)" */
static const char *answer_text(const struct client *c, char *out, size_t n)
{
	struct text reason = { 0 };
	unsigned code;

	if (!c->answered)
		snprintf(out, n, "no answer");
	else if (c->m.class == STUN_SUCCESS)
		snprintf(out, n, "success");
	else if (stun_get_error(&c->m, &code, &reason) < 0)
		snprintf(out, n, "an error response without a readable ERROR-CODE");
	else
		snprintf(out, n, "%u (%.*s)", code, (int)MIN(reason.n, 60), reason.n ? reason.p : "");
	return out;
}

static void wanted(struct client *c, bool good, const char *what)
{
	char got[128];

	if (!good)
		fail(c->t, "%s: wanted %s, got %s", stun_method_name(c->method), what, answer_text(c, got, sizeof got));
}

void want_success(struct client *c)
{
	wanted(c, c->answered && c->m.class == STUN_SUCCESS, "success");
}

void want_error(struct client *c, unsigned code)
{
	char what[16];

	snprintf(what, sizeof what, "%u", code);
	wanted(c, error_code(c) == code, what);
}

void want_either(struct client *c, unsigned code, unsigned other)
{
	char what[32];

	snprintf(what, sizeof what, "%u or %u", code, other);
	wanted(c, error_code(c) == code || error_code(c) == other, what);
}

void want_any_error(struct client *c)
{
	wanted(c, error_code(c) != 0, "an error");
}

void want_silence(struct client *c)
{
	if (going_on(c->t) && !c->answered)
		(void)listen_for_answer(c);
	wanted(c, !c->answered, "silence");
}

void want_no_success(struct client *c)
{
	wanted(c, !c->answered || c->m.class == STUN_ERROR, "an error, or silence");
}

void want_unknown(struct client *c, uint16_t type)
{
	const struct stun_value *v = &c->m.attr[STUN_A_UNKNOWN_ATTRIBUTES];
	bool found = false;

	want_error(c, 420);
	if (!going_on(c->t))
		return;
	for (unsigned i = 0; v->p && i + 2 <= v->n; i += 2)
		found |= load_be16(v->p + i) == type;
	if (!found)
		fail(c->t, "the 420 has %s UNKNOWN-ATTRIBUTES%s", v->p ? "an" : "no",
		     v->p ? " that does not list the attribute" : "");
}

void want_signed(struct client *c)
{
	if (!going_on(c->t) || !c->key)
		return;
	bool there = stun_has(&c->m, c->login.mac == STUN_MAC_SHA1 ? STUN_A_MESSAGE_INTEGRITY :
								     STUN_A_MESSAGE_INTEGRITY_SHA256);
	if (!there)
		fail(c->t, "%s: the answer carries no %s", stun_method_name(c->method),
		     c->login.mac == STUN_MAC_SHA1 ? "MESSAGE-INTEGRITY" : "MESSAGE-INTEGRITY-SHA256");
	else
		want(c->t, stun_check_integrity(&c->m, c->key), "the integrity of the answer is wrong");
}

void want_still(struct client *c)
{
	begin(c, STUN_BINDING);
	ask(c);
	want_success(c);
}

void want_alive(struct talk *t)
{
	want_still(client_open(t));
}

uint32_t lifetime_of(struct client *c)
{
	uint32_t s = 0;

	want_success(c);
	if (going_on(c->t) && stun_get_u32(&c->m, STUN_A_LIFETIME, &s) < 0)
		fail(c->t, "the success response has no LIFETIME");
	return s;
}

/* ---- steps ---- */

void allocate(struct client *c)
{
	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	sign(c);
	ask(c);
	want_success(c);
	want(c->t, !going_on(c->t) || addr_family(&c->relayed) == AF_INET, "no IPv4 XOR-RELAYED-ADDRESS came");
}

void allocate_v6(struct client *c)
{
	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	put_first_byte(c, STUN_A_REQUESTED_ADDRESS_FAMILY, 2);
	sign(c);
	ask(c);
	want_success(c);
	want(c->t, !going_on(c->t) || addr_family(&c->relayed6) == AF_INET6, "no IPv6 XOR-RELAYED-ADDRESS came");
}

struct client *client_allocated(struct talk *t)
{
	struct client *c = client_open(t);

	allocate(c);
	return c;
}

void release(struct client *c)
{
	begin(c, STUN_REFRESH);
	stun_put_u32(&c->w, STUN_A_LIFETIME, 0);
	sign(c);
	ask(c);
	want_success(c);
}

void try_permit(struct client *c, const struct addr *peer)
{
	if (!going_on(c->t))
		return;
	begin(c, STUN_CREATE_PERMISSION);
	stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, peer);
	sign(c);
	ask(c);
}

void permit(struct client *c, const struct addr *peer)
{
	try_permit(c, peer);
	want_success(c);
}

void try_bind_channel(struct client *c, unsigned number, const struct addr *peer)
{
	if (!going_on(c->t))
		return;
	begin(c, STUN_CHANNEL_BIND);
	put_channel(c, number);
	stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, peer);
	sign(c);
	ask(c);
}

void bind_channel(struct client *c, unsigned number, const struct addr *peer)
{
	try_bind_channel(c, number, peer);
	want_success(c);
}
