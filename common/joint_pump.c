/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of one way of a joint: read from one side, written to the other, until there is nothing more, the
 * far side takes no more, or the joint has had its turn.
 *
 * The descriptors are edge-triggered, so a way stops only where an event is sure to come: at EAGAIN, or at a
 * short read as long as the peer has not hung up; blocked, whose IO_WRITE comes; paused or over its limit,
 * where whoever lifts that queues the joint; and capped, which queues it itself. Nothing is read before
 * what was read is written, so a way holds one buffer or one pipe at most. How much is read at a time
 * starts small and doubles while the far side takes it all: a crowd of peers that do not read costs little.
 */
#include "common/joint_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum {
	CHUNK_MIN = 16 << 10,
	TURNS = 16,	    /* reads in one go, before others have theirs */
	BULK_READS = 3,	    /* full buffers in a row that show a bulk flow */
	WINDOW_MS = 1000,   /* of the rate */
	LIMIT_RETRY_MS = 5,
};

enum step { STEP_MORE, STEP_STOP, STEP_GONE };

void joint_flow_init(struct joint_flow *f)
{
	f->pipe[0] = f->pipe[1] = -1;
	f->chunk = CHUNK_MIN;
	list_init(&f->bulk);
}

void joint_flow_deinit(struct joint *j, enum joint_way w)
{
	struct joint_flow *f = &j->flow[w];

	joint_pipe_return(j->pool, f);
	free(f->held);
	f->held = NULL;
	f->held_n = 0;
}

int joint_hold(struct joint_flow *f, const void *p, size_t n)
{
	f->held = malloc(n);
	if (!f->held)
		return -ENOMEM;
	memcpy(f->held, p, n);
	f->held_at = 0;
	f->held_n = (uint32_t)n;
	return 0;
}

static void count(struct joint *j, struct joint_flow *f, size_t n)
{
	uint64_t now = loop_now(j->pool->loop), gone = now - f->window_at;

	f->bytes += n;
	j->last = now;
	if (gone >= WINDOW_MS) {
		f->rate = f->window_bytes * 1000 / gone;
		f->window_at = now;
		f->window_bytes = 0;
	}
	f->window_bytes += n;
}

/* ---- to the far side ---- */

static enum step write_failed(struct joint *j, enum joint_way w, int r, const char *why)
{
	if (r == -EAGAIN) {
		j->flow[w].blocked = true;
		return STEP_STOP;
	}
	return joint_side_broken(j, (enum joint_side)!w, false, -r, why) ? STEP_STOP : STEP_GONE;
}

static enum step flush_held(struct joint *j, enum joint_way w)
{
	struct joint_flow *f = &j->flow[w];
	struct joint_end_side *to = &j->side[!w];
	char why[JOINT_WHY];

	while (f->held_n) {
		ssize_t r = to->wire->write(to, f->held + f->held_at, f->held_n, why);

		if (r < 0)
			return write_failed(j, w, (int)r, why);
		f->held_at += (uint32_t)r;
		f->held_n -= (uint32_t)r;
		j->last = loop_now(j->pool->loop);
	}
	free(f->held);
	f->held = NULL;
	return STEP_MORE;
}

static enum step flush_pipe(struct joint *j, enum joint_way w)
{
	struct joint_flow *f = &j->flow[w];

	while (f->in_pipe) {
		ssize_t r = splice(f->pipe[0], NULL, j->side[!w].fd, NULL, f->in_pipe,
				   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return write_failed(j, w, r < 0 ? -errno : -EPIPE, strerror(r < 0 ? errno : EPIPE));
		f->in_pipe -= (size_t)r;
		j->last = loop_now(j->pool->loop);
	}
	return STEP_MORE;
}

/* Writes what was just read into the loop's buffer, and keeps what is not taken. */
static enum step pass_on(struct joint *j, enum joint_way w, const uint8_t *p, size_t n)
{
	struct joint_flow *f = &j->flow[w];
	struct joint_end_side *to = &j->side[!w];
	char why[JOINT_WHY];
	enum step st = STEP_MORE;

	while (n && st == STEP_MORE) {
		ssize_t r = to->wire->write(to, p, n, why);

		if (r < 0) {
			st = write_failed(j, w, (int)r, why);
		} else { /* short: the next write says whether that was all */
			p += r;
			n -= (size_t)r;
		}
	}
	if (st == STEP_STOP && f->blocked) {
		f->chunk = CHUNK_MIN;
		if (joint_hold(f, p, n) < 0) {
			joint_end_now(j, JOINT_END_MEMORY, ENOMEM, joint_end_text(JOINT_END_MEMORY));
			return STEP_GONE;
		}
	}
	return st;
}

/* ---- from the near side ---- */

static enum step read_ended(struct joint *j, enum joint_way w, int r, const char *why)
{
	if (r == -EAGAIN)
		return STEP_STOP;
	if (r == 0) {
		j->flow[w].eof = true;
		return STEP_MORE;
	}
	return joint_side_broken(j, (enum joint_side)w, true, -r, why) ? STEP_MORE : STEP_GONE;
}

/* How much may be read now; 0: nothing, the timer comes back. */
static size_t allowed(struct joint *j, enum joint_way w, size_t want)
{
	struct joint_flow *f = &j->flow[w];
	size_t n = want;

	if (!f->limited)
		return want;
	n = j->ops->room(j, w, want, j->arg);
	if (n == 0 && !j->freed) {
		f->waits = true;
		loop_timer_set(j->pool->loop, &j->limit, LIMIT_RETRY_MS);
	}
	return MIN(n, want);
}

static enum step copy_once(struct joint *j, enum joint_way w)
{
	struct joint_flow *f = &j->flow[w];
	struct joint_end_side *from = &j->side[w];
	size_t want = allowed(j, w, f->chunk);
	char why[JOINT_WHY];
	ssize_t r;

