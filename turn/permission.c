/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The permissions of one allocation: an array and an index over it by keyed hash of the address. The
 * address is the one that packets carry, so what comes back from a peer is found as it was permitted;
 * the rules see through every spelling of it (turn/peers.c).
 */
#include "turn/permission.h"
#include <stdio.h>
#include "turn/alloc.h"

void turn_permissions_settle(struct turn_alloc *a)
{
	struct turn_permissions *ps = &a->permissions;

	turn_totals_unuse(a->server->o.totals, a->account, TURN_USE_PERMISSIONS, ps->charged - ps->n);
	ps->charged = ps->n;
}

void turn_permissions_deinit(struct turn_alloc *a)
{
	struct turn_permissions *ps = &a->permissions;

	ps->n = 0;
	turn_permissions_settle(a);
	free(ps->v);
	turn_index_deinit(&ps->by_ip);
	*ps = (struct turn_permissions){ 0 };
}

static uint32_t ip_hash(const struct turn_server *s, const struct addr *peer)
{
	return (uint32_t)addr_hash_ip(&s->seed, peer);
}

static struct turn_permission *find(const struct turn_alloc *a, const struct addr *peer, uint32_t hash)
{
	const struct turn_permissions *ps = &a->permissions;
	size_t n;
	const uint8_t *ip = addr_ip(peer, &n);

	for (uint32_t at = hash, pos; (pos = turn_index_at(&ps->by_ip, at)) != 0; at++) {
		struct turn_permission *p = &ps->v[pos - 1];
		if (p->hash == hash && p->family == turn_family(peer) && memcmp(p->ip, ip, n) == 0)
			return p;
	}
	return NULL;
}

const struct turn_permission *turn_permission_find(const struct turn_alloc *a,
						   const struct addr *peer, uint64_t now)
{
	if (a->permissions.n == 0)
		return NULL;
	const struct turn_permission *p = find(a, peer, ip_hash(a->server, peer));
	return p && p->expires > now ? p : NULL;
}

unsigned turn_permissions_count(const struct turn_alloc *a, uint64_t now)
{
	unsigned n = 0;

	for (unsigned i = 0; i < a->permissions.n; i++)
		n += a->permissions.v[i].expires > now;
	return n;
}

static void index_all(struct turn_permissions *ps)
{
	turn_index_clear(&ps->by_ip);
	for (unsigned i = 0; i < ps->n; i++)
		turn_index_put(&ps->by_ip, ps->v[i].hash, i);
}

/* Nothing is reserved yet. */
static void forget_expired(struct turn_alloc *a, uint64_t now)
{
	struct turn_permissions *ps = &a->permissions;
	uint16_t kept = 0;

	for (unsigned i = 0; i < ps->n; i++)
		if (ps->v[i].expires > now)
			ps->v[kept++] = ps->v[i];
	if (kept == ps->n)
		return;
	ps->n = kept;
	index_all(ps);
	turn_permissions_settle(a);
}

void turn_permissions_forget(struct turn_alloc *a, unsigned family)
{
	for (unsigned i = 0; i < a->permissions.n; i++)
		if (a->permissions.v[i].family == family)
			a->permissions.v[i].expires = 0;
	forget_expired(a, 0);
}

static int make_room(struct turn_permissions *ps, unsigned total)
{
	int r;

	if (total > ps->cap) {
		unsigned cap = MAX(total, MIN(2u * ps->cap, (unsigned)TURN_INDEX_MAX));
		struct turn_permission *v = realloc(ps->v, cap * sizeof *v);
		if (!v)
			return -ENOMEM;
		ps->v = v;
		ps->cap = (uint16_t)cap;
	}
	r = turn_index_reserve(&ps->by_ip, total);
	if (r > 0)
		index_all(ps);
	return MIN(r, 0);
}

