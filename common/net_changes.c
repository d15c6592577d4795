/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An rtnetlink socket that hears of addresses and routes; see net_changes.h. Its messages are read and thrown
 * away: which address came or went is for those who are told to look up.
 * More messages than its buffer holds (ENOBUFS) mean changes too.
 */
#include "common/net_changes.h"
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READS = 64 }; /* in one go: more will be reported again */
#define IPV6_RULES (1u << (RTNLGRP_IPV6_RULE - 1)) /* the kernel's header has no RTMGRP_ name for it */

struct net_changes {
	struct io io;
	struct timer settle;
	struct loop *loop;
	unsigned settle_ms;
	void (*changed)(void *arg);
	void *arg;
};

static void on_settled(struct timer *t, uint64_t now)
{
	struct net_changes *n = container_of(t, struct net_changes, settle);

	(void)now;
	n->changed(n->arg); /* may free n */
}

static void on_ready(struct io *io, int events)
{
	struct net_changes *n = container_of(io, struct net_changes, io);
	char drop[4096];
	bool any = false;

	(void)events;
	for (unsigned i = 0; i < READS; i++) {
		ssize_t got = recv(io->fd, drop, sizeof(drop), MSG_DONTWAIT | MSG_TRUNC);
		if (got <= 0 && errno != ENOBUFS)
			break;
		any = true;
	}
	if (any && !timer_is_set(&n->settle))
		loop_timer_set(n->loop, &n->settle, n->settle_ms);
}

static int open_socket(unsigned also, int *ret_fd)
{
	const struct sockaddr_nl at = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE |
			     (also & NET_CHANGES_LINKS ? RTMGRP_LINK : 0) | (also & NET_CHANGES_NEIGHBOURS ? RTMGRP_NEIGH : 0) |
			     (also & NET_CHANGES_RULES ? RTMGRP_IPV4_RULE | IPV6_RULES : 0),
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE), r;

	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int net_changes_new(struct loop *l, void (*changed)(void *arg), void *arg, struct net_changes **ret_n)
{
	return net_changes_new_with(l, &(struct net_changes_options){ 0 }, changed, arg, ret_n);
}

int net_changes_new_with(struct loop *l, const struct net_changes_options *o, void (*changed)(void *arg), void *arg,
			 struct net_changes **ret_n)
{
	struct net_changes *n = calloc(1, sizeof(*n));
	int fd = -1, r;

	if (!n)
		return -ENOMEM;
	n->settle_ms = o->settle_ms ? o->settle_ms : NET_CHANGES_SETTLE_MS;
	r = open_socket(o->also, &fd);
	if (r == 0 && (r = io_start(&n->io, l, fd, IO_READ, on_ready)) < 0)
		close(fd);
	if (r < 0) {
		free(n);
		return r;
	}
	n->settle.fire = on_settled;
	n->loop = l;
	n->changed = changed;
	n->arg = arg;
	*ret_n = n;
	return 0;
}

struct net_changes *net_changes_free(struct net_changes *n)
{
	if (!n)
		return NULL;
	timer_stop(&n->settle);
	io_stop(&n->io);
	close(n->io.fd);
	free(n);
	return NULL;
}
