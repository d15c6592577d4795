/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UPnP IGD by miniupnpc, which waits for answers: a thread that looks for a router and does one thing after the other. Answers
 * come as mail to the loop.
 *
 * A mapping that was asked for and is not wanted any more is taken back whenever its answer comes.
 */
#pragma once
#include "common/addr.h"
#include "common/loop.h"

struct upnp;
/* The answer to that number: outside is unset where it was refused, or there is no router. */
int upnp_new(struct loop *l, void (*mapped)(uint32_t number, const struct addr *outside, void *arg), void *arg, struct upnp **ret_u);
struct upnp *upnp_free(struct upnp *u); /* takes back what is mapped; waits for the thread, some seconds at most */
int upnp_map(struct upnp *u, uint32_t number, const struct addr *inside, bool tcp); /* 0 or -ENOMEM */
void upnp_unmap(struct upnp *u, uint32_t number);
