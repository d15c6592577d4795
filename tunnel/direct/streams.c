/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local connections and the streams that carry them. A byte is read from its socket into the place where QUIC keeps it until it
 * has arrived, and written to the other socket from where it was opened; only what that does not take is copied and waits,
 * and its sender is not told to go on until it has gone. So an end that does not read costs one window, and nobody
 * else anything.
 *
 * An end of stream is passed on as one, a reset as a reset. The visitor's bytes do not wait for the host's answer.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include "common/fd.h"
#include "common/stream.h"
#include "tunnel/direct/conn_priv.h"
#include "tunnel/direct/flows.h"

enum { READ_BUDGET = 512 << 10, WRITE_VECTORS = 8 };

/* ---- telling ---- */

void conn_tell(struct conn *c, unsigned event)
{
	struct child_stream_msg m = {
		.link = c->k ? c->k->id : c->n ? c->n->link : 0, .visit = c->n ? c->n->id : 0, .stream = c->id, .event = (uint8_t)event,
		.kind = c->head.kind, .host = text_of(c->head.host), .port = c->head.port, .source = c->source, .target = c->target,
		.bytes = { c->bytes[0], c->bytes[1] }, .reason = (uint8_t)c->reason, .text = text_of(c->why),
	};
	struct engine *e = c->k ? c->k->e : c->n ? c->n->e : NULL;

	if (!e || (event == CHILD_STREAM_ENDED && !c->told))
		return;
	c->told = event == CHILD_STREAM_OPENED;
	engine_say(e, CHILD_STREAM, &m);
}

uint32_t conn_flow_number(const struct conn *c)
{
	return (uint32_t)(c->id / 4 + 1);
}

/* ---- life ---- */

struct conn *conn_new(struct link *k, enum conn_state state)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->fd = -1;
	c->state = state;
	c->k = k;
	if (k) {
		c->rx.pool = &k->e->pool;
		list_append(&k->conns, &c->node);
		k->n_conns++;
	}
	return c;
}

void conn_close_local(struct conn *c, bool reset)
{
	timer_stop(&c->timer);
	if (c->flow)
		c->flow = flow_free(c->flow);
	if (c->fd < 0)
		return;
	io_stop(&c->io);
	if (reset)
		socket_reset_on_close(c->fd);
	close(steal_fd(&c->fd));
}

void conn_free(struct conn *c)
{
	bool clean = c->fin_in && c->fin_out && !c->rx.n;

	if (!c->reason && !clean && c->k && c->k->gone)
		c->reason = WIRE_R_RESET;
	conn_tell(c, CHILD_STREAM_ENDED);
	if (c->s)
		c->s->owner = NULL;
	conn_close_local(c, !clean);
	if (c->rx.first)
		chunk_queue_drop(&c->rx, c->rx.n);
	list_unlink(&c->node);
	if (c->k)
		c->k->n_conns--;
	if (c->n)
		c->n->n--;
	free(c);
}

struct conn *conn_of_node(struct list *node)
{
	return list_entry(node, struct conn, node);
}

void conn_fail(struct conn *c, unsigned reason, const char *why)
{
	if (c->state == CONN_DEAD)
		return;
	c->state = CONN_DEAD;
	c->reason = reason;
	(void)snprintf(c->why, sizeof(c->why), "%s", why);
	conn_close_local(c, true);
	if (c->rx.first)
		chunk_queue_drop(&c->rx, c->rx.n);
	if (c->s && c->k->l) {
		quic_stream_reset(peer_link_quic(c->k->l), c->s, reason);
		link_dirty(c->k);
	}
}

/* ---- local socket ---- */

static void watch(struct conn *c)
{
	int events = 0;

	if (c->fd < 0)
		return;
	if (!c->fin_out && !c->blocked)
		events |= IO_READ;
	if (c->rx.n)
		events |= IO_WRITE;
	if (c->io.events != events)
		(void)io_change(&c->io, events);
}

