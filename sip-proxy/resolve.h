/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a SIP URI's next hop is (RFC 3263): NAPTR, SRV with priorities and weights, A and AAAA, over common/dns.h,
 * which remembers answers for their time to live. The places come in the order to try them.
 *
 * Health is a memory of what failed, not a gate: a place that failed lately is put behind the others for a
 * while, and is tried all the same when nothing else is left, or when its time is over. Who never failed and who was
 * never tried are alike.
 */
#pragma once
#include <jansson.h>
#include "common/dns_records.h"
#include "common/loop.h"
#include "sip-proxy/transport.h"

enum {
	SIP_HEALTH_MAX = 4096,
	SIP_HEALTH_FIRST_MS = 2000, /* a first failure counts so long, then twice as long for each further one */
	SIP_HEALTH_LONGEST_MS = 60000,
	SIP_LOOKUPS_MAX = 4096, /* under way */
	SIP_LOOKUP_MS = 5000,
};

struct sip_resolver;
struct sip_resolver_options {
	struct loop *loop;
	struct dns *dns;
	/* Can we send by this transport at all? family AF_UNSPEC: any. */
	bool (*can_send)(void *arg, enum sip_proto proto, sa_family_t family);
	/* May another domain's server be there, if its SRV record says so? NULL: anywhere. */
	bool (*may_be_partner)(void *arg, const struct addr *at);
	/* A look-up has ended. May be NULL. */
	void (*looked_up)(void *arg, bool found);
	void *arg;
};
int sip_resolver_new(const struct sip_resolver_options *o, struct sip_resolver **ret_r);
struct sip_resolver *sip_resolver_free(struct sip_resolver *r);

/* done() comes once from the loop, unless cancelled. 0, -ENOMEM, -EBUSY (too many). */
int sip_resolver_lookup(struct sip_resolver *r, const struct sip_next *next, struct sip_lookup *l);
void sip_resolver_cancel(struct sip_lookup *l);
/* True: it was well and fails now, or the other way round. */
bool sip_resolver_report(struct sip_resolver *r, const struct sip_target *to, int err, uint64_t now);
bool sip_resolver_fails(const struct sip_resolver *r, const struct sip_target *to, uint64_t now);
/* What is remembered as failing: {transport, address, failures, retry_ms, why}. */
json_t *sip_resolver_health_json(const struct sip_resolver *r, uint64_t now);

/* ---- its parts, for tests ---- */

/* RFC 2782: by priority, and within one by weight, drawn with random(arg): a number below its argument. In place. */
void sip_srv_order(struct dns_srv *v, size_t n, uint32_t (*draw)(uint32_t below, void *arg), void *arg);
