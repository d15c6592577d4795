/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes from other agents through a server (offers, first contact), and what supervisor and child tell each other. The
 * first byte of the input says which of the three the rest is.
 * Checked: slices lie inside, and what was read of the channel is written and read alike.
 */
#include <assert.h>
#include <stdlib.h>
#include "tunnel/direct/pairing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_offer(const uint8_t *p, size_t n)
{
	static const struct identity_hash to = { "the one that it is for, 32 bytes" };
	const char *why;
	struct offer o;

	if (offer_read(p, n, NULL, &to, &o, &why) == 0)
		for (unsigned i = 0; i < o.ice.n_candidates; i++)
			assert((const uint8_t *)o.ice.candidates[i].p >= p && (const uint8_t *)o.ice.candidates[i].p + o.ice.candidates[i].n <= p + n);
}

static void try_body(const uint8_t *p, size_t n)
{
	struct wire_bytes body = { p, n };
	struct pairing_body b;

	for (unsigned kind = OFFER_KNOCK; kind < OFFER_KINDS; kind++)
		(void)pairing_read(kind, &body, &b);
}

static void try_message(const uint8_t *p, size_t n, unsigned way)
{
	static uint8_t out[2 * CHILD_PACKET_MAX];
	struct wr w = wr_init(out, sizeof(out));
	union child_any m, again;
	unsigned type;

	if (n > CHILD_PACKET_MAX || child_parse(p, n, way, &type, &m) != WIRE_OK)
		return;
	child_write(&w, type, &m);
	assert(!w.failed);
	assert(child_parse(out, wr_len(&w), way, &type, &again) == WIRE_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *block;

	if (!size)
		return 0;
	block = malloc(size > 1 ? size - 1 : 1);
	assert(block);
	memcpy(block, data + 1, size - 1);
	switch (data[0] % 4) {
	case 0: try_offer(block, size - 1); break;
	case 1: try_body(block, size - 1); break;
	default: try_message(block, size - 1, data[0] % 4 - 1u); break;
	}
	free(block);
	return 0;
}
