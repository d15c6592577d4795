/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: state, input, output, deadlines. They begin in stream_open.c; bytes are moved by a stream_wire
 * (plain or TLS).
 *
 * An idle stream holds no buffer: reads go to a buffer of the thread and are handed over in there;
 * only what on_data leaves behind is copied into a buffer of the stream's own, which grows as needed up
 * to max_in and goes away when it is empty. Output is written at once if nothing is queued, and
 * queued up to max_out otherwise.
 *
 * The owner may free the stream in any callback: what it holds is released then, the struct itself
 * when the outermost callback has returned (depth, freed). Every path that called back looks at that.
 */
#include "common/stream_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	FLUSHES = 30, /* slow readers have so many times flush_ms for what is queued at the end */
	LINGER_MS = 2 * 1000, /* for the peer's close after ours */
	READS_PER_PASS = 8,
	IOV_MAX_DIRECT = 64,
};

/* Of this thread; holds bytes only between a read and the return of on_data. */
static _Thread_local uint8_t scratch[STREAM_IN_DEFAULT];

/* ---- calling back ---- */

/* Every callback runs between enter and leave; leave returns false if the stream is gone. */
static void enter(struct stream *s)
{
	s->depth++;
}

static bool leave(struct stream *s)
{
	bool gone = s->freed;

	if (--s->depth == 0 && gone)
		free(s);
	return !gone;
}

static void close_now(struct stream *s, int err, const char *why)
{
	if (s->state == STREAM_CLOSED)
		return;
	s->state = STREAM_CLOSED;
	io_stop(&s->io);
	timer_stop(&s->deadline);
	timer_stop(&s->idle);
	timer_stop(&s->soon);
	enter(s);
	if (s->ops->on_close)
		s->ops->on_close(s, err, why, s->arg);
	leave(s);
}

static void touch(struct stream *s)
{
	if (s->idle_ms && s->state != STREAM_CLOSED)
		loop_timer_set(s->loop, &s->idle, s->idle_ms);
}

/* For what is found out inside a call of the owner's: on_close comes from the loop. */
void stream_fail_later(struct stream *s, int err, const char *why)
{
	if (!s->later_error) {
		s->later_error = err;
		s->later_why = why;
	}
	loop_timer_set(s->loop, &s->soon, 0);
}

/* ---- what is watched ---- */

static int wanted_events(const struct stream *s)
{
	int events = 0;

	switch (s->state) {
	case STREAM_CONNECTING:
		return IO_WRITE;
	case STREAM_HANDSHAKE:
		return s->handshake_wants;
	case STREAM_OPEN:
		events = s->paused ? 0 : IO_READ;
		break;
	case STREAM_FINISHING:
	case STREAM_LINGER:
		events = IO_READ;
		break;
	case STREAM_ENDED:
		break;
	case STREAM_CLOSED:
		return 0;
	}
	return events | (s->out.n || s->read_wants_write ? IO_WRITE : 0);
}

void stream_watch(struct stream *s)
{
	if (s->state != STREAM_CLOSED && io_change(&s->io, wanted_events(s)) < 0)
		stream_fail_later(s, ENOMEM, "out of memory");
}

/* ---- output ---- */

static void linger(struct stream *s)
{
	s->state = STREAM_LINGER;
	s->wire->shutdown(s);
	loop_timer_set(s->loop, &s->deadline, LINGER_MS);
}

static void begin_flushing(struct stream *s)
{
	s->flush_until = loop_now(s->loop) + FLUSHES * s->flush_ms;
	loop_timer_set(s->loop, &s->deadline, s->flush_ms);
}

/* What moves has more time. */
static void go_on_flushing(struct stream *s)
{
	uint64_t now = loop_now(s->loop);

	if ((s->state == STREAM_FINISHING || s->state == STREAM_ENDED) && now < s->flush_until)
		loop_timer_set(s->loop, &s->deadline, MIN(s->flush_ms, s->flush_until - now));
}

