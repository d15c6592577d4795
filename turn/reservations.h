/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets held for RESERVATION-TOKEN (RFC 8656 7.2, EVEN-PORT with the R bit): the port above an even
 * one is bound when the even one is, and waits 30 s for the allocation that names its token.
 *
 * The second allocation comes from another client port and so, maybe, to another worker: the table
 * is shared and under a mutex, which is off the packet path. A held socket counts as an allocation
 * of its account until it is adopted or expires; only that user may take it. The token's first byte
 * is the number of the worker that holds it.
 */
#pragma once
#include "turn/server.h"

enum { TURN_RESERVATION_MS = 30000, TURN_RESERVATIONS_MAX = 4096, TURN_TOKEN_LEN = 8 };

struct turn_reservation {
	uint8_t token[TURN_TOKEN_LEN];
	struct addr at, public_at; /* bound to; as the world sees it */
	struct turn_held *held;	   /* owned */
	struct turn_account *account; /* one allocation of it; owned */
	uint64_t expires;
	char user[256];
	unsigned realm; /* the user's: its slot */
};

struct turn_reservations *turn_reservations_new(const struct turn_relay_ops *ops, struct turn_totals *t);
struct turn_reservations *turn_reservations_free(struct turn_reservations *rs); /* closes what is still held */
DEFINE_CLEANUP(struct turn_reservations, turn_reservations_free)

/* Makes the token and keeps r, whose held socket and account then belong to the table. 0; -ENOSPC,
 * -ENOMEM or -EIO: nothing was taken. */
int turn_reservations_put(struct turn_reservations *rs, unsigned worker, struct turn_reservation *r);
/* Hands the reservation over if the token is good, not expired and this user's of this realm. */
struct turn_claim {
	const uint8_t *token;
	unsigned realm;
	const char *user;
};
bool turn_reservations_take(struct turn_reservations *rs, const struct turn_claim *c, uint64_t now,
			    struct turn_reservation *ret_r);
/* Closes what has expired; returns when it should be called next (TIMERS_NEVER if nothing is held). */
uint64_t turn_reservations_expire(struct turn_reservations *rs, uint64_t now);
