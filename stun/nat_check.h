/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NAT behaviour discovery with sockets: nat.h over two fresh UDP sockets in the caller's loop, which never waits. They must be
 * fresh, for whom a socket has spoken to is let in afterwards, and that is what is to be found out.
 *
 * It takes some seconds where something is silent, and minutes where the lifetime of a binding is asked for.
 */
#pragma once
#include "common/loop.h"
#include "stun/nat.h"

struct nat_check;
struct nat_check_options {
	struct loop *loop;
	struct addr local; /* an address of ours; a wildcard or AF_UNSPEC: the one from which packets to the server leave. Its port is not used */
	struct addr server, second;
	uint64_t lifetime_ms; /* as these two in struct nat_options */
	void (*done)(const struct nat_result *r, void *arg); /* once, never from within nat_check_new(); nat_check_free() is allowed in it */
	void *arg;
};
int nat_check_new(const struct nat_check_options *o, struct nat_check **ret_c); /* 0 or -errno */
struct nat_check *nat_check_free(struct nat_check *c);
DEFINE_CLEANUP(struct nat_check, nat_check_free)
