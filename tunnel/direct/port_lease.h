/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One port that a router opens for us, by PCP or else NAT-PMP (stun/portmap.h): asked for, renewed at half of its lifetime, asked
 * for again when the router has lost it, given back at the end. By PCP over IPv6 it is a pinhole in the router's firewall.
 *
 * No I/O and no clock: the caller owns a socket that is connected to the router, from the inside address.
 */
#pragma once
#include "common/timers.h"
#include "stun/portmap.h"

enum { PORT_LEASE_S = 3600, PORT_LEASE_SILENT_MS = 1000 /* a router that has not answered by then has neither protocol */ };

struct port_lease;
struct port_lease_ops {
	void (*send)(const void *p, size_t n, void *arg);
	/* Opened (or elsewhere than before), or NULL: not opened, or lost; why is a sentence. Never from within a call. */
	void (*changed)(const struct addr *outside, const char *why, void *arg);
};
struct port_lease_options {
	struct timers *timers;
	const struct port_lease_ops *ops;
	void *arg;
	struct addr inside;
	bool tcp;
};
int port_lease_new(const struct port_lease_options *o, uint64_t now, struct port_lease **ret_l); /* 0, -ENOMEM, -EIO */
struct port_lease *port_lease_free(struct port_lease *l); /* gives the port back */
DEFINE_CLEANUP(struct port_lease, port_lease_free)
void port_lease_input(struct port_lease *l, const void *p, size_t n, uint64_t now);
