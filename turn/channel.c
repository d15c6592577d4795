/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channels of one allocation: an array and two indexes over it, by number and by peer. Clients count
 * their numbers up from 0x4000; a multiplication by a secret odd number spreads them, so that
 * nobody can choose numbers that collide. An ended channel is forgotten when room is needed.
 */
#include "turn/channel.h"
#include "turn/alloc.h"

static void uncharge(struct turn_alloc *a, unsigned n)
{
	turn_totals_unuse(a->server->o.totals, a->account, TURN_USE_CHANNELS, n);
}

void turn_channels_deinit(struct turn_alloc *a)
{
	struct turn_channels *cs = &a->channels;

	turn_offload_end_all(a);
	uncharge(a, cs->n);
	free(cs->v);
	turn_index_deinit(&cs->by_number);
	turn_index_deinit(&cs->by_peer);
	*cs = (struct turn_channels){ 0 };
}

static uint32_t number_hash(const struct turn_server *s, uint16_t number)
{
	return (number * s->number_spread) >> 16;
}

static uint32_t peer_hash(const struct turn_server *s, const struct addr *peer)
{
	return (uint32_t)addr_hash(&s->seed, peer);
}

static struct turn_channel *find_number(const struct turn_alloc *a, uint16_t number)
{
	const struct turn_channels *cs = &a->channels;

	for (uint32_t at = number_hash(a->server, number), pos;
	     (pos = turn_index_at(&cs->by_number, at)) != 0; at++)
		if (cs->v[pos - 1].number == number)
			return &cs->v[pos - 1];
	return NULL;
}

/* Two entries of one peer can be there if the older has expired; the live one counts. */
static struct turn_channel *find_peer(const struct turn_alloc *a, const struct addr *peer, uint64_t now)
{
	const struct turn_channels *cs = &a->channels;
	uint32_t hash = peer_hash(a->server, peer);

	for (uint32_t at = hash, pos; (pos = turn_index_at(&cs->by_peer, at)) != 0; at++) {
		struct turn_channel *c = &cs->v[pos - 1];
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): what an index has is in v */
		if (c->hash == hash && c->expires > now && addr_equal(&c->peer, peer))
			return c;
	}
	return NULL;
}

/* The packet path asks these two. What it found last it is likely to want again, and needs no hash for. */
static const struct turn_channel *recent(const struct turn_alloc *a)
{
	const struct turn_channels *cs = &a->channels;

	return cs->recent < cs->n ? &cs->v[cs->recent] : NULL;
}

static const struct turn_channel *remember(struct turn_alloc *a, const struct turn_channel *c)
{
	if (c)
		a->channels.recent = (uint16_t)(c - a->channels.v);
	return c;
}

const struct turn_channel *turn_channel_by_number(struct turn_alloc *a, uint16_t number, uint64_t now)
{
	const struct turn_channel *c = recent(a);

	if (!c || c->number != number)
		c = remember(a, find_number(a, number));
	return c && c->expires > now ? c : NULL;
}

const struct turn_channel *turn_channel_by_peer(struct turn_alloc *a, const struct addr *peer, uint64_t now)
{
	const struct turn_channel *c = recent(a);

	if (!c || c->expires <= now || !addr_equal(&c->peer, peer))
		c = a->channels.n ? remember(a, find_peer(a, peer, now)) : NULL;
	return c;
}

unsigned turn_channels_count(const struct turn_alloc *a, uint64_t now)
{
	unsigned n = 0;

	for (unsigned i = 0; i < a->channels.n; i++)
		n += a->channels.v[i].expires > now;
	return n;
}

void turn_channels_permit(struct turn_alloc *a, const struct addr *peer, bool own, uint64_t until)
{
	for (unsigned i = 0; i < a->channels.n; i++) {
		struct turn_channel *c = &a->channels.v[i];
		if (addr_equal_ip(&c->peer, peer)) {
			c->permitted = until;
			c->own = own;
			turn_offload_channel(a, c);
		}
	}
}

static void index_all(struct turn_alloc *a)
{
	struct turn_channels *cs = &a->channels;

	turn_index_clear(&cs->by_number);
	turn_index_clear(&cs->by_peer);
	for (unsigned i = 0; i < cs->n; i++) {
		turn_index_put(&cs->by_number, number_hash(a->server, cs->v[i].number), i);
		turn_index_put(&cs->by_peer, cs->v[i].hash, i);
	}
}

static void forget_expired(struct turn_alloc *a, uint64_t now)
{
	struct turn_channels *cs = &a->channels;
	uint16_t kept = 0;

	for (unsigned i = 0; i < cs->n; i++) {
		if (cs->v[i].expires > now)
			cs->v[kept++] = cs->v[i];
		else
			turn_offload_end(a, &cs->v[i]);
	}
	if (kept == cs->n)
		return;
	uncharge(a, (unsigned)cs->n - kept);
	cs->n = kept;
	index_all(a);
}

