/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A route as the relay works with it: immutable and shared by all threads, which hold references; a change
 * makes another one in its place. What must outlive a change (the count of connections that a limit is held
 * against, figures, the bit rate's bucket) is in struct route_totals, which the successor takes over.
 */
#pragma once
#include <jansson.h>
#include <stdatomic.h>
#include "common/tls.h"
#include "tunnel/config.h"

enum route_origin { ROUTE_OF_FILE, ROUTE_OF_STORE, ROUTE_OF_COMMAND };

/* Relaxed atomics, written by workers. */
struct route_totals {
	_Atomic unsigned refs;
	_Atomic int64_t connections;
	_Atomic uint64_t accepted, refused, failed, bytes[2];
	_Atomic uint64_t spent_until; /* ns: turn/rate.h */
};

/* What tries at a target have taught: after failures it is left aside until a time (loop clock, ms). */
struct route_health {
	_Atomic unsigned failures;
	_Atomic uint64_t aside_until;
};

struct route {
	_Atomic unsigned refs;
	struct cfg *cfg; /* owns c */
	const struct route_config *c;
	enum route_origin origin;
	char name[ROUTE_LISTEN_STRLEN];
	char target[128]; /* "10.3.100.14:25, …": for people */
	json_t *json;	  /* as it was written, with its defaults: main thread only */
	struct route_totals *totals;
	struct route_health *health; /* one for each target */
	struct tls_ctx *tls, *target_tls;
};

/* From a configuration that was checked. before: the route of this name until now, or NULL. err gets a
 * sentence; 0 or -errno. */
int route_new(const struct route_config *c, enum route_origin origin, const struct route *before, char *err, size_t err_n,
	      struct route **ret_r);
struct route *route_ref(struct route *r);
struct route *route_unref(struct route *r); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct route, route_unref)
bool route_same(const struct route *a, const struct route *b); /* nothing that is configured differs */

/* A route's values as a JSON object of texts and booleans, which route_parse() reads back. */
json_t *route_config_json(const struct route_config *c);
/* The checked configuration of one route; -EINVAL and all errors' sentences in err. */
int route_parse(const json_t *o, char *err, size_t err_n, struct cfg **ret_cfg);

bool route_allows(const struct route *r, const struct addr *source);
/* One more connection, if the limit allows; given back by route_leave(). */
bool route_enter(struct route *r);
void route_leave(struct route *r);
/* How many of want bytes may pass now, and that n did. */
size_t route_room(struct route *r, size_t want, uint64_t now_ms);
void route_passed(struct route *r, size_t n, uint64_t now_ms);
/* The outcome of a try at target i. */
void route_reached(struct route *r, unsigned i);
void route_missed(struct route *r, unsigned i, uint64_t now_ms);
bool route_aside(const struct route *r, unsigned i, uint64_t now_ms);
