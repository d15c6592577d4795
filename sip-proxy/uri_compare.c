/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When two URIs are the same one: RFC 3261 19.1.4 for sip and sips, RFC 3966 4 for tel.
 *
 * What a component may leave out is not the same as its default: sip:bob@biloxi.com is neither
 * sip:bob@biloxi.com:5060 nor sip:bob@biloxi.com;transport=udp. A character and its escape are equal, unless the
 * character is reserved. The relation is not transitive: a parameter that only one of two has may be ignored.
 */
#include <string.h>
#include "sip-proxy/lex_priv.h"
#include "sip-proxy/uri.h"

/* One character off t, its escape undone; only a reserved one remembers that it was escaped (bit 8). -1 at the end. */
static int next_char(struct text *t, bool fold_case)
{
	static const char reserved[] = ";/?:@&=+$,";
	unsigned char c;
	bool escaped = t->n >= 3 && t->p[0] == '%' && lex_is(t->p[1], LEX_HEX) &&
		       lex_is(t->p[2], LEX_HEX);
	if (t->n == 0)
		return -1;
	struct text one = lex_cut(t, escaped ? 3 : 1);
	if (escaped) {
		int hi = one.p[1] <= '9' ? one.p[1] - '0' : (one.p[1] | 0x20) - 'a' + 10;
		int lo = one.p[2] <= '9' ? one.p[2] - '0' : (one.p[2] | 0x20) - 'a' + 10;
		c = (unsigned char)(hi << 4 | lo);
	} else {
		c = (unsigned char)one.p[0];
	}
	if (fold_case && c >= 'A' && c <= 'Z')
		c |= 0x20;
	return c | (escaped && c && strchr(reserved, c) ? 0x100 : 0);
}

static bool same(struct text a, struct text b, bool fold_case)
{
	int x, y;
	if (!a.p || !b.p)
		return !a.p && !b.p;
	do {
		x = next_char(&a, fold_case);
		y = next_char(&b, fold_case);
	} while (x == y && x >= 0);
	return x == y;
}

static bool same_host(const struct sip_uri *a, const struct sip_uri *b)
{
	struct addr x, y;
	if (a->host_kind != b->host_kind)
		return false;
	if (a->host_kind == SIP_HOST_IPV6)
		return addr_parse(a->host, 0, &x) == 0 && addr_parse(b->host, 0, &y) == 0 &&
		       addr_equal(&x, &y);
	return text_ieq(a->host, b->host);
}

static bool next_param(struct text *rest, struct text *ret_name, struct text *ret_value)
{
	if (!rest->p)
		return false;
	*ret_value = text_cut(rest, ';');
	*ret_name = text_cut(ret_value, '=');
	return true;
}

/* A URI that has one of these is never equal to one without. */
static bool counts_alone(struct text name)
{
	static const struct text names[] = { TEXT("user"), TEXT("ttl"), TEXT("method"),
					     TEXT("maddr"), TEXT("transport") };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (text_ieq(names[i], name))
			return true;
	return false;
}

static bool same_sip_params(const struct sip_uri *a, const struct sip_uri *b)
{
	struct text rest = a->params, name, value, other;
	while (next_param(&rest, &name, &value)) {
		if (sip_uri_param(b, name, &other) ? !same(value, other, true) : counts_alone(name))
			return false;
	}
	return true;
}

/* Each header of a is among b's: they may come in any order. */
static bool has_headers(struct text a, struct text b)
{
	while (a.p) {
		struct text value_a = text_cut(&a, '&'), name_a = text_cut(&value_a, '='), rest = b;
		bool found = false;
		while (rest.p && !found) {
			struct text value_b = text_cut(&rest, '&'), name_b = text_cut(&value_b, '=');
			found = same(name_a, name_b, true) && same(value_a, value_b, false);
		}
		if (!found)
			return false;
	}
	return true;
}

/* Digits without their visual separators. */
static bool same_number(struct text a, struct text b)
{
	for (size_t i = 0, j = 0;; i++, j++) {
		while (i < a.n && memchr("-.()", a.p[i], 4))
			i++;
		while (j < b.n && memchr("-.()", b.p[j], 4))
			j++;
		if (i == a.n || j == b.n)
			return i == a.n && j == b.n;
		if (!text_ieq((struct text){ a.p + i, 1 }, (struct text){ b.p + j, 1 }))
			return false;
	}
}

/* All of a's are b's. */
static bool same_tel_params(const struct sip_uri *a, const struct sip_uri *b)
{
	struct text rest = a->params, name, value, other;
	while (next_param(&rest, &name, &value)) {
		bool digits = text_ieq(name, TEXT("ext")) || (text_ieq(name, TEXT("phone-context")) &&
							      value.n > 0 && value.p[0] == '+');
		if (!sip_uri_param(b, name, &other))
			return false;
		if (digits ? !same_number(value, other) : !same(value, other, true))
			return false;
	}
	return true;
}

bool sip_uri_equal(const struct sip_uri *a, const struct sip_uri *b)
{
	if (a->scheme != b->scheme)
		return false;
	if (a->scheme == SIP_SCHEME_OTHER)
		return text_ieq(a->scheme_name, b->scheme_name) && text_eq(a->number, b->number);
	if (a->scheme == SIP_SCHEME_TEL)
		return same_number(a->number, b->number) && same_tel_params(a, b) &&
		       same_tel_params(b, a);
	return same(a->user, b->user, false) && same(a->password, b->password, false) &&
	       same_host(a, b) && a->port == b->port && same_sip_params(a, b) &&
	       same_sip_params(b, a) && has_headers(a->headers, b->headers) &&
	       has_headers(b->headers, a->headers);
}
