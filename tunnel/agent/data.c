/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data connections at the agent. The server opens them; the owner looks whether the target is allowed, resolves its name,
 * connects, and answers. Bytes that came with OPEN wait meanwhile, within the window.
 *
 * An OPEN of a data connection that is here already means that the server has not heard of us on the first carrier: it is
 * answered by RESUME, so that nothing is connected twice.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "common/fd.h"
#include "tunnel/agent/agent_priv.h"

static void nobody_owns(struct data_conn *d, const struct data_end *e, void *arg)
{
	(void)e;
	(void)arg;
	data_conn_free(d);
}

static const struct data_ops ownerless = { .on_end = nobody_owns };

static int again(struct carrier *c, struct data_conn *d)
{
	struct carrier *old = d->carrier;
	const struct wire_ended over = { .stream = d->open.stream, .reason = WIRE_R_UNKNOWN_STREAM };

	if (d->plain)
		return -EPROTO;
	if (d->state == DATA_ENDED) {
		(void)frame_conn_send(c->conn, WIRE_RESET, &over);
		carrier_release(c);
		return 0;
	}
	if (old) {
		old->data = NULL;
		d->carrier = NULL;
		carrier_free(old);
	}
	carrier_attach(c, d);
	d->hold = true;
	return frame_conn_send(c->conn, WIRE_RESUME,
			       &(struct wire_resume){ d->open.stream, d->rx.received });
}

void agent_on_detached(struct agent *a, uint64_t stream)
{
	struct data_conn *d = data_conn_find(&a->data, stream);

	if (d && d->carrier && !d->hold) /* else it is about to be resumed */
		carrier_free(d->carrier);
}

int agent_on_open(struct carrier *c, const struct wire_open *m)
{
	struct agent *a = agent_of(c->host);
	struct data_conn *d = data_conn_find(c->host, m->stream);
	const struct wire_ended no = { .stream = m->stream, .reason = WIRE_R_MEMORY };
	struct wire_ack ack;

	if (d)
		return again(c, d);
	if (data_conn_new(&a->data, m, -1, &d) < 0) {
		(void)frame_conn_send(c->conn, WIRE_RESET, &no);
		carrier_release(c);
		return 0;
	}
	d->ops = &ownerless;
	carrier_attach(c, d);
	ack = replay_rx_ack(&d->rx);
	(void)frame_conn_send(c->conn, WIRE_ACK, &ack); /* the server knows now that OPEN has arrived */
	a->o.ops->on_open(a, d, m, a->o.arg);
	return 0;
}

void agent_greet_data(struct agent *a, struct data_conn *d, const struct wire_open *m)
{
	d->ops = &ownerless;
	a->o.ops->on_open(a, d, m, a->o.arg);
}

void agent_say_opened(struct data_conn *d)
{
	struct wire_opened m = d->opened;

	if (d->plain) {
		m.stream = d->open.stream;
		(void)agent_send(agent_of(d->host), WIRE_OPENED, &m);
	} else if (d->opened_known && d->carrier && !d->hold) {
		(void)frame_conn_send(d->carrier->conn, WIRE_OPENED, &m);
	}
}

void data_conn_own(struct data_conn *d, const struct data_ops *ops, void *arg)
{
	d->ops = ops;
	d->arg = arg;
}

void agent_data_dialled(struct data_conn *d, int fd, const struct addr *target, const struct addr *local)
{
	int r;

	if (d->state == DATA_ENDED) {
		close(fd);
		return;
	}
	d->opened = (struct wire_opened){ .target = *target, .local = *local };
	d->opened_known = true;
	agent_say_opened(d);
	r = d->plain ? data_plain_join(d, steal_fd(&d->plain_fd), fd) : data_conn_set_fd(d, fd);
	if (r < 0)
		data_conn_end(d, &(struct data_end){ .reason = WIRE_R_MEMORY });
}

void agent_data_refuse(struct data_conn *d, enum wire_reason reason, const char *text)
{
	data_conn_end(d, &(struct data_end){ .reason = reason, .text = text });
}
