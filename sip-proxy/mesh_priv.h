/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the mesh, for its own files:
 *	mesh.c		life, configuration, what is shown
 *	mesh_servers.c	a server: log-on, who sent this
 *	mesh_health.c	is it well?
 *	mesh_users.c	the memory of who lives where, and who may serve whom
 *	mesh_ask.c	the question to all servers at once
 *	mesh_store.c	log-ons as objects of the store
 *	mesh_route.c	the way of a request and of its responses
 */
#pragma once
#include "sip-proxy/ask.h"
#include "sip-proxy/mesh.h"

enum {
	MESH_SERVERS_MAX = SIP_SERVERS_MAX,
	MESH_USERS_MAX = 200000, /* remembered; the one that was looked at longest ago makes room */
	MESH_QUESTIONS_MAX = 256, /* under way */
	MESH_WAITING_MAX = 64,	  /* requests behind one of them */
	MESH_CONTACT_MAX = 512,
	MESH_WORD_MAX = 256,
	MESH_ERROR_MAX = 160,
	MESH_PING_MS = 10000,	  /* a server that is well is asked so often whether it is */
	MESH_PING_SICK_MS = 2000, /* one that is not: its return is seen by this */
	MESH_NOBODY_MS = 5000,	  /* how long it is remembered that nobody has this user */
	MESH_TICK_MS = 1000,
};

struct mesh_server {
	struct sip_mesh *mesh;
	unsigned number; /* never 0, never used again */
	/* Of the configuration. */
	char user[MESH_WORD_MAX], group[MESH_WORD_MAX], name[MESH_WORD_MAX];
	char password[MESH_WORD_MAX]; /* "": none */
	char fixed[MESH_CONTACT_MAX]; /* a URI: it need not log on; "": it must */
	struct prefix *addresses;
	size_t n_addresses;
	char (*users)[MESH_WORD_MAX];
	size_t n_users;
	unsigned weight;
	/* Log-on. */
	bool on, use_flow, mutual;
	uint64_t until; /* ms; UINT64_MAX: as long as the configuration says */
	int64_t since;	/* unix */
	char contact[MESH_CONTACT_MAX], host[MESH_WORD_MAX]; /* host: of contact */
	struct sip_hop from;				     /* the flow of its log-on */
	enum sip_proto proto;				     /* of contact */
	uint32_t iface;	  /* to leave by when the flow is not used; 0: any */
	struct addr seen; /* from where it answered last */
	/* Health. */
	bool sick, was_well; /* was_well: it has answered a question since its log-on */
	bool aside;	     /* not by the flow of its log-on: nothing was answered there */
	char error[MESH_ERROR_MAX];
	int64_t error_at; /* unix; 0: never */
	struct sip_ask *ping;
	uint64_t ping_at, ping_sent;
	uint64_t known;		  /* users */
	struct mesh_server *next; /* retired */
};

enum mesh_how { MESH_NOBODY, MESH_ANSWERED, MESH_REGISTERED };
struct mesh_user {
	struct hnode node;
	struct list lru;
	unsigned server;
	enum mesh_how how;
	uint64_t until;
	char aor[];
};

struct sip_mesh {
	struct sip_mesh_options o;
	struct sip_proxy *px; /* NULL: nothing may be asked */
	bool quiet;	      /* the service stops: no more pings */
	struct mesh_server **v;
	unsigned n, last_number;
	struct mesh_server *retired; /* names of theirs may stand in what is under way: they live on */
	struct prefix *trusted;	     /* sip.sources.trusted */
	size_t n_trusted;
	uint64_t remember_ms, ask_ms;
	struct htable users;
	struct list lru; /* the oldest first */
	struct list questions;
	unsigned n_questions;
	struct timer tick;
	struct log_gate gates[3];
};

static inline uint64_t mesh_now(const struct sip_mesh *m)
{
	return m->o.now(m->o.edge);
}
static inline void mesh_count(const struct sip_mesh *m, unsigned metric, unsigned label)
{
	if (m->o.metrics)
		metric_add(m->o.metrics, 0, metric, label, 1);
}

