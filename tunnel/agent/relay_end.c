/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a relay to another agent: a TLS connection to the server of its own, that goes the way of the carriers, and a
 * socket pair whose other end is handed out. Bytes are passed on blindly, both ways; who does not take them is not sent
 * more than OUT_MAX, and the other side is not read.
 *
 * WELCOME comes when the other agent's end is there, too. The first byte after it tells the server that bytes are expected now, and
 * not frames any more.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include "common/fd.h"
#include "tunnel/agent/agent_priv.h"

enum { JOIN_MS = 30 * 1000, OUT_MAX = 128 << 10, OUT_PAUSE = OUT_MAX / 2 /* when on_drained follows */ };
enum { NOTSENT_LOWAT = 128 << 10, SOCKET_BUFFER = 128 << 10 };

struct relay_end {
	struct agent *agent;
	uint64_t session;
	const struct relay_end_ops *ops;
	void *arg;
	void *dialling;
	bool dial_busy;
	struct frame_conn *greeting; /* until WELCOME */
	struct stream *wire, *local;
	struct timer deadline;
};

struct relay_end *relay_end_free(struct relay_end *e)
{
	if (!e)
		return NULL;
	if (e->dial_busy)
		e->agent->o.dialer.cancel(e->agent->o.dialer.arg, e->dialling);
	timer_stop(&e->deadline);
	frame_conn_free(e->greeting);
	stream_free(e->wire);
	stream_free(e->local);
	free(e);
	return NULL;
}

static void over(struct relay_end *e, const char *why)
{
	e->ops->over(e, why, e->arg);
}

static void on_deadline(struct timer *t, uint64_t now)
{
	(void)now;
	over(container_of(t, struct relay_end, deadline), "the other agent did not come to the relay in time");
}

/* ---- bytes ---- */

static size_t pass(struct relay_end *e, struct stream *from, struct stream *to, const uint8_t *p, size_t n)
{
	if (stream_write(to, p, n) < 0)
		over(e, "the relay is gone");
	else if (stream_queued(to) >= OUT_PAUSE)
		stream_pause(from);
	return n;
}

static size_t on_wire_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct relay_end *e = arg;

	return pass(e, s, e->local, p, n);
}

static size_t on_local_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct relay_end *e = arg;

	return pass(e, s, e->wire, p, n);
}

static void on_wire_drained(struct stream *s, void *arg)
{
	(void)s;
	stream_resume(((struct relay_end *)arg)->local);
}

static void on_local_drained(struct stream *s, void *arg)
{
	(void)s;
	stream_resume(((struct relay_end *)arg)->wire);
}

static void on_close(struct stream *s, int err, const char *why, void *arg)
{
	(void)s;
	(void)err;
	over(arg, why);
}

static const struct stream_ops wire_ops = { .on_data = on_wire_data, .on_drained = on_wire_drained, .on_close = on_close };
static const struct stream_ops local_ops = { .on_data = on_local_data, .on_drained = on_local_drained, .on_close = on_close };

/* ---- joined ---- */

static int make_pair(int fds[static 2])
{
	const int size = SOCKET_BUFFER;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	for (unsigned i = 0; i < 2; i++)
		(void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

static int join(struct relay_end *e, int *ret_fd)
{
	struct stream_options o = { .max_out = OUT_MAX };
	const int lowat = NOTSENT_LOWAT;
	int fds[2], r = make_pair(fds), fd;

	if (r < 0)
		return r;
	*ret_fd = fds[1];
	r = stream_new(e->agent->loop, fds[0], &o, &local_ops, e, &e->local);
	if (r < 0)
		return r;
	fd = frame_conn_take(e->greeting, &o.ssl);
	if (fd < 0)
		return fd;
	e->greeting = NULL;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3); /* where the kernel allows it: loss on long lines is no congestion */
	r = stream_new(e->agent->loop, fd, &o, &wire_ops, e, &e->wire);
	return r < 0 ? r : stream_write(e->wire, "\1", 1);
}

static void on_joined(struct relay_end *e)
{
	int fd = -1, r = join(e, &fd);

	timer_stop(&e->deadline);
	if (r == 0) {
		e->ops->joined(e, fd, e->arg);
		return;
	}
	if (fd >= 0)
		close(fd);
	over(e, strerror(-r));
}

/* ---- greeting ---- */

/* Out of the frame's callback: the connection is taken there. */
static void on_ready(struct timer *t, uint64_t now)
{
	(void)now;
	on_joined(container_of(t, struct relay_end, deadline));
}

static int on_frame(struct frame_conn *c, const struct wire_got *g, void *arg)
{
	struct relay_end *e = arg;

	(void)c;
	if (g->type != WIRE_WELCOME || e->deadline.fire == on_ready)
		return -ECONNRESET; /* REFUSED, or nothing that belongs here */
	e->deadline.fire = on_ready;
	loop_timer_set(e->agent->loop, &e->deadline, 0);
	return 0;
}

static void on_closed(struct frame_conn *c, int err, const char *why, void *arg)
{
	struct relay_end *e = arg;

	(void)err;
	e->greeting = frame_conn_free(c);
	over(e, why);
}

static const struct frame_conn_ops greeting_ops = { .frame = on_frame, .closed = on_closed };

static int greet(struct relay_end *e, struct stream *st)
{
	struct wire_hello m = { .version = WIRE_VERSION, .purpose = WIRE_PURPOSE_RELAY,
				.instance = { e->agent->o.instance, WIRE_INSTANCE }, .session = e->session };
	SSL *ssl;
	int fd = stream_take(st, &ssl), r;

	if (fd < 0) {
		stream_free(st);
		return fd;
	}
	r = frame_conn_new(e->agent->loop, fd, ssl, WIRE_TO_AGENT, &e->greeting);
	if (r < 0)
		return r;
	frame_conn_set_owner(e->greeting, &greeting_ops, e);
	loop_timer_set(e->agent->loop, &e->deadline, JOIN_MS);
	return frame_conn_send(e->greeting, WIRE_HELLO, &m);
}

static void on_dialled(const struct agent_dialled *d, void *arg)
{
	struct relay_end *e = arg;
	int r;

	e->dial_busy = false;
	e->dialling = NULL;
	if (!d->stream) {
		over(e, d->why);
		return;
	}
	r = greet(e, d->stream);
	if (r < 0)
		over(e, strerror(-r));
}

int relay_end_new(struct agent *a, uint64_t session, const struct relay_end_ops *ops, void *arg, struct relay_end **ret_e)
{
	struct relay_end *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	*e = (struct relay_end){ .agent = a, .session = session, .ops = ops, .arg = arg, .dial_busy = true };
	e->deadline.fire = on_deadline;
	r = a->o.dialer.start(a->o.dialer.arg, false, false, on_dialled, e, &e->dialling);
	if (r < 0) {
		e->dial_busy = false;
		relay_end_free(e);
		return r;
	}
	*ret_e = e;
	return 0;
}
