/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of carriers and data connections, for the two ends of the link layer; nobody else includes it.
 *
 *   carrier.c     a carrier: idle, busy, or being emptied after a reset; PING and PONG; DONE
 *   data.c        a data connection's life: carriers come and go, it ends
 *   data_pump.c   its bytes: local socket, windows, frames
 *   data_flow.c   a UDP flow's datagrams
 *   data_plain.c  two sockets joined: encrypt: false
 *
 * A host is one end of one link: all its carriers and data connections, in one loop. The two ends differ in its ops and in
 * who opens (server) and who resumes (agent).
 */
#pragma once
#include "common/hash.h"
#include "common/joint.h"
#include "tunnel/link/chunk.h"
#include "tunnel/link/data.h"
#include "tunnel/link/frame_conn.h"
#include "tunnel/link/keepalive.h"
#include "tunnel/link/replay.h"

enum {
	DATA_PENDING_IOV = 16,
	DATA_TICK_MS = 1000,
	DATA_BUSY_KEEPALIVE_MS = 5000,
	DATA_OPEN_PATIENCE_MS = 1500
};

struct data_host;
struct carrier;

struct data_host_ops {
	/* A frame on a carrier that has no data connection: OPEN at the agent, RESUME at the server. As frame_conn's. */
	int (*carrier_frame)(struct carrier *c, const struct wire_got *g);
	void (*carrier_idle)(struct carrier *c); /* it has become idle; it may be used or freed in there */
	/* It is closed (its data connection, if any, knows); it is freed when this returns. */
	void (*carrier_gone)(struct carrier *c, int err, const char *why);
	void (*lost)(struct data_conn *d); /* its carrier is gone; another one is wanted */
	void (*silent)(struct data_conn *d); /* server: no sign of the agent since OPEN; may be NULL */
	void (*ended)(struct data_conn *d); /* before on_end */
};

struct data_host {
	struct loop *loop;
	const struct data_host_ops *ops;
	void *owner;
	struct chunk_pool *chunks; /* of the loop */
	bool server;
	uint32_t window, resume_ms;
	struct list idle, busy; /* carriers; busy: with data, or being emptied */
	unsigned n_idle, n_busy;
	struct list conns; /* data connections, oldest first */
	struct htable streams; /* the same, by the number of the stream */
	unsigned n_conns, n_detached;
	uint64_t bytes[2];
	uint32_t rtt_us; /* of the control connection */
	struct nat_life nat;
	struct joint_pool *joints; /* made when one is needed */
	struct timer tick; /* keep-alive of carriers, rates of data connections */
};
void data_host_init(struct data_host *h, struct loop *l, const struct data_host_ops *ops,
		    void *owner, struct chunk_pool *chunks);
struct data_conn *data_conn_find(const struct data_host *h, uint64_t stream); /* NULL: none, or none any more */
void data_host_deinit(struct data_host *h); /* carriers and data connections end at once, without on_end */
/* All data connections end, with on_end. */
void data_host_end_all(struct data_host *h, enum wire_reason reason, const char *text);
void data_host_close_carriers(struct data_host *h); /* all; data connections are detached */
void data_host_probe(struct data_host *h); /* the network has changed: who does not answer a PING is lost */

/* ---- carriers ---- */

enum carrier_state { CARRIER_HELLO, CARRIER_IDLE, CARRIER_BUSY, CARRIER_EMPTYING };

struct carrier {
	struct list node; /* in host->idle or ->busy */
	struct data_host *host;
	struct frame_conn *conn;
	enum carrier_state state;
	struct data_conn *data; /* CARRIER_BUSY */
	bool done_sent, done_heard;
	bool reserved; /* for a RESUME: no OPEN is sent on it */
	struct keepalive keep;
	uint64_t since; /* loop time: it was made */
	void *owner; /* of the end, while CARRIER_HELLO */
};
/* Takes conn over, also on failure. CARRIER_HELLO: the end's own frames are to come first (carrier_frame). */
int carrier_new(struct data_host *h, struct frame_conn *conn, struct carrier **ret_c);
struct carrier *carrier_free(struct carrier *c); /* its data connection is detached */
void carrier_ready(struct carrier *c);		 /* HELLO is over: it is idle */
void carrier_attach(struct carrier *c, struct data_conn *d);
/* The data connection has no more to do with it. clean: DONE is or will be said both ways; else RESET was sent or heard. */
void carrier_release(struct carrier *c);
void carrier_done(struct carrier *c); /* sends DONE */
void carrier_tick(struct carrier *c, uint64_t now);
static inline bool carrier_doubted(const struct carrier *c) /* a PING is not answered yet */
{
	return c->keep.asked != 0;
}

