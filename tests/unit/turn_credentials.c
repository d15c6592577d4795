/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn/credentials.c and turn/key.c: requests signed as clients sign them, against a policy with every
 * kind of credential. The minting vectors were computed with Python's hmac module.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "turn/policy.h"

#define SECRET_OLD "the-old-secret-of-2025"
#define SECRET_NEW "the-new-secret-of-2026"
enum { NOW = 1700000000 };

/* ---- a client ---- */

struct client {
	const char *user, *password, *realm; /* realm NULL: "example.org" */
	enum stun_algorithm alg;	     /* 0: MD5 and silent about it, as RFC 5389 */
	enum stun_mac mac;
	const char *hash_of;		     /* USERHASH of this name instead of USERNAME */
	const char *key_user;		     /* name in the key, if not user */
	bool no_list, no_choice, other_list; /* ways to get PASSWORD-ALGORITHMS wrong */
	bool both_macs;			     /* a wrong SHA-1 one in front of the right SHA-256 one */
	bool unsigned_;
};

struct request {
	uint8_t buf[1200];
	struct stun_msg m;
};

static void put_algorithms(struct stun_writer *sw, const struct client *c)
{
	static const uint8_t md5_only[] = { 0, STUN_ALG_MD5, 0, 0 };

	if (!c->alg)
		return;
	if (c->other_list)
		stun_put(sw, STUN_A_PASSWORD_ALGORITHMS, md5_only, sizeof(md5_only));
	else if (!c->no_list)
		stun_put_password_algorithms(sw);
	if (!c->no_choice)
		stun_put_password_algorithm(sw, c->alg);
}

static void sign(struct stun_writer *sw, const struct client *c)
{
	_cleanup_(stun_key_freep) struct stun_key *k = NULL;
	_cleanup_(stun_key_freep) struct stun_key *wrong = NULL;
	const char *user = c->key_user ? c->key_user : c->hash_of ? c->hash_of : c->user;

	if (c->unsigned_)
		return;
	assert_int_equal(stun_key_short_term(STUN_MAC_SHA1, TEXT("wrong"), &wrong), 0);
	if (c->both_macs)
		stun_put_integrity(sw, wrong);
	assert_int_equal(stun_key_long_term(c->alg ? c->alg : STUN_ALG_MD5, c->mac, text_of(user),
					    text_of(c->realm ? c->realm : "example.org"), text_of(c->password), &k), 0);
	stun_put_integrity(sw, k);
}

static void make_request(struct request *rq, const struct client *c)
{
	static const uint8_t tid[STUN_TID_LEN] = "transaction";
	uint8_t hash[STUN_USERHASH_LEN];
	struct stun_writer sw;
	ssize_t n;

	stun_begin(&sw, rq->buf, sizeof(rq->buf), STUN_ALLOCATE, STUN_REQUEST, tid);
	if (c->hash_of) {
		stun_userhash(text_of(c->hash_of), TEXT("example.org"), hash);
		stun_put(&sw, STUN_A_USERHASH, hash, sizeof(hash));
	} else {
		stun_put_text(&sw, STUN_A_USERNAME, text_of(c->user));
	}
	stun_put_text(&sw, STUN_A_REALM, text_of(c->realm ? c->realm : "example.org"));
	stun_put_text(&sw, STUN_A_NONCE, TEXT("checked elsewhere"));
	put_algorithms(&sw, c);
	sign(&sw, c);
	n = stun_end(&sw);
	assert_true(n > 0);
	assert_int_equal(stun_parse(rq->buf, (size_t)n, &rq->m), STUN_OK);
}

/* ---- a server ---- */

enum { WITH_PASSWORD = 1, WITH_USERS = 2, WITH_SECRETS = 4, WITH_ALL = 7 };

