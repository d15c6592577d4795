/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet path: ChannelData and Send from the client, datagrams from peers (RFC 8656 11, 12). No
 * allocation, no lock, no clock; payload is forwarded where it lies. It is copied in two cases only,
 * when zero bytes must follow it: a Data indication or a stream's ChannelData whose length is not a
 * multiple of four.
 *
 * Everything is judged anew with each packet: allocation, channel and permission by the pass's time, an own
 * address by whether its port is a live relay socket now, the bit rate by the lease of the account.
 */
#include <string.h>
#include "turn/relay_data.h"

enum { DATA_HEAD_MAX = 20 + 24 + 4 };

/* ---- both ways ---- */

static void drop_throttled(struct turn_alloc *a, size_t n, uint64_t now)
{
	static const struct {
		enum turn_limit limit;
		enum turn_drop drop;
		const struct log_msg *msg;
	} rows[] = {
		{ TURN_LIMIT_ACCOUNT, TURN_DROP_BITRATE_USER, &MSG_TURN_LIMIT_BITRATE_USER },
		{ TURN_LIMIT_REALM, TURN_DROP_BITRATE_REALM, &MSG_TURN_LIMIT_BITRATE_REALM },
		{ TURN_LIMIT_TOTAL, TURN_DROP_BITRATE_TOTAL, &MSG_TURN_LIMIT_BITRATE },
	};
	struct turn_server *s = a->server;
	const struct turn_realm *x = turn_alloc_realm(a);
	enum turn_limit which = turn_totals_short(s->o.totals, a->account, TURN_CAPS(s, x, bitrate), n, now);
	uint64_t suppressed;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].limit != which)
			continue;
		turn_drop(s, rows[i].drop);
		if (log_gate_pass(&s->throttle_gates[i], now, &suppressed))
			log_emit(rows[i].msg, LF_U64("id", a->id), LF_STR("user", a->user), LF_STR("realm", x->name),
				 LF_ADDR("client", &a->path.client), LF_U64("suppressed", suppressed));
	}
}

/* So many bytes should be in the lease: more of them, if the totals have some. */
static void lease_more(struct turn_alloc *a, size_t n, uint64_t now)
{
	struct turn_server *s = a->server;
	const struct turn_realm *x = turn_alloc_realm(a);

	a->lease += turn_totals_lease(s->o.totals, a->account, TURN_CAPS(s, x, bitrate),
				      MAX(n, x->lease_bytes) - a->lease, now);
}

/* Takes n bytes of what may be relayed, from the lease or a new one; payload of both directions. */
static bool spend_limited(struct turn_alloc *a, size_t n, uint64_t now)
{
	if (a->lease < n && a->dry_at != now)
		lease_more(a, n, now);
	if (a->lease >= n) {
		a->lease -= n;
		return true;
	}
	a->dry_at = now; /* nothing more comes in this millisecond */
	drop_throttled(a, n - a->lease, now);
	return false;
}

static inline bool spend(struct turn_alloc *a, size_t n, uint64_t now)
{
	return !a->server->rates || spend_limited(a, n, now);
}

size_t turn_spend_some(struct turn_alloc *a, enum turn_way way, size_t n, uint64_t now)
{
	struct turn_server *s = a->server;

	if (s->rates && a->lease < n && a->dry_at != now)
		lease_more(a, n, now);
	if (s->rates) {
		n = (size_t)MIN((uint64_t)n, a->lease);
		a->lease -= n;
	}
	if (n)
		turn_count_relayed(a, way, 1, n);
	else
		a->dry_at = now;
	return n;
}

/* ---- client to peer ---- */

struct upward {
	const struct addr *peer;
	const uint8_t *data;
	size_t n;
	struct dgram_mark mark;
	bool own, stable;
};

