/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A path: one way on which QUIC packets reach the other agent. Direct UDP, TURN, framed in a byte pipe (through the server,
 * or a TCP connection of our own), raw UDP. Which one carries the link is chosen in peer_link.c; a path knows no QUIC, and
 * QUIC knows no addresses: it sees a synthetic one for each path, so that what a NAT does to the real ones is nobody's affair.
 *
 * What is sent and what arrives is a batch: packets of `segment` bytes one behind the other, the last may be shorter.
 * A path queues one batch at most; while it cannot take the next one, it says so, and QUIC is not asked for packets.
 *
 * All calls and callbacks are of the QUIC loop; a path that is fed by another thread crosses over inside itself.
 * Callbacks never come from inside a call of the owner's. A path is freed by its owner, in any callback too.
 */
#pragma once
#include "common/addr.h"
#include "common/loop.h"

enum {
	PATH_BATCH_MAX = 64000, /* bytes */
	PATH_PACKETS_MAX = 40,	/* of one batch */
	PATH_WHY = 160,
};

/* In the order in which they are wanted; equal ranks (path_rank) are chosen between by what is measured. */
enum path_kind { PATH_DIRECT, PATH_RAW, PATH_TCP, PATH_TURN, PATH_RELAY, PATH_KINDS };
unsigned path_rank(enum path_kind k);		       /* 0: direct ones; 1: those through somebody else */

enum path_state { PATH_OPENING, PATH_READY, PATH_FAILED };

struct path;
struct path_ops {
	/* Takes all of the batch or nothing. 0; -EAGAIN: writable() follows; another negative errno: this batch is lost, as
	 * packets get lost (state() follows if it is more than that). */
	int (*send)(struct path *p, const uint8_t *data, size_t n, size_t segment);
	struct path *(*free)(struct path *p);
};

struct path_sink {
	/* data may be written over; it is the path's again afterwards. */
	void (*arrived)(struct path *p, uint8_t *data, size_t n, size_t segment, void *arg);
	void (*writable)(struct path *p, void *arg);
	void (*state)(struct path *p, void *arg); /* p->state, p->why */
};

/* First member of each path's own struct. The fields are set by the path; sink and arg by its owner (path_own). */
struct path {
	const struct path_ops *ops;
	enum path_kind kind;
	enum path_state state;
	char why[PATH_WHY]; /* why it failed, or what it waits for; "" */
	size_t mtu;	    /* largest packet that makes sense: 1452 over UDP */
	struct addr local, remote; /* for people; may be unset */
	uint8_t slot;		   /* the owner's */
	unsigned tag;		   /* of who made it: which attempt it came from */
	char detail[PATH_WHY];	   /* for people: "host to server-reflexive", "through tunnel.example.org:7443" */
	const struct path_sink *sink;
	void *arg;
	uint64_t packets[2], bytes[2], dropped; /* sent, received; packets that the kernel or a queue did not take */
};

static inline void path_own(struct path *p, const struct path_sink *sink, void *arg)
{
	p->sink = sink;
	p->arg = arg;
}
static inline int path_send(struct path *p, const uint8_t *data, size_t n, size_t segment)
{
	return p->ops->send(p, data, n, segment);
}
static inline struct path *path_free(struct path *p)
{
	return p ? p->ops->free(p) : NULL;
}
DEFINE_CLEANUP(struct path, path_free)

/* ---- for those who implement one ---- */

void path_set_state(struct path *p, enum path_state s, const char *why); /* and tells the sink, if it is a change */
/* Counts, and hands on. segment 0: one packet. */
void path_arrived(struct path *p, uint8_t *data, size_t n, size_t segment);
static inline size_t path_count(size_t n, size_t segment) /* packets in a batch */
{
	return segment ? (n + segment - 1) / segment : n != 0;
}

/* ---- the paths ---- */

/* Direct UDP: a second socket on the address that `bound` (an ICE agent's socket; only looked at, and given SO_REUSEPORT) is
 * bound to. What comes from `remote` and is no STUN comes to us, all else goes on to `bound`, so that consent checks
 * and other candidates keep working. Ready at once. bound may be closed later. kind: PATH_DIRECT or PATH_RAW. */
int path_udp_take(struct loop *l, enum path_kind kind, int bound, const struct addr *remote, struct path **ret_p);
/* The same where the whole socket is ours: fd is taken over, also on failure. For the prober, and for tests. */
int path_udp_own(struct loop *l, enum path_kind kind, int fd, const struct addr *remote, struct path **ret_p);

/* Framed in a byte pipe: u16 segment, u16 length, then so many bytes. fd: a connected stream socket, non-blocking, taken over
 * also on failure; a Unix socket towards the supervisor, which pumps it through the server's TLS, or TCP. PATH_RELAY, PATH_TCP. */
int path_framed_new(struct loop *l, enum path_kind kind, int fd, struct path **ret_p);
enum { FRAMED_HEAD = 4 };
/* The frame at the front of what has arrived. 0: *ret_n bytes in packets of *ret_segment stand behind its head (none: it
 * only keeps the pipe warm); -EAGAIN: there is not all of it yet; -EPROTO: no frame can begin like that. */
int framed_parse(const uint8_t *p, size_t n, size_t *ret_segment, size_t *ret_n);
void framed_head(uint8_t head[static FRAMED_HEAD], size_t segment, size_t n);
