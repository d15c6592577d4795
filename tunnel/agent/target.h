/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One way to a target of a job, from its name to a connected socket: resolved, every address held against the agent's
 * list after that, tried one after the other. For a data connection, for a flow, and for a health check. What
 * the name meant a moment ago counts for nothing: a name server that says 127.0.0.1 today gets no further.
 */
#pragma once
#include "common/addr.h"
#include "common/config.h"
#include "common/dns.h"
#include "tunnel/link/wire.h"

struct agent_target;

struct agent_target_ask { /* read during the call only, but for allow */
	const char *host;
	uint16_t port;
	bool udp;
	uint64_t connect_ms;	      /* of each address */
	const struct cfg_list *allow; /* struct prefix, outlives the target; NULL: whatever the name means */
	struct addr source, server; /* of a PROXY header in front; AF_UNSPEC: without one */
};
struct agent_target_answer { /* lives as long as the call */
	int fd;		     /* connected; the callee's. -1: it failed */
	struct addr target, local;
	unsigned reason;  /* enum wire_reason */
	const char *text; /* a sentence; "" if all is well */
	uint64_t took_ms;
};
/* done() is called once, never from inside; the target is gone then. 0 or -ENOMEM. */
int agent_target_reach(struct loop *l, struct dns *dns, const struct agent_target_ask *a,
		       void (*done)(const struct agent_target_answer *a, void *arg), void *arg,
		       struct agent_target **ret_t);
struct agent_target *agent_target_free(struct agent_target *t); /* done() will not be called */
