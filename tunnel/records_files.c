/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What records need of a folder that another node may share: appending whole lines, free space,
 * removal by age.
 *
 * O_APPEND alone does not keep two machines apart on a network file system, which looks for the end of
 * the file before it writes; an open-file-description lock around the write does. A node that died with the
 * lock, or a server that knows no locks, must not silence this one: after a short wait it writes all the same.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include "tunnel/records_priv.h"

enum { LOCK_TRIES = 50, LOCK_WAIT_MS = 4 };

static bool lock_file(int fd)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (fcntl(fd, F_OFD_SETLK, &whole) == 0)
			return true;
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return false; /* no locks here */
		nanosleep(&(struct timespec){ .tv_nsec = LOCK_WAIT_MS * 1000000L }, NULL);
	}
	return false;
}

int records_append(int fd, const char *p, size_t n)
{
	struct flock none = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
	bool locked = lock_file(fd);
	size_t done = 0;
	struct stat before;
	int e = 0;

	if (locked && fstat(fd, &before) < 0)
		e = errno;
	while (!e && done < n) {
		ssize_t w = write(fd, p + done, n - done);
		if (w > 0)
			done += (size_t)w;
		else if (w < 0 && errno != EINTR)
			e = errno;
	}
	/* Half a line would spoil the next one, and nobody else has written behind it: we hold the lock. */
	if (e && done && locked && ftruncate(fd, before.st_size) < 0)
		e = errno;
	if (locked)
		fcntl(fd, F_OFD_SETLK, &none);
	return -e;
}

int records_free_space(const char *dir, uint64_t *ret_bytes)
{
	struct statvfs v;

	if (statvfs(dir, &v) < 0)
		return -errno;
	*ret_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	return 0;
}

static size_t digits_at(const char *s)
{
	return strspn(s, "0123456789");
}

/* Exactly the names that we give, so that an age limit never reaches a stranger's file. */
bool records_is_ours(const char *name)
{
	size_t n = strlen(name) < 2 ? 0 : digits_at(name + 2);

	if (strncmp(name, "CO", 2) == 0)
		return n == 6 && (strcmp(name + 8, ".LOG") == 0 || strcmp(name + 8, ".jsonl") == 0);
	return strncmp(name, "RL", 2) == 0 && n >= 12 && strcmp(name + 2 + n, ".LOG") == 0;
}

unsigned records_sweep(const char *dir, uint64_t keep_ms, int64_t now_ms)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		if (!records_is_ours(e->d_name) || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		if (now_ms - (int64_t)st.st_mtim.tv_sec * 1000 > (int64_t)MIN(keep_ms, (uint64_t)INT64_MAX))
			n += unlinkat(dirfd(d), e->d_name, 0) == 0; /* the other node may have been faster */
	}
	if (d)
		closedir(d);
	return n;
}
