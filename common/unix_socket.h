/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening Unix sockets that other services connect to: one live listener per path, whatever died before.
 * The file appears with mode 0 and gets owner and group before its mode, so there is no moment at which the
 * wrong people can open it. It is the owner's to unlink at the end.
 */
#pragma once
#include <sys/types.h>
#include "common/defs.h"

struct unix_socket_options {
	mode_t mode;
	uid_t uid; /* whom the file belongs to, and to his group, when root makes it */
	int backlog; /* 0: 1024 */
};
/* 0; -EADDRINUSE: somebody listens there; -EEXIST: something that is no socket is in the way; -ENAMETOOLONG; another
 * -errno. Non-blocking. */
int unix_socket_listen(const char *path, const struct unix_socket_options *o, int *ret_fd);
/* Could it listen there? Errors as above. Changes nothing. */
int unix_socket_probe(const char *path);
/* Takes away a socket that nobody listens on any more. Errors as above. */
int unix_socket_remove_dead(const char *path);
/* Of the socket at the path, if it is one; -EEXIST if not. No link is followed. */
int unix_socket_set_mode(const char *path, mode_t mode);
