/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of the long-term credential mechanism as TURN uses it (RFC 8489 9.2, RFC 8656 5): the challenge,
 * what is refused and how, integrity of answers, and what stands behind MESSAGE-INTEGRITY. A check
 * makes its client's login wrong in one place. What RFC 8489 added is in conform_algorithms.c.
 */
#include <stdio.h>
#include <string.h>
#include "cli/conform.h"

static struct client *allocate_as(struct talk *t)
{
	struct client *c = client_open(t);

	challenge(c);
	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	return c;
}

static struct client *bare_allocate(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	ask(c);
	return c;
}

/* ---- the challenge ---- */

static void bare_gets_401(struct talk *t)
{
	want_error(bare_allocate(t), 401);
}

static void realm_is_told(struct talk *t)
{
	struct client *c = bare_allocate(t);
	struct text realm;

	want(t, stun_get_text(&c->m, STUN_A_REALM, &realm) == 0, "no REALM");
	want(t, !going_on(t) || (realm.n > 0 && realm.n <= 763 && text_is_utf8(realm)), "REALM is empty, too long or no UTF-8");
}

static void nonce_is_told(struct talk *t)
{
	struct client *c = bare_allocate(t);
	struct text nonce;

	want(t, stun_get_text(&c->m, STUN_A_NONCE, &nonce) == 0, "no NONCE");
	want(t, !going_on(t) || (nonce.n > 0 && nonce.n < 128), "NONCE is empty or longer than 127 characters");
}

static void nonces_differ(struct talk *t)
{
	struct client *a = client_open(t), *b = client_open(t);

	challenge(a);
	challenge(b);
	want(t, strcmp(a->login.nonce, b->login.nonce) != 0, "two clients got the same nonce");
}

static void challenge_is_bare(struct talk *t)
{
	struct client *c = bare_allocate(t);

	want_error(c, 401);
	want(t, !c->m.mi_offset && !c->m.mi256_offset, "the 401 carries MESSAGE-INTEGRITY");
}

static void every_method_asks(struct talk *t)
{
	static const enum stun_method methods[] = { STUN_REFRESH, STUN_CREATE_PERMISSION, STUN_CHANNEL_BIND };
	struct client *c = client_allocated(t);

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		begin(c, methods[i]);
		ask(c);
		want_error(c, 401);
	}
}

static void auth_before_unknown(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	stun_put_raw(&c->w, 0x7f01, NULL, 0);
	ask(c);
	want_error(c, 401);
}

/* ---- good ones ---- */

static void good_is_good(struct talk *t)
{
	client_allocated(t);
}

static void nonce_serves_again(struct talk *t)
{
	struct client *c = client_allocated(t);

	for (int i = 0; i < 3; i++) {
		begin(c, STUN_REFRESH);
		sign(c);
		ask(c);
		want_success(c);
	}
}

static void success_is_signed(struct talk *t)
{
	want_signed(client_allocated(t));
}

static void each_success_is_signed(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);

	permit(c, &p->at);
	want_signed(c);
	bind_channel(c, 0x4000, &p->at);
	want_signed(c);
	begin(c, STUN_REFRESH);
	sign(c);
	ask(c);
	want_success(c);
	want_signed(c);
}

static void error_is_signed(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_REFRESH); /* there is no allocation */
	sign(c);
	ask(c);
	want_error(c, 437);
	want_signed(c);
}

static void unknown_after_auth(struct talk *t)
{
	struct client *c = allocate_as(t);

	stun_put_raw(&c->w, 0x7f01, NULL, 0);
	sign(c);
	ask(c);
	want_unknown(c, 0x7f01);
	want_signed(c);
}

static void with_fingerprint(struct talk *t)
{
	struct client *c = allocate_as(t);

	sign(c);
	stun_put_fingerprint(&c->w);
	ask(c);
	want_success(c);
}

/* ---- bad ones ---- */

static void wrong_password(struct talk *t)
{
	struct client *c = allocate_as(t);

	text_append(c->login.password, sizeof c->login.password, "x");
	sign(c);
	ask(c);
	want_error(c, 401);
}

static void unknown_user(struct talk *t)
{
	struct client *c = allocate_as(t);

	snprintf(c->login.user, sizeof c->login.user, "nobody-of-this-name");
	text_append(c->login.password, sizeof c->login.password, "x"); /* where one password serves all names, too */
	sign(c);
	ask(c);
	want_error(c, 401);
}

