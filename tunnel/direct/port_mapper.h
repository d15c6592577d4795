/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of this machine opened to the outside by the router: PCP and NAT-PMP (port_lease.h) through the default gateway of the
 * family, and UPnP IGD (miniupnpc, which blocks and so has a thread of its own) where neither is answered at once.
 *
 * A wish lives inside its owner. It is given back when it is removed; what a router forgets to close ends with its lifetime.
 */
#pragma once
#include "common/addr.h"
#include "common/list.h"
#include "common/loop.h"

struct port_mapper;
struct port_lease;

struct port_wish {
	struct list node; /* linked while it is wished */
	struct addr inside;
	bool tcp;
	/* outside NULL: no, or not any more; why: a sentence, or by which protocol. Not from within port_mapper_add(). */
	void (*changed)(struct port_wish *w, const struct addr *outside, const char *why);
	/* Private. */
	struct port_mapper *m;
	struct port_lease *lease;
	struct io io;
	struct timer timer; /* until UPnP is asked too */
	uint32_t number;    /* of the request to UPnP; 0: none */
	struct addr upnp_outside;
};

int port_mapper_new(struct loop *l, struct port_mapper **ret_m); /* 0, -ENOMEM, -EAGAIN */
struct port_mapper *port_mapper_free(struct port_mapper *m);	 /* after its wishes; waits for what UPnP is doing */
DEFINE_CLEANUP(struct port_mapper, port_mapper_free)
int port_mapper_add(struct port_mapper *m, struct port_wish *w); /* 0, or -errno: nobody to ask */
void port_mapper_remove(struct port_wish *w); /* harmless twice, or on a zeroed one */
