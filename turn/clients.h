/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections (TCP, TLS, DTLS sessions; at the tunnel strangers) each address holds, over all workers: an
 * address that has too many is refused before anything else is spent on it. IPv6 clients count by
 * /64. Entries live only while they count something, and there are never more of them than
 * connections allowed in total, so strangers cannot grow the table beyond that limit. Off the packet
 * path; one lock.
 */
#pragma once
#include "common/addr.h"

struct turn_clients;

enum turn_client_verdict { TURN_CLIENT_OK, TURN_CLIENT_TOTAL, TURN_CLIENT_ADDRESS, TURN_CLIENT_NO_MEMORY };

struct turn_clients *turn_clients_new(void);
struct turn_clients *turn_clients_free(struct turn_clients *c);
/* Counts one connection of this address, if the limits allow; it is given back by turn_clients_leave. */
enum turn_client_verdict turn_clients_enter(struct turn_clients *c, const struct addr *from,
					    uint64_t max_total, uint64_t max_address);
void turn_clients_leave(struct turn_clients *c, const struct addr *from);
uint64_t turn_clients_count(struct turn_clients *c);
