/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digest authentication of SIP: RFC 3261 22 with RFC 8760 (SHA-256 beside MD5) and qop=auth. The nonces are those of
 * stun/auth.h: stateless, with a MAC, bound to the client's address and the realm, good for ten minutes and then stale.
 * A nonce may be used again while it is good, from the same address only; who can send from that address and has seen
 * the credentials is not kept out by that: TLS is.
 */
#pragma once
#include "sip-proxy/headers.h"
#include "stun/auth.h"

/* In the order in which they are offered. RFC 8760 2.4 wants the strongest first, but what is in use looks at the
 * first challenge alone and gives up if that is not MD5 (sipp); libre 1.1 gives up whenever there is another one at all. */
enum sip_digest_alg { SIP_ALG_MD5, SIP_ALG_SHA256, SIP_ALGS };
enum { SIP_DIGEST_HEX = 65, SIP_CHALLENGE_MAX = 512 };
const char *sip_digest_alg_name(enum sip_digest_alg alg);

/* H(user:realm:password) in hex. 0 or -EIO (OpenSSL). */
int sip_digest_ha1(enum sip_digest_alg alg, struct text user, struct text realm,
		   struct text password, char out[static SIP_DIGEST_HEX]);
/* What the response of these credentials must be: with qop, nc and cnonce, or without any (RFC 2069). 0 or -EIO. */
int sip_digest_response(enum sip_digest_alg alg, const char *ha1, const struct sip_auth *a,
			struct text method, char out[static SIP_DIGEST_HEX]);

enum sip_digest_verdict {
	SIP_DIGEST_GOOD,
	SIP_DIGEST_STALE, /* the response is right, the nonce is too old: challenge again with stale=TRUE */
	SIP_DIGEST_NONE, /* no nonce that we gave this address, or an algorithm that is not offered any more: challenge */
	SIP_DIGEST_BAD, /* wrong, by one who has seen our nonce: count it */
};
struct sip_digest_check {
	const struct stun_nonces *nonces;
	const struct addr *client;
	struct text realm, method;
	/* The Request-URI. The credentials' one must be equal to it, or name us: many put in the address to which they
	 * send, or the bare domain. */
	const struct sip_uri *uri;
	bool (*is_us)(void *arg, struct text host, uint16_t port); /* NULL: nobody */
	void *arg;
	unsigned algorithms; /* bits of those that are offered; 0: each */
	uint64_t now;
};
/* password: of the user that the credentials name; p NULL: there is no such user (and it takes as long). */
enum sip_digest_verdict sip_digest_verify(const struct sip_digest_check *c,
					  const struct sip_auth *a, struct text password);
/* Which of a message's Authorization or Proxy-Authorization fields is for this realm; NULL: none. */
const struct head_field *sip_digest_find(const struct sip_msg *m, enum sip_header id,
					 struct text realm, struct sip_auth *ret_a);
/* The value of a WWW-Authenticate or Proxy-Authenticate. Length, or -ENOSPC. */
ptrdiff_t sip_digest_challenge(enum sip_digest_alg alg, struct text realm, struct text nonce,
			       bool stale, char out[static SIP_CHALLENGE_MAX]);
