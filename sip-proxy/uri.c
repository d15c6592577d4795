/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URIs, by RFC 3261's grammar: userinfo "@" host ":" port, parameters, headers. An '@' that is not escaped can stand in
 * one place only, so whatever is in front of the first one is the user, however many semicolons it holds (RFC 4475
 * 3.1.1.13). A parameter that is named twice is refused: two readers could take two different ones.
 */
#include <errno.h>
#include <arpa/inet.h>
#include <string.h>
#include "sip-proxy/lex_priv.h"
#include "sip-proxy/uri.h"

enum { PARAMS_MAX = 64 }; /* a URI with more is nobody's, and each is compared with each */

static int ipv6_check(struct text host)
{
	char buf[INET6_ADDRSTRLEN];
	struct in6_addr ip;
	for (size_t i = 0; i < host.n; i++)
		if (!lex_is(host.p[i], LEX_HEX) && host.p[i] != ':' && host.p[i] != '.')
			return -EBADMSG; /* a NUL would be the end for inet_pton() */
	if (host.n >= sizeof buf)
		return -EBADMSG;
	memcpy(buf, host.p, host.n);
	buf[host.n] = 0;
	return inet_pton(AF_INET6, buf, &ip) == 1 ? 0 : -EBADMSG;
}

/* Four numbers up to 255. */
static bool is_ipv4(struct text host)
{
	unsigned dots = 0, v = 0, digits = 0;
	for (size_t i = 0; i < host.n; i++) {
		if (host.p[i] == '.') {
			dots++;
			v = digits = 0;
			continue;
		}
		v = v * 10 + (unsigned)(host.p[i] - '0');
		digits++;
		if (!lex_is(host.p[i], LEX_DIGIT) || digits > 3 || v > 255)
			return false;
	}
	return dots == 3; /* no label is empty */
}

/* A name or an IPv4 address off the front of t: labels of letters, digits, '-' and '_', none empty (a dot may end it
 * all); four numbers, if the last label is one. */
static int name_parse(struct text *t, struct text *ret_host, enum sip_host_kind *ret_kind)
{
	const struct text in = *t;
	size_t label = 0, i = lex_span(in, 0, LEX_LABEL); /* where the label begins and ends */
	while (i > label && i + 1 < in.n && in.p[i] == '.' && lex_is(in.p[i + 1], LEX_LABEL)) {
		label = i + 1;
		i = lex_span(in, label, LEX_LABEL);
	}
	if (i == label)
		return -EBADMSG;
	bool number = lex_span(in, label, LEX_DIGIT) == i, root = i < in.n && in.p[i] == '.';
	*ret_host = lex_cut(t, i + root);
	*ret_kind = number ? SIP_HOST_IPV4 : SIP_HOST_NAME;
	return !number || (!root && is_ipv4(*ret_host)) ? 0 : -EBADMSG;
}

static int port_parse(struct text *t, uint16_t *ret_port)
{
	uint64_t v = 0;
	*ret_port = 0;
	if (t->n == 0 || t->p[0] != ':')
		return 0;
	lex_cut(t, 1);
	struct text digits = lex_take(t, LEX_DIGIT);
	if (text_u64(digits, &v) < 0 || v == 0 || v > 65535)
		return -EBADMSG;
	*ret_port = (uint16_t)v;
	return 0;
}

int sip_hostport_parse(struct text *t, struct text *ret_host, enum sip_host_kind *ret_kind,
		       uint16_t *ret_port)
{
	struct text rest = *t, host;
	enum sip_host_kind kind = SIP_HOST_IPV6;
	uint16_t port;
	int r;
	if (rest.n > 0 && rest.p[0] == '[') {
		ptrdiff_t close = text_find(rest, ']');
		if (close < 0)
			return -EBADMSG;
		host = text_drop(lex_cut(&rest, (size_t)close), 1);
		lex_cut(&rest, 1);
		r = ipv6_check(host);
	} else {
		r = name_parse(&rest, &host, &kind);
	}
	if (r < 0 || (r = port_parse(&rest, &port)) < 0)
		return r;
	*ret_host = host;
	*ret_kind = kind;
	*ret_port = port;
	*t = rest;
	return 0;
}

/* name[=value] off a list; false at its end. A '=' behind the first one belongs to the value, which then is none. */
static bool next_pair(struct text *rest, char sep, struct text *ret_name, struct text *ret_value)
{
	if (!rest->p)
		return false;
	struct text pair = text_cut(rest, sep);
	*ret_name = text_cut(&pair, '=');
	*ret_value = pair;
	return true;
}

static bool named_before(struct text list, struct text name)
{
	struct text other, value;
	while (next_pair(&list, ';', &other, &value) && other.p != name.p)
		if (text_ieq(other, name))
			return true;
	return false;
}

/* The parameters off rest, which ends behind them or at the '?'. */
static int params_parse(struct text *rest, struct sip_uri *u)
{
	const char *start = rest->p;
	unsigned n = 0;
	do {
		struct text name = lex_take_escaped(rest, LEX_PARAM), value = { 0 };
		if (rest->n > 0 && rest->p[0] == '=') {
			lex_cut(rest, 1);
			value = lex_take_escaped(rest, LEX_PARAM);
			if (value.n == 0)
				return -EBADMSG;
		}
		u->params = (struct text){ start, (size_t)(rest->p - start) };
		if (name.n == 0 || n == PARAMS_MAX || (n > 0 && named_before(u->params, name)))
			return -EBADMSG;
		n++;
		if (text_ieq(name, TEXT("lr")))
			u->lr = true;
		else if (text_ieq(name, TEXT("transport")))
			u->transport = value;
		else if (text_ieq(name, TEXT("maddr")))
			u->maddr = value;
	} while (rest->n > 0 && rest->p[0] == ';' && (lex_cut(rest, 1), true));
	return 0;
}

