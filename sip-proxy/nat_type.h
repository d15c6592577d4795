/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What NAT is in front of an address of ours, by one of the eight names that administrators know: one discovery of
 * stun/nat.h (RFC 5780) from two sockets of its own on that address, in the service's loop, which never waits.
 *
 * It takes some seconds where something is silent; a new question for the same address ends the one under way.
 */
#pragma once
#include "common/loop.h"
#include "stun/nat.h"

struct sip_nat_check;
/* local: an address of ours, or a wildcard. done comes once, never from within, unless it is freed. 0 or -errno. */
int sip_nat_check_new(struct loop *loop, const struct addr *local, const struct addr *server,
		      void (*done)(const struct nat_result *r, void *arg), void *arg, struct sip_nat_check **ret_c);
struct sip_nat_check *sip_nat_check_free(struct sip_nat_check *c); /* allowed in done */
