/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A joint's life: TLS of A, then B (wanted, dialled, connected, its TLS), then open, then its end. Bytes are
 * moved by joint_pump.c.
 *
 * Timers: deadline bounds the handshake of A, then everything from joint_dial() until B is ready, then
 * idleness; bytes only note the time, and the timer looks when it fires. limit brings back a way that is
 * over its limit.
 *
 * What is found out inside a call of the owner's is told from the pool's queue. A joint that is freed
 * leaves everything at once; its struct lives to the end of the pass, so whoever is up the stack may look at
 * `freed`.
 */
#include "common/stream.h"
#include "common/joint_priv.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HANDSHAKE_MS = 10 * 1000, CONNECT_MS = 10 * 1000 };

/* clang-format off */
static const char *const texts[JOINT_ENDS] = {
	[JOINT_END_CLEAN] = "closed by both ends",
	[JOINT_END_RESET_A] = "reset by the source",
	[JOINT_END_RESET_B] = "reset by the target",
	[JOINT_END_ERROR_A] = "the connection to the source failed",
	[JOINT_END_ERROR_B] = "the connection to the target failed",
	[JOINT_END_TLS_A] = "TLS with the source failed",
	[JOINT_END_TLS_B] = "TLS with the target failed",
	[JOINT_END_SLOW_TLS_A] = "the source did not finish its TLS handshake in time",
	[JOINT_END_CONNECT] = "the target could not be reached",
	[JOINT_END_CONNECT_TIMEOUT] = "the target did not answer in time",
	[JOINT_END_IDLE] = "idle for too long",
	[JOINT_END_HALF_CLOSED] = "one end had closed, and the other was idle for too long then",
	[JOINT_END_KILLED] = "ended by an administrator",
	[JOINT_END_MEMORY] = "out of memory",
};
const char *const joint_end_labels[JOINT_ENDS + 1] = {
	[JOINT_END_CLEAN] = "clean", [JOINT_END_RESET_A] = "reset_by_source", [JOINT_END_RESET_B] = "reset_by_target",
	[JOINT_END_ERROR_A] = "source_error", [JOINT_END_ERROR_B] = "target_error", [JOINT_END_TLS_A] = "source_tls",
	[JOINT_END_TLS_B] = "target_tls", [JOINT_END_SLOW_TLS_A] = "source_tls_timeout", [JOINT_END_CONNECT] = "connect_failed",
	[JOINT_END_CONNECT_TIMEOUT] = "connect_timeout", [JOINT_END_IDLE] = "idle", [JOINT_END_HALF_CLOSED] = "half_closed",
	[JOINT_END_KILLED] = "killed", [JOINT_END_MEMORY] = "no_memory",
};
/* clang-format on */

const char *joint_end_text(enum joint_end e)
{
	return texts[e];
}

/* ---- ends ---- */

static void set_why(struct joint *j, int err, const char *why)
{
	j->err = err;
	if (why != j->why)
		(void)snprintf(j->why, sizeof(j->why), "%s", why && *why ? why : strerror(err));
}

void joint_end_now(struct joint *j, enum joint_end end, int err, const char *why)
{
	if (j->state == JOINT_ENDED)
		return;
	j->state = JOINT_ENDED;
	j->killed = end == JOINT_END_KILLED;
	j->abort = j->killed || end == JOINT_END_RESET_A || end == JOINT_END_RESET_B ||
		   end == JOINT_END_CONNECT || end == JOINT_END_CONNECT_TIMEOUT;
	j->gone = end == JOINT_END_RESET_A ? JOINT_A : end == JOINT_END_RESET_B ? JOINT_B : -1;
	timer_stop(&j->deadline);
	timer_stop(&j->limit);
	list_unlink(&j->run);
	io_stop(&j->side[JOINT_A].io);
	io_stop(&j->side[JOINT_B].io);
	joint_flow_deinit(j, JOINT_UP);
	joint_flow_deinit(j, JOINT_DOWN);
	if (!j->freed)
		j->ops->on_end(j, end, err, why, j->arg);
}

