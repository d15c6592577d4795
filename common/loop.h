/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event loop glue over libevent: one struct loop per thread, with its timers, its mailbox, and
 * hooks that run once per pass (the place to flush batched output).
 *
 * A loop belongs to the thread that runs it. The only function that another thread may call is
 * loop_post(); loop_stop() and all else are for the owner. One pass is: wait, run what is
 * ready, run the mailbox, run due timers, run the pass hooks. loop_now() is read once a pass, so the
 * packet path never asks the clock. Before its first wait a loop runs the last three, so what was
 * posted, timed or queued before loop_run() is not left lying.
 *
 * Workers are loops with a thread each; they share nothing and talk by mail. A process that has a
 * loop ignores SIGPIPE: a peer that went away is an error of its stream.
 */
#pragma once
#include <pthread.h>
#include "common/list.h"
#include "common/timers.h"

struct loop;

int loop_new(struct loop **ret_loop);
struct loop *loop_free(struct loop *l);
int loop_run(struct loop *l); /* until loop_stop(); 0 or -errno */
void loop_stop(struct loop *l);
uint64_t loop_now(const struct loop *l);	/* ms, CLOCK_MONOTONIC, of this pass */
struct timers *loop_timers(struct loop *l);
uint64_t loop_passes(const struct loop *l);	/* heartbeat: relaxed atomic, any thread may read */
DEFINE_CLEANUP(struct loop, loop_free)

static inline void loop_timer_set(struct loop *l, struct timer *t, uint64_t delay_ms)
{
	timers_set(loop_timers(l), t, loop_now(l) + delay_ms);
}

/* A descriptor being watched, level-triggered. Lives inside its owner. IO_EDGE makes it edge-triggered: each
 * change is told once, so the owner goes on until EAGAIN, or comes back by itself (common/joint does, which
 * would else change what it watches at every stop of a bulk flow). IO_CLOSED tells the peer's end also while
 * bytes are waiting. */
enum { IO_READ = 1, IO_WRITE = 2, IO_EDGE = 4, IO_CLOSED = 8 };
struct io {
	struct loop *loop;
	struct event *ev;
	int fd;
	int events;
	void (*ready)(struct io *io, int events);
};
int io_start(struct io *io, struct loop *l, int fd, int events, void (*ready)(struct io *, int));
int io_change(struct io *io, int events); /* 0: keep, but watch nothing */
void io_stop(struct io *io);		  /* does not close fd; harmless twice or on a zeroed struct */

/* A signal, delivered in the loop (main loop only). */
int loop_on_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg);

/* Runs at the end of every pass while linked; the latest added runs first, so what was there first (the
 * datagram queue) sees the output of those added after it. A hook may remove any hook. */
struct pass_hook {
	struct list node;
	void (*run)(struct pass_hook *h);
};
void loop_add_hook(struct loop *l, struct pass_hook *h);
void loop_remove_hook(struct pass_hook *h);

/* A message to a loop. Owned by the receiver once posted; deliver() frees or keeps it. drop() is called
 * instead by loop_free() for what is still in the box; NULL if there is nothing to free. Between workers
 * that is only mail posted by a teardown: all else is delivered before any teardown begins. */
struct mail {
	struct mail *next;
	void (*deliver)(struct mail *m, struct loop *l);
	void (*drop)(struct mail *m);
};
bool loop_has_mail(const struct loop *l);
void loop_post(struct loop *l, struct mail *m); /* thread-safe, never blocks on the receiver, in order per sender */

/* Worker threads. setup runs in the new thread before its loop runs, one worker after the other in the
 * order of their index; teardown after all loops have stopped. Signals stay with the main thread. */
struct workers_sync;
struct worker {
	unsigned index;
	struct loop *loop;
	pthread_t thread;
	void *state; /* of the service */
};
struct worker_ops {
	int (*setup)(struct worker *w, void *arg);
	void (*teardown)(struct worker *w, void *arg);
};
struct workers {
	unsigned n;
	struct worker *w;
	const struct worker_ops *ops;
	void *arg;
	struct workers_sync *sync; /* private */
};
unsigned workers_default_count(void); /* usable cores (affinity), at least 1 */
/* All are set up when it returns 0; on failure none runs and the setup's error is returned. */
int workers_start(struct workers *ws, unsigned n, const struct worker_ops *ops, void *arg);
void workers_stop(struct workers *ws); /* stops, joins, frees */
/* Runs fn in each worker, one after the other (arg needs no lock), and waits for it: for rare control
 * work, from the thread that started the workers only. */
void workers_call(struct workers *ws, void (*fn)(struct worker *w, void *arg), void *arg);
