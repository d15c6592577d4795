/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the files of the edge:
 *
 *   edge.c          life, struct sip_edge_ops, what every message passes on its way in and out
 *   transports.c    the table of transports, one row each
 *   transport_udp.c, transport_tcp.c, transport_tls.c, transport_ws.c   a transport's vtable
 *   conn.c, conn_open.c   connections: framing, queues, deadlines, the table by id and by peer
 *   listeners.c     plans, sockets
 *   faces.c         interfaces: by which one to leave, which addresses are ours
 *   identity.c      who the other end's certificate says it is
 *   resolve.c, health.c   RFC 3263 for the core
 */
#pragma once
#include "common/dgram.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/stream.h"
#include "sip-proxy/edge.h"
#include "sip-proxy/framer.h"
#include "sip-proxy/identity.h"
#include "sip-proxy/metrics.h"
#include "sip-proxy/resolve.h"
#include "sip-proxy/sources.h"
#include "stun/msg.h"

enum {
	SIP_FACES_MAX = 64, /* of one wildcard listener */
	SIP_WAIT_BUCKETS = 1024,
	SIP_ROUTES_CACHED = 256,
	SIP_GATE_LINES = 5, /* of one kind in a second */
};

struct sip_contexts {
	struct tls_ctx *server, *client;
};

struct sip_conn;
struct sip_listener {
	struct list node; /* in edge->listeners */
	struct sip_edge *edge;
	const struct sip_transport *transport;
	struct addr at;	   /* with the port that it really has */
	struct addr asked; /* as configured */
	bool mutual, lan, federation, wildcard, removed;
	char advertise[SIP_SENT_BY_MAX];
	struct sip_contexts contexts;
	int fd;	      /* UDP; streams: until the acceptor has it */
	struct io io; /* UDP */
	struct addr stun_server; /* UDP: that was asked where we are seen; AF_UNSPEC: none */
	uint8_t stun_id[STUN_TID_LEN];
	struct acceptor *acceptor;
	struct list faces; /* struct sip_face, the one last used at the end */
	unsigned n_faces, n_conns;
};

struct sip_face {
	struct list node;
	struct sip_listener *listener;
	unsigned n_conns; /* whose interface it is: it stays as long as they do */
	struct sip_interface pub;
};

/* Lines that strangers can cause at any rate. */
enum sip_edge_line {
	SIP_LINE_BAD,
	SIP_LINE_DROP,
	SIP_LINE_CONN,
	SIP_LINE_ACCEPT,
	SIP_LINE_PLACE,
	SIP_EDGE_LINES
};
struct sip_route { /* which of our addresses the system would send from */
	struct addr to, from;
	uint64_t until;
};

struct sip_edge {
	struct loop *loop;
	struct sip_edge_public public;
	struct metrics *metrics;
	const struct sip_edge_events *events;
	void *core, *owner;
	struct dgram_io *dgram;
	struct sip_sources *sources;
	struct sip_resolver *resolver;
	struct dns *dns;
	struct list listeners;
	uint64_t next_conn;
	struct htable by_id, by_peer; /* struct sip_conn */
	struct list conns;	      /* in the order of their ids */
	unsigned n_conns;
	struct hash_seed seed;
	struct sip_contexts contexts; /* of connections without a listener's */
	struct sip_edge_limits limits;
	struct list udp_waits[SIP_WAIT_BUCKETS];
	struct sip_route routes[SIP_ROUTES_CACHED];
	int route_fd[2]; /* IPv4, IPv6: connected to ask the routing table; never sends */
	int spare_fd;	 /* given up to refuse who waits when descriptors run out */
	struct prefix *partners; /* where other domains' servers may be besides public addresses */
	size_t n_partners;
	struct addr own[SIP_FACES_MAX];
	unsigned n_own;
	uint64_t kernel_drops_before; /* of listeners that are gone */
	uint64_t own_at; /* when they were read */
	struct log_gate gates[SIP_EDGE_LINES];
	struct sip_edge_tap tap;
	bool draining, client;
	char scratch[SIP_MAX_HEAD]; /* a response of the edge */
};

