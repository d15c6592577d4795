/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the joints of one loop share: the buffer that small traffic goes through, the pipes, the queue of
 * those that come back in the next pass, and the struct memory of those that have ended.
 *
 * A pipe is lent when a flow has shown that it is a bulk flow, and comes back when a sweep, once a second,
 * finds that its flow has gone quiet and the pipe is empty. A few are kept for the next flow; when none
 * was wanted for a while they are closed, so that after a peak there is nothing left of it.
 */
#include "common/joint_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum {
	PIPES = 256,
	PIPE_SIZE = 256 << 10,
	SWEEP_MS = 1000,
	SPARE_MS = 10000,
	BULK_BYTES = 512 << 10, /* a flow that moved fewer between two sweeps is not one */
};

/* ---- the queue ---- */

void joint_queue(struct joint *j)
{
	if (!j->freed && j->run.next == &j->run)
		list_append(&j->pool->run, &j->run);
	if (!timer_is_set(&j->pool->run_timer))
		loop_timer_set(j->pool->loop, &j->pool->run_timer, 0);
}

static void take_list(struct list *from, struct list *to)
{
	list_init(to);
	if (list_empty(from))
		return;
	list_append(from, to);
	list_unlink(from);
}

static void on_run(struct timer *t, uint64_t now)
{
	struct joint_pool *p = container_of(t, struct joint_pool, run_timer);

	(void)now;
	take_list(&p->run, &p->running); /* who queues itself now comes in the next pass */
	while (!list_empty(&p->running)) {
		struct joint *j = list_entry(p->running.next, struct joint, run);

		list_unlink(&j->run);
		joint_run(j);
	}
}

static void bury(struct pass_hook *h)
{
	struct joint_pool *p = container_of(h, struct joint_pool, hook);

	while (!list_empty(&p->dead)) {
		struct joint *j = list_entry(p->dead.next, struct joint, run);

		list_unlink(&j->run);
		free(j);
	}
}

/* ---- pipes ---- */

static void close_pipe(const int pipe[2])
{
	close(pipe[0]);
	close(pipe[1]);
}

static void close_spares(struct joint_pool *p)
{
	while (p->n_spare)
		close_pipe(p->spare[--p->n_spare]);
	p->stats.pipes_spare = 0;
}

static void watch(struct joint_pool *p)
{
	if (!timer_is_set(&p->sweep_timer))
		loop_timer_set(p->loop, &p->sweep_timer, SWEEP_MS);
}

bool joint_pipe_lend(struct joint_pool *p, struct joint_flow *f)
{
	if (p->no_splice || p->stats.pipes_lent >= p->max_pipes) {
		p->stats.pipes_short += !p->no_splice;
		return false;
	}
	if (p->n_spare) {
		p->n_spare--;
		f->pipe[0] = p->spare[p->n_spare][0];
		f->pipe[1] = p->spare[p->n_spare][1];
		p->stats.pipes_spare = p->n_spare;
	} else {
		if (pipe2(f->pipe, O_NONBLOCK | O_CLOEXEC) < 0) {
			f->pipe[0] = f->pipe[1] = -1;
			p->stats.pipes_short++;
			return false;
		}
		/* Over the user's share of pipe memory it stays at its default size, which is slower and no fault. */
		(void)fcntl(f->pipe[0], F_SETPIPE_SZ, (int)p->pipe_size);
		p->stats.pipes_made++;
	}
	p->stats.pipes_lent++;
	f->swept = f->bytes;
	list_append(&p->bulk, &f->bulk);
	watch(p);
	return true;
}

void joint_pipe_return(struct joint_pool *p, struct joint_flow *f)
{
	if (f->pipe[0] < 0)
		return;
	if (f->in_pipe == 0 && p->n_spare < ARRAY_LEN(p->spare)) {
		p->spare[p->n_spare][0] = f->pipe[0];
		p->spare[p->n_spare++][1] = f->pipe[1];
		p->stats.pipes_spare = p->n_spare;
		p->spare_used_at = loop_now(p->loop);
	} else {
		close_pipe(f->pipe);
	}
	f->pipe[0] = f->pipe[1] = -1;
	f->in_pipe = 0;
	f->full = 0;
	list_unlink(&f->bulk);
	p->stats.pipes_lent--;
}

static void on_sweep(struct timer *t, uint64_t now)
{
	struct joint_pool *p = container_of(t, struct joint_pool, sweep_timer);

	list_for_each_safe(it, &p->bulk) {
		struct joint_flow *f = list_entry(it, struct joint_flow, bulk);

		if (f->in_pipe == 0 && f->bytes - f->swept < BULK_BYTES)
			joint_pipe_return(p, f);
		else
			f->swept = f->bytes;
	}
	if (now - p->spare_used_at >= SPARE_MS)
		close_spares(p);
	if (!list_empty(&p->bulk) || p->n_spare)
		watch(p);
}

/* ---- life ---- */

int joint_pool_new(struct loop *l, const struct joint_pool_options *o, struct joint_pool **ret_p)
{
	struct joint_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->loop = l;
	p->max_pipes = o && o->pipes ? o->pipes : PIPES;
	p->pipe_size = o && o->pipe_size ? o->pipe_size : PIPE_SIZE;
	p->no_splice = o && o->no_splice;
	list_init(&p->run);
	list_init(&p->running);
	list_init(&p->dead);
	list_init(&p->bulk);
	p->run_timer.fire = on_run;
	p->sweep_timer.fire = on_sweep;
	p->hook.run = bury;
	loop_add_hook(l, &p->hook);
	*ret_p = p;
	return 0;
}

struct joint_pool *joint_pool_free(struct joint_pool *p)
{
	if (!p)
		return NULL;
	bury(&p->hook);
	loop_remove_hook(&p->hook);
	timer_stop(&p->run_timer);
	timer_stop(&p->sweep_timer);
	close_spares(p);
	free(p);
	return NULL;
}

const struct joint_pool_stats *joint_pool_stats(const struct joint_pool *p)
{
	return &p->stats;
}
