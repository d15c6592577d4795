/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What visitors reach. The child asks for each connection, and gets addresses or a reason: the name is resolved here, for each
 * connection anew, and every address is held against what the visitor may reach and against agent.allow, so that
 * what a name meant a moment ago counts for nothing.
 *
 * A guest (direct_shares.c) names a share, and reaches what that says.
 *
 * Also: what became of the connections of direct links, for the log.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/agent/direct_priv.h"
#include "tunnel/log_msgs.h"
#include "tunnel/policy.h"

static void admit_free(struct dadmit *a)
{
	a->query = dns_cancel(a->query);
	list_unlink(&a->node);
	a->d->n_admits--;
	free(a);
}

void admits_free(struct direct *d)
{
	while (!list_empty(&d->admits))
		admit_free(list_entry(d->admits.next, struct dadmit, node));
}

static void refuse(struct direct *d, const struct dlink *l, const struct child_admit *m, enum wire_reason reason, const char *text)
{
	const struct child_admitted no = { .request = m->request, .reason = (uint8_t)reason, .text = text_of(text) };

	log_emit(&MSG_AGENT_VISITOR_REFUSED, LF_STR("peer", l ? l->name : ""), LF_TEXT("host", m->host), LF_U64("port", m->port),
		 LF_STR("reason", text));
	(void)direct_tell(d, CHILD_ADMITTED, &no, -1);
}

static bool allowed(const struct direct *d, const struct direct_peer *p, const struct share_target *share, const struct addr *a)
{
	const struct cfg_list *own = &agent_config_of(d->as)->allow;

	if (share)
		return share->local ? addr_classify(a) == ADDR_LOOPBACK : !own->n || prefixes_hold(own, a);
	return p->visitor && reach_holds(&p->allow, a) && (!own->n || prefixes_hold(own, a));
}

static void answer(struct dadmit *a, const struct dns_answer *dns)
{
	struct direct *d = a->d;
	const struct dlink *l = dlink_find(d, a->link);
	const struct direct_peer *p = l ? peer_find(d, &l->peer) : NULL;
	const struct child_admit asked = { .request = a->request, .host = text_of(a->host), .port = a->port };
	struct child_admitted m = { .request = a->request };
	char text[DIRECT_WHY], buf[ADDR_STRLEN];

	for (size_t i = 0; p && dns->status == DNS_OK && i < dns->n && m.n_addresses < CHILD_ADDRESSES_MAX; i++)
		if (allowed(d, p, a->of_share ? &a->share : NULL, &dns->addr[i]))
			m.addresses[m.n_addresses++] = dns->addr[i];
	if (m.n_addresses) {
		(void)direct_tell(d, CHILD_ADMITTED, &m, -1);
	} else if (dns->status != DNS_OK) {
		(void)snprintf(text, sizeof(text), "%.100s: %s", a->host, dns_status_text(dns->status));
		refuse(d, l, &asked, WIRE_R_NO_NAME, text);
	} else {
		(void)snprintf(text, sizeof(text), "%.100s is %s: the visitor may not go there (agent.visitors, agent.allow)", a->host,
			       addr_print(&dns->addr[0], buf));
		refuse(d, l, &asked, WIRE_R_NOT_ALLOWED, text);
	}
}

static void on_answer(const struct dns_answer *dns, void *arg)
{
	struct dadmit *a = arg;

	a->query = NULL;
	answer(a, dns);
	admit_free(a);
}

void direct_on_admit(struct direct *d, struct dlink *l, const struct child_admit *m)
{
	const struct direct_peer *p = peer_find(d, &l->peer);
	struct dns_request rq = { .family = AF_UNSPEC, .port = m->port, .done = on_answer };
	struct dadmit *a;
	struct share_target share;
	bool of_share = p && p->guest && shares_reach(d, &l->peer, m->host, &share);

	if (of_share)
		rq.port = share.port;
	if (l->role != CHILD_HOST || !p || (!of_share && (!p->visitor || !p->allow.n))) {
		refuse(d, l, m, WIRE_R_NOT_ALLOWED, "the visitor may go nowhere here (agent.visitors)");
		return;
	}
	a = d->n_admits < DIRECT_ADMITS_MAX ? calloc(1, sizeof(*a)) : NULL;
	if (!a) {
		refuse(d, l, m, WIRE_R_LIMIT, "too many names are being looked up, or there is no memory");
		return;
	}
	a->d = d;
	a->request = m->request;
	a->link = l->id;
	a->port = m->port;
	wire_text_copy(a->host, sizeof(a->host), m->host);
	if (of_share) {
		a->of_share = true;
		a->share = share;
		a->port = share.port;
		(void)snprintf(a->host, sizeof(a->host), "%s", share.host);
	}
	list_append(&d->admits, &a->node);
	d->n_admits++;
	rq.host = a->host;
	rq.arg = a;
	if (dns_addresses(d->dns, &rq, &a->query) < 0) {
		admit_free(a);
		refuse(d, l, m, WIRE_R_MEMORY, "out of memory");
	}
}

void direct_on_stream(struct direct *d, struct dlink *l, const struct child_stream_msg *m)
{
	const struct log_msg *row = m->event == CHILD_STREAM_OPENED ? &MSG_AGENT_DIRECT_OPENED :
				    m->event == CHILD_STREAM_ENDED  ? &MSG_AGENT_DIRECT_ENDED :
								      &MSG_AGENT_DIRECT_REFUSED;
	struct dvisit *v = m->visit ? visit_numbered(d, m->visit) : NULL;
	char text[DIRECT_WHY];

	wire_text_copy(text, sizeof(text), m->text);
	if (v && m->event == CHILD_STREAM_OPENED) {
		v->opened++;
		v->connections++;
	}
	if (v && m->event == CHILD_STREAM_ENDED && v->connections)
		v->connections--;
	if (v && m->event == CHILD_STREAM_REFUSED) {
		v->refused++;
		(void)snprintf(v->why, sizeof(v->why), "%s", *text ? text : wire_reason_text(m->reason));
		visit_news(v);
	}
	log_emit(row, LF_STR("peer", l->name), LF_U64("stream", m->stream), LF_TEXT("host", m->host), LF_U64("port", m->port),
		 LF_U64("up", m->bytes[0]), LF_U64("down", m->bytes[1]), LF_STR("reason", *text ? text : wire_reason_text(m->reason)));
}