static void end_later(struct joint *j, enum joint_end end, int err, const char *why)
{
	if (j->state == JOINT_ENDED || j->later_end >= 0)
		return;
	j->later_end = (int)end;
	set_why(j, err, why);
	joint_queue(j);
}

static enum joint_end end_of(const struct joint *j, enum joint_side s, int err)
{
	bool a = s == JOINT_A;

	if (err == ECONNRESET || err == EPIPE)
		return a ? JOINT_END_RESET_A : JOINT_END_RESET_B;
	if (j->side[s].ssl && err == EPROTO)
		return a ? JOINT_END_TLS_A : JOINT_END_TLS_B;
	return a ? JOINT_END_ERROR_A : JOINT_END_ERROR_B;
}

/* What is on the way into the broken side goes nowhere. What came from it is still passed on: a server that
 * answers and closes while its client is still sending resets the connection behind its answer. */
bool joint_side_broken(struct joint *j, enum joint_side s, bool reading, int err, const char *why)
{
	struct joint_flow *from = &j->flow[s], *into = &j->flow[!s];
	enum joint_end end = end_of(j, s, err);

	if (j->broken < 0) {
		j->broken = (int)end;
		set_why(j, err, why);
	}
	joint_flow_deinit(j, (enum joint_way)!s);
	into->done = true;
	if (from->done || (!reading && err != ECONNRESET && err != EPIPE)) {
		joint_end_now(j, (enum joint_end)j->broken, j->err, j->why);
		return false;
	}
	if (reading) {
		from->eof = true;
	} else {
		from->again = true;
		joint_queue(j);
	}
	if (j->half_close_ms)
		loop_timer_set(j->pool->loop, &j->deadline, j->half_close_ms);
	return true;
}

/* A reset reaches the other side as one, unless bytes before it have not arrived yet: those come first. Who is
 * killed is reset whatever is under way. */
static void reset_on_close(int fd, bool killed)
{
	int queued = 0;

	if (killed || (ioctl(fd, SIOCOUTQ, &queued) == 0 && queued == 0))
		socket_reset_on_close(fd);
}

static void close_side(struct joint *j, enum joint_side s)
{
	struct joint_end_side *side = &j->side[s];

	io_stop(&side->io);
	if (side->ssl)
		SSL_free(side->ssl);
	side->ssl = NULL;
	side->tls = tls_ctx_unref(side->tls);
	if (side->fd < 0)
		return;
	if (j->abort && (int)s != j->gone)
		reset_on_close(side->fd, j->killed);
	close(side->fd);
	side->fd = -1;
}

struct joint *joint_free(struct joint *j)
{
	if (!j || j->freed)
		return NULL;
	j->freed = true;
	timer_stop(&j->deadline);
	timer_stop(&j->limit);
	joint_flow_deinit(j, JOINT_UP);
	joint_flow_deinit(j, JOINT_DOWN);
	close_side(j, JOINT_A);
	close_side(j, JOINT_B);
	j->state = JOINT_ENDED;
	j->pool->stats.joints--;
	list_unlink(&j->run);
	list_append(&j->pool->dead, &j->run);
	return NULL;
}

void joint_kill(struct joint *j, const char *why)
{
	end_later(j, JOINT_END_KILLED, 0, why ? why : joint_end_text(JOINT_END_KILLED));
}

void joint_refuse(struct joint *j, int err, const char *why)
{
	end_later(j, JOINT_END_CONNECT, err, why);
}

/* ---- getting open ---- */

static void try_failed(struct joint *j, int err, const char *why)
{
	set_why(j, err, why);
	close_side(j, JOINT_B);
	timer_stop(&j->deadline);
	j->state = JOINT_NO_B;
	j->try_failed = true;
	joint_queue(j);
}

