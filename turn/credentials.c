/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who signed this request? Three sources are asked in turn: the shared secrets of time-limited REST
 * credentials ("<unix expiry>:<name>", password = base64 of HMAC(secret, user name), by SHA-1 or SHA-256),
 * the named users, and the one password that goes with any other name.
 *
 * The key is made of the user name as it was sent, since that is what the client hashed; the prepared
 * name (OpaqueString) is for looking up, counting and logging. For ASCII, and for whatever SASLprep
 * produces, both are the same. A name that belongs to a named user is never opened by the single
 * password. "Expired" is said only if the signature is right; an unknown name costs the same hash and
 * HMAC as a known one, whose key may have been kept (turn/keys.c). Comparisons of MACs are constant-time (stun/integrity.c).
 */
#include <errno.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include "turn/policy_priv.h"

static const char *const auth_texts[TURN_AUTH_CODES] = {
	[TURN_AUTH_OK] = "accepted",
	[TURN_AUTH_UNKNOWN_USER] = "unknown user name",
	[TURN_AUTH_WRONG_PASSWORD] = "wrong password",
	[TURN_AUTH_EXPIRED] = "time-limited credential has expired",
	[TURN_AUTH_WRONG_REALM] = "realm is not the one that is served there",
	[TURN_AUTH_BAD_USERNAME] = "user name is not valid text or too long",
	[TURN_AUTH_UNKNOWN_USERHASH] = "user hash of no named user",
	[TURN_AUTH_BAD_ALGORITHM] = "password algorithm not offered, or the offer was altered on its way",
	[TURN_AUTH_NO_MEMORY] = "out of memory",
};

const char *turn_auth_text(enum turn_auth a)
{
	return (unsigned)a < TURN_AUTH_CODES ? auth_texts[a] : "unknown reason";
}

/* One request on its way through the sources. */
struct attempt {
	const struct turn_realm *x;
	const struct stun_msg *m;
	enum stun_algorithm alg;
	struct text user; /* as sent: part of the key */
	const struct turn_auth_options *o;
	struct turn_identity *id; /* user and account are set: prepared */
	struct turn_key *key;	  /* of the source that said yes */
	uint64_t detail;
};

/* 1: the request is signed with this password, and at->key is set; 0: it is not; -ENOMEM. */
static int try_password(struct attempt *at, struct text password)
{
	const struct key_parts parts = {
		.alg = at->alg,
		.digest = at->x->digest[at->alg],
		.user = at->user,
		.realm = text_of(at->x->name),
		.password = password,
	};
	struct turn_key *known = turn_keys_find(at->o->keys, &parts);
	_cleanup_(turn_key_unrefp) struct turn_key *k = NULL;
	int r;

	if (known && turn_key_matches(known, at->m) == 1) {
		at->key = turn_key_ref(known);
		return 1;
	}
	r = turn_key_new(&parts, &k);
	if (r == 0)
		r = known ? turn_key_prepare(k, at->m) : turn_key_matches(k, at->m);
	if (r == 1) {
		turn_keys_keep(at->o->keys, &parts, k);
		at->key = steal_ptr(&k);
	}
	return r;
}

static enum turn_auth auth_of(int r)
{
	return r == 1 ? TURN_AUTH_OK : r == 0 ? TURN_AUTH_WRONG_PASSWORD : TURN_AUTH_NO_MEMORY;
}

/* As long a way as a known name takes. */
static enum turn_auth unknown(struct attempt *at, enum turn_auth code)
{
	int r = try_password(at, TEXT("nobody has this name"));

	at->key = turn_key_unref(at->key);
	return r < 0 ? TURN_AUTH_NO_MEMORY : code;
}

/* ---- time-limited credentials ---- */

#define REST_PASSWORD_SIZE (BASE64_LEN(STUN_MI256_LEN) + 1)

static int rest_password(enum stun_mac mac, struct text secret, struct text user, char out[static REST_PASSWORD_SIZE])
{
	const EVP_MD *md = mac == STUN_MAC_SHA256 ? EVP_sha256() : EVP_sha1();
	uint8_t sum[STUN_MI256_LEN]; /* the longer of both */
	unsigned n = 0;

	if (secret.n > INT32_MAX ||
	    !HMAC(md, secret.p, (int)secret.n, (const uint8_t *)user.p, user.n, sum, &n))
		return -ENOMEM;
	base64_encode(sum, n, out);
	bytes_wipe(sum, sizeof(sum));
	return 0;
}

/* "<digits>" or "<digits>:<name>". */
static bool rest_parse(struct text user, uint64_t *ret_expiry, struct text *ret_name)
{
	struct text rest = user, digits = text_cut(&rest, ':');

	if (text_u64(digits, ret_expiry) < 0)
		return false;
	*ret_name = rest.n ? rest : user;
	return true;
}

static int try_secret(struct attempt *at, const struct turn_secret_section *s)
{
	static const enum stun_mac macs[] = { STUN_MAC_SHA1, STUN_MAC_SHA256 };
	char password[REST_PASSWORD_SIZE];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(macs); i++) {
		r = rest_password(macs[i], text_of(s->secret), at->user, password);
		if (r == 0)
			r = try_password(at, text_of(password));
	}
	bytes_wipe(password, sizeof(password));
	return r;
}

