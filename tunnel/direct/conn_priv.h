/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of a link and what stands at this end of it: a local connection (streams.c) or a flow of datagrams (flows.c). It
 * lives until QUIC has closed the stream; the local end may be gone long before. Who it is to be told to, and how it ended, is
 * noted here by both.
 */
#pragma once
#include "tunnel/direct/engine_priv.h"

enum conn_state {
	CONN_WAITING, /* visitor: for a link */
	CONN_OPENING, /* visitor: the head is sent, the answer has not come; bytes flow already */
	CONN_HEAD,    /* host: the head is not all there */
	CONN_ASKING,  /* host: the supervisor is asked */
	CONN_CONNECTING,
	CONN_JOINED,
	CONN_REFUSED, /* host: the answer was no; what still comes is thrown away */
	CONN_DEAD,    /* reset; closed() is awaited */
};
struct conn {
	struct list node; /* k->conns, or n->waiting */
	struct link *k;	  /* NULL: waiting */
	struct listener *n; /* visitor; NULL: it is gone */
	struct quic_stream *s;
	uint64_t id;
	enum conn_state state;
	struct io io; /* of fd */
	int fd;	      /* -1: none */
	bool blocked;  /* nothing is read: QUIC has enough */
	bool fin_in, fin_out, shut, told;
	struct stream_head head;
	uint8_t in[STREAM_HEAD_MAX];
	size_t in_n;
	struct chunk_queue rx; /* has come, and is not taken by fd yet */
	uint64_t request;
	struct addr addresses[CHILD_ADDRESSES_MAX];
	unsigned n_addresses, at;
	struct timer timer;
	struct addr source, target;
	uint64_t bytes[2]; /* to the target, from it */
	struct flow *flow;
	unsigned reason; /* enum wire_reason: how it ended */
	char why[256];
};

struct conn *conn_new(struct link *k, enum conn_state state);
void conn_free(struct conn *c);
void conn_fail(struct conn *c, unsigned reason, const char *why); /* resets both ends; c lives on */
int conn_begin(struct conn *c, struct link *k); /* visitor: opens the stream and says the head. -EAGAIN: not now */
void conn_tell(struct conn *c, unsigned event);
uint32_t conn_flow_number(const struct conn *c);

/* streams.c */
void conn_close_local(struct conn *c, bool reset);
void conn_write_local(struct conn *c);
void conn_on_local(struct io *io, int events);
