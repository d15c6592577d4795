/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a stream: the supervisor has said whether the visitor may reach the target, and at which addresses; they are
 * tried one after the other, and the visitor is told how that went. Names are never resolved here: an address that
 * was not held against the rules is not connected to.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include "common/fd.h"
#include "tunnel/direct/conn_priv.h"
#include "tunnel/direct/flows.h"

enum { CONNECT_MS = 10 * 1000 };

static void answer(struct conn *c, unsigned reason, const char *text)
{
	struct stream_answer a = { .reason = (uint8_t)reason };
	struct quic_conn *q = peer_link_quic(c->k->l);
	uint8_t out[STREAM_ANSWER_MAX];

	(void)snprintf(a.text, sizeof(a.text), "%s", text);
	if (quic_stream_write(q, c->s, out, stream_answer_write(&a, out)) < 0)
		conn_fail(c, WIRE_R_MEMORY, "out of memory");
	link_dirty(c->k);
}

static void refuse(struct conn *c, unsigned reason, const char *text)
{
	size_t n = c->rx.n;

	answer(c, reason, text);
	if (c->state == CONN_DEAD)
		return;
	c->state = CONN_REFUSED;
	c->reason = reason;
	(void)snprintf(c->why, sizeof(c->why), "%s", text);
	conn_tell(c, CHILD_STREAM_REFUSED);
	c->fin_out = true;
	quic_stream_finish(peer_link_quic(c->k->l), c->s);
	if (n) {
		chunk_queue_drop(&c->rx, n);
		quic_stream_consumed(peer_link_quic(c->k->l), c->s, n);
	}
}

static void joined(struct conn *c)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);

	timer_stop(&c->timer);
	c->state = CONN_JOINED;
	if (getpeername(c->fd, (struct sockaddr *)&ss, &n) == 0)
		(void)addr_from_sockaddr((struct sockaddr *)&ss, n, &c->target);
	answer(c, WIRE_R_NONE, "");
	if (c->state == CONN_DEAD)
		return;
	conn_tell(c, CHILD_STREAM_OPENED);
	c->io.ready = conn_on_local;
	conn_write_local(c);
}

static void try_next(struct conn *c, int error);

static void on_connected(struct io *io, int events)
{
	struct conn *c = container_of(io, struct conn, io);
	int error = 0;
	socklen_t n = sizeof(error);

	(void)events;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error) {
		try_next(c, error);
		return;
	}
	joined(c);
}

static void on_connect_timeout(struct timer *t, uint64_t now)
{
	(void)now;
	try_next(container_of(t, struct conn, timer), ETIMEDOUT);
}

static unsigned reason_of(int error)
{
	switch (error) {
	case ECONNREFUSED: return WIRE_R_REFUSED;
	case ETIMEDOUT: return WIRE_R_TIMEOUT;
	case ENETUNREACH:
	case EHOSTUNREACH: return WIRE_R_UNREACHABLE;
	default: return WIRE_R_ERROR;
	}
}

static int dial(struct conn *c, const struct addr *to)
{
	_cleanup_(closep) int fd = socket(addr_family(to), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, r;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, &to->sa, addr_len(to)) < 0 && errno != EINPROGRESS)
		return -errno;
	r = io_start(&c->io, c->k->e->loop, fd, IO_WRITE, on_connected);
	if (r < 0)
		return r;
	c->fd = steal_fd(&fd);
	c->target = *to;
	loop_timer_set(c->k->e->loop, &c->timer, CONNECT_MS);
	return 0;
}

/* error: of the one before; 0: there was none. */
static void try_next(struct conn *c, int error)
{
	conn_close_local(c, false);
	while (c->at < c->n_addresses) {
		const struct addr *to = &c->addresses[c->at++];
		int r = c->head.kind == WIRE_JOB_UDP ? flow_dial(c, to) : dial(c, to);

		if (r == 0 && c->head.kind == WIRE_JOB_UDP) {
			c->target = *to;
			c->state = CONN_JOINED;
			answer(c, WIRE_R_NONE, "");
			if (c->state != CONN_DEAD)
				conn_tell(c, CHILD_STREAM_OPENED);
		}
		if (r == 0)
			return;
		error = -r;
	}
	{
		char text[160], at[ADDR_STRLEN] = "the target";

		if (c->n_addresses)
			addr_print(&c->addresses[c->n_addresses - 1], at);
		(void)snprintf(text, sizeof(text), "%s: %s", at, error ? strerror(error) : "no address");
		refuse(c, error ? reason_of(error) : WIRE_R_NO_NAME, text);
	}
}

void conns_admitted(struct engine *e, const struct child_admitted *m)
{
	list_for_each (it, &e->links)
		list_for_each_safe (jt, &list_entry(it, struct link, node)->conns) {
			struct conn *c = conn_of_node(jt);

			if (c->request != m->request || c->state != CONN_ASKING)
				continue;
			if (m->reason) {
				char text[160];

				wire_text_copy(text, sizeof(text), m->text);
				refuse(c, m->reason < WIRE_REASONS ? m->reason : WIRE_R_ERROR, text);
				return;
			}
			c->n_addresses = m->n_addresses;
			memcpy(c->addresses, m->addresses, sizeof(c->addresses[0]) * m->n_addresses);
			c->state = CONN_CONNECTING;
			c->timer.fire = on_connect_timeout;
			try_next(c, 0);
			return;
		}
}
