/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check of federation_check.h: one look-up for each domain's SRV record, then one for each of its hosts; the answer goes out
 * with the last of them. A check owns its resolver, whose end ends all of its look-ups.
 * It lives until its request has been answered, its client is gone, or the service stops.
 */
#include "sip-proxy/federation_check.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "common/dns_records.h"
#include "sip-proxy/identity.h"

enum { CHECKS_MAX = 4, HOSTS_MAX = 8, DOMAINS_MAX = 64 };

struct sip_record_checks {
	struct loop *loop;
	struct list all;
	unsigned n;
};

struct check {
	struct list node, steps;
	struct sip_record_checks *of;
	struct control_request *rq;
	struct dns *dns;
	json_t *result;
	uint16_t port; /* of the listener */
	unsigned open; /* look-ups under way */
};

struct step { /* one look-up */
	struct list node;
	struct check *k;
	json_t *row; /* of result: the domain's, or the host's */
	struct dns_query *query;
};

static void check_free(struct check *k)
{
	dns_free(k->dns);
	list_for_each_safe(it, &k->steps) free(list_entry(it, struct step, node));
	json_decref(k->result);
	list_unlink(&k->node);
	k->of->n--;
	free(k);
}

static void step_done(struct check *k)
{
	if (--k->open > 0)
		return;
	control_reply(k->rq, json_incref(k->result));
	check_free(k);
}

static struct step *step_new(struct check *k, json_t *row)
{
	struct step *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->k = k;
	s->row = row;
	list_append(&k->steps, &s->node);
	return s;
}

static void say(json_t *row, const char *why)
{
	json_object_set_new(row, "why", json_string(why));
}

/* ---- hosts ---- */

static void on_addresses(const struct dns_answer *a, void *arg)
{
	struct step *s = arg;
	json_t *list = json_object_get(s->row, "addresses");
	char at[ADDR_STRLEN];
	bool outside = a->status == DNS_OK;

	for (size_t i = 0; a->status == DNS_OK && i < a->n; i++) {
		outside &= addr_classify(&a->addr[i]) == ADDR_GLOBAL;
		json_array_append_new(list, json_string(addr_print_ip(&a->addr[i], at)));
	}
	json_object_set_new(s->row, "public", json_boolean(outside));
	if (a->status != DNS_OK)
		say(s->row, dns_status_text(a->status));
	step_done(s->k);
}

static void ask_host(struct check *k, json_t *hosts, const struct dns_srv *srv)
{
	json_t *row = json_pack("{s:s, s:i, s:b, s:[], s:b, s:s}", "host", srv->target, "port", (int)srv->port, "port_fits",
				srv->port == k->port, "addresses", "public", 0, "why", "");
	struct step *s = json_array_append_new(hosts, row) == 0 ? step_new(k, row) : NULL;
	const struct dns_request rq = { .host = srv->target, .port = srv->port, .family = AF_UNSPEC, .done = on_addresses, .arg = s };

	if (s && dns_addresses(k->dns, &rq, &s->query) == 0)
		k->open++;
	else if (row)
		say(row, dns_status_text(DNS_NO_MEMORY));
}

/* ---- domains ---- */

static int by_order(const void *a, const void *b)
{
	const struct dns_srv *const *x = a, *const *y = b;

	return (*x)->priority != (*y)->priority ? (int)(*x)->priority - (int)(*y)->priority : (int)(*y)->weight - (int)(*x)->weight;
}

static void on_record(const struct dns_answer *a, void *arg)
{
	struct step *s = arg;
	json_t *hosts = json_object_get(s->row, "hosts");
	const struct dns_srv *v[DNS_RECORDS_MAX];
	size_t n = a->status == DNS_OK ? a->records->n : 0;

	if (a->status == DNS_NO_NAME || a->status == DNS_NO_ADDRESS)
		say(s->row, "no-record");
	else if (a->status != DNS_OK)
		say(s->row, dns_status_text(a->status));
	for (size_t i = 0; i < n; i++)
		v[i] = &a->records->srv[i];
	qsort(v, n, sizeof(*v), by_order);
	for (size_t i = 0; i < n && i < HOSTS_MAX; i++)
		if (v[i]->target[0])
			ask_host(s->k, hosts, v[i]);
		else
			say(s->row, "no-service"); /* RFC 2782: decidedly not here */
	step_done(s->k);
}

