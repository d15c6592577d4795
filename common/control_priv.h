/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the control server share; nobody else includes it.
 *
 *   control.c          the server: socket, peers, reading lines, writing, closing
 *   control_socket.c   its listening socket: one live server per path
 *   control_line.c     one line of input: bounds, UTF-8, JSON
 *   control_peer.c     who is at the other end: uid, groups, role
 *   control_request.c  requests from dispatch to their one answer, cancel, built-in verbs
 *   control_events.c   topics, subscriptions, the ring of events a peer has not read yet
 *
 * Ownership: server → peers → requests and subscriptions. A request outlives its peer (peer is
 * NULL then) until it is ended by who took it. A peer is never freed while code that may still
 * touch it is on the stack: peer_doom() only takes it out of service, the pass hook frees it.
 */
#pragma once
#include <sys/types.h>
#include "common/control.h"

struct evbuffer;

enum {
	CONTROL_MAX_PEERS = 256,
	CONTROL_ADMIN_RESERVE = 16, /* of them, kept free for admins */
	CONTROL_MAX_IN_FLIGHT = 64, /* requests per peer */
	CONTROL_MAX_SUBS = 16,	    /* subscriptions per peer */
	CONTROL_MAX_TOPICS = 32,    /* per subscription */
	CONTROL_RING = 256,	    /* events per peer that does not read */
	CONTROL_MAX_EVENT = 64 << 10,
	CONTROL_MAX_BACKLOG = 8 << 20,	/* unread answers; more closes the peer */
	CONTROL_PAUSE_READING = 1 << 20, /* unread answers; more and no further request is read */
	CONTROL_EVENTS_BELOW = 64 << 10, /* events move from ring to output while it holds less */
};

struct control_verbs { /* one control_add_verbs() */
	struct list node;
	const struct control_verb *verbs;
	size_t n;
	void *arg;
};

struct control_server {
	struct loop *loop;
	struct io listener;
	struct timer accept_again; /* set while out of descriptors */
	struct pass_hook reaper;
	int fd, lock_fd;
	char *path, *lock_path;
	char *program, *instance, *version;
	bool has_group;
	gid_t group; /* its members are operators */
	struct list verbs, peers, doomed;
	unsigned n_peers; /* doomed ones included */
	unsigned n_subs;
};

struct control_peer {
	struct list node;
	struct control_server *server;
	struct io io;
	int fd;
	enum control_role role;
	char who[96];
	char *in; /* in_n bytes, of which the first in_seen hold no newline */
	size_t in_n, in_seen, in_cap;
	struct evbuffer *out;
	struct list requests, subs;
	unsigned n_requests, n_subs;
	struct control_slot *ring; /* CONTROL_RING slots from the first subscription on */
	unsigned ring_head, ring_n;
	bool eof; /* it sends no more, but reads */
	bool doomed;
};

struct control_request {
	struct list node; /* of peer->requests */
	struct control_peer *peer; /* NULL: gone, the answer will be dropped */
	json_int_t id;
	enum control_role role;
	char who[96];
	void (*on_cancel)(struct control_request *, void *);
	void *cancel_arg;
	bool cancelled;
};

/* control_peer.c */
int peer_identify(struct control_peer *p); /* fills role and who from the socket; -errno */
/* "uid 1000 (alice)", or "uid 1000" if accounts (a file like /etc/passwd) does not name it. */
void peer_describe(uid_t uid, const char *accounts, char *who, size_t n);
const char *control_role_name(enum control_role r);

/* control_socket.c */
int control_socket_open(struct control_server *s, const struct control_options *o, char *err,
			size_t err_n); /* fills fd and lock_fd */
void control_socket_close(struct control_server *s);

/* control.c */
void peer_doom(struct control_peer *p);
/* Appends one line {"id":ID,"<what>":<json>}; id -1 is written as null. Too much unread output
 * or no memory dooms the peer. */
void peer_send(struct control_peer *p, json_int_t id, const char *what, const char *json, size_t n);
size_t peer_backlog(const struct control_peer *p);

/* control_request.c */
void peer_dispatch(struct control_peer *p, struct text line);
void peer_fail(struct control_peer *p, json_int_t id, const char *code, const char *hint,
	       const char *fmt, ...) _printf_(5, 6);
void peer_abandon_requests(struct control_peer *p); /* it is going: tells those who work for it */
extern const struct control_verb control_builtin_verbs[];
extern const size_t control_n_builtin_verbs;

/* control_events.c */
void peer_subscribe(struct control_request *rq, const json_t *args);
bool peer_unsubscribe(struct control_peer *p, json_int_t id); /* false: no such subscription */
bool peer_has_subscription(const struct control_peer *p, json_int_t id);
void peer_drop_subscriptions(struct control_peer *p);
void peer_pump_events(struct control_peer *p); /* ring → output, while the output is short */
