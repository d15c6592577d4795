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
enum stun_tx_event { STUN_TX_SEND, STUN_TX_RESPONSE, STUN_TX_TIMEOUT };

struct stun_tx;
struct stun_tx_ops {
	void (*send)(struct stun_tx *t, const void *p, size_t n, void *arg); /* first time and each repeat */
	/* m == NULL: timed out. Called once; the transaction may be freed in it. */
	void (*done)(struct stun_tx *t, const struct stun_msg *m, void *arg);
};
/* request: a finished message, copied. key: NULL or checks the response's integrity (borrowed). */
int stun_tx_new(struct timers *ts, uint64_t now, const void *request, size_t n, bool reliable,
		const struct stun_key *key, const struct stun_tx_ops *ops, void *arg, struct stun_tx **ret_t);
struct stun_tx *stun_tx_free(struct stun_tx *t);
/* True if m is this transaction's response (method, tid; a response with wrong integrity is ignored:
 * false). */
bool stun_tx_input(struct stun_tx *t, const struct stun_msg *m);
void stun_tx_rto(struct stun_tx *t, uint64_t rto_ms); /* before the first repeat; default 500 */
unsigned stun_tx_sent(const struct stun_tx *t);
DEFINE_CLEANUP(struct stun_tx, stun_tx_free)
