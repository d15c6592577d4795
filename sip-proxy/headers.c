/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Via, the headers that hold an address, and the small ones: CSeq, RAck, numbers, Event. See headers.h.
 *
 * Parameters are walked once when a header is parsed, which proves their grammar and picks those with a meaning;
 * one of these given twice is malformed, for two readers could take two different ones.
 */
#include <errno.h>
#include <string.h>
#include "sip-proxy/headers.h"
#include "sip-proxy/lex_priv.h"

bool sip_param_next(struct text *rest, struct text *ret_name, struct text *ret_value)
{
	return lex_param(rest, ret_name, ret_value) == 1;
}

struct text sip_param(struct text params, struct text name)
{
	struct text other, value;
	while (sip_param_next(&params, &other, &value))
		if (text_ieq(other, name))
			return value;
	return (struct text){ 0 };
}

bool sip_has_param(struct text params, struct text name)
{
	struct text other, value;
	while (sip_param_next(&params, &other, &value))
		if (text_ieq(other, name))
			return true;
	return false;
}

ptrdiff_t sip_unquote(struct text t, char *out, size_t cap)
{
	size_t n = 0;
	bool quoted = t.n >= 2 && t.p[0] == '"' && t.p[t.n - 1] == '"';
	if (quoted)
		t = (struct text){ t.p + 1, t.n - 2 };
	for (size_t i = 0; i < t.n; i++) {
		if (quoted && t.p[i] == '\\' && i + 1 < t.n)
			i++;
		if (n == cap)
			return -ENOSPC;
		out[n++] = t.p[i];
	}
	return (ptrdiff_t)n;
}

/* A parameter that may be there once: -EBADMSG for the second. */
static int set_once(struct text *place, bool *seen, struct text value)
{
	if (*seen)
		return -EBADMSG;
	*seen = true;
	*place = value;
	return 0;
}

static int via_params(struct text rest, struct sip_via *v)
{
	enum { BRANCH, RECEIVED, RPORT, MADDR, TTL, ALIAS, OC, KNOWN };
	static const struct text names[KNOWN] = {
		TEXT("branch"), TEXT("received"), TEXT("rport"), TEXT("maddr"),
		TEXT("ttl"),	TEXT("alias"),	  TEXT("oc"),
	};
	struct text name, value, none; /* none: whether they are there is all that is asked of these */
	struct text *const places[KNOWN] = { &v->branch, &v->received, &v->rport, &v->maddr,
					     &v->ttl,	 &none,	       &none };
	bool seen[KNOWN] = { false };
	int r;
	while ((r = lex_param(&rest, &name, &value)) > 0) {
		size_t i = 0;
		while (i < KNOWN && !text_ieq(names[i], name))
			i++;
		if (i == KNOWN)
			continue;
		if (set_once(places[i], &seen[i], value) < 0)
			return -EBADMSG;
		if (!value.p && i != RPORT && i != ALIAS && i != OC)
			return -EBADMSG;
	}
	v->has_rport = seen[RPORT];
	v->alias = seen[ALIAS];
	v->oc = seen[OC];
	if (v->rport.p && (v->rport.n > 5 || lex_span(v->rport, 0, LEX_DIGIT) < v->rport.n))
		return -EBADMSG;
	return r;
}

/* sent-by: host [COLON port], where blanks may stand around the colon. */
static int via_sent_by(struct text *t, struct sip_via *v)
{
	const char *start = t->p;
	int r = sip_hostport_parse(t, &v->host, &v->host_kind, &v->port);
	if (r < 0)
		return r;
	v->sent_by = (struct text){ start, (size_t)(t->p - start) };
	if (v->port == 0 && lex_char(t, ':')) {
		struct text digits = lex_take(t, LEX_DIGIT);
		uint64_t port;
		if (text_u64(digits, &port) < 0 || port == 0 || port > 65535)
			return -EBADMSG;
		v->port = (uint16_t)port;
		v->sent_by.n = (size_t)(t->p - start);
	}
	return 0;
}

