/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the relay; nobody else includes it.
 *
 *   relay.c        the routes of the main thread: ports, retries, events
 *   relay_ports.c  binding the ports of a route, and handing them to the workers
 *   relay_show.c   what is told to people
 *   worker.c       a worker's life, its listeners, gates and counters
 *   conn.c         a TCP connection: admission, targets, its joint, records
 *   dial.c         which address of which target is tried next
 *   flow.c         UDP flows
 */
#pragma once
#include "common/dgram.h"
#include "common/dns.h"
#include "common/joint.h"
#include "common/log.h"
#include "common/stream.h"
#include "tunnel/metrics.h"
#include "tunnel/relay.h"

enum { RELAY_WORKERS_MAX = 250, RELAY_NO_ID = 0 };

/* ---- main thread ---- */

struct relay_port {
	uint64_t id; /* of its listeners in the workers; RELAY_NO_ID: not bound */
	int *fds;    /* one per worker, until the workers have them; NULL then */
};

struct relay_entry { /* a route and its ports */
	struct list node; /* in relay->entries, in the order they came */
	struct relay *relay;
	struct route *route;
	struct relay_port *ports; /* as many as the range has */
	unsigned n_ports, n_bound;
	int error;	  /* of the last bind that failed, positive; 0: all are bound, or none is wanted */
	bool absent;	  /* bound to an address that this machine does not have yet */
	bool told_ready;
	char bind_why[192], name_why[192]; /* "" while all is well */
	struct timer retry, ask; /* ports; names of targets */
	unsigned retries, asks;
	struct dns_query *query;
	unsigned asked; /* target that is asked for */
	bool name_bad;	/* one of this round */
};

struct relay {
	struct loop *loop;
	struct relay_options o;
	struct records *records;
	unsigned n_workers;
	bool started, draining;
	struct workers workers;
	struct metrics *metrics;
	struct dns *dns;
	struct list entries;
	uint64_t last_id; /* of listeners */
	uint64_t *passes;
	struct hash_seed seed;
	struct seen_outlet seen;
	_Atomic bool resolve_names;  /* of TCP sources; read by the workers */
};

/* relay_ports.c */
void relay_ports_bind(struct relay_entry *e);	/* those that are missing; writes error, absent and bind_why */
void relay_ports_close(struct relay_entry *e);
bool relay_ports_hand_over(struct relay_entry *e); /* bound before the workers were there; false: not all are there now */
void relay_ports_reroute(struct relay_entry *e); /* its listeners serve e->route from now on */
/* Is it the same place in the network? */
bool relay_same_ports(const struct route_config *a, const struct route_config *b);

/* ---- workers ---- */

enum relay_line { RELAY_LINE_REFUSED, RELAY_LINE_FAILED, RELAY_LINE_SHORT, RELAY_LINES };

struct relay_worker {
	struct relay *relay;
	unsigned index;
	struct loop *loop;
	struct joint_pool *pool;
	struct dgram_io *dgram;
	struct dns *dns; /* made when a name is met */
	struct list conns, flows_by_age;
	struct htable listeners, flows; /* by id; by source and listener */
	struct log_gate gates[RELAY_LINES];
	struct timer heartbeat;
	bool draining;
	int spare; /* a descriptor kept for refusing when there are no others; -1 */
	uint64_t seq;
	uint64_t carried[2]; /* bytes spliced and copied, as counted last */
};
extern const struct worker_ops relay_worker_ops;

struct relay_listener {
	struct hnode node;
	uint64_t id;
	struct relay_worker *worker;
	struct route *route; /* referenced */
	unsigned index;	     /* in the route's range */
	struct addr at;
	struct acceptor *acceptor; /* TCP */
	int fd;			   /* the acceptor's; or of UDP, ours */
	struct io io;		   /* UDP */
};

enum relay_command { RELAY_LISTEN, RELAY_REROUTE, RELAY_UNLISTEN, RELAY_DROP, RELAY_RECHECK };
struct relay_order { /* to all workers, by workers_call */
	enum relay_command what;
	uint64_t id;
	struct route *route; /* of all but UNLISTEN */
	unsigned index;
	struct addr at;
	const int *fds;
	int error; /* the last worker's that failed */
};
void relay_obey(struct worker *wk, void *arg); /* arg: struct relay_order */

