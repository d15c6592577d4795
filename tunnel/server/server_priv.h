/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the tunnel's server; nobody else includes it.
 *
 *   server.c      main thread: workers, listeners, contexts
 *   arrivals.c    main thread: who says HELLO, the directory of links, a copied key
 *   worker.c      a worker's life, its listeners and counters
 *   stranger.c    worker: a connection from accept to HELLO, and until it is welcome
 *   link.c        worker: a link, its control connection, its end
 *   carriers.c    worker: a link's carriers and its data connections' beginnings
 *   plain.c       worker: plain carriers (encrypt: false)
 *   rendezvous.c, pairs.c (rendezvous.h)  agents that look for each other
 *   reach.c      worker: connections back, to find out whether an agent's port can be reached
 *   shares.c, share_door.c (shares.h)  what agents share with whoever has a code
 *
 * Main and workers share nothing but what is marked; they write to each other.
 */
#pragma once
#include <stdatomic.h>
#include "common/clients.h"
#include "common/config.h"
#include "common/log.h"
#include "common/proxy_intake.h"
#include "common/stream.h"
#include "tunnel/link/data_priv.h"
#include "tunnel/link/pool.h"
#include "tunnel/link/tls.h"
#include "tunnel/server/metrics.h"
#include "tunnel/server/reach.h"
#include "tunnel/server/server.h"
#include "tunnel/server/stream.h"

enum { SERVER_WORKERS_MAX = 250, WAITING_MAX = 1024, CARRIERS_MAX = 2048, HELLO_CARRIERS_MAX = 128 };
enum { ENDED_KEPT = 64 };
enum { READY_MARGIN = 64, READY_MAX = 1264 }; /* ready carriers of a link: beyond those asked for, and in any case */

/* ---- main thread ---- */

struct tunnel_listener {
	struct list node;
	struct addr at; /* unset if there is a path */
	char path[CFG_UNIX_PATH];
	uint64_t id;
	int *fds; /* one per worker, until they have them; NULL then */
};

struct directory_entry { /* the one link of an identity */
	struct list node;
	uint8_t identity[WIRE_PIN], instance[WIRE_INSTANCE];
	char name[WIRE_NAME_MAX + 1];
	uint64_t link;	    /* its id; the worker's number is in it */
	uint64_t admission; /* the latest that was sent */
	uint64_t guest;	    /* of this share; 0: an agent */
};

struct share_door {
	struct acceptor *acceptor;
	char path[CFG_UNIX_PATH]; /* "": there is none */
};

struct tunnel_server {
	struct note_home *home;
	struct loop *loop;
	struct tunnel_server_options o;
	struct workers workers;
	unsigned n_workers;
	bool started, draining;
	const char *closed; /* why nobody is let in at the moment; NULL: who may is */
	_Atomic uint64_t closed_admission; /* the latest before that, for workers: it may be on its way to its link still */
	struct list listeners, arrivals, directory;
	struct list asks, pairs; /* of rendezvous.c */
	unsigned n_asks;
	struct list shares, knocks; /* of shares.c; connections of gateways that have not said yet what they want */
	unsigned n_shares, n_knocks;
	struct share_door door, next_door; /* next_door: made, and not taken yet */
	char gateway_url[512];
	_Atomic int share_conns;
	struct tunnel_rendezvous rendezvous;
	struct list turn_asks; /* of local_turn.c */
	unsigned n_turn_asks;
	bool turn_refused;
	_Atomic bool rendezvous_on; /* rendezvous.enabled, for workers */
	uint64_t last_listener, last_admission, session_base, pair_base;
	struct tls_ctx *tls; /* the workers have references of their own */
	struct metrics *metrics;
	uint64_t *passes;
	struct clients *strangers; /* of all workers */
	struct clients *pending;	/* of all workers; these are not among the strangers */
	_Atomic int64_t carriers;	/* of all workers */
};

/* ---- mail between main and workers ---- */

