/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections back: an agent asks whether a port of its own public address can be reached, and the worker of its link
 * connects there, to no other address than the one that its control connection comes from. What is said on it is
 * common/reach.h.
 *
 * Limited for each link and for each worker, so that nobody scans with it who else is behind the same address.
 */
#pragma once
#include "tunnel/link/wire.h"

struct tunnel_link;
struct tunnel_worker;

enum { REACH_BURST = 8, REACH_PER_MINUTE = 20, REACH_WORKER_BURST = 64, REACH_WORKER_PER_MINUTE = 600 };

struct reach_budget { /* zeroed: full */
	unsigned used;
	uint64_t at; /* loop time up to which used was given back */
};
bool reach_budget_take(struct reach_budget *b, unsigned burst, unsigned per_minute, uint64_t now);

int reach_on_frame(struct tunnel_link *l, const struct wire_reach_msg *m); /* 0; the answer is sent later */
void reach_link_gone(struct tunnel_link *l);
