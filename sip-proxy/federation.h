/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open federation: which other domains we speak with (sip.federation), what may pass in which direction, and the way to
 * them, which is their SRV record and a certificate that names them (RFC 5922). Made from a configuration and replaced as
 * a whole; who has proven to be whom is judged in trust.h.
 */
#pragma once
#include "sip-proxy/config.h"
#include "sip-proxy/partners.h"
#include "sip-proxy/policy.h"

struct sip_federation;
int sip_federation_new(const struct sip_config *c, struct sip_federation **ret_f); /* 0 or -ENOMEM */
struct sip_federation *sip_federation_free(struct sip_federation *f);
DEFINE_CLEANUP(struct sip_federation, sip_federation_free)

enum sip_federation_says {
	SIP_FEDERATION_NONE, /* it is off */
	SIP_FEDERATION_YES,
	SIP_FEDERATION_UNLISTED,
	SIP_FEDERATION_DENIED
};
enum sip_federation_says sip_federation_judge(const struct sip_federation *f, struct text domain);
/* Messages a second that it may send; 0: no limit. */
uint64_t sip_federation_rate(const struct sip_federation *f, struct text domain);
/* May this request begin something between us? */
bool sip_federation_passes(const struct sip_federation *f, struct text domain,
			   enum sip_method method, bool inward);
enum sip_partner_count sip_federation_kind(enum sip_method method);
json_t *sip_federation_json(const struct sip_federation *f); /* {mode, rate, sips_srv, partners: [{domain, allow, …}]} */

struct sip_federating { /* of the hook: its arg */
	struct sip_federation *federation;
	struct sip_partners *partners;
};
/* SIP_STAGE_ROUTING: a request for another domain goes to its federation server, if ours may leave and both sides are
 * allowed to. */
enum sip_step sip_federation_request(struct sip_passage *p, void *arg);