void turn_channels_forget(struct turn_alloc *a, unsigned family)
{
	for (unsigned i = 0; i < a->channels.n; i++)
		if (turn_family(&a->channels.v[i].peer) == family)
			a->channels.v[i].expires = 0;
	forget_expired(a, 0);
}

static enum turn_limit charge(struct turn_alloc *a)
{
	const struct turn_server *s = a->server;

	return turn_totals_use(s->o.totals, a->account, TURN_USE_CHANNELS, 1, TURN_CAPS(s, turn_alloc_realm(a), channels));
}

static enum turn_refusal charge_one(struct turn_alloc *a, uint64_t now)
{
	enum turn_limit r = charge(a);

	if (r != TURN_LIMIT_OK) {
		forget_expired(a, now);
		r = charge(a);
	}
	return r == TURN_LIMIT_OK	? TURN_ACCEPTED :
	       r == TURN_LIMIT_ACCOUNT ? TURN_REFUSE_CHANNELS_USER :
	       r == TURN_LIMIT_REALM   ? TURN_REFUSE_CHANNELS_REALM :
					 TURN_REFUSE_CHANNELS_TOTAL;
}

/* Room for one more. An index that has grown is empty, so both are filled before an error is told. */
static enum turn_refusal reserve(struct turn_alloc *a, uint64_t now)
{
	struct turn_channels *cs = &a->channels;
	uint64_t limit = MIN(turn_alloc_realm(a)->limits.channels_per_allocation, (uint64_t)TURN_INDEX_MAX);

	if (cs->n == cs->cap || cs->n >= limit)
		forget_expired(a, now);
	if (cs->n >= limit)
		return TURN_REFUSE_CHANNELS;
	if (cs->n == cs->cap) {
		unsigned cap = MAX(1u, MIN(2u * cs->cap, (unsigned)TURN_INDEX_MAX));
		struct turn_channel *v = realloc(cs->v, cap * sizeof *v);
		if (!v)
			return TURN_REFUSE_RESOURCES;
		cs->v = v;
		cs->cap = (uint16_t)cap;
	}
	int by_number = turn_index_reserve(&cs->by_number, cs->n + 1u);
	int by_peer = turn_index_reserve(&cs->by_peer, cs->n + 1u);
	if (by_number > 0 || by_peer > 0)
		index_all(a);
	return by_number < 0 || by_peer < 0 ? TURN_REFUSE_RESOURCES : TURN_ACCEPTED;
}

static enum turn_refusal add(struct turn_alloc *a, uint16_t number, const struct addr *peer, uint64_t now)
{
	struct turn_channels *cs = &a->channels;

	if (find_number(a, number)) /* expired: bound anew, maybe to another peer */
		forget_expired(a, now);
	enum turn_refusal r = reserve(a, now);
	if (r == TURN_ACCEPTED)
		r = charge_one(a, now);
	if (r != TURN_ACCEPTED)
		return r;
	cs->v[cs->n] = (struct turn_channel){ .peer = *peer,
					      .number = number,
					      .hash = peer_hash(a->server, peer),
					      .expires = now + TURN_CHANNEL_MS };
	turn_index_put(&cs->by_number, number_hash(a->server, number), cs->n);
	turn_index_put(&cs->by_peer, cs->v[cs->n].hash, cs->n);
	cs->n++;
	turn_count(a->server, TURN_M_CHANNELS, 0, 1);
	return TURN_ACCEPTED;
}

enum turn_refusal turn_channel_bind(struct turn_request *q, uint16_t number,
				    const struct addr *peer, bool own)
{
	struct turn_alloc *a = q->alloc;
	struct turn_channel *c = find_number(a, number), *other = find_peer(a, peer, q->now);
	enum turn_refusal r;

	if (c && c->expires <= q->now)
		c = NULL;
	if (c && !addr_equal(&c->peer, peer))
		return turn_because(q, TURN_REFUSE_CHANNEL, "its number is bound to another peer");
	if (other && other->number != number)
		return turn_because(q, TURN_REFUSE_CHANNEL, "the peer is bound to another number");
	r = turn_permissions_reserve(a, turn_permission_find(a, peer, q->now) ? 0 : 1, q->now);
	if (r == TURN_ACCEPTED && !c)
		r = add(a, number, peer, q->now);
	if (r == TURN_ACCEPTED) {
		if (c)
			c->expires = q->now + TURN_CHANNEL_MS;
		turn_permission_set(a, peer, own, q->now);
	}
	turn_permissions_settle(a);
	return r;
}
