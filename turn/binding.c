/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binding (RFC 8489, RFC 3489) and, on listeners that form a set of two addresses and two ports, NAT behaviour
 * discovery (RFC 5780): where the answer comes from, which other address there is, an answer from
 * there, to another port, or long enough to be fragmented.
 *
 * Each of these lets a stranger's request say what is sent to its source address, so the rules of the
 * budget hold: the excess over the request is charged; an answer to a port that did not ask is charged
 * whole; padding is no longer than the request's own; and an error goes back to where the request
 * came from.
 */
#include "turn/alloc.h"
#include "turn/discovery.h"

enum {
	CHANGE_IP = 4, /* RFC 5780 7.2 */
	CHANGE_PORT = 2,
	PADDING_MAX = 1500, /* 7.6: the MTU of the interface, a multiple of four */
};

struct discovery {
	const struct turn_discovery_set *set;
	unsigned ip, port; /* the listener's place in the set */
	struct addr told[2][2]; /* what clients are told: the public ones, if there is a 1:1 NAT */
};

static bool find(const struct turn_request *q, struct discovery *ret_d)
{
	if (!q->s->o.discovery || !q->from->transport->reply_from)
		return false;
	ret_d->set = turn_discovery_set_of(q->s->o.discovery, &q->from->local, &ret_d->ip, &ret_d->port);
	if (!ret_d->set)
		return false;
	for (unsigned i = 0; i < 4; i++) { /* a wrong OTHER-ADDRESS is worse than none */
		ret_d->told[i / 2][i % 2] = turn_public_address(q->s->cfg, &ret_d->set->at[i / 2][i % 2]);
		if (addr_family(&ret_d->told[i / 2][i % 2]) == AF_UNSPEC)
			return false;
	}
	return true;
}

uint64_t turn_binding_understood(const struct turn_request *q)
{
	struct discovery d;

	if (q->m->method != STUN_BINDING || !find(q, &d))
		return 0;
	return STUN_BIT(STUN_A_CHANGE_REQUEST) | STUN_BIT(STUN_A_RESPONSE_PORT) | STUN_BIT(STUN_A_PADDING);
}

/* A client of RFC 3489 wants the address in the clear, and ours beside it. */
static void put_3489(const struct turn_request *q, const struct addr *origin, const struct addr *other,
		     struct stun_writer *sw)
{
	stun_put_addr(sw, STUN_A_MAPPED_ADDRESS, &q->from->client);
	if (addr_family(origin) == AF_UNSPEC)
		return;
	stun_put_addr(sw, STUN_A_SOURCE_ADDRESS, origin);
	stun_put_addr(sw, STUN_A_CHANGED_ADDRESS, other);
}

static void put_5780(const struct turn_request *q, const struct addr *origin, const struct addr *other,
		     struct stun_writer *sw)
{
	stun_put_addr(sw, STUN_A_MAPPED_ADDRESS, &q->from->client); /* 6.1: both of them */
	stun_put_addr(sw, STUN_A_RESPONSE_ORIGIN, origin);
	stun_put_addr(sw, STUN_A_OTHER_ADDRESS, other);
}

static void put_padding(const struct turn_request *q, struct stun_writer *sw)
{
	static const uint8_t padding[PADDING_MAX];
	const struct stun_value *v = &q->m->attr[STUN_A_PADDING];

	if (v->p)
		stun_put(sw, STUN_A_PADDING, padding, MIN((size_t)v->n, sizeof padding) & ~(size_t)3);
}

static enum turn_refusal answer_plain(struct turn_request *q)
{
	struct stun_writer sw;

	turn_answer_begin(q, &sw);
	if (q->m->rfc3489)
		put_3489(q, &q->from->local, &q->from->local, &sw); /* there is no other one */
	else
		stun_put_addr(&sw, STUN_A_XOR_MAPPED_ADDRESS, &q->from->client);
	turn_answer_send(q, &sw);
	return TURN_ACCEPTED;
}

/* Where the answer leaves from and goes to: RFC 5780 6.1, table 1. */
static enum turn_refusal choose_way(struct turn_request *q, struct discovery *d, struct turn_path *ret_way)
{
	const struct stun_value *port = &q->m->attr[STUN_A_RESPONSE_PORT];
	uint32_t change;

	*ret_way = *q->from;
	if (stun_get_u32(q->m, STUN_A_CHANGE_REQUEST, &change) == 0) {
		d->ip ^= (change & CHANGE_IP) != 0;
		d->port ^= (change & CHANGE_PORT) != 0;
		/* The listener is there as long as the worker; if not, silence is what a filter would make of it. */
		if (!q->from->transport->reply_from(q->from, &d->set->at[d->ip][d->port], ret_way))
			return TURN_REFUSE_RESOURCES;
	}
	if (port->p) {
		uint16_t to = load_be16(port->p);
		if (to == 0)
			return turn_because(q, TURN_REFUSE_MALFORMED, "RESPONSE-PORT is 0");
		if (stun_has(q->m, STUN_A_PADDING))
			return turn_because(q, TURN_REFUSE_MALFORMED, "PADDING and RESPONSE-PORT exclude each other");
		addr_set_port(&ret_way->client, to);
	}
	return TURN_ACCEPTED;
}

enum turn_refusal turn_on_binding(struct turn_request *q)
{
	struct discovery d;
	struct turn_path way;
	struct stun_writer sw;
	const struct addr *origin, *other;
	enum turn_refusal r;

	if (!find(q, &d))
		return answer_plain(q);
	other = &d.told[!d.ip][!d.port]; /* of the address that was asked, whatever answers */
	r = choose_way(q, &d, &way);
	if (r != TURN_ACCEPTED)
		return r;
	origin = &d.told[d.ip][d.port];
	turn_answer_begin(q, &sw);
	if (q->m->rfc3489) {
		put_3489(q, origin, other, &sw);
	} else {
		stun_put_addr(&sw, STUN_A_XOR_MAPPED_ADDRESS, &q->from->client);
		put_5780(q, origin, other, &sw);
	}
	put_padding(q, &sw);
	q->way = &way;
	turn_answer_send(q, &sw);
	q->way = NULL;
	return TURN_ACCEPTED;
}
