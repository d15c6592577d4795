/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets for stun/nat.c; see site_study.h. They are fresh: whom a socket has spoken to is let in afterwards, and that is what is
 * to be found out. One is bound to each of two ports at the address from which packets to the server leave, so that a NAT is told
 * from none.
 */
#include "tunnel/direct/site_study.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATAGRAM = 1500, READS = 16 };

struct study_socket {
	struct io io;
	struct site_study *s;
	struct addr local;
};
struct site_study {
	struct loop *loop;
	struct study_socket sockets[NAT_SOCKETS];
	struct nat *nat;
	void (*done)(const struct nat_result *r, void *arg);
	void *arg;
	bool *gone; /* set while input is read: the result may free all of it */
};

struct site_study *site_study_free(struct site_study *s)
{
	if (!s)
		return NULL;
	if (s->gone)
		*s->gone = true;
	nat_free(s->nat);
	for (unsigned i = 0; i < NAT_SOCKETS; i++) {
		io_stop(&s->sockets[i].io);
		if (s->sockets[i].io.fd >= 0)
			close(s->sockets[i].io.fd);
	}
	free(s);
	return NULL;
}

static void on_ready(struct io *io, int events)
{
	struct study_socket *k = container_of(io, struct study_socket, io);
	struct site_study *s = k->s;
	bool gone = false;

	(void)events;
	s->gone = &gone;
	for (unsigned i = 0; i < READS && !gone; i++) {
		uint8_t buf[DATAGRAM];
		struct addr from = { 0 };
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(k->io.fd, buf, sizeof(buf), MSG_DONTWAIT, &from.sa, &len);

		if (n < 0)
			break;
		nat_input(s->nat, (unsigned)(k - s->sockets), &from, buf, (size_t)n);
	}
	if (!gone)
		s->gone = NULL;
}

static void nat_send(unsigned socket, const struct addr *to, const void *p, size_t n, void *arg)
{
	struct site_study *s = arg;

	(void)!sendto(s->sockets[socket].io.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL, &to->sa, addr_len(to)); /* what does not leave is repeated */
}

static void nat_done(const struct nat_result *r, void *arg)
{
	struct site_study *s = arg;

	s->done(r->error ? NULL : r, s->arg);
}

static uint64_t nat_now(void *arg)
{
	return loop_now(((struct site_study *)arg)->loop);
}

static const struct nat_ops nat_ops = { .send = nat_send, .done = nat_done, .now = nat_now };

/* Bound to the address from which packets to the server leave; connect() on a datagram socket sends nothing. */
static int open_socket(struct study_socket *k, struct loop *l, const struct addr *server)
{
	socklen_t len = sizeof(k->local);
	int fd = socket(addr_family(server), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, &server->sa, addr_len(server)) < 0 || getsockname(fd, &k->local.sa, &len) < 0)
		r = -errno;
	close(fd);
	if (r < 0)
		return r;
	addr_set_port(&k->local, 0);
	fd = socket(addr_family(server), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	k->io.fd = fd;
	len = sizeof(k->local);
	if (bind(fd, &k->local.sa, addr_len(&k->local)) < 0 || getsockname(fd, &k->local.sa, &len) < 0)
		return -errno;
	return io_start(&k->io, l, fd, IO_READ, on_ready);
}

int site_study_new(struct loop *l, const struct addr *server, uint64_t lifetime_ms, void (*done)(const struct nat_result *r, void *arg), void *arg,
		   struct site_study **ret_s)
{
	_cleanup_(site_study_freep) struct site_study *s = calloc(1, sizeof(*s));
	struct nat_options o = { .timers = loop_timers(l), .ops = &nat_ops, .arg = s, .server = *server, .lifetime_ms = lifetime_ms };
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->done = done;
	s->arg = arg;
	for (unsigned i = 0; i < NAT_SOCKETS; i++)
		s->sockets[i] = (struct study_socket){ .io.fd = -1, .s = s };
	for (unsigned i = 0; i < NAT_SOCKETS && r == 0; i++) {
		r = open_socket(&s->sockets[i], l, server);
		o.local[i] = s->sockets[i].local;
	}
	if (r == 0)
		r = nat_new(&o, &s->nat);
	if (r == 0)
		*ret_s = steal_ptr(&s);
	return r;
}
