/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of the short- and long-term mechanisms (RFC 8489 9.1.1, 9.2.2, 18.5.1) and the MAC they make.
 *
 * HMAC(K, m) = H(K ^ opad, H(K ^ ipad, m)): the states after the two padded key blocks depend on the
 * key only, so they are kept and copied for every message. OpenSSL's low-level contexts are plain
 * structs that can be copied by assignment; they are deprecated in 3.0 but need neither a fetch nor an
 * allocation per message as EVP_MAC does (131 ns instead of 1010). This file alone uses them.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <errno.h>
#include <openssl/md5.h>
#include <openssl/sha.h>
#include <string.h>
#include "stun/key_priv.h"

enum { HMAC_BLOCK = 64 }; /* of SHA-1 and SHA-256 alike */

struct stun_key {
	enum stun_mac mac;
	union {
		struct {
			SHA_CTX inner, outer;
		} sha1;
		struct {
			SHA256_CTX inner, outer;
		} sha256;
	};
};

static void key_init(struct stun_key *k, enum stun_mac mac, const void *key, size_t n)
{
	uint8_t inner[HMAC_BLOCK] = { 0 }, outer[HMAC_BLOCK];

	if (n > HMAC_BLOCK)
		mac == STUN_MAC_SHA1 ? SHA1(key, n, inner) : SHA256(key, n, inner);
	else if (n > 0)
		memcpy(inner, key, n);
	for (size_t i = 0; i < HMAC_BLOCK; i++) {
		outer[i] = inner[i] ^ 0x5c;
		inner[i] ^= 0x36;
	}
	k->mac = mac;
	if (mac == STUN_MAC_SHA1) {
		SHA1_Init(&k->sha1.inner);
		SHA1_Update(&k->sha1.inner, inner, sizeof inner);
		SHA1_Init(&k->sha1.outer);
		SHA1_Update(&k->sha1.outer, outer, sizeof outer);
	} else {
		SHA256_Init(&k->sha256.inner);
		SHA256_Update(&k->sha256.inner, inner, sizeof inner);
		SHA256_Init(&k->sha256.outer);
		SHA256_Update(&k->sha256.outer, outer, sizeof outer);
	}
	bytes_wipe(inner, sizeof inner);
	bytes_wipe(outer, sizeof outer);
}

int stun_key_raw(enum stun_mac mac, const void *key, size_t n, struct stun_key **ret_k)
{
	struct stun_key *k = calloc(1, sizeof *k);

	if (!k)
		return -ENOMEM;
	key_init(k, mac, key, n);
	*ret_k = k;
	return 0;
}

int stun_key_short_term(enum stun_mac mac, struct text password, struct stun_key **ret_k)
{
	return stun_key_raw(mac, password.p, password.n, ret_k);
}

static void sha256_joined(struct text a, struct text b, const struct text *c, uint8_t *out)
{
	SHA256_CTX h;

	SHA256_Init(&h);
	SHA256_Update(&h, a.p, a.n);
	SHA256_Update(&h, ":", 1);
	SHA256_Update(&h, b.p, b.n);
	if (c) {
		SHA256_Update(&h, ":", 1);
		SHA256_Update(&h, c->p, c->n);
	}
	SHA256_Final(out, &h); /* wipes h */
}

static void md5_joined(struct text a, struct text b, struct text c, uint8_t *out)
{
	MD5_CTX h;

	MD5_Init(&h);
	MD5_Update(&h, a.p, a.n);
	MD5_Update(&h, ":", 1);
	MD5_Update(&h, b.p, b.n);
	MD5_Update(&h, ":", 1);
	MD5_Update(&h, c.p, c.n);
	MD5_Final(out, &h);
}

int stun_key_long_term(enum stun_algorithm alg, enum stun_mac mac, struct text user,
		       struct text realm, struct text password, struct stun_key **ret_k)
{
	uint8_t key[SHA256_DIGEST_LENGTH];
	int r;

	switch (alg) {
	case STUN_ALG_MD5:
		md5_joined(user, realm, password, key);
		r = stun_key_raw(mac, key, MD5_DIGEST_LENGTH, ret_k);
		break;
	case STUN_ALG_SHA256:
		sha256_joined(user, realm, &password, key);
		r = stun_key_raw(mac, key, SHA256_DIGEST_LENGTH, ret_k);
		break;
	default: return -EINVAL;
	}
	bytes_wipe(key, sizeof key);
	return r;
}

struct stun_key *stun_key_free(struct stun_key *k)
{
	if (k)
		bytes_wipe(k, sizeof *k);
	free(k);
	return NULL;
}

void stun_userhash(struct text user, struct text realm, uint8_t out[static STUN_USERHASH_LEN])
{
	sha256_joined(user, realm, NULL, out);
}

enum stun_mac stun_key_algorithm(const struct stun_key *k)
{
	return k->mac;
}

static void mac_sha1(const struct stun_key *k, struct text head, struct text rest, uint8_t *ret_mac)
{
	SHA_CTX h = k->sha1.inner;

	SHA1_Update(&h, head.p, head.n);
	SHA1_Update(&h, rest.p, rest.n);
	SHA1_Final(ret_mac, &h);
	h = k->sha1.outer;
	SHA1_Update(&h, ret_mac, SHA_DIGEST_LENGTH);
	SHA1_Final(ret_mac, &h);
}

static void mac_sha256(const struct stun_key *k, struct text head, struct text rest, uint8_t *ret_mac)
{
	SHA256_CTX h = k->sha256.inner;

	SHA256_Update(&h, head.p, head.n);
	SHA256_Update(&h, rest.p, rest.n);
	SHA256_Final(ret_mac, &h);
	h = k->sha256.outer;
	SHA256_Update(&h, ret_mac, SHA256_DIGEST_LENGTH);
	SHA256_Final(ret_mac, &h);
}

void stun_key_mac(const struct stun_key *k, struct text head, struct text rest,
		  uint8_t ret_mac[static STUN_MAC_MAX])
{
	if (k->mac == STUN_MAC_SHA1)
		mac_sha1(k, head, rest, ret_mac);
	else
		mac_sha256(k, head, rest, ret_mac);
}

void stun_mac_save(const void *key, size_t key_n, struct stun_saved_mac *ret_s)
{
	struct stun_key k;

	_Static_assert(sizeof k.sha256 == sizeof ret_s->state, "two SHA-256 contexts");
	key_init(&k, STUN_MAC_SHA256, key, key_n);
	memcpy(ret_s->state, &k.sha256, sizeof ret_s->state);
	bytes_wipe(&k, sizeof k);
}

void stun_mac_saved(const struct stun_saved_mac *s, struct text data, uint8_t ret_mac[static STUN_MAC_MAX])
{
	struct stun_key k = { .mac = STUN_MAC_SHA256 };

	memcpy(&k.sha256, s->state, sizeof k.sha256);
	mac_sha256(&k, data, TEXT(""), ret_mac);
	bytes_wipe(&k, sizeof k);
}