/* Worker to main. */
enum note_kind {
	NOTE_ARRIVED,
	NOTE_FRAME,
	NOTE_GONE,
	NOTE_LINK_OVER,
	NOTE_LINK_ENDED,
	NOTE_PROBED,
	NOTE_WORD,
	NOTE_PAIR_OVER
};
struct note_home { /* outlives the server while notes are under way: they are delivered when its workers have stopped */
	_Atomic unsigned refs;
	struct tunnel_server *server; /* main thread; NULL: it has gone */
};
struct note {
	struct mail mail;
	struct note_home *home; /* referenced */
	struct tunnel_server *server;
	enum note_kind kind;
	uint64_t id; /* of the stranger, or of the link */
	uint64_t admission;
	bool alive;			 /* NOTE_PROBED */
	struct tunnel_arrival_info info; /* NOTE_ARRIVED; hello is parsed again from the frame */
	struct tunnel_link_info link;	 /* NOTE_PROBED, NOTE_WORD, NOTE_LINK_ENDED */
	char why[FRAME_CONN_WHY];
	unsigned type;
	size_t n;
	uint8_t payload[]; /* of HELLO, or of a frame */
};
struct note *note_new(struct tunnel_server *s, enum note_kind kind, uint64_t id,
		      size_t payload); /* zeroed; NULL: no memory */
void note_post(struct note *n);
void arrivals_hear(struct note *n); /* in the main thread */
/* NULL: it has no link. */
struct directory_entry *directory_entry_of(struct tunnel_server *s, const uint8_t identity[static WIRE_PIN]);
int notes_open(struct tunnel_server *s); /* 0 or -ENOMEM */
void notes_close(struct tunnel_server *s); /* what is under way is dropped; the workers have stopped */
void arrivals_free(struct tunnel_server *s);

/* Main to a worker. */
enum order_kind { ORDER_SEND, ORDER_REFUSE, ORDER_ADMIT, ORDER_PROBE, ORDER_END, ORDER_NOT_COME };
struct order {
	struct mail mail;
	struct tunnel_worker *worker;
	enum order_kind kind;
	uint64_t stranger, link, admission; /* ORDER_END: the latest before it */
	uint64_t guest;			    /* ADMIT: of this share */
	uint8_t identity[WIRE_PIN];	    /* ORDER_END */
	enum wire_reason reason;
	size_t n;
	uint8_t frame[]; /* SEND, REFUSE, END: a whole frame; ADMIT: WELCOME as far as main knows it */
};
struct order *order_new(struct tunnel_worker *w, enum order_kind kind, unsigned type,
			const void *msg); /* NULL: no memory */
void order_post(struct order *o);
void stranger_obey(struct tunnel_worker *w, const struct order *o); /* SEND, REFUSE, ADMIT */
void link_obey(struct tunnel_worker *w, const struct order *o);	    /* PROBE, END, NOT_COME */

/* ---- workers ---- */

enum tunnel_line { TUNNEL_LINE_STRANGER, TUNNEL_LINE_SHORT, TUNNEL_LINES };

/* An identity that was ended: whoever was let in before is still on the way from another worker, maybe. */
struct tunnel_ended_identity {
	uint8_t identity[WIRE_PIN];
	uint64_t admission; /* the latest before it */
	enum wire_reason reason;
};

struct tunnel_worker {
	struct tunnel_server *server;
	unsigned index;
	struct loop *loop;
	void *owner;
	struct tls_ctx *tls;
	uint32_t window, resume_ms;
	bool allow_plain, draining;
	struct chunk_pool chunks;
	struct list listeners, strangers, links, pairs, reaches;
	struct reach_budget reach; /* of all its links */
	struct proxy_intake *intake; /* of connections that begin with a PROXY header; made when one is needed */
	uint64_t seq; /* of strangers and streams */
	struct log_gate gates[TUNNEL_LINES];
	struct tunnel_ended_identity ended[ENDED_KEPT]; /* the latest */
	unsigned n_ended;
	struct timer tick;
};
extern const struct worker_ops tunnel_worker_ops;
uint64_t worker_next_id(struct tunnel_worker *w);
void worker_count(struct tunnel_worker *w, unsigned row, unsigned label, int64_t v);
void worker_count_carriers(struct tunnel_worker *w, int64_t v);
/* No more: the rest of the descriptors is for clients, control connections and the service itself. */
bool worker_many_carriers(const struct tunnel_worker *w);
bool worker_may_log(struct tunnel_worker *w, enum tunnel_line line, uint64_t *ret_suppressed);

