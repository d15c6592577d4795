/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets from systemd. The table is filled once, before there are threads, and read by the main thread alone, which
 * binds all listeners, at the start and at a reload. A stream socket stays in it, so that a listener may go
 * and come back; who has taken a datagram socket closes it, and a restart brings it back. Until the start or reload has gone well it is only
 * lent: a second descriptor stays here, for the next one if this one fails.
 */
#include "common/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/fd.h"
#include "common/log_msgs.h"
#include "common/systemd.h"

enum { MOST = 256 };

static struct inherited {
	int type, fd; /* -1: given away */
	struct addr at;
	bool used, lent;
} table[MOST];
static size_t n_table;

static int refuse(char *err, size_t err_n, int fd, const char *why)
{
	snprintf(err, err_n, "the socket that systemd passed as descriptor %d %s", fd, why);
	return -EINVAL;
}

static int option_of(int fd, int level, int name)
{
	int v = 0;
	socklen_t n = sizeof v;

	return getsockopt(fd, level, name, &v, &n) < 0 ? -1 : v;
}

static int adopt(int fd, char *err, size_t err_n)
{
	struct inherited *i = &table[n_table];
	socklen_t n = sizeof i->at;

	*i = (struct inherited){ .fd = fd, .type = option_of(fd, SOL_SOCKET, SO_TYPE) };
	if (i->type != SOCK_STREAM && i->type != SOCK_DGRAM)
		return refuse(err, err_n, fd, "is neither a stream nor a datagram socket: use ListenStream= or ListenDatagram=");
	if (i->type == SOCK_STREAM && option_of(fd, SOL_SOCKET, SO_ACCEPTCONN) != 1)
		return refuse(err, err_n, fd, "is a connection: the unit must have Accept=no");
	if (getsockname(fd, &i->at.sa, &n) < 0 || (addr_family(&i->at) != AF_INET && addr_family(&i->at) != AF_INET6))
		return refuse(err, err_n, fd, "has no IP address: only ports are taken over, Unix sockets are made by the service");
	if (addr_family(&i->at) == AF_INET6 && option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY) != 1)
		return refuse(err, err_n, fd, "is for IPv6 and IPv4 at once: set BindIPv6Only=ipv6-only, and write 0.0.0.0 for IPv4");
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return refuse(err, err_n, fd, strerror(errno));
	n_table++;
	return 0;
}

int inherited_open(char *err, size_t err_n)
{
	int n = sd_listen_fds(1), r = 0;

	if (n > MOST) {
		snprintf(err, err_n, "systemd passed %d sockets; %d are the most", n, MOST);
		return -E2BIG;
	}
	for (int i = 0; i < n && r == 0; i++)
		r = adopt(SD_LISTEN_FDS_START + i, err, err_n);
	return r;
}

static struct inherited *find(int type, const struct addr *at, bool gone_too)
{
	for (size_t i = 0; i < n_table; i++)
		if (table[i].type == type && (gone_too || (table[i].fd >= 0 && !table[i].lent)) &&
		    addr_equal(&table[i].at, at))
			return &table[i];
	return NULL;
}

bool inherited_has(int type, const struct addr *at)
{
	return find(type, at, true) != NULL;
}

int inherited_take(int type, const struct addr *at, int *ret_fd)
{
	struct inherited *i = find(type, at, false);

	if (!i)
		return inherited_has(type, at) ? -EUSERS : -ENOENT;
	i->used = true;
	*ret_fd = fcntl(i->fd, F_DUPFD_CLOEXEC, 0);
	i->lent = type == SOCK_DGRAM && *ret_fd >= 0;
	return *ret_fd < 0 ? -errno : 0;
}

void inherited_settle(bool good)
{
	for (size_t i = 0; i < n_table; i++) {
		if (table[i].lent && good)
			close(steal_fd(&table[i].fd));
		table[i].lent = false;
	}
}

void inherited_tell_unused(void)
{
	for (size_t i = 0; i < n_table; i++)
		if (!table[i].used)
			log_emit(&MSG_SERVICE_SOCKET_UNUSED, LF_STR("transport", table[i].type == SOCK_DGRAM ? "udp" : "tcp"),
				 LF_ADDR("address", &table[i].at));
}

void inherited_close(void)
{
	for (size_t i = 0; i < n_table; i++)
		if (table[i].fd >= 0)
			close(steal_fd(&table[i].fd));
	n_table = 0;
}
