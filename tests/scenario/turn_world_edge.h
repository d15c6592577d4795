/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within the world of the TURN conversations: its relay sockets, which turn_world.c has, and the operations
 * of TCP allocations, which turn_world_tcp.c has. Not for tests.
 */
#pragma once
#include "tests/scenario/turn_world.h"
#include "turn/tcp_alloc.h"

struct turn_relay {
	struct list node; /* in world->relays */
	struct world *w;
	struct turn_alloc *alloc;
	struct addr at;
};

struct turn_relay *relay_at(struct world *w, const struct addr *at);
int fake_relay_open(void *edge, struct turn_alloc *a, const struct addr *at, struct turn_relay **ret_r);

int fake_listen(void *edge, struct turn_alloc *a, const struct addr *at, struct turn_relay **ret_r);
int fake_connect(struct turn_relay *r, struct turn_tcp *t, const struct addr *peer, struct turn_flow **ret_f);
void fake_name(struct turn_flow *f, struct turn_tcp *t);
int fake_bind(struct turn_flow *f, const struct turn_path *client);
void fake_cut(struct turn_flow *f);
bool fake_send_home(const struct turn_path *p, unsigned worker, const void *request, size_t n);
