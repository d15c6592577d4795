/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of joints; nobody else includes it.
 *
 *   joint.c       a joint's life: handshakes, dialling, deadlines, its end
 *   joint_pump.c  bytes of one way
 *   joint_pool.c  the loop's buffer, the pipes, the queue of those that come back
 *   joint_wire.c  a side's way to read and write: plain, or TLS
 */
#pragma once
#include "common/joint.h"

struct joint_end_side;

/* Errors are -errno with why written. */
struct joint_wire {
	bool splices;
	int (*handshake)(struct joint_end_side *s, char why[static JOINT_WHY]); /* 0, -EAGAIN, -errno */
	/* Bytes, as many as there are; 0: end; -EAGAIN. Sets s->drained if nothing more is there for now. */
	ssize_t (*read)(struct joint_end_side *s, uint8_t *p, size_t n, char why[static JOINT_WHY]);
	/* Bytes taken, at least 1; -EAGAIN. After that the same bytes come again. */
	ssize_t (*write)(struct joint_end_side *s, const uint8_t *p, size_t n, char why[static JOINT_WHY]);
	int (*finish)(struct joint_end_side *s); /* its peer hears that nothing more comes; 0 or -EAGAIN */
};
extern const struct joint_wire joint_wire_plain, joint_wire_tls;

struct joint_end_side {
	struct io io; /* edge-triggered */
	int fd;	      /* -1: none */
	bool hung_up; /* the peer's end has been seen: a short read does not mean that nothing waits */
	bool drained;
	bool ready; /* readable before the joint was open */
	SSL *ssl;
	struct tls_ctx *tls;
	const struct joint_wire *wire;
};

struct joint_flow { /* one way */
	uint64_t bytes;
	uint64_t window_at, window_bytes, rate;
	uint8_t *held; /* what the far side has not taken; NULL: nothing */
	uint32_t held_at, held_n;
	uint32_t chunk; /* how much is read at a time: grows while the far side takes it all */
	uint32_t full;	/* reads in a row that filled the buffer: a bulk flow begins so */
	int pipe[2];	/* -1: none lent */
	size_t in_pipe;
	uint64_t swept; /* bytes at the last sweep of the pool */
	struct list bulk; /* in pool->bulk while a pipe is lent */
	bool blocked;	  /* the far side does not take more: its next IO_WRITE goes on */
	bool eof, done;	  /* read its end; passed it on */
	bool tapped, limited, paused;
	bool waits; /* over its limit */
	bool again; /* capped: comes back in the next pass */
	bool unspliceable;
};

enum joint_state { JOINT_HANDSHAKE_A, JOINT_NO_B, JOINT_CONNECTING, JOINT_HANDSHAKE_B, JOINT_OPEN, JOINT_ENDED };

struct joint {
	struct joint_pool *pool;
	const struct joint_ops *ops;
	void *arg;
	enum joint_state state;
	bool freed;
	bool try_failed; /* want_b is owed, from the queue */
	bool abort;	 /* its sides are reset when they are closed */
	bool killed;	 /* at once, even if bytes are under way to them */
	int gone;	 /* but for this one, which was reset by its peer; -1: none */
	struct joint_end_side side[2];
	struct joint_flow flow[2];
	uint64_t last; /* when a byte moved */
	uint64_t handshake_ms, connect_ms, idle_ms, half_close_ms;
	struct timer deadline, limit;
	struct list run; /* in pool->run or ->running, or in pool->dead */
	int later_end;	 /* an enum joint_end to be reported from the queue; -1: none */
	int broken;	 /* one side is broken, with this end: what it has sent still goes to the other; -1: none */
	int err;
	char why[JOINT_WHY]; /* with err: of later_end, of broken, or of the failed try */
};

struct joint_pool {
	struct loop *loop;
	struct list run, running, dead, bulk;
	struct timer run_timer, sweep_timer;
	struct pass_hook hook; /* frees the dead */
	unsigned max_pipes, n_spare;
	size_t pipe_size;
	bool no_splice;
	uint64_t spare_used_at;
	int spare[16][2];
	struct joint_pool_stats stats;
	uint8_t buffer[JOINT_BUFFER];
};

/* joint.c */
void joint_end_now(struct joint *j, enum joint_end end, int err, const char *why);
/* A side's error while reading from it or writing to it. False: the joint has ended. */
bool joint_side_broken(struct joint *j, enum joint_side s, bool reading, int err, const char *why);
void joint_run(struct joint *j); /* from the queue */

/* joint_pump.c. False: the joint has ended, or is gone. */
bool joint_pump(struct joint *j, enum joint_way w);
void joint_flow_init(struct joint_flow *f);
void joint_flow_deinit(struct joint *j, enum joint_way w);
int joint_hold(struct joint_flow *f, const void *p, size_t n);

/* joint_pool.c */
void joint_queue(struct joint *j);
bool joint_pipe_lend(struct joint_pool *p, struct joint_flow *f);
void joint_pipe_return(struct joint_pool *p, struct joint_flow *f);

/* joint_wire.c. 0 or -ENOMEM. */
int joint_side_wire(struct joint_end_side *s, const struct joint_tls *tls);
