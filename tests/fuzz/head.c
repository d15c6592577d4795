/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head parser. The first byte chooses flags and limits, the rest is the message. Checked: every
 * slice lies in the buffer and is what it claims to be; a beginning of the message never gets
 * another verdict than the whole, but "incomplete"; what was parsed, written again, parses to the
 * same.
 */
#include <assert.h>
#include <string.h>
#include "common/head.h"

enum { MAX_FIELDS = 24 };

static const struct header_row rows[] = {
	{ "Via", 'v', HDR_LIST, 1 },
	{ "From", 'f', HDR_SINGLE, 2 },
	{ "To", 't', HDR_SINGLE, 3 },
	{ "Call-ID", 'i', HDR_SINGLE, 4 },
	{ "Contact", 'm', HDR_LIST, 5 },
	{ "Content-Length", 'l', HDR_SINGLE, 6 },
	{ "Host", 0, HDR_SINGLE, 7 },
	{ "Upgrade", 0, HDR_LIST, 8 },
	{ "Connection", 0, HDR_LIST, 9 },
	{ "Sec-WebSocket-Key", 0, HDR_SINGLE, 10 },
	{ "Transfer-Encoding", 0, HDR_LIST, 11 },
};

static void check_inside(struct text part, struct text whole)
{
	if (part.n > 0)
		assert(part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_head(const struct head *h, struct text in, unsigned flags)
{
	struct text head = { in.p, h->length }, words[3];
	assert(h->length >= 4 && h->length <= in.n && memcmp(in.p + h->length - 4, "\r\n\r\n", 4) == 0);
	check_inside(h->start_line, head);
	assert(text_find(h->start_line, '\r') < 0 && text_find(h->start_line, '\n') < 0);
	if (head_start_words(h->start_line, words) == HEAD_OK)
		assert(words[0].n + words[1].n + words[2].n + 2 == h->start_line.n);
	for (unsigned i = 0; i < h->n_fields; i++) {
		const struct head_field *f = &h->fields[i];
		check_inside(f->name, head);
		check_inside(f->value, head);
		assert(head_is_token(f->name));
		assert(text_trim(f->value).n == f->value.n);
		if (!(flags & HEAD_FOLDING))
			assert(text_find(f->value, '\r') < 0 && text_find(f->value, '\n') < 0);
		if (!(flags & HEAD_ESCAPES))
			assert(text_find(f->value, 0) < 0);
		if (!f->row)
			continue;
		assert(text_ieq(f->name, text_of(f->row->name)) || (f->name.n == 1 && f->row->compact));
		if (f->row->flags & HDR_SINGLE)
			assert(head_find(h, f->row->id) == f);
	}
}

/* What is left of a bad head is as good as if it had come alone. */
static void check_rest(const struct head *h, struct text in, unsigned flags)
{
	assert(h->length <= in.n && h->n_fields <= MAX_FIELDS);
	for (unsigned i = 0; i < h->n_fields; i++) {
		const struct head_field *f = &h->fields[i];
		check_inside(f->name, in);
		check_inside(f->value, in);
		assert(head_is_token(f->name));
		if (!(flags & HEAD_FOLDING))
			assert(text_find(f->value, '\r') < 0 && text_find(f->value, '\n') < 0);
		if (f->row && (f->row->flags & HDR_SINGLE))
			assert(head_find(h, f->row->id) == f);
	}
}

static void check_round_trip(const struct head *h, const struct head_rules *rules)
{
	size_t cap = h->length + 2 * MAX_FIELDS + 8;
	char *buf = malloc(cap);
	const struct head_rules unlimited = { rules->table, rules->flags, cap };
	struct head_field fields[MAX_FIELDS];
	struct head again;
	if (!buf)
		abort();
	struct sb b = sb_init(buf, cap);
	sb_text(&b, h->start_line);
	sb_str(&b, "\r\n");
	for (unsigned i = 0; i < h->n_fields; i++) {
		sb_text(&b, h->fields[i].name);
		sb_str(&b, ": ");
		sb_text(&b, h->fields[i].value);
		sb_str(&b, "\r\n");
	}
	sb_str(&b, "\r\n");
	assert(!b.truncated);
	assert(head_parse((struct text){ buf, b.n }, &unlimited, fields, MAX_FIELDS, &again) == HEAD_OK);
	assert(again.length == b.n && again.n_fields == h->n_fields);
	assert(text_eq(again.start_line, h->start_line));
	for (unsigned i = 0; i < h->n_fields; i++) {
		assert(text_eq(fields[i].name, h->fields[i].name));
		assert(text_eq(fields[i].value, h->fields[i].value));
		assert(fields[i].row == h->fields[i].row);
	}
	free(buf);
}

static void check_beginnings(struct text in, enum head_error whole, const struct head_rules *rules)
{
	struct head_field fields[MAX_FIELDS];
	struct head h;
	size_t step = in.n / 40 + 1; /* not each one: the input may be long */
	for (size_t n = 0; n < in.n; n += step) {
		enum head_error e = head_parse((struct text){ in.p, n }, rules, fields, MAX_FIELDS, &h);
		assert(e == HEAD_INCOMPLETE || e == whole);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct header_table t;
	struct head_field fields[MAX_FIELDS];
	struct head h;
	if (!t.slots && header_table_init(&t, rows, ARRAY_LEN(rows)) < 0)
		abort();
	if (size == 0)
		return 0;
	const struct head_rules rules = { &t, data[0] & (HEAD_SIP | HEAD_GO_ON),
					  data[0] & 16 ? 100 : 65536 };
	char *copy = malloc(size - 1 ? size - 1 : 1); /* exactly its size: one byte too many shows */
	if (!copy)
		abort();
	memcpy(copy, data + 1, size - 1);
	struct text in = { copy, size - 1 };
	enum head_error e = head_parse(in, &rules, fields, MAX_FIELDS, &h);
	if (e == HEAD_OK) {
		assert(h.length <= rules.max_length);
		check_head(&h, in, rules.flags);
		check_round_trip(&h, &rules);
	} else if ((rules.flags & HEAD_GO_ON) && e >= HEAD_BAD_LINE_END) {
		check_rest(&h, in, rules.flags);
	}
	check_beginnings(in, e, &rules);
	free(copy);
	return 0;
}
