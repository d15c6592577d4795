/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The UDP part of stile netcheck: first all servers are asked from one socket, for latency and to find one that
 * can tell most; then NAT discovery (stun/nat) runs against that one, from two fresh sockets that
 * have spoken to nobody. IPv4 and IPv6 one after the other.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cli/measure.h"
#include "cli/netcheck.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/loop.h"
#include "stun/transaction.h"

enum { PING_RTO_MS = 100, PING_MS = 3000, DATAGRAM = 2048 };

struct ping {
	struct udp *u;
	struct stun_tx *tx;
	struct nc_server *s;
	uint64_t sent_ns;
};

struct udp {
	struct netcheck *nc;
	enum nc_family_id family;
	struct loop *loop;
	struct socket {
		struct io io;
		struct udp *u;
		unsigned number;
		struct addr local;
	} socket[NAT_SOCKETS];
	struct nat *nat;
	struct ping ping[NC_SERVERS];
	unsigned pinging;
	struct timer deadline;
};

/* ---- sockets ---- */

/* The address that packets to this one leave from; connect() on a datagram socket sends nothing. */
static int source_towards(const struct addr *to, struct addr *ret_a)
{
	socklen_t len = sizeof *ret_a;
	int fd = socket(addr_family(to), SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, &to->sa, addr_len(to)) < 0 || getsockname(fd, &ret_a->sa, &len) < 0)
		r = -errno;
	addr_set_port(ret_a, 0);
	close(fd);
	return r;
}

static void on_ready(struct io *io, int events);

static int open_socket(struct udp *u, unsigned i, const struct addr *at)
{
	socklen_t len = sizeof u->socket[i].local;
	int fd = socket(addr_family(at), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r;

	if (fd < 0)
		return -errno;
	if (bind(fd, &at->sa, addr_len(at)) < 0 || getsockname(fd, &u->socket[i].local.sa, &len) < 0)
		r = -errno;
	else
		r = io_start(&u->socket[i].io, u->loop, fd, IO_READ, on_ready);
	if (r < 0) {
		close(fd);
		return r;
	}
	u->socket[i].io.fd = fd;
	return 0;
}

static void close_sockets(struct udp *u)
{
	for (unsigned i = 0; i < NAT_SOCKETS; i++) {
		if (u->socket[i].io.fd < 0)
			continue;
		io_stop(&u->socket[i].io);
		close(u->socket[i].io.fd);
		u->socket[i].io.fd = -1;
	}
}

/* An error (no route, refused by a local filter) is silence: the transaction repeats and gives up. */
static void send_from(struct udp *u, unsigned socket, const struct addr *to, const void *p, size_t n)
{
	(void)!sendto(u->socket[socket].io.fd, p, n, 0, &to->sa, addr_len(to));
}

/* ---- latency ---- */

static void ping_send(struct stun_tx *t, const void *p, size_t n, void *arg)
{
	struct ping *ping = arg;

	(void)t;
	ping->sent_ns = clock_steady_ns();
	send_from(ping->u, 0, &ping->s->at[ping->u->family], p, n);
}

static void ping_done(struct stun_tx *t, const struct stun_msg *m, void *arg)
{
	struct ping *ping = arg;
	struct nc_server *s = ping->s;
	enum nc_family_id f = ping->u->family;
	struct addr other;

	(void)t;
	if (m) {
		s->answered[f] = true;
		s->rtt_ms[f] = (double)(clock_steady_ns() - ping->sent_ns) / 1e6;
		if (stun_get_addr(m, STUN_A_XOR_MAPPED_ADDRESS, &s->mapped[f]) < 0)
			(void)stun_get_addr(m, STUN_A_MAPPED_ADDRESS, &s->mapped[f]);
		if (stun_get_addr(m, STUN_A_OTHER_ADDRESS, &other) == 0 || stun_get_addr(m, STUN_A_CHANGED_ADDRESS, &other) == 0)
			s->has_other[f] = !addr_equal_ip(&other, &s->at[f]);
	}
	if (--ping->u->pinging == 0)
		loop_stop(ping->u->loop);
}

static const struct stun_tx_ops ping_ops = { .send = ping_send, .done = ping_done };

static int ping(struct udp *u, unsigned i)
{
	struct ping *p = &u->ping[i];
	const struct stun_tx_options o = { .timers = loop_timers(u->loop), .ops = &ping_ops, .arg = p };
	uint8_t buf[64], tid[STUN_TID_LEN];
	struct stun_writer sw;
	int r = bytes_random(tid, sizeof tid);

	*p = (struct ping){ .u = u, .s = &u->nc->server[i] };
	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_REQUEST, tid);
	if (r == 0)
		r = stun_tx_new(&o, loop_now(u->loop), buf, (size_t)stun_end(&sw), &p->tx);
	if (r < 0)
		return r;
	stun_tx_rto(p->tx, PING_RTO_MS);
	u->pinging++;
	return 0;
}

static void on_deadline(struct timer *t, uint64_t now)
{
	(void)now;
	loop_stop(container_of(t, struct udp, deadline)->loop);
}