static enum turn_limit charge(struct turn_alloc *a, unsigned n)
{
	const struct turn_server *s = a->server;
	enum turn_limit r = turn_totals_use(s->o.totals, a->account, TURN_USE_PERMISSIONS, n,
					    TURN_CAPS(s, turn_alloc_realm(a), permissions));

	if (r == TURN_LIMIT_OK)
		a->permissions.charged = (uint16_t)(a->permissions.charged + n);
	return r;
}

enum turn_refusal turn_permissions_reserve(struct turn_alloc *a, unsigned n, uint64_t now)
{
	struct turn_permissions *ps = &a->permissions;
	uint64_t limit = MIN(turn_alloc_realm(a)->limits.permissions_per_allocation, (uint64_t)TURN_INDEX_MAX);

	enum turn_limit r;

	if (n == 0)
		return TURN_ACCEPTED;
	if (ps->n + n > ps->cap || (uint64_t)ps->n + n > limit)
		forget_expired(a, now);
	if ((uint64_t)ps->n + n > limit)
		return TURN_REFUSE_PERMISSIONS;
	r = charge(a, n);
	if (r != TURN_LIMIT_OK) {
		forget_expired(a, now);
		r = charge(a, n);
	}
	if (r != TURN_LIMIT_OK)
		return r == TURN_LIMIT_ACCOUNT ? TURN_REFUSE_PERMISSIONS_USER :
		       r == TURN_LIMIT_REALM   ? TURN_REFUSE_PERMISSIONS_REALM :
						 TURN_REFUSE_PERMISSIONS_TOTAL;
	return make_room(ps, ps->n + n) < 0 ? TURN_REFUSE_RESOURCES : TURN_ACCEPTED;
}

void turn_permission_set(struct turn_alloc *a, const struct addr *peer, bool own, uint64_t now)
{
	struct turn_permissions *ps = &a->permissions;
	uint32_t hash = ip_hash(a->server, peer);
	struct turn_permission *p = find(a, peer, hash);

	if (!p) {
		size_t n;
		const uint8_t *ip = addr_ip(peer, &n);
		p = &ps->v[ps->n];
		*p = (struct turn_permission){ .hash = hash, .family = (uint8_t)turn_family(peer) };
		memcpy(p->ip, ip, n);
		turn_index_put(&ps->by_ip, hash, ps->n++);
	}
	if (p->expires <= now)
		turn_count(a->server, TURN_M_PERMISSIONS, 0, 1);
	p->own = own;
	p->expires = now + TURN_PERMISSION_MS;
	turn_channels_permit(a, peer, own, p->expires);
}

/* ::ffff:a.b.c.d and ::a.b.c.d are no addresses that an IPv6 packet can be sent to. */
static bool is_disguised_v4(const struct addr *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff }, compatible[12] = { 0 };
	size_t n;
	const uint8_t *ip = addr_ip(a, &n);

	struct addr real = addr_canonical(a); /* :: and ::1 begin like ::a.b.c.d, but are IPv6 */

	return n == 16 && addr_family(&real) == AF_INET &&
	       (memcmp(ip, mapped, 12) == 0 || memcmp(ip, compatible, 12) == 0);
}

enum turn_refusal turn_peer_check(struct turn_request *q, const struct addr *peer, bool *ret_own)
{
	char text[ADDR_STRLEN];
	bool own = turn_policy_is_own(q->s->policy, q->realm, peer);

	if (!own) {
		struct turn_verdict v = turn_policy_peer(q->s->policy, q->realm, peer);
		if (!v.allowed) {
			snprintf(q->why, sizeof q->why, "%s: %s", addr_print_ip(peer, text), v.rule);
			return TURN_REFUSE_PEER;
		}
	}
	if (!q->alloc->relay[turn_family(peer)] || is_disguised_v4(peer))
		return turn_because(q, TURN_REFUSE_PEER_FAMILY, addr_print_ip(peer, text));
	*ret_own = own;
	return TURN_ACCEPTED;
}
