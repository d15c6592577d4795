/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: adding on several threads, and what Prometheus and JSON readers see.
 *
 * The Prometheus text is compared byte by byte: its escapes are what a scraper trips over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include "common/metrics.h"

enum { PACKETS, DROPS, SESSIONS, LATENCY, BY_REASON, N_ROWS };
static const char *const reasons[] = { "bad \"quote\"", "back\\slash", "new\nline", NULL };
static const char *const whys[] = { "a", "b\"", NULL };
static const double bounds[] = { 0.001, 0.01, 0.1, 0 };
static const struct metric_row rows[] = {
	[PACKETS] = { "stile_test_packets_total", METRIC_COUNTER, "Packets.\nAll \\ of them.", NULL, NULL, NULL },
	[DROPS] = { "stile_test_drops_total", METRIC_COUNTER, "Drops.", "reason", reasons, NULL },
	[SESSIONS] = { "stile_test_sessions", METRIC_GAUGE, "Sessions.", NULL, NULL, NULL },
	[LATENCY] = { "stile_test_latency_seconds", METRIC_HISTOGRAM, "Latency.", NULL, NULL, bounds },
	[BY_REASON] = { "stile_test_wait_seconds", METRIC_HISTOGRAM, "Wait.", "why", whys, bounds },
};

static struct metrics *make(unsigned n_workers)
{
	struct metrics *m = NULL;
	assert_int_equal(metrics_new(rows, N_ROWS, n_workers, &m), 0);
	return m;
}

static void cells_of_all_workers_are_added_up(void **state)
{
	(void)state;
	_cleanup_(metrics_freep) struct metrics *m = make(3);
	for (unsigned w = 0; w < 3; w++) {
		metric_add(m, w, PACKETS, 0, 10);
		metric_add(m, w, DROPS, 2, w);
		metric_set(m, w, SESSIONS, 0, 7);
	}
	metric_set(m, 0, SESSIONS, 0, 1);
	metric_add(m, 0, SESSIONS, 0, -5);
	assert_int_equal(metric_sum(m, PACKETS, 0), 30);
	assert_int_equal(metric_sum(m, DROPS, 2), 3);
	assert_int_equal(metric_sum(m, DROPS, 1), 0);
	assert_int_equal(metric_sum(m, SESSIONS, 0), 10);
}

static void an_index_outside_the_table_changes_nothing(void **state)
{
	(void)state;
	_cleanup_(metrics_freep) struct metrics *m = make(1);
	metric_add(m, 1, PACKETS, 0, 1);
	metric_add(m, 0, PACKETS, 1, 1);
	metric_add(m, 0, N_ROWS, 0, 1);
	metric_add(m, 0, LATENCY, 0, 1);
	metric_set(m, 0, LATENCY, 0, 1);
	metric_observe(m, 0, PACKETS, 0, 1);
	metric_observe(m, 0, LATENCY, 0, NAN);
	metric_observe(m, 0, LATENCY, 1, 0.1);
	metric_observe(m, 0, BY_REASON, 2, 0.1);
	for (unsigned row = 0; row < N_ROWS; row++)
		for (unsigned label = 0; label < 4; label++)
			assert_int_equal(metric_sum(m, row, label), 0);
	struct metrics *none = NULL;
	assert_int_not_equal(metrics_new(rows, N_ROWS, 0, &none), 0);
	assert_null(none);
}

