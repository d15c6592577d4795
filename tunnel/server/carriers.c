/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link's carriers at the server: those that are ready, those that come to resume, and the data
 * connections that begin on them. A data connection that finds none ready waits for the next one, and
 * the agent is asked for more at once.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "tunnel/log_msgs.h"
#include "tunnel/server/server_priv.h"

enum { WAIT_MS = 10 * 1000 };

static struct tunnel_link *link_of(const struct data_host *h)
{
	return h->owner;
}

/* ---- how many are wanted ---- */

static void close_surplus(struct tunnel_link *l, uint64_t now)
{
	unsigned n = pool_surplus(&l->pool, now, l->host.n_idle, l->n_waiting);

	while (n-- && !list_empty(&l->host.idle)) {
		carrier_free(list_entry(l->host.idle.next, struct carrier, node));
		worker_count_carriers(l->worker, -1);
	}
}

/* A PING of theirs does not count. */
void link_close_silent(struct tunnel_link *l, uint64_t now)
{
	list_for_each_safe (it, &l->hello) {
		struct carrier *c = list_entry(it, struct carrier, node);

		if (now > c->since + l->worker->server->o.hello_ms)
			frame_conn_give_up(c->conn, "it did not say what it resumes");
	}
}

static void tell_pool(struct tunnel_link *l, uint64_t now)
{
	unsigned wanted = pool_wanted(&l->pool, now, l->n_waiting), plain = link_plain_wanted(l, now);
	const struct wire_pool m = { .tls = (uint16_t)MIN(wanted, (unsigned)CARRIERS_MAX),
				     .plain = (uint16_t)MIN(plain, (unsigned)CARRIERS_MAX) };

	if (!l->control || (wanted == l->told_pool && plain == l->told_plain) ||
	    frame_conn_send(l->control, WIRE_POOL, &m) < 0)
		return;
	if (wanted > l->host.n_idle && !l->pool_asked)
		l->pool_asked = now;
	l->told_pool = wanted;
	l->told_plain = plain;
}

void link_pool(struct tunnel_link *l)
{
	uint64_t now = loop_now(l->worker->loop);

	tell_pool(l, now);
	close_surplus(l, now);
}

void link_close_carriers(struct tunnel_link *l)
{
	link_close_plain(l);
	while (!list_empty(&l->hello)) {
		l->n_hello--;
		worker_count_carriers(l->worker, -1);
		carrier_free(list_entry(l->hello.next, struct carrier, node));
	}
	worker_count_carriers(l->worker, -(int64_t)(l->host.n_idle + l->host.n_busy));
	data_host_close_carriers(&l->host);
}

/* ---- data connections on carriers ---- */

static void stop_waiting(struct tunnel_link *l, struct data_conn *d)
{
	if (!d->queued)
		return;
	d->queued = false;
	l->n_waiting--;
	timer_stop(&d->deadline);
}

/* name: of the source, if it is known. Again: the agent may have the data connection already, and says so. */
static void open_on(struct carrier *c, struct data_conn *d, struct text name, bool again)
{
	struct wire_open m = d->open;

	m.source_name = name;
	stop_waiting(link_of(d->host), d);
	carrier_attach(c, d);
	d->hold = again;
	if (frame_conn_send(c->conn, WIRE_OPEN, &m) == -EINVAL) {
		m.source_name = (struct text){ 0 };
		(void)frame_conn_send(c->conn, WIRE_OPEN, &m);
	}
	d->state = DATA_OPENING;
	data_pump_in(d);
	data_pump_out(d);
}

static struct data_conn *first_waiting(struct tunnel_link *l)
{
	list_for_each (it, &l->host.conns) {
		struct data_conn *d = list_entry(it, struct data_conn, node);

		if (d->queued && d->state != DATA_ENDED)
			return d;
	}
	return NULL;
}

static void on_idle(struct carrier *c)
{
	struct tunnel_link *l = link_of(c->host);
	uint64_t now = loop_now(l->worker->loop);
	struct data_conn *d;

	if (l->pool_asked && l->host.n_idle >= l->told_pool) {
		pool_arrived(&l->pool, (uint32_t)MIN(now - l->pool_asked, (uint64_t)60000));
		l->pool_asked = 0;
	}
	d = l->n_waiting ? first_waiting(l) : NULL;
	if (!d)
		return;
	open_on(c, d, (struct text){ 0 }, d->again_open);
	tell_pool(l, now); /* one fewer waits */
}

