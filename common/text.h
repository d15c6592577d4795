/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text slices: a pointer and a length into somebody else's buffer, never NUL-terminated, never
 * owned. Tokenizers and strict number parsers for configuration, heads and command lines, the
 * bounded string builder, and base64/hex.
 */
#pragma once
#include <stdarg.h>
#include <string.h>
#include "common/defs.h"

struct text {
	const char *p;
	size_t n;
};

#define TEXT(lit) ((struct text){ (lit), sizeof(lit) - 1 })
/* For "%.*s" in messages; not for anything a stranger chose in logs. */
#define TEXT_FMT(t) (int)(t).n, (t).p
struct text text_of(const char *s); /* NULL gives an empty slice */

static inline bool text_eq(struct text a, struct text b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
bool text_same_letters(const char *a, const char *b, size_t n); /* of text_ieq() */
/* ASCII case-insensitive, never by locale. */
static inline bool text_ieq(struct text a, struct text b)
{
	return a.n == b.n && text_same_letters(a.p, b.p, a.n);
}
bool text_starts(struct text t, struct text prefix);
struct text text_trim(struct text t); /* blanks and tabs at both ends */
static inline struct text text_drop(struct text t, size_t n)
{
	n = MIN(n, t.n);
	return n > 0 ? (struct text){ t.p + n, t.n - n } : t;
}
static inline ptrdiff_t text_find(struct text t, char c) /* -1 if not there */
{
	const char *at = t.n > 0 ? memchr(t.p, c, t.n) : NULL;
	return at ? at - t.p : -1;
}
/* Cuts *rest at the first sep: returns what stood before; *rest becomes what follows, or empty
 * with p == NULL when there was no separator (so a loop is: while (rest.p) { part =
 * text_cut(&rest, ','); }). */
static inline struct text text_cut(struct text *rest, char sep)
{
	struct text part = *rest;
	ptrdiff_t at = text_find(part, sep);
	if (at < 0) {
		*rest = (struct text){ 0 };
	} else {
		part.n = (size_t)at;
		*rest = text_drop(*rest, part.n + 1);
	}
	return part;
}
char *text_dup(struct text t);		    /* malloc'd, NUL-terminated; NULL if out of memory */
bool text_is_utf8(struct text t);
/* In place, and returned: '?' for each byte that is of no character. A text that is no UTF-8 (a stranger's, or one that was cut) is none
 * in JSON, and would be missing there. */
char *text_as_utf8(char *s);
/* Edit distance for "did you mean"; swapped neighbours count as one edit. The work is bounded: a
 * text longer than TEXT_DISTANCE_MAX is as far from everything as it is long. */
enum { TEXT_DISTANCE_MAX = 64 };
size_t text_distance(struct text a, struct text b);

/* Appends to the NUL-terminated string in s, a buffer of cap bytes; what does not fit is cut. */
void text_append(char *s, size_t cap, const char *more);

/* Strict: the whole slice, no sign, no blanks, no overflow. 0 or -EINVAL/-ERANGE. */
int text_u64(struct text t, uint64_t *ret_v);
int text_u64_hex(struct text t, uint64_t *ret_v);
int text_hex64(struct text t, uint64_t *ret_v); /* exactly sixteen digits, lower case: one way to write it */
/* "500ms" "30s" "5m" "2h" "7d", a bare number is seconds; result in milliseconds. */
int text_duration(struct text t, uint64_t *ret_ms);
/* "10", "64KB" "10MB" "2GB" (powers of 1000) "64KiB" "10MiB" (powers of 1024); bytes. */
int text_size(struct text t, uint64_t *ret_bytes);
/* "64kbit/s" "2Mbit/s" "1Gbit/s", bare = bit/s; "unlimited" gives UINT64_MAX. */
int text_bitrate(struct text t, uint64_t *ret_bits_per_s);

/* String builder over a caller's buffer: always NUL-terminated, truncation latches (a UTF-8
 * sequence is never cut in its middle, and nothing is added behind a cut). */
struct sb {
	char *p;
	size_t n, cap;
	bool truncated;
};
static inline struct sb sb_init(char *buf, size_t cap)
{
	struct sb b = { .p = buf, .cap = cap };
	if (cap)
		buf[0] = 0;
	return b;
}
void sb_text(struct sb *b, struct text t);
void sb_str(struct sb *b, const char *s);
void sb_part(struct sb *b, struct text t, size_t max); /* at most so many bytes of it, cut between two characters */
void sb_char(struct sb *b, char c);
void sb_u64(struct sb *b, uint64_t v, unsigned least); /* decimal, with zeroes in front to so many digits; no printf */
void sb_fmt(struct sb *b, const char *fmt, ...) _printf_(2, 3);
void sb_vfmt(struct sb *b, const char *fmt, va_list ap) _printf_(2, 0);
void sb_duration(struct sb *b, uint64_t ms); /* "2h 5m", "350 ms": for people */
void sb_size(struct sb *b, uint64_t bytes);  /* "10.4 MB" */

/* 0 or -EINVAL (bad character or padding), -ENOSPC. *ret_n is the number of bytes. */
int hex_decode(struct text t, uint8_t *out, size_t cap, size_t *ret_n);
void hex_encode(const void *p, size_t n, char *out /* 2n+1 */);
int base64_decode(struct text t, uint8_t *out, size_t cap, size_t *ret_n);
#define BASE64_LEN(n) ((((n) + 2) / 3) * 4)
void base64_encode(const void *p, size_t n, char *out /* BASE64_LEN(n)+1 */);
void base64url_encode(const void *p, size_t n, char *out /* no padding */);
