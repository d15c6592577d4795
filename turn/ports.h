/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In which order the ports of the relay range are tried: random and unpredictable (RFC 8656 7.2, RFC
 * 6056), so that nobody can guess where the next allocation will be. First random picks, which almost
 * always hit at once; then, in a range that is nearly full, all of it once from a random start. No
 * sockets here, and no memory.
 */
#pragma once
#include "common/bytes.h"
#include "common/config.h"

enum { TURN_PORT_RANDOM_TRIES = 64 };
enum turn_parity { TURN_PORT_ANY, TURN_PORT_EVEN, TURN_PORT_EVEN_PAIR /* even, and its successor in the range */ };

struct turn_port_walk {
	uint32_t first, step, n; /* candidates: first + step * (0..n-1) */
	uint32_t tried, start;
	struct bytes_pool *pool; /* may be set after the init; NULL: the system's randomness */
};
/* -ERANGE: the range has no such port. */
int turn_port_walk_init(struct turn_port_walk *w, struct cfg_port_range range, enum turn_parity parity);
/* The next port to try: 0; -ENOSPC when all were tried; -EIO without randomness. */
int turn_port_walk_next(struct turn_port_walk *w, uint16_t *ret_port);
