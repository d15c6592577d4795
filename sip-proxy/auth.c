/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hook that asks who somebody is, the back-off for those who guess, and the hygiene of what passes; see
 * registrar.h. Who says to be one of ours must prove it; who does not is left to the later stages, which let strangers
 * reach our users and nobody else.
 */
#include <string.h>
#include "sip-proxy/charges.h"
#include "sip-proxy/registrar_priv.h"

enum {
	PAIR_FREE = 5, /* bad credentials of one source for one user before the back-off begins */
	SOURCE_FREE = 10,
	USER_FREE = 30, /* a user can be tried by many sources: one of them must not lock him out */
	BAN_EVERY = 50,
	FORGET_MS = 10 * 60 * 1000,
	WAIT_MS = 1000,
	WAIT_MAX_MS = 5 * 60 * 1000,
	KNOWN_MS = 60 * 60 * 1000,
};

/* ---- who has guessed, and who was right ---- */

/* Looks only: who is not judged leaves no trace, and wipes out none. NULL: nothing is held against him. */
static struct sip_guess *guess_find(struct sip_registrar *r, uint64_t hash, uint64_t now)
{
	struct sip_guess *set = r->guesses[hash % SIP_SETS];
	for (unsigned i = 0; i < SIP_WAYS; i++)
		if (set[i].n && set[i].hash == hash && now - set[i].last <= FORGET_MS)
			return &set[i];
	return NULL;
}

/* In a set that is full the one with the fewest gives way, of those the oldest: who has to wait stays. */
static struct sip_guess *guess_find_or_make(struct sip_registrar *r, uint64_t hash, uint64_t now)
{
	struct sip_guess *g = guess_find(r, hash, now), *set = r->guesses[hash % SIP_SETS], *least = set;
	if (g)
		return g;
	for (unsigned i = 0; i < SIP_WAYS; i++) {
		if (now - set[i].last > FORGET_MS)
			set[i].n = 0;
		if (set[i].n < least->n || (set[i].n == least->n && set[i].last < least->last))
			least = &set[i];
	}
	*least = (struct sip_guess){ .hash = hash };
	return least;
}

/* How many there are now. */
static unsigned guess_add(struct sip_registrar *r, uint64_t hash, unsigned free_ones, uint64_t now)
{
	struct sip_guess *g = guess_find_or_make(r, hash, now);
	g->last = now;
	if (++g->n >= free_ones) {
		unsigned shift = MIN(g->n - free_ones, 12u);
		g->until = now + MIN((uint64_t)WAIT_MS << shift, (uint64_t)WAIT_MAX_MS);
	}
	return g->n;
}

static bool waits(struct sip_registrar *r, uint64_t hash, uint64_t now)
{
	const struct sip_guess *g = guess_find(r, hash, now);
	return g && now < g->until;
}

static bool is_known(const struct sip_registrar *r, uint64_t pair, uint64_t now)
{
	const struct sip_known *set = r->known[pair % SIP_SETS];
	for (unsigned i = 0; i < SIP_WAYS; i++)
		if (set[i].at && set[i].pair == pair)
			return now - set[i].at < KNOWN_MS;
	return false;
}

static void known_add(struct sip_registrar *r, uint64_t pair, uint64_t now)
{
	struct sip_known *set = r->known[pair % SIP_SETS], *at = set;
	for (unsigned i = 0; i < SIP_WAYS; i++) {
		if (set[i].pair == pair) {
			at = &set[i];
			break;
		}
		if (set[i].at < at->at)
			at = &set[i];
	}
	*at = (struct sip_known){ pair, now };
}

/* What is counted, by its hash: a source (of IPv6 the /64), a user, and the one for the other. */
struct keys {
	uint64_t source, user, pair;
};

static struct keys keys_of(const struct sip_registrar *r, const struct sip_passage *p, const char *aor)
{
	struct addr source = addr_source(&p->from.remote);
	uint64_t h[2] = { addr_hash_ip(&r->o.seed, &source), hash_bytes(&r->o.seed, aor, strlen(aor)) };
	return (struct keys){ h[0], h[1], hash_bytes(&r->o.seed, h, sizeof h) };
}

