/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of HTTP CONNECT. A challenge is a scheme and its parameters; one header may hold several,
 * divided by the same commas as parameters are, so a word without "=" behind it begins the next one
 * (RFC 9110 11.6.1).
 *
 * Hashed is what a quoted string means, without its escapes, as curl and the proxies do it.
 */
#include "tunnel/agent/proxy.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "common/head.h"

enum { MAX_FIELDS = 64, ROUNDS_MAX = 3, DIGEST_HEX = 65 };
enum { H_PROXY_AUTHENTICATE = 1 };

static const struct header_row header_rows[] = { { "Proxy-Authenticate", 0, HDR_LIST,
						   H_PROXY_AUTHENTICATE } };

/* ---- the URL ---- */

static int bad(char *err, size_t err_n, const char *why)
{
	(void)snprintf(err, err_n, "%s", why);
	return -EINVAL;
}

/* %XX; no control characters, which could end a line. */
static int unescape(struct text t, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < t.n; i++) {
		uint8_t c = (uint8_t)t.p[i];
		size_t one;

		if (c == '%' &&
		    (i + 2 >= t.n || hex_decode((struct text){ t.p + i + 1, 2 }, &c, 1, &one) < 0))
			return -EINVAL;
		if (t.p[i] == '%')
			i += 2;
		if (n + 1 == cap || c < ' ' || c == 0x7f)
			return -EINVAL;
		out[n++] = (char)c;
	}
	out[n] = 0;
	return text_is_utf8((struct text){ out, n }) ? 0 : -EINVAL;
}

static bool host_good(struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] <= ' ' || t.p[i] > '~' || strchr("@/\\\"[]#?", t.p[i]))
			return false;
	return t.n > 0 && t.n <= PROXY_HOST_MAX;
}

static int read_place(struct text t, struct proxy *p)
{
	bool bracket = t.n && t.p[0] == '[';
	struct text host;
	uint64_t port = PROXY_PORT;

	if (bracket) {
		t = text_drop(t, 1);
		host = text_cut(&t, ']');
		if (!t.p || (t.n && t.p[0] != ':'))
			return -EINVAL;
		t = t.n ? text_drop(t, 1) : (struct text){ 0 };
	} else {
		host = text_cut(&t, ':');
	}
	if (!host_good(host) || (t.p && (text_u64(t, &port) < 0 || port == 0 || port > UINT16_MAX)))
		return -EINVAL;
	memcpy(p->host, host.p, host.n);
	p->host[host.n] = 0;
	p->port = (uint16_t)port;
	return 0;
}

int agent_proxy_parse(struct text url, struct proxy *ret_p, char *err, size_t err_n)
{
	struct proxy p = { .port = PROXY_PORT };
	struct text place = text_trim(url), login = { 0 }, user;
	size_t at = 0;

	if (text_starts(place, TEXT("http://")))
		place = text_drop(place, 7);
	else if (text_starts(place, TEXT("https://")) || text_starts(place, TEXT("socks")))
		return bad(err, err_n, "only http:// proxies are spoken to (CONNECT)");
	if (place.n && place.p[place.n - 1] == '/')
		place.n--;
	for (size_t i = 0; i < place.n; i++) /* the last @: a password may hold one */
		if (place.p[i] == '@')
			at = i + 1;
	if (at) {
		login = (struct text){ place.p, at - 1 };
		place = text_drop(place, at);
	}
	if (read_place(place, &p) < 0)
		return bad(err, err_n, "must be http://HOST:PORT or http://USER:PASSWORD@HOST:PORT");
	user = text_cut(&login, ':');
	if (unescape(user, p.user, sizeof(p.user)) < 0 ||
	    unescape(login, p.password, sizeof(p.password)) < 0)
		return bad(err, err_n,
			   "the user or the password is too long, or holds a control character or a % that is not %XX");
	if (at && !p.user[0])
		return bad(err, err_n, "there is no user in front of the @");
	*ret_p = p;
	return 0;
}

/* ---- Digest (RFC 7616 3.4) ---- */

