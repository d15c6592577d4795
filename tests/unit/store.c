/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as services use it: calls and outcomes through a loop, what revisions refuse, undo, audit,
 * the files it must not open, a full disk. What a killed process leaves is in store_crash.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "tests/unit/store_world.h"

static int open_store(struct world *w, char *err)
{
	return store_open(&(struct store_options){ .path = w->path }, err, 256, &w->store);
}

static int setup(void **state)
{
	struct world *w = world_new();
	char err[256] = "";

	if (open_store(w, err))
		fail_msg("%s", err);
	*state = w;
	return 0;
}

static json_t *body(int n)
{
	return json_pack("{s:i}", "n", n);
}

static int put(struct world *w, const char *key, uint64_t revision, int n)
{
	return wait_for(w, store_put(w->store, CALL(w, "uid 0 (root)"), "user", key, revision, body(n)));
}

static int del(struct world *w, const char *key, uint64_t revision)
{
	return wait_for(w, store_delete(w->store, CALL(w, "uid 0 (root)"), "user", key, revision));
}

static int undo(struct world *w, uint64_t audit)
{
	return wait_for(w, store_undo(w->store, CALL(w, "console alice"), audit, 0, 0));
}

static void list(struct world *w, const char *after, unsigned limit, size_t want)
{
	assert_int_equal(wait_for(w, store_list(w->store, CALL(w, NULL), "user", after, limit)), STORE_OK);
	assert_int_equal(json_array_size(w->last.rows), want);
}

static const char *key_of(const struct world *w, size_t row)
{
	return json_string_value(json_object_get(json_array_get(w->last.rows, row), "key"));
}

/* The "n" of an object; -1 if it is not there. */
static json_int_t value_of(struct world *w, const char *key)
{
	size_t i;
	json_t *row;

	assert_int_equal(wait_for(w, store_list(w->store, CALL(w, NULL), "user", NULL, 1000)), STORE_OK);
	json_array_foreach(w->last.rows, i, row)
		if (strcmp(json_string_value(json_object_get(row, "key")), key) == 0)
			return json_integer_value(json_object_get(json_object_get(row, "body"), "n"));
	return -1;
}

static void reopen(struct world *w)
{
	char err[256] = "";

	w->store = store_close(w->store);
	if (open_store(w, err))
		fail_msg("%s", err);
}

/* --- changes --- */

static void a_put_is_there_after_reopening(void **state)
{
	struct world *w = *state;

	assert_int_equal(put(w, "alice", 0, 1), STORE_OK);
	assert_true(w->last.revision > 0);
	assert_int_equal(w->last.revision, w->last.audit);
	reopen(w);
	assert_int_equal(value_of(w, "alice"), 1);
}

static void a_write_names_the_revision_that_it_changes(void **state)
{
	struct world *w = *state;
	uint64_t first, second;

	assert_int_equal(put(w, "alice", 7, 1), STORE_NOT_FOUND);
	assert_int_equal(put(w, "alice", 0, 1), STORE_OK);
	first = w->last.revision;
	assert_int_equal(put(w, "alice", 0, 2), STORE_EXISTS);
	assert_int_equal(w->last.revision, 0);
	assert_int_equal(put(w, "alice", first, 2), STORE_OK);
	second = w->last.revision;
	assert_true(second > first);
	assert_int_equal(put(w, "alice", first, 3), STORE_CONFLICT);
	assert_int_equal(value_of(w, "alice"), 2);
	assert_int_equal(put(w, "alice", STORE_ANY, 4), STORE_OK);
	assert_int_equal(put(w, "bob", STORE_ANY, 5), STORE_OK);
	assert_int_equal(del(w, "alice", second), STORE_CONFLICT);
	assert_int_equal(del(w, "carol", STORE_ANY), STORE_NOT_FOUND);
	assert_int_equal(del(w, "alice", STORE_ANY), STORE_OK);
	assert_int_equal(value_of(w, "alice"), -1);
}

static void a_revision_never_comes_back(void **state)
{
	struct world *w = *state;
	uint64_t first;

	assert_int_equal(put(w, "alice", 0, 1), STORE_OK);
	first = w->last.revision;
	assert_int_equal(del(w, "alice", first), STORE_OK);
	assert_int_equal(put(w, "alice", 0, 2), STORE_OK);
	assert_int_not_equal(w->last.revision, first);
	assert_int_equal(put(w, "alice", first, 3), STORE_CONFLICT);
}

