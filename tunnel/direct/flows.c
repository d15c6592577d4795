/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows. The visitor's are found by their source's address, the host's have a socket each, connected to the target, so that
 * nobody else's datagrams come in. A flow ends when nothing has passed for three minutes (RFC 4787 asks for two at least), or
 * with its link. What comes while the host has not answered yet is kept, a little of it.
 */
#include "tunnel/direct/flows.h"
#include <errno.h>
#include <string.h>
#include "common/fd.h"
#include "tunnel/direct/conn_priv.h"

enum { IDLE_MS = 180 * 1000, READS = 64, FLOWS_MAX = 4096, EARLY_MAX = 8 };

struct early {
	struct early *next;
	size_t n;
	uint8_t p[];
};
struct flow {
	struct hnode node; /* visitor: n->flows */
	struct conn *c;
	struct listener *n; /* visitor; NULL: the flow has ended */
	struct addr source;
	struct io io; /* host: of fd */
	int fd;
	bool open;
	uint16_t number; /* of the last datagram that was sent */
	struct flow_parts in;
	struct early *early, **early_end;
	unsigned n_early;
	struct timer idle;
	uint64_t used;
};

/* ---- parts ---- */

static void restart(struct flow_parts *a, const struct flow_head *h)
{
	a->number = h->number;
	a->parts = h->parts;
	a->have = 0;
	a->size = a->last = 0;
}

int flow_parts_add(struct flow_parts *a, const struct flow_head *h, const uint8_t *p, size_t n, size_t *ret_n)
{
	bool last = h->part == h->parts - 1;
	uint64_t all = h->parts == 64 ? UINT64_MAX : (UINT64_C(1) << h->parts) - 1;

	if (!a->buffer)
		a->buffer = malloc(FLOW_DATAGRAM_MAX);
	if (!a->buffer)
		return -ENOMEM;
	if (a->number != h->number || a->parts != h->parts || !a->have)
		restart(a, h);
	if (!n || (!last && a->size && n != a->size) || n > FLOW_DATAGRAM_MAX ||
	    (size_t)(h->parts - 1) * (last ? 1 : n) + (last ? n : 1) > FLOW_DATAGRAM_MAX)
		return -EBADMSG;
	if (a->have & (UINT64_C(1) << h->part))
		return -EAGAIN;
	if (last) {
		a->last = n;
		memcpy(a->buffer + FLOW_DATAGRAM_MAX - n, p, n); /* until the place of it is known */
	} else {
		a->size = n;
		if ((size_t)(h->part + 1) * n + a->last > FLOW_DATAGRAM_MAX)
			return -EBADMSG;
		memcpy(a->buffer + h->part * n, p, n);
	}
	a->have |= UINT64_C(1) << h->part;
	if (a->have != all)
		return -EAGAIN;
	if ((size_t)(a->parts - 1) * a->size + a->last > FLOW_DATAGRAM_MAX)
		return -EBADMSG;
	memmove(a->buffer + (size_t)(a->parts - 1) * a->size, a->buffer + FLOW_DATAGRAM_MAX - a->last, a->last);
	*ret_n = (size_t)(a->parts - 1) * a->size + a->last;
	a->have = 0;
	return 0;
}

void flow_parts_free(struct flow_parts *a)
{
	free(a->buffer);
	a->buffer = NULL;
}

/* ---- life ---- */

static uint64_t now_of(const struct flow *f)
{
	return loop_now(f->c->k->e->loop);
}

void flow_ended(struct flow *f)
{
	struct conn *c = f->c;

	if (c->fin_out || !c->s)
		return;
	c->fin_out = true;
	quic_stream_finish(peer_link_quic(c->k->l), c->s);
	link_dirty(c->k);
	if (f->n)
		htable_remove(&f->n->flows, &f->node); /* a datagram that comes now begins another one */
	f->n = NULL; /* it may go before QUIC has closed the stream */
}

static void on_idle(struct timer *t, uint64_t now)
{
	struct flow *f = container_of(t, struct flow, idle);

	if (now - f->used < IDLE_MS)
		loop_timer_set(f->c->k->e->loop, t, f->used + IDLE_MS - now);
	else
		flow_ended(f);
}

