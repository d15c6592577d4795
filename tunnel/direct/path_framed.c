/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets in a byte pipe: one frame for each batch, `u16 segment, u16 length` and then so many bytes, so that the head
 * costs nothing per packet. A frame of length 0 keeps the pipe warm where nothing else is sent: NATs and proxies on the
 * way to the server forget what is silent.
 *
 * What the pipe does not take of a batch is kept, and the next batch is refused until it has gone: a queue here would
 * hide from QUIC how long the way is. Nothing of what arrives is believed: it may have come through anybody.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include "common/bytes.h"
#include "common/fd.h"
#include "tunnel/direct/path.h"

enum {
	IN_BYTES = 2 * (FRAMED_HEAD + PATH_BATCH_MAX),
	READS = 8,	 /* of one pass, so that timers and other links have their turn */
	WARM_MS = 15000, /* a frame at least so often */
	SEND_BUFFER = 128 << 10,
};

struct path_framed {
	struct path p;
	struct loop *loop;
	struct io io;
	int fd;
	bool *gone;    /* set while callbacks run: they may free the path */
	bool blocked;  /* a batch was refused: writable() is owed */
	bool closing;  /* the pipe has ended: state FAILED follows from the loop */
	struct timer warm;
	uint64_t sent_at;
	size_t in_n, out_n, out_at;
	uint8_t in[IN_BYTES];
	uint8_t out[FRAMED_HEAD + PATH_BATCH_MAX];
};

int framed_parse(const uint8_t *p, size_t n, size_t *ret_segment, size_t *ret_n)
{
	struct rd r = rd_init(p, n);
	size_t segment, length;

	if (n < FRAMED_HEAD)
		return -EAGAIN;
	segment = rd_u16(&r);
	length = rd_u16(&r);
	if (length > PATH_BATCH_MAX || (length && (!segment || segment > length)) || (!length && segment))
		return -EPROTO;
	if (rd_left(&r) < length)
		return -EAGAIN;
	*ret_segment = segment;
	*ret_n = length;
	return 0;
}

void framed_head(uint8_t head[static FRAMED_HEAD], size_t segment, size_t n)
{
	store_be16(head, (uint16_t)MIN(segment, n));
	store_be16(head + 2, (uint16_t)n);
}

static struct path_framed *framed_of(struct path *p)
{
	return container_of(p, struct path_framed, p);
}

static struct path *framed_free(struct path *p)
{
	struct path_framed *f = framed_of(p);

	if (f->gone)
		*f->gone = true;
	timer_stop(&f->warm);
	io_stop(&f->io);
	closep(&f->fd);
	free(f);
	return NULL;
}

static void fail(struct path_framed *f, const char *why)
{
	io_stop(&f->io);
	timer_stop(&f->warm);
	path_set_state(&f->p, PATH_FAILED, why); /* it may be freed now */
}