/* Writes what is queued. False if the stream is closed or gone. */
static bool flush(struct stream *s)
{
	char why[STREAM_WHY];

	while (s->out.n) {
		struct iovec v = { s->out.p + s->out.start, s->out.n };
		ssize_t r = s->wire->writev(s, &v, 1, why);

		if (r == -EAGAIN)
			return true;
		if (r < 0) {
			close_now(s, (int)-r, why);
			return false;
		}
		stream_buf_consume(&s->out, (size_t)r);
		touch(s);
		go_on_flushing(s);
	}
	if (s->state == STREAM_ENDED) {
		s->wire->shutdown(s);
		close_now(s, 0, "closed by the peer");
		return false;
	}
	if (s->state == STREAM_FINISHING)
		linger(s);
	return true;
}

/* The end of every event: writes what is queued, tells the owner once that there is room again, and
 * watches for what is needed next. */
static void settle(struct stream *s)
{
	if (!flush(s))
		return;
	if (s->high && s->out.n < s->max_out / 2 && s->state == STREAM_OPEN) {
		s->high = false;
		if (s->ops->on_drained) {
			enter(s);
			s->ops->on_drained(s, s->arg);
			if (!leave(s))
				return;
		}
	}
	stream_watch(s);
}

/* What the kernel did not take at once. */
static int queue_rest(struct stream *s, const struct iovec *v, int n, size_t skip)
{
	for (int i = 0; i < n; i++) {
		size_t part = MIN(skip, v[i].iov_len);

		skip -= part;
		if (part == v[i].iov_len)
			continue; /* all of it went, or it is empty and may have no address */
		if (stream_buf_append(&s->out, (const uint8_t *)v[i].iov_base + part, v[i].iov_len - part) < 0) {
			/* Part of it may be on its way: the stream cannot go on. */
			stream_buf_drop(&s->out);
			stream_fail_later(s, ENOMEM, "out of memory");
			return -EPIPE;
		}
	}
	if (s->out.n >= s->max_out / 2)
		s->high = true;
	stream_watch(s);
	return 0;
}

int stream_writev(struct stream *s, const struct iovec *v, int n)
{
	char why[STREAM_WHY];
	size_t total = 0;
	ssize_t r = 0;

	if (s->state > STREAM_OPEN || s->finish_wanted || s->later_error)
		return -EPIPE;
	for (int i = 0; i < n; i++)
		total += v[i].iov_len;
	if (total > s->max_out - s->out.n) {
		s->high = true;
		return -ENOBUFS;
	}
	if (!total)
		return 0;
	if (s->state == STREAM_OPEN && !s->out.n && n <= IOV_MAX_DIRECT)
		r = s->wire->writev(s, v, n, why);
	if (r < 0 && r != -EAGAIN) {
		stream_fail_later(s, (int)-r, "writing failed");
		return -EPIPE;
	}
	if (r > 0)
		touch(s);
	return (size_t)MAX(r, 0) == total ? 0 : queue_rest(s, v, n, (size_t)MAX(r, 0));
}

int stream_write(struct stream *s, const void *p, size_t n)
{
	struct iovec v = { (void *)p, n };

	return stream_writev(s, &v, 1);
}

size_t stream_queued(const struct stream *s)
{
	return s->out.n;
}

/* ---- input ---- */

/* Keeps the last n bytes of p, which are in the scratch buffer or in s->in itself. */
static int keep_rest(struct stream *s, const uint8_t *p, size_t total, size_t rest)
{
	if (s->in.n) {
		s->in.n = total;
		stream_buf_consume(&s->in, total - rest);
		return 0;
	}
	return stream_buf_append(&s->in, p + total - rest, rest);
}

/* Hands total bytes at p to the owner. False if the stream is closed or gone. */
static bool hand_over(struct stream *s, uint8_t *p, size_t total)
{
	size_t took = total;

	if (s->state == STREAM_OPEN) {
		enter(s);
		took = s->ops->on_data(s, p, total, s->arg);
		if (!leave(s) || s->state == STREAM_CLOSED)
			return false;
	}
	/* The owner may have finished the stream in there: what it left is of no interest then. */
	if (s->state != STREAM_OPEN || took > total)
		took = total;
	if (keep_rest(s, p, total, total - took) < 0) {
		close_now(s, ENOMEM, "out of memory");
		return false;
	}
	if (took == 0 && total >= s->max_in && !s->paused) {
		close_now(s, ENOBUFS, "a message is larger than the input buffer");
		return false;
	}
	return true;
}

