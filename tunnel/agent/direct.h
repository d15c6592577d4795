/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links between this agent and others (docs/decisions/0020-direct-path.md), as the supervisor has them: visits that go out, visitors
 * that come in, what is signed and said through the servers, relays that the servers offer, and the child that does
 * the rest. The child is there only while there is a link.
 *
 * One loop, that of the agent. A link belongs to one peer and one call; visits to one peer share one.
 */
#pragma once
#include "common/control.h"
#include "tunnel/agent/service.h"

struct direct;

int direct_new(struct agent_service *as, struct direct **ret_d);
struct direct *direct_free(struct direct *d); /* before the agents */
/* The configuration, at the start and at a reload, when it is not the service's yet; it lives until the next one. The store's peers beside
 * it. 0 or -ENOMEM: that of before holds. */
int direct_configure(struct direct *d, const struct agent_root *conf);
void direct_add_verbs(struct direct *d);
/* SIGNAL, SIGNAL-LOST, RELAY, TURN of a server. */
void direct_on_frame(struct direct *d, struct agent_end *e, unsigned type, const union wire_msg *m);
void direct_server_up(struct direct *d, struct agent_end *e);
void direct_network_changed(struct direct *d);
void direct_server_down(struct direct *d, const struct agent_end *e);
/* Of a gateway's connection: where the share with this id is served, on this host. False: there is none. */
bool direct_share_target(struct direct *d, uint64_t id, char host[static 256], uint16_t *ret_port);
struct dns *direct_dns(struct direct *d);
