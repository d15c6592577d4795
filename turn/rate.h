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

/* How long these bytes take at this rate (> 0), rounded up. */
static inline uint64_t rate_cost_ns(uint64_t bytes, uint64_t rate)
{
	unsigned __int128 ns = ((unsigned __int128)bytes * 8u * 1000000000u + rate - 1) / rate;

	return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

/* How many whole bytes fit into this time, so that their cost never exceeds it. */
static inline uint64_t rate_bytes(uint64_t ns, uint64_t rate)
{
	unsigned __int128 bytes = (unsigned __int128)ns * rate / 8u / 1000000000u;

	return bytes > UINT64_MAX ? UINT64_MAX : (uint64_t)bytes;
}
