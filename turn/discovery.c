/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the two addresses and two ports of RFC 5780 among the listeners. Wildcard listeners do not
 * count: which of a machine's addresses a client could reach is not known of them, and a wrong
 * OTHER-ADDRESS makes every NAT look stricter than it is.
 */
#include "turn/discovery.h"

static const struct addr *find(const struct addr *udp, size_t n, const struct addr *ip, uint16_t port)
{
	for (size_t i = 0; i < n; i++)
		if (addr_equal_ip(&udp[i], ip) && addr_port(&udp[i]) == port)
			return &udp[i];
	return NULL;
}

/* The other two corners for these two addresses on one port; false: they have no second port in common. */
static bool complete(const struct addr *udp, size_t n, const struct addr *a, const struct addr *b,
		     struct turn_discovery_set *ret_set)
{
	for (size_t i = 0; i < n; i++) {
		const struct addr *b2;
		if (!addr_equal_ip(&udp[i], a) || addr_port(&udp[i]) == addr_port(a))
			continue;
		b2 = find(udp, n, b, addr_port(&udp[i]));
		if (!b2)
			continue;
		ret_set->at[0][0] = *a;
		ret_set->at[0][1] = udp[i];
		ret_set->at[1][0] = *b;
		ret_set->at[1][1] = *b2;
		return true;
	}
	return false;
}

static bool usable(const struct addr *a, sa_family_t family)
{
	return addr_family(a) == family && addr_classify(a) != ADDR_UNSPECIFIED;
}

static bool find_set(const struct addr *udp, size_t n, sa_family_t family, struct turn_discovery_set *ret_set)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = i + 1; usable(&udp[i], family) && j < n; j++)
			if (usable(&udp[j], family) && addr_port(&udp[i]) == addr_port(&udp[j]) &&
			    !addr_equal_ip(&udp[i], &udp[j]) && complete(udp, n, &udp[i], &udp[j], ret_set))
				return true;
	return false;
}

void turn_discovery_find(struct turn_discovery *d, const struct addr *udp, size_t n)
{
	static const sa_family_t families[] = { AF_INET, AF_INET6 };

	d->n = 0;
	for (size_t f = 0; f < ARRAY_LEN(families); f++) {
		if (find_set(udp, n, families[f], &d->set[d->n]))
			d->n++;
	}
}

const struct turn_discovery_set *turn_discovery_set_of(const struct turn_discovery *d, const struct addr *local,
						       unsigned *ret_ip, unsigned *ret_port)
{
	for (unsigned s = 0; s < d->n; s++)
		for (unsigned i = 0; i < 4; i++)
			if (addr_equal(&d->set[s].at[i / 2][i % 2], local)) {
				*ret_ip = i / 2;
				*ret_port = i % 2;
				return &d->set[s];
			}
	return NULL;
}
