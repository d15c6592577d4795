/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How connections of SIP come to be: accepted from a listener, within the limits of all and of their source; or made for
 * a message that none of those that are there may carry. And what goes out: at once, or held until the
 * handshake is done and the name is proven. See conn.c for their life.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "sip-proxy/conn_priv.h"
#include "sip-proxy/log_msgs.h"

enum { NAME_MAX_LEN = 254 };

/* ---- which one may carry it ---- */

struct wanted {
	const struct sip_target *to;
	struct addr remote;
	const struct sip_listener *listener;
};

/* RFC 5923 and RFC 5922: never across domains, and never a peer whose name is not proven. */
static bool proves(const struct sip_conn *c, struct text name)
{
	if (!name.n)
		return true;
	if (c->outgoing && !c->open)
		return c->name && text_ieq(text_of(c->name), name); /* it will have to */
	return sip_identity_covers(c->identity, name);
}

static bool fits(const struct hnode *n, const void *key)
{
	const struct sip_conn *c = container_of(n, struct sip_conn, by_peer);
	const struct wanted *w = key;

	if (c->ending || c->transport->proto != w->to->hop.proto || !addr_equal(&c->peer, &w->remote))
		return false;
	if (!sip_proto_rows[c->transport->proto].secure)
		return true;
	/* The certificate that we show is the listener's. */
	return proves(c, w->to->name) && (!w->to->mutual || !c->outgoing || c->listener == w->listener);
}

/* ---- new ones ---- */

static struct stream_options options_of(const struct sip_conn *c)
{
	const struct sip_edge_limits *l = &c->edge->limits;
	const struct sip_transport *t = c->transport;

	return (struct stream_options){
		.tls = t->context ? t->context(c->edge, c->listener, c->outgoing) : NULL,
		.max_in = SIP_MAX_HEAD + (size_t)l->message_bytes + 64,
		.max_out = (size_t)l->queue,
		.handshake_ms = c->outgoing ? l->connect_ms : l->handshake_ms
	};
}

static enum sip_drop may_enter(struct sip_edge *e, const struct addr *peer, bool *ret_counted)
{
	*ret_counted = false;
	if (e->draining)
		return SIP_DROP_DRAINING;
	if (e->n_conns >= e->limits.connections)
		return SIP_DROP_CONNECTIONS;
	return sip_sources_enter(e->sources, peer, loop_now(e->loop), ret_counted);
}

static void set_face(struct sip_conn *c, struct sip_face *f)
{
	c->face = f;
	if (f)
		f->n_conns++;
}

void sip_conn_accepted(struct sip_listener *l, int fd, const struct addr *peer, const struct addr *local)
{
	struct sip_edge *e = l->edge;
	bool counted;
	enum sip_drop d = may_enter(e, peer, &counted);
	struct sip_face *f = d == SIP_DROPS ? sip_face_at(l, local) : NULL;
	struct sip_conn *c = f ? sip_conn_new(e, l->transport, l) : NULL;
	struct stream_options o;

	if (!c) {
		if (counted)
			sip_sources_leave(e->sources, peer);
		sip_edge_dropped(e, peer, l->transport->proto, d == SIP_DROPS ? SIP_DROP_MEMORY : d);
		close(fd);
		return;
	}
	c->remote = *peer;
	c->local = *local;
	set_face(c, f);
	c->counted = counted;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	o = options_of(c);
	if (stream_new(e->loop, fd, &o, &sip_conn_stream_ops, c, &c->stream) < 0) {
		sip_edge_dropped(e, peer, l->transport->proto, SIP_DROP_MEMORY);
		sip_conn_drop(c);
		return;
	}
	sip_conn_list_peer(c, peer);
}

/* Leaves by the listener of the interface, from its address if it has one of its own. */
static int connect_to(struct sip_edge *e, const struct sip_send *s, const struct addr *remote,
		      struct sip_conn **ret_c)
{
	struct sip_listener *l = s->face ? s->face->listener : NULL;
	const struct sip_transport *t = sip_transports[s->to->hop.proto];
	struct sip_conn *c = e->n_conns < e->limits.connections ? sip_conn_new(e, t, l) : NULL;
	struct addr from;
	struct stream_options o;
	char name[NAME_MAX_LEN];
	int r = 0;

	if (!c)
		return e->n_conns < e->limits.connections ? -ENOMEM : -EUSERS;
	c->outgoing = true;
	c->remote = *remote;
	set_face(c, s->face);
	if (sip_proto_rows[t->proto].secure && s->to->name.n) {
		(void)snprintf(name, sizeof(name), "%.*s", TEXT_FMT(s->to->name));
		c->name = s->to->name.n < sizeof(name) ? strdup(name) : NULL;
		r = c->name ? 0 : -ENOMEM;
	}
	o = options_of(c);
	o.server_name = c->name;
	if (s->face && !l->wildcard) {
		from = s->face->pub.at;
		addr_set_port(&from, 0);
		o.bind_to = &from;
		c->local = from;
	}
	if (r == 0 && sip_proto_rows[t->proto].secure && !o.tls)
		r = -ENOTSUP;
	if (r == 0)
		r = stream_connect(e->loop, remote, &o, &sip_conn_stream_ops, c, &c->stream);
	if (r < 0) {
		sip_conn_drop(c);
		return r;
	}
	(void)setsockopt(stream_fd(c->stream), IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	sip_conn_list_peer(c, remote);
	*ret_c = c;
	return 0;
}

/* ---- out ---- */

void sip_held_free(struct sip_conn *c, struct sip_held *h)
{
	list_unlink(&h->node);
	c->n_pending -= h->n;
	free(h);
}

static int hold(struct sip_conn *c, struct text bytes)
{
	struct sip_held *h;

	if (c->n_pending + bytes.n > c->edge->limits.queue)
		return -ENOBUFS;
	h = malloc(sizeof(*h) + bytes.n);
	if (!h)
		return -ENOMEM;
	h->number = ++c->n_held;
	h->n = bytes.n;
	memcpy(h->bytes, bytes.p, bytes.n);
	list_init(&h->node);
	list_append(&c->pending, &h->node);
	c->n_pending += bytes.n;
	return 0;
}

static struct sip_held *find_held(const struct sip_edge *e, const struct sip_wait *w,
				  struct sip_conn **ret_c)
{
	struct sip_conn *c = w->held ? sip_conn_find(e, w->conn) : NULL;

