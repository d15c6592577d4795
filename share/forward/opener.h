/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way from the outside to a share in port-forwarding mode, kept up while the share lives: the public address by STUN,
 * again and again, for it may change; and the port that the router opens, where it can be asked (tunnel/direct/port_mapper.h).
 * A static public address and one that changes are treated alike: it is asked for, and watched.
 *
 * Lives in one loop. Who listens on the port is the owner's affair.
 */
#pragma once
#include "common/config.h"
#include "common/loop.h"
#include "share/forward/ports.h"
#include "stun/public.h"

struct opener;

enum opener_mapping {
	OPENER_NOT_ASKED, /* switched off */
	OPENER_ASKING,
	OPENER_OPEN,	  /* by the router, on the port that is wanted */
	OPENER_ELSEWHERE, /* the router gives another port: somebody else behind it has this one */
	OPENER_NO,
};
struct opener_state {
	struct addr inside; /* with the port */
	/* The public address with the port that leads here. Unset: not known. It is what STUN has found, or else what the
	 * router says of itself. */
	struct addr outside;
	struct addr router_says; /* the router's outside end of the mapping; unset: none */
	enum opener_mapping mapping;
	char how[160];		/* protocol, or why not */
	enum public_why why;	/* of the last round of STUN */
	bool behind_more;	/* the router's outside address is not the public one: there is another NAT (CGNAT) in front */
};
struct opener_options {
	struct loop *loop;
	struct addr inside; /* with the port */
	const struct cfg_hostport *stun_servers;
	size_t n_stun_servers;
	bool mapping;
	/* After each change of what is known, never from within opener_new(). moved: the public address is another than before. */
	void (*changed)(const struct opener_state *s, bool moved, void *arg);
	void *arg;
};
int opener_new(const struct opener_options *o, struct opener **ret_o); /* 0, -ENOMEM, -EAGAIN */
struct opener *opener_free(struct opener *o); /* the router closes the port again; waits for UPnP, some seconds at most */
DEFINE_CLEANUP(struct opener, opener_free)
const struct opener_state *opener_state(const struct opener *o);
/* What there is to say about the mapping, as a sentence. */
const char *opener_text(const struct opener_state *s, char *buf, size_t n);
