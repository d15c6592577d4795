/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of an allocation: made with its sockets, put into service, prolonged, ended. It is found by
 * its five-tuple through a keyed hash of the client's address and port, which a stranger chooses; the
 * rest of the tuple is compared. A second connection from the same address and port is another one
 * if its handle differs, even while the first is still being torn down.
 *
 * Relay ports are asked of the kernel after our own bitmap of live ones, and a bounded number of
 * times, so that an exhausted range costs no storm of system calls.
 */
#include "turn/alloc.h"
#include <errno.h>
#include <string.h>

enum { OPEN_TRIES = 256 }; /* ports asked of the kernel for one relay socket */

/* ---- the table ---- */

static uint64_t tuple_hash(const struct turn_server *s, const struct turn_path *p)
{
	return addr_hash(&s->seed, &p->client);
}

static bool same_tuple(const struct hnode *n, const void *key)
{
	const struct turn_path *a = &container_of(n, struct turn_alloc, node)->path, *b = key;

	return a->transport == b->transport && addr_equal(&a->client, &b->client) &&
	       addr_equal(&a->local, &b->local) &&
	       (a->handle == b->handle || a->transport->proto == TURN_UDP);
}

/* The next segment of a run is the same client's, and a lone caller's next packet is too. */
struct turn_alloc *turn_alloc_find(struct turn_server *s, const struct turn_path *from)
{
	struct hnode *n;

	if (s->recent && same_tuple(&s->recent->node, from))
		return s->recent;
	n = htable_find(&s->by_tuple, tuple_hash(s, from), same_tuple, from);
	if (n)
		s->recent = container_of(n, struct turn_alloc, node);
	return n ? s->recent : NULL;
}

void turn_alloc_unlist(struct turn_alloc *a)
{
	if (a->server->recent == a)
		a->server->recent = NULL;
	htable_remove(&a->server->by_tuple, &a->node);
}

bool turn_alloc_is_rated(const struct turn_alloc *a)
{
	const struct turn_limits *l = &turn_alloc_realm(a)->limits;

	return a->server->cfg->limits.bitrate != UINT64_MAX || l->bitrate != UINT64_MAX || l->bitrate_per_user != UINT64_MAX;
}

/* ---- birth and death ---- */

struct turn_alloc *turn_alloc_new(const struct turn_request *q)
{
	size_t n = strlen(q->id.user) + 1;
	struct turn_alloc *a = calloc(1, sizeof *a + n);

	if (!a)
		return NULL;
	a->server = q->s;
	a->path = *q->from;
	a->realm = (uint16_t)q->realm->slot;
	a->dry_at = UINT64_MAX;
	list_init(&a->in_order);
	list_init(&a->tcp_conns);
	memcpy(a->user, q->id.user, n);
	return a;
}

static void close_relay(struct turn_alloc *a, unsigned family)
{
	struct turn_server *s = a->server;
	void (*closed)(struct turn_totals *, const struct addr *) =
		a->tcp ? turn_totals_listener_closed : turn_totals_relay_closed;

	if (!a->relay[family])
		return;
	turn_tcp_end_family(a, family);
	turn_offload_end_family(a, family);
	closed(s->o.totals, &a->at[family]);
	closed(s->o.totals, &a->public_at[family]);
	s->o.relay->close(steal_ptr(&a->relay[family]));
	a->ends[family] = 0;
}

struct turn_alloc *turn_alloc_free(struct turn_alloc *a)
{
	if (!a)
		return NULL;
	for (unsigned f = 0; f < TURN_FAMILIES; f++)
		close_relay(a, f);
	timer_stop(&a->expiry);
	list_unlink(&a->in_order);
	turn_alloc_unlist(a);
	turn_mobility_free(a->mobility);
	turn_channels_deinit(a);
	turn_permissions_deinit(a);
	turn_totals_give(a->server->o.totals, a->account);
	turn_key_unref(a->key);
	free(a);
	return NULL;
}

/* ---- relay sockets ---- */

static enum turn_refusal refusal_of(int r)
{
	switch (r) {
	case 0: return TURN_ACCEPTED;
	case -ENOLINK: return TURN_REFUSE_EXTERNAL;
	case -ENOSPC:
	case -ERANGE:
	case -EADDRINUSE:
	case -EADDRNOTAVAIL: return TURN_REFUSE_PORTS;
	case -EIO: return TURN_REFUSE_INTERNAL;
	default: return TURN_REFUSE_RESOURCES;
	}
}

/* False: another worker listens on the same port since a moment ago. */
static bool took(struct turn_alloc *a, const struct addr *at, const struct addr *outside)
{
	struct turn_totals *totals = a->server->o.totals;
	unsigned f = turn_family(at);

	if (a->tcp && !turn_totals_listener_opened(totals, at))
		return false;
	a->at[f] = *at;
	a->public_at[f] = *outside;
	if (a->tcp) {
		(void)turn_totals_listener_opened(totals, &a->public_at[f]);
		return true;
	}
	turn_totals_relay_opened(totals, &a->at[f]);
	turn_totals_relay_opened(totals, &a->public_at[f]);
	return true;
}

