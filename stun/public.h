/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One's own public address, told by STUN servers outside (RFC 8489 2): a round asks several of them at once from
 * one socket and judges what they said; a state keeps what is known over many rounds. Where nothing can be told the
 * reason is kept instead: nothing is guessed, and a server on our own side of the NAT is not believed.
 *
 * No I/O and no clock: the caller owns the socket, sends what it is told to and feeds what arrives.
 * stun/public_watch.h does that for a service.
 */
#pragma once
#include "common/addr.h"
#include "common/timers.h"

enum {
	PUBLIC_SERVERS_MAX = 8,
	PUBLIC_RTO_MS = 250,
	PUBLIC_ROUND_MS = 5000,	  /* a round takes no longer */
	PUBLIC_COMPARE_MS = 1000, /* how long the first answer waits for the others */
	PUBLIC_INTERVAL_MS = 60000,
	PUBLIC_RETRY_MS = 5000, /* after a failure; doubles up to the interval */
};

enum public_why {
	PUBLIC_FOUND,
	PUBLIC_ASKING,	   /* no round has ended yet */
	PUBLIC_NO_SERVERS, /* none is configured */
	PUBLIC_NO_NAME,	   /* their names have no address of this family */
	PUBLIC_NO_WAY,	   /* nothing can be sent from this address */
	PUBLIC_SILENT,
	PUBLIC_REFUSED, /* they answer with errors */
	PUBLIC_INSIDE,	/* they are behind the same NAT */
	PUBLIC_DISAGREE,
	PUBLIC_FAILED, /* memory, random numbers */
	PUBLIC_WHYS
};
const char *public_why_text(enum public_why w); /* a sentence without a full stop, with what to do */
const char *public_why_key(enum public_why w);	/* "servers-disagree": for programs */

struct public_finding { /* of one round */
	enum public_why why;
	struct addr external; /* PUBLIC_FOUND: port 0 */
	struct addr server;   /* that said so; PUBLIC_DISAGREE, _INSIDE: one of those meant */
	struct addr other;    /* PUBLIC_DISAGREE: what another one sees; _INSIDE: what it sees */
	bool port_kept;	      /* outside the same port as inside: 1:1, as far as can be seen */
};

struct public_round;
struct public_round_ops {
	void (*send)(const struct addr *to, const void *p, size_t n, void *arg);
	/* Once, never from within public_round_new(); public_round_free() is allowed in it. */
	void (*done)(const struct public_finding *f, void *arg);
};
struct public_round_options {
	struct timers *timers;
	const struct public_round_ops *ops;
	void *arg;
	struct addr local;	   /* of the socket */
	const struct addr *servers; /* of its family, with port; copied, at most PUBLIC_SERVERS_MAX */
	size_t n_servers;
};
int public_round_new(const struct public_round_options *o, uint64_t now, struct public_round **ret_r); /* 0, -ENOMEM, -EIO */
struct public_round *public_round_free(struct public_round *r);
void public_round_input(struct public_round *r, const struct addr *from, const void *p, size_t n, uint64_t now);
DEFINE_CLEANUP(struct public_round, public_round_free)

/* What is known over the rounds. Once known an address stays so until another is found: that the servers are
 * silent now does not make it wrong. */
struct public_state {
	bool known;
	bool remembered;      /* from an earlier run, and no round has confirmed it yet */
	struct addr external; /* if known: port 0 */
	struct addr server;   /* that last said so */
	int64_t found_at;     /* unix seconds of that */
	bool port_kept;
	enum public_why why;  /* of the last round */
	struct public_finding last;
	unsigned failures;    /* in a row */
};
#define PUBLIC_STATE_NEW ((struct public_state){ .why = PUBLIC_ASKING, .port_kept = true })
/* True: the address is another one than before, or the first. */
bool public_state_take(struct public_state *st, const struct public_finding *f, int64_t unix_s);
uint64_t public_state_wait(const struct public_state *st, uint64_t interval_ms); /* until the next round, in ms */
