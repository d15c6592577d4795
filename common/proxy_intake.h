/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that must begin with a PROXY header (common/proxy_protocol.h): from named load balancers, and
 * from a service that hands on what it accepted, over a Unix socket. Exactly the header is read, so that
 * whoever gets the descriptor, TLS too, sees the client's own first byte next.
 *
 * How many may wait for their header is bounded, and each has a deadline. Lives in one loop.
 */
#pragma once
#include "common/loop.h"
#include "common/proxy_protocol.h"

struct proxy_intake;

struct proxy_tag { /* the owner's, given back with each word about a connection; what it points to must live until then */
	void *of;
	unsigned kind;
};
struct proxy_arrival {
	int fd; /* the receiver's from here on */
	struct addr client, server; /* as told; the connection's own if the header tells none */
	struct addr sender; /* whose word it is; unset for a Unix socket */
	struct proxy_tag tag;
};
struct proxy_intake_ops {
	void (*on_arrival)(const struct proxy_arrival *a, void *arg);
	/* The connection is closed already. why: a sentence for the log; NULL if it came and went without a byte, as
	 * simple health checks do, which is no event. */
	void (*on_refused)(const struct addr *sender, struct proxy_tag tag, const char *why, void *arg);
};
struct proxy_intake_options {
	unsigned waiting;	/* connections that may wait for their header; 0: 512 */
	uint64_t deadline_ms;	/* 0: 10 s */
};

int proxy_intake_new(struct loop *l, const struct proxy_intake_options *o, const struct proxy_intake_ops *ops, void *arg,
		     struct proxy_intake **ret_in);
/* Takes over a non-blocking fd. The header is often there already: then a callback comes from inside. Exactly one
 * comes for each, unless the intake is freed first. */
void proxy_intake_take(struct proxy_intake *in, int fd, const struct addr *sender, const struct addr *local,
		       struct proxy_tag tag);
unsigned proxy_intake_waiting(const struct proxy_intake *in);
struct proxy_intake *proxy_intake_free(struct proxy_intake *in); /* closes those that wait, without a word */
DEFINE_CLEANUP(struct proxy_intake, proxy_intake_free)
