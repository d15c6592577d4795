/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stateless cookie of DTLS (RFC 6347 4.2.1): a MAC over the peer's and our address under a key
 * that rotates. A cookie of the key before is still good, so none expires in the middle of an
 * exchange. Private to the DTLS files.
 */
#pragma once
#include <openssl/ssl.h>
#include "common/addr.h"

enum { DTLS_COOKIE_LEN = 32, DTLS_COOKIE_KEY = 32, DTLS_COOKIE_ROTATE_MS = 60 * 1000 };

/* What a listener knows while it looks at one datagram; the callbacks find it at the SSL. */
struct dtls_cookie_jar {
	uint8_t key[2][DTLS_COOKIE_KEY]; /* [0] makes cookies, [1] was before */
	uint64_t rotate_at;
	struct addr peer, local;
};

int dtls_cookie_init(struct dtls_cookie_jar *jar, uint64_t now);
/* Sets whom the next datagram is from; rotates the key when it is time. 0 or -EIO (no randomness). */
int dtls_cookie_begin(struct dtls_cookie_jar *jar, const struct addr *peer, const struct addr *local,
		      uint64_t now);
bool dtls_cookie_make(const struct dtls_cookie_jar *jar, uint8_t ret_cookie[static DTLS_COOKIE_LEN]);
bool dtls_cookie_check(const struct dtls_cookie_jar *jar, const uint8_t *cookie, size_t n);
void dtls_cookie_attach(struct dtls_cookie_jar *jar, SSL *ssl); /* NULL: detach */
