/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-turn as a service: the operations that common/service calls, and the policy that its parts
 * rebuild together when users or the configuration change. Main loop only; the workers get what
 * concerns them by workers_call.
 */
#pragma once
#include "turn/edge.h"

extern const struct service_ops turn_service_ops;
/* Compiles the present configuration and the store's users into a new policy and hands it to every
 * worker. 0, or -errno after writing a sentence; on failure the old policy stays. */
int turn_service_rebuild(struct turn_service *ts, char *err, size_t err_n);
/* service_health.c */
void turn_health(struct service *s, struct health *h);
