/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy core: transaction-stateful routing of RFC 3261 16 with RFC 5393 (loops, breadth), 6026, 4320, 5626's tokens
 * and 3327. No I/O and no global state: several cores may stand side by side, each with the calls that are given to it.
 * The edge gives it messages (sip_proxy_events), time (the timer wheel), and sends what it is asked to; the policy is a
 * chain of hooks (sip-proxy/policy.h).
 *
 * Order: what one sender sends within one call leaves in the order in which it came, also if something about it had to
 * be looked up first (sip-proxy/order.c).
 */
#pragma once
#include "sip-proxy/policy.h"
#include "sip-proxy/token.h"
#include "sip-proxy/transaction.h"

/* For a ring, and for counters by reason. */
struct sip_refused {
	enum sip_refusal what;
	uint64_t at_ms;
	struct sip_hop from;
	struct text method, uri, call_id; /* a stranger's bytes, of the call */
	const char *detail;		  /* or NULL */
};
struct sip_proxy_watch { /* each may be NULL */
	void (*refused)(void *arg, const struct sip_refused *r);
	/* A final response has gone back, so many ms behind its request. */
	void (*answered)(void *arg, enum sip_method method, unsigned code, uint64_t ms);
	/* The first response of a next hop has gone back (100 does not count), so many ms behind its request. */
	void (*heard)(void *arg, enum sip_method method, uint64_t ms);
};

struct sip_proxy_options {
	struct timers *timers;
	uint64_t (*now)(void *edge); /* ms on the timers' clock */
	const struct sip_edge_ops *ops;
	void *edge;
	const struct sip_hook *const *hooks; /* in the order of their stages; they and the array stay the caller's */
	unsigned n_hooks;
	/* Is this host one of our domains? (Addresses of listeners are asked of ops->is_us.) May be NULL. */
	bool (*is_domain)(void *edge, struct text host);
	/* A place of a dialog's route set, about to be sent to: who knows whose it is may put in the connection that leads
	 * there, or the name to be proven instead of the address. A name must live as long as the proxy. May be NULL. */
	void (*known)(void *edge, struct sip_target *t);
	struct sip_timer_values values;
	struct sip_limits_tx limits;
	uint32_t timer_c; /* ms; 0: 181000. An INVITE that rings longer is cancelled */
	uint32_t failover; /* ms; 0: 800. An INVITE to a place that is silent so long tries the next place, too */
	bool overload_control; /* RFC 7339 with next hops that take part */
	int64_t unix_offset;   /* ms: the world's time less the timers' clock */
	struct hash_seed seed; /* of the tables, branches and tags: random */
	struct sip_token_key token_key; /* of Record-Route's and Path's tokens; its MAC's key is kept over a restart */
	const struct sip_proxy_watch *watch;
	void *watch_arg;
};

struct sip_proxy_counts { /* plain numbers: one thread */
	uint64_t requests_out[SIP_METHODS];
	uint64_t responses_out[SIP_METHODS][7]; /* ours and theirs, by class, 1 … 6 */
	uint64_t refused[SIP_REFUSALS];
	uint64_t stray_responses, stray_acks; /* dropped: without a transaction, without a proven dialog */
	uint64_t acks_forwarded;
	uint64_t waited; /* messages that waited for one before them */
	uint64_t failovers;
	uint64_t held_back; /* requests that a next hop has asked to be spared (RFC 7339) */
};

int sip_proxy_new(const struct sip_proxy_options *o,
		  struct sip_proxy **ret_px);		/* 0, -ENOMEM, -EINVAL (hooks' order) */
struct sip_proxy *sip_proxy_free(struct sip_proxy *px); /* forgets all transactions, silently */
DEFINE_CLEANUP(struct sip_proxy, sip_proxy_free)
extern const struct sip_edge_events sip_proxy_events; /* core: a struct sip_proxy */
/* A message that the parser did not take: answers, if it is a request that can be answered (RFC 3261 8.2, 21.4.1). */
void sip_proxy_bad_message(struct sip_proxy *px, const struct sip_msg *m, enum sip_verdict why,
			   const struct sip_hop *hop);
/* Other times, for what begins from now on. */
void sip_proxy_set_times(struct sip_proxy *px, const struct sip_timer_values *v, uint32_t timer_c, uint32_t failover);
/* What would be decided about this request if it came from there: the hooks tell x->note what they think, and "decision"
 * the end. Nothing is sent or remembered. The code of the answer, 0 for a request that is passed on; -EBADMSG, -ENOMEM. */
int sip_proxy_explain(struct sip_proxy *px, struct text request, const struct sip_hop *from,
		      struct sip_explain *x);
/* From now on new requests outside of dialogs get 503. */
void sip_proxy_drain(struct sip_proxy *px, bool on);
void sip_proxy_set_overload_control(struct sip_proxy *px, bool on);
/* How full is what stands before the core (the sockets' queues), in percent? Told now and then by the edge's owner. */
void sip_proxy_set_pressure(struct sip_proxy *px, unsigned percent);
unsigned sip_proxy_loss(const struct sip_proxy *px); /* percent of requests that we ask others to spare us */
unsigned sip_proxy_spared(const struct sip_proxy *px); /* next hops that ask us */
const struct sip_proxy_counts *sip_proxy_counts(const struct sip_proxy *px);
struct sip_txs *sip_proxy_txs(struct sip_proxy *px); /* for counts and views */
/* Nothing is under way that a stop would lose: no open transactions. */
bool sip_proxy_idle(const struct sip_proxy *px);
