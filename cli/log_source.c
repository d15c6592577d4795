/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four ways to a log. A running service is asked first where its log goes; what it cannot tell (it writes to its
 * standard error) somebody else has kept.
 *
 * The configuration names the folder of a service that does not run. The journal and a supervisor's memory are lines
 * only: they are filtered here, by the same rules as log.tail.
 */
#include "cli/log_source.h"
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include "cli/cli_services.h"
#include "cli/services.h"
#include "common/json.h"
#include "common/manager.h"
#include "common/service.h"

enum { ASK_MS = 10000, JOURNAL_LOOK_MAX = 100000 /* entries, for the first lines */ };

/* ---- asking ---- */

int log_call(struct control_client *cl, const char *verb, json_t *args, json_t **ret_result, char why[static LOG_WHY])
{
	json_t *error = NULL;
	const char *text, *code;
	int r = control_call(cl, verb, args, ret_result, &error);

	if (r == 0)
		return 0;
	text = json_string_value(json_object_get(error, "text"));
	code = json_string_value(json_object_get(error, "code"));
	snprintf(why, LOG_WHY, "%s", text ? text : r < 0 ? strerror(-r) : "it refuses");
	r = r < 0 ? r : code && (strcmp(code, "not-found") == 0 || strcmp(code, "unknown-verb") == 0) ? -ENOENT : -EIO;
	json_decref(error);
	return r;
}

/* ---- finding ---- */

static void program_of(const char *full, char out[static 32])
{
	snprintf(out, 32, "%.*s", (int)MIN(strcspn(full, "@"), 31u), full);
}

/* The folder that the configuration gives it; "" without one, or without a configuration that can be read. */
static void configured_dir(const struct cli *cli, const char *full, char *out, size_t n)
{
	char program[32];

	program_of(full, program);
	*out = 0;
	for (size_t i = 0; i < cli_n_services; i++) {
		_cleanup_(cfg_freep) struct cfg *c = NULL;
		struct log_config lc = { 0 };

		if (strcmp(cli_services[i].ops.program, program) != 0 || cfg_load(cli_config_path(cli), cli_services[i].ops.config, &c) < 0)
			continue;
		cli_services[i].ops.log_config(cfg_values(c), &lc);
		snprintf(out, n, "%s", lc.dir ? lc.dir : "");
	}
}

static bool ask_service(const struct cli *cli, struct log_source *s)
{
	json_t *result = NULL;
	char why[LOG_WHY];
	bool file;

	if (cli_connect_named(cli, s->full, ASK_MS, &s->client) < 0)
		return false;
	file = log_call(s->client, "log.files", NULL, &result, why) == 0 && strcmp(text_of_key(result, "to"), "file") == 0;
	json_decref(result);
	s->kind = LOG_BY_VERB;
	if (!file)
		s->client = control_client_free(s->client);
	return file;
}

static bool has_files(const struct cli *cli, struct log_source *s)
{
	struct log_place p = { s->dir, s->full };
	json_t *rows = NULL;
	bool any;

	configured_dir(cli, s->full, s->dir, sizeof s->dir);
	any = s->dir[0] && log_read_list(&p, &rows) == 0 && json_array_size(rows);
	json_decref(rows);
	s->kind = LOG_BY_FILE;
	return any;
}

static json_t *name_args(const struct log_source *s)
{
	char program[32];
	const char *at = strchr(s->full, '@');

	program_of(s->full, program);
	return json_pack("{s:s, s:s}", "program", program, "instance", at ? at + 1 : "");
}

static bool ask_supervisor(const struct cli *cli, struct log_source *s)
{
	char why[LOG_WHY];
	json_t *result = NULL;
	bool known;

	if (cli_connect_named(cli, MANAGER_SUPERVISOR, ASK_MS, &s->client) < 0)
		return false;
	known = log_call(s->client, "supervisor.output", name_args(s), &result, why) == 0;
	json_decref(result);
	s->kind = LOG_BY_SUPERVISOR;
	if (!known)
		s->client = control_client_free(s->client);
	return known;
}