static struct turn_policy *policy_of(int with)
{
	struct turn_user_section users[] = { { "alice", "alice-secret" }, { "Zo\xc3\xab", "p\xc3\xa4sswort" } };
	struct turn_secret_section secrets[] = { { "2025", SECRET_OLD }, { "2026", SECRET_NEW } };
	struct turn_config cfg = {
		.realm = "example.org",
		.password = with & WITH_PASSWORD ? "one-for-all" : NULL,
		.users = { users, with & WITH_USERS ? 2 : 0 },
		.secrets = { secrets, with & WITH_SECRETS ? 2 : 0 },
	};
	struct turn_policy *p = NULL;
	char err[256];

	assert_int_equal(turn_policy_new(&cfg, NULL, 0, err, sizeof(err), &p), 0);
	return p;
}

struct answer {
	enum turn_auth auth;
	struct turn_identity id;
	uint64_t detail;
};

static struct answer ask(int with, const struct client *c)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = policy_of(with);
	struct turn_key *k = NULL;
	struct request rq;
	struct answer a;

	make_request(&rq, c);
	a.auth = turn_realm_authenticate(turn_policy_realm(p, 0), &rq.m, &(struct turn_auth_options){ NOW, NULL }, &a.id, &k, &a.detail);
	assert_int_equal(k != NULL, a.auth == TURN_AUTH_OK);
	if (k)
		assert_true(turn_key_check(k, &rq.m));
	turn_key_unref(k);
	return a;
}

/* ---- the single password ---- */

static void the_single_password_goes_with_any_name(void **state)
{
	static const char *const names[] = { "alice", "x", "1700000000:bob", "12345", "J\xc3\xbcrgen", "a b", "user@host" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct answer a = ask(WITH_PASSWORD, &(struct client){ .user = names[i], .password = "one-for-all" });

		assert_int_equal(a.auth, TURN_AUTH_OK);
		assert_string_equal(a.id.user, names[i]);
		assert_string_equal(a.id.account, names[i]);
		assert_string_equal(a.id.secret_id, "");
		assert_int_equal(a.id.expires_unix, 0);
	}
}

static void a_wrong_password_is_refused(void **state)
{
	static const char *const passwords[] = { "", "one-for-al", "one-for-all ", "One-for-all", "one-for-alll" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(passwords); i++) {
		struct answer a = ask(WITH_ALL, &(struct client){ .user = "bob", .password = passwords[i] });

		assert_int_equal(a.auth, TURN_AUTH_WRONG_PASSWORD);
		assert_string_equal(a.id.user, "bob");
	}
}

static void a_request_without_integrity_is_refused(void **state)
{
	(void)state;
	assert_int_equal(ask(WITH_ALL, &(struct client){ .user = "bob", .password = "", .unsigned_ = true }).auth,
			 TURN_AUTH_WRONG_PASSWORD);
	assert_int_equal(ask(WITH_USERS, &(struct client){ .user = "bob", .password = "", .unsigned_ = true }).auth,
			 TURN_AUTH_UNKNOWN_USER);
}

/* ---- named users ---- */

static void a_named_user_has_an_own_password_and_no_other(void **state)
{
	(void)state;
	assert_int_equal(ask(WITH_USERS, &(struct client){ .user = "alice", .password = "alice-secret" }).auth, TURN_AUTH_OK);
	assert_int_equal(ask(WITH_USERS, &(struct client){ .user = "alice", .password = "other" }).auth,
			 TURN_AUTH_WRONG_PASSWORD);
	assert_int_equal(ask(WITH_USERS, &(struct client){ .user = "Alice", .password = "alice-secret" }).auth,
			 TURN_AUTH_UNKNOWN_USER);
	assert_int_equal(ask(WITH_ALL, &(struct client){ .user = "alice", .password = "alice-secret" }).auth, TURN_AUTH_OK);
	/* else whoever knows the one password could be alice */
	assert_int_equal(ask(WITH_ALL, &(struct client){ .user = "alice", .password = "one-for-all" }).auth,
			 TURN_AUTH_WRONG_PASSWORD);
}

