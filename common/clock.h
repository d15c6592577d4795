/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two clocks. clock_unix_ms() is the time of day, for people and for what outlives the process: it may be set at any moment, by
 * hours and in either direction, so that two of its times have no order that could be relied on. Whatever waits or measures
 * uses loop_now(), or outside of a loop and for less than a millisecond clock_steady_*(): these never go back.
 */
#pragma once
#include <stdint.h>
#include <time.h>

static inline int64_t clock_unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static inline uint64_t clock_steady_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static inline uint64_t clock_steady_us(void)
{
	return clock_steady_ns() / 1000;
}

static inline uint64_t clock_steady_ms(void)
{
	return clock_steady_ns() / 1000000;
}
