/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile restore writes: files, folders and stores, each beside its place first and then renamed into it.
 *
 * Whatever is there with other contents is kept as NAME.before-restore (a store as NAME.before-restore-2 and so on where one was kept before);
 * what is there already as it should be is left alone. Which files and stores is said by cli/restore.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/backup.h"
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
int restore_folders(struct cli *cli, const json_t *folders)
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
			return restore_refuse(cli, "failed", "%s: %s", path, strerror(errno));
		give(fd, folder);
	}
	return 0;
}

static int write_new(const char *path, const json_t *file, const uint8_t *data, size_t n)
{
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return -errno;
	give(fd, file);
	r = fd_write(fd, data, n);
	return r == 0 && fsync(fd) < 0 ? -errno : r;
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

/* malloc'd. 0, -EINVAL or -ENOMEM. */
static int contents_of(const char *path, const json_t *file, uint8_t **ret_data, size_t *ret_n)
{
	const char *text = json_string_value(json_object_get(file, "data"));
	size_t cap = text ? strlen(text) : 0;
	uint8_t *data = malloc(cap + 1);

	if (!data)
		return -ENOMEM;
	if (path[0] != '/' || !text || base64_decode(text_of(text), data, cap, ret_n) < 0) {
		free(data);
		return -EINVAL;
	}
	*ret_data = data;
	return 0;
}

/* By trying: what shuts a process in (Landlock) is not known to access(). */
static bool takes_files(const char *dir)
{
	_cleanup_(closep) int fd = open(dir, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);

	return fd >= 0 || ((errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL) && access(dir, W_OK) == 0);
}

/* Into its folder, or the nearest above that is there. */
static bool may_write(const char *path)
{
	char dir[4096];

	snprintf(dir, sizeof dir, "%s", path);
	for (char *slash; (slash = strrchr(dir, '/'));) {
		*slash = 0;
		if (access(*dir ? dir : "/", F_OK) == 0)
			return takes_files(*dir ? dir : "/");
	}
	return false;
}

json_t *restore_file_plan(const char *path, const json_t *file)
{
	uint8_t *data = NULL;
	size_t n = 0;
	bool good = contents_of(path, file, &data, &n) == 0, same = good && holds(path, data, n);
	const char *state = !good ? "damaged" : same ? "same" : access(path, F_OK) == 0 ? "differs" : "new";

	if (data)
		bytes_wipe(data, n);
	free(data);
	return json_pack("{s:s, s:s, s:b}", "path", path, "state", state, "writable", same || may_write(path));
}

static int put_file(const char *path, const json_t *file)
{
	uint8_t *data = NULL;
	size_t n = 0;
	char fresh[4200];
	int r = contents_of(path, file, &data, &n);

	if (r == 0)
		r = make_folders(path);
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

int restore_files(struct cli *cli, const json_t *files)
{
	const char *path;
	json_t *file;
	int r;

	json_object_foreach((json_t *)files, path, file) {
		r = put_file(path, file);
		if (r < 0)
			return restore_refuse(cli, "failed", "%s: %s", path, strerror(-r));
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

static const char *const store_parts[] = { "-wal", "-shm",
					   "" }; /* what a store is made of: the last one is the file itself */

static bool some_kept(const char *path, const char *suffix)
{
	char kept[2600];

	for (size_t i = 0; i < ARRAY_LEN(store_parts); i++) {
		snprintf(kept, sizeof kept, "%s%s%s", path, store_parts[i], suffix);
		if (access(kept, F_OK) == 0)
			return true;
	}
	return false;
}

/* What an earlier run has kept stays, for a run that is repeated after a failure finds the restored store there. */
static int keep_store(const char *path)
{
	char suffix[64], part[2600], kept[2700];
	unsigned n = 1;

	snprintf(suffix, sizeof suffix, "%s", KEPT);
	while (some_kept(path, suffix))
		snprintf(suffix, sizeof suffix, "%s-%u", KEPT, ++n);
	for (size_t i = 0; i < ARRAY_LEN(store_parts); i++) {
		snprintf(part, sizeof part, "%s%s", path, store_parts[i]);
		snprintf(kept, sizeof kept, "%s%s", part, suffix);
		if (rename(part, kept) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int move_in(const char *fresh, const char *path)
{
	int r = keep_store(path);

	return r == 0 && rename(fresh, path) < 0 ? -errno : r;
}

int restore_store(struct cli *cli, const json_t *s)
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
		return restore_refuse(cli, "failed", "%s: %s", path, *err ? err : r > 0 ? store_result_text((enum store_result)r) : strerror(-r));
	return 0;
}
