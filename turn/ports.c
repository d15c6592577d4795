/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over the relay ports. A random number is scaled to the range by a multiplication; the bias of
 * that is below 2^-16 for 2^16 ports and helps nobody. What a walk yields may be taken: the caller
 * asks the kernel, after the bitmap of our own live ports.
 */
#include "turn/ports.h"
#include <errno.h>

int turn_port_walk_init(struct turn_port_walk *w, struct cfg_port_range range, enum turn_parity parity)
{
	uint32_t first = range.first, last = range.last;

	if (parity != TURN_PORT_ANY)
		first += first & 1;
	if (parity == TURN_PORT_EVEN_PAIR) {
		if (last == 0)
			return -ERANGE;
		last--; /* the successor must be in the range too */
	}
	if (first > last || last == 0)
		return -ERANGE;
	uint32_t step = parity == TURN_PORT_ANY ? 1 : 2;
	*w = (struct turn_port_walk){ .first = first, .step = step, .n = (last - first) / step + 1 };
	return 0;
}

static int pick(struct turn_port_walk *w, uint32_t *ret_v)
{
	uint32_t v;
	int r = w->pool ? bytes_pool_take(w->pool, &v, sizeof v) : bytes_random(&v, sizeof v);
	if (r < 0)
		return r;
	*ret_v = (uint32_t)((uint64_t)v * w->n >> 32);
	return 0;
}

int turn_port_walk_next(struct turn_port_walk *w, uint16_t *ret_port)
{
	uint32_t at;
	int r;

	if (w->tried < TURN_PORT_RANDOM_TRIES) {
		r = pick(w, &at);
		if (r < 0)
			return r;
	} else {
		if (w->tried == TURN_PORT_RANDOM_TRIES) {
			r = pick(w, &w->start);
			if (r < 0)
				return r;
		}
		uint32_t i = w->tried - TURN_PORT_RANDOM_TRIES;
		if (i >= w->n)
			return -ENOSPC;
		at = (w->start + i) % w->n;
	}
	w->tried++;
	*ret_port = (uint16_t)(w->first + w->step * at);
	return 0;
}