/* 0: all has gone; -EAGAIN; another: the pipe has ended. */
static int flush(struct path_framed *f)
{
	while (f->out_at < f->out_n) {
		ssize_t r = send(f->fd, f->out + f->out_at, f->out_n - f->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
		f->out_at += (size_t)r;
	}
	f->out_n = f->out_at = 0;
	return 0;
}

/* The pipe is found to have ended in a call of the owner's, who is told from the loop. */
static void close_later(struct path_framed *f)
{
	f->closing = true;
	f->out_n = f->out_at = 0;
	loop_timer_set(f->loop, &f->warm, 0);
}

static int framed_send(struct path *p, const uint8_t *data, size_t n, size_t segment)
{
	struct path_framed *f = framed_of(p);
	uint8_t head[FRAMED_HEAD];
	struct iovec v[2] = { { head, sizeof(head) }, { (void *)data, n } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	ssize_t r;
	size_t done;

	if (p->state != PATH_READY || f->closing || n > PATH_BATCH_MAX)
		return -ENOTCONN;
	if (f->out_n) {
		f->blocked = true;
		return -EAGAIN;
	}
	framed_head(head, segment, n);
	do {
		r = sendmsg(f->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (r < 0 && errno == EINTR);
	if (r < 0 && errno != EWOULDBLOCK) {
		close_later(f);
		return -ENOTCONN;
	}
	done = r < 0 ? 0 : (size_t)r;
	if (done < sizeof(head) + n) {
		memcpy(f->out, head, sizeof(head));
		memcpy(f->out + sizeof(head), data, n);
		f->out_at = done;
		f->out_n = sizeof(head) + n;
		(void)io_change(&f->io, IO_READ | IO_WRITE);
	}
	p->bytes[0] += n;
	p->packets[0] += path_count(n, segment);
	f->sent_at = loop_now(f->loop);
	return 0;
}

static void on_warm(struct timer *t, uint64_t now)
{
	struct path_framed *f = container_of(t, struct path_framed, warm);
	static const uint8_t nothing[FRAMED_HEAD];

	if (f->closing) {
		fail(f, "the other end of the pipe has gone");
		return;
	}
	if (!f->out_n && now - f->sent_at >= WARM_MS) {
		memcpy(f->out, nothing, sizeof(nothing));
		f->out_n = sizeof(nothing);
		f->sent_at = now;
		(void)io_change(&f->io, IO_READ | IO_WRITE); /* sent from there, where a failure is told */
	}
	loop_timer_set(f->loop, &f->warm, WARM_MS);
}

/* Hands whole frames on. False: the path is gone, or broken. */
static bool hand_on(struct path_framed *f, const bool *gone)
{
	size_t at = 0, segment, n;
	int r;

	while ((r = framed_parse(f->in + at, f->in_n - at, &segment, &n)) == 0) {
		uint8_t *data = f->in + at + FRAMED_HEAD;

		at += FRAMED_HEAD + n;
		path_arrived(&f->p, data, n, segment);
		if (*gone)
			return false;
	}
	if (r == -EPROTO) {
		f->gone = NULL;
		fail(f, "what came through the pipe is no frame of ours");
		return false;
	}
	memmove(f->in, f->in + at, f->in_n - at);
	f->in_n -= at;
	return true;
}

static void read_pipe(struct path_framed *f)
{
	bool gone = false;

	f->gone = &gone;
	for (unsigned i = 0; i < READS; i++) {
		size_t room = sizeof(f->in) - f->in_n;
		ssize_t r = recv(f->fd, f->in + f->in_n, room, MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EWOULDBLOCK)
			break;
		if (r <= 0) {
			f->gone = NULL;
			fail(f, r ? strerror(errno) : "the other end has closed the pipe");
			return;
		}
		f->in_n += (size_t)r;
		if (!hand_on(f, &gone))
			return;
		if ((size_t)r < room)
			break;
	}
	f->gone = NULL;
}

static void on_ready(struct io *io, int events)
{
	struct path_framed *f = container_of(io, struct path_framed, io);
	bool gone = false;
	int r = 0;

	if (events & IO_WRITE) {
		r = flush(f);
		if (r == 0) {
			(void)io_change(&f->io, IO_READ);
			f->gone = &gone;
			if (f->blocked && f->p.sink) {
				f->blocked = false;
				f->p.sink->writable(&f->p, f->p.arg);
			}
			if (gone)
				return;
			f->gone = NULL;
		} else if (r != -EAGAIN) {
			fail(f, strerror(-r));
			return;
		}
	}
	if (events & (IO_READ | IO_CLOSED))
		read_pipe(f);
}

static const struct path_ops framed_ops = { .send = framed_send, .free = framed_free };

/* Little may wait behind our back: what is not under way is to stay with QUIC. TCP needs its buffer for what is under way. */
static void keep_short(int fd)
{
	int on = 1, buffer = SEND_BUFFER, unsent = SEND_BUFFER, domain = AF_UNIX;
	socklen_t n = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0 || domain == AF_UNIX) {
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3); /* where the administrator allows it */
}

int path_framed_new(struct loop *l, enum path_kind kind, int fd, struct path **ret_p)
{
	_cleanup_(closep) int owned = fd;
	struct path_framed *f = malloc(sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	memset(f, 0, offsetof(struct path_framed, in));
	f->p = (struct path){ .ops = &framed_ops, .kind = kind, .state = PATH_READY, .mtu = 1452 };
	f->loop = l;
	f->fd = steal_fd(&owned);
	f->sent_at = loop_now(l);
	f->warm.fire = on_warm;
	keep_short(fd);
	r = io_start(&f->io, l, fd, IO_READ, on_ready);
	if (r < 0) {
		framed_free(&f->p);
		return r;
	}
	loop_timer_set(l, &f->warm, WARM_MS);
	*ret_p = &f->p;
	return 0;
}
