/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads, line by line, in one pass; see head.h. The lines' bytes are skipped 16 or eight at a time until
 * something stands there that is not plain text, and only that is looked at.
 *
 * What a header means is not this file's business: a value is a slice, trimmed, and its grammar
 * belongs to whoever asks for it.
 */
#include <endian.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include "common/head.h"

const char *head_error_text(enum head_error e)
{
	static const char *const texts[] = {
		[HEAD_OK] = "ok",
		[HEAD_INCOMPLETE] = "incomplete",
		[HEAD_TOO_LONG] = "head too long",
		[HEAD_BAD_START_LINE] = "malformed start line",
		[HEAD_BAD_LINE_END] = "bare CR or LF",
		[HEAD_BAD_NAME] = "malformed header name",
		[HEAD_BAD_VALUE] = "control character",
		[HEAD_DUPLICATE] = "header given twice",
		[HEAD_TOO_MANY] = "too many headers",
	};
	return (unsigned)e < ARRAY_LEN(texts) ? texts[e] : "unknown";
}

/* RFC 9110 5.6.2; RFC 3261's token is a part of it. */
static const bool token_chars[256] = {
	['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['!'] = true,
	['#'] = true,	      ['$'] = true,	    ['%'] = true,	  ['&'] = true,
	['\''] = true,	      ['*'] = true,	    ['+'] = true,	  ['-'] = true,
	['.'] = true,	      ['^'] = true,	    ['_'] = true,	  ['`'] = true,
	['|'] = true,	      ['~'] = true,
};

static bool is_token_char(char c)
{
	return token_chars[(unsigned char)c];
}

bool head_is_token(struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		if (!is_token_char(t.p[i]))
			return false;
	return t.n > 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_control(char c)
{
	return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

/* One bit for each of the next bytes that may be a control character; tabs are. The lowest bit is never wrong. */
#ifdef __SSE2__
enum { STRIDE = 16, BITS = 1 };
static uint64_t find_controls(const char *p)
{
	__m128i v = _mm_loadu_si128((const __m128i_u *)p);
	__m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
	return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f))));
}
#else
enum { STRIDE = 8, BITS = 8 };
static uint64_t find_controls(const char *p)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones * 0x80;
	uint64_t w, del;
	memcpy(&w, p, sizeof w);
	w = le64toh(w);
	del = w ^ ones * 0x7f;
	/* some byte below 0x20, or some byte of del zero; bytes from 0x80 on are plain */
	return (((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & highs;
}
#endif

/* Position of the first control character from i on, or n. */
static size_t skip_plain(struct text t, size_t i)
{
	while (t.n - i >= STRIDE) {
		uint64_t found = find_controls(t.p + i);
		if (!found) {
			i += STRIDE;
			continue;
		}
		i += (size_t)__builtin_ctzll(found) / BITS;
		if (t.p[i] != '\t')
			return i;
		i++;
	}
	while (i < t.n && !is_control(t.p[i]))
		i++;
	return i;
}

/* How far the quotes of a header have been followed, over all of its lines; each byte is looked at once. */
struct quotes {
	const char *at;
	bool open, escape;
};

/* Is what stands at p the second half of a quoted-pair? Only in quotes: elsewhere a \ is a character like others, and
 * whoever reads C strings would end at the NUL behind it. */
static bool is_escaped(struct quotes *q, const char *p)
{
	for (; q->at < p; q->at++) {
		if (q->escape)
			q->escape = false;
		else if (*q->at == '"')
			q->open = !q->open;
		else
			q->escape = q->open && *q->at == '\\';
	}
	return q->escape;
}

/* Cuts the next line, without its CRLF, off rest. q: the quotes of its header, NULL: no control character is let in. */
static enum head_error next_line(struct text *rest, struct quotes *q, struct text *ret_line)
{
	for (size_t i = 0;; i++) {
		i = skip_plain(*rest, i);
		if (i == rest->n)
			return HEAD_INCOMPLETE;
		if (rest->p[i] == '\n')
			return HEAD_BAD_LINE_END;
		if (rest->p[i] == '\r') {
			if (i + 1 == rest->n)
				return HEAD_INCOMPLETE;
			if (rest->p[i + 1] != '\n')
				return HEAD_BAD_LINE_END;
			*ret_line = (struct text){ rest->p, i };
			*rest = (struct text){ rest->p + i + 2, rest->n - i - 2 };
			return HEAD_OK;
		}
		if (!q || !is_escaped(q, rest->p + i))
			return HEAD_BAD_VALUE;
	}
}

/* The next header with all its folded lines. An empty line is never continued: it ends the head. */
static enum head_error next_header(struct text *rest, unsigned flags, struct text *ret_line)
{
	struct text line, more;
	struct quotes quotes = { .at = rest->p }, *q = flags & HEAD_ESCAPES ? &quotes : NULL;
	enum head_error e = next_line(rest, q, &line);
	if (e != HEAD_OK)
		return e;
	while ((flags & HEAD_FOLDING) && line.n > 0) {
		if (rest->n == 0)
			return HEAD_INCOMPLETE; /* the next byte decides */
		if (!is_blank(rest->p[0]))
			break;
		e = next_line(rest, q, &more);
		if (e != HEAD_OK)
			return e;
		line.n = (size_t)(more.p + more.n - line.p);
	}
	*ret_line = line;
	return HEAD_OK;
}

static bool is_space(char c)
{
	static const bool spaces[256] = { [' '] = true, ['\t'] = true, ['\r'] = true, ['\n'] = true };
	return spaces[(unsigned char)c];
}

/* Blanks, and the line ends of folded lines, which are the only ones in a value. */
static struct text trim_value(struct text t)
{
	size_t from = 0, to = t.n;
	while (from < to && is_space(t.p[from]))
		from++;
	while (to > from && is_space(t.p[to - 1]))
		to--;
	return (struct text){ t.p + from, to - from };
}

static enum head_error parse_header(struct text line, unsigned flags, struct head_field *ret_f)
{
	size_t n = 0, colon;
	while (n < line.n && is_token_char(line.p[n]))
		n++;
	colon = n;
	if (flags & HEAD_COLON_BLANKS)
		while (colon < line.n && is_blank(line.p[colon]))
			colon++;
	if (n == 0 || colon == line.n || line.p[colon] != ':')
		return HEAD_BAD_NAME;
	*ret_f = (struct head_field){ .name = { line.p, n },
				      .value = trim_value((struct text){ line.p + colon + 1,
									 line.n - colon - 1 }) };
	return HEAD_OK;
}

/* Past a line at fault and what continues it. */
static enum head_error skip_header(struct text *rest, unsigned flags)
{
	do {
		const char *end = memmem(rest->p, rest->n, "\r\n", 2);
		if (!end)
			return HEAD_INCOMPLETE;
		*rest = text_drop(*rest, (size_t)(end - rest->p) + 2);
	} while ((flags & HEAD_FOLDING) && rest->n > 0 && is_blank(rest->p[0]));
	return HEAD_OK;
}

/* What the table says about the header; HEAD_DUPLICATE for the second of a single one. */
static enum head_error find_row(const struct header_table *t, struct head_field *f, uint64_t *seen)
{
	f->row = header_find(t, f->name);
	if (!f->row || !(f->row->flags & HDR_SINGLE))
		return HEAD_OK;
	size_t row = (size_t)(f->row - t->rows);
	if (seen[row / 64] >> row % 64 & 1)
		return HEAD_DUPLICATE;
	seen[row / 64] |= UINT64_C(1) << row % 64;
	return HEAD_OK;
}

/* All headers and the empty line, off rest. */
static enum head_error parse_headers(struct text *rest, const struct head_rules *rules, struct head *h)
{
	uint64_t seen[HEADER_TABLE_MAX / 64] = { 0 };
	enum head_error first = HEAD_OK, e;
	struct text line;
	while (true) {
		e = next_header(rest, rules->flags, &line);
		if (e == HEAD_OK && line.n == 0) {
			h->length = (size_t)(rest->p - h->start_line.p);
			return first;
		}
		if (e == HEAD_OK && h->n_fields == h->cap)
			return first != HEAD_OK ? first : HEAD_TOO_MANY;
		if (e == HEAD_INCOMPLETE)
			return first != HEAD_OK ? first : e;
		bool in_line = e != HEAD_OK;
		if (e == HEAD_OK)
			e = parse_header(line, rules->flags, &h->fields[h->n_fields]);
		if (e == HEAD_OK)
			e = find_row(rules->table, &h->fields[h->n_fields], seen);
		if (e == HEAD_OK) {
			h->n_fields++;
			continue;
		}
		first = first != HEAD_OK ? first : e;
		if (!(rules->flags & HEAD_GO_ON) ||
		    (in_line && skip_header(rest, rules->flags) == HEAD_INCOMPLETE))
			return first;
	}
}

enum head_error head_parse(struct text buf, const struct head_rules *rules,
			   struct head_field *fields, unsigned cap, struct head *ret_head)
{
	struct head h = { .fields = fields, .cap = cap };
	struct text rest = { buf.p, MIN(buf.n, rules->max_length) };
	enum head_error e = next_line(&rest, NULL, &h.start_line), first = HEAD_OK;
	if (e == HEAD_OK && (h.start_line.n == 0 || is_blank(h.start_line.p[0])))
		return HEAD_BAD_START_LINE;
	if (e != HEAD_OK && e != HEAD_INCOMPLETE && (rules->flags & HEAD_GO_ON)) {
		first = e;
		h.start_line = (struct text){ buf.p, 0 };
		e = skip_header(&rest, 0);
	}
	if (e == HEAD_OK)
		e = parse_headers(&rest, rules, &h);
	if (e == HEAD_INCOMPLETE && first == HEAD_OK)
		return buf.n >= rules->max_length ? HEAD_TOO_LONG : HEAD_INCOMPLETE;
	e = first != HEAD_OK ? first : e;
	if (e == HEAD_OK || (rules->flags & HEAD_GO_ON))
		*ret_head = h;
	return e;
}

const struct head_field *head_find(const struct head *h, uint16_t id)
{
	for (unsigned i = 0; i < h->n_fields; i++)
		if (h->fields[i].row && h->fields[i].row->id == id)
			return &h->fields[i];
	return NULL;
}

static size_t count_digits(struct text t)
{
	size_t n = 0;
	while (n < t.n && t.p[n] >= '0' && t.p[n] <= '9')
		n++;
	return n;
}

/* "HTTP/1.1", "SIP/2.0": both numbers are there; what they are is the caller's matter. */
static bool is_version(struct text t)
{
	struct text name = text_cut(&t, '/');
	size_t major = count_digits(t);
	if (!head_is_token(name) || major == 0 || major >= t.n || t.p[major] != '.')
		return false;
	t = text_drop(t, major + 1);
	return t.n > 0 && count_digits(t) == t.n;
}

/* No blank, no control, nothing beyond ASCII: URIs escape those. */
static bool is_target(struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		if ((unsigned char)t.p[i] <= ' ' || (unsigned char)t.p[i] >= 0x7f)
			return false;
	return t.n > 0;
}

enum head_error head_start_words(struct text start_line, struct text ret_words[3])
{
	struct text rest = start_line;
	struct text first = text_cut(&rest, ' '), second = text_cut(&rest, ' ');
	bool status = text_find(first, '/') >= 0;
	if (!rest.p)
		return HEAD_BAD_START_LINE; /* fewer than three */
	if (status && (!is_version(first) || second.n != 3 || count_digits(second) != 3))
		return HEAD_BAD_START_LINE;
	if (!status && (!head_is_token(first) || !is_target(second) || !is_version(rest)))
		return HEAD_BAD_START_LINE;
	ret_words[0] = first;
	ret_words[1] = second;
	ret_words[2] = rest;
	return HEAD_OK;
}
