/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands of the tunnel share, on both of its ends: tables that may be shown again every second, and a
 * forward job as words and options make it. Each file of commands has a table of its own, named in cli/command.h.
 * What is shown is what the service said, and nothing is kept.
 */
#pragma once
#include <time.h>
#include "cli/relay.h"
#include "common/json.h"

extern const char AGENT_PROGRAM[]; /* "stile-agent" */

/* Rows of a verb as a table or as JSON; with --watch again every second, until Ctrl-C. */
struct table_ask {
	const char *program, *verb;
	json_t *args; /* borrowed; may be NULL */
	const struct column *columns;
	unsigned n_columns;
	const char *none; /* "no jobs" */
	void (*polish)(json_t *row); /* before it is printed for people; may be NULL */
	bool pages;
};
int table_show(struct cli *cli, const struct table_ask *t);
bool table_next(struct cli *cli); /* of --watch: a second, and a clean screen; false: nobody reads it */

/* job_words.c: PORT TARGET or PORT HOST TPORT, and the options of a job. */
enum { JOB_OPTIONS = 13 };
extern const struct option_row job_options[JOB_OPTIONS];
json_t *job_of_words(const struct cli *cli, unsigned first); /* words[first] is PORT */
void job_options_into(const struct cli *cli, json_t *job); /* only those that are given */
int job_told(struct cli *cli, const json_t *row, const char *name); /* what became of it; exit code */

void monitor_print(const json_t *m); /* what the process uses, and its warnings */
void row_set_time(json_t *row, const char *key, time_t at); /* as people read it here; 0: nothing */
