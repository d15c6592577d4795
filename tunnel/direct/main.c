/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-agent-direct: the child of stile-agent that holds its direct links. Started by it and by nobody else, with one end
 * of their channel as descriptor 3; ends when the other end is closed. All it does is in engine.c.
 *
 * It never writes to the terminal: what there is to say goes to the supervisor, which has the log.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tunnel/direct/confine.h"
#include "tunnel/direct/engine.h"

enum { CHANNEL_FD = 3 };

static void on_gone(void *arg)
{
	loop_stop(arg);
}

static bool is_channel(int fd)
{
	int type = 0;
	socklen_t n = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_SEQPACKET;
}

int main(int argc, char **argv)
{
	_cleanup_(loop_freep) struct loop *l = NULL;
	struct engine *e;

	if (argc != 1 || !is_channel(CHANNEL_FD)) {
		fprintf(stderr, "%s is started by stile-agent, which tells it what to do. It has no options.\n", argv[0]);
		return 2;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)fcntl(CHANNEL_FD, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* the supervisor's affair, also at a terminal … */
	signal(SIGTERM, SIG_IGN); /* … and by systemd, which sends it to both: the channel's end is ours, and leaves time to say goodbye */
	if (confine() < 0)
		return 1;
	if (loop_new(&l) < 0 || engine_new(l, CHANNEL_FD, on_gone, l, &e) < 0)
		return 1;
	(void)loop_run(l);
	engine_free(e);
	return 0;
}
