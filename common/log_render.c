/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event → one line that is safe to show, to grep and to parse, whatever a stranger put into its
 * fields.
 *
 * Escaped in values: control bytes, quotes, backslashes, bytes that are not UTF-8, and the characters
 * that reorder or hide text on a terminal (C1 controls, bidirectional marks). A value is cut at
 * LOG_FIELD_MAX, a line at its buffer; both leave a mark. Nothing here is a format string but our own.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/log.h"

static const char ellipsis[] = "\xe2\x80\xa6";
enum { ELLIPSIS = sizeof(ellipsis) - 1 };

/* ---- characters ---- */

/* Bytes of the UTF-8 character at p and its code point; 0 if there is none. */
static size_t decode(const unsigned char *p, size_t left, uint32_t *ret_c)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} forms[] = { { 0x80, 0x00, 0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };
	for (size_t n = 1; n <= ARRAY_LEN(forms) && n <= left; n++) {
		if ((p[0] & forms[n - 1].mask) != forms[n - 1].lead)
			continue;
		uint32_t c = p[0] & (unsigned char)~forms[n - 1].mask;
		for (size_t i = 1; i < n; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (p[i] & 0x3f);
		}
		if (c < forms[n - 1].least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return 0;
		*ret_c = c;
		return n;
	}
	return 0;
}

/* Characters that change what a reader sees around them. */
static bool is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || c == '"' || c == '\\';
}

/* One character (or one bad byte) of a value, escaped. Returns the bytes it took. */
static size_t escape(const unsigned char *p, size_t left, bool json, struct sb *out)
{
	uint32_t c = 0;
	size_t n = decode(p, left, &c);
	if (n == 0 || c == 0) { /* in JSON too it is these four characters: it has no bytes, and readers dislike \u0000 */
		sb_fmt(out, "%s%02x", json ? "\\\\x" : "\\x", *p);
		return 1;
	}
	if (!is_unsafe(c))
		sb_text(out, (struct text){ (const char *)p, n });
	else if (c == '"' || c == '\\')
		sb_fmt(out, "\\%c", (char)c);
	else if (json)
		sb_fmt(out, "\\u%04x", (unsigned)c); /* all of them lie below U+10000 */
	else
		for (size_t i = 0; i < n; i++)
			sb_fmt(out, "\\x%02x", p[i]);
	return n;
}

static bool needs_quotes(struct text t)
{
	for (size_t i = 0, n; i < t.n; i += n) {
		uint32_t c = 0;
		n = decode((const unsigned char *)t.p + i, t.n - i, &c);
		if (n == 0 || is_unsafe(c) || c == ' ' || c == '=' || c == 0xa0 || c == 0x3000)
			return true;
	}
	return t.n == 0;
}

/* Nearly every value: nothing in it is escaped or needs quotes in a line of text. */
static bool is_plain(struct text t)
{
	static const bool plain[256] = {
		['!'] = true, ['#' ... '<'] = true, ['>' ... '['] = true, [']' ... '~'] = true,
	};
	for (size_t i = 0; i < t.n; i++)
		if (!plain[(unsigned char)t.p[i]])
			return false;
	return t.n > 0 && t.n + ELLIPSIS + 3 <= LOG_FIELD_MAX;
}

static void put_text(struct text t, bool json, struct sb *out)
{
	if (is_plain(t)) {
		if (json)
			sb_char(out, '"');
		sb_text(out, t);
		if (json)
			sb_char(out, '"');
		return;
	}
	bool quote = json || t.n > LOG_FIELD_MAX || needs_quotes(t);
	size_t start = out->n;
	if (quote)
		sb_char(out, '"');
	for (size_t i = 0; i < t.n;) {
		char one[32];
		struct sb b = sb_init(one, sizeof(one));
		i += escape((const unsigned char *)t.p + i, t.n - i, json, &b);
		if (out->n - start + b.n + ELLIPSIS + 1 > LOG_FIELD_MAX && (i < t.n || quote)) {
			sb_str(out, ellipsis);
			break;
		}
		sb_text(out, (struct text){ one, b.n });
	}
	if (quote)
		sb_char(out, '"');
}

/* ---- fields ---- */

static void put_u64(uint64_t v, bool json, struct sb *out)
{
	/* Beyond 2^63 many JSON readers give up: then it is a text. */
	bool quote = json && v > INT64_MAX;
	if (quote)
		sb_char(out, '"');
	sb_u64(out, v, 1);
	if (quote)
		sb_char(out, '"');
}

static void put_errno(int64_t e, bool json, struct sb *out)
{
	char buf[128];
	int64_t positive = e < 0 && e != INT64_MIN ? -e : e;
	int number = positive >= 0 && positive < 100000 ? (int)positive : 0;
	put_text(text_of(strerror_r(number, buf, sizeof(buf))), json, out); /* the GNU one: returns the text */
}

