/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes and bodies of first contact. Every hash begins with a text of its own, so that one is never taken for another, and
 * all parts have a fixed length, so that none runs into the next.
 * No nonce is chosen here, and nothing is kept.
 */
#include "tunnel/direct/pairing.h"
#include <errno.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>

enum { LABEL_MAX = 24 }; /* of proofs */

void pairing_commit(const struct pairing *p, const uint8_t nonce[static PAIRING_NONCE], uint8_t out[static WIRE_PIN])
{
	static const char label[] = "stile contact commit 1";
	uint8_t text[sizeof(label) + OFFER_CALL + IDENTITY_LEN + PAIRING_NONCE];
	struct wr w = wr_init(text, sizeof(text));

	wr_bytes(&w, label, sizeof(label));
	wr_bytes(&w, p->call, OFFER_CALL);
	wr_bytes(&w, p->visitor.b, IDENTITY_LEN);
	wr_bytes(&w, nonce, PAIRING_NONCE);
	SHA256(text, wr_len(&w), out);
}

void pairing_string(const struct pairing *p, const uint8_t visitor[static PAIRING_NONCE], const uint8_t host[static PAIRING_NONCE],
		    char out[static PAIRING_SAS_STRLEN])
{
	static const char label[] = "stile contact string 1";
	uint8_t text[sizeof(label) + OFFER_CALL + 2 * (IDENTITY_LEN + PAIRING_NONCE)], hash[SHA256_DIGEST_LENGTH];
	struct wr w = wr_init(text, sizeof(text));
	uint64_t v = 0;

	wr_bytes(&w, label, sizeof(label));
	wr_bytes(&w, p->call, OFFER_CALL);
	wr_bytes(&w, p->visitor.b, IDENTITY_LEN);
	wr_bytes(&w, p->host.b, IDENTITY_LEN);
	wr_bytes(&w, visitor, PAIRING_NONCE);
	wr_bytes(&w, host, PAIRING_NONCE);
	SHA256(text, wr_len(&w), hash);
	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | hash[i];
	v %= 100000000;
	(void)snprintf(out, PAIRING_SAS_STRLEN, "%04u-%04u", (unsigned)(v / 10000), (unsigned)(v % 10000));
}

/* label: with its end; host: what the one who proves knows of the host's key. */
static int prove(const struct pairing *p, struct wire_bytes key, struct text label, struct wire_bytes host, uint8_t out[static PAIRING_PROOF])
{
	uint8_t text[LABEL_MAX + OFFER_CALL + 2 * IDENTITY_LEN];
	struct wr w = wr_init(text, sizeof(text));
	unsigned n = PAIRING_PROOF;

	wr_bytes(&w, label.p, label.n);
	wr_bytes(&w, p->call, OFFER_CALL);
	wr_bytes(&w, p->visitor.b, IDENTITY_LEN);
	wr_bytes(&w, host.p, host.n);
	return !w.failed && HMAC(EVP_sha256(), key.p, (int)key.n, text, wr_len(&w), out, &n) ? 0 : -EIO;
}

int pairing_proof(const struct pairing *p, const struct enrol_code *c, bool of_host, uint8_t out[static PAIRING_PROOF])
{
	static const char visitor[] = "stile contact visitor 1", host[] = "stile contact host 1";
	const struct wire_bytes key = { c->secret, ENROL_SECRET_LEN };

	if (of_host)
		return prove(p, key, (struct text){ host, sizeof(host) }, (struct wire_bytes){ p->host.b, IDENTITY_LEN }, out);
	return prove(p, key, (struct text){ visitor, sizeof(visitor) }, (struct wire_bytes){ c->root, sizeof(c->root) }, out);
}

int pairing_share_proof(const struct pairing *p, const uint8_t key[static PAIRING_SHARE_KEY], bool of_host, uint8_t out[static PAIRING_PROOF])
{
	static const char visitor[] = "stile share visitor 1", host[] = "stile share host 1";
	const struct wire_bytes k = { key, PAIRING_SHARE_KEY };

	if (of_host)
		return prove(p, k, (struct text){ host, sizeof(host) }, (struct wire_bytes){ p->host.b, IDENTITY_LEN }, out);
	return prove(p, k, (struct text){ visitor, sizeof(visitor) }, (struct wire_bytes){ 0 }, out);
}

enum wire_error pairing_read(unsigned kind, const struct wire_bytes *body, struct pairing_body *ret_b)
{
	struct rd r = rd_init(body->p, body->n);
	struct pairing_body b = { .way = rd_u8(&r) };

	if ((b.way == PAIRING_BY_CODE || b.way == PAIRING_BY_SHARE) && kind != OFFER_REVEAL) {
		if (kind == OFFER_KNOCK)
			b.id = (struct wire_bytes){ rd_take(&r, ENROL_ID_LEN), ENROL_ID_LEN };
		b.proof = (struct wire_bytes){ rd_take(&r, PAIRING_PROOF), PAIRING_PROOF };
		if (b.way == PAIRING_BY_SHARE && kind != OFFER_KNOCK)
			b.kind = rd_u8(&r);
	} else if (b.way == PAIRING_BY_STRING && kind == OFFER_KNOCK) {
		b.commit = (struct wire_bytes){ rd_take(&r, WIRE_PIN), WIRE_PIN };
	} else if (b.way == PAIRING_BY_STRING) {
		b.nonce = (struct wire_bytes){ rd_take(&r, PAIRING_NONCE), PAIRING_NONCE };
	} else {
		return WIRE_BAD_VALUE;
	}
	if (!rd_done(&r))
		return WIRE_CUT;
	*ret_b = b;
	return WIRE_OK;
}
