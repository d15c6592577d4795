/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DTLS cookies: HMAC-SHA-256 over address and port of both ends. Nothing is kept per client; what the
 * callbacks need hangs at the SSL for the time of one datagram. A key lives for two rotations: one in
 * which it makes cookies, one in which it still accepts them.
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

static bool mac(const struct dtls_cookie_jar *jar, int key, uint8_t cookie[static DTLS_COOKIE_LEN])
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

bool dtls_cookie_make(const struct dtls_cookie_jar *jar, uint8_t ret_cookie[static DTLS_COOKIE_LEN])
{
	return mac(jar, 0, ret_cookie);
}

bool dtls_cookie_check(const struct dtls_cookie_jar *jar, const uint8_t *cookie, size_t n)
{
	uint8_t want[DTLS_COOKIE_LEN];

	for (int key = 0; key < 2 && n == DTLS_COOKIE_LEN; key++)
		if (mac(jar, key, want) && bytes_equal_ct(want, cookie, n))
			return true;
	return false;
}

/* OpenSSL's callbacks; its buffer for a cookie holds 255 bytes. */
static int on_generate(SSL *ssl, unsigned char *cookie, unsigned *ret_n)
{
	const struct dtls_cookie_jar *jar = SSL_get_app_data(ssl);

	*ret_n = DTLS_COOKIE_LEN;
	return jar && dtls_cookie_make(jar, cookie);
}

static int on_verify(SSL *ssl, const unsigned char *cookie, unsigned n)
{
	const struct dtls_cookie_jar *jar = SSL_get_app_data(ssl);

	return jar && dtls_cookie_check(jar, cookie, n);
}

void dtls_prepare_ctx(SSL_CTX *ctx)
{
	SSL_CTX_set_cookie_generate_cb(ctx, on_generate);
	SSL_CTX_set_cookie_verify_cb(ctx, on_verify);
}
