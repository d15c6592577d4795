/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a data connection: carriers are attached and lost, frames that are not bytes, and its end. An end is decided
 * anywhere and told by the loop; from then on the data connection holds nothing but what data_conn_info() tells.
 *
 * A clean end: each side says DONE when all of both ways was passed on here and is known to have been passed on there. So
 * who has said DONE needs no carrier any more, and who has passed on everything but does not know of the other side
 * takes "unknown stream" for a clean end, too: the other side would not have forgotten it otherwise.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/stream.h"
#include "tunnel/link/data_priv.h"

const char *const data_state_names[DATA_STATES] = {
	[DATA_WAITING] = "waiting",  [DATA_OPENING] = "opening",   [DATA_OPEN] = "open",
	[DATA_HALF] = "half-closed", [DATA_DETACHED] = "detached", [DATA_ENDED] = "ended",
};

static void enter(struct data_conn *d)
{
	d->depth++;
}

static void leave(struct data_conn *d)
{
	if (--d->depth == 0 && d->freed)
		free(d);
}

static void set_state(struct data_conn *d)
{
	if (d->state == DATA_ENDED || d->state == DATA_DETACHED)
		return;
	if (!d->carrier || (!d->host->server && d->fd < 0))
		d->state = DATA_WAITING;
	else if (!d->opened_known)
		d->state = DATA_OPENING;
	else
		d->state = d->tx.ended || d->rx.has_fin ? DATA_HALF : DATA_OPEN;
}

/* ---- its end ---- */

static void close_local(struct data_conn *d, bool reset)
{
	io_stop(&d->io);
	if (d->fd < 0)
		return;
	if (reset && d->open.kind == WIRE_JOB_TCP)
		socket_reset_on_close(d->fd);
	close(d->fd);
	d->fd = -1;
}

static void let_go(struct data_conn *d, bool reset)
{
	if (d->state == DATA_DETACHED)
		d->host->n_detached--;
	d->state = DATA_ENDED;
	d->host->n_conns--;
	timer_stop(&d->ack);
	timer_stop(&d->again);
	close_local(d, reset);
	data_plain_close(d, reset);
	chunk_queue_drop(&d->held, d->held.n);
	replay_tx_deinit(&d->tx);
	data_flow_forget(d);
	d->n_pending = 0;
	d->host->ops->ended(d);
	loop_timer_set(d->host->loop, &d->deadline, 0);
}

static void tell_peer(struct data_conn *d, const struct data_end *e)
{
	struct carrier *c = d->carrier;
	const struct wire_ended msg = { .stream = d->open.stream,
					.reason = (uint8_t)e->reason,
					.text = text_of(e->text) };

	if (!c)
		return;
	if (!e->by_peer && !c->done_sent && frame_conn_send(c->conn, WIRE_RESET, &msg) == -EINVAL)
		(void)frame_conn_send(c->conn, WIRE_RESET,
				      &(struct wire_ended){ .stream = msg.stream, .reason = msg.reason });
	carrier_release(c);
}

void data_conn_end(struct data_conn *d, const struct data_end *e)
{
	if (d->state == DATA_ENDED)
		return;
	(void)snprintf(d->end_text, sizeof(d->end_text), "%s",
		       e->text && *e->text ? e->text : wire_reason_text(e->reason));
	d->end = *e;
	d->end.text = d->end_text;
	tell_peer(d, &d->end);
	let_go(d, e->reason != WIRE_R_NONE);
}

void data_conn_end_now(struct data_conn *d, const struct data_end *e)
{
	enter(d);
	data_conn_end(d, e);
	timer_stop(&d->deadline);
	d->ops->on_end(d, &d->end, d->arg);
	leave(d);
}

void data_conn_finish_clean(struct data_conn *d)
{
	if (d->state == DATA_ENDED)
		return;
	(void)snprintf(d->end_text, sizeof(d->end_text), "both sides have ended it");
	d->end = (struct data_end){ .reason = WIRE_R_NONE, .text = d->end_text };
	if (d->carrier)
		carrier_release(d->carrier);
	let_go(d, false);
}

