/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forward job as it is configured: a port of the server leads to a host and port in a network of the agent. One
 * schema, whether it stands in the agent's file, in the agent's store, is made by a verb of the agent, or on the
 * server's side. Plain values only, owned by the struct cfg that they were read into.
 *
 * What agent and server make of a job is in tunnel/agent/ and tunnel/server/.
 */
#pragma once
#include "common/config.h"
#include "tunnel/config.h"

/* "22222", "20000-20009", "*": whatever is free. */
struct job_port {
	uint16_t first, last;
	bool any; /* the server chooses one; both are 0 then */
};
extern const struct cfg_type cfg_job_port;

/* "2h": from when the job was made, or, of a file, from the agent's start; "2026-12-01 18:00" in local time, "…Z". */
struct job_expiry {
	int64_t at;	/* unix s; 0: not said so */
	uint64_t in_ms; /* 0: not said so; both 0: never */
};
extern const struct cfg_type cfg_job_expiry;
extern const struct cfg_type cfg_job_protocol; /* tcp, udp: bool, true for udp */

enum {
	JOB_PORTS_MAX = 1000,
	JOB_NAME_MAX = 63,
	JOB_NOTE_MAX = 255,
	JOB_ALLOW_MAX = 64,
	JOB_NAME_STRLEN = 300
};

struct job_config {
	char *name; /* NULL: not written; see job_name() */
	struct job_port port;
	struct route_target target; /* port 0: that of the server */
	bool udp, encrypt, enabled;
	struct addr bind;      /* AF_UNSPEC: tunnel.bind */
	struct cfg_list allow; /* struct prefix; empty: all sources */
	struct job_expiry expire;
	struct {
		uint64_t connections; /* or flows */
		uint64_t bitrate;     /* both directions together */
	} limits;
	unsigned proxy_protocol; /* enum route_proxy */
	uint64_t health_ms;	 /* how often the target is tried; 0: never */
	uint64_t connect_ms;
	char *note;
};
extern const struct cfg_schema job_schema; /* fills struct job_config */
extern const struct cfg_root job_cfg_root; /* "job: {…}" as a whole document */

static inline unsigned job_ports(const struct job_config *j)
{
	return (unsigned)j->port.last - j->port.first + 1;
}
/* "22222", "22222/udp"; of a port that the server chooses: "*:10.1.0.25:3389". */
const char *job_name(const struct job_config *j, char buf[static JOB_NAME_STRLEN]);
/* Could both not be there at the same time? */
bool job_same_port(const struct job_config *a, const struct job_config *b);
void job_config_check(struct cfg *c, const char *path, const struct job_config *j);
/* All of one list: no two of a name, no two on a port. path: "agent.jobs". */
void job_list_check(struct cfg *c, const char *path, const struct cfg_list *jobs);

json_t *job_config_json(const struct job_config *j); /* which job_parse() reads back */
int job_parse(const json_t *o, char *err, size_t err_n, struct cfg **ret_cfg);
/* A duration becomes the time at which it ends. */
void job_settle_expiry(json_t *o, const struct job_config *j, int64_t now_s);
