/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the loads of tests/bench have in common: the time, the end of a load that cannot go on, and what the scheduler has booked for
 * the process that is measured. Each load is one file that its script compiles, so this is all of it.
 */
#pragma once
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) /* s */
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

/* CPU seconds of all threads that a process has now. */
static double cpu_of(int pid)
{
	char path[320];
	double ns = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		double run = 0;
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, e->d_name);
		f = fopen(path, "r");
		if (f && fscanf(f, "%lf", &run) == 1)
			ns += run;
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return ns / 1e9;
}
