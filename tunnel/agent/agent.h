/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's end of the tunnel to one server: the control connection, which comes back by itself, the carriers that the
 * server wants, and the data connections. Jobs are told to it and it tells them to the server, again after every
 * reconnection; what a target is and whether it may be reached is the owner's affair (on_open).
 *
 * All in one loop. Who dials (addresses, fallback ports, proxies, TLS, pins, enrolment) is behind struct agent_dialer.
 */
#pragma once
#include "common/stream.h"
#include "tunnel/link/data.h"

struct agent; /* one per server */

enum agent_state {
	AGENT_OFF,	  /* told to be disconnected */
	AGENT_CONNECTING, /* for the first time, or again */
	AGENT_PENDING,	  /* waits for approval on the server */
	AGENT_UP,
	AGENT_WAITING, /* until the next try */
	AGENT_STATES
};
extern const char *const agent_state_names[AGENT_STATES];

/* Opens a connection on which the TLS handshake is done and the server's key is as expected. done comes once, from the
 * loop, unless cancelled: with a stream of which no byte was consumed (handed over), or with NULL and why. */
struct agent_dialled {
	struct stream *stream; /* NULL: failed */
	const char *why;       /* a sentence */
	bool hopeless;	       /* the server showed another key: the next try is a long time away */
};
struct agent_dialer {
	/* control: a control connection may try everything; a carrier goes the way that the control connection went. plain:
	 * without TLS, to the same address; what is sent on it begins with the head of a plain carrier. -ENOMEM … */
	int (*start)(void *arg, bool control, bool plain,
		     void (*done)(const struct agent_dialled *d, void *done_arg), void *done_arg,
		     void **ret_handle);
	void (*cancel)(void *arg, void *handle);
	/* HELLO of a control connection is about to be written: features. May be NULL. */
	void (*hello)(void *arg, struct wire_hello *h);
	/* After HELLO of a control connection: PENDING, ENROLLED, SCRAM came. The answer is sent with agent_send_early(). NULL:
	 * such a frame ends the connection. A negative errno and why do, too. */
	int (*enrol)(void *arg, struct agent *a, unsigned type, const union wire_msg *m, char *why,
		     size_t why_n);
	/* HELLO was sent on this session: ENROL or the first SCRAM message may follow with agent_send_early(). May be NULL. */
	void (*greeted)(void *arg, struct agent *a, SSL *ssl);
	/* WELCOME, before anything of it is acted upon: its successor pin … A negative errno and why end the connection
	 * (the server has not proven who it is). May be NULL. */
	int (*welcomed)(void *arg, struct agent *a, const struct wire_welcome *w, char *why,
			size_t why_n);
	/* REFUSED came for a control connection. May be NULL. */
	void (*refused)(void *arg, enum wire_reason reason);
	void *arg;
};

struct agent_ops {
	void (*on_state)(struct agent *a, enum agent_state s, const char *text, void *arg);
	/* WELCOME; owner tells its jobs with agent_put_job() before or now: they are sent when this returns. */
	void (*on_welcome)(struct agent *a, const struct wire_welcome *w, bool same_session, void *arg);
	/* JOB-STATE, OFFER-JOB; m is valid during the call. */
	void (*on_frame)(struct agent *a, unsigned type, const union wire_msg *m, void *arg); /* and SIGNAL, SIGNAL-LOST, RELAY, TURN, REACHED */
	/* A client has come. The owner sets ops and arg (data_conn_own), resolves, checks, connects, and answers, now or later,
	 * by agent_data_dialled() or agent_data_refuse(). source_name is valid during the call. */
	void (*on_open)(struct agent *a, struct data_conn *d, const struct wire_open *o, void *arg);
};

struct agent_options {
	const char *name, *program, *host;
	uint8_t instance[WIRE_INSTANCE]; /* random, of the process */
	struct agent_dialer dialer;
	const struct agent_ops *ops;
	void *arg;
	unsigned detached_max; /* data connections that wait to be resumed; 0: 4096 */
};
int agent_new(struct loop *l, const struct agent_options *o, struct agent **ret_a); /* AGENT_OFF */
struct agent *agent_free(struct agent *a);
DEFINE_CLEANUP(struct agent, agent_free)
void agent_connect(struct agent *a);	/* and stay connected */
void agent_disconnect(struct agent *a); /* data connections end */
/* The network has changed: what is connected is probed at once, what waits is tried at once. */
void agent_network_changed(struct agent *a);

/* Adds a job, or puts other values (a higher revision) in the place of its id's. Kept (copied), and sent if up. */
int agent_put_job(struct agent *a, const struct wire_job *m);
void agent_drop_job(struct agent *a, uint32_t id);
/* The server passes on what agents say to each other: SIGNAL and RELAY may be sent. */
bool agent_shares(const struct agent *a); /* the server knows shares */
bool agent_tells_paths(const struct agent *a); /* the server wants to know of links to others */
bool agent_meets(const struct agent *a);
bool agent_may_reach(const struct agent *a); /* the server connects back when asked to: REACH may be sent */
/* Any other control frame: OFFER-ANSWER, TARGET-STATE. 0, -ENOTCONN, -ENOBUFS, -EINVAL. */
int agent_send(struct agent *a, unsigned type, const void *msg);
int agent_send_early(struct agent *a, unsigned type, const void *msg); /* before WELCOME: ENROL, SCRAM */

/* Ops and arg of a data connection that on_open brought; before it is answered. */
void data_conn_own(struct data_conn *d, const struct data_ops *ops, void *arg);
/* fd: connected, non-blocking, taken over; of UDP a connected datagram socket. */
void agent_data_dialled(struct data_conn *d, int fd, const struct addr *target,
			const struct addr *local);
void agent_data_refuse(struct data_conn *d, enum wire_reason reason, const char *text); /* on_end follows */

struct agent_info {
	uint8_t refused; /* enum wire_reason that the server gave last; 0: none */
	enum agent_state state;
	char why[256];	      /* of the last failure; "" */
	int64_t since;	      /* unix ms, in this state */
	uint64_t retry_in_ms; /* AGENT_WAITING */
	unsigned tries, reconnects;
	uint64_t session;
	char name[WIRE_NAME_MAX + 1], server_name[256], public_name[256], server_program[64];
	struct addr server, local, observed;
	uint32_t rtt_us;
	unsigned carriers, ready, wanted, streams, detached;
	uint32_t resume_ms;    /* so long a data connection waits for a carrier */
	uint64_t keepalive_ms; /* what the NAT on the way is found to tolerate */
	uint64_t bytes[2];
};
void agent_info(const struct agent *a, struct agent_info *ret_i);

/* ---- one end of a relay to another agent (relay_end.c) ---- */

struct relay_end;
struct relay_end_ops { /* from the loop; the end may be freed in each */
	/* The other one is there, too: fd is a stream socket (Unix) to it, the callee's. */
	void (*joined)(struct relay_end *e, int fd, void *arg);
	/* Once: it could not be made, or is over. */
	void (*over)(struct relay_end *e, const char *why, void *arg);
};
/* session: of the RELAY frame. The server is reached as for a carrier. 0, -ENOMEM, -ENOTCONN. */
int relay_end_new(struct agent *a, uint64_t session, const struct relay_end_ops *ops, void *arg, struct relay_end **ret_e);
struct relay_end *relay_end_free(struct relay_end *e); /* before its agent */
