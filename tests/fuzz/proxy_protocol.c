/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PROXY protocol headers. Checked: nothing is read beyond the header or the input; a beginning never gets
 * another verdict than the whole, but "incomplete"; what proxy_wanted() asks for never passes the header's
 * end; what was understood, written again, is understood alike.
 */
#include <assert.h>
#include "common/proxy_protocol.h"

static void check_inside(struct text t, const uint8_t *p, size_t n)
{
	if (t.p)
		assert((const uint8_t *)t.p >= p && (const uint8_t *)t.p + t.n <= p + n && t.n <= 255);
}

static void check_round_trip(const struct proxy_header *h)
{
	uint8_t out[PROXY_WRITE_MAX];
	struct proxy_header again;
	struct wr w = wr_init(out, sizeof(out));

	proxy_write(&w, h);
	assert(!w.failed);
	assert(proxy_parse(out, wr_len(&w), &again) == PROXY_OK && again.length == wr_len(&w));
	assert(again.local == h->local);
	assert(addr_equal(&again.client, &h->client) && addr_equal(&again.server, &h->server));
	if (addr_family(&h->client) != AF_UNSPEC) {
		assert(text_eq(again.alpn, h->alpn) && !again.alpn.p == !h->alpn.p);
		assert(text_eq(again.authority, h->authority) && !again.authority.p == !h->authority.p);
		assert(again.checksum == h->checksum);
	}
}

static void check_beginnings(const uint8_t *data, size_t size, enum proxy_error whole)
{
	for (size_t n = 0; n < size && n < 300; n++) {
		uint8_t *block = malloc(n ? n : 1);
		struct proxy_header h;
		size_t wanted;

		assert(block);
		memcpy(block, data, n);
		enum proxy_error e = proxy_parse(block, n, &h);
		assert(e == PROXY_INCOMPLETE || e == whole);
		wanted = proxy_wanted(block, n);
		assert((wanted > 0) == (e == PROXY_INCOMPLETE));
		assert(n + wanted <= PROXY_MAX);
		if (e == PROXY_OK)
			assert(h.length <= n);
		free(block);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *block = malloc(size ? size : 1); /* exactly its size: one byte too many shows */
	struct proxy_header h;

	assert(block);
	if (size)
		memcpy(block, data, size);
	enum proxy_error e = proxy_parse(block, size, &h);
	assert(e < PROXY_ERRORS && proxy_error_text(e));
	if (e == PROXY_OK) {
		assert(h.length >= PROXY_FIXED && h.length <= size && h.length <= PROXY_MAX);
		assert(addr_family(&h.client) == addr_family(&h.server));
		assert(!h.local || (addr_family(&h.client) == AF_UNSPEC && !h.alpn.p && !h.authority.p));
		check_inside(h.alpn, block, h.length);
		check_inside(h.authority, block, h.length);
		check_round_trip(&h);
	}
	check_beginnings(data, size, e);
	free(block);
	return 0;
}
