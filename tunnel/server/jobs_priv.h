/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the server's jobs; nobody else includes it.
 *
 *   jobs.c         main thread: configuration, mail of the workers, what the store keeps
 *   jobs_ask.c     main thread: a job's ask for ports, and the answer
 *   jobs_offer.c   main thread: jobs made on the server's side
 *   jobs_held.c    main thread: agents' jobs that are interrupted on the server's side
 *   jobs_link.c    worker: an agent's jobs, what becomes of them
 *   jobs_state.c   worker: a job's state, told to whom it concerns
 *   jobs_listen.c  worker: a job's listeners, TCP and UDP
 *   jobs_conn.c    worker: a connection or flow of a job
 *   jobs_show.c    rows for people
 *   jobs_verbs.c   control verbs
 */
#pragma once
#include <stdatomic.h>
#include "common/dgram.h"
#include "common/dns.h"
#include "common/log.h"
#include "common/monitor.h"
#include "common/stored.h"
#include "common/stream.h"
#include "tunnel/job_wire.h"
#include "tunnel/server/jobs.h"
#include "tunnel/server/ports.h"
#include "tunnel/server/stream.h"
#include "tunnel/watch.h"

enum { JOB_TEXT = 256, JOBS_WORKERS_MAX = 250, JOB_OFFERED = (int)0x80000000u };

/* ---- main thread ---- */

struct tunnel_jobs {
	struct tunnel_jobs_options o;
	struct loop *loop;
	struct tunnel_server *server;
	const struct tunnel_config *config; /* of the service */
	struct ports *ports;
	struct stored *kept, *offers, *held; /* ports in the store; jobs made here; agents' jobs interrupted here */
	json_t *offer_ids;	      /* the number of each of these by its key; not kept */
	struct watchers *watchers;
	struct seen_outlet seen;
	struct metrics *metrics;
	uint32_t last_offer, revision;
	struct monitor monitor;
	struct timer sampling, looking;
	unsigned warned; /* how many warnings there were */
	char host[256];
	struct jobs_worker *workers[JOBS_WORKERS_MAX];
	unsigned n_workers;
	/* read by the workers: */
	struct hash_seed seed;
	_Atomic uint64_t most_jobs, most_connections;
	_Atomic int64_t connections;
	_Atomic bool resolve_names, draining;
	int fd_most; /* a client whose descriptor is not below this is refused: the rest is for carriers and the control socket */
	_Atomic bool conn_events;	      /* somebody has subscribed to tunnel.connections */
	_Atomic uint64_t last_link, last_job; /* numbers for people */
};

/* ---- metrics ---- */

enum job_metric { JOB_M_JOBS, JOB_M_CONNECTIONS, JOB_M_ACCEPTED, JOB_M_REFUSED, JOB_M_ENDED, JOB_M_BYTES, JOB_M_LAG, JOB_METRICS };
enum job_refusal {
	JOB_REFUSED_SOURCE,
	JOB_REFUSED_LIMIT,
	JOB_REFUSED_TOTAL,
	JOB_REFUSED_DESCRIPTORS,
	JOB_REFUSED_AWAY, /* the agent is not connected */
	JOB_REFUSED_TARGET, /* its target is down */
	JOB_REFUSED_DRAINING,
	JOB_REFUSED_MEMORY,
	JOB_REFUSALS
};
extern const char *const job_refusal_texts[JOB_REFUSALS];
extern const char *const job_end_labels[WIRE_REASONS + 1];
extern const struct metric_row job_metric_rows[JOB_METRICS];

/* ---- workers ---- */

enum job_line { JOB_LINE_REFUSED, JOB_LINE_FAILED, JOB_LINE_SHORT, JOB_LINES };
struct jobs_worker {
	struct tunnel_jobs *all;
	struct tunnel_worker *w;
	struct loop *loop;
	unsigned index;
	struct dns *dns; /* made when a name is met */
	struct dgram_io *dgram;
	struct htable flows; /* struct job_conn by source, server address */
	struct list links;
	struct log_gate gates[JOB_LINES];
	struct timer heartbeat;
	uint64_t beat_at; /* when it should have come */
	_Atomic uint64_t lag_ms; /* the longest that the heartbeat was late, of the last minute */
	uint64_t lag_until;
	int spare; /* a descriptor for refusing when there are no others; -1 */
};

struct link_jobs { /* of one agent */
	uint64_t number; /* for people */
	struct list node;
	struct jobs_worker *w;
	struct tunnel_link *link;
	uint64_t id;
	uint8_t identity[WIRE_PIN];
	char agent[WIRE_NAME_MAX + 1];
	char peer_name[DNS_NAME_MAX]; /* "" */
	struct dns_query *naming;
	bool up;
	uint64_t busy_until; /* loop ms: what its frames have cost */
	struct list jobs;
	unsigned n_jobs;
	struct list paths; /* to other agents, as it tells (paths.c) */
};