static void to_peer(struct turn_alloc *a, struct upward *u, uint64_t now)
{
	struct turn_server *s = a->server;
	struct turn_relay *relay = turn_alloc_relay_to(a, u->peer, now);
	struct addr inside;

	if (u->n > TURN_UDP_MAX) { /* a stream's frame may hold more than a datagram */
		turn_drop(s, TURN_DROP_TOO_BIG);
		return;
	}
	if (!relay) { /* its family's time is over */
		turn_drop(s, TURN_DROP_NO_PERMISSION);
		return;
	}
	if (u->own && !turn_totals_is_relay(s->o.totals, u->peer)) {
		turn_drop(s, TURN_DROP_OWN_ADDRESS);
		return;
	}
	if (!turn_hop(&u->mark)) {
		turn_drop(s, TURN_DROP_TTL);
		return;
	}
	if (!spend(a, u->n, now))
		return;
	turn_count_relayed(a, TURN_UP, 1, u->n);
	s->o.relay->send(relay, s->behind_nat && turn_own_inside(s, u->peer, false, &inside) ? &inside : u->peer,
			 u->data, u->n, u->mark, u->stable);
}

void turn_on_channel_data(struct turn_server *s, const struct turn_path *from,
			  const struct turn_packet *pk, uint64_t now)
{
	if (pk->n < TURN_CHANNEL_HEAD || load_be16(pk->data + 2) > pk->n - TURN_CHANNEL_HEAD ||
	    pk->n - TURN_CHANNEL_HEAD - load_be16(pk->data + 2) > 3) {
		turn_drop(s, TURN_DROP_MALFORMED);
		return;
	}
	struct turn_alloc *a = turn_alloc_find(s, from);
	if (!a || turn_alloc_is_over(a, now)) {
		turn_drop(s, TURN_DROP_NO_ALLOCATION);
		return;
	}
	if (a->unsettled)
		turn_mobility_settle(a);
	const struct turn_channel *c = turn_channel_by_number(a, load_be16(pk->data), now);
	if (!c || c->permitted <= now) {
		turn_drop(s, c ? TURN_DROP_NO_PERMISSION : TURN_DROP_NO_CHANNEL);
		return;
	}
	struct upward u = {
		&c->peer,  pk->data + TURN_CHANNEL_HEAD, load_be16(pk->data + 2), pk->mark, c->own,
		pk->stable
	};
	to_peer(a, &u, now);
}

/* RFC 8656 13: between UDP and UDP it is ignored where IPv6 is involved; from a stream it counts (15). */
static bool heeds_dont_fragment(const struct turn_alloc *a, const struct addr *peer)
{
	return a->path.transport->stream ||
	       (turn_family(&a->path.client) == TURN_V4 && turn_family(peer) == TURN_V4);
}

void turn_on_send(struct turn_server *s, const struct turn_path *from, const struct stun_msg *m,
		  const struct turn_packet *pk, uint64_t now)
{
	const struct stun_value *data = &m->attr[STUN_A_DATA];
	struct addr peer;

	if (m->n_unknown || !data->p || stun_get_addr(m, STUN_A_XOR_PEER_ADDRESS, &peer) < 0) {
		turn_drop(s, TURN_DROP_MALFORMED);
		return;
	}
	struct turn_alloc *a = turn_alloc_find(s, from);
	if (!a || a->tcp || turn_alloc_is_over(a, now)) { /* RFC 6062 4.4: no indications there */
		turn_drop(s, TURN_DROP_NO_ALLOCATION);
		return;
	}
	if (a->unsettled)
		turn_mobility_settle(a);
	const struct turn_permission *p = turn_permission_find(a, &peer, now);
	if (!p) {
		turn_drop(s, TURN_DROP_NO_PERMISSION);
		return;
	}
	struct upward u = { &peer, data->p, data->n, pk->mark, p->own, pk->stable };
	if (stun_has(m, STUN_A_DONT_FRAGMENT) && heeds_dont_fragment(a, &peer))
		u.mark.df = 1;
	to_peer(a, &u, now);
}

/* ---- peer to client ---- */

static void to_client(struct turn_alloc *a, const struct turn_out *o)
{
	a->path.transport->send(&a->path, o);
}

/* Head, payload and zeroes to a multiple of four, in the scratch buffer. */
static void to_client_padded(struct turn_alloc *a, const uint8_t *head, size_t head_n,
			     const struct turn_packet *pk, struct dgram_mark mark)
{
	uint8_t *out = a->server->scratch;
	size_t n = head_n + pk->n, padded = (n + 3) & ~(size_t)3;

	memcpy(out, head, head_n);
	memcpy(out + head_n, pk->data, pk->n);
	memset(out + n, 0, padded - n);
	to_client(a, &(struct turn_out){ .body = out, .body_n = padded, .mark = mark });
}

