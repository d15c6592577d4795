/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The port-mapping part of stile netcheck: does the router of this network offer UPnP IGD (through miniupnpc),
 * NAT-PMP or PCP (stun/portmap)? It is only asked; no port is mapped. The router is the default
 * gateway of IPv4.
 */
#include <errno.h>
#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cli/measure.h"
#include "cli/netcheck.h"
#include "common/clock.h"
#include "common/gateway.h"
#include "stun/portmap.h"

enum { UPNP_MS = 1500, REPEAT_MS = 250, REPEATS = 5 };

/* ---- NAT-PMP and PCP ---- */

static void take(struct nc_portmap *pm, const struct portmap_answer *a)
{
	struct nc_mapper *m = a->protocol == PORTMAP_PCP ? &pm->pcp : &pm->natpmp;
	char ip[ADDR_STRLEN];

	if (a->mapping)
		return; /* none was asked for */
	m->available = a->result == PORTMAP_SUCCESS;
	snprintf(m->text, sizeof m->text, "%s", m->available ? "" : portmap_result_text(a->result));
	if (addr_family(&a->external) != AF_UNSPEC)
		snprintf(m->external, sizeof m->external, "%s", addr_print_ip(&a->external, ip));
}

/* What comes within one interval. */
static void listen_once(int fd, struct nc_portmap *pm)
{
	uint64_t end = clock_steady_ns() + REPEAT_MS * UINT64_C(1000000);

	for (uint64_t now = clock_steady_ns(); now < end; now = clock_steady_ns()) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint8_t buf[PORTMAP_ANSWER_MAX + 1];
		struct portmap_answer a;
		if (poll(&p, 1, (int)((end - now) / 1000000) + 1) <= 0)
			continue;
		ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
		if (n < 0)
			return; /* refused: nobody listens there */
		if (portmap_parse(buf, (size_t)n, &a) == 0)
			take(pm, &a);
	}
}

static void ask_gateway(const struct addr *gateway, struct nc_portmap *pm)
{
	uint8_t question[PORTMAP_REQUEST_MAX];
	struct addr ours;
	socklen_t len = sizeof ours;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (connect(fd, &gateway->sa, addr_len(gateway)) == 0 && getsockname(fd, &ours.sa, &len) == 0)
		for (unsigned i = 0; i < REPEATS && !(pm->pcp.available && pm->natpmp.available); i++) {
			for (unsigned p = PORTMAP_NATPMP; p <= PORTMAP_PCP; p++)
				(void)!send(fd, question, portmap_ask(p, &ours, question), MSG_NOSIGNAL);
			listen_once(fd, pm);
		}
	close(fd);
}

/* ---- UPnP ---- */

static void ask_upnp(struct nc_mapper *m)
{
	struct UPNPUrls urls = { 0 };
	struct IGDdatas data = { 0 };
	char lan[64] = "", ip[64] = "";
	struct addr outside;
	int error = 0, kind = 0;
	struct UPNPDev *found = upnpDiscover(UPNP_MS, NULL, NULL, UPNP_LOCAL_PORT_ANY, 0, 2, &error);

	if (found)
		kind = UPNP_GetValidIGD(found, &urls, &data, lan, sizeof lan);
	m->available = kind == 1;
	if (kind == 2)
		snprintf(m->text, sizeof m->text, "the router says that it is not connected");
	if (kind == 1 && UPNP_GetExternalIPAddress(urls.controlURL, data.first.servicetype, ip) == UPNPCOMMAND_SUCCESS &&
	    addr_parse(text_of(ip), 0, &outside) == 0) /* whatever answers there may say anything */
		snprintf(m->external, sizeof m->external, "%s", ip);
	if (kind)
		FreeUPNPUrls(&urls);
	freeUPNPDevlist(found);
}

void nc_portmap(struct netcheck *nc)
{
	struct addr gateway;

	nc->portmap.asked = true;
	ask_upnp(&nc->portmap.upnp);
	if (gateway_default(AF_INET, PORTMAP_PORT, &gateway))
		ask_gateway(&gateway, &nc->portmap);
}
