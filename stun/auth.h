/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Integrity and credentials of STUN: MESSAGE-INTEGRITY (HMAC-SHA1), MESSAGE-INTEGRITY-SHA256,
 * FINGERPRINT, USERHASH, PASSWORD-ALGORITHM(S), the nonce with its cookie (RFC 8489 9.2), keys of the
 * short- and long-term mechanisms with OpaqueString (RFC 8265); and SASLprep (RFC 4013), which SCRAM wants.
 *
 * A struct stun_key holds precomputed inner and outer HMAC states, so signing costs only the message
 * (131 ns instead of 1010); it is as secret as the password and wiped when freed.
 */
#pragma once
#include "stun/msg.h"

enum { STUN_MI_LEN = 20, STUN_MI256_LEN = 32, STUN_USERHASH_LEN = 32 };
enum stun_algorithm { STUN_ALG_MD5 = 1, STUN_ALG_SHA256 = 2 }; /* RFC 8489 18.5 */
enum stun_mac { STUN_MAC_SHA1, STUN_MAC_SHA256 };

struct stun_key; /* one key for one MAC algorithm */

/* Long-term: H(user:realm:password) by alg, used with HMAC-SHA1 or HMAC-SHA256. user and password
 * are prepared by the caller: stun_opaque_string, for MD5 too (RFC 8489 9.2.2). */
int stun_key_long_term(enum stun_algorithm alg, enum stun_mac mac, struct text user,
		       struct text realm, struct text password, struct stun_key **ret_k);
int stun_key_short_term(enum stun_mac mac, struct text password, struct stun_key **ret_k);
int stun_key_raw(enum stun_mac mac, const void *key, size_t n, struct stun_key **ret_k);
struct stun_key *stun_key_free(struct stun_key *k);
DEFINE_CLEANUP(struct stun_key, stun_key_free)

void stun_put_integrity(struct stun_writer *sw, const struct stun_key *k); /* MI or MI-SHA256 by the key's MAC */
void stun_put_fingerprint(struct stun_writer *sw);
/* Constant-time. True only if the attribute that belongs to the key's MAC is there and right
 * (MI-SHA256 may be truncated to a multiple of 4, at least 16 bytes). */
bool stun_check_integrity(const struct stun_msg *m, const struct stun_key *k);
uint32_t stun_fingerprint(const void *p, size_t n); /* CRC-32 XOR 0x5354554e */
void stun_userhash(struct text user, struct text realm, uint8_t out[static STUN_USERHASH_LEN]);

/* Prepared text into out (UTF-8); 0, -EINVAL for what the profile forbids, -ENOSPC. */
int stun_opaque_string(struct text in, char *out, size_t cap, size_t *ret_n);
int stun_saslprep(struct text in, char *out, size_t cap, size_t *ret_n);

/* Stateless nonces: "obMatJos2" + base64 of 24 security-feature bits + time + MAC, keyed, bound to
 * the client's address and realm. Two keys live at a time, so that rotation breaks nobody. */
struct stun_saved_mac { /* an HMAC-SHA256 behind its key's blocks: as secret as the key */
	uint64_t state[28];
};
enum {
	STUN_NONCE_MAX = 128,
	STUN_FEATURE_PASSWORD_ALGORITHMS = 1 << 0,
	STUN_FEATURE_USERNAME_ANONYMITY = 1 << 1
};
struct stun_nonces {
	struct stun_saved_mac key[2]; /* the newer first */
	uint64_t rotated_at, lifetime_ms, rotate_ms; /* 0: 10 min and 1 h */
};
enum stun_nonce_state {
	STUN_NONCE_GOOD,
	STUN_NONCE_STALE,
	STUN_NONCE_FOREIGN /* never ours, or another address's; the port does not matter */
};
int stun_nonces_init(struct stun_nonces *n, uint64_t now_ms);
void stun_nonces_tick(struct stun_nonces *n, uint64_t now_ms); /* rotates keys when due */
size_t stun_nonce_make(const struct stun_nonces *n, const struct addr *client, struct text realm,
		       uint32_t features, uint64_t now_ms, char out[static STUN_NONCE_MAX]);
enum stun_nonce_state stun_nonce_check(const struct stun_nonces *n, struct text nonce,
				       const struct addr *client, struct text realm,
				       uint64_t now_ms, uint64_t *ret_age_ms);
uint32_t stun_nonce_features(struct text nonce); /* a client reads the server's bits; 0 without the cookie */

/* PASSWORD-ALGORITHMS as we offer it (SHA-256, MD5), and reading one chosen algorithm. */
void stun_put_password_algorithms(struct stun_writer *sw);
void stun_put_password_algorithm(struct stun_writer *sw, enum stun_algorithm alg); /* a client's choice */
/* 0; -ENOENT absent, -EBADMSG malformed, -ENOTSUP an algorithm (or parameters) we do not know. */
int stun_get_password_algorithm(const struct stun_msg *m, enum stun_algorithm *ret_alg);
bool stun_password_algorithms_equal_ours(const struct stun_msg *m); /* bid-down protection */
