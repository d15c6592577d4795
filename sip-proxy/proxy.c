/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy core's doors: what it is made of, and where each message goes. A request finds its server transaction, or
 * is an ACK, a CANCEL, or new: then it is checked (request.c) and walks through the policy (passage.c). A response
 * finds its client transaction, or is dropped (RFC 6026).
 */
#include "sip-proxy/proxy.h"
#include <errno.h>
#include <string.h>
#include "sip-proxy/proxy_priv.h"

/* ---- life ---- */

static int check_hooks(const struct sip_hook *const *hooks, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (hooks[i]->stage >= SIP_STAGES || (i > 0 && hooks[i]->stage < hooks[i - 1]->stage))
			return -EINVAL;
	return 0;
}

static void set_times(struct sip_proxy *px, uint32_t timer_c, uint32_t failover)
{
	px->o.timer_c = timer_c ? timer_c : 181000;
	px->o.failover = failover ? failover : 800;
}

int sip_proxy_new(const struct sip_proxy_options *o, struct sip_proxy **ret_px)
{
	const struct sip_txs_options t = {
		.timers = o->timers,
		.now = o->now,
		.ops = o->ops,
		.edge = o->edge,
		.values = o->values,
		.limits = o->limits,
		.seed = o->seed,
	};
	struct sip_proxy *px;
	int r = check_hooks(o->hooks, o->n_hooks);
	if (r < 0)
		return r;
	px = calloc(1, sizeof *px);
	if (!px)
		return -ENOMEM;
	px->o = *o;
	set_times(px, o->timer_c, o->failover);
	list_init(&px->contexts);
	list_init(&px->waits);
	list_init(&px->onwards);
	sip_lanes_init(px);
	px->spared = sip_spared_new(&o->seed);
	r = px->spared ? sip_txs_new(&t, &px->txs) : -ENOMEM;
	if (r < 0) {
		sip_spared_free(px->spared);
		free(px);
		return r;
	}
	*ret_px = px;
	return 0;
}

struct sip_proxy *sip_proxy_free(struct sip_proxy *px)
{
	if (!px)
		return NULL;
	list_for_each_safe (it, &px->waits)
		sip_px_walk_free(container_of(it, struct sip_walk, node));
	list_for_each_safe (it, &px->contexts) {
		struct sip_context *ctx = container_of(it, struct sip_context, node);
		sip_server_own(ctx->server, NULL, NULL);
		sip_context_free(ctx);
	}
	sip_px_onwards_free(px);
	sip_lanes_free(px);
	sip_txs_free(px->txs);
	sip_spared_free(px->spared);
	sip_msg_deinit(&px->base);
	free(px->work.p);
	free(px->out.p);
	free(px->answer.p);
	free(px);
	return NULL;
}

void sip_proxy_set_times(struct sip_proxy *px, const struct sip_timer_values *v, uint32_t timer_c,
			 uint32_t failover)
{
	set_times(px, timer_c, failover);
	sip_txs_set_values(px->txs, v);
}

void sip_proxy_drain(struct sip_proxy *px, bool on)
{
	px->drain_new = on;
}

const struct sip_proxy_counts *sip_proxy_counts(const struct sip_proxy *px)
{
	return &px->counts;
}

struct sip_txs *sip_proxy_txs(struct sip_proxy *px)
{
	return px->txs;
}

bool sip_proxy_idle(const struct sip_proxy *px)
{
	return sip_txs_charges(px->txs)->open == 0 && list_empty(&px->onwards) && px->lanes.count == 0;
}

/* ---- requests ---- */

void sip_proxy_bad_message(struct sip_proxy *px, const struct sip_msg *m, enum sip_verdict why,
			   const struct sip_hop *hop)
{
	const struct sip_verdict_row *row = sip_verdict_row(why);
	struct sip_basics b = { 0 };
	struct sip_answer a = { .code = row->code, .reason = text_of(row->reason) };
	ssize_t n;
	px->counts.refused[SIP_REFUSE_MALFORMED]++;
	sip_basics_read(m, &b);
	if (!m->is_request || row->code == 0 || m->method == SIP_ACK || !b.via.raw.p)
		return;
	n = sip_px_write_to(px, m, &b, &a, hop);
	if (n > 0)
		sip_px_respond(px, NULL, &b, hop, row->code, (struct text){ px->answer.p, (size_t)n });
}

static void refuse(struct sip_proxy *px, const struct sip_walk *w, enum sip_refusal why,
		   struct text extension)
{
	const struct sip_refusing r = {
		.why = why,
		.extension = extension,
		.m = w->p.msg,
		.b = w->p.basics,
		.from = &w->p.from,
	};
	sip_px_refuse(px, &r);
}