/* A pair that was right lately waits for its own faults alone: else anybody could keep a user from his own telephone, and
 * one broken telephone the whole office behind its NAT. */
static bool must_wait(struct sip_registrar *r, const struct keys *k, uint64_t now)
{
	return waits(r, k->pair, now) ||
	       (!is_known(r, k->pair, now) && (waits(r, k->source, now) || waits(r, k->user, now)));
}

static void on_wrong(struct sip_passage *p, struct sip_registrar *r, const struct keys *k)
{
	(void)guess_add(r, k->pair, PAIR_FREE, p->now);
	(void)guess_add(r, k->user, USER_FREE, p->now);
	if (guess_add(r, k->source, SOURCE_FREE, p->now) % BAN_EVERY == 0 && r->o.guesses)
		r->o.guesses(r->o.arg, &p->from);
}

/* The others' counts stay: an account of one's own must not be a way to start anew. */
static void on_right(struct sip_registrar *r, const struct keys *k, uint64_t now)
{
	struct sip_guess *g = guess_find(r, k->pair, now);
	if (g)
		*g = (struct sip_guess){ 0 };
	known_add(r, k->pair, now);
}

/* ---- what credentials are asked for, and what they prove ---- */

static void challenge(struct sip_passage *p, struct sip_registrar *r, struct text realm, bool stale)
{
	bool is_register = p->msg->method == SIP_REGISTER;
	char nonce[STUN_NONCE_MAX], values[SIP_ALGS][SIP_CHALLENGE_MAX];
	struct sip_line lines[SIP_ALGS];
	unsigned k = 0;
	stun_nonces_tick(&r->nonces, p->now);
	size_t n = stun_nonce_make(&r->nonces, &p->from.remote, realm, 0, p->now, nonce);
	for (unsigned i = 0; i < SIP_ALGS; i++) {
		if (r->algorithms && !(r->algorithms & 1U << i))
			continue;
		ptrdiff_t len = sip_digest_challenge((enum sip_digest_alg)i, realm,
						     (struct text){ nonce, n }, stale, values[k]);
		lines[k] = (struct sip_line){ is_register ? TEXT("WWW-Authenticate")
							  : TEXT("Proxy-Authenticate"),
					      { values[k], len > 0 ? (size_t)len : 0 } };
		k++;
	}
	sip_answer(p, &(struct sip_answer){
			      .code = is_register ? 401 : 407, .lines = lines, .n_lines = k });
}

/* The user that the credentials name, with its domain: "alice" or "alice@realm". */
static int user_of(const struct sip_auth *a, struct text realm, char out[static SIP_AOR_MAX])
{
	char name[SIP_AOR_MAX];
	ptrdiff_t n = sip_unquote(a->param[SIP_D_USERNAME], name, sizeof name);
	struct sb b = sb_init(out, SIP_AOR_MAX);
	if (n <= 0)
		return -1;
	sb_text(&b, (struct text){ name, (size_t)n });
	if (!memchr(name, '@', (size_t)n)) {
		sb_char(&b, '@');
		for (size_t i = 0; i < realm.n; i++)
			sb_char(&b, sip_lower(realm.p[i]));
	}
	return b.truncated || memchr(out, 0, b.n) ? -1 : 0;
}

