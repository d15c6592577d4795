/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sd_notify(3), sd_listen_fds(3) and sd_watchdog_enabled(3) as far as a service of ours uses them, by what those pages
 * say of the environment: NOTIFY_SOCKET, LISTEN_PID and LISTEN_FDS, WATCHDOG_USEC and WATCHDOG_PID. Only in builds
 * with meson's agent_only: elsewhere libsystemd answers.
 */
#include "common/systemd.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "common/defs.h"
#include "common/text.h"

/* The number in a variable; 0: it is not set, or none. */
static uint64_t number_of(const char *name)
{
	const char *value = getenv(name);
	uint64_t n = 0;

	return value && text_u64(text_of(value), &n) == 0 ? n : 0;
}

int sd_notify(int unset, const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;
	ssize_t sent;
	int fd;

	(void)unset;
	if (!n)
		return 0;
	if ((path[0] != '/' && path[0] != '@') || n >= sizeof(at.sun_path))
		return -EINVAL;
	memcpy(at.sun_path, path, n);
	if (path[0] == '@')
		at.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	close(fd);
	return sent < 0 ? -errno : 1;
}

int sd_listen_fds(int unset)
{
	uint64_t n = number_of("LISTEN_PID") == (uint64_t)getpid() ? number_of("LISTEN_FDS") : 0;

	for (uint64_t i = 0; i < n && n < INT_MAX - SD_LISTEN_FDS_START; i++)
		if (fcntl(SD_LISTEN_FDS_START + (int)i, F_SETFD, FD_CLOEXEC) < 0)
			return -errno;
	if (unset) {
		unsetenv("LISTEN_PID");
		unsetenv("LISTEN_FDS");
		unsetenv("LISTEN_FDNAMES");
	}
	return n < INT_MAX ? (int)n : -EINVAL;
}

int sd_watchdog_enabled(int unset, uint64_t *usec)
{
	uint64_t pid = number_of("WATCHDOG_PID");

	(void)unset;
	*usec = pid == 0 || pid == (uint64_t)getpid() ? number_of("WATCHDOG_USEC") : 0;
	return *usec > 0;
}
