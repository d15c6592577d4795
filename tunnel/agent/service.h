/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-agent as a service: what its files share. One loop does all: control socket, connections to servers, data
 * connections, targets.
 *
 *   service.c    the operations that common/service calls; what each server says
 *   conns.c      data connections: from an OPEN to a target and to their end
 *   job_store.c  jobs made while the agent runs: store and verbs
 *   direct.c …   links to other agents (direct.h)
 *   reach.c      whether a port here can be reached from the server
 *   health.c     what needs attention
 *   verbs.c      status, tables, connect and disconnect
 */
#pragma once
#include "common/monitor.h"
#include "common/net_changes.h"
#include "common/service.h"
#include "common/stored.h"
#include "tunnel/agent/agent.h"
#include "tunnel/agent/dialer.h"
#include "tunnel/agent/jobs.h"
#include "tunnel/agent/rest.h"

struct agent_service;
struct direct;

struct agent_end { /* one server */
	struct agent_service *as;
	unsigned index;
	struct agent *agent;
	struct dialer *dialer;
	char server[300]; /* "host:port" */
	enum agent_state state;
};

struct agent_service {
	struct service *svc;
	struct agent_jobs *jobs;
	struct dialers *dialers;
	struct net_changes *changes; /* NULL: there is no rtnetlink */
	struct stored *stored;
	struct agent_end ends[AGENT_SERVERS_MAX];
	unsigned n_ends;
	struct list conns; /* struct agent_conn, oldest first */
	struct list reaches; /* of reach.c: what the server was asked */
	uint32_t last_reach;
	struct direct *direct;
	struct monitor monitor;
	struct agent_rest rest;
	uint8_t instance[WIRE_INSTANCE];
	char host[256];
};
extern const struct service_ops agent_service_ops;
const struct agent_config *agent_config_of(const struct agent_service *as);

/* conns.c */
void agent_conn_open(struct agent_end *e, struct data_conn *d, const struct wire_open *o);
void agent_conns_free(struct agent_service *as); /* before the agents */
void agent_conns_recheck(struct agent_service *as, const struct cfg_list *allow); /* agent.allow has changed: what it does not hold ends */
/* A job of the agent's own was changed, or is gone: what it does not allow any more ends. */
void agent_conns_of_job(struct agent_service *as, const struct agent_job *j, bool gone);
unsigned agent_conns_count(const struct agent_end *e, uint32_t job_id);
json_t *agent_conns_json(struct agent_service *as, const char *job);
int agent_conns_kick(struct agent_service *as, uint64_t stream); /* -ENOENT */

/* reach.c */
void agent_reach_init(struct agent_service *as); /* its verb */
void agent_reach_free(struct agent_service *as);
void agent_reach_on_frame(struct agent_end *e, const struct wire_reached *m);

/* job_store.c */
int agent_store_new(struct agent_service *as);
void agent_store_apply(struct agent_service *as); /* those whose name the file does not use */
void agent_store_add_verbs(struct agent_service *as);

/* health.c */
void agent_health(struct service *s, struct health *h);

/* verbs.c */
void agent_add_verbs(struct agent_service *as);
json_t *agent_jobs_json(struct agent_service *as);
bool agent_end_is(const struct agent_end *e, const char *server); /* "tunnel.example.org:7443", or only its host */
