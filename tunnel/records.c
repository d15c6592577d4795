/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records' frame: settings, the queue, the writer thread.
 *
 * Workers append ops to one list under a short lock; the writer takes the list away whole and works
 * through it in order, so an open, its packets and its close stay in line. Settings are handed over
 * through the same lock, and taken up between two batches. A folder that cannot be written is refused
 * before anything changes. Once an hour, and when settings change, files past their age are removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "common/clock.h"
#include "common/privileges.h"
#include "tunnel/log_msgs.h"
#include "tunnel/records_priv.h"

/* ---- the queue ---- */

struct records_op *records_op_new(enum records_op_kind kind, size_t n, int64_t now_ms)
{
	struct records_op *op = malloc(sizeof *op + n);

	if (!op)
		return NULL;
	*op = (struct records_op){ .kind = kind, .at = now_ms, .n = n };
	return op;
}

void records_push(struct records *rec, struct records_op *op)
{
	if (op->kind == OP_LINE_TEXT || op->kind == OP_LINE_JSON)
		rec->lines_queued += op->n;
	list_append(&rec->queue, &op->node);
	pthread_cond_signal(&rec->wake);
}

/* Moves all of from to the empty list to. */
static void take_all(struct list *to, struct list *from)
{
	list_init(to);
	if (list_empty(from))
		return;
	*to = *from;
	to->next->prev = to;
	to->prev->next = to;
	list_init(from);
}

/* ---- settings ---- */

int records_check(const struct records_options *o, char *err, size_t err_n)
{
	struct sb b = sb_init(err, err_n);
	struct stat st;

	if (!o->dir || !*o->dir)
		return 0;
	if (stat(o->dir, &st) < 0) {
		int e = errno;
		sb_fmt(&b, "the folder for records, %s: %s%s", o->dir, strerror(e), e == ENOENT ? "; make it first" : "");
		return -e;
	}
	if (!S_ISDIR(st.st_mode)) {
		sb_fmt(&b, "the folder for records, %s, is no folder", o->dir);
		return -ENOTDIR;
	}
	if (faccessat(AT_FDCWD, o->dir, W_OK | X_OK, AT_EACCESS) < 0) {
		int e = errno;
		sb_fmt(&b, "cannot write to the folder for records, %s: %s", o->dir, strerror(e));
		return -e;
	}
	return 0;
}

int records_settings_new(const struct records_options *o, char *err, size_t err_n,
			 struct records_settings **ret_s)
{
	_cleanup_(records_settings_freep) struct records_settings *s = NULL;
	int r = records_check(o, err, err_n);

