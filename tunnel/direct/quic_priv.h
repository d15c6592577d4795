/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What quic_conn.c (packets, paths, life), quic_setup.c (what it is set up with), quic_stream.c (bytes) and quic_tls.c (who is
 * who) share. ngtcp2's types are seen here and in those files only, so that a later version of it, with other names for the
 * same things, is a change of four files.
 */
#pragma once
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include "common/list.h"
#include "tunnel/direct/quic_conn.h"

enum {
	QUIC_CIDS = 32,
	QUIC_SLICE = 16 << 10,
	QUIC_HELD_MAX = 64 << 20, /* bytes that are received and not consumed, of all streams: then the other side waits */
	QUIC_STREAM_WINDOW = 2 << 20,	  /* of a new stream; it doubles as its reader takes what comes … */
	QUIC_STREAM_WINDOW_MAX = 16 << 20 /* … up to this: a sender waits when half of it is used up, at 500 Mbit/s and 40 ms with 6 MiB */
};

/* Our side of a stream. Bytes stay in their chunks, where ngtcp2 has pointers to them, until they are acknowledged. */
struct stream {
	struct quic_stream s;
	struct list node;  /* q->streams */
	struct list ready; /* q->urgent or q->bulk, while it has something to send */
	struct chunk_queue tx;
	struct chunk *at;   /* of the next byte to be sent, or NULL: behind the last chunk */
	uint32_t at_offset; /* in its p[] */
	size_t unsent;
	size_t slice; /* bytes sent since it came to the front */
	bool finish, finish_sent, full, blocked, dead, counted;
	bool closed;   /* ngtcp2 has done with it; it is here until its last bytes are consumed */
	uint64_t held; /* received and not consumed */
	uint64_t window, taken; /* what the other side may have under way; what was consumed since it grew */
};

struct datagram {
	struct list node;
	size_t n;
	uint8_t p[];
};

struct quic_conn {
	const struct quic_ops *ops;
	void *arg;
	struct quic_options o;
	ngtcp2_conn *conn; /* server: NULL until the first packet */
	ngtcp2_crypto_conn_ref ref;
	gnutls_session_t tls;
	struct identity_hash shown; /* what the peer showed, if that was wrong */
	uint8_t cids[QUIC_CIDS][QUIC_CID]; /* ours, that were announced */
	unsigned n_cids;
	uint8_t first_cid[QUIC_CID]; /* of them: the one that the client has from the handshake */
	bool moved_on;		     /* the client has used another one: it is confirmed, and moves by itself */
	bool handshaken, over, confirmed;
	bool some_full; /* a stream waits for room() */
	bool some_done; /* a stream waits for closed(): its last bytes were consumed after its end */
	bool in_ngtcp2; /* inside one of its callbacks */
	uint64_t now, expired;
	char why[QUIC_WHY];
	struct list streams, urgent, bulk;
	unsigned n_streams;
	struct list datagrams;
	unsigned n_datagrams;
	uint64_t held, owed; /* bytes; owed: of credit not yet given because too much is held */
	uint64_t grown;	     /* by which windows of streams are larger than a new one's */
	uint64_t sent, lost, refused, datagrams_dropped;
	unsigned moving; /* path that was asked for, until it answers */
	uint64_t moving_since;
	size_t held_packet, held_k; /* one that did not fit the last batch */
	uint8_t packet[QUIC_PACKET_MAX];
	size_t goodbye_n;
	uint8_t goodbye[QUIC_PACKET_MAX];
};

struct path_addresses {
	struct sockaddr_in local, remote;
	ngtcp2_path path;
};
unsigned quic_path_number(const ngtcp2_path *p);
void quic_callbacks(const struct quic_conn *q, ngtcp2_callbacks *cb);
void quic_settings(const struct quic_conn *q, ngtcp2_settings *s, ngtcp2_transport_params *p);
int quic_tls_new(struct quic_conn *q);	 /* q->tls */
void quic_tls_free(struct quic_conn *q);
void quic_over(struct quic_conn *q, const char *why);

/* quic_stream.c */
extern const struct quic_stream_callbacks {
	ngtcp2_recv_stream_data data;
	ngtcp2_acked_stream_data_offset acked;
	ngtcp2_stream_open open;
	ngtcp2_stream_close close;
	ngtcp2_stream_reset reset;
	ngtcp2_stream_stop_sending stopped;
	ngtcp2_recv_datagram datagram;
	ngtcp2_extend_max_stream_data more;
} quic_stream_callbacks;
void quic_streams_free(struct quic_conn *q);
uint64_t quic_streams_lost(const struct quic_conn *q);
/* The next packet, with a datagram, or some bytes of the stream whose turn it is, or what ngtcp2 has to say by itself. Its bytes;
 * 0: nothing now; negative: of ngtcp2. */
ngtcp2_ssize quic_write_packet(struct quic_conn *q, ngtcp2_path *path, uint8_t *buf, size_t n, uint64_t now);
void quic_call_room(struct quic_conn *q); /* room() of the streams that were full */
void quic_call_closed(struct quic_conn *q); /* closed() of those that were consumed after their end */
