/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carriers: one data connection after the other over one TLS connection. A carrier is idle again when DONE was said both
 * ways; after a RESET what is still under way is read and forgotten until then. Who sends DONE says that nothing of
 * this data connection follows.
 *
 * Keep-alive: a carrier on which nothing is under way is pinged by the agent, as seldom as the NAT tolerates; one on which
 * something is, by who waits for an answer, when nothing was heard for some seconds.
 */
#include <errno.h>
#include "common/clock.h"
#include "tunnel/link/data_priv.h"

static uint32_t cheap_random(void) /* spreads pings; no secret */
{
	return (uint32_t)clock_steady_us() * 2654435761u >> 8;
}

static void enter_list(struct carrier *c, enum carrier_state s)
{
	struct data_host *h = c->host;

	if (c->state == CARRIER_IDLE)
		h->n_idle--;
	else if (c->state != CARRIER_HELLO)
		h->n_busy--;
	list_unlink(&c->node);
	c->state = s;
	if (s == CARRIER_IDLE) {
		list_append(&h->idle, &c->node);
		h->n_idle++;
	} else if (s != CARRIER_HELLO) {
		list_append(&h->busy, &c->node);
		h->n_busy++;
	}
}

static void become_idle(struct carrier *c)
{
	c->data = NULL;
	c->done_sent = c->done_heard = false;
	c->reserved = false;
	enter_list(c, CARRIER_IDLE);
	c->host->ops->carrier_idle(c);
}

/* ---- frames ---- */

static int on_ping(struct carrier *c, const struct wire_got *g)
{
	if (g->type == WIRE_PING)
		(void)frame_conn_send(c->conn, WIRE_PONG, &g->m.ping);
	else if (!keepalive_answered(&c->keep, g->m.ping.cookie, clock_steady_us()))
		return -EPROTO;
	return 0;
}

static int on_done(struct carrier *c)
{
	if (c->done_heard || (c->state != CARRIER_BUSY && c->state != CARRIER_EMPTYING))
		return -EPROTO;
	c->done_heard = true;
	if (c->state == CARRIER_BUSY) {
		data_pump_check_done(c->data);
		return 0;
	}
	if (c->done_sent)
		become_idle(c);
	return 0;
}

/* What is under way of a data connection that is over here. */
static int on_leftover(const struct wire_got *g)
{
	switch (g->type) {
	case WIRE_OPENED:
	case WIRE_DATA:
	case WIRE_ACK:
	case WIRE_FIN:
	case WIRE_RESET:
	case WIRE_DATAGRAM:
	case WIRE_RESUMED:
	case WIRE_RESUME: return 0;
	default: return -EPROTO;
	}
}

static int on_frame(struct frame_conn *fc, const struct wire_got *g, void *arg)
{
	struct carrier *c = arg;
	bool doubted = carrier_doubted(c);

	(void)fc;
	if (c->keep.asked && c->state == CARRIER_IDLE)
		nat_life_survived(&c->host->nat, c->keep.silence);
	keepalive_heard(&c->keep, loop_now(c->host->loop));
	if (g->type == WIRE_PING || g->type == WIRE_PONG) {
		int r = on_ping(c, g);

		if (r == 0 && doubted && c->state == CARRIER_IDLE)
			c->host->ops->carrier_idle(c); /* it lives, and may be used again */
		return r;
	}
	if (g->type == WIRE_DONE)
		return on_done(c);
	if (c->state == CARRIER_EMPTYING)
		return on_leftover(g);
	if (c->state == CARRIER_BUSY)
		return data_conn_frame(c->data, g);
	if (g->type == WIRE_RESET && c->state == CARRIER_IDLE)
		return 0; /* of the one before: its end crossed with ours */
	return c->host->ops->carrier_frame(c, g);
}

static void on_batch(struct frame_conn *fc, void *arg)
{
	struct carrier *c = arg;

	(void)fc;
	if (c->data)
		data_conn_batch(c->data);
}

static void on_writable(struct frame_conn *fc, void *arg)
{
	struct carrier *c = arg;

	(void)fc;
	if (c->data)
		data_conn_writable(c->data);
}

static void on_closed(struct frame_conn *fc, int err, const char *why, void *arg)
{
	struct carrier *c = arg;
	struct data_conn *d = c->data;

	(void)fc;
	if (c->state == CARRIER_IDLE && err == ETIMEDOUT)
		nat_life_lost(&c->host->nat, c->keep.silence);
	c->data = NULL;
	if (d && d->carrier == c)
		data_conn_lost(d, why);
	c->host->ops->carrier_gone(c, err, why);
	carrier_free(c);
}

static const struct frame_conn_ops ops = {
	.frame = on_frame,
	.batch = on_batch,
	.writable = on_writable,
	.closed = on_closed,
};

/* ---- its life ---- */

int carrier_new(struct data_host *h, struct frame_conn *conn, struct carrier **ret_c)
{
	struct carrier *c = calloc(1, sizeof(*c));

	if (!c) {
		frame_conn_free(conn);
		return -ENOMEM;
	}
	c->host = h;
	c->conn = conn;
	list_init(&c->node);
	c->since = loop_now(h->loop);
	keepalive_init(&c->keep, loop_now(h->loop), h->nat.try_ms, cheap_random());
	frame_conn_set_owner(conn, &ops, c);
	*ret_c = c;
	return 0;
}

struct carrier *carrier_free(struct carrier *c)
{
	struct data_conn *d;

