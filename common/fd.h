/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file descriptor as an owned value, as pointers are in defs.h: _cleanup_(closep) int fd = -1;
 * hand-off by steal_fd(&fd). -1 is "none". Only for descriptors of which nobody watches the close:
 * a failing close() of a file that was written is not seen here. And a write of all of it, and a
 * name for a file that takes nobody else's.
 */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "common/defs.h"

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline int steal_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

/* All n bytes, to one that waits: a file. 0 or -errno; some may have been written then. */
static inline int fd_write(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n) {
		ssize_t done = write(fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

/* Gives a file of the folder another name there, which nothing has: -EEXIST. 0 or -errno. Not every file system can be asked for just that
 * (NFS: EINVAL): there the name is taken by an empty file first, and that one is replaced. */
static inline int fd_rename_new(int dir, const char *from, const char *to)
{
	int fd, r;

	if (renameat2(dir, from, dir, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	fd = openat(dir, to, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	if (renameat(dir, from, dir, to) == 0)
		return 0;
	r = -errno;
	(void)unlinkat(dir, to, 0); /* the empty one */
	return r;
}
