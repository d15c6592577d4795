/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of port-forwarding mode, and the machine's interfaces. The default way is where the kernel would send a
 * packet to the outside from.
 * Nothing is kept: whoever asks again sees the interfaces of that moment.
 */
#include "share/forward/ports.h"
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>

void forward_judge(uint16_t base, struct forward_face *faces, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct forward_face *f = &faces[i];
		size_t len;

		f->sum = (uint32_t)base + addr_ip(&f->ip, &len)[3];
		f->port = f->sum <= UINT16_MAX ? (uint16_t)f->sum : 0;
		f->twin = NULL;
	}
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < n && !faces[i].twin; k++)
			if (k != i && faces[k].sum == faces[i].sum && !addr_equal_ip(&faces[k].ip, &faces[i].ip))
				faces[i].twin = faces[k].name;
}

static unsigned collect(const struct ifaddrs *all, bool loopback, struct forward_face *faces)
{
	unsigned n = 0;

	for (const struct ifaddrs *i = all; i && n < FORWARD_FACES_MAX; i = i->ifa_next) {
		struct forward_face f = { 0 };

		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP) || !(i->ifa_flags & IFF_LOOPBACK) == loopback)
			continue;
		if (addr_from_sockaddr(i->ifa_addr, sizeof(struct sockaddr_in), &f.ip) < 0)
			continue;
		addr_set_port(&f.ip, 0);
		(void)snprintf(f.name, sizeof(f.name), "%s", i->ifa_name);
		faces[n++] = f;
	}
	return n;
}

unsigned forward_faces(uint16_t base, const struct addr *outside, struct forward_face faces[static FORWARD_FACES_MAX])
{
	struct ifaddrs *all = NULL;
	struct addr own = { 0 };
	unsigned n;

	if (getifaddrs(&all) < 0)
		return 0;
	n = collect(all, false, faces);
	if (!n)
		n = collect(all, true, faces);
	freeifaddrs(all);
	forward_judge(base, faces, n);
	if (outside && addr_towards(outside, &own) == 0)
		for (unsigned i = 0; i < n; i++)
			faces[i].default_way = addr_equal_ip(&faces[i].ip, &own);
	return n;
}

struct forward_face *forward_choose(struct forward_face *faces, unsigned n, const char *wanted)
{
	char ip[ADDR_STRLEN];

	for (unsigned i = 0; i < n; i++)
		if (wanted ? strcmp(faces[i].name, wanted) == 0 || strcmp(addr_print_ip(&faces[i].ip, ip), wanted) == 0 : faces[i].default_way)
			return &faces[i];
	return !wanted && n == 1 ? &faces[0] : NULL;
}

const char *forward_rule(const struct addr *outside, const struct addr *inside, char buf[static FORWARD_RULE_STRLEN])
{
	char from[ADDR_STRLEN], to[ADDR_STRLEN];

	if (outside && addr_family(outside) != AF_UNSPEC)
		(void)snprintf(buf, FORWARD_RULE_STRLEN, "TCP %s → %s", addr_print(outside, from), addr_print(inside, to));
	else
		(void)snprintf(buf, FORWARD_RULE_STRLEN, "TCP, port %u of the public address → %s", addr_port(inside), addr_print(inside, to));
	return buf;
}
