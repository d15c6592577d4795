/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the proxy core, for its own files:
 *	proxy.c		life, the way of each message to its place, responses
 *	request.c	validation and route preprocessing (RFC 3261 16.3, 16.4)
 *	passage.c	the policy's hooks, their decision
 *	context.c	the response context: targets, best response, CANCEL (16.5, 16.7, 16.10)
 *	branch.c	one place: lookup, sending, fail-over, timer C
 *	copy.c		what is sent there (16.6)
 *	stateless.c	the ACK for a 2xx
 *	order.c		who must wait for whom
 *	answer.c	responses of our own, refusals
 *	spare.c		overload control between neighbours (RFC 7339)
 *	explain.c	the chain without anything happening
 */
#pragma once
#include "common/log.h"
#include "sip-proxy/overload.h"
#include "sip-proxy/proxy.h"

struct sip_context;
struct sip_lane;

/* A buffer that grows, for a message that is being written. */
struct sip_buffer {
	char *p;
	size_t cap;
};
bool sip_buffer_room(struct sip_buffer *b, size_t n);

struct sip_proxy {
	struct sip_proxy_options o;
	struct sip_txs *txs;
	struct list contexts;
	struct list waits;   /* kept passages */
	struct list onwards; /* ACKs that wait for a lookup */
	struct htable lanes;
	struct timer drain; /* lanes whose turn has come */
	struct list lanes_due;
	struct sip_proxy_counts counts;
	bool drain_new;
	struct log_gate gates[SIP_REFUSALS]; /* of refusals' lines: who is refused for one reason hides no other */
	struct sip_spared *spared;
	unsigned pressure, loss_before;
	uint64_t oc_seq;
	/* Scratch: what is being worked on in this call. */
	struct sip_edit edit;
	struct sip_buffer work, out, answer;
	struct sip_msg base; /* the request of base_of, parsed */
	struct sip_basics base_basics;
	struct sip_context *base_of; /* NULL: of none */
};

static inline uint64_t px_now(const struct sip_proxy *px)
{
	return px->o.now(px->o.edge);
}

/* One place, and what has become of it. */
enum sip_branch_state { SIP_B_WAITING, SIP_B_LOOKING, SIP_B_SENT, SIP_B_DONE };
struct sip_branch {
	struct list node; /* in ctx->branches */
	struct sip_context *ctx;
	struct sip_place place; /* its texts stand in texts */
	enum sip_branch_state state;
	unsigned code; /* of its final response, or ours for it */
	bool orphan;   /* another place is tried in its stead: only a 2xx still counts */
	bool ringing, cancel_wanted;
	bool reserve;	/* of a group (RFC 5626): only if the one before could not be reached */
	bool waited;	/* the time for others beside it is over */
	bool queued; /* it waits for its TCP connection: what is smaller must not overtake it by UDP */
	bool by_tcp;	/* sent by TCP only for its size … */
	bool no_tcp;	/* … which failed: by UDP as it is */
	bool timed_out; /* by timer C */
	int breadth;	/* its share of Max-Breadth … */
	int breadth_left; /* … and what is kept of it for another place beside a silent one */
	struct sip_client_tx *client;
	struct sip_lookup lookup;
	struct sip_target *targets; /* NULL: only one */
	unsigned n_targets, cap_targets, at;
	struct sip_target one;
	struct timer timer; /* fail-over, then timer C (INVITE) */
	char texts[];
};

/* The response context of 16.2: lives as long as its server transaction. */
struct sip_context {
	struct list node; /* in px->contexts */
	struct sip_proxy *px;
	struct sip_server_tx *server; /* never NULL */
	struct sip_lane *lane;	      /* its turn is ours until the first copy has left */
	char *raw; /* the request, as all copies get it; NULL behind the final response */
	uint32_t raw_n;
	struct list branches;
	struct sip_hop from;
	uint64_t loop; /* of RFC 5393 */
	uint64_t made;
	int breadth; /* what Max-Breadth allows at once */
	enum sip_method method;
	uint8_t outside; /* of its tokens: SIP_TOKEN_CALLER_OUTSIDE, SIP_TOKEN_CALLEE_OUTSIDE */
	bool begins;	/* it is of no dialog yet */
	bool asks;	/* whoever sent it takes part in overload control */
	bool held_back; /* a next hop asked to be spared */
	bool record_route, path, trusted, cancelled, final, declined /* 6xx */, starting;
	bool heard; /* a response, other than 100, has gone back */
	bool wants_turn;
	bool elsewhere; /* somebody else took the call */
	/* The best final response so far, without our Via. */
	unsigned best_code;
	char *best;
	uint32_t best_n;
	char *challenges; /* of all 401s and 407s: 'W' or 'P', value, NUL … */
	uint32_t challenges_n, n_challenged;
	char *reason; /* Reason of the CANCEL, malloc'd; NULL: none */
	char *why;    /* the first place that could not be reached: for the log; malloc'd, or NULL */
};