static int ask_domain(struct check *k, json_t *domains, const char *domain, const struct sip_identity *id)
{
	char name[DNS_NAME_MAX * 2];
	json_t *row = json_pack("{s:s, s:b, s:s, s:[]}", "domain", domain, "named", id && sip_identity_covers(id, text_of(domain)), "why", "",
				"hosts");
	struct step *s = json_array_append_new(domains, row) == 0 ? step_new(k, row) : NULL;
	const struct dns_request rq = { .host = name, .done = on_record, .arg = s };

	(void)snprintf(name, sizeof(name), "_sipfederationtls._tcp.%s", domain);
	if (!s || dns_records(k->dns, DNS_SRV, &rq, &s->query) < 0)
		return -ENOMEM;
	k->open++;
	return 0;
}

/* ---- the whole ---- */

static const struct cfg_endpoint *first_mutual(const struct sip_config *c)
{
	const struct cfg_endpoint *l = c->listen.items;

	if (c->federation.listen.n)
		return c->federation.listen.items;
	for (size_t i = 0; i < c->listen.n; i++)
		if (l[i].proto == SIP_LISTEN_MTLS)
			return &l[i];
	return NULL;
}

static json_t *names_json(const struct sip_identity *id)
{
	json_t *names = json_array();

	for (unsigned i = 0; id && i < id->n; i++)
		json_array_append_new(names, json_string(id->names[i]));
	return names;
}

static int begin(struct check *k, const struct sip_config *c)
{
	const char *file = c->federation.certificate ? c->federation.certificate : c->certificate;
	const struct cfg_endpoint *at = first_mutual(c);
	struct sip_identity *id = file ? sip_identity_of_file(file) : NULL;
	char *const *d = c->domains.items;
	char listen[ADDR_STRLEN] = "";
	int r = dns_new(k->of->loop, NULL, &k->dns);

	if (at)
		addr_print(&at->at, listen);
	k->port = at ? addr_port(&at->at) : 5061;
	k->result = json_pack("{s:s, s:s, s:i, s:s, s:o, s:[]}", "mode", sip_federation_modes[c->federation.mode], "listen", listen, "port",
			      (int)k->port, "certificate", file ? file : "", "names", names_json(id), "domains");
	r = k->result ? r : -ENOMEM;
	k->open = 1; /* ours, until all are asked */
	for (size_t i = 0; r == 0 && i < c->domains.n && i < DOMAINS_MAX; i++)
		r = ask_domain(k, json_object_get(k->result, "domains"), d[i], id);
	free(id);
	return r;
}

static void on_cancel(struct control_request *rq, void *arg)
{
	control_fail(rq, "cancelled", NULL, "nobody waits for the check any more");
	check_free(arg);
}

void sip_record_check(struct sip_record_checks *c, struct control_request *rq, const struct sip_config *config)
{
	struct check *k = c->n < CHECKS_MAX ? calloc(1, sizeof(*k)) : NULL;

	if (!k) {
		control_fail(rq, "busy", "try again in a few seconds", "several check the DNS already");
		return;
	}
	c->n++;
	k->of = c;
	k->rq = rq;
	list_init(&k->steps);
	list_append(&c->all, &k->node);
	if (begin(k, config) < 0) {
		control_fail(rq, "failed", NULL, "no memory to ask the DNS");
		check_free(k);
		return;
	}
	control_on_cancel(rq, on_cancel, k);
	step_done(k);
}

int sip_record_checks_new(struct loop *loop, struct sip_record_checks **ret_c)
{
	struct sip_record_checks *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	list_init(&c->all);
	*ret_c = c;
	return 0;
}

struct sip_record_checks *sip_record_checks_free(struct sip_record_checks *c)
{
	if (!c)
		return NULL;
	list_for_each_safe(it, &c->all) {
		struct check *k = list_entry(it, struct check, node);
		control_fail(k->rq, "failed", NULL, "stile-sip stops");
		check_free(k);
	}
	free(c);
	return NULL;
}
