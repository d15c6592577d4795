/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge of stile-turn: sockets, connections and sessions around the protocol core. Internal to
 * turn/edge_*.c, turn/worker.c, turn/service.c and turn/verbs.c.
 *
 * The main thread binds every listener once per worker (turn/listeners.h); each worker then owns its sockets, connections, allocations and timers, and shares only what is
 * immutable (policy, TLS contexts) or atomic (totals, clients, metrics).
 */
#pragma once
#include <string.h>
#include "common/dgram.h"
#include "common/dtls.h"
#include "common/service.h"
#include "common/stream.h"
#include "common/clients.h"
#include "turn/core.h"
#include "turn/discovery.h"
#include "turn/lanes.h"
#include "turn/offload.h"
#include "turn/relay_addresses.h"
#include "turn/listeners.h"
#include "turn/reservations.h"
#include "turn/server.h"
#include "turn/totals.h"

enum {
	TURN_UNUSED_MS = 30000,	 /* a connection without an allocation is closed after this long */
	TURN_STREAM_OUT = 512 << 10, /* what a client that does not read may make us hold */
	TURN_MAX_FRAME = 20 + 65532, /* a STUN message's header and body; ChannelData is shorter */
};

struct turn_contexts { /* NULL: no listener needs it */
	struct tls_ctx *tls, *dtls;
};

struct turn_service {
	struct service *svc;
	unsigned n_workers;
	struct list listeners; /* struct turn_listener: turn/listeners.h */
	struct turn_contexts contexts;
	struct turn_network net;
	struct turn_external *external; /* who finds and follows public addresses */
	struct turn_policy *policy;
	struct turn_totals *totals;
	struct clients *clients;
	struct clients *front_clients; /* that wait at a front, or are joined to a backend */
	struct front_table *front;
	struct turn_reservations *reservations;
	struct turn_discovery *discovery; /* immutable; the workers read it */
	struct metrics *metrics;
	struct stun_nonces nonces;
	struct hash_seed seed; /* of all cores */
	struct timer nonce_timer;
	struct timer listeners_timer; /* looks after those that drain */
	struct timer topic_timer; /* turn/sessions_topic.c */
	uint64_t told_made, told_allocations; /* by its last event */
	struct timer trim_timer; /* turn/trim.c */
	uint64_t held_peak;	 /* most connections and allocations seen since memory was given back */
	struct workers workers;
	uint64_t *passes; /* of each worker at the last look of the watchdog */
	struct ring **rings; /* of each worker; NULL: the kernel gave it none */
	struct turn_users *users; /* made in the store: turn/users.h */
	struct turn_secrets *secrets; /* the same: turn/secrets.h */
	struct turn_self_test *self_test; /* NULL: nobody tests */
	bool draining;
};

struct turn_bursts { /* of a relay socket: edge_bursts.c */
	uint16_t messages, runs; /* since the last look */
	bool on;
};

struct turn_udp;
struct turn_lane_socket {
	struct io io;
	struct turn_udp *udp;
	enum turn_lane lane;
	unsigned batches; /* taken at most in a pass */
	uint32_t dropped;	/* by the kernel, as it counts: edge_queue.c */
	uint64_t untold, told;	/* lost since the log was told, and when that was */
};

/* One listener's sockets in one worker. */
struct turn_udp {
	struct list node; /* in worker->udp */
	struct turn_listener *listener;
	enum turn_service_state { TURN_NEVER, TURN_LEAVING, TURN_OPEN } plain, secure; /* TURN itself, DTLS */
	bool fresh;	       /* bound lately: clients of another socket may have come to this one */
	uint64_t strays_until; /* what is another worker's is passed on until then */
	struct turn_lane_socket lane[TURN_LANES]; /* what is sent leaves from the first */
	struct turn_worker *worker;
	struct addr at;
	struct dgram_mark mark; /* of what DTLS is sending; DGRAM_MARK_NONE otherwise */
	bool wildcard; /* answers must name the address they leave from */
	struct dtls_listener *dtls; /* NULL: never served DTLS */
};

/* Lines that strangers can cause at any rate: each has a gate (common/log.h). */
enum turn_edge_line {
	TURN_LINE_FAILED,
	TURN_LINE_GARBAGE,
	TURN_LINE_LIMIT,
	TURN_LINE_ACCEPT,
	TURN_LINE_PROXY,
	TURN_LINE_FRONT,
	TURN_LINE_FRONT_JOINED,
	TURN_EDGE_LINES
};

