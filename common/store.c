/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's thread and its queue; what a change means is in store_change.c, and store_engine.h is what lies beneath.
 *
 * Group commit: the thread takes all that is queued into one transaction, each operation behind a
 * mark so that a refused one leaves no trace, and mails outcomes after the commit. If a failure ends the
 * whole transaction (disk full), the operations are run again one by one, so that each has its own
 * outcome. The revision of an object is (but for unaudited kinds) the number of the audit row of its last change: it never
 * comes back, not even after a delete.
 */
#include "common/store.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/bytes.h"
#include "common/clock.h"
#include "common/log_msgs.h"
#include "common/privileges.h"
#include "common/store_priv.h"
#include "common/text.h"

enum { MAX_QUEUE = 10000, MAX_BATCH = 512, MAX_NAME = 255, MAX_BODY = 1 << 20, MAX_ROWS = 1000 };
enum { KEEP_SECRETS_MS = 24 * 3600 * 1000 };

const char *store_result_text(enum store_result r)
{
	static const char *const texts[] = {
		[STORE_OK] = "done",
		[STORE_NOT_FOUND] = "there is no such object",
		[STORE_EXISTS] = "there is one of this name already",
		[STORE_CONFLICT] = "it was changed in the meantime; look at it again and repeat the change",
		[STORE_NEWER] = "the store was written by a newer version of this program",
		[STORE_CORRUPT] = "the store is damaged; restore a backup",
		[STORE_LOCKED] = "another process has the store",
		[STORE_FULL] = "the disk is full or failing; nothing was changed",
		[STORE_SECRET] = "that change set or removed a secret, and what it was is kept for a day only; set it anew",
	};

	return (unsigned)r < ARRAY_LEN(texts) ? texts[r] : "unknown result";
}

int store_schema_version(void)
{
	return store_sqlite.version;
}

/* --- batches --- */

static void op_free(struct store_op *op)
{
	json_decref(op->outcome.rows);
	free(op->kind);
	free(op->key);
	free(op->who);
	store_wipe_text(op->body);
	for (size_t i = 0; i < op->n_steps; i++) {
		free(op->steps[i].kind);
		free(op->steps[i].key);
		store_wipe_text(op->steps[i].body);
	}
	free(op->steps);
	free(op);
}

static bool is_failure(int r)
{
	return r < 0 || r == STORE_CORRUPT || r == STORE_LOCKED || r == STORE_FULL;
}

/* Behind a mark: what is refused leaves no trace. 0, or a failure of the engine. */
static int run_marked(struct store *s, struct store_op *op)
{
	const struct store_engine *e = s->engine;
	int r;

	op->outcome.revision = op->outcome.audit = 0;
	r = e->mark(s->db);
	if (r != 0)
		return r;
	op->outcome.result = op->run(s, op);
	if (is_failure(op->outcome.result) || e->lost(s->db))
		return op->outcome.result ? op->outcome.result : -EIO;
	return op->outcome.result == 0 && !(op->flags & STORE_DRY) ? e->keep(s->db) : e->to_mark(s->db);
}

/* 0, or why the transaction failed: then nothing of it has happened. */
static int try_batch(struct store *s, struct list *batch)
{
	int r;

	r = s->engine->begin(s->db);
	if (r != 0)
		return r;
	for (struct list *it = batch->next; it != batch && r == 0; it = it->next)
		r = run_marked(s, list_entry(it, struct store_op, node));
	if (r == 0)
		r = s->engine->commit(s->db);
	if (r != 0)
		s->engine->rollback(s->db);
	return r;
}

static void fail_op(struct store_op *op, int r)
{
	json_decref(op->outcome.rows);
	op->outcome = (struct store_outcome){ .result = r };
}

static void run_one(struct store *s, struct store_op *op)
{
	struct list one;
	int r;

	list_init(&one);
	list_unlink(&op->node);
	list_append(&one, &op->node);
	r = try_batch(s, &one);
	list_unlink(&op->node);
	if (r == 0)
		return;
	fail_op(op, r);
	log_emit(&MSG_STORE_FAILED,
		 LF_STR("reason", r < 0 ? strerror(-r) : store_result_text((enum store_result)r)),
		 LF_STR("engine", s->engine->why(s->db)));
}

static void finish(struct store *s, struct store_op *op)
{
	list_unlink(&op->node);
	/* What was refused for another reason (there is no such object) has written nothing, and proves nothing. */
	if (op->run != store_run_list && op->run != store_run_audit && (op->outcome.result == STORE_OK || is_failure(op->outcome.result)))
		atomic_store_explicit(&s->failing, op->outcome.result != STORE_OK, memory_order_relaxed);
	if (op->loop)
		loop_post(op->loop, &op->mail);
	else
		op_free(op);
}

static void run_batch(struct store *s, struct list *batch)
{
	bool one_by_one;

	pthread_mutex_lock(&s->db_lock);
	one_by_one = try_batch(s, batch) != 0;
	while (!list_empty(batch)) {
		struct store_op *op = list_entry(batch->next, struct store_op, node);
		if (one_by_one)
			run_one(s, op);
		finish(s, op);
	}
	pthread_mutex_unlock(&s->db_lock);
}

