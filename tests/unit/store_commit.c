/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of several objects as one: all or nothing, refused with both versions, undone as a whole, waiting for a
 * confirmation over a restart, and whole again after a process was killed in the middle.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/clock.h"
#include "tests/unit/store_world.h"

static void open_it(struct world *w)
{
	char err[256] = "";

	if (store_open(&(struct store_options){ .path = w->path }, err, sizeof(err), &w->store) != 0)
		fail_msg("%s", err);
}

static int setup(void **state)
{
	struct world *w = world_new();

	open_it(w);
	*state = w;
	return 0;
}

/* n < 0: delete */
static struct store_item item(const char *key, int n, uint64_t revision)
{
	return (struct store_item){ .kind = "user", .key = key, .body = n < 0 ? NULL : json_pack("{s:i}", "n", n), .revision = revision };
}

static int commit(struct world *w, struct store_item *items, size_t n, int64_t until)
{
	int r = wait_for(w, store_commit(w->store, CALL(w, "test"), items, n, until));

	for (size_t i = 0; i < n; i++)
		json_decref(items[i].body);
	return r;
}
#define COMMIT(w, until, ...)                                                                                          \
	commit(w, (struct store_item[]){ __VA_ARGS__ }, sizeof((struct store_item[]){ __VA_ARGS__ }) / sizeof(struct store_item), until)

static int undo(struct world *w, uint64_t change, unsigned flags)
{
	return wait_for(w, store_undo(w->store, CALL(w, "test"), change, flags, 0));
}

/* "a=1 b=2 " */
static const char *all(struct world *w)
{
	static char text[512];
	size_t i, n = 0;
	json_t *row;

	assert_int_equal(wait_for(w, store_list(w->store, CALL(w, "test"), "user", NULL, 100)), STORE_OK);
	text[0] = 0;
	json_array_foreach(w->last.rows, i, row)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s=%d ", json_string_value(json_object_get(row, "key")),
				      (int)json_integer_value(json_object_get(json_object_get(row, "body"), "n")));
	return text;
}

static void several_objects_are_one_change(void **state)
{
	struct world *w = *state;
	uint64_t change;

	assert_int_equal(COMMIT(w, 0, item("a", 1, 0), item("b", 2, 0)), STORE_OK);
	change = w->last.audit;
	assert_int_equal(json_array_size(w->last.rows), 2);
	assert_string_equal(all(w), "a=1 b=2 ");
	assert_int_equal(wait_for(w, store_audit(w->store, CALL(w, "test"), 0, 10)), STORE_OK);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(json_integer_value(json_object_get(json_array_get(w->last.rows, i), "change")), change);
	assert_int_equal(undo(w, change + 1, 0), STORE_OK); /* by any row of it */
	assert_string_equal(all(w), "");
	assert_int_equal(undo(w, w->last.audit ? w->last.audit : change + 2, 0), STORE_OK);
	assert_string_equal(all(w), "a=1 b=2 ");
}

static void one_refusal_refuses_all_and_shows_what_is_there(void **state)
{
	struct world *w = *state;
	uint64_t was;
	json_t *row;

	assert_int_equal(COMMIT(w, 0, item("a", 1, 0)), STORE_OK);
	was = w->last.revision;
	assert_int_equal(COMMIT(w, 0, item("a", 2, was)), STORE_OK);
	assert_int_equal(COMMIT(w, 0, item("b", 1, 0), item("a", 3, was)), STORE_CONFLICT);
	assert_int_equal(w->last.refused, 1);
	row = json_array_get(w->last.rows, 0);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(row, "body"), "n")), 2);
	assert_string_equal(json_string_value(json_object_get(row, "who")), "test");
	assert_string_equal(all(w), "a=2 ");
	assert_int_equal(COMMIT(w, 0, item("b", 1, 0), item("a", 3, 0)), STORE_EXISTS);
	assert_int_equal(COMMIT(w, 0, item("b", 1, 0), item("c", -1, STORE_ANY)), STORE_NOT_FOUND);
	assert_int_equal(COMMIT(w, 0, item("b", 1, 77)), STORE_CONFLICT); /* was deleted, as far as it knows */
	assert_string_equal(all(w), "a=2 ");
	assert_int_equal(store_commit(w->store, CALL(w, "test"), NULL, 0, 0), -EINVAL);
}

