/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digest authentication; see digest.h. The hashes are OpenSSL's; what is compared is compared in
 * constant time, and an unknown user costs the same work as a wrong password, so that nobody learns
 * names by the clock.
 */
#include "sip-proxy/digest.h"
#include <errno.h>
#include <openssl/evp.h>
#include "sip-proxy/lex_priv.h"

static const struct alg_row {
	const char *name;
	struct text token;
	const EVP_MD *(*md)(void);
} rows[SIP_ALGS] = {
	[SIP_ALG_SHA256] = { "SHA-256", TEXT("SHA-256"), EVP_sha256 },
	[SIP_ALG_MD5] = { "MD5", TEXT("MD5"), EVP_md5 },
};

const char *sip_digest_alg_name(enum sip_digest_alg alg)
{
	return rows[alg].name;
}

/* H of the parts with colons between them. */
static int hash(enum sip_digest_alg alg, const struct text *parts, size_t n,
		char out[static SIP_DIGEST_HEX])
{
	uint8_t md[EVP_MAX_MD_SIZE];
	unsigned md_n = 0;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool good = ctx && EVP_DigestInit_ex(ctx, rows[alg].md(), NULL) == 1;
	for (size_t i = 0; i < n && good; i++)
		good = (i == 0 || EVP_DigestUpdate(ctx, ":", 1) == 1) &&
		       EVP_DigestUpdate(ctx, parts[i].p ? parts[i].p : "", parts[i].n) == 1;
	good = good && EVP_DigestFinal_ex(ctx, md, &md_n) == 1;
	EVP_MD_CTX_free(ctx);
	if (!good || 2 * md_n >= SIP_DIGEST_HEX)
		return -EIO;
	hex_encode(md, md_n, out);
	return 0;
}

int sip_digest_ha1(enum sip_digest_alg alg, struct text user, struct text realm,
		   struct text password, char out[static SIP_DIGEST_HEX])
{
	const struct text parts[] = { user, realm, password };
	return hash(alg, parts, ARRAY_LEN(parts), out);
}

int sip_digest_response(enum sip_digest_alg alg, const char *ha1, const struct sip_auth *a,
			struct text method, char out[static SIP_DIGEST_HEX])
{
	const struct text a2[] = { method, a->param[SIP_D_URI] };
	char ha2[SIP_DIGEST_HEX];
	int r = hash(alg, a2, ARRAY_LEN(a2), ha2);
	if (r < 0)
		return r;
	if (!a->param[SIP_D_QOP].p) {
		const struct text parts[] = { text_of(ha1), a->param[SIP_D_NONCE], text_of(ha2) };
		return hash(alg, parts, ARRAY_LEN(parts), out);
	}
	const struct text parts[] = { text_of(ha1),	   a->param[SIP_D_NONCE],
				      a->param[SIP_D_NC],  a->param[SIP_D_CNONCE],
				      a->param[SIP_D_QOP], text_of(ha2) };
	return hash(alg, parts, ARRAY_LEN(parts), out);
}

static bool find_alg(const struct sip_auth *a, enum sip_digest_alg *ret_alg)
{
	struct text name = a->param[SIP_D_ALGORITHM];
	if (!name.p) {
		*ret_alg = SIP_ALG_MD5; /* RFC 3261 22.4 */
		return true;
	}
	for (unsigned i = 0; i < SIP_ALGS; i++) {
		*ret_alg = (enum sip_digest_alg)i;
		if (text_ieq(rows[i].token, name))
			return true;
	}
	return false;
}

/* Everything else is there, qop is the one that we offer, and the URI is the request's or ours. */
static bool is_complete(const struct sip_digest_check *c, const struct sip_auth *a)
{
	struct text nc = a->param[SIP_D_NC];
	struct sip_uri uri;
	if (!a->param[SIP_D_USERNAME].p || !a->param[SIP_D_URI].p || !a->param[SIP_D_RESPONSE].p)
		return false;
	if (a->param[SIP_D_QOP].p &&
	    (!text_ieq(a->param[SIP_D_QOP], TEXT("auth")) || !a->param[SIP_D_CNONCE].p ||
	     nc.n != 8 || lex_span(nc, 0, LEX_HEX) < nc.n))
		return false;
	return sip_uri_parse(a->param[SIP_D_URI], &uri) == 0 &&
	       (sip_uri_equal(&uri, c->uri) || text_ieq(uri.host, c->realm) ||
		(c->is_us && c->is_us(c->arg, uri.host, uri.port)));
}

enum sip_digest_verdict sip_digest_verify(const struct sip_digest_check *c,
					  const struct sip_auth *a, struct text password)
{
	char ha1[SIP_DIGEST_HEX], want[SIP_DIGEST_HEX];
	enum sip_digest_alg alg;
	uint64_t age;
	enum stun_nonce_state state = stun_nonce_check(c->nonces, a->param[SIP_D_NONCE], c->client,
						       c->realm, c->now, &age);
	if (state == STUN_NONCE_FOREIGN) /* first of all: nothing is held against a source that may be forged */
		return SIP_DIGEST_NONE;
	if (!find_alg(a, &alg) || !is_complete(c, a))
		return SIP_DIGEST_BAD;
	if (c->algorithms && !(c->algorithms & 1U << alg))
		return SIP_DIGEST_NONE; /* it was offered before the last reload */
	if (sip_digest_ha1(alg, a->param[SIP_D_USERNAME], c->realm,
			   password.p ? password : TEXT("x"), ha1) < 0 ||
	    sip_digest_response(alg, ha1, a, c->method, want) < 0)
		return SIP_DIGEST_BAD;
	struct text got = a->param[SIP_D_RESPONSE], right = text_of(want);
	bool same = got.n == right.n && bytes_equal_ct(got.p, right.p, right.n);
	bytes_wipe(ha1, sizeof ha1);
	if (!same || !password.p)
		return SIP_DIGEST_BAD;
	return state == STUN_NONCE_STALE ? SIP_DIGEST_STALE : SIP_DIGEST_GOOD;
}

const struct head_field *sip_digest_find(const struct sip_msg *m, enum sip_header id,
					 struct text realm, struct sip_auth *ret_a)
{
	for (const struct head_field *f = sip_find(m, id); f; f = sip_find_next(m, f)) {
		struct sip_auth a;
		if (sip_auth_parse(f->value, &a) < 0 || !a.is_digest ||
		    !text_eq(a.param[SIP_D_REALM], realm))
			continue;
		*ret_a = a;
		return f;
	}
	return NULL;
}

ptrdiff_t sip_digest_challenge(enum sip_digest_alg alg, struct text realm, struct text nonce,
			       bool stale, char out[static SIP_CHALLENGE_MAX])
{
	struct sb b = sb_init(out, SIP_CHALLENGE_MAX);
	sb_str(&b, "Digest realm=\"");
	sb_text(&b, realm);
	sb_str(&b, "\", nonce=\"");
	sb_text(&b, nonce);
	sb_str(&b, stale ? "\", stale=TRUE" : "\"");
	sb_str(&b, ", algorithm=");
	sb_text(&b, rows[alg].token);
	sb_str(&b, ", qop=\"auth\"");
	return b.truncated ? -ENOSPC : (ptrdiff_t)b.n;
}
