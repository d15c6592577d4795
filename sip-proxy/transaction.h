/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions (RFC 3261 17, RFC 6026, RFC 4320): the four machines, their table, and who pays for them. No I/O: what
 * is to be sent goes to the edge's vtable, time comes from a timer wheel, and who stands above (the proxy) is told
 * through a vtable. The timers are in sip-proxy/timers.c.
 *
 * A server transaction is found by branch, sent-by and method, or by what RFC 2543 had before there was a branch; a
 * client transaction by the branch that we chose, and the method. Both tables hash with a key, for strangers choose
 * the names. A transaction keeps what it may have to send again, and nothing else: a server its last response, a client
 * its request until there is a final response, then at most the ACK.
 */
#pragma once
#include "common/timers.h"
#include "sip-proxy/charges.h"
#include "sip-proxy/transport.h"
#include "sip-proxy/write.h"

enum sip_tx_state {
	SIP_TX_CALLING,	   /* INVITE client: sent, no answer */
	SIP_TX_TRYING,	   /* others, both sides: no answer yet */
	SIP_TX_PROCEEDING, /* a provisional answer; INVITE server: from the beginning */
	SIP_TX_ACCEPTED,   /* INVITE: 2xx; more of them may follow (RFC 6026) */
	SIP_TX_COMPLETED,  /* another final answer */
	SIP_TX_CONFIRMED,  /* INVITE server: the ACK has come */
	SIP_TX_STATES
};
const char *sip_tx_state_name(enum sip_tx_state s);

/* Milliseconds; RFC 3261's table 4. 0: the default. */
struct sip_timer_values {
	uint32_t t1, t2, t4; /* 500, 4000, 5000 */
	uint32_t trying; /* an INVITE gets its 100 if nothing else was said by then: 200 (17.2.1) */
};

enum { SIP_BRANCH_MAX = 40 }; /* of ours, with NUL */

/* What it says to itself twice, for the metrics. */
struct sip_tx_counts {
	uint64_t servers, clients;			/* made */
	uint64_t requests_repeated, responses_repeated; /* sent again by our timers */
	uint64_t requests_absorbed, responses_absorbed; /* came again */
	uint64_t acks_missing;				/* timer H */
	uint64_t client_timeouts, send_failures;
	uint64_t evicted; /* completed ones that had to give way before their time */
};

struct sip_txs_options {
	struct timers *timers;
	uint64_t (*now)(void *edge); /* ms on the timers' clock */
	const struct sip_edge_ops *ops;
	void *edge;
	struct sip_timer_values values;
	struct sip_limits_tx limits;
	struct hash_seed seed;
};

struct sip_txs;
int sip_txs_new(const struct sip_txs_options *o, struct sip_txs **ret_t);
struct sip_txs *sip_txs_free(struct sip_txs *t); /* ends all that are left: owners are told */
DEFINE_CLEANUP(struct sip_txs, sip_txs_free)
void sip_txs_set_values(struct sip_txs *t, const struct sip_timer_values *v); /* for timers that are set from now on */
const struct sip_tx_counts *sip_txs_counts(const struct sip_txs *t);
struct sip_charges *sip_txs_charges(struct sip_txs *t);

/* ---- server ---- */

struct sip_server_tx;
struct sip_server_user {
	void (*trying_due)(struct sip_server_tx *s,
			   void *owner); /* INVITE: 200 ms have gone by without a response */
	void (*ended)(struct sip_server_tx *s, void *owner); /* freed behind this call */
};

/* The transaction of this request: for an ACK its INVITE's. NULL: none. */
struct sip_server_tx *sip_server_find(struct sip_txs *t, const struct sip_msg *m,
				      const struct sip_basics *b);
/* The INVITE that this CANCEL wants to end (RFC 3261 9.2). NULL: none. */
struct sip_server_tx *sip_server_find_cancelled(struct sip_txs *t, const struct sip_msg *m,
						const struct sip_basics *b);
enum sip_seen {
	SIP_SEEN_ABSORBED, /* a retransmission: answered, if there is something to say again */
	SIP_SEEN_ACK_2XX,  /* an ACK for a 2xx: is passed on (RFC 6026 7.1) */
};
/* What comes for a transaction that sip_server_find() has found. */
enum sip_seen sip_server_input(struct sip_server_tx *s, const struct sip_msg *m);
/* For a request that has none; no ACK. 0, -ENOMEM, or a positive enum sip_refusal. */
int sip_server_new(struct sip_txs *t, const struct sip_msg *m, const struct sip_basics *b,
		   const struct sip_hop *came, struct sip_server_tx **ret_s);