/* Everything was passed on here, and was sent there: only its acknowledgement may be missing. */
static bool clean_here(const struct data_conn *d)
{
	return d->open.kind == WIRE_JOB_TCP && replay_rx_done(&d->rx) && d->out_shut &&
	       d->tx.ended && d->tx.top == d->tx.end;
}

static void on_deadline(struct timer *t, uint64_t now)
{
	struct data_conn *d = container_of(t, struct data_conn, deadline);

	(void)now;
	enter(d);
	if (d->state == DATA_ENDED)
		d->ops->on_end(d, &d->end, d->arg);
	else if (clean_here(d))
		data_conn_finish_clean(d);
	else if (d->state == DATA_DETACHED)
		data_conn_end(
			d, &(struct data_end){
				   .reason = WIRE_R_TIMEOUT,
				   .lost = true,
				   .text = "its connection was lost and did not come back in time; bytes may be missing" });
	else
		data_conn_end(d, &(struct data_end){
					 .reason = WIRE_R_TIMEOUT,
					 .text = "no connection to the agent was ready in time" });
	leave(d);
}

struct data_conn *data_conn_free(struct data_conn *d)
{
	if (!d || d->freed)
		return NULL;
	if (d->state != DATA_ENDED)
		data_conn_end(d, &(struct data_end){ .reason = WIRE_R_KICKED });
	timer_stop(&d->deadline);
	list_unlink(&d->node);
	htable_remove(&d->host->streams, &d->by_stream);
	d->freed = true;
	if (!d->depth)
		free(d);
	return NULL;
}

void data_conn_kill(struct data_conn *d, enum wire_reason reason, const char *text)
{
	data_conn_end(d, &(struct data_end){ .reason = reason, .text = text });
}

/* ---- carriers ---- */

void data_conn_lost(struct data_conn *d, const char *why)
{
	bool said = d->carrier && d->carrier->done_sent;

	(void)why;
	d->carrier = NULL;
	if (d->state == DATA_ENDED)
		return;
	enter(d);
	data_pump_flush(d); /* what came last is in a buffer of the read */
	if (said) {
		data_conn_finish_clean(d);
	} else if (d->state != DATA_ENDED) {
		if (d->state != DATA_DETACHED) { /* else the time that it has runs on */
			d->host->n_detached++;
			loop_timer_set(d->host->loop, &d->deadline, d->host->resume_ms);
		}
		d->state = DATA_DETACHED;
		d->carrier_peer = d->carrier_local = (struct addr){ 0 };
		data_pump_watch(d);
		d->host->ops->lost(d);
	}
	leave(d);
}

int data_conn_go_on(struct data_conn *d, uint64_t received)
{
	int r = replay_tx_resume(&d->tx, received);

	if (r < 0)
		return r;
	d->hold = false;
	d->heard = true;
	timer_stop(&d->deadline);
	if (d->state == DATA_DETACHED) {
		d->host->n_detached--;
		d->state = DATA_OPEN;
	}
	d->resumed++;
	set_state(d);
	if (!d->host->server && d->opened_known)
		(void)frame_conn_send(d->carrier->conn, WIRE_OPENED, &d->opened); /* may have been lost */
	if (d->open.kind == WIRE_JOB_TCP) { /* an ACK that was lost is said again */
		const struct wire_ack a = replay_rx_ack(&d->rx);

		(void)frame_conn_send(d->carrier->conn, WIRE_ACK, &a);
	}
	data_pump_out(d);
	data_pump_in(d);
	return 0;
}

/* ---- frames ---- */

static int on_opened(struct data_conn *d, const struct wire_opened *o)
{
	if (!d->host->server)
		return -EPROTO;
	if (d->opened_known)
		return 0; /* said again after a carrier was lost */
	d->opened = *o;
	d->opened_known = true;
	set_state(d);
	if (d->ops->on_opened)
		d->ops->on_opened(d, &d->opened, d->arg);
	return 0;
}

static int on_reset(struct data_conn *d, const struct wire_ended *m)
{
	char text[160];

	if (m->stream != d->open.stream)
		return 0; /* of the one before on this carrier */
	if ((m->reason == WIRE_R_UNKNOWN_STREAM && clean_here(d)) ||
	    (m->reason == WIRE_R_NONE && d->open.kind == WIRE_JOB_UDP)) {
		data_conn_finish_clean(d);
		return 0;
	}
	wire_text_copy(text, sizeof(text), m->text);
	data_conn_end(d, &(struct data_end){ .reason = m->reason,
					     .by_peer = true,
					     .text = text,
					     .lost = m->reason == WIRE_R_UNKNOWN_STREAM });
	return 0;
}

