/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One domain, several UC servers: who of them is logged on, which user lives where, and the way from one to another.
 * UC servers log on over an interface of sip.lan with a REGISTER for their own name (sip.lan.servers); what they send is
 * trusted from then on. A request for a user of ours who has neither an account nor a binding here goes to the server
 * where he lives: by the configuration's ranges, by a REGISTER that was accepted, or by that server's answer to our own
 * question, which is put to all servers at once and remembered for a while (docs/decisions/0021-mesh.md).
 *
 * No I/O: messages leave by the core, questions by sip-proxy/ask.h.
 */
#pragma once
#include <jansson.h>
#include "common/metrics.h"
#include "sip-proxy/config.h"
#include "sip-proxy/location_store.h"
#include "sip-proxy/proxy.h"
#include "sip-proxy/registrar.h"

struct sip_mesh;
struct sip_mesh_options {
	struct timers *timers;
	uint64_t (*now)(void *edge);
	const struct sip_edge_ops *ops;
	void *edge;
	struct sip_registrar *registrar; /* borrowed: proves passwords */
	struct metrics *metrics;	 /* may be NULL */
	struct hash_seed seed;
	/* Of the service; arg is theirs. */
	bool (*is_domain)(void *arg, struct text host);
	bool (*is_local)(void *arg, const char *aor); /* an account or a binding of the proxy itself */
	uint32_t (*lan_interface)(void *arg, enum sip_proto proto, bool mutual); /* to leave by; 0: any */
	void (*changed)(void *arg, const char *user); /* this server has logged on, again, or off; may be NULL */
	void *arg;
};
int sip_mesh_new(const struct sip_mesh_options *o, struct sip_mesh **ret_m); /* 0 or -ENOMEM */
struct sip_mesh *sip_mesh_free(struct sip_mesh *m);
DEFINE_CLEANUP(struct sip_mesh, sip_mesh_free)
/* Servers and times of this configuration; who is in the old and in the new one stays logged on. 0, or -ENOMEM and all is
 * as before. */
int sip_mesh_configure(struct sip_mesh *m, const struct sip_config *c);
/* From now on it may ask; NULL: never again (before the core goes). */
void sip_mesh_set_core(struct sip_mesh *m, struct sip_proxy *px);

/* A server's log-on as it is kept in the store, so that it outlives a restart. NULL: it is not logged on, or need not. */
json_t *sip_mesh_logon_json(const struct sip_mesh *m, const char *user, struct sip_times t);
/* And back: 0; -ENOENT: over, or there is no such server; -EBADMSG. */
int sip_mesh_logon_take(struct sip_mesh *m, const char *user, const json_t *body, struct sip_times t);

/* No more questions whether a server is well: the service stops, and waits for what is under way. */
void sip_mesh_drain(struct sip_mesh *m);

/* Is this one of a UC server's users? As far as it can be known without asking: there are servers, and he is not ours. */
bool sip_mesh_may_serve(const struct sip_mesh *m, const char *aor);
/* The registrar has taken a registration that a UC server sent for its user. */
void sip_mesh_registered(struct sip_mesh *m, unsigned server, const char *aor, uint64_t until);

/* Is this place a server's that is logged on? Then its connection leads there, or the name of its certificate is the one to
 * be proven: in a dialog its own Record-Route names it, often by address. */
void sip_mesh_known(const struct sip_mesh *m, struct sip_target *t);

/* Hooks; arg is the mesh. */
enum sip_step sip_servers_request(struct sip_passage *p, void *arg); /* IDENTITY: which server is it? log-on */
enum sip_step sip_mesh_request(struct sip_passage *p, void *arg); /* ROUTING */
bool sip_mesh_response(struct sip_return *ret, void *arg);

/* The gauges. */
void sip_mesh_gauges(const struct sip_mesh *m);
/* {name, address, transport, state, since, expires_s, users, weight, group, health, last_error, last_error_at} */
json_t *sip_mesh_servers_json(struct sip_mesh *m);
/* Who is known to live where: until fn returns false. */
struct sip_mesh_user {
	const char *aor, *server, *how;
	uint64_t expires_ms;
};
void sip_mesh_users_each(struct sip_mesh *m, bool (*fn)(const struct sip_mesh_user *u, void *arg),
			 void *arg);
