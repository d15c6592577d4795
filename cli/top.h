/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile top: the tables of the running services, live on a terminal.
 *
 *   top.c        the command, keys, the screen
 *   top_views.c  which tables there are, and asking for their rows
 */
#pragma once
#include "cli/command.h"
#include "cli/services.h"

enum { TOP_VIEWS_MAX = 64, TOP_ROWS_MAX = 2000 };

struct top_kind { /* a table of a program */
	const char *title, *program, *verb;
	const struct column *columns;
	unsigned n_columns;
	const char *id;	  /* key that names a row from one look to the next; NULL: rates are not counted here */
	const char *sort; /* key of the column by which it is sorted at first, the largest first */
};

struct top_view { /* the table of one service */
	const struct top_kind *kind;
	struct found_service service;
	char title[64]; /* "turn@lab sessions" */
};

/* Views for what runs; the first one is that of the services. Returns how many. */
unsigned top_views(const struct cli *cli, struct top_view out[static TOP_VIEWS_MAX]);
/* Its rows now: an array, or NULL and why. before: rows of the last look, seconds ago, for rates; may be NULL. */
json_t *top_rows(const struct cli *cli, const struct top_view *v, const json_t *before, double seconds, char *why, size_t why_n);
