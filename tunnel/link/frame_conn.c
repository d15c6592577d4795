/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames over TLS. Reads go to a buffer of the thread and are parsed there; only a frame that has come in part is
 * copied. Writes: what the kernel does not take at once is copied to the end of the output buffer and counts as sent, so
 * that OpenSSL sees the same bytes again (SSL_write's rule for a retry) without anybody having to remember.
 */
#include "tunnel/link/frame_conn.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/tls.h"

enum {
	SCRATCH = 96 << 10,
	READ_BUDGET = 512 << 10, /* of a pass, so that one carrier does not hold up the loop */
	READ_AHEAD = 64 << 10,
	RECORD_MAX = 16384,
	NOTSENT_LOWAT = 128 << 10,
	FINISH_MS = 1000,
	FRAME_SCRATCH = WIRE_HEAD + WIRE_PAYLOAD_MAX,
};

struct buffer {
	uint8_t *p;
	size_t start, n, cap;
};

struct frame_conn {
	const struct frame_conn_ops *ops;
	void *arg;
	struct loop *loop;
	struct io io;
	int fd;
	SSL *ssl;
	struct wire_place place;
	struct buffer in, out; /* a frame's beginning; what the kernel did not take */
	bool data_waits;       /* writable() is owed */
	bool read_wants_write;
	bool closed, freed, finishing;
	int later_error; /* to be told by the soon timer */
	char why[FRAME_CONN_WHY];
	unsigned depth;
	uint64_t heard;
	struct timer soon; /* more to read, or later_error; while finishing: the end of patience */
};

/* Of this thread; holds bytes only during a read and its callbacks. */
static _Thread_local uint8_t scratch[SCRATCH];

static void buffer_drop(struct buffer *b)
{
	free(b->p);
	*b = (struct buffer){ 0 };
}

static int buffer_add(struct buffer *b, const void *p, size_t n)
{
	if (b->start + b->n + n > b->cap) {
		size_t cap = MAX(b->n + n, b->n + b->n / 2 + 512);
		uint8_t *more = malloc(cap);

		if (!more)
			return -ENOMEM;
		if (b->n)
			memcpy(more, b->p + b->start, b->n);
		free(b->p);
		*b = (struct buffer){ more, 0, b->n, cap };
	}
	if (n)
		memcpy(b->p + b->start + b->n, p, n);
	b->n += n;
	return 0;
}

static void enter(struct frame_conn *c)
{
	c->depth++;
}

/* False if it is gone. */
static bool leave(struct frame_conn *c)
{
	bool gone = c->freed;

	if (--c->depth == 0 && gone)
		free(c);
	return !gone;
}

static void watch(struct frame_conn *c)
{
	int events = (c->finishing ? 0 : IO_READ) |
		     (c->out.n || c->read_wants_write || c->data_waits ? IO_WRITE : 0);

	if (!c->closed && !c->freed)
		(void)io_change(&c->io, events);
}

static void close_now(struct frame_conn *c, int err, const char *why)
{
	if (c->closed)
		return;
	c->closed = true;
	io_stop(&c->io);
	timer_stop(&c->soon);
	if (c->finishing) {
		frame_conn_free(c);
		return;
	}
	enter(c);
	c->ops->closed(c, err, why, c->arg);
	leave(c);
}

/* closed() is told by the loop. */
static void fail_later(struct frame_conn *c, int err, const char *why)
{
	if (c->later_error || c->closed)
		return;
	c->later_error = err;
	if (why != c->why)
		(void)snprintf(c->why, sizeof(c->why), "%s", why);
	loop_timer_set(c->loop, &c->soon, 0);
}

/* ---- writing ---- */

/* Bytes taken; -EAGAIN; -EPIPE with c->why. */
static ssize_t write_some(struct frame_conn *c, const uint8_t *p, size_t n)
{
	size_t done = 0;
	int e, saved;

	tls_forget_errors();
	errno = 0;
	if (SSL_write_ex(c->ssl, p, MIN(n, (size_t)RECORD_MAX), &done) == 1)
		return (ssize_t)done;
	saved = errno;
	e = SSL_get_error(c->ssl, 0);
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	(void)tls_stream_broken(c->ssl, e, saved, c->why, sizeof(c->why));
	return -EPIPE;
}

static int flush(struct frame_conn *c)
{
	while (c->out.n) {
		ssize_t r = write_some(c, c->out.p + c->out.start, c->out.n);

		if (r < 0)
			return (int)r;
		c->out.start += (size_t)r;
		c->out.n -= (size_t)r;
	}
	buffer_drop(&c->out);
	return 0;
}

/* Takes all n bytes: to the kernel, or into the buffer. */
static int put(struct frame_conn *c, const uint8_t *p, size_t n)
{
	ssize_t r = 0;

	if (!c->out.n) {
		r = write_some(c, p, n);
		if (r == -EPIPE) {
			fail_later(c, EPIPE, c->why);
			return -EPIPE;
		}
		r = MAX(r, 0);
	}
	if ((size_t)r == n)
		return 0;
	if (buffer_add(&c->out, p + r, n - (size_t)r) < 0) {
		fail_later(c, ENOMEM, "out of memory"); /* half of it may be on its way */
		return -ENOMEM;
	}
	watch(c);
	return 0;
}

int frame_conn_send(struct frame_conn *c, unsigned type, const void *msg)
{
	uint8_t frame[FRAME_SCRATCH];
	struct wr w = wr_init(frame, sizeof(frame));

	if (c->closed || c->later_error || c->finishing)
		return -EPIPE;
	wire_write(&w, type, msg);
	if (w.failed)
		return -EINVAL;
	if (c->out.n + wr_len(&w) > FRAME_CONN_OUT_MAX) {
		fail_later(c, ENOBUFS, "the other side does not read");
		return -ENOBUFS;
	}
	return put(c, frame, wr_len(&w));
}

int frame_conn_data(struct frame_conn *c, const uint8_t *p, size_t n)
{
	if (c->closed || c->later_error || c->finishing)
		return -EPIPE;
	if (c->out.n) {
		c->data_waits = true;
		watch(c);
		return -EAGAIN;
	}
	return put(c, p, n);
}

/* False if it is closed or gone. */
static bool write_again(struct frame_conn *c)
{
	int r = flush(c);

	if (r == -EPIPE) {
		close_now(c, EPIPE, c->why);
		return false;
	}
	if (c->finishing && r == 0) {
		close_now(c, 0, "finished");
		return false;
	}
	if (r == 0 && c->data_waits) {
		c->data_waits = false;
		if (c->ops->writable) {
			enter(c);
			c->ops->writable(c, c->arg);
			if (!leave(c) || c->closed)
				return false;
		}
	}
	watch(c);
	return true;
}

/* ---- reading ---- */

/* c->why says how; the other side is told text. */
static void close_for_breach(struct frame_conn *c, const char *text)
{
	const struct wire_refused refused = { .reason = WIRE_R_PROTOCOL, .text = text_of(text) };

	(void)frame_conn_send(c, WIRE_REFUSED, &refused);
	close_now(c, EPROTO, c->why);
}

static void close_for_owner(struct frame_conn *c, unsigned type, int r)
{
	if (r != -EPROTO) {
		close_now(c, -r, strerror(-r));
		return;
	}
	(void)snprintf(c->why, sizeof(c->why),
		       "%s at the wrong time, or with numbers that cannot be", wire_type_name(type));
	close_for_breach(c, c->why);
}

/* Frames of the n bytes at p; the rest is kept. False if it is closed or gone. */
static bool parse(struct frame_conn *c, const uint8_t *p, size_t n)
{
	size_t at = 0;
	struct wire_got g;
	int r;

	while (at < n) {
		enum wire_error e = wire_next(p + at, n - at, c->place, &g);

		if (e == WIRE_INCOMPLETE)
			break;
		if (e) {
			(void)snprintf(c->why, sizeof(c->why), "%s: %s",
				       wire_frame_of(p[at]) ? wire_type_name(p[at]) : "not ours",
				       wire_error_text(e));
			close_for_breach(c, wire_error_text(e));
			return false;
		}
		at += g.size;
		if (!wire_frame_of(g.type))
			continue; /* of a later version, and may be ignored */
		enter(c);
		r = c->ops->frame(c, &g, c->arg);
		if (!leave(c) || c->closed || c->finishing)
			return false; /* who lets it finish may be gone: it is told nothing more */
		if (r < 0) {
			close_for_owner(c, g.type, r);
			return false;
		}
	}
	if (at < n && buffer_add(&c->in, p + at, n - at) < 0) {
		close_now(c, ENOMEM, "out of memory");
		return false;
	}
	return true;
}

/* Fills the scratch from have on, until it is full or there is no more. Bytes there; *ret_end: 0, or 1 at the end of the
 * stream, or -errno. */
static size_t fill(struct frame_conn *c, size_t have, int *ret_end)
{
	size_t got;
	int e, saved;

	*ret_end = 0;
	c->read_wants_write = false;
	while (have + RECORD_MAX <= SCRATCH) {
		tls_forget_errors();
		errno = 0;
		if (SSL_read_ex(c->ssl, scratch + have, SCRATCH - have, &got) == 1) {
			have += got;
			continue;
		}
		saved = errno;
		e = SSL_get_error(c->ssl, 0);
		if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
			c->read_wants_write = e == SSL_ERROR_WANT_WRITE;
			*ret_end = -EAGAIN;
		} else if (e == SSL_ERROR_ZERO_RETURN) {
			(void)snprintf(c->why, sizeof(c->why), "closed by the other side");
			*ret_end = 1;
		} else {
			*ret_end = tls_stream_broken(c->ssl, e, saved, c->why, sizeof(c->why));
			if (*ret_end == 0)
				*ret_end = 1;
		}
		break;
	}
	return have;
}

