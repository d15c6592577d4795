/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TURN server's protocol core (RFC 8656, 5766, and STUN Binding of RFC 8489), one per worker: bytes
 * and time in, bytes and events out. It does no I/O: ways to clients are struct turn_path, relay
 * sockets come from turn_relay_ops, time from the timers it is given. Not thread-safe: a worker owns its
 * server, allocations and timers; what is shared (policy, totals, own relay ports) is immutable or atomic.
 *
 *   client datagram or frame → turn_input()      → paths' send, relay's send
 *   peer datagram            → turn_peer_input() → path's send
 *   connection gone          → turn_path_gone()
 */
#pragma once
#include "common/dgram.h"
#include "common/hash.h"
#include "common/metrics.h"
#include "common/timers.h"
#include "turn/policy.h"

struct turn_server;
struct turn_alloc;
struct turn_listener; /* the edge's */
struct turn_relay; /* the edge's relay socket */
struct turn_flow;  /* the edge's connection between a peer and a client: turn/tcp_alloc.h */
struct turn_tcp;
struct turn_held;  /* the edge's socket that is bound, but belongs to no allocation yet */

enum turn_proto { TURN_UDP, TURN_TCP, TURN_TLS, TURN_DTLS };

struct turn_packet { /* a datagram or a stream's frame that came in; may be forwarded in place */
	uint8_t *data;
	size_t n;
	struct dgram_mark mark;
	bool stable;   /* stays valid until the pass's flush (it is arena memory), so it need not be copied */
	bool headroom; /* the 4 bytes in front of data may be written */
	bool leaving;  /* its listener was removed: what there is goes on, nothing new begins */
};
struct turn_run { /* datagrams that came in together: of `segment` bytes each, the last may have fewer; stable */
	uint8_t *data;
	size_t n, segment; /* n: bytes of all, more than segment */
	struct dgram_mark mark;
};
struct turn_out { /* head and body: one datagram, or one frame (padded already) */
	const void *head; /* at most 64 bytes, on the caller's stack: always copied by the edge */
	size_t head_n;	  /* 0: none */
	const void *body;
	size_t body_n;
	struct dgram_mark mark;
	bool stable; /* body stays valid until the pass's flush */
};
struct turn_path;
/* One const row per client transport; lives in the edge. */
struct turn_transport {
	enum turn_proto proto;
	const char *name;  /* "udp" "tcp" "tls" "dtls" */
	bool stream;	   /* ChannelData is padded to 4, the connection's end ends the allocation */
	/* Errors (full, gone) are counted by the edge, which never calls back into the core from here: a
	 * connection found dead is reported later, through turn_path_gone(). */
	void (*send)(const struct turn_path *p, const struct turn_out *o);
	/* ChannelData, each with this head. NULL: this transport takes them one by one. */
	void (*send_run)(const struct turn_path *p, const uint8_t head[4], const struct dgram_run *run, struct dgram_mark mark);
	void (*close)(const struct turn_path *p); /* stream: close the connection after what is queued; may be NULL */
	/* The same client from another of our listeners, which has exactly this address; false: there is none.
	 * For RFC 5780; NULL: this transport cannot. */
	bool (*reply_from)(const struct turn_path *p, const struct addr *local, struct turn_path *ret_p);
	/* The edge's listener that it came through; NULL: none, or not of interest. */
	struct turn_listener *(*listener)(const struct turn_path *p);
	/* Its handle, which may be gone by now, still is what it was. For who has options.post. */
	bool (*alive)(void *edge, const struct turn_path *p);
};
struct turn_path { /* a value; copied into the allocation */
	const struct turn_transport *transport;
	void *handle; /* UDP: the listener's socket; else the connection or session */
	struct addr client, local;
	uint16_t realm; /* slot of the realm that the client's server name (SNI) led to; 0: none, local decides */
};

