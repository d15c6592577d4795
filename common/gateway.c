/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading of the kernel's tables of routes; see gateway.h. Of several routes to everywhere the first one counts, as the kernel
 * lists them: by metric. IPv4's addresses stand there as they are in memory, IPv6's in the order of the network.
 * The caller's port is put to the address.
 */
#include "common/gateway.h"
#include <net/if.h>
#include <stdio.h>
#include <string.h>

/* interface, destination, next hop, flags, references, uses, metric, mask. A VPN that takes the network over without removing its
 * route (0.0.0.0/1 beside 128.0.0.0/1) is no router of this network, though it stands first. */
static bool read4(const char *line, uint16_t port, struct addr *ret_a)
{
	unsigned destination, hop, mask;

	if (sscanf(line, "%*s %x %x %*x %*d %*d %*d %x", &destination, &hop, &mask) != 3 ||
	    destination || mask || !hop)
		return false;
	*ret_a = addr_v4(be32toh(hop), port); /* as it is in memory */
	return true;
}

/* destination, its length, source, its length, next hop …, device */
static bool read6(const char *line, uint16_t port, struct addr *ret_a)
{
	char hop[33], link[32];
	unsigned bits;
	uint8_t ip[16];
	size_t n;

	if (sscanf(line, "%*32s %2x %*32s %*2x %32s %*8x %*8x %*8x %*8x %31s", &bits, hop, link) != 3 ||
	    bits || strcmp(link, "lo") == 0 || strspn(hop, "0") == 32 ||
	    hex_decode(text_of(hop), ip, sizeof ip, &n) != 0 || n != 16)
		return false;
	*ret_a = addr_v6(ip, port);
	if (addr_classify(ret_a) == ADDR_LINK_LOCAL)
		ret_a->in6.sin6_scope_id = if_nametoindex(link);
	return true;
}

bool gateway_in_table(int family, FILE *table, uint16_t port, struct addr *ret_a)
{
	char line[256];
	bool found = false;

	while (!found && fgets(line, sizeof line, table))
		found = family == AF_INET ? read4(line, port, ret_a) : read6(line, port, ret_a);
	return found;
}

bool gateway_default(int family, uint16_t port, struct addr *ret_a)
{
	FILE *f = fopen(family == AF_INET ? "/proc/net/route" : "/proc/net/ipv6_route", "re");
	bool found = f && gateway_in_table(family, f, port, ret_a);

	if (f)
		fclose(f);
	return found;
}