static bool open_journal(struct log_source *s)
{
	sd_journal *j = NULL;
	char match[160];

	snprintf(match, sizeof match, "_SYSTEMD_UNIT=%s.service", s->full);
	if (sd_journal_open(&j, SD_JOURNAL_LOCAL_ONLY) < 0)
		return false;
	s->kind = LOG_BY_JOURNAL;
	s->journal = j;
	if (sd_journal_add_match(j, match, 0) >= 0 && sd_journal_seek_tail(j) >= 0 && sd_journal_previous(j) > 0)
		return true;
	sd_journal_close(j);
	s->journal = NULL;
	return false;
}

static bool open_source(const struct cli *cli, const char *full, struct log_source *s)
{
	*s = (struct log_source){ 0 };
	snprintf(s->full, sizeof s->full, "%s", full);
	return ask_service(cli, s) || has_files(cli, s) || ask_supervisor(cli, s) || open_journal(s);
}

static void add_name(json_t *names, const char *full)
{
	json_object_set_new(names, full, json_true());
}

/* Of all that runs and of the plain instance of each program. */
static void all_names(const struct cli *cli, json_t *names)
{
	struct found_service found[LOG_SOURCES_MAX];
	size_t n = services_find(cli_runtime_dir(cli), cli_instance(cli), found, LOG_SOURCES_MAX);
	char full[SERVICE_NAME];

	for (const char *const *p = manager_programs; *p; p++)
		if (services_name(cli, *p, "", full) == 0)
			add_name(names, full);
	for (size_t i = 0; i < n; i++)
		add_name(names, found[i].full);
}

int log_sources_find(struct cli *cli, const char *const *words, unsigned n, struct log_source *out, unsigned *ret_n)
{
	json_t *names = json_object(), *v;
	char full[SERVICE_NAME];
	const char *name;
	int r = 0;

	*ret_n = 0;
	for (unsigned i = 0; i < n && !r; i++) {
		r = services_name(cli, words[i], "", full);
		if (!r)
			add_name(names, full);
	}
	if (!n)
		all_names(cli, names);
	if (!r)
		json_object_foreach(names, name, v) {
			if (*ret_n < LOG_SOURCES_MAX && open_source(cli, name, &out[*ret_n]))
				++*ret_n;
			else if (n)
				r = cli_fail(cli, "there is no log of %s: it does not run, and %s names no folder with its log", name,
					     cli_config_path(cli));
		}
	json_decref(names);
	if (!r && !*ret_n)
		r = cli_fail(cli, "no service runs, and %s names no folder with a log", cli_config_path(cli));
	return r;
}

void log_source_close(struct log_source *s)
{
	s->client = control_client_free(s->client);
	if (s->journal)
		sd_journal_close(s->journal);
	s->journal = NULL;
}

/* ---- lines ---- */

static bool is_wanted(const struct log_wish *w, const char *line)
{
	enum log_level l = LOG_LVL_TRACE;

	if (w->level && log_level_parse(text_of(w->level), &l) == 0 && log_line_level(line, strlen(line)) > l)
		return false;
	return !w->match || strcasestr(line, w->match);
}

/* {rows, next} of log.tail or of log_read_lines(). */
static void take_answer(struct log_source *s, json_t *answer, json_t *rows)
{
	const char *next = json_string_value(json_object_get(answer, "next"));

	json_array_extend(rows, json_object_get(answer, "rows"));
	snprintf(s->next, sizeof s->next, "%s", next ? next : "");
	json_decref(answer);
}

static int lines_by_verb(struct log_source *s, const struct log_wish *w, json_t *rows, char why[static LOG_WHY])
{
	json_t *args = json_pack("{s:i, s:s*, s:s*, s:s*}", "lines", (int)(s->next[0] ? LOG_READ_LINES_MAX : w->lines), "match", w->match, "level",
				 w->level, "after", s->next[0] ? s->next : NULL), *answer = NULL;
	int r = log_call(s->client, "log.tail", args, &answer, why);

	if (r == 0)
		take_answer(s, answer, rows);
	return r;
}

static int lines_by_file(struct log_source *s, const struct log_wish *w, json_t *rows, char why[static LOG_WHY])
{
	struct log_query q = { .place = { s->dir, s->full }, .lines = s->next[0] ? LOG_READ_LINES_MAX : w->lines, .match = w->match,
			       .level = LOG_LVL_TRACE, .after = s->next[0] ? s->next : NULL };
	json_t *answer = NULL;
	int r;

	if (w->level)
		(void)log_level_parse(text_of(w->level), &q.level);
	r = log_read_lines(&q, &answer);
	if (r < 0)
		snprintf(why, LOG_WHY, "%.200s: %s", s->dir, strerror(-r));
	else
		take_answer(s, answer, rows);
	return r;
}

