/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay: routes, the workers that carry their connections, and what can be asked about them. stile-tunnel
 * runs one with a configuration and a control socket around it; `stile relay` runs one in the foreground.
 *
 * All functions are for the thread of the loop that it was made with. A route that cannot bind or whose target
 * cannot be resolved leaves the rest running, says why, and tries again. Changing a route leaves its
 * connections as they are; what is new goes by the new values.
 */
#pragma once
#include "common/metrics.h"
#include "tunnel/events.h"
#include "tunnel/records.h"
#include "tunnel/route.h"
#include "tunnel/seen.h"

struct relay;

struct relay_options {
	unsigned workers; /* 0: one per core */
	/* What happens to routes; NULL: relay_event() */
	void (*on_event)(enum relay_event e, const struct event_about *a, void *arg);
	void *arg;
};
int relay_new(struct loop *l, const struct relay_options *o, struct relay **ret_r);
struct relay *relay_free(struct relay *r); /* connections end at once */
DEFINE_CLEANUP(struct relay, relay_free)
void relay_use_records(struct relay *r, struct records *rec); /* before relay_start(); outlives the relay; may be NULL */
/* Whether sources of TCP connections that come from now on are asked for by name; no connection waits for it. As made: no. */
void relay_resolve_names(struct relay *r, bool on);
/* Starts the workers. Routes that were put before have bound their ports already (still privileged), and wait. */
int relay_start(struct relay *r, char *err, size_t err_n);

/* Adds a route or puts it in the place of the one of its name. 0, also if it cannot bind now; -errno and a
 * sentence for what can never work (a certificate that does not load). */
int relay_put(struct relay *r, const struct route_config *c, enum route_origin from, char *err, size_t err_n);
/* drop: its connections end, too. False: there is none of this name and origin. */
bool relay_remove(struct relay *r, const char *name, enum route_origin from, bool drop);
/* All routes of the file are these: the others of that origin are removed. All or nothing. */
int relay_put_file(struct relay *r, const struct cfg_list *routes, char *err, size_t err_n);
/* The same in two steps, between which nothing of the relay changes. put: takes f; what cannot be placed for want of memory is told as an
 * event, and -ENOMEM the answer. */
struct relay_file;
int relay_file_make(struct relay *r, const struct cfg_list *routes, char *err, size_t err_n,
		    struct relay_file **ret_f);
int relay_file_put(struct relay *r, struct relay_file *f);
struct relay_file *relay_file_free(struct relay_file *f);
DEFINE_CLEANUP(struct relay_file, relay_file_free)
/* A TCP route of the file has this port, and none of these, which come in the place of the file's. */
bool relay_lets_go(const struct relay *r, const struct addr *at, const struct cfg_list *routes);
void relay_drop(struct relay *r, const char *name); /* ends the connections of a route */
/* The enabled route other than name that has a port of c; NULL: none. */
const char *relay_conflict(const struct relay *r, const struct route_config *c, const char *name);
const struct route *relay_find(const struct relay *r, const char *name); /* NULL: none */
size_t relay_enabled(const struct relay *r); /* routes that are meant to listen */
size_t relay_listening(const struct relay *r); /* routes that have all of their ports */

void relay_refuse_new(struct relay *r); /* before a stop: connections go on */
int64_t relay_connections(const struct relay *r); /* and flows */
bool relay_alive(struct relay *r); /* every worker moved since the last call */
struct metrics *relay_metrics(struct relay *r);

/* ---- for people ---- */

json_t *relay_routes_json(const struct relay *r);
void relay_count_bytes(struct relay *r); /* up to now: the figures of routes are a second old otherwise */
/* Connections and flows in pages, oldest first within a worker: rows, and a cursor if there may be more. route NULL:
 * all. */
struct relay_page {
	const char *route;
	unsigned limit;
	uint64_t cursor; /* 0: from the first */
};
json_t *relay_connections_json(struct relay *r, const struct relay_page *p);
enum relay_act { RELAY_KICK, RELAY_LOG_ON, RELAY_LOG_OFF, RELAY_WATCH_ON, RELAY_WATCH_OFF };
/* What to do with one connection: 0, -ENOENT (there is none of this number), or -errno. */
int relay_act(struct relay *r, uint64_t id, enum relay_act what);
bool relay_has(struct relay *r, uint64_t id); /* is there such a connection or flow? */
struct relay_pool_figures {
	uint64_t pipes_lent, pipes_spare, pipes_made, pipes_short;
	unsigned workers;
};
void relay_pool_figures(struct relay *r, struct relay_pool_figures *ret_f);
struct seen_outlet *relay_seen(struct relay *r); /* bytes of watched connections */
