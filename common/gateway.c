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

static bool gateway4(uint16_t port, struct addr *ret_a)
{
	char line[256], link[32];
	unsigned destination, gateway;
	bool found = false;
	FILE *f = fopen("/proc/net/route", "re");

	while (f && !found && fgets(line, sizeof line, f))
		if (sscanf(line, "%31s %x %x", link, &destination, &gateway) == 3 && destination == 0 && gateway != 0) {
			*ret_a = addr_v4(be32toh(gateway), port); /* as it is in memory */
			found = true;
		}
	if (f)
		fclose(f);
	return found;
}

/* destination, its length, source, its length, next hop …, device */
static bool gateway6(uint16_t port, struct addr *ret_a)
{
	char line[256], hop[33], link[32];
	unsigned bits;
	uint8_t ip[16];
	size_t n;
	bool found = false;
	FILE *f = fopen("/proc/net/ipv6_route", "re");

	while (f && !found && fgets(line, sizeof line, f))
		if (sscanf(line, "%*32s %2x %*32s %*2x %32s %*8x %*8x %*8x %*8x %31s", &bits, hop, link) == 3 && bits == 0 &&
		    hex_decode(text_of(hop), ip, sizeof ip, &n) == 0 && n == 16 && strcmp(link, "lo") != 0 &&
		    strspn(hop, "0") != 32) {
			*ret_a = addr_v6(ip, port);
			if (addr_classify(ret_a) == ADDR_LINK_LOCAL)
				ret_a->in6.sin6_scope_id = if_nametoindex(link);
			found = true;
		}
	if (f)
		fclose(f);
	return found;
}

bool gateway_default(int family, uint16_t port, struct addr *ret_a)
{
	return family == AF_INET ? gateway4(port, ret_a) : gateway6(port, ret_a);
}
