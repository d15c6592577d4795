/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files and folders, without libFuzzer: every input of the corpus, and every
 * crash that was ever found, stays a regression test in each build. Each input is copied to a heap
 * block of exactly its size, so that the sanitizers see one byte too many.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "common/defs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	if (!f || fstat(fileno(f), &st) < 0) {
		perror(path);
		return -1;
	}
	size_t n = (size_t)st.st_size;
	uint8_t *p = malloc(n ? n : 1);
	int r = p && fread(p, 1, n, f) == n ? 0 : -1;
	if (r == 0)
		LLVMFuzzerTestOneInput(p, n);
	free(p);
	fclose(f);
	return r;
}

static int run_path(const char *path, unsigned *ret_n)
{
	struct stat st;
	if (stat(path, &st) < 0) {
		perror(path);
		return -1;
	}
	if (!S_ISDIR(st.st_mode)) {
		++*ret_n;
		return run_file(path);
	}
	DIR *d = opendir(path);
	int r = d ? 0 : -1;
	for (struct dirent *e; d && r == 0 && (e = readdir(d));) {
		char sub[4096];
		if (e->d_name[0] == '.')
			continue;
		snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
		r = run_path(sub, ret_n);
	}
	if (d)
		closedir(d);
	return r;
}

int main(int argc, char **argv)
{
	unsigned n = 0;
	for (int i = 1; i < argc; i++)
		if (run_path(argv[i], &n) < 0)
			return 1;
	printf("%u inputs replayed\n", n);
	return n > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