static void became_open(struct joint *j)
{
	struct joint_end_side *a = &j->side[JOINT_A], *b = &j->side[JOINT_B];

	timer_stop(&j->deadline);
	j->state = JOINT_OPEN;
	j->last = loop_now(j->pool->loop);
	j->flow[JOINT_UP].window_at = j->flow[JOINT_DOWN].window_at = j->last;
	if (j->idle_ms)
		loop_timer_set(j->pool->loop, &j->deadline, j->idle_ms);
	if (j->ops->on_open)
		j->ops->on_open(j, j->arg);
	if (j->state != JOINT_OPEN)
		return;
	/* What came before is not told again; and TLS may have read ahead. */
	if (!(a->ready || a->ssl || j->flow[JOINT_UP].held_n) || joint_pump(j, JOINT_UP))
		if (b->ready || b->ssl)
			(void)joint_pump(j, JOINT_DOWN);
}

static void go_on_with_b(struct joint *j)
{
	struct joint_end_side *b = &j->side[JOINT_B];
	char why[JOINT_WHY];
	int r = b->wire->handshake ? b->wire->handshake(b, why) : 0;

	if (r == 0)
		became_open(j);
	else if (r != -EAGAIN)
		try_failed(j, -r, why);
}

static void b_connected(struct joint *j)
{
	int r = j->ops->on_connected ? j->ops->on_connected(j, j->side[JOINT_B].fd, j->arg) : 0;

	if (j->state != JOINT_CONNECTING)
		return; /* freed in there */
	if (r < 0) {
		try_failed(j, -r, strerror(-r));
		return;
	}
	j->state = JOINT_HANDSHAKE_B;
	go_on_with_b(j);
}

