/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By what name others reach an interface: as it is given (sip.interfaces[].advertise), or found by STUN and followed when it
 * changes: "auto" the address, over UDP with the port that the router gives our socket, which is kept open; "auto:5060" the
 * address with this port, where the router forwards it. Until something is known an interface is called by its own address.
 *
 * The watch is stun/public_watch.h's; here is which addresses are watched, and what follows.
 */
#pragma once
#include <jansson.h>
#include "common/loop.h"
#include "sip-proxy/config.h"

struct sip_public;
struct sip_public_options {
	struct loop *loop;
	void (*changed)(void *arg); /* an address or a port that somebody uses is another one now */
	/* The UDP interface that was configured with this address asks this server where it is seen; sip_public_seen() takes the
	 * answer. May be NULL. */
	void (*ask)(void *arg, const struct addr *at, const struct addr *server);
	void *arg;
};
int sip_public_new(const struct sip_public_options *o, struct sip_public **ret_p); /* 0 or -ENOMEM */
struct sip_public *sip_public_free(struct sip_public *p);
/* Watches for these interfaces with these servers; what is known of an address stays known. Without memory: as before. */
void sip_public_watch(struct sip_public *p, const struct sip_interface_section *v, size_t n,
		      const struct cfg_list *servers);
void sip_public_seen(struct sip_public *p, const struct addr *at, const struct addr *mapped);
bool sip_public_is_auto(const struct sip_interface_section *f);
/* "host:port", or "" for its own address. */
void sip_public_name(const struct sip_public *p, const struct sip_interface_section *f, char *out,
		     size_t n);
/* Of an automatic one: why nothing is known, or what is. */
void sip_public_why(const struct sip_public *p, const struct sip_interface_section *f, char *out,
		    size_t n);
const char *sip_public_nat(const struct sip_public *p, const struct sip_interface_section *f); /* "Full Cone" …; "": not known */
void sip_public_now(struct sip_public *p);	     /* asks at once */
json_t *sip_public_json(const struct sip_public *p); /* [{address, public, why, server, found_at}] */
