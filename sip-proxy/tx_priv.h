/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the transactions, for transaction.c (table and memory), tx_server.c and tx_client.c (the machines) and
 * timers.c (when). A transaction is one block of memory; what it may have to send again is another, which is let go as
 * soon as it is not needed.
 */
#pragma once
#include "sip-proxy/transaction.h"

/* One timer with two hands: what is repeated, and the end. */
struct sip_clock {
	struct timer timer;
	uint64_t repeat_at, end_at; /* TIMERS_NEVER: not */
	uint32_t interval, cap;	    /* ms; the interval doubles up to the cap */
};

struct sip_txs {
	struct sip_txs_options o;
	struct sip_timer_values v; /* defaults filled in */
	struct htable servers, clients;
	struct list kept; /* completed servers, the oldest first */
	struct sip_charges charges;
	struct sip_tx_counts counts;
	uint64_t branches;	    /* made so far */
	char key[2 * SIP_MAX_HEAD]; /* a server's key while it is looked for */
};

struct sip_server_tx {
	struct hnode node;
	struct list kept; /* in txs->kept while completed */
	struct sip_clock clock;
	struct sip_txs *txs;
	const struct sip_server_user *user; /* NULL: nobody */
	void *owner;
	struct sip_charge *charge; /* NULL when completed */
	struct sip_target reply;
	uint64_t made;
	char *response; /* to be sent again */
	uint32_t response_n, key_n;
	enum sip_tx_state state;
	enum sip_method method;
	bool reliable;
	char key[];
};

struct sip_client_tx {
	struct hnode node;
	struct sip_clock clock;
	struct sip_txs *txs;
	const struct sip_client_user *user;
	void *owner;
	struct sip_target to; /* its name stands in name */
	struct sip_wait wait;
	uint64_t made;
	char *bytes; /* the request; behind a final response to INVITE the ACK */
	uint32_t bytes_n;
	enum sip_tx_state state;
	enum sip_method method;
	bool reliable, cancelled, reported, own;
	char branch[SIP_BRANCH_MAX];
	char name[]; /* of the method, if we do not know it; NUL; to.name */
};

/* ---- timers.c: by event ---- */
void sip_timers_defaults(struct sip_timer_values *v);
void sip_on_invite_received(struct sip_server_tx *s);
void sip_on_response_sent(struct sip_server_tx *s); /* no 100 is due any more */
void sip_on_final_sent(struct sip_server_tx *s);    /* not a 2xx to INVITE */
void sip_on_success_sent(struct sip_server_tx *s);  /* 2xx to INVITE */
void sip_on_ack_received(struct sip_server_tx *s);
void sip_on_request_sent(struct sip_client_tx *c);
void sip_on_provisional_received(struct sip_client_tx *c);
void sip_on_final_received(struct sip_client_tx *c); /* not a 2xx to INVITE */
void sip_on_success_received(struct sip_client_tx *c);
void sip_on_abandoned(struct sip_client_tx *c);	  /* an INVITE that rings for nobody */
void sip_on_cancel_sent(struct sip_client_tx *c); /* of the INVITE */

/* ---- tx_server.c, tx_client.c: what the timers do ---- */
void sip_server_repeat(struct sip_server_tx *s);
void sip_server_expire(struct sip_server_tx *s);
void sip_client_repeat(struct sip_client_tx *c);
void sip_client_expire(struct sip_client_tx *c);
void sip_server_end(struct sip_server_tx *s); /* tells the owner and frees */
void sip_client_end(struct sip_client_tx *c);

/* Bytes that are charged and freed together. */
char *sip_keep_bytes(struct sip_txs *t, struct text bytes); /* NULL: no memory, or too much */
void sip_drop_bytes(struct sip_txs *t, char **bytes, uint32_t *n);
static inline uint64_t sip_txs_now(const struct sip_txs *t)
{
	return t->o.now(t->o.edge);
}
