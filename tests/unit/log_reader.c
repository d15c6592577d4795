/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a log again: the last lines over rotated files, what came since a cursor through a rotation, pages backwards that
 * lose and double nothing, the filters, chunks, deleting, and the same of a folder of records; cursors and files that somebody has tampered with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/folder_reader.h"
#include "common/log_reader.h"

struct world {
	char dir[64];
	struct log_query q;
};

static const char *path_of(const struct world *w, const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", w->dir, file);
	return path;
}

static void put(const struct world *w, const char *file, const char *text)
{
	int fd = open(path_of(w, file), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/tmp/stile-log-reader-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->q = (struct log_query){ .place = { w->dir, "stile-turn" }, .level = LOG_LVL_TRACE };
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = { "stile-turn.log", "stile-turn.log.1", "stile-turn.log.2", "stile-turn.log.9", "stile-turn@lab.log",
					     "stile-turn.log.x", "secret" };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		unlink(path_of(w, files[i]));
	assert_int_equal(rmdir(w->dir), 0);
	free(w);
	return 0;
}

static json_t *lines(const struct world *w)
{
	json_t *j = NULL;

	assert_int_equal(log_read_lines(&w->q, &j), 0);
	return j;
}

static const char *line_at(const json_t *j, size_t i)
{
	const char *s = json_string_value(json_array_get(json_object_get(j, "rows"), i));

	return s ? s : "(none)";
}

static size_t count(const json_t *j)
{
	return json_array_size(json_object_get(j, "rows"));
}

static const char *cursor(const json_t *j, const char *key)
{
	return json_string_value(json_object_get(j, key));
}

/* a1 … a<n> */
static void put_many(const struct world *w, const char *file, const char *prefix, unsigned n)
{
	FILE *f = fopen(path_of(w, file), "ae");

	assert_non_null(f);
	for (unsigned i = 1; i <= n; i++)
		fprintf(f, "2026-11-28T00:00:00.000Z info x.y %s%u and some words to fill the line up\n", prefix, i);
	assert_int_equal(fclose(f), 0);
}

static void the_last_lines_go_on_in_the_files_that_were_put_aside(void **state)
{
	struct world *w = *state;
	json_t *j;

	put(w, "stile-turn.log.2", "a\nb\n");
	put(w, "stile-turn.log.1", "c\n");
	put(w, "stile-turn.log", "d\ne\nhalf");
	put(w, "stile-turn@lab.log", "another instance\n");
	put(w, "stile-turn.log.x", "no file of ours\n");
	w->q.lines = 4;
	j = lines(w);
	assert_int_equal(count(j), 4);
	assert_string_equal(line_at(j, 0), "b");
	assert_string_equal(line_at(j, 3), "e"); /* what has no end yet is not there yet */
	assert_true(json_is_true(json_object_get(j, "more")));
	json_decref(j);
	w->q.lines = 100;
	j = lines(w);
	assert_int_equal(count(j), 5);
	assert_false(json_is_true(json_object_get(j, "more")));
	json_decref(j);
}

static void what_came_since_is_found_through_a_rotation(void **state)
{
	struct world *w = *state;
	char next[64], old[256];
	json_t *j;

	put(w, "stile-turn.log", "a\nb\nhal");
	j = lines(w);
	snprintf(next, sizeof(next), "%s", cursor(j, "next"));
	json_decref(j);
	w->q.after = next;
	j = lines(w);
	assert_int_equal(count(j), 0);
	json_decref(j);
	put(w, "stile-turn.log", "f\nc\n");
	snprintf(old, sizeof(old), "%s", path_of(w, "stile-turn.log"));
	assert_int_equal(rename(old, path_of(w, "stile-turn.log.1")), 0);
	put(w, "stile-turn.log", "d\n");
	j = lines(w);
	assert_int_equal(count(j), 3);
	assert_string_equal(line_at(j, 0), "half");
	assert_string_equal(line_at(j, 1), "c");
	assert_string_equal(line_at(j, 2), "d");
	assert_false(json_is_true(json_object_get(j, "lost")));
	snprintf(next, sizeof(next), "%s", cursor(j, "next"));
	json_decref(j);
	assert_int_equal(truncate(path_of(w, "stile-turn.log"), 0), 0); /* emptied at midnight */
	assert_int_equal(unlink(path_of(w, "stile-turn.log.1")), 0);
	put(w, "stile-turn.log", "e\n");
	j = lines(w);
	assert_int_equal(count(j), strcmp(line_at(j, 0), "e") == 0 ? 1 : 0); /* as long as before: nobody can tell; else all of it */
	json_decref(j);
}

static void pages_backwards_lose_and_double_nothing(void **state)
{
	struct world *w = *state;
	char before[64] = "", expected[32];
	unsigned left = 5000;
	json_t *j;

	put_many(w, "stile-turn.log.1", "n", 2000); /* several blocks */
	put_many(w, "stile-turn.log", "m", 3000);
	w->q.lines = 77;
	for (;;) {
		w->q.before = before[0] ? before : NULL;
		j = lines(w);
		for (size_t i = count(j); i > 0; i--, left--) {
			snprintf(expected, sizeof(expected), " %c%u ", left > 2000 ? 'm' : 'n', left > 2000 ? left - 2000 : left);
			assert_non_null(strstr(line_at(j, i - 1), expected));
		}
		snprintf(before, sizeof(before), "%s", cursor(j, "first"));
		if (!count(j))
			break;
		json_decref(j);
	}
	json_decref(j);
	assert_int_equal(left, 0);
}

static void pages_forwards_lose_and_double_nothing(void **state)
{
	struct world *w = *state;
	char after[64], expected[32];
	unsigned seen = 0;
	struct stat st;
	json_t *j;
	size_t n;

	put_many(w, "stile-turn.log.1", "n", 2000);
	put_many(w, "stile-turn.log", "m", 3000);
	assert_int_equal(stat(path_of(w, "stile-turn.log.1"), &st), 0);
	snprintf(after, sizeof(after), "%llu:0", (unsigned long long)st.st_ino);
	w->q.lines = 99;
	w->q.after = after;
	do {
		j = lines(w);
		for (size_t i = 0; i < count(j); i++) {
			seen++;
			snprintf(expected, sizeof(expected), " %c%u ", seen > 2000 ? 'm' : 'n', seen > 2000 ? seen - 2000 : seen);
			assert_non_null(strstr(line_at(j, i), expected));
		}
		snprintf(after, sizeof(after), "%s", cursor(j, "next"));
		n = count(j);
		json_decref(j);
	} while (n);
	assert_int_equal(seen, 5000);
}

/* Files are read in blocks of 64 KiB: here a page is full with the last line of one. */
static void a_page_full_at_the_end_of_a_block_loses_nothing(void **state)
{
	enum { LINE = 64, LINES = 4096, PAGE = 1024 };
	struct world *w = *state;
	FILE *f = fopen(path_of(w, "stile-turn.log"), "we");
	char after[64];
	struct stat st;
	json_t *j;

	assert_non_null(f);
	for (unsigned i = 0; i < LINES; i++)
		fprintf(f, "%0*u\n", LINE - 1, i);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(stat(path_of(w, "stile-turn.log"), &st), 0);
	snprintf(after, sizeof(after), "%llu:0", (unsigned long long)st.st_ino);
	w->q.lines = PAGE;
	w->q.after = after;
	for (unsigned page = 0; page < LINES / PAGE; page++) {
		j = lines(w);
		assert_int_equal(count(j), PAGE);
		assert_int_equal(strtoul(line_at(j, 0), NULL, 10), page * PAGE);
		snprintf(after, sizeof(after), "%s", cursor(j, "next"));
		json_decref(j);
	}
	w->q.after = NULL; /* it is of this function */
}

static void filters_look_at_the_level_and_for_words(void **state)
{
	struct world *w = *state;
	json_t *j;

	put(w, "stile-turn.log",
	    "2026-11-28T00:00:00.000Z error a.b bad thing user=alice\n"
	    "2026-11-28T00:00:00.000Z warn a.b odd thing user=Bob\n"
	    "2026-11-28T00:00:00.000Z info a.b thing user=bob\n"
	    "{\"time\":\"2026\",\"level\":\"debug\",\"user\":\"bob\"}\n"
	    "==12==ERROR: AddressSanitizer\n");
	w->q.level = LOG_LVL_WARN;
	j = lines(w);
	assert_int_equal(count(j), 3); /* what has no level is a fault */
	json_decref(j);
	w->q.level = LOG_LVL_TRACE;
	w->q.match = "BOB";
	j = lines(w);
	assert_int_equal(count(j), 3);
	json_decref(j);
	w->q.level = LOG_LVL_INFO;
	j = lines(w);
	assert_int_equal(count(j), 2);
	json_decref(j);
	w->q.match = "nobody at all";
	j = lines(w);
	assert_int_equal(count(j), 0);
	json_decref(j);
}

static void bad_cursors_and_strange_files_do_no_harm(void **state)
{
	static const char *const bad[] = { "", ":", "1", "1:", ":1", "a:b", "1:2:3", "-1:0", "99999999999999999999:1", "1:99999999999999999999" };
	struct world *w = *state;
	json_t *j = NULL;

	put(w, "stile-turn.log", "a\n");
	put(w, "secret", "passwords\n");
	assert_int_equal(symlink("secret", path_of(w, "stile-turn.log.1")), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		w->q.after = bad[i];
		assert_int_equal(log_read_lines(&w->q, &j), -EINVAL);
	}
	w->q.after = "18446744073709551615:0";
	j = lines(w); /* a file that is there no more */
	assert_true(json_is_true(json_object_get(j, "lost")));
	assert_int_equal(count(j), 1);
	json_decref(j);
	w->q.after = NULL;
	put(w, "stile-turn.log", "\xff\xfe \xc3\n\n");
	j = lines(w);
	assert_int_equal(count(j), 2);
	assert_string_equal(line_at(j, 1), "?? ?");
	json_decref(j);
	w->q.place.dir = "/nonexistent";
	assert_int_equal(log_read_lines(&w->q, &j), -ENOENT);
}

static void a_line_without_an_end_is_passed_over(void **state)
{
	struct world *w = *state;
	static char big[200000];
	struct stat st;
	char after[64];
	json_t *j;

	memset(big, 'x', sizeof(big) - 1);
	put(w, "stile-turn.log", big);
	put(w, "stile-turn.log", "\nlast\n");
	j = lines(w);
	assert_string_equal(line_at(j, count(j) - 1), "last");
	json_decref(j);
	assert_int_equal(stat(path_of(w, "stile-turn.log"), &st), 0);
	snprintf(after, sizeof(after), "%llu:0", (unsigned long long)st.st_ino);
	w->q.after = after;
	j = lines(w);
	assert_string_equal(line_at(j, count(j) - 1), "last");
	json_decref(j);
}

static void chunks_are_of_listed_files_only(void **state)
{
	struct world *w = *state;
	struct log_chunk c = { .place = w->q.place, .file = "stile-turn.log", .offset = 1, .n = 3 };
	json_t *j = NULL;

	put(w, "stile-turn.log", "abcdef");
	put(w, "secret", "passwords\n");
	assert_int_equal(log_read_chunk(&c, &j), 0);
	assert_string_equal(json_string_value(json_object_get(j, "data")), "YmNk");
	assert_int_equal(json_integer_value(json_object_get(j, "size")), 6);
	json_decref(j);
	c.offset = 6;
	assert_int_equal(log_read_chunk(&c, &j), 0);
	assert_string_equal(json_string_value(json_object_get(j, "data")), "");
	json_decref(j);
	c.file = "secret";
	assert_int_equal(log_read_chunk(&c, &j), -ENOENT);
	c.file = "../stile-turn.log";
	assert_int_equal(log_read_chunk(&c, &j), -ENOENT);
}

static void deleting_empties_the_current_file_and_removes_the_others(void **state)
{
	struct world *w = *state;
	struct stat st;
	json_t *j = NULL;

	put(w, "stile-turn.log", "now\n");
	put(w, "stile-turn.log.1", "before\n");
	put(w, "secret", "passwords\n");
	assert_int_equal(log_delete(&w->q.place, "secret", 0, &j), -ENOENT);
	assert_int_equal(log_delete(&w->q.place, "../secret", 0, &j), -ENOENT);
	assert_int_equal(log_delete(&w->q.place, NULL, 1000, &j), 0); /* nothing is so old */
	assert_int_equal(json_array_size(json_object_get(j, "deleted")), 0);
	json_decref(j);
	assert_int_equal(log_delete(&w->q.place, NULL, 0, &j), 0);
	assert_int_equal(json_array_size(json_object_get(j, "deleted")), 2);
	assert_int_equal(json_integer_value(json_object_get(j, "bytes")), 11);
	json_decref(j);
	assert_int_equal(stat(path_of(w, "stile-turn.log"), &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(stat(path_of(w, "stile-turn.log.1"), &st), -1);
	assert_int_equal(stat(path_of(w, "secret"), &st), 0);
}

/* ---- folders of records ---- */

static bool is_record(const char *name)
{
	return strncmp(name, "RL", 2) == 0;
}

static void thousands_of_records_come_in_pages(void **state)
{
	enum { FILES = 3 * FOLDER_PAGE + 17 };
	struct world *w = *state;
	const struct folder f = { w->dir, is_record };
	char name[32], last[32] = "";
	json_t *page, *j;
	size_t seen = 0;

	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "RL%06u", (i * 7919u) % FILES); /* in no order */
		put(w, name, "x");
	}
	put(w, "secret", "no");
	for (bool more = true; more;) {
		assert_int_equal(folder_list(&f, last[0] ? last : NULL, &page), 0);
		json_t *rows = json_object_get(page, "rows"), *row;
		size_t i;

		assert_true(json_array_size(rows) <= FOLDER_PAGE);
		json_array_foreach(rows, i, row) {
			assert_true(strcmp(json_string_value(json_object_get(row, "name")), last) > 0);
			snprintf(last, sizeof(last), "%s", json_string_value(json_object_get(row, "name")));
			assert_true(json_is_true(json_object_get(row, "current")));
			seen++;
		}
		more = json_object_get(page, "next");
		json_decref(page);
	}
	assert_int_equal(seen, FILES);
	/* All are emptied, for they are of today; a day later they are removed. */
	assert_int_equal(folder_delete(&f, NULL, 0, &j), 0);
	assert_int_equal(json_integer_value(json_object_get(j, "bytes")), FILES);
	json_decref(j);
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "RL%06u", i);
		assert_int_equal(utimensat(AT_FDCWD, path_of(w, name), (const struct timespec[]){ { 1000, 0 }, { 1000, 0 } }, 0), 0);
	}
	assert_int_equal(folder_delete(&f, "RL000001", 0, &j), 0);
	json_decref(j);
	assert_int_equal(folder_delete(&f, "RL000001", 0, &j), -ENOENT);
	assert_int_equal(folder_delete(&f, "secret", 0, &j), -ENOENT);
	assert_int_equal(folder_read(&f, &(struct folder_chunk){ "secret", 0, 0 }, &j), -ENOENT);
	assert_int_equal(folder_read(&f, &(struct folder_chunk){ "RL/../secret", 0, 0 }, &j), -ENOENT);
	assert_int_equal(folder_delete(&f, NULL, 1000, &j), 0); /* none is so old */
	assert_int_equal(json_array_size(json_object_get(j, "deleted")), 0);
	json_decref(j);
	assert_int_equal(folder_delete(&f, NULL, 1001, &j), 0);
	assert_int_equal(json_array_size(json_object_get(j, "deleted")), FILES - 1);
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_last_lines_go_on_in_the_files_that_were_put_aside, setup, teardown),
		cmocka_unit_test_setup_teardown(what_came_since_is_found_through_a_rotation, setup, teardown),
		cmocka_unit_test_setup_teardown(pages_backwards_lose_and_double_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(pages_forwards_lose_and_double_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_page_full_at_the_end_of_a_block_loses_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(filters_look_at_the_level_and_for_words, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_cursors_and_strange_files_do_no_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(a_line_without_an_end_is_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(chunks_are_of_listed_files_only, setup, teardown),
		cmocka_unit_test_setup_teardown(thousands_of_records_come_in_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(deleting_empties_the_current_file_and_removes_the_others, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
