/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process uses of the machine: CPU, memory, descriptors, sockets, threads, from /proc and the kernel's limits;
 * and sentences that warn before a limit is reached. Sampled now and then by its owner; nothing here runs by itself.
 * What a limit means for its connections, the owner knows.
 */
#pragma once
#include <jansson.h>
#include "common/defs.h"

struct monitor {
	uint64_t sampled_ms, cpu_ms; /* of the last sample: when (any clock), CPU used until then */
	unsigned cpu_percent;	     /* of one core, between the last two samples */
	uint64_t rss, rss_limit;     /* bytes; the limit of its control group, 0: none */
	uint64_t descriptors, descriptors_limit, sockets, threads;
	uint64_t lag_ms; /* set by the owner: how late its loops have been */
};
void monitor_sample(struct monitor *m, uint64_t now_ms);
/* Resident bytes of this process, and the least limit of its control group and those above it (0: none). */
void monitor_memory(uint64_t *ret_used, uint64_t *ret_limit);
/* {cpu_percent, cpu_seconds, rss, …, warnings: [sentences]} */
json_t *monitor_json(const struct monitor *m);
/* The i-th warning; false: there are no more. */
bool monitor_warning(const struct monitor *m, unsigned i, char *buf, size_t n);