	if (!c)
		return NULL;
	*ret_c = c;
	list_for_each (it, &c->pending)
		if (list_entry(it, struct sip_held, node)->number == w->held)
			return list_entry(it, struct sip_held, node);
	return NULL;
}

bool sip_conn_is_page(const struct sip_edge *e, const struct sip_hop *hop)
{
	const struct sip_conn *c = hop->conn ? sip_conn_find(e, hop->conn) : NULL;

	return c ? c->page : hop->proto == SIP_WS || hop->proto == SIP_WSS;
}

bool sip_conn_held(struct sip_edge *e, const struct sip_wait *w)
{
	struct sip_conn *c;

	return find_held(e, w, &c) != NULL;
}

bool sip_conn_withdraw(struct sip_edge *e, struct sip_wait *w)
{
	struct sip_conn *c;
	struct sip_held *h = find_held(e, w, &c);

	if (!h)
		return false;
	sip_held_free(c, h);
	c->out--;
	sip_wait_forget(w);
	w->held = 0;
	return true;
}

static int conn_write(struct sip_conn *c, const struct sip_send *s)
{
	struct sip_hop hop = sip_conn_hop(c);
	int r = c->open	      ? c->transport->put(c, s->bytes)
		: c->outgoing ? hold(c, s->bytes)
			      : -ENOTCONN;

	if (r == -ENOBUFS)
		sip_edge_dropped(c->edge, &c->remote, c->transport->proto, SIP_DROP_QUEUE);
	if (r < 0)
		return r;
	c->out++;
	c->last = loop_now(c->edge->loop);
	if (c->open) /* else when it leaves */
		sip_edge_sent(c->edge, &hop, s->bytes);
	if (s->wait) {
		sip_wait_forget(s->wait);
		s->wait->remote = c->remote;
		s->wait->conn = c->id;
		s->wait->held = c->open ? 0 : c->n_held;
		list_append(&c->waits, &s->wait->node);
	}
	if (s->ret_used)
		*s->ret_used = hop;
	return 0;
}

int sip_conn_send(struct sip_edge *e, const struct sip_send *s)
{
	struct wanted w = { .to = s->to,
			    .remote = s->to->hop.remote,
			    .listener = s->face ? s->face->listener : NULL };
	struct sip_conn *c = s->to->hop.conn ? sip_conn_find(e, s->to->hop.conn) : NULL;
	struct hnode *n;
	int r;

	if (c && !c->ending)
		return conn_write(c, s);
	if (s->to->only_flow)
		return -ENOTCONN;
	if (s->to->reply_port)
		addr_set_port(&w.remote, s->to->reply_port);
	else if (s->to->hop.conn && !addr_port(&w.remote))
		return -ENOTCONN;
	n = htable_find(&e->by_peer, sip_conn_hash_peer(e, &w.remote), fits, &w);
	if (n)
		return conn_write(container_of(n, struct sip_conn, by_peer), s);
	if (sip_transports[s->to->hop.proto]->inbound)
		return -ENOTCONN;
	r = connect_to(e, s, &w.remote, &c);
	return r < 0 ? r : conn_write(c, s);
}

/* ---- listeners of streams ---- */

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	sip_conn_accepted(arg, fd, peer, local);
}

static void on_accept_error(int err, void *arg)
{
	struct sip_listener *l = arg;
	uint64_t suppressed;

	if (sip_edge_may_log(l->edge, SIP_LINE_ACCEPT, &suppressed))
		log_emit(&MSG_SIP_ACCEPT_FAILED, LF_ADDR("listener", &l->at),
			 LF_ERRNO("error", err), LF_U64("suppressed", suppressed));
}

static void on_refused(int fd, const struct addr *peer, void *arg)
{
	struct sip_listener *l = arg;

	close(fd);
	sip_edge_dropped(l->edge, peer, l->transport->proto, SIP_DROP_DESCRIPTORS);
}

static void on_short(int listen_fd, int err, void *arg)
{
	struct sip_listener *l = arg;

	acceptor_refuse(listen_fd, err, &l->edge->spare_fd, on_refused, l);
}

static const struct acceptor_ops acceptor_ops = { .on_accept = on_accept,
						  .on_error = on_accept_error,
						  .on_short = on_short };

int sip_stream_open(struct sip_listener *l)
{
	int fd = l->fd;

	l->fd = -1; /* the acceptor owns it, also when it fails */
	return acceptor_new(l->edge->loop, fd, &acceptor_ops, l, &l->acceptor);
}

void sip_stream_close(struct sip_listener *l)
{
	l->acceptor = acceptor_free(l->acceptor);
}