	if (!c)
		return NULL;
	d = steal_ptr(&c->data);
	enter_list(c, CARRIER_HELLO);
	c->conn = frame_conn_free(c->conn);
	if (d && d->carrier == c)
		data_conn_lost(d, "closed");
	free(c);
	return NULL;
}

void carrier_ready(struct carrier *c)
{
	frame_conn_set_where(c->conn, WIRE_IN_CARRIER);
	become_idle(c);
}

void carrier_attach(struct carrier *c, struct data_conn *d)
{
	c->data = d;
	c->done_sent = c->done_heard = false;
	d->carrier = c;
	frame_conn_addresses(c->conn, &d->carrier_peer, &d->carrier_local);
	enter_list(c, CARRIER_BUSY);
}

void carrier_done(struct carrier *c)
{
	if (c->done_sent)
		return;
	c->done_sent = true;
	(void)frame_conn_send(c->conn, WIRE_DONE, &(struct wire_nothing){ 0 });
}

void carrier_release(struct carrier *c)
{
	if (c->data)
		c->data->carrier = NULL;
	c->data = NULL;
	carrier_done(c);
	if (c->done_heard)
		become_idle(c);
	else
		enter_list(c, CARRIER_EMPTYING);
}

static void ping(struct carrier *c, uint64_t now)
{
	struct wire_ping p = { keepalive_asked(&c->keep, now, clock_steady_us(), cheap_random()) };

	(void)frame_conn_send(c->conn, WIRE_PING, &p);
}

/* Something of ours is under way: the other end has to be heard of within seconds. */
static bool waits_for_peer(const struct carrier *c)
{
	return c->data && (c->data->hold || !c->data->heard || replay_tx_held(&c->data->tx) > 0);
}

/* A carrier on which nothing is under way, idle or not, is pinged as seldom as the NAT tolerates. */
static void follow_need(struct carrier *c)
{
	uint32_t wanted = waits_for_peer(c) ? (uint32_t)DATA_BUSY_KEEPALIVE_MS : c->host->nat.try_ms;

	if (c->keep.interval_ms != wanted)
		keepalive_set_interval(&c->keep, wanted, cheap_random());
}

void carrier_tick(struct carrier *c, uint64_t now)
{
	if (c->host->rtt_us && !c->keep.rtt_us)
		c->keep.rtt_us = c->host->rtt_us;
	if (frame_conn_heard(c->conn) > c->keep.heard)
		keepalive_heard(&c->keep, frame_conn_heard(c->conn)); /* part of a frame is a sign of life, too */
	follow_need(c);
	if (!waits_for_peer(c) && c->host->server && !c->keep.asked)
		return; /* the agent asks, and knows what its NAT tolerates */
	switch (keepalive_due(&c->keep, now)) {
	case KEEPALIVE_PING: ping(c, now); break;
	case KEEPALIVE_DEAD:
		frame_conn_give_up(c->conn, "the other side does not answer any more");
		break;
	case KEEPALIVE_WELL: break;
	}
}

/* ---- hosts ---- */

static void on_tick(struct timer *t, uint64_t now)
{
	struct data_host *h = container_of(t, struct data_host, tick);

	list_for_each (it, &h->idle)
		carrier_tick(list_entry(it, struct carrier, node), now);
	list_for_each (it, &h->busy)
		carrier_tick(list_entry(it, struct carrier, node), now);
	list_for_each_safe (it, &h->conns)
		data_conn_tick(list_entry(it, struct data_conn, node), now);
	loop_timer_set(h->loop, &h->tick, DATA_TICK_MS);
}

void data_host_init(struct data_host *h, struct loop *l, const struct data_host_ops *host_ops,
		    void *owner, struct chunk_pool *chunks)
{
	*h = (struct data_host){ .loop = l, .ops = host_ops, .owner = owner, .chunks = chunks };
	list_init(&h->idle);
	list_init(&h->busy);
	list_init(&h->conns);
	htable_init(&h->streams);
	nat_life_init(&h->nat);
	h->tick.fire = on_tick;
	loop_timer_set(l, &h->tick, DATA_TICK_MS);
}

void data_host_close_carriers(struct data_host *h)
{
	while (!list_empty(&h->idle))
		carrier_free(list_entry(h->idle.next, struct carrier, node));
	while (!list_empty(&h->busy))
		carrier_free(list_entry(h->busy.next, struct carrier, node));
}

void data_host_end_all(struct data_host *h, enum wire_reason reason, const char *text)
{
	list_for_each_safe (it, &h->conns)
		data_conn_end(list_entry(it, struct data_conn, node),
			      &(struct data_end){ .reason = reason, .text = text, .lost = reason == WIRE_R_SESSION });
}

static void probe(struct carrier *c, uint64_t now)
{
	if (frame_conn_uprooted(c->conn))
		frame_conn_give_up(c->conn, "the network has changed: its address is gone");
	else
		ping(c, now);
}

void data_host_probe(struct data_host *h)
{
	uint64_t now = loop_now(h->loop);

	list_for_each (it, &h->idle)
		probe(list_entry(it, struct carrier, node), now);
	list_for_each (it, &h->busy)
		probe(list_entry(it, struct carrier, node), now);
}

void data_host_deinit(struct data_host *h)
{
	timer_stop(&h->tick);
	while (!list_empty(&h->conns))
		data_conn_free(list_entry(h->conns.next, struct data_conn, node));
	htable_deinit(&h->streams);
	data_host_close_carriers(h);
	h->joints = joint_pool_free(h->joints);
}
