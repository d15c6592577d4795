/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REGISTER, and the way to a registered user; see registrar.h. All contacts of a REGISTER are read before one is taken,
 * so that a bad one leaves the others as they were (RFC 3261 10.3). A binding remembers the flow by which it came: calls go
 * back by it if it is a connection, if a NAT is in between, or if the client asked for it (RFC 5626).
 */
#include "sip-proxy/registrar.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "sip-proxy/registrar_priv.h"

enum {
	EXPIRES_MIN = 60,
	EXPIRES_MAX = 7200,
	EXPIRES = 3600,
	CONTACTS_MAX = 16,
	LINE = SIP_CONTACT_MAX + 512
};

int sip_registrar_new(const struct sip_registrar_options *o, struct sip_registrar **ret_r)
{
	struct sip_registrar *r = calloc(1, sizeof *r);
	if (!r)
		return -ENOMEM;
	r->o = *o;
	r->o.expires_min = o->expires_min ? o->expires_min : EXPIRES_MIN;
	r->o.expires_max = o->expires_max ? o->expires_max : EXPIRES_MAX;
	r->o.expires = o->expires ? o->expires : EXPIRES;
	if (stun_nonces_init(&r->nonces, o->now) < 0) {
		free(r);
		return -EIO;
	}
	*ret_r = r;
	return 0;
}

struct sip_registrar *sip_registrar_free(struct sip_registrar *r)
{
	if (!r)
		return NULL;
	bytes_wipe(&r->nonces, sizeof r->nonces);
	free(r->service_route);
	free(r);
	return NULL;
}

void sip_registrar_set_digest(struct sip_registrar *r, unsigned algorithms)
{
	r->algorithms = algorithms;
}

int sip_registrar_set_service_route(struct sip_registrar *r, const char *uri)
{
	char *fresh = NULL;
	size_t n = uri ? strlen(uri) + 3 : 0;
	if (uri && !(fresh = malloc(n)))
		return -ENOMEM;
	if (uri)
		(void)snprintf(fresh, n, "<%s>", uri);
	free(r->service_route);
	r->service_route = fresh;
	return 0;
}

/* ---- REGISTER ---- */

struct contact { /* one of the request, read */
	struct text uri, instance;
	uint32_t expires, reg_id; /* s */
	uint16_t q;
	bool use_flow;
};
struct registration {
	struct contact contacts[CONTACTS_MAX];
	unsigned n;
	bool star, outbound;
	bool first_hop;		    /* there is no proxy between the client and us */
	bool ob;		    /* there is, and it keeps the client's flow (RFC 5626 5.1) */
	char path[SIP_CONTACT_MAX]; /* "": none */
};

/* A contact that is not where it came from: something translates addresses in between. */
static bool is_elsewhere(const struct sip_passage *p, const struct sip_uri *u)
{
	struct addr at;
	return sip_uri_addr(u, sip_proto_rows[p->from.proto].port, &at) < 0 ||
	       !addr_equal(&at, &p->from.remote);
}

/* 0, or the code of the refusal. */
static unsigned read_contact(const struct sip_passage *p, const struct sip_registrar *r,
			     struct text value, struct contact *c)
{
	struct sip_addr a;
	struct sip_uri u;
	struct text header = sip_value(p->msg, SIP_H_EXPIRES), param;
	if (sip_addr_parse(value, &a) < 0 || a.star || a.uri.n >= SIP_CONTACT_MAX ||
	    sip_uri_parse(a.uri, &u) < 0 ||
	    (u.scheme != SIP_SCHEME_SIP && u.scheme != SIP_SCHEME_SIPS) || u.headers.p ||
	    sip_addr_q(&a, &c->q) < 0)
		return 400;
	c->uri = a.uri;
	c->expires = r->o.expires;
	param = sip_param(a.params, TEXT("expires"));
	if (!param.p)
		param = header;
	if (param.p && sip_number_parse(param, UINT32_MAX, &c->expires) < 0)
		c->expires = r->o.expires; /* RFC 3261 20.19: a malformed one counts as the default */
	if (c->expires > 0 && c->expires < r->o.expires_min)
		return 423;
	c->expires = MIN(c->expires, r->o.expires_max);
	c->instance = sip_param(a.params, TEXT("+sip.instance"));
	if (c->instance.n > 255)
		return 400;
	param = sip_param(a.params, TEXT("reg-id"));
	if (param.p && (sip_number_parse(param, INT32_MAX, &c->reg_id) < 0 || c->reg_id == 0))
		return 400;
	c->use_flow = sip_proto_rows[p->from.proto].reliable || is_elsewhere(p, &u);
	return 0;
}

