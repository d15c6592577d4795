/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP and TLS clients: connections that carry STUN messages and padded ChannelData frames
 * (RFC 8656 3.1 and 12.5). A connection costs bounded memory, is counted against its address before
 * its handshake, and is closed when it holds no allocation for TURN_UNUSED_MS. A client that does not
 * read loses packets (as UDP would), not the server its memory.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "turn/edge.h"
#include "turn/log_msgs.h"
#include "turn/metrics.h"

struct turn_acceptor {
	struct list node; /* in worker->acceptors */
	struct turn_listener *listener;
	struct acceptor *acceptor;
	struct turn_worker *worker;
	enum turn_listen_proto proto; /* a copy: the listener's own may be written meanwhile */
	char place[TURN_PLACE_STRLEN];
};

struct turn_conn {
	struct list node;
	struct turn_worker *worker;
	struct turn_listener *listener; /* that it came through: counted there */
	struct stream *stream;
	const struct turn_transport *transport;
	struct addr client, local;
	struct dgram_mark mark; /* of all that it relays */
	struct timer unused; /* fires while the connection holds no allocation */
	uint64_t frames;
	uint16_t realm; /* slot of the realm that its server name led to; 0: none */
	struct turn_flow *flow; /* a data connection's, once bound */
	struct letter *leaving; /* to another worker, when on_data is done */
};

static void conn_send(const struct turn_path *p, const struct turn_out *o)
{
	struct turn_conn *c = p->handle;
	struct iovec v[] = {
		{ (void *)o->head, o->head_n },
		{ (void *)o->body, o->body_n },
	};

	if (stream_writev(c->stream, v, ARRAY_LEN(v)) < 0)
		metric_add(c->worker->ts->metrics, c->worker->index, TURN_M_DROPS, TURN_DROP_CLIENT_SLOW, 1);
}

static void conn_close_later(const struct turn_path *p)
{
	stream_finish(((struct turn_conn *)p->handle)->stream);
}

static bool conn_alive(void *edge, const struct turn_path *p)
{
	struct turn_worker *w = edge;

	list_for_each(it, &w->conns) {
		struct turn_conn *c = list_entry(it, struct turn_conn, node);
		if (c == p->handle)
			return addr_equal(&c->client, &p->client);
	}
	return false;
}

static struct turn_listener *conn_listener(const struct turn_path *p)
{
	return ((const struct turn_conn *)p->handle)->listener;
}

static const struct turn_transport transport_tcp = {
	.proto = TURN_TCP, .name = "tcp", .stream = true, .send = conn_send, .close = conn_close_later, .alive = conn_alive,
	.listener = conn_listener,
};
static const struct turn_transport transport_tls = {
	.proto = TURN_TLS, .name = "tls", .stream = true, .send = conn_send, .close = conn_close_later, .alive = conn_alive,
	.listener = conn_listener,
};

static struct turn_path conn_path(struct turn_conn *c)
{
	return (struct turn_path){ c->transport, c, c->client, c->local, c->realm };
}

static void conn_free(struct turn_conn *c)
{
	struct turn_path path = conn_path(c);

	if (c->flow)
		turn_flow_client_gone(steal_ptr(&c->flow));
	turn_path_gone(c->worker->server, &path, loop_now(c->worker->loop));
	timer_stop(&c->unused);
	list_unlink(&c->node);
	stream_free(c->stream);
	clients_leave(c->worker->ts->clients, &c->client);
	atomic_fetch_sub(&c->listener->conns, 1);
	free(c);
}

static void on_unused(struct timer *t, uint64_t now)
{
	struct turn_conn *c = container_of(t, struct turn_conn, unused);
	struct turn_path path = conn_path(c);

	(void)now;
	if (c->flow || turn_path_in_use(c->worker->server, &path)) {
		loop_timer_set(c->worker->loop, &c->unused, TURN_UNUSED_MS);
		return;
	}
	metric_add(c->worker->ts->metrics, c->worker->index, TURN_M_DROPS, TURN_DROP_CONN_UNUSED, 1);
	conn_free(c);
}

