/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes into the kernel, judged again after whatever may change it; and the counters that come back, which
 * are added to the allocation's and the metrics as if the packets had come through here. That time passes is
 * not judged here: the kernel has the end of each channel and looks at its own clock.
 */
#include "turn/offload.h"
#include "turn/alloc.h"

static const struct turn_offload_ops *ops_of(const struct turn_alloc *a)
{
	return a->server->o.offload;
}

static uint64_t until_of(const struct turn_alloc *a, const struct turn_channel *c)
{
	return MIN(MIN(c->expires, c->permitted), a->ends[turn_family(&c->peer)]);
}

/* Whether it may; time does not count, for that is what the kernel looks at. */
static enum fast_why judge(const struct turn_alloc *a, const struct turn_channel *c)
{
	const struct turn_server *s = a->server;

	if (!s->o.offload || !s->offloading)
		return FAST_WHY_DISABLED;
	if (turn_mobility_is_parked(a))
		return FAST_WHY_AWAY;
	if (a->path.transport->proto != TURN_UDP)
		return FAST_WHY_TRANSPORT;
	if (s->rates && turn_alloc_is_rated(a))
		return FAST_WHY_BITRATE;
	if (c->own || turn_own_is_outside(s, &c->peer)) /* own sockets may be reached by another address: here */
		return FAST_WHY_OWN_PEER;
	if (addr_family(&a->path.client) != addr_family(&a->path.local))
		return FAST_WHY_BAD; /* our own address is not known */
	return a->relay[turn_family(&c->peer)] && c->permitted ? FAST_OFFLOADED : FAST_WHY_NO_PERMISSION;
}

static void count(struct turn_alloc *a, const struct turn_offload_counts *n)
{
	if (n->packets[TURN_UP] && a->unsettled) /* they came from where it is now: a move counts before it begins anew */
		turn_mobility_settle(a);
	for (enum turn_way way = TURN_UP; way <= TURN_DOWN; way++) {
		if (!n->packets[way])
			continue;
		a->packets[way] += n->packets[way];
		a->bytes[way] += n->bytes[way];
		turn_count(a->server, TURN_M_PACKETS, way, (int64_t)n->packets[way]);
		turn_count(a->server, TURN_M_BYTES, way, (int64_t)n->bytes[way]);
		if (a->server->by_realm)
			turn_count(a->server, TURN_M_REALM_BYTES, a->realm, (int64_t)n->bytes[way]);
		turn_count(a->server, TURN_M_OFFLOADED_PACKETS, way, (int64_t)n->packets[way]);
		turn_count(a->server, TURN_M_OFFLOADED_BYTES, way, (int64_t)n->bytes[way]);
	}
}

void turn_offload_end(struct turn_alloc *a, struct turn_channel *c)
{
	struct turn_offload_counts n;

	if (!c->offload)
		return;
	ops_of(a)->remove(a->server->o.edge, c->offload, &n);
	c->offload = 0;
	count(a, &n);
}

void turn_offload_channel(struct turn_alloc *a, struct turn_channel *c)
{
	struct fast_channel f;

	if (judge(a, c) != FAST_OFFLOADED) {
		turn_offload_end(a, c);
		return;
	}
	if (c->offload) {
		ops_of(a)->until(a->server->o.edge, c->offload, until_of(a, c));
		return;
	}
	f = (struct fast_channel){ .client = a->path.client, .local = a->path.local, .relay = a->at[turn_family(&c->peer)],
				   .peer = c->peer, .number = c->number };
	c->offload = ops_of(a)->add(a->server->o.edge, a->relay[turn_family(&c->peer)], &f, until_of(a, c));
}

void turn_offload_alloc(struct turn_alloc *a)
{
	for (unsigned i = 0; i < a->channels.n; i++)
		turn_offload_channel(a, &a->channels.v[i]);
}

void turn_offload_end_all(struct turn_alloc *a)
{
	for (unsigned i = 0; i < a->channels.n; i++)
		turn_offload_end(a, &a->channels.v[i]);
}

void turn_offload_end_family(struct turn_alloc *a, unsigned family)
{
	for (unsigned i = 0; i < a->channels.n; i++)
		if (turn_family(&a->channels.v[i].peer) == family)
			turn_offload_end(a, &a->channels.v[i]);
}

void turn_offload_count(struct turn_alloc *a)
{
	struct turn_offload_counts n;

	for (unsigned i = 0; i < a->channels.n; i++) {
		if (!a->channels.v[i].offload)
			continue;
		ops_of(a)->take(a->server->o.edge, a->channels.v[i].offload, &n);
		count(a, &n);
	}
}

/* ---- of a whole server ---- */

void turn_server_set_offload(struct turn_server *s, bool on)
{
	s->offloading = on;
	list_for_each (it, &s->allocs)
		turn_offload_alloc(list_entry(it, struct turn_alloc, in_order));
}

void turn_server_count_offloaded(struct turn_server *s)
{
	list_for_each (it, &s->allocs)
		turn_offload_count(list_entry(it, struct turn_alloc, in_order));
}

void turn_server_why_offload(const struct turn_server *s, uint64_t now, uint64_t *ret_n)
{
	list_for_each (it, &s->allocs) {
		const struct turn_alloc *a = list_entry(it, struct turn_alloc, in_order);
		for (unsigned i = 0; i < a->channels.n; i++) {
			const struct turn_channel *c = &a->channels.v[i];
			enum fast_why why = judge(a, c);
			if (c->expires <= now)
				continue;
			if (c->permitted <= now)
				why = FAST_WHY_NO_PERMISSION;
			else if (why == FAST_OFFLOADED)
				why = c->offload ? s->o.offload->why(s->o.edge, c->offload) : FAST_WHY_MEMORY;
			ret_n[why]++;
		}
	}
}
