/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ticket of TLS 1.2 holds the session's master secret, so that whoever has the key of tickets reads all that was recorded while
 * it was in use. OpenSSL keeps one for as long as the context lives, which here is until the certificate changes. So keys are
 * made anew each time a session's time is over: the one before still opens its tickets, which nobody would take any longer after
 * that, and then it is gone. Each context has keys of its own: a session of one must not be resumed at another, which may ask for
 * certificates.
 *
 * OpenSSL tells the callback the session and not the context with which it began (a server's name may have changed that meanwhile),
 * so the session holds where the keys are; they live as long as that context, which the session holds, too.
 */
#include "common/tls_tickets.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include "common/bytes.h"
#include "common/clock.h"

enum { NAME = 16, IV = 16 };

struct ticket_key {
	uint8_t name[NAME], cipher[32], mac[32];
};

struct tickets {
	pthread_mutex_t lock; /* handshakes of all threads */
	struct ticket_key now, before;
	uint64_t made, life; /* ms */
};

static int ctx_number, ssl_number; /* of ex_data */
static once_flag numbers_once = ONCE_FLAG_INIT;

static void tickets_free(void *parent, void *p, CRYPTO_EX_DATA *ad, int number, long argl, void *argp)
{
	struct tickets *t = p;

	(void)parent;
	(void)ad;
	(void)number;
	(void)argl;
	(void)argp;
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	bytes_wipe(t, sizeof(*t));
	free(t);
}

static void get_numbers(void)
{
	ctx_number = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, tickets_free);
	ssl_number = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static int renew(struct tickets *t, uint64_t now)
{
	struct ticket_key next;

	if (now < t->made + t->life)
		return 0;
	if (bytes_random(&next, sizeof(next)) < 0)
		return -EIO;
	if (now < t->made + 2 * t->life)
		t->before = t->now;
	else if (bytes_random(&t->before, sizeof(t->before)) < 0)
		return -EIO;
	t->now = next;
	t->made = now;
	bytes_wipe(&next, sizeof(next));
	return 0;
}

int tls_tickets_renew(SSL_CTX *ctx, uint64_t now)
{
	struct tickets *t = SSL_CTX_get_ex_data(ctx, ctx_number);
	int r;

	pthread_mutex_lock(&t->lock);
	r = renew(t, now);
	pthread_mutex_unlock(&t->lock);
	return r;
}

/* The key of a new ticket, or of the one that is named. 1; 2: a new ticket is due; 0: it is nobody's; -1: there is no randomness. */
static int choose(struct tickets *t, const uint8_t *name, struct ticket_key *ret_key)
{
	int r = 1;

	pthread_mutex_lock(&t->lock);
	if (renew(t, clock_steady_ms()) < 0)
		r = -1;
	else if (!name || memcmp(name, t->now.name, NAME) == 0)
		*ret_key = t->now;
	else if (memcmp(name, t->before.name, NAME) == 0) {
		*ret_key = t->before;
		r = 2;
	} else
		r = 0;
	pthread_mutex_unlock(&t->lock);
	return r;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int is_new)
{
	static char digest[] = "SHA256";
	struct ticket_key key;
	OSSL_PARAM params[3];
	int r = choose(SSL_get_ex_data(ssl, ssl_number), is_new ? NULL : name, &key), good;

	if (r <= 0)
		return r;
	if (is_new) {
		memcpy(name, key.name, NAME);
		if (bytes_random(iv, IV) < 0)
			r = -1;
	}
	params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac, sizeof(key.mac));
	params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
	params[2] = OSSL_PARAM_construct_end();
	good = EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv, is_new) && EVP_MAC_CTX_set_params(mac, params);
	bytes_wipe(&key, sizeof(key));
	return good ? r : -1;
}

int tls_tickets_prepare(SSL_CTX *ctx)
{
	struct tickets *t;

	call_once(&numbers_once, get_numbers);
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	if (SSL_CTX_set_ex_data(ctx, ctx_number, t) != 1) {
		tickets_free(NULL, t, NULL, 0, 0, NULL);
		return -ENOMEM;
	}
	t->made = clock_steady_ms();
	t->life = (uint64_t)SSL_CTX_get_timeout(ctx) * 1000;
	if (bytes_random(&t->now, sizeof(t->now)) < 0 || bytes_random(&t->before, sizeof(t->before)) < 0)
		return -EIO;
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
	return 0;
}

bool tls_tickets_begin(SSL *ssl)
{
	SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);

	return SSL_CTX_get_options(ctx) & SSL_OP_NO_TICKET || SSL_set_ex_data(ssl, ssl_number, SSL_CTX_get_ex_data(ctx, ctx_number)) == 1;
}
