/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings under a file: who wins, which key an error is about, what a value may be, and what a page of settings is told. Every
 * list and map of the schema is small, for the types have tests of their own.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/config.h"

struct user {
	char *name, *password;
};
struct part {
	uint64_t number;
	struct cfg_list users, hosts;
	char *secret, *key;
};
struct all {
	struct part one, *two;
};

/* clang-format off */
static const struct cfg_row user_rows[] = {
	{ .name = "name", .type = &cfg_string, CFG_AT(struct user, name), .flags = CFG_REQUIRED, .help = "h" },
	{ .name = "password", .type = &cfg_string, CFG_AT(struct user, password), .flags = CFG_SECRET, .help = "h" },
};
static const struct cfg_schema user_schema = { "one.users", user_rows, ARRAY_LEN(user_rows), sizeof(struct user) };
static const struct cfg_row part_rows[] = {
	{ .name = "number", .type = &cfg_u64, CFG_AT(struct part, number), .min = 1, .max = 9, .def = "5", .unit = "things", .flags = CFG_RELOAD, .help = "How many." },
	{ .name = "users", .sub = &user_schema, CFG_AT(struct part, users), .flags = CFG_LIST, .help = "h" },
	{ .name = "hosts", .type = &cfg_hostport, CFG_AT(struct part, hosts), .flags = CFG_LIST, .default_port = 1, .help = "h" },
	{ .name = "secret", .type = &cfg_string, CFG_AT(struct part, secret), .flags = CFG_SECRET, .help = "h" },
	{ .name = "key", .type = &cfg_path, CFG_AT(struct part, key), .help = "h" },
};
static const struct cfg_schema part_schema = { "part", part_rows, ARRAY_LEN(part_rows), sizeof(struct part) };
static const struct cfg_row all_rows[] = {
	{ .name = "one", .sub = &part_schema, CFG_AT(struct all, one), .help = "h" },
	{ .name = "two", .sub = &part_schema, CFG_AT(struct all, two), .flags = CFG_OPTIONAL_MAP, .help = "h" },
};
static const struct cfg_schema schema = { "", all_rows, ARRAY_LEN(all_rows), sizeof(struct all) };
/* clang-format on */
static const struct cfg_root root = { &schema, NULL };

static char dir[64], file_path[96];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/stile-settings-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(file_path, sizeof(file_path), "%s/stile.yaml", dir);
	return 0;
}

