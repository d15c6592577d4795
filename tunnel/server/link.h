/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's end of one agent: its control connection, and what stays while that is lost and comes back. One link per
 * agent; it belongs to one worker, in whose thread all of this is called, and so do its carriers, data connections and
 * the listeners of its jobs.
 *
 * A link is up while there is a control connection. When that is lost, data connections go on (their carriers may be
 * alive, or others come and resume), and the same process of the agent finds the link again when it reconnects. A link
 * that nobody comes back to for resume_ms is over. An agent that was restarted gets the same link with other_process set:
 * its data connections have ended then, its jobs are sent again and JOBS-SYNCED tells which are over.
 */
#pragma once
#include "tunnel/link/wire.h"

struct tunnel_link;
struct tunnel_worker;

struct tunnel_link_ops { /* in the link's worker; in each of them frames may be sent and streams opened */
	/* WELCOME was sent, first or again. */
	void (*up)(struct tunnel_link *l, bool again, bool other_process, void *arg);
	/* JOB, JOB-GONE, JOBS-SYNCED, OFFER-ANSWER, TARGET-STATE; m is valid during the call. */
	void (*frame)(struct tunnel_link *l, unsigned type, const union wire_msg *m, void *arg);
	/* The control connection is lost. The link stays for resume_ms. */
	void (*down)(struct tunnel_link *l, enum wire_reason reason, const char *why, void *arg);
	/* The link is freed when this returns; its data connections have ended. After down, or when the worker stops. */
	void (*over)(struct tunnel_link *l, void *arg);
};

/* Sends a control frame: JOB-STATE, OFFER-JOB, … 0; -ENOTCONN while it is down (say it again in up()); -ENOBUFS: the
 * agent does not read, the link goes down by itself; -EINVAL: a value that the frame cannot have. */
int tunnel_link_send(struct tunnel_link *l, unsigned type, const void *msg);
/* REFUSED, and everything of it ends: a revoked key, a kick. down() and over() follow. */
void tunnel_link_end(struct tunnel_link *l, enum wire_reason reason, const char *text,
		     uint32_t retry_after_s);
/* The control connection alone is closed, as if it had been lost; the agent comes back. */
void tunnel_link_drop(struct tunnel_link *l, const char *why);

uint64_t tunnel_link_id(const struct tunnel_link *l); /* the session of the wire; never used twice */
struct tunnel_link *tunnel_link_find(struct tunnel_worker *w, uint64_t id); /* NULL: none in this worker */
static inline unsigned tunnel_worker_of(uint64_t id) /* index of the worker of a link, or of a stream */
{
	return (unsigned)(id & 0xff);
}
void *tunnel_link_state(const struct tunnel_link *l); /* of the owner of the ops; NULL as made */
void tunnel_link_set_state(struct tunnel_link *l, void *state);
struct tunnel_worker *tunnel_link_worker(const struct tunnel_link *l);

struct tunnel_link_info {
	uint64_t id;
	uint8_t identity[WIRE_PIN];
	uint8_t instance[WIRE_INSTANCE];
	char name[WIRE_NAME_MAX + 1], program[64], host[256];
	uint64_t guest; /* of this share; 0: an agent */
	uint16_t version;
	struct addr peer, local; /* of the control connection, or of the last one */
	struct addr lan;	 /* the agent's own end of it, as it said */
	bool up;
	int64_t since; /* unix ms: up or down since then */
	int64_t begun; /* unix ms: of the first control connection */
	unsigned reconnects;
	char why[160];			  /* why it is, or last was, down */
	uint32_t rtt_us;		  /* 0: not known yet */
	unsigned carriers, ready, wanted; /* TLS carriers in all, of them idle, and idle ones asked for */
	unsigned streams, detached;
	uint64_t bytes[2]; /* by enum data_way, of all its data connections */
};
void tunnel_link_info(const struct tunnel_link *l, struct tunnel_link_info *ret_i);
void tunnel_link_rename(struct tunnel_link *l, const char *name); /* as it is called in tables and log */
/* In the worker's thread: every link. fn must not end any. */
void tunnel_worker_each(struct tunnel_worker *w, void (*fn)(struct tunnel_link *l, void *arg),
			void *arg);
struct loop *tunnel_worker_loop(const struct tunnel_worker *w);
unsigned tunnel_worker_index(const struct tunnel_worker *w);
void *tunnel_worker_owner(const struct tunnel_worker *w); /* what worker_begin of the options returned */
