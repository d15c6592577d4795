/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of partners, compiled, and the way out to them; see federation.h. A partner that is known by name has its own
 * rules; one that mode open lets in has the usual ones.
 * Nothing here knows certificates: that a partner is who it says is settled before any of it is asked.
 */
#include "sip-proxy/federation.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct rule {
	char domain[256];
	bool allow;
	uint64_t rate;
	unsigned ways[SIP_TRAFFICS];
};
struct sip_federation {
	enum sip_federation_mode mode;
	bool sips_srv;
	uint64_t rate; /* of who is not in the list */
	struct rule *v;
	size_t n;
};

int sip_federation_new(const struct sip_config *c, struct sip_federation **ret_f)
{
	_cleanup_(sip_federation_freep) struct sip_federation *f = calloc(1, sizeof(*f));
	const struct sip_partner_section *p = c->federation.partners.items;

	if (!f)
		return -ENOMEM;
	f->mode = c->federation.mode;
	f->sips_srv = c->federation.sips_srv;
	f->rate = c->federation.rate;
	f->v = calloc(c->federation.partners.n + 1, sizeof(*f->v));
	if (!f->v)
		return -ENOMEM;
	for (size_t i = 0; i < c->federation.partners.n; i++) {
		struct rule *r = &f->v[f->n++];
		(void)snprintf(r->domain, sizeof(r->domain), "%s", p[i].domain);
		r->allow = p[i].allow;
		r->rate = p[i].rate;
		memcpy(r->ways, p[i].ways, sizeof(r->ways));
	}
	*ret_f = steal_ptr(&f);
	return 0;
}

struct sip_federation *sip_federation_free(struct sip_federation *f)
{
	if (f)
		free(f->v);
	free(f);
	return NULL;
}

static const struct rule *find(const struct sip_federation *f, struct text domain)
{
	for (size_t i = 0; i < f->n; i++)
		if (text_ieq(text_of(f->v[i].domain), domain))
			return &f->v[i];
	return NULL;
}

enum sip_federation_says sip_federation_judge(const struct sip_federation *f, struct text domain)
{
	const struct rule *r = find(f, domain);

	if (f->mode == SIP_FEDERATION_OFF)
		return SIP_FEDERATION_NONE;
	if (r)
		return r->allow ? SIP_FEDERATION_YES : SIP_FEDERATION_DENIED;
	return f->mode == SIP_FEDERATION_OPEN ? SIP_FEDERATION_YES : SIP_FEDERATION_UNLISTED;
}

uint64_t sip_federation_rate(const struct sip_federation *f, struct text domain)
{
	const struct rule *r = find(f, domain);

	return r ? r->rate : f->rate;
}

enum sip_partner_count sip_federation_kind(enum sip_method method)
{
	switch (method) {
	case SIP_SUBSCRIBE:
	case SIP_NOTIFY:
	case SIP_PUBLISH: return SIP_PARTNER_PRESENCE;
	case SIP_MESSAGE: return SIP_PARTNER_MESSAGES;
	case SIP_INVITE:
	case SIP_REFER: return SIP_PARTNER_CALLS;
	default: return SIP_PARTNER_OTHER;
	}
}

bool sip_federation_passes(const struct sip_federation *f, struct text domain,
			   enum sip_method method, bool inward)
{
	const struct rule *r = find(f, domain);
	enum sip_partner_count kind = sip_federation_kind(method);

	if (!r || kind == SIP_PARTNER_OTHER)
		return true;
	return r->ways[kind] == SIP_BOTH_WAYS || r->ways[kind] == (inward ? SIP_INWARD : SIP_OUTWARD);
}

json_t *sip_federation_json(const struct sip_federation *f)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < f->n; i++) {
		const struct rule *r = &f->v[i];
		json_array_append_new(
			rows, json_pack("{s:s, s:b, s:I, s:s, s:s, s:s}", "domain", r->domain,
					"allow", r->allow, "rate", (json_int_t)r->rate, "presence",
					sip_between_words[r->ways[SIP_TRAFFIC_PRESENCE]], "messages",
					sip_between_words[r->ways[SIP_TRAFFIC_MESSAGES]], "calls",
					sip_between_words[r->ways[SIP_TRAFFIC_CALLS]]));
	}
	return json_pack("{s:s, s:I, s:b, s:o}", "mode", sip_federation_modes[f->mode], "rate",
			 (json_int_t)f->rate, "sips_srv", f->sips_srv, "partners", rows);
}

/* ---- the way out ---- */

static bool may_go(struct sip_passage *p, const struct sip_federating *fg, struct text domain)
{
	enum sip_federation_says says = sip_federation_judge(fg->federation, domain);
	enum sip_refusal why = SIP_REFUSE_POLICY;
	char text[SIP_DETAIL_MAX];
	const char *detail = NULL;

	if (!sip_may_leave(p)) {
		why = SIP_REFUSE_RELAY;
		detail = sip_foreign_route(p, text, sizeof(text));
		if (!detail)
			detail = "the way to other domains is for our own servers and users only";
	} else if (p->basics->uri.host_kind != SIP_HOST_NAME) {
		why = SIP_REFUSE_RELAY;
		detail = "an address is no domain to federate with";
	} else if (says == SIP_FEDERATION_UNLISTED) {
		detail = "the domain is not in sip.federation.partners, and the mode is listed";
	} else if (says == SIP_FEDERATION_DENIED) {
		detail = "sip.federation.partners denies the domain";
	} else if (!sip_federation_passes(fg->federation, domain, p->msg->method, false)) {
		detail = "sip.federation.partners does not let this go to the domain";
	}
	if (!detail)
		return true;
	sip_refuse(p, why, detail);
	return false;
}

enum sip_step sip_federation_request(struct sip_passage *p, void *arg)
{
	const struct sip_federating *fg = arg;
	struct text domain = p->basics->uri.host;
	char next[320];
	struct sip_place place = { .q = 1000, .mutual = true, .federation = true, .elsewhere = true };

	if (p->for_us || p->in_dialog || p->has_flow || !domain.n)
		return SIP_GO_ON;
	if (fg->federation->mode == SIP_FEDERATION_OFF) {
		sip_note(p, "federation is off: there is no way to %.*s", TEXT_FMT(domain));
		return SIP_GO_ON;
	}
	sip_note(p, "no static route leads to %.*s; federation (mode %s)", TEXT_FMT(domain),
		 sip_federation_modes[fg->federation->mode]);
	if (!may_go(p, fg, domain))
		return SIP_DECIDED;
	if (sip_wants_privacy(p->msg))
		sip_edit_remove(sip_passage_edit(p), SIP_H_P_ASSERTED_IDENTITY);
	(void)snprintf(next, sizeof(next), "sip:%.*s;transport=tls", TEXT_FMT(domain));
	place.next = text_of(next);
	place.name = domain;
	place.sips_srv = fg->federation->sips_srv;
	if (sip_forward(p, &place) < 0)
		sip_refuse(p, SIP_REFUSE_RESOURCES, NULL);
	else if (!p->explain)
		sip_partners_count(fg->partners, domain, false, sip_federation_kind(p->msg->method),
				   p->now);
	return SIP_DECIDED;
}
