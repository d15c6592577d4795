/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk of RFC 3263 4: NAPTR, then SRV, then addresses, each step asked in parallel and all of it under one
 * deadline, of which each but the last has half of what is left. See resolve.h. Two choices of ours: of several transports
 * without a preference in the DNS, UDP comes first for sip: URIs, as elsewhere; and an answer that is late or broken
 * counts as none at its step, so that a name server that knows no NAPTR does not make a domain unreachable.
 *
 * A walk owns its queries; its answers are shared with the resolver's memory. It ends by calling done() from its timer
 * or from a query's callback, which are both the loop's.
 */
#include "sip-proxy/resolve.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/health.h"

enum { SERVICES = 3, HOSTS = 16, ADDRESSES = 8 };

struct service { /* an SRV name to ask for, in the order of preference */
	enum sip_proto proto;
	struct walk *walk;
	struct dns_query *q;
	struct dns_records *records;
	char name[DNS_NAME_MAX];
};
struct host { /* a name to ask addresses for, in the order to try them */
	enum sip_proto proto;
	uint16_t port;
	struct walk *walk;
	struct dns_query *q;
	char name[DNS_NAME_MAX];
	struct addr addr[ADDRESSES];
	unsigned n;
};

struct walk {
	struct list node;
	struct sip_resolver *r;
	struct sip_lookup *l;
	struct timer timer;   /* deadline; 0: it is done */
	struct sip_next next; /* its host is below */
	struct dns_query *naptr;
	struct service services[SERVICES];
	struct host *hosts; /* HOSTS of them, when they are needed */
	unsigned n_services, n_hosts, waiting;
	bool gone; /* SRV says that there is no such service */
	char inside[ADDR_STRLEN]; /* of a partner, where none may be; "": none */
	enum dns_status why;
	char host[DNS_NAME_MAX];
};

struct sip_resolver {
	struct sip_resolver_options o;
	struct list walks;
	unsigned n_walks;
	struct sip_health *health;
};

/* ---- SRV order ---- */

void sip_srv_order(struct dns_srv *v, size_t n, uint32_t (*draw)(uint32_t below, void *arg), void *arg)
{
	for (size_t i = 0; i < n; i++) {
		size_t best = i;
		uint32_t sum = 0, at, seen = 0;

		for (size_t k = i + 1; k < n; k++)
			if (v[k].priority < v[best].priority)
				best = k;
		for (size_t k = i; k < n; k++)
			if (v[k].priority == v[best].priority)
				sum += v[k].weight;
		at = draw(sum + 1, arg); /* RFC 2782: between 0 and the sum; those of weight 0 have a small chance */
		for (size_t k = i, done = 0; k < n && !done; k++) {
			if (v[k].priority != v[best].priority)
				continue;
			seen += v[k].weight;
			if (seen >= at) {
				struct dns_srv t = v[i];
				v[i] = v[k];
				v[k] = t;
				done = 1;
			}
		}
	}
}

static uint32_t draw(uint32_t below, void *arg)
{
	uint32_t v = 0;

	(void)arg;
	(void)bytes_random(&v, sizeof(v)); /* without any it is 0: an order all the same */
	return v % below;
}

/* ---- ends ---- */

static void walk_free(struct walk *w)
{
	timer_stop(&w->timer);
	list_unlink(&w->node);
	w->r->n_walks--;
	dns_cancel(w->naptr);
	for (unsigned i = 0; i < w->n_services; i++) {
		dns_cancel(w->services[i].q);
		dns_records_unref(w->services[i].records);
	}
	for (unsigned i = 0; i < w->n_hosts; i++)
		dns_cancel(w->hosts[i].q);
	free(w->hosts);
	free(w);
}

/* How long a step may take behind which there is another: half of what is left, for a name server that swallows questions of
 * its kind must leave time for the next. */
static uint64_t share(const struct walk *w)
{
	uint64_t now = loop_now(w->r->o.loop);

	return w->timer.deadline > now + 2 ? (w->timer.deadline - now) / 2 : 1;
}

/* A partner's SRV record must not make us knock at doors of our own network. */
static bool allowed(struct walk *w, const struct addr *a)
{
	const struct sip_resolver_options *o = &w->r->o;

	if (!w->next.federation || !o->may_be_partner || o->may_be_partner(o->arg, a))
		return true;
	addr_print_ip(a, w->inside);
	return false;
}

