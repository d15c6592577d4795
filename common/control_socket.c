/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening socket of the control server: one live server per path, whatever died before.
 *
 * A lock file beside the socket says who owns the path; it is held while the server lives and
 * removed with it, so that two starts at once cannot both take a dead socket away. A connection is
 * tried as well, in case somebody removed the lock file. The socket appears with mode 0 and gets its
 * group before its mode, so there is no moment at which the wrong people can open it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "common/control_priv.h"
#include "common/fd.h"
#include "common/unix_socket.h"

enum { BACKLOG = 64 };

static int lock_once(const char *path, int *ret_fd)
{
	struct stat mine, there;
	int fd, r = 0;

	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		r = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
	/* The one who held it may have removed it between our open and our lock. */
	else if (fstat(fd, &mine) < 0 || stat(path, &there) < 0 || mine.st_ino != there.st_ino)
		r = -EAGAIN;
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int lock(const char *path, int *ret_fd)
{
	int r = -EAGAIN;

	for (unsigned tries = 0; tries < 8 && r == -EAGAIN; tries++)
		r = lock_once(path, ret_fd);
	return r;
}

static int bind_and_listen(const struct sockaddr_un *at, const struct control_options *o,
			   const struct control_server *s, int *ret_fd)
{
	_cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return -errno;
	/* On Linux the file takes the mode that the socket has when it is bound. */
	if (fchmod(fd, 0) < 0 || bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0)
		return -errno;
	/* Not being allowed to give it to the group is no reason not to start: only root and the
	 * service's own user can open it then. */
	r = s->has_group && lchown(at->sun_path, (uid_t)-1, s->group) < 0 && errno != EPERM ? -errno : 0;
	if (r == 0)
		r = unix_socket_set_mode(at->sun_path, o->mode);
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0) {
		unlink(at->sun_path);
		return r;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

int control_socket_open(struct control_server *s, const struct control_options *o, char *err,
			size_t err_n)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int r;

	if (strlen(o->path) >= sizeof(at.sun_path)) {
		snprintf(err, err_n, "the path of the control socket is longer than %zu bytes: %s",
			 sizeof(at.sun_path) - 1, o->path);
		return -ENAMETOOLONG;
	}
	memcpy(at.sun_path, o->path, strlen(o->path) + 1);
	r = lock(s->lock_path, &s->lock_fd);
	if (r == 0)
		r = unix_socket_remove_dead(o->path);
	if (r == 0)
		r = bind_and_listen(&at, o, s, &s->fd);
	if (r == -EADDRINUSE)
		snprintf(err, err_n, "another %s is running and answers at %s; a second one needs a name: --instance NAME",
			 o->program, o->path);
	else if (r == -EEXIST)
		snprintf(err, err_n, "%s is in the way: it is not a socket", o->path);
	else if (r < 0)
		snprintf(err, err_n, "cannot open the control socket %s: %s", o->path, strerror(-r));
	return r;
}

void control_socket_close(struct control_server *s)
{
	/* Removed under the lock, so it is ours. After dropping privileges this may be refused; then
	 * the next start finds dead files and takes them over. */
	if (s->fd >= 0) {
		unlink(s->path);
		close(s->fd);
		s->fd = -1;
	}
	if (s->lock_fd >= 0) {
		unlink(s->lock_path);
		close(s->lock_fd);
		s->lock_fd = -1;
	}
}
