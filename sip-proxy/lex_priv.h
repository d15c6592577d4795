/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tokens of RFC 3261 25.1, cut off the front of a text slice. One table says which character may stand where; all
 * grammar of sip-proxy/ is written in these. A function that finds nothing returns an empty slice or false and leaves
 * the text alone. LWS counts a fold (CRLF and a blank) as a blank: inside a header's value there is no other CRLF.
 */
#pragma once
#include "common/text.h"

enum { /* what a character may be part of */
       LEX_TOKEN = 1 << 0,
       LEX_LABEL = 1 << 1, /* of a host's name: letters, digits, - and _, which RFC 1123 does not have, but networks do */
       LEX_USER = 1 << 2,   /* unreserved, user-unreserved */
       LEX_PARAM = 1 << 3,  /* unreserved, param-unreserved: of a URI's parameter */
       LEX_HEADER = 1 << 4, /* unreserved, hnv-unreserved: of a URI's header */
       LEX_DIGIT = 1 << 5,
       LEX_HEX = 1 << 6,
       LEX_BLANK = 1 << 7, /* SP HT CR LF: between tokens */
       LEX_WORD = 1 << 8,  /* of a Call-ID */
       LEX_ALPHA = 1 << 9,
       LEX_URIC = 1 << 10, /* reserved, unreserved: of a URI of another scheme; % is checked apart */
       LEX_PHONE = 1 << 11, /* digits and visual separators of RFC 3966 */
       LEX_PASSWORD = 1 << 12,
       LEX_VISIBLE = 1 << 13, /* all of ASCII that is seen, but < > and ": what a URI may hold at all */
       LEX_SCHEME = 1 << 14, /* letters, digits, + - . */
       LEX_WORDS = 1 << 15,  /* tokens and the blanks between them: a display name */
};
extern const uint16_t lex_class[256] __attribute__((visibility("hidden")));

static inline bool lex_is(char c, unsigned classes)
{
	return (lex_class[(unsigned char)c] & classes) != 0;
}
/* How many characters of these classes stand in front, from i on: the index behind them. */
static inline size_t lex_span(struct text t, size_t i, unsigned classes)
{
	while (i < t.n && lex_is(t.p[i], classes))
		i++;
	return i;
}
static inline struct text lex_cut(struct text *t, size_t n)
{
	struct text part = { t->p, n };
	if (n > 0)
		t->p += n;
	t->n -= n;
	return part;
}
static inline struct text lex_take(struct text *t, unsigned classes)
{
	return lex_cut(t, lex_span(*t, 0, classes));
}
static inline void lex_skip_lws(struct text *t)
{
	lex_take(t, LEX_BLANK);
}
/* SWS c SWS */
static inline bool lex_char(struct text *t, char c)
{
	size_t i = lex_span(*t, 0, LEX_BLANK);
	if (i == t->n || t->p[i] != c)
		return false;
	lex_cut(t, lex_span(*t, i + 1, LEX_BLANK));
	return true;
}
static inline struct text lex_trim(struct text t)
{
	lex_skip_lws(&t);
	while (t.n > 0 && lex_is(t.p[t.n - 1], LEX_BLANK))
		t.n--;
	return t;
}
/* A quoted-string, with its quotes: qdtext, or a backslash and anything but CR and LF. */
bool lex_quoted(struct text *t, struct text *ret_quoted);
/* Characters of the classes and escapes (% and two hex digits) off the front. */
struct text lex_take_escaped(struct text *t, unsigned classes);
/* Is all of it LEX_VISIBLE? */
bool lex_all_visible(struct text t);
/* Are these characters of the classes, and escapes (% and two hex digits)? */
bool lex_all_escaped(struct text t, unsigned classes);
/* ;name[=value], with blanks around; the value is a token, a host or a quoted-string. 1, 0 at the end, or -EBADMSG. */
int lex_param(struct text *t, struct text *ret_name, struct text *ret_value);
