/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a stream between two agents begins. The visitor says what it wants to reach, and goes on at once with the bytes; the
 * host answers with yes, or no and why, and then with the target's bytes.
 *
 *   visitor:  u8 version (1), u8 kind (enum wire_job_kind), u16 port, u8 length, so many bytes: name or address
 *   host:     u8 reason (enum wire_reason; 0: yes), u8 length, so many bytes: a sentence
 *
 * A UDP flow has such a stream as well; its datagrams carry the number of it (peer_link.h), and it lasts as long as the stream.
 */
#pragma once
#include "tunnel/link/wire.h"

enum { STREAM_VERSION = 1, STREAM_HOST_MAX = 255, STREAM_HEAD_MAX = 5 + STREAM_HOST_MAX, STREAM_ANSWER_MAX = 2 + 255 };

struct stream_head {
	uint8_t kind; /* enum wire_job_kind */
	uint16_t port;
	char host[STREAM_HOST_MAX + 1];
};
struct stream_answer {
	uint8_t reason;
	char text[256];
};
/* The one at the front of n bytes: 0 and its length; -EAGAIN: not all of it is there; -EPROTO. */
int stream_head_parse(const uint8_t *p, size_t n, struct stream_head *ret_h, size_t *ret_n);
int stream_answer_parse(const uint8_t *p, size_t n, struct stream_answer *ret_a, size_t *ret_n);
size_t stream_head_write(const struct stream_head *h, uint8_t out[static STREAM_HEAD_MAX]);
size_t stream_answer_write(const struct stream_answer *a, uint8_t out[static STREAM_ANSWER_MAX]);
