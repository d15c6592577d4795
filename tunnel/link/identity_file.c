/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key pairs in files, one each, mode 0600.
 *
 * A file that cannot be a pair is never overwritten: what stands there may be somebody's only key.
 * Whoever can change the folder is the administrator, so the mode of a file that is read is not judged.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/bytes.h"
#include "common/fd.h"
#include "tunnel/link/identity.h"
#include "tunnel/link/identity_priv.h"

enum { FILE_MAX = 64 * 1024, PATH_LEN = 4096 };

int identity_say(char *err, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err, IDENTITY_ERRLEN, fmt, ap);
	va_end(ap);
	return r;
}

/* ---- reading ---- */

/* What fits into cap bytes, and no file is longer. */
static int read_all(int fd, char *buf, size_t cap, size_t *ret_n)
{
	size_t n = 0;
	ssize_t got;

	do {
		got = read(fd, buf + n, cap - n);
		if (got > 0)
			n += (size_t)got;
	} while ((got > 0 && n < cap) || (got < 0 && errno == EINTR));
	if (got < 0)
		return -errno;
	*ret_n = n;
	return n == cap ? -EFBIG : 0;
}

int identity_load(const char *path, char err[static IDENTITY_ERRLEN], struct identity **ret_i)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_(freep) char *buf = malloc(FILE_MAX);
	size_t n = 0, n_pairs;
	int r;

	if (fd < 0)
		return identity_say(err, -errno, "the key file \"%s\" cannot be read: %s", path,
				    strerror(errno));
	if (!buf)
		return identity_say(err, -ENOMEM, "out of memory");
	r = read_all(fd, buf, FILE_MAX, &n);
	if (r < 0)
		return identity_say(err, r, "the key file \"%s\" cannot be read: %s", path,
				    strerror(-r));
	r = identity_from_pem((struct text){ buf, n }, NULL, ret_i, 1, &n_pairs);
	bytes_wipe(buf, n);
	if (r < 0)
		return identity_say(err, r,
				    "\"%s\" is damaged: it must hold one certificate with a P-256 key, and the private key; "
				    "restore it from the backup",
				    path);
	return 0;
}

/* ---- writing ---- */

/* The folder's entry, too, must be on the disk. */
static int sync_folder_of(const char *path)
{
	char folder[PATH_LEN];
	const char *slash = strrchr(path, '/');
	_cleanup_(closep) int fd = -1;

	(void)snprintf(folder, sizeof(folder), "%.*s", slash ? (int)MAX(slash - path, 1) : 1,
		       slash ? path : ".");
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int identity_write_file(const char *path, struct text content, char err[static IDENTITY_ERRLEN])
{
	char beside[PATH_LEN];
	int fd, r;

	if (snprintf(beside, sizeof(beside), "%s.new", path) >= (int)sizeof(beside))
		return identity_say(err, -ENAMETOOLONG, "the path \"%s\" is too long", path);
	(void)unlink(beside); /* what a crash has left */
	fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : fd_write(fd, content.p, content.n);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (fd >= 0 && close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(beside, path) < 0)
		r = -errno;
	if (r == 0)
		r = sync_folder_of(path);
	else
		(void)unlink(beside);
	return r < 0 ? identity_say(err, r, "\"%s\" cannot be written: %s", path, strerror(-r)) : 0;
}

int identity_save(const struct identity *i, const char *path, bool with_key,
		  char err[static IDENTITY_ERRLEN])
{
	char *pem = NULL;
	int r = identity_to_pem(i, NULL, with_key, &pem);

	if (r < 0)
		return identity_say(err, r, "a key pair cannot be written as PEM: %s", strerror(-r));
	r = identity_write_file(path, text_of(pem), err);
	bytes_wipe(pem, strlen(pem));
	free(pem);
	return r;
}

int identity_path(const char *folder, const char *name, char *buf, size_t n,
		  char err[static IDENTITY_ERRLEN])
{
	if (snprintf(buf, n, "%s/%s", folder, name) >= (int)n)
		return identity_say(err, -ENAMETOOLONG, "the path \"%s\" is too long", folder);
	return 0;
}

/* ---- an agent's ---- */

int identity_of_agent(const char *folder, char err[static IDENTITY_ERRLEN], struct identity **ret_i)
{
	_cleanup_(identity_unrefp) struct identity *i = NULL;
	char path[PATH_LEN];
	int r = identity_path(folder, "agent-identity.pem", path, sizeof(path), err);

	if (r == 0)
		r = identity_load(path, err, &i);
	if (r == 0 && !identity_has_key(i))
		return identity_say(err, -ENOKEY,
				    "\"%s\" holds no private key; restore it from the backup", path);
	if (r == -ENOENT) {
		r = identity_make("stile agent", NULL, &i);
		if (r < 0)
			return identity_say(err, r, "a key pair cannot be made: %s", strerror(-r));
		r = identity_save(i, path, true, err);
	}
	if (r == 0)
		*ret_i = steal_ptr(&i);
	return r;
}
