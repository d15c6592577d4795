/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file descriptor as an owned value, as pointers are in defs.h: _cleanup_(closep) int fd = -1;
 * hand-off by steal_fd(&fd). -1 is "none". Only for descriptors of which nobody watches the close:
 * a failing close() of a file that was written is not seen here.
 */
#pragma once
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
