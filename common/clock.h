/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time of day, for people and for what outlives the process. Whatever waits or measures uses loop_now(), or a monotonic
 * clock of its own: this one may be set at any moment, by hours and in either direction, so that two of its times have no order
 * that could be relied on.
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