enum listen_command { TUNNEL_LISTEN, TUNNEL_UNLISTEN, TUNNEL_TLS, TUNNEL_CONFIGURE, TUNNEL_DRAIN };
struct listen_order { /* to all workers, by workers_call */
	enum listen_command what;
	uint64_t id;
	bool told; /* who comes is told by a PROXY header */
	const int *fds;
	struct tls_ctx *tls;
	uint32_t window, resume_ms;
	bool allow_plain;
	const char *text;
	uint32_t retry_after_s;
	int error;
};
void worker_obey(struct worker *wk, void *arg); /* arg: struct listen_order */

/* stranger.c */
void stranger_accepted(struct tunnel_worker *w, int fd, const struct addr *peer,
		       const struct addr *local);
void strangers_free(struct tunnel_worker *w);
void stranger_outcome(struct tunnel_worker *w, const struct addr *peer, enum tunnel_arrived what,
		      const char *detail); /* counts it, and logs it if something is wrong */

enum { HANDOVER_PLAIN = 0xff };
/* What of a stranger goes on: to a link, maybe in another worker. */
struct handover {
	struct mail mail;
	struct tunnel_worker *worker;
	int fd;
	SSL *ssl;
	uint8_t identity[WIRE_PIN], instance[WIRE_INSTANCE];
	uint64_t session; /* of the link */
	uint8_t purpose;  /* HANDOVER_PLAIN: hello is the head of a plain carrier, and ssl NULL */
	uint64_t admission; /* control connections */
	uint64_t guest;
	struct addr peer, local;
	size_t hello_n, welcome_n; /* payloads, one behind the other */
	uint8_t payload[];
};
void handover_free(struct handover *h);			     /* with what is left in it */
void link_take(struct tunnel_worker *w, struct handover *h); /* in the link's worker; frees h */
/* In any worker: who was let in has gone before its link had it. Main keeps no place for it then. */
void link_not_come(struct tunnel_server *s, uint64_t link, uint64_t admission);

/* link.c */
struct tunnel_link {
	struct list node; /* in worker->links */
	struct tunnel_worker *worker;
	struct tunnel_link_info i; /* what is told of it, kept up to date */
	void *state;
	struct frame_conn *control; /* NULL: down */
	struct keepalive keep;
	struct data_host host;
	struct pool pool;
	struct list hello; /* carriers that wait for RESUME */
	unsigned n_hello, n_waiting;
	struct list plain; /* plain carriers that are ready */
	struct pool plain_pool;
	unsigned n_plain, n_plain_waiting, told_plain;
	bool plain_used, plain_keyed;
	uint8_t plain_key[32];
	uint64_t plain_top, plain_seen; /* numbers: the highest, and a bit for each of the 64 up to it */
	unsigned told_pool;
	uint64_t pool_asked; /* when more was asked for than there were; 0: not */
	uint64_t admission;
	bool rendezvous;   /* the agent knows SIGNAL and RELAY, and was told that it may say them */
	char said[160];	   /* why it does not go on; "": it has not said so */
	unsigned words;	   /* that it may say to others now */
	uint64_t spoke_at; /* loop time up to which they were counted; 0: never */
	struct reach_budget reach; /* connections back that it may ask for now */
	bool over;
	unsigned over_tries;
	struct timer pulse, end; /* keep-alive and pool; the link's own end */
	uint64_t counted[2];	 /* bytes that metrics have seen */
	uint64_t probing;	 /* arrival that waits for our PONG; 0: none */
};
void link_stop_all(struct tunnel_worker *w); /* the worker ends */

/* carriers.c */
extern const struct data_host_ops server_host_ops;
bool link_has_room(const struct tunnel_link *l, uint8_t purpose); /* for one more carrier */
int link_add_carrier(struct tunnel_link *l, struct frame_conn *fc, uint8_t purpose);
void link_close_silent(struct tunnel_link *l, uint64_t now); /* carriers that do not say what they resume */
void link_pool(struct tunnel_link *l); /* tells the agent how many are wanted, closes what is not */
void link_close_carriers(struct tunnel_link *l);

/* plain.c */
void link_plain_key(struct tunnel_link *l); /* the control connection is another one */
void link_take_plain(struct tunnel_worker *w, struct handover *h);
void link_open_plain(struct tunnel_link *l, struct data_conn *d); /* now, or when there is one */
int link_on_ended(struct tunnel_link *l, const struct wire_ended *m);
int link_on_opened(struct tunnel_link *l, const struct wire_opened *m);
void link_close_plain(struct tunnel_link *l);			 /* those that are ready */
unsigned link_plain_wanted(struct tunnel_link *l, uint64_t now); /* closes those that are not */
