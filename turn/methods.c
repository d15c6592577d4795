/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The methods of STUN and TURN that this server answers, one row each, and their handlers; Binding
 * and Allocate have files of their own. A handler changes nothing before it knows that it will succeed. Receiving the
 * same request twice does the same as once (RFC 8656 5).
 */
#include <string.h>
#include "turn/alloc.h"

/* ---- Refresh ---- */

static void answer_lifetime(struct turn_request *q, uint64_t ms)
{
	struct stun_writer sw;

	turn_answer_begin(q, &sw);
	stun_put_u32(&sw, STUN_A_LIFETIME, (uint32_t)(ms / 1000));
	turn_answer_send(q, &sw);
}

static bool is_release(const struct turn_request *q)
{
	uint32_t asked_s;

	return stun_get_u32(q->m, STUN_A_LIFETIME, &asked_s) == 0 && asked_s == 0;
}

/* REQUESTED-ADDRESS-FAMILY: which of two relay addresses is meant; without it, both (RFC 8656 8.1). What was given back
 * may be given back again: a retransmission is. */
static enum turn_refusal read_families(struct turn_request *q, const struct turn_alloc *a,
				       unsigned *ret_families)
{
	const struct stun_value *v = &q->m->attr[STUN_A_REQUESTED_ADDRESS_FAMILY];
	unsigned family;

	*ret_families = TURN_BOTH;
	if (!v->p)
		return TURN_ACCEPTED;
	family = v->n && v->p[0] == 2 ? TURN_V6 : TURN_V4;
	if (v->n == 0 || v->p[0] < 1 || v->p[0] > 2 ||
	    !(is_release(q) ? turn_alloc_had(a, family) : a->relay[family] != NULL))
		return turn_because(q, TURN_REFUSE_PEER_FAMILY, "REQUESTED-ADDRESS-FAMILY");
	*ret_families = 1u << family;
	return TURN_ACCEPTED;
}

enum turn_refusal turn_read_refresh(struct turn_request *q, const struct turn_alloc *a,
				    struct turn_refresh *ret_r)
{
	ret_r->lifetime_ms = is_release(q) ? 0 : turn_lifetime(q->s->cfg, q->m);
	return read_families(q, a, &ret_r->families);
}

static bool others(const struct turn_alloc *a, unsigned families)
{
	return (a->relay[TURN_V4] && !(families & 1u << TURN_V4)) ||
	       (a->relay[TURN_V6] && !(families & 1u << TURN_V6));
}

void turn_release(struct turn_request *q, struct turn_alloc *a, unsigned families)
{
	answer_lifetime(q, 0);
	q->alloc = NULL;
	if (!others(a, families)) {
		turn_alloc_end(a, TURN_END_RELEASED, q->now);
		return;
	}
	for (unsigned f = 0; f < TURN_FAMILIES; f++)
		if (families & 1u << f && a->relay[f])
			turn_alloc_give_back(a, f);
}

static enum turn_refusal on_refresh(struct turn_request *q)
{
	struct turn_refresh refresh;
	enum turn_refusal r;

	if (stun_has(q->m, STUN_A_MOBILITY_TICKET))
		return turn_on_move(q);
	if (!q->alloc)
		return TURN_REFUSE_NO_ALLOCATION;
	r = turn_read_refresh(q, q->alloc, &refresh);
	if (r != TURN_ACCEPTED)
		return r;
	if (refresh.lifetime_ms == 0) {
		turn_release(q, q->alloc, refresh.families);
		return TURN_ACCEPTED;
	}
	turn_alloc_refresh(q->alloc, refresh.families, refresh.lifetime_ms, q->now);
	answer_lifetime(q, refresh.lifetime_ms);
	return TURN_ACCEPTED;
}

/* ---- CreatePermission ---- */

static void answer_empty(struct turn_request *q)
{
	struct stun_writer sw;

	turn_answer_begin(q, &sw);
	turn_answer_send(q, &sw);
}

enum { NAMED_TWICE = 32 }; /* new addresses of one request among which repeats are found */

/* A request may name an address with several ports: that is one permission. */
static bool is_new(const struct addr *seen, unsigned n, const struct addr *peer)
{
	for (unsigned i = 0; i < MIN(n, (unsigned)NAMED_TWICE); i++)
		if (addr_equal_ip(&seen[i], peer))
			return false;
	return true;
}

