/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACK for a 2xx: a request of its own, without a response, so it has no transaction here and is passed on as it
 * comes (RFC 3261 16.11, RFC 6026). Only within a dialog that went through us, proven by its Route. The branch is made
 * from the one that it came with, so that a repetition has the same.
 */
#include <errno.h>
#include <string.h>
#include "sip-proxy/proxy_priv.h"

/* One that waits for its next hop's address. */
struct onward {
	struct list node;
	struct sip_proxy *px;
	struct sip_lane *lane;
	struct sip_lookup lookup;
	uint32_t iface; /* to leave by; 0: any */
	size_t n;
	char bytes[];
};

static void onward_free(struct onward *o)
{
	list_unlink(&o->node);
	sip_lane_leave(o->px, o->lane);
	sip_txs_charges(o->px->txs)->waiting--;
	free(o);
}

void sip_px_onwards_free(struct sip_proxy *px)
{
	list_for_each_safe (it, &px->onwards) {
		struct onward *o = container_of(it, struct onward, node);
		px->o.ops->lookup_cancel(px->o.edge, &o->lookup);
		onward_free(o);
	}
}

static void branch_of(const struct sip_proxy *px, const struct sip_basics *b,
		      char out[static SIP_BRANCH_MAX])
{
	uint64_t h[2] = { hash_bytes(&px->o.seed, b->via.raw.p, b->via.raw.n), b->cseq.number };
	struct sb head = sb_init(out, SIP_BRANCH_MAX);
	h[0] = hash_bytes(&px->o.seed, h, sizeof h);
	sb_str(&head, "z9hG4bKack");
	base64url_encode(h, 8, out + head.n);
}

static int next_of(const struct sip_msg *m, const struct sip_basics *b, struct sip_next *ret_next)
{
	struct sip_uri u;
	if (!b->route.raw.p)
		return sip_px_next_hop(&b->uri, ret_next);
	return sip_uri_parse(b->route.uri, &u) < 0 || !m ? -EBADMSG : sip_px_next_hop(&u, ret_next);
}

/* -EMSGSIZE: too long for a datagram, unless any_size; another -errno: it could not be written, or the edge did not take it. */
static int send_to(struct sip_proxy *px, const struct sip_msg *m, const struct sip_basics *b,
		   const struct sip_target *where, bool any_size)
{
	struct sip_target known = *where;
	const struct sip_target *to = &known;
	px_known(px, &known);
	const struct sip_interface *out = px->o.ops->interface_for(px->o.edge, to);
	char via[SIP_SENT_BY_MAX + 96], branch[SIP_BRANCH_MAX], hops[16];
	struct sb v = sb_init(via, sizeof via), h = sb_init(hops, sizeof hops);
	ssize_t n;
	int r;
	if (!out)
		return -ENETUNREACH;
	branch_of(px, b, branch);
	sip_px_via(out, branch, &v);
	sb_u64(&h, b->max_forwards < 0 ? 70 : (unsigned)b->max_forwards - 1, 1);
	sip_edit_init(&px->edit, m);
	sip_edit_prepend(&px->edit, SIP_H_VIA, (struct text){ via, v.n });
	sip_px_state_length(&px->edit);
	sip_edit_set(&px->edit, SIP_H_MAX_FORWARDS, (struct text){ hops, h.n });
	if (!sip_buffer_room(&px->out, sip_edit_bound(&px->edit)))
		return -ENOMEM;
	n = sip_edit_write(&px->edit, px->out.p, px->out.cap);
	if (n < 0)
		return (int)n;
	if (sip_px_is_long((size_t)n, to) && !any_size)
		return -EMSGSIZE;
	r = px->o.ops->send(px->o.edge, to, (struct text){ px->out.p, (size_t)n }, NULL, NULL);
	if (r < 0)
		return r;
	px->counts.acks_forwarded++;
	px->counts.requests_out[SIP_ACK]++;
	return 0;
}

/* A long one by TCP (RFC 3261 18.1.1), or by UDP as it is where nobody takes TCP. */
static bool pass_on(struct sip_proxy *px, const struct sip_msg *m, const struct sip_basics *b,
		    const struct sip_target *where)
{
	struct sip_target tcp;
	int r = send_to(px, m, b, where, false);
	if (r != -EMSGSIZE)
		return r == 0;
	return (sip_px_by_tcp(px, where, &tcp) && send_to(px, m, b, &tcp, true) == 0) ||
	       send_to(px, m, b, where, true) == 0;
}