int sip_via_parse(struct text value, struct sip_via *ret_v)
{
	struct sip_via v = { .raw = value };
	struct text rest = value, name = lex_take(&rest, LEX_TOKEN), version;
	if (!text_ieq(name, TEXT("SIP")) || !lex_char(&rest, '/'))
		return -EBADMSG;
	version = lex_take(&rest, LEX_TOKEN);
	if (!text_eq(version, TEXT("2.0")) || !lex_char(&rest, '/'))
		return -EBADMSG;
	v.protocol = lex_take(&rest, LEX_TOKEN);
	if (v.protocol.n == 0 || rest.n == 0 || !lex_is(rest.p[0], LEX_BLANK))
		return -EBADMSG;
	lex_skip_lws(&rest);
	if (via_sent_by(&rest, &v) < 0)
		return -EBADMSG;
	v.params = lex_trim(rest);
	if (via_params(v.params, &v) < 0)
		return -EBADMSG;
	*ret_v = v;
	return 0;
}

bool sip_branch_is_3261(struct text branch)
{
	const struct text cookie = TEXT("z9hG4bK");
	return branch.n > cookie.n && text_ieq((struct text){ branch.p, cookie.n }, cookie);
}

/* "[2001:db8::1]" or any other text: an address that nothing may be sent to? */
static bool is_forbidden(struct text host)
{
	struct addr a;
	if (host.n > 2 && host.p[0] == '[')
		host = (struct text){ host.p + 1, host.n - 2 };
	if (host.n == 0 || addr_parse(host, 0, &a) < 0)
		return false;
	enum addr_class class = addr_classify(&a);
	return class == ADDR_BROADCAST || class == ADDR_MULTICAST || class == ADDR_UNSPECIFIED;
}

bool sip_via_is_unicast(const struct sip_via *v)
{
	return !is_forbidden(v->host) && !is_forbidden(v->received) && !is_forbidden(v->maddr);
}

/* display-name, '<', URI, '>', off t: -ENOENT if there is no '<', and t is as it was. */
static int bracketed(struct text *t, struct sip_addr *a)
{
	struct text rest = *t;
	if (!lex_quoted(&rest, &a->display)) {
		size_t n = lex_span(rest, 0, LEX_WORDS);
		a->display = lex_trim(lex_cut(&rest, n));
	}
	lex_skip_lws(&rest);
	if (rest.n == 0 || rest.p[0] != '<')
		return a->display.n > 0 && a->display.p[0] == '"' ? -EBADMSG : -ENOENT;
	lex_cut(&rest, 1);
	ptrdiff_t close = text_find(rest, '>');
	if (close < 0)
		return -EBADMSG;
	a->uri = lex_cut(&rest, (size_t)close);
	a->bracketed = true;
	lex_cut(&rest, 1);
	*t = rest;
	return 0;
}

/* A URI without brackets ends at the first blank or semicolon; a '?' or ',' in it would be ambiguous (RFC 3261 20). */
static int bare(struct text *t, struct sip_addr *a)
{
	size_t n = 0;
	while (n < t->n && t->p[n] != ';' && !lex_is(t->p[n], LEX_BLANK))
		n++;
	a->display = (struct text){ t->p, 0 };
	a->uri = lex_cut(t, n);
	return text_find(a->uri, '?') >= 0 || text_find(a->uri, ',') >= 0 ? -EBADMSG : 0;
}

/* "scheme:" and something without blanks: what it is, sip_uri_parse() says. */
static bool looks_like_uri(struct text t)
{
	size_t n = lex_span(t, 0, LEX_SCHEME);
	return n > 0 && lex_is(t.p[0], LEX_ALPHA) && n + 1 < t.n && t.p[n] == ':' && lex_all_visible(t);
}

