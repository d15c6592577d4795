/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link's life and its bytes: paths come and go, packets cross between them and QUIC, and what is known is told. Which path
 * is used, and when another one is: peer_moves.c.
 *
 * During the handshake QUIC knows one path only, number 1, and we decide which of ours that is: the visitor goes round until
 * one answers, the host answers where it was spoken to. From then on each path has a number of its own. The host is there first; if
 * the visitor cannot hear of it any more on that path, it still goes round, and the host goes along (peer_follow).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/clock.h"
#include "tunnel/direct/peer_priv.h"

enum { BATCHES = 16, BLOCKED_MAX_MS = 250, K_FIRST = 2 };

const unsigned peer_link_gap_ms[PEER_LINK_GAPS - 1] = { 10, 30, 100, 300, 600, 900, 2000 };

void peer_changed(struct peer_link *l)
{
	if (!l->down_told)
		l->o.ops->changed(l, l->o.ops->arg);
}

void peer_dirty(struct peer_link *l)
{
	l->o.ops->dirty(l, l->o.ops->arg);
}

void peer_fell(struct peer_link *l, const char *why)
{
	if (l->state == PEER_LINK_DOWN)
		return;
	l->state = PEER_LINK_DOWN;
	(void)snprintf(l->why, sizeof(l->why), "%s", why);
	peer_dirty(l); /* the owner's next tick tells it */
}

/* ---- paths ---- */

struct link_path *peer_path_of(struct peer_link *l, const struct path *p)
{
	struct link_path *lp = &l->paths[p->slot];

	return p->slot < PEER_LINK_PATHS && lp->p == p ? lp : NULL;
}

struct link_path *peer_path_numbered(struct peer_link *l, unsigned k)
{
	if (!l->bound && k == PEER_HANDSHAKE_K)
		return l->hs;
	for (unsigned i = 0; i < PEER_LINK_PATHS; i++)
		if (l->paths[i].p && l->paths[i].k == k)
			return &l->paths[i];
	return NULL;
}

struct link_path *peer_active(struct peer_link *l)
{
	return l->q ? peer_path_numbered(l, quic_conn_path(l->q)) : NULL;
}

void peer_path_remove(struct peer_link *l, struct link_path *lp)
{
	bool active = lp == peer_active(l);
	enum path_kind kind = lp->p->kind;

	if (l->blocked == lp) {
		l->blocked = NULL;
		l->batch_n = 0;
	}
	if (l->hs == lp)
		l->hs = NULL;
	lp->p = path_free(lp->p);
	lp->k = 0;
	peer_path_gone(l, active, kind);
}

static unsigned free_number(struct peer_link *l)
{
	unsigned k;

	do {
		k = l->next_k;
		l->next_k = l->next_k == QUIC_PATHS ? K_FIRST : l->next_k + 1;
	} while (peer_path_numbered(l, k) || k == l->active_k);
	return k;
}

static void on_arrived(struct path *p, uint8_t *data, size_t n, size_t segment, void *arg);
static void on_writable(struct path *p, void *arg);
static void on_path_state(struct path *p, void *arg);
static const struct path_sink sink = { .arrived = on_arrived, .writable = on_writable, .state = on_path_state };

int peer_link_add_path(struct peer_link *l, struct path *p)
{
	struct link_path *lp = NULL;
	uint64_t now = peer_now(l);

	for (unsigned i = 0; i < PEER_LINK_PATHS && !lp; i++)
		if (!l->paths[i].p)
			lp = &l->paths[i];
	if (!lp || l->state == PEER_LINK_DOWN) {
		path_free(p);
		return -EUSERS;
	}
	*lp = (struct link_path){ .p = p, .k = free_number(l), .added = now, .ask_at = now };
	p->slot = (uint8_t)(lp - l->paths);
	path_own(p, &sink, l);
	if (path_rank(p->kind))
		l->want_relay_wait = 0;
	peer_start(l, now);
	peer_changed(l);
	peer_dirty(l);
	return 0;
}

void peer_link_drop_paths(struct peer_link *l, unsigned tag)
{
	for (unsigned i = 0; i < PEER_LINK_PATHS; i++)
		if (l->paths[i].p && l->paths[i].p->tag == tag)
			peer_path_remove(l, &l->paths[i]);
	peer_dirty(l);
}

void peer_link_why(struct peer_link *l, const char *why)
{
	if (strcmp(l->no_direct, why) == 0)
		return;
	(void)snprintf(l->no_direct, sizeof(l->no_direct), "%s", why);
	peer_changed(l);
}