static void looked_up(struct sip_lookup *l, int status, const char *why,
		      const struct sip_target *targets, unsigned n)
{
	struct onward *o = container_of(l, struct onward, lookup);
	struct sip_basics b;
	struct sip_msg m;
	(void)why;
	if (sip_msg_parse(&m, (struct text){ o->bytes, o->n }, SIP_DATAGRAM, NULL) == SIP_OK &&
	    sip_basics_read(&m, &b) == SIP_OK && status == 0)
		for (unsigned i = 0; i < n; i++) {
			struct sip_target to = targets[i];
			to.hop.iface = o->iface ? o->iface : to.hop.iface;
			if (pass_on(o->px, &m, &b, &to))
				break;
		}
	sip_msg_deinit(&m);
	onward_free(o);
}

static void look_up(struct sip_proxy *px, const struct sip_msg *m, const struct sip_basics *b,
		    const struct sip_next *next, uint32_t iface)
{
	struct sip_charges *cs = sip_txs_charges(px->txs);
	struct onward *o = cs->waiting < cs->limits.waiting ? malloc(sizeof *o + m->raw.n) : NULL;
	if (!o)
		return;
	*o = (struct onward){ .px = px, .lookup.done = looked_up, .iface = iface, .n = m->raw.n };
	memcpy(o->bytes, m->raw.p, m->raw.n);
	if (px->o.ops->lookup(px->o.edge, next, &o->lookup) < 0) {
		free(o);
		return;
	}
	cs->waiting++;
	o->lane = sip_lane_take(px, b, true);
	list_append(&px->onwards, &o->node);
}

/* By the flow or the interface that its Route names, as what else there is in the dialog. */
static void route(struct sip_proxy *px, const struct sip_walk *w)
{
	const struct sip_edge_ops *ops = px->o.ops;
	const struct sip_basics *b = w->p.basics;
	struct sip_target to = { .hop = w->p.flow };
	uint32_t iface = ops->interface(px->o.edge, w->p.flow.iface) ? w->p.flow.iface : 0;
	struct sip_next next = { 0 };
	int r = next_of(w->p.msg, b, &next);
	next.sips |= r == 0 && sip_px_wants_tls(px, &b->uri);
	if (w->p.has_flow && ops->alive(px->o.edge, &w->p.flow)) {
		to.only_flow = true;
		if (r == 0)
			to.name = next.host;
		pass_on(px, w->p.msg, b, &to);
	} else if (r == 0 && !w->p.strict_flow && sip_px_direct(&next, &to)) {
		to.hop.iface = iface;
		pass_on(px, w->p.msg, b, &to);
	} else if (r == 0 && !w->p.strict_flow) {
		look_up(px, w->p.msg, b, &next, iface);
	}
}

/* It carries the credentials of its INVITE (RFC 3261 22.1), which are no others' business than ours. */
static bool clean(struct sip_proxy *px, struct sip_walk *w, struct sip_msg *ret_m, struct sip_basics *ret_b)
{
	sip_px_hygiene(px, w);
	if (!w->edited)
		return true;
	if (sip_px_rewrite(px, &px->answer, ret_m, ret_b) != SIP_ACCEPTED)
		return false;
	w->p.msg = ret_m;
	w->p.basics = ret_b;
	return true;
}

void sip_px_ack(struct sip_proxy *px, const struct sip_msg *m, const struct sip_basics *b,
		const struct sip_hop *hop)
{
	struct sip_walk w = { .p = { .proxy = px, .msg = m, .basics = b, .from = *hop } };
	struct sip_basics work_basics, clean_basics;
	struct sip_msg work = { 0 }, cleaned = { 0 };
	if (b->max_forwards != 0 && sip_px_preprocess(px, &w, &work, &work_basics) == SIP_ACCEPTED &&
	    w.p.in_dialog && clean(px, &w, &cleaned, &clean_basics))
		route(px, &w);
	else
		px->counts.stray_acks++;
	sip_msg_deinit(&work);
	sip_msg_deinit(&cleaned);
}
