/* SPDX-License-Identifier: Apache-2.0 */
/* The differences that a reload tells: what is named, with which values, and what of secrets. */
#include <stdio.h>
#include <string.h>
#include "common/config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct person {
	char *name, *password;
	uint64_t age;
};
struct pair {
	uint64_t left;
};
struct log_part {
	char *dir;
};
struct all {
	char *title, *secret;
	uint64_t limit, period;
	struct cfg_list ports, people, pairs;
	struct log_part *log;
};

static const struct cfg_row person_rows[] = {
	{ .name = "name", .type = &cfg_string, CFG_AT(struct person, name), .flags = CFG_REQUIRED | CFG_RELOAD, .help = "Name." },
	{ .name = "password", .type = &cfg_string, CFG_AT(struct person, password), .flags = CFG_SECRET | CFG_RELOAD, .help = "Word." },
	{ .name = "age", .type = &cfg_u64, CFG_AT(struct person, age), .flags = CFG_RELOAD, .def = "20", .help = "Age." },
};
static const struct cfg_schema person_schema = { "people", person_rows, ARRAY_LEN(person_rows), sizeof(struct person) };
static const struct cfg_row pair_rows[] = {
	{ .name = "left", .type = &cfg_u64, CFG_AT(struct pair, left), .flags = CFG_RELOAD, .help = "Left." },
};
static const struct cfg_schema pair_schema = { "pairs", pair_rows, ARRAY_LEN(pair_rows), sizeof(struct pair) };
static const struct cfg_row log_rows[] = {
	{ .name = "dir", .type = &cfg_string, CFG_AT(struct log_part, dir), .flags = CFG_RELOAD, .help = "Folder." },
};
static const struct cfg_schema log_schema = { "log", log_rows, ARRAY_LEN(log_rows), sizeof(struct log_part) };
static const struct cfg_row all_rows[] = {
	{ .name = "title", .type = &cfg_string, CFG_AT(struct all, title), .def = "Stile", .help = "Title." },
	{ .name = "secret", .type = &cfg_string, CFG_AT(struct all, secret), .flags = CFG_SECRET | CFG_RELOAD, .help = "Secret." },
	{ .name = "limit", .type = &cfg_count, CFG_AT(struct all, limit), .flags = CFG_RELOAD, .min = 1, .help = "Limit." },
	{ .name = "period", .type = &cfg_duration, CFG_AT(struct all, period), .flags = CFG_RELOAD, .def = "10s", .help = "Time." },
	{ .name = "ports", .type = &cfg_u64, CFG_AT(struct all, ports), .flags = CFG_LIST, .help = "Ports." },
	{ .name = "people", .sub = &person_schema, CFG_AT(struct all, people), .flags = CFG_LIST | CFG_RELOAD, .help = "People." },
	{ .name = "pairs", .sub = &pair_schema, CFG_AT(struct all, pairs), .flags = CFG_LIST | CFG_RELOAD, .help = "Pairs." },
	{ .name = "log", .sub = &log_schema, CFG_AT(struct all, log), .flags = CFG_OPTIONAL_MAP | CFG_RELOAD, .help = "Log." },
};
static const struct cfg_schema all_schema = { "all", all_rows, ARRAY_LEN(all_rows), sizeof(struct all) };
static const struct cfg_root root = { &all_schema, NULL };

static int note(const struct cfg_change *ch, void *arg)
{
	struct sb *b = arg;

	sb_fmt(b, "%s %s", ch->key, ch->what);
	if (ch->was)
		sb_fmt(b, " %s > %s", ch->was, ch->is);
	sb_str(b, ch->restart ? " restart\n" : "\n");
	return 0;
}

static struct cfg *load(const char *yaml)
{
	struct cfg *c = NULL;

	assert_int_equal(cfg_load_text(text_of(yaml), "t.yaml", &root, &c), 0);
	return c;
}

static void assert_diff(const char *was, const char *is, const char *expected)
{
	_cleanup_(cfg_freep) struct cfg *a = load(was), *b = load(is);
	char told[4096] = "";
	struct sb out = sb_init(told, sizeof(told));

	assert_int_equal(cfg_diff(a, b, note, &out), 0);
	assert_string_equal(told, expected);
}

static void the_same_file_differs_in_nothing(void **state)
{
	const char *yaml = "title: a\nsecret: s\nlimit: 3\nports: [1, 2]\npeople: [ { name: bob, password: x } ]\nlog: { dir: d }\n";

	(void)state;
	assert_diff(yaml, yaml, "");
	assert_diff("", "", "");
	assert_diff("", "title: Stile\nperiod: 10000ms\n", ""); /* the default, written out */
}

