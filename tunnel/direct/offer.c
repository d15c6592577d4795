/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed offers read and written. Before OpenSSL sees anything, the form is checked by rows as on the wire, the key is
 * compared with the one form that a P-256 key has here (no other curve, no compressed point, no parameters), its
 * hash with the identity; and only then the signature.
 */
#include "tunnel/direct/offer.h"
#include <errno.h>
#include <openssl/ecdsa.h>
#include <openssl/sha.h>
#include <stddef.h>

static const char label[] = "stile offer 1"; /* with its NUL in front of what is signed */

/* clang-format off */
#define FIELD(id, kind, req, min, max, member) \
	{ id, WIRE_K_##kind, req, min, max, offsetof(struct offer, member), 0, 0, #member }

static const struct wire_field fields[] = {
	FIELD(1, BYTES, true, WIRE_PIN, WIRE_PIN, from),
	FIELD(2, BYTES, true, WIRE_PIN, WIRE_PIN, to),
	FIELD(3, BYTES, true, 1, OFFER_KEY_MAX, key),
	FIELD(4, BYTES, true, OFFER_CALL, OFFER_CALL, call),
	FIELD(5, U32, true, 1, 0, number),
	FIELD(6, BYTES, false, OFFER_EPOCH, OFFER_EPOCH, epoch),
	FIELD(7, U64, false, 0, 0, features),
	FIELD(8, BYTES, false, CHILD_DCID, CHILD_DCID, dcid),
	FIELD(9, U32, false, 0, 0, ice.generation),
	FIELD(10, TEXT, false, 4, 256, ice.ufrag),
	FIELD(11, TEXT, false, 22, 256, ice.pwd),
	{ 12, WIRE_K_TEXT, false, 1, CHILD_CANDIDATE_MAX, offsetof(struct offer, ice.candidates), offsetof(struct offer, ice.n_candidates),
	  CHILD_CANDIDATES_MAX, "ice.candidates" },
	FIELD(13, U8, false, 0, 1, ice.done),
	FIELD(14, BYTES, false, 0, CHILD_EXTRA_MAX, ice.extra),
	FIELD(15, BYTES, false, 0, CHILD_EXTRA_MAX, body),
	FIELD(16, U8, false, 0, 0, reason),
	FIELD(0x8001, TEXT, false, 1, 512, text),
	FIELD(0x8002, TEXT, false, 1, WIRE_NAME_MAX, name),
};
static const struct wire_frame row = { 1, WIRE_BOTH, 0, WIRE_L_FIELDS, "OFFER", fields, ARRAY_LEN(fields), sizeof(struct offer) };
/* clang-format on */

/* ---- keys ---- */

/* SubjectPublicKeyInfo of an uncompressed point of prime256v1, up to the point. */
static const uint8_t p256_head[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
				     0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04 };
enum { P256_KEY = 91 };

static EVP_PKEY *key_of(const struct offer *o)
{
	const uint8_t *p = o->key.p;

	if (o->key.n != P256_KEY || memcmp(p, p256_head, sizeof(p256_head)) != 0)
		return NULL;
	return d2i_PUBKEY(NULL, &p, P256_KEY);
}

/* ---- signatures: r and s in 32 bytes each ---- */

static bool signature_right(EVP_PKEY *key, const uint8_t *text, size_t n, const uint8_t raw[static OFFER_SIGNATURE])
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw, 32, NULL), *s = BN_bin2bn(raw + 32, 32, NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[80], *p = der;
	int der_n = -1;
	bool right = false;

	if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL;
		if (i2d_ECDSA_SIG(sig, NULL) <= (int)sizeof(der))
			der_n = i2d_ECDSA_SIG(sig, &p);
	}
	if (ctx && der_n > 0)
		right = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
			EVP_DigestVerifyUpdate(ctx, label, sizeof(label)) == 1 && EVP_DigestVerifyUpdate(ctx, text, n) == 1 &&
			EVP_DigestVerifyFinal(ctx, der, (size_t)der_n) == 1;
	EVP_MD_CTX_free(ctx);
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return right;
}

static int raw_of(const uint8_t *der, size_t n, uint8_t raw[static OFFER_SIGNATURE])
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
	int r = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32 && BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32 ? 0 : -EIO;

	ECDSA_SIG_free(sig);
	return r;
}

