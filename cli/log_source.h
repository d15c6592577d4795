/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the log of a service can be had: from the service itself (verbs log.*, so that who may ask it need not be able to
 * read its files), from its files when it does not run, from the supervisor that has its standard error, or from the
 * journal.
 *
 * A source keeps its place, so that it can be asked again for what came since.
 */
#pragma once
#include "cli/command.h"
#include "common/log_reader.h"

enum log_source_kind { LOG_BY_VERB, LOG_BY_FILE, LOG_BY_SUPERVISOR, LOG_BY_JOURNAL };
enum { LOG_SOURCES_MAX = 64, LOG_WHY = 320 };

struct log_source {
	char full[100]; /* "stile-turn@lab" */
	enum log_source_kind kind;
	struct control_client *client; /* of the service, or of the supervisor */
	char dir[512];
	char next[64]; /* cursor; of a supervisor the number of lines so far */
	void *journal; /* sd_journal */
	bool begun;
};

struct log_wish {
	unsigned lines;
	const char *match, *level; /* NULL: all */
};

/* The sources of these words ("turn", "sip@lab"), or with n 0 of all services that run or have left a log. 0 or an exit code, and
 * said why. A service that has none is left out, unless it was named. */
int log_sources_find(struct cli *cli, const char *const *words, unsigned n, struct log_source *out, unsigned *ret_n);
void log_source_close(struct log_source *s);
/* Lines into rows: at first the last ones, then those that came since. 0, or -errno with why. */
int log_source_lines(struct log_source *s, const struct log_wish *w, json_t *rows, char why[static LOG_WHY]);
/* Rows {name, size, modified, current} of its files; those of a supervisor or a journal have one, "NAME.log", of unknown size. */
int log_source_files(struct log_source *s, json_t **ret_rows, char why[static LOG_WHY]);
/* Calls fn with the bytes of a file, until fn returns other than 0; returns that. */
int log_source_read(struct log_source *s, const char *file, int (*fn)(const void *p, size_t n, void *arg), void *arg, char why[static LOG_WHY]);
/* args as of log.delete; taken. */
int log_source_delete(struct log_source *s, json_t *args, json_t **ret_result, char why[static LOG_WHY]);

/* ---- what log_records.c does with it, too ---- */

/* A call: 0, or -errno with why. -ENOENT: it has no such file, or no such verb. args is taken. */
int log_call(struct control_client *cl, const char *verb, json_t *args, json_t **ret_result, char why[static LOG_WHY]);
/* A file in chunks: by a verb of a service as log.read, or with client NULL from its place. As log_source_read(). */
struct log_pieces {
	struct control_client *client;
	const char *verb;
	struct log_place place;
	const char *file;
};
int log_pieces_read(const struct log_pieces *f, int (*fn)(const void *p, size_t n, void *arg), void *arg, char why[static LOG_WHY]);
