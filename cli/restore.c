/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile restore FILE: puts back what stile backup has taken, while the services stand still.
 *
 * A file that is there with other contents is kept beside it as NAME.before-restore, and so is a store; files come into place by
 * renaming, so that one is never half there.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "cli/backup.h"
#include "common/backup.h"
#include "common/bytes.h"
#include "common/fd.h"
#include "common/service.h"
#include "common/store.h"

enum { CHUNK = 500, KINDS_MAX = 64, FOLDER_MODE = 0755 };
static const char KEPT[] = ".before-restore";

/* ---- files ---- */

static int make_folders(const char *path)
{
	char dir[4096];

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
		if (mkdir(dir, FOLDER_MODE) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* As far as the names are known here and we may. */
static void give(int fd, const json_t *file)
{
	const char *owner = json_string_value(json_object_get(file, "owner")), *group = json_string_value(json_object_get(file, "group"));
	const struct passwd *p = owner && *owner ? getpwnam(owner) : NULL;
	const struct group *g = group && *group ? getgrnam(group) : NULL;

	if (fchown(fd, p ? p->pw_uid : (uid_t)-1, g ? g->gr_gid : (gid_t)-1) < 0 && geteuid() == 0)
		fprintf(stderr, "the owner of a file cannot be set: %s\n", strerror(errno));
	(void)fchmod(fd, (mode_t)json_integer_value(json_object_get(file, "mode")) & 0777);
}

/* Those that are not there, as they were; the outer ones come first. */
static int put_folders(struct cli *cli, const json_t *folders)
{
	const char *path;
	json_t *folder;
	char inside[4100];

	json_object_foreach((json_t *)folders, path, folder) {
		_cleanup_(closep) int fd = -1;
		if (path[0] != '/' || access(path, F_OK) == 0)
			continue;
		snprintf(inside, sizeof inside, "%s/x", path);
		if (make_folders(inside) < 0 || (fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
			return cli_fail(cli, "%s: %s", path, strerror(errno));
		give(fd, folder);
	}
	return 0;
}

static int write_new(const char *path, const json_t *file, const uint8_t *data, size_t n)
{
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	give(fd, file);
	for (size_t done = 0; done < n;) {
		ssize_t w = write(fd, data + done, n - done);
		if (w < 0 && errno != EINTR)
			return -errno;
		done += w > 0 ? (size_t)w : 0;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static bool holds(const char *path, const uint8_t *data, size_t n)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *there = malloc(n + 1);
	ssize_t got = fd >= 0 && there ? read(fd, there, n + 1) : -1;
	bool same = got == (ssize_t)n && memcmp(there, data, n) == 0;

	free(there);
	return same;
}

static int keep(const char *path)
{
	char kept[4200];

	snprintf(kept, sizeof kept, "%s%s", path, KEPT);
	return rename(path, kept) < 0 && errno != ENOENT ? -errno : 0;
}

static int put_file(const char *path, const json_t *file)
{
	const char *text = json_string_value(json_object_get(file, "data"));
	size_t cap = text ? strlen(text) : 0, n = 0;
	uint8_t *data = malloc(cap + 1);
	char fresh[4200];
	int r = !data ? -ENOMEM : path[0] != '/' || !text || base64_decode(text_of(text), data, cap, &n) < 0 ? -EINVAL : make_folders(path);

	snprintf(fresh, sizeof fresh, "%s.restoring", path);
	if (r == 0 && !holds(path, data, n)) {
		r = write_new(fresh, file, data, n);
		if (r == 0)
			r = keep(path);
		if (r == 0 && rename(fresh, path) < 0)
			r = -errno;
	}
	if (data)
		bytes_wipe(data, n);
	free(data);
	return r;
}

static int put_files(struct cli *cli, const json_t *files)
{
	const char *path;
	json_t *file;
	int r;

	json_object_foreach((json_t *)files, path, file) {
		r = put_file(path, file);
		if (r < 0)
			return cli_fail(cli, "%s: %s", path, strerror(-r));
	}
	return 0;
}

/* ---- stores ---- */

struct filling {
	struct loop *loop;
	struct store *store;
	int result;
};

static void on_done(const struct store_outcome *o, void *arg)
{
	struct filling *f = arg;

	f->result = o->result;
	loop_stop(f->loop);
}

static int commit(struct filling *f, const struct store_item *items, size_t n)
{
	struct store_call call = { .loop = f->loop, .who = "restore", .done = on_done, .arg = f };
	int r = n ? store_commit(f->store, &call, items, n, 0) : 0;

	if (r < 0 || n == 0)
		return r;
	r = loop_run(f->loop);
	return r < 0 ? r : f->result;
}

static int fill(struct filling *f, const json_t *objects)
{
	struct store_item items[CHUNK];
	const char *kind;
	json_t *list, *o;
	size_t n = 0, i;
	int r = 0;

	json_object_foreach((json_t *)objects, kind, list)
		json_array_foreach(list, i, o) {
			if (n == CHUNK && r == 0) {
				r = commit(f, items, n);
				n = 0;
			}
			items[n++] = (struct store_item){ .kind = kind, .key = json_string_value(json_object_get(o, "key")),
							  .body = json_object_get(o, "body"), .revision = STORE_ANY };
		}
	return r == 0 ? commit(f, items, n) : r;
}

/* None of them leaves an audit row: nobody has changed them one by one, and which values are secrets is not known here. */
static void kinds_of(const json_t *objects, struct store_kind kinds[static KINDS_MAX])
{
	const char *kind;
	json_t *list;
	size_t n = 0;

	json_object_foreach((json_t *)objects, kind, list)
		if (n < KINDS_MAX - 1)
			kinds[n++] = (struct store_kind){ .name = kind, .unaudited = true };
	kinds[n] = (struct store_kind){ 0 };
}

static void give_store(const char *path, const char *folder)
{
	struct stat st;

	if (geteuid() == 0 && stat(folder, &st) == 0 && chown(path, st.st_uid, st.st_gid) < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
}

static int move_in(const char *fresh, const char *path)
{
	static const char *const parts[] = { "-wal", "-shm", "" };
	char part[2600];
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(parts) && r == 0; i++) {
		snprintf(part, sizeof part, "%s%s", path, parts[i]);
		r = keep(part);
	}
	return r == 0 && rename(fresh, path) < 0 ? -errno : r;
}

static int put_store(struct cli *cli, const json_t *s)
{
	const char *folder = json_string_value(json_object_get(s, "store")), *full = json_string_value(json_object_get(s, "service"));
	const json_t *objects = json_object_get(s, "objects");
	struct store_kind kinds[KINDS_MAX];
	struct filling f = { 0 };
	char path[2400], fresh[2500], err[512] = "";
	int r;

	snprintf(path, sizeof path, "%s/%s.db", folder, full);
	snprintf(fresh, sizeof fresh, "%s.restoring", path);
	r = make_folders(path);
	unlink(fresh);
	kinds_of(objects, kinds);
	if (r == 0)
		r = loop_new(&f.loop);
	if (r == 0)
		r = store_open(&(struct store_options){ .path = fresh, .kinds = kinds }, err, sizeof err, &f.store);
	if (r == 0)
		r = fill(&f, objects);
	store_close(f.store);
	loop_free(f.loop);
	if (r == 0) {
		give_store(fresh, folder);
		r = move_in(fresh, path);
	}
	if (r)
		return cli_fail(cli, "%s: %s", path, *err ? err : r > 0 ? store_result_text((enum store_result)r) : strerror(-r));
	return 0;
}

/* ---- the command ---- */

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

/* By --only; without it all are. */
static bool is_wanted(const struct cli *cli, const char *full)
{
	for (unsigned i = 0; i < cli->n_many; i++)
		if (strcmp(cli->many[i], full) == 0 || (strncmp(full, "stile-", 6) == 0 && strcmp(cli->many[i], full + 6) == 0))
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
			return cli_fail(cli, "%s is not in this backup", cli->many[i]);
	}
	return 0;
}

static int refuse_running(struct cli *cli, const json_t *services)
{
	char path[1024], list[512] = "";
	struct sb names = sb_init(list, sizeof list);
	json_t *s;
	size_t i;

	json_array_foreach(services, i, s) {
		_cleanup_(control_client_freep) struct control_client *cl = NULL;
		const char *full = json_string_value(json_object_get(s, "service"));
		snprintf(path, sizeof path, "%s/%s.sock", cli_runtime_dir(cli), full);
		if (is_wanted(cli, full) && control_connect(path, 3000, &cl) == 0)
			sb_fmt(&names, "%s%s", names.n ? ", " : "", full);
	}
	return names.n ? cli_fail(cli, "%s: stop what runs before you restore it (stile stop)", list) : 0;
}

static void show(const json_t *about, const json_t *contents)
{
	time_t at = (time_t)(json_integer_value(json_object_get(about, "made_at")) / 1000);
	const char *host = json_string_value(json_object_get(about, "host")), *path;
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
	json_object_foreach(json_object_get(contents, "files"), path, list) {
		printf("  ");
		print_clean(stdout, path);
		printf("\n");
	}
}

static int put_all(struct cli *cli, const json_t *contents)
{
	const json_t *services = json_object_get(contents, "services");
	json_t *s;
	size_t i;
	int r = refuse_strange(cli, services);

	if (r == 0)
		r = refuse_running(cli, services);
	if (r == 0)
		r = put_folders(cli, json_object_get(contents, "folders"));
	if (r == 0)
		r = put_files(cli, json_object_get(contents, "files"));
	json_array_foreach(services, i, s)
		if (r == 0 && is_wanted(cli, json_string_value(json_object_get(s, "service"))))
			r = put_store(cli, s);
	return r;
}

static int run_restore(struct cli *cli)
{
	char passphrase[BACKUP_PASSPHRASE_CAP] = "", err[512];
	struct backup b = { 0 };
	json_t *contents = NULL;
	int r = backup_read(cli->words[0], &b, err, sizeof err) < 0 ? cli_fail(cli, "%s", err) : 0;

	if (r == 0)
		r = backup_passphrase(cli, false, passphrase);
	if (r == 0 && backup_open(&b, passphrase, &contents, err, sizeof err) < 0)
		r = cli_fail(cli, "%s", err);
	bytes_wipe(passphrase, sizeof passphrase);
	if (r == 0 && !is_whole(contents))
		r = cli_fail(cli, "the backup's contents cannot be used");
	if (r == 0)
		show(b.about, contents);
	if (r == 0 && !cli_has(cli, "dry-run"))
		r = put_all(cli, contents);
	if (r == 0)
		printf("%s\n", cli_has(cli, "dry-run") ? "nothing was changed" :
			       "restored; what was there is kept as NAME.before-restore. Start the services: stile start");
	json_decref(contents);
	backup_done(&b);
	return r;
}

static const struct option_row options[] = {
	{ "passphrase-file", 0, "FILE", "whose first line is the passphrase; else it is asked for, or read from standard input" },
	{ "dry-run", 0, NULL, "only show what is in it" },
	{ "only", 0, "SERVICE", "the store of this one alone, as turn or turn@lab, beside all files; may be repeated", true },
};

static const struct command rows[] = {
	{ "restore", "FILE", "put back what stile backup has taken, while the services stand still",
	  "Files and stores that are there are kept beside the new ones as NAME.before-restore.", options, ARRAY_LEN(options), 1, 1, run_restore,
	  WITHOUT_CONFIG },
};
const struct command_table restore_commands = { rows, ARRAY_LEN(rows) };