static void on_path_state(struct path *p, void *arg)
{
	struct peer_link *l = arg;
	struct link_path *lp = peer_path_of(l, p);

	if (lp && p->state == PATH_FAILED)
		peer_path_remove(l, lp);
	else if (lp)
		lp->ask_at = peer_now(l);
	peer_changed(l);
	peer_dirty(l);
}

/* ---- packets in ---- */

static void packet_came(struct peer_link *l, struct link_path *lp, uint8_t *p, size_t n, uint64_t now)
{
	uint64_t before = l->heard;
	int r;

	if (peer_probe_input(l, lp, p, n, now) || !l->q)
		return;
	if (!l->bound && !l->o.visitor)
		l->hs = l->hs ? l->hs : lp;
	peer_follow(l, lp, p, n, now);
	r = quic_conn_input(l->q, l->bound ? lp->k : PEER_HANDSHAKE_K, p, n, now);
	if (r == -EBADMSG)
		return;
	if (!l->bound) {
		l->hs = lp; /* it is alive: answer there */
		l->hs_heard = true;
	}
	peer_bind(l, now);
	peer_heard(l, lp, before, now);
	if (quic_conn_over(l->q))
		peer_fell(l, quic_conn_why(l->q));
}

static void on_arrived(struct path *p, uint8_t *data, size_t n, size_t segment, void *arg)
{
	struct peer_link *l = arg;
	struct link_path *lp = peer_path_of(l, p);
	uint64_t now = peer_now(l);

	/* With any of the packets p may be freed, and data with it: another path may be in use then. */
	for (size_t at = 0; at < n && lp && lp->p == p && l->state != PEER_LINK_DOWN; at += segment)
		packet_came(l, lp, data + at, MIN(segment, n - at), now);
	peer_dirty(l);
}

static void on_writable(struct path *p, void *arg)
{
	(void)p;
	peer_dirty(arg);
}

/* ---- packets out ---- */

/* The batch in l->batch. False: its path cannot take it now. */
static bool send_batch(struct peer_link *l, struct link_path *lp, uint64_t now)
{
	int r = path_send(lp->p, l->batch, l->batch_n, l->batch_segment);

	if (r == -EAGAIN) {
		if (l->blocked != lp)
			l->blocked_at = now;
		l->blocked = lp;
		return false;
	}
	l->blocked = NULL;
	l->batch_n = 0;
	return true;
}

/* What waits goes first. Is it not wanted there any more, or for too long, it is lost, as packets are. */
static bool send_waiting(struct peer_link *l, uint64_t now)
{
	if (!l->blocked)
		return true;
	if (l->blocked != peer_active(l) || now - l->blocked_at > BLOCKED_MAX_MS * PEER_MS) {
		l->blocked = NULL;
		l->batch_n = 0;
		return true;
	}
	return send_batch(l, l->blocked, now);
}

/* The first flight is kept, to be said on another path. */
static void keep_flight(struct peer_link *l)
{
	if (l->bound || !l->o.visitor || l->hs_heard || l->batch_n > sizeof(l->flight))
		return;
	memcpy(l->flight, l->batch, l->batch_n);
	l->flight_n = l->batch_n;
	l->flight_segment = l->batch_segment;
}

void peer_link_flush(struct peer_link *l)
{
	uint64_t now = peer_now(l);
	unsigned k = 0;

	if (!l->q || !send_waiting(l, now))
		return;
	for (unsigned i = 0; i < BATCHES; i++) {
		struct link_path *lp;

		l->batch_n = quic_conn_output(l->q, l->batch, &k, &l->batch_segment, now);
		if (!l->batch_n)
			break;
		keep_flight(l);
		lp = peer_path_numbered(l, k);
		if (!lp || lp->p->state != PATH_READY) {
			l->batch_n = 0; /* the path has gone; so have they */
			continue;
		}
		if (!send_batch(l, lp, now))
			break;
	}
	peer_sent(l, now);
	peer_note_path(l, now);
	if (quic_conn_over(l->q))
		peer_fell(l, quic_conn_why(l->q));
}

/* ---- what QUIC tells ---- */

static void on_handshaken(struct quic_conn *q, void *arg)
{
	struct peer_link *l = arg;

	(void)q;
	l->state = PEER_LINK_UP;
	l->since_ms = l->path_since_ms = clock_unix_ms();
	peer_changed(l);
}

static void on_moved(struct quic_conn *q, unsigned k, bool ok, void *arg)
{
	(void)q;
	peer_on_moved(arg, k, ok);
}

static void on_opened(struct quic_conn *q, struct quic_stream *s, void *arg)
{
	struct peer_link *l = arg;

	l->o.ops->quic->opened(q, s, l->o.ops->quic_arg);
}

