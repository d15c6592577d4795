/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judgement about a claim, and the hook around it; see trust.h. Trust is about identity and nothing else: whom it lets
 * in may reach our users and nobody behind us (sip_may_leave()), and registers nobody.
 * No state: what it counts and limits belongs to the partners, what it asks to the registrar.
 */
#include "sip-proxy/trust.h"
#include <stdio.h>
#include <string.h>

static const char ANONYMOUS[] = "anonymous.invalid"; /* RFC 3323 4.1.1.3 */

/* ---- the judgement ---- */

static bool proves(const struct sip_claim *c, struct text domain)
{
	return c->identity && sip_identity_covers(c->identity, domain);
}

/* It has shown a certificate with names, so they are what counts. */
static bool has_names(const struct sip_claim *c)
{
	return c->identity && c->identity->verified && c->identity->n > 0;
}

static struct sip_judgement judge_route(const struct sip_claim *c)
{
	const struct sip_static_route *r = c->route;

	if (proves(c, c->from))
		return (struct sip_judgement){ SIP_TRUST_ROUTE,
					       "its certificate names the domain of the static route" };
	if (!r->mutual && r->trusted && proves(c, text_of(r->host)))
		return (struct sip_judgement){ SIP_TRUST_ROUTE,
					       "its certificate names the gateway of the static route" };
	if (has_names(c))
		return (struct sip_judgement){ SIP_TRUST_IDENTITY,
					       "its certificate names other domains than its From" };
	if (!r->mutual && r->trusted && c->from_gateway && (c->proto == SIP_TCP || c->proto == SIP_TLS))
		return (struct sip_judgement){
			SIP_TRUST_ROUTE, "it comes over a connection from the gateway's own address"
		};
	if (c->federation)
		return (struct sip_judgement){ SIP_TRUST_IDENTITY, "its certificate names no domain" };
	return (struct sip_judgement){
		SIP_TRUST_LOGIN,
		r->mutual ? "the static route is mtls, and no certificate was shown"
		: r->trusted ? "the static route is trusted over TLS or TCP from its own addresses alone"
			     : "the static route is not trusted"
	};
}

static struct sip_judgement judge_federation(const struct sip_claim *c)
{
	if (!proves(c, c->from)) {
		if (has_names(c) || c->federation)
			return (struct sip_judgement){
				SIP_TRUST_IDENTITY, "its certificate names other domains than its From"
			};
		if (c->federation_says == SIP_FEDERATION_NONE)
			return (struct sip_judgement){ SIP_TRUST_STRANGER,
						       "federation is off: a stranger's From" };
		return (struct sip_judgement){
			SIP_TRUST_IDENTITY,
			"other domains come with a certificate that names them (sip.federation), or by a static route"
		};
	}
	switch (c->federation_says) {
	case SIP_FEDERATION_YES:
		return (struct sip_judgement){ SIP_TRUST_PARTNER,
					       "its certificate names the domain of its From" };
	case SIP_FEDERATION_UNLISTED:
		return (struct sip_judgement){
			SIP_TRUST_POLICY, "the domain is not in sip.federation.partners, and the mode is listed"
		};
	case SIP_FEDERATION_DENIED:
		return (struct sip_judgement){ SIP_TRUST_POLICY,
					       "sip.federation.partners denies the domain" };
	default:
		return (struct sip_judgement){ SIP_TRUST_STRANGER,
					       "federation is off: a stranger's From" };
	}
}

struct sip_judgement sip_trust_judge(const struct sip_claim *c)
{
	if (c->ours && c->federation)
		return (struct sip_judgement){ SIP_TRUST_IDENTITY,
					       "a partner speaks for one of our own domains" };
	if (c->ours)
		return (struct sip_judgement){ SIP_TRUST_STRANGER,
					       "its From is ours: its credentials decide" };
	return c->route ? judge_route(c) : judge_federation(c);
}

/* ---- the facts ---- */

static struct text domain_of(struct text uri)
{
	struct sip_uri u;

	if (sip_uri_parse(uri, &u) < 0 || (u.scheme != SIP_SCHEME_SIP && u.scheme != SIP_SCHEME_SIPS))
		return (struct text){ 0 };
	return u.host;
}

static struct text asserted_domain(const struct sip_msg *m)
{
	struct sip_values it = sip_values(m, SIP_H_P_ASSERTED_IDENTITY);
	struct text value = { 0 }, domain = { 0 };
	struct sip_addr a;

	while (!domain.n && sip_values_next(&it, &value))
		if (sip_addr_parse(value, &a) == 0)
			domain = domain_of(a.uri);
	return domain;
}