static void on_garbage(struct turn_conn *c)
{
	uint64_t suppressed;

	metric_add(c->worker->ts->metrics, c->worker->index, TURN_M_DROPS, TURN_DROP_BAD_FRAME, 1);
	if (turn_edge_may_log(c->worker, TURN_LINE_GARBAGE, &suppressed))
		log_emit(&MSG_TURN_CONN_GARBAGE, LF_ADDR("client", &c->client),
			 LF_STR("transport", c->transport->name), LF_U64("suppressed", suppressed));
	stream_finish(c->stream);
}

/* As turn_frame_length(), but a connection cannot begin with ChannelData: it has no channel yet. What does
 * is another protocol (HTTP begins with letters that pass for a channel), and nobody waits for its end. */
static ssize_t next_frame(const struct turn_conn *c, const uint8_t *p, size_t n, size_t *ret_payload)
{
	if (c->frames == 0 && stun_demux(p[0]) != DEMUX_STUN)
		return -EBADMSG;
	return turn_frame_length(p, n, ret_payload);
}

/* ---- data connections of TCP allocations: edge_tcp.c ---- */

struct stream *turn_conn_bind(struct turn_conn *c, struct turn_flow *f)
{
	c->flow = f;
	return c->stream;
}

void turn_conn_finish(struct turn_conn *c)
{
	c->flow = NULL;
	stream_resume(c->stream);
	stream_finish(c->stream);
}

/* A connection on its way to another worker, with the request that sent it there. */
struct letter {
	struct mail mail;
	struct turn_worker *to;
	struct turn_conn *conn;
	int fd;
	SSL *ssl;
	uint64_t unused_until; /* a stranger's does not live longer for being moved */
	size_t n;
	uint8_t request[];
};

static const struct stream_ops conn_ops;

static void conn_drop(struct turn_conn *c)
{
	clients_leave(c->worker->ts->clients, &c->client);
	atomic_fetch_sub(&c->listener->conns, 1);
	free(c);
}

static void drop_letter(struct mail *m)
{
	struct letter *l = container_of(m, struct letter, mail);

	SSL_free(l->ssl);
	close(l->fd);
	conn_drop(l->conn);
	free(l);
}

static void deliver_letter(struct mail *m, struct loop *loop)
{
	struct letter *l = container_of(m, struct letter, mail);
	struct turn_conn *c = l->conn;
	struct turn_worker *w = l->to;

	c->worker = w;
	if (stream_new(loop, l->fd,
		       &(struct stream_options){ .tls = l->ssl ? w->contexts.tls : NULL, .ssl = l->ssl,
						 .max_in = TURN_MAX_FRAME + 1, .max_out = TURN_STREAM_OUT },
		       &conn_ops, c, &c->stream) < 0) {
		conn_drop(c);
		free(l);
		return;
	}
	list_append(&w->conns, &c->node);
	timers_set(loop_timers(loop), &c->unused, l->unused_until);
	struct turn_path path = conn_path(c);
	turn_input_again(w->server, &path,
			 &(struct turn_packet){ .data = l->request, .n = l->n, .mark = c->mark },
			 loop_now(loop));
	free(l);
}

bool turn_conn_send_home(const struct turn_path *p, unsigned worker, const void *request, size_t n)
{
	struct turn_conn *c = p->handle;
	struct workers *ws = &c->worker->ts->workers;

	if (worker >= ws->n || worker == c->worker->index || c->leaving)
		return false;
	c->leaving = calloc(1, sizeof *c->leaving + n);
	if (!c->leaving)
		return false;
	*c->leaving = (struct letter){ .mail = { .deliver = deliver_letter, .drop = drop_letter },
				       .to = ws->w[worker].state, .conn = c, .fd = -1, .n = n };
	memcpy(c->leaving->request, request, n);
	return true;
}

