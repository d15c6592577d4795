/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: a block of 64-bit cells per worker, rows that say what they mean, and two renderings.
 *
 * Each worker's block begins on its own cache line and has one writer, so an add is a plain load
 * and store that readers may see at any moment (relaxed atomics; no lock, no bus cycle). A sum
 * over workers is therefore a moment's view, never a torn number. A histogram has, for each label value, its
 * buckets (not cumulative; +Inf last) and the bits of a double for the sum.
 */
#include "common/metrics.h"
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { CACHE_LINE = 64 };

struct span { /* cells of a row */
	unsigned first, labels;
	unsigned buckets; /* of a histogram, for each label; the sum follows them. Else 0 */
};

struct metrics {
	const struct metric_row *rows;
	size_t n_rows;
	unsigned n_workers;
	struct span *spans;
	size_t stride; /* cells of a worker, a multiple of a cache line */
	_Atomic int64_t *cells;
	char **slot_names;  /* n_slots; NULL: not shown */
	int64_t *slot_from; /* by cell: the sum when the slot got its name, which later sums are counted from */
	unsigned n_slots;
};

static unsigned count_labels(const struct metric_row *row)
{
	unsigned n = 0;
	if (row->slots)
		return row->slots;
	while (row->label && row->label_values && row->label_values[n])
		n++;
	return MAX(n, 1u);
}

static unsigned count_buckets(const struct metric_row *row)
{
	unsigned n = 0;
	while (row->buckets && row->buckets[n] != 0)
		n++;
	return n;
}

int metrics_new(const struct metric_row *rows, size_t n_rows, unsigned n_workers, struct metrics **ret_m)
{
	_cleanup_(metrics_freep) struct metrics *m = calloc(1, sizeof(*m));
	unsigned n = 0;
	if (!m || !n_workers)
		return m ? -EINVAL : -ENOMEM;
	m->rows = rows;
	m->n_rows = n_rows;
	m->n_workers = n_workers;
	m->spans = calloc(MAX(n_rows, (size_t)1), sizeof(*m->spans));
	if (!m->spans)
		return -ENOMEM;
	for (size_t i = 0; i < n_rows; i++) {
		unsigned buckets = rows[i].kind == METRIC_HISTOGRAM ? count_buckets(&rows[i]) + 1 : 0;
		m->spans[i] = (struct span){ n, count_labels(&rows[i]), buckets };
		n += m->spans[i].labels * (buckets ? buckets + 1 : 1);
	}
	size_t per_line = CACHE_LINE / sizeof(int64_t);
	m->stride = (MAX(n, 1u) + per_line - 1) / per_line * per_line;
	size_t bytes = m->stride * n_workers * sizeof(int64_t);
	m->cells = aligned_alloc(CACHE_LINE, bytes);
	if (!m->cells)
		return -ENOMEM;
	memset(m->cells, 0, bytes);
	for (size_t i = 0; i < n_rows; i++)
		m->n_slots = MAX(m->n_slots, rows[i].slots);
	m->slot_names = calloc(MAX(m->n_slots, 1u), sizeof(char *));
	m->slot_from = calloc(m->stride, sizeof(*m->slot_from));
	if (!m->slot_names || !m->slot_from)
		return -ENOMEM;
	*ret_m = steal_ptr(&m);
	return 0;
}

struct metrics *metrics_free(struct metrics *m)
{
	if (m) {
		for (unsigned i = 0; m->slot_names && i < m->n_slots; i++)
			free(m->slot_names[i]);
		free(m->slot_names);
		free(m->slot_from);
		free(m->spans);
		free(m->cells);
		free(m);
	}
	return NULL;
}

/* ---- cells ---- */

/* The first cell of a label; NULL for what is not in the table: a wrong index must not write into a neighbour. */
static _Atomic int64_t *cell_at(const struct metrics *m, unsigned worker, unsigned row, unsigned label)
{
	if (worker >= m->n_workers || row >= m->n_rows || label >= m->spans[row].labels)
		return NULL;
	unsigned each = m->spans[row].buckets ? m->spans[row].buckets + 1 : 1;
	return m->cells + worker * m->stride + m->spans[row].first + label * each;
}

static void bump(_Atomic int64_t *c, int64_t v)
{
	int64_t old = atomic_load_explicit(c, memory_order_relaxed);
	atomic_store_explicit(c, (int64_t)((uint64_t)old + (uint64_t)v), memory_order_relaxed);
}