/* Who does not want to be named still says where he is from: in P-Asserted-Identity, or by the certificate alone. */
static struct text claimed_domain(const struct sip_passage *p, const struct sip_identity *id)
{
	struct text from = domain_of(p->basics->from.uri), asserted;

	if (from.n && !text_ieq(from, text_of(ANONYMOUS)))
		return from;
	asserted = asserted_domain(p->msg);
	if (asserted.n)
		return asserted;
	return id && id->verified && id->n ? text_of(id->names[0]) : from;
}

static struct sip_claim claim_of(const struct sip_passage *p, const struct sip_trusting *t,
				 struct text from)
{
	const struct sip_interface *in = t->ops->interface(t->edge, p->from.iface);
	struct sip_claim c = { .proto = p->from.proto,
			       .federation = in && in->federation,
			       .identity = sip_passage_identity(p),
			       .from = from,
			       .ours = sip_routes_is_domain(t->routing->routes, from),
			       .route = sip_routes_find(t->routing->routes, from),
			       .federation_says = sip_federation_judge(t->federating->federation, from) };

	c.from_gateway = c.route && sip_route_is_at(c.route, &p->from.remote);
	return c;
}

/* ---- acting on it ---- */

/* Of a partner: each asserted name must be covered; numbers (tel:) cannot be, and go. */
static bool asserts_well(struct sip_passage *p, const struct sip_identity *id)
{
	struct sip_values it = sip_values(p->msg, SIP_H_P_ASSERTED_IDENTITY);
	struct text value = { 0 };
	struct sip_addr a;

	while (sip_values_next(&it, &value)) {
		struct text domain = sip_addr_parse(value, &a) == 0 ? domain_of(a.uri)
								    : (struct text){ 0 };
		if (!domain.n)
			sip_edit_remove_value(sip_passage_edit(p), value);
		else if (!sip_identity_covers(id, domain))
			return false;
	}
	return true;
}

static void refuse(struct sip_passage *p, const struct sip_trusting *t, const struct sip_claim *c,
		   enum sip_refusal why, const char *sentence)
{
	const struct sip_identity *id = c->identity;
	char detail[160];
	bool named = id && id->verified && id->n;

	(void)snprintf(detail, sizeof(detail), "%.*s: %s%s%.60s%s", (int)MIN(c->from.n, (size_t)60),
		       c->from.p, sentence, named ? " (it names " : "", named ? id->names[0] : "",
		       named ? ")" : "");
	sip_refuse(p, why, detail);
	if (named && !p->explain)
		sip_partners_refused(t->federating->partners, text_of(id->names[0]), sentence, p->now);
}

/* Who is fast is told so by the name that its certificate has first, whatever it speaks for. */
static bool in_time(struct sip_passage *p, const struct sip_trusting *t,
		    const struct sip_identity *id, struct text domain)
{
	uint64_t rate = sip_federation_rate(t->federating->federation, domain);
	char detail[160];

	if (p->explain ||
	    sip_partners_admit(t->federating->partners, text_of(id->names[0]), rate, p->now))
		return true;
	(void)snprintf(detail, sizeof(detail), "%.100s: more than %llu messages/s", id->names[0],
		       (unsigned long long)rate);
	sip_refuse(p, SIP_REFUSE_RATE, detail);
	return false;
}

static enum sip_step on_partner(struct sip_passage *p, const struct sip_trusting *t,
				const struct sip_claim *c)
{
	struct sip_federating fg = *t->federating;

	if (!in_time(p, t, c->identity, c->from))
		return SIP_DECIDED;
	if (!asserts_well(p, c->identity)) {
		refuse(p, t, c, SIP_REFUSE_IDENTITY,
		       "its P-Asserted-Identity is of another domain than its certificate");
		return SIP_DECIDED;
	}
	if (!sip_federation_passes(fg.federation, c->from, p->msg->method, true)) {
		refuse(p, t, c, SIP_REFUSE_POLICY,
		       "sip.federation.partners does not let this come from the domain");
		return SIP_DECIDED;
	}
	p->origin = SIP_ORIGIN_PARTNER;
	p->trusted = true;
	if (!p->explain)
		sip_partners_count(fg.partners, c->from, true, sip_federation_kind(p->msg->method),
				   p->now);
	return SIP_GO_ON;
}

