/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domains, sides and static routes as hooks of the policy; see routes.h. A static route is the way out to another
 * domain, so only who is trusted or authenticated may use it: without that the proxy would relay for strangers. What
 * comes back within the dialog needs no route, for the core knows its dialogs.
 */
#include "sip-proxy/routes_priv.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- made of the configuration ---- */

static void fill_route(struct sip_static_route *r, const struct sip_route_section *s, bool use)
{
	bool v6 = strchr(s->host, ':') != NULL;
	char port[8] = "";

	(void)snprintf(r->domain, sizeof(r->domain), "%s", s->domain);
	(void)snprintf(r->host, sizeof(r->host), "%s", s->host);
	r->port = (uint16_t)s->port;
	r->proto = sip_listen_proto_of(s->transport, &r->mutual);
	r->active = s->active && use;
	r->trusted = s->trusted || r->mutual;
	(void)snprintf(r->user, sizeof(r->user), "%s", s->user ? s->user : "");
	r->bind = s->bind;
	if (r->port)
		(void)snprintf(port, sizeof(port), ":%u", r->port);
	(void)snprintf(r->next, sizeof(r->next), "sip:%s%s%s%s;transport=%s", v6 ? "[" : "",
		       r->host, v6 ? "]" : "", port, sip_proto_rows[r->proto].name);
}

int sip_routes_new(const struct sip_config *c, struct sip_routes **ret_r)
{
	_cleanup_(sip_routes_freep) struct sip_routes *r = calloc(1, sizeof(*r));
	char *const *d = c->domains.items;
	const struct sip_route_section *s = c->routes.items;

	if (!r)
		return -ENOMEM;
	r->domains = calloc(c->domains.n + 1, sizeof(*r->domains));
	r->v = calloc(c->routes.n + 1, sizeof(*r->v));
	r->trusted = calloc(c->sources.trusted.n + 1, sizeof(*r->trusted));
	if (!r->domains || !r->v || !r->trusted)
		return -ENOMEM;
	for (size_t i = 0; i < c->domains.n; i++)
		(void)snprintf(r->domains[r->n_domains++], sizeof(*r->domains), "%s", d[i]);
	for (size_t i = 0; i < c->routes.n; i++)
		fill_route(&r->v[r->n++], &s[i], c->use_routes);
	for (size_t i = 0; i < c->sources.trusted.n; i++)
		r->trusted[r->n_trusted++] = ((const struct prefix *)c->sources.trusted.items)[i];
	*ret_r = steal_ptr(&r);
	return 0;
}

struct sip_routes *sip_routes_free(struct sip_routes *r)
{
	if (!r)
		return NULL;
	sip_routes_unwatch(r);
	free(r->domains);
	free(r->v);
	free(r->trusted);
	free(r);
	return NULL;
}

void sip_routes_bind(struct sip_routes *r, struct sip_edge *e)
{
	for (size_t i = 0; i < r->n; i++)
		r->v[i].iface = addr_family(&r->v[i].bind) == AF_UNSPEC
					? 0
					: sip_edge_interface_at(e, r->v[i].proto, r->v[i].mutual,
								&r->v[i].bind);
}

bool sip_routes_is_domain(const struct sip_routes *r, struct text host)
{
	for (size_t i = 0; i < r->n_domains; i++)
		if (text_ieq(text_of(r->domains[i]), host))
			return true;
	return false;
}

struct text sip_routes_first_domain(const struct sip_routes *r)
{
	return r->n_domains ? text_of(r->domains[0]) : (struct text){ 0 };
}

bool sip_routes_nth(const struct sip_routes *r, size_t i, struct sip_route_way *ret_way)
{
	for (size_t k = 0; k < r->n; k++) {
		const struct sip_static_route *v = &r->v[k];
		if (!v->active || i-- > 0)
			continue;
		*ret_way = (struct sip_route_way){
			.next = { .host = text_of(v->host),
				  .port = v->port,
				  .has_proto = true,
				  .proto = v->proto },
			.name = v->mutual ? text_of(v->domain) : (struct text){ 0 },
			.mutual = v->mutual,
			.iface = v->iface,
		};
		return true;
	}
	return false;
}

json_t *sip_routes_domains_json(const struct sip_routes *r)
{
	json_t *names = json_array();

	for (size_t i = 0; i < r->n_domains; i++)
		json_array_append_new(names, json_string(r->domains[i]));
	return names;
}