static enum turn_auth by_secret(struct attempt *at)
{
	const struct cfg_list *list = &at->x->secrets;
	const struct turn_secret_section *secrets = list->items;
	struct text name;
	uint64_t expiry;
	int r = 0;
	size_t i;

	if (!list->n || !rest_parse(text_of(at->id->user), &expiry, &name))
		return TURN_AUTH_UNKNOWN_USER;
	for (i = 0; i < list->n; i++) {
		r = try_secret(at, &secrets[i]);
		if (r != 0)
			break;
	}
	if (r != 1)
		return auth_of(r);
	snprintf(at->id->account, sizeof(at->id->account), "%.*s", TEXT_FMT(name));
	snprintf(at->id->secret_id, sizeof(at->id->secret_id), "%s", secrets[i].id);
	at->id->expires_unix = expiry;
	if (at->o->unix_s <= expiry)
		return TURN_AUTH_OK;
	at->detail = at->o->unix_s - expiry;
	at->key = turn_key_unref(at->key);
	return TURN_AUTH_EXPIRED;
}

/* ---- named users, and the single password ---- */

static enum turn_auth by_user(struct attempt *at)
{
	const struct policy_user *u = policy_user_find(at->x, text_of(at->id->user));

	return u ? auth_of(try_password(at, text_of(u->password))) : TURN_AUTH_UNKNOWN_USER;
}

static enum turn_auth by_password(struct attempt *at)
{
	if (!at->x->password || policy_user_find(at->x, text_of(at->id->user)))
		return TURN_AUTH_UNKNOWN_USER;
	return auth_of(try_password(at, text_of(at->x->password)));
}

static enum turn_auth by_name(struct attempt *at)
{
	static enum turn_auth (*const sources[])(struct attempt *) = { by_secret, by_user, by_password };
	enum turn_auth worst = TURN_AUTH_UNKNOWN_USER;

	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		enum turn_auth a = sources[i](at);

		if (a == TURN_AUTH_WRONG_PASSWORD)
			worst = a;
		else if (a != TURN_AUTH_UNKNOWN_USER)
			return a;
	}
	return worst == TURN_AUTH_UNKNOWN_USER ? unknown(at, worst) : worst;
}

/* ---- the request ---- */

static void set_identity(struct turn_identity *id, struct text prepared)
{
	memcpy(id->user, prepared.p, prepared.n);
	memcpy(id->account, prepared.p, prepared.n);
}

static enum turn_auth by_userhash(struct attempt *at)
{
	const struct stun_value *v = &at->m->attr[STUN_A_USERHASH];
	const struct policy_user *u = v->n == STUN_USERHASH_LEN ? policy_user_by_hash(at->x, v->p) : NULL;

	if (!u)
		return unknown(at, TURN_AUTH_UNKNOWN_USERHASH);
	at->user = text_of(u->name);
	set_identity(at->id, at->user);
	return auth_of(try_password(at, text_of(u->password)));
}

static enum turn_auth by_username(struct attempt *at)
{
	char prepared[POLICY_NAME_MAX + 1];
	size_t n = 0;
	int r = stun_get_text(at->m, STUN_A_USERNAME, &at->user);

	if (r == 0)
		r = stun_opaque_string(at->user, prepared, sizeof(prepared), &n);
	if (r < 0 || n > POLICY_NAME_MAX)
		return r == -ENOMEM ? TURN_AUTH_NO_MEMORY : TURN_AUTH_BAD_USERNAME;
	set_identity(at->id, (struct text){ prepared, n });
	return by_name(at);
}

enum turn_auth turn_realm_authenticate(const struct turn_realm *x, const struct stun_msg *m, const struct turn_auth_options *o,
				       struct turn_identity *ret_id, struct turn_key **ret_key, uint64_t *ret_detail)
{
	struct attempt at = { .x = x, .m = m, .o = o, .id = ret_id };
	struct text realm;
	enum turn_auth a;

	*ret_id = (struct turn_identity){ 0 };
	*ret_detail = 0;
	if (stun_get_text(m, STUN_A_REALM, &realm) != 0 || !text_eq(realm, text_of(x->name)))
		return TURN_AUTH_WRONG_REALM;
	a = turn_key_algorithm(m, &at.alg);
	if (a != TURN_AUTH_OK)
		return a;
	a = stun_has(m, STUN_A_USERHASH) ? by_userhash(&at) : by_username(&at);
	*ret_detail = at.detail;
	if (a == TURN_AUTH_OK)
		*ret_key = at.key;
	return a;
}

int turn_mint_credential(enum stun_mac mac, struct text secret, struct text name, uint64_t expiry_unix,
			 struct turn_minted *ret_m)
{
	struct turn_minted m;
	struct sb user = sb_init(m.user, sizeof(m.user));
	char password[REST_PASSWORD_SIZE];
	int r;

	sb_fmt(&user, "%llu%s", (unsigned long long)expiry_unix, name.n ? ":" : "");
	sb_text(&user, name);
	if (user.truncated)
		return -ENOSPC;
	r = rest_password(mac, secret, (struct text){ user.p, user.n }, password);
	if (r == 0) {
		snprintf(m.password, sizeof(m.password), "%s", password);
		*ret_m = m;
	}
	bytes_wipe(password, sizeof(password));
	bytes_wipe(&m, sizeof(m));
	return r;
}