static int on_ack(struct data_conn *d, const struct wire_ack *a)
{
	int r = replay_tx_ack(&d->tx, a);

	if (r < 0)
		return r;
	if (d->hold && d->host->server)
		d->hold = false; /* it is new over there: the second OPEN was the first to arrive */
	data_pump_out(d);
	data_pump_in(d);
	data_pump_check_done(d);
	return 0;
}

static int on_fin(struct data_conn *d, uint64_t end)
{
	int r = replay_rx_fin(&d->rx, end);

	set_state(d);
	return r;
}

/* The answer to RESUME; or, to a second OPEN, that the first one did arrive. */
static int on_resume(struct data_conn *d, const struct wire_got *g)
{
	bool answer = g->type == WIRE_RESUMED;
	const struct wire_resume reply = { d->open.stream, d->rx.received };

	if (answer == d->host->server || !d->hold || g->m.resume.stream != d->open.stream)
		return -EPROTO;
	if (!answer && frame_conn_send(d->carrier->conn, WIRE_RESUMED, &reply) < 0)
		return -EPROTO;
	return data_conn_go_on(d, g->m.resume.received);
}

static int tcp_frame(struct data_conn *d, const struct wire_got *g)
{
	switch (g->type) {
	case WIRE_DATA: return data_pump_data(d, &g->m.data.bytes);
	case WIRE_ACK: return on_ack(d, &g->m.ack);
	case WIRE_FIN: return on_fin(d, g->m.fin.end);
	default: return -EPROTO;
	}
}

/* The agent says with an ACK that OPEN has arrived. */
static int udp_frame(struct data_conn *d, const struct wire_got *g)
{
	if (g->type != WIRE_ACK)
		return -EPROTO;
	if (d->host->server)
		d->hold = false;
	data_pump_out(d);
	return 0;
}

int data_conn_frame(struct data_conn *d, const struct wire_got *g)
{
	int r;

	enter(d);
	d->heard = true;
	switch (g->type) {
	case WIRE_OPENED: r = on_opened(d, &g->m.opened); break;
	case WIRE_RESET: r = on_reset(d, &g->m.ended); break;
	case WIRE_RESUME:
	case WIRE_RESUMED: r = on_resume(d, g); break;
	case WIRE_DATAGRAM:
		r = d->open.kind == WIRE_JOB_UDP ? data_flow_heard(d, &g->m.data.bytes) : -EPROTO;
		break;
	default: r = d->open.kind == WIRE_JOB_TCP ? tcp_frame(d, g) : udp_frame(d, g);
	}
	leave(d);
	return r;
}

void data_conn_batch(struct data_conn *d)
{
	enter(d);
	if (d->state != DATA_ENDED)
		data_pump_flush(d);
	leave(d);
}

void data_conn_writable(struct data_conn *d)
{
	enter(d);
	data_pump_out(d);
	data_pump_in(d);
	leave(d);
}

/* ---- its beginning ---- */

static void on_local(struct io *io, int events)
{
	struct data_conn *d = container_of(io, struct data_conn, io);

	enter(d);
	if (events & IO_WRITE)
		data_pump_flush(d);
	if (events & IO_READ && d->state != DATA_ENDED) {
		if (d->open.kind == WIRE_JOB_UDP)
			data_flow_readable(d);
		else
			data_pump_in(d);
	}
	leave(d);
}

int data_conn_set_fd(struct data_conn *d, int fd)
{
	int r = io_start(&d->io, d->host->loop, fd, 0, on_local);

	if (r < 0) {
		close(fd);
		return r;
	}
	d->fd = fd;
	set_state(d);
	enter(d);
	if (d->open.kind == WIRE_JOB_TCP)
		data_pump_flush(d);
	else if (!d->host->server)
		data_flow_flush(d);
	data_pump_watch(d);
	leave(d);
	return 0;
}

