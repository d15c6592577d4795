/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-gateway as a service: what its files share. One loop does all.
 *
 *   service.c   the operations that common/service calls; listeners
 *   verbs.c     status, transfers, metrics
 *   transfer.c  a browser's request (transfer.h)
 */
#pragma once
#include "common/monitor.h"
#include "common/proxy_intake.h"
#include "common/service.h"
#include "gateway/transfer.h"

struct gateway_service {
	struct service *svc;
	struct gateway g;
	struct httpd *tls, *plain; /* NULL: nothing listens so */
	struct proxy_intake *intake;
	struct list listeners;
	struct monitor monitor;
	struct timer pulse; /* counters of the servers go into the metrics */
	uint64_t counted_accepted, counted_refused[HTTPD_REFUSALS];
	bool draining;
};
extern const struct service_ops gateway_service_ops;

/* verbs.c */
void gateway_add_verbs(struct gateway_service *gs);

/* service.c */
json_t *gateway_listeners_json(const struct gateway_service *gs);
int gateway_tunnel_reached(const struct gateway_service *gs); /* 0, or why stile-tunnel does not take a connection: -errno */