static void an_unknown_user_is_unknown_whatever_the_password(void **state)
{
	static const char *const passwords[] = { "alice-secret", "nobody has this name", "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(passwords); i++)
		assert_int_equal(ask(WITH_USERS, &(struct client){ .user = "mallory", .password = passwords[i] }).auth,
				 TURN_AUTH_UNKNOWN_USER);
}

static void names_and_passwords_beyond_ascii_work_in_their_normal_form(void **state)
{
	struct answer a = ask(WITH_USERS, &(struct client){ .user = "Zo\xc3\xab", .password = "p\xc3\xa4sswort" });

	(void)state;
	assert_int_equal(a.auth, TURN_AUTH_OK);
	/* decomposed (e + U+0308) and hashed as sent, by a client that does not normalise */
	a = ask(WITH_USERS, &(struct client){ .user = "Zoe\xcc\x88", .password = "p\xc3\xa4sswort" });
	assert_int_equal(a.auth, TURN_AUTH_OK);
	assert_string_equal(a.id.user, "Zo\xc3\xab");
	assert_string_equal(a.id.account, "Zo\xc3\xab");
}

static void a_name_that_is_no_text_or_too_long_is_refused(void **state)
{
	static char long_name[300];
	static const char *const names[] = { "bad\xff", "a\nb", "a\x7f", long_name };

	(void)state;
	memset(long_name, 'a', 256);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct answer a = ask(WITH_ALL, &(struct client){ .user = names[i], .password = "one-for-all" });

		assert_int_equal(a.auth, TURN_AUTH_BAD_USERNAME);
		assert_string_equal(a.id.user, "");
	}
	long_name[255] = 0;
	assert_int_equal(ask(WITH_ALL, &(struct client){ .user = long_name, .password = "one-for-all" }).auth, TURN_AUTH_OK);
}

static void a_user_hash_finds_a_named_user_only(void **state)
{
	struct client c = { .hash_of = "alice", .password = "alice-secret", .alg = STUN_ALG_SHA256, .mac = STUN_MAC_SHA256 };
	struct answer a = ask(WITH_USERS, &c);

	(void)state;
	assert_int_equal(a.auth, TURN_AUTH_OK);
	assert_string_equal(a.id.user, "alice");
	c.password = "one-for-all";
	assert_int_equal(ask(WITH_ALL, &c).auth, TURN_AUTH_WRONG_PASSWORD);
	c.hash_of = "bob";
	assert_int_equal(ask(WITH_ALL, &c).auth, TURN_AUTH_UNKNOWN_USERHASH);
	assert_int_equal(ask(WITH_PASSWORD, &c).auth, TURN_AUTH_UNKNOWN_USERHASH);
}

/* ---- time-limited credentials ---- */

static void every_secret_opens_with_both_hashes(void **state)
{
	static const char *const secrets[] = { SECRET_OLD, SECRET_NEW };
	static const char *const ids[] = { "2025", "2026" };
	static const enum stun_mac macs[] = { STUN_MAC_SHA1, STUN_MAC_SHA256 };
	struct turn_minted m;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(turn_mint_credential(macs[i & 1], text_of(secrets[i / 2]), TEXT("alice"), NOW + 60, &m), 0);
		struct answer a = ask(i & 1 ? WITH_ALL : WITH_SECRETS, &(struct client){ .user = m.user, .password = m.password });

		assert_int_equal(a.auth, TURN_AUTH_OK);
		assert_string_equal(a.id.user, "1700000060:alice");
		assert_string_equal(a.id.account, "alice");
		assert_string_equal(a.id.secret_id, ids[i / 2]);
		assert_int_equal(a.id.expires_unix, NOW + 60);
	}
}

static void an_expired_credential_says_for_how_long(void **state)
{
	struct turn_minted m;
	struct answer a;

	(void)state;
	assert_int_equal(turn_mint_credential(STUN_MAC_SHA1, TEXT(SECRET_NEW), TEXT("bob"), NOW - 40, &m), 0);
	a = ask(WITH_ALL, &(struct client){ .user = m.user, .password = m.password });
	assert_int_equal(a.auth, TURN_AUTH_EXPIRED);
	assert_int_equal(a.detail, 40);
	assert_string_equal(a.id.account, "bob");
	assert_string_equal(a.id.secret_id, "2026");
	assert_int_equal(turn_mint_credential(STUN_MAC_SHA1, TEXT(SECRET_NEW), TEXT("bob"), NOW, &m), 0);
	assert_int_equal(ask(WITH_ALL, &(struct client){ .user = m.user, .password = m.password }).auth, TURN_AUTH_OK);
}

