/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batched datagram I/O: recvmmsg with UDP_GRO into one arena per thread, and an output queue that
 * groups datagrams by socket, source, destination, size and marking and hands them to the kernel as
 * UDP_SEGMENT runs through sendmmsg, or those of many sockets through a ring.
 *
 * 92 % of a relay's time is in the kernel's UDP path, one packet at a time; the lever is to hand it
 * several at once. Received bytes stay in the arena, are forwarded in place, and stay valid until the queue is
 * flushed: at the end of the loop's pass, and before more is received once several wait or the arena would reuse a slot
 * that is still referenced. Nothing is allocated, copied or locked per packet. Order within one (socket, destination)
 * is kept. GSO and GRO are probed once; a run that the kernel refuses (EINVAL, EIO: a route that cannot) is
 * resent plainly in its place, and after many refusals in a row GSO rests for a while, so that one destination
 * cannot switch it off for all; nothing is sent twice.
 */
#pragma once
#include <sys/uio.h>
#include "common/addr.h"
#include "common/loop.h"

enum {
	DGRAM_BATCH = 64,	/* messages per system call */
	DGRAM_HEADROOM = 64,	/* writable bytes in front of every received datagram */
	DGRAM_MAX = 65535,
	DGRAM_HEAD = 4,		/* the longest head dgram_send takes */
};

/* IP header fields carried across a relay. -1: unknown (receive) or leave to the socket (send). */
struct dgram_mark {
	int16_t tos; /* DSCP and ECN byte / traffic class */
	int16_t ttl; /* TTL / hop limit */
	int8_t df;   /* 1 set DF, 0 allow fragmentation, -1 socket's default */
};
#define DGRAM_MARK_NONE ((struct dgram_mark){ -1, -1, -1 })

struct dgram {
	uint8_t *data; /* DGRAM_HEADROOM bytes before it may be written; not for later segments of a GRO run */
	size_t len;
	struct addr from;
	struct addr local; /* the address it was sent to (IP_PKTINFO); port of the socket; AF_UNSPEC if unknown */
	struct dgram_mark mark;
	bool first_of_run; /* headroom is writable; later segments' 4 bytes before data belong to their predecessor */
};

/* Who receives. run: datagrams that the kernel joined, one behind the other: d->len is that of all, each has `segment`
 * bytes, the last may have fewer. It returns true if it took them all; else, and where it is NULL, each goes to one(). */
struct dgram_sink {
	void (*one)(const struct dgram *d, void *arg);
	bool (*run)(const struct dgram *d, size_t segment, void *arg);
	void *arg;
};

struct dgram_io; /* arena and output queue: one per loop */

struct dgram_io_stats {
	uint64_t rx, rx_calls, rx_gro_runs, rx_truncated, tx, tx_calls, tx_gso_runs, tx_dropped, tx_errors;
	bool gro, gso, ring;
};

struct ring;
struct dgram_options {
	bool no_gro, no_gso;
	struct ring *ring; /* many sockets with one call: for who has many. It lives longer than this. NULL: none */
};
int dgram_io_new(struct loop *l, const struct dgram_options *opt, struct dgram_io **ret_io); /* registers its pass hook */
struct dgram_io *dgram_io_free(struct dgram_io *io);
const struct dgram_io_stats *dgram_io_stats(const struct dgram_io *io);
DEFINE_CLEANUP(struct dgram_io, dgram_io_free)

struct dgram_socket_options {
	bool reuseport;	 /* listeners: one socket per worker */
	bool freebind;	 /* bind to an address that is not there yet */
	bool pktinfo;	 /* report dgram.local */
	bool gro;	 /* let the kernel aggregate */
	bool recv_mark;	 /* report TOS and TTL */
	bool recv_err;	 /* IP_RECVERR: ICMP errors come through dgram_recv_errors(), which the owner must call
			  * whenever the socket is readable: a waiting error keeps it so */
	bool v6only;	 /* IPv6 sockets are always v6only unless this is false on purpose */
	int rcvbuf, sndbuf; /* bytes; 0: default */
};
/* Non-blocking, close-on-exec, bound UDP socket; 0 or -errno (EADDRINUSE, EADDRNOTAVAIL, EACCES …). */
int dgram_socket(const struct addr *bind_to, const struct dgram_socket_options *opt, int *ret_fd);
int dgram_aggregate(int fd, bool on); /* as gro, from now on; 0 or -errno */

/* Drains up to one batch from fd and calls fn for each datagram (GRO runs are split into their
 * segments). Returns the number of datagrams, 0 if there was nothing, or -errno for a socket that is
 * broken. Level-triggered: what remains is reported in the next pass. Not to be called from fn. May
 * flush. A datagram is referenced until the flush only if it was given to dgram_send; else it lives as long as
 * fn. */
int dgram_recv(struct dgram_io *io, int fd, uint16_t local_port,
	       void (*fn)(const struct dgram *d, void *arg), void *arg);

/* The same for at most *most messages of the kernel (a run is one); *most becomes how many there were. Who
 * knows that a socket has one datagram at a time saves the look for a second. */
int dgram_recv_most(struct dgram_io *io, int fd, uint16_t local_port, unsigned *most, const struct dgram_sink *to);

/* What the last of these calls found: messages of the kernel, those that were runs, and the most that came from one
 * source in a row. */
struct dgram_batch {
	unsigned messages, runs, row;
};
const struct dgram_batch *dgram_last_batch(const struct dgram_io *io);

/* One ICMP error taken from the socket's error queue. */
struct dgram_error {
	struct addr to;		/* where our datagram had gone */
	struct addr offender;	/* who answered */
	uint8_t icmp_type, icmp_code;
	bool v6;
	uint32_t info;		/* MTU for "too big" */
};
int dgram_recv_errors(int fd, void (*fn)(const struct dgram_error *e, void *arg), void *arg);

/* Where a datagram goes, and what its IP header shall say. Read during the call only. */
struct dgram_route {
	int fd;
	const struct addr *to;
	const struct addr *from; /* our address to send from; NULL: the socket's */
	struct dgram_mark mark;	 /* DGRAM_MARK_NONE, not zero, if nothing is asked for */
};
/* Queues head+body as one datagram. body must stay valid until the flush: arena memory, or static, or
 * owned by something that outlives this pass; head (at most DGRAM_HEAD bytes, may be none) is copied into
 * the queue. Queue full: flushes. */
void dgram_send(struct dgram_io *io, const struct dgram_route *route, const void *head, size_t head_n,
		const void *body, size_t body_n);
/* Datagrams of one size that lie at equal distances, such as the segments of a run that was received. */
struct dgram_run {
	const uint8_t *data; /* of the first; memory as for dgram_send's body */
	unsigned n;	     /* datagrams, not 0 */
	size_t stride;	     /* from one to the next */
	size_t len, last;    /* bytes of each; of the last, which may have fewer */
};
/* Queues them in their order, each with that head in front. */
void dgram_send_run(struct dgram_io *io, const struct dgram_route *route, const void *head, size_t head_n,
		    const struct dgram_run *run);
/* The same for bytes that do not outlive the call (protocol answers): copied into the arena. */
void dgram_send_copy(struct dgram_io *io, const struct dgram_route *route, const void *body, size_t body_n);
void dgram_flush(struct dgram_io *io);
/* Call before fd is closed: sends or drops whatever is still queued for it. */
void dgram_forget(struct dgram_io *io, int fd);