/* Out of this worker. alone: nothing came behind the request, as must be, for it is not answered yet. */
static void leave(struct turn_conn *c, bool alone)
{
	struct letter *l = steal_ptr(&c->leaving);

	l->fd = alone ? stream_take(c->stream, &l->ssl) : -EBUSY;
	if (l->fd < 0) {
		free(l);
		stream_finish(c->stream);
		return;
	}
	c->stream = NULL;
	l->unused_until = c->unused.deadline;
	timer_stop(&c->unused);
	list_unlink(&c->node);
	loop_post(l->to->loop, &l->mail);
}

/* ---- input ---- */

/* Its handshake is done. The name decides once: a reload moves nobody. */
static void on_open(struct stream *s, void *arg)
{
	struct turn_conn *c = arg;

	if (stream_ssl(s) && c->frames == 0) /* else it comes from another worker, and knows */
		c->realm = (uint16_t)turn_policy_realm_named(c->worker->policy, tls_server_name(stream_ssl(s)));
}

static size_t on_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct turn_conn *c = arg;
	struct turn_path path = conn_path(c);
	uint64_t now = loop_now(c->worker->loop);
	size_t used = 0;

	(void)s;
	while (used < n) {
		size_t payload;

		if (c->flow)
			return used + turn_flow_input(c->flow, p + used, n - used);
		ssize_t frame = next_frame(c, p + used, n - used, &payload);

		if (frame < 0) { /* no way to find the next frame: the stream is lost */
			on_garbage(c);
			return n;
		}
		if (frame == 0 || (size_t)frame > n - used)
			break;
		c->frames++;
		turn_input(c->worker->server, &path,
			   &(struct turn_packet){ .data = p + used, .n = payload, .mark = c->mark }, now);
		used += (size_t)frame;
		if (c->leaving) {
			leave(c, used == n);
			return n;
		}
	}
	return used;
}

static void on_drained(struct stream *s, void *arg)
{
	struct turn_conn *c = arg;

	(void)s;
	if (c->flow)
		turn_flow_drained(c->flow);
}

static void on_close(struct stream *s, int err, const char *why, void *arg)
{
	struct turn_conn *c = arg;

	(void)s;
	if (err && c->frames == 0)
		turn_client_failed(c->worker, &(struct turn_failure){ &c->client, c->transport->name, why, err });
	conn_free(c);
}

static const struct stream_ops conn_ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_drained = on_drained,
	.on_close = on_close,
};

/* RFC 8656 15: what leaves as UDP carries the connection's DSCP, is not ECN-capable, and begins its life
 * here. The kernel keeps the DSCP of the client's SYN. */
static struct dgram_mark mark_of(int fd, const struct addr *local)
{
	_Alignas(struct cmsghdr) uint8_t buf[128];
	socklen_t n = sizeof buf;
	bool v6 = addr_family(local) == AF_INET6;
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, tos;
	struct dgram_mark mark = DGRAM_MARK_NONE;

	if (setsockopt(fd, level, v6 ? IPV6_RECVTCLASS : IP_RECVTOS, &(int){ 1 }, sizeof(int)) < 0 ||
	    getsockopt(fd, level, v6 ? IPV6_2292PKTOPTIONS : IP_PKTOPTIONS, buf, &n) < 0)
		return mark;
	struct msghdr h = { .msg_control = buf, .msg_controllen = n };
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
		if (c->cmsg_level == level && c->cmsg_type == (v6 ? IPV6_TCLASS : IP_TOS) &&
		    c->cmsg_len == CMSG_LEN(sizeof tos)) {
			memcpy(&tos, CMSG_DATA(c), sizeof tos);
			mark.tos = (int16_t)(tos & 0xfc);
		}
	return mark;
}

static int conn_new(struct turn_worker *w, const struct turn_arrival *a)
{
	struct turn_conn *c = calloc(1, sizeof *c);
	int r;

	if (!c || (a->tls && !w->contexts.tls)) { /* a front that was to hand all of TLS on has no certificate */
		close(a->fd);
		free(c);
		return -ENOMEM;
	}
	c->worker = w;
	c->transport = a->tls ? &transport_tls : &transport_tcp;
	c->client = *a->client;
	c->local = *a->server;
	c->mark = mark_of(a->fd, a->server);
	c->unused.fire = on_unused;
	r = stream_new(w->loop, a->fd,
		       &(struct stream_options){ .tls = a->tls ? w->contexts.tls : NULL, .max_in = TURN_MAX_FRAME + 1,
						 .max_out = TURN_STREAM_OUT },
		       &conn_ops, c, &c->stream);
	if (r < 0) {
		free(c);
		return r;
	}
	c->listener = a->listener;
	atomic_fetch_add(&c->listener->conns, 1);
	list_append(&w->conns, &c->node);
	loop_timer_set(w->loop, &c->unused, TURN_UNUSED_MS);
	return 0;
}

