/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulation: time jumps to whatever is due next, a packet at the end of its wire or a deadline of a link. Nothing waits, so
 * seconds of a link cost what their packets cost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "tests/unit/peer_world.h"

#define MS UINT64_C(1000000)

static uint64_t random_below(struct world *w, uint64_t below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random % below;
}

static uint64_t clock_of(void *arg)
{
	return ((struct world *)arg)->now;
}

/* ---- wires ---- */

static void lane_put(struct world *w, struct wire *wire, unsigned way, const uint8_t *data, size_t n)
{
	struct lane *lane = &wire->lanes[way];
	struct packet *p;
	uint64_t at = w->now;

	if (wire->dead || wire->dead_way[way] || (wire->largest && n > wire->largest) || (wire->loss > 0 && (double)random_below(w, 1000000) < wire->loss * 1e6))
		return;
	if (wire->rate_mbit > 0) {
		if (lane->free_at < w->now)
			lane->free_at = w->now;
		if ((double)(lane->free_at - w->now) * wire->rate_mbit / 8000 > (double)wire->queue)
			return;
		lane->free_at += (uint64_t)((double)(n + 28) * 8000 / wire->rate_mbit);
		at = lane->free_at;
	}
	p = malloc(sizeof(*p) + n);
	if (!p)
		return; /* lost, where a test lets allocations fail */
	*p = (struct packet){ .due = at + (uint64_t)(wire->delay_ms * 1e6), .n = n };
	memcpy(p->bytes, data, n);
	*lane->last = p;
	lane->last = &p->next;
	lane->carried++;
}

static int wire_send(struct path *p, const uint8_t *data, size_t n, size_t segment)
{
	struct wire_path *wp = container_of(p, struct wire_path, p);
	struct world *w = wp->end->w;

	assert_true(n > 0 && segment > 0 && segment <= QUIC_PACKET_MAX);
	for (size_t at = 0; at < n; at += segment)
		lane_put(w, &w->wires[wp->wire], wp->end->side, data + at, MIN(segment, n - at));
	p->bytes[0] += n;
	return 0;
}

static struct path *wire_free(struct path *p)
{
	struct wire_path *wp = container_of(p, struct wire_path, p);

	if (wp->end->paths[wp->wire] == wp)
		wp->end->paths[wp->wire] = NULL;
	free(wp);
	return NULL;
}

static const struct path_ops wire_ops = { .send = wire_send, .free = wire_free };

static void add_path(struct world *w, unsigned side, unsigned i)
{
	struct wire_path *wp = calloc(1, sizeof(*wp));

	assert_non_null(wp);
	wp->p = (struct path){ .ops = &wire_ops, .kind = w->wires[i].kind, .state = PATH_READY, .mtu = QUIC_PACKET_MAX };
	wp->end = &w->ends[side];
	wp->wire = i;
	wp->end->paths[i] = wp;
	assert_int_equal(peer_link_add_path(wp->end->l, &wp->p), 0);
}

void world_wire(struct world *w, unsigned i, enum path_kind kind, double delay_ms, double rate_mbit, double loss)
{
	struct wire *wire = &w->wires[i];

	wire->kind = kind;
	wire->delay_ms = delay_ms;
	wire->rate_mbit = rate_mbit;
	wire->loss = loss;
	wire->queue = 256 << 10;
	add_path(w, HOST, i);
	add_path(w, VISITOR, i);
}

static void deliver(struct world *w, unsigned i, unsigned way)
{
	struct wire *wire = &w->wires[i];
	struct lane *lane = &wire->lanes[way];
	struct end *to = &w->ends[!way];
	struct packet *p = lane->first;

	lane->first = p->next;
	if (!lane->first)
		lane->last = &lane->first;
	if (w->strangers_first && to->paths[i]) {
		uint8_t junk[64];

		for (size_t k = 0; k < sizeof(junk); k++)
			junk[k] = (uint8_t)random_below(w, 256);
		path_arrived(&to->paths[i]->p, junk, 1 + (size_t)random_below(w, sizeof(junk)), 0);
	}
	if (to->paths[i])
		path_arrived(&to->paths[i]->p, p->bytes, p->n, p->n);
	free(p);
}

/* ---- the bytes ---- */