/* Hash of the parts with colons in between, in hexadecimal. */
static bool digest(const struct proxy_login *l, char out[static DIGEST_HEX],
		   const struct text *parts, size_t n)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t md[EVP_MAX_MD_SIZE];
	unsigned md_n = 0;
	bool good = c && EVP_DigestInit_ex(c, l->sha256 ? EVP_sha256() : EVP_md5(), NULL) == 1;

	for (size_t i = 0; good && i < n; i++)
		good = (i == 0 || EVP_DigestUpdate(c, ":", 1) == 1) &&
		       EVP_DigestUpdate(c, parts[i].p, parts[i].n) == 1;
	good = good && EVP_DigestFinal_ex(c, md, &md_n) == 1;
	EVP_MD_CTX_free(c);
	if (good)
		hex_encode(md, md_n, out);
	return good;
}
#define DIGEST(l, out, ...)                                                                        \
	digest(l, out, (const struct text[]){ __VA_ARGS__ },                                       \
	       ARRAY_LEN(((const struct text[]){ __VA_ARGS__ })))

static bool digest_response(const struct proxy *p, const struct proxy_login *l, struct text uri,
			    const char *count, char out[static DIGEST_HEX])
{
	char a1[DIGEST_HEX], a2[DIGEST_HEX];
	struct text realm = text_of(l->realm), nonce = text_of(l->nonce), cnonce = text_of(l->cnonce);
	bool good = DIGEST(l, a1, text_of(p->user), realm, text_of(p->password));

	if (good && l->session)
		good = DIGEST(l, a1, text_of(a1), nonce, cnonce);
	good = good && DIGEST(l, a2, TEXT("CONNECT"), uri);
	if (good && l->qop)
		good = DIGEST(l, out, text_of(a1), nonce, text_of(count), cnonce, TEXT("auth"),
			      text_of(a2));
	else if (good)
		good = DIGEST(l, out, text_of(a1), nonce, text_of(a2));
	bytes_wipe(a1, sizeof(a1));
	return good;
}

static void put_quoted(struct sb *b, const char *name, const char *value)
{
	sb_fmt(b, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			sb_char(b, '\\');
		sb_char(b, *value);
	}
	sb_char(b, '"');
}

static int put_digest(struct sb *b, const struct proxy *p, struct proxy_login *l, struct text uri)
{
	char response[DIGEST_HEX], count[9];
	uint8_t raw[16];

	if (!l->cnonce[0]) {
		if (bytes_random(raw, sizeof(raw)) < 0)
			return -EIO;
		hex_encode(raw, sizeof(raw), l->cnonce);
	}
	(void)snprintf(count, sizeof(count), "%08x", ++l->count);
	if (!digest_response(p, l, uri, count, response))
		return -EIO;
	sb_str(b, "Proxy-Authorization: Digest ");
	put_quoted(b, "username", p->user);
	put_quoted(b, ", realm", l->realm);
	put_quoted(b, ", nonce", l->nonce);
	put_quoted(b, ", uri", uri.p);
	sb_fmt(b, ", response=\"%s\", algorithm=%s%s", response, l->sha256 ? "SHA-256" : "MD5",
	       l->session ? "-sess" : "");
	if (l->has_opaque)
		put_quoted(b, ", opaque", l->opaque);
	if (l->qop)
		sb_fmt(b, ", qop=auth, nc=%s", count);
	if (l->qop || l->session)
		sb_fmt(b, ", cnonce=\"%s\"", l->cnonce);
	sb_str(b, "\r\n");
	return 0;
}

static void put_basic(struct sb *b, const struct proxy *p)
{
	char plain[2 * PROXY_WORD_MAX + 2], coded[BASE64_LEN(sizeof(plain)) + 1];
	int n = snprintf(plain, sizeof(plain), "%s:%s", p->user, p->password);

	base64_encode(plain, (size_t)n, coded);
	sb_fmt(b, "Proxy-Authorization: Basic %s\r\n", coded);
	bytes_wipe(plain, sizeof(plain));
	bytes_wipe(coded, sizeof(coded));
}

