/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-sip as a service: what its files share. Everything is in one thread, the service's loop; DNS and the store
 * answer into it.
 *
 *   service.c         the operations that common/service calls
 *   service_listen.c  from the configuration's listeners to a plan of the edge
 *   service_hooks.c   the chain of the policy
 *   service_registrar.c  accounts, location, registrar
 *   service_certificates.c  what the listeners show, and when it ends
 *   service_sites.c   the UC servers of the LAN
 *   service_secret.c  the key of the tokens, kept over a restart
 *   service_federation.c  routes, partners, trust
 *   effective.c       file and store as one configuration; verbs_federation.c changes it, federation_check.c asks the DNS about it
 *   service_counts.c  what the core counts, as metrics
 *   service_health.c  what needs attention; verbs.c  status, transactions, flows, registrations
 *   probes.c          OPTIONS to the gateways of the routes
 *   trace.c           sip.trace: the messages of a call or an address as they pass
 */
#pragma once
#include "common/service.h"
#include "sip-proxy/accounts.h"
#include "sip-proxy/config.h"
#include "sip-proxy/effective.h"
#include "sip-proxy/edge.h"
#include "sip-proxy/federation_check.h"
#include "sip-proxy/location_store.h"
#include "sip-proxy/interfaces.h"
#include "sip-proxy/mesh.h"
#include "sip-proxy/proxy.h"
#include "sip-proxy/registrar.h"
#include "sip-proxy/routes.h"
#include "sip-proxy/turn_credentials.h"
#include "sip-proxy/trust.h"

enum { SIP_HOOKS_MAX = 16 };

struct sip_traces;
struct sip_probes;
struct sip_certificates;

struct sip_service {
	struct service *svc;
	struct metrics *metrics;
	struct sip_effective *effective;
	struct cfg *cfg; /* file and store: what holds */
	struct sip_edge *edge;
	struct sip_proxy *proxy;
	struct sip_routing routing; /* of the hooks; owns the routes */
	struct sip_federating federating; /* … and these */
	struct sip_trusting trusting;
	struct sip_record_checks *checks;
	struct sip_accounts *accounts;
	struct sip_location *location;
	struct sip_location_store *bindings; /* the location in the store */
	struct sip_registrar *registrar;
	struct sip_mesh *mesh;
	struct sip_interfaces *interfaces;
	struct sip_turn_place turn;
	struct sip_hook hooks[SIP_HOOKS_MAX];
	const struct sip_hook *chain[SIP_HOOKS_MAX];
	unsigned n_hooks;
	struct sip_traces *traces;
	struct sip_probes *probes;
	struct timer pressure; /* looks at the sockets' queues */
	struct sip_certificates *certificates;
};
extern const struct service_ops sip_service_ops;

/* service_listen.c: 0, or -errno and a sentence in err */
int sip_service_plan(struct sip_service *ss, const struct sip_config *c, char *warning, char *err,
		     size_t err_n, struct sip_edge_plan **ret_p);

/* service_secret.c: that of before the restart, or a new one */
extern const struct cfg_schema sip_secret_schema;
int sip_service_token_key(struct sip_service *ss, uint8_t key[static 32]);

/* service_hooks.c */
int sip_service_hooks(struct sip_service *ss);

/* service_registrar.c: 0 or -errno; the free one takes what there is */
int sip_service_registrar(struct sip_service *ss, const struct sip_config *c);
int sip_service_registrar_set(struct sip_service *ss, const struct sip_config *c); /* limits, Service-Route */
void sip_service_registrar_free(struct sip_service *ss);
void sip_service_registrar_verbs(struct sip_service *ss);

/* service_federation.c: what the hooks look at */
struct sip_ways {
	struct sip_routes *routes;
	struct sip_federation *federation;
};
int sip_ways_make(const struct sip_config *c, struct sip_ways *ret_w); /* 0 or -ENOMEM */
void sip_ways_deinit(struct sip_ways *w);
void sip_ways_take(struct sip_service *ss, struct sip_ways *w); /* once the listeners are those of this configuration */
int sip_service_federation(struct sip_service *ss);		/* 0 or -ENOMEM; once the edge is there */
void sip_service_federation_free(struct sip_service *ss);	/* before the edge */
/* An object of the store has changed: the ways are made anew, the listeners stay. */
void sip_service_changed(void *arg);
void sip_service_federation_verbs(struct sip_service *ss);

#define SIP_LOGON_KIND "sip.logon" /* by the server's user */
/* service_sites.c: 0 or -errno; behind the registrar, which it needs */
int sip_service_sites(struct sip_service *ss, const struct sip_config *c);
int sip_service_sites_set(struct sip_service *ss, const struct sip_config *c); /* a reload: -ENOMEM */
void sip_service_sites_free(struct sip_service *ss);
void sip_service_sites_verbs(struct sip_service *ss);

/* service_certificates.c: looks at them once a day, and at each reload */
int sip_service_certificates(struct sip_service *ss);
void sip_service_certificates_free(struct sip_service *ss);
void sip_service_certificates_look(struct sip_service *ss);

/* service_counts.c */
extern const struct sip_proxy_watch sip_service_watch; /* its arg: the service */
void sip_service_count(struct sip_service *ss);	       /* before metrics are read */

/* verbs.c */
struct sip_listing { /* a page of rows: limit of them behind the first `cursor` */
	const struct sip_service *ss;
	json_t *rows;
	uint64_t now, cursor, skip;
	unsigned limit;
	bool more; /* there is another row behind the page */
};
struct sip_listing sip_listing_begin(struct sip_service *ss, const json_t *args);
bool sip_listing_takes(struct sip_listing *l); /* false: the next row is not of this page; with more set no later one is */
void sip_listing_reply(struct control_request *rq, const struct sip_listing *l);
void sip_add_verbs(struct sip_service *ss);

/* probes.c: asks the gateways of the routes whether they are there */
int sip_probes_new(struct sip_service *ss, uint64_t every_ms, struct sip_probes **ret_p);
struct sip_probes *sip_probes_free(struct sip_probes *p);     /* before the core */
void sip_probes_set(struct sip_probes *p, uint64_t every_ms); /* 0: not at all; NULL is fine */

/* The gateways that the last round found silent, and why. */
void sip_probes_each_failing(const struct sip_probes *p, void (*fn)(void *arg, const char *host, const char *why), void *arg);

/* service_health.c */
void sip_service_health(struct service *s, struct health *h);

/* trace.c */
int sip_traces_new(struct sip_service *ss, struct sip_traces **ret_t);
struct sip_traces *sip_traces_free(struct sip_traces *t);
unsigned sip_traces_count(const struct sip_traces *t);
void sip_verb_trace(struct control_request *rq, const json_t *args, void *arg);
