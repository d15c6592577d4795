/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splices; see edit.h. A splice is a run of the message's bytes and a text that takes its place; a removed value of a
 * list is kept as the value alone until all are known, for which comma goes with it depends on its neighbours.
 * sip_edit_write() sorts, turns values into runs, and copies.
 */
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/edit.h"
#include "sip-proxy/lex_priv.h"

void sip_edit_init(struct sip_edit *e, const struct sip_msg *m)
{
	e->m = m;
	e->failed = m->head.length == 0;
	e->n_splices = 0;
	e->text_n = 0;
}

/* Appends to the edit's text. */
static void put(struct sip_edit *e, struct text t)
{
	if (t.n > sizeof e->text - e->text_n) {
		e->failed = true;
		return;
	}
	if (t.n > 0)
		memcpy(e->text + e->text_n, t.p, t.n);
	e->text_n += (uint32_t)t.n;
}

/* The bytes from p to p + n give way to what put() has added since text_n was from. */
static void splice(struct sip_edit *e, const char *p, size_t n, uint32_t from)
{
	if (e->failed || e->n_splices == SIP_EDIT_MAX || p < e->m->raw.p ||
	    (size_t)(p - e->m->raw.p) + n > e->m->head.length) {
		e->failed = true;
		return;
	}
	e->splices[e->n_splices] = (struct sip_splice){
		.at = (uint32_t)(p - e->m->raw.p),
		.n = (uint32_t)n,
		.text = from,
		.text_n = e->text_n - from,
		.order = e->n_splices,
	};
	e->n_splices++;
}

/* Nothing that is put into a head may end its line, but folds that stood in another header. */
static bool is_one_line(struct text t)
{
	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i] != '\r' && t.p[i] != '\n')
			continue;
		if (t.p[i] != '\r' || t.n - i < 3 || t.p[i + 1] != '\n' ||
		    (t.p[i + 2] != ' ' && t.p[i + 2] != '\t'))
			return false;
		i += 2;
	}
	return true;
}

static void put_line(struct sip_edit *e, struct text name, struct text value)
{
	if (!is_one_line(name) || !is_one_line(value) || name.n == 0)
		e->failed = true;
	put(e, name);
	put(e, TEXT(": "));
	put(e, value);
	put(e, TEXT("\r\n"));
}

/* Where the line of a field begins, and where the next one does. */
static const char *line_start(const struct head_field *f)
{
	return f->name.p;
}

static const char *line_end(const struct sip_msg *m, const struct head_field *f)
{
	/* behind the value may be blanks and folds: the line ends at the CRLF that no blank follows */
	const char *p = f->value.p + f->value.n, *end = m->raw.p + m->head.length;
	while (p + 2 < end && !(p[0] == '\r' && p[1] == '\n' && p[2] != ' ' && p[2] != '\t'))
		p++;
	return p + 2;
}

static const char *first_line(const struct sip_msg *m)
{
	return m->head.start_line.p + m->head.start_line.n + 2;
}

static const char *empty_line(const struct sip_msg *m)
{
	return m->raw.p + m->head.length - 2;
}

void sip_edit_uri(struct sip_edit *e, struct text uri)
{
	uint32_t from = e->text_n;
	if (!e->m->is_request || !e->m->uri.p || uri.n == 0 || !is_one_line(uri) ||
	    text_find(uri, ' ') >= 0) {
		e->failed = true;
		return;
	}
	put(e, uri);
	splice(e, e->m->uri.p, e->m->uri.n, from);
}

void sip_edit_prepend(struct sip_edit *e, enum sip_header id, struct text value)
{
	const struct head_field *f = sip_find(e->m, id);
	uint32_t from = e->text_n;
	if (e->failed)
		return;
	put_line(e, text_of(sip_header_row(id)->name), value);
	splice(e, f ? line_start(f) : first_line(e->m), 0, from);
}

void sip_edit_append(struct sip_edit *e, enum sip_header id, struct text value)
{
	const struct head_field *f = sip_find(e->m, id), *next;
	uint32_t from = e->text_n;
	if (e->failed)
		return;
	while (f && (next = sip_find_next(e->m, f)))
		f = next;
	put_line(e, text_of(sip_header_row(id)->name), value);
	splice(e, f ? line_end(e->m, f) : empty_line(e->m), 0, from);
}

void sip_edit_append_named(struct sip_edit *e, struct text name, struct text value)
{
	uint32_t from = e->text_n;
	if (e->failed)
		return;
	put_line(e, name, value);
	splice(e, empty_line(e->m), 0, from);
}

void sip_edit_set(struct sip_edit *e, enum sip_header id, struct text value)
{
	const struct head_field *f = sip_find(e->m, id);
	if (f)
		sip_edit_replace(e, f->value, value);
	else
		sip_edit_append(e, id, value);
}