struct job_listener {
	struct server_job *job;
	unsigned offset;
	struct addr at;
	struct acceptor *acceptor; /* TCP */
	int fd;			   /* UDP; else -1 */
	struct io io;
};

struct server_job {
	struct list node; /* in link_jobs.jobs */
	uint64_t number;  /* for people */
	struct link_jobs *of;
	uint32_t id, revision;
	bool offered; /* made on this side */
	bool stale;   /* not told again since the link came back */
	bool foreign; /* nor since another process of the agent has it: the number is the former one's */
	bool logged;  /* its connections get data logs */
	bool held;    /* interrupted on this side */
	struct cfg *cfg;
	const struct job_config *c; /* NULL: what the agent said makes no sense */
	char name[JOB_NAME_STRLEN];
	int64_t expires; /* unix s */
	unsigned state, reason; /* enum wire_job_state, enum wire_reason */
	char text[JOB_TEXT], address[JOB_TEXT], warning[JOB_TEXT];
	bool down;
	char down_why[JOB_TEXT];
	uint32_t connect_us;
	uint64_t ticket; /* of the ask for ports that is not answered yet; 0: none */
	uint64_t unsynced; /* of the last one before the last JOBS-SYNCED */
	struct addr at;	 /* with the first port; AF_UNSPEC: none */
	bool any_port;	 /* was asked for by `*` */
	struct job_listener *listeners;
	unsigned n_listeners;
	struct list conns; /* struct job_conn */
	int64_t connections, begun_at;
	uint64_t accepted, refused, errors, bytes[2];
	int64_t error_at;
	char error[JOB_TEXT];
	_Atomic uint64_t spent_until;
	struct timer retry;
	struct timer ending; /* its expiry */
};

struct job_conn {
	struct list node; /* in job->conns */
	struct hnode flow; /* UDP: in worker->flows */
	struct server_job *job;
	struct job_listener *listener; /* UDP */
	struct data_conn *d;
	uint64_t id; /* its stream */
	struct addr source, server, target, local;
	char *source_name;
	struct dns_query *naming;
	int64_t opened_at;
	uint64_t counted[2], unseen, last_ms;
	struct timer idle; /* UDP */
	struct data_log *log;
	bool opened, watched, log_waits;
};

/* Mail to the main thread: an ask for ports, or that ports are given back … */
enum jobs_says { JOBS_ASK, JOBS_RELEASE, JOBS_SYNCED, JOBS_UP, JOBS_ANSWERED, JOBS_EVENT };
struct jobs_said {
	struct mail mail;
	struct tunnel_jobs *all;
	enum jobs_says what;
	uint64_t link, ticket;
	uint8_t identity[WIRE_PIN];
	char agent[WIRE_NAME_MAX + 1], job[JOB_NAME_STRLEN]; /* the claim's name */
	struct addr bind, at, local; /* at: bound already, if have; local: where the agent has come in */
	uint16_t first, count;
	bool udp, plain, open, have; /* open: to every source */
	bool taken;
	uint32_t id;
	char text[JOB_TEXT];
	const char *topic;
	json_t *json; /* names of SYNCED; data of EVENT */
};
struct jobs_said *jobs_say(const struct link_jobs *lj, enum jobs_says what); /* NULL: no memory */
void jobs_post(struct jobs_said *s);
void jobs_event(const struct server_job *j, const char *topic, const char *what); /* to whoever subscribed */
void jobs_conn_event(const struct job_conn *c, const char *what, const char *why);
void jobs_link_event(const struct link_jobs *lj, const char *what, const char *why);
/* topic: of EVENT. json is taken; NULL: there was no memory for it, and nothing is sent. */
void jobs_post_json(const struct link_jobs *lj, enum jobs_says what, const char *topic, json_t *json);

/* … and back to the worker. */
struct jobs_granted {
	struct mail mail;
	struct jobs_worker *w;
	uint64_t link, ticket;
	struct ports_grant g;
	bool held; /* neither granted nor refused: it is interrupted on this side */
	char job[JOB_NAME_STRLEN], address[JOB_TEXT];
	/* g.text of a granted one: a warning, or "" */
	unsigned n_fds; /* 0: judged only, or refused */
	int *fds;	/* owned until they are taken */
};
void jobs_on_grant(struct jobs_worker *w, struct jobs_granted *g);
void jobs_on_recheck(struct jobs_worker *w);
/* A job made here: json NULL: it is withdrawn. Takes json. */
void jobs_on_offer(struct jobs_worker *w, uint64_t link, uint32_t id, uint32_t revision, json_t *json);

