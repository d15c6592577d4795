/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hooks of trust, static routes and federation look at, made from a configuration: at the start, by a reload,
 * and after each change of an object in the store. Everything is made new beside the old first; taking it cannot fail.
 * The edge and the hooks hold pointers to the places where these are, never to the things themselves.
 */
#include "sip-proxy/service.h"
#include <errno.h>
#include <string.h>
#include "sip-proxy/log_msgs.h"

int sip_ways_make(const struct sip_config *c, struct sip_ways *ret_w)
{
	struct sip_ways w = { 0 };
	int r = sip_routes_new(c, &w.routes);

	if (r == 0)
		r = sip_federation_new(c, &w.federation);
	if (r < 0) {
		sip_ways_deinit(&w);
		return r;
	}
	*ret_w = w;
	return 0;
}

void sip_ways_deinit(struct sip_ways *w)
{
	w->routes = sip_routes_free(w->routes);
	w->federation = sip_federation_free(w->federation);
}

void sip_ways_take(struct sip_service *ss, struct sip_ways *w)
{
	struct sip_routes *was = ss->routing.routes;

	sip_routes_bind(w->routes, ss->edge);
	sip_routes_watch(w->routes, ss->edge, was);
	ss->routing.routes = steal_ptr(&w->routes);
	sip_routes_free(was);
	sip_federation_free(ss->federating.federation);
	ss->federating.federation = steal_ptr(&w->federation);
}

void sip_service_changed(void *arg)
{
	struct sip_service *ss = arg;
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	struct sip_ways w = { 0 };
	int r = sip_effective_make(ss->effective, ss->svc->cfg, &c);

	if (r == 0)
		r = sip_ways_make(&((const struct sip_root *)cfg_values(c))->sip, &w);
	if (r == 0 && ss->mesh)
		r = sip_mesh_configure(ss->mesh, &((const struct sip_root *)cfg_values(c))->sip);
	if (r < 0) {
		sip_ways_deinit(&w);
		log_emit(&MSG_SIP_CHANGE_FAILED, LF_ERRNO("error", r));
		return;
	}
	sip_ways_take(ss, &w);
	cfg_free(ss->cfg);
	ss->cfg = steal_ptr(&c);
}

int sip_service_federation(struct sip_service *ss)
{
	ss->routing.ops = &sip_edge_ops;
	ss->routing.edge = ss->edge;
	ss->trusting = (struct sip_trusting){ .ops = &sip_edge_ops,
					      .edge = ss->edge,
					      .routing = &ss->routing,
					      .federating = &ss->federating };
	ss->federating.partners = sip_partners_new();
	return ss->federating.partners ? sip_record_checks_new(ss->svc->loop, &ss->checks) : -ENOMEM;
}

void sip_service_federation_free(struct sip_service *ss)
{
	ss->checks = sip_record_checks_free(ss->checks);
	ss->routing.routes = sip_routes_free(ss->routing.routes);
	ss->federating.federation = sip_federation_free(ss->federating.federation);
	ss->federating.partners = sip_partners_free(ss->federating.partners);
}
