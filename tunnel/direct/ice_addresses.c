/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses of this machine are worth being candidates; see ice_priv.h. libnice would take all of them, and a host
 * with containers has dozens: each costs a socket, a STUN request, and checks against each of the peer's (RFC 8445
 * 5.1.1.1 leaves the choice to us).
 */
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>
#include "tunnel/direct/ice_priv.h"

/* Interfaces that lead to containers and virtual machines of this host. */
static const char *const inner[] = { "docker", "veth", "virbr", "vnet", "lxc", "lxd", "cni", "cali", "flannel", "podman",
				     "vmnet", "vboxnet" };

/* A network of Docker's: "br-" and the first 12 digits of its id. Others have a way out: OpenWrt's "br-lan", "br-ex" of Open vSwitch. */
static bool is_dockers(const char *name)
{
	return text_starts(text_of(name), TEXT("br-")) && strlen(name) == 15 && strspn(name + 3, "0123456789abcdef") == 12;
}

static bool is_inner(const char *name)
{
	if (is_dockers(name))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(inner); i++)
		if (text_starts(text_of(name), text_of(inner[i])))
			return true;
	return false;
}

static bool is_wanted(const struct ifaddrs *i, const struct ice_settings *s, struct addr *ret_a)
{
	struct addr a;

	if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || !(i->ifa_flags & IFF_RUNNING))
		return false;
	if (i->ifa_addr->sa_family == AF_INET6 && s->no_ipv6)
		return false;
	if (addr_from_sockaddr(i->ifa_addr, i->ifa_addr->sa_family == AF_INET ? sizeof a.in4 : sizeof a.in6, &a) != 0)
		return false;
	addr_set_port(&a, 0);
	switch (addr_classify(&a)) {
	case ADDR_LOOPBACK:
		if (!s->loopback)
			return false;
		break;
	case ADDR_LINK_LOCAL:
	case ADDR_UNSPECIFIED:
	case ADDR_MULTICAST: return false;
	default:
		if (is_inner(i->ifa_name))
			return false;
	}
	*ret_a = a;
	return true;
}

size_t ice_local_addresses(const struct ice_settings *s, struct addr ret_a[static ICE_LOCAL_MAX])
{
	struct ifaddrs *list = NULL;
	size_t n = 0;

	if (getifaddrs(&list) != 0)
		return 0;
	for (const struct ifaddrs *i = list; i && n < ICE_LOCAL_MAX; i = i->ifa_next)
		n += is_wanted(i, s, &ret_a[n]);
	freeifaddrs(list);
	return n;
}
