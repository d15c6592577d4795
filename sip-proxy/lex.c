/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens of RFC 3261; see lex_priv.h. The table is filled in by
 * ranges: who reads it next to the RFC's grammar sees the same lists
 * of characters.
 */
#include <errno.h>
#include "sip-proxy/lex_priv.h"

/* clang-format off */
#define MARK    (LEX_USER | LEX_PARAM | LEX_HEADER | LEX_URIC | LEX_PASSWORD) /* - _ . ! ~ * ' ( ) */
#define ALNUM   (LEX_TOKEN | LEX_HOST | LEX_WORD | MARK)
#define LETTER  (ALNUM | LEX_ALPHA)
#define HEXLET  (LETTER | LEX_HEX)
#define DIGIT   (ALNUM | LEX_DIGIT | LEX_HEX | LEX_PHONE)
const uint16_t lex_class[256] = {
	[' '] = LEX_BLANK, ['\t'] = LEX_BLANK, ['\r'] = LEX_BLANK, ['\n'] = LEX_BLANK,
	['0' ... '9'] = DIGIT,
	['A' ... 'F'] = HEXLET, ['a' ... 'f'] = HEXLET,
	['G' ... 'Z'] = LETTER, ['g' ... 'z'] = LETTER,
	['-'] = LEX_TOKEN | LEX_HOST | LEX_WORD | MARK | LEX_PHONE,
	['.'] = LEX_TOKEN | LEX_HOST | LEX_WORD | MARK | LEX_PHONE,
	['_'] = LEX_TOKEN | LEX_HOST | LEX_WORD | MARK,
	['!'] = LEX_TOKEN | LEX_WORD | MARK,
	['~'] = LEX_TOKEN | LEX_WORD | MARK,
	['*'] = LEX_TOKEN | LEX_WORD | MARK,
	['\''] = LEX_TOKEN | LEX_WORD | MARK,
	['('] = LEX_WORD | MARK | LEX_PHONE,
	[')'] = LEX_WORD | MARK | LEX_PHONE,
	['%'] = LEX_TOKEN | LEX_WORD,
	['+'] = LEX_TOKEN | LEX_WORD | LEX_USER | LEX_PARAM | LEX_HEADER | LEX_URIC | LEX_PASSWORD,
	['`'] = LEX_TOKEN | LEX_WORD,
	['<'] = LEX_WORD, ['>'] = LEX_WORD, ['\\'] = LEX_WORD, ['"'] = LEX_WORD, ['{'] = LEX_WORD, ['}'] = LEX_WORD,
	[':'] = LEX_WORD | LEX_PARAM | LEX_HEADER | LEX_URIC,
	['['] = LEX_WORD | LEX_PARAM | LEX_HEADER | LEX_URIC,
	[']'] = LEX_WORD | LEX_PARAM | LEX_HEADER | LEX_URIC,
	['/'] = LEX_WORD | LEX_USER | LEX_PARAM | LEX_HEADER | LEX_URIC,
	['?'] = LEX_WORD | LEX_USER | LEX_HEADER | LEX_URIC,
	['&'] = LEX_USER | LEX_PARAM | LEX_URIC | LEX_PASSWORD,
	['='] = LEX_USER | LEX_URIC | LEX_PASSWORD,
	['$'] = LEX_USER | LEX_PARAM | LEX_HEADER | LEX_URIC | LEX_PASSWORD,
	[','] = LEX_USER | LEX_URIC | LEX_PASSWORD,
	[';'] = LEX_USER | LEX_URIC,
	['@'] = LEX_URIC,
};
/* clang-format on */

bool lex_quoted(struct text *t, struct text *ret_quoted)
{
	if (t->n == 0 || t->p[0] != '"')
		return false;
	for (size_t i = 1; i < t->n; i++) {
		if (t->p[i] == '"') {
			*ret_quoted = lex_cut(t, i + 1);
			return true;
		}
		if (t->p[i] == '\\')
			i++;
	}
	return false;
}

bool lex_all_escaped(struct text t, unsigned classes)
{
	for (size_t i = lex_span(t, 0, classes); i < t.n; i = lex_span(t, i, classes)) {
		if (t.p[i] != '%' || t.n - i < 3 || !lex_is(t.p[i + 1], LEX_HEX) ||
		    !lex_is(t.p[i + 2], LEX_HEX))
			return false;
		i += 3;
	}
	return true;
}

/* "[2001:db8::1]"; what is inside is hardly ever looked at. */
static bool lex_ipv6_reference(struct text *t, struct text *ret_host)
{
	size_t i = 1;
	while (i < t->n && (lex_is(t->p[i], LEX_HEX) || t->p[i] == ':' || t->p[i] == '.'))
		i++;
	if (i == 1 || i == t->n || t->p[i] != ']')
		return false;
	*ret_host = lex_cut(t, i + 1);
	return true;
}

/* gen-value, and RFC 3261's via-received, an IPv6 address without brackets (RFC 5118 4.5 has both). */
static bool lex_gen_value(struct text *t, struct text *ret_value)
{
	if (t->n > 0 && t->p[0] == '"')
		return lex_quoted(t, ret_value);
	if (t->n > 0 && t->p[0] == '[')
		return lex_ipv6_reference(t, ret_value);
	size_t i = lex_span(*t, 0, LEX_TOKEN);
	while (i < t->n && t->p[i] == ':')
		i = lex_span(*t, i + 1, LEX_TOKEN);
	*ret_value = lex_cut(t, i);
	return i > 0;
}

int lex_param(struct text *t, struct text *ret_name, struct text *ret_value)
{
	if (!lex_char(t, ';')) {
		lex_skip_lws(t);
		return t->n == 0 ? 0 : -EBADMSG;
	}
	*ret_name = lex_take(t, LEX_TOKEN);
	*ret_value = (struct text){ 0 };
	if (ret_name->n == 0)
		return -EBADMSG;
	if (lex_char(t, '=') && !lex_gen_value(t, ret_value))
		return -EBADMSG;
	return 1;
}
