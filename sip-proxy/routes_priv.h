/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the routes, for routes.c and routes_watch.c: what is compiled of the configuration, and the look-ups of
 * gateways that go on while they live. Nobody else looks inside, but for tests that put addresses there.
 * The service owns them; a reload makes new ones.
 */
#pragma once
#include "sip-proxy/routes.h"

struct sip_routes {
	char (*domains)[256];
	size_t n_domains;
	struct sip_static_route *v;
	size_t n;
	struct prefix *trusted;
	size_t n_trusted;
	struct sip_edge *edge; /* set while they are watched */
	struct timer due;
};
/* routes_watch.c: no more look-ups */
void sip_routes_unwatch(struct sip_routes *r);
