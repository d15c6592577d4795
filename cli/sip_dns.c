/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop that runs until one answer is there; see sip_dns.h. A name server that is silent ends a question by its own
 * deadline, so no question waits for ever.
 * Nothing outlives the call that asked.
 */
#include "cli/sip_dns.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct answer {
	struct loop *loop;
	bool done;
	enum dns_status status;
	struct dns_records *records;
	struct addr *v;
	size_t cap, n;
};

int sip_dns_open(struct sip_dns *d)
{
	int r = loop_new(&d->loop);

	d->dns = NULL;
	if (r == 0)
		r = dns_new(d->loop, NULL, &d->dns);
	if (r < 0)
		sip_dns_close(d);
	return r;
}

void sip_dns_close(struct sip_dns *d)
{
	dns_free(d->dns);
	if (d->loop)
		loop_free(d->loop);
	*d = (struct sip_dns){ 0 };
}

static void on_answer(const struct dns_answer *a, void *arg)
{
	struct answer *w = arg;

	w->done = true;
	w->status = a->status;
	if (a->status == DNS_OK && a->records)
		w->records = dns_records_ref(a->records);
	for (size_t i = 0; a->status == DNS_OK && w->v && i < a->n && w->n < w->cap; i++)
		w->v[w->n++] = a->addr[i];
	loop_stop(w->loop);
}

static void wait_for(struct answer *w)
{
	while (!w->done)
		if (loop_run(w->loop) < 0)
			return;
}

enum dns_status sip_dns_records(struct sip_dns *d, enum dns_type type, const char *name,
				struct dns_records **ret_r)
{
	struct answer w = { .loop = d->loop, .status = DNS_NO_MEMORY };
	const struct dns_request rq = { .host = name, .done = on_answer, .arg = &w };
	struct dns_query *q;

	if (dns_records(d->dns, type, &rq, &q) == 0)
		wait_for(&w);
	if (w.status == DNS_OK)
		*ret_r = w.records;
	return w.status;
}

enum dns_status sip_dns_addresses(struct sip_dns *d, const char *host, uint16_t port,
				  struct addr *v, size_t n, size_t *ret_n)
{
	struct answer w = { .loop = d->loop, .status = DNS_NO_MEMORY, .v = v, .cap = n };
	const struct dns_request rq = {
		.host = host, .port = port, .family = AF_UNSPEC, .done = on_answer, .arg = &w
	};
	struct dns_query *q;

	if (dns_addresses(d->dns, &rq, &q) == 0)
		wait_for(&w);
	*ret_n = w.n;
	return w.status;
}

bool sip_dns_print(const struct addr *v, size_t n, char *out, size_t cap)
{
	struct sb b = sb_init(out, cap);
	char at[ADDR_STRLEN];
	bool inside = false;

	for (size_t i = 0; i < n; i++) {
		sb_fmt(&b, "%s%s", i ? ", " : "", addr_print(&v[i], at));
		inside |= addr_classify(&v[i]) != ADDR_GLOBAL;
	}
	return inside;
}

static int by_order(const void *a, const void *b)
{
	const struct dns_srv *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return x->weight != y->weight ? (x->weight > y->weight ? -1 : 1) : strcmp(x->target, y->target);
}

void sip_dns_sort(struct dns_srv *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_order);
}
