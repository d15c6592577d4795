/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tunnel in one process, for tests of its link layer: a server with its workers; a "site" thread with the agent and a
 * line between the two (joints) that can be cut, or fall silent; a target that does what its first byte says. Clients are
 * the test itself, with blocking sockets.
 *
 * The one job of the agent leads port world_port() to the target. Who is who is not judged: every key is admitted.
 */
#pragma once
#include "tests/unit/support.h"
#include "tunnel/agent/agent.h"
#include "tunnel/server/server.h"
#include "tunnel/server/stream.h"

struct world;
enum { WORLD_RESUME_MS = 30000, WORLD_NO_RESUME = -1 };
struct world_options {
	unsigned workers; /* 0: 1 */
	int resume_ms;	  /* 0: WORLD_RESUME_MS */
	uint32_t window;
	bool udp, plain;
	enum { WORLD_ADMITS, WORLD_LETS_WAIT, WORLD_IS_MUTE, WORLD_REVOKES /* as soon as it was let in */ } judge; /* what is said to HELLO */
	uint64_t hello_ms;
	unsigned strangers_per_source;
	int64_t carriers;   /* the server's limit */
	unsigned detached; /* the agent's */
	unsigned plain_refused; /* so many times a plain carrier cannot be made at first */
};
struct world *world_new(const struct world_options *o);
void world_free(struct world *w);
uint16_t world_port(struct world *w);	     /* of the job, once it is there; waits for it */
uint16_t world_server_port(struct world *w); /* of the tunnel itself, past the line */
struct tunnel_server *world_server(struct world *w);
void world_configure(struct world *w, uint32_t resume_ms); /* as a reload does */
uint32_t world_link_resume_ms(struct world *w); /* that the agent's data connections wait at the server */
SSL *world_rogue(struct world *w, int *ret_fd); /* past the line, with the agent's key; blocking, 10 s for each call */
SSL *world_stranger(struct world *w, int *ret_fd); /* the same, with a key of its own */
unsigned world_known(struct world *w); /* whom the server has a place for, connected or not */
unsigned world_login_frames(struct world *w); /* that came after the server had let them in */

int world_client(struct world *w); /* a connected blocking socket with a time limit on each call */
void world_wait(struct world *w, bool (*fn)(struct world *w),
		const char *what); /* until it is so, at most 20 s */

/* The line between agent and server. */
void world_cut_all(struct world *w); /* every connection is reset, both ways, with what is under way */
void world_cut_one(struct world *w, unsigned n); /* the n-th of them, counted round */
void world_silence(struct world *w, bool on); /* nothing passes any more; new connections neither */
void world_freeze_data(struct world *w); /* all but the first of them, the control connection */
void world_freeze(struct world *w); /* those that are there fall silent for good, as when a NAT forgets them */
unsigned world_lines(struct world *w);	   /* connections of the line */
void world_agent_restart(struct world *w); /* another process with the same key: another instance */
void world_agent_copy(struct world *w); /* a second process with the same key, beside the first */
void world_copy_info(struct world *w, struct agent_info *ret_i);
void world_agent_info(struct world *w, struct agent_info *ret_i);
unsigned world_ups(struct world *w); /* times the server said WELCOME */
unsigned world_stop_server(struct world *w);	  /* at once; data connections that heard of it */
unsigned world_ended(struct world *w, bool lost); /* data connections that ended at the server, cleanly or lost */
uint64_t world_told(struct world *w, enum data_way way); /* bytes of these, as they are told at their end */

/* What the target does: the first byte of a connection.
 *   'E' echoes   'D' and a u32: sends so many bytes of world_byte(), then ends   'U' reads to the end, then answers with u32 count and
 *   u32 sum   'R' resets   'S' sends until it cannot   'H' ends its way at once, and then reads to the end */
uint8_t world_byte(uint64_t offset);
uint64_t world_sent(struct world *w); /* by the last 'S' */
uint64_t world_read(struct world *w); /* to the end by the last 'H' */