static void refusal_challenges_again(struct talk *t)
{
	struct client *c = allocate_as(t);

	text_append(c->login.password, sizeof c->login.password, "x");
	sign(c);
	ask(c);
	want_error(c, 401);
	want(t, stun_has(&c->m, STUN_A_REALM) && stun_has(&c->m, STUN_A_NONCE), "the 401 has no REALM or no NONCE");
}

static void no_oracle(struct talk *t)
{
	struct client *a = allocate_as(t), *b;
	struct text first = { 0 }, second = { 0 };
	unsigned code_a = 0, code_b = 1;

	text_append(a->login.password, sizeof a->login.password, "x");
	sign(a);
	ask(a);
	b = allocate_as(t);
	snprintf(b->login.user, sizeof b->login.user, "nobody-of-this-name");
	text_append(b->login.password, sizeof b->login.password, "x");
	sign(b);
	ask(b);
	if (!going_on(t))
		return;
	(void)stun_get_error(&a->m, &code_a, &first);
	(void)stun_get_error(&b->m, &code_b, &second);
	want(t, code_a == code_b && text_eq(first, second), "an unknown user and a wrong password get different answers");
}

static void wrong_realm(struct talk *t)
{
	struct client *c = allocate_as(t);

	text_append(c->login.realm, sizeof c->login.realm, ".elsewhere");
	sign(c);
	ask(c);
	want_no_success(c);
}

static void flipped_mac(struct talk *t)
{
	struct client *c = allocate_as(t);

	sign(c);
	finish(c);
	c->out[c->out_n - 1] ^= 0x80;
	ask(c);
	want_error(c, 401);
}

static void flipped_body(struct talk *t)
{
	struct client *c = allocate_as(t);

	stun_put_text(&c->w, STUN_A_SOFTWARE, TEXT("stile"));
	sign(c);
	finish(c);
	c->out[STUN_HEADER_LEN + 8 + 4] ^= 0x20; /* "Stile" */
	ask(c);
	want_error(c, 401);
}

static void short_mac(struct talk *t)
{
	struct client *c = allocate_as(t);

	put_login(c);
	stun_put_raw(&c->w, 0x0008, "0123456789abcdef", 16);
	(void)ask_once(c);
	want_no_success(c);
	want_still(c);
}

static void without(struct talk *t)
{
	struct client *c = allocate_as(t);

	c->login.no_user = strcmp(t->row->arg, "USERNAME") == 0;
	c->login.no_realm = strcmp(t->row->arg, "REALM") == 0;
	c->login.no_nonce = strcmp(t->row->arg, "NONCE") == 0;
	sign(c);
	ask(c);
	want_error(c, 400);
}

static void strange_user(struct talk *t)
{
	struct client *c = allocate_as(t);
	bool is_long = t->row->arg[0] == 'l';

	memset(c->login.user, is_long ? 'u' : '\xff', is_long ? 600 : 5);
	c->login.user[is_long ? 600 : 5] = 0;
	text_append(c->login.password, sizeof c->login.password, "x");
	sign(c);
	(void)ask_once(c);
	want_no_success(c);
	want_still(c);
}

static void empty_user(struct talk *t)
{
	struct client *c = allocate_as(t);

	c->login.user[0] = 0;
	text_append(c->login.password, sizeof c->login.password, "x");
	sign(c);
	(void)ask_once(c);
	want_no_success(c);
	want_still(c);
}

/* ---- nonces ---- */

static void invented_nonce(struct talk *t)
{
	struct client *c = allocate_as(t);

	snprintf(c->login.nonce, sizeof c->login.nonce, "adl7W7PeDU4hKE72jdaQvbAMcr6h39sm");
	sign(c);
	ask(c);
	want_error(c, 438);
}

static void stale_gives_a_new_one(struct talk *t)
{
	struct client *c = allocate_as(t);
	struct text nonce = { 0 }, realm = { 0 };

	snprintf(c->login.nonce, sizeof c->login.nonce, "adl7W7PeDU4hKE72jdaQvbAMcr6h39sm");
	sign(c);
	ask(c);
	want_error(c, 438);
	want(t, stun_get_text(&c->m, STUN_A_NONCE, &nonce) == 0 && stun_get_text(&c->m, STUN_A_REALM, &realm) == 0,
	     "the 438 has no REALM or no NONCE");
	snprintf(c->login.nonce, sizeof c->login.nonce, "%.*s", TEXT_FMT(nonce));
	allocate(c);
}

