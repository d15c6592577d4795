/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listeners of stile-turn: what turn.listen says, and the sockets behind it. The main thread binds each one
 * once per worker (SO_REUSEPORT, steered by the client's address); the workers own what they serve with these
 * sockets: struct turn_udp and struct turn_acceptor in turn/edge.h.
 *
 * A reload plans first, which is where everything can fail, and takes the plan then. A removed listener drains:
 * a stream's listening socket closes and its connections go on; datagram sockets stay, all of them, as
 * long as an allocation or session of any worker needs one, for a group that shrinks would steer clients
 * to other workers. A listener is one address over UDP or TCP: with or without TLS it is the same one.
 */
#pragma once
#include <stdatomic.h>
#include "common/list.h"
#include "common/service.h"
#include "turn/config.h"

struct turn_service;
struct turn_worker;
struct turn_discovery;
struct turn_contexts;

struct turn_listener_spec { /* as configured; grows with what turn.listen can say */
	enum turn_listen_proto proto;
	struct addr at;
	char path[CFG_UNIX_PATH]; /* of a Unix socket, and at is unset; else "" */
};
/* "0.0.0.0:3478", "unix:/run/stile/turn-443.sock" */
enum { TURN_PLACE_STRLEN = CFG_UNIX_PATH + 8 };
const char *turn_listener_place(const struct turn_listener_spec *spec, char buf[static TURN_PLACE_STRLEN]);

/* Written by the main thread; the workers look at it while that waits for them (workers_call). */
struct turn_listener {
	struct list node; /* in turn_service->listeners: as configured, then those that drain */
	struct turn_listener_spec spec;
	bool removed; /* drains */
	bool covered; /* removed, but a wildcard listener has its address too: it takes that one's clients on */
	bool paused;  /* about to be closed: nothing is read */
	atomic_uint conns;    /* connections and sessions that came through it */
	unsigned allocations; /* as last counted */
	int fds[]; /* one per worker, over UDP one for each lane (turn/lanes.h); -1: closed, or the worker owns it */
};

/* One row per enum turn_listen_proto. Called in the worker. */
struct turn_listen_kind {
	const char *name;
	bool udp; /* datagrams; else a stream */
	bool tls; /* a certificate is needed */
	int (*open)(struct turn_worker *w, struct turn_listener *l); /* serves it, if not yet; takes over its socket */
	void (*settle)(struct turn_worker *w, struct turn_listener *l); /* as its fields say now */
	void (*close)(struct turn_worker *w, struct turn_listener *l);
};
extern const struct turn_listen_kind turn_listen_kinds[];
static inline const struct turn_listen_kind *turn_listener_kind(const struct turn_listener *l)
{
	return &turn_listen_kinds[l->spec.proto];
}
static inline bool turn_listener_takes_new(const struct turn_listener *l)
{
	return !l->removed || l->covered;
}

/* ---- main thread ---- */

struct turn_listeners_entry {
	struct turn_listener *l;
	struct turn_listener_spec spec;
	bool fresh; /* made by this plan */
	bool bound; /* its sockets are this plan's */
};
struct turn_listeners_plan {
	struct turn_listeners_entry *v;
	size_t n;
	struct turn_discovery *discovery;
};
/* Binds what the configuration has and the service does not. 0, or -errno and a sentence in err; in both cases
 * deinit follows, which closes what was not taken. */
int turn_listeners_plan(struct turn_service *ts, const struct turn_config *cfg, char *err, size_t err_n,
			struct turn_listeners_plan *p);
/* Has the workers serve what is new; on -errno none of them does. */
int turn_listeners_serve(struct turn_service *ts, struct turn_listeners_plan *p);
void turn_listeners_take(struct turn_service *ts, struct turn_listeners_plan *p); /* cannot fail */
void turn_listeners_plan_deinit(struct turn_listeners_plan *p, unsigned n_workers);
/* For a dry run: could it be bound? Adds to ch which listeners would come and go. */
int turn_listeners_examine(struct turn_service *ts, const struct turn_config *cfg, struct service_changes *ch,
			   char *err, size_t err_n);
void turn_listeners_close(struct turn_service *ts); /* after the workers */

/* ---- draining: turn/listeners_drain.c ---- */
void turn_listeners_count(struct turn_service *ts); /* fills allocations */
void turn_listeners_drain(struct turn_service *ts); /* looks after what is removed until it is gone */
json_t *turn_listeners_json(struct turn_service *ts, bool removed_too);
void turn_listener_free(struct turn_listener *l, unsigned n_workers);
