/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets stay out of the audit: out of what is listed, out of the file's bytes, and out of the rows of a store
 * that an older version wrote. And what an undo can still do without them.
 */
#include <sqlite3.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/config.h"
#include "common/store_secrets.h"
#include "tests/unit/store_world.h"

struct user {
	char *password, *mail;
	struct cfg_list keys;
};
struct key {
	char *name, *secret;
};
static const struct cfg_row key_rows[] = {
	{ .name = "name", .type = &cfg_string, CFG_AT(struct key, name) },
	{ .name = "secret", .type = &cfg_string, CFG_AT(struct key, secret), .flags = CFG_SECRET },
};
static const struct cfg_schema key_schema = { "user.keys", key_rows, ARRAY_LEN(key_rows), sizeof(struct key) };
static const struct cfg_row user_rows[] = {
	{ .name = "mail", .type = &cfg_string, CFG_AT(struct user, mail) },
	{ .name = "password", .type = &cfg_string, CFG_AT(struct user, password), .flags = CFG_SECRET },
	{ .name = "keys", .sub = &key_schema, CFG_AT(struct user, keys), .flags = CFG_LIST },
};
static const struct cfg_schema user_schema = { "user", user_rows, ARRAY_LEN(user_rows), sizeof(struct user) };
static const struct store_kind kinds[] = { { "user", &user_schema }, { NULL, NULL } };

static void open_for(struct world *w, uint64_t keep_ms)
{
	char err[256] = "";

	if (store_open(&(struct store_options){ .path = w->path, .kinds = kinds, .keep_secrets_ms = keep_ms }, err, sizeof err, &w->store) != 0)
		fail_msg("%s", err);
}

static void open_it(struct world *w)
{
	open_for(w, 0);
}

static int setup(void **state)
{
	struct world *w = world_new();

	open_it(w);
	*state = w;
	return 0;
}

static uint64_t put(struct world *w, json_t *body)
{
	assert_int_equal(wait_for(w, store_put(w->store, CALL(w, "test"), "user", "alice", STORE_ANY, body)), STORE_OK);
	return w->last.audit;
}

static int undo(struct world *w, uint64_t audit)
{
	return wait_for(w, store_undo(w->store, CALL(w, "test"), audit, 0, 0));
}

static void assert_body(struct world *w, json_t *want)
{
	assert_int_equal(wait_for(w, store_list(w->store, CALL(w, "test"), "user", NULL, 10)), STORE_OK);
	assert_true(json_equal(json_object_get(json_array_get(w->last.rows, 0), "body"), want));
	json_decref(want);
}

/* All rows as text. */
static char *audit_text(struct world *w)
{
	assert_int_equal(wait_for(w, store_audit(w->store, CALL(w, "test"), 0, 100)), STORE_OK);
	return json_dumps(w->last.rows, JSON_COMPACT | JSON_SORT_KEYS);
}

static void assert_in_audit(struct world *w, const char *part, bool there)
{
	char *text = audit_text(w);

	if ((strstr(text, part) != NULL) != there)
		fail_msg("%s: %s", part, text);
	free(text);
}

static json_t *user(const char *mail, const char *password, const char *key)
{
	return json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "mail", mail, "password", password, "keys", "name", "k", "secret", key);
}

static void the_audit_has_a_mark_in_the_place_of_a_secret(void **state)
{
	struct world *w = *state;

	put(w, user("a@x", "hunter2", "deep-secret"));
	put(w, user("b@x", "hunter2", "deep-secret"));
	assert_in_audit(w, "hunter2", false);
	assert_in_audit(w, "deep-secret", false);
	assert_in_audit(w, "b@x", true);
	assert_in_audit(w, "\"password\":{\"secret\":\"kept\"}", true);
	assert_in_audit(w, "\"password\":{\"secret\":\"changed\"}", true);
	assert_body(w, user("b@x", "hunter2", "deep-secret")); /* the object has it */
}

static void what_did_not_touch_a_secret_is_undone(void **state)
{
	struct world *w = *state;
	uint64_t made = put(w, user("a@x", "hunter2", "deep-secret")), changed;

	changed = put(w, user("b@x", "hunter2", "deep-secret"));
	assert_int_equal(undo(w, changed), STORE_OK);
	assert_body(w, user("a@x", "hunter2", "deep-secret"));
	(void)made;
	uint64_t again = put(w, user("c@x", "hunter2", "deep-secret"));
	assert_int_equal(undo(w, again), STORE_OK);
	assert_int_equal(undo(w, w->last.audit), STORE_OK); /* the undo is undone */
	assert_body(w, user("c@x", "hunter2", "deep-secret"));
}

