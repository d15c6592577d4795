/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmarks measure with: CPU time of a process and of the host, memory of a process, and a
 * latency histogram of fixed size that is at most 3 % off. Nothing here allocates; a failed reading of
 * /proc is zero.
 */
#pragma once
#include <sys/types.h>
#include "common/defs.h"

struct usage {
	double server_s;    /* CPU of the process, all threads */
	double generator_s; /* CPU of this process */
	double host_busy_s; /* all CPUs, interrupts and everybody's work included; in steps of 10 ms */
	double wall_s;
	uint64_t server_rss; /* bytes, anonymous */
};
void usage_now(pid_t server /* 0: none */, struct usage *ret_u);

/* Buckets of 1/32 of a power of two, from nanoseconds to minutes: at most 3 % off. */
enum { LATENCY_SUB = 32, LATENCY_BUCKETS = 40 * LATENCY_SUB };
struct latency {
	uint64_t count, bucket[LATENCY_BUCKETS], max;
};
void latency_add(struct latency *l, uint64_t ns);
double latency_us(const struct latency *l, double quantile); /* 0.5, 0.99 …; 0 if empty */
