/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control verbs about other domains: static routes and partners as lists that change while the service runs, what was
 * spoken with each partner, and the question what would be decided about a request. The lists' work is effective.c's,
 * the decision's the policy's own chain.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "sip-proxy/service.h"

static const char *domain_arg(const json_t *args)
{
	return json_string_value(json_object_get(args, "domain"));
}

/* ---- lists ---- */

struct silent { /* gateways that do not answer, held against one row */
	json_t *row;
	const char *host;
};

static void note_silent(void *arg, const char *host, const char *why)
{
	const struct silent *s = arg;

	if (s->host && strcmp(s->host, host) == 0)
		json_object_set_new(s->row, "why", json_string(why));
}

/* How the route of this row is now: its gateway's silence, and what is not protected. */
static void add_state(const struct sip_service *ss, json_t *row)
{
	const char *domain = json_string_value(json_object_get(row, "domain"));
	const struct sip_static_route *r = domain ? sip_routes_find(ss->routing.routes, text_of(domain)) : NULL;
	struct silent s = { row, r ? r->host : NULL };

	json_object_set_new(row, "why", json_string(""));
	json_object_set_new(row, "warn", json_string(r ? sip_route_warning(r) : ""));
	sip_probes_each_failing(ss->probes, note_silent, &s);
}

static void verb_routes(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	json_t *j = sip_effective_rows(ss->effective, SIP_LIST_ROUTES), *row;
	size_t i;

	(void)args;
	json_array_foreach(json_object_get(j, "rows"), i, row) add_state(ss, row);
	json_object_set_new(j, "used", json_boolean(((const struct sip_root *)cfg_values(ss->cfg))->sip.use_routes));
	control_reply(rq, j);
}

static void verb_route_put(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;

	sip_effective_put(ss->effective, SIP_LIST_ROUTES, rq, json_object_get(args, "route"),
			  json_is_true(json_object_get(args, "create")));
}

static void verb_route_switch(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;

	sip_effective_set(ss->effective, SIP_LIST_ROUTES, rq, domain_arg(args), "active",
			  json_boolean(json_is_true(json_object_get(args, "active"))));
}

static void verb_route_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;

	sip_effective_delete(ss->effective, SIP_LIST_ROUTES, rq, domain_arg(args));
}

static void verb_partners(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;

	(void)args;
	sip_effective_list(ss->effective, SIP_LIST_PARTNERS, rq);
}

static void verb_partner_put(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;

	sip_effective_put(ss->effective, SIP_LIST_PARTNERS, rq, json_object_get(args, "partner"),
			  json_is_true(json_object_get(args, "create")));
}

static void verb_partner_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;

	sip_effective_delete(ss->effective, SIP_LIST_PARTNERS, rq, domain_arg(args));
}

/* ---- what was spoken ---- */

static void verb_federation(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	json_t *j = sip_federation_json(ss->federating.federation);

	(void)args;
	json_object_set_new(j, "domains", sip_routes_domains_json(ss->routing.routes));
	json_object_set_new(j, "seen",
			    sip_partners_json(ss->federating.partners, loop_now(ss->svc->loop)));
	control_reply(rq, j);
}

static void verb_check(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;

	(void)args;
	sip_record_check(ss->checks, rq, &((const struct sip_root *)cfg_values(ss->cfg))->sip);
}

/* ---- explain ---- */

struct question {
	char method[32], from[300], to[300], names[4][254];
	const char *list[4];
	struct sip_identity identity;
	struct sip_hop hop;
	bool lan, federation;
};

static bool is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == '<' || *s == '>' || *s == 0x7f)
			return false;
	return true;
}

/* "alice@a.example" or a whole URI. */
static bool take_uri(const json_t *args, const char *key, char *out, size_t n)
{
	const char *s = json_string_value(json_object_get(args, key));
	bool whole = s && (strncmp(s, "sip:", 4) == 0 || strncmp(s, "sips:", 5) == 0);
	struct sip_uri u;

	if (!s || !is_plain(s) || (size_t)snprintf(out, n, "%s%s", whole ? "" : "sip:", s) >= n)
		return false;
	return sip_uri_parse(text_of(out), &u) == 0;
}

static bool take_names(const json_t *args, struct question *q)
{
	size_t i;
	json_t *name;

	json_array_foreach(json_object_get(args, "certificate"), i, name)
	{
		if (!json_is_string(name) || q->identity.n == ARRAY_LEN(q->names))
			return false;
		(void)snprintf(q->names[q->identity.n], sizeof(q->names[0]), "%s",
			       json_string_value(name));
		q->list[q->identity.n] = q->names[q->identity.n];
		q->identity.n++;
	}
	q->identity.names = q->list;
	q->identity.verified = true;
	return true;
}

/* The interface by which it would come: the first that has this transport, of this kind. */
static uint32_t interface_of(struct sip_service *ss, const struct question *q)
{
	const struct sip_interface like = { .proto = q->hop.proto,
					    .mutual = q->federation,
					    .lan = q->lan,
					    .federation = q->federation };

	return sip_edge_interface_like(ss->edge, &like);
}

