/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the store share; nobody else includes it.
 *
 *   store.c          the thread, the queue, the calls
 *   store_change.c   what an operation means: revisions, audit, undo
 *   store_secrets.c  secrets in audit rows
 *   store_sqlite.c   the engine
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "common/bytes.h"
#include "common/store_engine.h"

struct store {
	const struct store_engine *engine;
	const struct store_kind *kinds; /* may be NULL */
	int64_t keep_secrets_ms;
	void *db;
	pthread_mutex_t db_lock; /* held while db is used */
	pthread_t thread;
	bool running;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake, idle;
	bool busy; /* a batch is under way */
	struct list queue;
	unsigned n_queued;
	bool stop;
	atomic_bool failing; /* the last change did, for the disk's sake */
};

struct step { /* of a commit; owned */
	char *kind, *key, *body;
	uint64_t revision;
};

struct store_op {
	struct mail mail;
	struct list node;
	int (*run)(struct store *s, struct store_op *op);
	struct loop *loop;
	store_done_fn done;
	void *arg;
	char *kind, *key, *who, *body; /* of the call, as far as it has them */
	uint64_t number; /* revision or audit number */
	unsigned limit, flags;
	bool quiet;
	int64_t until;
	struct step *steps;
	size_t n_steps;
	struct store_outcome outcome;
};

static inline void store_wipe_text(char *text) /* it may hold a password */
{
	if (text)
		bytes_wipe(text, strlen(text));
	free(text);
}

/* --- store_change.c: each in the store's thread, inside a transaction; 0, a store_result or -errno --- */
int store_run_put(struct store *s, struct store_op *op);
int store_run_delete(struct store *s, struct store_op *op);
int store_run_commit(struct store *s, struct store_op *op);
int store_run_confirm(struct store *s, struct store_op *op);
int store_run_undo(struct store *s, struct store_op *op);
int store_run_forget(struct store *s, struct store_op *op);
int store_run_list(struct store *s, struct store_op *op);
int store_run_audit(struct store *s, struct store_op *op);
/* With a transaction of its own. */
int store_undo_overdue(struct store *s, uint64_t *ret_undone);