/* The server counts streams up: any mixing does, and an agent bounds what a false server may open. */
static uint64_t hash_of(uint64_t stream)
{
	uint64_t x = stream * 0x9e3779b97f4a7c15;

	return x ^ x >> 32;
}

static bool has_number(const struct hnode *n, const void *key)
{
	return container_of(n, struct data_conn, by_stream)->open.stream == *(const uint64_t *)key;
}

struct data_conn *data_conn_find(const struct data_host *h, uint64_t stream)
{
	struct hnode *n = htable_find(&h->streams, hash_of(stream), has_number, &stream);

	return n ? container_of(n, struct data_conn, by_stream) : NULL;
}

int data_conn_new(struct data_host *h, const struct wire_open *o, int fd, struct data_conn **ret_d)
{
	struct data_conn *d = calloc(1, sizeof(*d));
	int r;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return -ENOMEM;
	}
	*d = (struct data_conn){ .host = h,
				 .open = *o,
				 .fd = -1,
				 .plain_fd = -1,
				 .begun_ms = loop_now(h->loop),
				 .touched_ms = loop_now(h->loop),
				 .in = h->server ? DATA_UP : DATA_DOWN,
				 .out = h->server ? DATA_DOWN : DATA_UP };
	d->open.source_name = (struct text){ 0 };
	d->deadline.fire = on_deadline;
	data_pump_init(d);
	list_append(&h->conns, &d->node);
	h->n_conns++;
	r = htable_insert(&h->streams, &d->by_stream, hash_of(o->stream));
	if (r < 0 && fd >= 0)
		close(fd);
	else if (fd >= 0)
		r = data_conn_set_fd(d, fd);
	if (r < 0) {
		h->n_conns--;
		list_unlink(&d->node);
		htable_remove(&h->streams, &d->by_stream);
		free(d);
		return r;
	}
	*ret_d = d;
	return 0;
}

/* ---- the owner's view ---- */

void data_conn_tick(struct data_conn *d, uint64_t now)
{
	enter(d);
	data_plain_count(d);
	for (unsigned w = 0; w < 2; w++) {
		d->rate[w] = d->bytes[w] - d->rate_bytes[w];
		d->rate_bytes[w] = d->bytes[w];
	}
	if (d->host->server && d->carrier && !d->heard && d->host->ops->silent &&
	    now - d->begun_ms > MAX((uint64_t)DATA_OPEN_PATIENCE_MS, (uint64_t)d->host->rtt_us / 250))
		d->host->ops->silent(d);
	leave(d);
}

void data_conn_info(const struct data_conn *d, struct data_info *ret_i)
{
	uint64_t now = loop_now(d->host->loop);

	*ret_i = (struct data_info){
		.stream = d->open.stream,
		.job = d->open.job,
		.offset = d->open.offset,
		.kind = d->open.kind,
		.state = d->state,
		.bytes = { d->bytes[0], d->bytes[1] },
		.rate = { d->rate[0], d->rate[1] },
		.datagrams = { d->datagrams[0], d->datagrams[1] },
		.datagrams_dropped = d->dropped,
		.resumed = d->resumed,
		.age_ms = now - d->begun_ms,
		.quiet_ms = now - d->touched_ms,
		.source = d->open.source,
		.server = d->open.server,
		.target = d->opened.target,
		.local = d->opened.local,
		.carrier_peer = d->carrier_peer,
		.carrier_local = d->carrier_local,
	};
	ret_i->plain = d->plain;
	if (d->joint) {
		struct joint_info j;

		joint_info(d->joint, &j);
		memcpy(ret_i->bytes, j.bytes, sizeof(ret_i->bytes));
		memcpy(ret_i->rate, j.rate, sizeof(ret_i->rate));
		ret_i->held[0] = j.held[0];
		ret_i->held[1] = j.held[1];
		return;
	}
	ret_i->held[d->in] = replay_tx_held(&d->tx);
	ret_i->held[d->out] = d->held.n;
}

uint64_t data_conn_stream(const struct data_conn *d)
{
	return d->open.stream;
}

void data_conn_tap(struct data_conn *d, bool on)
{
	d->tapped = on;
	data_plain_watch(d);
}

void data_conn_limit(struct data_conn *d, bool on)
{
	d->limited = on;
	data_plain_watch(d);
}