/* One port, and with a pair the one above. */
static int open_port(struct turn_alloc *a, const struct addr *at, struct turn_reservation *pair)
{
	const struct turn_server_options *o = &a->server->o;
	struct turn_relay **relay = &a->relay[turn_family(at)];
	int r = (a->tcp ? o->relay->listen : o->relay->open)(o->edge, a, at, relay);

	if (r < 0 || !pair)
		return r;
	pair->at = *at;
	addr_set_port(&pair->at, (uint16_t)(addr_port(at) + 1));
	pair->public_at = turn_public_address(a->server->cfg, &pair->at);
	r = o->relay->hold(o->edge, &pair->at, &pair->held);
	if (r < 0)
		o->relay->close(steal_ptr(relay));
	return r;
}

static bool in_use(const struct turn_server *s, const struct addr *at)
{
	return turn_totals_is_relay(s->o.totals, at) || turn_totals_is_listener(s->o.totals, at);
}

static int open_address(struct turn_alloc *a, const struct addr *ip, const struct turn_open *o)
{
	struct turn_server *s = a->server;
	struct turn_port_walk walk;
	struct addr at = *ip, outside = turn_public_address(s->cfg, ip);
	uint16_t port;
	int r = turn_port_walk_init(&walk, s->cfg->relay.ports, o->parity);

	walk.pool = &s->random_bytes;
	if (addr_family(&outside) == AF_UNSPEC) /* what would the client be told? */
		return -ENOLINK;

	for (unsigned tries = 0; r == 0 && tries < OPEN_TRIES;) {
		r = turn_port_walk_next(&walk, &port);
		if (r < 0)
			return r;
		addr_set_port(&at, port);
		addr_set_port(&outside, port); /* which two relay addresses may share */
		if (in_use(s, &at) || in_use(s, &outside))
			continue;
		r = open_port(a, &at, o->pair);
		if (r == 0 && took(a, &at, &outside))
			return 0;
		if (r == 0)
			s->o.relay->close(steal_ptr(&a->relay[turn_family(&at)]));
		if (r == -EADDRINUSE || r == -EACCES)
			r = 0;
		tries++;
	}
	return r < 0 ? r : -ENOSPC;
}

/* The i-th relay address to try for this family: the configured ones, the one that the client came
 * to first; without any, the one that it came to. */
static const struct addr *candidate(const struct turn_server *s, const struct turn_path *from,
				    unsigned family, size_t i)
{
	const struct addr *list = s->cfg->relay.addresses.items;
	size_t n = s->cfg->relay.addresses.n, first = 0;

	if (n == 0)
		return i == 0 && addr_family(&from->local) != AF_UNSPEC &&
				       turn_family(&from->local) == family &&
				       addr_classify(&from->local) != ADDR_UNSPECIFIED
			       ? &from->local
			       : NULL;
	for (size_t k = 0; k < n; k++)
		if (addr_equal_ip(&list[k], &from->local))
			first = k;
	for (size_t k = 0; k < n; k++) {
		const struct addr *a = &list[(first + k) % n];
		if (turn_family(a) == family && i-- == 0)
			return a;
	}
	return NULL;
}

bool turn_alloc_can_open(const struct turn_server *s, const struct turn_path *from, unsigned family)
{
	return candidate(s, from, family, 0) != NULL;
}

enum turn_refusal turn_alloc_open(struct turn_alloc *a, const struct turn_open *o)
{
	const struct addr *ip;
	int r = -EADDRNOTAVAIL;

	for (size_t i = 0; (ip = candidate(a->server, &a->path, o->family, i)) != NULL; i++) {
		r = open_address(a, ip, o);
		if (r != -EADDRNOTAVAIL && r != -ENOSPC && r != -ENOLINK)
			break;
	}
	return refusal_of(r);
}

enum turn_refusal turn_alloc_adopt(struct turn_alloc *a, struct turn_reservation *res)
{
	const struct turn_server_options *o = &a->server->o;
	int r = o->relay->adopt(o->edge, a, res->held, &a->relay[turn_family(&res->at)]);

	if (r < 0)
		return refusal_of(r);
	res->held = NULL;
	took(a, &res->at, &res->public_at);
	return TURN_ACCEPTED;
}

/* ---- in service ---- */

static void on_expired(struct timer *t, uint64_t now)
{
	(void)turn_alloc_unless_over(container_of(t, struct turn_alloc, expiry), now);
}

static void plan_expiry(struct turn_alloc *a)
{
	uint64_t v4 = a->ends[TURN_V4], v6 = a->ends[TURN_V6];

	timers_set(a->server->o.timers, &a->expiry, v4 && v6 ? MIN(v4, v6) : MAX(v4, v6));
}