int proxy_request(const struct proxy *p, struct proxy_login *l, struct text host, uint16_t port,
		  char buf[static PROXY_REQUEST_MAX], size_t *ret_n)
{
	struct sb b = sb_init(buf, PROXY_REQUEST_MAX);
	bool v6 = text_find(host, ':') >= 0;
	char uri[PROXY_HOST_MAX + 10];
	int r = 0;

	if (host.n > PROXY_HOST_MAX)
		return -ENOSPC;
	(void)snprintf(uri, sizeof(uri), v6 ? "[%.*s]:%u" : "%.*s:%u", TEXT_FMT(host), port);
	sb_fmt(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", uri, uri);
	if (l->scheme == PROXY_BASIC)
		put_basic(&b, p);
	else if (l->scheme == PROXY_DIGEST)
		r = put_digest(&b, p, l, text_of(uri));
	sb_str(&b, "\r\n");
	*ret_n = b.n;
	return r < 0 ? r : b.truncated ? -ENOSPC : 0;
}

/* ---- challenges ---- */

struct challenge {
	struct text scheme;
	struct text realm, nonce, opaque, qop, algorithm, stale;
	bool has_opaque;
};

static void skip(struct text *t, const char *these)
{
	while (t->n && strchr(these, t->p[0]) && t->p[0])
		*t = text_drop(*t, 1);
}

static struct text take_token(struct text *t)
{
	size_t n = 0;

	while (n < t->n && head_is_token((struct text){ t->p + n, 1 }))
		n++;
	struct text token = { t->p, n };
	*t = text_drop(*t, n);
	return token;
}

/* A token, or what stands between quotes; false: the quotes do not close. */
static bool take_value(struct text *t, struct text *ret_v)
{
	size_t n = 1;

	if (!t->n || t->p[0] != '"') {
		*ret_v = take_token(t);
		return ret_v->n > 0;
	}
	while (n < t->n && t->p[n] != '"')
		n += t->p[n] == '\\' ? 2 : 1;
	if (n >= t->n)
		return false;
	*ret_v = (struct text){ t->p + 1, n - 1 };
	*t = text_drop(*t, n + 1);
	return true;
}

static void set_param(struct challenge *c, struct text name, struct text value)
{
	const struct {
		const char *name;
		struct text *to;
	} params[] = { { "realm", &c->realm },	       { "nonce", &c->nonce },
		       { "opaque", &c->opaque },       { "qop", &c->qop },
		       { "algorithm", &c->algorithm }, { "stale", &c->stale } };

	for (size_t i = 0; i < ARRAY_LEN(params); i++)
		if (text_ieq(name, text_of(params[i].name)))
			*params[i].to = value;
	c->has_opaque |= text_ieq(name, TEXT("opaque"));
}

/* The next challenge of a header's value; false: no more, or what is there is none. */
static bool take_challenge(struct text *t, struct challenge *c)
{
	*c = (struct challenge){ 0 };
	skip(t, " \t,");
	c->scheme = take_token(t);
	if (!c->scheme.n)
		return false;
	for (;;) {
		struct text before, name, value;

		skip(t, " \t,");
		before = *t;
		name = take_token(t);
		skip(t, " \t");
		if (!name.n || !t->n || t->p[0] != '=') { /* the next scheme, or the end */
			*t = before;
			return true;
		}
		skip(t, "= \t");
		if (!t->n || t->p[0] == ',')
			continue; /* token68: "Negotiate YII=" */
		if (!take_value(t, &value)) {
			*t = (struct text){ 0 };
			return true;
		}
		set_param(c, name, value);
	}
}

static bool has_auth(struct text qop)
{
	while (qop.p)
		if (text_ieq(text_trim(text_cut(&qop, ',')), TEXT("auth")))
			return true;
	return false;
}

static bool keep(char to[static PROXY_PARAM_MAX], struct text t)
{
	struct sb b = sb_init(to, PROXY_PARAM_MAX);

	if (!text_is_utf8(t))
		return false;
	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i] == '\\' && i + 1 < t.n)
			i++;
		sb_text(&b, (struct text){ t.p + i, 1 });
	}
	return b.n == strlen(to) && !b.truncated;
}

/* How good a login is; 0: we cannot do it. */
static unsigned rank(const struct challenge *c)
{
	struct text a = c->algorithm.n ? c->algorithm : TEXT("MD5");

	if (text_ieq(c->scheme, TEXT("Basic")))
		return 1;
	if (!text_ieq(c->scheme, TEXT("Digest")) || !c->nonce.n || (c->qop.n && !has_auth(c->qop)))
		return 0;
	if (text_ieq(a, TEXT("SHA-256")) || text_ieq(a, TEXT("SHA-256-sess")))
		return 3;
	return text_ieq(a, TEXT("MD5")) || text_ieq(a, TEXT("MD5-sess")) ? 2 : 0;
}

static void consider(struct proxy_login *best, unsigned *best_rank, const struct challenge *c,
		     bool *ret_stale)
{
	struct proxy_login l = { .rounds = best->rounds };
	unsigned r = rank(c);

	if (r <= *best_rank || !keep(l.realm, c->realm) || !keep(l.nonce, c->nonce) ||
	    !keep(l.opaque, c->opaque))
		return;
	l.scheme = r == 1 ? PROXY_BASIC : PROXY_DIGEST;
	l.sha256 = r == 3;
	l.session = c->algorithm.n > 5 &&
		    text_ieq(text_drop(c->algorithm, c->algorithm.n - 5), TEXT("-sess"));
	l.qop = c->qop.n > 0;
	l.has_opaque = c->has_opaque;
	*best = l;
	*best_rank = r;
	*ret_stale = text_ieq(c->stale, TEXT("true"));
}

