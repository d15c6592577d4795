/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a policy, for the files that compile and read it: policy.c makes and frees it, realm.c
 * compiles one realm, policy_values.c copies plain values, credentials.c and peers.c look things up, key.c
 * makes the keys. Nobody else includes this.
 *
 * All of it is written before the policy is shared and only read after, so no lock is needed.
 */
#pragma once
#include "turn/realm.h"

struct policy_slot {
	struct turn_realm *realm; /* referenced; NULL: free */
	bool retired; /* no longer configured: what lives in it goes on, nobody new comes in */
};

struct turn_policy {
	_Atomic unsigned refs;
	struct turn_config cfg; /* own copy, without log and realms; its secrets are wiped when freed */
	struct turn_realm **realms; /* the configured ones, referenced; the first is the default realm */
	size_t n_realms;
	struct policy_slot slots[TURN_REALM_SLOTS];
	struct addr *relay; /* canonical, port 0: relay sockets as clients know them */
	size_t n_relay;
	struct turn_relay_pair *pairs; /* canonical, ports 0; outside differs from inside */
	size_t n_pairs;
	struct addr *own; /* the same for all addresses of the machine */
	size_t n_own;
};

enum {
	POLICY_NAME_MAX = 255, /* bytes of a user name, prepared: what struct turn_identity holds */
	ALLOCATIONS_PER_USER = 20, /* what limits.allocations_per_user is when nobody wrote it */
};

/* What can go wrong goes here as a sentence. */
struct policy_error {
	char *text;
	size_t n;
};
int policy_refuse(const struct policy_error *e, const char *fmt, ...) _printf_(2, 3); /* -EINVAL */

/* peers.c: relay addresses of p->cfg into p->relay. 0 or -ENOMEM. */
int policy_set_relay(struct turn_policy *p);

/* realm.c. section NULL: the default realm of cfg, whose slot is 0. */
struct realm_sources {
	const struct turn_config *cfg; /* as read: limits that nobody wrote are 0 */
	const struct turn_realm_section *section;
	const struct turn_extra_user *extra; /* of all realms */
	size_t n_extra;
};
int turn_realm_new(const struct realm_sources *from, const struct policy_error *e, struct turn_realm **ret_r);
struct turn_realm *turn_realm_ref(struct turn_realm *r);
struct turn_realm *turn_realm_unref(struct turn_realm *r);
DEFINE_CLEANUP(struct turn_realm, turn_realm_unref)
struct policy_user *policy_user_find(const struct turn_realm *r, struct text prepared_name);
struct policy_user *policy_user_by_hash(const struct turn_realm *r, const uint8_t userhash[STUN_USERHASH_LEN]);

/* policy_values.c. 0 or -ENOMEM; what was copied so far is the caller's to free. */
int policy_copy_string(const char *in, char **ret_out);
int policy_copy_list(const struct cfg_list *in, size_t item, struct cfg_list *ret_out);
int policy_copy_names(const struct cfg_list *in, struct cfg_list *ret_out); /* of char * */
int policy_copy_pairs(const struct cfg_list *in, struct cfg_list *ret_out); /* users, secrets */
void policy_free_names(struct cfg_list *list);
void policy_free_pairs(struct cfg_list *list); /* wipes the second of each */
char *policy_wipe_free(char *s);
int policy_copy_values(struct turn_config *to, const struct turn_config *from); /* limits resolved */
void policy_free_values(struct turn_config *c);
void policy_resolve_limits(struct turn_config *c);
void policy_resolve(uint64_t *limit, uint64_t n, uint64_t each); /* of what was not written: n times each */

/* key.c: H(user:realm:password) of the long-term mechanism (RFC 8489 9.2.2). 0 or -ENOMEM. */
struct key_parts {
	enum stun_algorithm alg;
	const EVP_MD *digest;
	struct text user, realm, password;
};
int turn_key_new(const struct key_parts *parts, struct turn_key **ret_k);
DEFINE_CLEANUP(struct turn_key, turn_key_unref)
/* keys.c. NULL: not there. The key is the cache's. */
struct turn_key *turn_keys_find(struct turn_keys *ks, const struct key_parts *parts);
void turn_keys_keep(struct turn_keys *ks, const struct key_parts *parts, struct turn_key *k);
/* 1 if the message's integrity is of this key, 0 if not, -ENOMEM. */
int turn_key_matches(struct turn_key *k, const struct stun_msg *m);
int turn_key_prepare(struct turn_key *k, const struct stun_msg *m); /* only makes the states for it: 0 or -ENOMEM */
/* The algorithm that a request claims (RFC 8489 9.2.4): MD5 if it says nothing. 0 or
 * TURN_AUTH_BAD_ALGORITHM. */
enum turn_auth turn_key_algorithm(const struct stun_msg *m, enum stun_algorithm *ret_alg);
