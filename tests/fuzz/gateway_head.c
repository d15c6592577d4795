/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Head of a share's answer, as stile-gateway reads it; and the path of a request. Checked: every slice lies in the buffer and is
 * plain text, a beginning never gets another verdict than the whole but "more is needed", and bytes behind a head change nothing.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "gateway/transfer.h"

static void check_inside(struct text part, const char *p, size_t n)
{
	if (part.n)
		assert(part.p >= p && part.p + part.n <= p + n);
	for (size_t i = 0; i < part.n; i++)
		assert(part.p[i] >= ' ' && part.p[i] <= '~');
}

static int judge(const uint8_t *data, size_t n, struct gateway_answer *a)
{
	char *block = malloc(n ? n : 1);
	const char *why = NULL;
	int r;

	assert(block);
	memcpy(block, data, n);
	r = gateway_read_answer((struct text){ block, n }, a, &why);
	assert(r == 0 || r == -EAGAIN || (r == -EBADMSG && why));
	if (r == 0) {
		assert(a->head <= n && a->status >= 200 && a->status <= 599);
		check_inside(a->type, block, a->head);
		for (unsigned i = 0; i < a->n_pass; i++)
			check_inside(a->pass[i].value, block, a->head);
	}
	free(block);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct gateway_answer whole, part;
	struct text id, rest;
	int r, k;

	if (!ready)
		assert(gateway_heads_init() == 0);
	ready = true;
	if (gateway_path((struct text){ (const char *)data, size }, &id, &rest))
		assert(id.n == GATEWAY_ID && (!rest.p || rest.n == size - 4 - GATEWAY_ID));
	r = judge(data, size, &whole);
	for (size_t n = 0; n < size && n < 512; n++) {
		k = judge(data, n, &part);
		assert(k == r || k == -EAGAIN || (k == 0 && r == 0));
		if (k == 0 && r == 0)
			assert(part.head == whole.head && part.status == whole.status && part.length == whole.length);
	}
	return 0;
}
