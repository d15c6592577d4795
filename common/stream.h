/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Non-blocking byte streams (TCP, TLS over TCP, Unix) with back-pressure both ways.
 *
 * Reading: bytes are handed to on_data in place; it returns how many it took, the rest stays in the
 * bounded input buffer and is handed over again with what follows. A buffer that is full while
 * on_data takes nothing is a protocol error of the caller's framing: the stream fails with ENOBUFS.
 * Writing: what the kernel does not take at once is buffered up to max_out; stream_write says no
 * (-ENOBUFS) beyond it, so that a client that stops reading costs bounded memory.
 * Everything has a deadline: connect, TLS handshake, and optionally idleness.
 *
 * Callbacks run in the owner's loop, never from inside stream_new/stream_write/stream_free. on_close
 * comes exactly once, unless the owner frees the stream first; in it (or any callback) the owner may
 * free the stream.
 */
#pragma once
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "common/addr.h"
#include "common/loop.h"
#include "common/tls.h"

struct stream;

struct stream_ops {
	void (*on_open)(struct stream *s, void *arg); /* connected, handshake done; may be NULL */
	size_t (*on_data)(struct stream *s, uint8_t *p, size_t n, void *arg);
	void (*on_drained)(struct stream *s, void *arg); /* output fell below half of max_out; may be NULL */
	/* err: 0 = end of stream from the peer, else positive errno (ETIMEDOUT, ECONNRESET, EPROTO for TLS …).
	 * why: one short sentence for the log. */
	void (*on_close)(struct stream *s, int err, const char *why, void *arg);
};

struct stream_options {
	struct tls_ctx *tls;	   /* NULL: plain. Referenced by the stream. */
	SSL *ssl;		   /* a session that stream_take() gave, its handshake done; taken over, also on failure. tls may be NULL then */
	const char *server_name;   /* client: SNI and name to verify; may be NULL */
	const struct addr *bind_to; /* stream_connect: our end; may be NULL */
	size_t max_in, max_out;	   /* bytes; 0: 64 KiB + 4 and 256 KiB */
	uint64_t handshake_ms;	   /* 0: 10 s. Covers connect and TLS */
	uint64_t idle_ms;	   /* 0: none; restarted by any byte either way */
	uint64_t flush_ms; /* 0: ten seconds; what is queued at the end may stand still so long, and takes thirty times that at most */
};

/* Takes over a connected or accepted non-blocking fd (closed by the stream, also on failure). */
int stream_new(struct loop *l, int fd, const struct stream_options *opt, const struct stream_ops *ops,
	       void *arg, struct stream **ret_s);
/* Starts a connection; the outcome comes by on_open or on_close. */
int stream_connect(struct loop *l, const struct addr *to, const struct stream_options *opt,
		   const struct stream_ops *ops, void *arg, struct stream **ret_s);
struct stream *stream_free(struct stream *s); /* at once, without flushing */
/* Ends s and gives back its descriptor, and its TLS session or NULL, for a stream in another loop. The
 * input that on_data was given must have been taken whole. -EBUSY: it is not open, or bytes wait in it. */
int stream_take(struct stream *s, SSL **ret_ssl);
void stream_finish(struct stream *s);	      /* flush what is queued, then close; on_close follows */
int stream_write(struct stream *s, const void *p, size_t n); /* all or nothing: 0, -ENOBUFS, -EPIPE */
int stream_writev(struct stream *s, const struct iovec *v, int n);
size_t stream_queued(const struct stream *s); /* bytes not yet taken by the kernel */
void stream_pause(struct stream *s);	      /* stop reading */
void stream_resume(struct stream *s);
int stream_fd(const struct stream *s);
SSL *stream_ssl(const struct stream *s);	 /* NULL if plain */
const struct addr *stream_peer(const struct stream *s);
const struct addr *stream_local(const struct stream *s);
DEFINE_CLEANUP(struct stream, stream_free)

/* The close of this connection will be a reset, whatever is under way. */
static inline void socket_reset_on_close(int fd)
{
	const struct linger now = { .l_onoff = 1 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}
static inline void socket_reset(int fd) /* and closes it */
{
	socket_reset_on_close(fd);
	close(fd);
}

/* Listening sockets. */
struct listen_options {
	bool reuseport, freebind, v6only;
	int backlog; /* 0: 1024 */
};
int stream_listen_socket(const struct addr *at, const struct listen_options *opt, int *ret_fd);
const char *stream_listen_advice(int r); /* why it was refused: "; what to do", or "" */

/* Accepts until EAGAIN, at most 64 a pass. Out of descriptors: pauses for 100 ms, says so once. */
struct acceptor;
struct acceptor_ops {
	/* Owns fd. On a Unix socket both addresses are unset. */
	void (*on_accept)(int fd, const struct addr *peer, const struct addr *local, void *arg);
	void (*on_error)(int err, void *arg); /* EMFILE, ENFILE, ENOBUFS …; may be NULL */
	/* Before each pause, also when it was said: the owner may have a descriptor to spare and refuse those
	 * who wait, who would else find out by themselves. May be NULL. */
	void (*on_short)(int listen_fd, int err, void *arg);
};
/* For on_short: a spare descriptor is given up to accept up to 64 of those who wait, each of which refused() is told and has to
 * close, and taken back. Nothing is done for want of memory, nor without a spare one (-1). */
int acceptor_spare(void); /* -1: none is to be had */
void acceptor_refuse(int listen_fd, int err, int *spare, void (*refused)(int fd, const struct addr *peer, void *arg), void *arg);
int acceptor_new(struct loop *l, int listen_fd, const struct acceptor_ops *ops, void *arg,
		 struct acceptor **ret_a); /* owns listen_fd */
void acceptor_finish(struct acceptor *a); /* accepts whoever waits in the queue; before a close that is to cut nobody */
struct acceptor *acceptor_free(struct acceptor *a);
