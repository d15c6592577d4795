/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a resolver remembers: answers by name and family until their time to live ends, failures for a moment. A
 * fixed number of entries; the one that was stored longest ago makes room. No I/O and no clock.
 *
 * Names come from the configuration or from strangers (a SIP domain), so the table is keyed and bounded. It owns
 * its entries; what find() returns lives until the next put().
 */
#pragma once
#include "common/dns.h"

enum {
	DNS_CACHE_MAX = 256,
	DNS_CACHE_TTL_MAX_MS = 300000, /* whatever the record says: a mistake of its owner's must end */
	DNS_CACHE_FAILED_MS = 3000,
	DNS_CACHE_NAME_MS = 300000, /* of addresses: c-ares does not tell how long they are good */
	DNS_CACHE_NO_NAME_MS = 60000, /* most addresses have none, and it is not urgent */
};

struct dns_answers { /* what an answer holds */
	enum dns_status status;
	union {
		struct addr addr[DNS_ADDRESSES_MAX];
		char name[DNS_NAME_MAX]; /* of an address; "": none */
	};
	size_t n; /* addresses */
	struct dns_records *records; /* NULL, or one reference */
	uint64_t expires;
};

struct dns_cache;
struct dns_cache *dns_cache_new(void); /* NULL: no memory */
struct dns_cache *dns_cache_free(struct dns_cache *c);
/* NULL: not known, or not any more. Ports are 0. */
const struct dns_answers *dns_cache_find(struct dns_cache *c, const char *host, int family, uint64_t now);
/* Takes a reference of its own to the records. Without memory it is not kept. */
void dns_cache_put(struct dns_cache *c, const char *host, int family, const struct dns_answers *a);
void dns_cache_clear(struct dns_cache *c);
DEFINE_CLEANUP(struct dns_cache, dns_cache_free)
