/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What two agents read of each other outside of QUIC and at the beginning of its streams. The first byte says which parser the rest
 * is for: the head of a stream, its answer, a frame of a byte pipe, a probe, the head of a datagram, parts of a datagram.
 * Checked: a beginning of something whole is incomplete, and what was read, written again, is read alike.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "tunnel/direct/flows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void head(const uint8_t *p, size_t n)
{
	uint8_t out[STREAM_HEAD_MAX];
	struct stream_head h, again;
	size_t used, other;

	if (stream_head_parse(p, n, &h, &used) != 0)
		return;
	assert(used <= n && stream_head_write(&h, out) == used && memcmp(out, p, used) == 0);
	assert(stream_head_parse(out, used, &again, &other) == 0 && other == used && strcmp(again.host, h.host) == 0);
	for (size_t i = 0; i < used; i++)
		assert(stream_head_parse(p, i, &again, &other) == -EAGAIN);
}

static void answer(const uint8_t *p, size_t n)
{
	uint8_t out[STREAM_ANSWER_MAX];
	struct stream_answer a, again;
	size_t used, other;

	if (stream_answer_parse(p, n, &a, &used) != 0)
		return;
	assert(used <= n);
	for (size_t i = 0; i < used; i++)
		assert(stream_answer_parse(p, i, &again, &other) == -EAGAIN);
	other = stream_answer_write(&a, out);
	assert(other == used && stream_answer_parse(out, other, &again, &other) == 0);
	assert(again.reason == a.reason && strcmp(again.text, a.text) == 0);
}

static void frame(const uint8_t *p, size_t n)
{
	uint8_t again[FRAMED_HEAD];
	size_t segment, length;

	if (framed_parse(p, n, &segment, &length) != 0)
		return;
	assert(FRAMED_HEAD + length <= n && length <= PATH_BATCH_MAX && (length ? segment > 0 && segment <= length : !segment));
	framed_head(again, segment, length);
	assert(memcmp(again, p, sizeof(again)) == 0);
}

static void probe(const uint8_t *p, size_t n)
{
	uint8_t out[PROBE_LEN];
	struct probe m;

	if (probe_parse(p, n, &m) != 0)
		return;
	probe_write(&m, out);
	assert(n == sizeof(out) && memcmp(out, p, n) == 0);
}

static void flow_head(const uint8_t *p, size_t n)
{
	uint8_t out[FLOW_HEAD];
	struct flow_head h;

	if (flow_head_parse(p, n, &h) != 0)
		return;
	flow_head_write(&h, out);
	assert(n >= sizeof(out) && memcmp(out, p, sizeof(out)) == 0);
}

/* Parts of any number, order and length: u8 length (times 256), the head, so many bytes. */
static void parts(const uint8_t *p, size_t n)
{
	struct flow_parts a = { 0 };
	size_t whole;

	while (n > 1 + FLOW_HEAD) {
		size_t length = MIN((size_t)p[0] * 256, n - 1 - FLOW_HEAD);
		struct flow_head h;

		if (flow_head_parse(p + 1, FLOW_HEAD, &h) == 0 && h.flow && flow_parts_add(&a, &h, p + 1 + FLOW_HEAD, length, &whole) == 0)
			assert(whole <= FLOW_DATAGRAM_MAX);
		p += 1 + FLOW_HEAD + length;
		n -= 1 + FLOW_HEAD + length;
	}
	flow_parts_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const which[])(const uint8_t *, size_t) = { head, answer, frame, probe, flow_head, parts };
	uint8_t *block;

	if (!size)
		return 0;
	block = malloc(size > 1 ? size - 1 : 1); /* of exactly its size */
	if (!block)
		return 0;
	memcpy(block, data + 1, size - 1);
	which[data[0] % ARRAY_LEN(which)](block, size - 1);
	free(block);
	return 0;
}