static unsigned read_path(const struct sip_passage *p, struct registration *g)
{
	struct sb b = sb_init(g->path, sizeof g->path);
	struct sip_values it = sip_values(p->msg, SIP_H_PATH);
	struct text v, ob;
	struct sip_uri u;
	while (sip_values_next(&it, &v)) {
		struct sip_addr a;
		if (sip_addr_parse(v, &a) < 0 || !a.bracketed)
			return 400;
		sb_str(&b, b.n ? ", <" : "<");
		sb_text(&b, a.uri);
		sb_char(&b, '>');
		g->ob = sip_uri_parse(a.uri, &u) == 0 &&
			sip_uri_param(&u, TEXT("ob"), &ob); /* of the last one, which is next to the client */
	}
	return b.truncated ? 400 : 0;
}

/* Does this contact want to be kept by flow? (RFC 5626 4.2) */
static bool wants_outbound(const struct registration *g, const struct contact *c)
{
	return g->outbound && c->reg_id && c->instance.p;
}

static unsigned read_registration(const struct sip_passage *p, const struct sip_registrar *r,
				  struct registration *g)
{
	struct sip_values it = sip_values(p->msg, SIP_H_CONTACT);
	uint32_t expires = 1;
	unsigned code = read_path(p, g);
	struct text v;
	while (code == 0 && sip_values_next(&it, &v)) {
		if (text_eq(v, TEXT("*"))) {
			g->star = true;
			continue;
		}
		if (g->n == CONTACTS_MAX)
			return 403;
		g->contacts[g->n] = (struct contact){ 0 };
		code = read_contact(p, r, v, &g->contacts[g->n]);
		g->n++;
	}
	if (g->star) { /* only alone, and only to end all */
		if (sip_number_parse(sip_value(p->msg, SIP_H_EXPIRES), UINT32_MAX, &expires) < 0 ||
		    expires || g->n)
			return 400;
	}
	g->outbound = sip_has_option(p->msg, SIP_H_SUPPORTED, TEXT("outbound"));
	g->first_hop = sip_has_one_via(p->msg);
	for (unsigned i = 0; i < g->n && code == 0; i++)
		if (wants_outbound(g, &g->contacts[i]) && !g->first_hop && !g->ob)
			code = 439; /* nobody there would keep its flow (RFC 5626 6) */
	return code;
}

/* Texts of a binding that is being made, with their NULs. */
struct taking {
	char uri[SIP_CONTACT_MAX], instance[256];
};

static struct sip_binding binding_of(const struct sip_passage *p, const struct registration *g,
				     const struct contact *c, char *call_id, struct taking *t)
{
	struct sb b = sb_init(t->uri, sizeof t->uri), in = sb_init(t->instance, sizeof t->instance);
	bool keyed = wants_outbound(g, c), outbound = keyed && g->first_hop && !g->path[0];
	sb_text(&b, c->uri);
	sb_text(&in, c->instance);
	return (struct sip_binding){
		.uri = t->uri,
		.path = g->path[0] ? (char *)g->path : NULL,
		.instance = c->instance.p ? t->instance : NULL,
		.call_id = call_id,
		.cseq = p->basics->cseq.number,
		.reg_id = keyed ? c->reg_id : 0,
		.q = c->q,
		.expires_at = p->now + (uint64_t)c->expires * 1000,
		.from = p->from,
		.use_flow = !g->path[0] && (c->use_flow || outbound),
		.outbound = outbound,
	};
}

/* Nobody can call it any more: its connection is gone, and there is no other way (RFC 5626). */
static bool is_dead(const struct sip_binding *b, void *arg)
{
	const struct sip_registrar *r = arg;
	return b->outbound && !sip_binding_has_flow(b, r->o.ops, r->o.edge);
}

