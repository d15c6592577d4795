/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The framer: the first byte is the size of the pieces in which the rest arrives. Checked: however it is cut, the same
 * messages come out in the same order; what a piece does not end is not given out; something always moves on.
 */
#include <assert.h>
#include <string.h>
#include "sip-proxy/framer.h"

enum { MOST = 64 };
struct outcome {
	struct text messages[MOST];
	unsigned n;
	bool bad;
};

static void run(struct text in, size_t step, struct outcome *o)
{
	static const struct sip_limits limits = { .max_head = 4096, .max_body = 4096 };
	struct sip_framer f = { .limits = &limits };
	size_t at = 0;
	*o = (struct outcome){ 0 };
	for (size_t have = MIN(step, in.n);; have = MIN(have + step, in.n)) {
		enum sip_verdict why = SIP_OK;
		size_t used;
		struct sip_msg m;
		int r;
		while ((r = sip_framer_next(&f, (struct text){ in.p + at, have - at }, &m, &used,
					    &why)) != SIP_FRAME_MORE) {
			assert(r > 0 && used > 0 && used <= have - at);
			if (r == SIP_FRAME_BAD || r == SIP_FRAME_MESSAGE)
				sip_msg_deinit(&m);
			if (r == SIP_FRAME_BAD) {
				assert(why != SIP_OK && why != SIP_INCOMPLETE);
				o->bad = true;
				return;
			}
			if (r == SIP_FRAME_MESSAGE && o->n < MOST)
				o->messages[o->n++] = (struct text){ in.p + at, used };
			at += used;
		}
		assert(used == 0);
		if (have == in.n)
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome whole, pieces;
	if (size == 0 || sip_headers_init() < 0)
		return 0;
	char *copy = malloc(size);
	if (!copy)
		abort();
	memcpy(copy, data, size);
	struct text in = { copy + 1, size - 1 };
	run(in, in.n + 1, &whole);
	run(in, (uint8_t)copy[0] + 1, &pieces);
	/* a head that is too long may be seen to be so with the piece or with its end */
	assert(whole.n == pieces.n && whole.bad == pieces.bad);
	for (unsigned i = 0; i < whole.n; i++)
		assert(whole.messages[i].p == pieces.messages[i].p &&
		       whole.messages[i].n == pieces.messages[i].n);
	free(copy);
	return 0;
}
