/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands of the relay share: connections in
 * pages, the names of addresses, and who holds a port. Each file of commands has a table of its own,
 * named in cli/command.h.
 */
#pragma once
#include "cli/command.h"

extern const char RELAY_PROGRAM[]; /* "stile-tunnel" */

/* Appends at most limit rows to rows; route NULL: of all. */
int relay_all_connections(struct cli *cli, struct control_client *cl, const char *route, uint64_t limit, json_t *rows,
			  bool *ret_more);

/* names.c: adds "source_name" to each row whose source has a name; asks all at once, for two seconds at most. */
void names_add(json_t *rows);
/* port_holder.c: "nginx, pid 812" for who listens on this TCP port or has this UDP port; false if nobody is seen. */
bool port_holder(uint16_t port, bool udp, char *out, size_t cap);
