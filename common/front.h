/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of a port that several services want (443): each connection goes where its TLS ClientHello says, to
 * the service that owns the port or to a backend of the routing table, over a Unix socket or TCP, with a
 * PROXY header that tells the real client. TLS is not ended here: the hello is looked at while it stays in the
 * kernel (MSG_PEEK), so whoever gets the connection finds it whole.
 *
 * Two halves. The table (front_table.c) is what the configuration says: immutable, counted by references,
 * shared by the workers and replaced as a whole; only its backends, which know how they fare, outlive a
 * replacement. The front (front.c) lives in one loop and holds the connections: those whose hello is not
 * complete, bounded and with a deadline, and those that are joined to a backend.
 *
 * Who may connect how often is the owner's business (admit, leave), and so is what is logged and counted.
 */
#pragma once
#include <stdatomic.h>
#include <sys/un.h>
#include "common/addr.h"
#include "common/client_hello.h"
#include "common/config.h"
#include "common/loop.h"

/* ---- routes ---- */

struct front_route { /* an item of the configuration's list */
	struct cfg_list server_name; /* char *, as common/server_name.h has them; empty: any, or none */
	struct cfg_list alpn;	     /* char *; empty: any, or none */
	struct cfg_backend to;
	bool proxy_protocol; /* the backend is told the client's address */
};

/* Where connections go: "turn", or an address. Lives as long as a table or a connection needs it. */
struct front_backend {
	_Atomic unsigned refs;
	bool self;
	bool proxy;
	union {
		struct sockaddr sa;
		struct sockaddr_un un;
		struct addr at;
	};
	socklen_t len;
	char name[CFG_BACKEND_STRLEN]; /* as configured */
	_Atomic uint64_t taken, open, failed; /* connections: given to it, joined now, lost for it was not there */
	_Atomic int last_error;		       /* of its last failure; 0 once one has succeeded again */
};
struct front_backend *front_backend_ref(struct front_backend *b);
struct front_backend *front_backend_unref(struct front_backend *b);

struct front_table;
/* routes: struct front_route. self: the name of the service itself. before: the table that this one replaces, or
 * NULL: the same backends go on. 0 or -ENOMEM. */
int front_table_new(const struct cfg_list *routes, const char *self, struct front_table *before,
		    struct front_table **ret_t);
struct front_table *front_table_ref(struct front_table *t);
struct front_table *front_table_unref(struct front_table *t); /* NULL is fine */
DEFINE_CLEANUP(struct front_table, front_table_unref)
/* The backend of a hello; *ret_alpn: the protocol by which it was chosen, p NULL if by none. Never NULL: what no
 * route wants is the service's own. */
struct front_backend *front_table_match(const struct front_table *t, const struct client_hello *h, struct text *ret_alpn);
bool front_table_serves_self(const struct front_table *t); /* some connection could reach the service itself */
size_t front_table_backends(const struct front_table *t, struct front_backend *const **ret_list);

/* ---- connections ---- */

enum {
	FRONT_WAITING = 1000,	   /* in one loop, for their hello */
	FRONT_HELLO_MS = 5 * 1000, /* for it to be complete */
	FRONT_CONNECT_MS = 5 * 1000,
};

/* Why a connection that was accepted went nowhere. */
enum front_refusal {
	FRONT_NOT_TLS,	/* neither TLS nor, if the service takes that, STUN */
	FRONT_BAD_HELLO,
	FRONT_SLOW,	/* the hello was not complete in time */
	FRONT_WAITING_LIMIT,
	FRONT_BACKEND_DOWN,
	FRONT_NO_MEMORY,
	FRONT_REFUSALS
};

struct front_visit { /* what is known of a connection when it is reported */
	const struct addr *client, *server;
	const struct front_backend *to; /* NULL: not known yet */
	int error;			/* positive errno, or 0 */
	const char *why;
};

struct front_own {
	int fd;
	const struct addr *client, *server;
	bool tls; /* it begins with a hello; else with what may be STUN */
	void *tag;
};

struct front_ops {
	/* One more connection of this client: counted, or refused (and said so). */
	bool (*admit)(const struct addr *client, void *arg);
	/* It is over, refused or given away; once for each that was admitted. tag: NULL if front_take returned false. */
	void (*leave)(const struct addr *client, void *tag, void *arg);
	/* For the service itself; fd is the receiver's, nothing was read from it. */
	void (*on_self)(const struct front_own *o, void *arg);
	void (*on_refused)(enum front_refusal r, const struct front_visit *v, void *arg);
	void (*on_joined)(const struct front_visit *v, void *arg); /* may be NULL */
};

struct front;
struct front_options {
	uint64_t idle_ms; /* of joined connections; 0: one hour */
};
int front_new(struct loop *l, struct front_table *t, const struct front_ops *ops, void *arg, struct front **ret_f);
void front_set_table(struct front *f, struct front_table *t, uint64_t idle_ms); /* for what comes from now on */
/* Takes over fd. False: it was not admitted, and is closed. Callbacks come from inside, too. */
bool front_take(struct front *f, int fd, const struct addr *client, const struct addr *server, void *tag);
unsigned front_waiting(const struct front *f);
struct front *front_free(struct front *f); /* with all its connections */
DEFINE_CLEANUP(struct front, front_free)
