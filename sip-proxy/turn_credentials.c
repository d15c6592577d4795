/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Minting, the header, and the hook; see turn_credentials.h. The user name is "expiry:alice@example.org", the password the
 * base64 of HMAC-SHA1 over it, as stile-turn and other TURN servers with a shared secret expect.
 *
 * Only an answer of 2xx carries them, so whoever gets them has proven who he is, here or at his UC server.
 */
#include "sip-proxy/turn_credentials.h"
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <time.h>
#include "common/bytes.h"
#include "sip-proxy/location.h"

enum { SECRET_MAX = 256, HEADER_MAX = 64, URIS_MAX = 1024 };

struct sip_turn {
	char secret[SECRET_MAX], header[HEADER_MAX], uris[URIS_MAX];
	uint64_t ttl_s;
	bool on, plain;
};

/* ---- life ---- */

int sip_turn_new(const struct sip_config *c, struct sip_turn **ret_t)
{
	struct sip_turn *t = calloc(1, sizeof(*t));
	char *const *uri = c->turn.uris.items;
	struct sb b;

	if (!t)
		return -ENOMEM;
	b = sb_init(t->uris, sizeof(t->uris));
	for (size_t i = 0; i < c->turn.uris.n; i++) {
		sb_str(&b, i ? ", " : "");
		sb_str(&b, uri[i]);
	}
	if (c->turn.secret)
		text_append(t->secret, sizeof(t->secret), c->turn.secret);
	text_append(t->header, sizeof(t->header), c->turn.header);
	t->ttl_s = c->turn.lifetime_ms / 1000;
	t->plain = c->turn.plain;
	t->on = t->secret[0] && c->turn.uris.n;
	*ret_t = t;
	return 0;
}

struct sip_turn *sip_turn_free(struct sip_turn *t)
{
	if (t)
		bytes_wipe(t, sizeof(*t));
	free(t);
	return NULL;
}

bool sip_turn_is_on(const struct sip_turn *t)
{
	return t->on;
}

const char *sip_turn_uris(const struct sip_turn *t)
{
	return t->uris;
}

/* ---- minting ---- */

int sip_turn_mint(const struct sip_turn *t, const char *name, int64_t unix_s,
		  struct sip_turn_credentials *ret_c)
{
	struct sip_turn_credentials c = { .ttl_s = t->ttl_s };
	struct sb b = sb_init(c.user, sizeof(c.user));
	uint8_t md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	sb_u64(&b, (uint64_t)unix_s + t->ttl_s, 1);
	sb_char(&b, ':');
	sb_str(&b, name);
	if (b.truncated)
		return -ENOSPC;
	if (!HMAC(EVP_sha1(), t->secret, (int)strlen(t->secret), (const uint8_t *)c.user, b.n, md, &n) ||
	    n != 20)
		return -EIO;
	base64_encode(md, n, c.password);
	bytes_wipe(md, sizeof(md));
	*ret_c = c;
	return 0;
}

/* A quoted-string (RFC 3261 25.1). */
static void put_quoted(struct sb *b, const char *name, const char *value)
{
	sb_str(b, name);
	sb_str(b, "=\"");
	for (const char *p = value; *p; p++) {
		if (*p == '"' || *p == '\\')
			sb_char(b, '\\');
		sb_char(b, *p);
	}
	sb_char(b, '"');
}

static bool write_value(const struct sip_turn *t, const char *aor,
			char buf[static SIP_TURN_VALUE_MAX], struct text *ret_v)
{
	struct sip_turn_credentials c;
	struct sb b = sb_init(buf, SIP_TURN_VALUE_MAX);

	if (sip_turn_mint(t, aor, (int64_t)time(NULL), &c) < 0)
		return false;
	put_quoted(&b, "username", c.user);
	put_quoted(&b, "; password", c.password);
	sb_str(&b, "; ttl=");
	sb_u64(&b, c.ttl_s, 1);
	put_quoted(&b, "; uris", t->uris);
	bytes_wipe(&c, sizeof(c));
	*ret_v = (struct text){ buf, b.n };
	return !b.truncated;
}

/* ---- hooks ---- */

static const struct head_field *header_of(const struct sip_turn *t, const struct sip_msg *m)
{
	for (size_t i = 0; i < m->head.n_fields; i++) {
		const struct head_field *f = &m->head.fields[i];
		if (text_ieq(f->name, text_of(t->header)))
			return f;
	}
	return NULL;
}

enum sip_step sip_turn_request(struct sip_passage *p, void *arg)
{
	const struct sip_turn *t = ((const struct sip_turn_place *)arg)->turn;
	const struct head_field *f = p->msg->method == SIP_REGISTER && t->on ? header_of(t, p->msg)
									     : NULL;

	if (!f)
		return SIP_GO_ON;
	p->wants_turn = sip_proto_rows[p->from.proto].secure || t->plain;
	sip_edit_remove_field(sip_passage_edit(p), f);
	return SIP_GO_ON;
}

bool sip_turn_response(struct sip_return *ret, void *arg)
{
	const struct sip_turn *t = ((const struct sip_turn_place *)arg)->turn;
	char aor[SIP_AOR_MAX], buf[SIP_TURN_VALUE_MAX];
	struct text value;
	struct sip_uri u;

	if (!ret->wants_turn || !t->on || ret->basics->cseq.method != SIP_REGISTER ||
	    ret->msg->status / 100 != 2 || sip_uri_parse(ret->basics->to.uri, &u) < 0 ||
	    sip_aor_of(&u, aor) < 0 || !write_value(t, aor, buf, &value))
		return true;
	sip_edit_append_named(ret->edit, text_of(t->header), value);
	bytes_wipe(buf, sizeof(buf));
	return true;
}

unsigned sip_turn_line(const struct sip_turn *t, const struct sip_passage *p, const char *aor,
		       struct sip_line *ret_line, char buf[static SIP_TURN_VALUE_MAX])
{
	if (!p->wants_turn || !t->on || !write_value(t, aor, buf, &ret_line->value))
		return 0;
	ret_line->name = text_of(t->header);
	return 1;
}