static unsigned collect(struct walk *w, struct sip_target *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->n_hosts; i++)
		for (unsigned k = 0; k < w->hosts[i].n && n < SIP_TARGETS_MAX; k++) {
			const struct host *h = &w->hosts[i];
			if (!w->r->o.can_send(w->r->o.arg, h->proto, addr_family(&h->addr[k])) ||
			    !allowed(w, &h->addr[k]))
				continue;
			t[n] = (struct sip_target){ .hop = { .proto = h->proto, .remote = h->addr[k] },
						    .name = w->next.host };
			addr_set_port(&t[n++].hop.remote, h->port);
		}
	return n;
}

static void walk_done(struct walk *w)
{
	struct sip_target t[SIP_TARGETS_MAX];
	unsigned n = collect(w, t);
	struct sip_lookup *l = w->l;
	char host[DNS_NAME_MAX], why[DNS_NAME_MAX + 256];

	(void)snprintf(host, sizeof(host), "%s", w->host);
	for (unsigned i = 0; i < n; i++)
		t[i].name = text_of(host);
	sip_health_sort(w->r->health, t, n, loop_now(w->r->o.loop));
	if (w->gone)
		(void)snprintf(why, sizeof(why),
			       "%s: its SRV record says that there is no SIP there", host);
	else if (w->inside[0])
		(void)snprintf(why, sizeof(why),
			       "%s: its SRV record leads to %s, which is no public address (sip.federation.addresses)",
			       host, w->inside);
	else if (w->next.federation && !w->n_hosts && w->why == DNS_NO_ADDRESS)
		(void)snprintf(why, sizeof(why), "%s: it publishes no SRV record _sipfederationtls._tcp", host);
	else if (w->n_hosts && !n && w->why == DNS_OK)
		(void)snprintf(why, sizeof(why),
			       "%s: no listener of ours has its transport and address family", host);
	else
		(void)snprintf(why, sizeof(why), "%s: %s", host, dns_status_text(w->why));
	if (w->r->o.looked_up)
		w->r->o.looked_up(w->r->o.arg, n > 0);
	walk_free(w);
	l->under_way = NULL;
	l->done(l, n ? 0 : -EHOSTUNREACH, n ? "" : why, t, n);
}

/* ---- addresses ---- */

static void on_addresses(const struct dns_answer *a, void *arg)
{
	struct host *h = arg;
	struct walk *w = h->walk;

	h->q = NULL;
	for (size_t i = 0; i < a->n && h->n < ADDRESSES; i++)
		h->addr[h->n++] = a->addr[i];
	if (a->status != DNS_OK)
		w->why = a->status;
	if (--w->waiting == 0)
		walk_done(w);
}

static struct host *add_host(struct walk *w, enum sip_proto proto, const char *name, uint16_t port)
{
	struct host *h;

	if (!w->hosts)
		w->hosts = calloc(HOSTS, sizeof(*w->hosts));
	if (!w->hosts || w->n_hosts == HOSTS)
		return NULL;
	h = &w->hosts[w->n_hosts++];
	h->proto = proto;
	h->port = port;
	h->walk = w;
	(void)snprintf(h->name, sizeof(h->name), "%s", name);
	return h;
}

static void finish_soon(struct walk *w)
{
	loop_timer_set(w->r->o.loop, &w->timer, 0);
}

static void ask_addresses(struct walk *w)
{
	if (!w->n_hosts) {
		if (w->why == DNS_OK && !w->gone)
			w->why = DNS_NO_MEMORY;
		finish_soon(w);
		return;
	}
	for (unsigned i = 0; i < w->n_hosts; i++) {
		struct host *h = &w->hosts[i];
		const struct dns_request rq = { .host = h->name,
						.port = h->port,
						.family = AF_UNSPEC,
						.deadline_ms = SIP_LOOKUP_MS,
						.done = on_addresses,
						.arg = h };
		if (dns_addresses(w->r->o.dns, &rq, &h->q) == 0)
			w->waiting++;
	}
	if (!w->waiting) {
		w->why = DNS_NO_MEMORY;
		finish_soon(w);
	}
}

/* ---- SRV ---- */

/* Without SRV records: the name itself, by the transport that was asked for or the usual one. */
static enum sip_proto usual_proto(const struct walk *w)
{
	const struct sip_resolver_options *o = &w->r->o;

	if (w->next.has_proto)
		return w->next.sips && w->next.proto == SIP_TCP ? SIP_TLS : w->next.proto;
	if (w->next.sips)
		return SIP_TLS;
	if (!o->can_send(o->arg, SIP_UDP, AF_UNSPEC) && o->can_send(o->arg, SIP_TCP, AF_UNSPEC))
		return SIP_TCP;
	return SIP_UDP;
}