static void one_refused_change_does_not_undo_its_neighbours(void **state)
{
	struct world *w = *state;
	char key[16];

	/* Queued before the loop runs, so most of them share a transaction. */
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "k%03d", i / 2); /* every second one exists already */
		assert_int_equal(store_put(w->store, CALL(w, "test"), "user", key, 0, body(i)), 0);
		w->pending++;
	}
	assert_int_equal(loop_run(w->loop), 0);
	assert_int_equal(w->last.result, STORE_EXISTS);
	list(w, NULL, 1000, 150);
	assert_int_equal(value_of(w, "k149"), 298);
	assert_int_equal(wait_for(w, store_audit(w->store, CALL(w, NULL), 0, 1000)), STORE_OK);
	assert_int_equal(json_array_size(w->last.rows), 150); /* refused ones are not in it */
}

static void bad_arguments_are_refused_at_once(void **state)
{
	struct world *w = *state;
	char key[300];

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = 0;
	assert_int_equal(store_put(w->store, CALL(w, "test"), "user", "", 0, body(1)), -EINVAL);
	assert_int_equal(store_put(w->store, CALL(w, "test"), "user", key, 0, body(1)), -EINVAL);
	assert_int_equal(store_put(w->store, CALL(w, "test"), "user", "\xff", 0, body(1)), -EINVAL);
	assert_int_equal(store_put(w->store, CALL(w, "test"), "user", "a", 0, NULL), -ENOMEM);
	assert_int_equal(store_delete(w->store, CALL(w, "test"), "user", "a", 0), -EINVAL);
	assert_int_equal(store_undo(w->store, CALL(w, "test"), 0, 0, 0), -EINVAL);
	assert_int_equal(store_list(w->store, CALL(w, NULL), "user", NULL, 0), -EINVAL);
}

/* --- reads --- */

static void lists_come_in_pages_in_key_order(void **state)
{
	struct world *w = *state;

	for (int i = 9; i >= 0; i--)
		assert_int_equal(put(w, (char[]){ (char)('a' + i), 0 }, 0, i), STORE_OK);
	list(w, NULL, 4, 4);
	assert_string_equal(key_of(w, 0), "a");
	list(w, key_of(w, 3), 4, 4);
	assert_string_equal(key_of(w, 0), "e");
	list(w, key_of(w, 3), 4, 2);
	assert_string_equal(key_of(w, 1), "j");
	assert_int_equal(wait_for(w, store_list(w->store, CALL(w, NULL), "job", NULL, 4)), STORE_OK);
	assert_int_equal(json_array_size(w->last.rows), 0);
}

static void count_loaded(const struct store_object *o, void *arg)
{
	int *n = arg;
	char key[8];

	snprintf(key, sizeof(key), "k%d", *n);
	assert_string_equal(o->key, key);
	assert_string_equal(o->kind, "user");
	assert_int_equal(json_integer_value(json_object_get(o->body, "n")), *n);
	assert_true(o->revision > 0 && o->changed_at > 1500000000000);
	(*n)++;
}

static void all_objects_of_a_kind_are_loaded_at_start(void **state)
{
	struct world *w = *state;
	char key[8];
	int n = 0;

	for (int i = 0; i < 5; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(put(w, key, 0, i), STORE_OK);
	}
	reopen(w);
	assert_int_equal(store_load(w->store, "user", count_loaded, &n), 0);
	assert_int_equal(n, 5);
	assert_int_equal(store_load(w->store, "job", count_loaded, &n), 0);
	assert_int_equal(n, 5);
}

/* --- audit and undo --- */

static json_t *audit_row(struct world *w, uint64_t before, unsigned limit, size_t row)
{
	assert_int_equal(wait_for(w, store_audit(w->store, CALL(w, NULL), before, limit)), STORE_OK);
	return json_array_get(w->last.rows, row);
}

static void the_audit_tells_who_changed_what_from_what_to_what(void **state)
{
	struct world *w = *state;
	uint64_t second;
	json_t *row;

	assert_int_equal(put(w, "alice", 0, 1), STORE_OK);
	assert_int_equal(put(w, "alice", STORE_ANY, 2), STORE_OK);
	second = w->last.audit;
	assert_int_equal(del(w, "alice", STORE_ANY), STORE_OK);
	row = audit_row(w, 0, 10, 1);
	assert_int_equal(json_array_size(w->last.rows), 3);
	assert_int_equal(json_integer_value(json_object_get(row, "audit")), second);
	assert_string_equal(json_string_value(json_object_get(row, "who")), "uid 0 (root)");
	assert_string_equal(json_string_value(json_object_get(row, "key")), "alice");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(row, "before"), "n")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(row, "after"), "n")), 2);
	row = audit_row(w, 0, 10, 0);
	assert_true(json_is_null(json_object_get(row, "after")));
	row = audit_row(w, second, 10, 0); /* the page behind */
	assert_int_equal(json_array_size(w->last.rows), 1);
	assert_true(json_is_null(json_object_get(row, "before")));
}

