/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A joint: two stream descriptors joined, bytes both ways, in one loop. What the relay's routes, the
 * tunnel's plain data connections and the router of port 443 have in common.
 *
 *   A  accepted by the owner, plain or TLS (the joint does the handshake)
 *   B  dialled by the owner, connected or still connecting, plain or TLS
 *
 * Who cannot write is not read from: an end that does not read costs at most one buffer (JOINT_BUFFER) or
 * one pipe, and the other end waits. An end of stream is passed on behind the last byte and the other way
 * goes on; a reset is passed on as a reset. Small traffic goes through one buffer of the loop's and costs an
 * idle joint nothing; a bulk flow is spliced through a pipe that the pool lends while the flow lasts. A way
 * that is tapped or limited is copied, each way by itself.
 *
 * Everything has a deadline: TLS of A, then connecting and TLS of B, then idleness, then the other way's
 * idleness after a half-close. Callbacks come from the loop, never from inside a call of the owner's;
 * on_end comes exactly once, unless the owner frees the joint first. In every callback the owner may free it.
 */
#pragma once
#include "common/addr.h"
#include "common/loop.h"
#include "common/tls.h"

struct joint;
struct joint_pool; /* of a loop: buffer, pipes, joints that come back in the next pass */

enum { JOINT_BUFFER = 64 << 10, JOINT_WHY = 160 };
enum joint_side { JOINT_A, JOINT_B };
enum joint_way { JOINT_UP, JOINT_DOWN }; /* A to B, B to A: numbered as the side that the bytes come from */

enum joint_end {
	JOINT_END_CLEAN, /* both said their last, and all of it was passed on */
	JOINT_END_RESET_A,
	JOINT_END_RESET_B,
	JOINT_END_ERROR_A, /* another error of the descriptor: no route any more, keep-alive unanswered … */
	JOINT_END_ERROR_B,
	JOINT_END_TLS_A, /* no handshake, or a broken record */
	JOINT_END_TLS_B,
	JOINT_END_SLOW_TLS_A, /* no handshake in time */
	JOINT_END_CONNECT, /* B could not be reached: by the owner's word, or nobody dials again */
	JOINT_END_CONNECT_TIMEOUT,
	JOINT_END_IDLE,
	JOINT_END_HALF_CLOSED, /* one side had said its last, and the other was idle for too long then */
	JOINT_END_KILLED,
	JOINT_END_MEMORY,
	JOINT_ENDS
};
const char *joint_end_text(enum joint_end e); /* "reset by the source": a sentence of the log, A being the source */
extern const char *const joint_end_labels[JOINT_ENDS + 1]; /* "reset_a": of a metric */

struct joint_ops {
	/* A is ready (its TLS handshake done) and has no B, or a try at B failed (err > 0, why). Answer by
	 * joint_dial() or joint_refuse(), now or later. Not called for a plain A without B: its owner knows. */
	void (*want_b)(struct joint *j, int err, const char *why, void *arg);
	/* TCP of B is connected, TLS of B has not begun: the place of a PROXY header. A negative errno ends this
	 * try at B. May be NULL. */
	int (*on_connected)(struct joint *j, int fd, void *arg);
	void (*on_open)(struct joint *j, void *arg); /* both are ready; may be NULL */
	/* Bytes of a tapped way, before they are passed on. They are, whatever it does; but it may joint_pause()
	 * the way: nothing more is read then. May be NULL. */
	void (*tap)(struct joint *j, enum joint_way w, const uint8_t *p, size_t n, void *arg);
	/* Of a limited way: how many of want bytes may pass now (0: asked again in a few ms), and how many did. */
	size_t (*room)(struct joint *j, enum joint_way w, size_t want, void *arg);
	void (*passed)(struct joint *j, enum joint_way w, size_t n, void *arg);
	/* err: positive errno or 0. why: one short sentence with detail, or the end's own text. The owner frees the
	 * joint there or later; joint_info() still works. */
	void (*on_end)(struct joint *j, enum joint_end end, int err, const char *why, void *arg);
};

struct joint_tls {
	struct tls_ctx *ctx; /* NULL: plain. Referenced by the joint. */
	const char *server_name; /* of B: SNI and the name to verify; may be NULL */
};
struct joint_options {
	int fd;		      /* A's, non-blocking */
	struct joint_tls tls; /* of A */
	/* Bytes that were read from A before there was a joint: they go to B first. Copied. */
	const void *preface;
	size_t preface_n; /* at most JOINT_BUFFER */
	uint64_t handshake_ms; /* of A's TLS; 0: 10 s */
	uint64_t connect_ms;   /* from joint_dial() until B is ready; 0: 10 s */
	uint64_t idle_ms;      /* no byte either way; 0: for ever */
	uint64_t half_close_ms; /* idle_ms once one side has said its last; 0: idle_ms */
};
/* Takes over the descriptor, also on failure. 0 or -errno. */
int joint_new(struct joint_pool *pool, const struct joint_options *opt, const struct joint_ops *ops, void *arg,
	      struct joint **ret_j);
/* B: a non-blocking descriptor on which connect() has succeeded or said EINPROGRESS; taken over in any case. tls
 * may be NULL. What goes wrong is reported by want_b. */
void joint_dial(struct joint *j, int fd, const struct joint_tls *tls);
void joint_refuse(struct joint *j, int err, const char *why); /* there is no B: JOINT_END_CONNECT follows */
/* Both are reset; JOINT_END_KILLED follows. why NULL: by an administrator. */
void joint_kill(struct joint *j, const char *why);
struct joint *joint_free(struct joint *j); /* at once; both are closed */
DEFINE_CLEANUP(struct joint, joint_free)

/* Each takes its way off splice (what is in the pipe still goes out as it is) or lets it back. */
void joint_tap(struct joint *j, enum joint_way w, bool on);
void joint_limit(struct joint *j, enum joint_way w, bool on);
void joint_pause(struct joint *j, enum joint_way w, bool on); /* nothing is read; what was read is passed on */

struct joint_info {
	uint64_t bytes[2]; /* by enum joint_way: read from that side */
	uint64_t rate[2];  /* bytes per second, of the last second or two */
	size_t held[2];	   /* read and not yet taken by the other side */
	bool open, splicing[2], ended[2] /* that side has said its last */;
	uint64_t quiet_ms; /* since the last byte */
};
void joint_info(const struct joint *j, struct joint_info *ret_i);
int joint_fd(const struct joint *j, enum joint_side s); /* -1: none */
SSL *joint_ssl(const struct joint *j, enum joint_side s); /* NULL if plain */

struct joint_pool_options {
	unsigned pipes;	  /* lent at a time; beyond it bulk flows are copied; 0: 256 */
	size_t pipe_size; /* 0: 256 KiB */
	bool no_splice;
};
struct joint_pool_stats {
	unsigned joints;
	unsigned pipes_lent, pipes_spare;
	uint64_t pipes_made, pipes_short; /* made in all; wanted and not had */
	uint64_t bytes_spliced, bytes_copied;
};
int joint_pool_new(struct loop *l, const struct joint_pool_options *o, struct joint_pool **ret_p); /* o may be NULL */
struct joint_pool *joint_pool_free(struct joint_pool *p); /* after its joints */
const struct joint_pool_stats *joint_pool_stats(const struct joint_pool *p);
DEFINE_CLEANUP(struct joint_pool, joint_pool_free)
