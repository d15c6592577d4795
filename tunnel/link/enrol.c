/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One-time codes and their proofs.
 *
 * Crockford's alphabet has no I, L, O and U, so that what is read out over the telephone has one
 * spelling. 280 bits are 56 digits of five bits each, with nothing left over; the 24 bits of checksum
 * (the beginning of a SHA-256) find every single slip and one in 16 million of the rest.
 */
#include "tunnel/link/enrol.h"
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include "common/bytes.h"
#include "common/crockford.h"

enum {
	SUM_LEN = 3,
	CODE_LEN = ENROL_SECRET_LEN + LINK_PREFIX_LEN + SUM_LEN,
	GROUP = 7,
	LABEL_MAX = 32,
	NAME_MAX_LEN = 255,
};
_Static_assert(CODE_LEN * 8 == ENROL_DIGITS * 5, "the digits hold all bits and no more");

const char *enrol_error_text(enum enrol_error e)
{
	switch (e) {
	case ENROL_OK: return "the code is good";
	case ENROL_BAD_CHARACTER:
		return "there is a character in the code that none has: it is made of digits and letters without U";
	case ENROL_BAD_LENGTH:
		return "the code is not whole: it has 56 digits and letters in eight groups of seven";
	case ENROL_BAD_CHECKSUM: return "the code is mistyped somewhere";
	case ENROL_BAD_PLACE: return "what follows the @ must be HOST:PORT";
	}
	return "unknown";
}

/* ---- the code ---- */

static int checksum(const uint8_t *code, uint8_t out[static SUM_LEN])
{
	static const char label[] = "stile enrol code";
	uint8_t all[sizeof(label) + CODE_LEN - SUM_LEN], sum[EVP_MAX_MD_SIZE];
	int r;

	memcpy(all, label, sizeof(label));
	memcpy(all + sizeof(label), code, CODE_LEN - SUM_LEN);
	r = EVP_Digest(all, sizeof(all), sum, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
	memcpy(out, sum, SUM_LEN);
	bytes_wipe(all, sizeof(all));
	return r;
}

int enrol_code_make(const struct identity_hash *root, struct enrol_code *ret_c)
{
	*ret_c = (struct enrol_code){ 0 };
	memcpy(ret_c->root, root->b, LINK_PREFIX_LEN);
	return bytes_random(ret_c->secret, ENROL_SECRET_LEN);
}

const char *enrol_code_write(const struct enrol_code *c, char buf[static ENROL_CODE_STRLEN])
{
	struct sb b = sb_init(buf, ENROL_CODE_STRLEN);
	uint8_t code[CODE_LEN];

	memcpy(code, c->secret, ENROL_SECRET_LEN);
	memcpy(code + ENROL_SECRET_LEN, c->root, LINK_PREFIX_LEN);
	(void)checksum(code, code + CODE_LEN - SUM_LEN);
	crockford_write(&b, code, CODE_LEN, GROUP);
	bytes_wipe(code, sizeof(code));
	if (c->host[0])
		sb_fmt(&b, strchr(c->host, ':') ? "@[%s]:%u" : "@%s:%u", c->host, c->port);
	return buf;
}

/* A name or an address; letters, digits and what stands in either, so that it can be shown. */
static bool is_host(struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] <= ' ' || t.p[i] > '~' || strchr("@[]/\\\"'#%", t.p[i]))
			return false;
	return t.n > 0 && t.n <= ENROL_HOST_MAX;
}

static enum enrol_error read_place(struct text t, struct enrol_code *c)
{
	struct text host;
	uint64_t port;

	if (t.n && t.p[0] == '[') {
		t = text_drop(t, 1);
		host = text_cut(&t, ']');
		if (!t.n || t.p[0] != ':' || text_find(host, ':') < 0)
			return ENROL_BAD_PLACE;
		t = text_drop(t, 1);
	} else {
		host = text_cut(&t, ':');
	}
	if (!is_host(host) || text_u64(t, &port) < 0 || port == 0 || port > UINT16_MAX)
		return ENROL_BAD_PLACE;
	memcpy(c->host, host.p, host.n);
	c->host[host.n] = 0;
	c->port = (uint16_t)port;
	return ENROL_OK;
}

enum enrol_error enrol_code_parse(struct text t, struct enrol_code *ret_c)
{
	struct text place = text_trim(t), code_text = text_cut(&place, '@');
	uint8_t code[CODE_LEN], sum[SUM_LEN];
	struct enrol_code c = { 0 };
	int r = crockford_read(code_text, code, CODE_LEN);
	enum enrol_error e = r == -EILSEQ ? ENROL_BAD_CHARACTER : r < 0 ? ENROL_BAD_LENGTH : ENROL_OK;

	if (e == ENROL_OK &&
	    (checksum(code, sum) < 0 || memcmp(sum, code + CODE_LEN - SUM_LEN, SUM_LEN) != 0))
		e = ENROL_BAD_CHECKSUM;
	if (e == ENROL_OK && place.p)
		e = read_place(place, &c);
	if (e == ENROL_OK) {
		memcpy(c.secret, code, ENROL_SECRET_LEN);
		memcpy(c.root, code + ENROL_SECRET_LEN, LINK_PREFIX_LEN);
		*ret_c = c;
	}
	bytes_wipe(code, sizeof(code));
	return e;
}

/* ---- proofs ---- */

void enrol_id(const uint8_t secret[static ENROL_SECRET_LEN], uint8_t out[static ENROL_ID_LEN])
{
	static const char label[] = "stile enrol id";
	uint8_t mac[EVP_MAX_MD_SIZE];

	memset(mac, 0, sizeof(mac));
	(void)HMAC(EVP_sha256(), secret, ENROL_SECRET_LEN, (const uint8_t *)label,
		   sizeof(label) - 1, mac, NULL);
	memcpy(out, mac, ENROL_ID_LEN);
}

int enrol_proof(const uint8_t secret[static ENROL_SECRET_LEN], enum enrol_side side,
		const struct enrol_session *s, uint8_t out[static ENROL_PROOF_LEN])
{
	const char *label = side == ENROL_AGENT ? "stile enrol agent" : "stile enrol server";
	uint8_t all[LABEL_MAX + LINK_EXPORTER_LEN + 2 * IDENTITY_LEN + NAME_MAX_LEN];
	struct wr w = wr_init(all, sizeof(all));

	wr_bytes(&w, label, strlen(label) + 1); /* with its NUL */
	wr_bytes(&w, s->exporter, LINK_EXPORTER_LEN);
	wr_bytes(&w, s->agent.b, IDENTITY_LEN);
	wr_bytes(&w, s->root.b, IDENTITY_LEN);
	wr_bytes(&w, s->name.p, s->name.n);
	if (w.failed || !HMAC(EVP_sha256(), secret, ENROL_SECRET_LEN, all, wr_len(&w), out, NULL))
		return -EIO;
	return 0;
}

bool enrol_proof_good(const uint8_t secret[static ENROL_SECRET_LEN], enum enrol_side side,
		      const struct enrol_session *s, struct text proof)
{
	uint8_t want[ENROL_PROOF_LEN];

	return enrol_proof(secret, side, s, want) == 0 && proof.n == ENROL_PROOF_LEN &&
	       bytes_equal_ct(want, proof.p, ENROL_PROOF_LEN);
}