enum sip_decision { SIP_UNDECIDED, SIP_FORWARD, SIP_ANSWER, SIP_REFUSE, SIP_DROP };

/* A passage and what the core knows of it; on the stack of a call, or kept. */
struct sip_walk {
	struct sip_passage p; /* the first, so that one is the other */
	struct list node;     /* kept: in px->waits */
	bool kept, cancelled;
	bool moved; /* there is a kept one: this one is a shell */
	unsigned next_hook;
	uint64_t loop;
	int breadth;
	struct sip_server_tx *server;
	struct sip_lane *lane;
	enum sip_decision decision;
	int record_route; /* -1: by method */
	bool path;
	bool edited; /* px->edit is ours and holds something */
	enum sip_refusal refusal;
	char detail[SIP_DETAIL_MAX];
	unsigned answer_code;
	char *answer; /* malloc'd */
	size_t answer_n;
	struct sip_branch *places[SIP_PLACES_MAX];
	unsigned n_places;
	/* kept: the message and its basics */
	struct sip_msg msg;
	struct sip_basics basics;
	char *raw;
};

static inline void px_known(const struct sip_proxy *px, struct sip_target *t)
{
	if (px->o.known)
		px->o.known(px->o.edge, t);
}

/* ---- proxy.c ---- */
/* by_lane: it has waited already. */
void sip_px_message(struct sip_proxy *px, const struct sip_msg *m, const struct sip_hop *hop,
		    bool by_lane);
/* Host and port of a URI are a listener's or a domain's. */
bool sip_px_is_ours(const struct sip_proxy *px, const struct sip_uri *u);

/* ---- request.c ---- */
/* 16.3. SIP_ACCEPTED or why not. ret_extension: of a 420 what is unsupported. */
enum sip_refusal sip_px_validate(struct sip_proxy *px, struct sip_walk *w, struct text *ret_extension);
uint64_t sip_px_loop_hash(const struct sip_proxy *px, const struct sip_msg *m,
			  const struct sip_basics *b);
/* 16.4: the request without our Routes and with a true Via: w->p.msg and basics may be others behind it (work, of the
 * proxy's scratch). SIP_ACCEPTED or why not. */
enum sip_refusal sip_px_preprocess(struct sip_proxy *px, struct sip_walk *w, struct sip_msg *work,
				   struct sip_basics *work_basics);
/* Writes px->edit to a scratch buffer, parses that: SIP_ACCEPTED or why not. from and to may be the same. */
enum sip_refusal sip_px_rewrite(struct sip_proxy *px, struct sip_buffer *buf, struct sip_msg *to,
				struct sip_basics *to_basics);

/* ---- passage.c ---- */
/* Runs the chain from w->next_hook on, and does what is decided. */
void sip_px_walk(struct sip_proxy *px, struct sip_walk *w);
/* Those hooks alone that take headers out. */
void sip_px_hygiene(struct sip_proxy *px, struct sip_walk *w);
void sip_px_walk_deinit(struct sip_walk *w); /* what it still holds */
void sip_px_walk_free(struct sip_walk *w); /* a kept one; tells its hook that it is gone */
extern const struct sip_server_user sip_px_walk_server; /* of a kept one's transaction */
void sip_px_walk_cancel(struct sip_walk *w);
bool sip_px_return(struct sip_proxy *px, struct sip_return *ret); /* false: drop */

/* ---- context.c ---- */
/* Takes server, lane and places of w. SIP_ACCEPTED, or why not: then all is w's as before. */
enum sip_refusal sip_context_new(struct sip_proxy *px, struct sip_walk *w, struct sip_context **ret_ctx);
void sip_context_free(struct sip_context *ctx);
void sip_context_start(struct sip_context *ctx);
void sip_context_cancel(struct sip_context *ctx, const struct sip_msg *cancel);
const struct sip_msg *sip_context_request(struct sip_context *ctx); /* parsed; NULL: no memory */
/* A branch has its final response (bytes without our Via), or a code of ours for it (bytes.p NULL). */
void sip_context_final(struct sip_branch *b, unsigned code, struct text bytes);
void sip_context_provisional(struct sip_branch *b, unsigned code, struct text bytes);
void sip_context_success(struct sip_branch *b, unsigned code, struct text bytes);
void sip_context_why(struct sip_context *ctx, const char *why); /* if it will have to be refused */
void sip_context_left(struct sip_context *ctx); /* the first copy has left, or will not: the next message's turn */
/* CANCEL's Reason lines for this context's branches: 0 or 1. */
unsigned sip_context_reason(const struct sip_context *ctx, struct sip_line *ret_line);
extern const struct sip_server_user sip_context_server;

