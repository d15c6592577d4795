/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the protocol core, for its own files only: the server of one worker, and a request on
 * its way through it. The server owns its allocations, budget, ring and scratch buffer; an answer
 * is built in the scratch buffer and is gone with the next one.
 */
#pragma once
#include "common/hash.h"
#include "common/log.h"
#include "turn/backoff.h"
#include "turn/metrics.h"
#include "turn/realm.h"
#include "turn/refusals.h"
#include "turn/reservations.h"
#include "turn/server.h"
#include "turn/totals.h"

enum turn_method_id { /* the order of turn_methods, and of the labels in turn/metrics.c */
	TURN_METHOD_BINDING,
	TURN_METHOD_ALLOCATE,
	TURN_METHOD_REFRESH,
	TURN_METHOD_CREATE_PERMISSION,
	TURN_METHOD_CHANNEL_BIND,
	TURN_METHOD_CONNECT,
	TURN_METHOD_CONNECTION_BIND,
	TURN_METHODS
};

enum {
	TURN_SCRATCH = 65536 + 64,  /* the largest frame to a client, and some */
	TURN_ANSWER_MAX = 2048,	    /* the largest answer: realm, nonce and software have bounds */
	TURN_PERMISSION_MS = 300000, /* RFC 8656 3.3 */
	TURN_CHANNEL_MS = 600000,    /* RFC 8656 12 */
};

enum { TURN_ASKING_MAX = 256 }; /* questions to other workers under way */

struct turn_moved;

struct turn_server {
	struct turn_server_options o;
	struct turn_policy *policy;	/* referenced */
	const struct turn_config *cfg;	/* the policy's */
	struct htable by_tuple;		/* struct turn_alloc */
	struct turn_alloc *recent;	/* the last one that was found there, or NULL */
	struct htable by_ticket;	/* struct turn_ticket: turn/mobility.h */
	struct htable by_connection;	/* struct turn_tcp */
	struct turn_moved *moved;	/* TURN_MOVED_NOTES, a ring */
	unsigned moved_next, n_asking;
	bool draining;
	bool offloading;		/* channels may go to the kernel */
	bool asked_already;		/* the request that is handled has been to another worker */
	struct hash_seed seed;
	uint32_t number_spread;		/* odd: spreads channel numbers over an index */
	uint64_t random;		/* state of transaction ids of indications */
	bool by_realm;			/* there are several realms: their bytes are counted */
	bool rates;			/* a bit rate is limited, in some realm */
	bool behind_nat;		/* a relay address has another external one */
	uint8_t *scratch;		/* TURN_SCRATCH bytes */
	struct list allocs;		/* in creation order */
	unsigned n_allocs;
	uint64_t next_id;
	uint64_t now;			/* of the last packet from a client: for the lines of a stop */
	struct stun_nonces nonces;
	struct turn_keys *keys;
	struct bytes_pool random_bytes;
	struct turn_budget *budget;
	struct turn_backoff *backoff;
	struct turn_refusals *refusals;
	struct timer reservations_due;
	struct log_gate refusal_gates[TURN_REFUSALS], throttle_gates[3], peer_error_gate, revoked_gate, backoff_gate, long_gate;
};

static inline void turn_count(const struct turn_server *s, enum turn_metric row, unsigned label, int64_t v)
{
	if (s->o.metrics)
		metric_add(s->o.metrics, s->o.worker, row, label, v);
}
static inline void turn_drop(const struct turn_server *s, enum turn_drop why)
{
	turn_count(s, TURN_M_DROPS, why, 1);
}

/* ---- requests: turn/request.c ---- */
struct turn_request {
	struct turn_server *s;
	const struct turn_path *from;
	const struct stun_msg *m;
	struct turn_alloc *alloc;  /* of this five-tuple; NULL: none */
	const struct turn_realm *realm; /* of the allocation, else of the path; NULL: it did not come to that */
	struct turn_key *key;	   /* signs the answer; owned */
	struct turn_identity id;   /* set if the credential was looked up */
	const struct turn_path *way; /* of the answer; NULL: back where the request came from */
	bool deferred;		   /* another worker was asked: no answer yet */
	bool leaving;		   /* its listener was removed: nothing new */
	bool proven;		   /* the source has received something from us: no budget */
	uint64_t now;
	uint16_t unknown[STUN_MAX_UNKNOWN]; /* for 420 */
	unsigned n_unknown;
	char why[224];		   /* detail of a refusal, for the administrator */
};

struct turn_method {
	enum stun_method method;
	bool open; /* answered without authentication */
	/* Answers with turn_answer_*() and returns TURN_ACCEPTED, or says why not. */
	enum turn_refusal (*handle)(struct turn_request *q);
};
extern const struct turn_method turn_methods[TURN_METHODS];

