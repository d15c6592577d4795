/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `agent` section as a struct, and its schema rows (tunnel/agent/config.c). Plain values only, owned by the
 * struct cfg that they were read into.
 * A key that only one of the two programs knows stands in its own section.
 */
#pragma once
#include "common/service.h"
#include "tunnel/agent/visit.h"
#include "tunnel/job.h"

/* "tunnel.example.org:7443", "tunnel.example.org:7443#sha256:9f…": with the fingerprint of the server's root. */
struct agent_server {
	char *host;
	uint16_t port;
	bool pinned;
	uint8_t fingerprint[32];
};
extern const struct cfg_type cfg_agent_server;

struct direct_turn_config {
	struct cfg_hostport server;
	unsigned tcp;
	char *user, *password;
};

struct agent_config {
	char *name;			/* NULL: the host's */
	struct cfg_list server;		/* struct agent_server: each is connected */
	struct cfg_list fallback_ports; /* struct cfg_port_range, tried beside the server's own */
	char *password;			/* for enrolment */
	char *code;			/* for enrolment: of stile tunnel enrol */
	char *guest;			/* of this share: sixteen hexadecimal digits; NULL: an agent */
	char *proxy; /* "http://user:password@host:port", NULL: none; tunnel/agent/proxy.h reads it */
	struct cfg_list jobs;  /* struct job_config */
	struct cfg_list allow; /* struct prefix */
	struct cfg_list visits, visitors; /* struct visit_config, visitor_config */
	struct {
		bool enabled, direct, ipv6, portmap, probes, tcp, turn;
		struct cfg_port_range ports; /* of direct UDP sockets; 0: any */
		unsigned congestion;
		struct cfg_list turn_servers; /* struct direct_turn_config */
	} direct;
	bool auto_connect, allow_plain;
	struct log_section *log; /* override; NULL if absent */
};
struct agent_root { /* what stile-agent reads of stile.yaml */
	struct log_section log;
	bool sandbox;
	struct store_section store;
	struct cfg_list stun_servers; /* struct cfg_hostport */
	struct agent_config agent;
};
enum { AGENT_SERVERS_MAX = 8, AGENT_TURN_MAX = 8 };
extern const struct cfg_root agent_cfg_root;

/* Of the whole section, for struct service_ops. */
void agent_config_check(struct cfg *c);
void agent_log_config(const void *values, struct log_config *ret_lc);
const char *agent_store_path(const void *values);