static int remove_dir(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* settings: key, value as JSON, … NULL */
static struct cfg *load(const char *yaml, const char *const *settings)
{
	FILE *f = fopen(file_path, "w");
	json_t *all = json_object();
	struct cfg *c = NULL;
	char err[256] = "";

	assert_non_null(f);
	fputs(yaml, f);
	fclose(f);
	for (; settings && *settings; settings += 2) {
		json_t *v = json_loads(settings[1], JSON_DECODE_ANY, NULL), *piece = NULL;
		if (cfg_setting(&root, settings[0], v, &piece, err, sizeof(err)))
			fail_msg("%s", err);
		json_object_set_new(all, settings[0], piece);
		json_decref(v);
	}
	(void)cfg_load_over(file_path, &root, all, &c);
	json_decref(all);
	assert_non_null(c);
	return c;
}
#define LOAD(yaml, ...) load(yaml, (const char *const[]){ __VA_ARGS__, NULL })

static const struct all *all_of(const struct cfg *c)
{
	return cfg_values(c);
}

static void assert_from(const struct cfg *c, const char *key, enum cfg_from want)
{
	const char *file;
	unsigned line;

	assert_int_equal(cfg_from(c, key, &file, &line), want);
}

static void what_the_file_sets_wins_and_the_rest_is_filled(void **state)
{
	struct cfg *c;

	(void)state;
	c = LOAD("one:\n  number: 2\n  users: []\n  secret_file: x\n", "one.number", "7", "one.users", "[{\"name\": \"a\"}]", "one.hosts",
		 "[\"h:5\"]", "one.secret", "\"s\"", "two.number", "8", "one.key", "\"k.pem\"");
	assert_int_equal(cfg_n_errors(c), 1); /* that x is not there, and not that the secret is there twice */
	assert_int_equal(all_of(c)->one.number, 2);
	assert_int_equal(all_of(c)->one.users.n, 0);
	assert_int_equal(all_of(c)->one.hosts.n, 1);
	assert_int_equal(all_of(c)->two->number, 8);
	assert_non_null(strstr(all_of(c)->one.key, dir)); /* relative as in the file */
	assert_from(c, "one.number", CFG_FROM_FILE);
	assert_from(c, "one.hosts", CFG_FROM_SETTING);
	assert_from(c, "two.number", CFG_FROM_SETTING);
	assert_from(c, "two.hosts", CFG_FROM_DEFAULT);
	cfg_free(c);
	c = LOAD("one:\n", "one.number", "7"); /* a key with nothing behind it */
	assert_int_equal(all_of(c)->one.number, 7);
	cfg_free(c);
	c = LOAD("", "one.number", "7");
	assert_int_equal(all_of(c)->one.number, 7);
	cfg_free(c);
	c = LOAD("one: text\n", "one.number", "7"); /* the file's fault alone */
	assert_int_equal(cfg_n_errors(c), 1);
	assert_int_equal(cfg_error(c, 0)->line, 1);
	cfg_free(c);
	c = LOAD("one: [\n", "one.number", "7");
	assert_int_equal(cfg_n_errors(c), 1);
	cfg_free(c);
}

static void an_error_knows_its_key_wherever_it_comes_from(void **state)
{
	static const char *const keys[] = { "one.users[1].nmae", "one.hosts[0]", "two.number" };
	struct cfg *c;
	size_t found = 0;

	(void)state;
	c = LOAD("one: { number: 99 }\n", "one.users", "[{\"name\": \"a\"}, {\"name\": \"b\", \"nmae\": \"c\"}]", "one.hosts", "[\"a b\"]", "two.number", "10");
	assert_int_equal(cfg_n_errors(c), 4);
	for (size_t i = 0; i < 4; i++)
		for (size_t k = 0; k < ARRAY_LEN(keys); k++)
			found += strcmp(cfg_error(c, i)->key.s, keys[k]) == 0;
	assert_int_equal(found, 3);
	assert_string_equal(cfg_error(c, 0)->key.s, "one.number"); /* files first */
	cfg_add_error(c, "two.key", "is missed");
	found = 0;
	for (size_t i = 0; i < cfg_n_errors(c); i++)
		found += strcmp(cfg_error(c, i)->key.s, "two.key") == 0;
	assert_int_equal(found, 1);
	cfg_free(c);
}

/* A page and a terminal are told of it. */
static void a_key_that_nobody_knows_is_shown_as_text(void **state)
{
	char yaml[700] = "one:\n  \"";
	struct cfg *c;

	(void)state;
	for (size_t i = 0; i < 300; i++)
		strcat(yaml, "é");
	strcat(yaml, "\": 1\n  \"\\e[2J\": 1\n");
	c = LOAD(yaml, NULL);
	assert_int_equal(cfg_n_errors(c), 2);
	for (size_t i = 0; i < 2; i++) {
		struct text key = text_of(cfg_error(c, i)->key.s);
		assert_true(text_starts(key, TEXT("one.")));
		assert_true(text_is_utf8(key));
		assert_null(memchr(key.p, 0x1b, key.n));
	}
	cfg_free(c);
}

static void assert_refused(const char *key, const char *json, const char *part)
{
	json_t *v = json_loads(json, JSON_DECODE_ANY, NULL), *piece = NULL;
	char err[256] = "";

	assert_int_equal(cfg_setting(&root, key, v, &piece, err, sizeof(err)), -EINVAL);
	if (!strstr(err, part))
		fail_msg("no \"%s\" in: %s", part, err);
	json_decref(v);
}

static void a_setting_is_a_key_with_a_value_and_nothing_else(void **state)
{
	json_t *piece = NULL, *v = json_pack("[i, b, s, f]", 5, 1, "x", 0.5);
	char err[256], *text;

	(void)state;
	assert_int_equal(cfg_setting(&root, "one.hosts", v, &piece, err, sizeof(err)), 0);
	text = json_dumps(piece, JSON_COMPACT);
	assert_string_equal(text, "{\"one\":{\"hosts\":[\"5\",\"true\",\"x\",\"0.5\"]}}");
	free(text);
	json_decref(piece);
	json_decref(v);
	assert_refused("one.numbre", "1", "did you mean 'number'");
	assert_refused("three", "1", "no key 'three'");
	assert_refused("one", "1", "is a map");
	assert_refused("one.users.name", "1", "is set as a whole");
	assert_refused("one.number.x", "1", "one value");
	assert_refused("one.", "1", "no key ''");
	assert_refused("", "1", "no key");
	assert_refused("one.number", "null", "must have a value");
	assert_refused("one.hosts", "[null]", "must have a value");
}

static void a_page_is_told_value_place_and_row(void **state)
{
	struct cfg *c = LOAD("one:\n  number: 2\n  secret: hush\n", "one.users", "[{\"name\": \"a\", \"password\": \"hush\"}]");
	json_t *rows = NULL, *row;
	char *text;

	(void)state;
	assert_int_equal(cfg_describe(c, "one", &rows), 0);
	assert_int_equal(json_array_size(rows), 5);
	row = json_array_get(rows, 0);
	assert_string_equal(json_string_value(json_object_get(row, "path")), "one.number");
	assert_string_equal(json_string_value(json_object_get(row, "value")), "2");
	assert_string_equal(json_string_value(json_object_get(row, "file")), file_path);
	assert_int_equal(json_integer_value(json_object_get(row, "line")), 2);
	assert_int_equal(json_integer_value(json_object_get(row, "max")), 9);
	assert_string_equal(json_string_value(json_object_get(row, "unit")), "things");
	assert_true(json_is_true(json_object_get(row, "locked")) && json_is_true(json_object_get(row, "reload")));
	row = json_array_get(rows, 1);
	assert_string_equal(json_string_value(json_object_get(row, "source")), "store");
	assert_int_equal(json_array_size(json_object_get(row, "columns")), 2);
	text = json_dumps(rows, 0);
	assert_null(strstr(text, "hush"));
	free(text);
	json_decref(rows);
	assert_int_equal(cfg_describe(c, "two", &rows), 0); /* a map that is not there has its keys all the same */
	assert_true(json_is_null(json_object_get(json_array_get(rows, 0), "value")));
	json_decref(rows);
	assert_int_equal(cfg_describe(c, "", &rows), 0);
	assert_int_equal(json_array_size(rows), 10);
	json_decref(rows);
	cfg_free(c);
}

static void a_long_list_is_shown_by_its_beginning(void **state)
{
	char list[8192] = "[\"h:1\"";
	json_t *rows = NULL;
	struct cfg *c;

	(void)state;
	for (int i = 0; i < 600; i++)
		strcat(list, ",\"h:1\"");
	strcat(list, "]");
	c = LOAD("", "one.hosts", list);
	assert_int_equal(cfg_describe(c, "one.hosts", &rows), 0);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 0), "cut")), 601);
	assert_int_equal(json_array_size(json_object_get(json_array_get(rows, 0), "value")), 500);
	json_decref(rows);
	cfg_free(c);
}

static void count(const char *name, void *arg)
{
	(*(int *)arg) += strstr(name, "stile.yaml") != NULL || strstr(name, "/k.pem") != NULL || strstr(name, "/s.txt") != NULL;
}

static void the_files_of_a_configuration_are_named(void **state)
{
	struct cfg *c = LOAD("one:\n  secret_file: s.txt\n", "two.key", "\"k.pem\"");
	int n = 0;

	(void)state;
	cfg_name_files(c, count, &n);
	assert_int_equal(n, 3);
	cfg_free(c);
}

#define IN_DIR(t) cmocka_unit_test_setup_teardown(t, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(what_the_file_sets_wins_and_the_rest_is_filled),
		IN_DIR(an_error_knows_its_key_wherever_it_comes_from),
		IN_DIR(a_key_that_nobody_knows_is_shown_as_text),
		cmocka_unit_test(a_setting_is_a_key_with_a_value_and_nothing_else),
		IN_DIR(a_page_is_told_value_place_and_row),
		IN_DIR(a_long_list_is_shown_by_its_beginning),
		IN_DIR(the_files_of_a_configuration_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
