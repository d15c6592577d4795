/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits counted over all workers: allocations in total and per account, bytes per second in total
 * and per account, the live relay ports of this server (so that two clients of one server may reach each
 * other while the rest of its addresses stays refused), and the budget of unauthenticated answers.
 *
 * Off the packet path counts are atomics behind a sharded lock; on it a worker uses leases: some bytes
 * taken from the atomic total at once and spent locally. Fixed-size tables where strangers choose the
 * keys.
 */
#pragma once
#include "common/addr.h"
#include "common/hash.h"

/* How many own addresses can have relay sockets that other clients of this server reach; sockets on
 * more are refused as peers, nothing else. */
enum { TURN_TOTALS_RELAY_ADDRESSES = 64 };

struct turn_totals;
struct turn_account; /* counters of one account; lives while it has allocations */

struct turn_totals *turn_totals_new(void);
struct turn_totals *turn_totals_free(struct turn_totals *t);
DEFINE_CLEANUP(struct turn_totals, turn_totals_free)

/* Three at once: of the server, of a realm (by its slot: turn/realm.h), of an account within the realm. */
struct turn_caps {
	uint64_t total, realm, account; /* UINT64_MAX: unlimited */
};
enum turn_limit { TURN_LIMIT_OK, TURN_LIMIT_TOTAL, TURN_LIMIT_REALM, TURN_LIMIT_ACCOUNT, TURN_LIMIT_NO_MEMORY };
/* Counts one more allocation of the account; on TURN_LIMIT_OK *ret_a must be given back. */
enum turn_limit turn_totals_take(struct turn_totals *t, unsigned realm, const char *account,
				 const struct turn_caps *max, struct turn_account **ret_a);
void turn_totals_give(struct turn_totals *t, struct turn_account *a);

/* What allocations hold beside their sockets, counted the same way. */
enum turn_use { TURN_USE_PERMISSIONS, TURN_USE_CHANNELS, TURN_USES };
/* n more of them, or none. */
enum turn_limit turn_totals_use(struct turn_totals *t, struct turn_account *a, enum turn_use what, uint64_t n,
				const struct turn_caps *max);
void turn_totals_unuse(struct turn_totals *t, struct turn_account *a, enum turn_use what, uint64_t n);

/* Takes up to want bytes of this millisecond's allowance (token buckets of one second's burst over the
 * account, its realm and the total); returns how many were granted. Rates in bit/s. */
uint64_t turn_totals_lease(struct turn_totals *t, struct turn_account *a, const struct turn_caps *rates,
			   uint64_t want, uint64_t now_ms);
/* Which of the three left too little: the total or the realm if it has no n bytes now, else the account. */
enum turn_limit turn_totals_short(const struct turn_totals *t, const struct turn_account *a,
				  const struct turn_caps *rates, uint64_t n, uint64_t now_ms);
uint64_t turn_totals_of_realm(const struct turn_totals *t, unsigned realm); /* allocations */
uint64_t turn_totals_allocations(const struct turn_totals *t);
uint64_t turn_totals_made(const struct turn_totals *t); /* allocations, ever */
uint64_t turn_totals_peak(struct turn_totals *t); /* the most that there were since it was last asked */

/* Live relay sockets of all workers: a bitmap of ports per own address, readable without a lock. Any
 * spelling of an address means the same. A socket that clients know by an external address is recorded
 * under both. */
void turn_totals_relay_opened(struct turn_totals *t, const struct addr *at);
void turn_totals_relay_closed(struct turn_totals *t, const struct addr *at);
/* Whether any port of this address is alive, of either kind: off the packet path. */
bool turn_totals_any_relay(const struct turn_totals *t, const struct addr *at);
bool turn_totals_is_relay(const struct turn_totals *t, const struct addr *at); /* of a UDP allocation */
/* TCP allocations. Of two that listen on one address (SO_REUSEPORT allows it) the second learns it here: false. */
bool turn_totals_listener_opened(struct turn_totals *t, const struct addr *at);
void turn_totals_listener_closed(struct turn_totals *t, const struct addr *at);
bool turn_totals_is_listener(const struct turn_totals *t, const struct addr *at);

/* One worker's budget of unauthenticated answers: a table of fixed size, keyed by source prefix (IPv4
 * /24, IPv6 /48); only the bytes by which an answer exceeds its request are charged. */
struct turn_budget;
struct turn_budget *turn_budget_new(void);
struct turn_budget *turn_budget_free(struct turn_budget *b);
DEFINE_CLEANUP(struct turn_budget, turn_budget_free)
/* False: this answer must not be sent, and nothing was charged. One second's worth may go at once. */
bool turn_budget_charge(struct turn_budget *b, const struct addr *source, size_t request, size_t answer,
			uint64_t rate_bits, uint64_t now_ms);
