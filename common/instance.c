/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of an instance: what separates two services of the same kind on one machine. Program and
 * instance name make the names of the control socket, the store and the log, so the name is held
 * to characters that mean nothing to a file system or a shell.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "common/service.h"
#include "common/text.h"

static int copy_name(struct instance *i, const char *name, char *err, size_t err_n)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	size_t n = strlen(name);

	if (n >= sizeof(i->name) || strspn(name, allowed) != n) {
		snprintf(err, err_n, "an instance name has at most %zu letters, digits, - and _",
			 sizeof(i->name) - 1);
		return -EINVAL;
	}
	memcpy(i->name, name, n + 1);
	return 0;
}

/* "" if there is none: the caller says so. */
static void default_runtime_dir(char *dir, size_t n)
{
	const char *systemd = getenv("RUNTIME_DIRECTORY"), *xdg = getenv("XDG_RUNTIME_DIR");

	if (systemd && *systemd) /* may be several, separated by colons: ours is the first */
		snprintf(dir, n, "%.*s", (int)strcspn(systemd, ":"), systemd);
	else if (geteuid() == 0)
		snprintf(dir, n, "/run/stile");
	else if (xdg && *xdg)
		snprintf(dir, n, "%s/stile", xdg);
}

int instance_init(struct instance *i, const char *program, const char *name, const char *runtime_dir,
		  char *err, size_t err_n)
{
	char dir[512] = "";
	int r, n;

	memset(i, 0, sizeof(*i));
	r = copy_name(i, name ? name : "", err, err_n);
	if (r < 0)
		return r;
	if (runtime_dir)
		snprintf(dir, sizeof(dir), "%s", runtime_dir);
	else
		default_runtime_dir(dir, sizeof(dir));
	if (!*dir) {
		snprintf(err, err_n, "there is no runtime folder: give --runtime-dir or set XDG_RUNTIME_DIR");
		return -ENOENT;
	}
	snprintf(i->program, sizeof(i->program), "%s", program);
	snprintf(i->full, sizeof(i->full), "%s%s%s", i->program, *i->name ? "@" : "", i->name);
	n = snprintf(i->socket_path, sizeof(i->socket_path), "%s/%s.sock", dir, i->full);
	if (strlen(dir) >= sizeof(i->runtime_dir) ||
	    (size_t)n >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		snprintf(err, err_n, "the path of the control socket is too long: %s/%s.sock", dir, i->full);
		return -ENAMETOOLONG;
	}
	memcpy(i->runtime_dir, dir, strlen(dir) + 1);
	return 0;
}

int instance_folder(const char *config, char *path, size_t path_n, char *name, size_t name_n)
{
	struct text left = text_of(config), last = { 0 };
	struct stat st;

	if (stat(config, &st) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	while (left.p) {
		struct text part = text_cut(&left, '/');
		last = part.n ? part : last;
	}
	*name = '\0';
	if (snprintf(path, path_n, "%s/stile.yaml", config) >= (int)path_n) {
		*path = '\0';
		return -ENAMETOOLONG;
	}
	if (last.n >= name_n)
		return -ENAMETOOLONG;
	(void)snprintf(name, name_n, "%.*s", TEXT_FMT(last));
	return 1;
}
