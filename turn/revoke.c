/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reload that forbids a peer ends what clients have with it: the permission and with it the channel's right to
 * be used, and connections of TCP allocations. Without this a permission would live for up to five
 * minutes and a connection for as long as both ends like. Every new policy is looked at, off the packet
 * path; each end is counted and logged with the rule. An allocation that was on its way between two workers is looked
 * at where it arrives.
 */
#include "turn/alloc.h"
#include "turn/tcp_alloc.h"

struct verdict {
	bool own, ends;
	char rule[sizeof(((struct turn_verdict *)NULL)->rule)];
};

static struct verdict judge(const struct turn_alloc *a, const struct addr *peer)
{
	const struct turn_policy *policy = a->server->policy;
	const struct turn_realm *x = turn_alloc_realm(a);
	struct verdict v = { .own = turn_policy_is_own(policy, x, peer) };
	struct turn_verdict t;

	if (v.own)
		return v;
	t = turn_policy_peer(policy, x, peer);
	v.ends = !t.allowed;
	memcpy(v.rule, t.rule, sizeof v.rule);
	return v;
}

static void tell(struct turn_alloc *a, const struct addr *peer, enum turn_revoked what, const char *rule)
{
	struct turn_server *s = a->server;
	uint64_t suppressed;
	char ip[ADDR_STRLEN];

	turn_count(s, TURN_M_REVOKED, what, 1);
	if (log_gate_pass(&s->revoked_gate, s->now, &suppressed))
		log_emit(&MSG_TURN_PEER_REVOKED, LF_U64("id", a->id), LF_STR("user", a->user), LF_ADDR("client", &a->path.client),
			 LF_STR("peer", addr_print_ip(peer, ip)), LF_STR("what", turn_revoked_labels[what]), LF_STR("reason", rule),
			 LF_U64("suppressed", suppressed));
}

static struct addr peer_of(const struct turn_permission *p)
{
	return p->family == TURN_V6 ? addr_v6(p->ip, 0) : addr_v4(load_be32(p->ip), 0);
}

static void revoke_permissions(struct turn_alloc *a)
{
	for (unsigned i = 0; i < a->permissions.n; i++) {
		struct turn_permission *p = &a->permissions.v[i];
		struct addr peer = peer_of(p);
		struct verdict v = judge(a, &peer);

		if (!p->expires || (!v.ends && v.own == p->own))
			continue;
		if (v.ends && p->expires > a->server->now)
			tell(a, &peer, TURN_REVOKED_PERMISSION, v.rule);
		p->own = v.own;
		p->expires = v.ends ? 0 : p->expires;
		turn_channels_permit(a, &peer, v.own, p->expires);
	}
}

static void revoke_connections(struct turn_alloc *a)
{
	struct turn_totals *totals = a->server->o.totals;
	struct addr peer;

	for (struct turn_tcp *t = turn_tcp_next(a, NULL, &peer), *next; t; t = next) {
		struct addr at = peer;
		struct verdict v = judge(a, &at);

		next = turn_tcp_next(a, t, &peer);
		if (!v.ends && (!v.own || turn_totals_is_listener(totals, &at)))
			continue;
		tell(a, &at, TURN_REVOKED_CONNECTION, v.ends ? v.rule : "an address of this server, refused by default");
		turn_tcp_revoke(t, a->server->now);
	}
}

void turn_revoke_alloc(struct turn_alloc *a)
{
	revoke_permissions(a);
	revoke_connections(a);
}

void turn_revoke(struct turn_server *s)
{
	list_for_each(it, &s->allocs)
		turn_revoke_alloc(list_entry(it, struct turn_alloc, in_order));
}
