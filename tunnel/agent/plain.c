/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain carriers of the agent (encrypt: false): dialled when the server wants some, they say their head and wait. The
 * server may send bytes before its OPEN-PLAIN has come on the control connection; they stay in the socket until the
 * target is connected.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tunnel/agent/agent_priv.h"
#include "tunnel/link/tls.h"

enum { DIALS_MAX = 16 };

struct plain_carrier {
	struct list node; /* in agent->plain */
	struct agent *agent;
	void *handle; /* of the dialer, while busy */
	bool busy;
	uint64_t number;
	int fd;
	struct io io; /* looks for its close until the first byte */
};

static void plain_free(struct plain_carrier *c)
{
	struct agent *a = c->agent;

	if (c->busy) {
		a->o.dialer.cancel(a->o.dialer.arg, c->handle);
		a->n_plain_dials--;
	}
	io_stop(&c->io);
	if (c->fd >= 0)
		close(c->fd);
	list_unlink(&c->node);
	a->n_plain--;
	free(c);
}

/* The server's word that it wants fewer may be on its way. */
static void gone(struct plain_carrier *c)
{
	struct agent *a = c->agent;

	plain_free(c);
	agent_fill_soon(a);
}

static void on_ready(struct io *io, int events)
{
	struct plain_carrier *c = container_of(io, struct plain_carrier, io);
	char byte;
	ssize_t r = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	(void)events;
	if (r == 1)
		(void)io_change(&c->io, 0); /* for the target; OPEN-PLAIN is on its way */
	else if (r == 0 || errno != EAGAIN)
		gone(c);
}

static void failed(struct plain_carrier *c)
{
	struct agent *a = c->agent;
	uint64_t now = loop_now(a->loop);

	a->plain_not_before =
		now + backoff_failed(&a->plain_backoff, now, 0, (uint32_t)(now * 2654435761u));
	gone(c);
}

static void on_dialled(const struct agent_dialled *r, void *arg)
{
	struct plain_carrier *c = arg;
	struct agent *a = c->agent;
	uint8_t head[WIRE_PLAIN_HEAD];
	SSL *ssl;

	c->busy = false;
	a->n_plain_dials--;
	if (r->stream) {
		c->fd = stream_take(r->stream, &ssl);
		if (c->fd < 0)
			stream_free(r->stream);
	}
	c->number = ++a->plain_number;
	if (c->fd < 0 || !a->plain_keyed ||
	    data_plain_head(a->plain_key, a->session, c->number, head) < 0 ||
	    send(c->fd, head, sizeof(head), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(head) ||
	    io_start(&c->io, a->loop, c->fd, IO_READ, on_ready) < 0) {
		failed(c);
		return;
	}
	backoff_reset(&a->plain_backoff);
}

static int dial(struct agent *a)
{
	struct plain_carrier *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	*c = (struct plain_carrier){ .agent = a, .fd = -1, .busy = true };
	list_append(&a->plain, &c->node);
	a->n_plain++;
	a->n_plain_dials++;
	r = a->o.dialer.start(a->o.dialer.arg, false, true, on_dialled, c, &c->handle);
	if (r < 0) {
		c->busy = false;
		a->n_plain_dials--;
		failed(c);
	}
	return r;
}

void agent_plain_key(struct agent *a)
{
	agent_plain_close(a); /* those of the former key */
	a->plain_keyed = link_tls_exporter(frame_conn_ssl(a->control), LINK_EXPORTER_PLAIN,
					   a->plain_key) == 0;
	a->plain_number = 0;
	a->plain_not_before = 0;
	backoff_reset(&a->plain_backoff);
}

bool agent_plain_fill(struct agent *a)
{
	if (a->state != AGENT_UP)
		return false;
	while (loop_now(a->loop) >= a->plain_not_before && a->n_plain < a->wanted_plain && a->n_plain_dials < DIALS_MAX && dial(a) == 0)
		;
	return a->n_plain < a->wanted_plain;
}

void agent_plain_close(struct agent *a)
{
	while (!list_empty(&a->plain))
		plain_free(list_entry(a->plain.next, struct plain_carrier, node));
}

/* ---- data connections on them ---- */

static void refuse(struct agent *a, uint64_t stream, enum wire_reason reason)
{
	(void)agent_send(a, WIRE_ENDED,
			 &(struct wire_ended){ .stream = stream, .reason = (uint8_t)reason });
}

int agent_on_open_plain(struct agent *a, const struct wire_open *m)
{
	struct data_conn *d;

	list_for_each (it, &a->plain) {
		struct plain_carrier *c = list_entry(it, struct plain_carrier, node);
		int fd;

		if (c->busy || c->number != m->carrier)
			continue;
		fd = c->fd;
		c->fd = -1;
		plain_free(c);
		if (data_conn_new(&a->data, m, -1, &d) < 0) {
			close(fd);
			refuse(a, m->stream, WIRE_R_MEMORY);
			return 0;
		}
		d->plain = true;
		d->plain_fd = fd;
		frame_conn_addresses_of(fd, &d->carrier_peer, &d->carrier_local);
		agent_greet_data(a, d, m);
		agent_fill(a);
		return 0;
	}
	refuse(a, m->stream, WIRE_R_UNKNOWN_STREAM);
	return 0;
}