/* The one that was heard of last is the likeliest to live; one that has not answered a PING is none. */
static struct carrier *ready_carrier(struct tunnel_link *l)
{
	for (struct list *it = l->host.idle.prev; it != &l->host.idle; it = it->prev) {
		struct carrier *c = list_entry(it, struct carrier, node);

		if (!carrier_doubted(c))
			return c;
	}
	return NULL;
}

static void open_sealed(struct tunnel_link *l, struct data_conn *d, struct text source_name)
{
	struct carrier *c = ready_carrier(l);

	pool_opened(&l->pool, loop_now(l->worker->loop));
	if (c) {
		open_on(c, d, source_name, false);
		return;
	}
	d->queued = true;
	l->n_waiting++;
	loop_timer_set(l->worker->loop, &d->deadline, WAIT_MS);
	data_pump_watch(d);
}

int tunnel_stream_open(struct tunnel_link *l, const struct tunnel_open *o, struct data_conn **ret_d)
{
	struct tunnel_worker *w = l->worker;
	const struct wire_open m = { .stream = worker_next_id(w),
				     .job = o->job,
				     .share = o->share,
				     .offset = o->offset,
				     .kind = o->kind,
				     .source = o->source,
				     .server = o->server };
	bool plain = o->plain && o->kind == WIRE_JOB_TCP && w->allow_plain;
	struct data_conn *d;
	int r = l->over ? -ENOTCONN : 0;

	if (l->n_waiting + l->n_plain_waiting >= WAITING_MAX)
		r = -EUSERS;
	if (r < 0) {
		if (o->fd >= 0)
			close(o->fd);
		return r;
	}
	r = data_conn_new(&l->host, &m, plain ? -1 : o->fd, &d);
	if (r < 0) {
		if (plain)
			close(o->fd);
		return r;
	}
	d->ops = o->ops;
	d->arg = o->arg;
	d->plain = plain;
	worker_count(w, TUNNEL_M_STREAMS, 0, 1);
	worker_count(w, TUNNEL_M_OPENED, 0, 1);
	if (o->begun)
		o->begun(d, o->arg);
	if (plain) {
		d->plain_fd = o->fd;
		link_open_plain(l, d);
	} else {
		open_sealed(l, d, o->source_name);
	}
	link_pool(l);
	*ret_d = d;
	return 0;
}

/* ---- carriers that are lost ---- */

/* Who is known to the agent waits for its RESUME; it is told, for it may not have noticed.
 *
 * Otherwise the agent has not been heard of on this carrier: it may never have got OPEN. So OPEN is said again on another carrier, and
 * nothing is sent behind it before the agent has told which of both came first. */
static void on_lost(struct data_conn *d)
{
	struct tunnel_link *l = link_of(d->host);
	struct carrier *c;

	if (d->heard && l->control && !l->over)
		(void)frame_conn_send(l->control, WIRE_DETACHED,
				      &(struct wire_detached){ d->open.stream });
	if (d->heard || l->over || replay_tx_resume(&d->tx, 0) < 0)
		return;
	d->host->n_detached--;
	timer_stop(&d->deadline);
	d->state = DATA_WAITING;
	d->again_open = true;
	c = ready_carrier(l);
	if (c) {
		open_on(c, d, (struct text){ 0 }, true);
		return;
	}
	d->queued = true;
	l->n_waiting++;
	loop_timer_set(l->worker->loop, &d->deadline, WAIT_MS);
	link_pool(l);
}

static void on_silent(struct data_conn *d)
{
	struct carrier *c = d->carrier;

	data_host_probe(d->host); /* the others that are idle may be as dead */
	frame_conn_give_up(c->conn, "no sign of the agent since OPEN");
}

static void on_gone(struct carrier *c, int err, const char *why)
{
	struct tunnel_link *l = link_of(c->host);

	(void)err;
	(void)why;
	if (c->state == CARRIER_HELLO)
		l->n_hello--;
	worker_count_carriers(l->worker, -1);
}

/* ---- RESUME ---- */

struct data_conn *tunnel_stream_find(struct tunnel_link *l, uint64_t stream)
{
	return data_conn_find(&l->host, stream);
}

