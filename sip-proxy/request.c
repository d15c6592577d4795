/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request before anybody decides about it: validation (RFC 3261 16.3, loops by RFC 5393 4.2), the Via's received and
 * rport (18.2.1, RFC 3581), and the preprocessing of routes (16.4): a Route of ours is taken off and its token read, a
 * strict router's work is undone.
 */
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/proxy_priv.h"

enum { MAX_BREADTH = 60 /* RFC 5393 5.3.3 */, OWN_ROUTES = 16, VIA_MAX = 1024 };

/* ---- validation ---- */

static uint64_t mix(const struct sip_proxy *px, uint64_t h, struct text t)
{
	struct hash_seed seed = { px->o.seed.k0 ^ h, px->o.seed.k1 + t.n };
	return hash_bytes(&seed, t.p, t.n);
}

static uint64_t mix_all(const struct sip_proxy *px, uint64_t h, const struct sip_msg *m,
			enum sip_header id)
{
	for (const struct head_field *f = sip_find(m, id); f; f = sip_find_next(m, f))
		h = mix(px, h, f->value);
	return h;
}

/* What routing depends on (RFC 5393 4.2.1). The topmost Via is not of it: on each round it is another one. */
uint64_t sip_px_loop_hash(const struct sip_proxy *px, const struct sip_msg *m,
			  const struct sip_basics *b)
{
	uint64_t h = mix(px, b->cseq.number, m->uri);
	h = mix(px, h, b->from.tag);
	h = mix(px, h, b->to.tag);
	h = mix(px, h, b->call_id);
	h = mix_all(px, h, m, SIP_H_ROUTE);
	h = mix_all(px, h, m, SIP_H_PROXY_REQUIRE);
	return mix_all(px, h, m, SIP_H_PROXY_AUTHORIZATION);
}

static bool loops(struct sip_proxy *px, const struct sip_walk *w)
{
	struct sip_values it = sip_values(w->p.msg, SIP_H_VIA);
	struct text value;
	while (sip_values_next(&it, &value)) {
		struct sip_via via;
		uint64_t loop;
		if (sip_via_parse(value, &via) == 0 && sip_branch_loop(via.branch, &loop) == 0 &&
		    loop == w->loop && px->o.ops->is_us(px->o.edge, via.host, via.port))
			return true;
	}
	return false;
}

/* "420: we have no extension that a proxy needs" (16.3.5, 20.29). */
static bool unknown_extension(const struct sip_msg *m, struct text *ret_extension)
{
	struct sip_values it = sip_values(m, SIP_H_PROXY_REQUIRE);
	return m->method != SIP_CANCEL && m->method != SIP_ACK && sip_values_next(&it, ret_extension);
}

/* Routing depends on the side, too: what a client sends to its UC server through us may come back from there as it is. */
static uint64_t side_of(const struct sip_proxy *px, const struct sip_hop *from)
{
	const struct sip_interface *f = px->o.ops->interface(px->o.edge, from->iface);
	return f && f->lan ? UINT64_C(0x9e3779b97f4a7c15) : 0;
}

enum sip_refusal sip_px_validate(struct sip_proxy *px, struct sip_walk *w, struct text *ret_extension)
{
	const struct sip_basics *b = w->p.basics;
	struct text value = sip_value(w->p.msg, SIP_H_MAX_BREADTH);
	uint32_t breadth = MAX_BREADTH;
	if (b->max_forwards == 0)
		return SIP_REFUSE_TOO_MANY_HOPS;
	if (value.p && sip_number_parse(value, INT32_MAX, &breadth) < 0)
		return SIP_REFUSE_MALFORMED;
	w->breadth = (int)breadth;
	if (breadth == 0)
		return SIP_REFUSE_BREADTH;
	w->loop = sip_px_loop_hash(px, w->p.msg, b) ^ side_of(px, &w->p.from);
	if (loops(px, w))
		return SIP_REFUSE_LOOP;
	return unknown_extension(w->p.msg, ret_extension) ? SIP_REFUSE_EXTENSION : SIP_ACCEPTED;
}

