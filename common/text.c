/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text slices and the bounded string builder. See text.h; numbers with units are in text_number.c,
 * hex and base64 in text_codec.c.
 *
 * Case is folded for ASCII only and never by locale. A slice may hold any byte, NUL included, and
 * may be empty with p == NULL, so nothing here uses the C string functions on one.
 */
#include <stdio.h>
#include <string.h>
#include "common/text.h"

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

struct text text_of(const char *s)
{
	return (struct text){ .p = s, .n = s ? strlen(s) : 0 };
}

/* Short texts for the most part: two words that overlap instead of a loop or a call. */
static bool same_bytes(const char *a, const char *b, size_t n)
{
	uint64_t x, y, v, w;
	uint32_t s, t, u, z;
	if (n > 16)
		return memcmp(a, b, n) == 0;
	if (n >= sizeof x) {
		memcpy(&x, a, sizeof x);
		memcpy(&y, b, sizeof y);
		memcpy(&v, a + n - sizeof v, sizeof v);
		memcpy(&w, b + n - sizeof w, sizeof w);
		return x == y && v == w;
	}
	if (n >= sizeof s) {
		memcpy(&s, a, sizeof s);
		memcpy(&t, b, sizeof t);
		memcpy(&u, a + n - sizeof u, sizeof u);
		memcpy(&z, b + n - sizeof z, sizeof z);
		return s == t && u == z;
	}
	return n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

bool text_same_letters(const char *a, const char *b, size_t n)
{
	if (same_bytes(a, b, n)) /* mostly even the case is the same */
		return true;
	for (size_t i = 0; i < n; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

bool text_starts(struct text t, struct text prefix)
{
	return t.n >= prefix.n && text_eq((struct text){ t.p, prefix.n }, prefix);
}

struct text text_trim(struct text t)
{
	while (t.n > 0 && (t.p[0] == ' ' || t.p[0] == '\t'))
		t = text_drop(t, 1);
	while (t.n > 0 && (t.p[t.n - 1] == ' ' || t.p[t.n - 1] == '\t'))
		t.n--;
	return t;
}

char *text_dup(struct text t)
{
	char *s = malloc(t.n + 1);
	if (!s)
		return NULL;
	if (t.n > 0)
		memcpy(s, t.p, t.n);
	s[t.n] = 0;
	return s;
}

/*
 * How long a UTF-8 sequence is, and what its second byte may be, by its first byte (RFC 3629 section
 * 4): no overlong forms, no surrogates, nothing above U+10FFFF; all that shows in these two bytes.
 */
static const struct utf8_row {
	unsigned char last; /* first bytes up to this one, from the row before on */
	unsigned char n;    /* bytes; 0: no sequence begins so */
	unsigned char lo, hi;
} utf8_rows[] = {
	/* clang-format off */
	{ 0x7f, 1, 0x00, 0x00 },
	{ 0xc1, 0, 0x00, 0x00 },
	{ 0xdf, 2, 0x80, 0xbf },
	{ 0xe0, 3, 0xa0, 0xbf },
	{ 0xec, 3, 0x80, 0xbf },
	{ 0xed, 3, 0x80, 0x9f },
	{ 0xef, 3, 0x80, 0xbf },
	{ 0xf0, 4, 0x90, 0xbf },
	{ 0xf3, 4, 0x80, 0xbf },
	{ 0xf4, 4, 0x80, 0x8f },
	{ 0xff, 0, 0x00, 0x00 },
	/* clang-format on */
};

/* Bytes of the UTF-8 sequence that starts at p, or 0 if it is not one. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
	const struct utf8_row *row = utf8_rows;
	while (p[0] > row->last)
		row++;
	if (row->n > n)
		return 0;
	if (row->n > 1 && (p[1] < row->lo || p[1] > row->hi))
		return 0;
	for (size_t i = 2; i < row->n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return row->n;
}

bool text_is_utf8(struct text t)
{
	for (size_t i = 0, step; i < t.n; i += step) {
		step = utf8_sequence((const unsigned char *)t.p + i, t.n - i);
		if (step == 0)
			return false;
	}
	return true;
}

char *text_as_utf8(char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0, step; i < n; i += step) {
		step = utf8_sequence((const unsigned char *)s + i, n - i);
		if (step == 0) {
			s[i] = '?';
			step = 1;
		}
	}
	return s;
}

/* Optimal string alignment: insertions, deletions, substitutions and swapped neighbours cost 1 each
 * (swapped letters are the most frequent typing error). Three rows of the usual matrix. */
size_t text_distance(struct text a, struct text b)
{
	uint8_t rows[3][TEXT_DISTANCE_MAX + 1];
	if (a.n > TEXT_DISTANCE_MAX || b.n > TEXT_DISTANCE_MAX)
		return MAX(a.n, b.n);
	for (size_t j = 0; j <= b.n; j++)
		rows[0][j] = (uint8_t)j;
	for (size_t i = 1; i <= a.n; i++) {
		uint8_t *now = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
		now[0] = (uint8_t)i;
		for (size_t j = 1; j <= b.n; j++) {
			unsigned best = MIN(above[j], now[j - 1]) + 1u;
			best = MIN(best, above[j - 1] + (a.p[i - 1] != b.p[j - 1] ? 1u : 0u));
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
				best = MIN(best, above2[j - 2] + 1u);
			now[j] = (uint8_t)best;
		}
	}
	return rows[a.n % 3][b.n];
}

/* The text was cut at b->n: drops a UTF-8 sequence that lost its end, so that what was valid stays
 * valid (log lines and JSON are made with this). */
static void sb_cut(struct sb *b)
{
	size_t i = b->n;
	b->truncated = true;
	while (i > 0 && b->n - i < 3 && ((unsigned char)b->p[i - 1] & 0xc0) == 0x80)
		i--;
	if (i == 0)
		return;
	unsigned char lead = (unsigned char)b->p[i - 1];
	size_t want = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	if (want > b->n - i + 1)
		b->n = i - 1;
	b->p[b->n] = 0;
}

void sb_text(struct sb *b, struct text t)
{
	if (b->cap == 0 || b->truncated) { /* nothing may follow a cut: it would hide the hole */
		b->truncated |= t.n > 0;
		return;
	}
	size_t n = MIN(t.n, b->cap - 1 - b->n);
	if (n > 0)
		memcpy(b->p + b->n, t.p, n);
	b->n += n;
	b->p[b->n] = 0;
	if (n < t.n)
		sb_cut(b);
}

void sb_str(struct sb *b, const char *s)
{
	sb_text(b, text_of(s));
}

void sb_part(struct sb *b, struct text t, size_t max)
{
	size_t n = MIN(t.n, max);

	for (unsigned back = 0; n < t.n && n > 0 && back < 3 && ((unsigned char)t.p[n] & 0xc0) == 0x80; back++)
		n--;
	sb_text(b, (struct text){ t.p, n });
}

void sb_char(struct sb *b, char c)
{
	if (b->n + 1 < b->cap && !b->truncated) {
		b->p[b->n++] = c;
		b->p[b->n] = 0;
		return;
	}
	sb_text(b, (struct text){ &c, 1 });
}

void sb_u64(struct sb *b, uint64_t v, unsigned least)
{
	char digits[20];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v || (sizeof digits - at < least && at > 0));
	sb_text(b, (struct text){ digits + at, sizeof digits - at });
}

void sb_vfmt(struct sb *b, const char *fmt, va_list ap)
{
	size_t room = b->cap - b->n;
	if (b->cap == 0 || b->truncated) {
		b->truncated = true;
		return;
	}
	int n = vsnprintf(b->p + b->n, room, fmt, ap);
	if (n < 0) { /* only for an impossible conversion: leave what was there */
		b->p[b->n] = 0;
		b->truncated = true;
	} else if ((size_t)n >= room) {
		b->n = b->cap - 1;
		sb_cut(b);
	} else {
		b->n += (size_t)n;
	}
}

void sb_fmt(struct sb *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sb_vfmt(b, fmt, ap);
	va_end(ap);
}

void sb_duration(struct sb *b, uint64_t ms)
{
	static const struct {
		uint64_t big, small; /* ms */
		char big_name, small_name;
	} rows[] = {
		{ 86400000, 3600000, 'd', 'h' },
		{ 3600000, 60000, 'h', 'm' },
		{ 60000, 1000, 'm', 's' },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (ms < rows[i].big)
			continue;
		sb_fmt(b, "%llu%c", (unsigned long long)(ms / rows[i].big), rows[i].big_name);
		ms = ms % rows[i].big / rows[i].small;
		if (ms > 0)
			sb_fmt(b, " %llu%c", (unsigned long long)ms, rows[i].small_name);
		return;
	}
	if (ms < 1000)
		sb_fmt(b, "%u ms", (unsigned)ms);
	else if (ms < 10000 && ms % 1000 >= 100)
		sb_fmt(b, "%u.%u s", (unsigned)(ms / 1000), (unsigned)(ms % 1000 / 100));
	else
		sb_fmt(b, "%u s", (unsigned)(ms / 1000));
}

void sb_size(struct sb *b, uint64_t bytes)
{
	static const char *const units[] = { "KB", "MB", "GB", "TB", "PB", "EB" };
	uint64_t tenth = 100; /* of the unit, in bytes */
	size_t i = 0;
	if (bytes < 1000) {
		sb_fmt(b, "%u B", (unsigned)bytes);
		return;
	}
	/* the next unit as soon as this one would be rounded to 1000.0 */
	for (; i + 1 < ARRAY_LEN(units) && bytes / tenth >= 9999 + (bytes % tenth < tenth / 2); i++)
		tenth *= 1000;
	uint64_t tenths = bytes / tenth + (bytes % tenth >= tenth / 2);
	sb_fmt(b, "%llu.%llu %s", (unsigned long long)(tenths / 10),
	       (unsigned long long)(tenths % 10), units[i]);
}

void text_append(char *s, size_t cap, const char *more)
{
	size_t n = strnlen(s, cap), add = strlen(more);

	if (n >= cap)
		return;
	add = MIN(add, cap - n - 1);
	memcpy(s + n, more, add);
	s[n + add] = 0;
}
