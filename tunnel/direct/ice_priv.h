/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the ICE side: the thread, and one agent of libnice as seen from an attempt's loop.
 *
 * A struct ice_nice has two owners, counted: the attempt, which calls from its loop, and the ICE thread, which does what is
 * asked in the order in which it was asked. What happens there comes back as mail. After ice_nice_free() nothing does.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "stun/auth.h"
#include "tunnel/direct/ice.h"
#include "tunnel/direct/port_mapper.h"
#include "tunnel/direct/raw.h"
#include "tunnel/direct/site.h"

/* ---- ice_thread.c ---- */

struct ice_thread;
struct _GMainContext; /* GLib's: its headers are read in two files only */
int ice_thread_new(struct ice_thread **ret_t);
struct ice_thread *ice_thread_free(struct ice_thread *t); /* waits until its agents have said goodbye, a second at most */
struct _GMainContext *ice_thread_context(struct ice_thread *t);
/* Calls fn(arg) in the thread, later and in order; drop(arg) afterwards, or if the thread has ended. */
void ice_thread_call(struct ice_thread *t, void (*fn)(void *arg), void *arg, void (*drop)(void *arg));
void ice_thread_agents(struct ice_thread *t, int delta); /* in the thread: how many have to be waited for */

/* ---- ice_addresses.c ---- */

enum { ICE_LOCAL_MAX = 8 };
/* The addresses of this machine that are candidates: of interfaces that are up, no loopback (unless asked for), no link-local ones, none
 * of bridges of containers and virtual machines, which nobody outside reaches and which only cost checks. */
size_t ice_local_addresses(const struct ice_settings *s, struct addr ret_a[static ICE_LOCAL_MAX]);

/* ---- ice_nice.c ---- */

struct ice_nice;
struct ice_nice_ops {
	void (*candidate)(const struct candidate *c, void *owner);
	void (*gathered)(void *owner);
	void (*path)(struct ice_path *p, void *owner); /* p->fd is the callee's */
	void (*state)(enum ice_state s, void *owner);
	void (*data)(const struct iovec *v, size_t n, void *owner);
};
struct ice_nice_options {
	struct ice_thread *thread;
	struct loop *loop;
	const struct ice_nice_ops *ops;
	void *owner;
	bool controlling;
	bool relay; /* the relayed path: data goes through libnice, and with TURN servers only relayed candidates are gathered */
	char ufrag[ICE_UFRAG_MAX + 1], pwd[ICE_PWD_MAX + 1];
	struct addr stun; /* AF_UNSPEC: none */
	struct ice_turn turn[ICE_TURN_MAX];
	size_t n_turn;
	uint16_t port_min, port_max;
	struct addr local[ICE_LOCAL_MAX];
	size_t n_local;
};
int ice_nice_new(const struct ice_nice_options *o, struct ice_nice **ret_n);
struct ice_nice *ice_nice_free(struct ice_nice *n);
void ice_nice_remote(struct ice_nice *n, const char *ufrag, const char *pwd);
void ice_nice_candidate(struct ice_nice *n, const struct candidate *c); /* after ice_nice_remote() */
void ice_nice_done(struct ice_nice *n);
int ice_nice_send(struct ice_nice *n, const struct iovec *v, size_t count);

/* ---- ice.c and its parts ---- */

enum ice_part_id { PART_DIRECT, PART_RELAYED, PART_RAW, PART_TCP, PARTS };
enum { ICE_WHY_MAX = 320 };

struct ice {
	struct loop *loop;
	struct ice_thread *thread;
	struct site *site;
	struct port_mapper *mapper; /* NULL: never switched on so far */
	struct ice_settings s;
};

struct ice_part {
	struct ice_try *t;
	bool on;		/* this attempt has it */
	struct ice_nice *nice;	/* DIRECT, RELAYED */
	bool gathered;
	enum ice_state state;
	bool has_path;
	struct ice_path path; /* told last; its descriptor is not ours */
};

/* The birthday probe of an attempt: ice_raw.c. */
struct ice_raw {
	bool wanted; /* it may come to that */
	struct site_watch watch;
	struct timer timer;
	struct raw *raw;
	struct site_nat own, peer;
	bool own_known, peer_known;
};