struct turn_relay_ops {
	/* A socket bound to exactly this address and port. 0, -EADDRINUSE (another port is tried),
	 * -EADDRNOTAVAIL, -EMFILE … */
	int (*open)(void *edge, struct turn_alloc *a, const struct addr *at, struct turn_relay **ret_r);
	void (*close)(struct turn_relay *r);
	/* Out of its allocation and its worker's loop, to be adopted by another worker; cannot fail. */
	struct turn_held *(*detach)(struct turn_relay *r);
	void (*send)(struct turn_relay *r, const struct addr *peer, const void *p, size_t n,
		     struct dgram_mark mark, bool stable);
	/* Several, stable. NULL: one by one. */
	void (*send_run)(struct turn_relay *r, const struct addr *peer, const struct dgram_run *run, struct dgram_mark mark);
	/* The sibling port of EVEN-PORT: bound now, watched by nobody (what arrives is lost), and handed out by
	 * token to an allocation of any worker. hold() fails as open() does; adopt() takes h if it
	 * returns 0; drop() closes it. Called from any worker, so h knows only its descriptor. */
	int (*hold)(void *edge, const struct addr *at, struct turn_held **ret_h);
	int (*adopt)(void *edge, struct turn_alloc *a, struct turn_held *h, struct turn_relay **ret_r);
	void (*drop)(struct turn_held *h);
	/* TCP allocations (turn/tcp_alloc.h). listen() fails as open() does, and close() closes it. */
	int (*listen)(void *edge, struct turn_alloc *a, const struct addr *at, struct turn_relay **ret_r);
	int (*connect)(struct turn_relay *r, struct turn_tcp *t, const struct addr *peer, struct turn_flow **ret_f);
	void (*name)(struct turn_flow *f, struct turn_tcp *t); /* of one that was accepted */
	int (*bind)(struct turn_flow *f, const struct turn_path *client);
	void (*cut)(struct turn_flow *f); /* both ends, after what is queued for the client */
	/* The connection goes to another worker, which handles this request; false: it cannot. */
	bool (*send_home)(const struct turn_path *p, unsigned worker, const void *request, size_t n);
};

struct turn_discovery;	  /* addresses of RFC 5780: turn/discovery.h */
struct turn_reservations; /* sockets held for RESERVATION-TOKEN, over all workers: turn/reservations.h */
struct turn_offload_ops;
struct turn_totals;	 /* limits counted over all workers: turn/totals.h */
struct turn_refusals;	 /* ring of recent refusals for `stile turn why`: turn/refusals.h */

/* A letter to another worker's server: the receiver's once posted. Exactly one of the two is called. */
struct turn_mail {
	struct mail mail; /* the edge's */
	void *to;	  /* the edge's */
	void (*deliver)(struct turn_server *s, struct turn_mail *m, uint64_t now); /* in the receiver's thread */
	void (*drop)(struct turn_mail *m); /* there is no server any more */
};

struct turn_server_options {
	unsigned worker;
	const struct hash_seed *seed; /* one for all workers, so that what moves between them keeps its hashes; NULL: its own */
	/* 0, or -ENOENT: there is no such worker, and m is still the caller's. NULL: this is the only one. */
	int (*post)(void *edge, unsigned worker, struct turn_mail *m);
	struct timers *timers;
	struct turn_policy *policy; /* referenced */
	struct turn_totals *totals; /* shared, outlives the server */
	struct turn_reservations *reservations; /* shared, outlives the server */
	const struct turn_discovery *discovery; /* shared, outlives the server; NULL: not offered */
	const struct turn_relay_ops *relay;
	const struct turn_offload_ops *offload; /* channels in the kernel: turn/offload.h; NULL: there are none */
	void *edge;
	struct metrics *metrics; /* rows of turn/metrics.h */
	const struct stun_nonces *nonces; /* shared key material, rotated by the edge's main loop through turn_server_set_nonces */
	uint64_t (*clock_ns)(void); /* for how long requests take; NULL: not measured */
	uint64_t (*unix_s)(void); /* wall clock, for REST expiry; a test gives its own */
};
int turn_server_new(const struct turn_server_options *o, uint64_t now, struct turn_server **ret_s);
struct turn_server *turn_server_free(struct turn_server *s); /* ends all allocations */
DEFINE_CLEANUP(struct turn_server, turn_server_free)
void turn_server_set_policy(struct turn_server *s, struct turn_policy *p); /* reload: referenced */
/* No new allocations: 300 with another server if one is configured for the client, else 508. */
void turn_server_set_draining(struct turn_server *s, bool draining);
void turn_server_set_nonces(struct turn_server *s, const struct stun_nonces *n);
void turn_server_set_discovery(struct turn_server *s, const struct turn_discovery *d); /* the old one is not read any more */

