/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnel's server: listeners, workers, and who is let in. The main thread makes it, gives it listening sockets and a
 * TLS context, and answers for each agent that says HELLO: an arrival (struct tunnel_arrival) is a control connection
 * that is not welcome yet. All functions here are for the main thread, and their callbacks come there.
 *
 * Strangers: before WELCOME a connection costs one slot of a bounded number, of all and of each source; it has a deadline
 * for the TLS handshake and HELLO, and may say one frame of 4 KiB at a time. Carriers never come here: they name the
 * session of their control connection and show the same key, or are refused in the worker.
 */
#pragma once
#include "common/loop.h"
#include "common/metrics.h"
#include "common/tls.h"
#include "tunnel/server/link.h"

struct tunnel_server;
struct tunnel_arrival;

struct tunnel_arrival_info {
	uint8_t identity[WIRE_PIN]; /* SHA-256 of the SubjectPublicKeyInfo that the handshake proved */
	uint8_t binding[32], enrol[32]; /* exporters of link/tls.h: LINK_EXPORTER_BINDING and _ENROL */
	struct wire_hello hello;	/* its slices live as long as the arrival */
	struct addr peer, local;
};

struct tunnel_admission {
	const char *name; /* what the agent is called here, at most WIRE_NAME_MAX bytes */
	uint64_t guest;	  /* of this share; 0: an agent */
	struct wire_welcome welcome; /* server_name, public_name, ports, successor; all else is filled in */
};

struct tunnel_rendezvous { /* agents that look for each other */
	bool enabled, relay;
	unsigned relays;	/* of one agent at a time */
	uint64_t relay_bytes;	/* of one relay; 0: any number */
	uint64_t relay_bitrate; /* bit/s of one relay, both ways together; 0: any */
	const struct cfg_list *turn_servers; /* struct cfg_hostport, for the agents; of the configuration. Main thread. NULL: none */
	const char *turn_secret;
	const char *public_name; /* of this host, for agents; NULL: not known */
	const char *local_turn;	 /* control socket of a stile-turn on this host; NULL: it is not asked */
};

struct tunnel_server_options {
	unsigned workers;   /* 0: one per core */
	uint32_t window;    /* bytes, of each way of a data connection; 0: 4 MiB */
	uint32_t resume_ms; /* 0: nothing is resumed */
	bool allow_plain;
	unsigned strangers, strangers_per_source; /* connections before WELCOME; 0: 512 and 64 */
	uint64_t hello_ms;			  /* from accept to HELLO, and of a carrier to its RESUME; 0: 10 s */
	int64_t carriers; /* of all agents; 0: three quarters of RLIMIT_NOFILE */
	struct tunnel_rendezvous rendezvous;

	/* Main thread. A HELLO for a control connection has come: answer now or later by one of the functions below. */
	void (*arrived)(struct tunnel_arrival *a, void *arg);
	/* ENROL or SCRAM; m is valid during the call. None comes after its answer. */
	void (*arrival_frame)(struct tunnel_arrival *a, unsigned type, const union wire_msg *m,
			      void *arg);
	/* It has gone before it was answered; a is freed when this returns. */
	void (*arrival_gone)(struct tunnel_arrival *a, const char *why, void *arg);
	/* Two processes use one key: the newcomer was refused. Both are shown. */
	void (*copied_key)(const struct tunnel_link_info *first,
			   const struct tunnel_arrival_info *second, void *arg);

	/* In each worker. begin: state of the owner for this worker (tunnel_worker_owner), or NULL with *ret_r negative. */
	void *(*worker_begin)(struct tunnel_worker *w, void *arg, int *ret_r);
	void (*worker_end)(struct tunnel_worker *w, void *owner, void *arg); /* its links are over */
	const struct tunnel_link_ops *link_ops;
	/* Main thread. Somebody in this process listens there, and is about to stop. May be NULL. */
	bool (*let_go)(const struct addr *at, void *arg);
	void *arg;
};
int tunnel_server_new(struct loop *l, const struct tunnel_server_options *o,
		      struct tunnel_server **ret_s);
struct tunnel_server *tunnel_server_free(struct tunnel_server *s); /* everything ends at once */
DEFINE_CLEANUP(struct tunnel_server, tunnel_server_free)
/* The workers begin; what was listened to before waits until then. */
int tunnel_server_start(struct tunnel_server *s, char *err, size_t err_n);

