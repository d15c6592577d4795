/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of the tunnel after its TLS handshake: frames both ways. Control connections and carriers are such.
 *
 * It is always read. Frames are given to the owner in place, all of one read and then batch(), so that what goes on to a
 * socket may go in one call. Writing: frames are sent at once or kept in a buffer; bulk data is taken only while that
 * buffer is empty, so that a PING or an ACK never waits behind more than one record of it here.
 *
 * Callbacks come from the loop; closed comes once, unless the owner frees it first, which it may do in any callback.
 */
#pragma once
#include <openssl/ssl.h>
#include "common/loop.h"
#include "tunnel/link/wire.h"

struct frame_conn;

enum {
	FRAME_CONN_WHY = 160,
	FRAME_CONN_OUT_MAX = 512 << 10 /* of frames that the peer does not read */
};

struct frame_conn_ops {
	/* Slices of g hold during the call. A negative errno: it breaks the protocol, or there is no memory; closed follows. */
	int (*frame)(struct frame_conn *c, const struct wire_got *g, void *arg);
	void (*batch)(struct frame_conn *c, void *arg); /* may be NULL */
	void (*writable)(struct frame_conn *c,
			 void *arg); /* data was refused before and is taken again; may be NULL */
	/* err: 0: the peer closed it; EPROTO: it broke the protocol (REFUSED was sent, as far as possible); else errno. */
	void (*closed)(struct frame_conn *c, int err, const char *why, void *arg);
};

/* Takes fd and ssl over, also on failure. way: of what is read; it begins before HELLO. The owner is set before the loop
 * goes on. */
int frame_conn_new(struct loop *l, int fd, SSL *ssl, uint8_t way, struct frame_conn **ret_c);
void frame_conn_set_owner(struct frame_conn *c, const struct frame_conn_ops *ops, void *arg);
struct frame_conn *frame_conn_free(struct frame_conn *c); /* at once; what the kernel has still goes out */
/* Nothing more is read; what is buffered is flushed, for a second at most; then it is freed. No callback comes. */
void frame_conn_finish(struct frame_conn *c);
/* 0; -EPIPE: it is closed or about to be; -ENOBUFS: the peer does not read (closed follows); -EINVAL: the message cannot
 * be written; -ENOMEM. */
int frame_conn_send(struct frame_conn *c, unsigned type, const void *msg);
/* Whole frames. 0: all of it is taken; -EAGAIN: none, writable() follows; -EPIPE. */
int frame_conn_data(struct frame_conn *c, const uint8_t *p, size_t n);
void frame_conn_set_where(struct frame_conn *c, uint8_t where);
/* Ends c and gives back its descriptor and session, for another loop. -EBUSY: something is buffered. */
int frame_conn_take(struct frame_conn *c, SSL **ret_ssl);
/* The other side has sent nothing for so long while we wait for it: as if the kernel had said ETIMEDOUT. closed follows. */
void frame_conn_give_up(struct frame_conn *c, const char *why);
/* Its own address is no longer one of this host: nothing will come of it. */
bool frame_conn_uprooted(const struct frame_conn *c);
SSL *frame_conn_ssl(const struct frame_conn *c);
uint64_t frame_conn_heard(const struct frame_conn *c);	/* loop time of the last byte that came */
void frame_conn_addresses(const struct frame_conn *c, struct addr *ret_peer, struct addr *ret_local);
void frame_conn_addresses_of(int fd, struct addr *ret_peer,
			     struct addr *ret_local); /* of any socket; unset: unknown */
DEFINE_CLEANUP(struct frame_conn, frame_conn_free)
