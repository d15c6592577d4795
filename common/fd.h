/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file descriptor as an owned value, as pointers are in defs.h: _cleanup_(closep) int fd = -1;
 * hand-off by steal_fd(&fd). -1 is "none". Only for descriptors of which nobody watches the close:
 * a failing close() of a file that was written is not seen here. And a write of all of it.
 */
#pragma once
#include <errno.h>
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
