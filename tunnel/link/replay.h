/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte stream that survives the loss of its connection: one way of a data connection, the sending and the receiving
 * end of it. Offsets count payload bytes. The sender keeps what the receiver has not consumed, as the frames that it sent,
 * and begins again at any offset up to which the receiver says it has received; the receiver's limit bounds
 * what is kept. (docs/decisions/0016, Offsets.)
 *
 * No I/O. The edge reads from its socket right into the chunks (room, commit), sends the frames from there (next, sent), and
 * passes on what the other end's ACK, RESUME and RESUMED say. A negative errno of a function that takes a number of the
 * other side's is -EPROTO: it cannot be so.
 */
#pragma once
#include "tunnel/link/chunk.h"
#include "tunnel/link/wire.h"

enum { REPLAY_IOV = 5, REPLAY_RUN_MAX = 16384 /* one TLS record */ };

struct replay_tx {
	struct chunk_pool *pool;
	struct chunk *first, *last; /* frames from before acked to end */
	struct chunk *at; /* the chunk to be sent from, and the place in it; NULL: nothing was ever to be sent there */
	uint32_t at_pos;
	uint64_t acked;	    /* all before it has been consumed */
	uint64_t sent, top; /* sent over the present carrier; the most that was ever sent */
	uint64_t end;	    /* taken from the local socket */
	uint64_t limit;	    /* nothing from here on may be taken, says the other end */
	uint32_t most;	    /* nor more than this be kept, say we */
	bool ended;	    /* the local socket has said its last: end stays */
	bool fin_sent;	    /* over the present carrier */
};
/* most: bytes that are kept, whatever window the other end grants. */
void replay_tx_init(struct replay_tx *t, struct chunk_pool *p, uint32_t most);
void replay_tx_deinit(struct replay_tx *t);
/* Where the next bytes of the local socket go: fills at most REPLAY_IOV, at most `most` bytes in all. *ret_n 0: the
 * window is used up. -ENOMEM. */
int replay_tx_room(struct replay_tx *t, size_t most, struct iovec v[static REPLAY_IOV], int *ret_n);
void replay_tx_commit(struct replay_tx *t, size_t n); /* so many were put there */
void replay_tx_end(struct replay_tx *t);
/* Whole frames to be sent next, at most REPLAY_RUN_MAX bytes in one piece; 0: all is sent. Asked again before anything was
 * sent, it begins with the same bytes and is not shorter, as SSL_write() wants it. */
size_t replay_tx_next(const struct replay_tx *t, const uint8_t **ret_p);
void replay_tx_sent(struct replay_tx *t, size_t n);  /* those n bytes */
bool replay_tx_wants_fin(const struct replay_tx *t); /* all is sent, and FIN is not */
int replay_tx_ack(struct replay_tx *t, const struct wire_ack *a);
/* Another carrier: the receiver has everything before this offset, the rest is sent again. */
int replay_tx_resume(struct replay_tx *t, uint64_t received);
bool replay_tx_done(const struct replay_tx *t); /* FIN was sent, and everything is consumed */
static inline uint64_t replay_tx_may_take(const struct replay_tx *t) /* bytes */
{
	uint64_t kept = t->end - t->acked;

	return t->ended || kept >= t->most ? 0 : MIN(t->limit - t->end, t->most - kept);
}
static inline uint64_t replay_tx_held(const struct replay_tx *t)
{
	return t->end - t->acked;
}

struct replay_rx {
	uint64_t received, consumed;	    /* consumed: the local socket took it */
	uint64_t told_consumed, told_limit; /* by the last ACK */
	uint64_t fin;			    /* the end of this way, if has_fin */
	uint32_t window, window_max;
	uint64_t epoch_ms, epoch_consumed; /* when and where the present window began to be used */
	bool has_fin;
};
void replay_rx_init(struct replay_rx *r, uint32_t window_max);
int replay_rx_data(struct replay_rx *r, size_t n);    /* so many bytes of DATA have come */
int replay_rx_fin(struct replay_rx *r, uint64_t end); /* FIN has come; twice the same is fine */
/* n bytes have been taken by the local socket. The window grows when it is used up within a few round trips. */
void replay_rx_consumed(struct replay_rx *r, size_t n, uint64_t now_ms, uint32_t rtt_us);
bool replay_rx_ack_due(const struct replay_rx *r); /* at once: the sender may soon have to wait, or it has ended */
bool replay_rx_ack_owed(const struct replay_rx *r); /* sooner or later: something is kept over there for nothing */
struct wire_ack replay_rx_ack(struct replay_rx *r);	     /* which is sent then */
static inline bool replay_rx_done(const struct replay_rx *r) /* everything, and the end, were passed on */
{
	return r->has_fin && r->consumed == r->fin;
}