static void expiry_is_not_admitted_to_someone_without_the_secret(void **state)
{
	struct answer a = ask(WITH_SECRETS, &(struct client){ .user = "1600000000:bob", .password = "guess" });

	(void)state;
	assert_int_equal(a.auth, TURN_AUTH_WRONG_PASSWORD);
	assert_int_equal(a.detail, 0);
}

static void a_later_expiry_cannot_be_written_over_a_minted_one(void **state)
{
	struct turn_minted m;

	(void)state;
	assert_int_equal(turn_mint_credential(STUN_MAC_SHA1, TEXT(SECRET_NEW), TEXT("bob"), NOW - 40, &m), 0);
	assert_int_equal(ask(WITH_SECRETS, &(struct client){ .user = "1800000000:bob", .password = m.password }).auth,
			 TURN_AUTH_WRONG_PASSWORD);
	assert_int_equal(ask(WITH_SECRETS, &(struct client){ .user = "1800000000:bob", .key_user = m.user,
							     .password = m.password }).auth, TURN_AUTH_WRONG_PASSWORD);
}

static void an_expiry_alone_is_a_user_too(void **state)
{
	struct turn_minted m;
	struct answer a;

	(void)state;
	assert_int_equal(turn_mint_credential(STUN_MAC_SHA256, TEXT(SECRET_OLD), TEXT(""), NOW + 9, &m), 0);
	a = ask(WITH_SECRETS, &(struct client){ .user = m.user, .password = m.password });
	assert_int_equal(a.auth, TURN_AUTH_OK);
	assert_string_equal(a.id.account, "1700000009");
}

static void what_is_no_expiry_is_no_time_limited_credential(void **state)
{
	static const char *const names[] = { "alice:1800000000", "18446744073709551616:bob", "-1:bob", " 1800000000:bob", ":bob",
					     "0x7fffffff:bob", "1800000000bob" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		assert_int_equal(ask(WITH_SECRETS, &(struct client){ .user = names[i], .password = "x" }).auth,
				 TURN_AUTH_UNKNOWN_USER);
		assert_int_equal(ask(WITH_ALL, &(struct client){ .user = names[i], .password = "one-for-all" }).auth,
				 TURN_AUTH_OK);
	}
}

static void minting_matches_the_vectors(void **state)
{
	static const struct {
		const char *secret, *name;
		uint64_t expiry;
		const char *user, *sha1, *sha256;
	} rows[] = {
		{ "s3cr3t-of-the-rest-api", "alice", 1700000000, "1700000000:alice", "JdybcACsgfI09S3gAdB28zPpGS0=",
		  "9rtkrU6WmEexT/ltrHc/XVEXepK9wmleJ1NvhIWuUKQ=" },
		{ "k", "", 4102444800, "4102444800", "ordorOJ/KkMQDFMM8b/kqQIsgTI=",
		  "9h35v2AXOqN6Wm97khGd66ibGR1WhKo8JL6M4cwDsy0=" },
		{ "\xd1\x81\xd0\xb5\xd0\xba\xd1\x80\xd0\xb5\xd1\x82", "Zo\xc3\xab:mobile", 1893456000,
		  "1893456000:Zo\xc3\xab:mobile", "NhVFM9yOyexYrjwSu0Wey/I1dE0=",
		  "JuTYs9mNopz5yey9LLd8UJQNVSIzuR6gxH8+Gu6SnVA=" },
	};
	struct turn_minted m;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct text secret = text_of(rows[i].secret), name = text_of(rows[i].name);

		assert_int_equal(turn_mint_credential(STUN_MAC_SHA1, secret, name, rows[i].expiry, &m), 0);
		assert_string_equal(m.user, rows[i].user);
		assert_string_equal(m.password, rows[i].sha1);
		assert_int_equal(turn_mint_credential(STUN_MAC_SHA256, secret, name, rows[i].expiry, &m), 0);
		assert_string_equal(m.user, rows[i].user);
		assert_string_equal(m.password, rows[i].sha256);
	}
}

