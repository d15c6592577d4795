/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening on a Unix socket; see unix_socket.h. A dead file is told by trying to connect: a listener
 * that lives accepts or has a full queue. On Linux the file takes the mode that the socket has when it is
 * bound, which is why it can be made with none.
 *
 * The folder may belong to the service's user while root makes the file: what lies at the path by then may be
 * another thing, a link to a file of root's, and must not get the mode.
 */
#include "common/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fd.h"

enum { BACKLOG = 1024 };

static int address_of(const char *path, struct sockaddr_un *ret_at)
{
	*ret_at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(ret_at->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret_at->sun_path, path, strlen(path) + 1);
	return 0;
}

/* 0: nothing is there, or a dead socket. */
static int look(const char *path, bool *ret_dead)
{
	_cleanup_(closep) int fd = -1;
	struct sockaddr_un at;
	struct stat st;
	int r = address_of(path, &at);

	*ret_dead = false;
	if (r < 0)
		return r;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* EAGAIN: somebody listens, and its queue is full. */
	if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) == 0 || errno == EAGAIN)
		return -EADDRINUSE;
	if (errno != ECONNREFUSED)
		return -errno;
	*ret_dead = true;
	return 0;
}

int unix_socket_remove_dead(const char *path)
{
	bool dead;
	int r = look(path, &dead);

	return r == 0 && dead && unlink(path) < 0 && errno != ENOENT ? -errno : r;
}

int unix_socket_probe(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = ".";
	bool dead;
	int r = look(path, &dead);

	if (r < 0)
		return r;
	if (slash)
		(void)snprintf(folder, sizeof(folder), "%.*s",
			       slash == path ? 1 : (int)(slash - path), path);
	return faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

/* At the start, in one thread. */
static int give_away(const char *path, uid_t uid)
{
	const struct passwd *pw = geteuid() == 0 && uid ? getpwuid(uid) : NULL;

	return pw && lchown(path, pw->pw_uid, pw->pw_gid) < 0 ? -errno : 0;
}

int unix_socket_set_mode(const char *path, mode_t mode)
{
	_cleanup_(closep) int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char same[32]; /* chmod() of a descriptor that is a mere name */
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	(void)snprintf(same, sizeof(same), "/proc/self/fd/%d", fd);
	return chmod(same, mode) < 0 ? -errno : 0;
}

int unix_socket_listen(const char *path, const struct unix_socket_options *o, int *ret_fd)
{
	_cleanup_(closep) int fd = -1;
	struct sockaddr_un at;
	int r = address_of(path, &at);

	if (r == 0)
		r = unix_socket_remove_dead(path);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || fchmod(fd, 0) < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	r = give_away(path, o->uid);
	if (r == 0)
		r = unix_socket_set_mode(path, o->mode);
	if (r == 0 && listen(fd, o->backlog ? o->backlog : BACKLOG) < 0)
		r = -errno;
	if (r < 0) {
		unlink(path);
		return r;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}
