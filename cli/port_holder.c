/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds a port: the first question after "address already in use". The kernel's table names the socket's
 * inode, and a process's descriptors lead to it. Other users' processes can be looked into by root only;
 * then the answer says that there is somebody, not who.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/relay.h"
#include "common/text.h"

enum { TCP_LISTENING = 0x0a };

/* The inode of the socket that has the port, 0: none in this table. */
static unsigned long find_inode(const char *table, uint16_t port, bool udp)
{
	char line[512];
	unsigned long inode = 0;
	FILE *f = fopen(table, "re");

	while (f && !inode && fgets(line, sizeof line, f)) {
		unsigned local, state;
		unsigned long found;
		if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu", &local, &state, &found) == 3 &&
		    local == port && (udp || state == TCP_LISTENING))
			inode = found;
	}
	if (f)
		fclose(f);
	return inode;
}

static bool has_socket(const char *pid, const char *wanted)
{
	char dir[64], link[PATH_MAX], path[PATH_MAX];
	bool found = false;
	DIR *d;

	snprintf(dir, sizeof dir, "/proc/%.20s/fd", pid);
	d = opendir(dir);
	for (struct dirent *e; d && !found && (e = readdir(d));) {
		snprintf(path, sizeof path, "%s/%.40s", dir, e->d_name);
		ssize_t n = readlink(path, link, sizeof link - 1);
		found = n > 0 && (size_t)n == strlen(wanted) && memcmp(link, wanted, (size_t)n) == 0;
	}
	if (d)
		closedir(d);
	return found;
}

static void name_process(const char *pid, char *out, size_t cap)
{
	char path[64], name[64] = "";
	FILE *f;

	snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
	f = fopen(path, "re");
	if (f && fgets(name, sizeof name, f))
		name[strcspn(name, "\n")] = 0;
	if (f)
		fclose(f);
	snprintf(out, cap, "%s, pid %s", name[0] ? name : "a process", pid);
}

bool port_holder(uint16_t port, bool udp, char *out, size_t cap)
{
	static const char *const tables[2][2] = { { "/proc/net/tcp", "/proc/net/tcp6" }, { "/proc/net/udp", "/proc/net/udp6" } };
	unsigned long inode = find_inode(tables[udp][0], port, udp);
	char wanted[64];
	DIR *d;

	if (!inode)
		inode = find_inode(tables[udp][1], port, udp);
	if (!inode)
		return false;
	snprintf(out, cap, "a process of another user; root sees which");
	snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
	d = opendir("/proc");
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] >= '0' && e->d_name[0] <= '9' && has_socket(e->d_name, wanted)) {
			name_process(e->d_name, out, cap);
			break;
		}
	if (d)
		closedir(d);
	return true;
}
