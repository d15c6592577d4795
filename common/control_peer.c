/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at the other end of a control connection, and what may they do.
 *
 * The kernel tells (SO_PEERCRED, SO_PEERGROUPS: the groups the process really has, so no directory
 * service is asked for them). Root and the service's own uid are admin, members of the socket's group
 * operator, the rest viewer. The uid 65534 is never an admin, even if the service itself runs as
 * "nobody": it is also what strangers from other user namespaces look like.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/control_priv.h"

enum { UID_NOBODY = 65534, MAX_GROUPS = 256 };

const char *control_role_name(enum control_role r)
{
	static const char *const names[] = {
		[CONTROL_VIEWER] = "viewer",
		[CONTROL_OPERATOR] = "operator",
		[CONTROL_ADMIN] = "admin",
	};
	return names[r];
}

static bool is_member(int fd, gid_t primary, gid_t wanted)
{
	gid_t groups[MAX_GROUPS];
	socklen_t n = sizeof(groups);

	if (primary == wanted)
		return true;
	/* ERANGE for a process with more groups: it is a viewer, which errs on the safe side. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) < 0)
		return false;
	for (size_t i = 0; i < n / sizeof(groups[0]); i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

static void describe(uid_t uid, char *who, size_t n)
{
	char buf[4096];
	struct passwd pw, *found = NULL;

	if (getpwuid_r(uid, &pw, buf, sizeof(buf), &found) == 0 && found)
		snprintf(who, n, "uid %u (%.64s)", (unsigned)uid, pw.pw_name);
	else
		snprintf(who, n, "uid %u", (unsigned)uid);
}

int peer_identify(struct control_peer *p)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);

	if (getsockopt(p->fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		return -errno;
	if (cred.uid == 0 || (cred.uid == geteuid() && cred.uid != UID_NOBODY))
		p->role = CONTROL_ADMIN;
	else if (p->server->has_group && is_member(p->fd, cred.gid, p->server->group))
		p->role = CONTROL_OPERATOR;
	else
		p->role = CONTROL_VIEWER;
	describe(cred.uid, p->who, sizeof(p->who));
	return 0;
}