static int ping_all(struct udp *u)
{
	int r = 0;

	for (unsigned i = 0; i < u->nc->n && r == 0; i++)
		if (addr_family(&u->nc->server[i].at[u->family]) != AF_UNSPEC)
			r = ping(u, i);
	if (r == 0 && u->pinging) {
		u->deadline.fire = on_deadline;
		loop_timer_set(u->loop, &u->deadline, PING_MS);
		r = loop_run(u->loop);
		timer_stop(&u->deadline);
	}
	for (unsigned i = 0; i < u->nc->n; i++)
		u->ping[i].tx = stun_tx_free(u->ping[i].tx);
	return r;
}

/* ---- discovery ---- */

static void nat_send(unsigned socket, const struct addr *to, const void *p, size_t n, void *arg)
{
	send_from(arg, socket, to, p, n);
}

static void nat_done(const struct nat_result *r, void *arg)
{
	struct udp *u = arg;

	u->nc->family[u->family].nat = *r;
	loop_stop(u->loop);
}

static uint64_t nat_now(void *arg)
{
	return loop_now(((struct udp *)arg)->loop);
}

static const struct nat_ops nat_ops = { .send = nat_send, .done = nat_done, .now = nat_now };

/* How much a server can tell. One on this side of the NAT tells little, whatever it offers. */
static unsigned worth(const struct nc_server *s, enum nc_family_id f)
{
	return s->answered[f] ? 1 + 2 * s->has_other[f] + 4 * !nat_is_inside(&s->at[f]) : 0;
}

static const struct nc_server *best(const struct udp *u, const struct nc_server *not_this)
{
	const struct nc_server *found = NULL;

	for (unsigned i = 0; i < u->nc->n; i++) {
		const struct nc_server *s = &u->nc->server[i];
		if (not_this && (s == not_this || addr_equal_ip(&s->at[u->family], &not_this->at[u->family])))
			continue;
		if (worth(s, u->family) > (found ? worth(found, u->family) : 0))
			found = s;
	}
	return found;
}

static int discover(struct udp *u, const struct nc_server *s, const struct nc_server *second)
{
	struct nat_options o = { .timers = loop_timers(u->loop), .ops = &nat_ops, .arg = u, .server = s->at[u->family],
				 .local = { u->socket[0].local, u->socket[1].local }, .lifetime_ms = u->nc->lifetime_ms };

	if (second)
		o.second = second->at[u->family];
	int r = nat_new(&o, &u->nat);

	if (r == 0)
		r = loop_run(u->loop);
	u->nat = nat_free(u->nat);
	return r < 0 ? r : u->nc->family[u->family].nat.error;
}

static void on_datagram(struct udp *u, unsigned socket, const struct addr *from, const uint8_t *p, size_t n)
{
	struct stun_msg m;

	if (u->nat) {
		nat_input(u->nat, socket, from, p, n);
		return;
	}
	if (stun_parse(p, n, &m) != STUN_OK)
		return;
	for (unsigned i = 0; i < u->nc->n; i++)
		if (u->ping[i].tx && stun_tx_input(u->ping[i].tx, &m))
			return;
}

static void on_ready(struct io *io, int events)
{
	struct socket *sock = container_of(io, struct socket, io);
	uint8_t buf[DATAGRAM];
	struct addr from;
	socklen_t len;
	ssize_t n;

	(void)events;
	for (unsigned i = 0; i < 64; i++) {
		len = sizeof from;
		n = recvfrom(io->fd, buf, sizeof buf, 0, &from.sa, &len);
		if (n < 0)
			return; /* nothing more, or an ICMP error: silence */
		on_datagram(sock->u, sock->number, &from, buf, (size_t)n);
	}
}

/* ---- one family ---- */

static int with_sockets(struct udp *u, const struct addr *at, int (*fn)(struct udp *u))
{
	int r = 0;

	for (unsigned i = 0; i < NAT_SOCKETS && r == 0; i++)
		r = open_socket(u, i, at);
	if (r == 0)
		r = fn(u);
	close_sockets(u);
	return r;
}

static int discover_best(struct udp *u)
{
	const struct nc_server *s = best(u, NULL);

	return discover(u, s, best(u, s));
}

static int check_family(struct udp *u, const struct addr *at)
{
	struct nc_family *f = &u->nc->family[u->family];
	int r = with_sockets(u, at, ping_all);

	if (r < 0)
		return r;
	f->asked = true;
	if (best(u, NULL))
		return with_sockets(u, at, discover_best);
	f->nat = (struct nat_result){ .local = *at, .type = NAT_UDP_BLOCKED };
	return 0;
}

static int run_family(struct netcheck *nc, enum nc_family_id family, const struct addr *at)
{
	struct udp u = { .nc = nc, .family = family };
	int r;

	for (unsigned i = 0; i < NAT_SOCKETS; i++)
		u.socket[i] = (struct socket){ .u = &u, .number = i, .io.fd = -1 };
	r = loop_new(&u.loop);
	if (r == 0)
		r = check_family(&u, at);
	loop_free(u.loop);
	return r;
}

int nc_udp(struct netcheck *nc)
{
	for (unsigned f = 0; f < NC_FAMILIES; f++) {
		struct addr at;
		int r = 0;
		for (unsigned i = 0; i < nc->n && !nc->family[f].routed; i++)
			nc->family[f].routed = addr_family(&nc->server[i].at[f]) != AF_UNSPEC &&
					       source_towards(&nc->server[i].at[f], &at) == 0;
		if (nc->family[f].routed)
			r = run_family(nc, f, &at);
		if (r < 0)
			return r;
	}
	return 0;
}
