/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of our own: a response to a request, the ACK and CANCEL of a client transaction (RFC 3261 17.1.1.3 and 9.1),
 * simple requests such as OPTIONS. Headers that are taken over from the other message are copied byte for byte.
 *
 * All return the length written, -ENOSPC, or -EBADMSG if the other message lacks what is needed.
 */
#pragma once
#include <sys/types.h>
#include "sip-proxy/msg.h"

struct sip_line { /* one more header: "Name: value" */
	struct text name, value;
};

struct sip_response_parts {
	unsigned code;
	struct text reason;
	struct text to_tag; /* added to a To without a tag; p NULL: none (100) */
	struct text top_via; /* takes the place of the topmost Via value (received and rport filled in); p NULL: as it came */
	bool record_routes; /* copy Record-Route (2xx and 18x of a server of dialogs) */
	const struct sip_line *lines;
	unsigned n_lines;
	struct text content_type, body; /* body.n 0: none */
};
/* The request needs Via, From, To, Call-ID and CSeq: of a bad message, what sip_msg_parse() left of it. */
ssize_t sip_response_write(char *buf, size_t cap, const struct sip_msg *request,
			   const struct sip_response_parts *parts);

/* To the request that a client transaction has sent. response: its final one, not 2xx, whose To the ACK takes. */
ssize_t sip_ack_write(char *buf, size_t cap, const struct sip_msg *request,
		      const struct sip_msg *response);
/* lines: such as Reason (RFC 3326). */
ssize_t sip_cancel_write(char *buf, size_t cap, const struct sip_msg *request,
			 const struct sip_line *lines, unsigned n_lines);

struct sip_request_parts {
	struct text method, uri, via, from, to, call_id; /* values, ready made */
	uint32_t cseq;
	unsigned max_forwards;
	const struct sip_line *lines; /* Route, Contact, … */
	unsigned n_lines;
	struct text content_type, body;
};
ssize_t sip_request_write(char *buf, size_t cap, const struct sip_request_parts *parts);
