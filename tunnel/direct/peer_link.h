/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link between two agents: one QUIC connection over whichever of its paths is best just now.
 *
 * Direct paths have a head start; after that the link is made over what there is, and moves up to a direct path when one is
 * ready. A path that has gone silent, though something is to be heard, is left for the next best. Only the visitor (QUIC
 * client) moves; the host asks it to. Streams and datagrams notice none of that. Who finds paths (ICE, the prober, the
 * supervisor) gives them to peer_link_add_path().
 *
 * Beside QUIC the two ends send tiny probes on every path: whether it works both ways, how long it takes, and "I hear
 * nothing of you". They prove nothing about who sent them, and no more hangs on them than which path is tried next.
 *
 * No loop in here: packets come from the paths, time from the owner's clock, and the owner calls peer_link_tick() when
 * peer_link_deadline() has come, and peer_link_flush() after anything that may have left something to send.
 */
#pragma once
#include "tunnel/direct/path.h"
#include "tunnel/direct/quic_conn.h"

#define PEER_LINK_ALPN "stile-peer/1"
#define PEER_LINK_NEVER UINT64_MAX

enum {
	PEER_LINK_DCID = 18,
	PEER_LINK_PATHS = 8,
	PEER_LINK_OPEN_MS = 20000, /* no path carried a handshake: it goes down */
	PEER_LINK_SILENCE_MS = 300, /* a path that says nothing for so long, or four PTO, is dead … */
	PEER_LINK_SILENCE_MAX_MS = 1200, /* … or this, whatever QUIC believes of it */
};

enum peer_link_state { PEER_LINK_OPENING, PEER_LINK_UP, PEER_LINK_INTERRUPTED /* no path answers; it goes on */, PEER_LINK_DOWN };

/* Gaps: how long nothing arrived while the link moved from one path to another. Upper bounds in ms; the last is open. */
enum { PEER_LINK_GAPS = 8 };
extern const unsigned peer_link_gap_ms[PEER_LINK_GAPS - 1]; /* 10 30 100 300 600 900 2000 */

struct peer_path_info {
	enum path_kind kind;
	enum path_state state;
	unsigned tag;
	bool active;
	char why[PATH_WHY], detail[PATH_WHY];
	struct addr local, remote;
	uint64_t bytes[2];
	uint32_t rtt_us; /* when last measured on it; 0: not yet */
	bool suspect;	 /* it has gone silent */
	double probes_lost; /* 0 to 1, smoothed */
	uint64_t carried; /* bytes/s when it was busy; 0: it has not been */
};

struct peer_link_info {
	enum peer_link_state state;
	bool visitor;
	struct identity_hash peer;
	char why[PATH_WHY * 2]; /* down: why; up on a path of rank 1: why it is not direct */
	enum path_kind kind;	/* of the active path, when up */
	int64_t path_since_ms, since_ms; /* unix */
	uint32_t rtt_us, loss_ppm; /* smoothed; of the last minute or so */
	uint64_t bytes[2];	   /* payload of streams and datagrams, sent and received */
	uint64_t rate[2];	   /* bytes/s over the last seconds */
	unsigned moves_up, moves_down, streams;
	uint32_t gaps[PEER_LINK_GAPS];
	uint32_t last_gap_ms, gap_max_ms;
	struct peer_path_info paths[PEER_LINK_PATHS];
	unsigned n_paths;
};

struct peer_link;
struct peer_link_ops {
	/* It is up, has moved, is interrupted or goes on, or a path came or went: peer_link_info() says something new. */
	void (*changed)(struct peer_link *l, void *arg);
	/* Over, once: info.why. Streams have been closed. It is freed by its owner, later or in here. */
	void (*down)(struct peer_link *l, void *arg);
	/* There is no path of rank 1 (any more), and one is wanted now. */
	void (*want_relay)(struct peer_link *l, void *arg);
	/* The path in use has died under us; who found it may look for another. It is probed on, and used again if it answers. */
	void (*lost)(struct peer_link *l, enum path_kind kind, void *arg);
	void (*pong)(struct peer_link *l, uint64_t cookie, enum path_kind kind, void *arg);
	/* Something may be there to send, from outside of flush and tick. */
	void (*dirty)(struct peer_link *l, void *arg);
	const struct quic_ops *quic; /* streams and datagrams; handshaken and moved are not used */
	void *quic_arg;
	void *arg;
};

struct peer_link_options {
	bool visitor;
	const struct quic_creds *creds; /* outlives the link */
	struct identity_hash peer;
	uint8_t dcid[PEER_LINK_DCID];
	enum quic_congestion congestion;
	uint64_t head_start_ms; /* PEER_LINK_NEVER: direct paths only */
	unsigned binding_s;	/* how long the NAT of this site keeps a silent binding; 0: not known, or long */
	struct chunk_pool *pool;
	uint64_t (*clock)(void *clock_arg); /* ns, monotonic */
	void *clock_arg;
	const struct peer_link_ops *ops;
};
int peer_link_new(const struct peer_link_options *o, struct peer_link **ret_l);
struct peer_link *peer_link_free(struct peer_link *l); /* its paths too; without a word to the other side */
DEFINE_CLEANUP(struct peer_link, peer_link_free)
/* Says goodbye and is down; down() is not called from inside, it follows with the next tick. */
void peer_link_close(struct peer_link *l, const char *why);

/* Taken over, also on failure. A path of the same kind that is there is left for it as soon as it works. */
int peer_link_add_path(struct peer_link *l, struct path *p);
void peer_link_drop_paths(struct peer_link *l, unsigned tag); /* who kept them open has given up */
void peer_link_why(struct peer_link *l, const char *why); /* why there is no direct path, in words */

void peer_link_flush(struct peer_link *l);
uint64_t peer_link_deadline(const struct peer_link *l); /* ns; QUIC_NEVER */
void peer_link_tick(struct peer_link *l);
void peer_link_ping(struct peer_link *l, uint64_t cookie); /* pong() follows, or does not */
struct quic_conn *peer_link_quic(struct peer_link *l); /* NULL: not yet */
void peer_link_info(const struct peer_link *l, struct peer_link_info *ret_i);
void peer_link_count(struct peer_link *l, unsigned way, size_t n); /* payload passed on: for the rates shown. way 0: to the other side */

/* A probe, the smallest packet of a path: u8 kind, 8 bytes. Its first byte is neither STUN's, nor TURN's, nor QUIC's. */
enum probe_kind { PROBE_ASK = 0x3d, PROBE_ANSWER = 0x3e, PROBE_NUDGE = 0x3f };
enum { PROBE_LEN = 9 };
struct probe {
	enum probe_kind kind;
	uint64_t token;
};
int probe_parse(const uint8_t *p, size_t n, struct probe *ret_p); /* 0, -ENOMSG: it is none, -EBADMSG */
void probe_write(const struct probe *p, uint8_t out[static PROBE_LEN]);

/* DATAGRAM frames begin with 8 bytes: u32 flow (0: of the link itself), u16 number, u8 part, u8 parts. */
enum { FLOW_HEAD = 8, FLOW_PARTS_MAX = 64, FLOW_KICK = 0, FLOW_PING = 1, FLOW_PONG = 2 };
struct flow_head {
	uint32_t flow;
	uint16_t number;
	uint8_t part, parts; /* of the link itself: kind, 0 */
};
int flow_head_parse(const uint8_t *p, size_t n, struct flow_head *ret_h); /* 0 or -EBADMSG */
void flow_head_write(const struct flow_head *h, uint8_t out[static FLOW_HEAD]);
