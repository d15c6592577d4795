/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sockets, a discovery, and a timer that tells its end: from there its owner may free all of it.
 *
 * Where we listen on a wildcard address, the routing table says by which of ours the server is reached, for the discovery
 * compares what the server sees with that.
 */
#include "sip-proxy/nat_type.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/defs.h"

enum { DATAGRAM = 2048, BATCH = 32 };

struct sip_nat_check {
	struct loop *loop;
	void (*done)(const struct nat_result *r, void *arg);
	void *arg;
	struct socket_of {
		struct io io;
		struct sip_nat_check *c;
		struct addr local;
	} socket[NAT_SOCKETS];
	struct nat *nat;
	struct nat_result result;
	struct timer tell;
};

struct sip_nat_check *sip_nat_check_free(struct sip_nat_check *c)
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
	struct sip_nat_check *c = container_of(t, struct sip_nat_check, tell);

	(void)now;
	c->done(&c->result, c->arg);
}

static void nat_send(unsigned socket, const struct addr *to, const void *p, size_t n, void *arg)
{
	struct sip_nat_check *c = arg;

	(void)sendto(c->socket[socket].io.fd, p, n, 0, &to->sa, addr_len(to)); /* lost: it is asked again */
}

static void nat_done(const struct nat_result *r, void *arg)
{
	struct sip_nat_check *c = arg;

	c->result = *r;
	loop_timer_set(c->loop, &c->tell, 0);
}

static uint64_t nat_now(void *arg)
{
	return loop_now(((struct sip_nat_check *)arg)->loop);
}

static const struct nat_ops ops = { .send = nat_send, .done = nat_done, .now = nat_now };

static void on_ready(struct io *io, int events)
{
	struct socket_of *s = container_of(io, struct socket_of, io);
	uint8_t buf[DATAGRAM];
	struct addr from;

	(void)events;
	for (unsigned i = 0; i < BATCH; i++) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(io->fd, buf, sizeof(buf), 0, &from.sa, &len);
		if (n < 0)
			return; /* nothing more, or an ICMP error: silence */
		nat_input(s->c->nat, (unsigned)(s - s->c->socket), &from, buf, (size_t)n);
	}
}

static int address_towards(const struct addr *server, struct addr *ret_local)
{
	int fd = socket(addr_family(server), SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;
	socklen_t n = sizeof(*ret_local);

	if (fd < 0 || connect(fd, &server->sa, addr_len(server)) < 0 || getsockname(fd, &ret_local->sa, &n) < 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	addr_set_port(ret_local, 0);
	return r;
}

static int open_socket(struct sip_nat_check *c, unsigned i, const struct addr *at)
{
	struct socket_of *s = &c->socket[i];
	socklen_t n = sizeof(s->local);
	int fd = socket(addr_family(at), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	s->c = c;
	s->io.fd = fd;
	if (fd < 0 || bind(fd, &at->sa, addr_len(at)) < 0 || getsockname(fd, &s->local.sa, &n) < 0)
		return -errno;
	return io_start(&s->io, c->loop, fd, IO_READ, on_ready);
}

int sip_nat_check_new(struct loop *loop, const struct addr *local, const struct addr *server,
		      void (*done)(const struct nat_result *r, void *arg), void *arg, struct sip_nat_check **ret_c)
{
	struct sip_nat_check *c = calloc(1, sizeof(*c));
	struct addr at = *local;
	int r = c ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	c->loop = loop;
	c->done = done;
	c->arg = arg;
	c->tell.fire = on_tell;
	for (unsigned i = 0; i < NAT_SOCKETS; i++)
		c->socket[i].io.fd = -1;
	addr_set_port(&at, 0);
	if (addr_classify(&at) == ADDR_UNSPECIFIED)
		r = address_towards(server, &at);
	for (unsigned i = 0; i < NAT_SOCKETS && r == 0; i++)
		r = open_socket(c, i, &at);
	if (r == 0)
		r = nat_new(&(struct nat_options){ .timers = loop_timers(loop),
						   .ops = &ops,
						   .arg = c,
						   .server = *server,
						   .local = { c->socket[0].local, c->socket[1].local } },
			    &c->nat);
	if (r < 0) {
		sip_nat_check_free(c);
		return r;
	}
	*ret_c = c;
	return 0;
}
