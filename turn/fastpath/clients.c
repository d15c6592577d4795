/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection per worker. A message that is not of turn/fastpath/wire.h, a request before the hello, an
 * answer that its receiver does not take: the connection ends, and with it what it had in the kernel. News
 * leaves room in the socket's buffer for answers.
 */
#include "turn/fastpath/clients.h"
#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "common/fd.h"
#include "turn/log_msgs.h"

enum { CLIENTS_MAX = 256, BACKLOG = 64, MESSAGES_PER_PASS = 64, NEWS_IN_BUFFER = 32 << 10, NEWS_RETRY_MS = 20 };

struct client {
	struct io io;
	struct list node;
	struct fast_clients *all;
	bool greeted;
	unsigned worker;
};

struct fast_clients {
	struct io io;
	struct loop *loop;
	struct list list;
	struct timer retry; /* of news */
	unsigned n;
	struct fast_kernel *kernel;
	struct fast_channels *channels;
};

static void client_free(struct client *c)
{
	fast_channels_drop(c->all->channels, c);
	c->all->n--;
	list_unlink(&c->node);
	io_stop(&c->io);
	close(c->io.fd);
	free(c);
}

static void client_gone(struct client *c, const char *why)
{
	log_emit(&MSG_FASTPATH_CLIENT_GONE, LF_U64("worker", c->worker), LF_STR("why", why));
	client_free(c);
}

/* ---- answers ---- */

/* fd: -1 or a descriptor that goes along. */
static int send_msg(struct client *c, const struct fast_msg *m, int fd)
{
	uint8_t bytes[FAST_MSG_LEN];
	union {
		struct cmsghdr h;
		uint8_t room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { bytes, sizeof bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	fast_msg_write(m, bytes);
	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof control;
		control.h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.h), &fd, sizeof fd);
	}
	return sendmsg(c->io.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int on_hello(struct client *c, const struct fast_msg *m)
{
	struct fast_msg answer = { .type = FAST_WELCOME, .seq = m->seq, .welcome = { .mode = fast_kernel_mode(c->all->kernel) } };
	struct fast_slot *slots;
	int fd;

	if (c->greeted)
		return -EBADMSG;
	c->greeted = true;
	c->worker = m->hello.worker;
	answer.welcome.slots = fast_kernel_slots(c->all->kernel, &slots, &fd);
	snprintf(answer.welcome.interfaces, sizeof answer.welcome.interfaces, "%s", fast_kernel_names(c->all->kernel));
	log_emit(&MSG_FASTPATH_CLIENT, LF_U64("worker", c->worker));
	return send_msg(c, &answer, fd);
}

static int on_add(struct client *c, const struct fast_msg *m)
{
	struct fast_msg answer = { .type = FAST_ADDED, .seq = m->seq };

	answer.state.why = fast_channels_add(c->all->channels, &m->add, c, &answer.state.slot, &answer.state.generation);
	return send_msg(c, &answer, -1);
}

static int on_remove(struct client *c, const struct fast_msg *m)
{
	struct fast_msg answer = { .type = FAST_REMOVED, .seq = m->seq, .state = { m->state.slot, m->state.generation, 0 } };

	return fast_channels_remove(c->all->channels, c, m->state.slot, m->state.generation) ? send_msg(c, &answer, -1) : -EBADMSG;
}

static int dispatch(struct client *c, const struct fast_msg *m)
{
	static int (*const handlers[])(struct client *, const struct fast_msg *) = {
		[FAST_HELLO] = on_hello, [FAST_ADD] = on_add, [FAST_REMOVE] = on_remove,
	};

	if ((unsigned)m->type >= ARRAY_LEN(handlers) || !handlers[m->type] || (!c->greeted && m->type != FAST_HELLO))
		return -EBADMSG;
	return handlers[m->type](c, m);
}

static void on_client(struct io *io, int events)
{
	struct client *c = container_of(io, struct client, io);
	uint8_t bytes[FAST_MSG_LEN + 1];
	struct fast_msg m;

	(void)events;
	for (unsigned i = 0; i < MESSAGES_PER_PASS; i++) {
		ssize_t n = recv(io->fd, bytes, sizeof bytes, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			client_gone(c, n < 0 ? strerror(errno) : "it closed the connection");
			return;
		}
		int r = fast_msg_parse(bytes, (size_t)n, &m);
		if (r == 0)
			r = dispatch(c, &m);
		if (r < 0) {
			client_gone(c, r == -EBADMSG ? "it broke the protocol" : strerror(-r));
			return;
		}
	}
}

/* ---- news ---- */

/* False: the receiver is behind. */
static bool tell(struct client *c)
{
	struct fast_msg m;
	int waiting = 0;

	for (;;) {
		if (ioctl(c->io.fd, SIOCOUTQ, &waiting) < 0 || waiting > NEWS_IN_BUFFER)
			return false;
		if (!fast_channels_news(c->all->channels, c, &m))
			return true;
		if (send_msg(c, &m, -1) < 0)
			return true; /* it is dying, and its descriptor will say so */
	}
}

void fast_clients_tell(struct fast_clients *cl)
{
	bool all = true;

	list_for_each (it, &cl->list) {
		struct client *c = list_entry(it, struct client, node);
		if (c->greeted)
			all &= tell(c);
	}
	if (!all)
		loop_timer_set(cl->loop, &cl->retry, NEWS_RETRY_MS);
}

static void on_retry(struct timer *t, uint64_t now)
{
	(void)now;
	fast_clients_tell(container_of(t, struct fast_clients, retry));
}

/* ---- connections ---- */

static bool is_permitted(int fd)
{
	struct ucred cred;
	socklen_t n = sizeof cred;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 && (cred.uid == 0 || cred.uid == geteuid());
}

static void on_connection(struct io *io, int events)
{
	struct fast_clients *cl = container_of(io, struct fast_clients, io);
	_cleanup_(closep) int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0)
		return;
	if (!is_permitted(fd) || cl->n >= CLIENTS_MAX) {
		log_emit(&MSG_FASTPATH_CLIENT_REFUSED, LF_STR("why", cl->n >= CLIENTS_MAX ? "too many connections" :
								       "it is neither our user nor root"));
		return;
	}
	struct client *c = calloc(1, sizeof *c);
	if (!c || io_start(&c->io, cl->loop, fd, IO_READ, on_client) < 0) {
		free(c);
		return;
	}
	(void)steal_fd(&fd); /* it is io's */
	c->all = cl;
	cl->n++;
	list_append(&cl->list, &c->node);
}