struct sip_send { /* one sending, as it goes through the transport */
	const struct sip_target *to;
	struct sip_face *face;
	struct text bytes;
	struct sip_wait *wait;	  /* may be NULL */
	struct sip_hop *ret_used; /* may be NULL */
};
struct sip_transport {
	enum sip_proto proto;
	/* Serves l->fd; 0 or -errno. Nothing is called before the loop runs. */
	int (*open)(struct sip_listener *l);
	void (*close)(struct sip_listener *l);
	int (*send)(struct sip_edge *e, const struct sip_send *s);
	/* Streams. What came, offered again with what follows if it is not taken; how many bytes were taken. */
	size_t (*input)(struct sip_conn *c, uint8_t *p, size_t n);
	int (*put)(struct sip_conn *c, struct text bytes); /* one message, or a keep-alive: 0, -ENOBUFS, -EPIPE */
	void (*forget)(struct sip_conn *c);		   /* the connection ends; may be NULL */
	bool inbound;					   /* others connect, we never do */
	bool once;					   /* input cannot be offered again */
	/* The context of a connection that came in by l (l not NULL) or leaves by it (l may be NULL). NULL: nothing is encrypted. */
	struct tls_ctx *(*context)(const struct sip_edge *e, const struct sip_listener *l, bool client);
};
extern const struct sip_transport sip_udp, sip_tcp, sip_tls, sip_ws, sip_wss;
extern const struct sip_transport *const sip_transports[SIP_PROTOS]; /* NULL: not served */

/* ---- edge.c ---- */
static inline void sip_count(struct sip_edge *e, enum sip_metric m, unsigned label, int64_t v)
{
	metric_add(e->metrics, 0, m, label, v);
}
bool sip_edge_may_log(struct sip_edge *e, enum sip_edge_line line, uint64_t *ret_suppressed);
void sip_edge_dropped(struct sip_edge *e, const struct addr *from, enum sip_proto proto,
		      enum sip_drop why);
/* Whether what begins like this may be read; counts and says why not. */
bool sip_edge_admit(struct sip_edge *e, const struct sip_hop *hop, struct text bytes);
void sip_edge_message(struct sip_edge *e, const struct sip_msg *m, const struct sip_hop *hop);
/* Counts, logs, and writes the answer that a bad request gets into e->scratch. Its length; 0: none. */
size_t sip_edge_bad(struct sip_edge *e, const struct sip_msg *m, const struct sip_hop *hop,
		    enum sip_verdict why);
void sip_edge_sent(struct sip_edge *e, const struct sip_hop *hop, struct text bytes);

/* ---- conn.c ---- */
size_t sip_conn_input(struct sip_conn *c, uint8_t *p, size_t n); /* input() and put() of bare streams */
int sip_conn_put(struct sip_conn *c, struct text bytes);
int sip_conn_send(struct sip_edge *e, const struct sip_send *s); /* send() of all streams */
void sip_conn_accepted(struct sip_listener *l, int fd, const struct addr *peer,
		       const struct addr *local);
bool sip_conn_alive(struct sip_edge *e, uint64_t id);
bool sip_conn_held(struct sip_edge *e, const struct sip_wait *w);
bool sip_conn_is_page(const struct sip_edge *e, const struct sip_hop *hop);
bool sip_conn_withdraw(struct sip_edge *e, struct sip_wait *w);
const struct sip_identity *sip_conn_identity(struct sip_edge *e, uint64_t id);
int sip_stream_open(struct sip_listener *l); /* open() and close() of all streams */
void sip_stream_close(struct sip_listener *l);
void sip_conns_free(struct sip_edge *e);
json_t *sip_conns_json(const struct sip_edge *e, uint64_t cursor, unsigned limit);
bool sip_conn_kick(struct sip_edge *e, uint64_t id);

/* ---- faces.c ---- */
struct sip_face *sip_face_by_id(struct sip_edge *e, uint32_t id);
struct sip_face *sip_face_at(struct sip_listener *l,
			     const struct addr *local); /* made if need be; NULL: too many */
struct sip_face *sip_face_for(struct sip_edge *e, const struct sip_target *to);
void sip_face_name(struct sip_face *f); /* as its listener is called now */
bool sip_listeners_are(struct sip_edge *e, struct text host, uint16_t port);

/* ---- listeners.c ---- */
void sip_listener_release(struct sip_listener *l); /* a connection less; a removed one goes with its last */
void sip_listeners_free(struct sip_edge *e);

/* ---- transport_udp.c ---- */
uint64_t sip_udp_drops(const struct sip_listener *l); /* of the kernel: garbage, or a full queue */
unsigned sip_udp_fill(const struct sip_listener *l);  /* percent of its receive queue */
void sip_udp_wait(struct sip_edge *e, struct sip_wait *w, const struct addr *remote);