static int lines_by_supervisor(struct log_source *s, const struct log_wish *w, json_t *rows, char why[static LOG_WHY])
{
	json_t *args = name_args(s), *answer = NULL, *lines, *line;
	long long had = strtoll(s->next, NULL, 10), total;
	size_t i, n, before = json_array_size(rows);
	int r = log_call(s->client, "supervisor.output", args, &answer, why);

	if (r < 0)
		return r;
	lines = json_object_get(answer, "rows");
	total = (long long)json_integer_value(json_object_get(answer, "total"));
	n = json_array_size(lines);
	json_array_foreach(lines, i, line) {
		long long number = total - (long long)(n - i); /* of this line, from 0 */
		if ((!s->begun || number >= had) && is_wanted(w, json_string_value(line)))
			json_array_append(rows, line);
	}
	while (!s->begun && json_array_size(rows) - before > w->lines)
		json_array_remove(rows, before);
	snprintf(s->next, sizeof s->next, "%lld", total);
	json_decref(answer);
	return 0;
}

/* The journal's entry as a line of the log. False: it has no text. */
static bool journal_line(sd_journal *j, char line[static LOG_LINE_MAX])
{
	const void *data;
	char when[40] = "";
	uint64_t usec;
	struct tm tm;
	time_t t;
	size_t n;

	if (sd_journal_get_data(j, "MESSAGE", &data, &n) < 0 || n < 8)
		return false;
	/* Ours have their time; others' lines (a library's, systemd's own) get the journal's. */
	if (!(n > 12 && ((const char *)data)[12] == '-') && sd_journal_get_realtime_usec(j, &usec) >= 0) {
		t = (time_t)(usec / 1000000);
		if (gmtime_r(&t, &tm))
			(void)strftime(when, sizeof when, "%FT%TZ error ", &tm);
	}
	snprintf(line, LOG_LINE_MAX, "%s%.*s", when, (int)MIN(n - 8, (size_t)3500), (const char *)data + 8);
	return true;
}

/* Back from the end to the first of the last lines that are wanted, or as far as is looked. True: it stands on an entry to be shown. */
static bool journal_back(sd_journal *j, const struct log_wish *w)
{
	char line[LOG_LINE_MAX];
	unsigned found = 0;

	if (sd_journal_seek_tail(j) < 0 || sd_journal_previous(j) <= 0 || !w->lines)
		return false;
	for (unsigned looked = 1; looked < JOURNAL_LOOK_MAX; looked++) {
		found += journal_line(j, line) && is_wanted(w, line);
		if (found == w->lines || sd_journal_previous(j) <= 0) /* before the first it stays there */
			break;
	}
	return true;
}

static int lines_by_journal(struct log_source *s, const struct log_wish *w, json_t *rows)
{
	sd_journal *j = s->journal;
	char line[LOG_LINE_MAX];
	bool here = !s->begun && journal_back(j, w);

	(void)sd_journal_process(j);
	for (; here || sd_journal_next(j) > 0; here = false)
		if (journal_line(j, line) && is_wanted(w, line))
			json_array_append_new(rows, json_string(line));
	return 0;
}

int log_source_lines(struct log_source *s, const struct log_wish *w, json_t *rows, char why[static LOG_WHY])
{
	int r = s->kind == LOG_BY_VERB ? lines_by_verb(s, w, rows, why) : s->kind == LOG_BY_FILE ? lines_by_file(s, w, rows, why) :
		s->kind == LOG_BY_SUPERVISOR ? lines_by_supervisor(s, w, rows, why) : lines_by_journal(s, w, rows);

	s->begun = true;
	return r;
}

/* ---- files ---- */

