/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the kernel shall join what a relay socket receives (UDP_GRO): only where bursts come. To ask for it is a tenth
 * of what an allocation costs, and most relay sockets carry one call, whose packets come one by one. So a socket does
 * not ask until several messages of one peer have come at once, and asks no more when runs have become rare. Listeners
 * always ask: the kernel joins before it knows for which of a group's sockets, so one lane alone cannot.
 *
 * With a fast path configured no relay socket asks: what is joined does not go through the kernel's programs.
 */
#include "turn/edge.h"

enum {
	BURST = 3,     /* messages of one peer in a row */
	LOOK = 1024,   /* messages between two looks at whether it is worth it */
	WORTH_IT = 64, /* messages for which one run is enough */
};

void turn_bursts_note(struct turn_relay *r)
{
	const struct dgram_batch *last = dgram_last_batch(r->worker->dgram);
	struct turn_bursts *b = &r->bursts;

	if (!b->on) {
		if (last->row >= BURST && !r->worker->offload && dgram_aggregate(r->io.fd, true) == 0)
			*b = (struct turn_bursts){ .on = true };
		return;
	}
	b->messages = (uint16_t)(b->messages + last->messages);
	b->runs = (uint16_t)(b->runs + last->runs);
	if (b->messages < LOOK)
		return;
	if (b->runs * WORTH_IT < b->messages && dgram_aggregate(r->io.fd, false) == 0)
		b->on = false;
	b->messages = b->runs = 0;
}