/* ---- answers ---- */

static enum proxy_verdict no(char *why, const char *text)
{
	(void)snprintf(why, PROXY_WHY_MAX, "%s", text);
	return PROXY_REFUSED;
}

static enum proxy_verdict on_407(const struct proxy *p, struct proxy_login *l, const struct head *h,
				 char *why)
{
	bool tried = l->scheme != PROXY_NO_LOGIN, stale = false;
	struct proxy_login best = { .rounds = l->rounds + 1 };
	unsigned best_rank = 0;

	for (unsigned i = 0; i < h->n_fields; i++) {
		struct text t = h->fields[i].value;
		struct challenge c;

		if (!h->fields[i].row || h->fields[i].row->id != H_PROXY_AUTHENTICATE)
			continue;
		while (take_challenge(&t, &c))
			consider(&best, &best_rank, &c, &stale);
	}
	if (!p->user[0])
		return no(why, "the proxy wants a login, and agent.proxy has none");
	if (!best_rank)
		return no(why,
			  "the proxy wants a login of a kind that is not known here (Basic, Digest with SHA-256 or MD5)");
	if (tried && !stale)
		return no(why, "the proxy refuses the user or password of agent.proxy");
	if (best.rounds > ROUNDS_MAX)
		return no(why, "the proxy asks for a login again and again");
	*l = best;
	return PROXY_AGAIN;
}

static enum proxy_verdict refused(struct text code, struct text reason, char *why)
{
	struct sb b = sb_init(why, PROXY_WHY_MAX);

	sb_fmt(&b, "the proxy answers %.3s", code.p);
	if (reason.n && text_is_utf8(reason)) {
		sb_char(&b, ' ');
		sb_part(&b, reason, 100);
	}
	if (text_eq(code, TEXT("403")) || text_eq(code, TEXT("405")))
		sb_str(&b, ": it does not let CONNECT through to this port");
	return PROXY_REFUSED;
}

/* code 1xx: *in goes on behind it. */
static enum proxy_verdict judge(const struct proxy *p, struct proxy_login *l, const struct head *h,
				bool *ret_interim, char *why)
{
	struct text words[3];

	*ret_interim = false;
	if (head_start_words(h->start_line, words) != HEAD_OK || !text_starts(words[0], TEXT("HTTP/1.")))
		return no(why, "the proxy does not speak HTTP");
	if (words[1].p[0] == '2')
		return PROXY_OPEN;
	if (text_eq(words[1], TEXT("407")))
		return on_407(p, l, h, why);
	if (text_eq(words[1], TEXT("401")) && l->scheme != PROXY_NO_LOGIN) /* tinyproxy says that */
		return no(why, "the proxy refuses the user or password of agent.proxy");
	*ret_interim = words[1].p[0] == '1' && !text_eq(words[1], TEXT("101"));
	return *ret_interim ? PROXY_MORE : refused(words[1], words[2], why);
}

enum proxy_verdict proxy_answer(const struct proxy *p, struct proxy_login *l, struct text in,
				size_t *ret_used, char why[static PROXY_WHY_MAX])
{
	static struct header_table table;
	struct head_field fields[MAX_FIELDS];
	const struct head_rules rules = { &table, 0, PROXY_HEAD_MAX };
	size_t used = 0;
	bool interim = true;

	if (!table.slots && header_table_init(&table, header_rows, ARRAY_LEN(header_rows)) < 0)
		return no(why, "out of memory");
	while (interim) {
		struct head h;
		enum head_error e = head_parse(text_drop(in, used), &rules, fields, MAX_FIELDS, &h);
		enum proxy_verdict v;

		if (e == HEAD_INCOMPLETE && used < PROXY_HEAD_MAX)
			return PROXY_MORE;
		if (e != HEAD_OK)
			return no(why, used ? "the proxy's answer has no end"
					    : "the proxy's answer is not HTTP");
		used += h.length;
		v = judge(p, l, &h, &interim, why);
		*ret_used = used;
		if (!interim)
			return v;
	}
	return PROXY_MORE;
}