/* ---- data connections ---- */

struct data_conn {
	struct list node; /* in host->conns */
	struct hnode by_stream;
	struct data_host *host;
	const struct data_ops *ops;
	void *arg;
	struct wire_open open; /* source_name empty */
	uint64_t begun_ms, touched_ms;
	struct carrier *carrier; /* NULL: none */
	bool plain, queued_plain; /* over a plain carrier; server: waits for one */
	int plain_fd;		  /* the one socket that there is, until both are joined; -1 */
	struct joint *joint;
	int fd;			 /* -1: none yet, or ended */
	struct io io;
	struct replay_tx tx;
	struct replay_rx rx;
	struct chunk_queue held;		/* received; the local socket does not take it */
	struct iovec pending[DATA_PENDING_IOV]; /* DATA of this read, in the frame_conn's buffer */
	int n_pending;
	enum data_state state;
	enum data_way in, out; /* local socket → tunnel; tunnel → local socket */
	bool heard;	       /* the other end knows of it */
	bool queued, again_open; /* server: waits for a carrier; OPEN was sent before, and may have arrived */
	bool hold;		 /* RESUME or a second OPEN is not answered yet: no data is sent */
	bool out_shut;		 /* the end was passed on to the local socket */
	bool tapped, limited, freed, stuck; /* stuck: the limit gave no room */
	bool opened_known;
	unsigned depth;
	unsigned resumed;
	struct wire_opened opened;
	uint64_t bytes[2], rate[2], rate_bytes[2];
	uint64_t datagrams[2], dropped;
	struct datagram *first; /* UDP: those that wait for a carrier or the target */
	unsigned n_first;
	struct timer ack, deadline,
		again;	     /* an ACK is owed; DETACHED or WAITING; limited ways are tried again */
	struct data_end end; /* told by the loop */
	char end_text[200];
	struct addr carrier_peer, carrier_local;
};
int data_conn_new(struct data_host *h, const struct wire_open *o, int fd,
		  struct data_conn **ret_d);	   /* fd taken over */
int data_conn_set_fd(struct data_conn *d, int fd); /* the local socket; taken over */
/* A frame of its carrier. As frame_conn's. */
int data_conn_frame(struct data_conn *d, const struct wire_got *g);
void data_conn_batch(struct data_conn *d);
void data_conn_writable(struct data_conn *d);
/* Its carrier is gone: it waits for another one, unless all was said. */
void data_conn_lost(struct data_conn *d, const char *why);
/* Another carrier has taken over, and the other end has received so much. */
int data_conn_go_on(struct data_conn *d, uint64_t received);
/* It ends here: told by the loop. RESET goes to the other end unless it said so itself. */
void data_conn_end(struct data_conn *d, const struct data_end *e);
/* The same, and it is told before this returns: there will be no loop. */
void data_conn_end_now(struct data_conn *d, const struct data_end *e);
/* It is over in the end's own way (state DATA_ENDED); nothing is sent. */
void data_conn_finish_clean(struct data_conn *d);
void data_conn_tick(struct data_conn *d, uint64_t now);

/* data_pump.c */
void data_pump_init(struct data_conn *d);
void data_pump_in(struct data_conn *d);	   /* from the local socket, as much as may be */
void data_pump_out(struct data_conn *d);   /* to the carrier */
void data_pump_flush(struct data_conn *d); /* to the local socket */
void data_pump_watch(struct data_conn *d);
int data_pump_data(struct data_conn *d, const struct wire_bytes *b);
void data_pump_check_done(struct data_conn *d);
void data_pump_count(struct data_conn *d, enum data_way w, const uint8_t *p, size_t n);

/* data_flow.c */
int data_flow_heard(struct data_conn *d, const struct wire_bytes *b);
void data_flow_readable(struct data_conn *d);
void data_flow_flush(struct data_conn *d); /* there is a way now for those that wait */
void data_flow_forget(struct data_conn *d);

/* data_plain.c */
/* Both descriptors are taken over in any case; bytes of the client go to the target's side. */
int data_plain_join(struct data_conn *d, int client, int target);
void data_plain_watch(struct data_conn *d); /* tap or limit have changed */
void data_plain_count(struct data_conn *d); /* bytes up to now */
void data_plain_close(struct data_conn *d, bool reset);
/* The head of a plain carrier, MAC and all. -EIO. */
int data_plain_head(const uint8_t key[static 32], uint64_t session, uint64_t number,
		    uint8_t out[static WIRE_PLAIN_HEAD]);