int log_source_files(struct log_source *s, json_t **ret_rows, char why[static LOG_WHY])
{
	struct log_place p = { s->dir, s->full };
	json_t *answer = NULL;
	int r;

	switch (s->kind) {
	case LOG_BY_VERB:
		r = log_call(s->client, "log.files", NULL, &answer, why);
		if (r == 0)
			*ret_rows = json_incref(json_object_get(answer, "rows"));
		json_decref(answer);
		return r;
	case LOG_BY_FILE:
		r = log_read_list(&p, ret_rows);
		if (r < 0)
			snprintf(why, LOG_WHY, "%.200s: %s", s->dir, strerror(-r));
		return r;
	case LOG_BY_SUPERVISOR:
	case LOG_BY_JOURNAL:
		break;
	}
	*ret_rows = json_pack("[{s:o, s:i, s:I, s:b}]", "name", json_sprintf("%s.log", s->full), "size", 0, "modified",
			      (json_int_t)time(NULL) * 1000, "current", 1);
	return 0;
}

/* All that a source of lines has. */
static int read_lines(struct log_source *s, int (*fn)(const void *p, size_t n, void *arg), void *arg, char why[static LOG_WHY])
{
	struct log_wish all = { .lines = JOURNAL_LOOK_MAX };
	json_t *rows = json_array(), *line;
	size_t i;
	int r = log_source_lines(s, &all, rows, why);

	json_array_foreach(rows, i, line) {
		if (r == 0)
			r = fn(json_string_value(line), json_string_length(line), arg);
		if (r == 0)
			r = fn("\n", 1, arg);
	}
	json_decref(rows);
	return r;
}

static int read_piece(const struct log_pieces *f, uint64_t at, json_t **ret_answer, char why[static LOG_WHY])
{
	const struct log_chunk c = { .place = f->place, .file = f->file, .offset = at };
	int r;

	if (f->client)
		return log_call(f->client, f->verb, json_pack("{s:s, s:I}", "name", f->file, "offset", (json_int_t)at), ret_answer, why);
	r = log_read_chunk(&c, ret_answer);
	if (r < 0)
		snprintf(why, LOG_WHY, "%s: %s", f->file, strerror(-r));
	return r;
}

int log_pieces_read(const struct log_pieces *f, int (*fn)(const void *p, size_t n, void *arg), void *arg, char why[static LOG_WHY])
{
	static uint8_t bytes[LOG_READ_CHUNK_MAX];
	uint64_t at = 0, size = UINT64_MAX;
	int r = 0;

	while (r == 0 && at < size) {
		json_t *answer = NULL;
		const char *data;
		size_t n = 0;

		r = read_piece(f, at, &answer, why);
		data = json_string_value(json_object_get(answer, "data"));
		if (size == UINT64_MAX) /* no further than it was: the file goes on meanwhile */
			size = (uint64_t)json_integer_value(json_object_get(answer, "size"));
		if (r == 0 && (!data || base64_decode(text_of(data), bytes, sizeof bytes, &n) < 0))
			r = -EBADMSG;
		json_decref(answer);
		n = (size_t)MIN((uint64_t)n, size - at);
		if (r == 0 && n)
			r = fn(bytes, n, arg);
		if (n == 0)
			break;
		at += n;
	}
	return r;
}

int log_source_read(struct log_source *s, const char *file, int (*fn)(const void *p, size_t n, void *arg), void *arg, char why[static LOG_WHY])
{
	const struct log_pieces f = { s->client, "log.read", { s->dir, s->full }, file };

	if (s->kind == LOG_BY_SUPERVISOR || s->kind == LOG_BY_JOURNAL)
		return read_lines(s, fn, arg, why);
	return log_pieces_read(&f, fn, arg, why);
}

int log_source_delete(struct log_source *s, json_t *args, json_t **ret_result, char why[static LOG_WHY])
{
	const json_t *days = json_object_get(args, "older_than_days");
	struct log_place p = { s->dir, s->full };
	int r;

	if (s->kind == LOG_BY_VERB)
		return log_call(s->client, "log.delete", args, ret_result, why);
	if (s->kind == LOG_BY_FILE) {
		r = log_delete(&p, json_string_value(json_object_get(args, "name")),
			       days ? (int64_t)time(NULL) - (int64_t)json_integer_value(days) * 86400 : 0, ret_result);
		if (r < 0)
			snprintf(why, LOG_WHY, "%.200s: %s", s->dir, r == -ENOENT ? "there is no such file" : strerror(-r));
	} else {
		snprintf(why, LOG_WHY, "its lines are in %s", s->kind == LOG_BY_JOURNAL ? "the journal: journalctl --vacuum-time=7d" :
			 "the supervisor's memory");
		r = -ENOTSUP;
	}
	json_decref(args);
	return r;
}
