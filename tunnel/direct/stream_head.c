/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec of what stream_head.h describes. What comes was written by the other agent, which is known but need not be
 * friendly: names are printable ASCII without blanks, kinds and reasons are those that we know, texts are made fit to be
 * shown. Nothing is kept: who reads a stream has to have the bytes of before.
 */
#include "tunnel/direct/stream_head.h"
#include <errno.h>
#include <string.h>
#include "common/bytes.h"

enum { HEAD_FIXED = 5, ANSWER_FIXED = 2 };

int stream_head_parse(const uint8_t *p, size_t n, struct stream_head *ret_h, size_t *ret_n)
{
	struct rd r = rd_init(p, n);
	struct stream_head h = { 0 };
	uint8_t version = rd_u8(&r), length;
	const uint8_t *name;

	if (n && version != STREAM_VERSION)
		return -EPROTO;
	h.kind = rd_u8(&r);
	h.port = rd_u16(&r);
	length = rd_u8(&r);
	if (n >= 2 && h.kind != WIRE_JOB_TCP && h.kind != WIRE_JOB_UDP)
		return -EPROTO;
	if (r.failed)
		return -EAGAIN;
	if (!h.port || !length)
		return -EPROTO;
	name = rd_take(&r, length);
	if (!name)
		return -EAGAIN;
	for (unsigned i = 0; i < length; i++)
		if (name[i] <= ' ' || name[i] >= 0x7f)
			return -EPROTO;
	memcpy(h.host, name, length);
	*ret_h = h;
	*ret_n = HEAD_FIXED + (size_t)length;
	return 0;
}

int stream_answer_parse(const uint8_t *p, size_t n, struct stream_answer *ret_a, size_t *ret_n)
{
	struct rd r = rd_init(p, n);
	struct stream_answer a = { .reason = rd_u8(&r) };
	uint8_t length = rd_u8(&r);
	const uint8_t *text;

	if (r.failed)
		return -EAGAIN;
	if (a.reason >= WIRE_REASONS)
		return -EPROTO;
	text = rd_take(&r, length);
	if (!text)
		return -EAGAIN;
	for (unsigned i = 0; i < length; i++)
		a.text[i] = text[i] >= ' ' && text[i] < 0x7f ? (char)text[i] : '?';
	*ret_a = a;
	*ret_n = ANSWER_FIXED + (size_t)length;
	return 0;
}

size_t stream_head_write(const struct stream_head *h, uint8_t out[static STREAM_HEAD_MAX])
{
	struct wr w = wr_init(out, STREAM_HEAD_MAX);
	size_t n = strlen(h->host);

	wr_u8(&w, STREAM_VERSION);
	wr_u8(&w, h->kind);
	wr_u16(&w, h->port);
	wr_u8(&w, (uint8_t)n);
	wr_bytes(&w, h->host, n);
	return wr_len(&w);
}

size_t stream_answer_write(const struct stream_answer *a, uint8_t out[static STREAM_ANSWER_MAX])
{
	struct wr w = wr_init(out, STREAM_ANSWER_MAX);
	size_t n = strlen(a->text);

	wr_u8(&w, a->reason);
	wr_u8(&w, (uint8_t)n);
	wr_bytes(&w, a->text, n);
	return wr_len(&w);
}