static uint8_t byte_at(unsigned seed, uint64_t offset)
{
	return (uint8_t)(((offset + seed * 7919) * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static void fill(struct end *e, struct app_stream *a)
{
	struct quic_conn *q = peer_link_quic(e->l);

	while (a->s && a->sent < a->to_send) {
		size_t room;
		uint8_t *to = quic_stream_space(q, a->s, &room);

		if (!to)
			break;
		room = MIN(room, (size_t)(a->to_send - a->sent));
		for (size_t k = 0; k < room; k++)
			to[k] = byte_at(a->seed + e->side, a->sent + k);
		quic_stream_commit(q, a->s, room);
		peer_link_count(e->l, 0, room);
		a->sent += room;
	}
	if (a->s && a->finish && a->sent == a->to_send)
		quic_stream_finish(q, a->s);
}

/* One that never was a stream. */
static struct app_stream *unused(struct end *e)
{
	for (unsigned i = 0; i < APP_STREAMS; i++) {
		struct app_stream *a = &e->streams[i];

		if (!a->s && !a->received && !a->sent)
			return a;
	}
	fail_msg("too many streams");
	return NULL;
}

struct app_stream *world_send(struct world *w, unsigned side, uint64_t n, bool finish)
{
	struct end *e = &w->ends[side];
	struct app_stream *a = unused(e);

	*a = (struct app_stream){ .to_send = n, .finish = finish, .last_at = w->now };
	assert_int_equal(quic_stream_open(peer_link_quic(e->l), &a->s), 0);
	a->s->owner = a;
	a->seed = (unsigned)a->s->id;
	fill(e, a);
	peer_link_flush(e->l);
	return a;
}

void world_continue(struct end *e, struct app_stream *a, uint64_t n)
{
	a->to_send += n;
	fill(e, a);
	peer_link_flush(e->l);
}

static void on_opened(struct quic_conn *q, struct quic_stream *s, void *arg)
{
	struct end *e = arg;
	struct app_stream *a = unused(e);

	(void)q;
	*a = (struct app_stream){ .s = s, .seed = (unsigned)s->id, .last_at = e->w->now };
	s->owner = a;
}

static void on_data(struct quic_conn *q, struct quic_stream *s, const uint8_t *p, size_t n, bool fin, void *arg)
{
	struct end *e = arg;
	struct app_stream *a = s->owner;

	if (!a)
		return;
	for (size_t k = 0; k < n; k++)
		if (p[k] != byte_at(a->seed + !e->side, a->received + k))
			fail_msg("stream %u, byte %llu is another one", a->seed, (unsigned long long)(a->received + k));
	if (n) {
		a->worst_gap = MAX(a->worst_gap, e->w->now - a->last_at);
		a->last_at = e->w->now;
	}
	a->received += n;
	assert_false(a->finished);
	a->finished = fin;
	if (a->stalled)
		a->pending += n;
	else
		quic_stream_consumed(q, s, n);
	peer_link_count(e->l, 1, n);
}

static void on_room(struct quic_conn *q, struct quic_stream *s, void *arg)
{
	(void)q;
	if (s->owner)
		fill(arg, s->owner);
}

static void on_reset(struct quic_conn *q, struct quic_stream *s, uint64_t code, void *arg)
{
	(void)q;
	(void)s;
	(void)code;
	(void)arg;
}

static void on_closed(struct quic_conn *q, struct quic_stream *s, void *arg)
{
	struct app_stream *a = s->owner;

	(void)q;
	(void)arg;
	if (a)
		a->s = NULL;
}

static void on_datagram(struct quic_conn *q, const uint8_t *p, size_t n, void *arg)
{
	struct end *e = arg;

	(void)q;
	assert_true(n >= FLOW_HEAD);
	for (size_t k = FLOW_HEAD; k < n; k++)
		assert_int_equal(p[k], byte_at((unsigned)n, k));
	e->datagrams++;
}

static const struct quic_ops app_ops = {
	.opened = on_opened, .data = on_data, .room = on_room, .reset = on_reset, .stopped = on_reset, .closed = on_closed, .datagram = on_datagram,
};

/* ---- the links ---- */

static void on_nothing(struct peer_link *l, void *arg)
{
	(void)l;
	(void)arg;
}

static void on_down(struct peer_link *l, void *arg)
{
	(void)l;
	((struct end *)arg)->downs++;
}

static void on_want_relay(struct peer_link *l, void *arg)
{
	(void)l;
	((struct end *)arg)->relays_wanted++;
}

static void on_lost(struct peer_link *l, enum path_kind kind, void *arg)
{
	(void)l;
	(void)kind;
	((struct end *)arg)->losses++;
}

static void on_pong(struct peer_link *l, uint64_t cookie, enum path_kind kind, void *arg)
{
	(void)l;
	(void)kind;
	assert_true(cookie == UINT64_C(0x0123456789abcdef));
	((struct end *)arg)->pongs++;
}

void world_keys(struct world *w)
{
	for (unsigned s = 0; s < 2; s++)
		if (!w->ends[s].id) {
			assert_int_equal(identity_make(s ? "host" : "visitor", NULL, &w->ends[s].id), 0);
			assert_int_equal(quic_creds_of(w->ends[s].id, &w->ends[s].creds), 0);
		}
}

void world_open(struct world *w, uint64_t head_start_ms)
{
	w->now = w->now ? w->now : 1000 * MS;
	w->random = w->random ? w->random : 88172645463325252u;
	world_keys(w);
	for (unsigned i = 0; i < WIRES; i++)
		for (unsigned way = 0; way < 2; way++)
			w->wires[i].lanes[way].last = &w->wires[i].lanes[way].first;
	for (unsigned s = 0; s < 2; s++) {
		struct end *e = &w->ends[s];
		struct peer_link_options o = { .visitor = s == VISITOR, .creds = e->creds, .peer = *identity_hash(w->ends[!s].id),
					       .head_start_ms = head_start_ms, .pool = &e->pool, .binding_s = w->binding_s, .clock = clock_of, .clock_arg = w };

		e->w = w;
		e->side = s;
		memset(o.dcid, 0x5a, sizeof(o.dcid));
		e->ops = (struct peer_link_ops){ .changed = on_nothing, .down = on_down, .want_relay = on_want_relay, .lost = on_lost,
						 .pong = on_pong, .dirty = on_nothing, .quic = &app_ops, .quic_arg = e, .arg = e };
		o.ops = &e->ops;
		assert_int_equal(peer_link_new(&o, &e->l), 0);
	}
}

void world_close(struct world *w)
{
	for (unsigned s = 0; s < 2; s++) {
		peer_link_free(w->ends[s].l);
		quic_creds_free(w->ends[s].creds);
		identity_unref(w->ends[s].id);
		assert_int_equal(w->ends[s].pool.n_lent, 0);
		chunk_pool_trim(&w->ends[s].pool);
	}
	for (unsigned i = 0; i < WIRES; i++)
		for (unsigned way = 0; way < 2; way++)
			while (w->wires[i].lanes[way].first) {
				struct packet *p = w->wires[i].lanes[way].first;

				w->wires[i].lanes[way].first = p->next;
				free(p);
			}
	memset(w, 0, sizeof(*w));
}

/* ---- time ---- */

static uint64_t next_event(struct world *w, unsigned *ret_wire, unsigned *ret_way)
{
	uint64_t at = QUIC_NEVER;

	*ret_wire = WIRES;
	for (unsigned i = 0; i < WIRES; i++)
		for (unsigned way = 0; way < 2; way++) {
			struct packet *p = w->wires[i].lanes[way].first;

			if (p && p->due < at) {
				at = p->due;
				*ret_wire = i;
				*ret_way = way;
			}
		}
	return at;
}

static void step(struct world *w, uint64_t until)
{
	unsigned wire, way = 0;
	uint64_t packet = next_event(w, &wire, &way), at = packet;

	for (unsigned s = 0; s < 2; s++)
		at = MIN(at, peer_link_deadline(w->ends[s].l));
	if (at > until) {
		w->now = until;
		return;
	}
	w->now = MAX(at, w->now);
	if (packet <= w->now && wire < WIRES) {
		deliver(w, wire, way);
		peer_link_flush(w->ends[!way].l);
	}
	for (unsigned s = 0; s < 2; s++)
		if (peer_link_deadline(w->ends[s].l) <= w->now)
			peer_link_tick(w->ends[s].l);
}

void world_run(struct world *w, double ms)
{
	uint64_t until = w->now + (uint64_t)(ms * 1e6);

	while (w->now < until)
		step(w, until);
}

bool world_until(struct world *w, bool (*done)(struct world *w), double ms)
{
	uint64_t until = w->now + (uint64_t)(ms * 1e6);

	while (!done(w)) {
		if (w->now >= until) {
			for (unsigned s = 0; s < 2; s++) {
				struct peer_link_info i;
				peer_link_info(w->ends[s].l, &i);
				print_message("%u: state %u kind %u why %s paths %u rtt %u moves %u %u\n", s, i.state, i.kind, i.why, i.n_paths, i.rtt_us, i.moves_up, i.moves_down);
			}
			return false;
		}
		step(w, until);
	}
	return true;
}

bool world_up(struct world *w)
{
	struct peer_link_info a, b;

	peer_link_info(w->ends[0].l, &a);
	peer_link_info(w->ends[1].l, &b);
	return a.state == PEER_LINK_UP && b.state == PEER_LINK_UP;
}