/* Both ways have said their last, and all of it was passed on. */
static void maybe_shut(struct conn *c)
{
	if (!c->fin_in || c->rx.n || c->shut || c->fd < 0 || c->state != CONN_JOINED)
		return;
	c->shut = true;
	(void)shutdown(c->fd, SHUT_WR);
}

static void read_local(struct conn *c)
{
	struct quic_conn *q = peer_link_quic(c->k->l);
	size_t budget = READ_BUDGET;

	while (budget && !c->fin_out && c->fd >= 0) {
		size_t room;
		uint8_t *to = quic_stream_space(q, c->s, &room);
		ssize_t r;

		if (!to) {
			c->blocked = true;
			break;
		}
		r = recv(c->fd, to, MIN(room, budget), MSG_DONTWAIT);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EWOULDBLOCK)
			break;
		if (r < 0) {
			conn_fail(c, WIRE_R_RESET, strerror(errno));
			return;
		}
		link_dirty(c->k);
		if (r == 0) {
			c->fin_out = true;
			quic_stream_finish(q, c->s);
			break;
		}
		quic_stream_commit(q, c->s, (size_t)r);
		c->bytes[!c->k->visitor] += (size_t)r;
		peer_link_count(c->k->l, 0, (size_t)r);
		budget -= (size_t)r;
	}
	watch(c);
}

void conn_write_local(struct conn *c)
{
	while (c->rx.n && c->fd >= 0) {
		struct iovec v[WRITE_VECTORS];
		struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t)chunk_queue_iov(&c->rx, v, WRITE_VECTORS) };
		ssize_t r = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EWOULDBLOCK)
			break;
		if (r < 0) {
			conn_fail(c, WIRE_R_RESET, strerror(errno));
			return;
		}
		chunk_queue_drop(&c->rx, (size_t)r);
		quic_stream_consumed(peer_link_quic(c->k->l), c->s, (size_t)r);
		link_dirty(c->k);
	}
	maybe_shut(c);
	watch(c);
}

void conn_on_local(struct io *io, int events)
{
	struct conn *c = container_of(io, struct conn, io);

	if (events & IO_WRITE)
		conn_write_local(c);
	if ((events & (IO_READ | IO_CLOSED)) && c->fd >= 0 && !c->blocked)
		read_local(c);
}

static int watch_local(struct conn *c, int fd)
{
	int on = 1, r;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->fd = fd;
	r = io_start(&c->io, c->k->e->loop, fd, IO_READ, conn_on_local);
	if (r < 0)
		close(steal_fd(&c->fd));
	return r;
}

/* n bytes of the other agent for the local socket. */
static void deliver(struct conn *c, const uint8_t *p, size_t n)
{
	size_t done = 0;

	if (!n)
		return;
	c->bytes[c->k->visitor] += n;
	peer_link_count(c->k->l, 1, n);
	if (!c->rx.n && c->fd >= 0 && c->state != CONN_CONNECTING) {
		ssize_t r = send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r < 0 && errno != EWOULDBLOCK && errno != EINTR) {
			conn_fail(c, WIRE_R_RESET, strerror(errno));
			return;
		}
		done = r > 0 ? (size_t)r : 0;
		quic_stream_consumed(peer_link_quic(c->k->l), c->s, done);
	}
	if (done < n && chunk_queue_add(&c->rx, p + done, n - done) < 0) {
		conn_fail(c, WIRE_R_MEMORY, "out of memory");
		return;
	}
	watch(c);
}

/* ---- how a stream begins ---- */

/* The head, or the answer to it, is gathered in c->in: as much of what has come as there is room for. Returns that. */
static size_t gather(struct conn *c, const uint8_t *p, size_t n)
{
	size_t part = MIN(n, sizeof(c->in) - c->in_n);

	memcpy(c->in + c->in_n, p, part);
	c->in_n += part;
	return part;
}

