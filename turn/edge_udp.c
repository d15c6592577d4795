/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP at the edge: listeners' sockets and relay sockets, both drained in batches by
 * common/dgram. Received bytes stay in the arena and are forwarded in place; output leaves at the end
 * of the loop's pass. What comes in on a DTLS listener goes to edge_dtls.c.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/reuseport.h"
#include "turn/edge.h"

enum {
	BATCHES_PER_LOOK = 16, /* at the error queue of a relay socket that is never empty, and for a second message */
	LONE_ENOUGH = 4,       /* batches of one message in a row: no second one is looked for */
	SAME_TTL = 64,	       /* datagrams in a row with a TTL that is not the socket's: it becomes the socket's */
	DATA_BATCHES = 4,      /* of a data lane in one pass */
	STRAYS_MS = 1000,      /* after its sockets were bound no packet waits at the wrong one */
};

/* ---- clients ---- */

static void udp_send(const struct turn_path *p, const struct turn_out *o)
{
	struct turn_udp *u = p->handle;
	struct turn_worker *w = u->worker;
	const struct dgram_route route = { u->lane[0].io.fd, &p->client, u->wildcard ? &p->local : NULL, o->mark };

	if (o->stable && o->head_n <= DGRAM_HEAD) {
		dgram_send(w->dgram, &route, o->head, o->head_n, o->body, o->body_n);
		return;
	}
	size_t n = turn_out_join(w, o);
	dgram_send_copy(w->dgram, &route, w->scratch, n);
}

static void udp_send_run(const struct turn_path *p, const uint8_t head[4], const struct dgram_run *run, struct dgram_mark mark)
{
	struct turn_udp *u = p->handle;
	const struct dgram_route route = { u->lane[0].io.fd, &p->client, u->wildcard ? &p->local : NULL, mark };

	dgram_send_run(u->worker->dgram, &route, head, 4, run);
}

static bool udp_reply_from(const struct turn_path *p, const struct addr *local, struct turn_path *ret_p)
{
	const struct turn_udp *asked = p->handle;
	struct turn_worker *w = asked->worker;

	list_for_each(it, &w->udp) {
		struct turn_udp *u = list_entry(it, struct turn_udp, node);
		if (u->plain == TURN_OPEN && addr_equal(&u->at, local)) {
			*ret_p = (struct turn_path){ p->transport, u, p->client, *local, 0 };
			return true;
		}
	}
	return false;
}

static bool udp_alive(void *edge, const struct turn_path *p)
{
	const struct turn_worker *w = edge;

	list_for_each(it, &w->udp) {
		const struct turn_udp *u = list_entry(it, struct turn_udp, node);
		if (u == p->handle) /* or another one, that was opened in the same place since */
			return addr_port(&u->at) == addr_port(&p->local) && (u->wildcard || addr_equal_ip(&u->at, &p->local));
	}
	return false;
}

static struct turn_listener *udp_listener(const struct turn_path *p)
{
	return ((const struct turn_udp *)p->handle)->listener;
}

static const struct turn_transport transport_udp = {
	.proto = TURN_UDP,
	.name = "udp",
	.send = udp_send,
	.send_run = udp_send_run,
	.alive = udp_alive,
	.listener = udp_listener,
	.reply_from = udp_reply_from,
};

void turn_udp_send_raw(struct turn_udp *u, const struct addr *to, const struct addr *from, const void *p, size_t n)
{
	const struct dgram_route route = { u->lane[0].io.fd, to, u->wildcard ? from : NULL, u->mark };

	dgram_send_copy(u->worker->dgram, &route, p, n);
}

static struct turn_packet packet_of(const struct dgram *d)
{
	return (struct turn_packet){ .data = d->data, .n = d->len, .mark = d->mark, .stable = true,
				     .headroom = d->first_of_run };
}

/* RFC 7983: what DTLS begins with. */
static bool is_record(const struct dgram *d)
{
	return d->len && d->data[0] >= 20 && d->data[0] < 64;
}

