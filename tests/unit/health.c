/* SPDX-License-Identifier: Apache-2.0 */
/* What needs attention: certificates by their days, what was exchanged under the service, many of one kind, order. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/health.h"

enum { DAY = 86400 };
static const int64_t NOW_MS = 1800000000000;

struct world {
	char path[64];
	struct health_certs certs;
	struct health h;
};

/* A certificate that ends so many seconds after NOW. */
static void write_cert(const char *path, long end)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	X509 *x = X509_new();
	FILE *f = fopen(path, "we");
	time_t now = (time_t)(NOW_MS / 1000);

	assert_non_null(f);
	assert_true(ASN1_TIME_set(X509_getm_notBefore(x), now - DAY) && ASN1_TIME_set(X509_getm_notAfter(x), now + end));
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_X509(f, x), 1);
	assert_int_equal(fclose(f), 0);
	X509_free(x);
	EVP_PKEY_free(key);
}

static void begin(struct world *w)
{
	json_decref(w->h.items);
	w->h = (struct health){ .items = json_array(), .certs = &w->certs, .now_ms = NOW_MS };
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	snprintf(w->path, sizeof(w->path), "/tmp/stile-health-XXXXXX");
	int fd = mkstemp(w->path);
	assert_true(fd >= 0);
	close(fd);
	begin(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	unlink(w->path);
	json_decref(w->h.items);
	health_certs_deinit(&w->certs);
	free(w);
	return 0;
}

static const char *text_at(const json_t *items, size_t i, const char *key)
{
	const char *s = json_string_value(json_object_get(json_array_get(items, i), key));

	return s ? s : "";
}

static void says(struct world *w, const char *id, const char *severity)
{
	assert_int_equal(json_array_size(w->h.items), 1);
	assert_string_equal(text_at(w->h.items, 0, "id"), id);
	assert_string_equal(text_at(w->h.items, 0, "severity"), severity);
	assert_string_equal(text_at(w->h.items, 0, "subject"), w->path);
	assert_true(text_at(w->h.items, 0, "hint")[0]);
}

static void a_certificate_warns_a_month_before_its_end(void **state)
{
	static const struct {
		long left;
		const char *id, *severity;
	} cases[] = {
		{ 31 * DAY, NULL, NULL },
		{ 30 * DAY - 1, "certificate-ends", "warning" },
		{ 3 * DAY, "certificate-ends", "warning" },
		{ 3 * DAY - 1, "certificate-ends", "error" },
		{ 0, "certificate-ended", "error" },
		{ -40 * DAY, "certificate-ended", "error" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		write_cert(w->path, cases[i].left);
		health_certs_deinit(&w->certs);
		begin(w);
		health_certificate(&w->h, "turn.certificate", w->path);
		if (!cases[i].id)
			assert_int_equal(json_array_size(w->h.items), 0);
		else
			says(w, cases[i].id, cases[i].severity);
	}
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json_array_get(w->h.items, 0), "args"), "days")), -40);
}

static void a_certificate_that_was_exchanged_is_told_until_it_is_loaded(void **state)
{
	struct world *w = *state;

	write_cert(w->path, 5 * DAY);
	health_certificate(&w->h, "k", w->path);
	says(w, "certificate-ends", "warning");
	write_cert(w->path, 90 * DAY);
	begin(w);
	health_certificate(&w->h, "k", w->path);
	assert_int_equal(json_array_size(w->h.items), 2); /* the old one is still what clients see */
	assert_string_equal(text_at(w->h.items, 1, "id"), "certificate-changed");
	health_certs_loaded(&w->certs);
	begin(w);
	health_certificate(&w->h, "k", w->path);
	assert_int_equal(json_array_size(w->h.items), 0);
}

