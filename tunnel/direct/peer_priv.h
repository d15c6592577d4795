/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What peer_link.c (life, bytes), peer_moves.c (which path, and when) and peer_probe.c (what is said beside QUIC) share: the
 * link itself and its paths. Times are ns of the owner's clock; QUIC_NEVER is never, 0 has not happened yet. A path's place in
 * the table is its own for as long as it lives (path.slot).
 */
#pragma once
#include "tunnel/direct/peer_link.h"

#define PEER_MS UINT64_C(1000000)
#define PEER_SECOND UINT64_C(1000000000)

enum {
	PEER_HANDSHAKE_K = 1, /* the path's number during the handshake, whichever path it is then */
	PEER_KICKS = 3,
	PEER_LOSS_SAMPLES = 60,
	PEER_FLIGHT_MAX = 4 * QUIC_PACKET_MAX,
};

struct link_path {
	struct path *p; /* NULL: free */
	unsigned k;	/* its number in QUIC */
	uint64_t added;
	uint64_t ask_at, asked, token; /* the next probe; the one under way (0: none), and what comes back with it */
	unsigned asks, unanswered, answers; /* answers: in a row, since it was added or suspected */
	uint64_t rtt_ns;
	unsigned loss; /* of the probes, in 1/256, smoothed */
	uint64_t rate, rated_at; /* bytes/s that it carried when it was asked for more; 0: was not, yet */
	bool suspect;	   /* was silent: must answer again before it is used */
	uint64_t not_before; /* a move to it failed */
};

struct peer_link {
	struct peer_link_options o;
	struct quic_conn *q;
	struct link_path paths[PEER_LINK_PATHS];
	unsigned next_k;
	enum peer_link_state state;
	bool down_told, bound; /* bound: the handshake's path has its number for good */
	char why[QUIC_WHY], no_direct[PATH_WHY];
	uint64_t created;

	/* the handshake */
	struct link_path *hs; /* carries it */
	uint64_t hs_since;
	bool hs_heard;
	size_t flight_n, flight_segment;
	uint8_t flight[PEER_FLIGHT_MAX];

	/* silence */
	uint64_t heard;	 /* ns: the last packet of QUIC, on any path */
	uint64_t asking; /* since then something is under way that must be answered; 0: nothing is */
	uint64_t kick_at; /* data came, and then nothing: ask whether the path still lives */
	unsigned kicks;	 /* still to be sent in quick succession */
	bool settled;	 /* since the last move something has come on the new path: the host knows of it */
	uint64_t nudge_at, nudged;
	uint64_t move_at, moved; /* the next try; the last move */
	bool leaving; /* the path in use is dead, and the move away has not succeeded yet */
	unsigned active_k;
	uint64_t last_data;
	bool gap_pending;
	uint64_t want_relay_at, want_relay_wait;

	/* a batch that its path did not take */
	struct link_path *blocked;
	uint64_t blocked_at;
	size_t batch_n, batch_segment;
	uint8_t batch[QUIC_BATCH_MAX];

	/* for people */
	int64_t since_ms, path_since_ms;
	unsigned moves_up, moves_down;
	uint32_t gaps[PEER_LINK_GAPS], last_gap_ms, gap_max_ms;
	uint64_t bytes[2], counted[2], rate[2], rated_at;
	unsigned busy_s; /* on this path, for so many seconds, there was as much to carry as it would take */
	uint64_t loss_at, loss_base[2]; /* lost, sent: a minute ago or less */
	uint32_t loss_ppm;
};

static inline uint64_t peer_now(const struct peer_link *l)
{
	return l->o.clock(l->o.clock_arg);
}
struct link_path *peer_path_of(struct peer_link *l, const struct path *p);
struct link_path *peer_path_numbered(struct peer_link *l, unsigned k);
struct link_path *peer_active(struct peer_link *l); /* NULL: none */
void peer_path_remove(struct peer_link *l, struct link_path *lp);
void peer_rated(struct peer_link *l, uint64_t bytes_s, uint64_t now); /* each second: what the path in use has carried */
void peer_changed(struct peer_link *l);
void peer_fell(struct peer_link *l, const char *why); /* it is over */
void peer_dirty(struct peer_link *l);

/* peer_moves.c */
void peer_bind(struct peer_link *l, uint64_t now);
void peer_start(struct peer_link *l, uint64_t now); /* the visitor's handshake, if there is a path for it */
void peer_path_gone(struct peer_link *l, bool was_active, enum path_kind kind);
void peer_heard(struct peer_link *l, struct link_path *lp, uint64_t before, uint64_t now);
void peer_follow(struct peer_link *l, struct link_path *lp, const uint8_t *p, size_t n, uint64_t now); /* before a packet goes to QUIC */
void peer_data_came(struct peer_link *l, uint64_t now);
void peer_sent(struct peer_link *l, uint64_t now);
void peer_note_path(struct peer_link *l, uint64_t now);
void peer_on_moved(struct peer_link *l, unsigned k, bool ok);
void peer_on_nudge(struct peer_link *l, struct link_path *lp, uint64_t now);
void peer_moves_tick(struct peer_link *l, uint64_t now);
uint64_t peer_moves_deadline(const struct peer_link *l);

/* peer_probe.c */
bool peer_probe_input(struct peer_link *l, struct link_path *lp, const uint8_t *p, size_t n, uint64_t now); /* false: it is QUIC's */
void peer_probe_tick(struct peer_link *l, uint64_t now);
uint64_t peer_probe_deadline(const struct peer_link *l);
void peer_suspect(struct link_path *lp, uint64_t now);
void peer_nudge(struct peer_link *l);
void peer_kick(struct peer_link *l);
bool peer_control(struct peer_link *l, const uint8_t *p, size_t n); /* true: a DATAGRAM of the link itself */