/* The other side of a route that proves itself with an account of ours. */
static enum sip_step on_login(struct sip_passage *p, const struct sip_trusting *t,
			      const struct sip_claim *c)
{
	enum sip_step step = sip_auth_demand(p, t->registrar);
	struct text user;

	p->origin = SIP_ORIGIN_ROUTE;
	if (step != SIP_GO_ON || !c->route->user[0])
		return step;
	user = text_of(p->user);
	user.n = (size_t)MAX(text_find(user, '@'), (ptrdiff_t)0);
	if (text_eq(user, text_of(c->route->user)))
		return step;
	sip_refuse(p, SIP_REFUSE_IDENTITY, "this account is not the one of the static route (user)");
	return SIP_DECIDED;
}

/* What belongs to a dialog has its proof in its Route, but this proves no new name: telephones know a dialog by its tags, and show
 * whatever From it has. What ends it shows nothing, and must not fail. */
static const char *false_name(const struct sip_passage *p, const struct sip_claim *c)
{
	if (p->msg->method == SIP_BYE || !c->from.n || text_ieq(c->from, text_of(ANONYMOUS)))
		return NULL;
	if (c->ours)
		return p->from_outside
			       ? "its From is ours, and its side of the dialog was not when it began"
			       : NULL;
	return c->federation && !proves(c, c->from) ? "its certificate names other domains than its From"
						    : NULL;
}

static enum sip_step in_dialog(struct sip_passage *p, const struct sip_trusting *t)
{
	const struct sip_identity *id = sip_passage_identity(p);
	struct sip_claim c = claim_of(p, t, domain_of(p->basics->from.uri));
	const char *why = false_name(p, &c);

	if (why) {
		refuse(p, t, &c, SIP_REFUSE_IDENTITY, why);
		return SIP_DECIDED;
	}
	if (!id || !id->verified || !id->n ||
	    sip_federation_judge(t->federating->federation, text_of(id->names[0])) == SIP_FEDERATION_NONE ||
	    sip_routes_find(t->routing->routes, text_of(id->names[0])))
		return SIP_GO_ON;
	if (!in_time(p, t, id, text_of(id->names[0])))
		return SIP_DECIDED;
	if (!p->explain)
		sip_partners_count(t->federating->partners, text_of(id->names[0]), true,
				   sip_federation_kind(p->msg->method), p->now);
	return SIP_GO_ON;
}

enum sip_step sip_trust_request(struct sip_passage *p, void *arg)
{
	const struct sip_trusting *t = arg;
	bool ping = p->for_us && p->msg->method == SIP_OPTIONS && !p->basics->uri.user.p; /* reaches nobody */
	struct sip_claim c;
	struct sip_judgement j;

	if (p->trusted)
		return SIP_GO_ON;
	if (p->in_dialog)
		return in_dialog(p, t);
	c = claim_of(p, t, claimed_domain(p, sip_passage_identity(p)));
	if (ping || (p->msg->method == SIP_REGISTER && !c.federation))
		return SIP_GO_ON; /* a registrar asks for credentials, whatever a certificate says */
	j = p->msg->method == SIP_REGISTER
		    ? (struct sip_judgement){ SIP_TRUST_POLICY,
					      "nobody registers by the interface for partners" }
		    : sip_trust_judge(&c);
	sip_note(p, "%.*s: %s", TEXT_FMT(c.from), j.why);
	switch (j.trust) {
	case SIP_TRUST_ROUTE:
		p->origin = SIP_ORIGIN_ROUTE;
		p->trusted = true;
		return SIP_GO_ON;
	case SIP_TRUST_PARTNER: return on_partner(p, t, &c);
	case SIP_TRUST_LOGIN: return on_login(p, t, &c);
	case SIP_TRUST_IDENTITY: refuse(p, t, &c, SIP_REFUSE_IDENTITY, j.why); return SIP_DECIDED;
	case SIP_TRUST_POLICY: refuse(p, t, &c, SIP_REFUSE_POLICY, j.why); return SIP_DECIDED;
	default: return SIP_GO_ON;
	}
}

bool sip_trust_response(struct sip_return *ret, void *arg)
{
	const struct sip_trusting *t = arg;
	const struct sip_identity *id = ret->place && ret->place->federation && ret->from.conn
						? t->ops->identity(t->edge, ret->from.conn)
						: NULL;
	struct sip_values it = sip_values(ret->msg, SIP_H_P_ASSERTED_IDENTITY);
	struct text value = { 0 };
	struct sip_addr a;

	/* RFC 3325 7: where privacy is asked for, only who is trusted learns it */
	ret->asserted = id && id->verified && (ret->to_trusted || !sip_wants_privacy(ret->msg));
	while (id && sip_values_next(&it, &value))
		if (sip_addr_parse(value, &a) < 0 || !sip_identity_covers(id, domain_of(a.uri)))
			sip_edit_remove_value(ret->edit, value);
	return true;
}