static void long_nonce(struct talk *t)
{
	struct client *c = allocate_as(t);

	memset(c->login.nonce, 'n', 1000);
	c->login.nonce[1000] = 0;
	sign(c);
	(void)ask_once(c);
	want_no_success(c);
	want_still(c);
}

/* ---- behind MESSAGE-INTEGRITY ---- */

static void lifetime_behind_mac(struct talk *t)
{
	struct client *c = client_allocated(t);

	begin(c, STUN_REFRESH);
	sign(c);
	stun_put_u32(&c->w, STUN_A_LIFETIME, 0); /* whoever adds this has not the key */
	(void)ask_once(c);
	if (c->answered && error_code(c))
		return; /* refused as a whole: nothing was believed */
	want(t, !c->answered || lifetime_of(c) > 0, "LIFETIME behind MESSAGE-INTEGRITY ended the allocation");
	begin(c, STUN_REFRESH);
	sign(c);
	ask(c);
	want_success(c);
}

static void unknown_behind_mac(struct talk *t)
{
	struct client *c = allocate_as(t);

	sign(c);
	stun_put_raw(&c->w, 0x7f01, "abcd", 4);
	ask(c);
	want_success(c);
}

static void transport_behind_mac(struct talk *t)
{
	struct client *c = client_open(t);

	challenge(c);
	begin(c, STUN_ALLOCATE);
	sign(c);
	put_transport(c, REQUESTED_UDP);
	ask(c);
	want_error(c, 400);
}

/* ---- two users ---- */

static void other_users_allocation(struct talk *t)
{
	struct client *c = client_allocated(t);

	snprintf(c->login.user, sizeof c->login.user, "%s", t->o->other_user);
	snprintf(c->login.password, sizeof c->login.password, "%s", t->o->other_password);
	begin(c, STUN_REFRESH);
	stun_put_u32(&c->w, STUN_A_LIFETIME, 0);
	sign(c);
	ask(c);
	want_error(c, 441);
	snprintf(c->login.user, sizeof c->login.user, "%s", t->o->user);
	snprintf(c->login.password, sizeof c->login.password, "%s", t->o->password);
	begin(c, STUN_REFRESH);
	sign(c);
	ask(c);
	want_success(c);
}

static void two_users(struct talk *t)
{
	struct client *a = client_allocated(t), *b = client_open(t);

	snprintf(b->login.user, sizeof b->login.user, "%s", t->o->other_user);
	snprintf(b->login.password, sizeof b->login.password, "%s", t->o->other_password);
	allocate(b);
	want(t, !going_on(t) || !addr_equal(&a->relayed, &b->relayed), "two users got one relayed address");
}