static void unknown_stream(struct carrier *c, uint64_t stream)
{
	const struct wire_ended m = { .stream = stream, .reason = WIRE_R_UNKNOWN_STREAM };

	(void)frame_conn_send(c->conn, WIRE_RESET, &m);
	carrier_release(c); /* idle when the agent has said DONE, too */
}

/* The agent has noticed before we did. */
static void drop_old_carrier(struct data_conn *d)
{
	struct carrier *old = d->carrier;

	if (!old)
		return;
	old->data = NULL;
	d->carrier = NULL;
	worker_count_carriers(link_of(d->host)->worker, -1);
	carrier_free(old);
}

static int on_resume(struct carrier *c, const struct wire_resume *m)
{
	struct tunnel_link *l = link_of(c->host);
	struct data_conn *d = tunnel_stream_find(l, m->stream);
	struct wire_resume answer = { .stream = m->stream };

	if (!d || d->plain || d->state == DATA_ENDED) {
		unknown_stream(c, m->stream);
		return 0;
	}
	drop_old_carrier(d);
	stop_waiting(l, d);
	carrier_attach(c, d);
	answer.received = d->rx.received;
	(void)frame_conn_send(c->conn, WIRE_RESUMED, &answer);
	worker_count(l->worker, TUNNEL_M_RESUMED, 0, 1);
	if (data_conn_go_on(d, m->received) < 0)
		data_conn_end(d, &(struct data_end){ .reason = WIRE_R_ERROR,
						     .lost = true,
						     .text = "the agent resumes where it cannot be" });
	return 0;
}

static int on_frame(struct carrier *c, const struct wire_got *g)
{
	struct tunnel_link *l = link_of(c->host);

	if (g->type != WIRE_RESUME || c->state != CARRIER_HELLO)
		return -EPROTO;
	list_unlink(&c->node);
	l->n_hello--;
	return on_resume(c, &g->m.resume);
}

/* One that has not answered a PING may be dead, and is no reason to refuse the one that comes in its place. */
static unsigned n_sound(const struct tunnel_link *l)
{
	unsigned n = 0;

	list_for_each (it, &l->host.idle)
		n += !carrier_doubted(list_entry(it, struct carrier, node));
	return n;
}

bool link_has_room(const struct tunnel_link *l, uint8_t purpose)
{
	if (l->host.n_idle + l->host.n_busy >= CARRIERS_MAX)
		return false;
	if (purpose == WIRE_PURPOSE_RESUME)
		return l->n_hello < HELLO_CARRIERS_MAX;
	return n_sound(l) < MIN(l->told_pool + READY_MARGIN, (unsigned)READY_MAX);
}

int link_add_carrier(struct tunnel_link *l, struct frame_conn *fc, uint8_t purpose)
{
	struct carrier *c;
	int r;

	r = carrier_new(&l->host, fc, &c);
	if (r < 0)
		return r;
	worker_count_carriers(l->worker, 1);
	if (purpose == WIRE_PURPOSE_RESUME) {
		frame_conn_set_where(fc, WIRE_IN_CARRIER);
		list_append(&l->hello, &c->node);
		l->n_hello++;
	} else {
		carrier_ready(c);
	}
	return 0;
}

static void on_ended(struct data_conn *d)
{
	struct tunnel_link *l = link_of(d->host);

	if (d->queued) {
		d->queued = false;
		l->n_waiting--;
	}
	if (d->queued_plain) {
		d->queued_plain = false;
		l->n_plain_waiting--;
	}
	worker_count(l->worker, TUNNEL_M_STREAMS, 0, -1);
	worker_count(l->worker, TUNNEL_M_ENDED,
		     d->end.lost		    ? TUNNEL_E_LOST
		     : d->end.reason == WIRE_R_NONE ? TUNNEL_E_CLEAN
						    : TUNNEL_E_RESET,
		     1);
	if (d->end.lost)
		log_emit(&MSG_TUNNEL_STREAM_LOST, LF_STR("agent", l->i.name),
			 LF_ADDR("source", &d->open.source), LF_U64("connection", d->open.stream),
			 LF_U64("held", replay_tx_held(&d->tx)), LF_STR("reason", d->end.text));
}

const struct data_host_ops server_host_ops = {
	.carrier_frame = on_frame,
	.carrier_idle = on_idle,
	.carrier_gone = on_gone,
	.lost = on_lost,
	.silent = on_silent,
	.ended = on_ended,
};