static void a_name_too_long_to_mint_is_refused(void **state)
{
	char name[260];
	struct turn_minted m = { .user = "untouched" };

	(void)state;
	memset(name, 'n', sizeof(name));
	assert_int_equal(turn_mint_credential(STUN_MAC_SHA1, TEXT("k"), (struct text){ name, 245 }, 1700000000, &m), -ENOSPC);
	assert_string_equal(m.user, "untouched");
	assert_int_equal(turn_mint_credential(STUN_MAC_SHA1, TEXT("k"), (struct text){ name, 244 }, 1700000000, &m), 0);
}

/* ---- algorithms, realm ---- */

static void every_algorithm_goes_with_every_mac(void **state)
{
	static const enum stun_algorithm algs[] = { 0, STUN_ALG_MD5, STUN_ALG_SHA256 };

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		struct client c = { .user = "alice", .password = "alice-secret", .alg = algs[i / 2],
				    .mac = i & 1 ? STUN_MAC_SHA256 : STUN_MAC_SHA1 };

		assert_int_equal(ask(WITH_USERS, &c).auth, TURN_AUTH_OK);
		c.password = "alice-secret2";
		assert_int_equal(ask(WITH_USERS, &c).auth, TURN_AUTH_WRONG_PASSWORD);
	}
}

static void the_stronger_of_two_macs_decides(void **state)
{
	struct client c = { .user = "alice", .password = "alice-secret", .mac = STUN_MAC_SHA256, .both_macs = true };

	(void)state;
	assert_int_equal(ask(WITH_USERS, &c).auth, TURN_AUTH_OK);
	c.password = "wrong";
	assert_int_equal(ask(WITH_USERS, &c).auth, TURN_AUTH_WRONG_PASSWORD);
}

static void an_altered_offer_of_algorithms_is_refused(void **state)
{
	struct client c = { .user = "alice", .password = "alice-secret", .alg = STUN_ALG_MD5 };
	struct client no_list = c, no_choice = c, other = c, unknown = c;

	(void)state;
	no_list.no_list = no_choice.no_choice = other.other_list = true;
	unknown.alg = (enum stun_algorithm)3;
	assert_int_equal(ask(WITH_USERS, &c).auth, TURN_AUTH_OK);
	assert_int_equal(ask(WITH_USERS, &no_list).auth, TURN_AUTH_BAD_ALGORITHM);
	assert_int_equal(ask(WITH_USERS, &no_choice).auth, TURN_AUTH_BAD_ALGORITHM);
	assert_int_equal(ask(WITH_USERS, &other).auth, TURN_AUTH_BAD_ALGORITHM);
	unknown.unsigned_ = true; /* our own library makes no key for it */
	assert_int_equal(ask(WITH_USERS, &unknown).auth, TURN_AUTH_BAD_ALGORITHM);
}

static void another_realm_is_refused(void **state)
{
	static const char *const realms[] = { "example.com", "example.or", "example.orgx", "Example.org" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(realms); i++)
		assert_int_equal(ask(WITH_ALL, &(struct client){ .user = "bob", .password = "one-for-all", .realm = realms[i] }).auth,
				 TURN_AUTH_WRONG_REALM);
}

static void every_reason_has_its_text(void **state)
{
	(void)state;
	for (int a = 0; a < TURN_AUTH_CODES; a++) {
		assert_non_null(turn_auth_text(a));
		for (int b = 0; b < a; b++)
			assert_string_not_equal(turn_auth_text(a), turn_auth_text(b));
	}
	assert_non_null(turn_auth_text(TURN_AUTH_CODES));
}

/* ---- keys ---- */

static struct turn_key *key_for(const struct turn_policy *p, const struct client *c, struct request *rq)
{
	struct turn_identity id;
	struct turn_key *k = NULL;
	uint64_t detail;

