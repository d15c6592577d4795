/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of streams: the state that stream.c drives, its buffers (stream_buf.c), how it begins
 * (stream_open.c), and the vtable through which it reads and writes plain bytes or TLS records
 * (stream_wire.c). Private to these files.
 */
#pragma once
#include "common/stream.h"

enum { STREAM_WHY = 160, STREAM_IN_DEFAULT = 65536 + 4 };

/* One way to move bytes over the descriptor. Errors are -errno; why is written with any error but
 * -EAGAIN, and with an end of stream. */
struct stream_wire {
	/* 0: ready for data; -EAGAIN: wait for s->handshake_wants. NULL: nothing to do. */
	int (*handshake)(struct stream *s, char why[static STREAM_WHY]);
	/* Bytes; 0 at the end of the stream; -EAGAIN. */
	ssize_t (*read)(struct stream *s, void *p, size_t n, char why[static STREAM_WHY]);
	/* Bytes taken, at least 1; -EAGAIN. */
	ssize_t (*writev)(struct stream *s, const struct iovec *v, int n, char why[static STREAM_WHY]);
	/* Says to the peer that nothing more comes. */
	void (*shutdown)(struct stream *s);
	/* True if bytes wait inside, where the descriptor does not show them. */
	bool (*pending)(const struct stream *s);
};
extern const struct stream_wire stream_wire_plain, stream_wire_tls;

enum stream_state {
	STREAM_CONNECTING,
	STREAM_HANDSHAKE,
	STREAM_OPEN,
	STREAM_ENDED,	  /* the peer said its last; what is queued for it still goes out */
	STREAM_FINISHING, /* our owner said its last; flushing */
	STREAM_LINGER,	  /* flushed and shut down; waiting for the peer to close */
	STREAM_CLOSED,	  /* on_close was called, or is about to be */
};

struct stream_buf {
	uint8_t *p; /* NULL while empty */
	size_t start, n, cap;
};
void stream_buf_drop(struct stream_buf *b);
void stream_buf_consume(struct stream_buf *b, size_t n);
int stream_buf_reserve(struct stream_buf *b, size_t more); /* room for more bytes behind those there */
int stream_buf_append(struct stream_buf *b, const void *p, size_t n);

struct stream {
	const struct stream_ops *ops;
	void *arg;
	struct loop *loop;
	const struct stream_wire *wire;
	struct io io;
	int fd;
	enum stream_state state;
	bool paused, finish_wanted;
	bool high;		 /* on_drained is owed */
	bool read_wants_write;	 /* TLS: a read must first write (key update) */
	bool broken;		 /* TLS: no further word may be said on it */
	bool freed;		 /* by the owner, inside a callback */
	bool redeliver;		 /* resumed: hand over what is in the buffer */
	unsigned depth;		 /* callbacks we are inside of */
	int handshake_wants;	 /* IO_READ or IO_WRITE */
	int later_error;	 /* to be reported by the soon timer */
	const char *later_why;
	struct tls_ctx *tls;
	SSL *ssl;
	size_t max_in, max_out;
	struct stream_buf in, out;
	uint64_t idle_ms, flush_ms, flush_until; /* until: when what is queued at the end is given up, however it moves */
	/* Timers: deadline bounds connecting and handshake, then flushing, then lingering; idle is
	 * restarted by any byte; soon carries what may not be called back from inside a call. */
	struct timer deadline, idle, soon;
	struct addr peer, local;
};

/* What stream_open.c needs of stream.c. */
void stream_on_ready(struct io *io, int events);
void stream_set_timers(struct stream *s);
void stream_watch(struct stream *s);
/* on_close with this comes from the loop. why is static. */
void stream_fail_later(struct stream *s, int err, const char *why);
void stream_learn_addresses(struct stream *s);