/* ---- rewriting ---- */

enum sip_refusal sip_px_rewrite(struct sip_proxy *px, struct sip_buffer *buf, struct sip_msg *to,
				struct sip_basics *to_basics)
{
	ssize_t n;
	int r;
	if (!sip_buffer_room(buf, sip_edit_bound(&px->edit)))
		return SIP_REFUSE_RESOURCES;
	n = sip_edit_write(&px->edit, buf->p, buf->cap);
	if (n < 0)
		return SIP_REFUSE_TOO_LARGE;
	sip_msg_deinit(to);
	r = sip_msg_parse(to, (struct text){ buf->p, (size_t)n }, SIP_DATAGRAM, NULL);
	if (r < 0)
		return SIP_REFUSE_RESOURCES;
	return r == SIP_OK && sip_basics_read(to, to_basics) == SIP_OK ? SIP_ACCEPTED
								       : SIP_REFUSE_MALFORMED;
}

/* ---- routes ---- */

/* 0: a token that is proven for this dialog, or a flow's; -EPERM: one that is not; -EBADMSG: none. */
static int read_token(const struct sip_proxy *px, const struct sip_walk *w, const struct sip_uri *u,
		      struct sip_token *ret_t)
{
	const struct text tags[2] = { w->p.basics->from.tag, w->p.basics->to.tag };
	return u->user.p ? sip_token_read(&px->o.token_key, u->user, w->p.basics->call_id, tags, ret_t)
			 : -EBADMSG;
}

static bool is_listener(const struct sip_proxy *px, const struct sip_uri *u)
{
	return (u->scheme == SIP_SCHEME_SIP || u->scheme == SIP_SCHEME_SIPS) &&
	       px->o.ops->is_us(px->o.edge, u->host, u->port);
}

bool sip_px_is_ours(const struct sip_proxy *px, const struct sip_uri *u)
{
	if (u->scheme != SIP_SCHEME_SIP && u->scheme != SIP_SCHEME_SIPS)
		return false;
	return is_listener(px, u) || (px->o.is_domain && px->o.is_domain(px->o.edge, u->host));
}

static void take_token(struct sip_walk *w, const struct sip_token *t)
{
	bool path = t->flags & SIP_TOKEN_PATH;
	if (w->p.msg->method == SIP_REGISTER)
		return; /* it is of no dialog (RFC 3261 10.2), and has to prove itself */
	if (!path && !w->p.has_to_tag)
		return; /* a dialog's, on what begins something else: it opens nothing */
	w->p.in_dialog = !path;
	w->p.from_outside |= t->from_outside; /* of several tokens one may be of another dialog that has this Call-ID and tag */
	w->p.to_outside |= t->to_outside;
	w->p.has_flow = t->flags & SIP_TOKEN_FLOW;
	w->p.flow = t->hop;
	w->p.strict_flow = t->flags & SIP_TOKEN_STRICT;
	w->p.may_challenge = t->flags & SIP_TOKEN_CHALLENGE;
}

/*
 * Takes our Routes off, the last of which says where to go on. A proven token is ours whatever host it names: the listener
 * may have another name since it was made (advertise). A bare one, without a token, is what a client was
 * configured with ("outbound proxy"): it proves nothing and is taken off as well.
 */
static enum sip_refusal pop_routes(struct sip_proxy *px, struct sip_walk *w, struct text *last)
{
	struct sip_values it = sip_values(w->p.msg, SIP_H_ROUTE);
	struct text value;
	for (unsigned i = 0; sip_values_next(&it, &value); i++) {
		struct sip_addr a;
		struct sip_uri u;
		struct sip_token t;
		int r;
		if (value.p == last->p)
			break; /* it has become the Request-URI */
		if (sip_addr_parse(value, &a) < 0 || sip_uri_parse(a.uri, &u) < 0)
			return SIP_REFUSE_MALFORMED;
		r = read_token(px, w, &u, &t);
		if (i >= OWN_ROUTES || (r != 0 && !sip_px_is_ours(px, &u)))
			break;
		if (r == -EPERM)
			return SIP_REFUSE_DIALOG;
		if (r == 0)
			take_token(w, &t);
		sip_edit_remove_value(&px->edit, value);
	}
	return SIP_ACCEPTED;
}