static void take(struct turn_udp *u, const struct dgram *d, bool stable)
{
	struct turn_packet packet = packet_of(d);
	struct turn_path path;
	bool record = is_record(d);

	if ((record || u->plain == TURN_NEVER) && (u->secure != TURN_NEVER || turn_dtls_has(u, d))) {
		turn_dtls_input(u, d);
		return;
	}
	packet.stable = stable;
	packet.leaving = u->plain != TURN_OPEN;
	path = (struct turn_path){ &transport_udp, u, d->from, u->wildcard ? d->local : u->at, 0 };
	turn_input(u->worker->server, &path, &packet, loop_now(u->worker->loop));
}

/* ---- strays: what came to the first sockets of a group before all of it was bound ---- */

struct stray {
	struct mail mail;
	struct turn_worker *to;
	const struct turn_listener *listener; /* a name: it may be gone */
	struct dgram d;
	uint8_t data[];
};

static void drop_stray(struct mail *m)
{
	free(container_of(m, struct stray, mail));
}

static void deliver_stray(struct mail *m, struct loop *loop)
{
	struct stray *s = container_of(m, struct stray, mail);

	(void)loop;
	list_for_each(it, &s->to->udp) {
		struct turn_udp *u = list_entry(it, struct turn_udp, node);
		if (u->listener != s->listener)
			continue;
		s->d.data = s->data;
		take(u, &s->d, false);
		break;
	}
	free(s);
}

static bool pass_on(struct turn_udp *u, const struct dgram *d)
{
	struct turn_worker *w = u->worker;
	struct workers *ws = &w->ts->workers;
	unsigned home = reuseport_position(&d->from, ws->n);
	struct stray *s;

	if (loop_now(w->loop) >= u->strays_until)
		u->strays_until = 0;
	if (!u->strays_until || home == w->index || !(s = malloc(sizeof *s + d->len)))
		return false;
	*s = (struct stray){ .mail = { .deliver = deliver_stray, .drop = drop_stray }, .to = ws->w[home].state,
			     .listener = u->listener, .d = *d };
	s->d.first_of_run = false; /* no headroom */
	memcpy(s->data, d->data, d->len);
	loop_post(ws->w[home].loop, &s->mail);
	return true;
}

static void on_client_datagram(const struct dgram *d, void *arg)
{
	struct turn_udp *u = arg;

	if (!u->strays_until || !pass_on(u, d))
		take(u, d, true);
}

static bool on_client_run(const struct dgram *d, size_t segment, void *arg)
{
	struct turn_udp *u = arg;
	const struct turn_run run = { d->data, d->len, segment, d->mark };
	struct turn_path path;

	if (u->strays_until || u->plain == TURN_NEVER || is_record(d))
		return false;
	path = (struct turn_path){ &transport_udp, u, d->from, u->wildcard ? d->local : u->at, 0 };
	return turn_input_run(u->worker->server, &path, &run, loop_now(u->worker->loop));
}

static void on_lane_ready(struct io *io, int events)
{
	struct turn_lane_socket *s = container_of(io, struct turn_lane_socket, io);
	struct turn_udp *u = s->udp;
	const struct dgram_sink to = { on_client_datagram, on_client_run, u };
	unsigned most = DGRAM_BATCH;

	(void)events;
	for (unsigned i = 0; i < s->batches && most == DGRAM_BATCH; i++)
		(void)dgram_recv_most(u->worker->dgram, io->fd, addr_port(&u->at), &most, &to);
}

/* OMIT rather than DONT: it clears DF too, but the kernel still reports "fragmentation needed" for the
 * datagrams of a Send with DONT-FRAGMENT. IPv6 is fragmented by its sender, by the path's MTU. */
void turn_udp_allow_fragments(int fd, const struct addr *at)
{
	if (addr_family(at) == AF_INET)
		(void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &(int){ IP_PMTUDISC_OMIT }, sizeof(int));
}

/* ---- listeners ---- */

static struct turn_udp *find(const struct turn_worker *w, const struct turn_listener *l)
{
	list_for_each(it, &w->udp) {
		struct turn_udp *u = list_entry(it, struct turn_udp, node);
		if (u->listener == l)
			return u;
	}
	return NULL;
}

