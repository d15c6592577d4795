/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads /proc/self. What cannot be read stays 0 and warns of nothing. A process with many thousand descriptors is walked
 * in some milliseconds, so this is for a sample every ten seconds, and for whoever asks.
 * Any thread, one at a time for each struct.
 */
#include "common/monitor.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WARN_PERCENT = 80, LAG_WARN_MS = 250 };

static void count_descriptors(struct monitor *m)
{
	DIR *d = opendir("/proc/self/fd");

	m->descriptors = m->sockets = 0;
	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		m->descriptors++;
		m->sockets += fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISSOCK(st.st_mode);
	}
	(void)closedir(d);
	if (m->descriptors)
		m->descriptors--; /* the folder's own */
}

/* The number behind the first field of this name: "Threads:\t5". */
static uint64_t field(const char *path, const char *name)
{
	FILE *f = fopen(path, "re");
	char line[256];
	unsigned long long v = 0;

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0 && sscanf(line + strlen(name), " %llu", &v) == 1)
			break;
	if (f)
		(void)fclose(f);
	return v;
}

/* "0::/system.slice/stile-turn.service": the unified hierarchy's line. A limit further up holds as well. */
static uint64_t group_limit(void)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[512] = "", path[600], *group, *slash;
	uint64_t least = 0;

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "0::/", 4) == 0)
			break;
		else
			line[0] = 0;
	if (!f)
		return 0;
	(void)fclose(f);
	line[strcspn(line, "\n")] = 0;
	if (strlen(line) < 4)
		return 0;
	group = line + 3;
	do {
		uint64_t limit;

		(void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", group);
		limit = field(path, ""); /* "max" is no number */
		if (limit && (!least || limit < least))
			least = limit;
		slash = strrchr(group, '/');
		if (slash)
			*slash = 0;
	} while (slash);
	return least;
}

void monitor_memory(uint64_t *ret_used, uint64_t *ret_limit)
{
	*ret_used = field("/proc/self/status", "VmRSS:") * 1024;
	*ret_limit = group_limit();
}

void monitor_sample(struct monitor *m, uint64_t now_ms)
{
	struct rusage u = { 0 };
	struct rlimit lim = { 0 };
	uint64_t cpu, gone = now_ms - m->sampled_ms;

	(void)getrusage(RUSAGE_SELF, &u);
	(void)getrlimit(RLIMIT_NOFILE, &lim);
	cpu = (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 + (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
	if (m->sampled_ms && gone >= 100)
		m->cpu_percent = (unsigned)((cpu - m->cpu_ms) * 100 / gone);
	if (!m->sampled_ms || gone >= 100) {
		m->sampled_ms = now_ms;
		m->cpu_ms = cpu;
	}
	count_descriptors(m);
	m->descriptors_limit = lim.rlim_cur;
	monitor_memory(&m->rss, &m->rss_limit);
	m->threads = field("/proc/self/status", "Threads:");
}

bool monitor_warning(const struct monitor *m, unsigned i, char *buf, size_t n)
{
	unsigned at = 0;

	if (m->descriptors_limit && m->descriptors * 100 >= m->descriptors_limit * WARN_PERCENT && at++ == i) {
		(void)snprintf(buf, n, "%llu of %llu descriptors are used: raise LimitNOFILE", (unsigned long long)m->descriptors,
			       (unsigned long long)m->descriptors_limit);
		return true;
	}
	if (m->rss_limit && m->rss * 100 >= m->rss_limit * WARN_PERCENT && at++ == i) {
		(void)snprintf(buf, n, "%llu of %llu MB of memory are used: raise MemoryMax", (unsigned long long)(m->rss >> 20),
			       (unsigned long long)(m->rss_limit >> 20));
		return true;
	}
	if (m->lag_ms >= LAG_WARN_MS && at++ == i) {
		(void)snprintf(buf, n, "a loop was %llu ms late: the machine has too much to do", (unsigned long long)m->lag_ms);
		return true;
	}
	return false;
}

json_t *monitor_json(const struct monitor *m)
{
	json_t *warnings = json_array();
	char line[160];

	for (unsigned i = 0; monitor_warning(m, i, line, sizeof(line)); i++)
		json_array_append_new(warnings, json_string(line));
	return json_pack("{s:i, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "cpu_percent", (int)m->cpu_percent, "cpu_seconds",
			 (double)m->cpu_ms / 1000, "rss", (json_int_t)m->rss, "rss_limit", (json_int_t)m->rss_limit, "descriptors",
			 (json_int_t)m->descriptors, "descriptors_limit", (json_int_t)m->descriptors_limit, "sockets",
			 (json_int_t)m->sockets, "threads", (json_int_t)m->threads, "loop_lag_ms", (json_int_t)m->lag_ms, "warnings",
			 warnings);
}