/* ---- branch.c ---- */
struct sip_branch *sip_branch_new(const struct sip_place *place);
void sip_branch_free(struct sip_branch *b);
void sip_branch_start(struct sip_branch *b);
void sip_branch_cancel(struct sip_branch *b);
bool sip_branch_take_up(struct sip_branch *b); /* its INVITE was left for another place beside it and is still silent: it counts again */

/* ---- copy.c ---- */
/* A datagram needs no Content-Length, but what it becomes may go over a stream (RFC 3261 18.3). */
void sip_px_state_length(struct sip_edit *e);
/* The copy for this target, into px->out: its length, or -errno. */
ssize_t sip_branch_write(struct sip_branch *b, const struct sip_target *to, const char *branch);
/* Host and port of the next hop. 0; -EBADMSG. */
int sip_px_next_hop(const struct sip_uri *u, struct sip_next *ret_next);
/* Is it an address already? Then there is nothing to look up. */
bool sip_px_direct(const struct sip_next *next, struct sip_target *ret_t);
/* A request of n bytes that is too long for a datagram (RFC 3261 18.1.1). */
static inline bool sip_px_is_long(size_t n, const struct sip_target *to)
{
	return n > SIP_UDP_MAX && to->hop.proto == SIP_UDP && !to->only_flow;
}
/* A sips Request-URI of another domain: TLS on each hop (RFC 3261 16.6 step 7, 26.2.2). Within our own domain it is ours to say, and
 * who is reached by a connection that he has made has said it. */
bool sip_px_wants_tls(const struct sip_proxy *px, const struct sip_uri *request_uri);
bool sip_branch_wants_tls(const struct sip_branch *b);
/* Where it goes then: the same address by TCP. False: TCP is known to fail there. */
bool sip_px_by_tcp(const struct sip_proxy *px, const struct sip_target *to, struct sip_target *ret_tcp);
/* "SIP/2.0/UDP host:5060;branch=…;rport". */
void sip_px_via(const struct sip_interface *iface, const char *branch, struct sb *out);

/* ---- stateless.c ---- */
void sip_px_ack(struct sip_proxy *px, const struct sip_msg *m, const struct sip_basics *b,
		const struct sip_hop *hop);
void sip_px_onwards_free(struct sip_proxy *px);

/* ---- order.c ---- */
/* True: it waits behind another one (or was dropped, because too many do), and comes again by sip_px_message(). */
bool sip_lane_wait(struct sip_proxy *px, const struct sip_msg *m, const struct sip_basics *b,
		   const struct sip_hop *hop);
/* Takes the turn: what comes later waits. NULL: no memory; then order is not kept. */
struct sip_lane *sip_lane_take(struct sip_proxy *px, const struct sip_basics *b, bool is_request);
void sip_lane_leave(struct sip_proxy *px, struct sip_lane *lane); /* NULL is fine */
void sip_lanes_init(struct sip_proxy *px);
void sip_lanes_free(struct sip_proxy *px);

/* ---- answer.c ---- */
/* Our To tag for a request: the same for its repetitions and its ACK. */
void sip_px_tag(const struct sip_proxy *px, const struct sip_basics *b, char out[static 16]);
/* A response of ours into px->answer. Length or -errno. */
ssize_t sip_px_write(struct sip_proxy *px, const struct sip_msg *m, const struct sip_basics *b,
		     const struct sip_answer *a);
/* The same to a request whose Via was not filled in yet; by where it came. */
ssize_t sip_px_write_to(struct sip_proxy *px, const struct sip_msg *m, const struct sip_basics *b,
			const struct sip_answer *a, const struct sip_hop *came);
/* By the server transaction if there is one, else statelessly to where the request came from. */
void sip_px_respond(struct sip_proxy *px, struct sip_server_tx *s, const struct sip_basics *b,
		    const struct sip_hop *came, unsigned code, struct text bytes);
/* Refuses: log, counter, watch, response. */
struct sip_refusing {
	enum sip_refusal why;
	const char *detail;
	struct text extension; /* 420 */
	const struct sip_msg *m;
	const struct sip_basics *b;
	const struct sip_hop *from;
	struct sip_server_tx *server; /* or NULL */
	bool silent;		      /* no response */
};
void sip_px_refuse(struct sip_proxy *px, const struct sip_refusing *r);

/* ---- spare.c ---- */
/* What a response says to whoever sent us this Via: text in buf, or nothing if he does not take part. */
struct text sip_px_wish(struct sip_proxy *px, const struct sip_via *v, char *buf, size_t cap);
/* The same within the edit of a response that is passed on: below our Via, which goes. */
void sip_px_wish_edit(struct sip_proxy *px, const struct sip_msg *response);
void sip_px_hear(struct sip_proxy *px, const struct sip_hop *from, const struct sip_via *ours);
/* Must this request not go there now? Counts it. */
bool sip_px_hold_back(struct sip_branch *b, const struct sip_target *to);
