/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions for other records than addresses, over c-ares' raw answers. They share the resolver's
 * memory with addresses, under numbers that are no family's. See dns.h; the life of a query is
 * dns.c's. The wire form is read in dns_wire.c.
 */
#include "common/dns_records.h"
#include <arpa/nameser.h>
#include <errno.h>
#include <string.h>
#include "common/dns_priv.h"

enum { KIND = 1000 }; /* of the memory: beyond all families */

static void on_records(void *arg, int status, int timeouts, unsigned char *p, int n)
{
	struct dns_query *q = arg;
	uint64_t now = loop_now(q->dns->loop);

	(void)timeouts;
	if (dns_tells(status)) {
		q->a.status = dns_status_of(status);
		if (q->a.status == DNS_OK)
			q->a.status = dns_records_parse(p, (size_t)MAX(n, 0), q->records, &q->a.records);
		if (q->a.status == DNS_OK)
			q->a.expires = now + MIN((uint64_t)q->a.records->ttl_s * 1000,
						 (uint64_t)DNS_CACHE_TTL_MAX_MS);
		dns_remember(q, (int)(KIND + q->records), now);
	}
	dns_came_back(q);
}

static bool know(struct dns_query *q)
{
	const struct dns_answers *a;

	if (!q->host[0] || strlen(q->host) >= DNS_NAME_MAX) {
		q->a.status = DNS_BAD_NAME;
		return true;
	}
	a = dns_cache_find(q->dns->cache, q->host, (int)(KIND + q->records), loop_now(q->dns->loop));
	if (!a)
		return false;
	q->a = *a;
	(void)dns_records_ref(q->a.records);
	return true;
}

int dns_records(struct dns *d, enum dns_type type, const struct dns_request *rq, struct dns_query **ret_q)
{
	struct dns_query *q = dns_query_new(d, rq, rq->host);
	struct channel *ch;

	if (!q)
		return -ENOMEM;
	q->records = type;
	dns_follow_resolv_conf(d);
	if (know(q)) {
		dns_answered(q);
	} else {
		dns_deadline(q, rq->deadline_ms ? rq->deadline_ms : DNS_DEADLINE_MS);
		ch = dns_goes_out(q);
		ares_query(ch->ares, q->host, ns_c_in, (int)type, on_records, q); /* may answer at once */
		dns_arm(ch);
	}
	*ret_q = q;
	return 0;
}