int sip_addr_parse(struct text value, struct sip_addr *ret_a)
{
	struct sip_addr a = { .raw = value };
	struct text rest = lex_trim(value), params, name, param;
	bool seen = false;
	int r;
	if (text_eq(rest, TEXT("*"))) {
		*ret_a = (struct sip_addr){ .raw = value, .star = true };
		return 0;
	}
	r = bracketed(&rest, &a);
	if (r == -ENOENT)
		r = bare(&rest, &a);
	if (r < 0 || !looks_like_uri(a.uri))
		return -EBADMSG;
	params = a.params = lex_trim(rest);
	while ((r = lex_param(&params, &name, &param)) > 0)
		if (text_ieq(name, TEXT("tag")) && (set_once(&a.tag, &seen, param) < 0 || param.n == 0))
			return -EBADMSG;
	if (r < 0)
		return r;
	*ret_a = a;
	return 0;
}

int sip_number_parse(struct text value, uint32_t max, uint32_t *ret_n)
{
	uint64_t v;
	int r = text_u64(value, &v);
	if (r < 0)
		return r == -ERANGE ? r : -EBADMSG;
	if (v > max)
		return -ERANGE;
	*ret_n = (uint32_t)v;
	return 0;
}

/* Digits and a blank off t. */
static int number_and_lws(struct text *t, uint32_t *ret_n)
{
	struct text digits = lex_take(t, LEX_DIGIT);
	if (t->n == 0 || !lex_is(t->p[0], LEX_BLANK))
		return -EBADMSG;
	lex_skip_lws(t);
	return sip_number_parse(digits, INT32_MAX, ret_n) < 0 ? -EBADMSG : 0;
}

int sip_cseq_parse(struct text value, struct sip_cseq *ret_c)
{
	struct sip_cseq c = { 0 };
	struct text rest = lex_trim(value);
	if (number_and_lws(&rest, &c.number) < 0)
		return -EBADMSG;
	c.method_name = lex_take(&rest, LEX_TOKEN);
	if (c.method_name.n == 0 || rest.n > 0)
		return -EBADMSG;
	c.method = sip_method_of(c.method_name);
	*ret_c = c;
	return 0;
}

int sip_q_parse(struct text value, uint16_t *ret_thousandths)
{
	unsigned q;
	if (value.n == 0 || value.n > 5 || value.p[0] < '0' || value.p[0] > '1' ||
	    (value.n > 1 && value.p[1] != '.'))
		return -EBADMSG;
	q = (unsigned)(value.p[0] - '0') * 1000;
	for (size_t i = 2, unit = 100; i < value.n; i++, unit /= 10) {
		if (!lex_is(value.p[i], LEX_DIGIT))
			return -EBADMSG;
		q += (unsigned)(value.p[i] - '0') * (unsigned)unit;
	}
	if (q > 1000)
		return -EBADMSG;
	*ret_thousandths = (uint16_t)q;
	return 0;
}

int sip_addr_q(const struct sip_addr *a, uint16_t *ret_thousandths)
{
	if (!sip_has_param(a->params, TEXT("q"))) {
		*ret_thousandths = 1000;
		return 0;
	}
	return sip_q_parse(sip_param(a->params, TEXT("q")), ret_thousandths);
}

int sip_call_id_check(struct text value)
{
	size_t n = lex_span(value, 0, LEX_WORD);
	if (n > 0 && n < value.n && value.p[n] == '@') {
		size_t host = n + 1;
		n = lex_span(value, host, LEX_WORD);
		if (n == host)
			return -EBADMSG;
	}
	return n > 0 && n == value.n ? 0 : -EBADMSG;
}

bool sip_has_option(const struct sip_msg *m, enum sip_header id, struct text option)
{
	struct sip_values it = sip_values(m, id);
	struct text v;
	while (sip_values_next(&it, &v))
		if (text_ieq(v, option))
			return true;
	return false;
}

bool sip_wants_privacy(const struct sip_msg *m)
{
	for (const struct head_field *f = sip_find(m, SIP_H_PRIVACY); f; f = sip_find_next(m, f))
		if (!text_ieq(f->value, TEXT("none")))
			return true;
	return false;
}

bool sip_has_one_via(const struct sip_msg *m)
{
	struct sip_values it = sip_values(m, SIP_H_VIA);
	struct text v;
	return sip_values_next(&it, &v) && !sip_values_next(&it, &v);
}
