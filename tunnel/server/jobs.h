/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forward jobs at the server: which agent has which, on which port, and the connections that they have. The main
 * thread keeps the book of ports and binds; a job's listeners, connections and flows live in its link's worker.
 *
 * What an agent says of a job is checked here as the server's file would be; whether the target may be reached is the
 * agent's to say. Functions are for the main thread, unless they say otherwise.
 */
#pragma once
#include "common/service.h"
#include "tunnel/config.h"
#include "tunnel/records.h"
#include "tunnel/seen.h"
#include "tunnel/server/server.h"

struct tunnel_jobs;

struct tunnel_jobs_options {
	struct service *svc;
	struct records *records; /* may be NULL; outlives the jobs */
	/* What an agent may open: at most max ranges. */
	unsigned (*ranges)(const uint8_t identity[static WIRE_PIN], struct wire_range *r, unsigned max, void *arg);
	/* What it is called here; NULL: there is no such agent, or it was revoked, and its ports are free. */
	const char *(*name_of)(const uint8_t identity[static WIRE_PIN], void *arg);
	/* Whose name this is; false: nobody's. */
	bool (*look_up)(const char *agent, uint8_t ret_identity[static WIRE_PIN], void *arg);
	/* NULL, or who has this port of the server: see ports.h. */
	const char *(*own)(const struct addr *at, bool udp, void *arg);
	void *arg;
};
int tunnel_jobs_new(const struct tunnel_jobs_options *o, struct tunnel_jobs **ret_j);
void tunnel_jobs_stop(struct tunnel_jobs *j); /* before the server: nobody watches any more */
struct tunnel_jobs *tunnel_jobs_free(struct tunnel_jobs *j); /* after the server */
void tunnel_jobs_use_server(struct tunnel_jobs *j, struct tunnel_server *s);
/* Values of the section, at the start and at a reload: what is no longer allowed is closed. */
void tunnel_jobs_configure(struct tunnel_jobs *j, const struct tunnel_config *c, bool resolve_names);
void tunnel_jobs_recheck(struct tunnel_jobs *j); /* the ranges of an agent have changed */
/* In the tables, and for the jobs that are offered to it. */
void tunnel_jobs_renamed(struct tunnel_jobs *j, const uint8_t identity[static WIRE_PIN], const char *before, const char *now);
void tunnel_jobs_forget(struct tunnel_jobs *j, const uint8_t identity[static WIRE_PIN]); /* it was revoked or deleted */
void tunnel_jobs_add_verbs(struct tunnel_jobs *j);
struct metrics *tunnel_jobs_metrics(struct tunnel_jobs *j);
uint64_t tunnel_jobs_links(struct tunnel_jobs *j); /* control connections that are there, or awaited */
uint64_t tunnel_jobs_count(struct tunnel_jobs *j);
int64_t tunnel_jobs_connections(const struct tunnel_jobs *j); /* and flows */
json_t *jobs_rows_json(struct tunnel_jobs *j, const char *agent); /* agent NULL: of all */
void tunnel_jobs_drain(struct tunnel_jobs *j); /* nothing new is taken */
void tunnel_jobs_send_away(struct tunnel_jobs *j, const char *why); /* every agent: what it has ends; it tries again soon */

/* For struct tunnel_server_options; arg is not looked at, the jobs are the workers' owner. */
extern const struct tunnel_link_ops tunnel_jobs_link_ops;
void *tunnel_jobs_worker_begin(struct tunnel_jobs *j, struct tunnel_worker *w, int *ret_r);
void tunnel_jobs_worker_end(void *owner);