/* False if it is closed or gone. */
static bool read_all(struct frame_conn *c)
{
	size_t total = 0;

	for (;;) {
		size_t have = c->in.n, n;
		int end;

		if (have)
			memcpy(scratch, c->in.p + c->in.start, have);
		n = fill(c, have, &end);
		if (n > have) {
			buffer_drop(&c->in);
			c->heard = loop_now(c->loop);
			if (!parse(c, scratch, n))
				return false;
			if (c->ops->batch) {
				enter(c);
				c->ops->batch(c, c->arg);
				if (!leave(c) || c->closed)
					return false;
			}
		}
		if (end == -EAGAIN)
			return true;
		if (end) {
			close_now(c, end == 1 ? 0 : -end, c->why);
			return false;
		}
		total += n - have;
		if (total >= READ_BUDGET) {
			loop_timer_set(c->loop, &c->soon, 0); /* the session may hold more than epoll knows of */
			return true;
		}
	}
}

static void on_ready(struct io *io, int events)
{
	struct frame_conn *c = container_of(io, struct frame_conn, io);

	enter(c);
	if ((!((events & IO_READ) || c->read_wants_write) || c->finishing || read_all(c)) &&
	    !c->freed && !c->closed)
		(void)write_again(c);
	leave(c);
}

static void on_soon(struct timer *t, uint64_t now)
{
	struct frame_conn *c = container_of(t, struct frame_conn, soon);

	(void)now;
	enter(c);
	if (c->finishing)
		close_now(c, ETIMEDOUT, "not flushed in time");
	else if (c->later_error)
		close_now(c, c->later_error, c->why);
	else if (read_all(c))
		watch(c);
	leave(c);
}

