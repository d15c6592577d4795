/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: an event becomes one safe line on the thread that saw it, and is written by a thread of
 * its own.
 *
 * Between them lie two blocks of half a megabyte: producers append to one under a short lock,
 * the writer takes it away whole and writes while they fill the other, all that came within GATHER_MS
 * at once. A full block costs the line, which is counted. A new file or new settings are handed to
 * the writer through the same lock, so that no line is lost or written twice on the way. log_render.c
 * makes the lines.
 */
#include "common/log.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/log_priv.h"
#include "common/privileges.h"

enum { BLOCK = 512 << 10, GATHER_MS = 2 };

/* Written by the thread that owns the log's settings, read by everyone. */
static atomic_int level = LOG_LVL_INFO;
static atomic_bool as_json, with_priority;
static pthread_once_t seen_stderr = PTHREAD_ONCE_INIT;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	bool running, stop; /* running: the writer exists and takes lines */
	bool idle;	    /* the writer waits, and nobody has woken it yet */
	char *fill, *drain; /* two blocks; drain is the writer's while it writes */
	size_t used;
	uint64_t lost;
	uint64_t n_put, n_done; /* events that went in, and that are written or counted as lost */
	struct log_file *next;	/* for the writer to take over */
} q = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER };

/* Of the thread that calls log_open, log_reopen and log_close. */
static struct {
	pthread_t writer;
	struct log_config config;
	char *dir, *name;
} owner;

/* ---- levels ---- */

static const char *const level_names[LOG_LVL_COUNT] = { "error", "warn", "info", "debug", "trace" };

