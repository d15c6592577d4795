/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carriers of the agent: as many ready ones as the server wants, and one for each data connection that
 * has lost its own. Each is dialled, says HELLO, and waits for WELCOME; then it is idle until the server
 * opens something on it, or RESUMEs.
 */
#include <errno.h>
#include <string.h>
#include "tunnel/agent/agent_priv.h"

enum { DIALS_MAX = 16, RESUMES_MAX = 48, FILL_MS = 400, DIAL_MS = 15 * 1000 };

struct carrier_dial {
	struct list node; /* in agent->dials */
	struct agent *agent;
	void *handle; /* the dialer's, while busy */
	bool busy;
	struct carrier *carrier; /* after that */
	uint64_t stream;	 /* to be resumed; 0: for the pool */
	uint64_t since;
};

static void dial_free(struct carrier_dial *d)
{
	struct agent *a = d->agent;

	if (d->busy)
		a->o.dialer.cancel(a->o.dialer.arg, d->handle);
	if (!d->stream)
		a->n_filling--;
	list_unlink(&d->node);
	free(d);
}

void agent_fill_soon(struct agent *a)
{
	if (!timer_is_set(&a->fill))
		loop_timer_set(a->loop, &a->fill, FILL_MS);
}

/* It failed, or there is no more use for it. */
static void dial_failed(struct carrier_dial *d)
{
	struct agent *a = d->agent;
	uint64_t now = loop_now(a->loop);

	if (now >= a->fill_not_before)
		a->fill_not_before = now + backoff_failed(&a->carrier_backoff, now, 0,
							  (uint32_t)(now * 2654435761u));
	dial_free(d);
	agent_fill_soon(a);
}

static struct carrier_dial *dial_of(struct carrier *c)
{
	return c->owner;
}

static void on_dialled(const struct agent_dialled *r, void *arg)
{
	struct carrier_dial *d = arg;
	struct agent *a = d->agent;
	struct frame_conn *fc;
	SSL *ssl;
	int fd;

	d->busy = false;
	if (!r->stream) {
		dial_failed(d);
		return;
	}
	fd = stream_take(r->stream, &ssl);
	if (fd < 0)
		stream_free(r->stream);
	if (fd < 0 || frame_conn_new(a->loop, fd, ssl, WIRE_TO_AGENT, &fc) < 0 ||
	    carrier_new(&a->data, fc, &d->carrier) < 0) {
		dial_failed(d);
		return;
	}
	d->carrier->owner = d;
	(void)agent_send_hello(a, fc, d->stream ? WIRE_PURPOSE_RESUME : WIRE_PURPOSE_CARRIER);
}

static int dial_start(struct agent *a, uint64_t stream)
{
	struct carrier_dial *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	*d = (struct carrier_dial){
		.agent = a, .stream = stream, .busy = true, .since = loop_now(a->loop)
	};
	list_append(&a->dials, &d->node);
	if (!stream)
		a->n_filling++;
	r = a->o.dialer.start(a->o.dialer.arg, false, false, on_dialled, d, &d->handle);
	if (r < 0) {
		d->busy = false;
		dial_failed(d);
	}
	return r;
}

static bool resuming(const struct agent *a, uint64_t stream)
{
	list_for_each (it, &a->dials)
		if (list_entry(it, struct carrier_dial, node)->stream == stream)
			return true;
	return false;
}

static void resume_all(struct agent *a)
{
	unsigned n = 0;

	list_for_each (it, &a->dials)
		n += list_entry(it, struct carrier_dial, node)->stream != 0;
	list_for_each_safe (it, &a->data.conns) {
		struct data_conn *d = list_entry(it, struct data_conn, node);

		if (n >= RESUMES_MAX)
			return;
		if (d->state != DATA_DETACHED || d->carrier || resuming(a, d->open.stream))
			continue;
		if (dial_start(a, d->open.stream) < 0)
			return;
		n++;
	}
}

/* Those that hang: the server does not answer, or the dialer has forgotten them. */
static void end_slow(struct agent *a)
{
	uint64_t now = loop_now(a->loop);

	list_for_each_safe (it, &a->dials) {
		struct carrier_dial *d = list_entry(it, struct carrier_dial, node);

		if (now - d->since > DIAL_MS && d->carrier)
			frame_conn_give_up(d->carrier->conn, "the server did not answer HELLO in time");
	}
}