	make_request(rq, c);
	assert_int_equal(turn_realm_authenticate(turn_policy_realm(p, 0), &rq->m, &(struct turn_auth_options){ NOW, NULL }, &id, &k, &detail), TURN_AUTH_OK);
	return k;
}

static void a_key_knows_its_own_requests_and_no_others(void **state)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = policy_of(WITH_ALL);
	struct client bob = { .user = "bob", .password = "one-for-all" }, eve = { .user = "eve", .password = "one-for-all" };
	struct client bob256 = bob, choosy = bob, sly = bob;
	struct request rq;
	struct turn_key *k = key_for(p, &bob, &rq);

	(void)state;
	bob256.mac = STUN_MAC_SHA256; /* the same key under the other MAC */
	make_request(&rq, &bob256);
	assert_true(turn_key_check(k, &rq.m));
	make_request(&rq, &eve);
	assert_false(turn_key_check(k, &rq.m));
	choosy.alg = STUN_ALG_SHA256; /* another key of the same user */
	make_request(&rq, &choosy);
	assert_false(turn_key_check(k, &rq.m));
	sly.alg = STUN_ALG_MD5;
	sly.other_list = true;
	make_request(&rq, &sly);
	assert_false(turn_key_check(k, &rq.m));
	rq.buf[25] ^= 1;
	assert_false(turn_key_check(k, &rq.m));
	turn_key_unref(k);
}

/* What answers c, and with which key; the reference is given back. */
static enum turn_auth judge(const struct turn_policy *p, struct turn_keys *keys, const struct client *c, struct turn_key **ret_k)
{
	struct turn_identity id;
	struct turn_key *k = NULL;
	struct request rq;
	uint64_t detail;

	make_request(&rq, c);
	enum turn_auth a = turn_realm_authenticate(turn_policy_realm(p, 0), &rq.m, &(struct turn_auth_options){ NOW, keys },
						   &id, &k, &detail);
	assert_int_equal(k != NULL, a == TURN_AUTH_OK);
	if (k)
		assert_true(turn_key_check(k, &rq.m));
	*ret_k = k;
	turn_key_unref(k);
	return a;
}

static void a_kept_key_is_found_again_and_lets_nobody_else_in(void **state)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = policy_of(WITH_ALL);
	struct turn_keys *keys = turn_keys_new();
	struct client bob = { .user = "bob", .password = "one-for-all" }, eve = { .user = "eve", .password = "one-for-all" };
	struct client wrong = { .user = "bob", .password = "guess" }, choosy = bob;
	struct turn_key *first, *again, *other;

	(void)state;
	assert_non_null(keys);
	assert_int_equal(judge(p, keys, &wrong, &first), TURN_AUTH_WRONG_PASSWORD); /* a wrong one is not kept */
	assert_int_equal(judge(p, keys, &bob, &first), TURN_AUTH_OK);
	assert_int_equal(judge(p, keys, &bob, &again), TURN_AUTH_OK);
	assert_ptr_equal(again, first);
	assert_int_equal(judge(p, keys, &wrong, &other), TURN_AUTH_WRONG_PASSWORD);
	assert_int_equal(judge(p, keys, &eve, &other), TURN_AUTH_OK);
	assert_ptr_not_equal(other, first);
	choosy.alg = STUN_ALG_SHA256;
	assert_int_equal(judge(p, keys, &choosy, &other), TURN_AUTH_OK);
	for (unsigned i = 0; i < 500; i++) { /* more than there are places */
		char name[16];
		struct client c = { .user = name, .password = "one-for-all" };

		snprintf(name, sizeof(name), "user%u", i);
		assert_int_equal(judge(p, keys, &c, &other), TURN_AUTH_OK);
	}
	turn_keys_clear(keys);
	assert_int_equal(judge(p, keys, &bob, &again), TURN_AUTH_OK);
	assert_null(turn_keys_free(keys));
	assert_null(turn_keys_free(NULL));
}