static void on_data(struct quic_conn *q, struct quic_stream *s, const uint8_t *p, size_t n, bool fin, void *arg)
{
	struct peer_link *l = arg;

	peer_data_came(l, peer_now(l));
	l->o.ops->quic->data(q, s, p, n, fin, l->o.ops->quic_arg);
}

static void on_room(struct quic_conn *q, struct quic_stream *s, void *arg)
{
	struct peer_link *l = arg;

	l->o.ops->quic->room(q, s, l->o.ops->quic_arg);
}

static void on_reset(struct quic_conn *q, struct quic_stream *s, uint64_t code, void *arg)
{
	struct peer_link *l = arg;

	l->o.ops->quic->reset(q, s, code, l->o.ops->quic_arg);
}

static void on_stopped(struct quic_conn *q, struct quic_stream *s, uint64_t code, void *arg)
{
	struct peer_link *l = arg;

	l->o.ops->quic->stopped(q, s, code, l->o.ops->quic_arg);
}

static void on_closed(struct quic_conn *q, struct quic_stream *s, void *arg)
{
	struct peer_link *l = arg;

	l->o.ops->quic->closed(q, s, l->o.ops->quic_arg);
}

static void on_datagram(struct quic_conn *q, const uint8_t *p, size_t n, void *arg)
{
	struct peer_link *l = arg;

	if (peer_control(l, p, n))
		return;
	peer_data_came(l, peer_now(l));
	l->o.ops->quic->datagram(q, p, n, l->o.ops->quic_arg);
}

static const struct quic_ops quic_ops = {
	.handshaken = on_handshaken, .opened = on_opened, .data = on_data, .room = on_room, .reset = on_reset, .stopped = on_stopped,
	.closed = on_closed, .datagram = on_datagram, .moved = on_moved,
};

/* ---- life ---- */

static int make_quic(struct peer_link *l, uint64_t now)
{
	struct quic_options o = {
		.client = l->o.visitor, .creds = l->o.creds, .peer = l->o.peer, .congestion = l->o.congestion, .path = PEER_HANDSHAKE_K,
		.pool = l->o.pool, .ops = &quic_ops, .arg = l,
	};

	memcpy(o.dcid, l->o.dcid, sizeof(o.dcid));
	return quic_conn_new(&o, now, &l->q);
}

