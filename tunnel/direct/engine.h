/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All there is in the agent's child (stile-agent-direct): links to other agents with their paths and ICE attempts, listeners, and
 * the local connections and flows that the links carry. It does what the supervisor says (child_msg.h), and says what happens.
 *
 * One loop; ICE has a thread of its own behind ice.h. Nothing here reads configuration, files or the environment.
 */
#pragma once
#include "common/loop.h"

struct engine;

/* fd: the channel to the supervisor; taken over. gone() is called from the loop, when the supervisor is no more: the end. */
int engine_new(struct loop *l, int fd, void (*gone)(void *arg), void *arg, struct engine **ret_e);
struct engine *engine_free(struct engine *e);
DEFINE_CLEANUP(struct engine, engine_free)
