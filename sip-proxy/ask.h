/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question of our own: an OPTIONS (RFC 3261 11) to a place, outside of everything that passes through the proxy: is
 * somebody there, does a user live there. No I/O: a client transaction like any other, and a lookup by the edge if the
 * place is a name.
 *
 * How long to wait is the owner's affair: who has waited long enough cancels.
 */
#pragma once
#include "sip-proxy/proxy.h"

struct sip_ask;
struct sip_asking {			 /* texts are copied */
	struct text uri;		 /* whom to ask about: "sip:bob@example.org" */
	const struct sip_target *target; /* where; its name is copied, too. NULL: next */
	const struct sip_next *next;	 /* the first place of this name */
	bool mutual;
	uint32_t iface; /* by which to leave; 0: any */
	/* code 0: nobody answered, and why says why. target: who was asked; NULL if its name is not known. Once, never from
	 * within sip_ask(); the question is gone behind it. */
	void (*done)(void *arg, unsigned code, const char *why, const struct sip_target *target);
	void *arg;
};
/* 0, -ENOMEM, or what kept it from being sent. */
int sip_ask(struct sip_proxy *px, const struct sip_asking *o, struct sip_ask **ret_a);
/* It has taken too long: others of its name come first for a while, and the next of them is asked. False: there is none, or it
 * cannot be; then cancel. */
bool sip_ask_next(struct sip_ask *a);
struct sip_ask *sip_ask_cancel(struct sip_ask *a); /* done() will not come; NULL is fine */