static void a_certificate_that_is_gone_or_garbage_is_told_and_its_end_remembered(void **state)
{
	struct world *w = *state;

	write_cert(w->path, 5 * DAY);
	health_certificate(&w->h, "k", w->path);
	assert_int_equal(unlink(w->path), 0);
	begin(w);
	health_certificate(&w->h, "k", w->path);
	assert_int_equal(json_array_size(w->h.items), 2);
	assert_string_equal(text_at(w->h.items, 0, "id"), "certificate-ends");
	assert_string_equal(text_at(w->h.items, 1, "id"), "certificate-unreadable");
	int fd = open(w->path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END", 41), 41);
	close(fd);
	begin(w);
	health_certificate(&w->h, "k", w->path);
	assert_string_equal(text_at(w->h.items, 1, "id"), "certificate-unreadable");
}

static void many_of_one_kind_are_told_by_their_number(void **state)
{
	struct world *w = *state;
	json_t *j, *items;

	for (int i = 0; i < 1000; i++) {
		health_add(&w->h, HEALTH_JOB_FAILING, HEALTH_WARNING, "job", "job %d", i);
		health_arg_i64(&w->h, "n", i);
	}
	health_add(&w->h, HEALTH_DESCRIPTORS, HEALTH_ERROR, "", "few are left");
	j = health_json(&w->h);
	items = json_object_get(j, "items");
	assert_int_equal(json_array_size(items), HEALTH_EACH + 2);
	assert_string_equal(text_at(items, 0, "id"), "descriptors"); /* errors first */
	assert_string_equal(text_at(items, HEALTH_EACH + 1, "text"), "and 980 more");
	assert_string_equal(json_string_value(json_object_get(j, "worst")), "error");
	json_decref(j);
}

static void nothing_to_say_is_good_and_a_full_enough_disk_is_nothing(void **state)
{
	struct world *w = *state;
	json_t *j;

	health_folder(&w->h, "log", "/nowhere/at/all");
	j = health_json(&w->h);
	assert_string_equal(json_string_value(json_object_get(j, "worst")), "good");
	json_decref(j);
}

static void a_sentence_of_a_stranger_steers_no_terminal_and_breaks_no_json(void **state)
{
	struct world *w = *state;

	health_add(&w->h, HEALTH_ROUTE_FAILING, HEALTH_WARNING, "r\xff", "target \x1b[2J \xff\xfe");
	assert_int_equal(json_array_size(w->h.items), 1);
	assert_string_equal(text_at(w->h.items, 0, "text"), "route-failing");
	begin(w);
	health_add(&w->h, HEALTH_ROUTE_FAILING, HEALTH_WARNING, "r", "a\x1b[2Jb\n");
	assert_string_equal(text_at(w->h.items, 0, "text"), "a [2Jb ");
}

static void memory_is_told_before_its_limit(void **state)
{
	struct world *w = *state;

	health_memory(&w->h, 1 << 30, 0); /* no limit */
	health_memory(&w->h, 79 << 20, 100 << 20);
	assert_int_equal(json_array_size(w->h.items), 0);
	health_memory(&w->h, 80 << 20, 100 << 20);
	assert_string_equal(text_at(w->h.items, 0, "id"), "memory");
	assert_string_equal(text_at(w->h.items, 0, "severity"), "warning");
	assert_string_equal(text_at(w->h.items, 0, "text"), "80 of 100 MB of memory are in use");
	begin(w);
	health_memory(&w->h, 95 << 20, 100 << 20);
	assert_string_equal(text_at(w->h.items, 0, "severity"), "error");
}

static void a_loop_that_is_late_again_and_again_is_told(void **state)
{
	struct world *w = *state;
	struct health_late l = { 0 };
	uint64_t now = 5000000;

	health_late_tick(&l, now);
	for (int i = 0; i < 60; i++)
		health_late_tick(&l, now += HEALTH_TICK_MS + 20); /* as a machine is that has something to do */
	assert_in_range(health_late_ms(&l, now), 1000, 1300);
	health_loop(&w->h, health_late_ms(&l, now));
	assert_int_equal(json_array_size(w->h.items), 0);
	health_late_tick(&l, now += HEALTH_TICK_MS + 12000);
	assert_in_range(health_late_ms(&l, now), 12000, 13300);
	health_loop(&w->h, health_late_ms(&l, now));
	assert_string_equal(text_at(w->h.items, 0, "id"), "loop-late");
	/* A minute later it is forgotten, whether it ticks or stands. */
	assert_int_equal(health_late_ms(&l, now + 71000), 0);
	for (int i = 0; i < 71; i++)
		health_late_tick(&l, now += HEALTH_TICK_MS);
	assert_int_equal(health_late_ms(&l, now), 0);
}

static void every_kind_has_a_word_and_a_hint(void **state)
{
	unsigned n = 0;

	(void)state;
	for (; health_id_word(n); n++) {
		assert_true(health_id_hint(n) && *health_id_hint(n));
		for (unsigned k = 0; k < n; k++)
			assert_string_not_equal(health_id_word(n), health_id_word(k));
	}
	assert_int_equal(n, HEALTH_IDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_certificate_warns_a_month_before_its_end, setup, teardown),
		cmocka_unit_test_setup_teardown(a_certificate_that_was_exchanged_is_told_until_it_is_loaded, setup, teardown),
		cmocka_unit_test_setup_teardown(a_certificate_that_is_gone_or_garbage_is_told_and_its_end_remembered, setup, teardown),
		cmocka_unit_test_setup_teardown(many_of_one_kind_are_told_by_their_number, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_to_say_is_good_and_a_full_enough_disk_is_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sentence_of_a_stranger_steers_no_terminal_and_breaks_no_json, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_is_told_before_its_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(a_loop_that_is_late_again_and_again_is_told, setup, teardown),
		cmocka_unit_test(every_kind_has_a_word_and_a_hint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
