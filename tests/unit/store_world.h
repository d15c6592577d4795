/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the store share: a folder of its own, a loop, and calls that are waited for. How the store is opened
 * is each test's. All of it fails the running test when it fails.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/store.h"

struct world {
	char dir[64], path[96];
	struct loop *loop;
	struct store *store;
	unsigned pending;
	struct store_outcome last; /* rows with a reference of ours */
};

/* Without its store. */
static inline struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));

	strcpy(w->dir, "/tmp/stile-store-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof(w->path), "%s/s.db", w->dir);
	assert_int_equal(loop_new(&w->loop), 0);
	return w;
}

static inline int world_teardown(void **state)
{
	struct world *w = *state;
	char command[96];

	store_close(w->store);
	loop_free(w->loop);
	json_decref(w->last.rows);
	snprintf(command, sizeof(command), "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

static inline void on_done(const struct store_outcome *o, void *arg)
{
	struct world *w = arg;

	json_decref(w->last.rows);
	w->last = *o;
	json_incref(w->last.rows);
	if (--w->pending == 0)
		loop_stop(w->loop);
}

static inline int wait_for(struct world *w, int queued)
{
	assert_int_equal(queued, 0);
	w->pending++;
	assert_int_equal(loop_run(w->loop), 0);
	return w->last.result;
}

#define CALL(w, by) (&(struct store_call){ .loop = (w)->loop, .who = (by), .done = on_done, .arg = (w) })
