/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIP on streams (RFC 3261 18.3, RFC 5626 4.4.1): where one message ends and the next begins. The connection keeps its
 * bytes in a buffer of its own and offers the whole of it each time; the framer says what stands at its start and how
 * much of it that is. What it has seen already it does not look at again.
 *
 * After SIP_FRAME_BAD nothing that follows can be trusted: answer, if the message is a request and can be answered
 * (sip_response_write()), and close.
 */
#pragma once
#include "sip-proxy/msg.h"

struct sip_framer {
	const struct sip_limits *limits; /* NULL: the defaults */
	size_t scanned;			 /* bytes of the head that hold no empty line */
	size_t need;			 /* the whole length, when it is known; 0: not yet */
	bool half_ping; /* the last thing was a single CRLF: another one makes it a ping */
};
enum sip_frame {
	SIP_FRAME_MORE, /* nothing whole is there */
	SIP_FRAME_PING, /* CRLF CRLF: answer with CRLF */
	SIP_FRAME_PONG, /* a single CRLF: the answer to a ping, if we sent one, or nothing; a ping in two pieces is
			    * a pong and then a ping */
	SIP_FRAME_MESSAGE, /* m is parsed; sip_msg_deinit() is due */
	SIP_FRAME_BAD, /* *ret_why says why; m holds what could be read; sip_msg_deinit() is due */
};
/* *ret_used: bytes to drop from the start of the buffer, when m is no longer needed. -ENOMEM, or a sip_frame. */
int sip_framer_next(struct sip_framer *f, struct text buf, struct sip_msg *m, size_t *ret_used,
		    enum sip_verdict *ret_why);