/* A port of an attempt's that the router opens: ice_ports.c. */
struct ice_port {
	struct port_wish wish;
	struct ice_try *t;
	bool answered;
	struct candidate host; /* what it belongs to */
	char how[64];	       /* by which protocol, or why not */
	struct addr outside;
};

/* Direct TCP: ice_tcp.c. */
enum { ICE_TCP_CONNS = 16, ICE_TCP_REMOTES = 6 };
struct ice_tcp_local { /* a port of ours: it listens, and connections are made from it */
	struct io io;
	struct ice_try *t;
	struct addr addr;
};
struct ice_tcp_conn {
	struct io io;
	struct ice_try *t;
	enum { ICE_TCP_FREE, ICE_TCP_CONNECTING, ICE_TCP_CONNECTED } state;
	bool checked; /* it was asked to prove itself */
	struct addr remote;
	uint64_t since;
};
struct ice_tcp {
	struct timer timer;
	struct ice_tcp_local locals[ICE_LOCAL_MAX];
	size_t n_locals, begun; /* begun: those that were told */
	struct ice_tcp_conn conns[ICE_TCP_CONNS], stun;
	struct addr remotes[ICE_TCP_REMOTES];
	size_t n_remotes;
	bool told, answered; /* all there is to tell; by the STUN server */
	uint64_t met_at, connecting_since;
	unsigned rounds;
	uint8_t tid[STUN_TID_LEN];
	struct stun_key *key, *peer_key;
};

struct path_turn;
struct ice_try {
	struct ice *ice;
	struct loop *loop;
	struct ice_try_options o;
	struct ice_settings s;
	char ufrag[9], pwd[25], peer_ufrag[ICE_UFRAG_MAX + 1], peer_pwd[ICE_PWD_MAX + 1];
	uint64_t began;
	enum ice_state state;
	struct timer patience; /* libnice has no end of its own where nothing comes */
	struct ice_part parts[PARTS];
	struct ice_raw raw;
	struct ice_tcp tcp;
	struct ice_port ports[ICE_LOCAL_MAX];
	size_t n_ports;
	struct timer ports_timer;
	struct path_turn *turn; /* fed by the relayed component; of somebody else */

	struct candidate local[CANDIDATES_MAX], remote[CANDIDATES_MAX];
	size_t n_local, n_remote;
	bool has_remote, told_all, peer_done;
	unsigned lines; /* of the peer's */
	unsigned refused[CANDIDATE_VERDICTS];
	char why[ICE_WHY_MAX];
};

void ice_part_path(struct ice_part *p, struct ice_path *path); /* tells it. Tail call, like all that tell */
void ice_part_lose(struct ice_part *p); /* there is none of its kind any more, or there will be none */
void ice_judge_state(struct ice_try *t);
void ice_tell_end(struct ice_try *t);	/* of our lines, if all that may come has come */
const struct addr *ice_stun_server(const struct ice_settings *s); /* the first of IPv4; unset: none */

void ice_raw_begin(struct ice_try *t);
void ice_raw_end(struct ice_try *t);
bool ice_raw_is_told(const struct ice_try *t); /* nothing more will be said of this site's NAT */
int ice_raw_line(struct ice_try *t, const char *line); /* "nat:…" of the peer: 0 or CANDIDATE_BAD_SYNTAX */
bool ice_raw_why(const struct ice_try *t, struct sb *b); /* false: it has nothing to say */

void ice_ports_candidate(struct ice_try *t, const struct candidate *host); /* its port may be worth opening */
bool ice_ports_are_told(const struct ice_try *t);
void ice_ports_end(struct ice_try *t);
json_t *ice_ports_show(const struct ice_try *t);

void ice_tcp_begin(struct ice_try *t);
void ice_tcp_end(struct ice_try *t);
bool ice_tcp_is_told(const struct ice_try *t);
void ice_tcp_met(struct ice_try *t); /* the peer's credentials are known */
void ice_tcp_candidate(struct ice_try *t, const struct candidate *c);

void path_turn_gone(struct path_turn *x); /* path_turn.c: its attempt ends */
