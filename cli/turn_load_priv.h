/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the load generator: one struct load, which owns its loop, sockets and clients, and one
 * struct pair per allocation. cli/turn_load.c leads through the stages; cli/turn_traffic.c makes,
 * sends, receives and checks the packets of the measured run.
 */
#pragma once
#include "cli/turn_load.h"
#include "common/dgram.h"
#include "stun/transaction.h"
#include "turn/client.h"

struct load;

struct flow { /* one direction of one allocation */
	uint32_t sent, seen; /* sequence numbers: the last that left, the highest that arrived */
};

struct pair { /* one allocation: a client here, a peer there */
	struct load *load;
	struct io client_io, peer_io; /* UDP: the client's socket; fd -1: none */
	struct turn_link *link;	      /* the other transports */
	struct turn_client *client;
	struct addr peer, relayed;
	struct flow up, down;
	uint8_t head[4]; /* ChannelData header for payloads of the run's size */
	bool allocated, bound;
	unsigned moves;	    /* to another local port, because the server still knew the last one */
	struct timer again; /* its client must not be freed from within */
};

struct load {
	const struct turn_load_options *o;
	struct turn_load_result *r;
	struct loop *loop;
	struct dgram_io *dgram;
	struct pair *pairs;
	unsigned started, allocated, bound, released;
	unsigned unsent; /* requests in the queue: turn_load.c */
	bool measuring, failed;
	bool greeted; /* the server has answered */
	bool leaving; /* what fails now is no result any more */
	struct timer stage;
	struct io pace; /* a timerfd: the loop's timers are too coarse; fd -1: none */
	struct turn_link *hello; /* asks first whether there is a server at all */
	struct stun_tx *hello_tx;
	uint64_t began_ns, due, next_pair;
	uint8_t (*slot)[LOAD_MAX_SIZE]; /* LOAD_MAX_BURST payloads, in use until the flush */
	uint8_t fill[LOAD_MAX_SIZE];	/* what every payload ends in */
	uint32_t bindings;
};

/* turn_traffic.c */
void traffic_init(struct load *l);
int traffic_start(struct load *l);
void traffic_stop(struct load *l);
void traffic_peer_ready(struct io *io, int events);
void traffic_client_ready(struct io *io, int events);
void traffic_client_message(struct pair *p, uint8_t *data, size_t n);
