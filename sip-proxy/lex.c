/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens of RFC 3261; see lex_priv.h. The table is filled in by
 * ranges: who reads it next to the RFC's grammar sees the same lists
 * of characters.
 */
#include <errno.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include "sip-proxy/lex_priv.h"

/* clang-format off */
#define BLANK   (LEX_BLANK | LEX_WORDS)
#define TOKEN   (LEX_TOKEN | LEX_WORDS)
#define SEEN    LEX_VISIBLE
#define MARK    (SEEN | LEX_USER | LEX_PARAM | LEX_HEADER | LEX_URIC | LEX_PASSWORD) /* - _ . ! ~ * ' ( ) */
#define ALNUM   (LEX_SCHEME | TOKEN | LEX_LABEL | LEX_WORD | MARK)
#define LETTER  (ALNUM | LEX_ALPHA)
#define HEXLET  (LETTER | LEX_HEX)
#define DIGIT   (ALNUM | LEX_DIGIT | LEX_HEX | LEX_PHONE)
const uint16_t lex_class[256] = {
	[' '] = BLANK, ['\t'] = BLANK, ['\r'] = BLANK, ['\n'] = BLANK,
	['0' ... '9'] = DIGIT,
	['A' ... 'F'] = HEXLET, ['a' ... 'f'] = HEXLET,
	['G' ... 'Z'] = LETTER, ['g' ... 'z'] = LETTER,
	['-'] = LEX_SCHEME | TOKEN | LEX_LABEL | LEX_WORD | MARK | LEX_PHONE,
	['.'] = LEX_SCHEME | TOKEN | LEX_WORD | MARK | LEX_PHONE,
	['_'] = TOKEN | LEX_LABEL | LEX_WORD | MARK,
	['!'] = TOKEN | LEX_WORD | MARK,
	['~'] = TOKEN | LEX_WORD | MARK,
	['*'] = TOKEN | LEX_WORD | MARK,
	['\''] = TOKEN | LEX_WORD | MARK,
	['('] = LEX_WORD | MARK | LEX_PHONE,
	[')'] = LEX_WORD | MARK | LEX_PHONE,
	['%'] = SEEN | TOKEN | LEX_WORD,
	['+'] = SEEN | LEX_SCHEME | TOKEN | LEX_WORD | LEX_USER | LEX_PARAM | LEX_HEADER | LEX_URIC | LEX_PASSWORD,
	['`'] = SEEN | TOKEN | LEX_WORD,
	['<'] = LEX_WORD, ['>'] = LEX_WORD, ['\\'] = SEEN | LEX_WORD, ['"'] = LEX_WORD, ['{'] = SEEN | LEX_WORD, ['}'] = SEEN | LEX_WORD,
	[':'] = SEEN | LEX_WORD | LEX_PARAM | LEX_HEADER | LEX_URIC,
	['['] = SEEN | LEX_WORD | LEX_PARAM | LEX_HEADER | LEX_URIC,
	[']'] = SEEN | LEX_WORD | LEX_PARAM | LEX_HEADER | LEX_URIC,
	['/'] = SEEN | LEX_WORD | LEX_USER | LEX_PARAM | LEX_HEADER | LEX_URIC,
	['?'] = SEEN | LEX_WORD | LEX_USER | LEX_HEADER | LEX_URIC,
	['&'] = SEEN | LEX_USER | LEX_PARAM | LEX_URIC | LEX_PASSWORD,
	['='] = SEEN | LEX_USER | LEX_URIC | LEX_PASSWORD,
	['$'] = SEEN | LEX_USER | LEX_PARAM | LEX_HEADER | LEX_URIC | LEX_PASSWORD,
	[','] = SEEN | LEX_USER | LEX_URIC | LEX_PASSWORD,
	[';'] = SEEN | LEX_USER | LEX_URIC,
	['@'] = SEEN | LEX_URIC,
	['#'] = SEEN, ['^'] = SEEN, ['|'] = SEEN,
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

bool lex_all_visible(struct text t)
{
	size_t i = 0;
#ifdef __SSE2__
	const __m128i below = _mm_set1_epi8(' '), del = _mm_set1_epi8(0x7f);
	for (; t.n - i >= 16; i += 16) {
		__m128i v = _mm_loadu_si128((const __m128i_u *)(t.p + i));
		/* signed: what is beyond ASCII is below the blank */
		__m128i seen = _mm_andnot_si128(_mm_cmpeq_epi8(v, del), _mm_cmpgt_epi8(v, below));
		__m128i quotes = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('<')),
					      _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('>')),
							   _mm_cmpeq_epi8(v, _mm_set1_epi8('"'))));
		if (_mm_movemask_epi8(_mm_andnot_si128(quotes, seen)) != 0xffff)
			return false;
	}
#endif
	return lex_span(t, i, LEX_VISIBLE) == t.n;
}

struct text lex_take_escaped(struct text *t, unsigned classes)
{
	size_t i = lex_span(*t, 0, classes);
	while (t->n - i >= 3 && t->p[i] == '%' && lex_is(t->p[i + 1], LEX_HEX) &&
	       lex_is(t->p[i + 2], LEX_HEX))
		i = lex_span(*t, i + 3, classes);
	return lex_cut(t, i);
}

bool lex_all_escaped(struct text t, unsigned classes)
{
	lex_take_escaped(&t, classes);
	return t.n == 0;
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
