/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What strangers may consume of the proxy, charged in one place: open transactions by source (an IPv4 address, an
 * IPv6 /64) and in all, transactions that are over and only absorb retransmissions, bytes of messages that are kept.
 * Beyond a limit there is a refusal: 503 with a Retry-After, spread over some seconds so that not all come back at once.
 */
#pragma once
#include "common/addr.h"
#include "sip-proxy/refusals.h"

/* 0: the default. */
struct sip_limits_tx {
	uint32_t open;		   /* 100000: transactions under way */
	uint32_t open_per_source;  /* 20000 */
	uint32_t kept;		   /* 300000: completed ones; the oldest give way */
	uint64_t bytes;		   /* 512 MiB: of kept messages */
	uint32_t waiting;	   /* 10000: messages that wait for a lookup or a decision */
	uint32_t waiting_per_lane; /* 32: of one sender in one call */
};

struct sip_charge; /* one source; as long as it has open transactions or somebody who pays by it */

struct sip_charges {
	struct sip_limits_tx limits;
	struct htable by_source;
	struct hash_seed seed;
	uint32_t open, kept, waiting;
	uint64_t bytes;
	uint32_t salt; /* of retry_after */
};
void sip_charges_init(struct sip_charges *cs, const struct sip_limits_tx *limits,
		      const struct hash_seed *seed);
void sip_charges_deinit(struct sip_charges *cs);
/* SIP_ACCEPTED and a reference, -ENOMEM, or the refusal (positive). in_dialog: a tenth beyond the limit is left for what
 * ends and changes calls that there are already. */
int sip_charge_open(struct sip_charges *cs, const struct addr *from, bool in_dialog,
		    struct sip_charge **ret_c);
void sip_charge_close(struct sip_charges *cs, struct sip_charge *c); /* NULL is fine */
bool sip_charge_bytes(struct sip_charges *cs, size_t n);	     /* false: too many */
void sip_uncharge_bytes(struct sip_charges *cs, size_t n);
/* 5 … 20 s, another one each time. */
unsigned sip_retry_after(struct sip_charges *cs);