/* jobs.c */
const char *jobs_claim_name(bool offered, const char *name,
			    char buf[static JOB_NAME_STRLEN]); /* in the book of ports */
void jobs_keep_ports(struct tunnel_jobs *j); /* what the book has changed, in the store */

/* jobs_ask.c */
void jobs_answer(struct tunnel_jobs *j, const struct jobs_said *s);

/* jobs_state.c */
void job_set_state(struct server_job *j, unsigned state, unsigned reason, const char *text); /* tells the agent, too */

/* jobs_link.c */
struct server_job *jobs_find(struct jobs_worker *w, uint64_t link, const char *name);
struct dns *jobs_dns(struct jobs_worker *w);
void jobs_count(struct jobs_worker *w, unsigned row, unsigned label, int64_t v);

/* jobs_listen.c */
int job_listen(struct server_job *j, const struct addr *at, const int *fds, unsigned n); /* takes the descriptors in any case */
void job_unlisten(struct server_job *j);

/* jobs_conn.c */
void job_failed(struct server_job *j, const char *why);
void job_accepted(struct job_listener *l, int fd, const struct addr *source, const struct addr *server);
void job_datagram(struct job_listener *l, const struct dgram *d);
void job_refused(struct server_job *j, const struct addr *source, const struct addr *server, enum job_refusal why);
void job_drop_all(struct server_job *j, const char *why); /* its connections end, at once */
void job_count_all(struct server_job *j);
void job_limit_all(struct server_job *j); /* its values have changed: who is not allowed any more goes */
enum job_act { JOB_KICK, JOB_WATCH_ON, JOB_WATCH_OFF, JOB_LOG_ON, JOB_LOG_OFF };
int job_conn_act(struct job_conn *c, enum job_act what);

/* paths.c */
void paths_said(struct link_jobs *lj, const struct wire_path_msg *m);
void paths_forget(struct link_jobs *lj);
json_t *paths_json(struct tunnel_jobs *j);

/* jobs_show.c */
struct jobs_departure {
	const char *agent; /* NULL: all */
	const char *why;
	bool over;	   /* everything of it ends; else its control connection alone, and it comes back at once */
	uint32_t retry_after_s;
};
unsigned jobs_depart(struct tunnel_jobs *j, const struct jobs_departure *d); /* how many were connected */
json_t *jobs_links_json(struct tunnel_jobs *j);
struct jobs_page {
	const char *agent, *job; /* NULL: all */
	uint64_t cursor;
	unsigned limit;
};
json_t *jobs_connections_json(struct tunnel_jobs *j, const struct jobs_page *p);
json_t *job_row(const struct server_job *j);
json_t *jobs_sockets_json(struct tunnel_jobs *j);
int jobs_act(struct tunnel_jobs *j, uint64_t id, enum job_act what);
/* Of a job, or of all of an agent (job NULL): how many connections there were. */
unsigned jobs_act_all(struct tunnel_jobs *j, const char *agent, const char *job, enum job_act what);
unsigned jobs_reset(struct tunnel_jobs *j, const char *agent, const char *job); /* counters; how many jobs */
uint64_t jobs_lag_ms(const struct tunnel_jobs *j);

/* jobs_offer.c */
int jobs_offers_new(struct tunnel_jobs *j);
void jobs_offers_send(struct tunnel_jobs *j, const struct jobs_said *up); /* to an agent that has come */
void jobs_offers_answered(struct tunnel_jobs *j, const struct jobs_said *a);
bool jobs_offers_has(struct tunnel_jobs *j, const uint8_t identity[static WIRE_PIN], const char *claim);
void jobs_offers_add_verbs(struct tunnel_jobs *j);

/* jobs_held.c */
#define JOBS_HELD_WHY "interrupted on the server's side"
int jobs_held_new(struct tunnel_jobs *j);
bool jobs_held(struct tunnel_jobs *j, const uint8_t identity[static WIRE_PIN], const char *claim);
void jobs_held_gone(struct tunnel_jobs *j, const uint8_t identity[static WIRE_PIN], const char *claim);
/* Forgets those of an agent that keep() does not want. */
void jobs_held_retain(struct tunnel_jobs *j, const uint8_t identity[static WIRE_PIN], bool (*keep)(const char *job, void *arg), void *arg);
/* Those whose agent (NULL: any) is away, and has no row yet. */
void jobs_held_rows(const struct tunnel_jobs *j, const char *agent, json_t *rows);
/* Of a job that the agent has itself; of one that is away it is let go only. False: there is none; else the request is ended, now or later. */
bool jobs_hold(struct tunnel_jobs *j, struct control_request *rq, const char *agent, const char *job, bool on);
