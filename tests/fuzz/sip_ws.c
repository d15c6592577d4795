/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upgrade and the frames of WebSocket. The first byte chooses which. Checked: nothing is read or written beyond the
 * input; a beginning of an upgrade never gets another verdict than the whole, but "not yet"; frames make progress, and a
 * message is never longer than its bound.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "sip-proxy/ws.h"

enum { BOUND = 2000 };

static void upgrade(const uint8_t *p, size_t n)
{
	char answer[WS_ANSWER_MAX], part[WS_ANSWER_MAX];
	bool page, part_page;
	ssize_t whole = ws_upgrade((struct text){ (const char *)p, n }, answer, &page);

	assert(whole == -EBADMSG || (whole >= 0 && (size_t)whole <= n));
	assert((whole > 0) == (strncmp(answer, "HTTP/1.1 101 ", 13) == 0));
	for (size_t i = 0; i < n; i += n / 24 + 1) {
		ssize_t r = ws_upgrade((struct text){ (const char *)p, i }, part, &part_page);
		assert(r == 0 || (r < 0) == (whole < 0));
		assert(r <= 0 || part_page == page);
	}
}

static void frames(uint8_t *p, size_t n)
{
	struct ws_reader r = { .max = BOUND };
	struct ws_input in;
	size_t at = 0, used = 1;

	while (at < n && used) {
		int e = ws_read(&r, p + at, n - at, &used, &in);
		assert(used <= n - at);
		if (e < 0) {
			assert(e == -EBADMSG || e == -EMSGSIZE || e == -EILSEQ);
			break;
		}
		assert(in.n <= BOUND);
		if (in.n)
			assert(in.data[0] + in.data[in.n - 1] != 1000);
		at += used;
	}
	ws_reader_deinit(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n = size ? size - 1 : 0;
	uint8_t *block = malloc(n ? n : 1); /* exactly its size: one byte too many shows */

	assert(block);
	if (n)
		memcpy(block, data + 1, n);
	if (size && data[0] & 1)
		upgrade(block, n);
	else
		frames(block, n);
	free(block);
	return 0;
}
