/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection, shared by conn.c (what comes in, deadlines, ends) and conn_open.c (accepting, connecting, what goes
 * out, the listening sockets of streams). Nobody else looks inside.
 *
 * It is in edge->by_id as long as it lives, and in by_peer while it can be found by its peer's address.
 */
#pragma once
#include "sip-proxy/edge_priv.h"

struct sip_held { /* a message that waits for its connection */
	struct list node;
	uint64_t number;
	size_t n;
	char bytes[];
};

struct sip_conn {
	struct hnode by_id, by_peer;
	struct list node; /* in edge->conns */
	struct sip_edge *edge;
	struct sip_listener *listener; /* NULL: left by none */
	const struct sip_transport *transport;
	uint64_t id;
	struct sip_face *face; /* NULL: none; its listener lives as long as we do */
	struct stream *stream;
	struct sip_framer framer;
	struct sip_limits limits;
	struct addr remote, local;
	struct addr peer; /* the key of by_peer: remote, or with the alias' port */
	char *name;	  /* that the other end must prove; NULL: none */
	struct sip_identity *identity;
	struct list waits; /* struct sip_wait */
	struct list pending; /* struct sip_held: what leaves when it is open, in this order */
	size_t n_pending;    /* bytes of it */
	uint64_t n_held;     /* so far: their numbers */
	bool outgoing, open, ending, listed, aliased, counted;
	bool pinged, ponged; /* a ping is under way; the other end answers them */
	struct timer deadline, ping, pace;
	uint64_t since, last;
	uint64_t in, out; /* messages */
	struct sip_ws *ws; /* transport_ws.c */
	bool page;	   /* a page in a browser has opened it: it came with an Origin */
};

extern const struct stream_ops sip_conn_stream_ops;
/* A message that was cut out of the input. False: not now (too fast), or never again (the connection ends). */
bool sip_conn_take(struct sip_conn *c, const struct sip_msg *m);
/* What cannot be understood: answered, if it can be, counted against its source; the connection ends. m NULL: nothing to
 * answer to. */
void sip_conn_bad(struct sip_conn *c, const struct sip_msg *m, enum sip_verdict why);
void sip_held_free(struct sip_conn *c, struct sip_held *h);
void sip_conn_finish(struct sip_conn *c); /* ends when what is queued has left */
/* Linked everywhere, without a stream; l may be NULL. NULL: no memory. */
struct sip_conn *sip_conn_new(struct sip_edge *e, const struct sip_transport *t, struct sip_listener *l);
void sip_conn_drop(struct sip_conn *c); /* half made: without a word to anybody */
struct sip_conn *sip_conn_find(const struct sip_edge *e, uint64_t id);
void sip_conn_list_peer(struct sip_conn *c, const struct addr *peer); /* found by this address from now on */
static inline uint64_t sip_conn_hash_peer(const struct sip_edge *e, const struct addr *peer)
{
	return addr_hash(&e->seed, peer);
}
static inline struct sip_hop sip_conn_hop(const struct sip_conn *c)
{
	return (struct sip_hop){ .proto = c->transport->proto,
				 .iface = c->face ? c->face->pub.id : 0,
				 .conn = c->id,
				 .remote = c->remote,
				 .local = c->local };
}