static struct turn_udp *udp_free(struct turn_udp *u)
{
	list_unlink(&u->node);
	dtls_listener_free(u->dtls);
	for (unsigned i = 0; i < TURN_LANES; i++)
		io_stop(&u->lane[i].io);
	free(u);
	return NULL;
}

static int *lane_fd(const struct turn_worker *w, struct turn_listener *l, unsigned lane)
{
	return &l->fds[turn_lane_position((enum turn_lane)lane, w->index, w->ts->n_workers)];
}

static int start_lanes(struct turn_udp *u)
{
	int r = 0;

	for (unsigned i = 0; i < TURN_LANES && r == 0; i++) {
		struct turn_lane_socket *s = &u->lane[i];
		s->udp = u;
		s->lane = (enum turn_lane)i;
		s->batches = i == TURN_LANE_DATA ? DATA_BATCHES : 1;
		r = io_start(&s->io, u->worker->loop, *lane_fd(u->worker, u->listener, i), IO_READ, on_lane_ready);
	}
	return r;
}

/* Takes the listener's sockets over on success. */
static int udp_new(struct turn_worker *w, struct turn_listener *l, bool dtls)
{
	struct turn_udp *u = calloc(1, sizeof *u);
	int r = 0;

	if (!u)
		return -ENOMEM;
	u->listener = l;
	u->worker = w;
	u->mark = DGRAM_MARK_NONE;
	u->at = l->spec.at;
	u->wildcard = addr_classify(&u->at) == ADDR_UNSPECIFIED;
	u->fresh = true;
	u->strays_until = w->ts->n_workers > 1 ? loop_now(w->loop) + STRAYS_MS : 0;
	*(dtls ? &u->secure : &u->plain) = TURN_OPEN;
	if (dtls)
		r = turn_dtls_listen(u, w->contexts.dtls);
	if (r == 0)
		r = start_lanes(u);
	if (r < 0) {
		udp_free(u);
		return r;
	}
	for (unsigned i = 0; i < TURN_LANES; i++)
		*lane_fd(w, l, i) = -1;
	turn_udp_allow_fragments(u->lane[0].io.fd, &u->at);
	list_append(&w->udp, &u->node);
	return 0;
}

int turn_udp_open(struct turn_worker *w, struct turn_listener *l)
{
	return find(w, l) ? 0 : udp_new(w, l, false);
}

int turn_dtls_open(struct turn_worker *w, struct turn_listener *l)
{
	struct turn_udp *u = find(w, l);

	if (!u)
		return udp_new(w, l, true);
	return u->dtls ? 0 : turn_dtls_listen(u, w->contexts.dtls);
}

static enum turn_service_state next_state(enum turn_service_state was, bool open)
{
	return open ? TURN_OPEN : was == TURN_NEVER ? TURN_NEVER : TURN_LEAVING;
}

/* The kernel gives what is for this very address to this socket from now on, so that answers leave from it too, and a
 * wildcard listener need not stay for them. */
static void rehome(struct turn_path *p, void *arg)
{
	struct turn_udp *u = arg;

	if (p->transport == &transport_udp && addr_equal(&p->local, &u->at))
		p->handle = u;
}

void turn_udp_settle(struct turn_worker *w, struct turn_listener *l)
{
	struct turn_udp *u = find(w, l);
	bool open = turn_listener_takes_new(l), dtls = turn_listener_kind(l)->tls;

	if (!u)
		return;
	u->plain = next_state(u->plain, open && !dtls);
	u->secure = next_state(u->secure, open && dtls);
	for (unsigned i = 0; i < TURN_LANES; i++) /* what fails is tried again at the next look */
		(void)io_change(&u->lane[i].io, l->paused ? 0 : IO_READ);
	if (u->fresh && !u->wildcard) {
		turn_server_each_path(w->server, rehome, u);
		turn_dtls_rehome(u);
	}
	u->fresh = false;
}

