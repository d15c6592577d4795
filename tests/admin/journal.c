/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal for the tool that is started with this in LD_PRELOAD, as this machine need not have one: its entries are the lines of the file
 * that STILE_TEST_JOURNAL names, whatever unit is asked for. A position is kept at either end, as systemd keeps it.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PUBLIC __attribute__((visibility("default")))
enum { LINES_MAX = 4096 };

static char *lines[LINES_MAX]; /* "MESSAGE=…" */
static int n_lines, at;

PUBLIC int sd_journal_open(void **ret, int flags);
PUBLIC int sd_journal_add_match(void *j, const void *data, size_t n);
PUBLIC int sd_journal_seek_tail(void *j);
PUBLIC int sd_journal_previous(void *j);
PUBLIC int sd_journal_previous_skip(void *j, uint64_t skip);
PUBLIC int sd_journal_next(void *j);
PUBLIC int sd_journal_get_data(void *j, const char *field, const void **data, size_t *n);
PUBLIC int sd_journal_process(void *j);
PUBLIC void sd_journal_close(void *j);

int sd_journal_open(void **ret, int flags)
{
	FILE *f = fopen(getenv("STILE_TEST_JOURNAL"), "re");
	char *line = NULL;
	size_t cap = 0;

	(void)flags;
	if (!f)
		return -ENOENT;
	while (n_lines < LINES_MAX && getline(&line, &cap, f) > 0) {
		line[strcspn(line, "\n")] = 0;
		if (asprintf(&lines[n_lines], "MESSAGE=%s", line) > 0)
			n_lines++;
	}
	free(line);
	fclose(f);
	*ret = lines;
	return 0;
}

int sd_journal_add_match(void *j, const void *data, size_t n)
{
	(void)j;
	(void)data;
	(void)n;
	return 0;
}

int sd_journal_seek_tail(void *j)
{
	(void)j;
	at = n_lines;
	return 0;
}

int sd_journal_previous(void *j)
{
	(void)j;
	return at > 0 ? (at--, 1) : 0;
}

int sd_journal_previous_skip(void *j, uint64_t skip)
{
	uint64_t done = 0;

	while (done < skip && sd_journal_previous(j))
		done++;
	return (int)done;
}

int sd_journal_next(void *j)
{
	(void)j;
	return at + 1 < n_lines ? (at++, 1) : 0;
}

int sd_journal_get_data(void *j, const char *field, const void **data, size_t *n)
{
	(void)j;
	(void)field;
	*data = lines[at];
	*n = strlen(lines[at]);
	return 0;
}

int sd_journal_process(void *j)
{
	(void)j;
	return 0;
}

void sd_journal_close(void *j)
{
	(void)j;
	for (int i = 0; i < n_lines; i++)
		free(lines[i]);
	n_lines = 0;
}