static bool on_end(struct stream *s, const char *why)
{
	if (s->out.n) {
		s->state = STREAM_ENDED;
		begin_flushing(s);
		return true;
	}
	close_now(s, 0, why);
	return false;
}

/* One read. 1: there may be more; 0: nothing for now; -1: the stream is closed or gone. */
static int read_once(struct stream *s)
{
	char why[STREAM_WHY];
	uint8_t *base = scratch;
	size_t room = MIN(sizeof(scratch), s->max_in);
	ssize_t r;

	if (s->state != STREAM_OPEN)
		stream_buf_drop(&s->in); /* what comes now is only waited out */
	if (s->in.n) {
		if (s->in.n >= s->max_in)
			return 0; /* full; the owner paused it, or it would have been closed */
		if (stream_buf_reserve(&s->in, 1) < 0) {
			close_now(s, ENOMEM, "out of memory");
			return -1;
		}
		base = s->in.p + s->in.start;
		room = MIN(s->in.cap - s->in.start, s->max_in) - s->in.n;
	}
	r = s->wire->read(s, base + s->in.n, room, why);
	if (r == -EAGAIN)
		return 0;
	if (r < 0) {
		close_now(s, s->state == STREAM_LINGER ? 0 : (int)-r, why);
		return -1;
	}
	if (r == 0)
		return on_end(s, why) ? 0 : -1;
	touch(s);
	return hand_over(s, base, s->in.n + (size_t)r) ? 1 : -1;
}

/* False if the stream is closed or gone. */
static bool read_all(struct stream *s)
{
	for (int i = 0; i < READS_PER_PASS || s->wire->pending(s); i++) {
		int r;

		if (s->state == STREAM_ENDED || (s->state == STREAM_OPEN && s->paused))
			return true;
		r = read_once(s);
		if (r < 0)
			return false;
		if (r == 0)
			return true;
	}
	return true;
}

/* ---- opening ---- */

static void became_open(struct stream *s)
{
	bool alive = true;

	timer_stop(&s->deadline);
	s->state = STREAM_OPEN;
	touch(s);
	if (s->finish_wanted) {
		stream_finish(s);
	} else if (s->ops->on_open) {
		enter(s);
		s->ops->on_open(s, s->arg);
		alive = leave(s) && s->state != STREAM_CLOSED;
	}
	if (alive)
		settle(s);
}

static void go_on_with_handshake(struct stream *s)
{
	char why[STREAM_WHY];
	int r = s->wire->handshake ? s->wire->handshake(s, why) : 0;

	if (r == 0)
		became_open(s);
	else if (r == -EAGAIN)
		stream_watch(s);
	else
		close_now(s, -r, why);
}

static void on_connected(struct stream *s)
{
	int err = 0;
	socklen_t n = sizeof(err);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0)
		err = errno;
	if (err) {
		close_now(s, err, strerror(err));
		return;
	}
	stream_learn_addresses(s);
	s->state = STREAM_HANDSHAKE;
	go_on_with_handshake(s);
}

/* ---- events ---- */

void stream_on_ready(struct io *io, int events)
{
	struct stream *s = container_of(io, struct stream, io);

	if (s->state == STREAM_CONNECTING) {
		on_connected(s);
		return;
	}
	if (s->state == STREAM_HANDSHAKE) {
		go_on_with_handshake(s);
		return;
	}
	enter(s); /* so that s outlives all that is called from here */
	if (s->later_error) {
		close_now(s, s->later_error, s->later_why);
	} else if (!((events & IO_READ) || s->read_wants_write) || read_all(s)) {
		settle(s);
	}
	leave(s);
}