void turn_conn_arrived(struct turn_worker *w, const struct turn_arrival *a)
{
	if (!turn_client_admit(w, a->client))
		close(a->fd);
	else if (conn_new(w, a) < 0)
		clients_leave(w->ts->clients, a->client);
}

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct turn_acceptor *a = arg;

	turn_stream_accepted(a->worker, &(struct turn_accepted){ fd, peer, local, a->listener, a->proto });
}

static void on_accept_error(int err, void *arg)
{
	struct turn_acceptor *a = arg;
	uint64_t suppressed;

	if (turn_edge_may_log(a->worker, TURN_LINE_ACCEPT, &suppressed))
		log_emit(&MSG_TURN_ACCEPT_FAILED, LF_STR("listener", a->place), LF_ERRNO("error", err),
			 LF_U64("suppressed", suppressed));
}

static const struct acceptor_ops acceptor_ops = {
	.on_accept = on_accept,
	.on_error = on_accept_error,
};

static struct turn_acceptor *find(const struct turn_worker *w, const struct turn_listener *l)
{
	list_for_each(it, &w->acceptors) {
		struct turn_acceptor *a = list_entry(it, struct turn_acceptor, node);
		if (a->listener == l)
			return a;
	}
	return NULL;
}

static int acceptor_open(struct turn_worker *w, struct turn_listener *l, enum turn_listen_proto proto)
{
	struct turn_acceptor *a = find(w, l);
	int fd = l->fds[w->index], r;

	if (a)
		return 0;
	a = calloc(1, sizeof *a);
	if (!a)
		return -ENOMEM;
	*a = (struct turn_acceptor){ .worker = w, .listener = l, .proto = proto };
	turn_listener_place(&l->spec, a->place);
	l->fds[w->index] = -1; /* the acceptor owns it, also when it fails */
	r = acceptor_new(w->loop, fd, &acceptor_ops, a, &a->acceptor);
	if (r < 0) {
		free(a);
		return r;
	}
	list_append(&w->acceptors, &a->node);
	return 0;
}

int turn_tcp_open(struct turn_worker *w, struct turn_listener *l)
{
	return acceptor_open(w, l, TURN_LISTEN_TCP);
}

int turn_tls_open(struct turn_worker *w, struct turn_listener *l)
{
	return acceptor_open(w, l, TURN_LISTEN_TLS);
}

int turn_front_listener_open(struct turn_worker *w, struct turn_listener *l)
{
	return acceptor_open(w, l, TURN_LISTEN_FRONT);
}

static void acceptor_end(struct turn_acceptor *a)
{
	list_unlink(&a->node);
	acceptor_free(a->acceptor);
	free(a);
}

void turn_acceptor_close(struct turn_worker *w, struct turn_listener *l)
{
	struct turn_acceptor *a = find(w, l);

	if (a)
		acceptor_end(a);
}

void turn_acceptor_settle(struct turn_worker *w, struct turn_listener *l)
{
	struct turn_acceptor *a = find(w, l);

	if (!a)
		return;
	if (l->removed) {
		acceptor_finish(a->acceptor); /* who is connected already is let in */
		acceptor_end(a);
		return;
	}
	a->proto = l->spec.proto;
}

void turn_acceptors_close(struct turn_worker *w)
{
	list_for_each_safe(it, &w->acceptors)
		acceptor_end(list_entry(it, struct turn_acceptor, node));
}

void turn_conns_close(struct turn_worker *w)
{
	list_for_each_safe(it, &w->conns)
		conn_free(list_entry(it, struct turn_conn, node));
}
