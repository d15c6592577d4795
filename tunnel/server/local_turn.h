/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the tunnel's server: agents' TURN credentials from a stile-turn on this host, where tunnel.direct.turn_servers
 * names none. It is asked over its control socket for each agent that asks; it knows its secrets, and its ports. All in the
 * main thread.
 */
#pragma once
#include "tunnel/server/server_priv.h"

struct local_turn_ask;
/* Main thread. Answers the agent's link with TURN, now or later; name: what the credentials are for. */
void local_turn_ask(struct tunnel_server *s, uint64_t link, const char *name, unsigned lifetime_s);
void local_turn_free(struct tunnel_server *s);
void rendezvous_give_turn(struct tunnel_server *s, uint64_t link, const struct wire_turn *m); /* rendezvous.c */
