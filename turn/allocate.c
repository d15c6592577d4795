/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocate (RFC 8656 7.2, with the families of RFC 6156): what the request wants is read and judged in
 * the order of the clause, then the account, then the sockets, and only then is there an
 * allocation. A retransmission (same transaction, same five-tuple) is answered as before.
 */
#include <errno.h>
#include <string.h>
#include "turn/alloc.h"

enum { TRANSPORT_TCP = 6, TRANSPORT_UDP = 17, EVEN_PORT_R = 0x80, FAMILY_V4 = 1, FAMILY_V6 = 2 };

struct wants {
	bool token;	 /* RESERVATION-TOKEN */
	bool even, pair; /* EVEN-PORT, its R bit */
	unsigned family;
	bool tcp;    /* RFC 6062 */
	bool mobile; /* MOBILITY-TICKET, empty */
	bool both; /* ADDITIONAL-ADDRESS-FAMILY: IPv6 beside IPv4 */
	uint64_t lifetime_ms;
};

/* RFC 8656 7.2: min(asked, max), never below the default. */
uint64_t turn_lifetime(const struct turn_config *cfg, const struct stun_msg *m)
{
	uint32_t asked_s;
	uint64_t floor = MIN(cfg->lifetime.default_ms, cfg->lifetime.max_ms);

	if (stun_get_u32(m, STUN_A_LIFETIME, &asked_s) < 0)
		return floor;
	return MAX(floor, MIN(asked_s * UINT64_C(1000), cfg->lifetime.max_ms));
}

static unsigned first_byte(const struct stun_msg *m, enum stun_attr a)
{
	return stun_has(m, a) && m->attr[a].n > 0 ? m->attr[a].p[0] : 0;
}

static enum turn_refusal read_families(struct turn_request *q, struct wants *w)
{
	const struct stun_msg *m = q->m;
	bool requested = stun_has(m, STUN_A_REQUESTED_ADDRESS_FAMILY);

	if (requested && stun_has(m, STUN_A_ADDITIONAL_ADDRESS_FAMILY))
		return turn_because(q, TURN_REFUSE_CONTRADICTION,
				    "REQUESTED- and ADDITIONAL-ADDRESS-FAMILY");
	if (stun_has(m, STUN_A_ADDITIONAL_ADDRESS_FAMILY)) {
		if (first_byte(m, STUN_A_ADDITIONAL_ADDRESS_FAMILY) != FAMILY_V6)
			return turn_because(q, TURN_REFUSE_CONTRADICTION,
					    "ADDITIONAL-ADDRESS-FAMILY other than IPv6");
		if (w->pair)
			return turn_because(q, TURN_REFUSE_CONTRADICTION,
					    "ADDITIONAL-ADDRESS-FAMILY and a reserved port");
		w->both = true;
	}
	w->family = TURN_V4;
	if (requested) {
		unsigned f = first_byte(m, STUN_A_REQUESTED_ADDRESS_FAMILY);
		if (f != FAMILY_V4 && f != FAMILY_V6)
			return TURN_REFUSE_FAMILY;
		w->family = f == FAMILY_V6 ? TURN_V6 : TURN_V4;
	}
	if (w->both) /* one of the two is enough */
		return turn_alloc_can_open(q->s, q->from, TURN_V4) ||
				       turn_alloc_can_open(q->s, q->from, TURN_V6)
			       ? TURN_ACCEPTED
			       : TURN_REFUSE_FAMILY;
	return turn_alloc_can_open(q->s, q->from, w->family) ? TURN_ACCEPTED : TURN_REFUSE_FAMILY;
}

static enum turn_refusal read_wants(struct turn_request *q, struct wants *w)
{
	const struct stun_msg *m = q->m;

