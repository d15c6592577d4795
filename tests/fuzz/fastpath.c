/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between stile-turn and stile-fastpath: what is taken is written again as the same bytes; and a
 * message that is one byte too short or too long never is.
 */
#include <assert.h>
#include <string.h>
#include "turn/fastpath/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int parse(const uint8_t *data, size_t size, struct fast_msg *m)
{
	uint8_t *block = malloc(size ? size : 1);

	assert(block);
	if (size)
		memcpy(block, data, size);
	int r = fast_msg_parse(block, size, m);
	free(block);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[FAST_MSG_LEN], padded[FAST_MSG_LEN] = { 0 };
	struct fast_msg m, other;

	if (parse(data, size, &m) == 0) {
		assert(size == FAST_MSG_LEN);
		fast_msg_write(&m, again);
		assert(memcmp(again, data, FAST_MSG_LEN) == 0);
		assert(parse(data, size - 1, &other) < 0);
	}
	/* The fuzzer need not find out the length. */
	if (size && size < FAST_MSG_LEN) {
		memcpy(padded, data, size);
		if (parse(padded, sizeof padded, &m) == 0) {
			fast_msg_write(&m, again);
			assert(memcmp(again, padded, FAST_MSG_LEN) == 0);
		}
	}
	return 0;
}
