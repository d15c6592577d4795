/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copy of a request that goes to one place (RFC 3261 16.6): Request-URI, Max-Forwards, Max-Breadth (RFC 5393),
 * Record-Route, Path (RFC 3327), Route, Via. Splices over the request as it was kept.
 *
 * Record-Route stands once where both sides use one interface and can be called back at their Via. Else it stands twice,
 * for either side one, and each says in its token by what to go on towards the other side: RFC 5658.
 */
#include <errno.h>
#include <string.h>
#include "sip-proxy/proxy_priv.h"

void sip_px_via(const struct sip_interface *iface, const char *branch, struct sb *out)
{
	sb_str(out, "SIP/2.0/");
	sb_text(out, sip_proto_rows[iface->proto].via);
	sb_char(out, ' ');
	sb_str(out, iface->sent_by);
	sb_str(out, ";branch=");
	sb_str(out, branch);
	sb_str(out, ";rport");
}

bool sip_px_wants_tls(const struct sip_proxy *px, const struct sip_uri *u)
{
	return u->scheme == SIP_SCHEME_SIPS && !sip_px_is_ours(px, u);
}

bool sip_branch_wants_tls(const struct sip_branch *b)
{
	const struct sip_proxy *px = b->ctx->px;
	return !b->place.has_flow && sip_context_request(b->ctx) &&
	       sip_px_wants_tls(px, &px->base_basics.uri);
}

/* sips: where it is reached by TLS, or nobody would find it. */
static void put_own_uri(struct sip_edit *e, enum sip_header id, const struct sip_interface *iface,
			bool sips, const char *user, const char *params)
{
	char text[SIP_TOKEN_MAX + SIP_SENT_BY_MAX + 64];
	struct sb sb = sb_init(text, sizeof text);
	sips = sips && sip_proto_rows[iface->proto].secure;
	sb_str(&sb, sips ? "<sips:" : "<sip:");
	sb_str(&sb, user);
	sb_char(&sb, '@');
	sb_str(&sb, iface->sent_by);
	if (iface->proto != SIP_UDP && !(sips && iface->proto == SIP_TLS)) {
		sb_str(&sb, ";transport=");
		sb_str(&sb, sip_proto_rows[iface->proto].name);
	}
	sb_str(&sb, params);
	sb_str(&sb, ";lr>");
	sip_edit_prepend(e, id, (struct text){ text, sb.n });
}

/* Can the other end not be called back at what its Via says? Then only the flow leads to it. */
static bool needs_flow(const struct sip_msg *m, const struct sip_basics *b, const struct sip_hop *from)
{
	if (b->via.received.p && !text_ieq(b->via.received, b->via.host))
		return true;
	if (from->conn == 0)
		return false;
	return sip_has_one_via(m);
}

static int add_record_route(struct sip_branch *b, const struct sip_msg *m,
			    const struct sip_interface *out)
{
	struct sip_context *ctx = b->ctx;
	struct sip_proxy *px = ctx->px;
	const struct sip_basics *basics = &px->base_basics;
	const struct sip_interface *in = px->o.ops->interface(px->o.edge, ctx->from.iface);
	bool flow_in = needs_flow(m, basics, &ctx->from),
	     flow_out = b->place.only_flow || b->place.path_token;
	bool twice = in && (in->id != out->id || flow_in || flow_out),
	     sips = basics->uri.scheme == SIP_SCHEME_SIPS;
	struct sip_token t = { 0 };
	char user[SIP_TOKEN_MAX];
	int r;
	if (twice) {
		t.flags = (uint8_t)(!flow_out		  ? SIP_TOKEN_IFACE
				    : b->place.only_flow ? SIP_TOKEN_FLOW | SIP_TOKEN_STRICT
							 : SIP_TOKEN_FLOW);
		t.hop = b->place.hop;
		t.hop.iface = out->id;
	}
	t.flags |= ctx->outside;
	if (b->place.may_challenge)
		t.flags |= SIP_TOKEN_CHALLENGE;
	r = sip_token_make(&px->o.token_key, &t, basics->call_id, basics->from.tag, user);
	if (r < 0)
		return r;
	put_own_uri(&px->edit, SIP_H_RECORD_ROUTE, out, sips, user, "");
	if (!twice)
		return 0;
	t.flags = (uint8_t)(ctx->outside | (flow_in ? SIP_TOKEN_FLOW : SIP_TOKEN_IFACE));
	t.hop = ctx->from; /* behind it in the list: the side of the caller */
	r = sip_token_make(&px->o.token_key, &t, basics->call_id, basics->from.tag, user);
	if (r == 0)
		put_own_uri(&px->edit, SIP_H_RECORD_ROUTE, in, sips, user, "");
	return r;
}

