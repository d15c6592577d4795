/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-tunnel as a service: what its files share. Main thread only; the relay has its own workers.
 *
 *   service.c      the operations that common/service calls
 *   route_store.c  routes made while the service runs: store and verbs
 *   service_health.c  what needs attention
 *   verbs.c        status, connections and what may be done with one
 */
#pragma once
#include "tunnel/relay.h"
#include "tunnel/server/tunnel.h"
#include "tunnel/watch.h"

struct tunnel_routes;

struct tunnel_service {
	struct service *svc;
	struct relay *relay;
	struct tunnel *tunnel; /* NULL: none is configured */
	struct records *records;
	struct tunnel_routes *routes; /* of the store */
	struct watchers *watchers;    /* of the relay's connections */
	const struct tunnel_config *fresh; /* that is examined or taken at the moment; NULL: none */
};
extern const struct service_ops tunnel_service_ops;

/* route_store.c */
int tunnel_routes_new(struct tunnel_service *ts, struct tunnel_routes **ret_t); /* reads the store, if there is one */
struct tunnel_routes *tunnel_routes_free(struct tunnel_routes *t);
/* Puts each route of the store that the relay has none of the same name for: at the start, and when the file has let
 * go of a name. */
void tunnel_routes_apply(struct tunnel_routes *t);
void tunnel_routes_add_verbs(struct tunnel_service *ts);

/* verbs.c */
void tunnel_add_verbs(struct tunnel_service *ts);

/* service_health.c */
void tunnel_service_health(struct service *s, struct health *h);
