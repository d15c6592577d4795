/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The UDP part of stile netcheck: first all servers are asked from one socket, for latency and to find one that
 * can tell most; then NAT discovery (stun/nat_check.h) runs against that one.
 * IPv4 and IPv6 one after the other.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include "cli/measure.h"
#include "cli/netcheck.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/loop.h"
#include "stun/nat_check.h"
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
	struct addr at; /* ours, towards the servers */
	struct io io;	/* of the questions for latency */
	struct ping ping[NC_SERVERS];
	unsigned pinging;
	struct timer deadline;
};

/* ---- latency ---- */

static void ping_send(struct stun_tx *t, const void *p, size_t n, void *arg)
{
	struct ping *ping = arg;

	(void)t;
	ping->sent_ns = clock_steady_ns();
	/* An error (no route, refused by a local filter) is silence: the transaction repeats and gives up. */
	(void)!sendto(ping->u->io.fd, p, n, 0, &ping->s->at[ping->u->family].sa, addr_len(&ping->s->at[ping->u->family]));
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

static void on_datagram(struct udp *u, const uint8_t *p, size_t n)
{
	struct stun_msg m;

	if (stun_parse(p, n, &m) != STUN_OK)
		return;
	for (unsigned i = 0; i < u->nc->n; i++)
		if (u->ping[i].tx && stun_tx_input(u->ping[i].tx, &m))
			return;
}

static void on_ready(struct io *io, int events)
{
	uint8_t buf[DATAGRAM];
	ssize_t n;

	(void)events;
	for (unsigned i = 0; i < 64; i++) {
		n = recv(io->fd, buf, sizeof buf, 0);
		if (n < 0)
			return; /* nothing more, or an ICMP error: silence */
		on_datagram(container_of(io, struct udp, io), buf, (size_t)n);
	}
}

static int ping_all(struct udp *u)
{
	_cleanup_(closep) int fd = socket(addr_family(&u->at), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0 || bind(fd, &u->at.sa, addr_len(&u->at)) < 0)
		return -errno;
	r = io_start(&u->io, u->loop, fd, IO_READ, on_ready);
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
	io_stop(&u->io);
	return r;
}

/* ---- discovery ---- */

static void nat_done(const struct nat_result *r, void *arg)
{
	struct udp *u = arg;

	u->nc->family[u->family].nat = *r;
	loop_stop(u->loop);
}

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

static int discover(struct udp *u, const struct nc_server *s)
{
	const struct nc_server *second = best(u, s);
	struct nat_check_options o = { .loop = u->loop, .local = u->at, .server = s->at[u->family], .lifetime_ms = u->nc->lifetime_ms,
				       .done = nat_done, .arg = u };
	struct nat_check *check = NULL;
	int r;

	if (second)
		o.second = second->at[u->family];
	r = nat_check_new(&o, &check);
	if (r == 0)
		r = loop_run(u->loop);
	nat_check_free(check);
	return r < 0 ? r : u->nc->family[u->family].nat.error;
}

/* ---- one family ---- */

static int check_family(struct udp *u)
{
	struct nc_family *f = &u->nc->family[u->family];
	const struct nc_server *s;
	int r = ping_all(u);

	if (r < 0)
		return r;
	f->asked = true;
	s = best(u, NULL);
	if (s)
		return discover(u, s);
	f->nat = (struct nat_result){ .local = u->at, .type = NAT_UDP_BLOCKED };
	return 0;
}

static int run_family(struct netcheck *nc, enum nc_family_id family, const struct addr *at)
{
	struct udp u = { .nc = nc, .family = family, .at = *at, .io.fd = -1 };
	int r = loop_new(&u.loop);

	if (r == 0)
		r = check_family(&u);
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
					       addr_towards(&nc->server[i].at[f], &at) == 0;
		if (nc->family[f].routed)
			r = run_family(nc, f, &at);
		if (r < 0)
			return r;
	}
	return 0;
}
