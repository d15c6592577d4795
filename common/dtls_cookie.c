/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DTLS cookies: HMAC-SHA-256 over address and port of both ends. Nothing is kept per client; what the
 * callbacks need hangs at the SSL for the time of one datagram.
 */
#include "common/dtls_cookie.h"
#include "common/bytes.h"
#include "common/dtls.h"

#include <errno.h>
#include <openssl/hmac.h>
#include <string.h>

int dtls_cookie_init(struct dtls_cookie_jar *jar, uint64_t now)
{
	*jar = (struct dtls_cookie_jar){ .rotate_at = now + DTLS_COOKIE_ROTATE_MS };
	return bytes_random(jar->key, sizeof(jar->key));
}

int dtls_cookie_begin(struct dtls_cookie_jar *jar, const struct addr *peer, const struct addr *local,
		      uint64_t now)
{
	jar->peer = *peer;
	jar->local = *local;
	if (now < jar->rotate_at)
		return 0;
	memcpy(jar->key[1], jar->key[0], sizeof(jar->key[1]));
	jar->rotate_at = now + DTLS_COOKIE_ROTATE_MS;
	return bytes_random(jar->key[0], sizeof(jar->key[0]));
}

void dtls_cookie_attach(struct dtls_cookie_jar *jar, SSL *ssl)
{
	SSL_set_app_data(ssl, jar);
}

static void put_addr(struct wr *w, const struct addr *a)
{
	size_t n = 0;
	const uint8_t *ip = addr_ip(a, &n);

	wr_u8(w, (uint8_t)n); /* 0: unknown */
	if (n) {
		wr_bytes(w, ip, n);
		wr_u16(w, addr_port(a));
	}
}

static bool make_cookie(const struct dtls_cookie_jar *jar, int key, uint8_t cookie[DTLS_COOKIE_LEN])
{
	uint8_t ends[64];
	struct wr w = wr_init(ends, sizeof(ends));
	unsigned n = DTLS_COOKIE_LEN;

	put_addr(&w, &jar->peer);
	put_addr(&w, &jar->local);
	return !w.failed &&
	       HMAC(EVP_sha256(), jar->key[key], DTLS_COOKIE_KEY, ends, wr_len(&w), cookie, &n) &&
	       n == DTLS_COOKIE_LEN;
}

static int on_generate(SSL *ssl, unsigned char *cookie, unsigned *ret_n)
{
	const struct dtls_cookie_jar *jar = SSL_get_app_data(ssl);

	if (!jar || !make_cookie(jar, 0, cookie)) /* OpenSSL's buffer holds 255 bytes */
		return 0;
	*ret_n = DTLS_COOKIE_LEN;
	return 1;
}

static int on_verify(SSL *ssl, const unsigned char *cookie, unsigned n)
{
	const struct dtls_cookie_jar *jar = SSL_get_app_data(ssl);
	uint8_t want[DTLS_COOKIE_LEN];

	if (!jar || n != DTLS_COOKIE_LEN)
		return 0;
	for (int key = 0; key < 2; key++)
		if (make_cookie(jar, key, want) && bytes_equal_ct(want, cookie, n))
			return 1;
	return 0;
}

void dtls_prepare_ctx(SSL_CTX *ctx)
{
	SSL_CTX_set_cookie_generate_cb(ctx, on_generate);
	SSL_CTX_set_cookie_verify_cb(ctx, on_verify);
}