struct turn_worker {
	struct turn_service *ts;
	unsigned index;
	struct loop *loop;
	struct dgram_io *dgram;
	struct turn_server *server;
	struct turn_policy *policy; /* referenced */
	struct turn_contexts contexts; /* referenced; of what connects from now on */
	struct list udp;       /* struct turn_udp */
	struct list acceptors; /* struct turn_acceptor */
	struct proxy_intake *intake; /* connections that must tell first whose they are: edge_front.c */
	struct front *front;
	struct list flows;    /* struct turn_flow: edge_tcp.c */
	struct list conns;    /* struct turn_conn */
	struct htable sessions; /* struct turn_dtls_session, by client and local address */
	struct hash_seed seed;
	struct turn_offload *offload; /* edge_offload.c; NULL: the fast path is off */
	struct pass_hook coalesce; /* coalesce.c; runs behind the flush */
	uint64_t coalesce_rx;	   /* datagrams received when it last ran */
	struct timer heartbeat; /* so that an idle worker still moves */
	struct log_gate gates[TURN_EDGE_LINES];
	uint8_t scratch[TURN_MAX_FRAME + 64];
};

/* Head and body in w->scratch, one after the other; returns the length. Nothing the core sends is longer
 * than a datagram. */
static inline size_t turn_out_join(struct turn_worker *w, const struct turn_out *o)
{
	size_t head = MIN(o->head_n, sizeof w->scratch), body = MIN(o->body_n, sizeof w->scratch - head);

	if (head)
		memcpy(w->scratch, o->head, head);
	if (body)
		memcpy(w->scratch + head, o->body, body);
	return head + body;
}

/* A relay socket: UDP, or what a TCP allocation listens with (edge_tcp.c). */
struct turn_relay {
	struct io io;
	struct turn_worker *worker;
	struct turn_alloc *alloc;
	struct turn_held *held; /* owned: what is left when the socket leaves this worker */
	uint8_t batches; /* received; wraps */
	uint8_t lone;	 /* of them the last so many had one message */
	struct turn_bursts bursts;
	struct acceptor *acceptor; /* TCP; else NULL */
	struct addr at; /* TCP */
};

/* coalesce.c. Before the datagram queue is made: hooks that were there first run last. */
void turn_coalesce_start(struct turn_worker *w);

/* edge_tcp.c; the first five for struct turn_relay_ops */
struct turn_conn;
int turn_relay_listen(void *edge, struct turn_alloc *a, const struct addr *at, struct turn_relay **ret_r);
int turn_flow_connect(struct turn_relay *relay, struct turn_tcp *t, const struct addr *peer, struct turn_flow **ret_f);
void turn_flow_name(struct turn_flow *f, struct turn_tcp *t);
int turn_flow_bind(struct turn_flow *f, const struct turn_path *client);
void turn_flow_cut(struct turn_flow *f);
size_t turn_flow_input(struct turn_flow *f, const uint8_t *p, size_t n); /* from the client: how many were taken */
void turn_flow_drained(struct turn_flow *f);
void turn_flow_client_gone(struct turn_flow *f);
void turn_flows_close(struct turn_worker *w);

/* edge_offload.c */
extern const struct turn_offload_ops turn_udp_offload_ops;
int turn_offload_new(struct turn_worker *w, struct turn_offload **ret_o); /* connects once the loop runs */
struct turn_offload *turn_offload_free(struct turn_offload *o); /* after the core */
struct turn_offload_state {
	unsigned connected; /* workers */
	enum fast_mode mode;
	char interfaces[FAST_NAMES_LEN];
};
void turn_offload_state(const struct turn_offload *o, struct turn_offload_state *s);

/* edge_udp.c */
extern const struct turn_relay_ops turn_udp_relay_ops;
/* Lets routers fragment what is sent from here unless a datagram says otherwise (RFC 8656 14: the DF bit of
 * what came in is not known, so it is taken to be 0). */
void turn_udp_allow_fragments(int fd, const struct addr *at);
/* struct turn_listen_kind */
int turn_udp_open(struct turn_worker *w, struct turn_listener *l);
int turn_dtls_open(struct turn_worker *w, struct turn_listener *l);
void turn_udp_settle(struct turn_worker *w, struct turn_listener *l);
void turn_udp_close(struct turn_worker *w, struct turn_listener *l);
void turn_udp_close_all(struct turn_worker *w);
void turn_udp_send_raw(struct turn_udp *u, const struct addr *to, const struct addr *from, const void *p, size_t n);

/* edge_bursts.c: behind each receiving from that relay socket */
void turn_bursts_note(struct turn_relay *r);