static void put_addr(const struct addr *a, bool json, struct sb *out)
{
	char buf[ADDR_STRLEN];
	struct text t = a ? text_of(addr_print(a, buf)) : TEXT("none");
	if (!a || addr_family(a) != AF_INET) {
		put_text(t, json, out);
		return;
	}
	if (json) /* digits, dots and a colon: nothing to look for */
		sb_char(out, '"');
	sb_text(out, t);
	if (json)
		sb_char(out, '"');
}

static void put_value(const struct log_field *f, bool json, struct sb *out)
{
	switch (f->type) {
	case LF_TYPE_TEXT:
		put_text(f->text, json, out);
		break;
	case LF_TYPE_ADDR:
		put_addr(f->addr, json, out);
		break;
	case LF_TYPE_U64:
		put_u64(f->u64, json, out);
		break;
	case LF_TYPE_I64:
		sb_fmt(out, "%" PRId64, f->i64);
		break;
	case LF_TYPE_BOOL:
		sb_str(out, f->b ? "true" : "false");
		break;
	case LF_TYPE_ERRNO:
		put_errno(f->i64, json, out);
		break;
	case LF_END:
		break;
	}
}

/* "2026-11-28T16:40:07." */
static void put_second(time_t t, struct sb *out)
{
	struct tm tm = { 0 };
	if (!gmtime_r(&t, &tm))
		return;
	const struct {
		int v;
		unsigned digits;
		char behind;
	} parts[] = { { tm.tm_year + 1900, 4, '-' }, { tm.tm_mon + 1, 2, '-' }, { tm.tm_mday, 2, 'T' },
		      { tm.tm_hour, 2, ':' },	     { tm.tm_min, 2, ':' },	{ tm.tm_sec, 2, '.' } };
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		sb_u64(out, (uint64_t)MAX(parts[i].v, 0), parts[i].digits);
		sb_char(out, parts[i].behind);
	}
}

/* Lines of one second begin alike: their text is kept, for it costs as much as the rest of a line. */
static void put_time(int64_t unix_ms, struct sb *out)
{
	static _Thread_local struct {
		time_t second;
		size_t n; /* 0: nothing kept */
		char text[40];
	} last;
	int ms = (int)(unix_ms % 1000);
	time_t t = unix_ms / 1000;
	if (ms < 0) {
		ms += 1000;
		t--;
	}
	if (!last.n || last.second != t) {
		struct sb b = sb_init(last.text, sizeof(last.text));
		put_second(t, &b);
		last.second = t;
		last.n = b.n;
	}
	if (!last.n)
		return;
	sb_text(out, (struct text){ last.text, last.n });
	sb_u64(out, (uint64_t)ms, 3);
	sb_char(out, 'Z');
}

static void put_head(const struct log_msg *m, int64_t unix_ms, bool json, struct sb *out)
{
	sb_str(out, json ? "{\"time\":\"" : "");
	put_time(unix_ms, out);
	if (!json) {
		const char *const words[] = { log_level_name(m->level), m->id, m->text };
		for (size_t i = 0; i < ARRAY_LEN(words); i++) {
			sb_char(out, ' ');
			sb_str(out, words[i]);
		}
		return;
	}
	sb_fmt(out, "\",\"level\":\"%s\",\"id\":\"%s\",\"text\":", log_level_name(m->level), m->id);
	put_text(text_of(m->text), true, out);
}

enum { ONE_MAX = LOG_FIELD_MAX + 128 }; /* a field with its key */

static void put_field(const struct log_field *f, bool json, struct sb *out)
{
	if (json)
		sb_char(out, ',');
	sb_char(out, json ? '"' : ' ');
	sb_str(out, f->key);
	if (json)
		sb_char(out, '"');
	sb_char(out, json ? ':' : '=');
	put_value(f, json, out);
}

size_t log_render(char *buf, size_t n, const struct log_msg *m, const struct log_field *fields, int64_t unix_ms,
		  bool json)
{
	static const char cut_json[] = ",\"cut\":true}", cut_text[] = " cut=true";
	struct sb b = sb_init(buf, n);
	size_t reserve = sizeof(cut_json);
	bool cut = false;
	if (n == 0)
		return 0;
	put_head(m, unix_ms, json, &b);
	for (const struct log_field *f = fields; f && f->type != LF_END; f++) {
		if (n - b.n > ONE_MAX + reserve) { /* whatever it is, it has room */
			put_field(f, json, &b);
			continue;
		}
		char one[ONE_MAX];
		struct sb v = sb_init(one, sizeof(one));
		put_field(f, json, &v);
		if (v.truncated || b.n + v.n + reserve > n)
			cut = true;
		else
			sb_text(&b, (struct text){ one, v.n });
	}
	if (json)
		sb_str(&b, cut ? cut_json : "}");
	else if (cut)
		sb_str(&b, cut_text);
	return b.n;
}