static int headers_check(struct text headers)
{
	struct text name, value;
	for (unsigned n = 0; next_pair(&headers, '&', &name, &value); n++)
		if (n == PARAMS_MAX || name.n == 0 || !value.p ||
		    !lex_all_escaped(name, LEX_HEADER) || !lex_all_escaped(value, LEX_HEADER))
			return -EBADMSG;
	return 0;
}

/* What stands in front of the '@', and the '@' itself, off rest. */
static int userinfo_parse(struct text *rest, struct sip_uri *u)
{
	ptrdiff_t at = text_find(*rest, '@');
	if (at < 0)
		return 0;
	struct text info = lex_cut(rest, (size_t)at);
	lex_cut(rest, 1);
	u->user = text_cut(&info, ':');
	u->password = info;
	if (u->user.n == 0 || !lex_all_escaped(u->user, LEX_USER) ||
	    !lex_all_escaped(info, LEX_PASSWORD))
		return -EBADMSG;
	return 0;
}

static int sip_parse(struct text rest, struct sip_uri *u)
{
	int r = userinfo_parse(&rest, u);
	if (r < 0 || (r = sip_hostport_parse(&rest, &u->host, &u->host_kind, &u->port)) < 0)
		return r;
	if (rest.n > 0 && rest.p[0] == ';') {
		lex_cut(&rest, 1);
		if (params_parse(&rest, u) < 0)
			return -EBADMSG;
	}
	if (rest.n == 0)
		return 0;
	if (rest.p[0] != '?')
		return -EBADMSG;
	lex_cut(&rest, 1);
	u->headers = rest;
	return headers_check(rest);
}

/* RFC 3966: "+" and digits, or a local number. A local one should say its phone-context; many do not, and are taken. */
static int tel_parse(struct text rest, struct sip_uri *u)
{
	bool global = rest.n > 0 && rest.p[0] == '+', digit = false;
	u->number = text_cut(&rest, ';');
	for (size_t i = global; i < u->number.n; i++) {
		char c = u->number.p[i];
		bool is_digit = lex_is(c, LEX_DIGIT) ||
				(!global && (lex_is(c, LEX_HEX) || c == '*' || c == '#'));
		if (!is_digit && !lex_is(c, LEX_PHONE))
			return -EBADMSG;
		digit |= is_digit;
	}
	if (digit && rest.p)
		digit = params_parse(&rest, u) == 0 && rest.n == 0;
	return digit ? 0 : -EBADMSG;
}

static enum sip_scheme scheme_of(struct text name)
{
	if (text_ieq(name, TEXT("sip")))
		return SIP_SCHEME_SIP;
	if (text_ieq(name, TEXT("sips")))
		return SIP_SCHEME_SIPS;
	return text_ieq(name, TEXT("tel")) ? SIP_SCHEME_TEL : SIP_SCHEME_OTHER;
}

int sip_uri_parse(struct text t, struct sip_uri *ret_u)
{
	struct sip_uri u = { .raw = t };
	struct text rest = t;
	size_t n = lex_span(t, 0, LEX_SCHEME);
	int r = 0;
	if (n == 0 || !lex_is(t.p[0], LEX_ALPHA) || n == t.n || t.p[n] != ':')
		return -EBADMSG;
	u.scheme_name = lex_cut(&rest, n);
	lex_cut(&rest, 1);
	u.scheme = scheme_of(u.scheme_name);
	if (u.scheme == SIP_SCHEME_SIP || u.scheme == SIP_SCHEME_SIPS) {
		r = sip_parse(rest, &u);
	} else if (u.scheme == SIP_SCHEME_TEL) {
		r = tel_parse(rest, &u);
	} else {
		u.number = rest;
		r = rest.n > 0 && lex_all_escaped(rest, LEX_URIC) ? 0 : -EBADMSG;
	}
	if (r == 0)
		*ret_u = u;
	return r;
}

bool sip_uri_param(const struct sip_uri *u, struct text name, struct text *ret_value)
{
	struct text rest = u->params, other, value;
	while (next_pair(&rest, ';', &other, &value)) {
		if (!text_ieq(other, name))
			continue;
		if (ret_value)
			*ret_value = value;
		return true;
	}
	return false;
}

static int hex(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

ptrdiff_t sip_uri_unescape(struct text t, char *out, size_t cap)
{
	size_t n = 0;
	for (size_t i = 0; i < t.n; i++) {
		char c = t.p[i];
		if (c == '%') {
			if (t.n - i < 3 || !lex_is(t.p[i + 1], LEX_HEX) || !lex_is(t.p[i + 2], LEX_HEX))
				return -EBADMSG;
			c = (char)(hex(t.p[i + 1]) << 4 | hex(t.p[i + 2]));
			i += 2;
		}
		if ((unsigned char)c < 0x20 || c == 0x7f)
			return -EBADMSG;
		if (n == cap)
			return -ENOSPC;
		out[n++] = c;
	}
	return (ptrdiff_t)n;
}

int sip_uri_addr(const struct sip_uri *u, uint16_t default_port, struct addr *ret_a)
{
	if (u->host.n == 0 || u->host_kind == SIP_HOST_NAME ||
	    addr_parse(u->host, u->port ? u->port : default_port, ret_a) < 0)
		return -EBADMSG;
	return 0;
}