/* r, used: what its parser said of c->in, to which part was added from *p. True: it is whole, and *p, *n are what stands behind it. */
static bool is_whole(struct conn *c, int r, size_t used, size_t part, const uint8_t **p, size_t *n)
{
	struct quic_conn *q = peer_link_quic(c->k->l);
	size_t had = c->in_n - part;

	if (r == -EAGAIN && c->in_n < sizeof(c->in)) {
		quic_stream_consumed(q, c->s, part);
		return false;
	}
	if (r < 0 || used < had) {
		conn_fail(c, WIRE_R_PROTOCOL, c->k->visitor ? "the other agent's answer cannot be read" : "the visitor's request cannot be read");
		return false;
	}
	quic_stream_consumed(q, c->s, used - had);
	*p += used - had;
	*n -= used - had;
	return true;
}

/* ---- the visitor ---- */

int conn_accepted(struct listener *n, int fd, const struct addr *peer)
{
	struct conn *c = conn_new(NULL, CONN_WAITING);

	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	c->fd = fd;
	c->n = n;
	c->source = *peer;
	c->head.kind = WIRE_JOB_TCP;
	c->head.port = n->port;
	(void)snprintf(c->head.host, sizeof(c->head.host), "%s", n->host);
	n->n++;
	list_append(&n->waiting, &c->node);
	return 0;
}

int conn_begin(struct conn *c, struct link *k)
{
	struct quic_conn *q = peer_link_quic(k->l);
	uint8_t head[STREAM_HEAD_MAX];
	int r = quic_stream_open(q, &c->s);

	if (r < 0)
		return r;
	if (!c->k) {
		list_unlink(&c->node);
		list_append(&k->conns, &c->node);
		k->n_conns++;
		c->k = k;
		c->rx.pool = &k->e->pool;
	}
	c->state = CONN_OPENING;
	c->s->owner = c;
	c->id = (uint64_t)c->s->id;
	r = quic_stream_write(q, c->s, head, stream_head_write(&c->head, head));
	if (r < 0)
		conn_fail(c, WIRE_R_MEMORY, "out of memory");
	link_dirty(k);
	return r;
}

void conn_go(struct conn *c, struct link *k)
{
	int fd = c->fd;

	c->fd = -1;
	if (conn_begin(c, k) < 0) {
		if (c->state == CONN_WAITING)
			c->fd = fd; /* the next time */
		else
			socket_reset(fd);
		return;
	}
	if (watch_local(c, fd) < 0)
		conn_fail(c, WIRE_R_MEMORY, "out of memory");
}

void conn_give_up(struct conn *c, const char *why)
{
	c->reason = WIRE_R_TIMEOUT;
	(void)snprintf(c->why, sizeof(c->why), "%s", why);
	conn_tell(c, CHILD_STREAM_REFUSED);
	if (c->fd >= 0)
		socket_reset(steal_fd(&c->fd));
	conn_free(c);
}

/* The host's answer, of which *n bytes at *p may be a part. True: it was yes, and what is left of them is the target's. */
static bool take_answer(struct conn *c, const uint8_t **p, size_t *n)
{
	struct stream_answer a;
	size_t part = gather(c, *p, *n), used = 0;
	int r = stream_answer_parse(c->in, c->in_n, &a, &used);

	if (!is_whole(c, r, used, part, p, n))
		return false;
	if (a.reason) {
		c->reason = a.reason;
		(void)snprintf(c->why, sizeof(c->why), "%.*s", (int)sizeof(c->why) - 1, a.text);
		conn_tell(c, CHILD_STREAM_REFUSED);
		conn_fail(c, a.reason, a.text);
		return false;
	}
	c->state = CONN_JOINED;
	conn_tell(c, CHILD_STREAM_OPENED);
	if (c->flow)
		flow_open(c->flow);
	return true;
}

/* ---- the host ---- */

