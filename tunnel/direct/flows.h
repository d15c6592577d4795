/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP over a link: each source of a visitor's port is a flow, with a stream that opens and ends it (streams.c), and its datagrams
 * in DATAGRAM frames: they may be lost, and never wait. One that is too long for a packet goes in parts, and is put together
 * on the other side, or is lost as a whole.
 */
#pragma once
#include "tunnel/direct/engine_priv.h"

struct flow;

int flows_listen(struct listener *n, int fd); /* fd: bound; taken over, also on failure */
void flows_unlisten(struct listener *n);
int flow_dial(struct conn *c, const struct addr *to); /* host: a connected socket towards the target */
void flow_open(struct flow *f);	 /* visitor: the host has said yes */
void flow_ended(struct flow *f); /* the other side has ended it */
struct flow *flow_free(struct flow *f);
void flows_datagram(struct link *k, const uint8_t *p, size_t n);
void conns_forget_listener(struct listener *n);

/* Parts of one datagram, of one flow: what came before of another is given up. */
struct flow_parts {
	uint8_t *buffer; /* of FLOW_DATAGRAM_MAX, when it is first needed */
	uint64_t have;	 /* a bit for each part */
	uint16_t number;
	uint8_t parts;
	size_t size, last; /* bytes of each but the last; of the last. 0: not known */
};
enum { FLOW_DATAGRAM_MAX = 65507 };
/* A part. 0: with it the datagram is whole, and lies in buffer with *ret_n bytes; -EAGAIN: parts are missing; -EBADMSG, -ENOMEM. */
int flow_parts_add(struct flow_parts *a, const struct flow_head *h, const uint8_t *p, size_t n, size_t *ret_n);
void flow_parts_free(struct flow_parts *a);