/* RFC 3261 9.2, 16.10: answered here, and passed on by canceling the branches. */
static void on_cancel(struct sip_proxy *px, const struct sip_walk *w, bool by_lane)
{
	const struct sip_msg *m = w->p.msg;
	struct sip_server_tx *invite = sip_server_find_cancelled(px->txs, m, w->p.basics), *s;
	const struct sip_answer ok = { .code = 200 };
	struct sip_context *ctx;
	struct sip_walk *kept;
	ssize_t n;
	int r;
	if (!invite && !by_lane && sip_lane_wait(px, m, w->p.basics, &w->p.from))
		return; /* its INVITE may be waiting there, too */
	if (!invite) {
		refuse(px, w, SIP_REFUSE_NO_TRANSACTION, (struct text){ 0 });
		return;
	}
	r = sip_server_new(px->txs, m, w->p.basics, &w->p.from, &s);
	if (r != 0) {
		refuse(px, w, r < 0 ? SIP_REFUSE_RESOURCES : (enum sip_refusal)r, (struct text){ 0 });
		return;
	}
	n = sip_px_write_to(px, m, w->p.basics, &ok, &w->p.from);
	if (n > 0)
		sip_px_respond(px, s, w->p.basics, &w->p.from, 200,
			       (struct text){ px->answer.p, (size_t)n });
	else
		sip_server_give_up(s);
	invite = sip_server_find_cancelled(px->txs, m, w->p.basics); /* one that is over may have had to give way to this one */
	if (!invite)
		return;
	ctx = sip_server_owner(invite, &sip_context_server);
	kept = sip_server_owner(invite, &sip_px_walk_server);
	if (ctx)
		sip_context_cancel(ctx, m);
	else if (kept)
		sip_px_walk_cancel(kept);
}

static void on_new(struct sip_proxy *px, struct sip_walk *w)
{
	struct sip_basics work_basics;
	struct sip_msg work = { 0 };
	struct text extension = { 0 };
	enum sip_refusal why = sip_px_validate(px, w, &extension);
	if (why == SIP_ACCEPTED && px->drain_new && w->p.basics->to.tag.n == 0)
		why = SIP_REFUSE_DRAINING;
	if (why == SIP_ACCEPTED)
		why = sip_px_preprocess(px, w, &work, &work_basics);
	if (why != SIP_ACCEPTED)
		refuse(px, w, why, extension);
	else
		sip_px_walk(px, w);
	sip_msg_deinit(&work);
}

/* The ACK for a refusal that was sent without a transaction carries our tag. */
static bool is_our_ack(const struct sip_proxy *px, const struct sip_basics *b)
{
	char tag[16];
	sip_px_tag(px, b, tag);
	return text_eq(b->to.tag, text_of(tag));
}

static void on_request(struct sip_proxy *px, struct sip_walk *w, bool by_lane)
{
	const struct sip_msg *m = w->p.msg;
	const struct sip_basics *b = w->p.basics;
	struct sip_server_tx *s = sip_server_find(px->txs, m, b);
	if (s && sip_server_input(s, m) == SIP_SEEN_ABSORBED)
		return;
	if (m->method == SIP_CANCEL) {
		on_cancel(px, w, by_lane);
		return;
	}
	if (m->method == SIP_ACK && !s && is_our_ack(px, b)) {
		px->counts.stray_acks++;
		return;
	}
	if (!by_lane && sip_lane_wait(px, m, b, &w->p.from))
		return;
	if (m->method == SIP_ACK)
		sip_px_ack(px, m, b, &w->p.from);
	else
		on_new(px, w);
}

/* ---- messages ---- */

static void on_response(struct sip_proxy *px, const struct sip_msg *m, const struct sip_basics *b,
			const struct sip_hop *hop, bool by_lane)
{
	if (!by_lane && m->status > 100 && sip_lane_wait(px, m, b, hop))
		return;
	if (!sip_client_input(px->txs, m, b))
		px->counts.stray_responses++;
}

void sip_px_message(struct sip_proxy *px, const struct sip_msg *m, const struct sip_hop *hop, bool by_lane)
{
	struct sip_basics b;
	struct sip_walk w;
	enum sip_verdict v = sip_basics_read(m, &b);
	if (v != SIP_OK) {
		sip_proxy_bad_message(px, m, v, hop);
		return;
	}
	if (!m->is_request) {
		on_response(px, m, &b, hop, by_lane);
		return;
	}
	memset(&w, 0, offsetof(struct sip_walk, places)); /* the rest is for a kept one */
	w.n_places = 0;
	w.p.proxy = px;
	w.p.msg = m;
	w.p.basics = &b;
	w.p.from = *hop;
	w.p.now = px_now(px);
	w.record_route = -1;
	list_init(&w.node);
	on_request(px, &w, by_lane);
}

static void on_message(void *core, const struct sip_msg *m, const struct sip_hop *hop, uint64_t now)
{
	(void)now;
	sip_px_message(core, m, hop, false);
}

static void on_closed(void *core, uint64_t conn, uint64_t now)
{
	/* What was sent on it and not answered fails by its struct sip_wait; a flow is asked for when it is needed. */
	(void)core;
	(void)conn;
	(void)now;
}

const struct sip_edge_events sip_proxy_events = { on_message, on_closed };
