/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forward jobs of an agent: those of its file, of its store, and those that a server has offered and the agent
 * has taken. What they lead to, whether a connection may go there, whether the target answers, and what each server
 * says of each job. Knows no wire: whoever connects to servers is told by ops of what to tell them.
 *
 * Main thread of the agent. A job is found by its number (wire) or its name (people).
 */
#pragma once
#include "common/dns.h"
#include "common/list.h"
#include "tunnel/agent/config.h"
#include "tunnel/agent/target.h"

struct agent_jobs;

enum agent_job_origin { AGENT_JOB_OF_FILE, AGENT_JOB_OF_STORE, AGENT_JOB_OF_SERVER };
enum {
	AGENT_OFFERED = 0x80000000u /* in the number of a job that a server has made */,
	AGENT_OFFERED_MAX = 1024 /* jobs of all servers */,
	AGENT_JOB_TEXT = 256
};

struct agent_job_told {	 /* what a server says of a job */
	unsigned state;	 /* enum wire_job_state; 0: nothing yet, or not connected */
	unsigned reason; /* enum wire_reason */
	uint16_t port;
	char address[AGENT_JOB_TEXT], text[AGENT_JOB_TEXT];
};
struct agent_job {
	struct list node;
	struct agent_jobs *all;
	uint32_t id, revision;
	enum agent_job_origin origin;
	unsigned server; /* which has made it */
	struct cfg *cfg; /* owns c */
	const struct job_config *c;
	json_t *json;
	char name[JOB_NAME_STRLEN];
	uint64_t ends; /* ms of the loop, where the end was said as a duration; 0: see c->expire.at */
	struct agent_job_told told[AGENT_SERVERS_MAX];
	struct timer probing;
	struct agent_target *probe;
	bool probed, down;
	char down_why[AGENT_JOB_TEXT];
	uint64_t probe_ms; /* the last connect of a probe */
	int64_t connections;
	uint64_t accepted, errors,
		bytes[2]; /* bytes of connections that have ended: to the target, and back */
	int64_t error_at; /* unix ms */
	char error[AGENT_JOB_TEXT];
};

struct agent_jobs_ops { /* to all servers, or of an offered job to its own */
	void (*put)(const struct agent_job *j, void *arg);
	void (*gone)(const struct agent_job *j, void *arg);   /* it is about to be freed */
	void (*target)(const struct agent_job *j, void *arg); /* probed: is it down? */
	void (*expired)(const struct agent_job *j, void *arg); /* gone() follows */
};
int agent_jobs_new(struct loop *l, const struct agent_jobs_ops *ops, void *arg,
		   struct agent_jobs **ret_js);
struct agent_jobs *agent_jobs_free(struct agent_jobs *js);
void agent_jobs_network_changed(struct agent_jobs *js); /* names are asked anew */
/* Prefixes that targets are held against; copied. */
int agent_jobs_allow(struct agent_jobs *js, const struct cfg_list *allow);
/* Makes a job, or puts it in the place of the one of its name and origin. from: of an offered one, its server and number. */
struct agent_job_from {
	enum agent_job_origin origin;
	unsigned server;
	uint32_t id;
};
/* 0, -ENOMEM; -EUSERS: servers have made AGENT_OFFERED_MAX jobs, and this would be another one. */
int agent_jobs_put(struct agent_jobs *js, const struct agent_job_from *from,
		   const struct job_config *c, struct agent_job **ret_j);
/* All jobs of the file are these. 0 or -ENOMEM */
int agent_jobs_put_file(struct agent_jobs *js, const struct cfg_list *jobs);
void agent_jobs_remove(struct agent_job *j);
int64_t agent_job_expires(const struct agent_job *j); /* unix s; 0: never */
struct agent_job *agent_jobs_find(struct agent_jobs *js,
				  const char *name); /* NULL: none; those of a server last */
struct agent_job *agent_jobs_numbered(struct agent_jobs *js, unsigned server, uint32_t id);
struct list *agent_jobs_all(struct agent_jobs *js); /* struct agent_job by node */
/* Nothing is told by this server any more. */
void agent_jobs_forget_server(struct agent_jobs *js, unsigned server);

/* An offered job: NULL, it may be taken; or why not. */
const char *agent_jobs_refuses(struct agent_jobs *js, const struct job_config *c, bool plain_allowed);
/* Towards the target of port offset `offset`: 0 and done() follows; else a reason (enum wire_reason) and a sentence. */
struct agent_open {
	uint32_t offset;
	bool udp;
	struct addr source, server;
};
unsigned agent_jobs_reach(struct agent_job *j, const struct agent_open *o,
			  void (*done)(const struct agent_target_answer *a, void *arg), void *arg,
			  struct agent_target **ret_t, const char **ret_text);
/* What became of a connection. */
void agent_job_failed(struct agent_job *j, const char *why);
struct agent_job_server { /* of a row */
	const char *name;
	bool up;
};
json_t *agent_job_row(const struct agent_job *j, const struct agent_job_server *servers, unsigned n_servers);
