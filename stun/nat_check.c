/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sockets, a discovery, and a timer that tells its end: from there its owner may free all of it.
 *
 * The sockets are bound to one address, for the discovery compares what the server sees with that: on a wildcard address the routing
 * table says by which of ours the server is reached.
 */
#include "stun/nat_check.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { DATAGRAM = 2048, BATCH = 32 };

struct nat_check {
	struct nat_check_options o;
	struct check_socket {
		struct io io;
		struct nat_check *c;
		struct addr local;
	} socket[NAT_SOCKETS];
	struct nat *nat;
	struct nat_result result;
	struct timer tell;
};

struct nat_check *nat_check_free(struct nat_check *c)
{
	if (!c)
		return NULL;
	timer_stop(&c->tell);
	nat_free(c->nat);
	for (unsigned i = 0; i < NAT_SOCKETS; i++) {
		io_stop(&c->socket[i].io);
		if (c->socket[i].io.fd >= 0)
			close(c->socket[i].io.fd);
	}
	free(c);
	return NULL;
}

static void on_tell(struct timer *t, uint64_t now)
{
	struct nat_check *c = container_of(t, struct nat_check, tell);

	(void)now;
	c->o.done(&c->result, c->o.arg);
}

static void nat_send(unsigned socket, const struct addr *to, const void *p, size_t n, void *arg)
{
	struct nat_check *c = arg;

	/* An error (no route, refused by a local filter) is silence: it is asked again. */
	(void)!sendto(c->socket[socket].io.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL, &to->sa, addr_len(to));
}

static void nat_done(const struct nat_result *r, void *arg)
{
	struct nat_check *c = arg;

	c->result = *r;
	loop_timer_set(c->o.loop, &c->tell, 0);
}

static uint64_t nat_now(void *arg)
{
	return loop_now(((struct nat_check *)arg)->o.loop);
}

static const struct nat_ops ops = { .send = nat_send, .done = nat_done, .now = nat_now };

static void on_ready(struct io *io, int events)
{
	struct check_socket *s = container_of(io, struct check_socket, io);
	uint8_t buf[DATAGRAM];

	(void)events;
	for (unsigned i = 0; i < BATCH; i++) {
		struct addr from = { 0 };
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(io->fd, buf, sizeof(buf), 0, &from.sa, &len);

		if (n < 0)
			return; /* nothing more, or an ICMP error: silence */
		nat_input(s->c->nat, (unsigned)(s - s->c->socket), &from, buf, (size_t)n);
	}
}

static int open_socket(struct check_socket *s, const struct addr *at)
{
	socklen_t n = sizeof(s->local);
	int fd = socket(addr_family(at), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	s->io.fd = fd;
	if (fd < 0 || bind(fd, &at->sa, addr_len(at)) < 0 || getsockname(fd, &s->local.sa, &n) < 0)
		return -errno;
	return io_start(&s->io, s->c->o.loop, fd, IO_READ, on_ready);
}

static int open_sockets(struct nat_check *c)
{
	struct addr at = c->o.local;
	int r = 0;

	addr_set_port(&at, 0);
	if (addr_classify(&at) == ADDR_UNSPECIFIED)
		r = addr_towards(&c->o.server, &at);
	for (unsigned i = 0; i < NAT_SOCKETS && r == 0; i++)
		r = open_socket(&c->socket[i], &at);
	return r;
}

int nat_check_new(const struct nat_check_options *o, struct nat_check **ret_c)
{
	_cleanup_(nat_check_freep) struct nat_check *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->o = *o;
	c->tell.fire = on_tell;
	for (unsigned i = 0; i < NAT_SOCKETS; i++)
		c->socket[i] = (struct check_socket){ .io.fd = -1, .c = c };
	r = open_sockets(c);
	if (r == 0)
		r = nat_new(&(struct nat_options){ .timers = loop_timers(o->loop),
						   .ops = &ops,
						   .arg = c,
						   .server = o->server,
						   .second = o->second,
						   .local = { c->socket[0].local, c->socket[1].local },
						   .lifetime_ms = o->lifetime_ms },
			    &c->nat);
	if (r == 0)
		*ret_c = steal_ptr(&c);
	return r;
}
