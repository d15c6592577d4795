/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: rows in a table, cells per worker, added up when somebody reads.
 *
 * A cell is written by one thread only (relaxed atomics, no locked instruction), so counting costs
 * an add. Names begin with stile_, units are base units (seconds, bytes), counters end in _total;
 * labels have a fixed set of values from the row, never a user or a peer. Rendered as Prometheus text
 * or JSON.
 */
#pragma once
#include <jansson.h>
#include "common/text.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_row {
	const char *name; /* "stile_turn_drops_total" */
	enum metric_kind kind;
	const char *help;
	const char *label;		  /* NULL: none */
	const char *const *label_values;  /* NULL-terminated; the cell index is the position */
	const double *buckets;		  /* histogram: upper bounds, ascending, ended by 0 */
	unsigned slots; /* instead of label_values: so many, with names given while running (metrics_name_slot) */
};

struct metrics; /* one set of rows × workers */

int metrics_new(const struct metric_row *rows, size_t n_rows, unsigned n_workers, struct metrics **ret_m);
struct metrics *metrics_free(struct metrics *m);
DEFINE_CLEANUP(struct metrics, metrics_free)

/* row: index into the table; label: index of the label value, 0 if none. */
void metric_add(struct metrics *m, unsigned worker, unsigned row, unsigned label, int64_t v);
void metric_set(struct metrics *m, unsigned worker, unsigned row, unsigned label, int64_t v);
void metric_observe(struct metrics *m, unsigned worker, unsigned row, unsigned label, double v);
/* Over all workers; of a histogram: how many were observed. */
int64_t metric_sum(const struct metrics *m, unsigned row, unsigned label);

/* The i-th label value of all rows with slots is called so from now on; NULL: it is not shown. Counters begin at
 * zero under a new name. By the thread that renders. 0, -EINVAL (no such slot) or -ENOMEM. */
int metrics_name_slot(struct metrics *m, unsigned i, const char *name);

/* Appends "# HELP", "# TYPE" and samples; malloc'd text. */
char *metrics_prometheus(const struct metrics *m);
json_t *metrics_json(const struct metrics *m); /* {name: V or {label: V}}; V: a number, or of a histogram {sum, count, buckets} */
