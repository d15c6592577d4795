/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain carriers at the server. A stranger whose first byte is 's' sends a head with the number of a session and a MAC that
 * only the agent of that session can make, under a key that the control connection's TLS session gives (the exporter); each
 * number counts once. Then it waits until a data connection is joined to it, which OPEN-PLAIN tells the agent on the
 * control connection.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tunnel/server/server_priv.h"

enum { PLAIN_WAIT_MS = 10 * 1000, PLAIN_MAX = 256 };

struct plain_carrier {	  /* ready */
	struct list node; /* in link->plain */
	struct tunnel_link *link;
	uint64_t number;
	int fd;
	struct io io; /* until it closes: the agent has nothing to say before OPEN-PLAIN */
};

static void plain_free(struct plain_carrier *c)
{
	io_stop(&c->io);
	if (c->fd >= 0)
		close(c->fd);
	c->link->n_plain--;
	worker_count_carriers(c->link->worker, -1);
	list_unlink(&c->node);
	free(c);
}

static void on_closed(struct io *io, int events)
{
	(void)events;
	plain_free(container_of(io, struct plain_carrier, io));
}

/* ---- its number ---- */

/* Numbers may come out of order, by 63 at most; none counts twice. */
static bool number_is_new(struct tunnel_link *l, uint64_t number)
{
	if (number > l->plain_top) {
		uint64_t up = number - l->plain_top;

		l->plain_seen = up < 64 ? l->plain_seen << up | 1 : 1;
		l->plain_top = number;
		return true;
	}
	if (l->plain_top - number >= 64 || l->plain_seen >> (l->plain_top - number) & 1)
		return false;
	l->plain_seen |= 1ull << (l->plain_top - number);
	return true;
}

static bool genuine(struct tunnel_link *l, const struct wire_plain *p)
{
	uint8_t head[WIRE_PLAIN_HEAD];

	if (!l->control || !l->plain_keyed ||
	    data_plain_head(l->plain_key, p->session, p->number, head) < 0)
		return false;
	return bytes_equal_ct(head + WIRE_PLAIN_SIGNED, p->mac, sizeof(p->mac)) &&
	       number_is_new(l, p->number);
}

void link_plain_key(struct tunnel_link *l)
{
	l->plain_keyed = link_tls_exporter(frame_conn_ssl(l->control), LINK_EXPORTER_PLAIN,
					   l->plain_key) == 0;
	l->plain_top = l->plain_seen = 0;
	link_close_plain(l); /* those of the former key */
}

/* ---- data connections on them ---- */

static void start(struct plain_carrier *c, struct data_conn *d)
{
	struct tunnel_link *l = c->link;
	struct wire_open m = d->open;
	int fd = c->fd, client = d->plain_fd;

	if (d->queued_plain) {
		d->queued_plain = false;
		l->n_plain_waiting--;
	}
	timer_stop(&d->deadline);
	m.carrier = c->number;
	frame_conn_addresses_of(fd, &d->carrier_peer, &d->carrier_local);
	c->fd = -1;
	plain_free(c);
	d->plain_fd = -1;
	if (!l->control || frame_conn_send(l->control, WIRE_OPEN_PLAIN, &m) < 0) {
		close(fd);
		d->plain_fd = client;
		data_conn_end(d, &(struct data_end){ .reason = WIRE_R_SESSION,
						     .text = "the control connection is lost" });
	} else if (data_plain_join(d, client, fd) < 0) {
		data_conn_end(d, &(struct data_end){ .reason = WIRE_R_MEMORY });
	}
}

static struct data_conn *first_waiting(struct tunnel_link *l)
{
	list_for_each (it, &l->host.conns) {
		struct data_conn *d = list_entry(it, struct data_conn, node);

		if (d->queued_plain && d->state != DATA_ENDED)
			return d;
	}
	return NULL;
}

void link_open_plain(struct tunnel_link *l, struct data_conn *d)
{
	l->plain_used = true;
	pool_opened(&l->plain_pool, loop_now(l->worker->loop));
	if (!list_empty(&l->plain)) {
		start(list_entry(l->plain.prev, struct plain_carrier, node), d);
		return;
	}
	d->queued_plain = true;
	l->n_plain_waiting++;
	loop_timer_set(l->worker->loop, &d->deadline, PLAIN_WAIT_MS);
}

void link_take_plain(struct tunnel_worker *w, struct handover *h)
{
	struct tunnel_link *l = tunnel_link_find(w, h->session);
	struct plain_carrier *c;
	struct data_conn *d;
	struct wire_plain p;

	if (!l || !w->allow_plain || wire_plain_parse(h->payload, h->hello_n, &p) != WIRE_OK ||
	    !genuine(l, &p) || l->n_plain >= PLAIN_MAX)
		return; /* closed with h */
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	*c = (struct plain_carrier){ .link = l, .number = p.number, .fd = h->fd };
	h->fd = -1;
	list_append(&l->plain, &c->node);
	l->n_plain++;
	worker_count_carriers(w, 1);
	if (io_start(&c->io, w->loop, c->fd, IO_READ, on_closed) < 0) {
		plain_free(c);
		return;
	}
	d = l->n_plain_waiting ? first_waiting(l) : NULL;
	if (d)
		start(c, d);
}

int link_on_ended(struct tunnel_link *l, const struct wire_ended *m)
{
	struct data_conn *d = tunnel_stream_find(l, m->stream);
	char text[160];

	if (!d || !d->plain)
		return 0; /* it has ended here meanwhile */
	wire_text_copy(text, sizeof(text), m->text);
	data_conn_end(d, &(struct data_end){ .reason = m->reason, .by_peer = true, .text = text });
	return 0;
}

int link_on_opened(struct tunnel_link *l, const struct wire_opened *m)
{
	struct data_conn *d = tunnel_stream_find(l, m->stream);

	if (!d || !d->plain || d->state == DATA_ENDED || d->opened_known)
		return 0;
	d->opened = *m;
	d->opened_known = true;
	if (d->state == DATA_OPENING)
		d->state = DATA_OPEN;
	if (d->ops->on_opened)
		d->ops->on_opened(d, &d->opened, d->arg);
	return 0;
}

void link_close_plain(struct tunnel_link *l)
{
	while (!list_empty(&l->plain))
		plain_free(list_entry(l->plain.next, struct plain_carrier, node));
}

unsigned link_plain_wanted(struct tunnel_link *l, uint64_t now)
{
	if (!l->plain_used || !l->worker->allow_plain)
		return 0;
	for (unsigned n = pool_surplus(&l->plain_pool, now, l->n_plain, l->n_plain_waiting);
	     n-- && !list_empty(&l->plain);)
		plain_free(list_entry(l->plain.next, struct plain_carrier, node));
	return pool_wanted(&l->plain_pool, now, l->n_plain_waiting);
}