static void udp_close(struct turn_udp *u)
{
	for (unsigned i = 0; i < TURN_LANES; i++) {
		int fd = u->lane[i].io.fd;
		io_stop(&u->lane[i].io);
		dgram_forget(u->worker->dgram, fd);
		close(fd);
	}
	udp_free(u);
}

struct orphan {
	const struct turn_udp *u;
	struct turn_path path;
};

static void note_orphan(struct turn_path *p, void *arg)
{
	struct orphan *o = arg;

	if (p->transport == &transport_udp && p->handle == o->u)
		o->path = *p;
}

/* Has nothing left, but for one that is closed because a reload failed half-way. */
void turn_udp_close(struct turn_worker *w, struct turn_listener *l)
{
	struct turn_udp *u = find(w, l);
	struct orphan o;

	if (!u)
		return;
	do {
		o = (struct orphan){ .u = u };
		turn_server_each_path(w->server, note_orphan, &o);
		if (o.path.handle)
			turn_path_gone(w->server, &o.path, loop_now(w->loop));
	} while (o.path.handle);
	turn_dtls_close(w, u);
	udp_close(u);
}

void turn_udp_close_all(struct turn_worker *w)
{
	list_for_each_safe(it, &w->udp)
		udp_close(list_entry(it, struct turn_udp, node));
}

/* ---- relay sockets, and held ones: the sibling port of EVEN-PORT, a socket between two workers ---- */

struct turn_held {
	int fd;
	uint16_t port;
	uint8_t alike;	   /* the last so many datagrams had */
	int16_t other_ttl; /* this TTL instead of */
	int16_t ttl;	   /* the socket's; -1: the system's */
};

static void on_peer_datagram(const struct dgram *d, void *arg)
{
	struct turn_relay *r = arg;
	struct turn_packet packet = packet_of(d);

	turn_peer_input(r->alloc, &d->from, &packet, loop_now(r->worker->loop));
}

static bool on_peer_run(const struct dgram *d, size_t segment, void *arg)
{
	struct turn_relay *r = arg;
	const struct turn_run run = { d->data, d->len, segment, d->mark };

	return turn_peer_run(r->alloc, &d->from, &run, loop_now(r->worker->loop));
}

static void on_peer_error(const struct dgram_error *e, void *arg)
{
	struct turn_relay *r = arg;

	turn_peer_error(r->alloc, e, loop_now(r->worker->loop));
}

static void on_relay_ready(struct io *io, int events)
{
	struct turn_relay *r = container_of(io, struct turn_relay, io);
	bool look = ++r->batches % BATCHES_PER_LOOK == 0;
	/* Most relay sockets carry one call: a datagram each 20 ms. To be told EAGAIN after it costs a twentieth
	 * of the packet. What is left there nevertheless wakes the next pass. */
	unsigned most = r->lone < LONE_ENOUGH || look ? DGRAM_BATCH : 1;
	const struct dgram_sink to = { on_peer_datagram, on_peer_run, r };
	int n = dgram_recv_most(r->worker->dgram, io->fd, r->held->port, &most, &to);

	(void)events;
	turn_bursts_note(r);
	r->lone = most > 1 ? 0 : (uint8_t)MIN(r->lone + 1, LONE_ENOUGH);
	/* Nothing to read although we were woken: what is there is in the error queue. It is looked at now
	 * and then under steady traffic too: errors wait in the same buffer as datagrams. */
	if (n <= 0 || look)
		(void)dgram_recv_errors(io->fd, on_peer_error, r);
}

static int relay_adopt(void *edge, struct turn_alloc *a, struct turn_held *h, struct turn_relay **ret_r)
{
	struct turn_worker *w = edge;
	struct turn_relay *r = calloc(1, sizeof *r);
	int err;

	if (!r)
		return -ENOMEM;
	r->worker = w;
	r->alloc = a;
	r->held = h;
	err = io_start(&r->io, w->loop, h->fd, IO_READ, on_relay_ready);
	if (err < 0) {
		free(r);
		return err;
	}
	*ret_r = r;
	return 0;
}