static void each_kind_of_change_is_undone(void **state)
{
	struct world *w = *state;
	uint64_t created, changed, deleted;

	assert_int_equal(put(w, "alice", 0, 1), STORE_OK);
	created = w->last.audit;
	assert_int_equal(undo(w, created), STORE_OK);
	assert_int_equal(value_of(w, "alice"), -1);

	assert_int_equal(put(w, "alice", 0, 1), STORE_OK);
	assert_int_equal(put(w, "alice", STORE_ANY, 2), STORE_OK);
	changed = w->last.audit;
	assert_int_equal(undo(w, changed), STORE_OK);
	assert_int_equal(json_integer_value(json_object_get(audit_row(w, 0, 1, 0), "undoes")), changed);
	assert_int_equal(value_of(w, "alice"), 1);

	assert_int_equal(del(w, "alice", STORE_ANY), STORE_OK);
	deleted = w->last.audit;
	assert_int_equal(undo(w, deleted), STORE_OK);
	assert_int_equal(value_of(w, "alice"), 1);
	assert_int_equal(undo(w, w->last.audit ? w->last.audit : deleted + 1), STORE_OK); /* the undo is undone */
	assert_int_equal(value_of(w, "alice"), -1);
}

static void an_undo_is_refused_when_the_object_was_changed_since(void **state)
{
	struct world *w = *state;
	uint64_t first;

	assert_int_equal(put(w, "alice", 0, 1), STORE_OK);
	first = w->last.audit;
	assert_int_equal(put(w, "bob", 0, 1), STORE_OK); /* another object does not matter */
	assert_int_equal(put(w, "alice", STORE_ANY, 2), STORE_OK);
	assert_int_equal(undo(w, first), STORE_CONFLICT);
	assert_int_equal(undo(w, 999), STORE_NOT_FOUND);
	assert_int_equal(undo(w, UINT64_MAX), STORE_NOT_FOUND);
	assert_int_equal(value_of(w, "alice"), 2);
}

/* --- files it must not open --- */

static void a_second_opener_is_told_that_the_store_is_locked(void **state)
{
	struct world *w = *state;
	struct store *s = NULL;
	char err[256] = "";

	assert_int_equal(put(w, "alice", 0, 1), STORE_OK);
	assert_int_equal(store_open(&(struct store_options){ .path = w->path }, err, sizeof(err), &s), STORE_LOCKED);
	assert_non_null(strstr(err, "another process has the store"));
	assert_int_equal(put(w, "alice", STORE_ANY, 2), STORE_OK);
}

static void sql(const struct world *w, const char *statements)
{
	sqlite3 *h = NULL;

	assert_int_equal(sqlite3_open(w->path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, statements, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(h), SQLITE_OK);
}

static void assert_not_opened(struct world *w, int result, const char *part)
{
	char err[256] = "";

	assert_int_equal(open_store(w, err), result);
	assert_null(w->store);
	if (!strstr(err, part))
		fail_msg("no \"%s\" in: %s", part, err);
}

static void a_store_of_a_newer_version_is_refused(void **state)
{
	struct world *w = *state;

	w->store = store_close(w->store);
	sql(w, "PRAGMA user_version = 99");
	assert_not_opened(w, STORE_NEWER, "newer version");
}

static void a_database_of_somebody_else_is_refused(void **state)
{
	struct world *w = *state;

	w->store = store_close(w->store);
	assert_int_equal(unlink(w->path), 0);
	sql(w, "CREATE TABLE theirs (x)");
	assert_not_opened(w, STORE_CORRUPT, "not a store of Stile");
}

static void overwrite(const struct world *w, off_t from, size_t n)
{
	int fd = open(w->path, O_WRONLY);
	char junk[4096];

	memset(junk, 0xa5, sizeof(junk));
	assert_true(fd >= 0);
	for (size_t done = 0; done < n; done += sizeof(junk))
		assert_int_equal(pwrite(fd, junk, sizeof(junk), from + (off_t)done), sizeof(junk));
	close(fd);
}

static void a_damaged_store_is_refused(void **state)
{
	struct world *w = *state;
	char key[16];

	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(store_put(w->store, CALL(w, "test"), "user", key, 0, body(i)), 0);
		w->pending++;
	}
	assert_int_equal(loop_run(w->loop), 0);
	w->store = store_close(w->store);
	overwrite(w, 4096, 16384);
	assert_not_opened(w, STORE_CORRUPT, "restore a backup");
	overwrite(w, 0, 4096);
	assert_not_opened(w, STORE_CORRUPT, "restore a backup");
}