/* ---- the owner's side ---- */

int frame_conn_new(struct loop *l, int fd, SSL *ssl, uint8_t way, struct frame_conn **ret_c)
{
	struct frame_conn *c = calloc(1, sizeof(*c));
	int r = c ? 0 : -ENOMEM, lowat = NOTSENT_LOWAT, one = 1;

	if (r == 0) {
		*c = (struct frame_conn){ .loop = l,
					  .fd = fd,
					  .ssl = ssl,
					  .place = { way, WIRE_IN_HELLO },
					  .heard = loop_now(l) };
		c->soon.fire = on_soon;
		r = io_start(&c->io, l, fd, IO_READ, on_ready);
	}
	if (r < 0) {
		SSL_free(ssl);
		close(fd);
		free(c);
		return r;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
	SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_set_read_ahead(ssl, 1);
	SSL_set_default_read_buffer_len(ssl, READ_AHEAD);
	loop_timer_set(l, &c->soon, 0); /* the session may hold bytes already */
	*ret_c = c;
	return 0;
}

struct frame_conn *frame_conn_free(struct frame_conn *c)
{
	if (!c || c->freed)
		return NULL;
	io_stop(&c->io);
	timer_stop(&c->soon);
	if (c->ssl) {
		if (!c->later_error && SSL_is_init_finished(c->ssl) && !c->out.n) {
			ERR_clear_error();
			(void)SSL_shutdown(c->ssl); /* a word of goodbye, if the kernel takes it at once */
			ERR_clear_error();
		}
		SSL_free(c->ssl);
	}
	buffer_drop(&c->in);
	buffer_drop(&c->out);
	if (c->fd >= 0)
		close(c->fd);
	c->ssl = NULL;
	c->fd = -1;
	c->freed = c->closed = true;
	if (!c->depth)
		free(c);
	return NULL;
}

void frame_conn_finish(struct frame_conn *c)
{
	if (!c->out.n || c->closed || c->later_error) {
		frame_conn_free(c);
		return;
	}
	c->finishing = true;
	loop_timer_set(c->loop, &c->soon, FINISH_MS);
	watch(c);
}

void frame_conn_set_where(struct frame_conn *c, uint8_t where)
{
	c->place.where = where;
}

void frame_conn_set_owner(struct frame_conn *c, const struct frame_conn_ops *ops, void *arg)
{
	c->ops = ops;
	c->arg = arg;
}

int frame_conn_take(struct frame_conn *c, SSL **ret_ssl)
{
	int fd = c->fd;

	if (c->closed || c->later_error || c->out.n || c->in.n)
		return -EBUSY;
	io_stop(&c->io);
	*ret_ssl = steal_ptr(&c->ssl);
	c->fd = -1;
	frame_conn_free(c);
	return fd;
}

void frame_conn_give_up(struct frame_conn *c, const char *why)
{
	fail_later(c, ETIMEDOUT, why);
}

bool frame_conn_uprooted(const struct frame_conn *c)
{
	struct addr peer, local;
	int s, r;

	frame_conn_addresses(c, &peer, &local);
	if (!addr_family(&local))
		return false;
	addr_set_port(&local, 0);
	s = socket(addr_family(&local), SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return false;
	r = bind(s, &local.sa, addr_len(&local));
	r = r < 0 ? errno : 0;
	close(s);
	return r == EADDRNOTAVAIL;
}

SSL *frame_conn_ssl(const struct frame_conn *c)
{
	return c->ssl;
}

uint64_t frame_conn_heard(const struct frame_conn *c)
{
	return c->heard;
}

void frame_conn_addresses_of(int fd, struct addr *ret_peer, struct addr *ret_local)
{
	socklen_t n = sizeof(*ret_peer);

	*ret_peer = *ret_local = (struct addr){ 0 };
	if (getpeername(fd, &ret_peer->sa, &n) < 0 || ret_peer->sa.sa_family == AF_UNIX)
		*ret_peer = (struct addr){ 0 };
	n = sizeof(*ret_local);
	if (getsockname(fd, &ret_local->sa, &n) < 0 || ret_local->sa.sa_family == AF_UNIX)
		*ret_local = (struct addr){ 0 };
}

void frame_conn_addresses(const struct frame_conn *c, struct addr *ret_peer, struct addr *ret_local)
{
	frame_conn_addresses_of(c->fd, ret_peer, ret_local);
}