static const char *take_way(struct sip_service *ss, const json_t *args, struct question *q)
{
	const char *via = json_string_value(json_object_get(args, "via")),
		   *source = json_string_value(json_object_get(args, "source"));
	bool mutual = via && strcmp(via, "mtls") == 0;

	if (via && !mutual && strcmp(via, "lan") != 0 && sip_proto_parse(text_of(via), &q->hop.proto) < 0)
		return "via must be udp, tcp, tls, mtls, ws, wss or lan";
	q->lan = via && strcmp(via, "lan") == 0;
	if (mutual || q->identity.n)
		q->hop.proto = SIP_TLS;
	q->federation = mutual || q->identity.n;
	if (addr_parse(text_of(source ? source : "198.51.100.1"), 5060, &q->hop.remote) < 0)
		return "source must be an address, or address:port";
	for (int p = 0; q->lan && !q->hop.iface && p < SIP_PROTOS; p++) {
		q->hop.proto = (enum sip_proto)p;
		q->hop.iface = interface_of(ss, q);
	}
	if (!q->lan)
		q->hop.iface = interface_of(ss, q);
	return q->hop.iface ? NULL : "no listener has this transport: nobody can come that way";
}

static void on_note(void *arg, const char *hook, const char *text)
{
	json_array_append_new(arg, json_pack("{s:s, s:s}", "rule", hook, "says", text));
}

static int ask(struct sip_service *ss, const struct question *q, json_t *steps)
{
	struct sip_explain x = { .identity = q->identity.n ? &q->identity : NULL,
				 .note = on_note,
				 .arg = steps };
	char text[2048], at[ADDR_STRLEN];
	int n = snprintf(text, sizeof(text),
			 "%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bKexplain\r\nMax-Forwards: 70\r\n"
			 "From: <%s>;tag=explain\r\nTo: <%s>\r\nCall-ID: explain\r\nCSeq: 1 %s\r\nContact: <%s>\r\n"
			 "Content-Length: 0\r\n\r\n",
			 q->method, q->to, sip_proto_rows[q->hop.proto].via.p,
			 addr_print(&q->hop.remote, at), q->from, q->to, q->method, q->from);

	return n < (int)sizeof(text)
		       ? sip_proxy_explain(ss->proxy, (struct text){ text, (size_t)n }, &q->hop, &x)
		       : -EMSGSIZE;
}

static void verb_explain(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	const char *method = json_string_value(json_object_get(args, "method")), *wrong = NULL;
	struct question q = { 0 };
	json_t *steps = json_array();
	int code;

	(void)snprintf(q.method, sizeof(q.method), "%s", method ? method : "MESSAGE");
	if (sip_method_of(text_of(q.method)) == SIP_UNKNOWN_METHOD)
		wrong = "method must be one of SIP's, such as MESSAGE or INVITE";
	else if (!take_uri(args, "from", q.from, sizeof(q.from)) ||
		 !take_uri(args, "to", q.to, sizeof(q.to)))
		wrong = "from and to must be addresses, such as alice@example.org";
	else if (!take_names(args, &q))
		wrong = "certificate must be a list of at most four names";
	else
		wrong = take_way(ss, args, &q);
	code = wrong ? 0 : ask(ss, &q, steps);
	if (!wrong && code < 0)
		wrong = "there is no request with these words";
	if (wrong) {
		json_decref(steps);
		control_fail(rq, "bad-request", NULL, "%s", wrong);
		return;
	}
	control_reply(rq, json_pack("{s:i, s:o}", "code", code, "steps", steps));
}

static const struct control_verb verbs[] = {
	{ "sip.route.list", CONTROL_VIEWER, verb_routes, "static routes of the file and of the store, with why (the gateway does not answer) and warn (not-protected, trusted-by-address: outside a LAN); used: whether any is (sip.use_routes)" },
	{ "sip.route.put", CONTROL_ADMIN, verb_route_put,
	  "{route: {domain, host, …}, create}: makes a route of the store, or changes one" },
	{ "sip.route.switch", CONTROL_ADMIN, verb_route_switch,
	  "{domain, active}: switches a route of the store on or off" },
	{ "sip.route.delete", CONTROL_ADMIN, verb_route_delete, "{domain}: deletes a route of the store" },
	{ "sip.federation", CONTROL_VIEWER, verb_federation,
	  "mode, partners with their rules, and what was spoken with whom: {domain, in, out, refused, limited}" },
	{ "sip.federation.check", CONTROL_VIEWER, verb_check,
	  "asks the DNS for our SRV records: {mode, listen, port, certificate, names, domains: [{domain, named, why, hosts: [{host, port, port_fits, addresses, public, why}]}]}" },
	{ "sip.partner.list", CONTROL_VIEWER, verb_partners, "partners of the file and of the store" },
	{ "sip.partner.put", CONTROL_ADMIN, verb_partner_put,
	  "{partner: {domain, allow, …}, create}: makes a partner of the store, or changes one" },
	{ "sip.partner.delete", CONTROL_ADMIN, verb_partner_delete,
	  "{domain}: deletes a partner of the store" },
	{ "sip.explain", CONTROL_VIEWER, verb_explain,
	  "{from, to, method, via, source, certificate: [names]}: which rule decides about such a request; nothing is sent" },
};

void sip_service_federation_verbs(struct sip_service *ss)
{
	control_add_verbs(ss->svc->control, verbs, ARRAY_LEN(verbs), ss);
}
