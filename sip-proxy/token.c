/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens; see token.h. The MAC covers the token's bytes and, of a dialog, Call-ID and tag, each with its length in
 * front, so that no two dialogs look alike. Nothing of a token is believed before its MAC was compared, in constant
 * time; nothing in it is secret.
 */
#include "sip-proxy/token.h"
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include "common/bytes.h"

enum { MAC = 10, BODY_MAX = 1 + 4 + 1 + 8 + 2 + 16, INPUT_MAX = 1024 };

static void put_text(struct wr *w, struct text t)
{
	wr_u16(w, (uint16_t)t.n);
	wr_bytes(w, t.p, t.n);
}

static int mac_of(const uint8_t key[32], struct text body, struct text call_id, struct text tag,
		  uint8_t out[MAC])
{
	uint8_t input[INPUT_MAX], long_id[32], full[EVP_MAX_MD_SIZE];
	struct wr w = wr_init(input, sizeof input);
	unsigned n;
	if (call_id.n + tag.n > sizeof input - 64) { /* absurd ones are hashed down, so that they have a MAC, too */
		if (call_id.n > UINT16_MAX ||
		    !HMAC(EVP_sha256(), key, 32, (const uint8_t *)call_id.p, call_id.n, long_id, &n))
			return -EIO;
		call_id = (struct text){ (const char *)long_id, sizeof long_id };
		tag.n = MIN(tag.n, sizeof input / 2);
	}
	wr_bytes(&w, body.p, body.n);
	if (!((uint8_t)body.p[0] & SIP_TOKEN_PATH)) {
		put_text(&w, call_id);
		put_text(&w, tag);
	}
	if (w.failed || !HMAC(EVP_sha256(), key, 32, input, wr_len(&w), full, &n))
		return -EIO;
	memcpy(out, full, MAC);
	return 0;
}

static void put_body(struct wr *w, const struct sip_token *t)
{
	size_t n;
	const uint8_t *ip = addr_ip(&t->hop.remote, &n);
	wr_u8(w, t->flags);
	if (t->flags & (SIP_TOKEN_FLOW | SIP_TOKEN_IFACE))
		wr_u32(w, t->hop.iface);
	if (!(t->flags & SIP_TOKEN_FLOW))
		return;
	wr_u8(w, (uint8_t)t->hop.proto);
	wr_u64(w, t->hop.conn);
	wr_u16(w, addr_port(&t->hop.remote));
	wr_bytes(w, ip, n);
}

static int get_body(struct rd *r, struct sip_token *t)
{
	t->flags = rd_u8(r);
	if (t->flags & (SIP_TOKEN_FLOW | SIP_TOKEN_IFACE))
		t->hop.iface = rd_u32(r);
	if (t->flags & SIP_TOKEN_FLOW) {
		unsigned proto = rd_u8(r);
		t->hop.conn = rd_u64(r);
		uint16_t port = rd_u16(r);
		const uint8_t *ip = rd_take(r, t->flags & SIP_TOKEN_IPV6 ? 16 : 4);
		if (!ip || proto >= SIP_PROTOS)
			return -EBADMSG;
		t->hop.proto = (enum sip_proto)proto;
		t->hop.remote = t->flags & SIP_TOKEN_IPV6 ? addr_v6(ip, port)
							  : addr_v4(load_be32(ip), port);
	}
	return r->failed ? -EBADMSG : 0;
}

/* Connections are numbered anew by each run, so their numbers are written under a word of this run's own: of another
 * run's token a number comes out that no connection has. The same both ways. */
static uint64_t of_run(const struct sip_token_key *key, const struct sip_hop *h)
{
	return sip_proto_rows[h->proto].reliable ? h->conn ^ key->epoch : h->conn;
}

int sip_token_make(const struct sip_token_key *key, const struct sip_token *t, struct text call_id,
		   struct text tag, char out[static SIP_TOKEN_MAX])
{
	uint8_t raw[BODY_MAX + MAC];
	struct sip_token own = *t;
	struct wr w = wr_init(raw, sizeof raw);
	int r;
	own.flags &= (uint8_t)~SIP_TOKEN_IPV6;
	if ((t->flags & SIP_TOKEN_FLOW) && addr_family(&t->hop.remote) == AF_INET6)
		own.flags |= SIP_TOKEN_IPV6;
	own.hop.conn = of_run(key, &t->hop);
	put_body(&w, &own);
	if (w.failed || BASE64_LEN(wr_len(&w) + MAC) >= SIP_TOKEN_MAX)
		return -ENOSPC;
	r = mac_of(key->mac, (struct text){ (const char *)raw, wr_len(&w) }, call_id, tag, w.pos);
	if (r < 0)
		return r;
	base64url_encode(raw, wr_len(&w) + MAC, out);
	return 0;
}

/* Whose tag is it? A callee may have chosen that of his caller: then nobody knows, and each is both. */
static void name_sides(struct sip_token *t, const struct text tags[2], unsigned i)
{
	bool caller = t->flags & SIP_TOKEN_CALLER_OUTSIDE, callee = t->flags & SIP_TOKEN_CALLEE_OUTSIDE;
	if (text_eq(tags[0], tags[1]))
		caller = callee = caller || callee;
	t->from_outside = i == 0 ? caller : callee;
	t->to_outside = i == 0 ? callee : caller;
}

/* Undoes base64url_encode(): the strict decoder of common/ wants the other two characters, and padding. */
static int decode(struct text t, uint8_t *out, size_t cap, size_t *ret_n)
{
	char plain[SIP_TOKEN_MAX + 4];
	size_t n = t.n;
	if (n == 0 || n >= SIP_TOKEN_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++) {
		if (t.p[i] == '+' || t.p[i] == '/')
			return -EBADMSG;
		plain[i] = t.p[i];
		if (t.p[i] == '-')
			plain[i] = '+';
		else if (t.p[i] == '_')
			plain[i] = '/';
	}
	while (n % 4)
		plain[n++] = '=';
	return base64_decode((struct text){ plain, n }, out, cap, ret_n) < 0 ? -EBADMSG : 0;
}

int sip_token_read(const struct sip_token_key *key, struct text user, struct text call_id,
		   const struct text tags[2], struct sip_token *ret_t)
{
	uint8_t raw[SIP_TOKEN_MAX], mac[MAC];
	struct sip_token t = { 0 };
	size_t n;
	if (decode(user, raw, sizeof raw, &n) < 0 || n <= MAC)
		return -EBADMSG;
	struct rd r = rd_init(raw, n - MAC);
	if (get_body(&r, &t) < 0 || !rd_done(&r))
		return -EBADMSG;
	for (unsigned i = 0; i < 2; i++) {
		if (!tags[i].p && !(t.flags & SIP_TOKEN_PATH))
			continue;
		if (mac_of(key->mac, (struct text){ (const char *)raw, n - MAC }, call_id, tags[i], mac) < 0)
			return -EPERM;
		if (bytes_equal_ct(mac, raw + n - MAC, MAC)) {
			t.hop.conn = of_run(key, &t.hop);
			name_sides(&t, tags, i);
			*ret_t = t;
			return 0;
		}
	}
	return -EPERM;
}