	*w = (struct wants){ .lifetime_ms = turn_lifetime(q->s->cfg, m) };
	if (!stun_has(m, STUN_A_REQUESTED_TRANSPORT))
		return turn_because(q, TURN_REFUSE_MISSING, "REQUESTED-TRANSPORT");
	w->tcp = first_byte(m, STUN_A_REQUESTED_TRANSPORT) == TRANSPORT_TCP;
	if (!w->tcp && first_byte(m, STUN_A_REQUESTED_TRANSPORT) != TRANSPORT_UDP)
		return TURN_REFUSE_TRANSPORT;
	if (w->tcp && (!q->from->transport->stream || stun_has(m, STUN_A_EVEN_PORT) || /* RFC 6062 5.1 */
		       stun_has(m, STUN_A_RESERVATION_TOKEN) || stun_has(m, STUN_A_DONT_FRAGMENT)))
		return turn_because(q, TURN_REFUSE_CONTRADICTION, "a TCP allocation and what only UDP has");
	w->mobile = stun_has(m, STUN_A_MOBILITY_TICKET);
	if (w->mobile && (w->tcp || !q->s->cfg->mobility)) /* its connections could not follow */
		return TURN_REFUSE_MOBILITY;
	if (w->mobile && m->attr[STUN_A_MOBILITY_TICKET].n > 0)
		return turn_because(q, TURN_REFUSE_TICKET, "a new allocation has none");
	w->even = stun_has(m, STUN_A_EVEN_PORT);
	w->pair = w->even && (first_byte(m, STUN_A_EVEN_PORT) & EVEN_PORT_R) != 0;
	w->token = stun_has(m, STUN_A_RESERVATION_TOKEN);
	if (w->token && (w->even || stun_has(m, STUN_A_REQUESTED_ADDRESS_FAMILY) ||
			 stun_has(m, STUN_A_ADDITIONAL_ADDRESS_FAMILY)))
		return turn_because(q, TURN_REFUSE_CONTRADICTION,
				    "RESERVATION-TOKEN and a wish for a port or a family");
	return w->token ? TURN_ACCEPTED : read_families(q, w);
}

static enum turn_refusal take_account(struct turn_request *q, struct turn_account **ret_a)
{
	switch (turn_totals_take(q->s->o.totals, q->realm->slot, q->id.account, TURN_CAPS(q->s, q->realm, allocations),
				 ret_a)) {
	case TURN_LIMIT_OK: return TURN_ACCEPTED;
	case TURN_LIMIT_ACCOUNT: return TURN_REFUSE_QUOTA_USER;
	case TURN_LIMIT_REALM: return TURN_REFUSE_QUOTA_REALM; /* elsewhere it would have no more either */
	case TURN_LIMIT_TOTAL: return turn_elsewhere(q, TURN_REFUSE_QUOTA_TOTAL);
	default: return TURN_REFUSE_RESOURCES;
	}
}

/* The reserved socket, and with it the place that the reservation took in the account. */
static enum turn_refusal open_reserved(struct turn_request *q, struct turn_alloc *a)
{
	struct turn_server *s = q->s;
	struct turn_reservation res;
	enum turn_refusal r;

	if (!s->o.reservations ||
	    !turn_reservations_take(s->o.reservations,
				    &(struct turn_claim){ q->m->attr[STUN_A_RESERVATION_TOKEN].p, a->realm, a->user },
				    q->now, &res))
		return TURN_REFUSE_RESERVATION;
	a->account = res.account;
	r = turn_alloc_adopt(a, &res);
	if (r != TURN_ACCEPTED)
		s->o.relay->drop(res.held);
	return r;
}

/* An even port and the one above, held for whoever shows the token. */
static enum turn_refusal open_pair(struct turn_request *q, struct turn_alloc *a, unsigned family)
{
	struct turn_server *s = q->s;
	struct turn_reservation res = { .expires = q->now + TURN_RESERVATION_MS, .realm = a->realm };
	struct turn_open o = { .family = family, .parity = TURN_PORT_EVEN_PAIR, .pair = &res };
	enum turn_refusal r;

	if (!s->o.reservations)
		return TURN_REFUSE_RESERVATION;
	r = take_account(q, &res.account);
	if (r != TURN_ACCEPTED)
		return r;
	memcpy(res.user, a->user, MIN(strlen(a->user), sizeof res.user - 1));
	r = turn_alloc_open(a, &o);
	if (r == TURN_ACCEPTED && turn_reservations_put(s->o.reservations, s->o.worker, &res) < 0) {
		s->o.relay->drop(res.held);
		r = TURN_REFUSE_RESOURCES;
	}
	if (r != TURN_ACCEPTED) {
		turn_totals_give(s->o.totals, res.account);
		return r;
	}
	memcpy(a->token, res.token, sizeof a->token);
	a->has_token = true;
	if (!timer_is_set(&s->reservations_due))
		timers_set(s->o.timers, &s->reservations_due, res.expires);
	return TURN_ACCEPTED;
}

