/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad credentials back off: after some failed authentications, further requests of the same source and user name
 * are neither judged nor answered for a while, which doubles with each round up to a bound. So guessing is
 * slow, and a client with an old password costs nothing. docs/decisions/0012 has the reasons.
 *
 * Whose failures count together:
 *   a pair     an address (IPv6: its /64) and a user name of a realm. A phone with a wrong password backs off; its
 *              neighbours behind the same NAT have other names and notice nothing.
 *   an address all names together, with a higher limit: else who tries another name each time would never
 *              be stopped.
 * A pair that has been right within the last hour is judged four times a second even then, 64 at once: the
 * good device of a user whose old one keeps knocking gets in. Only senders that returned a nonce of ours
 * are counted, so no forged packet leaves a trace. What lives is not touched: requests on an allocation that
 * are signed with its own key are never asked about here.
 *
 * Tables of fixed size with seeded hashes, of one worker: not thread-safe.
 */
#pragma once
#include "common/addr.h"
#include "common/text.h"

struct turn_backoff;

struct turn_backoff_limits {
	uint64_t per_user, per_address; /* failures before the first wait; UINT64_MAX: never */
	uint64_t max_ms;		/* the longest wait */
};
struct turn_backoff_who {
	const struct addr *client;
	struct text realm;
	struct text user; /* as presented: a name, "expiry:name" or a hash */
};
struct turn_backoff_wait { /* what a failure led to */
	uint64_t failures, ms;
	bool address; /* the whole address waits, not only this user */
};

struct turn_backoff *turn_backoff_new(void);
struct turn_backoff *turn_backoff_free(struct turn_backoff *b);
DEFINE_CLEANUP(struct turn_backoff, turn_backoff_free)
/* False: not now, leave it unanswered. */
bool turn_backoff_may_try(struct turn_backoff *b, const struct turn_backoff_limits *l,
			  const struct turn_backoff_who *who, uint64_t now);
/* Its credential was bad; true: a wait begins, *ret_w says which. */
bool turn_backoff_failed(struct turn_backoff *b, const struct turn_backoff_limits *l,
			 const struct turn_backoff_who *who, uint64_t now, struct turn_backoff_wait *ret_w);
/* Its credential was good. */
void turn_backoff_passed(struct turn_backoff *b, const struct turn_backoff_who *who, uint64_t now);
