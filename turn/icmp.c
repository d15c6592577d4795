/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the network says about a packet that a client sent (RFC 8656 11.5): an ICMP error on a relay
 * socket becomes a Data indication with the ICMP attribute (18.13), so that the client learns at once that
 * a peer is unreachable or a packet too big. The kernel has matched the error to the socket and
 * to where our datagram had gone; here are the types that the clause passes on, the permission, and a
 * limit for each allocation, since whoever can forge an ICMP error can cause these.
 */
#include <string.h>
#include "turn/alloc.h"

enum {
	ICMP_PER_SECOND = 10, /* indications to one client */
	ICMP_UNREACHABLE = 3, ICMP_FRAGMENTATION_NEEDED = 4, ICMP_TIME_EXCEEDED = 11,
	ICMP6_UNREACHABLE = 1, ICMP6_TOO_BIG = 2, ICMP6_TIME_EXCEEDED = 3,
};

static bool is_passed_on(const struct dgram_error *e)
{
	if (e->v6)
		return e->icmp_type == ICMP6_UNREACHABLE || e->icmp_type == ICMP6_TOO_BIG ||
		       e->icmp_type == ICMP6_TIME_EXCEEDED;
	return e->icmp_type == ICMP_UNREACHABLE || e->icmp_type == ICMP_TIME_EXCEEDED;
}

static bool carries_mtu(const struct dgram_error *e)
{
	return e->v6 ? e->icmp_type == ICMP6_TOO_BIG
		     : e->icmp_type == ICMP_UNREACHABLE && e->icmp_code == ICMP_FRAGMENTATION_NEEDED;
}

static bool within_limit(struct turn_alloc *a, uint64_t now)
{
	uint32_t second = (uint32_t)(now / 1000);

	if (a->icmp_second != second) {
		a->icmp_second = second;
		a->icmp_sent = 0;
	}
	if (a->icmp_sent >= ICMP_PER_SECOND)
		return false;
	a->icmp_sent++;
	return true;
}

/* The figure of 18.13 draws seven bits for the type and nine for the code; an ICMP header has an
 * octet for each, and so do those who read the attribute. */
static void send_indication(struct turn_alloc *a, const struct dgram_error *e)
{
	uint8_t out[64], tid[STUN_TID_LEN], value[8] = { 0, 0, e->icmp_type, e->icmp_code };
	struct stun_writer sw;

	store_be32(value + 4, carries_mtu(e) ? e->info : 0);
	turn_indication_tid(a->server, tid);
	stun_begin(&sw, out, sizeof out, STUN_DATA, STUN_INDICATION, tid);
	stun_put_addr(&sw, STUN_A_XOR_PEER_ADDRESS, &e->to);
	stun_put(&sw, STUN_A_ICMP, value, sizeof value);
	a->path.transport->send(&a->path, &(struct turn_out){ .body = out, .body_n = (size_t)stun_end(&sw),
							      .mark = DGRAM_MARK_NONE });
}

static void tell_log(struct turn_server *s, const struct turn_alloc *a, const struct dgram_error *e, uint64_t now)
{
	uint64_t suppressed;

	if (log_enabled(LOG_LVL_DEBUG) && log_gate_pass(&s->peer_error_gate, now, &suppressed))
		log_emit(&MSG_TURN_PEER_UNREACHABLE, LF_U64("id", a->id), LF_ADDR("peer", &e->to),
			 LF_ADDR("from", &e->offender), LF_U64("type", e->icmp_type),
			 LF_U64("code", e->icmp_code), LF_U64("suppressed", suppressed));
}

void turn_peer_error(struct turn_alloc *a, const struct dgram_error *e, uint64_t now)
{
	struct dgram_error seen = *e;

	if (a->server->behind_nat && turn_own_outside(a->server, &e->to, false, &seen.to))
		e = &seen;
	turn_count(a->server, TURN_M_PEER_ERRORS, 0, 1);
	tell_log(a->server, a, e, now);
	if (addr_port(&e->to) == 0 || !is_passed_on(e) || !turn_permission_find(a, &e->to, now))
		return;
	if (within_limit(a, now))
		send_indication(a, e);
	else
		turn_drop(a->server, TURN_DROP_ICMP_LIMIT);
}