static void a_dry_undo_tells_and_does_nothing(void **state)
{
	struct world *w = *state;
	uint64_t change;

	assert_int_equal(COMMIT(w, 0, item("a", 1, 0)), STORE_OK);
	assert_int_equal(COMMIT(w, 0, item("a", 2, STORE_ANY), item("b", 5, 0)), STORE_OK);
	change = w->last.audit;
	assert_int_equal(undo(w, change, STORE_DRY), STORE_OK);
	assert_int_equal(json_array_size(w->last.rows), 2);
	assert_string_equal(all(w), "a=2 b=5 ");
	assert_int_equal(COMMIT(w, 0, item("b", 6, STORE_ANY)), STORE_OK);
	assert_int_equal(undo(w, change, 0), STORE_CONFLICT);
	assert_string_equal(all(w), "a=2 b=6 ");
	assert_int_equal(undo(w, change, STORE_FORCE), STORE_OK); /* as far as it goes */
	assert_string_equal(all(w), "a=1 b=6 ");
}

static void nothing(const struct store_object *o, void *arg)
{
	(void)o;
	(*(int *)arg)++;
}

static uint64_t peek(struct world *w, int *ret_n)
{
	struct store_reader rd = { .kind = "user", .fn = nothing, .arg = ret_n };
	char err[256];

	w->store = store_close(w->store);
	*ret_n = 0;
	assert_int_equal(store_peek(&(struct store_options){ .path = w->path, .quick = true }, &rd, err, sizeof(err)), 0);
	open_it(w);
	return rd.undone;
}

static void what_nobody_confirms_is_undone_at_the_next_start_after_its_time(void **state)
{
	struct world *w = *state;
	int64_t now = clock_unix_ms();
	uint64_t change;
	int n;

	assert_int_equal(COMMIT(w, 0, item("a", 1, 0)), STORE_OK);
	assert_int_equal(COMMIT(w, now + 3600000, item("a", 2, STORE_ANY), item("b", 1, 0)), STORE_OK);
	assert_int_equal(peek(w, &n), 0); /* there is time yet */
	assert_int_equal(n, 2);
	assert_int_equal(wait_for(w, store_confirm(w->store, CALL(w, "test"))), STORE_OK);
	assert_int_equal(wait_for(w, store_confirm(w->store, CALL(w, "test"))), STORE_NOT_FOUND);
	assert_int_equal(COMMIT(w, now - 1, item("a", 3, STORE_ANY), item("b", -1, STORE_ANY)), STORE_OK);
	change = w->last.audit;
	assert_int_equal(peek(w, &n), change);
	assert_int_equal(n, 2);
	assert_string_equal(all(w), "a=2 b=1 ");
	assert_int_equal(peek(w, &n), 0);
	assert_int_equal(COMMIT(w, now - 1, item("a", 3, STORE_ANY)), STORE_OK);
	assert_int_equal(undo(w, w->last.audit, 0), STORE_OK); /* waits no more */
	assert_int_equal(peek(w, &n), 0);
}

static void a_peek_at_nothing_finds_nothing(void **state)
{
	struct store_reader rd = { .kind = "user", .fn = nothing };
	char err[256];

	(void)state;
	assert_int_equal(store_peek(&(struct store_options){ .path = "/tmp/stile-no-such-store.db" }, &rd, err, sizeof(err)), 0);
	assert_int_not_equal(access("/tmp/stile-no-such-store.db", F_OK), 0);
}

/* A child writes a and b as one, again and again, until it is killed somewhere. */
static void write_until_killed(struct world *w)
{
	w->store = store_close(w->store); /* threads do not survive a fork */
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		open_it(w);
		for (int i = 1;; i++)
			if (COMMIT(w, 0, item("a", i, STORE_ANY), item("b", i, STORE_ANY)) != STORE_OK)
				_exit(1);
	}
	usleep(30000);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	open_it(w);
}

static void a_process_killed_in_the_middle_leaves_no_half_change(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 20; i++) {
		int a = 0, b = 0;
		write_until_killed(w);
		if (*all(w))
			assert_int_equal(sscanf(all(w), "a=%d b=%d ", &a, &b), 2);
		assert_int_equal(a, b);
	}
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(several_objects_are_one_change),
		IN_WORLD(one_refusal_refuses_all_and_shows_what_is_there),
		IN_WORLD(a_dry_undo_tells_and_does_nothing),
		IN_WORLD(what_nobody_confirms_is_undone_at_the_next_start_after_its_time),
		IN_WORLD(a_peek_at_nothing_finds_nothing),
		IN_WORLD(a_process_killed_in_the_middle_leaves_no_half_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
