/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile backup FILE: the services of this machine, all instances, as one file: their configuration files and what these name (keys,
 * certificates, files of secrets), the keys that they made themselves, and what is in their stores.
 *
 * A service that runs is asked for its store, because it alone may read it; of one that does not, the store's file is read. What comes and
 * goes by itself (registrations of telephones) is left out.
 */
#include "cli/backup.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/cli_services.h"
#include "common/backup.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/fd.h"

enum { FILE_MAX_BYTES = 1 << 20, TIMEOUT_MS = 10000 };

struct taking {
	struct cli *cli;
	json_t *services, *files, *folders; /* contents: list, path → file, path → folder */
	bool failed;
};

/* ---- passphrase ---- */

int backup_passphrase(struct cli *cli, bool twice, char out[static BACKUP_PASSPHRASE_CAP])
{
	const char *path = cli_option(cli, "passphrase-file");
	int r = 0;

	if (path) {
		FILE *f = fopen(path, "re");
		if (!f)
			return cli_fail(cli, "%s: %s", path, strerror(errno));
		if (!fgets(out, BACKUP_PASSPHRASE_CAP, f))
			out[0] = 0;
		fclose(f);
		out[strcspn(out, "\r\n")] = 0;
	} else {
		r = (twice ? cli_read_new_secret : cli_read_secret)(cli, "passphrase of the backup", out, BACKUP_PASSPHRASE_CAP);
	}
	if (r == 0 && twice && strlen(out) < BACKUP_PASSPHRASE_MIN)
		r = cli_fail(cli, "a passphrase has at least %d characters", BACKUP_PASSPHRASE_MIN);
	return r;
}

/* ---- files ---- */

static char *in_base64(int fd, size_t n)
{
	uint8_t *bytes = malloc(n + 1);
	char *text = malloc(BASE64_LEN(n) + 1);
	size_t have = 0;
	ssize_t got = 0;

	while (bytes && have < n && (got = read(fd, bytes + have, n - have)) > 0)
		have += (size_t)got;
	if (bytes && text && have == n)
		base64_encode(bytes, n, text);
	else {
		free(text);
		text = NULL;
	}
	if (bytes)
		bytes_wipe(bytes, n);
	free(bytes);
	return text;
}

static const char *owner_name(uid_t uid)
{
	const struct passwd *p = getpwuid(uid);

	return p ? p->pw_name : "";
}

static const char *group_name(gid_t gid)
{
	const struct group *g = getgrgid(gid);

	return g ? g->gr_name : "";
}

static void may_not_read(struct taking *t, const char *path)
{
	t->failed = true;
	cli_fail(t->cli, "%s cannot be read: run as root, or as the services' user", path);
}

/* What is no file, or not there, is not taken: a log's folder, a certificate that is still to come. */
static void take_file(const char *path, void *arg)
{
	struct taking *t = arg;
	char real[4096];
	struct stat st;
	bool there = realpath(path, real);
	_cleanup_(closep) int fd = -1;
	char *text;

	if (there && json_object_get(t->files, real))
		return;
	if (there)
		fd = open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == EACCES)
		may_not_read(t, path);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	if (st.st_size > FILE_MAX_BYTES) {
		t->failed = true;
		cli_fail(t->cli, "%s has more than 1 MiB and cannot be in a backup: is it what the configuration means?", real);
		return;
	}
	text = in_base64(fd, (size_t)st.st_size);
	if (!text) {
		t->failed = true;
		cli_fail(t->cli, "%s cannot be read", real);
		return;
	}
	json_object_set_new(t->files, real, json_pack("{s:i, s:s, s:s, s:s}", "mode", (int)(st.st_mode & 07777), "owner", owner_name(st.st_uid),
						     "group", group_name(st.st_gid), "data", text));
	bytes_wipe(text, strlen(text));
	free(text);
}

/* Whose it is, so that it can be made anew. */
static void note_folder(struct taking *t, const char *folder)
{
	struct stat st;

	if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
		json_object_set_new(t->folders, folder, json_pack("{s:i, s:s, s:s}", "mode", (int)(st.st_mode & 07777), "owner", owner_name(st.st_uid),
								 "group", group_name(st.st_gid)));
}

/* Keys that a service has made: STORE/NAME/. */
static void take_folder(struct taking *t, const char *folder)
{
	DIR *d = opendir(folder);
	char path[4096];

	if (!d && errno == EACCES)
		may_not_read(t, folder);
	note_folder(t, folder);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (e->d_name[0] == '.' || snprintf(path, sizeof path, "%s/%s", folder, e->d_name) >= (int)sizeof path)
			continue;
		take_file(path, t);
	}
	if (d)
		closedir(d);
}

/* ---- stores ---- */

static bool comes_and_goes(const char *kind)
{
	return strcmp(kind, "sip.binding") == 0 || strcmp(kind, STORE_PENDING_KIND) == 0;
}

