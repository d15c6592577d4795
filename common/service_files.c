/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders that a service needs: for its control socket, its log, its store. What is missing is made
 * and given to the user that the service will be; what is there is left as it is. The check that
 * `stile check` makes asks the same questions and changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/service_priv.h"

static int say(int r, const char *what, const char *path, char *err, size_t err_n)
{
	snprintf(err, err_n, "cannot %s %s: %s", what, path, strerror(-r));
	return r;
}

/* As the user where it may, so that root never works in a folder whose names the user can exchange
 * meanwhile; as root where only root may, and given to the user then. */
static int make_as(const char *path, mode_t mode, const struct account *a, char *err, size_t err_n)
{
	int r;

	r = privileges_borrow(a, err, err_n);
	if (r < 0)
		return r;
	r = mkdir(path, mode) < 0 ? -errno : 0;
	if (privileges_return() < 0)
		return say(-EPERM, "become root again to make the folder", path, err, err_n);
	if (r != -EACCES || geteuid() != 0)
		return r == 0 || r == -EEXIST ? r : say(r, "make the folder", path, err, err_n);
	if (mkdir(path, mode) < 0)
		return errno == EEXIST ? -EEXIST : say(-errno, "make the folder", path, err, err_n);
	return lchown(path, a->uid, a->gid) < 0 ? say(-errno, "give to its user the folder", path, err, err_n) : 0;
}

static int make_one(const char *path, mode_t mode, const struct account *a, char *err, size_t err_n)
{
	struct stat st;
	int r;

	r = make_as(path, mode, a, err, err_n);
	if (r != -EEXIST)
		return r;
	if (stat(path, &st) < 0)
		return say(-errno, "use the folder", path, err, err_n);
	return S_ISDIR(st.st_mode) ? 0 : say(-ENOTDIR, "use the folder", path, err, err_n);
}

int service_make_dir(const char *path, mode_t mode, const struct account *a, char *err, size_t err_n)
{
	_cleanup_(freep) char *part = strdup(path);
	int r = 0;

	if (!part)
		return -ENOMEM;
	for (char *slash = part; r == 0 && *slash && (slash = strchr(slash + 1, '/'));) {
		*slash = 0;
		r = make_one(part, 0755, a, err, err_n);
		*slash = '/';
	}
	return r < 0 ? r : make_one(part, mode, a, err, err_n);
}

/* Who we are, without root: "lena". */
static const char *user_name(void)
{
	const struct passwd *pw = getpwuid(geteuid());

	return pw ? pw->pw_name : "of this process";
}

int service_dir_usable(const char *path, const struct account *a, char *err, size_t err_n)
{
	_cleanup_(freep) char *part = strdup(*path ? path : ".");
	bool missing = false, root = geteuid() == 0;
	struct stat st;
	char *slash;
	int r;

	if (!part)
		return -ENOMEM;
	/* The nearest folder that is there: what is missing would be made in it. */
	while (stat(part, &st) < 0 && errno == ENOENT && strcmp(part, ".") != 0) {
		slash = strrchr(part, '/');
		if (slash == part)
			slash[1] = 0;
		else if (slash)
			slash[0] = 0;
		else
			memcpy(part, ".", 2); /* a name has at least this length */
		missing = true;
	}
	/* What is missing root will make, and give to the user. */
	r = missing && root ? 0 : privileges_borrow(a, err, err_n);
	if (r < 0)
		return r;
	if (stat(part, &st) == 0 && !S_ISDIR(st.st_mode))
		r = -ENOTDIR;
	else if (faccessat(AT_FDCWD, part, W_OK | X_OK, AT_EACCESS) < 0)
		r = -errno;
	if (r == -ENOTDIR)
		snprintf(err, err_n, "%s is no folder", part);
	else if (r < 0)
		snprintf(err, err_n, "the user %s cannot write to the folder %s: %s%s",
			 missing && root ? "root" : root ? a->name : user_name(), part, strerror(-r),
			 r == -EROFS ? "; a unit of systemd's needs ReadWritePaths= for it" : "");
	privileges_return();
	return r;
}
