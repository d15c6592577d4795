/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces that administrators make while the service runs (`stile sip interface add`), kept in the store under the kind
 * "sip.interface" by their name, transport:address:port; and the public addresses by which others reach an interface
 * behind a NAT, given or found by STUN (`advertise: auto`) and followed when they change.
 *
 * What the store has is checked like the file and tried before it is written. One that cannot be served (its
 * address is gone, another program has its port, its certificate is over) does not keep the others from being served: it says
 * why, and is tried again.
 */
#pragma once
#include <jansson.h>
#include "common/service.h"
#include "sip-proxy/config.h"

struct sip_service;
struct sip_interfaces;
int sip_interfaces_new(struct sip_service *ss,
		       struct sip_interfaces **ret_x); /* before the first plan. 0 or -errno */
struct sip_interfaces *sip_interfaces_free(struct sip_interfaces *x);
void sip_interfaces_verbs(struct sip_interfaces *x, struct control_server *cs);
/* Those of the configuration and those of the store that are to be served, for a plan; borrowed until the next call. -ENOMEM */
int sip_interfaces_all(struct sip_interfaces *x, const struct sip_config *c,
		       const struct sip_interface_section **ret_v, size_t *ret_n);
/* A plan has failed: leaves one more of the store out. False: none is left, so it was not theirs. */
bool sip_interfaces_leave_out(struct sip_interfaces *x, const char *why);
void sip_interfaces_put_back(struct sip_interfaces *x); /* all may be tried again */
json_t *sip_interfaces_json(struct sip_interfaces *x); /* rows of all, as sip.interfaces has them */
/* A configuration is at work: whose public address is to be found by STUN. */
void sip_interfaces_watch(struct sip_interfaces *x, const struct sip_root *root);
/* What to be called by: "" is its own address. out: SIP_SENT_BY_MAX bytes. */
void sip_interfaces_name(const struct sip_interfaces *x, const struct sip_interface_section *f,
			 char *out, size_t n);