/* True: the head is whole; what is left of the bytes is for the target. */
static bool take_head(struct conn *c, const uint8_t **p, size_t *n)
{
	struct engine *e = c->k->e;
	size_t part = gather(c, *p, *n), used = 0;
	int r = stream_head_parse(c->in, c->in_n, &c->head, &used);

	if (!is_whole(c, r, used, part, p, n))
		return false;
	c->state = CONN_ASKING;
	c->request = e->next_request++;
	engine_say(e, CHILD_ADMIT, &(struct child_admit){ .request = c->request, .link = c->k->id, .kind = c->head.kind,
							  .host = text_of(c->head.host), .port = c->head.port });
	return true;
}

/* ---- what QUIC tells ---- */

static void on_opened(struct quic_conn *q, struct quic_stream *s, void *arg)
{
	struct link *k = arg;
	struct conn *c = k->visitor ? NULL : conn_new(k, CONN_HEAD); /* a host asks for nothing */

	if (!c) {
		quic_stream_reset(q, s, k->visitor ? WIRE_R_PROTOCOL : WIRE_R_MEMORY);
		return;
	}
	c->s = s;
	c->id = (uint64_t)s->id;
	s->owner = c;
}

static void on_data(struct quic_conn *q, struct quic_stream *s, const uint8_t *p, size_t n, bool fin, void *arg)
{
	struct conn *c = s->owner;
	bool whole = true;

	(void)arg;
	if (!c || c->state == CONN_DEAD) {
		quic_stream_consumed(q, s, n);
		return;
	}
	if (c->state == CONN_OPENING)
		whole = take_answer(c, &p, &n);
	else if (c->state == CONN_HEAD)
		whole = take_head(c, &p, &n);
	if (c->state == CONN_REFUSED || c->flow)
		quic_stream_consumed(q, s, n);
	else if (whole)
		deliver(c, p, n);
	c->fin_in |= fin;
	if (!fin || c->state == CONN_DEAD)
		return;
	if (!whole)
		conn_fail(c, WIRE_R_PROTOCOL, "the stream ended before it began");
	else if (c->flow)
		flow_ended(c->flow);
	else
		maybe_shut(c);
}

static void on_room(struct quic_conn *q, struct quic_stream *s, void *arg)
{
	struct conn *c = s->owner;

	(void)q;
	(void)arg;
	if (!c || !c->blocked || c->fd < 0)
		return;
	c->blocked = false;
	read_local(c);
}

static void on_cut(struct quic_conn *q, struct quic_stream *s, uint64_t code, void *arg)
{
	struct conn *c = s->owner;

	(void)q;
	(void)arg;
	if (c && c->state != CONN_REFUSED)
		conn_fail(c, code < WIRE_REASONS ? (unsigned)code : WIRE_R_ERROR, "reset by the other end");
}

static void on_closed(struct quic_conn *q, struct quic_stream *s, void *arg)
{
	struct conn *c = s->owner;

	(void)q;
	(void)arg;
	if (c)
		conn_free(c);
}

static void on_datagram(struct quic_conn *q, const uint8_t *p, size_t n, void *arg)
{
	(void)q;
	flows_datagram(arg, p, n);
}

const struct quic_ops streams_ops = {
	.opened = on_opened, .data = on_data, .room = on_room, .reset = on_cut, .stopped = on_cut, .closed = on_closed, .datagram = on_datagram,
};

/* The listener is going, and its connections with it: whoever ends a visit means them, too. */
void conns_forget_listener(struct listener *n)
{
	list_for_each (it, &n->e->links)
		list_for_each_safe (jt, &list_entry(it, struct link, node)->conns) {
			struct conn *c = conn_of_node(jt);

			if (c->n != n)
				continue;
			if (!c->flow) /* a flow has ended already */
				conn_fail(c, WIRE_R_KICKED, "the visit was ended");
			c->n = NULL;
		}
}
