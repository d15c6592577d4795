/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load generator for TURN servers: N allocations, each with a client socket and a peer socket of its
 * own, and packets both ways through the server at a given rate. Measures what came through, its
 * latency, and what it cost the server. The same generator drives stile-turn and any other server.
 */
#pragma once
#include "cli/measure.h"
#include "turn/client_link.h"

enum turn_load_mode { LOAD_RELAY, LOAD_ALLOCATE, LOAD_BINDING };
enum { LOAD_UP = 1, LOAD_DOWN = 2, LOAD_MIN_SIZE = 16, LOAD_MAX_SIZE = 1400, LOAD_MAX_BURST = 256 };

struct turn_load_options {
	enum turn_load_mode mode;
	enum turn_proto proto;
	struct addr server;
	struct addr peer_ip; /* where the peers' sockets are; port 0 */
	const char *server_name, *user, *password;
	unsigned allocations, size, burst, directions;
	uint64_t rate; /* packets (or Bindings) a second, over all; LOAD_ALLOCATE: as fast as it goes */
	uint64_t volley_ms; /* what is due leaves so often, all at once; 0: each burst when its own time has come */
	uint64_t run_ms, warmup_ms;
	unsigned in_flight; /* requests at a time while setting up */
	pid_t server_pid;   /* 0: its CPU is not known */
	bool no_gso;	    /* send every packet by itself */
	bool no_sha256;	    /* authenticate as an RFC 5766 client would, so that all servers do the same work */
};
struct turn_load_result {
	char error[256];
	/* corrupt: other bytes than were sent, or for somebody else; reordered: behind a later one of its
	 * flow, or twice */
	uint64_t allocations, sent, received, corrupt, reordered;
	double setup_s, run_s;
	struct usage setup, run; /* differences over set-up (allocations only) and over the measured run */
	uint64_t rss_before, rss_after, rss_released; /* before and after the set-up; after the release */
	struct latency latency;
};
/* 0; or a negative errno, or EXIT_FAILED with ret->error. */
int turn_load(const struct turn_load_options *o, struct turn_load_result *ret);
