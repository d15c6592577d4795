/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is let in to the tunnel: answers the arrivals of tunnel/server/server.h out of the registry of
 * agents, enrols by code or password, keeps agents and codes in the store and the server's keys in
 * their files, and has the control verbs for all of it. docs/decisions/0017-tunnel-identity.md.
 *
 * Main thread. Changes are answered, and agents welcomed, when the store has them on the disk. Wrong
 * passwords and codes back off by source address (turn/backoff.h).
 */
#pragma once
#include "common/control.h"
#include "common/metrics.h"
#include "tunnel/server/registry.h"
#include "tunnel/server/server.h"

struct tunnel_agents;

struct tunnel_agents_options { /* copied, but loop, store and control */
	struct loop *loop;
	struct store *store; /* NULL: agents are forgotten at the end */
	struct control_server *control;
	const char *folder;   /* of the server's keys */
	const char *password; /* for enrolment; NULL: there is none */
	const char *server_name, *public_name;
	uint16_t port; /* at which agents connect: stands in codes, with public_name */
	const struct cfg_list *ports; /* struct cfg_port_range, of agents that have no range of their own */
	uint64_t agents_max;
	/* An agent is called otherwise now, or has other ports, or was revoked; now NULL: it was deleted. May be NULL. */
	void (*changed)(const struct entry *before, const struct entry *now, void *arg);
	void *arg;
};
/* Reads the store and the keys (which are made at the first start); blocking, before the loop runs. err gets a
 * sentence. */
int tunnel_agents_new(const struct tunnel_agents_options *o, char *err, size_t err_n,
		      struct tunnel_agents **ret_a);
struct tunnel_agents *tunnel_agents_free(struct tunnel_agents *a); /* after the server's end */
DEFINE_CLEANUP(struct tunnel_agents, tunnel_agents_free)
/* A reload: password, names, ports and limit. -EINVAL and a sentence: the password cannot be one. */
int tunnel_agents_configure(struct tunnel_agents *a, const struct tunnel_agents_options *o,
			    char *err, size_t err_n);
/* Who has arrived and is not let in yet, those that wait for approval among them, is to come again later. */
void tunnel_agents_send_away(struct tunnel_agents *a, const char *why);
/* Gives s the TLS context, now and after each rotation of keys. */
int tunnel_agents_use_server(struct tunnel_agents *a, struct tunnel_server *s);
void tunnel_agents_add_verbs(struct tunnel_agents *a);
/* For struct service_owner of REGISTRY_AGENT_KIND; arg is the struct tunnel_agents. */
int agents_check_object(const char *key, json_t **body, void *arg, char *err, size_t err_n);
int agents_apply_object(const char *key, json_t *body, uint64_t revision, void *arg, char *err, size_t err_n);
struct metrics *tunnel_agents_metrics(struct tunnel_agents *a);

/* For struct tunnel_server_options; arg is the struct tunnel_agents. */
void tunnel_agents_arrived(struct tunnel_arrival *v, void *arg);
void tunnel_agents_arrival_frame(struct tunnel_arrival *arrival, unsigned type, const union wire_msg *m,
				 void *arg);
void tunnel_agents_arrival_gone(struct tunnel_arrival *v, const char *why, void *arg);
void tunnel_agents_copied_key(const struct tunnel_link_info *first,
			      const struct tunnel_arrival_info *second, void *arg);

/* The ports that this agent may open; 0: none, or there is no such agent. */
size_t tunnel_agents_ports(const struct tunnel_agents *a, const uint8_t identity[static IDENTITY_LEN],
			   struct wire_range *ret_ranges, size_t max);
const struct entry *tunnel_agents_look_up(const struct tunnel_agents *a, struct text name_or_id);