/* Of this hop the address is no proof. */
static inline bool mesh_from_page(const struct sip_mesh *m, const struct sip_hop *hop)
{
	return sip_from_page(m->o.ops, m->o.edge, hop);
}

/* ---- mesh.c ---- */
bool mesh_trusts(const struct sip_mesh *m, const struct sip_hop *from); /* by sip.sources.trusted */

/* ---- mesh_servers.c ---- */
struct mesh_server *mesh_server(const struct sip_mesh *m, unsigned number); /* NULL: gone */
struct mesh_server *mesh_server_of_user(const struct sip_mesh *m, struct text user); /* NULL: there is none */
/* A hop that a message came by or a response comes from: NULL if it is no server's. via: of a request, or NULL. */
struct mesh_server *mesh_server_at(const struct sip_mesh *m, const struct sip_hop *hop,
				   const struct sip_via *via);
bool mesh_server_is_on(const struct mesh_server *s, uint64_t now);
/* The place to forward to; its texts are the server's. */
struct sip_place mesh_server_place(const struct mesh_server *s);
/* Where an OPTIONS for this URI goes; done and arg are the caller's. 0 or -errno. */
int mesh_server_ask(struct mesh_server *s, struct text uri,
		    void (*done)(void *arg, unsigned code, const char *why,
				 const struct sip_target *target),
		    void *arg, struct sip_ask **ret_a);
void mesh_put_uri(struct sb *b, enum sip_host_kind kind, struct text host); /* "sip:host" */
void mesh_server_logoff(struct mesh_server *s, const char *why);
void mesh_server_fix(struct mesh_server *s); /* one that need not log on is there from now on */
/* Logged on before a restart, and so still. 0, or -EBADMSG: its contact is none that can be used. */
int mesh_server_back(struct mesh_server *s, struct text contact, const struct sip_hop *from,
		     bool mutual, uint64_t until, int64_t since);
struct mesh_server *mesh_server_free(struct mesh_server *s);

/* ---- mesh_health.c ---- */
/* How it went: code 0 and why, or its answer. */
void mesh_server_told(struct mesh_server *s, unsigned code, const char *why);
void mesh_server_error(struct mesh_server *s, const char *why); /* shown as the last one */
void mesh_servers_tick(struct sip_mesh *m, uint64_t now);

/* ---- mesh_users.c ---- */
/* What is remembered of him, if it still holds. */
struct mesh_user *mesh_user_find(struct sip_mesh *m, const char *aor, uint64_t now);
/* Remembers; a conflict is told. s NULL: nobody has him. */
void mesh_user_learn(struct sip_mesh *m, const char *aor, struct mesh_server *s, enum mesh_how how,
		     uint64_t until);
void mesh_user_forget(struct sip_mesh *m, struct mesh_user *u);
void mesh_users_free(struct sip_mesh *m);
void mesh_users_drop_server(struct sip_mesh *m, unsigned number);
bool mesh_user_matches(const char *pattern, struct text user); /* "alice", "2*", "100-199", "*" */
/* Who serves him as far as is known, best first, without `but`: those whose range he is in, or the one where he was
 * found with the others of its group. 0: nobody is known. */
unsigned mesh_candidates(struct sip_mesh *m, const char *aor, const struct mesh_server *but,
			 uint64_t now, const struct mesh_server *ret_v[static MESH_SERVERS_MAX]);

/* ---- mesh_ask.c ---- */
enum mesh_result { MESH_FOUND, MESH_NOWHERE, MESH_SILENT, MESH_REFUSED, MESH_RESULTS };
/* Asks all servers but one for this user and keeps the passage until one says yes: SIP_WAIT, or it is decided. */
enum sip_step mesh_ask(struct sip_mesh *m, struct sip_passage *p, const char *aor,
		       const struct mesh_server *but);
void mesh_questions_end(struct sip_mesh *m);

/* ---- mesh_route.c ---- */
/* Decides: the best of them, the others if it cannot be reached. */
void mesh_send(struct sip_mesh *m, struct sip_passage *p, const char *aor,
	       const struct mesh_server *const *v, unsigned n);
