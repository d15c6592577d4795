/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent at rest: most of its life nobody comes, on a device that has little memory. The heap that only the start, an
 * enrolment or a crowd needed is given back then.
 * The owner of the loop says what work is.
 */
#pragma once
#include "common/loop.h"

enum { AGENT_REST_MS = 10 * 1000 };

struct agent_rest {
	struct loop *loop;
	struct timer look;
	uint64_t (*work)(void *arg); /* a number that is another one when something was carried */
	void *arg;
	uint64_t seen;
	bool resting;
};
void agent_rest_init(struct agent_rest *r, struct loop *l, uint64_t (*work)(void *arg), void *arg);
void agent_rest_deinit(struct agent_rest *r);
void agent_rest_look(struct agent_rest *r); /* what the timer does */