void agent_fill(struct agent *a)
{
	uint64_t now = loop_now(a->loop);
	unsigned wanted = a->state == AGENT_UP ? a->wanted : 0;
	bool lacking;

	if (a->off || !a->session)
		return;
	end_slow(a);
	lacking = agent_plain_fill(a);
	if (now >= a->fill_not_before) {
		if (a->data.n_detached)
			resume_all(a);
		while (a->data.n_idle + a->n_filling < wanted && a->n_filling < DIALS_MAX)
			if (dial_start(a, 0) < 0)
				break;
	}
	if (lacking || a->data.n_detached || a->data.n_idle + a->n_filling < wanted || !list_empty(&a->dials))
		agent_fill_soon(a);
}

void agent_on_fill(struct timer *t, uint64_t now)
{
	(void)now;
	agent_fill(container_of(t, struct agent, fill));
}

void agent_forget_carriers(struct agent *a)
{
	while (!list_empty(&a->dials)) {
		struct carrier_dial *d = list_entry(a->dials.next, struct carrier_dial, node);

		carrier_free(steal_ptr(&d->carrier));
		dial_free(d);
	}
	data_host_close_carriers(&a->data);
	timer_stop(&a->fill);
	while (!list_empty(&a->dials)) /* those that data connections asked for meanwhile */
		dial_free(list_entry(a->dials.next, struct carrier_dial, node));
}

/* ---- what carriers say ---- */

static int resume_on(struct carrier *c, uint64_t stream)
{
	struct data_conn *d = data_conn_find(c->host, stream);

	if (!d || d->state != DATA_DETACHED || d->carrier)
		return -ECONNRESET; /* it has ended meanwhile */
	carrier_attach(c, d);
	d->hold = true;
	return frame_conn_send(c->conn, WIRE_RESUME, &(struct wire_resume){ stream, d->rx.received });
}

static int on_welcome(struct carrier *c)
{
	struct carrier_dial *d = dial_of(c);
	struct agent *a = agent_of(c->host);
	uint64_t stream;

	if (!d)
		return -EPROTO;
	stream = d->stream;
	c->owner = NULL;
	d->carrier = NULL;
	dial_free(d);
	backoff_reset(&a->carrier_backoff);
	frame_conn_set_where(c->conn, WIRE_IN_CARRIER);
	loop_timer_set(a->loop, &a->fill, 0); /* its place among those being dialled is free */
	if (stream)
		return resume_on(c, stream);
	carrier_ready(c);
	return 0;
}

static int on_frame(struct carrier *c, const struct wire_got *g)
{
	switch (g->type) {
	case WIRE_WELCOME: return c->state == CARRIER_HELLO ? on_welcome(c) : -EPROTO;
	case WIRE_REFUSED: return -ECONNRESET;
	case WIRE_OPEN: return c->state == CARRIER_IDLE ? agent_on_open(c, &g->m.open) : -EPROTO;
	default: return -EPROTO;
	}
}

static void on_idle(struct carrier *c)
{
	(void)c; /* the server knows it, too */
}

static void on_gone(struct carrier *c, int err, const char *why)
{
	struct agent *a = agent_of(c->host);
	struct carrier_dial *d = dial_of(c);

	(void)err;
	(void)why;
	if (d) {
		d->carrier = NULL;
		dial_failed(d);
	} else if (!timer_is_set(&a->fill)) {
		loop_timer_set(a->loop, &a->fill, 0);
	}
}

static void on_lost(struct data_conn *d)
{
	struct agent *a = agent_of(d->host);

	if (a->data.n_detached > a->o.detached_max)
		data_conn_end(d, &(struct data_end){ .reason = WIRE_R_LIMIT,
						     .lost = true,
						     .text = "its connection was lost, and too many wait for another one" });
	if (!a->off)
		loop_timer_set(a->loop, &a->fill, 0);
}

/* Of a plain one the server hears on the control connection why it is. */
static void on_ended(struct data_conn *d)
{
	const struct wire_ended m = { .stream = d->open.stream,
				      .reason = (uint8_t)d->end.reason,
				      .text = text_of(d->end.text) };

	if (d->plain && d->end.reason != WIRE_R_NONE && !d->end.by_peer)
		(void)agent_send(agent_of(d->host), WIRE_ENDED, &m);
}

const struct data_host_ops agent_host_ops = {
	.carrier_frame = on_frame,
	.carrier_idle = on_idle,
	.carrier_gone = on_gone,
	.lost = on_lost,
	.ended = on_ended,
};