void metric_add(struct metrics *m, unsigned worker, unsigned row, unsigned label, int64_t v)
{
	_Atomic int64_t *c = cell_at(m, worker, row, label);
	if (c && m->rows[row].kind != METRIC_HISTOGRAM)
		bump(c, v);
}

void metric_set(struct metrics *m, unsigned worker, unsigned row, unsigned label, int64_t v)
{
	_Atomic int64_t *c = cell_at(m, worker, row, label);
	if (c && m->rows[row].kind != METRIC_HISTOGRAM)
		atomic_store_explicit(c, v, memory_order_relaxed);
}

static double load_double(const _Atomic int64_t *c)
{
	int64_t bits = atomic_load_explicit((_Atomic int64_t *)c, memory_order_relaxed);
	double d;
	memcpy(&d, &bits, sizeof(d));
	return d;
}

void metric_observe(struct metrics *m, unsigned worker, unsigned row, unsigned label, double v)
{
	_Atomic int64_t *first = cell_at(m, worker, row, label);
	if (!first || m->rows[row].kind != METRIC_HISTOGRAM || v != v)
		return; /* NaN belongs to no bucket and would spoil the sum for ever */
	unsigned i = 0, n = m->spans[row].buckets;
	while (i < n - 1 && v > m->rows[row].buckets[i])
		i++;
	bump(first + i, 1);
	double sum = load_double(first + n) + v;
	int64_t bits;
	memcpy(&bits, &sum, sizeof(bits));
	atomic_store_explicit(first + n, bits, memory_order_relaxed);
}

/* Of the nth cell of a label, over all workers. */
static int64_t sum_at(const struct metrics *m, unsigned row, unsigned label, unsigned nth)
{
	uint64_t sum = 0;
	for (unsigned w = 0; w < m->n_workers; w++) {
		_Atomic int64_t *c = cell_at(m, w, row, label);
		if (c)
			sum += (uint64_t)atomic_load_explicit(c + nth, memory_order_relaxed);
	}
	if (row < m->n_rows && label < m->rows[row].slots)
		sum -= (uint64_t)m->slot_from[m->spans[row].first + label];
	return (int64_t)sum;
}

/* NULL: a slot without a name. */
static const char *label_at(const struct metrics *m, unsigned row, unsigned i)
{
	return m->rows[row].slots ? m->slot_names[i] : m->rows[row].label_values[i];
}

int64_t metric_sum(const struct metrics *m, unsigned row, unsigned label)
{
	int64_t sum = 0;
	unsigned cells = row < m->n_rows && m->spans[row].buckets ? m->spans[row].buckets : 1;
	for (unsigned i = 0; i < cells; i++)
		sum += sum_at(m, row, label, i);
	return sum;
}

int metrics_name_slot(struct metrics *m, unsigned i, const char *name)
{
	char *copy;

	if (i >= m->n_slots)
		return -EINVAL;
	if (name && m->slot_names[i] && strcmp(name, m->slot_names[i]) == 0)
		return 0;
	copy = name ? text_dup(text_of(name)) : NULL;
	if (name && !copy)
		return -ENOMEM;
	free(m->slot_names[i]);
	m->slot_names[i] = copy;
	for (unsigned row = 0; name && row < m->n_rows; row++)
		if (i < m->rows[row].slots && m->rows[row].kind == METRIC_COUNTER)
			m->slot_from[m->spans[row].first + i] += metric_sum(m, row, i);
	return 0;
}

static double histogram_sum(const struct metrics *m, unsigned row, unsigned label)
{
	double sum = 0;
	for (unsigned w = 0; w < m->n_workers; w++)
		sum += load_double(cell_at(m, w, row, label) + m->spans[row].buckets);
	return sum;
}

/* "0.005" or "+Inf". The shortest text that names the bound. */
static const char *bound_text(const struct metrics *m, unsigned row, unsigned i, char buf[static 32])
{
	if (i == m->spans[row].buckets - 1)
		return "+Inf";
	snprintf(buf, 32, "%.10g", m->rows[row].buckets[i]);
	return buf;
}

/* ---- Prometheus text, exposition format 0.0.4 ---- */

static void put_escaped(FILE *f, const char *s, bool quotes)
{
	for (; *s; s++)
		if (*s == '\n')
			fputs("\\n", f);
		else if (*s == '\\' || (quotes && *s == '"'))
			fprintf(f, "\\%c", *s);
		else
			fputc(*s, f);
}

struct sample {
	unsigned row, label;
};