/* password: of the user that the credentials name. */
static enum sip_step judge(struct sip_passage *p, struct sip_registrar *r, const struct sip_auth *a,
			   struct text realm, struct text (*password)(void *arg, const char *aor),
			   void *arg)
{
	const struct sip_digest_check c = { .nonces = &r->nonces,
					    .client = &p->from.remote,
					    .realm = realm,
					    .method = p->msg->method_name,
					    .uri = &p->basics->uri,
					    .is_us = r->o.ops->is_us,
					    .arg = r->o.edge,
					    .algorithms = r->algorithms,
					    .now = p->now };
	char aor[SIP_AOR_MAX] = "";
	bool named = user_of(a, realm, aor) == 0;
	const struct keys k = keys_of(r, p, aor);
	if (must_wait(r, &k, p->now)) {
		sip_refuse(p, SIP_REFUSE_BACKOFF, aor);
		return SIP_DECIDED;
	}
	enum sip_digest_verdict v =
		sip_digest_verify(&c, a, named ? password(arg, aor) : (struct text){ 0 });
	if (v == SIP_DIGEST_STALE || v == SIP_DIGEST_NONE) {
		challenge(p, r, realm, v == SIP_DIGEST_STALE);
		return SIP_DECIDED;
	}
	if (v == SIP_DIGEST_BAD) {
		on_wrong(p, r, &k);
		sip_refuse(p, SIP_REFUSE_CREDENTIAL, aor);
		return SIP_DECIDED;
	}
	on_right(r, &k, p->now);
	p->authenticated = true;
	p->user[0] = 0;
	text_append(p->user, sizeof p->user, aor);
	return SIP_GO_ON;
}

enum sip_step sip_auth_demand(struct sip_passage *p, struct sip_registrar *r)
{
	struct text realm = r->o.first_domain ? r->o.first_domain(r->o.arg) : (struct text){ 0 };
	struct sip_auth a;
	if (!realm.n) {
		sip_refuse(p, SIP_REFUSE_IDENTITY, "there is no domain here whose credentials could be asked for");
		return SIP_DECIDED;
	}
	if (sip_digest_find(p->msg, SIP_H_PROXY_AUTHORIZATION, realm, &a))
		return judge(p, r, &a, realm, r->o.password, r->o.arg);
	challenge(p, r, realm, false);
	return SIP_DECIDED;
}

/* Who is it that claims to send: the owner of the address in From, or of a registration in To. */
static int claimed(const struct sip_passage *p, struct sip_uri *ret_u, char aor[static SIP_AOR_MAX])
{
	const struct sip_addr *a = p->msg->method == SIP_REGISTER ? &p->basics->to : &p->basics->from;
	int r = sip_uri_parse(a->uri, ret_u);
	return r < 0 ? r : sip_aor_of(ret_u, aor);
}

enum sip_step sip_auth_request(struct sip_passage *p, void *arg)
{
	struct sip_registrar *r = arg;
	bool is_register = p->msg->method == SIP_REGISTER;
	char aor[SIP_AOR_MAX];
	struct sip_uri u;
	struct sip_auth a;
	bool to_the_proxy = p->for_us && !p->basics->uri.user.p; /* OPTIONS, as a ping: it reaches nobody */
	if (p->trusted || p->authenticated || p->in_dialog ||
	    (is_register ? !p->for_us : to_the_proxy) || claimed(p, &u, aor) < 0 ||
	    !r->o.is_domain(r->o.arg, u.host) ||
	    (r->o.is_elsewhere && r->o.is_elsewhere(r->o.arg, aor)))
		return SIP_GO_ON;
	struct text realm = u.host;
	if (!sip_digest_find(p->msg, is_register ? SIP_H_AUTHORIZATION : SIP_H_PROXY_AUTHORIZATION,
			     realm, &a)) {
		challenge(p, r, realm, false);
		return SIP_DECIDED;
	}
	enum sip_step step = judge(p, r, &a, realm, r->o.password, r->o.arg);
	if (step == SIP_GO_ON && strcmp(p->user, aor) != 0) {
		sip_refuse(p, SIP_REFUSE_IDENTITY, aor);
		return SIP_DECIDED;
	}
	return step;
}

struct one_secret { /* of who is neither an account nor somebody's */
	const char *user;
	struct text password;
};

static struct text password_of_one(void *arg, const char *aor)
{
	const struct one_secret *s = arg;
	size_t n = strlen(s->user);
	return strncmp(aor, s->user, n) == 0 && aor[n] == '@' ? s->password : (struct text){ 0 };
}