static void take_services(struct walk *w)
{
	struct dns_srv v[DNS_RECORDS_MAX];

	for (unsigned i = 0; i < w->n_services; i++) {
		const struct dns_records *r = w->services[i].records;
		if (!r || (w->next.federation && w->n_hosts)) /* the second name only without the first */
			continue;
		memcpy(v, r->srv, r->n * sizeof(v[0]));
		sip_srv_order(v, r->n, draw, NULL);
		for (size_t k = 0; k < r->n; k++) {
			if (v[k].target[0])
				(void)add_host(w, w->services[i].proto, v[k].target, v[k].port);
			else
				w->gone = r->n == 1;
		}
	}
	if (!w->n_hosts && w->next.federation) {
		finish_soon(w); /* no guess at addresses: whoever federates says so */
		return;
	}
	if (!w->n_hosts && !w->gone) {
		enum sip_proto p = usual_proto(w);
		(void)add_host(w, p, w->host, sip_proto_rows[p].port);
	}
	w->why = DNS_OK;
	ask_addresses(w);
}

static void on_srv(const struct dns_answer *a, void *arg)
{
	struct service *s = arg;
	struct walk *w = s->walk;

	s->q = NULL;
	if (a->status == DNS_OK)
		s->records = dns_records_ref(a->records);
	else if (s == w->services) /* of federation: nothing else is asked */
		w->why = a->status == DNS_NO_NAME ? DNS_NO_ADDRESS : a->status;
	if (--w->waiting == 0)
		take_services(w);
}

static const char *const srv_prefixes[SIP_PROTOS] = {
	[SIP_UDP] = "_sip._udp.", [SIP_TCP] = "_sip._tcp.", [SIP_TLS] = "_sips._tcp.", [SIP_WS] = NULL, [SIP_WSS] = NULL
};

static void add_service(struct walk *w, enum sip_proto proto, const char *name)
{
	struct service *s = &w->services[w->n_services];
	char full[DNS_NAME_MAX * 2];

	if (w->n_services == SERVICES || !w->r->o.can_send(w->r->o.arg, proto, AF_UNSPEC))
		return;
	if (!name && !srv_prefixes[proto])
		return;
	(void)snprintf(full, sizeof(full), "%s%s", name ? "" : srv_prefixes[proto],
		       name ? name : w->host);
	if (strlen(full) >= sizeof(s->name))
		return;
	*s = (struct service){ .proto = proto, .walk = w };
	memcpy(s->name, full, strlen(full) + 1);
	w->n_services++;
}

static void ask_services(struct walk *w)
{
	for (unsigned i = 0; i < w->n_services; i++) {
		struct service *s = &w->services[i];
		const struct dns_request rq = {
			.host = s->name, .deadline_ms = share(w), .done = on_srv, .arg = s
		};
		if (dns_records(w->r->o.dns, DNS_SRV, &rq, &s->q) == 0)
			w->waiting++;
	}
	if (!w->waiting)
		take_services(w);
}

/* ---- NAPTR ---- */

