/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox of a service: which folders its configuration has it write in, when it shuts itself in, and what it says about that.
 *
 * Files first, while there is one thread: the folders of control socket, log and store, those under a key "dir", and those in which
 * a "unix:" listener is made. They are found in the configuration by these keys wherever they stand, as certificates are. Calls later, when
 * root is given up and before a stranger's byte is read. A reload that names a folder which was not left is refused with
 * that reason, instead of with whatever the kernel would say in the middle of it.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/log_msgs.h"
#include "common/sandbox.h"
#include "common/service_priv.h"

enum { FOLDERS_MAX = 64 };

struct service_sandbox {
	bool wanted;
	int files, calls; /* what sandbox_files() and sandbox_calls() said */
	json_t *folders; /* that were left, absolute */
	char said[200];
};

/* ---- which folders ---- */

static void add_parent(json_t *to, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		json_array_append_new(to, json_string("."));
	else if (slash != path)
		json_array_append_new(to, json_stringn(path, (size_t)(slash - path)));
}

static void add_value(json_t *to, const char *key, const char *value)
{
	const char *at = strstr(value, "unix:/");

	if (at)
		add_parent(to, at + strlen("unix:"));
	else if (strcmp(key, "dir") == 0 && *value)
		json_array_append_new(to, json_string(value));
}

static void add_written(json_t *to, const char *key, const json_t *j)
{
	const char *k;
	json_t *v;
	size_t i;

	if (json_is_string(j))
		add_value(to, key, json_string_value(j));
	json_object_foreach((json_t *)j, k, v)
		add_written(to, k, v);
	json_array_foreach(j, i, v)
		add_written(to, key, v);
}

/* New reference; NULL without memory. */
static json_t *folders_of(const struct service *s, const struct cfg *c)
{
	const char *store = s->ops->store_path ? s->ops->store_path(cfg_values(c)) : NULL;
	json_t *all = NULL, *to = json_array();

	if (!to || cfg_export(c, false, &all) < 0) {
		json_decref(to);
		return NULL;
	}
	json_array_append_new(to, json_string(s->instance.runtime_dir));
	if (store)
		json_array_append_new(to, json_string(store));
	if (s->ops->writes_config)
		add_parent(to, s->config_path);
	add_written(to, "", all);
	json_decref(all);
	return to;
}

static bool switched_on(const struct cfg *c)
{
	json_t *all = NULL;
	const char *said = cfg_export(c, false, &all) < 0 ? NULL : json_string_value(json_object_get(all, "sandbox"));
	bool on = !said || strcmp(said, "false") != 0;

	json_decref(all);
	return on;
}

/* As the kernel will see it: links followed, also where only the folders above exist yet. */
static bool resolve(const char *path, char out[static PATH_MAX])
{
	char part[PATH_MAX], real[PATH_MAX], *slash;

	if (realpath(path, out))
		return true;
	if (strlen(path) >= sizeof(part))
		return false;
	memcpy(part, path, strlen(path) + 1);
	while ((slash = strrchr(part, '/')) && slash != part) {
		*slash = '\0';
		if (realpath(part, real))
			return (size_t)snprintf(out, PATH_MAX, "%s%s", real, path + strlen(part)) < PATH_MAX;
	}
	return false;
}

static bool was_left(const struct service_sandbox *b, const char *path)
{
	char real[PATH_MAX];
	json_t *v;
	size_t i;

	if (!resolve(path, real))
		return true; /* there is something else wrong, and that is told */
	json_array_foreach(b->folders, i, v) {
		size_t n = json_string_length(v);

		if (strncmp(real, json_string_value(v), n) == 0 && (real[n] == '\0' || real[n] == '/'))
			return true;
	}
	return false;
}

int service_sandbox_judge(const struct service *s, const struct cfg *c, char *err, size_t err_n)
{
	const struct service_sandbox *b = s->sandbox;
	json_t *wanted, *v;
	size_t i;
	int r = 0;

	if (!b || b->files < 0)
		return 0;
	wanted = folders_of(s, c);
	json_array_foreach(wanted, i, v)
		if (r == 0 && !was_left(b, json_string_value(v))) {
			snprintf(err, err_n, "%.200s is outside of the folders that this process has left itself for writing when it started (sandbox); "
					     "restart it", json_string_value(v));
			r = -EACCES;
		}
	json_decref(wanted);
	return r;
}

