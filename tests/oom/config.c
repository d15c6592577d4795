/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration, log and metrics without memory: each allocation of a load, an opening or a
 * construction fails once. The answer is -ENOMEM and nothing else: no half-filled configuration is
 * taken for a good one, a log that is open stays open, and nothing leaks.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/config.h"
#include "common/log.h"
#include "common/metrics.h"
#include "tests/oom/failing.h"

struct user {
	char *name, *secret;
};
struct all {
	struct cfg_list users, hosts, ends;
	struct user *first;
	char *text, *key;
};

/* clang-format off */
static const struct cfg_row user_rows[] = {
	{ .name = "name", .type = &cfg_string, CFG_AT(struct user, name), .def = "nobody", .help = "h" },
	{ .name = "secret", .type = &cfg_string, CFG_AT(struct user, secret), .flags = CFG_SECRET, .help = "h" },
};
static const struct cfg_schema user_schema = { "user", user_rows, ARRAY_LEN(user_rows), sizeof(struct user) };
static const struct cfg_row rows[] = {
	{ .name = "users", .sub = &user_schema, CFG_AT(struct all, users), .flags = CFG_LIST, .help = "h" },
	{ .name = "hosts", .type = &cfg_hostport, CFG_AT(struct all, hosts), .flags = CFG_LIST, .default_port = 1, .help = "h" },
	{ .name = "ends", .type = &cfg_endpoint, CFG_AT(struct all, ends), .flags = CFG_LIST, .def = "0.0.0.0:1, [::]:1", .help = "h" },
	{ .name = "first", .sub = &user_schema, CFG_AT(struct all, first), .flags = CFG_OPTIONAL_MAP, .help = "h" },
	{ .name = "text", .type = &cfg_string, CFG_AT(struct all, text), .def = "a text", .help = "h" },
	{ .name = "key", .type = &cfg_path, CFG_AT(struct all, key), .help = "h" },
};
static const struct cfg_schema schema = { "", rows, ARRAY_LEN(rows), sizeof(struct all) };
/* clang-format on */
static const struct cfg_root root = { &schema, NULL };

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/stile-oom-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[128];
	(void)state;
	oom_arm(0);
	log_close();
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

static void put_file(const char *name, const char *content)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(content, f);
	fclose(f);
}

static void a_load_without_memory_is_enomem_and_not_a_configuration(void **state)
{
	char path[128], dir[128];
	unsigned rounds = 0;
	(void)state;
	snprintf(dir, sizeof(dir), "%s/conf.d", folder);
	assert_int_equal(mkdir(dir, 0700), 0);
	put_file("secret", "from a file\n");
	put_file("main.yaml", "users: [{name: a, secret: x}, {name: b, secret_file: secret}]\nfirst: {}\nkey: k.pem\n");
	put_file("conf.d/more.yaml", "users: [{name: c}]\nhosts: [stun.example.net, '[::1]:2']\n");
	snprintf(path, sizeof(path), "%s/main.yaml", folder);
	for (unsigned n = 1; oom_next(&n); rounds++) {
		struct cfg *c = NULL;
		int r = cfg_load(path, &root, &c);
		assert_int_equal(r, oom_hit() ? -ENOMEM : 0);
		assert_int_equal(c != NULL, r == 0);
		cfg_free(c);
	}
	assert_true(rounds > 20);
}

static void a_bad_file_without_memory_is_never_taken_for_a_good_one(void **state)
{
	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		struct cfg *c = NULL;
		int r = cfg_load_text(TEXT("users: [{nam: a}, 3]\ntext: [x]\nfirst: {name: }\n"), "f", &root, &c);
		assert_int_equal(r, oom_hit() ? -ENOMEM : -EINVAL);
		assert_int_equal(c != NULL, r == -EINVAL);
		cfg_free(c);
	}
}