static int sign(EVP_PKEY *key, const uint8_t *text, size_t n, uint8_t raw[static OFFER_SIGNATURE])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[80];
	size_t der_n = sizeof(der);
	int r = -EIO;

	if (ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 && EVP_DigestSignUpdate(ctx, label, sizeof(label)) == 1 &&
	    EVP_DigestSignUpdate(ctx, text, n) == 1 && EVP_DigestSignFinal(ctx, der, &der_n) == 1)
		r = raw_of(der, der_n, raw);
	EVP_MD_CTX_free(ctx);
	return r;
}

/* ---- the whole ---- */

static int refuse(const char **ret_why, int r, const char *why)
{
	*ret_why = why;
	return r;
}

static bool is(const struct wire_bytes *b, const struct identity_hash *h)
{
	return memcmp(b->p, h->b, IDENTITY_LEN) == 0;
}

/* Without both there is no ICE: only the relay is left. */
static bool ice_whole(const struct child_ice *i)
{
	return (i->ufrag.n != 0) == (i->pwd.n != 0);
}

/* What belongs to its kind and to nothing else. */
static bool complete(const struct offer *o)
{
	switch (o->kind) {
	case OFFER_OFFER: return o->dcid.n && ice_whole(&o->ice);
	case OFFER_ANSWER:
	case OFFER_ICE: return ice_whole(&o->ice);
	case OFFER_SIGNAL:
	case OFFER_KNOCK:
	case OFFER_NONCE_MSG:
	case OFFER_REVEAL: return o->body.n != 0;
	case OFFER_BYE: return true;
	default: return false;
	}
}

int offer_read(const uint8_t *p, size_t n, const struct identity_hash *from, const struct identity_hash *to, struct offer *ret_o,
	       const char **ret_why)
{
	size_t signed_n = n > OFFER_SIGNATURE ? n - OFFER_SIGNATURE : 0;
	uint8_t hash[SHA256_DIGEST_LENGTH];
	static const struct identity_hash nobody;
	struct offer o;
	EVP_PKEY *key;
	bool right;

	if (n > OFFER_MAX || signed_n < 2 || p[0] != OFFER_VERSION || wire_parse_row(&row, p + 2, signed_n - 2, &o) != WIRE_OK)
		return refuse(ret_why, -EBADMSG, "an offer that cannot be read");
	o.kind = p[1];
	if (!complete(&o))
		return refuse(ret_why, -EBADMSG, "an offer that lacks what belongs into it");
	if (!is(&o.to, to) && !(o.kind == OFFER_KNOCK && is(&o.to, &nobody)))
		return refuse(ret_why, -EKEYREJECTED, "an offer for another agent");
	SHA256(o.key.p, o.key.n, hash);
	if (memcmp(hash, o.from.p, sizeof(hash)) != 0 || (from && !is(&o.from, from)))
		return refuse(ret_why, -EKEYREJECTED, "the offer is of another key");
	key = key_of(&o);
	right = key && signature_right(key, p, signed_n, p + signed_n);
	EVP_PKEY_free(key);
	if (!right)
		return refuse(ret_why, -EKEYREJECTED, "the offer's signature is false");
	*ret_o = o;
	return 0;
}

int offer_write(const struct offer *o, EVP_PKEY *key, uint8_t out[static OFFER_MAX], size_t *ret_n)
{
	struct wr w = wr_init(out, OFFER_MAX - OFFER_SIGNATURE);
	uint8_t spki[OFFER_KEY_MAX], hash[SHA256_DIGEST_LENGTH], *p = spki;
	struct offer whole = *o;
	int n = i2d_PUBKEY(key, NULL), r;

	if (n <= 0 || n > (int)sizeof(spki))
		return -EINVAL;
	n = i2d_PUBKEY(key, &p);
	SHA256(spki, (size_t)n, hash);
	whole.key = (struct wire_bytes){ spki, (size_t)n };
	whole.from = (struct wire_bytes){ hash, sizeof(hash) };
	wr_u8(&w, OFFER_VERSION);
	wr_u8(&w, o->kind);
	wire_write_row(&w, &row, &whole);
	if (w.failed || !complete(o))
		return -EINVAL;
	r = sign(key, out, wr_len(&w), out + wr_len(&w));
	if (r == 0)
		*ret_n = wr_len(&w) + OFFER_SIGNATURE;
	return r;
}
