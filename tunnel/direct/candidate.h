/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Candidates: the addresses at which one end of a direct link may be reached, as lines of text (RFC 8839 5.1, TCP by
 * RFC 6544 4.5), without the "a=" in front; and the rules by which those of another end are taken or refused.
 *
 * Pure: no I/O, no memory of its own. What a peer sends is judged here before any library sees it, because a
 * candidate is an order to send packets somewhere: never to ourselves, to a group, or to what is no host's address.
 */
#pragma once
#include "common/addr.h"
#include "common/text.h"

enum {
	CANDIDATE_STRLEN = 256,	 /* of a printed line, with its NUL */
	CANDIDATE_LINE_MAX = 511, /* a longer one of a peer is refused */
	CANDIDATES_MAX = 32,	 /* that one end may name in one attempt; more are dropped and counted */
};
/* Two components in one stream: what is found without a relay, and a way through TURN that is kept beside it. */
enum candidate_component { CANDIDATE_DIRECT = 1, CANDIDATE_RELAYED = 2 };
enum candidate_type { CANDIDATE_HOST, CANDIDATE_SRFLX, CANDIDATE_PRFLX, CANDIDATE_RELAY, CANDIDATE_TYPES };
enum candidate_tcp { CANDIDATE_UDP, CANDIDATE_TCP_ACTIVE, CANDIDATE_TCP_PASSIVE, CANDIDATE_TCP_SO };

struct candidate {
	char foundation[33];
	unsigned component;
	enum candidate_tcp tcp;
	uint32_t priority;
	struct addr addr;
	enum candidate_type type;
	struct addr related; /* AF_UNSPEC: none said */
};

/* "candidate:1 1 UDP 2130706431 192.0.2.1 40000 typ host"; "a=" in front and unknown extensions behind are
 * skipped. 0, -EBADMSG, or -EOPNOTSUPP: well-formed, but a name (mDNS), a transport or a type that we do not have. */
int candidate_parse(struct text line, struct candidate *ret_c);
/* The length; such a line is read back as the same. */
size_t candidate_print(const struct candidate *c, char buf[static CANDIDATE_STRLEN]);
bool candidate_same_place(const struct candidate *a, const struct candidate *b); /* transport and address */
uint32_t candidate_priority(enum candidate_type t, unsigned local_preference, unsigned component); /* RFC 8445 5.1.2.1 */
const char *candidate_type_name(enum candidate_type t); /* "host", "srflx", … */

/* Why a peer's candidate is not used. */
enum candidate_verdict {
	CANDIDATE_TAKEN,
	CANDIDATE_BAD_SYNTAX,
	CANDIDATE_NOT_SUPPORTED,
	CANDIDATE_ZERO_PRIORITY, /* libnice 0.1.21 would take it (RFC 8445 5.1.2: 1 to 2^31-1) */
	CANDIDATE_COMPONENT,	 /* neither the direct one nor the relayed one */
	CANDIDATE_PORT,		 /* 0, or one of the system's ports over UDP */
	CANDIDATE_LOOPBACK_ADDRESS,
	CANDIDATE_GROUP,	 /* multicast, broadcast */
	CANDIDATE_NO_ADDRESS,	 /* unspecified, link-local, reserved */
	CANDIDATE_TWICE,
	CANDIDATE_TOO_MANY,
	CANDIDATE_VERDICTS
};
const char *candidate_verdict_text(enum candidate_verdict v); /* "points at a loopback address" */
const char *candidate_verdict_key(enum candidate_verdict v);  /* "loopback": a label */

struct candidate_policy {
	bool loopback; /* both ends are on this machine and their server too: tests, a demonstration */
};
enum candidate_verdict candidate_judge(const struct candidate *c, const struct candidate_policy *p);
