/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's thread, its queue, and what a change means; store_engine.h is what lies beneath.
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
#include "common/bytes.h"
#include "common/clock.h"
#include "common/log_msgs.h"
#include "common/privileges.h"
#include "common/store_engine.h"
#include "common/store_secrets.h"
#include "common/text.h"

enum { MAX_QUEUE = 10000, MAX_BATCH = 512, MAX_NAME = 255, MAX_BODY = 1 << 20, MAX_ROWS = 1000 };

struct store {
	const struct store_engine *engine;
	const struct store_kind *kinds; /* may be NULL */
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
	unsigned limit;
	struct store_outcome outcome;
};

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
		[STORE_SECRET] = "that change set or removed a secret, and what it was is not kept; set it anew",
	};

	return (unsigned)r < ARRAY_LEN(texts) ? texts[r] : "unknown result";
}

/* --- what a change means; in the store's thread, inside a transaction --- */

static const struct store_kind *kind_of(const struct store *s, const char *kind)
{
	for (const struct store_kind *k = s->kinds; k && k->name; k++)
		if (strcmp(k->name, kind) == 0)
			return k;
	return NULL;
}

static const struct cfg_schema *schema_of(const struct store *s, const char *kind)
{
	const struct store_kind *k = kind_of(s, kind);

	return k ? k->schema : NULL;
}

static int audit(struct store *s, struct store_change *c)
{
	struct store_change shown = *c;
	struct store_masked m;
	int r = store_mask(schema_of(s, c->kind), c->before, c->after, &m);

	if (r < 0)
		return r;
	shown.before = m.before;
	shown.after = m.after;
	r = s->engine->audit_add(s->db, &shown, &c->audit);
	store_masked_done(&m);
	return r;
}

static int change(struct store *s, struct store_op *op, struct store_change *c)
{
	const struct store_kind *k = kind_of(s, c->kind);
	int r;

	c->at = clock_unix_ms();
	c->who = op->who;
	if (k && k->unaudited)
		c->audit = (uint64_t)c->at;
	r = c->audit ? 0 : audit(s, c);
	if (r == 0)
		r = c->after ? s->engine->set(s->db, c) : s->engine->remove(s->db, c);
	if (r == 0) {
		op->outcome.audit = k && k->unaudited ? 0 : c->audit;
		op->outcome.revision = c->after ? c->audit : 0;
	}
	return r;
}

static void wipe_text(char *text) /* it may hold a password */
{
	if (text)
		bytes_wipe(text, strlen(text));
	free(text);
}

static void row_done(struct store_row *row)
{
	wipe_text(row->body);
}

static int run_put(struct store *s, struct store_op *op)
{
	struct store_change c = { .kind = op->kind, .key = op->key, .after = op->body };
	_cleanup_(row_done) struct store_row row = { 0 };
	int r;

	r = s->engine->get(s->db, op->kind, op->key, &row);
	c.before = row.body;
	if (r == STORE_NOT_FOUND && (op->number == 0 || op->number == STORE_ANY))
		return change(s, op, &c);
	if (r != 0)
		return r;
	if (op->number == 0)
		return STORE_EXISTS;
	if (op->number != STORE_ANY && op->number != row.revision)
		return STORE_CONFLICT;
	return change(s, op, &c);
}

static int run_delete(struct store *s, struct store_op *op)
{
	struct store_change c = { .kind = op->kind, .key = op->key };
	_cleanup_(row_done) struct store_row row = { 0 };
	int r;

	r = s->engine->get(s->db, op->kind, op->key, &row);
	c.before = row.body;
	if (r != 0)
		return r;
	if (op->number != STORE_ANY && op->number != row.revision)
		return STORE_CONFLICT;
	return change(s, op, &c);
}

static int undo(struct store *s, struct store_op *op, const struct store_past *past)
{
	struct store_change c = { .kind = past->kind, .key = past->key, .undoes = op->number };
	_cleanup_(row_done) struct store_row row = { 0 }, back = { 0 };
	int r;

	if (past->latest != op->number)
		return STORE_CONFLICT;
	r = s->engine->get(s->db, past->kind, past->key, &row);
	c.before = row.body;
	if (r != 0 && r != STORE_NOT_FOUND)
		return r;
	r = store_unmask(schema_of(s, past->kind), past->before, row.body, &back.body);
	c.after = back.body;
	return r != 0 ? r : change(s, op, &c);
}

static int run_undo(struct store *s, struct store_op *op)
{
	struct store_past past = { 0 };
	int r;

	r = s->engine->audit_get(s->db, op->number, &past);
	if (r == 0)
		r = undo(s, op, &past);
	free(past.kind);
	free(past.key);
	free(past.before);
	return r;
}

static int rows_new(struct store_op *op)
{
	json_decref(op->outcome.rows);
	op->outcome.rows = json_array();
	return op->outcome.rows ? 0 : -ENOMEM;
}

static int run_list(struct store *s, struct store_op *op)
{
	int r = rows_new(op);

	return r < 0 ? r : s->engine->list(s->db, op->kind, op->key, op->limit, op->outcome.rows);
}

static int run_audit(struct store *s, struct store_op *op)
{
	int r = rows_new(op);

	return r < 0 ? r : s->engine->audit_list(s->db, op->number, op->limit, op->outcome.rows);
}

/* --- batches --- */

static void op_free(struct store_op *op)
{
	json_decref(op->outcome.rows);
	free(op->kind);
	free(op->key);
	free(op->who);
	wipe_text(op->body);
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
	return op->outcome.result == 0 ? e->keep(s->db) : e->to_mark(s->db);
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

static void finish(struct store_op *op)
{
	list_unlink(&op->node);
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
		finish(op);
	}
	pthread_mutex_unlock(&s->db_lock);
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

int store_open(const struct store_options *o, char *err, size_t err_n, struct store **ret_s)
{
	_cleanup_(store_closep) struct store *s = calloc(1, sizeof(*s));
	int r;

	snprintf(err, err_n, "no memory for the store");
	if (!s)
		return -ENOMEM;
	s->engine = &store_sqlite;
	s->kinds = o->kinds;
	pthread_mutex_init(&s->db_lock, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	pthread_cond_init(&s->idle, NULL);
	list_init(&s->queue);
	r = s->engine->open(o, err, err_n, &s->db);
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
		free(text);
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
		r = op_new(run_put, c, kind, key, &op);
	else
		r = -EINVAL;
	if (r < 0) {
		free(text);
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
	r = op_new(run_delete, c, kind, key, &op);
	if (r < 0)
		return r;
	op->number = revision;
	return enqueue(s, op);
}

int store_undo(struct store *s, const struct store_call *c, uint64_t audit)
{
	struct store_op *op = NULL;
	int r;

	if (!name_is_valid(c->who) || !audit)
		return -EINVAL;
	r = op_new(run_undo, c, NULL, NULL, &op);
	if (r < 0)
		return r;
	op->number = audit;
	return enqueue(s, op);
}

int store_list(struct store *s, const struct store_call *c, const char *kind, const char *after_key,
	       unsigned limit)
{
	struct store_op *op = NULL;
	int r;

	if (!name_is_valid(kind) || !limit)
		return -EINVAL;
	r = op_new(run_list, c, kind, after_key ? after_key : "", &op);
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
	r = op_new(run_audit, c, NULL, NULL, &op);
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
