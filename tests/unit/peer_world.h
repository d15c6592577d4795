/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two agents with a peer link between them, on fake time: wires with delay, rate, a queue and loss, that die and come back when a
 * test says so; and on both sides somebody who sends bytes that can be told from each other, and compares what arrives.
 */
#pragma once
#include "tunnel/direct/peer_link.h"

enum { WIRES = 4, APP_STREAMS = 16, VISITOR = 0, HOST = 1 };

struct world;
struct end;

struct packet {
	struct packet *next;
	uint64_t due;
	size_t n;
	uint8_t bytes[];
};

/* One way of a wire. */
struct lane {
	struct packet *first, **last;
	uint64_t free_at;
	uint64_t carried;
};
struct wire {
	bool dead, dead_way[2]; /* dead_way: from that end on */
	enum path_kind kind;
	double delay_ms, rate_mbit, loss;
	size_t queue; /* bytes that may wait */
	size_t largest; /* packet that passes; 0: any */
	struct lane lanes[2];
};

struct wire_path { /* a path's end of a wire */
	struct path p;
	struct end *end;
	unsigned wire;
};

struct app_stream {
	struct quic_stream *s; /* NULL: not open */
	uint64_t to_send, sent, received;
	bool finish, finished, stalled;
	uint64_t pending; /* arrived, not consumed */
	unsigned seed;	  /* of what is sent, and of what must come */
	uint64_t last_at, worst_gap;
};
struct end {
	struct world *w;
	unsigned side;
	struct peer_link *l;
	struct identity *id;
	struct quic_creds *creds;
	struct chunk_pool pool;
	struct app_stream streams[APP_STREAMS];
	struct peer_link_ops ops;
	unsigned downs, relays_wanted, losses, pongs, datagrams;
	struct wire_path *paths[WIRES];
};
struct world {
	uint64_t now;
	uint64_t random;
	struct wire wires[WIRES];
	struct end ends[2];
	bool strangers_first; /* garbage arrives before each packet */
	unsigned binding_s;   /* of the links' options */
};

void world_open(struct world *w, uint64_t head_start_ms);
void world_close(struct world *w);
void world_keys(struct world *w);
/* The wire, and a path at each of its ends. */
void world_wire(struct world *w, unsigned i, enum path_kind kind, double delay_ms, double rate_mbit, double loss);
void world_run(struct world *w, double ms);
bool world_until(struct world *w, bool (*done)(struct world *w), double ms);
bool world_up(struct world *w);
struct app_stream *world_send(struct world *w, unsigned side, uint64_t n, bool finish); /* a new stream */
void world_continue(struct end *e, struct app_stream *a, uint64_t n);
