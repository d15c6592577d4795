/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of addresses (PTR), for people only: remembered apart from the rest, and a bounded number
 * is under way, for strangers make these questions. See dns.h; the life of a query is dns.c's. A
 * name that is none is no answer.
 */
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include "common/dns_priv.h"

/* What is no host name may be an attempt on those who read it. */
static bool take_name(struct dns_query *q, const char *name)
{
	static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t n = name ? strlen(name) : 0;

	if (n == 0 || n >= sizeof(q->a.name) || strspn(name, fine) != n)
		return false;
	memcpy(q->a.name, name, n + 1);
	return true;
}

static void on_name(void *arg, int status, int timeouts, struct hostent *h)
{
	struct dns_query *q = arg;

	(void)timeouts;
	if (dns_tells(status)) {
		q->a.status = dns_status_of(status);
		if (q->a.status == DNS_OK && !take_name(q, h->h_name))
			q->a.status = DNS_SERVER_FAILED;
		q->a.expires = loop_now(q->dns->loop) +
			       (q->a.status == DNS_OK ? DNS_CACHE_NAME_MS : DNS_CACHE_NO_NAME_MS);
		if (q->a.status != DNS_NO_MEMORY && !dns_outdated(q))
			dns_cache_put(q->dns->names, q->host, AF_UNSPEC, &q->a);
	}
	dns_came_back(q);
}

static void ask_name(struct dns_query *q, const struct addr *of)
{
	struct channel *ch = dns_goes_out(q);
	size_t n;
	const uint8_t *ip = addr_ip(of, &n);

	q->dns->naming++;
	ares_gethostbyaddr(ch->ares, ip, (int)n, addr_family(of), on_name, q); /* may answer at once */
	dns_arm(ch);
}

static bool may_ask_name(struct dns *d)
{
	uint64_t now = loop_now(d->loop);

	if (now - d->named_since >= 1000) {
		d->named_since = now;
		d->named = 0;
	}
	if (d->naming >= DNS_NAMING_MAX || d->named >= DNS_NAMING_PER_S)
		return false;
	d->named++;
	return true;
}

int dns_name(struct dns *d, const struct addr *of, const struct dns_request *rq, struct dns_query **ret_q)
{
	char ip[ADDR_STRLEN];
	const struct dns_answers *known;
	struct dns_query *q;

	known = dns_cache_find(d->names, addr_print_ip(of, ip), AF_UNSPEC, loop_now(d->loop));
	if (!known && !may_ask_name(d))
		return -EBUSY;
	q = dns_query_new(d, rq, ip);
	if (!q)
		return -ENOMEM;
	q->naming = true;
	if (known) {
		q->a = *known;
		dns_answered(q);
	} else {
		dns_follow_resolv_conf(d);
		dns_deadline(q, rq->deadline_ms ? rq->deadline_ms : DNS_NAMING_DEADLINE_MS);
		ask_name(q, of);
	}
	*ret_q = q;
	return 0;
}
