/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections (a TURN server's, a tunnel's strangers) each address holds, over all workers: an
 * address that has too many is refused before anything else is spent on it. IPv6 clients count by
 * /64. Entries live only while they count something, and there are never more of them than
 * connections allowed in total, so strangers cannot grow the table beyond that limit. Off the packet
 * path; one lock.
 */
#pragma once
#include "common/addr.h"

struct clients;

enum clients_verdict { CLIENTS_OK, CLIENTS_TOTAL, CLIENTS_ADDRESS, CLIENTS_NO_MEMORY };

struct clients *clients_new(void);
struct clients *clients_free(struct clients *c);
/* Counts one connection of this address, if the limits allow; it is given back by clients_leave. */
enum clients_verdict clients_enter(struct clients *c, const struct addr *from,
					    uint64_t max_total, uint64_t max_address);
void clients_leave(struct clients *c, const struct addr *from);
uint64_t clients_count(struct clients *c);
