/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store without memory: every allocation of ours and of jansson fails once in a short life of puts,
 * a delete, an undo and reads. Each call either says so at once or has its outcome; what was
 * acknowledged is there, what was refused is not. The threads take turns (store_flush), because
 * the failing allocations count for one thread.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include "common/config.h"
#include "common/store.h"
#include "tests/oom/failing.h"

struct outcomes {
	struct loop *loop;
	struct store *store;
	int queued, done;
	int last; /* result of the last outcome, or what the call said */
	uint64_t audit;
};

static void on_done(const struct store_outcome *o, void *arg)
{
	struct outcomes *out = arg;

	out->done++;
	out->last = o->result;
	out->audit = o->audit;
}

static int settle(struct outcomes *out, int r)
{
	if (r < 0) {
		assert_int_equal(r, -ENOMEM);
		return out->last = r;
	}
	out->queued++;
	store_flush(out->store);
	loop_stop(out->loop); /* one pass, for the mail */
	assert_int_equal(loop_run(out->loop), 0);
	assert_int_equal(out->done, out->queued);
	assert_true(out->last == STORE_OK || out->last == STORE_NOT_FOUND || oom_hit()); /* none waits after an undo */
	return out->last;
}

static void count(const struct store_object *o, void *arg)
{
	(void)o;
	(*(int *)arg)++;
}

static const struct cfg_row user_rows[] = { { .name = "p", .type = &cfg_string, .flags = CFG_SECRET } };
static const struct cfg_schema user_schema = { "user", user_rows, 1, sizeof(char *) };
static const struct store_kind kinds[] = { { "user", &user_schema }, { NULL, NULL } };

/* The number of objects that must be there. */
static int live(struct outcomes *out)
{
	struct store_call c = { .loop = out->loop, .who = "oom", .done = on_done, .arg = out };
	int present = 0;

	present += settle(out, store_put(out->store, &c, "user", "a", 0, json_pack("{s:i}", "n", 1))) == 0;
	if (settle(out, store_put(out->store, &c, "user", "b", 0, json_pack("{s:s}", "s", "x"))) == 0) {
		present++;
		if (settle(out, store_delete(out->store, &c, "user", "b", STORE_ANY)) == 0) {
			uint64_t deleted = out->audit;
			present--;
			present += settle(out, store_undo(out->store, &c, deleted, 0, 0)) == 0;
		}
	}
	/* With a secret that stays the same, so that the undo fills it in. */
	if (settle(out, store_put(out->store, &c, "user", "c", 0, json_pack("{s:i, s:s}", "n", 1, "p", "x"))) == 0) {
		present++;
		if (settle(out, store_put(out->store, &c, "user", "c", STORE_ANY, json_pack("{s:i, s:s}", "n", 2, "p", "x"))) == 0)
			settle(out, store_undo(out->store, &c, out->audit, 0, 0));
	}
	/* Two as one, that wait for a confirmation; undone as one. */
	json_t *body = json_pack("{s:i}", "n", 9);
	const struct store_item two[] = { { "user", "d", body, 0 }, { "user", "e", body, STORE_ANY } };
	if (body && settle(out, store_commit(out->store, &c, two, 2, INT64_MAX)) == 0) {
		uint64_t both = out->audit;
		present += 2;
		settle(out, store_undo(out->store, &c, both, STORE_DRY, 0));
		if (settle(out, store_undo(out->store, &c, both, 0, 0)) == 0)
			present -= 2;
		settle(out, store_confirm(out->store, &c));
	}
	json_decref(body);
	settle(out, store_list(out->store, &c, "user", NULL, 10));
	settle(out, store_audit(out->store, &c, 0, 10));
	return present;
}

static void what_is_acknowledged_without_memory_is_there(void **state)
{
	bool hit = true;

	(void)state;
	for (unsigned n = 1; hit; n++) {
		struct outcomes out = { 0 };
		char err[256];
		int r, present, found = 0;

		assert_int_equal(loop_new(&out.loop), 0);
		oom_arm(n);
		r = store_open(&(struct store_options){ .path = ":memory:", .kinds = kinds }, err, sizeof(err), &out.store);
		present = r == 0 ? live(&out) : 0;
		hit = oom_hit();
		oom_arm(0);
		assert_true(r == 0 || (r == -ENOMEM && hit));
		if (r == 0) {
			assert_int_equal(store_load(out.store, "user", count, &found), 0);
			assert_int_equal(found, present);
		}
		store_close(out.store);
		loop_free(out.loop);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_acknowledged_without_memory_is_there),
	};

	json_set_alloc_funcs(malloc, free);
	return cmocka_run_group_tests_name("oom store", tests, NULL, NULL);
}