/* All or none (RFC 3261 10.3). What is dead makes way. */
static int take(struct sip_passage *p, struct sip_registrar *r, const char *aor, const struct registration *g)
{
	struct sip_binding v[CONTACTS_MAX];
	struct taking texts[CONTACTS_MAX];
	int rc;
	char call_id[256] = "";
	struct sb id = sb_init(call_id, sizeof call_id);
	sb_text(&id, p->basics->call_id);
	if (g->star)
		return sip_location_clear(r->o.location, aor, call_id, p->basics->cseq.number);
	for (unsigned i = 0; i < g->n; i++) {
		texts[i].uri[0] = texts[i].instance[0] = 0;
		v[i] = binding_of(p, g, &g->contacts[i], call_id, &texts[i]);
	}
	rc = sip_location_set_all(r->o.location, aor, v, g->n, p->now);
	if (rc == -ENOSPC && sip_location_drop(r->o.location, aor, is_dead, r))
		rc = sip_location_set_all(r->o.location, aor, v, g->n, p->now);
	return rc;
}

/* 200 with all that is bound now. */
static void answer_bindings(struct sip_passage *p, struct sip_registrar *r, const char *aor,
			    const struct registration *g)
{
	static const struct sip_line outbound = { TEXT("Require"), TEXT("outbound") };
	char text[CONTACTS_MAX][LINE];
	struct sip_line lines[CONTACTS_MAX + 5];
	char more[SIP_REGISTRAR_MORE];
	unsigned n = 0, n_bindings;
	bool any_outbound = false;
	const struct sip_binding *b = sip_location_find(r->o.location, aor, p->now, &n_bindings);
	for (unsigned i = 0; i < n_bindings && n < CONTACTS_MAX; i++) {
		struct sb s = sb_init(text[n], LINE);
		sb_char(&s, '<');
		sb_str(&s, b[i].uri);
		sb_str(&s, ">;expires=");
		sb_u64(&s, (b[i].expires_at - p->now + 999) / 1000, 1);
		if (b[i].instance) {
			sb_str(&s, ";+sip.instance=");
			sb_str(&s, b[i].instance);
		}
		if (b[i].reg_id) {
			sb_str(&s, ";reg-id=");
			sb_u64(&s, b[i].reg_id, 1);
		}
		any_outbound |= b[i].reg_id != 0;
		lines[n] = (struct sip_line){ TEXT("Contact"), { text[n], s.n } };
		n++;
	}
	if (any_outbound && g->outbound)
		lines[n++] = outbound;
	if (g->path[0] && sip_has_option(p->msg, SIP_H_SUPPORTED, TEXT("path")))
		lines[n++] = (struct sip_line){ TEXT("Path"), text_of(g->path) };
	if (r->service_route)
		lines[n++] = (struct sip_line){ TEXT("Service-Route"), text_of(r->service_route) };
	lines[n++] = (struct sip_line){ TEXT("Supported"), TEXT("path, outbound") };
	if (r->o.more)
		n += r->o.more(r->o.arg, p, aor, &lines[n], more);
	sip_answer(p, &(struct sip_answer){ .code = 200, .lines = lines, .n_lines = n });
}

static void answer_code(struct sip_passage *p, const struct sip_registrar *r, unsigned code)
{
	char min[16];
	struct sb b = sb_init(min, sizeof min);
	sb_u64(&b, r->o.expires_min, 1);
	const struct sip_line line = { TEXT("Min-Expires"), { min, b.n } };
	sip_answer(p, &(struct sip_answer){ .code = code, .lines = &line, .n_lines = code == 423 });
}

/* What REGISTER may require of us (RFC 3261 10.3, step 2). */
static bool unknown_extension(const struct sip_msg *m, struct text *ret_extension)
{
	struct sip_values it = sip_values(m, SIP_H_REQUIRE);
	while (sip_values_next(&it, ret_extension))
		if (!text_ieq(*ret_extension, TEXT("path")) &&
		    !text_ieq(*ret_extension, TEXT("outbound")))
			return true;
	return false;
}