/* The registrar reaches us by the interface on its side; the token says to whom we then pass on. */
static int add_path(struct sip_branch *b, const struct sip_interface *out)
{
	struct sip_context *ctx = b->ctx;
	struct sip_proxy *px = ctx->px;
	const struct sip_token t = { .flags = SIP_TOKEN_PATH | SIP_TOKEN_FLOW | SIP_TOKEN_STRICT,
				     .hop = ctx->from };
	char user[SIP_TOKEN_MAX];
	int r = sip_token_make(&px->o.token_key, &t, (struct text){ 0 }, (struct text){ 0 }, user);
	if (r == 0)
		put_own_uri(&px->edit, SIP_H_PATH, out,
			    px->base_basics.uri.scheme == SIP_SCHEME_SIPS, user,
			    sip_has_one_via(&px->base) && sip_has_option(&px->base, SIP_H_SUPPORTED,
								     TEXT("outbound"))
				    ? ";ob" /* its flow is kept here (RFC 5626 5.1) */
				    : "");
	return r;
}

/* A strict router comes next: it wants to find itself in the Request-URI (16.6.6). */
static void please_strict(struct sip_branch *b, const struct sip_msg *m, struct text target)
{
	struct sip_proxy *px = b->ctx->px;
	struct sip_values it = sip_values(m, SIP_H_ROUTE);
	char text[1024];
	struct sb sb = sb_init(text, sizeof text);
	struct text value;
	struct sip_addr a;
	struct sip_uri u;
	if (b->place.routes.p || !sip_values_next(&it, &value) || sip_addr_parse(value, &a) < 0 ||
	    sip_uri_parse(a.uri, &u) < 0 || u.lr) {
		if (b->place.uri.p && !text_eq(b->place.uri, m->uri))
			sip_edit_uri(&px->edit, b->place.uri);
		return;
	}
	sb_char(&sb, '<');
	sb_text(&sb, target);
	sb_char(&sb, '>');
	px->edit.failed |= sb.truncated;
	sip_edit_uri(&px->edit, a.uri);
	sip_edit_remove_value(&px->edit, value);
	sip_edit_append(&px->edit, SIP_H_ROUTE, (struct text){ text, sb.n });
}

void sip_px_state_length(struct sip_edit *e)
{
	char text[16];
	struct sb sb = sb_init(text, sizeof text);
	if (sip_has(e->m, SIP_H_CONTENT_LENGTH))
		return;
	sb_u64(&sb, e->m->body.n, 1);
	sip_edit_append(e, SIP_H_CONTENT_LENGTH, (struct text){ text, sb.n });
}

static void set_number(struct sip_edit *e, enum sip_header id, unsigned v)
{
	char text[16];
	struct sb sb = sb_init(text, sizeof text);
	sb_u64(&sb, v, 1);
	sip_edit_set(e, id, (struct text){ text, sb.n });
}

ssize_t sip_branch_write(struct sip_branch *b, const struct sip_target *to, const char *branch)
{
	struct sip_context *ctx = b->ctx;
	struct sip_proxy *px = ctx->px;
	const struct sip_msg *m = sip_context_request(ctx);
	const struct sip_interface *out = px->o.ops->interface_for(px->o.edge, to);
	char via[SIP_SENT_BY_MAX + 96];
	struct sb sb = sb_init(via, sizeof via);
	int r = 0;
	if (!m)
		return -ENOMEM;
	if (!out)
		return -ENETUNREACH;
	sip_edit_init(&px->edit, m);
	please_strict(b, m, b->place.uri.p ? b->place.uri : m->uri);
	sip_px_via(out, branch, &sb);
	if (px->o.overload_control)
		sb_str(&sb, SIP_OC_TAKES_PART);
	sip_edit_prepend(&px->edit, SIP_H_VIA, (struct text){ via, sb.n });
	set_number(&px->edit, SIP_H_MAX_FORWARDS,
		   px->base_basics.max_forwards < 0 ? 70 : (unsigned)px->base_basics.max_forwards - 1);
	set_number(&px->edit, SIP_H_MAX_BREADTH, (unsigned)b->breadth);
	sip_px_state_length(&px->edit);
	if (ctx->record_route)
		r = add_record_route(b, m, out);
	if (r == 0 && ctx->path)
		r = add_path(b, out);
	if (r < 0)
		return r;
	if (b->place.routes.p)
		sip_edit_prepend(&px->edit, SIP_H_ROUTE, b->place.routes);
	if (!sip_buffer_room(&px->out, sip_edit_bound(&px->edit)))
		return -ENOMEM;
	return sip_edit_write(&px->edit, px->out.p, px->out.cap);
}

