/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One QUIC connection between two agents (RFC 9000, 9001, 9221), without I/O: packets and the time go in, packets and the
 * next deadline come out. ngtcp2 and GnuTLS are behind it, and nowhere else (quic_conn.c, quic_stream.c, quic_tls.c).
 *
 * Both sides show a certificate, and only the key's hash counts. Paths are numbers here, each with a synthetic address
 * (240.0.0.k), so that a path may be anything and a NAT that changes its mind is not our affair. Nothing reaches
 * ngtcp2 but packets with a connection id that was announced: the visitor's first one by the signed offer, the others by us.
 *
 * Two ways of ngtcp2 0.12.1 to abort are fenced off: qlog is never on, WRITE_STREAM_FLAG_MORE never used.
 *
 * Times are ns of one monotonic clock. Callbacks come from inside quic_conn_input(), _output() and _expire(); in them streams
 * may be written, ended and consumed, but the connection must not be freed, nor asked for packets.
 */
#pragma once
#include <sys/uio.h>
#include "tunnel/link/chunk.h"
#include "tunnel/link/identity.h"

struct quic_creds; /* key and certificate of one agent, for all its connections */
struct quic_conn;

enum {
	QUIC_DCID = 18,		    /* of the visitor's first packet */
	QUIC_CID = 8,		    /* of all others */
	QUIC_PACKET_MAX = 1452,
	QUIC_BATCH_PACKETS = 40,
	QUIC_BATCH_MAX = 64000,
	QUIC_PATHS = 255,	    /* numbers of paths: 1 to that */
	QUIC_STREAMS = 1024,	    /* open at a time, that the other side opened */
	QUIC_UNSENT_MAX = 256 << 10, /* of one stream: then its owner waits for room() */
	QUIC_DATAGRAMS_MAX = 256,    /* that wait to be sent; beyond it the oldest are dropped */
	QUIC_WHY = 200,
};
#define QUIC_NEVER UINT64_MAX

/* certificate, key: DER; PKCS #8 of the key. 0, -ENOMEM, -EINVAL. */
int quic_creds_new(const void *cert, size_t cert_n, const void *key, size_t key_n, struct quic_creds **ret_c);
int quic_creds_of(const struct identity *i, struct quic_creds **ret_c);
struct quic_creds *quic_creds_free(struct quic_creds *c);
DEFINE_CLEANUP(struct quic_creds, quic_creds_free)

struct quic_stream { /* of the connection; gone after closed() */
	int64_t id;
	void *owner; /* for the user of the connection */
};

struct quic_ops {
	void (*handshaken)(struct quic_conn *q, void *arg); /* streams may be opened */
	void (*opened)(struct quic_conn *q, struct quic_stream *s, void *arg); /* by the other side */
	/* Bytes in their order; fin: the last ones (n may be 0). The owner says quic_stream_consumed() when it has passed them on. */
	void (*data)(struct quic_conn *q, struct quic_stream *s, const uint8_t *p, size_t n, bool fin, void *arg);
	void (*room)(struct quic_conn *q, struct quic_stream *s, void *arg); /* was full, and is no more */
	void (*reset)(struct quic_conn *q, struct quic_stream *s, uint64_t code, void *arg);   /* nothing more will come of it */
	void (*stopped)(struct quic_conn *q, struct quic_stream *s, uint64_t code, void *arg); /* nothing more of ours is wanted */
	/* All is acknowledged and consumed, or it never will be. */
	void (*closed)(struct quic_conn *q, struct quic_stream *s, void *arg);
	void (*datagram)(struct quic_conn *q, const uint8_t *p, size_t n, void *arg);
	/* The outcome of quic_conn_move(): from now on packets go to path k, or it did not answer. */
	void (*moved)(struct quic_conn *q, unsigned k, bool ok, void *arg);
};

