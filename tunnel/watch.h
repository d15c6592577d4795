/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who watches which connection: the bytes of one as they pass, as progress of a request that ends when the
 * connection does, or when its client cancels it or goes. For the relay's connections and the tunnel's alike, whose
 * taps are on while somebody watches. Main thread.
 */
#pragma once
#include "common/control.h"
#include "common/log.h"
#include "tunnel/seen.h"

struct watchers;

struct watch_source {
	struct seen_outlet *outlet;		     /* outlives the watchers */
	int (*tap)(uint64_t id, bool on, void *arg); /* 0, -ENOENT, or -errno */
	void *arg;
	const char *list_hint;	   /* "stile relay connections" */
	const struct log_msg *msg; /* that somebody looks */
};
int watchers_new(const struct watch_source *s, struct watchers **ret_w);
struct watchers *watchers_free(struct watchers *w); /* their requests end; the source is still there */
/* A request {id} of a verb, which it ends. */
void watchers_ask(struct watchers *w, struct control_request *rq, const json_t *args);
