/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the files of the resolver: dns.c (channels, queries, addresses), dns_name.c (names of
 * addresses), dns_records.c (other records). What a query's life is stands in dns.c. Nothing
 * outside of the resolver includes it. A channel is c-ares with the name servers of one reading of
 * /etc/resolv.conf.
 */
#pragma once
#include <ares.h>
#include <sys/stat.h>
#include "common/dns.h"
#include "common/dns_cache.h"

struct stamp { /* of a file: another one when it was written or replaced */
	struct timespec changed;
	ino_t inode;
	off_t size;
};

struct dns {
	struct loop *loop;
	char *servers; /* NULL: RESOLV_CONF */
	unsigned timeout_ms, tries;
	struct stamp stamp;
	unsigned age;			 /* how often everything was forgotten */
	struct channel *channel;	 /* for new queries */
	struct list retired;		 /* struct channel */
	struct list queries;		 /* struct dns_query, whose owners wait */
	struct dns_cache *cache, *names; /* addresses of names; names of addresses */
	unsigned naming;		 /* queries for names that c-ares works on */
	unsigned named;			 /* names asked for since named_since */
	uint64_t named_since;
};

struct channel {
	struct list node; /* in retired */
	struct dns *dns;
	ares_channel ares;
	struct list sockets;
	struct timer due; /* of the next time-out in c-ares */
	unsigned asked;	  /* queries that c-ares works on */
	bool retired;
};

struct dns_query {
	struct list node;
	struct dns *dns;
	struct dns_request rq; /* its host is below */
	struct timer timer;    /* see above */
	struct timer apart;    /* both families are asked for apart, or one of them has waited for the other */
	struct channel *in;    /* c-ares works on it */
	unsigned asked;	       /* its questions that c-ares works on */
	unsigned halves;       /* those of them that are for one family of two */
	unsigned age;	       /* of the resolver when it was asked */
	bool detached;	       /* nobody waits: freed when c-ares is done */
	bool answered;
	bool naming;	  /* of dns_name() */
	unsigned records; /* of dns_records(): their type; else 0 */
	struct dns_answers a;
	char host[];
};

enum dns_status dns_status_of(int ares);
/* NULL: no memory. Linked among the resolver's. */
struct dns_query *dns_query_new(struct dns *d, const struct dns_request *rq, const char *host);
void dns_follow_resolv_conf(struct dns *d);
void dns_deadline(struct dns_query *q, uint64_t ms); /* from now */
/* It is given to c-ares of this channel next; dns_came_back() when that is done with it, dns_arm() after. */
struct channel *dns_goes_out(struct dns_query *q);
void dns_came_back(struct dns_query *q);
void dns_arm(struct channel *ch);
void dns_remember(struct dns_query *q, int kind, uint64_t now); /* kind: the address family, or one beyond all of them */
void dns_answered(struct dns_query *q); /* done() is called from the loop */
/* It was asked before everything was forgotten: what it learns is for its owner only. */
static inline bool dns_outdated(const struct dns_query *q)
{
	return q->age != q->dns->age;
}
/* c-ares tells something, not that the channel ends. */
static inline bool dns_tells(int status)
{
	return status != ARES_EDESTRUCTION && status != ARES_ECANCELLED;
}