static void prometheus_text_is_escaped_and_buckets_are_cumulative(void **state)
{
	(void)state;
	_cleanup_(metrics_freep) struct metrics *m = make(2);
	metric_add(m, 0, PACKETS, 0, INT64_MAX);
	metric_add(m, 1, DROPS, 0, 4);
	metric_observe(m, 0, LATENCY, 0, 0.0005);
	metric_observe(m, 1, LATENCY, 0, 0.001); /* on the bound: le means less or equal */
	metric_observe(m, 1, LATENCY, 0, 0.05);
	metric_observe(m, 0, LATENCY, 0, 99);
	_cleanup_(freep) char *text = metrics_prometheus(m);
	static const char expected[] =
		"# HELP stile_test_packets_total Packets.\\nAll \\\\ of them.\n"
		"# TYPE stile_test_packets_total counter\n"
		"stile_test_packets_total 9223372036854775807\n"
		"# HELP stile_test_drops_total Drops.\n"
		"# TYPE stile_test_drops_total counter\n"
		"stile_test_drops_total{reason=\"bad \\\"quote\\\"\"} 4\n"
		"stile_test_drops_total{reason=\"back\\\\slash\"} 0\n"
		"stile_test_drops_total{reason=\"new\\nline\"} 0\n"
		"# HELP stile_test_sessions Sessions.\n"
		"# TYPE stile_test_sessions gauge\n"
		"stile_test_sessions 0\n"
		"# HELP stile_test_latency_seconds Latency.\n"
		"# TYPE stile_test_latency_seconds histogram\n"
		"stile_test_latency_seconds_bucket{le=\"0.001\"} 2\n"
		"stile_test_latency_seconds_bucket{le=\"0.01\"} 2\n"
		"stile_test_latency_seconds_bucket{le=\"0.1\"} 3\n"
		"stile_test_latency_seconds_bucket{le=\"+Inf\"} 4\n";
	assert_non_null(text);
	assert_int_equal(strncmp(text, expected, sizeof(expected) - 1), 0);
	double sum;
	assert_int_equal(sscanf(strstr(text, "seconds_sum "), "seconds_sum %lf", &sum), 1);
	assert_true(fabs(sum - 99.0515) < 1e-9);
	assert_non_null(strstr(text, "stile_test_latency_seconds_count 4\n"));
}

static void json_has_one_member_per_row(void **state)
{
	(void)state;
	_cleanup_(metrics_freep) struct metrics *m = make(2);
	metric_add(m, 0, PACKETS, 0, 3);
	metric_add(m, 1, DROPS, 1, 4);
	metric_observe(m, 0, LATENCY, 0, 0.02);
	json_t *j = metrics_json(m);
	json_t *latency = json_object_get(j, "stile_test_latency_seconds");
	json_t *buckets = json_object_get(latency, "buckets");
	assert_int_equal(json_object_size(j), N_ROWS);
	assert_int_equal(json_integer_value(json_object_get(j, "stile_test_packets_total")), 3);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "stile_test_drops_total"), "back\\slash")), 4);
	assert_int_equal(json_integer_value(json_object_get(latency, "count")), 1);
	assert_true(fabs(json_real_value(json_object_get(latency, "sum")) - 0.02) < 1e-12);
	assert_int_equal(json_object_size(buckets), 4);
	assert_int_equal(json_integer_value(json_object_get(buckets, "0.01")), 0);
	assert_int_equal(json_integer_value(json_object_get(buckets, "0.1")), 1);
	assert_int_equal(json_integer_value(json_object_get(buckets, "+Inf")), 1);
	json_decref(j);
}

static void a_histogram_has_its_buckets_for_each_label(void **state)
{
	(void)state;
	_cleanup_(metrics_freep) struct metrics *m = make(2);
	metric_observe(m, 0, BY_REASON, 0, 0.25);
	metric_observe(m, 0, BY_REASON, 1, 0.0625);
	metric_observe(m, 1, BY_REASON, 1, 0.0005);
	assert_int_equal(metric_sum(m, BY_REASON, 0), 1);
	assert_int_equal(metric_sum(m, BY_REASON, 1), 2);
	assert_int_equal(metric_sum(m, LATENCY, 0), 0);
	_cleanup_(freep) char *text = metrics_prometheus(m);
	assert_non_null(strstr(text,
		"# TYPE stile_test_wait_seconds histogram\n"
		"stile_test_wait_seconds_bucket{why=\"a\",le=\"0.001\"} 0\n"
		"stile_test_wait_seconds_bucket{why=\"a\",le=\"0.01\"} 0\n"
		"stile_test_wait_seconds_bucket{why=\"a\",le=\"0.1\"} 0\n"
		"stile_test_wait_seconds_bucket{why=\"a\",le=\"+Inf\"} 1\n"
		"stile_test_wait_seconds_sum{why=\"a\"} 0.25\n"
		"stile_test_wait_seconds_count{why=\"a\"} 1\n"
		"stile_test_wait_seconds_bucket{why=\"b\\\"\",le=\"0.001\"} 1\n"
		"stile_test_wait_seconds_bucket{why=\"b\\\"\",le=\"0.01\"} 1\n"
		"stile_test_wait_seconds_bucket{why=\"b\\\"\",le=\"0.1\"} 2\n"
		"stile_test_wait_seconds_bucket{why=\"b\\\"\",le=\"+Inf\"} 2\n"
		"stile_test_wait_seconds_sum{why=\"b\\\"\"} 0.063"));
	json_t *j = metrics_json(m), *b = json_object_get(json_object_get(j, "stile_test_wait_seconds"), "b\"");
	assert_int_equal(json_integer_value(json_object_get(b, "count")), 2);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(b, "buckets"), "0.1")), 2);
	json_decref(j);
}