/* All addresses are judged before one is installed. */
static enum turn_refusal judge_peers(struct turn_request *q, unsigned *ret_new)
{
	uint64_t limit = q->realm->limits.permissions_per_allocation;
	size_t it = 0;
	struct addr peer, seen[NAMED_TWICE];
	unsigned n = 0, fresh = 0;
	bool own;
	int r;

	while ((r = stun_next_addr(q->m, STUN_A_XOR_PEER_ADDRESS, &it, &peer)) == 0) {
		enum turn_refusal no = turn_peer_check(q, &peer, &own);
		if (no != TURN_ACCEPTED)
			return no;
		n++;
		if (turn_permission_find(q->alloc, &peer, q->now) || !is_new(seen, fresh, &peer))
			continue;
		if (fresh < NAMED_TWICE)
			seen[fresh] = peer;
		if (++fresh > limit)
			return TURN_REFUSE_PERMISSIONS;
	}
	if (r == -EBADMSG)
		return turn_because(q, TURN_REFUSE_MALFORMED, "XOR-PEER-ADDRESS");
	if (n == 0)
		return turn_because(q, TURN_REFUSE_MISSING, "XOR-PEER-ADDRESS");
	*ret_new = fresh;
	return TURN_ACCEPTED;
}

static enum turn_refusal on_create_permission(struct turn_request *q)
{
	size_t it = 0;
	struct addr peer;
	unsigned fresh = 0;
	enum turn_refusal r;

	if (!q->alloc)
		return TURN_REFUSE_NO_ALLOCATION;
	r = judge_peers(q, &fresh);
	if (r == TURN_ACCEPTED)
		r = turn_permissions_reserve(q->alloc, fresh, q->now);
	while (r == TURN_ACCEPTED && stun_next_addr(q->m, STUN_A_XOR_PEER_ADDRESS, &it, &peer) == 0)
		turn_permission_set(q->alloc, &peer, turn_policy_is_own(q->s->policy, q->realm, &peer), q->now);
	turn_permissions_settle(q->alloc);
	if (r == TURN_ACCEPTED)
		answer_empty(q);
	return r;
}

/* ---- ChannelBind ---- */

static enum turn_refusal on_channel_bind(struct turn_request *q)
{
	uint32_t v;
	struct addr peer;
	bool own;
	enum turn_refusal r;

	if (!q->alloc)
		return TURN_REFUSE_NO_ALLOCATION;
	if (q->alloc->tcp)
		return turn_because(q, TURN_REFUSE_CONTRADICTION, "a channel on a TCP allocation");
	if (stun_get_u32(q->m, STUN_A_CHANNEL_NUMBER, &v) < 0 ||
	    stun_get_addr(q->m, STUN_A_XOR_PEER_ADDRESS, &peer) < 0)
		return turn_because(q, TURN_REFUSE_MISSING, "CHANNEL-NUMBER or XOR-PEER-ADDRESS");
	uint16_t number = (uint16_t)(v >> 16);
	if (number < TURN_CHANNEL_FIRST || number > TURN_CHANNEL_LAST)
		return turn_because(q, TURN_REFUSE_CHANNEL, "its number is not in 0x4000-0x7FFF");
	r = turn_peer_check(q, &peer, &own);
	if (r != TURN_ACCEPTED)
		return r;
	if (own && !turn_totals_is_relay(q->s->o.totals, &peer))
		return TURN_REFUSE_OWN_PEER;
	r = turn_channel_bind(q, number, &peer, own);
	if (r == TURN_ACCEPTED)
		answer_empty(q);
	return r;
}

const struct turn_method turn_methods[TURN_METHODS] = {
	[TURN_METHOD_BINDING] = { STUN_BINDING, true, turn_on_binding },
	[TURN_METHOD_ALLOCATE] = { STUN_ALLOCATE, false, turn_on_allocate },
	[TURN_METHOD_REFRESH] = { STUN_REFRESH, false, on_refresh },
	[TURN_METHOD_CREATE_PERMISSION] = { STUN_CREATE_PERMISSION, false, on_create_permission },
	[TURN_METHOD_CHANNEL_BIND] = { STUN_CHANNEL_BIND, false, on_channel_bind },
	[TURN_METHOD_CONNECT] = { STUN_CONNECT, false, turn_on_connect },
	[TURN_METHOD_CONNECTION_BIND] = { STUN_CONNECTION_BIND, false, turn_on_connection_bind },
};