static void a_key_outlives_its_policy_while_it_is_referenced(void **state)
{
	struct turn_policy *p = policy_of(WITH_ALL);
	struct request rq;
	struct turn_key *k = key_for(p, &(struct client){ .user = "bob", .password = "one-for-all" }, &rq);

	(void)state;
	turn_policy_unref(p);
	assert_ptr_equal(turn_key_ref(k), k);
	assert_null(turn_key_unref(k));
	assert_true(turn_key_check(k, &rq.m));
	assert_null(turn_key_unref(k));
	assert_null(turn_key_ref(NULL));
	assert_null(turn_key_unref(NULL));
}

/* RFC 8489 9.2.4: by the password algorithm of the request, whichever integrity that carried. */
static void an_answer_is_signed_by_the_password_algorithm(void **state)
{
	static const enum stun_algorithm algs[] = { 0, STUN_ALG_MD5, STUN_ALG_SHA256 };
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = policy_of(WITH_ALL);

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		_cleanup_(stun_key_freep) struct stun_key *theirs = NULL;
		struct client c = { .user = "bob", .password = "one-for-all", .alg = algs[i / 2],
				    .mac = i & 1 ? STUN_MAC_SHA256 : STUN_MAC_SHA1 };
		enum stun_mac mac = c.alg ? STUN_MAC_SHA256 : STUN_MAC_SHA1;
		uint8_t buf[200];
		struct stun_writer sw;
		struct stun_msg m;
		struct request rq;
		struct turn_key *k = key_for(p, &c, &rq);
		ssize_t n;

		stun_begin_response(&sw, buf, sizeof(buf), &rq.m, STUN_SUCCESS);
		turn_key_sign(k, &sw, &rq.m);
		n = stun_end(&sw);
		assert_int_equal(stun_parse(buf, (size_t)n, &m), STUN_OK);
		assert_int_equal(stun_has(&m, STUN_A_MESSAGE_INTEGRITY_SHA256), mac == STUN_MAC_SHA256);
		assert_int_equal(stun_has(&m, STUN_A_MESSAGE_INTEGRITY), mac == STUN_MAC_SHA1);
		assert_int_equal(stun_key_long_term(c.alg ? c.alg : STUN_ALG_MD5, mac, TEXT("bob"),
						    TEXT("example.org"), TEXT("one-for-all"), &theirs), 0);
		assert_true(stun_check_integrity(&m, theirs));
		turn_key_unref(k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_single_password_goes_with_any_name),
		cmocka_unit_test(a_wrong_password_is_refused),
		cmocka_unit_test(a_request_without_integrity_is_refused),
		cmocka_unit_test(a_named_user_has_an_own_password_and_no_other),
		cmocka_unit_test(an_unknown_user_is_unknown_whatever_the_password),
		cmocka_unit_test(names_and_passwords_beyond_ascii_work_in_their_normal_form),
		cmocka_unit_test(a_name_that_is_no_text_or_too_long_is_refused),
		cmocka_unit_test(a_user_hash_finds_a_named_user_only),
		cmocka_unit_test(every_secret_opens_with_both_hashes),
		cmocka_unit_test(an_expired_credential_says_for_how_long),
		cmocka_unit_test(expiry_is_not_admitted_to_someone_without_the_secret),
		cmocka_unit_test(a_later_expiry_cannot_be_written_over_a_minted_one),
		cmocka_unit_test(an_expiry_alone_is_a_user_too),
		cmocka_unit_test(what_is_no_expiry_is_no_time_limited_credential),
		cmocka_unit_test(minting_matches_the_vectors),
		cmocka_unit_test(a_name_too_long_to_mint_is_refused),
		cmocka_unit_test(every_algorithm_goes_with_every_mac),
		cmocka_unit_test(the_stronger_of_two_macs_decides),
		cmocka_unit_test(an_altered_offer_of_algorithms_is_refused),
		cmocka_unit_test(another_realm_is_refused),
		cmocka_unit_test(every_reason_has_its_text),
		cmocka_unit_test(a_key_knows_its_own_requests_and_no_others),
		cmocka_unit_test(a_kept_key_is_found_again_and_lets_nobody_else_in),
		cmocka_unit_test(a_key_outlives_its_policy_while_it_is_referenced),
		cmocka_unit_test(an_answer_is_signed_by_the_password_algorithm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
