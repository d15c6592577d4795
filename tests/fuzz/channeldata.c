/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Framing of a TURN stream. The input is cut into frames as the edge does it, whatever its bytes say: a
 * frame is never shorter than its payload, never longer by more than padding, known from its first
 * bytes as it is from all, and what a writer frames is read back.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "turn/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* More bytes never change the verdict, but for a magic cookie that turns out wrong. */
static void check_prefixes(const uint8_t *p, size_t n, ssize_t whole, size_t whole_payload)
{
	for (size_t i = 0; i <= MIN(n, (size_t)24); i++) {
		uint8_t *part = malloc(i ? i : 1);
		size_t payload = 0;
		assert(part);
		if (i)
			memcpy(part, p, i);
		ssize_t len = turn_frame_length(part, i, &payload);
		free(part);
		if (i < 4)
			assert(len == 0);
		else if (len != whole)
			assert(i < 8 && whole == -EBADMSG && len > 0);
		else if (len > 0)
			assert(payload == whole_payload);
	}
}

static void cut(const uint8_t *data, size_t size)
{
	while (size > 0) {
		size_t payload = 0;
		ssize_t len = turn_frame_length(data, size, &payload);
		check_prefixes(data, size, len, payload);
		if (len <= 0)
			return;
		assert(len >= 4 && len % 4 == 0 && payload <= (size_t)len && (size_t)len < payload + 4);
		if ((size_t)len > size)
			return;
		data += len;
		size -= (size_t)len;
	}
}

/* The input as the payload of one frame. */
static void wrap(const uint8_t *data, size_t size)
{
	size_t n = MIN(size, (size_t)65535), payload = 0;
	uint8_t *frame = calloc(1, n + 8);

	assert(frame);
	store_be16(frame, 0x4000);
	store_be16(frame + 2, (uint16_t)n);
	if (n)
		memcpy(frame + 4, data, n);
	ssize_t len = turn_frame_length(frame, n + 4, &payload);
	assert(payload == n + 4 && len == (ssize_t)((payload + 3) & ~(size_t)3));
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *block = malloc(size ? size : 1);

	assert(block);
	if (size)
		memcpy(block, data, size);
	cut(block, size);
	wrap(block, size);
	free(block);
	return 0;
}