static void a_value_without_memory_is_not_called_bad(void **state)
{
	char err[200];
	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		int r = cfg_check_value(&rows[4], TEXT("x"), err, sizeof(err));
		assert_int_equal(r, oom_hit() ? -ENOMEM : 0);
	}
	for (unsigned n = 1; oom_next(&n);) {
		int r = cfg_check_value(&rows[1], TEXT("x:1"), err, sizeof(err));
		assert_int_equal(r, oom_hit() ? -ENOMEM : 0);
	}
}

static void a_log_that_cannot_open_says_so_and_an_open_one_stays(void **state)
{
	static const struct log_msg m = { "test.line", LOG_LVL_INFO, "line", NULL };
	struct log_config c = { .level = LOG_LVL_INFO, .dir = folder, .name = "oom" };
	char err[300], path[128], line[256];
	unsigned emitted = 0, found = 0;
	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		int r = log_open(&c, err, sizeof(err));
		assert_int_equal(r, oom_hit() ? -ENOMEM : 0);
		if (r < 0)
			assert_true(strlen(err) > 0);
	}
	for (unsigned n = 1; oom_next(&n); emitted++) {
		int r = log_reopen(err, sizeof(err));
		assert_int_equal(r, oom_hit() ? -ENOMEM : 0);
		log_emit(&m);
	}
	log_close();
	snprintf(path, sizeof(path), "%s/oom.log", folder);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		found += strstr(line, " info test.line line\n") != NULL;
	fclose(f);
	assert_true(emitted > 1);
	assert_int_equal(found, emitted);
}

static void metrics_without_memory_are_not_made(void **state)
{
	static const struct metric_row one[] = { { "stile_x_total", METRIC_COUNTER, "X.", NULL, NULL, NULL } };
	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		struct metrics *m = NULL;
		int r = metrics_new(one, 1, 2, &m);
		assert_int_equal(r, oom_hit() ? -ENOMEM : 0);
		metrics_free(m);
	}
}

static void name_nothing(const char *path, void *arg)
{
	(void)path;
	(void)arg;
}

/* A setting made, laid under the file, described. */
static int settings_once(const char *path)
{
	json_t *v = json_pack("[{s:s, s:i}]", "name", "a", "secret", 5), *piece = NULL, *all = NULL, *shown = NULL;
	struct cfg *c = NULL;
	char err[256];
	int r = v ? cfg_setting(&root, "users", v, &piece, err, sizeof(err)) : -ENOMEM;

	if (r == 0) {
		all = json_object();
		r = json_object_set(all, "users", piece) < 0 ? -ENOMEM : cfg_load_over(path, &root, all, &c);
	}
	if (r == 0)
		r = cfg_describe(c, "", &shown);
	if (r == 0) {
		cfg_name_files(c, name_nothing, NULL);
		assert_int_equal(json_array_size(shown), 7);
	}
	json_decref(v);
	json_decref(piece);
	json_decref(all);
	json_decref(shown);
	cfg_free(c);
	return r;
}

static void settings_without_memory_are_enomem_and_not_half_there(void **state)
{
	char path[96];
	bool hit = true;

	(void)state;
	snprintf(path, sizeof(path), "%s/s.yaml", folder);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs("text: x\n", f);
	fclose(f);
	for (unsigned n = 1; hit; n++) {
		oom_arm(n);
		int r = settings_once(path);
		hit = oom_hit();
		oom_arm(0);
		assert_int_equal(r, hit ? -ENOMEM : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_load_without_memory_is_enomem_and_not_a_configuration, make_folder, remove_folder),
		cmocka_unit_test(a_bad_file_without_memory_is_never_taken_for_a_good_one),
		cmocka_unit_test(a_value_without_memory_is_not_called_bad),
		cmocka_unit_test_setup_teardown(settings_without_memory_are_enomem_and_not_half_there, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(a_log_that_cannot_open_says_so_and_an_open_one_stays, make_folder, remove_folder),
		cmocka_unit_test(metrics_without_memory_are_not_made),
	};
	return cmocka_run_group_tests_name("oom config", tests, NULL, NULL);
}
