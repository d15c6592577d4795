/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records by OpenSSL's AES-256-GCM. The cipher and its key schedule are set up once for a stream; each record sets its nonce.
 *
 * Nothing is kept but that; keys are wiped by who made them.
 * Wire and meaning are in docs/decisions/0024-sharing.md.
 */
#include "share/records.h"
#include <errno.h>
#include <openssl/evp.h>
#include "common/bytes.h"

enum { NONCE = 12, NONCE_NUMBER = 7, NONCE_LAST = 11 };

struct share_records_ctx {
	EVP_CIPHER_CTX *evp;
	bool seal;
};

/* ---- sizes ---- */

uint64_t share_records_count(uint64_t plain)
{
	return plain ? (plain + RECORD_PLAIN - 1) / RECORD_PLAIN : 1;
}

uint64_t share_records_size(uint64_t plain)
{
	return plain + share_records_count(plain) * RECORD_TAG;
}

int share_records_plain(uint64_t size, uint64_t *ret_plain)
{
	uint64_t whole = size / RECORD_SIZE, rest = size % RECORD_SIZE;

	if (size < RECORD_TAG || (rest && rest <= RECORD_TAG && whole))
		return -EINVAL; /* an empty record is only ever alone */
	*ret_plain = whole * RECORD_PLAIN + (rest ? rest - RECORD_TAG : 0);
	return 0;
}

/* ---- one record ---- */

int share_records_new(const uint8_t key[static SHARE_KEY], bool seal, struct share_records_ctx **ret_c)
{
	struct share_records_ctx *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->seal = seal;
	c->evp = EVP_CIPHER_CTX_new();
	if (!c->evp || EVP_CipherInit_ex(c->evp, EVP_aes_256_gcm(), NULL, key, NULL, seal) != 1) {
		share_records_free(c);
		return -ENOMEM;
	}
	*ret_c = c;
	return 0;
}

int share_records_of(const uint8_t secret[static SHARE_SECRET], const uint8_t salt[static SHARE_SALT], const char *kind, bool seal,
		     struct share_records_ctx **ret_c)
{
	uint8_t key[SHARE_KEY];
	int r = share_stream_key(secret, salt, kind, key);

	if (r == 0)
		r = share_records_new(key, seal, ret_c);
	bytes_wipe(key, sizeof(key));
	return r;
}

struct share_records_ctx *share_records_free(struct share_records_ctx *c)
{
	if (c)
		EVP_CIPHER_CTX_free(c->evp);
	free(c);
	return NULL;
}

static int begin(struct share_records_ctx *c, uint32_t number, bool last)
{
	uint8_t nonce[NONCE] = { 0 };

	store_be32(nonce + NONCE_NUMBER, number);
	nonce[NONCE_LAST] = last;
	return EVP_CipherInit_ex(c->evp, NULL, NULL, NULL, nonce, c->seal) == 1 ? 0 : -EIO;
}

int share_records_seal(struct share_records_ctx *c, uint32_t number, bool last, const uint8_t *in, size_t n, uint8_t *out)
{
	int done = 0, more = 0;

	if (!c->seal || n > RECORD_PLAIN || begin(c, number, last) < 0)
		return -EIO;
	if ((n && EVP_CipherUpdate(c->evp, out, &done, in, (int)n) != 1) || EVP_CipherFinal_ex(c->evp, out + done, &more) != 1)
		return -EIO;
	return EVP_CIPHER_CTX_ctrl(c->evp, EVP_CTRL_AEAD_GET_TAG, RECORD_TAG, out + n) == 1 ? 0 : -EIO;
}

int share_records_open(struct share_records_ctx *c, uint32_t number, bool last, const uint8_t *in, size_t n, uint8_t *out)
{
	uint8_t tag[RECORD_TAG];
	int done = 0, more = 0;

	if (c->seal || n < RECORD_TAG || n > RECORD_SIZE || begin(c, number, last) < 0)
		return -EBADMSG;
	n -= RECORD_TAG;
	memcpy(tag, in + n, RECORD_TAG);
	if (n && EVP_CipherUpdate(c->evp, out, &done, in, (int)n) != 1)
		return -EBADMSG;
	if (EVP_CIPHER_CTX_ctrl(c->evp, EVP_CTRL_AEAD_SET_TAG, RECORD_TAG, tag) != 1 || EVP_CipherFinal_ex(c->evp, out + done, &more) != 1)
		return -EBADMSG;
	return 0;
}

/* ---- a whole small stream ---- */

int sealed_make(const uint8_t secret[static SHARE_SECRET], const char *kind, struct text plain, uint8_t **ret_p, size_t *ret_n)
{
	size_t n = SHARE_SALT + (size_t)share_records_size(plain.n);
	_cleanup_(share_records_freep) struct share_records_ctx *c = NULL;
	uint8_t *p = malloc(n), *at;
	uint64_t count = share_records_count(plain.n);
	int r = p ? bytes_random(p, SHARE_SALT) : -ENOMEM;

	if (r == 0)
		r = share_records_of(secret, p, kind, true, &c);
	at = p ? p + SHARE_SALT : NULL;
	for (uint64_t i = 0; i < count && r == 0; i++) {
		size_t part = MIN(plain.n - i * RECORD_PLAIN, (size_t)RECORD_PLAIN);

		r = share_records_seal(c, (uint32_t)i, i + 1 == count, (const uint8_t *)plain.p + i * RECORD_PLAIN, part, at);
		at += part + RECORD_TAG;
	}
	if (r < 0) {
		free(p);
		return r;
	}
	*ret_p = p;
	*ret_n = n;
	return 0;
}

int sealed_open(const uint8_t secret[static SHARE_SECRET], const char *kind, struct text sealed, char **ret_p, size_t *ret_n)
{
	_cleanup_(share_records_freep) struct share_records_ctx *c = NULL;
	const uint8_t *in = (const uint8_t *)sealed.p;
	uint64_t plain, count;
	char *p;
	int r;

	if (sealed.n < SHARE_SALT || share_records_plain(sealed.n - SHARE_SALT, &plain) < 0)
		return -EBADMSG;
	p = malloc((size_t)plain + RECORD_TAG + 1);
	r = p ? share_records_of(secret, in, kind, false, &c) : -ENOMEM;
	in += SHARE_SALT;
	count = share_records_count(plain);
	for (uint64_t i = 0; i < count && r == 0; i++) {
		size_t part = (size_t)MIN(plain - i * RECORD_PLAIN, (uint64_t)RECORD_PLAIN) + RECORD_TAG;

		r = share_records_open(c, (uint32_t)i, i + 1 == count, in, part, (uint8_t *)p + i * RECORD_PLAIN);
		in += part;
	}
	if (r < 0) {
		free(p);
		return r == -ENOMEM ? r : -EBADMSG;
	}
	p[plain] = '\0';
	*ret_p = p;
	*ret_n = (size_t)plain;
	return 0;
}
