/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Determine IP": by what public address one of our own addresses is seen outside, and what NAT is in front of it, asked of
 * stun_servers because somebody wants to know now. Nothing of the configuration is changed, and nothing remembered: what is
 * watched because an interface says so (advertise: auto) is public_address.h's.
 *
 * Each question ends its own request. A few may be under way; who goes away is not waited for.
 */
#pragma once
#include "common/control.h"
#include "sip-proxy/config.h"

struct sip_determiner;
int sip_determiner_new(struct loop *loop, struct sip_determiner **ret_d); /* 0 or -ENOMEM */
struct sip_determiner *sip_determiner_free(struct sip_determiner *d);
/* local: an address of this machine, or a wildcard. Answers {address, public, port_kept, server, nat, means, why}. */
void sip_determine(struct sip_determiner *d, struct control_request *rq, const struct addr *local, const struct cfg_list *servers);