static void what_changed_a_secret_is_undone_too(void **state)
{
	struct world *w = *state;
	uint64_t changed;

	put(w, user("a@x", "hunter2", "k1"));
	changed = put(w, user("b@x", "hunter3", "k2"));
	assert_int_equal(undo(w, changed), STORE_OK);
	assert_body(w, user("a@x", "hunter2", "k1"));
	assert_int_equal(undo(w, w->last.audit ? w->last.audit : changed + 1), STORE_OK);
	assert_body(w, user("b@x", "hunter3", "k2"));
	assert_int_equal(wait_for(w, store_delete(w->store, CALL(w, "test"), "user", "alice", STORE_ANY)), STORE_OK);
	assert_int_equal(undo(w, w->last.audit), STORE_OK);
	assert_body(w, user("b@x", "hunter3", "k2"));
	assert_in_audit(w, "hunter", false);
}

static void after_its_day_it_cannot_be_and_says_so(void **state)
{
	struct world *w = *state;
	uint64_t made = put(w, user("a@x", "hunter2", "k1")), changed;

	changed = put(w, user("a@x", "hunter3", "k1"));
	w->store = store_close(w->store);
	open_for(w, 1);
	usleep(5000);
	assert_int_equal(undo(w, changed), STORE_SECRET);
	assert_non_null(strstr(store_result_text(STORE_SECRET), "set it anew"));
	changed = put(w, user("a@x", "hunter3", "k2"));
	usleep(5000);
	assert_int_equal(undo(w, changed), STORE_SECRET);
	assert_body(w, user("a@x", "hunter3", "k2")); /* nothing was changed */
	assert_int_equal(wait_for(w, store_delete(w->store, CALL(w, "test"), "user", "alice", STORE_ANY)), STORE_OK);
	usleep(5000);
	assert_int_equal(undo(w, w->last.audit ? w->last.audit : made), STORE_SECRET);
}

static void look(const struct store_object *o, void *arg)
{
	json_object_set(arg, o->key, json_object_get(o->body, "mail"));
}

/* Two users at once, waiting for a confirmation that nobody has given; the service comes back when the old password is not kept any more. */
static void what_cannot_be_undone_at_the_start_is_not_undone_by_half(void **state)
{
	struct world *w = *state;
	json_t *alice = user("a@y", "hunter3", "k1"), *bob = json_pack("{s:s}", "mail", "b@y"),
	       *seen = json_object(), *want = json_pack("{s:s, s:s}", "alice", "a@y", "bob", "b@y");
	const struct store_item items[] = { { "user", "alice", alice, STORE_ANY },
					    { "user", "bob", bob, 0 } };
	struct store_reader rd = { .kind = "user", .fn = look, .arg = seen };
	char err[256] = "";

	put(w, user("a@x", "hunter2", "k1"));
	assert_int_equal(wait_for(w, store_commit(w->store, CALL(w, "test"), items, 2, 1)), STORE_OK);
	w->store = store_close(w->store);
	usleep(5000);
	assert_int_equal(store_peek(&(struct store_options){ .path = w->path,
							     .kinds = kinds,
							     .keep_secrets_ms = 1,
							     .quick = true },
				    &rd, err, sizeof(err)),
			 0);
	assert_int_equal(rd.undone, 0);
	assert_true(json_equal(seen, want));
	open_it(w);
	assert_int_equal(wait_for(w, store_confirm(w->store, CALL(w, "test"))),
			 STORE_NOT_FOUND); /* it waits for nothing any more */
	json_decref(alice);
	json_decref(bob);
	json_decref(seen);
	json_decref(want);
}

static void a_made_object_is_taken_back(void **state)
{
	struct world *w = *state;
	uint64_t made = put(w, user("a@x", "hunter2", "k1"));

	assert_int_equal(undo(w, made), STORE_OK);
	assert_int_equal(wait_for(w, store_list(w->store, CALL(w, "test"), "user", NULL, 10)), STORE_OK);
	assert_int_equal(json_array_size(w->last.rows), 0);
}

static bool file_has(const struct world *w, const char *secret)
{
	char command[192];

	snprintf(command, sizeof command, "grep -aq %s %s*", secret, w->path);
	return system(command) == 0;
}

