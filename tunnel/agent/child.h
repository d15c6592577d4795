/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's child, as its supervisor sees it: started when it is first wanted, watched, and started again when it has died.
 * What it parses comes from the network, and its libraries may abort; that costs the sessions of direct links and nothing else.
 *
 * It is a program of its own (stile-agent-direct), so that the supervisor has none of its libraries. It comes to
 * know what the channel tells it (tunnel/direct/child_msg.h), and nothing by its environment.
 */
#pragma once
#include "common/loop.h"
#include "tunnel/direct/child_msg.h"

struct child;

struct child_ops { /* from the loop, never from inside a call */
	void (*started)(struct child *c, void *arg); /* SETUP is to be sent now, and whatever else it should know */
	/* READY is told, too. *fd: as in channel.h. */
	void (*message)(struct child *c, unsigned type, const union child_any *m, int *fd, void *arg);
	void (*died)(struct child *c, const char *why, void *arg); /* it is started again by itself */
};
struct child_info {
	int pid; /* 0: none */
	bool ready;
	unsigned starts;
	int64_t since; /* unix ms */
	char why[160]; /* of the last death, or why it cannot be started */
};

/* Its program's path: the one beside this program, or else the installed one. At least 128 bytes. */
void child_program(char *buf, size_t size);
int child_new(struct loop *l, const struct child_ops *ops, void *arg, struct child **ret_c);
struct child *child_free(struct child *c); /* ends it, and waits until it has given back what it holds of others: 3 s at most */
void child_want(struct child *c, bool wanted); /* not wanted: it is ended, with the same time for that */
bool child_ready(const struct child *c);
/* 0, -ENOTCONN: it is not there, or as channel_send_fd(): fd is taken over in any case. */
int child_send(struct child *c, unsigned type, const void *msg, int fd);
void child_info(const struct child *c, struct child_info *ret_i);
