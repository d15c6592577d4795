/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where packets go, asked of the kernel over rtnetlink: the route from one of our addresses to another one,
 * its next hop and MTU, and the hop's MAC. The kernel answers within the call. Changes of routes, addresses,
 * links and rules are reported, not described: who listens asks anew.
 */
#pragma once
#include "common/addr.h"
#include "common/loop.h"
#include "turn/fastpath/wire.h"

struct fast_hop {
	uint32_t ifindex;
	uint32_t mtu; /* 0: the interface's */
	struct addr at; /* the next hop's address; port 0 */
	bool has_mac;
	uint8_t mac[6];
};

struct fast_routes;
/* neighbours: MACs are wanted too. */
int fast_routes_new(struct loop *l, bool neighbours, void (*changed)(void *arg), void *arg, struct fast_routes **ret_r);
struct fast_routes *fast_routes_free(struct fast_routes *r);
DEFINE_CLEANUP(struct fast_routes, fast_routes_free)
/* FAST_OFFLOADED, FAST_WHY_NO_ROUTE or FAST_WHY_NEIGHBOUR. Ports count, for routes that are spread over several hops. */
enum fast_why fast_route_find(struct fast_routes *r, const struct addr *from, const struct addr *to, struct fast_hop *ret_hop);
bool fast_route_is_local(struct fast_routes *r, const struct addr *a); /* an address of this machine, not loopback */
