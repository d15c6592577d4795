/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells when addresses or routes of this machine have changed (rtnetlink), so that what was found out about the
 * network is asked again at once. Only that something changed, not what: who is told looks for himself.
 *
 * A burst of changes (an interface that comes up) is told once, NET_CHANGES_SETTLE_MS after the first. Where there
 * is no rtnetlink (some containers) net_changes_new() says so, and its caller has to look now and then.
 */
#pragma once
#include "common/loop.h"

enum { NET_CHANGES_SETTLE_MS = 1000 };

enum { NET_CHANGES_LINKS = 1, NET_CHANGES_NEIGHBOURS = 2, NET_CHANGES_RULES = 4 };

struct net_changes;
struct net_changes_options {
	unsigned also;	/* NET_CHANGES_…: beside addresses and routes */
	unsigned settle_ms; /* 0: NET_CHANGES_SETTLE_MS */
};
/* 0, -ENOMEM, or -errno of the socket. */
int net_changes_new_with(struct loop *l, const struct net_changes_options *o, void (*changed)(void *arg), void *arg,
			 struct net_changes **ret_n);
int net_changes_new(struct loop *l, void (*changed)(void *arg), void *arg, struct net_changes **ret_n);
struct net_changes *net_changes_free(struct net_changes *n);
DEFINE_CLEANUP(struct net_changes, net_changes_free)