struct job {
	struct metrics *m;
	unsigned worker;
};

static void *count_up(void *arg)
{
	const struct job *j = arg;
	for (int i = 0; i < 20000; i++) {
		metric_add(j->m, j->worker, PACKETS, 0, 1);
		metric_observe(j->m, j->worker, LATENCY, 0, 0.5);
	}
	return NULL;
}

static void a_reader_beside_counting_workers_sees_whole_numbers(void **state)
{
	(void)state;
	enum { WORKERS = 3 };
	_cleanup_(metrics_freep) struct metrics *m = make(WORKERS);
	struct job jobs[WORKERS];
	pthread_t threads[WORKERS];
	for (unsigned i = 0; i < WORKERS; i++) {
		jobs[i] = (struct job){ m, i };
		assert_int_equal(pthread_create(&threads[i], NULL, count_up, &jobs[i]), 0);
	}
	for (int64_t last = 0, i = 0; i < 20; i++) {
		_cleanup_(freep) char *text = metrics_prometheus(m);
		int64_t now = metric_sum(m, PACKETS, 0);
		assert_non_null(text);
		assert_true(now >= last);
		last = now;
	}
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(metric_sum(m, PACKETS, 0), WORKERS * 20000);
	assert_int_equal(metric_sum(m, LATENCY, 0), WORKERS * 20000);
}

static void slots_get_their_names_while_running(void **state)
{
	static const struct metric_row by_realm[] = {
		{ "stile_test_bytes_total", METRIC_COUNTER, "Bytes.", "realm", NULL, NULL, 3 },
		{ "stile_test_alive", METRIC_GAUGE, "Alive.", "realm", NULL, NULL, 2 },
	};
	struct metrics *made = NULL;

	(void)state;
	assert_int_equal(metrics_new(by_realm, ARRAY_LEN(by_realm), 2, &made), 0);
	_cleanup_(metrics_freep) struct metrics *m = made;
	metric_add(m, 0, 0, 1, 5);
	metric_add(m, 1, 0, 1, 6);
	metric_add(m, 1, 1, 1, 2);
	assert_int_equal(metrics_name_slot(m, 1, "old.example"), 0);
	assert_int_equal(metric_sum(m, 0, 1), 0); /* what came before the name is nobody's */
	metric_add(m, 0, 0, 1, 7);
	assert_int_equal(metrics_name_slot(m, 1, "old.example"), 0);
	assert_int_equal(metric_sum(m, 0, 1), 7);
	assert_int_equal(metrics_name_slot(m, 1, "new.example"), 0);
	metric_add(m, 1, 0, 1, 1);
	char *text = metrics_prometheus(m);
	assert_string_equal(text, "# HELP stile_test_bytes_total Bytes.\n# TYPE stile_test_bytes_total counter\n"
				  "stile_test_bytes_total{realm=\"new.example\"} 1\n"
				  "# HELP stile_test_alive Alive.\n# TYPE stile_test_alive gauge\n"
				  "stile_test_alive{realm=\"new.example\"} 2\n");
	free(text);
	json_t *j = metrics_json(m);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "stile_test_bytes_total"), "new.example")), 1);
	assert_int_equal(json_object_size(json_object_get(j, "stile_test_alive")), 1);
	json_decref(j);
	assert_int_equal(metrics_name_slot(m, 1, NULL), 0);
	text = metrics_prometheus(m);
	assert_null(strchr(text, '{'));
	free(text);
	assert_int_equal(metrics_name_slot(m, 3, "x"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cells_of_all_workers_are_added_up),
		cmocka_unit_test(an_index_outside_the_table_changes_nothing),
		cmocka_unit_test(slots_get_their_names_while_running),
		cmocka_unit_test(prometheus_text_is_escaped_and_buckets_are_cumulative),
		cmocka_unit_test(json_has_one_member_per_row),
		cmocka_unit_test(a_histogram_has_its_buckets_for_each_label),
		cmocka_unit_test(a_reader_beside_counting_workers_sees_whole_numbers),
	};
	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
