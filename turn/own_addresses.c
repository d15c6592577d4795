/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of this machine: peers that stay refused (but for live relay sockets), and the relay
 * addresses when turn.relay.addresses names none: the listeners' own where they are concrete, else, per
 * family, the address that a packet to the outside would leave from. Looked at anew at a reload and when the
 * network changes; turn.relay.external is matched with them here.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include "turn/relay_addresses.h"

static bool known(const struct turn_own_set *own, const struct addr *a)
{
	for (size_t i = 0; i < own->n; i++)
		if (addr_equal_ip(&own->v[i], a))
			return true;
	return false;
}

int turn_own_read(const struct ifaddrs *all, struct turn_own_set *ret_own)
{
	ret_own->n = 0;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		struct addr a;
		enum addr_class c;
		if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
			continue;
		socklen_t len = i->ifa_addr->sa_family == AF_INET ? sizeof a.in4 : sizeof a.in6;
		if (addr_from_sockaddr(i->ifa_addr, len, &a) < 0)
			continue;
		c = addr_classify(&a);
		if (c == ADDR_LOOPBACK || c == ADDR_LINK_LOCAL || known(ret_own, &a))
			continue;
		if (ret_own->n == ARRAY_LEN(ret_own->v))
			return -E2BIG;
		ret_own->v[ret_own->n++] = a;
	}
	return 0;
}

int turn_own_addresses(struct turn_own_set *ret_own, char *err, size_t err_n)
{
	struct ifaddrs *all;
	int r;

	if (getifaddrs(&all) < 0) {
		r = -errno;
		snprintf(err, err_n, "cannot list the addresses of this machine, which clients must not reach: %s", strerror(-r));
		return r;
	}
	r = turn_own_read(all, ret_own);
	freeifaddrs(all);
	if (r < 0)
		snprintf(err, err_n, "this machine has more than %d addresses, which clients must not reach; run stile-turn in a "
			 "network namespace with fewer", TURN_MAX_MACHINE);
	return r;
}

bool turn_own_equal(const struct turn_own_set *a, const struct turn_own_set *b)
{
	for (size_t i = 0; i < a->n; i++)
		if (!known(b, &a->v[i]))
			return false;
	return a->n == b->n;
}

/* The source address the kernel would choose towards an address of the documentation range. */
static bool default_source(const char *towards, struct addr *ret_a)
{
	struct addr to;
	enum addr_class c;

	if (addr_parse(text_of(towards), 9, &to) < 0 || addr_towards(&to, ret_a) < 0)
		return false;
	c = addr_classify(ret_a);
	return c != ADDR_UNSPECIFIED && c != ADDR_LINK_LOCAL;
}

const struct turn_relay_address *turn_relay_find(const struct turn_relay_set *set, const struct addr *at)
{
	for (size_t i = 0; i < set->n; i++)
		if (addr_equal_ip(&set->v[i].at, at))
			return &set->v[i];
	return NULL;
}

static void add_relay(struct turn_relay_set *set, const struct addr *a)
{
	struct addr ip = *a;

	addr_set_port(&ip, 0);
	if (set->n < ARRAY_LEN(set->v) && !turn_relay_find(set, &ip))
		set->v[set->n++] = (struct turn_relay_address){ .at = ip, .outside = ip };
}

static void relay_for_listener(struct turn_relay_set *set, const struct turn_own_set *own, const struct addr *at)
{
	struct addr found;

	if (addr_classify(at) != ADDR_UNSPECIFIED) {
		add_relay(set, at);
		return;
	}
	if (default_source(addr_family(at) == AF_INET ? "192.0.2.1" : "2001:db8::1", &found)) {
		add_relay(set, &found);
		return;
	}
	/* No route to the outside: the first address will do. */
	for (size_t i = 0; i < own->n; i++) {
		if (addr_family(&own->v[i]) == addr_family(at)) {
			add_relay(set, &own->v[i]);
			return;
		}
	}
}