static int relay_bind(const struct addr *at, int *ret_fd)
{
	int r = dgram_socket(at, &(struct dgram_socket_options){ .recv_mark = true, .recv_err = true, .v6only = true }, ret_fd);

	if (r == 0)
		turn_udp_allow_fragments(*ret_fd, at);
	return r;
}

static int relay_hold(void *edge, const struct addr *at, struct turn_held **ret_h)
{
	struct turn_held *h = malloc(sizeof *h);
	int r;

	(void)edge;
	if (!h)
		return -ENOMEM;
	h->port = addr_port(at);
	h->ttl = -1;
	h->other_ttl = -1;
	h->alike = 0;
	if ((r = relay_bind(at, &h->fd)) < 0) {
		free(h);
		return r;
	}
	*ret_h = h;
	return 0;
}

static void relay_drop(struct turn_held *h)
{
	close(h->fd);
	free(h);
}

static int relay_open(void *edge, struct turn_alloc *a, const struct addr *at, struct turn_relay **ret_r)
{
	struct turn_held *h;
	int r = relay_hold(edge, at, &h);

	if (r < 0)
		return r;
	r = relay_adopt(edge, a, h, ret_r);
	if (r < 0)
		relay_drop(h);
	return r;
}

static struct turn_held *relay_detach(struct turn_relay *r)
{
	struct turn_held *h = r->held;

	io_stop(&r->io);
	dgram_forget(r->worker->dgram, h->fd);
	free(r);
	return h;
}

static void relay_close(struct turn_relay *r)
{
	if (r->acceptor) { /* of a TCP allocation: edge_tcp.c */
		acceptor_free(r->acceptor);
		free(r);
		return;
	}
	relay_drop(relay_detach(r));
}

/* Whether the socket is to have it: a TTL that stays, or the system's. */
static bool stays(struct turn_held *h, int ttl)
{
	if (ttl != h->other_ttl) {
		h->other_ttl = (int16_t)ttl;
		h->alike = 0;
	}
	h->alike = (uint8_t)MIN(h->alike + 1, SAME_TTL);
	return ttl < 0 || h->alike == SAME_TTL;
}

/* The TTL of a client's packets hardly ever changes. The socket learns it, because a datagram that tells its own costs more. */
static void learn_ttl(struct turn_relay *r, const struct addr *peer, struct dgram_mark *mark)
{
	struct turn_held *h = r->held;
	bool v6 = addr_family(peer) == AF_INET6;
	int ttl = mark->ttl;

	if (ttl != h->ttl && stays(h, ttl)) {
		dgram_forget(r->worker->dgram, h->fd); /* what waits relies on the one of before */
		if (setsockopt(h->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_UNICAST_HOPS : IP_TTL, &ttl, sizeof ttl) == 0)
			h->ttl = mark->ttl;
	}
	if (ttl == h->ttl) {
		h->alike = 0;
		mark->ttl = -1;
	}
}

static void relay_send(struct turn_relay *r, const struct addr *peer, const void *p, size_t n,
		       struct dgram_mark mark, bool stable)
{
	learn_ttl(r, peer, &mark);
	const struct dgram_route route = { r->io.fd, peer, NULL, mark };

	if (stable)
		dgram_send(r->worker->dgram, &route, NULL, 0, p, n);
	else
		dgram_send_copy(r->worker->dgram, &route, p, n);
}

static void relay_send_run(struct turn_relay *r, const struct addr *peer, const struct dgram_run *run, struct dgram_mark mark)
{
	learn_ttl(r, peer, &mark);
	const struct dgram_route route = { r->io.fd, peer, NULL, mark };

	dgram_send_run(r->worker->dgram, &route, NULL, 0, run);
}

const struct turn_relay_ops turn_udp_relay_ops = {
	.open = relay_open,
	.close = relay_close,
	.detach = relay_detach,
	.send = relay_send,
	.send_run = relay_send_run,
	.hold = relay_hold,
	.adopt = relay_adopt,
	.drop = relay_drop,
	.listen = turn_relay_listen,
	.connect = turn_flow_connect,
	.name = turn_flow_name,
	.bind = turn_flow_bind,
	.cut = turn_flow_cut,
	.send_home = turn_conn_send_home,
};