struct turn_alloc *turn_alloc_unless_over(struct turn_alloc *a, uint64_t now)
{
	if (a && turn_alloc_is_over(a, now)) {
		turn_alloc_end(a, TURN_END_EXPIRED, now);
		return NULL;
	}
	for (unsigned f = 0; a && f < TURN_FAMILIES; f++)
		if (a->relay[f] && a->ends[f] <= now)
			turn_alloc_give_back(a, f);
	return a;
}

void turn_alloc_give_back(struct turn_alloc *a, unsigned family)
{
	close_relay(a, family);
	turn_channels_forget(a, family);
	turn_permissions_forget(a, family);
	plan_expiry(a);
}

static const struct addr *any_public(const struct turn_alloc *a)
{
	return &a->public_at[a->relay[TURN_V4] ? TURN_V4 : TURN_V6];
}

int turn_alloc_start(struct turn_alloc *a, uint64_t lifetime_ms, uint64_t now)
{
	struct turn_server *s = a->server;
	int r = htable_insert(&s->by_tuple, &a->node, tuple_hash(s, &a->path));

	if (r == 0 && a->mobility)
		r = turn_mobility_link(a->mobility);
	if (r < 0)
		return r;
	a->id = s->next_id++ << 8 | (s->o.worker & 0xff);
	a->created = now;
	a->expiry.fire = on_expired;
	turn_alloc_refresh(a, TURN_BOTH, lifetime_ms, now);
	list_append(&s->allocs, &a->in_order);
	s->n_allocs++;
	turn_count(s, TURN_M_ALLOCATIONS, 0, 1);
	turn_count(s, TURN_M_REALM_ALLOCATIONS, a->realm, 1);
	turn_count(s, TURN_M_REALM_CREATED, a->realm, 1);
	turn_count(s, TURN_M_ALLOCATIONS_CREATED, a->path.transport->proto, 1);
	log_emit(&MSG_TURN_ALLOC_CREATED, LF_U64("id", a->id), LF_STR("user", a->user), LF_STR("realm", turn_alloc_realm(a)->name),
		 LF_STR("transport", a->path.transport->name), LF_ADDR("client", &a->path.client),
		 LF_ADDR("local", &a->path.local), LF_ADDR("relay", any_public(a)),
		 LF_U64("lifetime_s", lifetime_ms / 1000));
	return 0;
}

int turn_alloc_move(struct turn_alloc *a, const struct turn_path *to)
{
	struct turn_server *s = a->server;

	turn_offload_end_all(a);
	turn_alloc_unlist(a);
	a->path = *to;
	if (htable_insert(&s->by_tuple, &a->node, tuple_hash(s, to)) < 0) {
		turn_mobility_park(a);
		return -ENOMEM;
	}
	turn_offload_alloc(a);
	return 0;
}

void turn_alloc_arrive(struct turn_alloc *a)
{
	struct turn_server *s = a->server;

	a->id = s->next_id++ << 8 | (s->o.worker & 0xff);
	plan_expiry(a);
	list_append(&s->allocs, &a->in_order);
	s->n_allocs++;
	turn_count(s, TURN_M_ALLOCATIONS, 0, 1);
	turn_count(s, TURN_M_REALM_ALLOCATIONS, a->realm, 1);
}

void turn_alloc_refresh(struct turn_alloc *a, unsigned families, uint64_t lifetime_ms, uint64_t now)
{
	for (unsigned f = 0; f < TURN_FAMILIES; f++)
		if (a->relay[f] && families & 1u << f)
			a->ends[f] = now + lifetime_ms;
	plan_expiry(a);
	turn_offload_alloc(a);
}

void turn_alloc_end(struct turn_alloc *a, enum turn_end why, uint64_t now)
{
	static const char *const causes[TURN_ENDS] = {
		[TURN_END_EXPIRED] = "expired",
		[TURN_END_RELEASED] = "released by the client",
		[TURN_END_DISCONNECTED] = "connection closed",
		[TURN_END_KILLED] = "ended by an administrator",
		[TURN_END_STOPPED] = "server stopped",
	};
	struct turn_server *s = a->server;

	turn_offload_end_all(a); /* so that the counters below are complete */
	s->n_allocs--;
	turn_count(s, TURN_M_ALLOCATIONS, 0, -1);
	turn_count(s, TURN_M_REALM_ALLOCATIONS, a->realm, -1);
	turn_count(s, TURN_M_ALLOCATIONS_ENDED, why, 1);
	log_emit(&MSG_TURN_ALLOC_ENDED, LF_U64("id", a->id), LF_STR("cause", causes[why]),
		 LF_STR("user", a->user), LF_STR("realm", turn_alloc_realm(a)->name), LF_ADDR("client", &a->path.client),
		 LF_ADDR("relay", any_public(a)),
		 LF_U64("seconds", now > a->created ? (now - a->created) / 1000 : 0),
		 LF_U64("packets_up", a->packets[TURN_UP]), LF_U64("bytes_up", a->bytes[TURN_UP]),
		 LF_U64("packets_down", a->packets[TURN_DOWN]),
		 LF_U64("bytes_down", a->bytes[TURN_DOWN]));
	turn_alloc_free(a);
}