static struct flow *flow_new(struct conn *c)
{
	struct flow *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->c = c;
	f->fd = -1;
	f->early_end = &f->early;
	f->idle.fire = on_idle;
	f->used = now_of(f);
	c->flow = f;
	loop_timer_set(c->k->e->loop, &f->idle, IDLE_MS);
	return f;
}

static void drop_early(struct flow *f)
{
	while (f->early) {
		struct early *e = f->early;

		f->early = e->next;
		free(e);
	}
	f->early_end = &f->early;
	f->n_early = 0;
}

struct flow *flow_free(struct flow *f)
{
	timer_stop(&f->idle);
	if (f->n)
		htable_remove(&f->n->flows, &f->node);
	if (f->fd >= 0) {
		io_stop(&f->io);
		close(f->fd);
	}
	if (f->c->k->recent == f)
		f->c->k->recent = NULL;
	drop_early(f);
	flow_parts_free(&f->in);
	free(f);
	return NULL;
}

/* ---- to the other agent ---- */

static void send_parts(struct flow *f, const uint8_t *p, size_t n)
{
	struct quic_conn *q = peer_link_quic(f->c->k->l);
	size_t room = quic_datagram_max(q) - FLOW_HEAD, parts = n ? (n + room - 1) / room : 1, size = (n + parts - 1) / parts;
	uint8_t out[QUIC_PACKET_MAX];

	f->number++;
	for (size_t i = 0; i < parts; i++) {
		size_t at = i * size, part = MIN(size, n - at);
		const struct flow_head h = { conn_flow_number(f->c), f->number, (uint8_t)i, (uint8_t)parts };

		flow_head_write(&h, out);
		memcpy(out + FLOW_HEAD, p + at, part);
		(void)quic_datagram_send(q, out, FLOW_HEAD + part); /* what is dropped is counted there */
	}
	link_dirty(f->c->k);
}

/* A datagram from the local side. */
static void outward(struct flow *f, const uint8_t *p, size_t n)
{
	struct early *e;

	f->used = now_of(f);
	if (f->open) {
		f->c->bytes[!f->c->k->visitor] += n;
		peer_link_count(f->c->k->l, 0, n);
		send_parts(f, p, n);
		return;
	}
	if (f->n_early == EARLY_MAX || !(e = malloc(sizeof(*e) + n)))
		return;
	e->next = NULL;
	e->n = n;
	memcpy(e->p, p, n);
	*f->early_end = e;
	f->early_end = &e->next;
	f->n_early++;
}

void flow_open(struct flow *f)
{
	f->open = true;
	for (struct early *e = f->early; e; e = e->next)
		outward(f, e->p, e->n);
	drop_early(f);
}

/* ---- from the other agent ---- */