static void a_value_is_told_as_it_would_be_written(void **state)
{
	(void)state;
	assert_diff("", "period: 2m\n", "period changed 10s > 2m\n");
	assert_diff("limit: 3\n", "limit: unlimited\n", "limit changed 3 > unlimited\n");
	assert_diff("", "limit: 3\n", "limit changed not set > 3\n");
	assert_diff("limit: 3\n", "", "limit changed 3 > not set\n");
}

static void what_needs_a_restart_says_so(void **state)
{
	(void)state;
	assert_diff("title: a\n", "title: b\n", "title changed a > b restart\n");
	assert_diff("ports: [1]\n", "ports: [1, 2]\n", "ports changed [1] > [1, 2] restart\n");
	assert_diff("ports: [1, 3]\n", "ports: [1, 2]\n", "ports changed [1, 3] > [1, 2] restart\n");
}

static void of_a_secret_only_the_change_is_told(void **state)
{
	(void)state;
	assert_diff("secret: old\n", "secret: new\n", "secret changed\n");
	assert_diff("", "secret: new\n", "secret changed\n");
	assert_diff("people: [ { name: bob, password: x } ]\n", "people: [ { name: bob, password: y } ]\n",
		    "people[bob].password changed\n");
}

static void items_are_told_apart_by_their_names(void **state)
{
	(void)state;
	assert_diff("people: [ { name: ann }, { name: bob }, { name: cat, age: 3 } ]\n",
		    "people: [ { name: ann }, { name: cat, age: 4 }, { name: dan } ]\n",
		    "people[bob] removed\npeople[dan] added\npeople[cat].age changed 3 > 4\n");
	assert_diff("people: [ { name: ann }, { name: bob } ]\n", "people: [ { name: bob }, { name: ann } ]\n",
		    "people in another order\n");
	assert_diff("", "people: [ { name: ann } ]\n", "people[ann] added\n");
	assert_diff("people: [ { name: ann } ]\n", "", "people[ann] removed\n");
}

static void items_without_names_are_told_apart_by_their_places(void **state)
{
	(void)state;
	assert_diff("pairs: [ { left: 1 }, { left: 2 } ]\n", "pairs: [ { left: 1 }, { left: 3 }, { left: 4 } ]\n",
		    "pairs[2] added\npairs[1].left changed 2 > 3\n");
	assert_diff("pairs: [ { left: 1 }, { left: 2 } ]\n", "pairs: [ { left: 1 } ]\n", "pairs[1] removed\n");
}

static void a_map_that_comes_or_goes_is_told_by_its_keys(void **state)
{
	(void)state;
	assert_diff("", "log: { dir: d }\n", "log.dir changed not set > d\n");
	assert_diff("log: { dir: d }\n", "", "log.dir changed d > not set\n");
	assert_diff("log: { dir: d }\n", "log: { dir: e }\n", "log.dir changed d > e\n");
}

static void a_long_value_is_cut_but_compared_as_a_whole(void **state)
{
	char a[700], b[700];

	(void)state;
	snprintf(a, sizeof(a), "title: %0600d\n", 1);
	snprintf(b, sizeof(b), "title: %0600d\n", 2);
	_cleanup_(cfg_freep) struct cfg *was = load(a), *is = load(b);
	char told[2048] = "";
	struct sb out = sb_init(told, sizeof(told));

	assert_int_equal(cfg_diff(was, is, note, &out), 0);
	assert_true(strncmp(told, "title changed 000", 17) == 0);
	assert_non_null(strstr(told, "…"));
	assert_true(strlen(told) < 600);
}

static int refuse(const struct cfg_change *ch, void *arg)
{
	(void)ch;
	++*(int *)arg;
	return -7;
}

static void the_first_refusal_of_the_receiver_ends_it(void **state)
{
	_cleanup_(cfg_freep) struct cfg *was = load("title: a\npeople: [ { name: ann } ]\n");
	_cleanup_(cfg_freep) struct cfg *is = load("title: b\npeople: [ { name: bob } ]\n");
	int calls = 0;

	(void)state;
	assert_int_equal(cfg_diff(was, is, refuse, &calls), -7);
	assert_int_equal(calls, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_file_differs_in_nothing),
		cmocka_unit_test(a_value_is_told_as_it_would_be_written),
		cmocka_unit_test(what_needs_a_restart_says_so),
		cmocka_unit_test(of_a_secret_only_the_change_is_told),
		cmocka_unit_test(items_are_told_apart_by_their_names),
		cmocka_unit_test(items_without_names_are_told_apart_by_their_places),
		cmocka_unit_test(a_map_that_comes_or_goes_is_told_by_its_keys),
		cmocka_unit_test(a_long_value_is_cut_but_compared_as_a_whole),
		cmocka_unit_test(the_first_refusal_of_the_receiver_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
