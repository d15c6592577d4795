/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mobility (RFC 8016): an allocation that was asked for with an empty MOBILITY-TICKET has a ticket, and a
 * Refresh that shows it from another five-tuple, signed by the allocation's user, moves the allocation
 * there. A ticket is text, for clients that treat it as a string: the number of the worker that made
 * it, two hexadecimal digits, then 128 random bits in base64url. It is no credential: who knows a
 * ticket and not the user's password is told the same as for a ticket that never was.
 */
#pragma once
#include "turn/core.h"

enum { TURN_TICKET_LEN = 24, TURN_MOVED_NOTES = 64 };

struct turn_mobility {
	struct turn_alloc *alloc;
	/* [0] is the one that was given last. [1] moved the allocation to where it is and stays good, because the
	 * answer that held [0] may have been lost, until the client is heard from there or [0] is used: a Refresh
	 * with it that was late on its way would take the allocation back. */
	struct turn_ticket {
		struct hnode node; /* in server->by_ticket */
		struct turn_mobility *of;
		uint8_t text[TURN_TICKET_LEN];
		bool live;
	} ticket[2];
	uint8_t moved_by[STUN_TID_LEN]; /* transaction of the last move, for its retransmission */
	bool has_moved;
	uint64_t granted_ms; /* by that move */
};

/* Where allocations went whose tickets name this worker: a ring. */
struct turn_moved {
	uint8_t ticket[TURN_TICKET_LEN];
	unsigned worker;
};

/* Makes the first ticket; NULL: no memory or no random numbers. Freed with the allocation. */
struct turn_mobility *turn_mobility_new(struct turn_alloc *a);
struct turn_mobility *turn_mobility_free(struct turn_mobility *m);
/* Into, and out of, the table of the allocation's server. -ENOMEM. */
int turn_mobility_link(struct turn_mobility *m);
void turn_mobility_unlink(struct turn_mobility *m);
bool turn_mobility_is_parked(const struct turn_alloc *a);
struct turn_alloc *turn_mobility_find(const struct turn_server *s, const uint8_t ticket[static TURN_TICKET_LEN]);
void turn_mobility_put(const struct turn_mobility *m, struct stun_writer *sw);

/* The client has used its new path: data that has come from there, or a request with its credential. */
void turn_mobility_settle(struct turn_alloc *a);
/* A Refresh with MOBILITY-TICKET. */
enum turn_refusal turn_on_move(struct turn_request *q);
struct turn_alloc *turn_mobility_named(const struct turn_request *q); /* by its ticket; NULL: none of this worker */
/* Another worker; false: there is none to ask. */
bool turn_mobility_ask(struct turn_request *q, enum turn_refusal *ret_r);
/* The client's connection is gone, the allocation waits for it to come back: what peers send is lost. */
void turn_mobility_park(struct turn_alloc *a);

/* turn/handover.c: asks the worker that has the ticket's allocation for it; the request is handled again
 * when the answer comes, with or without the allocation. Whose credential is not good here (no q->key), is judged there,
 * by the allocation's key. False: nobody to ask. */
bool turn_handover_ask(struct turn_request *q, const uint8_t ticket[static TURN_TICKET_LEN], enum turn_refusal *ret_r);