static void add_object(json_t *objects, const char *kind, const char *key, json_t *body)
{
	json_t *list = json_object_get(objects, kind);

	if (!list)
		json_object_set_new(objects, kind, list = json_array());
	json_array_append_new(list, json_pack("{s:s, s:O}", "key", key, "body", body));
}

static void on_object(const struct store_object *o, void *arg)
{
	if (!comes_and_goes(o->kind))
		add_object(arg, o->kind, o->key, o->body);
}

static int ask_kind(struct cli *cli, struct control_client *cl, const char *kind, json_t *objects)
{
	json_t *rows = json_array(), *row;
	size_t i;
	int r = cli_objects(cli, cl, kind, true, rows);

	json_array_foreach(rows, i, row)
		add_object(objects, kind, json_string_value(json_object_get(row, "key")), json_object_get(row, "body"));
	json_decref(rows);
	return r;
}

static int ask_objects(struct cli *cli, struct control_client *cl, json_t *objects)
{
	json_t *kinds = NULL, *kind;
	size_t i;
	int r = cli_call(cli, cl, "service.objects", json_pack("{s:b}", "all", 1), &kinds);

	json_array_foreach(json_object_get(kinds, "kinds"), i, kind)
		if (r == 0 && !comes_and_goes(json_string_value(kind)))
			r = ask_kind(cli, cl, json_string_value(kind), objects);
	json_decref(kinds);
	return r;
}

/* ---- one service ---- */

static json_t *settings_of(const json_t *objects)
{
	json_t *out = json_object(), *row;
	size_t i;

	json_array_foreach(json_object_get(objects, "setting"), i, row)
		json_object_set(out, json_string_value(json_object_get(row, "key")), json_object_get(row, "body"));
	return out;
}

int backup_store_folder(const struct cfg *c, char *out, size_t n)
{
	json_t *rows = NULL;
	const char *v;
	int r = cfg_describe(c, "store.path", &rows);

	v = r == 0 ? json_string_value(json_object_get(json_array_get(rows, 0), "value")) : NULL;
	snprintf(out, n, "%s", v ? v : "");
	json_decref(rows);
	return v ? 0 : -ENOENT;
}

static const struct cli_service *service_of(const char *program)
{
	for (size_t i = 0; i < cli_n_services; i++)
		if (strcmp(cli_services[i].ops.program, program) == 0)
			return &cli_services[i];
	return NULL;
}

/* config: its file. cl NULL: it does not run. */
static int take_service(struct taking *t, const struct cli_service *s, const char *full, const char *config, struct control_client *cl)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	json_t *objects = json_object(), *settings;
	char folder[2048], path[2304], err[256];
	struct store_reader rd = { .fn = on_object, .arg = objects };
	int r;

	(void)cfg_load(config, s->ops.config, &c);
	if (!c || backup_store_folder(c, folder, sizeof folder) < 0) {
		json_decref(objects);
		return cli_fail(t->cli, "%s cannot be read: stile check -c %s tells why", config, config);
	}
	snprintf(path, sizeof path, "%s/%s.db", folder, full);
	r = cl ? ask_objects(t->cli, cl, objects) : 0;
	if (!cl && store_peek(&(struct store_options){ .path = path, .quick = true }, &rd, err, sizeof err) != 0)
		r = cli_fail(t->cli, "%s", err);
	if (r == 0) {
		settings = settings_of(objects);
		c = cfg_free(c);
		(void)cfg_load_over(config, s->ops.config, settings, &c);
		json_decref(settings);
		if (c)
			cfg_name_files(c, take_file, t);
		note_folder(t, folder);
		snprintf(path, sizeof path, "%s/%s", folder, full);
		take_folder(t, path);
		json_array_append_new(t->services, json_pack("{s:s, s:s, s:s, s:s, s:O}", "service", full, "program", s->ops.program, "config", config,
							     "store", folder, "objects", objects));
	}
	json_decref(objects);
	return r;
}

/* ---- which there are ---- */

static bool is_taken(const struct taking *t, const char *full)
{
	size_t i;
	json_t *s;

	json_array_foreach(t->services, i, s)
		if (strcmp(json_string_value(json_object_get(s, "service")), full) == 0)
			return true;
	return false;
}

/* "stile-turn@lab.sock" → "stile-turn@lab" and "stile-turn". False: it is no such name. */
static bool names_of(const char *file, const char *end, char full[static 128], char program[static 64])
{
	size_t n = strlen(file), e = strlen(end);

	if (n <= e || n - e >= 128 || strcmp(file + n - e, end) != 0)
		return false;
	snprintf(full, 128, "%.*s", (int)(n - e), file);
	snprintf(program, 64, "%.*s", (int)MIN(strcspn(full, "@"), (size_t)63), full);
	return true;
}

