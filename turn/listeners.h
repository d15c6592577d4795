/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listeners of stile-turn: what turn.listen says, and the sockets behind it. The main thread binds each one
 * once per worker (SO_REUSEPORT, steered by the client's address); the workers own what they
 * serve with these sockets: struct turn_udp and struct turn_acceptor in turn/edge.h.
 */
#pragma once
#include "common/list.h"
#include "turn/config.h"

struct turn_service;
struct turn_worker;
struct turn_discovery;

struct turn_listener_spec { /* as configured; grows with what turn.listen can say */
	enum turn_listen_proto proto;
	struct addr at;
};

struct turn_listener {
	struct list node; /* in turn_service->listeners, in the order of the configuration */
	struct turn_listener_spec spec;
	int fds[]; /* one per worker, over UDP one for each lane (turn/lanes.h); -1 once the worker owns it */
};

/* One row per enum turn_listen_proto. */
struct turn_listen_kind {
	const char *name;
	bool udp; /* datagrams; else a stream */
	bool tls; /* a certificate is needed */
	int (*open)(struct turn_worker *w, struct turn_listener *l); /* in the worker: takes over its socket */
};
extern const struct turn_listen_kind turn_listen_kinds[];
static inline const struct turn_listen_kind *turn_listener_kind(const struct turn_listener *l)
{
	return &turn_listen_kinds[l->spec.proto];
}

/* Main thread. 0, or -errno and a sentence in err. */
int turn_listeners_open(struct turn_service *ts, const struct turn_config *cfg, char *err, size_t err_n);
void turn_listeners_log(const struct turn_service *ts);
void turn_listeners_close(struct turn_service *ts);
/* RFC 5780 is served where the UDP listeners have two addresses with the same two ports; NULL: no memory. */
struct turn_discovery *turn_listeners_discovery(const struct turn_service *ts);