int log_level_parse(struct text t, enum log_level *ret_level)
{
	for (unsigned i = 0; i < LOG_LVL_COUNT; i++)
		if (text_eq(t, text_of(level_names[i]))) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

const char *log_level_name(enum log_level l)
{
	return (unsigned)l < LOG_LVL_COUNT ? level_names[l] : "?";
}

void log_set_level(enum log_level l)
{
	atomic_store_explicit(&level, (int)l, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&level, memory_order_relaxed);
}

bool log_enabled(enum log_level l)
{
	return (int)l <= atomic_load_explicit(&level, memory_order_relaxed);
}

/* ---- producers ---- */

/* False if there is no writer: the caller writes the line itself. */
static bool enqueue(const char *line, size_t n)
{
	pthread_mutex_lock(&q.lock);
	bool running = q.running, wake = running && q.idle;
	if (running) {
		if (BLOCK - q.used < n) {
			q.lost++;
		} else {
			memcpy(q.fill + q.used, line, n);
			q.used += n;
		}
		q.n_put++;
		q.idle = false;
	}
	pthread_mutex_unlock(&q.lock);
	if (wake) /* without the lock, which the writer needs first of all */
		pthread_cond_signal(&q.wake);
	return running;
}

static void look_at_stderr(void)
{
	atomic_store(&with_priority, log_file_is_journal());
}

void log_emit_fields(const struct log_msg *m, const struct log_field *fields)
{
	char line[LOG_LINE_MAX + 8];
	size_t n = 0;
	if (!log_enabled(m->level))
		return;
	pthread_once(&seen_stderr, look_at_stderr);
	if (atomic_load_explicit(&with_priority, memory_order_relaxed)) {
		memcpy(line, log_priority(m->level), 3);
		n = 3;
	}
	n += log_render(line + n, LOG_LINE_MAX, m, fields, clock_unix_ms(),
			atomic_load_explicit(&as_json, memory_order_relaxed));
	line[n++] = '\n';
	if (!enqueue(line, n) && write(STDERR_FILENO, line, n) < 0) {
		/* stderr is closed: there is nobody to tell */
	}
}

/* ---- the writer ---- */

static bool has_work(void)
{
	return q.used || q.lost || q.next || q.stop;
}

/* With the lock held. Waits for work or until the time comes (0: never). */
static void wait_for_work(time_t until)
{
	struct timespec ts = { .tv_sec = until };
	int r = 0;
	while (!has_work() && r != ETIMEDOUT) {
		q.idle = true;
		r = until ? pthread_cond_timedwait(&q.wake, &q.lock, &ts) : pthread_cond_wait(&q.wake, &q.lock);
	}
	q.idle = false;
}

/* With the lock held. A line seldom comes alone; one write for all of a moment leaves the workers in peace,
 * who would otherwise meet the writer at the lock with each line. */
static void gather(void)
{
	const struct timespec moment = { .tv_nsec = GATHER_MS * 1000000 };
	if (!q.used || q.stop || q.next)
		return;
	pthread_mutex_unlock(&q.lock);
	(void)nanosleep(&moment, NULL);
	pthread_mutex_lock(&q.lock);
}

/* Takes what there is, with the lock held, and writes it without. True: go on. */
static bool write_round(struct log_file **file, time_t *ret_next_daily)
{
	size_t n = q.used;
	uint64_t lost = q.lost, n_put = q.n_put;
	bool stop = q.stop;
	struct log_file *next = steal_ptr(&q.next);
	char *block = q.fill;
	q.fill = q.drain;
	q.drain = block;
	q.used = 0;
	q.lost = 0;
	pthread_mutex_unlock(&q.lock);
	time_t now = time(NULL);
	if (next) /* first: once log_reopen() has returned, nothing more goes to the file that was moved away */
		*file = log_file_replace(*file, next);
	if (n)
		log_file_write(*file, block, n, now);
	if (lost) {
		log_file_add_lost(*file, lost);
		log_file_write(*file, NULL, 0, now); /* only the report */
	}
	*ret_next_daily = log_file_daily(*file, now);
	pthread_mutex_lock(&q.lock);
	q.n_done = n_put;
	pthread_cond_broadcast(&q.done);
	return !(stop && !q.used && !q.lost && !q.next);
}

static void *writer_main(void *arg)
{
	struct log_file *file = arg;
	time_t next_daily = log_file_daily(file, time(NULL));
	pthread_mutex_lock(&q.lock);
	do {
		wait_for_work(next_daily);
		gather();
	} while (write_round(&file, &next_daily));
	q.running = false;
	pthread_mutex_unlock(&q.lock);
	log_file_free(file);
	return NULL;
}

static int start_writer(struct log_file *file)
{
	char *a = malloc(BLOCK), *b = malloc(BLOCK);
	int r = a && b ? 0 : -ENOMEM;
	if (r == 0) {
		q.fill = a;
		q.drain = b;
		q.stop = false;
		r = privileges_thread_new(&owner.writer, writer_main, file);
	}
	if (r < 0) {
		q.fill = q.drain = NULL;
		free(a);
		free(b);
		return r;
	}
	pthread_mutex_lock(&q.lock);
	q.running = true;
	pthread_mutex_unlock(&q.lock);
	return 0;
}

/* ---- settings ---- */

static int use_file(struct log_file *f, char *err, size_t err_n)
{
	pthread_mutex_lock(&q.lock);
	bool running = q.running;
	struct log_file *unused = running ? q.next : NULL; /* replaced before the writer came to it */
	if (running)
		q.next = f;
	pthread_cond_signal(&q.wake);
	pthread_mutex_unlock(&q.lock);
	log_file_free(unused);
	if (running)
		return 0;
	int r = start_writer(f);
	if (r < 0) {
		struct sb b = sb_init(err, err_n);
		sb_fmt(&b, "cannot start the log's thread: %s", strerror(-r));
		log_file_free(f);
	}
	return r;
}

int log_open(const struct log_config *c, char *err, size_t err_n)
{
	struct log_file *f = NULL;
	_cleanup_(freep) char *dir = text_dup(text_of(c->dir)), *name = text_dup(text_of(c->name));
	struct sb b = sb_init(err, err_n);
	if (!dir || !name) {
		sb_str(&b, "cannot open the log: out of memory");
		return -ENOMEM;
	}
	int r = log_file_new(c, time(NULL), &f, err, err_n);
	if (r == 0)
		r = use_file(f, err, err_n);
	if (r < 0)
		return r;
	free(owner.dir);
	free(owner.name);
	owner.config = *c;
	owner.config.dir = owner.dir = steal_ptr(&dir);
	owner.config.name = owner.name = steal_ptr(&name);
	pthread_once(&seen_stderr, look_at_stderr);
	log_set_level(c->level);
	atomic_store(&as_json, c->json);
	atomic_store(&with_priority, !*owner.dir && log_file_is_journal());
	return 0;
}

int log_reopen(char *err, size_t err_n)
{
	struct log_file *f = NULL;
	if (!owner.dir || !*owner.dir)
		return 0; /* stderr, or not open */
	int r = log_file_new(&owner.config, time(NULL), &f, err, err_n);
	return r < 0 ? r : use_file(f, err, err_n);
}

void log_flush(void)
{
	pthread_mutex_lock(&q.lock);
	uint64_t wanted = q.n_put;
	while (q.running && (q.n_done < wanted || q.next))
		pthread_cond_wait(&q.done, &q.lock);
	pthread_mutex_unlock(&q.lock);
}

void log_close(void)
{
	pthread_mutex_lock(&q.lock);
	bool running = q.running;
	q.stop = true;
	pthread_cond_signal(&q.wake);
	pthread_mutex_unlock(&q.lock);
	if (running) {
		pthread_join(owner.writer, NULL);
		free(q.fill);
		free(q.drain);
		q.fill = q.drain = NULL;
	}
	free(owner.dir);
	free(owner.name);
	owner.dir = owner.name = NULL;
	owner.config = (struct log_config){ 0 };
	atomic_store(&as_json, false);
	look_at_stderr();
}

/* ---- gates ---- */

bool log_gate_pass(struct log_gate *g, uint64_t now, uint64_t *ret_suppressed)
{
	if (g->second != now / 1000) {
		g->second = now / 1000;
		g->n = 0;
	}
	if (g->n >= (g->lines ? g->lines : LOG_GATE_LINES)) {
		g->suppressed++;
		return false;
	}
	g->n++;
	*ret_suppressed = g->suppressed;
	g->suppressed = 0;
	return true;
}