int fast_clients_listen(const char *path, char *err, size_t err_n, int *ret_fd)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	_cleanup_(closep) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	memcpy(at.sun_path, path, MIN(strlen(path) + 1, sizeof at.sun_path - 1));
	/* The control socket's lock says that no other stile-fastpath of this name lives: what is there is dead. The
	 * file takes the socket's mode. */
	if (fd < 0 || fchmod(fd, 0600) < 0 || (unlink(path) < 0 && errno != ENOENT) ||
	    bind(fd, (const void *)&at, sizeof at) < 0 || listen(fd, BACKLOG) < 0) {
		int r = -errno;
		snprintf(err, err_n, "cannot open the socket %s: %s", path, strerror(-r));
		return r;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

int fast_clients_new(struct loop *l, int fd, struct fast_kernel *k, struct fast_channels *cs, struct fast_clients **ret_c)
{
	struct fast_clients *cl = calloc(1, sizeof *cl);

	if (!cl)
		return -ENOMEM;
	*cl = (struct fast_clients){ .loop = l, .kernel = k, .channels = cs, .retry = { .fire = on_retry } };
	list_init(&cl->list);
	int r = io_start(&cl->io, l, fd, IO_READ, on_connection);
	if (r < 0) {
		free(cl);
		return r;
	}
	*ret_c = cl;
	return 0;
}

struct fast_clients *fast_clients_free(struct fast_clients *cl)
{
	if (!cl)
		return NULL;
	list_for_each_safe (it, &cl->list)
		client_free(list_entry(it, struct client, node));
	timer_stop(&cl->retry);
	io_stop(&cl->io);
	close(cl->io.fd);
	free(cl);
	return NULL;
}

unsigned fast_clients_count(const struct fast_clients *cl)
{
	return cl->n;
}