static void the_file_is_for_its_owner_alone(void **state)
{
	struct world *w = *state;
	char path[128];
	struct stat st;

	assert_int_equal(put(w, "alice", 0, 1), STORE_OK);
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof(path), "%s-wal", w->path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	w->store = store_close(w->store);
	assert_int_equal(chmod(w->path, 0644), 0);
	reopen(w);
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_folder_that_is_not_there_is_an_error_with_its_name(void **state)
{
	struct world *w = *state;

	w->store = store_close(w->store);
	snprintf(w->path, sizeof(w->path), "/tmp/stile-there-is-no-such-folder/s.db");
	assert_not_opened(w, -ENOENT, "/tmp/stile-there-is-no-such-folder/s.db");
}

/* --- failures --- */

static void a_full_disk_refuses_changes_and_loses_none(void **state)
{
	struct world *w = *state;
	struct rlimit before, small;
	int stored = 0, r = STORE_OK;
	char key[16];

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 300 << 10;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	while (r == STORE_OK && stored < 10000) {
		snprintf(key, sizeof(key), "k%d", stored);
		r = put(w, key, 0, stored);
		if (r == STORE_OK)
			stored++;
	}
	assert_int_equal(r, STORE_FULL);
	for (int i = 0; i < 10; i++) { /* a batch, whose members are refused one by one */
		snprintf(key, sizeof(key), "b%d", i);
		assert_int_equal(store_put(w->store, CALL(w, "test"), "user", key, 0, body(i)), 0);
		w->pending++;
	}
	assert_int_equal(loop_run(w->loop), 0);
	assert_int_equal(w->last.result, STORE_FULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(put(w, "later", 0, 1), STORE_OK);
	reopen(w);
	assert_int_equal(value_of(w, "later"), 1);
	assert_int_equal(value_of(w, "b0"), -1);
	snprintf(key, sizeof(key), "k%d", stored - 1);
	assert_true(stored > 10 && stored < 1000);
	assert_int_equal(value_of(w, key), stored - 1);
}

static void after_a_flush_the_outcomes_are_in_the_mail(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 20; i++) {
		assert_int_equal(store_put(w->store, CALL(w, "test"), "user", "alice", STORE_ANY, body(i)), 0);
		w->pending++;
	}
	store_flush(w->store);
	loop_stop(w->loop); /* one pass, without waiting */
	assert_int_equal(loop_run(w->loop), 0);
	assert_int_equal(w->pending, 0);
	store_flush(w->store); /* nothing to wait for */
}

static void closing_finishes_what_is_queued(void **state)
{
	struct world *w = *state;
	char key[16];

	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(store_put(w->store, &(struct store_call){ .who = "test" }, "user", key, 0, body(i)), 0);
	}
	reopen(w);
	list(w, NULL, 1000, 1000);
}

#define IN_WORLD(t) cmocka_unit_test_setup_teardown(t, setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(a_put_is_there_after_reopening),
		IN_WORLD(a_write_names_the_revision_that_it_changes),
		IN_WORLD(a_revision_never_comes_back),
		IN_WORLD(one_refused_change_does_not_undo_its_neighbours),
		IN_WORLD(bad_arguments_are_refused_at_once),
		IN_WORLD(lists_come_in_pages_in_key_order),
		IN_WORLD(all_objects_of_a_kind_are_loaded_at_start),
		IN_WORLD(the_audit_tells_who_changed_what_from_what_to_what),
		IN_WORLD(each_kind_of_change_is_undone),
		IN_WORLD(an_undo_is_refused_when_the_object_was_changed_since),
		IN_WORLD(a_second_opener_is_told_that_the_store_is_locked),
		IN_WORLD(a_store_of_a_newer_version_is_refused),
		IN_WORLD(a_database_of_somebody_else_is_refused),
		IN_WORLD(a_damaged_store_is_refused),
		IN_WORLD(the_file_is_for_its_owner_alone),
		IN_WORLD(a_folder_that_is_not_there_is_an_error_with_its_name),
		IN_WORLD(a_full_disk_refuses_changes_and_loses_none),
		IN_WORLD(after_a_flush_the_outcomes_are_in_the_mail),
		IN_WORLD(closing_finishes_what_is_queued),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
