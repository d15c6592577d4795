/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two clients of one server behind a 1:1 NAT: each knows the other's relay socket by its external address. A packet
 * to that address would have to be turned around by the NAT (hairpinning), which many cannot. So it goes straight to
 * the socket behind, and what comes from there is seen as coming from the external address, as outside.
 *
 * Only ports of live relay sockets are reached this way; all else of one's own addresses stays refused. Which
 * sockets are alive is in turn/totals.c, under the inside and the external address; nothing is kept here.
 */
#include "turn/core.h"

typedef bool (*live_fn)(const struct turn_totals *t, const struct addr *at);

static live_fn live_of(bool tcp)
{
	return tcp ? turn_totals_is_listener : turn_totals_is_relay;
}

bool turn_own_inside(const struct turn_server *s, const struct addr *peer, bool tcp, struct addr *ret_at)
{
	size_t n;
	const struct turn_relay_pair *pairs = turn_policy_pairs(s->policy, &n);

	for (size_t i = 0; i < n; i++) {
		struct addr at = pairs[i].inside;
		addr_set_port(&at, addr_port(peer));
		if (!addr_equal_ip(&pairs[i].outside, peer) || !live_of(tcp)(s->o.totals, &at))
			continue;
		*ret_at = at;
		return true;
	}
	return false;
}

bool turn_own_outside(const struct turn_server *s, const struct addr *peer, bool tcp, struct addr *ret_at)
{
	size_t n;
	const struct turn_relay_pair *pairs = turn_policy_pairs(s->policy, &n);

	for (size_t i = 0; i < n; i++) {
		struct addr at = pairs[i].outside;
		addr_set_port(&at, addr_port(peer));
		if (!addr_equal_ip(&pairs[i].inside, peer) || !live_of(tcp)(s->o.totals, &at))
			continue;
		*ret_at = at;
		return true;
	}
	return false;
}

bool turn_own_is_outside(const struct turn_server *s, const struct addr *peer)
{
	size_t n;
	const struct turn_relay_pair *pairs = turn_policy_pairs(s->policy, &n);

	for (size_t i = 0; i < n; i++)
		if (addr_equal_ip(&pairs[i].outside, peer))
			return true;
	return false;
}