/* ---- shut in ---- */

/* The rules are of folders that exist. What cannot be made here fails again where it is needed, and is told there. */
static void make_folders(const struct service *s, const struct account *a)
{
	const char *store = s->ops->store_path ? s->ops->store_path(cfg_values(s->cfg)) : NULL;
	struct log_config lc = service_log_config(s->ops, s->instance.full, s->cfg);
	char err[256];

	if (lc.dir && *lc.dir)
		service_make_dir(lc.dir, LOG_DIR_MODE, a, err, sizeof(err));
	service_make_dir(s->instance.runtime_dir, SOCKET_DIR_MODE, a, err, sizeof(err));
	if (store)
		service_make_dir(store, STORE_DIR_MODE, a, err, sizeof(err));
}

static void keep_resolved(json_t *folders)
{
	char real[PATH_MAX];
	json_t *v;
	size_t i;

	json_array_foreach(folders, i, v)
		if (resolve(json_string_value(v), real))
			json_array_set_new(folders, i, json_string(real));
}

int service_sandbox_files(struct service *s, const struct account *a)
{
	struct service_sandbox *b = calloc(1, sizeof(*b));
	const char *folders[FOLDERS_MAX];
	char program[PATH_MAX];
	size_t n = 0, i;
	json_t *v;

	if (!b)
		return -ENOMEM;
	s->sandbox = b;
	b->wanted = switched_on(s->cfg);
	b->files = b->calls = -ECANCELED;
	if (!b->wanted)
		return 0;
	make_folders(s, a);
	b->folders = folders_of(s, s->cfg);
	if (!b->folders)
		return -ENOMEM;
	keep_resolved(b->folders);
	json_array_foreach(b->folders, i, v)
		if (n < FOLDERS_MAX)
			folders[n++] = json_string_value(v);
	if (s->ops->program_path)
		s->ops->program_path(program, sizeof(program));
	b->files = sandbox_files(folders, n, s->ops->program_path ? program : NULL);
	return 0;
}

void service_sandbox_calls(struct service *s)
{
	if (s->sandbox->wanted)
		s->sandbox->calls = sandbox_calls(s->ops->sandbox_calls | (s->ops->program_path ? SANDBOX_PROGRAMS : 0u));
}

struct service_sandbox *service_sandbox_free(struct service_sandbox *b)
{
	if (b)
		json_decref(b->folders);
	free(b);
	return NULL;
}

/* ---- told ---- */

const char *service_sandbox_text(const struct service *s)
{
	struct service_sandbox *b = s->sandbox;
	struct sb t = sb_init(b ? b->said : NULL, b ? sizeof(b->said) : 0);

	if (!b)
		return "as the program that it is built into";
	if (!b->wanted)
		return "off";
	if (b->calls >= 0)
		sb_fmt(&t, "system calls");
	if (b->files >= 0)
		sb_fmt(&t, "%sfiles", t.n ? " and " : "");
	if (b->calls < 0)
		sb_fmt(&t, "%ssystem calls not: %s", t.n ? "; " : "", strerror(-b->calls));
	if (b->files < 0)
		sb_fmt(&t, "%sfiles not: %s", t.n ? "; " : "",
		       b->files == -ENOSYS || b->files == -EOPNOTSUPP ? "this kernel has no Landlock" : strerror(-b->files));
	return b->said;
}

void service_sandbox_log(const struct service *s)
{
	const struct service_sandbox *b = s->sandbox;

	if (!b)
		return;
	if (!b->wanted)
		log_emit(&MSG_SERVICE_SANDBOX_OFF);
	else
		log_emit(b->calls < 0 || b->files < 0 ? &MSG_SERVICE_SANDBOX_PARTLY : &MSG_SERVICE_SANDBOX, LF_STR("holds", service_sandbox_text(s)));
}
