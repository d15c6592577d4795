/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May a client reach this peer? The address is brought to the one that is really meant, once, whatever
 * its spelling (mapped, compatible, NAT64, 6to4, Teredo), and then asked in this order; the first
 * that knows decides:
 *
 *   turn.peers.deny, and the realm's    refused, also the server's own relay sockets
 *   turn.peers.allow, and the realm's   allowed, also the server's own addresses
 *   relay addresses    only the ports of live relay sockets (the caller looks them up, per packet); behind a 1:1
 *                      NAT these are the external ones, and those inside are as the rest:
 *   own addresses      refused
 *   class of address   everything that is not a global unicast address is refused
 *
 * A denied prefix is also compared with the address as it was written, so that one can deny 2002::/16;
 * an allowed one never is, for a spelling must not lift a rule.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "turn/policy_priv.h"

static const struct prefix *match(const struct cfg_list *list, const struct addr *a)
{
	const struct prefix *prefixes = list->items;

	for (size_t i = 0; i < list->n; i++) {
		if (prefix_contains(&prefixes[i], a))
			return &prefixes[i];
	}
	return NULL;
}

static bool among(const struct addr *list, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++) {
		if (addr_equal_ip(&list[i], a))
			return true;
	}
	return false;
}

/* The server's rules and those of a realm. */
struct rules {
	const char *realm; /* NULL: of the server */
	const struct turn_peer_rules *lists;
};

struct ruling {
	const struct prefix *deny, *allow; /* the rule that decided; NULL: neither list did */
	const char *realm;		   /* whose rule it is; NULL: the server's */
	struct addr real;
};

static struct ruling rule_on(const struct turn_policy *p, const struct turn_realm *x, const struct addr *peer)
{
	const struct rules rules[] = { { NULL, &p->cfg.peers }, { x->name, &x->peers } };
	struct ruling r = { .real = addr_canonical(peer) };

	for (size_t i = 0; !r.deny && i < ARRAY_LEN(rules); i++) {
		r.deny = match(&rules[i].lists->deny, &r.real);
		if (!r.deny)
			r.deny = match(&rules[i].lists->deny, peer);
		r.realm = rules[i].realm;
	}
	for (size_t i = 0; !r.deny && !r.allow && i < ARRAY_LEN(rules); i++) {
		r.allow = match(&rules[i].lists->allow, &r.real);
		r.realm = rules[i].realm;
	}
	return r;
}

static struct turn_verdict by_prefix(bool allowed, const struct ruling *r, const struct prefix *rule)
{
	struct turn_verdict v = { .allowed = allowed };
	char text[PREFIX_STRLEN];
	const char *list = allowed ? "allow" : "deny";

	prefix_print(rule, text);
	if (r->realm)
		snprintf(v.rule, sizeof(v.rule), "peers.%s %s of realm %s", list, text, r->realm);
	else
		snprintf(v.rule, sizeof(v.rule), "turn.peers.%s %s", list, text);
	return v;
}

struct turn_verdict turn_policy_peer(const struct turn_policy *p, const struct turn_realm *x, const struct addr *peer)
{
	struct ruling r = rule_on(p, x, peer);
	struct turn_verdict v = { .allowed = false };
	enum addr_class class;

	if (r.deny)
		return by_prefix(false, &r, r.deny);
	if (r.allow)
		return by_prefix(true, &r, r.allow);
	if (among(p->own, p->n_own, &r.real) || among(p->relay, p->n_relay, &r.real)) {
		snprintf(v.rule, sizeof(v.rule), "an address of this server, refused by default");
		return v;
	}
	class = addr_classify(&r.real);
	v.allowed = class == ADDR_GLOBAL;
	snprintf(v.rule, sizeof(v.rule), "%s, %s by default", addr_class_name(class),
		 v.allowed ? "allowed" : "refused");
	return v;
}

bool turn_policy_is_own(const struct turn_policy *p, const struct turn_realm *x, const struct addr *peer)
{
	struct ruling r = rule_on(p, x, peer);

	return !r.deny && !r.allow && among(p->relay, p->n_relay, &r.real);
}

/* Adds what is not there yet, canonical and without port. */
static int add_addresses(struct addr **list, size_t *n_list, const struct addr *add, size_t n)
{
	struct addr *grown;

	if (!n)
		return 0;
	grown = realloc(*list, (*n_list + n) * sizeof(**list));
	if (!grown)
		return -ENOMEM;
	*list = grown;
	for (size_t i = 0; i < n; i++) {
		struct addr a = addr_canonical(&add[i]);

		addr_set_port(&a, 0);
		if (!among(grown, *n_list, &a))
			grown[(*n_list)++] = a;
	}
	return 0;
}

static int add_pair(struct turn_policy *p, const struct addr *inside, const struct addr *outside)
{
	struct turn_relay_pair *grown = realloc(p->pairs, (p->n_pairs + 1) * sizeof(*grown));
	struct turn_relay_pair pair = { addr_canonical(inside), addr_canonical(outside) };

	if (!grown)
		return -ENOMEM;
	addr_set_port(&pair.inside, 0);
	addr_set_port(&pair.outside, 0);
	p->pairs = grown;
	p->pairs[p->n_pairs++] = pair;
	return add_addresses(&p->relay, &p->n_relay, outside, 1);
}

int policy_set_relay(struct turn_policy *p)
{
	const struct addr *inside = p->cfg.relay.addresses.items, *outside = p->cfg.relay.outside.items;
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->cfg.relay.addresses.n; i++) {
		if (i >= p->cfg.relay.outside.n || addr_equal_ip(&inside[i], &outside[i])) {
			r = add_addresses(&p->relay, &p->n_relay, &inside[i], 1);
			continue;
		}
		r = add_addresses(&p->own, &p->n_own, &inside[i], 1);
		if (r == 0 && addr_family(&outside[i]) != AF_UNSPEC)
			r = add_pair(p, &inside[i], &outside[i]);
	}
	return r;
}

const struct turn_relay_pair *turn_policy_pairs(const struct turn_policy *p, size_t *ret_n)
{
	*ret_n = p->n_pairs;
	return p->pairs;
}

int turn_policy_set_former(struct turn_policy *p, const struct turn_relay_pair *former, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_pair(p, &former[i].inside, &former[i].outside);
	return r;
}

int turn_policy_set_own(struct turn_policy *p, const struct addr *own, size_t n)
{
	return add_addresses(&p->own, &p->n_own, own, n);
}