void sip_edit_remove_field(struct sip_edit *e, const struct head_field *f)
{
	if (e->failed)
		return;
	splice(e, line_start(f), (size_t)(line_end(e->m, f) - line_start(f)), e->text_n);
}

void sip_edit_remove(struct sip_edit *e, enum sip_header id)
{
	for (const struct head_field *f = sip_find(e->m, id); f; f = sip_find_next(e->m, f))
		sip_edit_remove_field(e, f);
}

void sip_edit_remove_value(struct sip_edit *e, struct text value)
{
	splice(e, value.p, value.n, e->text_n);
	if (!e->failed)
		e->splices[e->n_splices - 1].value = true;
}

void sip_edit_replace(struct sip_edit *e, struct text old, struct text with)
{
	uint32_t from = e->text_n;
	if (e->failed)
		return;
	if (!is_one_line(with))
		e->failed = true;
	put(e, with);
	splice(e, old.p, old.n, from);
}

/* Is the value at this place taken away as a whole? */
static bool is_removed(const struct sip_edit *e, struct text value)
{
	for (unsigned i = 0; i < e->n_splices; i++)
		if (e->splices[i].value && e->m->raw.p + e->splices[i].at == value.p)
			return true;
	return false;
}

/*
 * The bytes that go with a removed value: its line, if all of the line goes; what separates it from the one in front,
 * if one in front stays; else what separates it from the next one.
 */
static int value_run(const struct sip_edit *e, const struct head_field *f, struct sip_splice *s)
{
	const char *self = e->m->raw.p + s->at, *start = NULL, *end = NULL, *before = NULL, *next = NULL;
	struct sip_values it = { .m = e->m, .f = f, .rest = f->value };
	struct text value;
	bool any_stays = false, stays_before = false;
	while (it.rest.p && sip_values_next(&it, &value)) {
		bool stays = !is_removed(e, value);
		any_stays |= stays;
		if (value.p == self) {
			start = value.p;
			end = value.p + value.n;
		} else if (!start) {
			stays_before |= stays;
			before = value.p + value.n;
		} else if (!next) {
			next = value.p;
		}
	}
	if (!start)
		return -EOVERFLOW;
	if (!any_stays) {
		start = line_start(f);
		end = line_end(e->m, f);
	} else if (stays_before) {
		start = before;
	} else if (next) {
		end = next;
	}
	s->at = (uint32_t)(start - e->m->raw.p);
	s->n = (uint32_t)(end - start);
	s->value = false;
	return 0;
}

static const struct head_field *field_at(const struct sip_msg *m, const char *p)
{
	for (unsigned i = 0; i < m->head.n_fields; i++) {
		const struct head_field *f = &m->head.fields[i];
		if (p >= f->value.p && p <= f->value.p + f->value.n)
			return f;
	}
	return NULL;
}

/* By place; at one place insertions come first, in the order in which they were made. */
static bool stands_before(const struct sip_splice *a, const struct sip_splice *b)
{
	if (a->at != b->at)
		return a->at < b->at;
	if ((a->n == 0) != (b->n == 0))
		return a->n == 0;
	return a->order < b->order;
}

/* Values become runs, runs of one line become one, and all are sorted. The number left, or -EOVERFLOW. */
static int settle(const struct sip_edit *e, struct sip_splice *sorted)
{
	unsigned n = 0;
	for (unsigned i = 0; i < e->n_splices; i++) {
		struct sip_splice s = e->splices[i];
		const struct head_field *f = s.value ? field_at(e->m, e->m->raw.p + s.at) : NULL;
		if (s.value && (!f || value_run(e, f, &s) < 0))
			return -EOVERFLOW;
		unsigned at = n;
		while (at > 0 && stands_before(&s, &sorted[at - 1]))
			at--;
		if (at > 0 && s.n > 0 && s.text_n == 0 && sorted[at - 1].at == s.at &&
		    sorted[at - 1].n == s.n && sorted[at - 1].text_n == 0)
			continue; /* the same line, taken away with another of its values */
		memmove(sorted + at + 1, sorted + at, (n - at) * sizeof *sorted);
		sorted[at] = s;
		n++;
	}
	return (int)n;
}

ssize_t sip_edit_write(const struct sip_edit *e, char *buf, size_t cap)
{
	struct sip_splice sorted[SIP_EDIT_MAX + 1];
	int n = e->failed ? -EOVERFLOW : settle(e, sorted);
	struct wr w = wr_init(buf, cap);
	size_t at = 0;
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++) {
		if (sorted[i].at < at)
			return -EOVERFLOW; /* two changes of the same bytes */
		wr_bytes(&w, e->m->raw.p + at, sorted[i].at - at);
		wr_bytes(&w, e->text + sorted[i].text, sorted[i].text_n);
		at = sorted[i].at + sorted[i].n;
	}
	wr_bytes(&w, e->m->raw.p + at, e->m->raw.n - at);
	return w.failed ? -ENOSPC : (ssize_t)wr_len(&w);
}