bool store_is_failing(const struct store *s)
{
	return atomic_load_explicit(&s->failing, memory_order_relaxed);
}

/* --- the thread and its queue --- */

static unsigned take_batch(struct store *s, struct list *batch)
{
	unsigned n;

	list_init(batch);
	pthread_mutex_lock(&s->lock);
	s->busy = false;
	if (list_empty(&s->queue))
		pthread_cond_broadcast(&s->idle);
	while (list_empty(&s->queue) && !s->stop)
		pthread_cond_wait(&s->wake, &s->lock);
	s->busy = true;
	for (n = 0; n < MAX_BATCH && !list_empty(&s->queue); n++) {
		struct list *first = s->queue.next;
		list_unlink(first);
		list_append(batch, first);
	}
	s->n_queued -= n;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static void *run_thread(void *arg)
{
	struct store *s = arg;
	struct list batch;

	pthread_setname_np(pthread_self(), "store");
	while (take_batch(s, &batch))
		run_batch(s, &batch);
	return NULL;
}

static void deliver(struct mail *m, struct loop *l)
{
	struct store_op *op = container_of(m, struct store_op, mail);

	(void)l;
	if (op->done)
		op->done(&op->outcome, op->arg);
	op_free(op);
}

static void drop(struct mail *m)
{
	op_free(container_of(m, struct store_op, mail));
}

/* Takes op over, also when it fails. */
static int enqueue(struct store *s, struct store_op *op)
{
	bool full;

	pthread_mutex_lock(&s->lock);
	full = s->n_queued >= MAX_QUEUE;
	if (!full) {
		list_append(&s->queue, &op->node);
		s->n_queued++;
		pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	if (full)
		op_free(op);
	return full ? -EAGAIN : 0;
}

/* --- opening and closing --- */

/* Open, without its thread. */
static int store_new(const struct store_options *o, char *err, size_t err_n, struct store **ret_s)
{
	_cleanup_(store_closep) struct store *s = calloc(1, sizeof(*s));
	int r;

	snprintf(err, err_n, "no memory for the store");
	if (!s)
		return -ENOMEM;
	s->engine = &store_sqlite;
	s->kinds = o->kinds;
	s->keep_secrets_ms = o->keep_secrets_ms ? (int64_t)o->keep_secrets_ms : KEEP_SECRETS_MS;
	pthread_mutex_init(&s->db_lock, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	pthread_cond_init(&s->idle, NULL);
	list_init(&s->queue);
	r = s->engine->open(o, err, err_n, &s->db);
	if (r == 0)
		*ret_s = steal_ptr(&s);
	return r;
}

int store_open(const struct store_options *o, char *err, size_t err_n, struct store **ret_s)
{
	_cleanup_(store_closep) struct store *s = NULL;
	int r = store_new(o, err, err_n, &s);

	if (r != 0)
		return r;
	r = privileges_thread_new(&s->thread, run_thread, s);
	s->running = r == 0;
	if (r < 0) {
		snprintf(err, err_n, "cannot start the store's thread: %s", strerror(-r));
		return r;
	}
	*ret_s = steal_ptr(&s);
	return 0;
}

struct store *store_close(struct store *s)
{
	if (!s)
		return NULL;
	if (s->running) {
		pthread_mutex_lock(&s->lock);
		s->stop = true;
		pthread_cond_signal(&s->wake);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->thread, NULL);
	}
	if (s->db)
		s->engine->close(s->db);
	pthread_cond_destroy(&s->idle);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->db_lock);
	free(s);
	return NULL;
}

int store_load(struct store *s, const char *kind, void (*fn)(const struct store_object *o, void *arg), void *arg)
{
	int r;

	pthread_mutex_lock(&s->db_lock);
	r = s->engine->each(s->db, kind, fn, arg);
	pthread_mutex_unlock(&s->db_lock);
	return r;
}

int store_peek(const struct store_options *o, struct store_reader *rd, char *err, size_t err_n)
{
	_cleanup_(store_closep) struct store *s = NULL;
	int r;

	rd->undone = 0;
	if (access(o->path, F_OK) < 0 && errno == ENOENT)
		return 0;
	r = store_new(o, err, err_n, &s);
	if (r == 0)
		r = store_undo_overdue(s, &rd->undone);
	if (r == 0)
		r = s->engine->each(s->db, rd->kind, rd->fn, rd->arg);
	return r;
}

/* --- calls --- */

static bool name_is_valid(const char *name)
{
	return name && *name && strlen(name) <= MAX_NAME && text_is_utf8(text_of(name));
}

/* Copies text into a field; NULL stays NULL. */
static bool copy(char **field, const char *s)
{
	*field = s ? strdup(s) : NULL;
	return *field || !s;
}

static int op_new(int (*run)(struct store *, struct store_op *), const struct store_call *c, const char *kind,
		  const char *key, struct store_op **ret_op)
{
	struct store_op *op = calloc(1, sizeof(*op));

	if (!op)
		return -ENOMEM;
	op->mail.deliver = deliver;
	op->mail.drop = drop;
	op->run = run;
	op->loop = c->loop;
	op->done = c->done;
	op->arg = c->arg;
	op->quiet = c->quiet;
	list_init(&op->node);
	if (!copy(&op->kind, kind) || !copy(&op->key, key) || !copy(&op->who, c->who)) {
		op_free(op);
		return -ENOMEM;
	}
	*ret_op = op;
	return 0;
}

/* body as text; NULL with *ret_r set. */
static char *render(json_t *body, int *ret_r)
{
	char *text = body ? json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;

	json_decref(body);
	*ret_r = -ENOMEM;
	if (text && strlen(text) > MAX_BODY) {
		*ret_r = -EINVAL;
		store_wipe_text(text);
		text = NULL;
	}
	return text;
}

int store_put(struct store *s, const struct store_call *c, const char *kind, const char *key, uint64_t revision,
	      json_t *body)
{
	struct store_op *op = NULL;
	int r;
	char *text = render(body, &r);

	if (!text)
		return r;
	if (name_is_valid(kind) && name_is_valid(key) && name_is_valid(c->who))
		r = op_new(store_run_put, c, kind, key, &op);
	else
		r = -EINVAL;
	if (r < 0) {
		store_wipe_text(text);
		return r;
	}
	op->body = text;
	op->number = revision;
	return enqueue(s, op);
}

int store_delete(struct store *s, const struct store_call *c, const char *kind, const char *key,
		 uint64_t revision)
{
	struct store_op *op = NULL;
	int r;

	if (!name_is_valid(kind) || !name_is_valid(key) || !name_is_valid(c->who) || !revision)
		return -EINVAL;
	r = op_new(store_run_delete, c, kind, key, &op);
	if (r < 0)
		return r;
	op->number = revision;
	return enqueue(s, op);
}

static int step_new(struct step *st, const struct store_item *it)
{
	int r = -ENOMEM;

	if (!name_is_valid(it->kind) || !name_is_valid(it->key) || (!it->body && !it->revision))
		return -EINVAL;
	st->revision = it->revision;
	if (!copy(&st->kind, it->kind) || !copy(&st->key, it->key))
		return -ENOMEM;
	if (!it->body)
		return 0;
	st->body = render(json_incref(it->body), &r);
	return st->body ? 0 : r;
}

int store_commit(struct store *s, const struct store_call *c, const struct store_item *items, size_t n, int64_t until)
{
	struct store_op *op = NULL;
	int r;

	if (!name_is_valid(c->who) || !n || n > STORE_CHANGE_MAX)
		return -EINVAL;
	r = op_new(store_run_commit, c, NULL, NULL, &op);
	if (r < 0)
		return r;
	op->until = until;
	op->steps = calloc(n, sizeof(*op->steps));
	r = op->steps ? 0 : -ENOMEM;
	while (r == 0 && op->n_steps < n) {
		size_t i = op->n_steps++; /* what it has is freed in any case */
		r = step_new(&op->steps[i], &items[i]);
	}
	if (r == 0)
		return enqueue(s, op);
	op_free(op);
	return r;
}

int store_confirm(struct store *s, const struct store_call *c)
{
	struct store_op *op = NULL;
	int r = op_new(store_run_confirm, c, NULL, NULL, &op);

	return r < 0 ? r : enqueue(s, op);
}

void store_forget(struct store *s)
{
	struct store_op *op = NULL;

	if (op_new(store_run_forget, &(struct store_call){ 0 }, NULL, NULL, &op) == 0)
		(void)enqueue(s, op); /* else the next time */
}

int store_undo(struct store *s, const struct store_call *c, uint64_t audit, unsigned flags, int64_t until)
{
	struct store_op *op = NULL;
	int r;

	if (!name_is_valid(c->who) || !audit)
		return -EINVAL;
	r = op_new(store_run_undo, c, NULL, NULL, &op);
	if (r < 0)
		return r;
	op->number = audit;
	op->flags = flags;
	op->until = until;
	return enqueue(s, op);
}

int store_list(struct store *s, const struct store_call *c, const char *kind, const char *after_key,
	       unsigned limit)
{
	struct store_op *op = NULL;
	int r;

	if (!name_is_valid(kind) || !limit)
		return -EINVAL;
	r = op_new(store_run_list, c, kind, after_key ? after_key : "", &op);
	if (r < 0)
		return r;
	op->limit = MIN(limit, MAX_ROWS);
	return enqueue(s, op);
}

int store_audit(struct store *s, const struct store_call *c, uint64_t before, unsigned limit)
{
	struct store_op *op = NULL;
	int r;

	if (!limit)
		return -EINVAL;
	r = op_new(store_run_audit, c, NULL, NULL, &op);
	if (r < 0)
		return r;
	op->number = before ? before : UINT64_MAX;
	op->limit = MIN(limit, MAX_ROWS);
	return enqueue(s, op);
}

void store_flush(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	while (!list_empty(&s->queue) || s->busy)
		pthread_cond_wait(&s->idle, &s->lock);
	pthread_mutex_unlock(&s->lock);
}