static int take_running(struct taking *t)
{
	DIR *d = opendir(cli_runtime_dir(t->cli));
	char full[128], program[64], path[1024];
	int r = 0;

	for (struct dirent *e; d && r == 0 && (e = readdir(d));) {
		_cleanup_(control_client_freep) struct control_client *cl = NULL;
		const struct cli_service *s = names_of(e->d_name, ".sock", full, program) ? service_of(program) : NULL;
		json_t *status = NULL;

		if (!s)
			continue;
		snprintf(path, sizeof path, "%s/%s", cli_runtime_dir(t->cli), e->d_name);
		r = control_connect(path, TIMEOUT_MS, &cl);
		if (r == -ECONNREFUSED) { /* it was killed: its store is taken as of one that does not run */
			r = 0;
			continue;
		}
		if (r == -EACCES)
			r = cli_fail(t->cli, "no access to %s: run as root or as a member of the group stile", path);
		else
			r = r < 0 ? cli_fail(t->cli, "%s: %s", path, strerror(-r)) : cli_call(t->cli, cl, "service.status", NULL, &status);
		if (r == 0)
			r = take_service(t, s, full, json_string_value(json_object_get(status, "config")), cl);
		json_decref(status);
	}
	if (d)
		closedir(d);
	return r;
}

/* Of the configuration that is given: what has a section there or a store, and does not run. */
static int take_stopped(struct taking *t)
{
	const char *config = cli_config_path(t->cli), *file;
	int r = 0;

	for (size_t i = 0; i < cli_n_services && r == 0; i++) {
		const struct cli_service *s = &cli_services[i];
		_cleanup_(cfg_freep) struct cfg *c = NULL;
		char folder[2048], full[128], program[64];
		unsigned line;
		DIR *d;

		if (cfg_load(config, s->ops.config, &c) == -ENOENT || !c || backup_store_folder(c, folder, sizeof folder) < 0)
			continue;
		if (cfg_where(c, s->section, &file, &line) && !is_taken(t, s->ops.program))
			r = take_service(t, s, s->ops.program, config, NULL);
		d = opendir(folder);
		for (struct dirent *e; d && r == 0 && (e = readdir(d));)
			if (names_of(e->d_name, ".db", full, program) && strcmp(program, s->ops.program) == 0 && !is_taken(t, full))
				r = take_service(t, s, full, config, NULL);
		if (d)
			closedir(d);
	}
	return r;
}

/* ---- the command ---- */

static json_t *about(const struct taking *t)
{
	json_t *names = json_array(), *s;
	char host[256] = "";
	size_t i;

	gethostname(host, sizeof host - 1);
	json_array_foreach(t->services, i, s)
		json_array_append(names, json_object_get(s, "service"));
	return json_pack("{s:I, s:s, s:o, s:I}", "made_at", (json_int_t)clock_unix_ms(), "host", host, "services", names, "files",
			 (json_int_t)json_object_size(t->files));
}

static int run_backup(struct cli *cli)
{
	struct taking t = { .cli = cli, .services = json_array(), .files = json_object(), .folders = json_object() };
	char passphrase[BACKUP_PASSPHRASE_CAP] = "", err[512];
	json_t *first = NULL, *contents = NULL;
	bool out = strcmp(cli->words[0], "-") == 0;
	int r = !out && access(cli->words[0], F_OK) == 0 ? cli_fail(cli, "%s is there already; a backup does not replace another", cli->words[0]) : 0;

	if (r == 0 && out)
		r = print_bytes_may(cli);
	if (r == 0)
		r = take_running(&t);
	if (r == 0)
		r = take_stopped(&t);
	if (r == 0 && t.failed)
		r = EXIT_FAILED;
	if (r == 0 && !json_array_size(t.services))
		r = cli_fail(cli, "there is no service to back up: none runs, and %s has none", cli_config_path(cli));
	if (r == 0)
		r = backup_passphrase(cli, true, passphrase);
	if (r == 0) {
		first = about(&t);
		contents = json_pack("{s:O, s:O, s:O}", "services", t.services, "files", t.files, "folders", t.folders);
		if (backup_write(cli->words[0], first, contents, passphrase, err, sizeof err) < 0)
			r = cli_fail(cli, "%s", err);
	}
	if (r == 0 && !out && cli_has(cli, "json"))
		print_json(first);
	else if (r == 0 && !out)
		printf("%s: %zu service%s, %zu files\nWithout its passphrase nobody can read it, you neither.\n", cli->words[0],
		       json_array_size(t.services), json_array_size(t.services) == 1 ? "" : "s", json_object_size(t.files));
	bytes_wipe(passphrase, sizeof passphrase);
	json_decref(first);
	json_decref(contents);
	json_decref(t.services);
	json_decref(t.files);
	json_decref(t.folders);
	return r;
}

static const struct option_row options[] = {
	{ "passphrase-file", 0, "FILE", "whose first line is the passphrase; else it is asked for, or read from standard input" },
};

static const struct command rows[] = {
	{ "backup", "FILE", "configuration, keys and stores of all services as one file, sealed under a passphrase",
	  "FILE may be - for standard output.\n\n"
	  "All instances: those that run are found in the runtime folder, those that do not by their stores. What an instance without\n"
	  "a control socket and with a configuration file of its own has, needs --config for it.",
	  options, ARRAY_LEN(options), 1, 1, run_backup },
};
const struct command_table backup_commands = { rows, ARRAY_LEN(rows) };
