/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening stream sockets: making one, and accepting from it.
 *
 * When the process is out of descriptors, a level-triggered listener would spin; the acceptor pauses
 * instead and tries again, and reports the shortage once until an accept succeeds.
 */
#include "common/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "common/inherited.h"

enum { BACKLOG = 1024, ACCEPTS_PER_PASS = 64, PAUSE_MS = 100, REFUSED_AT_ONCE = 64 };

struct acceptor {
	const struct acceptor_ops *ops;
	void *arg;
	struct io io;
	struct timer pause;
	int fd;
	struct addr at;
	bool wildcard; /* the local address differs per connection */
	bool short_of; /* reported, and nothing accepted since */
	bool in_callback, freed;
};

static int set_int(int fd, int level, int name, int v)
{
	return setsockopt(fd, level, name, &v, sizeof(v)) < 0 ? -errno : 0;
}

int stream_listen_socket(const struct addr *at, const struct listen_options *opt, int *ret_fd)
{
	bool v6 = addr_family(at) == AF_INET6;
	int fd, r = inherited_take(SOCK_STREAM, at, ret_fd);

	if (r != -ENOENT)
		return r;
	fd = socket(addr_family(at), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* old connections in TIME_WAIT do not block a restart */
	if (!r && v6)
		r = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, opt->v6only);
	if (!r && opt->reuseport)
		r = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!r && opt->freebind)
		r = v6 ? set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1) : set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
	if (!r && bind(fd, &at->sa, addr_len(at)) < 0)
		r = -errno;
	if (!r && listen(fd, opt->backlog ? opt->backlog : BACKLOG) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

const char *stream_listen_advice(int r)
{
	switch (r) {
	case -EADDRNOTAVAIL: return "; this machine does not have that address; see: ip address";
	case -EADDRINUSE: return "; another program has this port; see: ss -lnp";
	case -EACCES: return "; ports below 1024 need CAP_NET_BIND_SERVICE, or a .socket unit of systemd's that binds them";
	case -EMFILE:
	case -ENFILE: return "; raise LimitNOFILE of the service";
	default: return "";
	}
}

static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void on_shortage(struct acceptor *a, int error)
{
	bool known = a->short_of;

	a->short_of = true;
	(void)io_change(&a->io, 0);
	loop_timer_set(a->io.loop, &a->pause, PAUSE_MS);
	if (!known && a->ops->on_error)
		a->ops->on_error(error, a->arg);
	if (!a->freed && a->ops->on_short)
		a->ops->on_short(a->fd, error, a->arg);
}

static struct addr local_of(const struct acceptor *a, int fd)
{
	struct addr local = a->at;
	socklen_t n = sizeof(local);

	if (a->wildcard && getsockname(fd, &local.sa, &n) < 0)
		return a->at;
	return local;
}

/* False when there is nothing more to accept for now. */
static bool accept_one(struct acceptor *a)
{
	struct addr peer = { 0 }, local;
	socklen_t n = sizeof(peer);
	int fd = accept4(a->fd, &peer.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		a->short_of = false;
		if (peer.sa.sa_family == AF_UNIX)
			peer = (struct addr){ 0 };
		local = local_of(a, fd);
		a->ops->on_accept(fd, &peer, &local, a->arg);
		return !a->freed;
	}
	if (errno == EAGAIN)
		return false;
	if (is_shortage(errno)) {
		on_shortage(a, errno);
		return false;
	}
	return true; /* that connection died in the queue (accept(2)); look at the next */
}

static void on_ready(struct io *io, int events)
{
	struct acceptor *a = container_of(io, struct acceptor, io);

	(void)events;
	a->in_callback = true;
	for (int i = 0; i < ACCEPTS_PER_PASS && accept_one(a); i++)
		;
	a->in_callback = false;
	if (a->freed)
		free(a);
}

static void on_pause_over(struct timer *t, uint64_t now)
{
	struct acceptor *a = container_of(t, struct acceptor, pause);

	(void)now;
	if (io_change(&a->io, IO_READ) < 0)
		loop_timer_set(a->io.loop, &a->pause, PAUSE_MS);
}

int acceptor_new(struct loop *l, int listen_fd, const struct acceptor_ops *ops, void *arg,
		 struct acceptor **ret_a)
{
	struct acceptor *a = calloc(1, sizeof(*a));
	socklen_t n = sizeof(a->at);
	uint8_t any = 0;
	const uint8_t *ip;
	size_t ip_n = 0;
	int r = -ENOMEM;

	if (a) {
		*a = (struct acceptor){ .ops = ops, .arg = arg, .fd = listen_fd, .pause.fire = on_pause_over };
		r = getsockname(listen_fd, &a->at.sa, &n) < 0 ? -errno : 0;
		if (a->at.sa.sa_family == AF_UNIX)
			a->at = (struct addr){ 0 };
		ip = addr_ip(&a->at, &ip_n);
		for (size_t i = 0; i < ip_n; i++)
			any |= ip[i];
		a->wildcard = ip_n && !any;
	}
	if (!r)
		r = io_start(&a->io, l, listen_fd, IO_READ, on_ready);
	if (r < 0) {
		free(a);
		close(listen_fd);
		return r;
	}
	*ret_a = a;
	return 0;
}

void acceptor_finish(struct acceptor *a)
{
	for (int i = 0; i < BACKLOG && accept_one(a); i++)
		;
}

struct acceptor *acceptor_free(struct acceptor *a)
{
	if (!a || a->freed)
		return NULL;
	io_stop(&a->io);
	timer_stop(&a->pause);
	close(a->fd);
	a->freed = true;
	if (!a->in_callback)
		free(a);
	return NULL;
}

/* ---- without descriptors ---- */

int acceptor_spare(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void acceptor_refuse(int listen_fd, int err, int *spare, void (*refused)(int fd, const struct addr *peer, void *arg), void *arg)
{
	if ((err != EMFILE && err != ENFILE) || *spare < 0)
		return;
	close(*spare);
	for (int i = 0; i < REFUSED_AT_ONCE; i++) {
		struct addr peer = { 0 };
		socklen_t n = sizeof(peer);
		int fd = accept4(listen_fd, &peer.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			break;
		refused(fd, &peer, arg);
	}
	*spare = acceptor_spare();
}
