/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile logs: the last lines of one service or of all, in the order of their time; with --follow what comes. stile logs zip
 * takes all files along, stile logs delete removes them. Where a log comes from is cli/log_source.c's affair.
 *
 * Ctrl-C ends a follow well, and leaves no half archive behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cli/log_records.h"
#include "cli/log_source.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/log_zip.h"

enum { LINES_DEFAULT = 50, FOLLOW_MS = 300 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signo)
{
	(void)signo;
	interrupted = 1;
}

static void catch_interrupts(void)
{
	const struct sigaction sa = { .sa_handler = on_interrupt };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

struct logs {
	struct cli *cli;
	struct log_source v[LOG_SOURCES_MAX];
	unsigned n, lines; /* of what is there already */
};

static void close_all(struct logs *l)
{
	for (unsigned i = 0; i < l->n; i++)
		log_source_close(&l->v[i]);
}

static int find_all(struct logs *l)
{
	return log_sources_find(l->cli, l->cli->words, l->cli->n_words, l->v, &l->n);
}

/* ---- lines ---- */

/* Of one that begins with its time; a line without one belongs to the one before it. */
static bool has_time(const char *line)
{
	return line[0] >= '0' && line[0] <= '9' && strlen(line) > 20 && line[4] == '-' && line[10] == 'T';
}

/* "time":"2026-…" of the JSON form, or the line itself. */
static const char *time_of(const char *line)
{
	const char *t = line[0] == '{' ? strstr(line, "\"time\":\"") : NULL;

	return t ? t + strlen("\"time\":\"") : has_time(line) ? line : "";
}

struct shown {
	const char *service, *line, *time;
	size_t at;
};

static int by_time(const void *a, const void *b)
{
	const struct shown *x = a, *y = b;
	int r = strncmp(x->time, y->time, 24);

	return r ? r : x->at < y->at ? -1 : x->at > y->at;
}

static const char *color_of(const struct cli *cli, const char *line)
{
	if (!cli->color)
		return "";
	return strstr(line, " error ") || strstr(line, "\"level\":\"error\"") ? "\033[31m" :
	       strstr(line, " warn ") || strstr(line, "\"level\":\"warn\"") ? "\033[33m" : "";
}

static void show_line(const struct logs *l, const struct shown *s)
{
	const char *color;

	if (cli_has(l->cli, "json")) {
		json_t *j = json_pack("{s:s, s:s}", "service", s->service, "line", s->line);
		json_dumpf(j, stdout, JSON_COMPACT);
		fputc('\n', stdout);
		json_decref(j);
		return;
	}
	color = color_of(l->cli, s->line);
	if (l->n > 1)
		printf("%-8s ", s->service + strlen("stile-"));
	fputs(color, stdout);
	print_clean(stdout, s->line);
	fputs(*color ? "\033[0m\n" : "\n", stdout);
}

/* Lines of all sources, put in order; those that are without a time stay behind the line before them. */
static int show_new(struct logs *l, const struct log_wish *w, size_t *ret_n)
{
	json_t *rows[LOG_SOURCES_MAX], *line;
	char why[LOG_WHY];
	size_t n = 0, k = 0, i;
	bool first = !l->v[0].begun;
	int r = 0;

	for (unsigned s = 0; s < l->n; s++) {
		rows[s] = json_array();
		if (log_source_lines(&l->v[s], w, rows[s], why) < 0)
			r = cli_fail(l->cli, "%s: %s", l->v[s].full, why);
		n += json_array_size(rows[s]);
	}
	struct shown *all = calloc(n + 1, sizeof(*all));
	for (unsigned s = 0; all && s < l->n; s++) {
		const char *time = "";
		json_array_foreach(rows[s], i, line) {
			const char *text = json_string_value(line), *own = time_of(text);
			time = *own ? own : time;
			all[k] = (struct shown){ l->v[s].full, text, time, k };
			k++;
		}
	}
	if (all && l->n > 1)
		qsort(all, k, sizeof(*all), by_time);
	for (size_t from = first && k > l->lines ? k - l->lines : 0; from < k; from++)
		show_line(l, &all[from]);
	fflush(stdout);
	free(all);
	for (unsigned s = 0; s < l->n; s++)
		json_decref(rows[s]);
	*ret_n = n;
	return r;
}

static int run_logs(struct cli *cli)
{
	struct logs l = { .cli = cli };
	struct log_wish w = { .match = cli_option(cli, "match"), .level = cli_option(cli, "level") };
	uint64_t lines = LINES_DEFAULT;
	enum log_level level;
	size_t n;
	int r = cli_number(cli, "lines", 0, 2000, &lines);

	if (!r && w.level && log_level_parse(text_of(w.level), &level) < 0) {
		r = cli_wrong(cli, "a level is error, warn, info, debug or trace, not '%s'", w.level);
	}
	if (!r)
		r = find_all(&l);
	if (r)
		return r;
	l.lines = (unsigned)lines;
	w.lines = MAX(l.lines, 1u);
	if (cli_has(cli, "follow"))
		catch_interrupts();
	r = show_new(&l, &w, &n);
	while (!r && cli_has(cli, "follow") && !interrupted && print_is_read()) {
		nanosleep(&(struct timespec){ .tv_nsec = FOLLOW_MS * 1000000L }, NULL);
		if (!interrupted)
			r = show_new(&l, &w, &n);
	}
	close_all(&l);
	return r;
}

/* ---- zip ---- */

struct archive_file {
	struct logs *l;
	struct log_zip *zip;
	int fd;
	char path[512], part[528];
	uint64_t files, bytes; /* of the logs */
	bool terminal;
};

static int write_out(const void *p, size_t n, void *arg)
{
	const struct archive_file *a = arg;

	return fd_write(a->fd, p, n);
}

static int add_bytes(const void *p, size_t n, void *arg)
{
	struct archive_file *a = arg;
	char size[32];
	struct sb b = sb_init(size, sizeof size);

	a->bytes += n;
	if (a->terminal) {
		sb_size(&b, a->bytes);
		fprintf(stderr, "\r  %llu file%s, %s\033[K", (unsigned long long)a->files, a->files == 1 ? "" : "s", size);
	}
	return interrupted ? -EINTR : log_zip_data(a->zip, p, n);
}

static int add_source(struct archive_file *a, struct log_source *s)
{
	json_t *rows = NULL, *row;
	char why[LOG_WHY] = "";
	size_t i;
	int r = log_source_files(s, &rows, why);

	json_array_foreach(rows, i, row) {
		const char *name = json_string_value(json_object_get(row, "name"));
		if (r < 0)
			break;
		a->files++;
		r = log_zip_begin(a->zip, name, (int64_t)json_integer_value(json_object_get(row, "modified")) / 1000);
		if (r == 0)
			r = log_source_read(s, name, add_bytes, a, why);
	}
	json_decref(rows);
	if (r < 0 && !interrupted)
		(void)cli_fail(a->l->cli, "%s: %s", s->full, why[0] ? why : strerror(-r));
	return r;
}

/* In a folder of their own: "stile-tunnel-records/CO261129.LOG". */
static int add_records(struct archive_file *a, const char *full)
{
	_cleanup_(control_client_freep) struct control_client *cl = log_records_open(a->l->cli, full);
	json_t *rows = json_array(), *row;
	char why[LOG_WHY] = "", name[300];
	size_t i;
	int r = cl ? log_records_list(cl, rows, why) : 0;

	json_array_foreach(rows, i, row) {
		const char *file = json_string_value(json_object_get(row, "name"));
		if (r < 0)
			break;
		a->files++;
		snprintf(name, sizeof name, "%s-records/%s", full, file);
		r = log_zip_begin(a->zip, name, (int64_t)json_integer_value(json_object_get(row, "modified")) / 1000);
		if (r == 0)
			r = log_records_read(cl, file, add_bytes, a, why);
	}
	json_decref(rows);
	if (r < 0 && !interrupted)
		(void)cli_fail(a->l->cli, "the records of %s: %s", full, why[0] ? why : strerror(-r));
	return r;
}

static int open_archive(struct archive_file *a)
{
	const char *out = cli_option(a->l->cli, "out");
	char host[64] = "host", day[32] = "";
	time_t now = time(NULL);
	struct tm tm;

	(void)gethostname(host, sizeof host - 1);
	if (localtime_r(&now, &tm))
		(void)strftime(day, sizeof day, "%Y%m%d-%H%M%S", &tm);
	if (out && strcmp(out, "-") == 0) {
		snprintf(a->path, sizeof a->path, "standard output");
		a->fd = STDOUT_FILENO;
		return print_bytes_may(a->l->cli);
	}
	if (out)
		snprintf(a->path, sizeof a->path, "%.500s", out);
	else
		snprintf(a->path, sizeof a->path, "stile-logs-%s-%s.zip", host, day);
	snprintf(a->part, sizeof a->part, "%s.part", a->path);
	if (access(a->path, F_OK) == 0)
		return cli_fail(a->l->cli, "%s is there already", a->path);
	a->fd = open(a->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	return a->fd < 0 ? cli_fail(a->l->cli, "cannot write %s: %s", a->part, strerror(errno)) : 0;
}

static int fill(struct archive_file *a)
{
	int r = log_zip_new(write_out, a, &a->zip);

	for (unsigned i = 0; i < a->l->n && r == 0; i++)
		r = add_source(a, &a->l->v[i]);
	for (unsigned i = 0; i < a->l->n && r == 0 && cli_has(a->l->cli, "records"); i++)
		r = add_records(a, a->l->v[i].full);
	if (r == 0)
		r = log_zip_end(a->zip);
	a->zip = log_zip_free(a->zip);
	if (a->terminal)
		print_again(stderr, "");
	if (a->fd == STDOUT_FILENO)
		return r;
	if (close(a->fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(a->part, a->path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(a->part);
	return r;
}

static int run_zip(struct cli *cli)
{
	struct logs l = { .cli = cli };
	struct archive_file a = { .l = &l, .terminal = isatty(STDERR_FILENO) && !cli_has(cli, "json") };
	char size[32];
	struct sb b = sb_init(size, sizeof size);
	int r = find_all(&l);

	if (!r)
		r = open_archive(&a);
	if (r) {
		close_all(&l);
		return r;
	}
	catch_interrupts();
	r = fill(&a);
	close_all(&l);
	if (r < 0)
		return interrupted ? cli_fail(cli, "interrupted; nothing was written") : cli_fail(cli, "%s: %s", a.path, strerror(-r));
	sb_size(&b, a.bytes);
	if (a.fd == STDOUT_FILENO)
		return 0;
	if (cli_has(cli, "json")) {
		json_t *j = json_pack("{s:s, s:I, s:I}", "file", a.path, "files", (json_int_t)a.files, "bytes", (json_int_t)a.bytes);
		print_json(j);
		json_decref(j);
	} else {
		printf("%s: %llu file%s with %s of logs\n", a.path, (unsigned long long)a.files, a.files == 1 ? "" : "s", size);
	}
	return 0;
}

/* ---- delete ---- */

static json_t *what_to_delete(struct cli *cli)
{
	const char *file = cli_option(cli, "file");
	uint64_t days = 0;
	bool all = cli_has(cli, "all");

	if (cli_number(cli, "older-than", 1, 36500, &days))
		return NULL;
	if ((file != NULL) + all + (days != 0) != 1) {
		(void)cli_wrong(cli, "what? One of --file NAME, --older-than DAYS and --all");
		return NULL;
	}
	return file ? json_pack("{s:s}", "name", file) : all ? json_pack("{s:b}", "all", 1) : json_pack("{s:I}", "older_than_days", (json_int_t)days);
}

static void add_deleted(json_t *done, const char *full, json_t *result)
{
	json_object_set_new(result, "service", json_string(full));
	json_array_append_new(done, result);
}

static int delete_records(struct logs *l, json_t *what, json_t *done, unsigned *ret_n)
{
	int r = 0;

	*ret_n = 0;
	for (unsigned i = 0; i < l->n && r == 0; i++) {
		_cleanup_(control_client_freep) struct control_client *cl = log_records_open(l->cli, l->v[i].full);
		json_t *result = NULL;
		char why[LOG_WHY] = "";

		if (cl && log_records_delete(cl, json_incref(what), &result, why) < 0)
			r = cli_fail(l->cli, "the records of %s: %s", l->v[i].full, why);
		*ret_n += result != NULL;
		if (result)
			add_deleted(done, l->v[i].full, result);
	}
	return r;
}

/* A file of this name is one service's; the others do not have it. */
static int delete_in(struct logs *l, json_t *what, json_t *done)
{
	const char *file = cli_option(l->cli, "file");
	char why[LOG_WHY] = "";
	unsigned good = 0;
	int r = cli_has(l->cli, "records") ? delete_records(l, what, done, &good) : 0;

	for (unsigned i = 0; i < l->n; i++) {
		json_t *result = NULL;
		const char *dot = file ? strstr(file, ".log") : NULL;

		if (file && (!dot || (size_t)(dot - file) != strlen(l->v[i].full) || strncmp(file, l->v[i].full, strlen(l->v[i].full)) != 0))
			continue;
		if (log_source_delete(&l->v[i], json_incref(what), &result, why) == 0)
			good++;
		else if (l->cli->n_words || file)
			r = cli_fail(l->cli, "%s: %s", l->v[i].full, why);
		if (result)
			add_deleted(done, l->v[i].full, result);
	}
	if (!r && !good)
		return file && !why[0] ? cli_fail(l->cli, "no service has a log file %s", file) : cli_fail(l->cli, "%s", why);
	return r;
}

static bool confirmed(const struct cli *cli)
{
	char answer[16] = "";

	if (cli_has(cli, "yes") || !isatty(STDIN_FILENO))
		return true;
	printf("Delete for good? [y/N] ");
	fflush(stdout);
	return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int run_delete(struct cli *cli)
{
	struct logs l = { .cli = cli };
	json_t *what = what_to_delete(cli), *done = json_array(), *one, *name;
	size_t i, k;
	int r = what ? find_all(&l) : EXIT_USAGE;

	if (!r && !confirmed(cli))
		r = cli_fail(cli, "nothing was deleted");
	if (!r)
		r = delete_in(&l, what, done);
	if (!r && cli_has(cli, "json")) {
		print_json(done);
	} else if (!r) {
		size_t n = 0;
		json_array_foreach(done, i, one)
			json_array_foreach(json_object_get(one, "deleted"), k, name) {
				printf("%s\n", json_string_value(name));
				n++;
			}
		printf("%zu file%s deleted\n", n, n == 1 ? "" : "s");
	}
	json_decref(what);
	json_decref(done);
	close_all(&l);
	return r;
}

static const struct option_row logs_options[] = {
	{ "follow", 'f', NULL, "go on with what comes, until Ctrl-C" },
	{ "lines", 'n', "N", "so many of the last lines (default 50)" },
	{ "level", 'l', "LEVEL", "only lines of this weight and heavier: error, warn, info, debug, trace" },
	{ "match", 'm', "TEXT", "only lines with this text in them, in any case of letters" },
};
static const struct option_row zip_options[] = {
	{ "records", 'r', NULL, "the relay's connection and data logs, too; a data log has every byte of its connection" },
	{ "out", 'o', "FILE", "the archive (default stile-logs-HOST-TIME.zip, here); -: standard output" },
};
static const struct option_row delete_options[] = {
	{ "file", 'f', "NAME", "this file, as stile logs zip names it" },
	{ "older-than", 0, "DAYS", "files that nobody wrote to for so many days" },
	{ "all", 'a', NULL, "all files; the current one is emptied" },
	{ "records", 'r', NULL, "the relay's connection and data logs, too" },
	{ "yes", 'y', NULL, "do not ask" },
};

static const struct command rows[] = {
	{ "logs", "[SERVICE...]", "the last lines of the services' logs",
	  "Of the SERVICEs (turn, tunnel@lab …), or of all, in the order of their time. A service that runs is asked for them; of one\n"
	  "that does not the files are read, or the supervisor's memory, or the journal. --json: an object a line.",
	  logs_options, ARRAY_LEN(logs_options), 0, CLI_MAX_WORDS, run_logs, 0 },
	{ "logs zip", "[SERVICE...]", "pack all log files into a ZIP",
	  "All files of the SERVICEs, or of all services, those that were put aside included. Secrets never stand in a log.",
	  zip_options, ARRAY_LEN(zip_options), 0, CLI_MAX_WORDS, run_zip, 0 },
	{ "logs delete", "[SERVICE...]", "delete log files",
	  "Of the SERVICEs, or of all. log.keep, log.max_size and log.delete_daily do it by themselves.",
	  delete_options, ARRAY_LEN(delete_options), 0, CLI_MAX_WORDS, run_delete, 0 },
};
const struct command_table logs_commands = { rows, ARRAY_LEN(rows) };
