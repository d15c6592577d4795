/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which port a machine's share has in port-forwarding mode, so that one router can have a fixed rule for each machine behind
 * it: base port and last octet of the machine's own IPv4 address (8080 + 141 = 8221). What can go wrong with that is found
 * here, as far as this machine can see it: a port over 65535, and several interfaces, two of which may come to the same port.
 *
 * No I/O but the list of the machine's interfaces.
 */
#pragma once
#include <net/if.h>
#include "common/addr.h"

enum { FORWARD_FACES_MAX = 32, FORWARD_RULE_STRLEN = 2 * ADDR_STRLEN + 64 };

struct forward_face { /* an IPv4 address of this machine */
	char name[IF_NAMESIZE];
	struct addr ip;	   /* port 0 */
	uint32_t sum;	   /* base port and last octet */
	uint16_t port;	   /* the same; 0: it is over 65535 */
	bool default_way;  /* what goes to the outside leaves from it */
	const char *twin;  /* name of another interface that comes to the same port; NULL: none. Points into the table */
};
/* Fills in sum, port and twin of n faces that have name and ip. */
void forward_judge(uint16_t base, struct forward_face *faces, unsigned n);
/* Those that are up, loopback left out unless nothing else is there. outside: an address there, for default_way. */
unsigned forward_faces(uint16_t base, const struct addr *outside, struct forward_face faces[static FORWARD_FACES_MAX]);
/* The one that is meant: by its name or address, or the one of the default way. NULL: none. */
struct forward_face *forward_choose(struct forward_face *faces, unsigned n, const char *wanted);
/* As an administrator writes it into a router: "TCP 213.198.167.2:8221 → 4.198.167.141:8221". outside unset or NULL: not known. */
const char *forward_rule(const struct addr *outside, const struct addr *inside, char buf[static FORWARD_RULE_STRLEN]);
