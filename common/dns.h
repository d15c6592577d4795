/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses without waiting: a resolver per loop, over c-ares. A query has a deadline, can be
 * cancelled, and answers with every address of the name in the order of RFC 6724, so that its owner goes on to
 * the next one when the first does not connect; and with the time that the answer may be kept.
 *
 * Numeric addresses, "localhost" and /etc/hosts are answered as any program of the machine would; the name
 * servers are those of /etc/resolv.conf, which is read anew when it has changed. Answers with a time to live are
 * remembered for it, and failures for a moment (common/dns_cache.h), so that a crowd asks once.
 *
 * And addresses to names (PTR), which are for people only: whoever owns an address says what it is called. Strangers
 * make these questions, so they are remembered apart from the others, and a bounded number is under way.
 *
 * And other kinds of records (SRV, NAPTR), with the same struct dns_query, status and life; common/dns_records.h has
 * what they hold. A resolver belongs to its loop's thread.
 */
#pragma once
#include "common/addr.h"
#include "common/loop.h"

struct dns;
struct dns_query;
struct dns_records;

enum dns_status {
	DNS_OK,
	DNS_NO_NAME,	   /* there is no such name */
	DNS_NO_ADDRESS,	   /* it has none of this family */
	DNS_TIMEOUT,	   /* no name server answered in time */
	DNS_NO_SERVER,	   /* none could be asked, or all answered that they could not answer (SERVFAIL, REFUSED) */
	DNS_SERVER_FAILED, /* what they answered is no answer */
	DNS_BAD_NAME,	   /* cannot be a name */
	DNS_NO_MEMORY,
	DNS_STATUSES
};
const char *dns_status_text(enum dns_status s); /* "the name does not exist": for messages */

enum {
	DNS_ADDRESSES_MAX = 16,
	DNS_NAME_MAX = 254,
	DNS_DEADLINE_MS = 10000,
	DNS_NAMING_MAX = 64,		/* dns_name() under way in one resolver */
	DNS_NAMING_PER_S = 200,		/* and new ones in a second, for a crowd of strangers asks for as many */
	DNS_NAMING_DEADLINE_MS = 2000,
};

struct dns_answer { /* lives as long as the call of done() */
	enum dns_status status;
	const struct addr *addr; /* with the port that was asked for; none unless DNS_OK */
	size_t n;
	uint64_t ttl_ms; /* the answer may be kept so long; 0: ask again */
	const char *name; /* of dns_name(): letters, digits, "-", "_" and "." only; NULL: of dns_addresses(), or none */
	struct dns_records *records; /* of dns_records() and DNS_OK: at least one; referenced for longer by dns_records_ref() */
};

struct dns_options {
	const char *servers; /* "127.0.0.1:5353,[::1]:5353"; NULL: those of /etc/resolv.conf */
	unsigned timeout_ms, tries; /* of the first try, of each server; 0: 1500 ms, doubling, 3 times */
};
int dns_new(struct loop *l, const struct dns_options *o, struct dns **ret_d); /* o may be NULL; 0, -ENOMEM, -EINVAL */
struct dns *dns_free(struct dns *d); /* queries under way are cancelled */
DEFINE_CLEANUP(struct dns, dns_free)
/* Another network: what was learnt in the one before counts no more (a VPN knows other names), and is asked anew by new
 * sockets. Queries under way go on. */
void dns_forget(struct dns *d);

struct dns_request {
	const char *host; /* name, or numeric address without brackets */
	uint16_t port;	  /* goes into the addresses */
	int family;	  /* AF_UNSPEC: both */
	uint64_t deadline_ms; /* from now; 0: DNS_DEADLINE_MS */
	void (*done)(const struct dns_answer *a, void *arg);
	void *arg;
};
/* 0 or -ENOMEM. done() is called once, never from within this function; the query is gone when it is called, and
 * everything is allowed in it, dns_free() too. */
int dns_addresses(struct dns *d, const struct dns_request *rq, struct dns_query **ret_q);
/* The name of an address, in the same manner: rq's host, port and family are not read, its deadline is
 * DNS_NAMING_DEADLINE_MS. -EBUSY, too: DNS_NAMING_MAX are under way, or DNS_NAMING_PER_S were asked for. */
int dns_name(struct dns *d, const struct addr *of, const struct dns_request *rq, struct dns_query **ret_q);
/* The records of a name: rq's port and family are not read; DNS_NO_ADDRESS: it has none of this type. */
enum dns_type { DNS_SRV = 33, DNS_NAPTR = 35 };
int dns_records(struct dns *d, enum dns_type type, const struct dns_request *rq,
		struct dns_query **ret_q);
struct dns_query *dns_cancel(struct dns_query *q); /* done() will not be called */