uint64_t relay_next_id(struct relay_worker *w);
static inline unsigned relay_worker_of(uint64_t id)
{
	return (unsigned)(id & 0xff);
}
bool relay_may_log(struct relay_worker *w, enum relay_line line, uint64_t *ret_suppressed);
struct dns *relay_worker_dns(struct relay_worker *w); /* NULL: no memory */
void relay_count(struct relay_worker *w, unsigned row, unsigned label, int64_t v);

/* ---- what connections and flows have in common ---- */

struct relay_peer {
	struct list node; /* in worker->conns or ->flows_by_age, oldest first */
	struct relay_worker *worker;
	struct route *route; /* referenced, and entered */
	uint64_t id;
	struct addr source, listener, target; /* target: AF_UNSPEC until there is one */
	char *source_name; /* NULL: none, not known, or not asked for */
	struct dns_query *naming;
	int64_t opened_at;  /* unix ms, when it was accepted */
	uint64_t opened_ms; /* loop clock */
	uint64_t counted[2]; /* bytes that figures and metrics have seen */
	struct data_log *log;
	uint64_t unseen; /* bytes that a watcher was not shown */
	bool watched;
	uint8_t target_index;
};
/* Takes the references and the numbers; -EUSERS: the route's limit. */
int relay_peer_begin(struct relay_peer *p, struct relay_listener *l, const struct addr *source, const struct addr *local);
void relay_peer_end(struct relay_peer *p);
void relay_peer_count(struct relay_peer *p, const uint64_t bytes[2]); /* up to now */
void relay_peer_record(const struct relay_peer *p, enum record_kind kind, const char *reason, const uint64_t bytes[2]);
/* A data log from here on; room as of data_log_options, with the peer. */
int relay_peer_log(struct relay_peer *p, void (*room)(void *arg));
/* What passes, for data log and watchers. DATA_LOG_WAIT: room() follows; DATA_LOG_STOPPED: there is no log any more. */
int relay_peer_passes(struct relay_peer *p, unsigned way, const uint8_t *data, size_t n);
#define RELAY_STRUCK_OFF "the route does not allow this source any more"
/* Of this route, from where it does not allow any more? */
bool relay_peer_struck_off(const struct relay_peer *p, const struct route *r);
/* Refused before there was a peer. */
void relay_refused(struct relay_listener *l, const struct addr *source, enum relay_refusal why);

/* dial.c: walks the addresses of a route's targets. */
struct relay_dial {
	struct relay_worker *worker;
	struct route *route;
	unsigned index;	  /* of the listener's port in its range */
	unsigned target;  /* being tried */
	unsigned tried;	  /* bit per target */
	bool desperate;	  /* those left aside are tried, too */
	struct addr *addr; /* of a name: its addresses; owned */
	unsigned n_addr, at;
	struct dns_query *query;
	char why[JOINT_WHY]; /* why the last one failed */
	int err;
	/* Here is an address to try; or, with NULL, there is none left. */
	void (*next)(struct relay_dial *d, const struct addr *to);
};
void relay_dial_begin(struct relay_dial *d); /* next() may be called from inside */
void relay_dial_failed(struct relay_dial *d, int err, const char *why); /* the last one given; goes on */
void relay_dial_reached(struct relay_dial *d);
void relay_dial_end(struct relay_dial *d);

/* conn.c */
extern const struct acceptor_ops relay_acceptor_ops; /* arg: struct relay_listener */
void relay_conns_count(struct relay_worker *w);
void relay_conns_drop(struct relay_worker *w, const char *route); /* NULL: all, and now */
void relay_conns_recheck(struct relay_worker *w,
			 const struct route *r); /* those of its name, whose source it does not allow, end */
int relay_conn_act(struct relay_worker *w, uint64_t id, enum relay_act what);
json_t *relay_conn_json(const struct relay_peer *p, uint64_t now);

/* flow.c */
int relay_udp_open(struct relay_listener *l, int fd);
void relay_udp_close(struct relay_listener *l);
void relay_flows_count(struct relay_worker *w);
void relay_flows_drop(struct relay_worker *w, const char *route);
void relay_flows_recheck(struct relay_worker *w, const struct route *r); /* likewise */
int relay_flow_act(struct relay_worker *w, uint64_t id, enum relay_act what);
json_t *relay_flow_json(const struct relay_peer *p, uint64_t now);
