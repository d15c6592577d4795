/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One way to say no. A refusal is one value of this enum; its row gives the code and the reason phrase on the wire, the
 * counter's label, the log line, and the sentence for the administrator. What a stranger reads follows from the code
 * alone; the sentence and its detail go to the log.
 */
#pragma once
#include "sip-proxy/log_msgs.h"

enum sip_refusal {
	SIP_ACCEPTED,
	SIP_REFUSE_MALFORMED,	   /* the verdict of the parser is the detail */
	SIP_REFUSE_TOO_MANY_HOPS,  /* 483 */
	SIP_REFUSE_LOOP,	   /* 482 */
	SIP_REFUSE_BREADTH,	   /* 440, RFC 5393 */
	SIP_REFUSE_EXTENSION,	   /* 420: Proxy-Require */
	SIP_REFUSE_NO_TRANSACTION, /* 481 to a CANCEL */
	SIP_REFUSE_RELAY,	   /* 403: neither ours nor of a dialog that went through us */
	SIP_REFUSE_DIALOG,	   /* 403: a Route of ours that is not proven */
	SIP_REFUSE_SOURCE,	   /* 403: not from this address */
	SIP_REFUSE_IDENTITY,	   /* 403: not who it says */
	SIP_REFUSE_CREDENTIAL, /* 403 after a credential that was not good; the challenge is an answer */
	SIP_REFUSE_BACKOFF,	 /* 403: too many bad credentials before */
	SIP_REFUSE_POLICY,	 /* 403: a rule of the administrator */
	SIP_REFUSE_UNKNOWN_USER, /* 404 */
	SIP_REFUSE_OFFLINE,	 /* 480: known, but nowhere registered */
	SIP_REFUSE_UNREACHABLE, /* 503 from all places of a target, or none that could be reached: 500 upstream */
	SIP_REFUSE_UNRESOLVED,	    /* 404/502: DNS has no such name */
	SIP_REFUSE_IN_CLEAR,	    /* 480, RFC 5630 5.3: sips, and no place of it by TLS */
	SIP_REFUSE_TIMEOUT,	    /* 408 */
	SIP_REFUSE_FLOW,	    /* 430 */
	SIP_REFUSE_CANCELLED,	    /* 487 */
	SIP_REFUSE_TOO_LARGE,	    /* 513 */
	SIP_REFUSE_RATE,	    /* 503: a partner sends faster than it may */
	SIP_REFUSE_OVERLOAD_SOURCE, /* 503: transactions of one source */
	SIP_REFUSE_OVERLOAD,	    /* 503: transactions or memory in all */
	SIP_REFUSE_RESOURCES,	    /* 503: memory */
	SIP_REFUSE_SPARED,	    /* 503: the next hop asked to be spared (RFC 7339) */
	SIP_REFUSE_DRAINING,	    /* 503 */
	SIP_REFUSE_INTERNAL,	    /* 500 */
	SIP_REFUSALS
};

struct sip_refusal_row {
	uint16_t code;		   /* 0: no answer */
	const char *text;	   /* on the wire */
	const char *label;	   /* of the counter */
	const struct log_msg *msg; /* NULL: no event */
	const char *sentence;	   /* for the administrator */
};
extern const struct sip_refusal_row sip_refusal_rows[SIP_REFUSALS];
extern const char *const sip_refusal_labels[SIP_REFUSALS + 1]; /* in the enum's order */
/* The usual reason phrase of a code; "" for one that is in no RFC we know. */
struct text sip_reason_phrase(unsigned code);
