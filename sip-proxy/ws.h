/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket on the wire, as a server of SIP needs it (RFC 6455, RFC 7118): the upgrade, frames in, frames out. Bytes in,
 * bytes out, no I/O. Strict: a client that does not mask, a reserved bit, a control frame that is long or in pieces ends
 * the connection, and so does a message longer than its bound.
 *
 * A SIP message is one WebSocket message, text or binary, whole or in fragments, which the reader puts together.
 */
#pragma once
#include <sys/types.h>
#include "common/text.h"

enum { WS_HEAD_MAX = 8192, WS_FRAME_HEAD_MAX = 10, WS_CONTROL_MAX = 125, WS_ANSWER_MAX = 512 };

/* The client's half of the upgrade. Its length and the answer to write, NUL-terminated; 0: not whole yet; -EBADMSG: no
 * upgrade to SIP, and then the answer, if it is not empty, says why and the connection ends. *ret_page: it has an Origin, so
 * that a page in a browser asks, perhaps without its user's knowledge (RFC 6455 10.2). */
ssize_t ws_upgrade(struct text buf, char answer[static WS_ANSWER_MAX], bool *ret_page);

enum ws_event {
	WS_MORE, /* not a whole frame yet, or the message goes on: *ret_used may go all the same */
	WS_MESSAGE, /* data, n: a whole message, until the next call */
	WS_PING,    /* data, n: to be sent back as a pong */
	WS_PONG,
	WS_CLOSE, /* the client ends it, or has to be made to: data is two bytes of code, or nothing */
};
struct ws_reader {
	char *parts; /* of a message in fragments */
	size_t n;
	bool going_on;
	bool text; /* it began as text: UTF-8 */
	size_t max; /* of a message */
};
struct ws_input {
	const char *data;
	size_t n;
};
/* The next frame at the start of buf, which is unmasked in place. enum ws_event; -EBADMSG, -EMSGSIZE, -EILSEQ: close
 * with 1002, 1009, 1007; -ENOMEM. */
int ws_read(struct ws_reader *r, uint8_t *buf, size_t n, size_t *ret_used, struct ws_input *ret_in);
void ws_reader_deinit(struct ws_reader *r);

enum ws_opcode {
	WS_OP_MORE = 0,
	WS_OP_TEXT = 1,
	WS_OP_BINARY = 2,
	WS_OP_CLOSE = 8,
	WS_OP_PING = 9,
	WS_OP_PONG = 10
};
/* The head of a frame of ours (not masked, whole); its length. */
size_t ws_frame_head(uint8_t head[static WS_FRAME_HEAD_MAX], enum ws_opcode op, size_t n);