static bool naptr_proto(const struct dns_naptr *n, enum sip_proto *ret_p)
{
	static const struct {
		const char *service;
		enum sip_proto proto;
	} rows[] = { { "SIP+D2U", SIP_UDP }, { "SIP+D2T", SIP_TCP }, { "SIPS+D2T", SIP_TLS } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (text_ieq(text_of(n->service), text_of(rows[i].service))) {
			*ret_p = rows[i].proto;
			return text_ieq(text_of(n->flags), TEXT("s")) && !n->regexp &&
			       n->replacement[0];
		}
	return false;
}

static int by_order(const void *a, const void *b)
{
	const struct dns_naptr *x = a, *y = b;

	return x->order != y->order		? (x->order < y->order ? -1 : 1)
	       : x->preference != y->preference ? (x->preference < y->preference ? -1 : 1)
						: 0;
}

static void on_naptr(const struct dns_answer *a, void *arg)
{
	struct walk *w = arg;
	struct dns_naptr *v = a->status == DNS_OK ? calloc(a->records->n, sizeof(*v)) : NULL;
	size_t n = v ? a->records->n : 0;
	enum sip_proto proto;

	w->naptr = NULL;
	if (v) {
		memcpy(v, a->records->naptr, n * sizeof(*v));
		qsort(v, n, sizeof(*v), by_order);
	}
	for (size_t i = 0; i < n; i++)
		if (naptr_proto(&v[i], &proto) && (!w->next.sips || proto == SIP_TLS))
			add_service(w, proto, v[i].replacement);
	free(v);
	if (!w->n_services && !w->next.sips) {
		add_service(w, SIP_UDP, NULL);
		add_service(w, SIP_TCP, NULL);
	}
	if (!w->n_services)
		add_service(w, SIP_TLS, NULL);
	ask_services(w);
}

/* ---- the walk ---- */

static void on_walk_timer(struct timer *t, uint64_t now)
{
	struct walk *w = container_of(t, struct walk, timer);

	(void)now;
	if (w->waiting || w->naptr)
		w->why = DNS_TIMEOUT;
	walk_done(w); /* with what is there */
}

static int begin_federation(struct walk *w)
{
	char name[DNS_NAME_MAX * 2];

	(void)snprintf(name, sizeof(name), "_sipfederationtls._tcp.%s", w->host);
	add_service(w, SIP_TLS, name);
	if (w->next.sips_srv)
		add_service(w, SIP_TLS, NULL);
	ask_services(w);
	return 0;
}

static int begin(struct walk *w)
{
	const struct dns_request rq = {
		.host = w->host, .deadline_ms = share(w), .done = on_naptr, .arg = w
	};
	enum sip_proto p = usual_proto(w);
	struct addr literal;

	if (w->next.federation)
		return begin_federation(w);
	if (addr_parse(text_of(w->host), 0, &literal) == 0) {
		struct host *h = add_host(w, p, w->host,
					  w->next.port ? w->next.port : sip_proto_rows[p].port);
		if (!h)
			return -ENOMEM;
		h->addr[h->n++] = literal;
		finish_soon(w);
	} else if (w->next.port) {
		if (!add_host(w, p, w->host, w->next.port))
			return -ENOMEM;
		ask_addresses(w);
	} else if (w->next.has_proto) {
		add_service(w, p, NULL);
		ask_services(w);
	} else {
		return dns_records(w->r->o.dns, DNS_NAPTR, &rq, &w->naptr);
	}
	return 0;
}

int sip_resolver_lookup(struct sip_resolver *r, const struct sip_next *next, struct sip_lookup *l)
{
	struct walk *w;
	int rc;

	if (r->n_walks >= SIP_LOOKUPS_MAX)
		return -EBUSY;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->r = r;
	w->l = l;
	w->next = *next;
	w->timer.fire = on_walk_timer;
	loop_timer_set(r->o.loop, &w->timer, SIP_LOOKUP_MS);
	list_append(&r->walks, &w->node);
	r->n_walks++;
	l->under_way = w;
	if (next->host.n == 0 || next->host.n >= sizeof(w->host)) {
		w->why = DNS_BAD_NAME;
		finish_soon(w);
		return 0;
	}
	memcpy(w->host, next->host.p, next->host.n);
	if (w->host[next->host.n - 1] == '.') /* "example.org." is the same name */
		w->host[next->host.n - 1] = 0;
	w->next.host = text_of(w->host);
	rc = begin(w);
	if (rc < 0) {
		l->under_way = NULL;
		walk_free(w);
	}
	return rc;
}

void sip_resolver_cancel(struct sip_lookup *l)
{
	if (l->under_way)
		walk_free(l->under_way);
	l->under_way = NULL;
}

/* ---- life ---- */

int sip_resolver_new(const struct sip_resolver_options *o, struct sip_resolver **ret_r)
{
	struct sip_resolver *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->o = *o;
	list_init(&r->walks);
	r->health = sip_health_new();
	if (!r->health) {
		free(r);
		return -ENOMEM;
	}
	*ret_r = r;
	return 0;
}

struct sip_resolver *sip_resolver_free(struct sip_resolver *r)
{
	if (!r)
		return NULL;
	list_for_each_safe (it, &r->walks) {
		struct walk *w = list_entry(it, struct walk, node);
		w->l->under_way = NULL;
		walk_free(w);
	}
	sip_health_free(r->health);
	free(r);
	return NULL;
}

bool sip_resolver_report(struct sip_resolver *r, const struct sip_target *to, int err, uint64_t now)
{
	return sip_health_report(r->health, &to->hop, err, now);
}

bool sip_resolver_fails(const struct sip_resolver *r, const struct sip_target *to, uint64_t now)
{
	return sip_health_until(r->health, &to->hop, now) != 0;
}

json_t *sip_resolver_health_json(const struct sip_resolver *r, uint64_t now)
{
	return sip_health_json(r->health, now);
}
