/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration says about where requests belong: our domains, the static routes, and which side somebody
 * comes from. Made from a configuration and replaced as a whole by a change; it copies what it keeps. Only the addresses
 * of the gateways are found out later, and again every so often (routes_watch.c). The hooks' arg is a pointer to the place
 * where the current one is.
 */
#pragma once
#include "sip-proxy/config.h"
#include "sip-proxy/edge.h"
#include "sip-proxy/policy.h"

struct sip_routes;

struct sip_static_route {
	char domain[256], host[256], user[128]; /* user "": any account */
	char next[320];				/* the URI to ask DNS for */
	uint16_t port;
	enum sip_proto proto;
	bool mutual, active, trusted;
	struct addr bind;
	uint32_t iface; /* 0: any */
	/* Where its gateway is, for those that are trusted by address or not protected. */
	struct addr at[SIP_TARGETS_MAX];
	unsigned n_at;
	struct sip_lookup lookup;
};

int sip_routes_new(const struct sip_config *c, struct sip_routes **ret_r); /* 0 or -ENOMEM */
struct sip_routes *sip_routes_free(struct sip_routes *r);
DEFINE_CLEANUP(struct sip_routes, sip_routes_free)
/* The interfaces to leave by, once the listeners are those of this configuration. */
void sip_routes_bind(struct sip_routes *r, struct sip_edge *e);
bool sip_routes_is_domain(const struct sip_routes *r, struct text host);
struct text sip_routes_first_domain(const struct sip_routes *r); /* n 0: there is none */
json_t *sip_routes_domains_json(const struct sip_routes *r);
json_t *sip_routes_json(const struct sip_routes *r); /* {domain, host, port, transport, active, trusted} */
/* The active route of this domain; NULL: none. */
const struct sip_static_route *sip_routes_find(const struct sip_routes *r, struct text domain);
/* Trusted by address, and its gateway is there, as far as the DNS said when it was asked last. */
bool sip_route_is_at(const struct sip_static_route *r, const struct addr *source);
/* Outside a LAN, "not-protected": nothing protects what goes there; "trusted-by-address": whoever has the gateway's address is trusted. Else "". */
const char *sip_route_warning(const struct sip_static_route *r);

/* routes_watch.c: asks for the addresses now and every so often, until the routes are freed. was: those of before, whose
 * answers hold until there are new ones; may be NULL. */
void sip_routes_watch(struct sip_routes *r, struct sip_edge *e, const struct sip_routes *was);

struct sip_route_way { /* of an active route; the texts live as long as the routes */
	struct sip_next next;
	struct text name; /* what its certificate must cover; p NULL: the host */
	bool mutual;
	uint32_t iface;
};
bool sip_routes_nth(const struct sip_routes *r, size_t i,
		    struct sip_route_way *ret_way); /* false: behind the last */

struct sip_routing { /* of the hooks: their arg */
	struct sip_routes *routes;
	const struct sip_edge_ops *ops;
	void *edge;
};
bool sip_sides_trust(const struct sip_routing *rt, const struct sip_hop *from);
/* Who comes in by sip.lan, or over a connection from sip.sources.trusted, is trusted. */
enum sip_step sip_sides_request(struct sip_passage *p, void *arg);
/* A request for the domain of a static route goes that way, if its sender may leave. */
enum sip_step sip_routes_request(struct sip_passage *p, void *arg);
