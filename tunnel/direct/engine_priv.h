/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What engine.c (messages), engine_link.c (links, their ICE and paths), listeners.c (who comes in here), streams.c (connections)
 * and flows.c (datagrams) share. Whoever is in a list of another is taken out of it when it is freed; links own their
 * connections, the engine all else.
 */
#pragma once
#include "common/hash.h"
#include "common/log.h"
#include "tunnel/direct/channel.h"
#include "tunnel/direct/engine.h"
#include "tunnel/direct/ice.h"
#include "tunnel/direct/peer_link.h"
#include "tunnel/direct/stream_head.h"

enum {
	LINKS_MAX = 256,
	LISTENERS_MAX = 1024,
	LINK_NAME = 64,
	TAG_GENERATION = 8, /* tag of a path: its attempt's generation times this, and the kind of ice.h. 0: none of ICE */
	CANDIDATES_A_MESSAGE = 16,
};

struct flow;

struct engine {
	struct loop *loop;
	struct channel *channel;
	void (*gone)(void *arg);
	void *arg;
	bool ended, ready;
	struct quic_creds *creds;
	enum quic_congestion congestion;
	uint32_t flags; /* CHILD_F_… */
	struct ice *ice;
	struct ice_settings *ice_settings;
	struct chunk_pool pool;
	struct list links;     /* struct link */
	struct list listeners; /* struct listener */
	unsigned n_links, n_listeners;
	struct pass_hook hook;
	uint64_t next_request; /* ADMIT */
	uint64_t site_shown;
	struct hash_seed seed;
};

struct link {
	struct list node;
	struct engine *e;
	uint32_t id;
	bool visitor, no_relay, up, dirty, tell, gone;
	char name[LINK_NAME];
	struct peer_link *l;
	struct peer_link_ops ops;
	struct io timer; /* timerfd of the link's deadline */
	uint64_t armed;
	struct timer tell_timer; /* numbers change */
	struct timer show_timer;

	struct ice_try *ice;
	uint32_t generation;
	struct ice_try *old_ice; /* of before: its TURN path is in use, or was when the next attempt began */
	uint32_t old_generation;
	struct timer restart;
	uint64_t restart_wait;
	uint16_t n_local, n_remote; /* candidates */
	char lines[CANDIDATES_A_MESSAGE][CANDIDATE_LINE_MAX + 1];
	unsigned n_lines;
	bool lines_done;

	struct list conns; /* struct conn */
	unsigned n_conns;
	struct flow *recent; /* of the last datagram that came */
	uint64_t ping_cookie, ping_at;
};

/* A listener of the visitor: what comes here goes to one target at the other agent. */
struct listener {
	struct list node;
	struct engine *e;
	uint32_t id, link; /* link: 0 or gone: connections wait */
	bool udp;
	char host[STREAM_HOST_MAX + 1];
	uint16_t port;
	uint32_t most, n; /* connections at once; 0: any */
	struct acceptor *acceptor;
	struct io io; /* UDP */
	struct list waiting; /* struct conn without a link */
	struct timer give_up;
	struct htable flows; /* UDP, by source */
};

void engine_say(struct engine *e, unsigned type, const void *msg);
void engine_log(struct engine *e, enum log_level level, uint32_t link, const char *text);
struct link *engine_link(struct engine *e, uint32_t id);

/* engine_link.c */
int link_open(struct engine *e, const struct child_link_open *m);
void link_close(struct link *k, const char *why);
void link_free(struct link *k);
void link_ice_remote(struct link *k, const struct child_ice *m);
void link_carrier(struct link *k, const struct child_carrier *m, int *fd);
void link_ping(struct link *k, uint64_t cookie);
void link_network_changed(struct link *k);
void link_dirty(struct link *k); /* something may be there to send */
void link_pass(struct link *k);	 /* once a pass */

enum child_path child_path_of(enum path_kind kind);

/* engine_show.c */
void link_show(struct link *k); /* soon: something is new */
void engine_show_site(struct engine *e);

/* listeners.c */
void listener_set(struct engine *e, const struct child_listen *m, int *fd);
void listener_free(struct listener *n);
void listeners_link_up(struct engine *e, struct link *k); /* who waits may go */
void listeners_link_gone(struct engine *e, struct link *k);

/* streams.c */
struct conn;
extern const struct quic_ops streams_ops; /* arg: the link */
/* A local connection of a listener; fd is taken over. 0 or -errno. */
int conn_accepted(struct listener *n, int fd, const struct addr *peer);
void conn_go(struct conn *c, struct link *k); /* it waited for one */
void conn_give_up(struct conn *c, const char *why);
void conns_admitted(struct engine *e, const struct child_admitted *m);
struct conn *conn_of_node(struct list *node);