/* {method="allocate",le="0.001"}, as far as there are labels. */
static void put_labels(FILE *f, const struct metrics *m, struct sample at, const char *le)
{
	const struct metric_row *r = &m->rows[at.row];
	if (!r->label && !le)
		return;
	fputc('{', f);
	if (r->label) {
		fprintf(f, "%s=\"", r->label);
		put_escaped(f, label_at(m, at.row, at.label), true);
		fputs(le ? "\"," : "\"", f);
	}
	if (le)
		fprintf(f, "le=\"%s\"", le);
	fputc('}', f);
}

static void put_histogram(FILE *f, const struct metrics *m, unsigned row, unsigned label)
{
	const struct metric_row *r = &m->rows[row];
	const struct sample at = { row, label };
	int64_t count = 0;
	char bound[32];
	for (unsigned i = 0; i < m->spans[row].buckets; i++) {
		count += sum_at(m, row, label, i);
		fprintf(f, "%s_bucket", r->name);
		put_labels(f, m, at, bound_text(m, row, i, bound));
		fprintf(f, " %" PRId64 "\n", count);
	}
	/* The count is the last bucket's, so that the two agree whatever was added meanwhile. */
	fprintf(f, "%s_sum", r->name);
	put_labels(f, m, at, NULL);
	fprintf(f, " %.17g\n%s_count", histogram_sum(m, row, label), r->name);
	put_labels(f, m, at, NULL);
	fprintf(f, " %" PRId64 "\n", count);
}

static void put_row(FILE *f, const struct metrics *m, unsigned row)
{
	static const char *const kinds[] = { "counter", "gauge", "histogram" };
	const struct metric_row *r = &m->rows[row];
	fprintf(f, "# HELP %s ", r->name);
	put_escaped(f, r->help, false);
	fprintf(f, "\n# TYPE %s %s\n", r->name, kinds[r->kind]);
	for (unsigned i = 0; i < m->spans[row].labels; i++) {
		if (r->label && !label_at(m, row, i))
			continue;
		if (r->kind == METRIC_HISTOGRAM) {
			put_histogram(f, m, row, i);
			continue;
		}
		fputs(r->name, f);
		put_labels(f, m, (struct sample){ row, i }, NULL);
		fprintf(f, " %" PRId64 "\n", metric_sum(m, row, i));
	}
}

char *metrics_prometheus(const struct metrics *m)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	if (!f)
		return NULL;
	for (unsigned i = 0; i < m->n_rows; i++)
		put_row(f, m, i);
	bool bad = ferror(f);
	if (fclose(f) != 0 || bad) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- JSON ---- */

/* 0 or -1; a NULL value (no memory) is a failure as well. Takes the value. */
static int set(json_t *o, const char *key, json_t *value)
{
	return json_object_set_new(o, key, value);
}

static json_t *histogram_json(const struct metrics *m, unsigned row, unsigned label)
{
	json_t *o = json_object(), *buckets = json_object();
	int64_t count = 0;
	char bound[32];
	int r = o && buckets ? 0 : -1;
	for (unsigned i = 0; r == 0 && i < m->spans[row].buckets; i++) {
		count += sum_at(m, row, label, i);
		r = set(buckets, bound_text(m, row, i, bound), json_integer(count));
	}
	if (r == 0)
		r = set(o, "sum", json_real(histogram_sum(m, row, label)));
	if (r == 0)
		r = set(o, "count", json_integer(count));
	if (r == 0)
		r = set(o, "buckets", json_incref(buckets));
	json_decref(buckets);
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}

static json_t *label_json(const struct metrics *m, unsigned row, unsigned label)
{
	return m->rows[row].kind == METRIC_HISTOGRAM ? histogram_json(m, row, label) : json_integer(metric_sum(m, row, label));
}

static json_t *row_json(const struct metrics *m, unsigned row)
{
	const struct metric_row *r = &m->rows[row];
	if (!r->label)
		return label_json(m, row, 0);
	json_t *o = json_object();
	for (unsigned i = 0; o && i < m->spans[row].labels; i++)
		if (label_at(m, row, i) && set(o, label_at(m, row, i), label_json(m, row, i)) < 0) {
			json_decref(o);
			o = NULL;
		}
	return o;
}

json_t *metrics_json(const struct metrics *m)
{
	json_t *all = json_object();
	for (unsigned i = 0; all && i < m->n_rows; i++)
		if (set(all, m->rows[i].name, row_json(m, i)) < 0) {
			json_decref(all);
			all = NULL;
		}
	return all;
}