/* What one limit allows: of the server, of a realm, of a user there. */
#define TURN_CAPS(s, r, what)                                                                      \
	(&(struct turn_caps){ (s)->cfg->limits.what, (r)->limits.what, (r)->limits.what##_per_user })

void turn_request_run(struct turn_request *q);
void turn_refuse(struct turn_request *q, enum turn_refusal what);
void turn_answer_begin(struct turn_request *q, struct stun_writer *sw);
void turn_answer_send(struct turn_request *q, struct stun_writer *sw);
/* Sets the detail and passes the refusal on. */
enum turn_refusal turn_because(struct turn_request *q, enum turn_refusal what, const char *why);

/* With the key of this allocation, and in its user's name. */
bool turn_alloc_signed(const struct turn_alloc *a, const struct stun_msg *m);
/* It is the allocation's user who asks: by its key, or as its user. From another five-tuple, that is; for requests that
 * show a ticket or a connection's id. */
bool turn_request_owns(const struct turn_request *q, const struct turn_alloc *a);

/* turn/bad_credential.c: false, and the credential must not be judged now; and what follows when it was. */
bool turn_credential_may_try(const struct turn_request *q);
void turn_credential_bad(struct turn_request *q, enum turn_auth a, uint64_t detail); /* sets q->why */
void turn_credential_good(struct turn_request *q);

/* turn/binding.c */
enum turn_refusal turn_on_binding(struct turn_request *q);
/* STUN_BIT()s of RFC 5780's attributes, if this request asks where they are served. */
uint64_t turn_binding_understood(const struct turn_request *q);

/* turn/alternate.c: an Allocate that this server will not serve (why) goes to another one, if there is one for
 * this client; and that server's address, for the answer. */
enum turn_refusal turn_elsewhere(const struct turn_request *q, enum turn_refusal why);
void turn_alternate_put(const struct turn_request *q, struct stun_writer *sw);
/* turn/allocate.c */
enum turn_refusal turn_on_allocate(struct turn_request *q);
uint64_t turn_lifetime(const struct turn_config *cfg, const struct stun_msg *m); /* ms, as granted; for Refresh too */

/* turn/methods.c: what a Refresh wants of this allocation; and its end, or that of one of its two families, answered. */
struct turn_refresh {
	uint64_t lifetime_ms; /* 0: it is given back */
	unsigned families;    /* TURN_BOTH, or 1 << the one that is named */
};
enum turn_refusal turn_read_refresh(struct turn_request *q, const struct turn_alloc *a,
				    struct turn_refresh *ret_r);
void turn_release(struct turn_request *q, struct turn_alloc *a, unsigned families);

/* turn/revoke.c: the rules about peers are others now */
void turn_revoke(struct turn_server *s);
void turn_revoke_alloc(struct turn_alloc *a); /* of one that comes from a server that had other rules, maybe */

/* turn/tcp_alloc.c */
enum turn_refusal turn_on_connect(struct turn_request *q);
enum turn_refusal turn_on_connection_bind(struct turn_request *q);
struct turn_alloc *turn_tcp_named(const struct turn_request *q); /* by a ConnectionBind; NULL: none of this worker */
bool turn_tcp_send_home(struct turn_request *q); /* to the worker that has its connection; false: it is nowhere else */
void turn_tcp_end_family(struct turn_alloc *a, unsigned family); /* of peers */

/* turn/own_relay.c: behind a 1:1 NAT, the socket that a peer's external address means, and back: the external address
 * that a socket of ours is known by. tcp: of a TCP allocation. False: it is no live relay socket behind a NAT. */
bool turn_own_inside(const struct turn_server *s, const struct addr *peer, bool tcp, struct addr *ret_at);
bool turn_own_is_outside(const struct turn_server *s, const struct addr *peer); /* whatever its port, or a rule says of it */
bool turn_own_outside(const struct turn_server *s, const struct addr *peer, bool tcp, struct addr *ret_at);

/* ---- data: turn/relay_data.c ---- */
size_t turn_spend_some(struct turn_alloc *a, enum turn_way way, size_t n, uint64_t now); /* of a stream; counted */
void turn_indication_tid(struct turn_server *s, uint8_t ret_tid[static STUN_TID_LEN]); /* a name, not a secret */
void turn_on_channel_data(struct turn_server *s, const struct turn_path *from, const struct turn_packet *pk, uint64_t now);
void turn_on_send(struct turn_server *s, const struct turn_path *from, const struct stun_msg *m,
		  const struct turn_packet *pk, uint64_t now);