int peer_link_new(const struct peer_link_options *o, struct peer_link **ret_l)
{
	struct peer_link *l = malloc(sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	memset(l, 0, sizeof(*l));
	l->o = *o;
	l->next_k = K_FIRST;
	l->created = l->heard = peer_now(l);
	l->since_ms = clock_unix_ms();
	l->kick_at = l->move_at = QUIC_NEVER;
	l->settled = true;
	r = make_quic(l, l->created);
	if (r < 0) {
		free(l);
		return r;
	}
	*ret_l = l;
	return 0;
}

struct peer_link *peer_link_free(struct peer_link *l)
{
	if (!l)
		return NULL;
	l->down_told = true;
	l->state = PEER_LINK_DOWN;
	l->q = quic_conn_free(l->q);
	for (unsigned i = 0; i < PEER_LINK_PATHS; i++)
		path_free(l->paths[i].p);
	free(l);
	return NULL;
}

void peer_link_close(struct peer_link *l, const char *why)
{
	if (l->state == PEER_LINK_DOWN)
		return;
	quic_conn_close(l->q, why, peer_now(l));
	peer_link_flush(l);
	peer_fell(l, why);
}

struct quic_conn *peer_link_quic(struct peer_link *l)
{
	return l->q;
}

/* ---- time ---- */

static void tell_down(struct peer_link *l)
{
	if (l->down_told)
		return;
	l->down_told = true;
	peer_link_flush(l); /* the goodbye */
	l->o.ops->down(l, l->o.ops->arg);
}

static void rate_tick(struct peer_link *l, uint64_t now)
{
	uint64_t passed = now - l->rated_at;
	struct quic_info i;

	if (passed < PEER_SECOND)
		return;
	for (unsigned w = 0; w < 2; w++) {
		uint64_t n = (l->bytes[w] - l->counted[w]) * PEER_SECOND / passed;

		l->rate[w] = l->rated_at ? (l->rate[w] + n) / 2 : n;
		l->counted[w] = l->bytes[w];
	}
	l->rated_at = now;
	quic_conn_info(l->q, &i);
	peer_rated(l, l->rate[0] + l->rate[1], now);
	if (i.sent > l->loss_base[1]) /* what was sent a minute ago may be found to be lost now */
		l->loss_ppm = (uint32_t)MIN((i.lost - l->loss_base[0]) * 1000000 / (i.sent - l->loss_base[1]), UINT64_C(1000000));
	if (now - l->loss_at > PEER_LOSS_SAMPLES * PEER_SECOND) {
		l->loss_at = now;
		l->loss_base[0] = i.lost;
		l->loss_base[1] = i.sent;
	}
}

void peer_link_tick(struct peer_link *l)
{
	uint64_t now = peer_now(l);

	if (l->state == PEER_LINK_DOWN) {
		tell_down(l);
		return;
	}
	if (quic_conn_expire(l->q, now) < 0)
		peer_fell(l, quic_conn_why(l->q));
	else if (!quic_conn_handshaken(l->q) && now - l->created > PEER_LINK_OPEN_MS * PEER_MS)
		peer_fell(l, l->no_direct[0] ? l->no_direct : "no path to the other agent was found in 20 s");
	if (l->state == PEER_LINK_DOWN) {
		tell_down(l);
		return;
	}
	peer_moves_tick(l, now);
	peer_probe_tick(l, now);
	rate_tick(l, now);
	peer_link_flush(l);
}

uint64_t peer_link_deadline(const struct peer_link *l)
{
	uint64_t at;

	if (l->state == PEER_LINK_DOWN)
		return l->down_told ? QUIC_NEVER : 0;
	at = MIN(quic_conn_deadline(l->q), peer_moves_deadline(l));
	at = MIN(at, peer_probe_deadline(l));
	if (!quic_conn_handshaken(l->q))
		at = MIN(at, l->created + (PEER_LINK_OPEN_MS + 1) * PEER_MS);
	if (l->blocked)
		at = MIN(at, l->blocked_at + (BLOCKED_MAX_MS + 1) * PEER_MS);
	if (l->bytes[0] != l->counted[0] || l->bytes[1] != l->counted[1] || l->rate[0] || l->rate[1])
		at = MIN(at, l->rated_at + PEER_SECOND);
	return at;
}

/* ---- what is known ---- */

void peer_link_count(struct peer_link *l, unsigned way, size_t n)
{
	l->bytes[way] += n;
}

static void path_info(const struct link_path *lp, const struct link_path *active, struct peer_path_info *ret_i)
{
	const struct path *p = lp->p;

	*ret_i = (struct peer_path_info){
		.kind = p->kind, .state = p->state, .tag = p->tag, .active = lp == active, .local = p->local, .remote = p->remote,
		.bytes = { p->bytes[0], p->bytes[1] }, .rtt_us = (uint32_t)(lp->rtt_ns / 1000), .suspect = lp->suspect, .probes_lost = lp->loss / 256.0,
		.carried = lp->rate,
	};
	(void)snprintf(ret_i->detail, sizeof(ret_i->detail), "%s", p->detail);
	(void)snprintf(ret_i->why, sizeof(ret_i->why), "%s",
		       p->why[0] ? p->why : lp->suspect ? "it does not answer" : !lp->answers && lp != active ? "it has not answered yet" : "");
}

/* Why it is down, or not direct. */
static void reason(const struct peer_link *l, const struct link_path *active, struct peer_link_info *i)
{
	const char *why = l->why;

	if (l->state != PEER_LINK_DOWN) {
		why = "";
		if (l->state == PEER_LINK_INTERRUPTED)
			why = "no path answers";
		else if (!active || path_rank(active->p->kind))
			why = l->no_direct[0] ? l->no_direct : "a direct path is being looked for";
	}
	(void)snprintf(i->why, sizeof(i->why), "%s", why);
}

void peer_link_info(const struct peer_link *l, struct peer_link_info *ret_i)
{
	struct peer_link *m = (struct peer_link *)l; /* peer_active() finds what may be changed, and changes nothing */
	const struct link_path *active = peer_active(m);
	struct quic_info q;

	quic_conn_info(l->q, &q);
	*ret_i = (struct peer_link_info){
		.state = l->state, .visitor = l->o.visitor, .peer = l->o.peer,
		.kind = active ? active->p->kind : PATH_KINDS,
		.path_since_ms = l->path_since_ms, .since_ms = l->since_ms,
		.rtt_us = (uint32_t)(q.srtt_ns / 1000), .loss_ppm = l->loss_ppm,
		.bytes = { l->bytes[0], l->bytes[1] }, .rate = { l->rate[0], l->rate[1] },
		.moves_up = l->moves_up, .moves_down = l->moves_down, .streams = q.streams, .last_gap_ms = l->last_gap_ms, .gap_max_ms = l->gap_max_ms,
	};
	memcpy(ret_i->gaps, l->gaps, sizeof(l->gaps));
	reason(l, active, ret_i);
	for (unsigned i = 0; i < PEER_LINK_PATHS; i++)
		if (l->paths[i].p)
			path_info(&l->paths[i], active, &ret_i->paths[ret_i->n_paths++]);
}