static void send_channel_data(struct turn_alloc *a, uint16_t number, const struct turn_packet *pk,
			      struct dgram_mark mark)
{
	uint8_t head[TURN_CHANNEL_HEAD];
	struct turn_out o = { .body = pk->data, .body_n = pk->n, .mark = mark, .stable = pk->stable };
	uint8_t *at = pk->headroom ? pk->data - TURN_CHANNEL_HEAD : head;

	store_be16(at, number);
	store_be16(at + 2, (uint16_t)pk->n);
	if (a->path.transport->stream && pk->n % 4 != 0) {
		to_client_padded(a, at, TURN_CHANNEL_HEAD, pk, mark);
		return;
	}
	if (pk->headroom) {
		o.body = at;
		o.body_n += TURN_CHANNEL_HEAD;
	} else {
		o.head = head;
		o.head_n = TURN_CHANNEL_HEAD;
	}
	to_client(a, &o);
}

/* splitmix64: the transaction id of an indication is only a name, nobody answers it. */
static uint64_t next_random(struct turn_server *s)
{
	uint64_t z = s->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

void turn_indication_tid(struct turn_server *s, uint8_t ret_tid[static STUN_TID_LEN])
{
	uint64_t random[2] = { next_random(s), next_random(s) };

	memcpy(ret_tid, random, STUN_TID_LEN);
}

static void send_data_indication(struct turn_alloc *a, const struct addr *peer,
				 const struct turn_packet *pk, struct dgram_mark mark)
{
	uint8_t head[DATA_HEAD_MAX], tid[STUN_TID_LEN];
	struct stun_writer sw;

	turn_indication_tid(a->server, tid);
	stun_begin(&sw, head, sizeof head, STUN_DATA, STUN_INDICATION, tid);
	stun_put_addr(&sw, STUN_A_XOR_PEER_ADDRESS, peer);
	wr_u16(&sw.w, stun_attr_table[STUN_A_DATA].type); /* its value follows from where it lies */
	wr_u16(&sw.w, (uint16_t)pk->n);
	size_t head_n = wr_len(&sw.w), padded = (pk->n + 3) & ~(size_t)3;
	if (sw.w.failed || head_n - STUN_HEADER_LEN + padded > UINT16_MAX) {
		turn_drop(a->server, TURN_DROP_TOO_BIG);
		return;
	}
	store_be16(head + 2, (uint16_t)(head_n - STUN_HEADER_LEN + padded));
	if (padded != pk->n) {
		to_client_padded(a, head, head_n, pk, mark);
		return;
	}
	to_client(a, &(struct turn_out){ head, head_n, pk->data, pk->n, mark, pk->stable });
}

void turn_peer_input(struct turn_alloc *a, const struct addr *peer, const struct turn_packet *pk,
		     uint64_t now)
{
	struct turn_server *s = a->server;
	struct addr outside;

	if (!turn_alloc_relay_to(a, peer, now)) {
		turn_drop(s, TURN_DROP_NO_ALLOCATION);
		return;
	}
	if (s->behind_nat && turn_own_outside(s, peer, false, &outside))
		peer = &outside;
	const struct turn_channel *c = turn_channel_by_peer(a, peer, now);
	const struct turn_permission *p = c ? NULL : turn_permission_find(a, peer, now);
	struct dgram_mark mark = pk->mark;

	if (c ? c->permitted <= now : !p) {
		turn_drop(s, TURN_DROP_PEER_UNWANTED);
		return;
	}
	if ((c ? c->own : p->own) && !turn_totals_is_relay(s->o.totals, peer)) {
		turn_drop(s, TURN_DROP_OWN_ADDRESS);
		return;
	}
	if (!turn_hop(&mark)) {
		turn_drop(s, TURN_DROP_TTL);
		return;
	}
	if (!a->path.transport->stream &&
	    pk->n + (c ? TURN_CHANNEL_HEAD : DATA_HEAD_MAX + 3) > TURN_UDP_MAX) {
		turn_drop(s, TURN_DROP_TOO_BIG);
		return;
	}
	if (!spend(a, pk->n, now))
		return;
	turn_count_relayed(a, TURN_DOWN, 1, pk->n);
	if (c)
		send_channel_data(a, c->number, pk, mark);
	else
		send_data_indication(a, peer, pk, mark);
}