/* ---- turn.relay.external ---- */

static void set_outside(struct turn_relay_address *a, const struct cfg_ip_auto *e)
{
	a->automatic = e->automatic;
	a->outside = e->automatic ? (struct addr){ 0 } : e->ip;
}

/* The i-th relay address of a family; NULL: there are not so many. */
static struct turn_relay_address *nth(struct turn_relay_set *set, sa_family_t family, size_t i)
{
	for (size_t k = 0; k < set->n; k++)
		if (addr_family(&set->v[k].at) == family && i-- == 0)
			return &set->v[k];
	return NULL;
}

/* Fewer external addresses than relay addresses: each family's belong to that family's relay addresses, in order; a
 * family without one has no NAT. */
static int match_by_family(struct turn_relay_set *set, const struct cfg_list *external, char *err, size_t err_n)
{
	static const sa_family_t families[] = { AF_INET, AF_INET6 };
	const struct cfg_ip_auto *e = external->items;

	for (size_t f = 0; f < ARRAY_LEN(families); f++) {
		size_t n = 0, have = 0;
		for (size_t i = 0; i < external->n; i++)
			n += addr_family(&e[i].ip) == families[f];
		while (nth(set, families[f], have))
			have++;
		if (n && n != have) {
			snprintf(err, err_n, "turn.relay.external names %zu %s address%s for %zu relay address%s of that "
				 "kind: each needs its own, in the same order", n, families[f] == AF_INET ? "IPv4" : "IPv6",
				 n == 1 ? "" : "es", have, have == 1 ? "" : "es");
			return -EINVAL;
		}
		for (size_t i = 0, k = 0; i < external->n; i++)
			if (addr_family(&e[i].ip) == families[f])
				set_outside(nth(set, families[f], k++), &e[i]);
	}
	return 0;
}

static int match_external(struct turn_relay_set *set, const struct cfg_list *external, char *err, size_t err_n)
{
	const struct cfg_ip_auto *e = external->items;

	if (external->n == 1 && e[0].automatic) { /* of all */
		for (size_t i = 0; i < set->n; i++)
			set_outside(&set->v[i], &e[0]);
		return 0;
	}
	for (size_t i = 0; i < external->n; i++)
		if (e[i].automatic && external->n != set->n) {
			snprintf(err, err_n, "turn.relay.external names %zu addresses, one of them auto, for %zu relay addresses: "
				 "write one for each, in the same order, or auto alone for all", external->n, set->n);
			return -EINVAL;
		}
	if (external->n != set->n)
		return match_by_family(set, external, err, err_n);
	for (size_t i = 0; i < set->n; i++) {
		if (!e[i].automatic && addr_family(&e[i].ip) != addr_family(&set->v[i].at)) {
			snprintf(err, err_n, "a relay address and its turn.relay.external must both be IPv4 or both IPv6");
			return -EINVAL;
		}
		set_outside(&set->v[i], &e[i]);
	}
	return 0;
}

int turn_relay_addresses(const struct turn_config *cfg, const struct turn_own_set *own, struct turn_relay_set *ret_set,
			 char *err, size_t err_n)
{
	const struct addr *given = cfg->relay.addresses.items;
	const struct cfg_endpoint *listen = cfg->listen.items;
	struct turn_relay_set set = { .n = 0 };
	int r;

	for (size_t i = 0; i < cfg->relay.addresses.n; i++)
		add_relay(&set, &given[i]);
	for (size_t i = 0; i < cfg->listen.n && !cfg->relay.addresses.n; i++)
		if (!listen[i].path[0])
			relay_for_listener(&set, own, &listen[i].at);
	if (!set.n) {
		snprintf(err, err_n, "found no address of this machine to relay from; name one: turn.relay.addresses: [192.0.2.10]");
		return -EADDRNOTAVAIL;
	}
	r = match_external(&set, &cfg->relay.external, err, err_n);
	if (r == 0)
		*ret_set = set;
	return r;
}
