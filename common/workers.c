/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker threads: one loop each, started one after the other, stopped together.
 *
 * Starting in order of the index gives reuseport listeners a fixed order in the kernel's group. Stopping
 * has three steps with a barrier between them, because workers write to each other: all loops end,
 * then all deliver what is left in their boxes, then all tear down. After the join the
 * starter frees the loops. The mutex and condition here are for starting and for workers_call; the
 * packet path never sees them.
 */
#include "common/loop.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>
#include "common/privileges.h"
#include "common/text.h"

enum worker_state { WORKER_STARTING, WORKER_READY, WORKER_FAILED };
enum { STOP_ROUNDS = 4 }; /* answers to answers to answers; what comes later is dropped */

struct worker_slot {
	struct workers_sync *sync;
	struct worker *w;
	struct mail stop;
	enum worker_state state;
	int error;
};

struct workers_sync {
	const struct workers *ws;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	enum { GO_WAIT, GO_RUN, GO_ABORT } go;
	pthread_barrier_t barrier; /* made once all are ready */
	struct mail call;
	void (*call_fn)(struct worker *w, void *arg);
	void *call_arg;
	struct worker *call_worker;
	bool call_done;
	struct worker_slot slot[];
};

unsigned workers_default_count(void)
{
	cpu_set_t set;
	long n;

	if (!sched_getaffinity(0, sizeof(set), &set))
		n = CPU_COUNT(&set);
	else
		n = sysconf(_SC_NPROCESSORS_ONLN); /* more than 1024 processors */
	return n > 0 ? (unsigned)n : 1;
}

static void deliver_nothing(struct mail *m, struct loop *l)
{
	(void)m;
	loop_stop(l);
}

/* One more pass each, so that what is in the boxes is delivered and what that queued is flushed. */
static void deliver_rest(struct worker_slot *slot)
{
	for (int i = 0; i < STOP_ROUNDS; i++) {
		pthread_barrier_wait(&slot->sync->barrier);
		loop_stop(slot->w->loop);
		(void)loop_run(slot->w->loop);
	}
	pthread_barrier_wait(&slot->sync->barrier);
}

/* So that top -H and perf tell them apart. */
static void name_thread(unsigned index)
{
	char name[16];
	struct sb b = sb_init(name, sizeof(name));

	sb_str(&b, "worker ");
	sb_u64(&b, index, 1);
	pthread_setname_np(pthread_self(), name);
}

static void *worker_main(void *arg)
{
	struct worker_slot *slot = arg;
	struct workers_sync *sync = slot->sync;
	const struct workers *ws = sync->ws;
	int r = ws->ops->setup ? ws->ops->setup(slot->w, ws->arg) : 0;
	bool run;

	name_thread(slot->w->index);
	pthread_mutex_lock(&sync->mutex);
	slot->state = r ? WORKER_FAILED : WORKER_READY;
	slot->error = r;
	pthread_cond_broadcast(&sync->changed);
	while (!r && sync->go == GO_WAIT)
		pthread_cond_wait(&sync->changed, &sync->mutex);
	run = sync->go == GO_RUN;
	pthread_mutex_unlock(&sync->mutex);
	if (r)
		return NULL;
	if (run) {
		/* A worker whose epoll fails cannot be reached any more: better a restart by the
		 * service manager than a server that is silently short of a worker. */
		if (loop_run(slot->w->loop) < 0)
			abort();
		deliver_rest(slot);
	}
	if (ws->ops->teardown)
		ws->ops->teardown(slot->w, ws->arg);
	return NULL;
}

static int start_one(struct workers *ws, unsigned i)
{
	struct workers_sync *sync = ws->sync;
	struct worker_slot *slot = &sync->slot[i];
	int r;

	ws->w[i].index = i;
	*slot = (struct worker_slot){ .sync = sync, .w = &ws->w[i] };
	slot->stop.deliver = deliver_nothing;
	r = loop_new(&ws->w[i].loop);
	if (r < 0)
		return r;
	r = privileges_thread_new(&ws->w[i].thread, worker_main, slot);
	if (r < 0) {
		ws->w[i].loop = loop_free(ws->w[i].loop);
		return r;
	}
	pthread_mutex_lock(&sync->mutex);
	while (slot->state == WORKER_STARTING)
		pthread_cond_wait(&sync->changed, &sync->mutex);
	r = slot->error;
	pthread_mutex_unlock(&sync->mutex);
	return r;
}

