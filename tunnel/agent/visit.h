/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Visits as they are configured (agent.visits): a port here leads to a host and port in the network of another agent; and
 * visitors (agent.visitors): which other agents may come here, and what they reach. Plain values, owned by the struct cfg
 * that they were read into; what becomes of them is in tunnel/agent/direct.h.
 *
 * An agent is known by the SHA-256 of its public key, never by its name, which the server chooses.
 */
#pragma once
#include "tunnel/config.h"
#include "tunnel/link/identity.h"

struct peer_pin {
	bool set;
	struct identity_hash id;
};
extern const struct cfg_type cfg_peer_pin; /* "sha256:6f0a…" */

/* "10.1.0.0/24", "10.1.0.25:3389", "[2001:db8::/64]:22-25" */
struct reach {
	struct prefix prefix;
	uint16_t first, last; /* 0 to 65535: every port */
};
extern const struct cfg_type cfg_reach;
bool reach_holds(const struct cfg_list *reaches, const struct addr *a); /* struct reach; an empty list holds nothing */
bool reaches_less(const struct cfg_list *was, const struct cfg_list *is); /* something of the first list is in none of the second */

enum { VISIT_NAME_MAX = 63, VISIT_HEAD_START_MS = 200 };
#define VISIT_ONLY_DIRECT UINT64_MAX /* of head_start_ms: no relay, ever */

struct visit_config {
	char *name;	     /* NULL: "AGENT HOST:PORT" */
	char *agent;	     /* as the server calls it */
	struct peer_pin identity; /* not set: as it was at the first contact */
	struct route_target target;
	struct addr listen; /* port 0: any */
	bool udp, enabled;
	uint64_t head_start_ms; /* VISIT_ONLY_DIRECT: unlimited */
	uint64_t connections;
};
struct visitor_config {
	char *name; /* for people */
	struct peer_pin identity;
	struct cfg_list allow; /* struct reach */
	bool enabled;
};
struct peer_config { /* of the store: who was accepted at a first contact */
	char *name;
	struct peer_pin identity;
	bool visitor, host; /* may come here; may be visited */
	struct cfg_list allow; /* struct reach */
};
extern const struct cfg_schema visit_schema, visitor_schema, peer_schema;
extern const struct cfg_root visit_cfg_root; /* "visit: {…}" as a whole document */

/* "site-17 10.1.0.25:3389" */
enum { VISIT_NAME_STRLEN = 384 };
const char *visit_name(const struct visit_config *v, char buf[static VISIT_NAME_STRLEN]);
int visit_parse(const json_t *o, char *err, size_t err_n, struct cfg **ret_cfg); /* as values_parse() */
/* The entry of agent.visitors that a peer of the store is: what may come here. NULL: it is none, or there is no memory. */
json_t *peer_as_visitor(const json_t *body);
int peer_parse(const json_t *o, char *err, size_t err_n, struct cfg **ret_cfg);
/* Between the entries: no name, address or identity twice. */
void visits_check(struct cfg *c, const struct cfg_list *visits, const struct cfg_list *visitors);
