/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SOCK_SEQPACKET with SCM_RIGHTS in a loop. A packet that was cut (MSG_TRUNC), came with more descriptors than one, or is no
 * message ends the channel: the other end is not what it should be.
 *
 * What waits is bounded by bytes: an end that does not read has hung, and is treated as dead.
 */
#include "tunnel/direct/channel.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAITING_MAX = 4 << 20, MESSAGES_PER_PASS = 64, SOCKET_BUFFER = 1 << 20 };

struct waiting {
	struct list node;
	int fd;
	size_t n;
	uint8_t bytes[];
};

struct channel {
	struct loop *loop;
	struct io io;
	int fd;
	unsigned way;
	const struct channel_ops *ops;
	void *arg;
	struct list waiting;
	size_t n_waiting;
	struct timer failed; /* closed() comes from the loop, not from within channel_send() */
	const char *why;
	bool busy, dead; /* in a callback; freed in it, and gone when that returns */
};

int channel_pair(int ret_fds[static 2])
{
	int size = SOCKET_BUFFER;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_fds) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		(void)setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void drop_waiting(struct channel *c)
{
	list_for_each_safe (it, &c->waiting) {
		struct waiting *w = list_entry(it, struct waiting, node);

		list_unlink(&w->node);
		close_fd(w->fd);
		bytes_wipe(w->bytes, w->n); /* SETUP holds a private key */
		free(w);
	}
	c->n_waiting = 0;
}

struct channel *channel_free(struct channel *c)
{
	if (!c)
		return NULL;
	timer_stop(&c->failed);
	io_stop(&c->io);
	drop_waiting(c);
	close_fd(c->fd);
	c->fd = -1;
	c->dead = true;
	if (!c->busy)
		free(c);
	return NULL;
}

/* ---- writing ---- */

static void fail(struct channel *c, const char *why)
{
	if (c->why)
		return;
	c->why = why;
	(void)io_change(&c->io, 0);
	drop_waiting(c);
	loop_timer_set(c->loop, &c->failed, 0);
}

static void on_failed(struct timer *t, uint64_t now)
{
	struct channel *c = container_of(t, struct channel, failed);

	(void)now;
	c->ops->closed(c, c->why, c->arg);
}

static int put(struct channel *c, const void *p, size_t n, int fd)
{
	struct iovec v = { (void *)p, n };
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .room = { 0 } };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t r;

	if (fd >= 0) {
		m.msg_control = control.room;
		m.msg_controllen = sizeof(control.room);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(fd));
	}
	do
		r = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int keep(struct channel *c, const void *p, size_t n, int fd)
{
	struct waiting *w;

	if (c->n_waiting + n > WAITING_MAX) {
		fail(c, "the other process does not read what it is told");
		return -ENOBUFS;
	}
	w = malloc(sizeof(*w) + n);
	if (!w || io_change(&c->io, IO_READ | IO_WRITE) < 0) {
		free(w);
		fail(c, "out of memory");
		return -ENOMEM;
	}
	w->fd = fd;
	w->n = n;
	memcpy(w->bytes, p, n);
	c->n_waiting += n;
	list_append(&c->waiting, &w->node);
	return 0;
}

static bool would_block(int r)
{
	return r == -EAGAIN || r == -EWOULDBLOCK || r == -ENOBUFS || r == -ETOOMANYREFS;
}

int channel_send_fd(struct channel *c, unsigned type, const void *msg, int fd)
{
	uint8_t packet[CHILD_PACKET_MAX];
	struct wr w = wr_init(packet, sizeof(packet));
	int r = -EPIPE;

	child_write(&w, type, msg);
	if (w.failed)
		r = -EINVAL;
	else if (!c->why)
		r = list_empty(&c->waiting) ? put(c, packet, wr_len(&w), fd) : -EAGAIN;
	if (would_block(r) && !c->why) {
		r = keep(c, packet, wr_len(&w), fd);
		if (r == 0)
			fd = -1;
	} else if (r < 0 && r != -EINVAL) {
		fail(c, "the other process has gone");
		r = -EPIPE;
	}
	bytes_wipe(packet, wr_len(&w));
	close_fd(fd);
	return r;
}

int channel_send(struct channel *c, unsigned type, const void *msg)
{
	return channel_send_fd(c, type, msg, -1);
}

static void flush(struct channel *c)
{
	while (!list_empty(&c->waiting)) {
		struct waiting *w = list_entry(c->waiting.next, struct waiting, node);
		int r = put(c, w->bytes, w->n, w->fd);

		if (would_block(r))
			return;
		if (r < 0) {
			fail(c, "the other process has gone");
			return;
		}
		list_unlink(&w->node);
		c->n_waiting -= w->n;
		close_fd(w->fd);
		bytes_wipe(w->bytes, w->n);
		free(w);
	}
	(void)io_change(&c->io, IO_READ);
}

/* ---- reading ---- */

/* The descriptor that came along, or -1; more than one are closed, and that is an error. */
static int take_fds(struct msghdr *m, int *ret_fd)
{
	unsigned n = 0;

	*ret_fd = -1;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t count = h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS ? (h->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			if (n++ == 0)
				*ret_fd = fd;
			else
				close_fd(fd);
		}
	}
	if (n <= 1 && !(m->msg_flags & MSG_CTRUNC))
		return 0;
	close_fd(*ret_fd);
	*ret_fd = -1;
	return -EPROTO;
}

static ssize_t receive(struct channel *c, uint8_t *packet, int *ret_fd)
{
	struct iovec v = { packet, CHILD_PACKET_MAX };
	union {
		char room[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room) };
	ssize_t n;

	*ret_fd = -1;
	do
		n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (take_fds(&m, ret_fd) < 0 || (m.msg_flags & MSG_TRUNC)) {
		close_fd(*ret_fd);
		*ret_fd = -1;
		return -EPROTO;
	}
	return n;
}

/* One packet. False: nothing more is to be read now, or ever. */
static bool take_one(struct channel *c)
{
	uint8_t packet[CHILD_PACKET_MAX];
	union child_any m;
	unsigned type;
	int fd;
	ssize_t n = receive(c, packet, &fd);

	if (n <= 0) {
		if (n == 0 || !would_block((int)n))
			fail(c, n == -EPROTO ? "the other process broke the rules of the channel" : "the other process has gone");
		return false;
	}
	if (child_parse(packet, (size_t)n, c->way, &type, &m) != WIRE_OK)
		fail(c, "the other process sent what is no message");
	else
		c->ops->message(c, type, &m, &fd, c->arg);
	close_fd(fd);
	bytes_wipe(packet, (size_t)n);
	return !c->dead && !c->why;
}

static void on_ready(struct io *io, int events)
{
	struct channel *c = container_of(io, struct channel, io);

	c->busy = true;
	if (events & IO_WRITE)
		flush(c);
	for (int i = 0; (events & IO_READ) && i < MESSAGES_PER_PASS && take_one(c); i++)
		;
	c->busy = false;
	if (c->dead)
		free(c);
}

int channel_new(struct loop *l, int fd, unsigned way, const struct channel_ops *ops, void *arg, struct channel **ret_c)
{
	struct channel *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	*c = (struct channel){ .loop = l, .fd = fd, .way = way, .ops = ops, .arg = arg };
	list_init(&c->waiting);
	c->failed.fire = on_failed;
	r = io_start(&c->io, l, fd, IO_READ, on_ready);
	if (r < 0) {
		channel_free(c);
		return r;
	}
	*ret_c = c;
	return 0;
}