static void an_old_secret_is_not_left_in_the_file_after_its_day(void **state)
{
	struct world *w = *state;

	put(w, user("a@x", "hunter2", "deep-secret"));
	put(w, user("a@x", "hunter3", "other-secret"));
	w->store = store_close(w->store);
	open_for(w, 1);
	usleep(5000);
	store_forget(w->store);
	w->store = store_close(w->store);
	assert_false(file_has(w, "hunter2"));
	assert_false(file_has(w, "deep-secret"));
	assert_true(file_has(w, "hunter3")); /* it works with this one */
	open_it(w);
}

/* A store of version 1: as this program wrote it before. */
static void the_audit_of_an_older_version_is_cleaned(void **state)
{
	static const char old[] =
		"DELETE FROM audit; DELETE FROM objects; PRAGMA user_version = 1;"
		"DROP INDEX audit_change; ALTER TABLE audit DROP COLUMN change; DROP TABLE past;"
		"INSERT INTO objects VALUES ('user', 'alice', '{\"password\":\"hunter9\"}', 2, 0);"
		"INSERT INTO audit VALUES (1, 0, 'me', 'user', 'alice', NULL, '{\"password\":\"hunter8\"}', NULL);"
		"INSERT INTO audit VALUES (2, 0, 'me', 'user', 'alice', '{\"password\":\"hunter8\"}', '{\"password\":\"hunter9\"}', NULL);";
	struct world *w = *state;
	sqlite3 *h = NULL;

	w->store = store_close(w->store);
	assert_int_equal(sqlite3_open(w->path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, old, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(h), SQLITE_OK);
	open_it(w);
	assert_in_audit(w, "hunter", false);
	assert_in_audit(w, "{\"secret\":\"changed\"}", true);
	assert_int_equal(undo(w, 2), STORE_SECRET);
	assert_body(w, json_pack("{s:s}", "password", "hunter9"));
	w->store = store_close(w->store);
	assert_false(file_has(w, "hunter8"));
	open_it(w);
}

static int unhidden(const char *text, const char *beside, const char *wanted)
{
	json_t *of = json_loads(text, 0, NULL), *was = json_loads(beside, 0, NULL), *want = json_loads(wanted, 0, NULL);
	int r;

	assert_true(of && was && want);
	r = store_unhide(&user_schema, of, was);
	if (r == 0)
		assert_true(json_equal(of, want));
	json_decref(of);
	json_decref(was);
	json_decref(want);
	return r;
}

static void a_mask_that_comes_back_stands_for_the_value_that_it_hid(void **state)
{
	static const char was[] = "{\"mail\":\"a\", \"password\":\"p\", \"keys\":[{\"name\":\"x\", \"secret\":\"1\"}, {\"name\":\"y\", \"secret\":\"2\"}]}";

	(void)state;
	assert_int_equal(unhidden("{\"mail\":\"b\", \"password\":\"***\"}", was, "{\"mail\":\"b\", \"password\":\"p\"}"), 0);
	assert_int_equal(unhidden("{\"password\":\"new\"}", was, "{\"password\":\"new\"}"), 0);
	/* Items are found by name, wherever they stand now. */
	assert_int_equal(unhidden("{\"keys\":[{\"name\":\"y\", \"secret\":\"***\"}, {\"name\":\"z\", \"secret\":\"3\"}]}", was,
				  "{\"keys\":[{\"name\":\"y\", \"secret\":\"2\"}, {\"name\":\"z\", \"secret\":\"3\"}]}"), 0);
	/* A mask with nothing behind it is no secret. */
	assert_int_equal(unhidden("{\"keys\":[{\"name\":\"z\", \"secret\":\"***\"}]}", was, "{}"), STORE_SECRET);
	assert_int_equal(unhidden("{\"keys\":[{\"secret\":\"***\"}]}", was, "{}"), STORE_SECRET);
	assert_int_equal(unhidden("{\"password\":\"***\"}", "{}", "{}"), STORE_SECRET);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(the_audit_has_a_mark_in_the_place_of_a_secret),
		IN_WORLD(what_cannot_be_undone_at_the_start_is_not_undone_by_half),
		IN_WORLD(what_did_not_touch_a_secret_is_undone),
		IN_WORLD(what_changed_a_secret_is_undone_too),
		IN_WORLD(after_its_day_it_cannot_be_and_says_so),
		IN_WORLD(a_made_object_is_taken_back),
		IN_WORLD(an_old_secret_is_not_left_in_the_file_after_its_day),
		IN_WORLD(the_audit_of_an_older_version_is_cleaned),
		cmocka_unit_test(a_mask_that_comes_back_stands_for_the_value_that_it_hid),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