static enum sip_step on_register(struct sip_passage *p, struct sip_registrar *r)
{
	struct registration g = { 0 };
	char aor[SIP_AOR_MAX];
	struct sip_uri to;
	int rc;
	if (sip_uri_parse(p->basics->to.uri, &to) < 0 || sip_aor_of(&to, aor) < 0 ||
	    !r->o.is_domain(r->o.arg, to.host)) {
		sip_refuse(p, SIP_REFUSE_UNKNOWN_USER, "the address in To is not of our domains");
		return SIP_DECIDED;
	}
	if (!p->trusted && (!p->authenticated || strcmp(p->user, aor) != 0)) {
		sip_refuse(p, SIP_REFUSE_IDENTITY, aor);
		return SIP_DECIDED;
	}
	struct sip_line unsupported = { .name = TEXT("Unsupported") };
	if (unknown_extension(p->msg, &unsupported.value)) {
		sip_answer(p, &(struct sip_answer){ .code = 420, .lines = &unsupported, .n_lines = 1 });
		return SIP_DECIDED;
	}
	unsigned code = read_registration(p, r, &g);
	if (code != 0) {
		answer_code(p, r, code);
		return SIP_DECIDED;
	}
	rc = take(p, r, aor, &g);
	if (rc == -ENOSPC)
		sip_refuse(p, SIP_REFUSE_POLICY, "more contacts than the limit");
	else if (rc == -EALREADY)
		answer_code(p, r, 500); /* RFC 3261 10.3 step 7: out of order */
	else if (rc < 0)
		sip_refuse(p, SIP_REFUSE_RESOURCES, NULL);
	else
		answer_bindings(p, r, aor, &g);
	if (rc == 0 && p->server && g.n && r->o.registered)
		r->o.registered(r->o.arg, p->server, aor,
				p->now + (uint64_t)g.contacts[0].expires * 1000);
	return SIP_DECIDED;
}

/* ---- the way to a user ---- */

static uint16_t group_of(const struct sip_registrar *r, const struct sip_binding *b)
{
	uint64_t h = b->instance ? hash_bytes(&r->o.seed, b->instance, strlen(b->instance)) : 0;
	return (uint16_t)(b->instance ? h | 1 : 0);
}

static bool forward_to(struct sip_passage *p, const struct sip_registrar *r, const struct sip_binding *b, bool flow)
{
	struct sip_place place = { .uri = text_of(b->uri),
				   .routes = text_of(b->path),
				   .q = b->q,
				   .has_flow = flow,
				   .only_flow = b->outbound,
				   .elsewhere = true, /* back here it would come as from our own side */
				   .path_token = flow, /* what follows in the dialog, too */
				   .hop = flow ? b->from : (struct sip_hop){ 0 },
				   .group = group_of(r, b) };
	return sip_forward(p, &place) == 0;
}

/* Of several contacts of one device the first is tried first: one that has a flow, and of those the newest. */
static enum sip_step on_call(struct sip_passage *p, struct sip_registrar *r)
{
	unsigned n, dead = 0, placed = 0;
	char aor[SIP_AOR_MAX];
	if (sip_aor_of(&p->basics->uri, aor) < 0 || !r->o.is_domain(r->o.arg, p->basics->uri.host))
		return SIP_GO_ON;
	const struct sip_binding *b = sip_location_find(r->o.location, aor, p->now, &n);
	for (unsigned i = n; i-- > 0;)
		if (sip_binding_has_flow(&b[i], r->o.ops, r->o.edge))
			placed += forward_to(p, r, &b[i], true);
	for (unsigned i = n; i-- > 0;)
		if (!sip_binding_has_flow(&b[i], r->o.ops, r->o.edge)) {
			dead += b[i].outbound;
			placed += !b[i].outbound && forward_to(p, r, &b[i], false);
		}
	if (sip_wants_privacy(p->msg)) /* RFC 3325 7: telephones show whom it names */
		sip_edit_remove(sip_passage_edit(p), SIP_H_P_ASSERTED_IDENTITY);
	if (placed == 0)
		sip_refuse(p,
			   n > dead				    ? SIP_REFUSE_RESOURCES
			   : dead > 0				    ? SIP_REFUSE_FLOW
			   : r->o.password(r->o.arg, aor).p != NULL ? SIP_REFUSE_OFFLINE
								    : SIP_REFUSE_UNKNOWN_USER,
			   aor);
	return SIP_DECIDED;
}

enum sip_step sip_registrar_request(struct sip_passage *p, void *arg)
{
	if (!p->for_us || p->in_dialog || p->has_flow)
		return SIP_GO_ON;
	if (p->msg->method == SIP_REGISTER)
		return on_register(p, arg);
	return p->basics->uri.user.p ? on_call(p, arg) : SIP_GO_ON;
}