	if (r < 0)
		return r;
	s = calloc(1, sizeof(*s));
	if (s && o->dir && *o->dir)
		s->dir = strdup(o->dir);
	if (!s || (o->dir && *o->dir && !s->dir)) {
		(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	s->o = *o;
	s->o.dir = NULL;
	*ret_s = steal_ptr(&s);
	return 0;
}

struct records_settings *records_settings_free(struct records_settings *s)
{
	if (s)
		free(s->dir);
	free(s);
	return NULL;
}

/* Lock held: what the workers see, at once. */
static void announce(struct records *rec, const struct records_settings *s)
{
	rec->on = s->dir;
	rec->text_on = s->dir && s->o.connections;
	rec->json_on = s->dir && s->o.connections_json;
}

void records_take(struct records *rec, struct records_settings *s)
{
	pthread_mutex_lock(&rec->lock);
	free(rec->next.dir);
	rec->next = *s;
	rec->changed = true;
	announce(rec, s);
	pthread_cond_signal(&rec->wake);
	pthread_mutex_unlock(&rec->lock);
	free(s);
}

int records_configure(struct records *rec, const struct records_options *o, char *err, size_t err_n)
{
	struct records_settings *s;
	int r = records_settings_new(o, err, err_n, &s);

	if (r == 0)
		records_take(rec, s);
	return r;
}

/* ---- the writer ---- */

static void sweep(struct records *rec)
{
	const struct records_settings *s = &rec->at_work;
	unsigned n;

	rec->sweep_at = clock_steady_ms() + (s->o.sweep_ms ? s->o.sweep_ms : RECORDS_SWEEP_MS);
	if (!s->dir || !s->o.keep_ms)
		return;
	n = records_sweep(s->dir, s->o.keep_ms, clock_unix_ms());
	if (n)
		log_emit(&MSG_RELAY_RECORDS_REMOVED, LF_STR("dir", s->dir), LF_U64("files", n));
}

static void take_settings(struct records *rec, struct records_settings *s)
{
	free(rec->at_work.dir);
	rec->at_work = *s;
	rec->below_floor = false;
	records_close_days(rec);
	sweep(rec);
}

static void write_batch(struct records *rec, struct list *batch)
{
	rec->look = true;
	list_for_each_safe(it, batch) {
		struct records_op *op = list_entry(it, struct records_op, node);
		list_unlink(it);
		if (op->kind == OP_LINE_TEXT || op->kind == OP_LINE_JSON) {
			records_write_line(rec, op);
			pthread_mutex_lock(&rec->lock);
			rec->lines_queued -= op->n;
			pthread_mutex_unlock(&rec->lock);
		} else {
			data_log_write(rec, op);
		}
		free(op);
	}
	data_log_flush(rec);
}

/* Lock held. Until there is some, or it is time for a sweep. */
static void wait_for_work(struct records *rec)
{
	const struct timespec until = { .tv_sec = (time_t)(rec->sweep_at / 1000),
					.tv_nsec = (long)(rec->sweep_at % 1000 * 1000000) };

	while (list_empty(&rec->queue) && !rec->stop && !rec->changed)
		if (pthread_cond_timedwait(&rec->wake, &rec->lock, &until) == ETIMEDOUT)
			return;
}

static void *writer(void *arg)
{
	struct records *rec = arg;
	bool stop = false;

	while (!stop) {
		struct records_settings next = { 0 };
		struct list batch;
		pthread_mutex_lock(&rec->lock);
		wait_for_work(rec);
		bool changed = rec->changed;
		take_all(&batch, &rec->queue);
		if (changed)
			next = rec->next;
		if (changed)
			rec->next = (struct records_settings){ 0 };
		rec->changed = false;
		rec->busy = true;
		stop = rec->stop;
		pthread_mutex_unlock(&rec->lock);
		if (changed)
			take_settings(rec, &next);
		else if (clock_steady_ms() >= rec->sweep_at)
			sweep(rec);
		write_batch(rec, &batch);
		pthread_mutex_lock(&rec->lock);
		rec->busy = false;
		stop = stop && list_empty(&rec->queue);
		pthread_cond_broadcast(&rec->done);
		pthread_mutex_unlock(&rec->lock);
	}
	return NULL;
}

/* ---- life ---- */

static void init_locks(struct records *rec)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&rec->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&rec->wake, &attr);
	pthread_cond_init(&rec->done, &attr);
	pthread_condattr_destroy(&attr);
}

static void destroy(struct records *rec)
{
	records_close_days(rec);
	free(rec->at_work.dir);
	free(rec->next.dir);
	pthread_cond_destroy(&rec->wake);
	pthread_cond_destroy(&rec->done);
	pthread_mutex_destroy(&rec->lock);
	free(rec);
}

int records_new(const struct records_options *o, char *err, size_t err_n, struct records **ret_rec)
{
	struct records *rec = calloc(1, sizeof *rec);
	struct sb b = sb_init(err, err_n);
	int r;

	if (!rec)
		return -ENOMEM;
	init_locks(rec);
	list_init(&rec->queue);
	rec->text.fd = rec->json.fd = -1;
	r = records_configure(rec, o, err, err_n);
	if (r == 0) {
		r = privileges_thread_new(&rec->thread, writer, rec);
		if (r < 0)
			sb_fmt(&b, "no thread for the records: %s", strerror(-r));
	}
	if (r < 0) {
		destroy(rec);
		return r;
	}
	*ret_rec = rec;
	return 0;
}

struct records *records_free(struct records *rec)
{
	if (!rec)
		return NULL;
	pthread_mutex_lock(&rec->lock);
	rec->stop = true;
	pthread_cond_signal(&rec->wake);
	pthread_mutex_unlock(&rec->lock);
	pthread_join(rec->thread, NULL);
	destroy(rec);
	return NULL;
}

void records_flush(struct records *rec)
{
	pthread_mutex_lock(&rec->lock);
	while (!list_empty(&rec->queue) || rec->changed || rec->busy)
		pthread_cond_wait(&rec->done, &rec->lock);
	pthread_mutex_unlock(&rec->lock);
}

void records_figures(const struct records *rec, struct records_figures *ret_f)
{
	struct records *locked = (struct records *)rec;

	pthread_mutex_lock(&locked->lock);
	*ret_f = rec->figures;
	pthread_mutex_unlock(&locked->lock);
}
