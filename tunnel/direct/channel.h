/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of the socket pair between the agent's supervisor and its child (child_msg.h), in a loop. Messages are whole or
 * do not exist; what the kernel does not take at once is kept, up to a bound, with its descriptor. An end that does not
 * read, or says what is no message, is as good as dead.
 */
#pragma once
#include "common/loop.h"
#include "tunnel/direct/child_msg.h"

struct channel;

struct channel_ops {
	/* m is valid during the call. *fd: a descriptor that came with it, or -1; the callee takes it over by setting it to -1, else it is
	 * closed. The channel may be freed in it. */
	void (*message)(struct channel *c, unsigned type, const union child_any *m, int *fd, void *arg);
	/* Once: the other end has gone, or broke the rules (why). The channel may be freed in it; nothing comes after it. */
	void (*closed)(struct channel *c, const char *why, void *arg);
};

/* fd is taken over, also on failure. way: what this end reads, CHILD_TO_CHILD in the child. */
int channel_new(struct loop *l, int fd, unsigned way, const struct channel_ops *ops, void *arg, struct channel **ret_c);
struct channel *channel_free(struct channel *c);
DEFINE_CLEANUP(struct channel, channel_free)
/* 0; -EINVAL: a value that the message cannot have; -ENOBUFS: the other end does not read (closed() follows); -EPIPE. */
int channel_send(struct channel *c, unsigned type, const void *msg);
int channel_send_fd(struct channel *c, unsigned type, const void *msg, int fd); /* fd is taken over, also on failure */
int channel_pair(int ret_fds[static 2]); /* non-blocking, close-on-exec */
