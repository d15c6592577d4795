/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question of a service to another one on this host, over the other's control socket (control.h) and inside the asker's own
 * loop: nothing waits. Which services ask which others for which verbs is settled in the design; the one that is asked looks at
 * the asker's user as at anybody's.
 *
 * Timer: the answer is late.
 */
#pragma once
#include <jansson.h>
#include "common/loop.h"

struct control_ask;
struct control_ask_options {
	struct loop *loop;
	const char *path; /* of the socket */
	const char *verb;
	json_t *args;	     /* taken, also on failure; may be NULL */
	uint64_t timeout_ms; /* 0: 5 s */
	/* Once, from the loop. result: borrowed; NULL: there is none, and why says it in words. The question is over, and is freed
	 * by its owner, then or in here. */
	void (*done)(struct control_ask *a, const json_t *result, const char *why, void *arg);
	void *arg;
};
/* 0; -ENOENT or -ECONNREFUSED: no such service runs here; another -errno. */
int control_ask_new(const struct control_ask_options *o, struct control_ask **ret_a);
struct control_ask *control_ask_free(struct control_ask *a); /* done() is not called any more */
DEFINE_CLEANUP(struct control_ask, control_ask_free)