static void on_soon(struct timer *t, uint64_t now)
{
	struct stream *s = container_of(t, struct stream, soon);
	bool alive = true;

	(void)now;
	if (s->later_error) {
		close_now(s, s->later_error, s->later_why);
		return;
	}
	if (s->state == STREAM_HANDSHAKE) {
		go_on_with_handshake(s);
		return;
	}
	enter(s);
	if (s->redeliver && !s->paused && s->state == STREAM_OPEN) {
		s->redeliver = false;
		if (s->in.n)
			alive = hand_over(s, s->in.p + s->in.start, s->in.n);
		alive = alive && read_all(s);
	}
	if (alive && s->state >= STREAM_OPEN)
		settle(s);
	leave(s);
}

static void on_deadline(struct timer *t, uint64_t now)
{
	struct stream *s = container_of(t, struct stream, deadline);

	(void)now;
	switch (s->state) {
	case STREAM_CONNECTING:
		close_now(s, ETIMEDOUT, "the connection was not established in time");
		break;
	case STREAM_HANDSHAKE:
		close_now(s, ETIMEDOUT, "the TLS handshake was not finished in time");
		break;
	case STREAM_LINGER:
		close_now(s, 0, "finished; the peer did not close in time");
		break;
	case STREAM_OPEN:
	case STREAM_ENDED:
	case STREAM_FINISHING:
	case STREAM_CLOSED:
		close_now(s, ETIMEDOUT, "the peer does not take what is queued for it");
		break;
	}
}

static void on_idle(struct timer *t, uint64_t now)
{
	(void)now;
	close_now(container_of(t, struct stream, idle), ETIMEDOUT, "idle for too long");
}

void stream_set_timers(struct stream *s)
{
	s->deadline.fire = on_deadline;
	s->idle.fire = on_idle;
	s->soon.fire = on_soon;
}

/* ---- the owner's side ---- */

struct stream *stream_free(struct stream *s)
{
	if (!s || s->freed)
		return NULL;
	io_stop(&s->io);
	timer_stop(&s->deadline);
	timer_stop(&s->idle);
	timer_stop(&s->soon);
	if (s->ssl) {
		if (s->state == STREAM_OPEN && !s->out.n)
			s->wire->shutdown(s); /* a word of goodbye, if the kernel takes it at once */
		SSL_free(s->ssl);
		s->ssl = NULL;
	}
	tls_ctx_unref(s->tls);
	stream_buf_drop(&s->in);
	stream_buf_drop(&s->out);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->state = STREAM_CLOSED;
	s->freed = true;
	if (!s->depth)
		free(s);
	return NULL;
}

int stream_take(struct stream *s, SSL **ret_ssl)
{
	int fd = s->fd;

	if (s->state != STREAM_OPEN || s->out.n || (s->ssl && SSL_has_pending(s->ssl)))
		return -EBUSY;
	io_stop(&s->io);
	*ret_ssl = steal_ptr(&s->ssl);
	s->fd = -1;
	stream_free(s);
	return fd;
}

void stream_finish(struct stream *s)
{
	s->finish_wanted = true;
	if (s->state == STREAM_OPEN || s->state == STREAM_ENDED) {
		s->state = STREAM_FINISHING; /* s->in stays: we may be inside on_data */
		begin_flushing(s);
		loop_timer_set(s->loop, &s->soon, 0);
	}
}

void stream_pause(struct stream *s)
{
	s->paused = true;
	stream_watch(s);
}

void stream_resume(struct stream *s)
{
	if (!s->paused)
		return;
	s->paused = false;
	s->redeliver = true;
	if (s->state == STREAM_OPEN)
		loop_timer_set(s->loop, &s->soon, 0);
	stream_watch(s);
}

int stream_fd(const struct stream *s)
{
	return s->fd;
}

SSL *stream_ssl(const struct stream *s)
{
	return s->ssl;
}

const struct addr *stream_peer(const struct stream *s)
{
	return &s->peer;
}

const struct addr *stream_local(const struct stream *s)
{
	return &s->local;
}
