/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes and derived keys of shares.
 *
 * 140 bits are 28 digits of Crockford's base32 (no I, L, O and U), seven groups of four. The 12 bits of checksum, the beginning of a
 * SHA-256, find all but one slip in 4096; a wrong code that passes them meets nobody. Nothing here is kept; what held a secret
 * is wiped.
 */
#include "share/code.h"
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdio.h>
#include "common/bytes.h"
#include "common/crockford.h"

enum { SUM_BITS = 12, GROUP = 4, CODE_BYTES = SHARE_SECRET + 2, INFO_MAX = 32 };
_Static_assert(SHARE_SECRET * 8 + SUM_BITS == SHARE_DIGITS * 5, "the digits hold all bits and no more");

const char *share_code_error_text(enum share_code_error e)
{
	switch (e) {
	case SHARE_CODE_OK: return "the code is good";
	case SHARE_CODE_CHARACTER: return "there is a character in the code that none has: it is made of digits and letters without U";
	case SHARE_CODE_LENGTH: return "the code is not whole: it has 28 digits and letters in seven groups of four";
	case SHARE_CODE_CHECKSUM: return "the code is mistyped somewhere";
	case SHARE_CODE_PLACE: return "what follows the @ must be HOST:PORT";
	case SHARE_CODE_LINK: return "the link is not whole: it ends in #CODE, and the code must be the link's own";
	}
	return "unknown";
}

/* ---- keys ---- */

static int derive(const uint8_t secret[static SHARE_SECRET], struct text salt, const char *info, struct text out)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	char digest[] = "SHA256";
	OSSL_PARAM p[5], *at = p;
	int r;

	*at++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
	*at++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret, SHARE_SECRET);
	if (salt.n)
		*at++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt.p, salt.n);
	*at++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info, strlen(info));
	*at = OSSL_PARAM_construct_end();
	r = ctx && EVP_KDF_derive(ctx, (unsigned char *)out.p, out.n, p) == 1 ? 0 : -EIO;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return r;
}

int share_keys_make(const uint8_t secret[static SHARE_SECRET], struct share_keys *ret_k)
{
	const struct text none = { 0 };
	int r = derive(secret, none, "stile share 1 id", (struct text){ (char *)ret_k->id, SHARE_ID });

	if (r == 0)
		r = derive(secret, none, "stile share 1 token", (struct text){ (char *)ret_k->token, SHARE_TOKEN });
	if (r == 0)
		r = derive(secret, none, "stile share 1 knock", (struct text){ (char *)ret_k->knock, SHARE_KNOCK });
	return r;
}

int share_stream_key(const uint8_t secret[static SHARE_SECRET], const uint8_t salt[static SHARE_SALT], const char *kind,
		     uint8_t out[static SHARE_KEY])
{
	char info[INFO_MAX];

	(void)snprintf(info, sizeof(info), "stile share 1 %s", kind);
	return derive(secret, (struct text){ (const char *)salt, SHARE_SALT }, info, (struct text){ (char *)out, SHARE_KEY });
}

/* ---- the code ---- */

int share_code_make(struct share_code *ret_c)
{
	*ret_c = (struct share_code){ 0 };
	return bytes_random(ret_c->secret, SHARE_SECRET);
}

static int checksum(const uint8_t secret[static SHARE_SECRET], unsigned *ret_sum)
{
	static const char label[] = "stile share check";
	uint8_t all[sizeof(label) + SHARE_SECRET], sum[EVP_MAX_MD_SIZE] = { 0 };
	int r;

	memcpy(all, label, sizeof(label)); /* with its NUL */
	memcpy(all + sizeof(label), secret, SHARE_SECRET);
	r = EVP_Digest(all, sizeof(all), sum, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
	*ret_sum = (unsigned)sum[0] << 4 | sum[1] >> 4;
	bytes_wipe(all, sizeof(all));
	return r;
}

const char *share_code_write(const struct share_code *c, char buf[static SHARE_CODE_STRLEN])
{
	struct sb b = sb_init(buf, SHARE_CODE_STRLEN);
	uint8_t code[CODE_BYTES];
	unsigned sum;

	memcpy(code, c->secret, SHARE_SECRET);
	(void)checksum(c->secret, &sum);
	code[SHARE_SECRET] = (uint8_t)(sum >> 4);
	code[SHARE_SECRET + 1] = (uint8_t)(sum << 4);
	crockford_write(&b, code, CODE_BYTES, GROUP);
	bytes_wipe(code, sizeof(code));
	if (c->host[0])
		sb_fmt(&b, strchr(c->host, ':') ? "@[%s]:%u" : "@%s:%u", c->host, c->port);
	for (unsigned i = 0; c->host[0] && i < c->n_more; i++)
		sb_fmt(&b, ",%u", c->more[i]);
	return buf;
}

/* Letters, digits and what stands in a name or an address, so that it can be shown. */
static bool is_host(struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] <= ' ' || t.p[i] > '~' || strchr("@[]/\\\"'#%?&", t.p[i]))
			return false;
	return t.n > 0 && t.n <= SHARE_HOST_MAX;
}

