/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration says about where requests belong: our domains, the static routes, and which side somebody
 * comes from. Immutable, made from a configuration and replaced as a whole by a reload; it copies what it keeps. The
 * hooks' arg is a pointer to the place where the current one is.
 */
#pragma once
#include "sip-proxy/config.h"
#include "sip-proxy/edge.h"
#include "sip-proxy/policy.h"

struct sip_routes;
int sip_routes_new(const struct sip_config *c, struct sip_routes **ret_r); /* 0 or -ENOMEM */
struct sip_routes *sip_routes_free(struct sip_routes *r);
DEFINE_CLEANUP(struct sip_routes, sip_routes_free)
/* The interfaces to leave by, once the listeners are those of this configuration. */
void sip_routes_bind(struct sip_routes *r, struct sip_edge *e);
bool sip_routes_is_domain(const struct sip_routes *r, struct text host);
json_t *sip_routes_domains_json(const struct sip_routes *r);
json_t *sip_routes_json(const struct sip_routes *r); /* {domain, host, port, transport, active} */

struct sip_route_way { /* of an active route; the host lives as long as the routes */
	struct sip_next next;
	bool mutual;
	uint32_t iface;
};
bool sip_routes_nth(const struct sip_routes *r, size_t i,
		    struct sip_route_way *ret_way); /* false: behind the last */

struct sip_routing { /* of the hooks: their arg */
	struct sip_routes *routes;
	struct sip_edge *edge;
};
bool sip_sides_trust(const struct sip_routing *rt, const struct sip_hop *from);
/* Who comes in by sip.lan, or over a connection from sip.sources.trusted, is trusted. */
enum sip_step sip_sides_request(struct sip_passage *p, void *arg);
/* A request for the domain of a static route goes that way, if its sender is trusted or authenticated. */
enum sip_step sip_routes_request(struct sip_passage *p, void *arg);
