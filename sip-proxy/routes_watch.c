/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the gateways of routes are that are trusted by address, or that nothing protects: who comes over TCP, or over TLS
 * without a certificate, is known by his address alone, and what goes over UDP and TCP should not leave a LAN. The name is looked up as if something was to be sent there (RFC 3263), again every half a minute, which the
 * resolver answers from its memory while the records may be kept. An answer that fails leaves the old addresses: a name
 * server that is down for a while takes no rights away, and gives none.
 */
#include <string.h>
#include "sip-proxy/routes_priv.h"

enum { AGAIN_MS = 30000 };

static void on_places(struct sip_lookup *l, int status, const char *why, const struct sip_target *t,
		      unsigned n)
{
	struct sip_static_route *r = container_of(l, struct sip_static_route, lookup);

	(void)why; /* whoever wants to go there is told */
	if (status < 0)
		return;
	r->n_at = MIN(n, SIP_TARGETS_MAX);
	for (unsigned i = 0; i < r->n_at; i++)
		r->at[i] = addr_canonical(&t[i].hop.remote);
}

static bool by_address(const struct sip_static_route *r)
{
	return r->active && r->trusted && !r->mutual && sip_proto_rows[r->proto].reliable;
}

static bool is_asked(const struct sip_static_route *r)
{
	return by_address(r) || (r->active && !sip_proto_rows[r->proto].secure);
}

static void on_due(struct timer *t, uint64_t now)
{
	struct sip_routes *all = container_of(t, struct sip_routes, due);
	bool any = false;

	(void)now;
	for (size_t i = 0; i < all->n; i++) {
		struct sip_static_route *r = &all->v[i];
		const struct sip_next next = {
			.host = text_of(r->host), .port = r->port, .has_proto = true, .proto = r->proto
		};
		if (!is_asked(r))
			continue;
		any = true;
		r->lookup.done = on_places;
		if (!r->lookup.under_way)
			(void)sip_edge_ops.lookup(all->edge, &next, &r->lookup); /* if it cannot: next time */
	}
	if (any)
		loop_timer_set(sip_edge_loop(all->edge), &all->due, AGAIN_MS);
}

void sip_routes_watch(struct sip_routes *r, struct sip_edge *e, const struct sip_routes *was)
{
	r->edge = e;
	r->due.fire = on_due;
	for (size_t i = 0; was && i < r->n; i++)
		for (size_t k = 0; k < was->n; k++)
			if (strcmp(r->v[i].host, was->v[k].host) == 0 && r->v[i].port == was->v[k].port) {
				memcpy(r->v[i].at, was->v[k].at, sizeof(r->v[i].at));
				r->v[i].n_at = was->v[k].n_at;
			}
	loop_timer_set(sip_edge_loop(e), &r->due, 0);
}

void sip_routes_unwatch(struct sip_routes *r)
{
	timer_stop(&r->due);
	for (size_t i = 0; r->edge && i < r->n; i++)
		if (r->v[i].lookup.under_way)
			sip_edge_ops.lookup_cancel(r->edge, &r->v[i].lookup);
	r->edge = NULL;
}

bool sip_route_is_at(const struct sip_static_route *r, const struct addr *source)
{
	struct addr real = addr_canonical(source);

	for (unsigned i = 0; by_address(r) && i < r->n_at; i++)
		if (addr_equal_ip(&r->at[i], &real))
			return true;
	return false;
}

/* All of its places, as far as they are known; a name of which nothing is known may be anywhere. */
static bool is_outside(const struct sip_static_route *r)
{
	for (unsigned i = 0; i < r->n_at; i++)
		if (!sip_is_inside(&r->at[i]))
			return true;
	return r->n_at == 0;
}

const char *sip_route_warning(const struct sip_static_route *r)
{
	if (!is_asked(r) || !is_outside(r))
		return "";
	return sip_proto_rows[r->proto].secure ? "trusted-by-address" : "not-protected";
}
