/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of a TLS client's first message. Checked: the names lie in the buffer and are what they claim
 * to be; a beginning never gets another verdict than the whole, but "incomplete"; the same hello in other
 * records, of one byte each or cut at a place that the input chooses, says the same.
 */
#include <assert.h>
#include "common/client_hello.h"

enum { HEAD = 5 };

static uint8_t *copy_of(const uint8_t *data, size_t n)
{
	uint8_t *block = malloc(n ? n : 1); /* exactly its size: one byte too many shows */

	assert(block);
	if (n)
		memcpy(block, data, n);
	return block;
}

static void check_hello(const struct client_hello *h, const uint8_t *p, size_t n)
{
	struct rd list = h->alpn;
	struct text name;

	if (h->server_name.p)
		assert((const uint8_t *)h->server_name.p >= p && (const uint8_t *)h->server_name.p + h->server_name.n <= p + n &&
		       h->server_name.n >= 1 && h->server_name.n <= 255);
	while (client_hello_next_alpn(&list, &name)) {
		assert((const uint8_t *)name.p >= p && (const uint8_t *)name.p + name.n <= p + n && name.n >= 1);
		assert(client_hello_offers(h, name));
	}
	assert(rd_done(&list));
}

static void check_beginnings(const uint8_t *data, size_t size, enum client_hello_error whole)
{
	size_t step = size / 60 + 1;

	for (size_t n = 0; n < size; n += n < 16 ? 1 : step) {
		uint8_t *block = copy_of(data, n);
		struct client_hello h;
		enum client_hello_error e = client_hello_parse(block, n, &h);

		assert(e == CLIENT_HELLO_INCOMPLETE || e == whole);
		free(block);
	}
}

/* The message of a hello in one record, in records of `piece` bytes. */
static void check_cut(const uint8_t *data, size_t piece, const struct client_hello *whole)
{
	size_t n = (size_t)data[3] << 8 | data[4], at = 0, out = 0;
	size_t total = n + (n + piece - 1) / piece * HEAD;
	uint8_t *block = malloc(total);
	struct client_hello h;

	assert(block);
	while (at < n) {
		size_t part = MIN(piece, n - at);

		memcpy(block + out, (uint8_t[]){ 22, 3, 1, (uint8_t)(part >> 8), (uint8_t)part }, HEAD);
		memcpy(block + out + HEAD, data + HEAD + at, part);
		out += HEAD + part;
		at += part;
	}
	if (total <= CLIENT_HELLO_MAX) {
		assert(client_hello_parse(block, total, &h) == CLIENT_HELLO_OK);
		assert(text_eq(h.server_name, whole->server_name) && rd_left(&h.alpn) == rd_left(&whole->alpn));
	}
	free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *block = copy_of(data, size);
	struct client_hello h;
	enum client_hello_error e = client_hello_parse(block, size, &h);

	assert(e < CLIENT_HELLO_ERRORS && client_hello_error_text(e));
	if (e == CLIENT_HELLO_OK) {
		size_t first = (size_t)data[3] << 8 | data[4], message = 4 + ((size_t)block[1] << 16 | (size_t)block[2] << 8 | block[3]);

		check_hello(&h, block, size);
		if (first == message) {
			check_cut(data, 1, &h);
			check_cut(data, 1 + data[10] % 100, &h);
		}
	}
	check_beginnings(data, size, e);
	free(block);
	return 0;
}