void sip_server_own(struct sip_server_tx *s, const struct sip_server_user *user,
		    void *owner); /* NULL, NULL: nobody */
/* Sends a response: provisional ones, one final, to INVITE any number of 2xx. 0; -EALREADY if it comes too late;
 * -ENOMEM: it was sent, but cannot be sent again. s lives on until ended(). */
int sip_server_respond(struct sip_server_tx *s, unsigned code, struct text bytes);
/* No response will come (RFC 4320: no 408 to what is not INVITE): absorbs retransmissions for a while. */
void sip_server_give_up(struct sip_server_tx *s);
const struct sip_target *sip_server_reply(const struct sip_server_tx *s); /* where responses go */
/* Its owner, if it is of this kind; else NULL. */
void *sip_server_owner(const struct sip_server_tx *s, const struct sip_server_user *user);

/* ---- client ---- */

struct sip_client_tx;
enum sip_client_failure { SIP_CLIENT_TIMEOUT, SIP_CLIENT_TRANSPORT };
struct sip_client_user {
	/* Provisional ones, the first final one, each 2xx to an INVITE. m's topmost Via is ours. */
	void (*response)(struct sip_client_tx *c, void *owner, const struct sip_msg *m,
			 const struct sip_basics *b);
	/* No final response will come; freed behind this call. why may be NULL. */
	void (*failed)(struct sip_client_tx *c, void *owner, enum sip_client_failure f, const char *why);
	/* It has been here long enough; freed behind this call. */
	void (*ended)(struct sip_client_tx *c, void *owner);
};
struct sip_client_start {
	struct text request; /* as it leaves; copied */
	enum sip_method method;
	struct text method_name;
	const char *branch; /* of its topmost Via; CANCEL: the INVITE's */
	const struct sip_target *to;
	const struct sip_client_user *user;
	void *owner;
	bool own; /* a request of ours and nobody else's: its responses have no Via but ours */
};
/* A branch that is nobody else's and cannot be guessed: magic cookie, a number under a key, '.', loop (64 bits that
 * the maker understands: RFC 5393). */
void sip_branch_make(struct sip_txs *t, uint64_t loop, char out[static SIP_BRANCH_MAX]);
/* The loop part of a branch of ours, whoever had it in between: 0 or -EBADMSG. */
int sip_branch_loop(struct text branch, uint64_t *ret_loop);
/* Sends it. 0, -ENOMEM, -EBUSY (limits), or what the edge's send() says; then nothing is left. */
int sip_client_new(struct sip_txs *t, const struct sip_client_start *start,
		   struct sip_client_tx **ret_c);
/* Hands a response to its transaction. False: there is none (RFC 6026: drop it). */
bool sip_client_input(struct sip_txs *t, const struct sip_msg *m, const struct sip_basics *b);
/* The request has not left yet (its connection is still being made) and is taken back: true, then there never was one. */
bool sip_client_withdraw(struct sip_client_tx *c);
/* Has it left? */
bool sip_client_is_held(const struct sip_client_tx *c);
/* The owner goes; the transaction stays as long as it must, and says nothing any more. An INVITE that goes on ringing
 * is given 64*T1 to end. */
void sip_client_abandon(struct sip_client_tx *c);
/* CANCEL for an INVITE in SIP_TX_PROCEEDING: a transaction of its own over the same hop; the INVITE is given 64*T1 to end
 * (RFC 3261 9.1), also if the CANCEL could not be sent. lines: Reason. 0; -EALREADY (not ringing); -ENOMEM … */
int sip_client_cancel(struct sip_client_tx *c, const struct sip_line *lines, unsigned n_lines);
enum sip_tx_state sip_client_state(const struct sip_client_tx *c);
const struct sip_target *sip_client_target(const struct sip_client_tx *c);

/* For lists of what is under way: until fn returns false. fn changes nothing. */
struct sip_tx_view {
	bool server;
	enum sip_tx_state state;
	enum sip_method method;
	struct sip_hop peer;
	uint64_t made; /* ms */
	size_t bytes;  /* memory that it holds */
	void *owner;
};
void sip_txs_each(struct sip_txs *t, bool (*fn)(const struct sip_tx_view *v, void *arg), void *arg);