	if (j->freed || j->state == JOINT_ENDED)
		return STEP_GONE;
	if (want == 0)
		return STEP_STOP;
	r = from->wire->read(from, j->pool->buffer, want, why);
	if (r <= 0)
		return read_ended(j, w, (int)r, why);
	count(j, f, (size_t)r);
	j->pool->stats.bytes_copied += (uint64_t)r;
	if (f->limited)
		j->ops->passed(j, w, (size_t)r, j->arg);
	if (f->tapped && !j->freed)
		j->ops->tap(j, w, j->pool->buffer, (size_t)r, j->arg);
	if (j->freed || j->state == JOINT_ENDED)
		return STEP_GONE;
	f->full = (size_t)r == JOINT_BUFFER ? f->full + 1 : 0;
	if ((size_t)r == f->chunk)
		f->chunk = MIN(f->chunk * 2, JOINT_BUFFER);
	enum step st = pass_on(j, w, j->pool->buffer, (size_t)r);
	return st == STEP_MORE && from->drained ? STEP_STOP : st;
}

static enum step splice_once(struct joint *j, enum joint_way w)
{
	struct joint_flow *f = &j->flow[w];
	ssize_t r = splice(j->side[w].fd, NULL, f->pipe[1], NULL, j->pool->pipe_size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (r < 0 && errno == EINTR)
		return STEP_MORE;
	if (r < 0 && errno == EINVAL) { /* a socket that cannot */
		joint_pipe_return(j->pool, f);
		f->unspliceable = true;
		return STEP_MORE;
	}
	if (r <= 0)
		return read_ended(j, w, r < 0 ? -errno : 0, strerror(errno));
	f->in_pipe = (size_t)r;
	count(j, f, (size_t)r);
	j->pool->stats.bytes_spliced += (uint64_t)r;
	return flush_pipe(j, w);
}

/* Is it, or does it become, a flow that is spliced? */
static bool splices(struct joint *j, enum joint_way w)
{
	struct joint_flow *f = &j->flow[w];

	if (f->tapped || f->limited || f->unspliceable || !j->side[w].wire->splices || !j->side[!w].wire->splices) {
		joint_pipe_return(j->pool, f); /* empty here, or it would have been flushed first */
		return false;
	}
	if (f->pipe[0] >= 0)
		return true;
	if (f->full < BULK_READS)
		return false;
	f->full = 0; /* without a pipe: asked again after as many */
	return joint_pipe_lend(j->pool, f);
}

/* The near side's last byte is passed on: says so to the far side. */
static enum step finish(struct joint *j, enum joint_way w)
{
	struct joint_flow *f = &j->flow[w];

	joint_pipe_return(j->pool, f);
	if (j->broken >= 0) {
		joint_end_now(j, (enum joint_end)j->broken, j->err, j->why);
		return STEP_GONE;
	}
	if (j->flow[!w].done && !j->side[!w].ssl) { /* closing it says the same */
		joint_end_now(j, JOINT_END_CLEAN, 0, joint_end_text(JOINT_END_CLEAN));
		return STEP_GONE;
	}
	if (j->side[!w].wire->finish(&j->side[!w]) == -EAGAIN) {
		f->blocked = true;
		return STEP_STOP;
	}
	f->done = true;
	if (j->flow[!w].done) {
		joint_end_now(j, JOINT_END_CLEAN, 0, joint_end_text(JOINT_END_CLEAN));
		return STEP_GONE;
	}
	j->last = loop_now(j->pool->loop);
	if (j->half_close_ms)
		loop_timer_set(j->pool->loop, &j->deadline, j->half_close_ms);
	return STEP_STOP;
}

static enum step turn(struct joint *j, enum joint_way w)
{
	struct joint_flow *f = &j->flow[w];
	enum step st = f->held_n ? flush_held(j, w) : STEP_MORE;

	if (st == STEP_MORE && f->in_pipe)
		st = flush_pipe(j, w);
	if (st != STEP_MORE)
		return st;
	if (f->eof)
		return finish(j, w);
	if (f->paused || f->waits)
		return STEP_STOP;
	return splices(j, w) ? splice_once(j, w) : copy_once(j, w);
}

bool joint_pump(struct joint *j, enum joint_way w)
{
	struct joint_flow *f = &j->flow[w];
	enum step st = STEP_MORE;

	if (f->done)
		return true;
	f->blocked = false;
	for (int i = 0; i < TURNS && st == STEP_MORE; i++)
		st = turn(j, w);
	if (st == STEP_MORE) {
		f->again = true;
		joint_queue(j);
	}
	return st != STEP_GONE;
}