/* Nobody was told this token. */
static void drop_reservation(struct turn_request *q, const struct turn_alloc *a)
{
	struct turn_server *s = q->s;
	struct turn_reservation res;

	if (!a->has_token || !turn_reservations_take(s->o.reservations,
						     &(struct turn_claim){ a->token, a->realm, a->user }, q->now, &res))
		return;
	s->o.relay->drop(res.held);
	turn_totals_give(s->o.totals, res.account);
}

static enum turn_refusal open_family(struct turn_request *q, struct turn_alloc *a,
				     struct turn_open *o, unsigned family)
{
	o->family = family;
	return turn_alloc_can_open(q->s, q->from, family) ? turn_alloc_open(a, o) : TURN_REFUSE_FAMILY;
}

static enum turn_refusal open_sockets(struct turn_request *q, struct turn_alloc *a,
				      const struct wants *w)
{
	struct turn_open o = { .family = w->family, .parity = w->even ? TURN_PORT_EVEN : TURN_PORT_ANY };
	enum turn_refusal r4, r6;

	if (w->token)
		return open_reserved(q, a);
	r4 = take_account(q, &a->account);
	if (r4 != TURN_ACCEPTED)
		return r4;
	if (w->pair)
		return open_pair(q, a, w->family);
	if (!w->both)
		return turn_alloc_open(a, &o);
	r4 = open_family(q, a, &o, TURN_V4);
	r6 = open_family(q, a, &o, TURN_V6);
	if (r4 != TURN_ACCEPTED && r6 != TURN_ACCEPTED) /* RFC 8656 7.2: 508, if one of them is served at all */
		return r4 == TURN_REFUSE_FAMILY ? r6 : r4;
	a->family_refused = r6 != TURN_ACCEPTED ? FAMILY_V6 : r4 != TURN_ACCEPTED ? FAMILY_V4 : 0;
	a->family_why = (uint8_t)(r6 != TURN_ACCEPTED ? r6 : r4);
	return TURN_ACCEPTED;
}

static void answer(struct turn_request *q, const struct turn_alloc *a)
{
	struct stun_writer sw;

	turn_answer_begin(q, &sw);
	for (unsigned f = 0; f < TURN_FAMILIES; f++)
		if (a->relay[f])
			stun_put_addr(&sw, STUN_A_XOR_RELAYED_ADDRESS, &a->public_at[f]);
	stun_put_u32(&sw, STUN_A_LIFETIME, a->granted_s);
	if (a->has_token)
		stun_put(&sw, STUN_A_RESERVATION_TOKEN, a->token, sizeof a->token);
	if (a->family_refused)
		stun_put_address_error(&sw, a->family_refused == FAMILY_V6 ? AF_INET6 : AF_INET,
				       turn_refusal_rows[a->family_why].code,
				       turn_refusal_rows[a->family_why].text);
	if (a->mobility)
		turn_mobility_put(a->mobility, &sw);
	stun_put_addr(&sw, STUN_A_XOR_MAPPED_ADDRESS, &q->from->client);
	turn_answer_send(q, &sw);
}

enum turn_refusal turn_on_allocate(struct turn_request *q)
{
	struct wants w;
	enum turn_refusal r;

	if (q->alloc && memcmp(q->alloc->tid, q->m->tid, STUN_TID_LEN) != 0)
		return TURN_REFUSE_EXISTS;
	if (q->alloc) {
		answer(q, q->alloc);
		return TURN_ACCEPTED;
	}
	if (q->s->draining)
		return turn_elsewhere(q, TURN_REFUSE_DRAINING);
	if (q->leaving)
		return turn_elsewhere(q, TURN_REFUSE_LEAVING);
	r = read_wants(q, &w);
	if (r != TURN_ACCEPTED)
		return r;
	_cleanup_(turn_alloc_freep) struct turn_alloc *a = turn_alloc_new(q);
	if (!a)
		return TURN_REFUSE_RESOURCES;
	a->tcp = w.tcp;
	if (w.mobile && !(a->mobility = turn_mobility_new(a)))
		return TURN_REFUSE_RESOURCES;
	r = open_sockets(q, a, &w);
	if (r != TURN_ACCEPTED)
		return r;
	memcpy(a->tid, q->m->tid, STUN_TID_LEN);
	a->key = turn_key_ref(q->key);
	a->granted_s = (uint32_t)(w.lifetime_ms / 1000);
	if (turn_alloc_start(a, w.lifetime_ms, q->now) < 0) {
		drop_reservation(q, a);
		return TURN_REFUSE_RESOURCES;
	}
	answer(q, a);
	a = NULL; /* in service now */
	return TURN_ACCEPTED;
}
