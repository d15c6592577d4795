/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic of a token bucket that is one number: the time until which its allowance is spent
 * (GCRA, the "theoretical arrival time"). A bucket that is behind the clock is full; one that is a
 * whole burst ahead of it is empty. Nothing has to be refilled, so a bucket is one word that can
 * be atomic, and a changed rate holds from the next packet on. Times are nanoseconds, rates bit/s.
 */
#pragma once
#include "common/defs.h"

#define RATE_UNLIMITED UINT64_MAX
#define RATE_NS_PER_MS 1000000ull
#define RATE_BURST_NS 1000000000ull /* one second's worth may go at once */

/* a * b / c, c > 0, rounded down or up; what does not fit is UINT64_MAX. The same by parts, for machines of 32 bits. */
static inline uint64_t rate_scale_by_parts(uint64_t a, uint64_t b, uint64_t c, bool up)
{
	uint64_t al = a & UINT32_MAX, ah = a >> 32, bl = b & UINT32_MAX, bh = b >> 32;
	uint64_t mid = ah * bl + (al * bl >> 32), cross = (mid & UINT32_MAX) + al * bh;
	uint64_t high = ah * bh + (mid >> 32) + (cross >> 32), low = a * b, rest = high;

	if (high >= c)
		return UINT64_MAX;
	for (unsigned i = 0; i < 64; i++) { /* low becomes the quotient, bit by bit */
		bool carry = rest >> 63;

		rest = rest << 1 | low >> 63;
		low <<= 1;
		if (carry || rest >= c) {
			rest -= c;
			low |= 1;
		}
	}
	return low + (up && rest && low < UINT64_MAX);
}

static inline uint64_t rate_scale(uint64_t a, uint64_t b, uint64_t c, bool up)
{
#ifdef __SIZEOF_INT128__
	unsigned __int128 q = ((unsigned __int128)a * b + (up ? c - 1 : 0)) / c;

	return q > UINT64_MAX ? UINT64_MAX : (uint64_t)q;
#else
	return rate_scale_by_parts(a, b, c, up);
#endif
}

/* How long these bytes take at this rate (> 0), rounded up. */
static inline uint64_t rate_cost_ns(uint64_t bytes, uint64_t rate)
{
	return rate_scale(bytes, 8 * 1000000000ull, rate, true);
}

/* How many whole bytes fit into this time, so that their cost never exceeds it. */
static inline uint64_t rate_bytes(uint64_t ns, uint64_t rate)
{
	return rate_scale(ns, rate, 8 * 1000000000ull, false);
}
