/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile restore FILE: puts back what stile backup has taken, while the services stand still, or with --stop between a stop and a start
 * of them.
 *
 * First all is looked at: which services and objects, which files are there with other contents, and whether they may be written. That is
 * the answer of a dry run, and with --json the console's page. Nothing is stopped or written before that has gone well; what was
 * stopped is started again whatever came between. cli/restore_put.c does the writing.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cli/backup.h"
#include "common/backup.h"
#include "common/bytes.h"
#include "common/manager.h"
#include "common/service.h"

enum { STOPPED_MAX = 64, NAME = 112 };

struct restoring {
	struct cli *cli;
	const json_t *contents;
	json_t *plan; /* {services, files}, as --json has it */
	char stopped[STOPPED_MAX][NAME]; /* to be started again */
	unsigned n_stopped;
};

int restore_refuse(struct cli *cli, const char *code, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	json_t *j;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (cli_has(cli, "json")) {
		j = json_pack("{s:{s:s, s:s}}", "error", "code", code, "text", text);
		print_json(j);
		json_decref(j);
	}
	return cli_fail(cli, "%s", text);
}

/* ---- which services ---- */

/* All that a line or a path is made of is there. */
static bool is_whole(const json_t *contents)
{
	const json_t *services = json_object_get(contents, "services");
	json_t *s;
	size_t i;

	json_array_foreach(services, i, s) {
		const char *full = json_string_value(json_object_get(s, "service")), *store = json_string_value(json_object_get(s, "store"));
		if (!full || strchr(full, '/') || strlen(full) > 100 || !store || store[0] != '/' || strlen(store) > 2000 ||
		    !json_is_object(json_object_get(s, "objects")))
			return false;
	}
	return json_is_array(services) && json_is_object(json_object_get(contents, "files"));
}

static bool is_named(const char *word, const char *full)
{
	return strcmp(word, full) == 0 || (strncmp(full, "stile-", 6) == 0 && strcmp(word, full + 6) == 0);
}

/* By --only and --but; without them all are. */
static bool is_wanted(const struct cli *cli, const char *full)
{
	const char *but = cli_option(cli, "but");

	if (but && is_named(but, full))
		return false;
	for (unsigned i = 0; i < cli->n_many; i++)
		if (is_named(cli->many[i], full))
			return true;
	return !cli->n_many;
}

/* A name of --only that is not in the backup would restore nothing, and look as if it had. */
static int refuse_strange(struct cli *cli, const json_t *services)
{
	struct cli one = *cli;
	json_t *s;
	size_t k;

	one.n_many = 1;
	for (unsigned i = 0; i < cli->n_many; i++) {
		bool found = false;
		one.many[0] = cli->many[i];
		json_array_foreach(services, k, s)
			found |= is_wanted(&one, json_string_value(json_object_get(s, "service")));
		if (!found)
			return restore_refuse(cli, "not-found", "%s is not in this backup", cli->many[i]);
	}
	return 0;
}

static bool is_running(const struct cli *cli, const char *full)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;

	return cli_connect_named(cli, full, 3000, &cl) == 0;
}

/* As stile start and stop take it: "stile-turn@lab" → "turn@lab". */
static const char *short_name(const char *full)
{
	return strncmp(full, "stile-", 6) == 0 ? full + 6 : full;
}

static int refuse_running(struct cli *cli, const json_t *services)
{
	char list[512] = "", list_of_words[512] = "";
	struct sb names = sb_init(list, sizeof list), words = sb_init(list_of_words, sizeof list_of_words);
	json_t *s;
	size_t i;

	json_array_foreach(services, i, s) {
		const char *full = json_string_value(json_object_get(s, "service"));
		if (!is_wanted(cli, full) || !is_running(cli, full))
			continue;
		sb_fmt(&names, "%s%s", names.n ? ", " : "", full);
		sb_fmt(&words, " %s", short_name(full));
	}
	return names.n ? restore_refuse(cli, "running", "%s: stop what runs before you restore it (stile stop%s), or use --stop", list, list_of_words) : 0;
}

/* ---- stop and start ---- */

static int order(struct restoring *w, enum manager_action action, const char *full, char err[static MANAGER_ERRLEN])
{
	const char *at = strchr(full, '@');
	char program[NAME];
	json_t *row = NULL;
	const struct manager_order o = { action, program, at ? at + 1 : "" };
	int r;

	snprintf(program, sizeof program, "%.*s", (int)strcspn(full, "@"), full);
	r = manager_do(cli_runtime_dir(w->cli), &o, &row, err);
	if (r == -ENOSYS)
		snprintf(err, MANAGER_ERRLEN, "nobody looks after services here, neither systemd nor stile supervise: stop it yourself");
	json_decref(row);
	return r;
}