#define AUTH NEED_AUTH
#define RELAY (NEED_AUTH | NEED_RELAY)
/* clang-format off */
static const struct check_row rows[] = {
	{ "challenge",           "RFC 8489 9.2.4", "an Allocate without credentials gets 401", AUTH, bare_gets_401, NULL },
	{ "challenge-realm",     "RFC 8489 14.9",  "the 401 has a REALM of 1 to 763 bytes", AUTH, realm_is_told, NULL },
	{ "challenge-nonce",     "RFC 8489 14.10", "the 401 has a NONCE of 1 to 127 characters", AUTH, nonce_is_told, NULL },
	{ "nonces-differ",       "RFC 8489 9.2",   "two clients get different nonces", AUTH | ADVISORY, nonces_differ, NULL },
	{ "challenge-unsigned",  "RFC 8489 9.2.4", "the 401 carries no MESSAGE-INTEGRITY", AUTH | ADVISORY, challenge_is_bare, NULL },
	{ "challenge-methods",   "RFC 8656 5",     "Refresh, CreatePermission and ChannelBind get 401 without credentials", RELAY, every_method_asks, NULL },
	{ "auth-before-420",     "RFC 8489 6.3",   "credentials are asked for before unknown attributes are judged", AUTH, auth_before_unknown, NULL },
	{ "credential",          "RFC 8489 9.2.4", "the right credential is accepted", AUTH, good_is_good, NULL },
	{ "nonce-reused",        "RFC 8489 9.2.5", "one nonce serves for several requests", RELAY, nonce_serves_again, NULL },
	{ "success-signed",      "RFC 8489 9.2.4", "the success response to Allocate carries the right integrity", RELAY, success_is_signed, NULL },
	{ "successes-signed",    "RFC 8489 9.2.4", "those to CreatePermission, ChannelBind and Refresh too", RELAY | NEED_PEER, each_success_is_signed, NULL },
	{ "error-signed",        "RFC 8489 9.2.4", "an error response to an authenticated request carries the right integrity", AUTH, error_is_signed, NULL },
	{ "unknown-signed",      "RFC 8489 6.3.1", "an authenticated request with an unknown attribute gets a signed 420", AUTH, unknown_after_auth, NULL },
	{ "mac-and-fingerprint", "RFC 8489 14.7",  "FINGERPRINT behind MESSAGE-INTEGRITY is accepted", RELAY, with_fingerprint, NULL },
	{ "wrong-password",      "RFC 8489 9.2.4", "a wrong password gets 401", AUTH, wrong_password, NULL },
	{ "unknown-user",        "RFC 8489 9.2.4", "an unknown user gets 401", AUTH, unknown_user, NULL },
	{ "wrong-challenged",    "RFC 8489 9.2.4", "that 401 has REALM and NONCE again", AUTH, refusal_challenges_again, NULL },
	{ "no-oracle",           "RFC 8489 16.1",  "an unknown user and a wrong password look the same from outside", AUTH | ADVISORY, no_oracle, NULL },
	{ "wrong-realm",         "RFC 8489 9.2.4", "a credential of another realm is not accepted", AUTH, wrong_realm, NULL },
	{ "flipped-mac",         "RFC 8489 9.2.4", "one wrong bit in MESSAGE-INTEGRITY gets 401", AUTH, flipped_mac, NULL },
	{ "flipped-body",        "RFC 8489 14.5",  "one changed bit in front of MESSAGE-INTEGRITY gets 401", AUTH, flipped_body, NULL },
	{ "short-mac",           "RFC 8489 14.5",  "a MESSAGE-INTEGRITY of 16 bytes is not accepted", AUTH, short_mac, NULL },
	{ "no-username",         "RFC 8489 9.2.4", "MESSAGE-INTEGRITY without USERNAME gets 400", AUTH, without, "USERNAME" },
	{ "no-realm",            "RFC 8489 9.2.4", "MESSAGE-INTEGRITY without REALM gets 400", AUTH, without, "REALM" },
	{ "no-nonce",            "RFC 8489 9.2.4", "MESSAGE-INTEGRITY without NONCE gets 400", AUTH, without, "NONCE" },
	{ "username-long",       "RFC 8489 14.3",  "a USERNAME of 600 bytes is not accepted, and harms nothing", AUTH, strange_user, "long" },
	{ "username-bytes",      "RFC 8489 14.3",  "a USERNAME that is no UTF-8 is not accepted, and harms nothing", AUTH, strange_user, "bytes" },
	{ "username-empty",      "RFC 8489 14.3",  "an empty USERNAME is not accepted, and harms nothing", AUTH, empty_user, NULL },
	{ "nonce-invented",      "RFC 8489 9.2.4", "a nonce that the server never gave gets 438", AUTH, invented_nonce, NULL },
	{ "nonce-new",           "RFC 8489 9.2.4", "the 438 has REALM and a NONCE that serves", RELAY, stale_gives_a_new_one, NULL },
	{ "nonce-long",          "RFC 8489 14.10", "a NONCE of 1000 bytes is not accepted, and harms nothing", AUTH, long_nonce, NULL },
	{ "lifetime-behind-mac", "RFC 8489 14.5",  "LIFETIME behind MESSAGE-INTEGRITY is ignored", RELAY, lifetime_behind_mac, NULL },
	{ "unknown-behind-mac",  "RFC 8489 14.5",  "an unknown attribute behind MESSAGE-INTEGRITY is ignored", RELAY, unknown_behind_mac, NULL },
	{ "transport-behind-mac", "RFC 8489 14.5", "REQUESTED-TRANSPORT behind MESSAGE-INTEGRITY is as good as missing", RELAY, transport_behind_mac, NULL },
	{ "other-user",          "RFC 8656 5",     "another user's request on an allocation gets 441 and changes nothing", RELAY | NEED_OTHER_USER, other_users_allocation, NULL },
	{ "two-users",           "RFC 8656 5",     "two users have an allocation each", RELAY | NEED_OTHER_USER, two_users, NULL },
};
/* clang-format on */
const struct check_area conform_auth = { "auth", rows, ARRAY_LEN(rows) };
