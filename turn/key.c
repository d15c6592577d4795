/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key of one identity: H(user:realm:password) of the long-term mechanism (RFC 8489 9.2.2, 18.5.1),
 * and, once a message has used them, its saved HMAC states for MESSAGE-INTEGRITY and
 * MESSAGE-INTEGRITY-SHA256. It belongs to one worker: its count is a plain number. As secret as the
 * password; wiped when the last reference goes.
 */
#include <errno.h>
#include <string.h>
#include "turn/policy_priv.h"

struct turn_key {
	unsigned refs;
	enum stun_algorithm alg;
	unsigned n; /* bytes in hash: 16 or 32 */
	uint8_t hash[EVP_MAX_MD_SIZE / 2];
	struct stun_key *state[STUN_MAC_SHA256 + 1]; /* by enum stun_mac; NULL until needed */
};

static int hash_parts(const struct key_parts *parts, struct turn_key *k)
{
	const struct text run[] = { parts->user, TEXT(":"), parts->realm, TEXT(":"), parts->password };
	EVP_MD_CTX *c;
	bool good;

	if ((size_t)EVP_MD_get_size(parts->digest) > sizeof(k->hash))
		return -EINVAL;
	c = EVP_MD_CTX_new();
	good = c && EVP_DigestInit_ex(c, parts->digest, NULL);
	for (size_t i = 0; good && i < ARRAY_LEN(run); i++)
		good = EVP_DigestUpdate(c, run[i].p, run[i].n);
	good = good && EVP_DigestFinal_ex(c, k->hash, &k->n);
	EVP_MD_CTX_free(c); /* cleanses */
	return good ? 0 : -ENOMEM;
}

int turn_key_new(const struct key_parts *parts, struct turn_key **ret_k)
{
	_cleanup_(turn_key_unrefp) struct turn_key *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	k->refs = 1;
	k->alg = parts->alg;
	r = hash_parts(parts, k);
	if (r < 0)
		return r;
	*ret_k = steal_ptr(&k);
	return 0;
}

struct turn_key *turn_key_copy(const struct turn_key *k)
{
	struct turn_key *copy = k ? calloc(1, sizeof(*copy)) : NULL;

	if (!copy)
		return NULL;
	copy->refs = 1;
	copy->alg = k->alg;
	copy->n = k->n;
	memcpy(copy->hash, k->hash, sizeof(copy->hash));
	return copy;
}

struct turn_key *turn_key_ref(struct turn_key *k)
{
	if (k)
		k->refs++;
	return k;
}

struct turn_key *turn_key_unref(struct turn_key *k)
{
	if (!k || --k->refs)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(k->state); i++)
		stun_key_free(k->state[i]);
	bytes_wipe(k, sizeof(*k));
	free(k);
	return NULL;
}

enum turn_auth turn_key_algorithm(const struct stun_msg *m, enum stun_algorithm *ret_alg)
{
	bool one = stun_has(m, STUN_A_PASSWORD_ALGORITHM), list = stun_has(m, STUN_A_PASSWORD_ALGORITHMS);

	*ret_alg = STUN_ALG_MD5;
	if (!one && !list)
		return TURN_AUTH_OK; /* a client of RFC 5389 */
	if (!one || !list || !stun_password_algorithms_equal_ours(m) ||
	    stun_get_password_algorithm(m, ret_alg) != 0)
		return TURN_AUTH_BAD_ALGORITHM;
	return *ret_alg == STUN_ALG_MD5 || *ret_alg == STUN_ALG_SHA256 ? TURN_AUTH_OK :
									  TURN_AUTH_BAD_ALGORITHM;
}

/* A message with both is judged by the stronger one (RFC 8489 9.2.4). */
static enum stun_mac mac_of(const struct stun_msg *m)
{
	return stun_has(m, STUN_A_MESSAGE_INTEGRITY_SHA256) ? STUN_MAC_SHA256 : STUN_MAC_SHA1;
}

static int state_for(struct turn_key *k, enum stun_mac mac, const struct stun_key **ret_state)
{
	if (!k->state[mac]) {
		int r = stun_key_raw(mac, k->hash, k->n, &k->state[mac]);

		if (r < 0)
			return r;
	}
	*ret_state = k->state[mac];
	return 0;
}

int turn_key_matches(struct turn_key *k, const struct stun_msg *m)
{
	const struct stun_key *state;
	int r = state_for(k, mac_of(m), &state);

	return r < 0 ? r : stun_check_integrity(m, state);
}

int turn_key_prepare(struct turn_key *k, const struct stun_msg *m)
{
	const struct stun_key *state;

	return state_for(k, mac_of(m), &state);
}

bool turn_key_check(struct turn_key *k, const struct stun_msg *m)
{
	enum stun_algorithm alg;

	return turn_key_algorithm(m, &alg) == TURN_AUTH_OK && alg == k->alg && turn_key_matches(k, m) == 1;
}

/* RFC 8489 9.2.4: SHA-256, unless the request was "processed as though PASSWORD-ALGORITHM was MD5", whichever
 * integrity it carried itself. */
void turn_key_sign(struct turn_key *k, struct stun_writer *sw, const struct stun_msg *request)
{
	enum stun_mac mac = stun_has(request, STUN_A_PASSWORD_ALGORITHM) ? STUN_MAC_SHA256 : STUN_MAC_SHA1;
	const struct stun_key *state;

	if (state_for(k, mac, &state) < 0)
		sw->w.failed = true; /* no answer is better than an unsigned one */
	else
		stun_put_integrity(sw, state);
}