/* A strict router in front of us has put our Record-Route into the Request-URI, and the target behind the Routes. */
static enum sip_refusal undo_strict(struct sip_proxy *px, struct sip_walk *w, struct text *ret_last)
{
	const struct sip_uri *u = &w->p.basics->uri;
	struct sip_values it = sip_values(w->p.msg, SIP_H_ROUTE);
	struct text value, last = { 0 };
	struct sip_addr a;
	struct sip_token t;
	if (!u->lr || !sip_has(w->p.msg, SIP_H_ROUTE))
		return SIP_ACCEPTED;
	int r = read_token(px, w, u, &t);
	if (r == -EBADMSG || (r < 0 && !is_listener(px, u)))
		return SIP_ACCEPTED;
	if (r < 0)
		return SIP_REFUSE_DIALOG;
	while (sip_values_next(&it, &value))
		last = value;
	if (sip_addr_parse(last, &a) < 0)
		return SIP_REFUSE_MALFORMED;
	take_token(w, &t);
	sip_edit_uri(&px->edit, a.uri);
	sip_edit_remove_value(&px->edit, last);
	*ret_last = last;
	return SIP_ACCEPTED;
}

/* 16.4: a maddr that names us has done its duty, with port and transport that led here. */
static void strip_maddr(struct sip_proxy *px, struct sip_walk *w)
{
	const struct sip_uri *u = &w->p.basics->uri;
	char uri[1024];
	struct sb sb = sb_init(uri, sizeof uri);
	struct text rest = u->params, head;
	if (!u->maddr.p || u->scheme == SIP_SCHEME_TEL ||
	    !px->o.ops->is_us(px->o.edge, u->maddr, u->port))
		return;
	head = (struct text){ u->raw.p, (size_t)(u->params.p - 1 - u->raw.p) };
	if (u->port) /* behind the host, the last ':' of it */
		while (head.n > 0 && head.p[--head.n] != ':')
			;
	sb_text(&sb, head);
	while (rest.p) {
		struct text param = text_cut(&rest, ';'), whole = param, name = text_cut(&param, '=');
		if (text_ieq(name, TEXT("maddr")) || text_ieq(name, TEXT("transport")))
			continue;
		sb_char(&sb, ';');
		sb_text(&sb, whole);
	}
	if (!sb.truncated)
		sip_edit_uri(&px->edit, (struct text){ uri, sb.n });
}

enum sip_refusal sip_px_preprocess(struct sip_proxy *px, struct sip_walk *w, struct sip_msg *work,
				   struct sip_basics *work_basics)
{
	const struct sip_basics *b = w->p.basics;
	char via[VIA_MAX];
	struct text last = { 0 };
	enum sip_refusal why;
	ptrdiff_t n = sip_via_fill(&b->via, &w->p.from.remote, via, sizeof via);
	sip_edit_init(&px->edit, w->p.msg);
	if (n < 0)
		return SIP_REFUSE_TOO_LARGE;
	if (n > 0)
		sip_edit_replace(&px->edit, b->via.raw, (struct text){ via, (size_t)n });
	w->p.has_to_tag = b->to.tag.n > 0;
	if ((why = undo_strict(px, w, &last)) != SIP_ACCEPTED ||
	    (why = pop_routes(px, w, &last)) != SIP_ACCEPTED)
		return why;
	if (!last.p)
		strip_maddr(px, w);
	if (px->edit.n_splices > 0 || px->edit.failed) {
		why = sip_px_rewrite(px, &px->work, work, work_basics);
		if (why != SIP_ACCEPTED)
			return why;
		w->p.msg = work;
		w->p.basics = work_basics;
	}
	w->p.for_us = !sip_has(w->p.msg, SIP_H_ROUTE) && sip_px_is_ours(px, &w->p.basics->uri);
	return SIP_ACCEPTED;
}
