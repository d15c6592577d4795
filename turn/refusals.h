/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One way to say no. A refusal is one value of this enum; its row gives the code and the text on the
 * wire, the counter's label, the log line, and the sentence for the administrator. All 401 carry
 * one text and so do all 403: a stranger learns nothing from it (RFC 8489 14.8, RFC 8656 18).
 *
 * The ring keeps a worker's last refusals for `stile turn why`; what belongs to every handshake
 * (the first 401, a nonce grown old) is not kept. A ring is its worker's own: not thread-safe.
 * Senders who have not proved their address have a smaller ring beside it, so that a flood of forged
 * packets cannot wash away what real clients were told.
 */
#pragma once
#include "common/addr.h"
#include "turn/log_msgs.h"

enum turn_refusal {
	TURN_ACCEPTED, /* none: the request was answered */
	TURN_REFUSE_ALTERNATE,	    /* not here: another server is named */
	TURN_REFUSE_MALFORMED,
	TURN_REFUSE_MISSING,	    /* an attribute that the method needs */
	TURN_REFUSE_CONTRADICTION,  /* attributes that exclude each other */
	TURN_REFUSE_CHANNEL,	    /* number out of range, or bound otherwise */
	TURN_REFUSE_TICKET,	    /* MOBILITY-TICKET where or as it must not be */
	TURN_REFUSE_CONNECTION,	    /* CONNECTION-ID that is not waiting */
	TURN_REFUSE_ALGORITHM,	    /* PASSWORD-ALGORITHM not ours, or the list was altered */
	TURN_REFUSE_CHALLENGE,	    /* no integrity: the first step of every client */
	TURN_REFUSE_CREDENTIAL,
	TURN_REFUSE_BACKOFF,	    /* not judged and not answered: too many bad credentials before */
	TURN_REFUSE_PEER,	    /* by rule */
	TURN_REFUSE_OWN_PEER,	    /* an own address with a port that is no live relay socket */
	TURN_REFUSE_MOBILITY,	    /* RFC 8016, by configuration */
	TURN_REFUSE_UNKNOWN,	    /* comprehension-required attributes that we do not know or offer */
	TURN_REFUSE_EXISTS,	    /* the five-tuple has an allocation made by another request */
	TURN_REFUSE_NO_ALLOCATION,
	TURN_REFUSE_STALE_NONCE,
	TURN_REFUSE_FAMILY,	    /* no relay address of this family */
	TURN_REFUSE_OWNER,	    /* the allocation is another user's */
	TURN_REFUSE_TRANSPORT,
	TURN_REFUSE_PEER_FAMILY,
	TURN_REFUSE_CONNECTED,	    /* RFC 6062: there is a connection to this peer */
	TURN_REFUSE_CONNECT,	    /* RFC 6062: the peer did not answer, or said no */
	TURN_REFUSE_QUOTA_USER,
	TURN_REFUSE_QUOTA_REALM,
	TURN_REFUSE_QUOTA_TOTAL,
	TURN_REFUSE_DRAINING,
	TURN_REFUSE_LEAVING,	    /* its listener was removed */
	TURN_REFUSE_PERMISSIONS,    /* of the allocation */
	TURN_REFUSE_PERMISSIONS_USER,
	TURN_REFUSE_PERMISSIONS_REALM,
	TURN_REFUSE_PERMISSIONS_TOTAL,
	TURN_REFUSE_CHANNELS,	    /* of the allocation */
	TURN_REFUSE_CHANNELS_USER,
	TURN_REFUSE_CHANNELS_REALM,
	TURN_REFUSE_CHANNELS_TOTAL,
	TURN_REFUSE_CONNECTIONS,
	TURN_REFUSE_PORTS,
	TURN_REFUSE_EXTERNAL,	    /* the relay address's public address is not known yet */
	TURN_REFUSE_RESERVATION,
	TURN_REFUSE_RESOURCES,	    /* sockets, memory */
	TURN_REFUSE_INTERNAL,
	TURN_REFUSALS
};

struct turn_refusal_row {
	uint16_t code;
	const char *text;  /* on the wire */
	const char *label; /* of the counter */
	const struct log_msg *msg; /* NULL: no event, not kept in the ring */
	const char *sentence; /* for the administrator */
};
extern const struct turn_refusal_row turn_refusal_rows[TURN_REFUSALS];
extern const char *const turn_refusal_labels[TURN_REFUSALS + 1]; /* in the enum's order */

struct turn_refusals;
enum { TURN_REFUSALS_KEPT = 256, TURN_REFUSALS_UNPROVEN = 64 };

struct turn_refused {
	uint64_t at_ms; /* the timers' clock */
	enum turn_refusal what;
	struct addr client;
	bool unproven; /* the client's address may be forged */
	char user[64];	  /* as presented, cut; "" if none: a stranger's bytes, escape before showing */
	char method[24];
	char realm[128];  /* of the path, whole (turn.realm has up to 127 bytes); "" if it did not come to that */
	char reason[256]; /* the row's sentence and its detail */
};

struct turn_refusals *turn_refusals_new(void);
struct turn_refusals *turn_refusals_free(struct turn_refusals *rs);
DEFINE_CLEANUP(struct turn_refusals, turn_refusals_free)
void turn_refusals_add(struct turn_refusals *rs, const struct turn_refused *r);
/* Newest first, while fn returns true. */
void turn_refusals_each(const struct turn_refusals *rs, bool (*fn)(const struct turn_refused *r, void *arg), void *arg);