static bool read_port(struct text t, uint16_t *ret_port)
{
	uint64_t port;

	if (text_u64(t, &port) < 0 || port == 0 || port > UINT16_MAX)
		return false;
	*ret_port = (uint16_t)port;
	return true;
}

static enum share_code_error read_place(struct text t, struct share_code *c)
{
	struct text host;

	if (t.n && t.p[0] == '[') {
		t = text_drop(t, 1);
		host = text_cut(&t, ']');
		if (!t.p || !t.n || t.p[0] != ':' || text_find(host, ':') < 0)
			return SHARE_CODE_PLACE;
		t = text_drop(t, 1);
	} else {
		host = text_cut(&t, ':');
	}
	if (!is_host(host) || !read_port(text_cut(&t, ','), &c->port))
		return SHARE_CODE_PLACE;
	while (t.p)
		if (c->n_more == SHARE_MORE_PORTS || !read_port(text_cut(&t, ','), &c->more[c->n_more++]))
			return SHARE_CODE_PLACE;
	memcpy(c->host, host.p, host.n);
	c->host[host.n] = 0;
	return SHARE_CODE_OK;
}

static enum share_code_error read_code(struct text t, struct share_code *ret_c)
{
	struct text place = text_trim(t), code_text = text_cut(&place, '@');
	uint8_t code[CODE_BYTES] = { 0 };
	struct share_code c = { 0 };
	int r = crockford_read(code_text, code, CODE_BYTES);
	enum share_code_error e = r == -EILSEQ ? SHARE_CODE_CHARACTER : r < 0 ? SHARE_CODE_LENGTH : SHARE_CODE_OK;
	unsigned sum;

	if (e == SHARE_CODE_OK &&
	    (checksum(code, &sum) < 0 || sum != ((unsigned)code[SHARE_SECRET] << 4 | code[SHARE_SECRET + 1] >> 4)))
		e = SHARE_CODE_CHECKSUM;
	if (e == SHARE_CODE_OK && place.p)
		e = read_place(place, &c);
	if (e == SHARE_CODE_OK) {
		memcpy(c.secret, code, SHARE_SECRET);
		*ret_c = c;
	}
	bytes_wipe(code, sizeof(code));
	return e;
}

/* The id that a link names before the #: "/s/ID" or "/s/ID/". */
static struct text link_id(struct text path)
{
	static const struct text mark = { "/s/", 3 };

	for (size_t i = 0; i + mark.n <= path.n; i++)
		if (text_starts(text_drop(path, i), mark)) {
			struct text id = text_drop(path, i + mark.n);

			while (id.n && id.p[id.n - 1] == '/')
				id.n--;
			return id;
		}
	return (struct text){ 0 };
}

enum share_code_error share_code_parse(struct text t, struct share_code *ret_c)
{
	struct text fragment = text_trim(t), path = text_cut(&fragment, '#');
	bool is_link = text_find(path, '/') >= 0;
	struct share_keys k;
	struct share_code c;
	enum share_code_error e;
	uint64_t id;

	if (!is_link)
		return fragment.p ? SHARE_CODE_CHARACTER : read_code(path, ret_c);
	if (!fragment.p || share_id_parse(link_id(path), &id) < 0)
		return SHARE_CODE_LINK;
	e = read_code(fragment, &c);
	if (e == SHARE_CODE_OK && (share_keys_make(c.secret, &k) < 0 || share_id_number(k.id) != id))
		e = SHARE_CODE_LINK;
	if (e == SHARE_CODE_OK)
		*ret_c = c;
	return e;
}

/* ---- numbers as they stand in paths and heads ---- */

static bool is_lower_hex(struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		if (!((t.p[i] >= '0' && t.p[i] <= '9') || (t.p[i] >= 'a' && t.p[i] <= 'f')))
			return false;
	return true;
}

int share_hex16(struct text t, uint8_t out[static 16])
{
	size_t n;

	return t.n == 32 && is_lower_hex(t) ? hex_decode(t, out, 16, &n) : -EINVAL;
}

int share_id_parse(struct text t, uint64_t *ret_id)
{
	return text_hex64(t, ret_id);
}

uint64_t share_id_number(const uint8_t id[static SHARE_ID])
{
	struct rd r = rd_init(id, SHARE_ID);

	return rd_u64(&r);
}