static void look_at_connect(struct joint *j)
{
	int err = 0;
	socklen_t n = sizeof(err);

	if (getsockopt(j->side[JOINT_B].fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0)
		err = errno;
	if (err)
		try_failed(j, err, strerror(err));
	else
		b_connected(j);
}

static void go_on_with_a(struct joint *j)
{
	struct joint_end_side *a = &j->side[JOINT_A];
	char why[JOINT_WHY];
	int r = a->wire->handshake(a, why);

	if (r == -EAGAIN)
		return;
	if (r < 0) {
		joint_end_now(j, JOINT_END_TLS_A, -r, why);
		return;
	}
	timer_stop(&j->deadline);
	j->state = JOINT_NO_B;
	j->ops->want_b(j, 0, "", j->arg);
}

/* ---- events ---- */

static void on_open_event(struct joint *j, enum joint_side s, int events)
{
	bool tls = j->side[s].ssl != NULL, in = events & (IO_READ | IO_CLOSED) || tls;
	int err = 0;
	socklen_t n = sizeof(err);

	if (in && j->flow[s].done) { /* nothing is read from it any more: is it an error? */
		if (getsockopt(j->side[s].fd, SOL_SOCKET, SO_ERROR, &err, &n) == 0 && err &&
		    !joint_side_broken(j, s, true, err, strerror(err)))
			return;
	} else if (in && !joint_pump(j, (enum joint_way)s)) {
		return;
	}
	if ((events & IO_WRITE || tls) && j->flow[!s].blocked)
		(void)joint_pump(j, (enum joint_way)!s);
}

/* A, before there is a B to read for. */
static void on_early_event(struct joint *j)
{
	struct joint_end_side *a = &j->side[JOINT_A];
	uint8_t byte;

	if (recv(a->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != EINTR)
		joint_end_now(j, end_of(j, JOINT_A, errno), errno, strerror(errno));
}

static void on_event(struct joint *j, enum joint_side s, int events)
{
	if (events & IO_CLOSED)
		j->side[s].hung_up = true;
	if (j->state != JOINT_OPEN && (events & (IO_READ | IO_CLOSED)))
		j->side[s].ready = true;
	if (j->state == JOINT_OPEN)
		on_open_event(j, s, events);
	else if (j->state == JOINT_HANDSHAKE_A)
		go_on_with_a(j);
	else if (s == JOINT_A)
		on_early_event(j);
	else if (j->state == JOINT_CONNECTING)
		look_at_connect(j);
	else if (j->state == JOINT_HANDSHAKE_B)
		go_on_with_b(j);
}

static void on_a(struct io *io, int events)
{
	on_event(container_of(io, struct joint, side[JOINT_A].io), JOINT_A, events);
}

static void on_b(struct io *io, int events)
{
	on_event(container_of(io, struct joint, side[JOINT_B].io), JOINT_B, events);
}

static void on_deadline(struct timer *t, uint64_t now)
{
	struct joint *j = container_of(t, struct joint, deadline);
	bool half = j->flow[JOINT_UP].done || j->flow[JOINT_DOWN].done;
	uint64_t limit = half && j->half_close_ms ? j->half_close_ms : j->idle_ms;
	enum joint_end end;

	switch (j->state) {
	case JOINT_HANDSHAKE_A:
		end = JOINT_END_SLOW_TLS_A;
		break;
	case JOINT_CONNECTING:
	case JOINT_HANDSHAKE_B:
		try_failed(j, ETIMEDOUT, joint_end_text(JOINT_END_CONNECT_TIMEOUT));
		return;
	case JOINT_OPEN:
		if (!limit)
			return;
		if (now - j->last < limit) {
			loop_timer_set(j->pool->loop, t, limit - (now - j->last));
			return;
		}
		end = half ? JOINT_END_HALF_CLOSED : JOINT_END_IDLE;
		break;
	case JOINT_NO_B:
	case JOINT_ENDED:
	default:
		return;
	}
	joint_end_now(j, end, ETIMEDOUT, joint_end_text(end));
}

static void on_limit(struct timer *t, uint64_t now)
{
	struct joint *j = container_of(t, struct joint, limit);

	(void)now;
	for (int w = 0; w < 2; w++) {
		bool waited = j->flow[w].waits;

		j->flow[w].waits = false;
		if (waited && j->state == JOINT_OPEN && !joint_pump(j, (enum joint_way)w))
			return;
	}
}

static void report_try(struct joint *j)
{
	char why[JOINT_WHY];

	j->try_failed = false;
	memcpy(why, j->why, sizeof(why));
	j->ops->want_b(j, j->err, why, j->arg);
}

void joint_run(struct joint *j)
{
	if (j->later_end >= 0) {
		enum joint_end end = (enum joint_end)j->later_end;

		if (end == JOINT_END_CONNECT && j->err == ETIMEDOUT)
			end = JOINT_END_CONNECT_TIMEOUT;
		joint_end_now(j, end, j->err, j->why);
		return;
	}
	if (j->try_failed) {
		report_try(j);
		return;
	}
	for (int w = 0; w < 2 && j->state == JOINT_OPEN; w++) {
		bool again = j->flow[w].again;

		j->flow[w].again = false;
		if (again && !joint_pump(j, (enum joint_way)w))
			return;
	}
}

/* ---- the owner's side ---- */

static int watch_side(struct joint *j, enum joint_side s)
{
	return io_start(&j->side[s].io, j->pool->loop, j->side[s].fd, IO_READ | IO_WRITE | IO_EDGE | IO_CLOSED,
			s == JOINT_A ? on_a : on_b);
}

static int setup(struct joint *j, const struct joint_options *opt)
{
	int r = 0;

	if (opt->preface_n)
		r = opt->preface_n > JOINT_BUFFER ? -EINVAL : joint_hold(&j->flow[JOINT_UP], opt->preface, opt->preface_n);
	if (r == 0)
		r = joint_side_wire(&j->side[JOINT_A], &opt->tls);
	if (r == 0)
		r = watch_side(j, JOINT_A);
	if (r < 0)
		return r;
	j->flow[JOINT_UP].bytes = opt->preface_n;
	j->state = opt->tls.ctx ? JOINT_HANDSHAKE_A : JOINT_NO_B;
	if (j->state == JOINT_HANDSHAKE_A)
		loop_timer_set(j->pool->loop, &j->deadline, j->handshake_ms);
	return 0;
}

int joint_new(struct joint_pool *pool, const struct joint_options *opt, const struct joint_ops *ops, void *arg,
	      struct joint **ret_j)
{
	struct joint *j = calloc(1, sizeof(*j));
	int r;

	if (!j) {
		close(opt->fd);
		return -ENOMEM;
	}
	*j = (struct joint){ .pool = pool, .ops = ops, .arg = arg, .later_end = -1, .broken = -1, .gone = -1, .state = JOINT_NO_B,
			     .handshake_ms = opt->handshake_ms ? opt->handshake_ms : HANDSHAKE_MS,
			     .connect_ms = opt->connect_ms ? opt->connect_ms : CONNECT_MS, .idle_ms = opt->idle_ms,
			     .half_close_ms = opt->half_close_ms ? opt->half_close_ms : opt->idle_ms };
	j->side[JOINT_A].fd = opt->fd;
	j->side[JOINT_B].fd = -1;
	list_init(&j->run);
	joint_flow_init(&j->flow[JOINT_UP]);
	joint_flow_init(&j->flow[JOINT_DOWN]);
	j->deadline.fire = on_deadline;
	j->limit.fire = on_limit;
	pool->stats.joints++;
	r = setup(j, opt);
	if (r < 0) {
		joint_free(j);
		return r;
	}
	*ret_j = j;
	return 0;
}

void joint_dial(struct joint *j, int fd, const struct joint_tls *tls)
{
	int r;

	if (j->state != JOINT_NO_B) {
		close(fd);
		return;
	}
	j->side[JOINT_B] = (struct joint_end_side){ .fd = fd };
	j->state = JOINT_CONNECTING;
	r = joint_side_wire(&j->side[JOINT_B], tls);
	if (r == 0)
		r = watch_side(j, JOINT_B);
	if (r < 0) {
		try_failed(j, -r, strerror(-r));
		return;
	}
	/* Its first event comes also if it is connected already. */
	loop_timer_set(j->pool->loop, &j->deadline, j->connect_ms);
}

static void changed(struct joint *j, enum joint_way w)
{
	if (j->state != JOINT_OPEN)
		return;
	j->flow[w].again = true;
	joint_queue(j);
}

void joint_tap(struct joint *j, enum joint_way w, bool on)
{
	j->flow[w].tapped = on && j->ops->tap;
	changed(j, w);
}

void joint_limit(struct joint *j, enum joint_way w, bool on)
{
	j->flow[w].limited = on && j->ops->room && j->ops->passed;
	changed(j, w);
}

void joint_pause(struct joint *j, enum joint_way w, bool on)
{
	j->flow[w].paused = on;
	if (!on)
		changed(j, w);
}

static uint64_t rate_of(const struct joint *j, const struct joint_flow *f)
{
	uint64_t gone = loop_now(j->pool->loop) - f->window_at;

	return gone < 1000 ? f->rate : f->window_bytes * 1000 / gone;
}

void joint_info(const struct joint *j, struct joint_info *ret_i)
{
	*ret_i = (struct joint_info){ .open = j->state == JOINT_OPEN,
				      .quiet_ms = j->last ? loop_now(j->pool->loop) - j->last : 0 };
	for (int w = 0; w < 2; w++) {
		const struct joint_flow *f = &j->flow[w];

		ret_i->bytes[w] = f->bytes;
		ret_i->rate[w] = f->window_at ? rate_of(j, f) : 0;
		ret_i->held[w] = f->held_n + f->in_pipe;
		ret_i->splicing[w] = f->pipe[0] >= 0;
		ret_i->ended[w] = f->eof;
	}
}

int joint_fd(const struct joint *j, enum joint_side s)
{
	return j->side[s].fd;
}

SSL *joint_ssl(const struct joint *j, enum joint_side s)
{
	return j->side[s].ssl;
}
