/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What records of a name say (RFC 1035 4, RFC 2782, RFC 3403), read out of the name server's raw answer with the
 * cursor: c-ares' own reader leaves the time to live of SRV records out. A parsed answer is immutable and counted by
 * references (of one thread), for the memory and several owners share it.
 */
#pragma once
#include "common/dns.h"

enum { DNS_RECORDS_MAX = 32, DNS_TTL_MAX_S = 7 * 24 * 3600 };

struct dns_srv {
	uint16_t priority, weight, port;
	char target[DNS_NAME_MAX]; /* without the last dot; "": the service is not to be had here (RFC 2782) */
};
struct dns_naptr {
	uint16_t order, preference;
	char flags[8], service[40];
	bool regexp; /* there is one: SIP uses none (RFC 3263 4.1) */
	char replacement[DNS_NAME_MAX];
};
struct dns_records {
	unsigned refs;
	enum dns_type type;
	size_t n;
	uint32_t ttl_s; /* the shortest of them, and of the aliases that lead to them */
	union {
		struct dns_srv srv[DNS_RECORDS_MAX];
		struct dns_naptr naptr[DNS_RECORDS_MAX];
	};
};
struct dns_records *dns_records_ref(struct dns_records *r);
struct dns_records *dns_records_unref(struct dns_records *r);
DEFINE_CLEANUP(struct dns_records, dns_records_unref)

/* A whole answer. DNS_OK and at least one record, of which those beyond DNS_RECORDS_MAX are left out; DNS_NO_ADDRESS:
 * none of this type; DNS_SERVER_FAILED: malformed, or not an answer; DNS_NO_MEMORY. */
enum dns_status dns_records_parse(const void *p, size_t n, enum dns_type type,
				  struct dns_records **ret_r);
