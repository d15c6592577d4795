/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default gateway, which is the router of this network: whoever opens ports, if anybody does. It is told as the kernel has it
 * now: networks change, so it is read from /proc each time it is asked for.
 * Nothing is kept, and nobody is spoken to.
 */
#pragma once
#include <stdio.h>
#include "common/addr.h"

/* AF_INET or AF_INET6. False: there is none. A link-local one has its scope. */
bool gateway_default(int family, uint16_t port, struct addr *ret_a);
/* The same of a table as /proc/net/route or /proc/net/ipv6_route has it. */
bool gateway_in_table(int family, FILE *table, uint16_t port, struct addr *ret_a);