enum sip_step sip_registrar_prove(struct sip_passage *p, struct sip_registrar *r, const char *user,
				  struct text realm, struct text password, bool *ret_bad)
{
	enum sip_header id = p->msg->method == SIP_REGISTER ? SIP_H_AUTHORIZATION
							    : SIP_H_PROXY_AUTHORIZATION;
	struct one_secret secret = { user, password };
	struct sip_auth a;
	*ret_bad = false;
	if (!sip_digest_find(p->msg, id, realm, &a)) {
		challenge(p, r, realm, false);
		return SIP_DECIDED;
	}
	enum sip_step step = judge(p, r, &a, realm, password_of_one, &secret);
	*ret_bad = step == SIP_DECIDED && sip_passage_refuses(p);
	return step;
}

/* ---- hygiene ---- */

static bool realm_is_ours(const struct sip_registrar *r, struct text value)
{
	struct sip_auth a;
	return sip_auth_parse(value, &a) == 0 && a.is_digest && a.param[SIP_D_REALM].p &&
	       r->o.is_domain(r->o.arg, a.param[SIP_D_REALM]);
}

/* Of our realm, and not a UC server's user, whose password is for that server. */
static bool is_for_us(const struct sip_registrar *r, struct text value)
{
	struct sip_auth a;
	char aor[SIP_AOR_MAX];
	return realm_is_ours(r, value) &&
	       (!r->o.is_elsewhere || sip_auth_parse(value, &a) < 0 ||
		user_of(&a, a.param[SIP_D_REALM], aor) < 0 || !r->o.is_elsewhere(r->o.arg, aor));
}

enum sip_step sip_hygiene_request(struct sip_passage *p, void *arg)
{
	static const enum sip_header ids[] = { SIP_H_PROXY_AUTHORIZATION, SIP_H_AUTHORIZATION };
	const struct sip_registrar *r = arg;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		for (const struct head_field *f = sip_find(p->msg, ids[i]); f;
		     f = sip_find_next(p->msg, f))
			if (is_for_us(r, f->value))
				sip_edit_remove_field(sip_passage_edit(p), f);
	if (!p->trusted && sip_has(p->msg, SIP_H_P_ASSERTED_IDENTITY))
		sip_edit_remove(sip_passage_edit(p), SIP_H_P_ASSERTED_IDENTITY);
	return SIP_GO_ON;
}

/*
 * Only we ask for our users' passwords, and only gateways that the administrator has named may ask for others: telephones
 * answer whoever asks, in whatever realm, and a stranger who was called would get a hash to try passwords on.
 */
static bool may_ask(const struct sip_return *ret, const struct sip_registrar *r)
{
	static const enum sip_header ids[] = { SIP_H_PROXY_AUTHENTICATE, SIP_H_WWW_AUTHENTICATE };
	if (ret->from_server)
		return true; /* for the passwords of its users */
	if (!ret->may_challenge && !(r->o.is_trusted && r->o.is_trusted(r->o.arg, &ret->from)))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		for (const struct head_field *f = sip_find(ret->msg, ids[i]); f;
		     f = sip_find_next(ret->msg, f))
			if (realm_is_ours(r, f->value))
				return false;
	return true;
}

/* RFC 3325 5 and 7: what our side asserts is for those who are trusted, and for our users if it is not to be kept private. */
static bool may_know(const struct sip_return *ret, const struct sip_registrar *r)
{
	struct sip_uri u;
	return ret->to_trusted ||
	       (!sip_wants_privacy(ret->msg) && sip_uri_parse(ret->basics->from.uri, &u) == 0 &&
		r->o.is_domain(r->o.arg, u.host));
}

bool sip_hygiene_response(struct sip_return *ret, void *arg)
{
	const struct sip_registrar *r = arg;
	if ((ret->msg->status == 401 || ret->msg->status == 407) && !may_ask(ret, r))
		ret->replace = 403;
	if (sip_has(ret->msg, SIP_H_P_ASSERTED_IDENTITY) && !ret->asserted &&
	    !(r->o.is_trusted && r->o.is_trusted(r->o.arg, &ret->from) && may_know(ret, r)))
		sip_edit_remove(ret->edit, SIP_H_P_ASSERTED_IDENTITY);
	return true;
}
