/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at the other end of a control connection, and what may they do.
 *
 * The kernel tells (SO_PEERCRED, SO_PEERGROUPS: the groups the process really has). No directory service is
 * ever asked, for this runs in the service's main loop, and a slow LDAP server would stall it: a name beside
 * the uid comes from /etc/passwd alone (a local file, read to a bounded length), else the number stands by itself. Root and the service's own uid are admin, members of the socket's group
 * operator, the rest viewer. The uid 65534 is never an admin, even if the service itself runs as
 * "nobody": it is also what strangers from other user namespaces look like.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/control_priv.h"
#include "common/text.h"

enum { UID_NOBODY = 65534, MAX_GROUPS = 256, MAX_ACCOUNTS = 1000 };

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

/* One line of such a file: "name:password:uid:…". */
static bool is_line_of(uid_t uid, const char *line, struct text *ret_name)
{
	struct text rest = text_of(line), name = text_cut(&rest, ':'), password = text_cut(&rest, ':');
	uint64_t number;

	(void)password;
	if (!name.n || text_u64(text_cut(&rest, ':'), &number) < 0 || number != uid)
		return false;
	*ret_name = name;
	return true;
}

void peer_describe(uid_t uid, const char *accounts, char *who, size_t n)
{
	FILE *f = fopen(accounts, "re");
	char line[512];
	bool whole = true;
	struct text name;

	snprintf(who, n, "uid %u", (unsigned)uid);
	for (unsigned i = 0; f && i < MAX_ACCOUNTS && fgets(line, sizeof(line), f); i++) {
		bool begins = whole; /* else it is the rest of a long line */

		whole = strchr(line, '\n') != NULL;
		if (begins && is_line_of(uid, line, &name) && text_is_utf8(name)) {
			snprintf(who, n, "uid %u (%.*s)", (unsigned)uid, (int)MIN(name.n, (size_t)64), name.p);
			break;
		}
	}
	if (f)
		fclose(f);
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
	peer_describe(cred.uid, "/etc/passwd", p->who, sizeof(p->who));
	return 0;
}