json_t *sip_routes_json(const struct sip_routes *r)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < r->n; i++)
		json_array_append_new(
			rows, json_pack("{s:s, s:s, s:i, s:s, s:b, s:b}", "domain", r->v[i].domain,
					"host", r->v[i].host, "port", (int)r->v[i].port, "transport",
					r->v[i].mutual ? "mtls" : sip_proto_rows[r->v[i].proto].name,
					"active", r->v[i].active, "trusted", r->v[i].trusted));
	return rows;
}

/* ---- hooks ---- */

bool sip_sides_trust(const struct sip_routing *rt, const struct sip_hop *from)
{
	const struct sip_interface *f = rt->ops->interface(rt->edge, from->iface);
	struct addr real = addr_canonical(&from->remote);

	if (sip_from_page(rt->ops, rt->edge, from))
		return false; /* any page that somebody in there looks at could speak for him */
	if (f && f->lan)
		return true;
	for (size_t i = 0; i < rt->routes->n_trusted && sip_proto_rows[from->proto].reliable; i++)
		if (prefix_contains(&rt->routes->trusted[i], &real))
			return true;
	return false;
}

enum sip_step sip_sides_request(struct sip_passage *p, void *arg)
{
	const struct sip_routing *rt = arg;
	if (sip_from_page(rt->ops, rt->edge, &p->from))
		sip_note(p, "from a page in a browser (WebSocket with an Origin): where it comes from is no proof");
	if (!sip_sides_trust(rt, &p->from))
		return SIP_GO_ON;
	p->trusted = true;
	p->origin = SIP_ORIGIN_LAN;
	sip_note(p, "it is of the own network (sip.lan, sip.sources.trusted): trusted");
	return SIP_GO_ON;
}

const struct sip_static_route *sip_routes_find(const struct sip_routes *r, struct text domain)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].active && text_ieq(text_of(r->v[i].domain), domain))
			return &r->v[i];
	return NULL;
}

/* RFC 3325 5: in a dialog, too, what is asserted stays among those who trust each other, and our users if it is not private. */
static void keep_among_us(struct sip_passage *p, const struct sip_routing *rt)
{
	const struct sip_static_route *r;
	struct sip_uri to;

	if (!sip_has(p->msg, SIP_H_P_ASSERTED_IDENTITY) || sip_sides_trust(rt, &p->flow))
		return;
	if (sip_uri_parse(p->basics->to.uri, &to) == 0) {
		r = sip_routes_find(rt->routes, to.host);
		if ((r && r->trusted) || (sip_routes_is_domain(rt->routes, to.host) && !sip_wants_privacy(p->msg)))
			return;
	}
	sip_edit_remove(sip_passage_edit(p), SIP_H_P_ASSERTED_IDENTITY);
}

enum sip_step sip_routes_request(struct sip_passage *p, void *arg)
{
	const struct sip_routing *rt = arg;
	bool registers = p->msg->method == SIP_REGISTER;
	const struct sip_static_route *r = NULL;
	struct sip_place place;
	int rc;

	if (p->in_dialog)
		keep_among_us(p, rt);
	else if (!p->for_us && !p->has_flow)
		r = sip_routes_find(rt->routes, p->basics->uri.host);
	if (!r)
		return SIP_GO_ON;
	sip_note(p, "there is a static route for %s: %s by %s", r->domain, r->host,
		 r->mutual ? "mtls" : sip_proto_rows[r->proto].name);
	if (!sip_may_leave(p)) {
		sip_refuse(p, SIP_REFUSE_RELAY, "a static route is for our own servers and users only");
		return SIP_DECIDED;
	}
	if (!r->trusted) /* RFC 3325 5: what is asserted stays among those who trust each other */
		sip_edit_remove(sip_passage_edit(p), SIP_H_P_ASSERTED_IDENTITY);
	if (registers && sip_has_option(p->msg, SIP_H_SUPPORTED, TEXT("path")))
		sip_add_path(p); /* to a registrar that is not here: calls come back by this proxy and this flow */
	place = (struct sip_place){ .next = text_of(r->next),
				    .name = r->mutual ? text_of(r->domain) : (struct text){ 0 },
				    .q = 1000,
				    .mutual = r->mutual,
				    .elsewhere = true,
				    .may_challenge = r->trusted || registers,
				    .hop.iface = r->iface };
	rc = sip_forward(p, &place);
	if (rc < 0)
		sip_refuse(p, SIP_REFUSE_RESOURCES, NULL);
	return SIP_DECIDED;
}