/* Binds at (once per worker) and listens. -errno and a sentence. Listeners that are there already stay as they are. */
int tunnel_server_listen(struct tunnel_server *s, const struct addr *at, char *err, size_t err_n);
void tunnel_server_unlisten(struct tunnel_server *s, const struct addr *at); /* who is connected stays */
/* The same for a Unix socket (mode 0660, of uid), each of whose connections must begin with a PROXY header (common/proxy_intake.h). */
int tunnel_server_listen_unix(struct tunnel_server *s, const char *path, uid_t uid, char *err, size_t err_n);
/* Would it be listened there, path "" or the socket's? Changes nothing. s NULL: there is no server yet. */
int tunnel_server_probe(const struct tunnel_server *s, const struct addr *at, const char *path,
			char *err, size_t err_n);
void tunnel_server_unlisten_unix(struct tunnel_server *s, const char *path);
void tunnel_server_set_tls(struct tunnel_server *s,
			   struct tls_ctx *ctx); /* for connections from now on; referenced */
void tunnel_server_set_rendezvous(struct tunnel_server *s, const struct tunnel_rendezvous *r); /* for links and relays from now on */
void tunnel_server_configure(struct tunnel_server *s, uint32_t window, uint32_t resume_ms,
			     bool allow_plain); /* the same */

/* Answers to an arrival; each but send ends it (it is not to be touched again). */
int tunnel_arrival_send(struct tunnel_arrival *a, unsigned type, const void *msg); /* PENDING, ENROLLED, SCRAM */
/* WELCOME, in the worker of the agent's link, which is made if there is none. If another process holds the link and
 * still answers a PING, the newcomer is refused by itself (in-use, copied_key). */
void tunnel_arrival_admit(struct tunnel_arrival *a, const struct tunnel_admission *ad);
void tunnel_arrival_refuse(struct tunnel_arrival *a, enum wire_reason reason, const char *text,
			   uint32_t retry_after_s);
const struct tunnel_arrival_info *tunnel_arrival_info(const struct tunnel_arrival *a);
void *tunnel_arrival_state(const struct tunnel_arrival *a);
void tunnel_arrival_set_state(struct tunnel_arrival *a, void *state);

/* A revoked agent: ends every link and relay of this identity (in its worker, soon). */
void tunnel_server_end_identity(struct tunnel_server *s, const uint8_t identity[static WIRE_PIN],
				enum wire_reason reason, const char *text);
/* why, which stays: no agents are let in, those neither whose connection was there before; the relays of all end. Their links,
 * and the arrivals that are not admitted yet, are the owner's to end, after this. NULL: they are let in again. */
void tunnel_server_close(struct tunnel_server *s, const char *why);
/* What other agents call it. Main thread. */
void tunnel_server_rename(struct tunnel_server *s, const uint8_t identity[static WIRE_PIN], const char *name);
/* After so long an agent is to come again to a server that sends all away. */
enum { TUNNEL_AGAIN_S = 5 };
/* Before a stop: GOAWAY to all, new connections are refused; data connections go on. */
void tunnel_server_drain(struct tunnel_server *s, const char *text, uint32_t retry_after_s);
/* Runs fn in each worker, one after the other, and waits. */
void tunnel_server_call(struct tunnel_server *s, void (*fn)(struct tunnel_worker *w, void *arg),
			void *arg);
/* Mail to a worker by its index; delivered in its thread. */
void tunnel_server_post(struct tunnel_server *s, unsigned worker, struct mail *m);
struct tunnel_worker *tunnel_server_worker(struct tunnel_server *s,
					   unsigned index); /* for the mail's deliver() */
/* Main thread. Is there such a share? Guests are let in for it. */
bool tunnel_server_has_share(struct tunnel_server *s, uint64_t id);
bool tunnel_server_guest_room(struct tunnel_server *s, uint64_t id); /* one more guest of it is not too many */
/* Where gateways ask for shares (a Unix socket of uid; "": nowhere), and what is told of them to agents (NULL: nothing). A new door is made
 * beside the old one, and then taken in its place or left. probe: would it be made? s NULL: there is no server yet. */
int tunnel_server_gateway_probe(const struct tunnel_server *s, const char *path, char *err,
				size_t err_n);
int tunnel_server_gateway_make(struct tunnel_server *s, const char *path, uid_t uid, char *err,
			       size_t err_n);
void tunnel_server_gateway_take(struct tunnel_server *s, const char *path, const char *url);
void tunnel_server_gateway_leave(struct tunnel_server *s);
bool tunnel_server_alive(struct tunnel_server *s); /* every worker moved since the last call */
struct metrics *tunnel_server_metrics(struct tunnel_server *s);
