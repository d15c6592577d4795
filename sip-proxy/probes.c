/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Are the gateways of the static routes there? Every so often each of their names is looked up and each of its places is
 * asked with an OPTIONS, as a client transaction like any other. Any final answer means that it is; silence
 * or a broken connection that it is not, and then it is tried behind the others until it answers again. Nothing waits for
 * a probe, and no place is taken away by one.
 *
 * A probe belongs to a round; a new round leaves those that are under way alone. All end with the service.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/service.h"

enum { PROBES_MAX = 512, FAILING_MAX = 128, HOST_MAX = 256, SILENCE_MS = 2000 };

struct question { /* a look-up */
	struct list node;
	struct sip_probes *all;
	struct sip_lookup lookup;
	struct sip_route_way way;
	char host[HOST_MAX], name[HOST_MAX];
};

struct probe {
	struct list node;
	struct sip_probes *all;
	struct sip_client_tx *tx;
	struct sip_target target;
	struct timer silence;
	bool told;
	char host[HOST_MAX], name[HOST_MAX];
};

struct failing { /* a gateway of which no place has answered since */
	char host[HOST_MAX];
	int error;
	uint64_t round; /* that said so last */
};

struct sip_probes {
	struct failing failing[FAILING_MAX];
	unsigned n_failing;
	uint64_t round;
	struct sip_service *ss;
	struct timer due;
	uint64_t every_ms;
	struct list questions, probes;
	unsigned n;
};

/* ---- a probe ---- */

static void probe_free(struct probe *p)
{
	timer_stop(&p->silence);
	list_unlink(&p->node);
	p->all->n--;
	free(p);
}

/* A gateway has failed when all of its places have: one that answers takes it off the list, and within a round nothing puts
 * it on again. */
static void note(struct sip_probes *all, const char *host, int err)
{
	struct failing *f = NULL;

	for (unsigned i = 0; i < all->n_failing && !f; i++)
		if (strcmp(all->failing[i].host, host) == 0)
			f = &all->failing[i];
	if (!f && all->n_failing < FAILING_MAX) {
		f = &all->failing[all->n_failing++];
		*f = (struct failing){ 0 };
		(void)snprintf(f->host, sizeof(f->host), "%s", host);
	}
	if (!f || (f->round == all->round && !f->error))
		return;
	f->round = all->round;
	f->error = err;
}

static void forget(struct sip_probes *all)
{
	unsigned n = 0;

	for (unsigned i = 0; i < all->n_failing; i++) /* who was not asked in the last round is no gateway any more */
		if (all->failing[i].round == all->round && all->failing[i].error)
			all->failing[n++] = all->failing[i];
	all->n_failing = n;
}

void sip_probes_each_failing(const struct sip_probes *p, void (*fn)(void *arg, const char *host, const char *why), void *arg)
{
	for (unsigned i = 0; p && i < p->n_failing; i++)
		if (p->failing[i].error)
			fn(arg, p->failing[i].host, strerror(p->failing[i].error));
}

static void tell(struct probe *p, int err)
{
	note(p->all, p->host, err);
	if (!p->told)
		sip_edge_ops.report(p->all->ss->edge, &p->target, err);
	p->told = true;
}

/* Half a minute until the transaction gives up is too long for those who want to call: from now on others come first, until
 * it answers after all. */
static void on_silence(struct timer *t, uint64_t now)
{
	struct probe *p = container_of(t, struct probe, silence);

	(void)now;
	if (p->told)
		return;
	note(p->all, p->host, ETIMEDOUT);
	sip_edge_ops.report(p->all->ss->edge, &p->target, ETIMEDOUT);
	loop_timer_set(p->all->ss->svc->loop, t, SILENCE_MS); /* it counts for longer and longer */
}

static void on_response(struct sip_client_tx *c, void *owner, const struct sip_msg *m,
			const struct sip_basics *b)
{
	(void)c;
	(void)b;
	if (m->status >= 200)
		tell(owner, 0);
}

static void on_failed(struct sip_client_tx *c, void *owner, enum sip_client_failure f, const char *why)
{
	(void)c;
	(void)why;
	tell(owner, f == SIP_CLIENT_TIMEOUT ? ETIMEDOUT : ECONNREFUSED);
	probe_free(owner);
}

static void on_ended(struct sip_client_tx *c, void *owner)
{
	(void)c;
	probe_free(owner);
}

static const struct sip_client_user user = { .response = on_response,
					     .failed = on_failed,
					     .ended = on_ended };

