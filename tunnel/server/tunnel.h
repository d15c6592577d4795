/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnel server put together: connections (server.h), who is let in (agents.h), jobs (jobs.h), for the service
 * around them, which also runs the relay. Where tunnel.listen is empty there is none, and everything here takes NULL.
 * Main thread.
 */
#pragma once
#include "common/service.h"
#include "tunnel/config.h"
#include "tunnel/records.h"

struct tunnel;

struct tunnel_options {
	struct service *svc;
	const struct tunnel_config *config;
	/* NULL, or the name of the relay's route that has this port. */
	const char *(*route_at)(const struct addr *at, bool udp, void *arg);
	/* The relay has this port, and the configuration that is examined or taken has it no more. */
	bool (*let_go)(const struct addr *at, void *arg);
	void *arg;
};
/* Binds tunnel.listen, while it is privileged. err gets a sentence. */
int tunnel_open(const struct tunnel_options *o, char *err, size_t err_n, struct tunnel **ret_t);
/* Reads keys, agents and jobs of the store; the workers begin. */
int tunnel_start(struct tunnel *t, struct records *records, char *err, size_t err_n);
/* Could tunnel_reload(), or tunnel_open() where t is NULL, listen to all that o->config has? Changes nothing. */
int tunnel_examine(const struct tunnel *t, const struct tunnel_options *o, char *err, size_t err_n);
int tunnel_reload(struct tunnel *t, const struct tunnel_config *c, char *err, size_t err_n); /* all or nothing */
int64_t tunnel_drain(struct tunnel *t); /* takes nothing new; how many data connections are left */
struct tunnel *tunnel_free(struct tunnel *t);
bool tunnel_alive(struct tunnel *t);
struct metrics *tunnel_metrics(struct tunnel *t, unsigned i); /* the i-th set; NULL: there are no more */
struct tunnel_counts {
	uint64_t links, jobs, connections;
};
void tunnel_count(struct tunnel *t, struct tunnel_counts *ret_c);
json_t *tunnel_jobs_json(struct tunnel *t); /* rows of all jobs, as tunnel.jobs has them */
extern const struct store_kind tunnel_store_kinds[]; /* ended by a row without a name */
