/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU times come from /proc: a process's are the scheduler's nanoseconds, summed over its threads (a thread
 * that ended takes its time along; servers keep theirs). Host time is all that was
 * not idle, so it includes the network stack's work in interrupts, and whatever else runs.
 * Memory is the process's anonymous pages, so that shared libraries do not count.
 */
#include "cli/measure.h"
#include "common/clock.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static double thread_seconds(const char *dir, const char *tid)
{
	char path[384];
	unsigned long long ns = 0;

	snprintf(path, sizeof path, "%s/%s/schedstat", dir, tid);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	fclose(f);
	return (double)ns / 1e9;
}

static double process_seconds(pid_t pid)
{
	char dir[64];
	double sum = 0;

	snprintf(dir, sizeof dir, "/proc/%d/task", (int)pid);
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.')
			sum += thread_seconds(dir, e->d_name);
	if (d)
		closedir(d);
	return sum;
}

/* All time of all CPUs that was not idle. The kernel measures idle time to the nanosecond, but guesses who
 * was busy by looking once a tick: work that a millisecond's timer starts always falls between two looks. */
static double host_busy_seconds(double wall_s)
{
	unsigned long long idle = 0, iowait = 0;
	FILE *f = fopen("/proc/stat", "re");

	if (!f)
		return 0;
	int n = fscanf(f, "cpu %*u %*u %*u %llu %llu", &idle, &iowait);
	fclose(f);
	return n < 2 ? 0 : wall_s * (double)sysconf(_SC_NPROCESSORS_ONLN) -
			   (double)(idle + iowait) / (double)sysconf(_SC_CLK_TCK);
}

static uint64_t anonymous_bytes(pid_t pid)
{
	char path[64], line[256];
	unsigned long long kb = 0;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "RssAnon: %llu", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb * 1024;
}

void usage_now(pid_t server, struct usage *ret_u)
{
	ret_u->server_s = server ? process_seconds(server) : 0;
	ret_u->server_rss = server ? anonymous_bytes(server) : 0;
	ret_u->generator_s = process_seconds(getpid());
	ret_u->wall_s = (double)clock_steady_ns() / 1e9;
	ret_u->host_busy_s = host_busy_seconds(ret_u->wall_s);
}

static unsigned bucket_of(uint64_t ns)
{
	if (ns < LATENCY_SUB)
		return (unsigned)ns;
	unsigned log = 63 - (unsigned)__builtin_clzll(ns), shift = log - 5;
	unsigned b = (log - 4) * LATENCY_SUB + (unsigned)((ns >> shift) & (LATENCY_SUB - 1));

	return MIN(b, (unsigned)LATENCY_BUCKETS - 1);
}

static double bucket_ns(unsigned b)
{
	if (b < LATENCY_SUB)
		return b;
	unsigned log = b / LATENCY_SUB + 4;

	return (double)((uint64_t)(LATENCY_SUB + b % LATENCY_SUB) << (log - 5));
}

void latency_add(struct latency *l, uint64_t ns)
{
	l->count++;
	l->bucket[bucket_of(ns)]++;
	l->max = MAX(l->max, ns);
}

double latency_us(const struct latency *l, double quantile)
{
	uint64_t want = (uint64_t)(quantile * (double)l->count), seen = 0;

	for (unsigned b = 0; b < LATENCY_BUCKETS; b++) {
		seen += l->bucket[b];
		if (seen > want)
			return bucket_ns(b) / 1e3;
	}
	return (double)l->max / 1e3;
}