/* edge_queue.c */
void turn_queues_look(struct turn_worker *w);

/* edge_stream.c */
/* struct turn_listen_kind */
int turn_tcp_open(struct turn_worker *w, struct turn_listener *l);
int turn_tls_open(struct turn_worker *w, struct turn_listener *l);
int turn_front_listener_open(struct turn_worker *w, struct turn_listener *l);
void turn_acceptor_settle(struct turn_worker *w, struct turn_listener *l);
void turn_acceptor_close(struct turn_worker *w, struct turn_listener *l);
void turn_acceptors_close(struct turn_worker *w);
struct stream *turn_conn_bind(struct turn_conn *c, struct turn_flow *f); /* what comes now is f's */
void turn_conn_finish(struct turn_conn *c); /* its flow has ended */
/* To the worker that has what the request names, which handles the request; false: it cannot go there. */
bool turn_conn_send_home(const struct turn_path *p, unsigned worker, const void *request, size_t n);
void turn_conns_close(struct turn_worker *w);

/* A TCP or TLS client whose address is known: counted against it, or closed. */
struct turn_arrival {
	int fd; /* taken over */
	const struct addr *client, *server;
	struct turn_listener *listener;
	bool tls;
};
void turn_conn_arrived(struct turn_worker *w, const struct turn_arrival *a);

/* edge_front.c */
int turn_front_open(struct turn_worker *w);
void turn_front_close(struct turn_worker *w);
struct turn_accepted {
	int fd; /* taken over */
	const struct addr *peer, *local; /* both unset on a Unix socket */
	struct turn_listener *listener;
	enum turn_listen_proto proto;
};
void turn_stream_accepted(struct turn_worker *w, const struct turn_accepted *a);
int turn_front_table(const struct turn_service *ts, const struct turn_config *cfg, struct front_table **ret_t);
void turn_front_swap(struct turn_service *ts, struct front_table *fresh, uint64_t idle_ms); /* fresh is taken */
json_t *turn_front_json(struct turn_service *ts); /* NULL: there is no front */

/* edge_dtls.c */
int turn_dtls_listen(struct turn_udp *u, struct tls_ctx *ctx);
void turn_dtls_input(struct turn_udp *u, const struct dgram *d);
bool turn_dtls_has(struct turn_udp *u, const struct dgram *d); /* a session */
void turn_dtls_leave(struct turn_worker *w); /* ends sessions that removed listeners have for nothing */
void turn_dtls_rehome(struct turn_udp *u); /* sessions of exactly its address */
void turn_dtls_close(struct turn_worker *w, const struct turn_udp *u); /* NULL: all */

/* worker.c */
extern const struct worker_ops turn_worker_ops;
bool turn_client_admit(struct turn_worker *w, const struct addr *from); /* counts and says why not */
bool turn_edge_may_log(struct turn_worker *w, enum turn_edge_line line, uint64_t *ret_suppressed);
/* A connection or session that ended by an error before it was of use: counts and says why. */
struct turn_failure {
	const struct addr *client;
	const char *transport, *why;
	int error; /* positive */
};
void turn_client_failed(struct turn_worker *w, const struct turn_failure *f);

/* certificates.c. 0 and perhaps a warning, or -errno and a sentence in err. */
int turn_contexts_load(const struct turn_service *ts, const struct turn_config *cfg, char warning[static TLS_ERRLEN],
		       char *err, size_t err_n, struct turn_contexts *ret_c);
void turn_contexts_swap(struct turn_service *ts, struct turn_contexts *c); /* in the workers too; c is what was before */
int turn_contexts_diff(const struct turn_contexts *was, const struct turn_contexts *is, struct service_changes *ch);
void turn_contexts_deinit(struct turn_contexts *c);

/* sessions_topic.c: subscribers are told when allocations were made or have ended. */
void turn_sessions_topic_start(struct turn_service *ts);
void turn_sessions_topic_stop(struct turn_service *ts);

/* trim.c: memory goes back to the system when a crowd has gone. */
void turn_trim_start(struct turn_service *ts);
void turn_trim_stop(struct turn_service *ts);

/* verbs.c */
/* The realm that a verb's arguments name, or the default one; NULL: there is none, and the request was ended. */
void turn_verb_peer(struct control_request *rq, const json_t *args, void *arg);
const struct turn_realm *turn_realm_of_args(const struct turn_service *ts, struct control_request *rq, const json_t *args);
void turn_add_verbs(struct turn_service *ts);

/* why.c */
void turn_verb_why(struct control_request *rq, const json_t *args, void *arg);