static ssize_t write_options(const struct probe *p, const char *branch, char *buf, size_t cap)
{
	const struct sip_interface *f = sip_edge_ops.interface_for(p->all->ss->edge, &p->target);
	char uri[HOST_MAX + 16], via[SIP_SENT_BY_MAX + 96], from[SIP_SENT_BY_MAX + 64],
		to[HOST_MAX + 24], id[33];
	bool v6 = strchr(p->host, ':') != NULL;
	uint8_t random[16];

	if (!f || bytes_random(random, sizeof(random)) < 0)
		return -ENETUNREACH;
	hex_encode(random, sizeof(random), id);
	(void)snprintf(uri, sizeof(uri), "sip:%s%s%s", v6 ? "[" : "", p->host, v6 ? "]" : "");
	(void)snprintf(via, sizeof(via), "SIP/2.0/%s %s;branch=%s;rport",
		       sip_proto_rows[f->proto].via.p, f->sent_by, branch);
	(void)snprintf(from, sizeof(from), "<sip:%s>;tag=%.8s", f->sent_by, id);
	(void)snprintf(to, sizeof(to), "<%s>", uri);
	return sip_request_write(buf, cap,
				 &(struct sip_request_parts){ .method = TEXT("OPTIONS"),
							      .uri = text_of(uri),
							      .via = text_of(via),
							      .from = text_of(from),
							      .to = text_of(to),
							      .call_id = text_of(id),
							      .cseq = 1,
							      .max_forwards = 70 });
}

static void ask(struct sip_probes *all, const struct question *q, const struct sip_target *target)
{
	struct sip_txs *txs = sip_proxy_txs(all->ss->proxy);
	struct probe *p = all->n < PROBES_MAX ? calloc(1, sizeof(*p)) : NULL;
	char branch[SIP_BRANCH_MAX], buf[2048];
	struct sip_client_start start;
	ssize_t n;

	if (!p)
		return;
	p->all = all;
	p->target = *target;
	memcpy(p->host, q->host, sizeof(p->host));
	memcpy(p->name, q->name, sizeof(p->name));
	p->target.name = text_of(p->name);
	p->target.mutual = q->way.mutual;
	p->target.hop.iface = q->way.iface;
	list_append(&all->probes, &p->node);
	all->n++;
	sip_branch_make(txs, 0, branch);
	n = write_options(p, branch, buf, sizeof(buf));
	if (n < 0) {
		probe_free(p);
		return;
	}
	start = (struct sip_client_start){ .request = { buf, (size_t)n },
					   .method = SIP_OPTIONS,
					   .method_name = TEXT("OPTIONS"),
					   .branch = branch,
					   .to = &p->target,
					   .user = &user,
					   .owner = p,
					   .own = true };
	if (sip_client_new(txs, &start, &p->tx) < 0) {
		tell(p, ECONNREFUSED);
		probe_free(p);
		return;
	}
	p->silence.fire = on_silence;
	loop_timer_set(all->ss->svc->loop, &p->silence, SILENCE_MS);
}

/* ---- rounds ---- */

static void question_free(struct question *q)
{
	list_unlink(&q->node);
	free(q);
}

static void on_places(struct sip_lookup *l, int status, const char *why, const struct sip_target *t,
		      unsigned n)
{
	struct question *q = container_of(l, struct question, lookup);

	(void)why; /* whoever wants to call there is told */
	if (status < 0)
		note(q->all, q->host, EHOSTUNREACH);
	for (unsigned i = 0; i < n; i++)
		ask(q->all, q, &t[i]);
	question_free(q);
}

static void look_up(struct sip_probes *all, const struct sip_route_way *way)
{
	struct question *q = calloc(1, sizeof(*q));

	if (!q)
		return;
	q->all = all;
	q->way = *way;
	(void)snprintf(q->host, sizeof(q->host), "%.*s", TEXT_FMT(way->next.host));
	(void)snprintf(q->name, sizeof(q->name), "%.*s", TEXT_FMT(way->name.p ? way->name : way->next.host));
	q->way.next.host = text_of(q->host);
	q->lookup.done = on_places;
	list_append(&all->questions, &q->node);
	if (sip_edge_ops.lookup(all->ss->edge, &q->way.next, &q->lookup) < 0)
		question_free(q);
}

static void on_due(struct timer *t, uint64_t now)
{
	struct sip_probes *all = container_of(t, struct sip_probes, due);
	struct sip_route_way way;

	(void)now;
	forget(all);
	all->round++;
	for (size_t i = 0; sip_routes_nth(all->ss->routing.routes, i, &way); i++)
		look_up(all, &way);
	loop_timer_set(all->ss->svc->loop, &all->due, all->every_ms);
}

void sip_probes_set(struct sip_probes *p, uint64_t every_ms)
{
	if (!p || p->every_ms == every_ms)
		return;
	p->every_ms = every_ms;
	if (every_ms)
		loop_timer_set(p->ss->svc->loop, &p->due, every_ms);
	else
		timer_stop(&p->due);
}

int sip_probes_new(struct sip_service *ss, uint64_t every_ms, struct sip_probes **ret_p)
{
	struct sip_probes *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->ss = ss;
	p->due.fire = on_due;
	list_init(&p->questions);
	list_init(&p->probes);
	sip_probes_set(p, every_ms);
	*ret_p = p;
	return 0;
}

struct sip_probes *sip_probes_free(struct sip_probes *p)
{
	if (!p)
		return NULL;
	timer_stop(&p->due);
	list_for_each_safe (it, &p->questions) {
		struct question *q = list_entry(it, struct question, node);
		sip_edge_ops.lookup_cancel(p->ss->edge, &q->lookup);
		question_free(q);
	}
	list_for_each_safe (it, &p->probes) {
		struct probe *x = list_entry(it, struct probe, node);
		sip_client_abandon(x->tx);
		probe_free(x);
	}
	free(p);
	return NULL;
}
