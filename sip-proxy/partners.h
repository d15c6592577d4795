/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other domains as they were met: what came and went by kind, what was refused, and how fast they may send. A bounded
 * number: the one that was quiet longest makes room, so that a stranger with many names costs no memory. Who may what is
 * in federation.h.
 */
#pragma once
#include <jansson.h>
#include "sip-proxy/config.h"

enum { SIP_PARTNERS_MAX = 4096 };

struct sip_partners;
struct sip_partners *sip_partners_new(void); /* NULL: no memory */
struct sip_partners *sip_partners_free(struct sip_partners *ps);

enum sip_partner_count {
	SIP_PARTNER_PRESENCE, /* the first ones are enum sip_traffic */
	SIP_PARTNER_MESSAGES,
	SIP_PARTNER_CALLS,
	SIP_PARTNER_OTHER,
	SIP_PARTNER_COUNTS
};
/* One request, from there (inward) or to there. */
void sip_partners_count(struct sip_partners *ps, struct text domain, bool inward,
			enum sip_partner_count what, uint64_t now);
/* One that was refused, and why: a text that lives for ever. */
void sip_partners_refused(struct sip_partners *ps, struct text domain, const char *why, uint64_t now);
/* May it send one more? rate: messages a second, as many at once; 0: yes. Counts those that may not. */
bool sip_partners_admit(struct sip_partners *ps, struct text domain, uint64_t rate, uint64_t now);
/* {domain, in: {presence, messages, calls, other}, out: {…}, refused, limited, last, idle_ms}, the latest first. */
json_t *sip_partners_json(const struct sip_partners *ps, uint64_t now);