static int stop_all(struct restoring *w)
{
	const json_t *services = json_object_get(w->contents, "services");
	char err[MANAGER_ERRLEN];
	json_t *s;
	size_t i;

	json_array_foreach(services, i, s) {
		const char *full = json_string_value(json_object_get(s, "service"));
		if (!is_wanted(w->cli, full) || !is_running(w->cli, full))
			continue;
		if (w->n_stopped == STOPPED_MAX || order(w, MANAGER_STOP, full, err) < 0)
			return restore_refuse(w->cli, "running", "%s does not stop: %s", full, w->n_stopped == STOPPED_MAX ? "too many services" : err);
		snprintf(w->stopped[w->n_stopped++], NAME, "%s", full);
	}
	return 0;
}

/* All of them, even if one does not start. */
static int start_all(struct restoring *w, int r)
{
	char err[MANAGER_ERRLEN];

	for (unsigned i = 0; i < w->n_stopped; i++)
		if (order(w, MANAGER_START, w->stopped[i], err) < 0)
			r = r ? cli_fail(w->cli, "%s does not start again: %s", w->stopped[i], err) :
				restore_refuse(w->cli, "failed", "restored, but %s does not start: %s", w->stopped[i], err);
	return r;
}

/* ---- what would be done ---- */

static json_t *service_plan(const struct cli *cli, const json_t *s)
{
	json_t *counts = json_object(), *list;
	const char *kind;

	json_object_foreach(json_object_get(s, "objects"), kind, list)
		json_object_set_new(counts, kind, json_integer((json_int_t)json_array_size(list)));
	return json_pack("{s:O, s:o, s:b}", "service", json_object_get(s, "service"), "objects", counts, "left_out",
			 !is_wanted(cli, json_string_value(json_object_get(s, "service"))));
}

static json_t *make_plan(const struct cli *cli, const json_t *contents)
{
	json_t *services = json_array(), *files = json_array(), *s, *file;
	const char *path;
	size_t i;

	json_array_foreach(json_object_get(contents, "services"), i, s)
		json_array_append_new(services, service_plan(cli, s));
	json_object_foreach(json_object_get(contents, "files"), path, file)
		json_array_append_new(files, restore_file_plan(path, file));
	return json_pack("{s:o, s:o}", "services", services, "files", files);
}

static int refuse_unwritable(struct restoring *w)
{
	char list[700] = "";
	struct sb names = sb_init(list, sizeof list);
	json_t *file;
	size_t i;

	json_array_foreach(json_object_get(w->plan, "files"), i, file)
		if (!json_is_true(json_object_get(file, "writable")) && names.n < 500)
			sb_fmt(&names, "%s%.200s", names.n ? ", " : "", json_string_value(json_object_get(file, "path")));
	return names.n ? restore_refuse(w->cli, "not-writable", "%s: these files are other ones than in the backup and cannot be written: run as root, "
					"or leave all files as they are with --keep-files", list) : 0;
}

static const char *state_text(const char *state)
{
	return strcmp(state, "same") == 0 ? "" : strcmp(state, "new") == 0 ? " (not there now)" : " (other contents now)";
}

static void show(const json_t *about, const json_t *contents, const json_t *plan)
{
	time_t at = (time_t)(json_integer_value(json_object_get(about, "made_at")) / 1000);
	const char *host = json_string_value(json_object_get(about, "host"));
	char when[64] = "";
	struct tm tm;
	json_t *s, *list;
	size_t i;

	if (localtime_r(&at, &tm))
		strftime(when, sizeof when, "%F %T", &tm);
	printf("made %s on ", when);
	print_clean(stdout, host ? host : "?");
	printf(" by Stile %s\n", json_string_value(json_object_get(about, "version")));
	json_array_foreach(json_object_get(contents, "services"), i, s) {
		const char *kind;
		printf("  ");
		print_clean(stdout, json_string_value(json_object_get(s, "service")));
		json_object_foreach(json_object_get(s, "objects"), kind, list)
			printf(", %zu %s", json_array_size(list), kind);
		printf("\n");
	}
	json_array_foreach(json_object_get(plan, "files"), i, s) {
		printf("  ");
		print_clean(stdout, json_string_value(json_object_get(s, "path")));
		printf("%s\n", state_text(json_string_value(json_object_get(s, "state"))));
	}
}

/* ---- the command ---- */