enum quic_congestion { QUIC_BBR, QUIC_BBR2, QUIC_CUBIC };
struct quic_options {
	bool client;
	const struct quic_creds *creds; /* outlives the connection */
	struct identity_hash peer;
	uint8_t dcid[QUIC_DCID];
	enum quic_congestion congestion;
	unsigned path; /* client: the first one */
	struct chunk_pool *pool;
	const struct quic_ops *ops;
	void *arg;
};
int quic_conn_new(const struct quic_options *o, uint64_t now, struct quic_conn **ret_q);
struct quic_conn *quic_conn_free(struct quic_conn *q); /* closed() is called for each stream */
DEFINE_CLEANUP(struct quic_conn, quic_conn_free)

/* A packet that came over path k. It may be written over. 0: taken; -EBADMSG: not for us (strangers, leftovers), or garbage;
 * -ECONNRESET: the connection is over: quic_conn_why(). */
int quic_conn_input(struct quic_conn *q, unsigned k, uint8_t *p, size_t n, uint64_t now);
/* Server: a packet for us, as the client sends them until it knows that the handshake is done: it has not moved yet. */
bool quic_conn_is_first(const struct quic_conn *q, const uint8_t *p, size_t n);
/* The next batch: packets of *ret_segment bytes for path *ret_k in buf (QUIC_BATCH_MAX). Returns its bytes, 0: nothing to
 * send now. */
size_t quic_conn_output(struct quic_conn *q, uint8_t *buf, unsigned *ret_k, size_t *ret_segment, uint64_t now);
uint64_t quic_conn_deadline(const struct quic_conn *q); /* when quic_conn_expire() is to be called next */
int quic_conn_expire(struct quic_conn *q, uint64_t now); /* 0, or -ECONNRESET: over */
bool quic_conn_over(const struct quic_conn *q);
const char *quic_conn_why(const struct quic_conn *q);
bool quic_conn_handshaken(const struct quic_conn *q);
bool quic_conn_confirmed(const struct quic_conn *q); /* so is the other side: from now on the path may be left */
/* Says goodbye: the next output is the last. why is told to the other side. */
void quic_conn_close(struct quic_conn *q, const char *why, uint64_t now);

/* Client only. at_once: without waiting for the path's answer, for when the one before is dead. 0, -EAGAIN: not now (connection
 * ids are on their way, or an earlier move is unfinished), try again later; -EINVAL: it is there already. */
int quic_conn_move(struct quic_conn *q, unsigned k, bool at_once, uint64_t now);
unsigned quic_conn_path(const struct quic_conn *q); /* the one in use */
void quic_conn_keep_alive(struct quic_conn *q, uint64_t every_ns);

/* ---- streams ---- */

int quic_stream_open(struct quic_conn *q, struct quic_stream **ret_s); /* 0, -EAGAIN: as many as there may be, -ENOMEM, -ENOTCONN */
/* Room for the stream's next bytes, at least 1; *ret_n is 0 while it is full, or there is no memory (room() follows), or has ended. */
uint8_t *quic_stream_space(struct quic_conn *q, struct quic_stream *s, size_t *ret_n);
void quic_stream_commit(struct quic_conn *q, struct quic_stream *s, size_t n); /* n bytes were written there */
int quic_stream_write(struct quic_conn *q, struct quic_stream *s, const void *p, size_t n); /* the same by copying: 0, -ENOMEM */
void quic_stream_finish(struct quic_conn *q, struct quic_stream *s);
void quic_stream_consumed(struct quic_conn *q, struct quic_stream *s, size_t n);
void quic_stream_reset(struct quic_conn *q, struct quic_stream *s, uint64_t code); /* both ways; what arrives is thrown away */

/* ---- datagrams ---- */

size_t quic_datagram_max(const struct quic_conn *q); /* bytes that go into one now */
/* Copied. 0, -EMSGSIZE, -ENOMEM. */
int quic_datagram_send(struct quic_conn *q, const void *p, size_t n);

struct quic_info {
	uint64_t srtt_ns, pto_ns, cwnd, in_flight;
	size_t mtu;
	uint64_t lost, sent;	/* packets */
	uint64_t datagrams_dropped, refused /* packets that were not for us */;
	unsigned streams;
	uint64_t held; /* received and not consumed */
	bool probing; /* a move waits for its path's answer */
	bool unsent; /* something waits to be sent */
};
void quic_conn_info(const struct quic_conn *q, struct quic_info *ret_i);
