/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STUN client transactions (RFC 8489 6.2): retransmission over UDP (RTO 500 ms doubling, Rc 7, Rm 16),
 * one time-out Ti 39.5 s over reliable transports, matching of responses. No I/O, no clock: the
 * caller sends what it is told to, feeds what it received, and calls tick() at next().
 */
#pragma once
#include "common/timers.h"
#include "stun/auth.h"

enum { STUN_RTO_MS = 500, STUN_RC = 7, STUN_RM = 16, STUN_TI_MS = 39500, STUN_REQUEST_MAX = 2048 };
enum stun_tx_failure {
	STUN_TX_OK,	      /* under way, or answered */
	STUN_TX_TIMEOUT,      /* no response */
	STUN_TX_INTEGRITY,    /* responses, but none whose integrity was right */
	STUN_TX_BAD_RESPONSE, /* it needs an attribute we do not know, or is an error without a code */
};

struct stun_tx;
struct stun_tx_ops {
	/* First time (within stun_tx_new, *ret_t is set) and each repeat; must not free the transaction. */
	void (*send)(struct stun_tx *t, const void *p, size_t n, void *arg);
	/* m == NULL: failed, see stun_tx_failure(). Called once; the transaction may be freed in it. */
	void (*done)(struct stun_tx *t, const struct stun_msg *m, void *arg);
};
struct stun_tx_options {
	struct timers *timers;
	bool reliable;		    /* TCP, TLS: nothing is repeated */
	const struct stun_key *key; /* NULL, or checks the response's integrity; borrowed */
	const struct stun_tx_ops *ops;
	void *arg; /* for ops */
};
/* request: a finished message, copied. 0, -ENOMEM, -EMSGSIZE above STUN_REQUEST_MAX, -EINVAL if it is no
 * well-formed request. */
int stun_tx_new(const struct stun_tx_options *o, uint64_t now, const void *request, size_t n,
		struct stun_tx **ret_t);
struct stun_tx *stun_tx_free(struct stun_tx *t);
/* True if m is this transaction's response (method, tid). With a key, its integrity must be right, save for
 * 401 and 438 without any, by which a server asks for (new) credentials: else it is as if never
 * received (false), but on a reliable transport it ends the transaction (RFC 8489 9.1.4, 9.2.5). */
bool stun_tx_input(struct stun_tx *t, const struct stun_msg *m);
enum stun_tx_failure stun_tx_failure(const struct stun_tx *t);
void stun_tx_rto(struct stun_tx *t, uint64_t rto_ms); /* before the first repeat; default 500 */
unsigned stun_tx_sent(const struct stun_tx *t);
DEFINE_CLEANUP(struct stun_tx, stun_tx_free)
