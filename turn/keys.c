/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that a worker's server made lately, so that who makes several allocations, as each call does on each
 * interface, costs one hash of the password and one set of HMAC states. A place for each of the hash's values, and who
 * comes later takes it.
 *
 * An entry is found only by the same user, realm, password and algorithm, so it says nothing about who may come in: that
 * is still the policy's, which gave the password. Nobody can tell by the time whether a name was seen lately: a signature that
 * does not fit costs what it costs without an entry (turn/credentials.c). As secret as the passwords, wiped when forgotten.
 */
#include <string.h>
#include "common/bytes.h"
#include "common/hash.h"
#include "turn/policy_priv.h"

enum { PLACES = 128 };

struct turn_keys {
	struct hash_seed seed;
	struct entry {
		struct turn_key *key; /* referenced; NULL: free */
		enum stun_algorithm alg;
		size_t n[3];
		char *text; /* user, realm, password, one behind the other */
	} at[PLACES];
};

struct turn_keys *turn_keys_new(void)
{
	struct turn_keys *ks = calloc(1, sizeof *ks);

	if (ks)
		ks->seed = hash_seed_random();
	return ks;
}

static void forget(struct entry *e)
{
	if (e->text)
		bytes_wipe(e->text, e->n[0] + e->n[1] + e->n[2]);
	free(e->text);
	turn_key_unref(e->key);
	*e = (struct entry){ 0 };
}

void turn_keys_clear(struct turn_keys *ks)
{
	for (size_t i = 0; ks && i < PLACES; i++)
		forget(&ks->at[i]);
}

struct turn_keys *turn_keys_free(struct turn_keys *ks)
{
	turn_keys_clear(ks);
	free(ks);
	return NULL;
}

static struct entry *place_of(struct turn_keys *ks, const struct key_parts *parts)
{
	return &ks->at[hash_bytes(&ks->seed, parts->user.p, parts->user.n) % PLACES];
}

struct turn_key *turn_keys_find(struct turn_keys *ks, const struct key_parts *parts)
{
	const struct text run[] = { parts->user, parts->realm, parts->password };
	const struct entry *e = ks ? place_of(ks, parts) : NULL;
	const char *p = e ? e->text : NULL;

	if (!e || !e->key || e->alg != parts->alg)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(run); p += run[i++].n)
		if (!text_eq(run[i], (struct text){ p, e->n[i] }))
			return NULL;
	return e->key;
}

void turn_keys_keep(struct turn_keys *ks, const struct key_parts *parts, struct turn_key *k)
{
	const struct text run[] = { parts->user, parts->realm, parts->password };
	struct entry *e = ks ? place_of(ks, parts) : NULL, fresh = { .alg = parts->alg };
	size_t n = 0;

	if (!e || !(fresh.text = malloc(parts->user.n + parts->realm.n + parts->password.n + 1)))
		return; /* it is a gain, not a need */
	for (size_t i = 0; i < ARRAY_LEN(run); i++) {
		fresh.n[i] = run[i].n;
		if (run[i].n)
			memcpy(fresh.text + n, run[i].p, run[i].n);
		n += run[i].n;
	}
	fresh.key = turn_key_ref(k);
	forget(e);
	*e = fresh;
}