/* One datagram, or one frame of a stream (turn_frame_length; padded or not), from a client. now: of
 * this pass, on the clock of the timers. */
void turn_input(struct turn_server *s, const struct turn_path *from, const struct turn_packet *pk, uint64_t now);
/* A request that came to another worker, which has counted it and sent it here. */
void turn_input_again(struct turn_server *s, const struct turn_path *from,
		      const struct turn_packet *pk, uint64_t now);
/* One datagram from a peer on the allocation's relay socket. */
void turn_peer_input(struct turn_alloc *a, const struct addr *peer, const struct turn_packet *pk, uint64_t now);
/* The same for a run, judged once for all: it is relayed, or nothing was done with it and its datagrams are to be given
 * one by one, which is where drops are counted. */
bool turn_input_run(struct turn_server *s, const struct turn_path *from, const struct turn_run *run, uint64_t now);
bool turn_peer_run(struct turn_alloc *a, const struct addr *peer, const struct turn_run *run, uint64_t now);
/* ICMP error on the relay socket: told to the client (RFC 8656 11.5) if the peer has a permission. */
void turn_peer_error(struct turn_alloc *a, const struct dgram_error *e, uint64_t now);
/* Connection or session closed: what hangs on it ends. */
void turn_path_gone(struct turn_server *s, const struct turn_path *p, uint64_t now);
bool turn_path_in_use(struct turn_server *s, const struct turn_path *p); /* an allocation hangs on it */
/* The way to the client of each allocation. fn may give it another handle on the same client and local address
 * where the transport finds allocations without it (UDP); it ends none. */
void turn_server_each_path(struct turn_server *s, void (*fn)(struct turn_path *p, void *arg), void *arg);

/* ChannelData by its first byte, as RFC 5766 11.4 says: 0b01. (stun_demux() follows RFC 7983, where only
 * 64 to 79 are TURN's; on a TURN port nothing else claims the rest.) */
static inline bool turn_is_channel_data(uint8_t first_byte)
{
	return (first_byte & 0xc0) == 0x40;
}
/* On a stream: length of the next STUN message or padded ChannelData frame; 0 if fewer than 4 bytes are
 * there, -EBADMSG if it is neither. *ret_payload: without padding. */
ssize_t turn_frame_length(const uint8_t *p, size_t n, size_t *ret_payload);

/* Sessions, for the control socket: a snapshot in creation order, paged by id. */
struct turn_session_info {
	uint64_t id; /* worker number in the low 8 bits */
	char user[256];
	char realm[128]; /* whole: turn.realm has up to 127 bytes */
	bool retired; /* the realm is no longer configured */
	const char *transport;
	struct addr client, local, relay;
	uint64_t created_ms, expires_ms; /* on the timers' clock */
	uint64_t packets_up, bytes_up, packets_down, bytes_down; /* up: client to peer */
	unsigned permissions, channels;
};
struct turn_session_query {
	uint64_t after_id;
	unsigned limit;
	const char *realm; /* NULL: of all */
};
void turn_server_sessions(struct turn_server *s, const struct turn_session_query *q, uint64_t now,
			  void (*fn)(const struct turn_session_info *i, void *arg), void *arg);
/* The fast path: whether channels may go there; adds up what has been relayed there (before counters are shown); and
 * how many channels are there and why others are not, by enum fast_why. */
void turn_server_set_offload(struct turn_server *s, bool on);
void turn_server_count_offloaded(struct turn_server *s);
void turn_server_why_offload(const struct turn_server *s, uint64_t now, uint64_t *ret_n);
bool turn_server_kill(struct turn_server *s, uint64_t id, uint64_t now); /* ends the allocation; false if there is none */
unsigned turn_server_kill_realm(struct turn_server *s, const char *realm, uint64_t now); /* all of it; how many there were */
/* Recent refusals of this worker, for `stile turn why`: turn/refusals.h lists them. */
const struct turn_refusals *turn_server_refusals(const struct turn_server *s);
unsigned turn_server_count(const struct turn_server *s);