static void let_go(struct workers *ws, int go)
{
	struct workers_sync *sync = ws->sync;

	pthread_mutex_lock(&sync->mutex);
	sync->go = go;
	pthread_cond_broadcast(&sync->changed);
	pthread_mutex_unlock(&sync->mutex);
}

/* Joins every thread that was made (those have a loop) and frees everything. */
static void reap(struct workers *ws)
{
	for (unsigned i = 0; i < ws->n; i++)
		if (ws->w[i].loop)
			pthread_join(ws->w[i].thread, NULL);
	for (unsigned i = 0; i < ws->n; i++)
		loop_free(ws->w[i].loop);
	if (ws->sync) {
		pthread_mutex_destroy(&ws->sync->mutex);
		pthread_cond_destroy(&ws->sync->changed);
	}
	free(ws->sync);
	free(ws->w);
	*ws = (struct workers){ 0 };
}

int workers_start(struct workers *ws, unsigned n, const struct worker_ops *ops, void *arg)
{
	int r = 0;

	if (n == 0)
		return -EINVAL;
	*ws = (struct workers){ .n = n, .ops = ops, .arg = arg };
	ws->w = calloc(n, sizeof(*ws->w));
	ws->sync = calloc(1, sizeof(*ws->sync) + n * sizeof(ws->sync->slot[0]));
	if (!ws->w || !ws->sync) {
		free(ws->w);
		free(ws->sync);
		*ws = (struct workers){ 0 };
		return -ENOMEM;
	}
	ws->sync->ws = ws;
	pthread_mutex_init(&ws->sync->mutex, NULL);
	pthread_cond_init(&ws->sync->changed, NULL);
	for (unsigned i = 0; i < n && !r; i++)
		r = start_one(ws, i);
	if (!r)
		r = -pthread_barrier_init(&ws->sync->barrier, NULL, n);
	let_go(ws, r ? GO_ABORT : GO_RUN);
	if (r)
		reap(ws);
	return r;
}

void workers_stop(struct workers *ws)
{
	struct workers_sync *sync = ws->sync;

	if (!sync)
		return;
	for (unsigned i = 0; i < ws->n; i++)
		loop_post(ws->w[i].loop, &sync->slot[i].stop);
	for (unsigned i = 0; i < ws->n; i++) {
		pthread_join(ws->w[i].thread, NULL);
	}
	for (unsigned i = 0; i < ws->n; i++)
		ws->w[i].loop = loop_free(ws->w[i].loop); /* reap() joins none again */
	pthread_barrier_destroy(&sync->barrier);
	reap(ws);
}

static void run_call(struct mail *m, struct loop *l)
{
	struct workers_sync *sync = container_of(m, struct workers_sync, call);

	(void)l;
	sync->call_fn(sync->call_worker, sync->call_arg);
	pthread_mutex_lock(&sync->mutex);
	sync->call_done = true;
	pthread_cond_broadcast(&sync->changed);
	pthread_mutex_unlock(&sync->mutex);
}

void workers_call(struct workers *ws, void (*fn)(struct worker *w, void *arg), void *arg)
{
	struct workers_sync *sync = ws->sync;

	for (unsigned i = 0; i < ws->n; i++) {
		sync->call = (struct mail){ .deliver = run_call };
		sync->call_fn = fn;
		sync->call_arg = arg;
		sync->call_worker = &ws->w[i];
		sync->call_done = false;
		loop_post(ws->w[i].loop, &sync->call);
		pthread_mutex_lock(&sync->mutex);
		while (!sync->call_done)
			pthread_cond_wait(&sync->changed, &sync->mutex);
		pthread_mutex_unlock(&sync->mutex);
	}
}