static int put_all(struct restoring *w)
{
	bool files = !cli_has(w->cli, "keep-files");
	json_t *s;
	size_t i;
	int r = files ? restore_folders(w->cli, json_object_get(w->contents, "folders")) : 0;

	if (r == 0 && files)
		r = restore_files(w->cli, json_object_get(w->contents, "files"));
	json_array_foreach(json_object_get(w->contents, "services"), i, s)
		if (r == 0 && is_wanted(w->cli, json_string_value(json_object_get(s, "service"))))
			r = restore_store(w->cli, s);
	return r;
}

static int judge(struct restoring *w)
{
	const json_t *services = json_object_get(w->contents, "services");
	int r = refuse_strange(w->cli, services);

	if (r == 0 && !cli_has(w->cli, "keep-files"))
		r = refuse_unwritable(w);
	return r || cli_has(w->cli, "stop") ? r : refuse_running(w->cli, services);
}

/* Who is impatient waits until what was stopped runs again; then the signal is taken. */
static void hold_signals(bool on)
{
	sigset_t these;

	sigemptyset(&these);
	sigaddset(&these, SIGINT);
	sigaddset(&these, SIGTERM);
	sigaddset(&these, SIGHUP);
	(void)sigprocmask(on ? SIG_BLOCK : SIG_UNBLOCK, &these, NULL);
}

static void print_done(const struct restoring *w)
{
	json_t *s;
	size_t i;

	printf("restored; what was there is kept as NAME.before-restore. %s", w->n_stopped ? "What was stopped runs again." : "Start the services: stile start");
	json_array_foreach(json_object_get(w->plan, "services"), i, s)
		if (!w->n_stopped && !json_is_true(json_object_get(s, "left_out"))) {
			printf(" ");
			print_clean(stdout, short_name(json_string_value(json_object_get(s, "service"))));
		}
	printf("\n");
}

static int restore(struct cli *cli, const json_t *about, const json_t *contents)
{
	struct restoring w = { .cli = cli, .contents = contents, .plan = make_plan(cli, contents) };
	bool dry = cli_has(cli, "dry-run");
	int r = 0;

	if (!cli_has(cli, "json"))
		show(about, contents, w.plan);
	if (!dry)
		r = judge(&w);
	hold_signals(true);
	if (!dry && r == 0 && cli_has(cli, "stop"))
		r = stop_all(&w);
	if (!dry && r == 0)
		r = put_all(&w);
	r = start_all(&w, r);
	json_object_set_new(w.plan, "restored", json_boolean(!dry));
	if (r == 0 && cli_has(cli, "json"))
		print_json(w.plan);
	else if (r == 0 && dry)
		printf("nothing was changed\n");
	else if (r == 0)
		print_done(&w);
	json_decref(w.plan);
	hold_signals(false);
	return r;
}

static int run_restore(struct cli *cli)
{
	char passphrase[BACKUP_PASSPHRASE_CAP] = "", err[512];
	struct backup b = { 0 };
	json_t *contents = NULL;
	int r;

	r = backup_read(cli->words[0], &b, err, sizeof err);

	if (r < 0)
		r = restore_refuse(cli, r == -EPROTO ? "newer-version" : "bad-backup", "%s", err);
	else
		r = backup_passphrase(cli, false, passphrase);
	if (r == 0) {
		r = backup_open(&b, passphrase, &contents, err, sizeof err);
		if (r < 0)
			r = restore_refuse(cli, r == -EACCES ? "wrong-passphrase" : "bad-backup", "%s", err);
	}
	bytes_wipe(passphrase, sizeof passphrase);
	if (r == 0 && !is_whole(contents))
		r = restore_refuse(cli, "bad-backup", "the backup's contents cannot be used");
	if (r == 0)
		r = restore(cli, b.about, contents);
	json_decref(contents);
	backup_done(&b);
	return r;
}

static const struct option_row options[] = {
	{ "passphrase-file", 0, "FILE", "whose first line is the passphrase; else it is asked for, or read from standard input" },
	{ "dry-run", 0, NULL, "only show what is in it, and what is there now" },
	{ "stop", 0, NULL, "stop the services that run, and start them again after it" },
	{ "keep-files", 0, NULL, "only the stores: no configuration, key or other file is written" },
	{ "only", 0, "SERVICE", "the store of this one alone, as turn or turn@lab, beside all files; may be repeated", true },
	{ "but", 0, "SERVICE", "not the store of this one" },
};

static const struct command rows[] = {
	{ "restore", "FILE", "put back what stile backup has taken, while the services stand still",
	  "Files and stores that are there are kept beside the new ones as NAME.before-restore.", options, ARRAY_LEN(options), 1, 1, run_restore,
	  WITHOUT_CONFIG },
};
const struct command_table restore_commands = { rows, ARRAY_LEN(rows) };
