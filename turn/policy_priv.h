/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a policy, for the files that compile and read it: policy.c makes and frees it,
 * credentials.c and peers.c look things up in it, key.c makes the keys. Nobody else includes this.
 *
 * All of it is written before the policy is shared and only read after, so no lock is needed.
 */
#pragma once
#include <openssl/evp.h>
#include <stdatomic.h>
#include "common/hash.h"
#include "turn/policy.h"

struct policy_user {
	struct hnode by_name, by_hash;
	char *name, *password; /* prepared by OpaqueString; the password is wiped when freed */
	uint8_t userhash[STUN_USERHASH_LEN];
};

struct turn_policy {
	_Atomic unsigned refs;
	struct turn_config cfg; /* own copy, without log; its secrets are wiped when freed */
	struct hash_seed seed;	/* strangers choose the names that are looked up */
	struct policy_user *users;
	size_t n_users;
	struct htable by_name, by_hash;
	char *password; /* prepared; NULL if there is none */
	struct addr *relay; /* canonical, port 0: where relay sockets are, or are seen from outside */
	size_t n_relay;
	struct addr *own; /* the same for all addresses of the machine */
	size_t n_own;
	EVP_MD *digest[STUN_ALG_SHA256 + 1]; /* by enum stun_algorithm */
};

enum { POLICY_NAME_MAX = 255 }; /* bytes of a user name, prepared: what struct turn_identity holds */

/* peers.c: relay addresses of p->cfg into p->relay. 0 or -ENOMEM. */
int policy_set_relay(struct turn_policy *p);

/* policy.c */
struct policy_user *policy_user_find(const struct turn_policy *p, struct text prepared_name);
struct policy_user *policy_user_by_hash(const struct turn_policy *p, const uint8_t userhash[STUN_USERHASH_LEN]);

/* key.c: H(user:realm:password) of the long-term mechanism (RFC 8489 9.2.2). 0 or -ENOMEM. */
struct key_parts {
	enum stun_algorithm alg;
	const EVP_MD *digest;
	struct text user, realm, password;
};
int turn_key_new(const struct key_parts *parts, struct turn_key **ret_k);
DEFINE_CLEANUP(struct turn_key, turn_key_unref)
/* 1 if the message's integrity is of this key, 0 if not, -ENOMEM. */
int turn_key_matches(struct turn_key *k, const struct stun_msg *m);
/* The algorithm that a request claims (RFC 8489 9.2.4): MD5 if it says nothing. 0 or
 * TURN_AUTH_BAD_ALGORITHM. */
enum turn_auth turn_key_algorithm(const struct stun_msg *m, enum stun_algorithm *ret_alg);