static void inward(struct flow *f, const uint8_t *p, size_t n)
{
	struct conn *c = f->c;

	f->used = now_of(f);
	c->bytes[c->k->visitor] += n;
	peer_link_count(c->k->l, 1, n);
	if (f->fd >= 0)
		(void)send(f->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (f->n && f->n->io.loop)
		(void)sendto(f->n->io.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL, &f->source.sa, addr_len(&f->source));
}

static struct flow *find(struct link *k, uint32_t number)
{
	if (k->recent && conn_flow_number(k->recent->c) == number)
		return k->recent;
	list_for_each (it, &k->conns) {
		struct conn *c = conn_of_node(it);

		if (c->flow && conn_flow_number(c) == number)
			return k->recent = c->flow;
	}
	return NULL;
}

void flows_datagram(struct link *k, const uint8_t *p, size_t n)
{
	struct flow_head h;
	struct flow *f;
	size_t whole;

	if (flow_head_parse(p, n, &h) < 0)
		return;
	f = find(k, h.flow);
	if (!f)
		return;
	if (h.parts == 1)
		inward(f, p + FLOW_HEAD, n - FLOW_HEAD);
	else if (flow_parts_add(&f->in, &h, p + FLOW_HEAD, n - FLOW_HEAD, &whole) == 0)
		inward(f, f->in.buffer, whole);
}

/* ---- the host's sockets ---- */

static void on_target(struct io *io, int events)
{
	struct flow *f = container_of(io, struct flow, io);
	static _Thread_local uint8_t buffer[FLOW_DATAGRAM_MAX];

	(void)events;
	for (unsigned i = 0; i < READS; i++) {
		ssize_t r = recv(f->fd, buffer, sizeof(buffer), MSG_DONTWAIT);

		if (r < 0 && errno == ECONNREFUSED)
			continue; /* nobody listens just now: UDP's affair */
		if (r < 0)
			return;
		outward(f, buffer, (size_t)r);
	}
}

int flow_dial(struct conn *c, const struct addr *to)
{
	_cleanup_(closep) int fd = socket(addr_family(to), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct flow *f;
	int r;

	if (fd < 0 || connect(fd, &to->sa, addr_len(to)) < 0)
		return -errno;
	f = flow_new(c);
	if (!f)
		return -ENOMEM;
	r = io_start(&f->io, c->k->e->loop, fd, IO_READ, on_target);
	if (r < 0) {
		c->flow = flow_free(f);
		return r;
	}
	f->fd = steal_fd(&fd);
	f->open = true;
	return 0;
}

/* ---- the visitor's port ---- */

static bool same_source(const struct hnode *h, const void *key)
{
	return addr_equal(&container_of(h, const struct flow, node)->source, key);
}

static struct flow *flow_for(struct listener *n, const struct addr *source)
{
	uint64_t hash = addr_hash(&n->e->seed, source);
	struct hnode *h = htable_find(&n->flows, hash, same_source, source);
	struct link *k = engine_link(n->e, n->link);
	struct conn *c;
	struct flow *f;

	if (h)
		return container_of(h, struct flow, node);
	if (!k || !k->up || n->flows.count >= FLOWS_MAX || (n->most && n->n >= n->most))
		return NULL;
	c = conn_new(k, CONN_OPENING);
	if (!c)
		return NULL;
	c->n = n;
	n->n++;
	c->source = *source;
	c->head.kind = WIRE_JOB_UDP;
	c->head.port = n->port;
	memcpy(c->head.host, n->host, sizeof(c->head.host));
	f = flow_new(c);
	if (f) {
		f->source = *source;
		if (htable_insert(&n->flows, &f->node, hash) == 0)
			f->n = n;
	}
	if (!f || !f->n || conn_begin(c, k) < 0) {
		if (!c->s)
			conn_free(c);
		return NULL;
	}
	return f;
}

static void on_port(struct io *io, int events)
{
	struct listener *n = container_of(io, struct listener, io);
	static _Thread_local uint8_t buffer[FLOW_DATAGRAM_MAX];

	(void)events;
	for (unsigned i = 0; i < READS; i++) {
		struct sockaddr_storage ss;
		socklen_t ss_n = sizeof(ss);
		struct addr source;
		struct flow *f;
		ssize_t r = recvfrom(io->fd, buffer, sizeof(buffer), MSG_DONTWAIT, (struct sockaddr *)&ss, &ss_n);

		if (r < 0)
			return;
		if (addr_from_sockaddr((struct sockaddr *)&ss, ss_n, &source) < 0)
			continue;
		f = flow_for(n, &source);
		if (f)
			outward(f, buffer, (size_t)r);
	}
}

int flows_listen(struct listener *n, int fd)
{
	int r = io_start(&n->io, n->e->loop, fd, IO_READ, on_port);

	if (r < 0) {
		n->io.loop = NULL;
		close(fd);
	}
	return r;
}

static bool forget(struct hnode *h, void *arg)
{
	struct flow *f = container_of(h, struct flow, node);

	(void)arg;
	htable_remove(&f->n->flows, h);
	f->n = NULL;
	flow_ended(f);
	return true;
}

void flows_unlisten(struct listener *n)
{
	htable_each(&n->flows, forget, NULL);
	if (n->io.loop) {
		int fd = n->io.fd;

		io_stop(&n->io);
		close(fd);
		n->io.loop = NULL;
	}
}
