/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy's chain, and what is done with its decision; see policy.h. A passage lives on the stack of the call that
 * brought its request; one that must wait is moved to the heap together with its message, has a server transaction
 * from then on, and holds its sender's turn (order.c). Where nobody decides, the proxy is no open relay.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "sip-proxy/proxy_priv.h"

static struct sip_walk *walk_of(struct sip_passage *p)
{
	return container_of(p, struct sip_walk, p);
}

/* ---- what hooks call ---- */

int sip_forward(struct sip_passage *p, const struct sip_place *place)
{
	struct sip_walk *w = walk_of(p);
	struct sip_branch *b;
	unsigned at = w->n_places;
	while (at > 0 && w->places[at - 1]->place.q < place->q)
		at--;
	if (at == SIP_PLACES_MAX)
		return -ENOSPC;
	b = sip_branch_new(place);
	if (!b)
		return -ENOMEM;
	if (w->n_places == SIP_PLACES_MAX)
		sip_branch_free(w->places[--w->n_places]);
	memmove(w->places + at + 1, w->places + at, (w->n_places - at) * sizeof *w->places);
	w->places[at] = b;
	w->n_places++;
	w->decision = SIP_FORWARD;
	return 0;
}

void sip_record_route(struct sip_passage *p, bool wanted)
{
	walk_of(p)->record_route = wanted;
}

void sip_add_path(struct sip_passage *p)
{
	walk_of(p)->path = true;
}

void sip_refuse(struct sip_passage *p, enum sip_refusal why, const char *detail)
{
	struct sip_walk *w = walk_of(p);
	w->decision = SIP_REFUSE;
	w->refusal = why;
	w->detail[0] = 0;
	if (detail)
		text_append(w->detail, sizeof w->detail, detail);
}

void sip_drop(struct sip_passage *p, enum sip_refusal why)
{
	sip_refuse(p, why, NULL);
	walk_of(p)->decision = SIP_DROP;
}

bool sip_passage_refuses(const struct sip_passage *p)
{
	return container_of(p, struct sip_walk, p)->decision == SIP_REFUSE;
}

void sip_answer(struct sip_passage *p, const struct sip_answer *a)
{
	struct sip_walk *w = walk_of(p);
	ssize_t n = sip_px_write(p->proxy, p->msg, p->basics, a);
	char *copy = n > 0 ? malloc((size_t)n) : NULL;
	if (!copy) {
		sip_refuse(p, n == -ENOMEM || n > 0 ? SIP_REFUSE_RESOURCES : SIP_REFUSE_INTERNAL, NULL);
		return;
	}
	memcpy(copy, p->proxy->answer.p, (size_t)n);
	free(w->answer);
	w->answer = copy;
	w->answer_n = (size_t)n;
	w->answer_code = a->code;
	w->decision = SIP_ANSWER;
}

const struct sip_identity *sip_passage_identity(const struct sip_passage *p)
{
	const struct sip_edge_ops *ops = p->proxy->o.ops;
	if (p->explain)
		return p->explain->identity;
	return p->from.conn ? ops->identity(p->proxy->o.edge, p->from.conn) : NULL;
}

bool sip_may_leave(const struct sip_passage *p)
{
	if (p->origin == SIP_ORIGIN_LAN)
		return p->trusted;
	return p->origin == SIP_ORIGIN_STRANGER && p->authenticated;
}

void sip_note(const struct sip_passage *p, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	if (!p->explain)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	p->explain->note(p->explain->arg, p->explain->hook, text);
}

struct sip_edit *sip_passage_edit(struct sip_passage *p)
{
	struct sip_walk *w = walk_of(p);
	if (!w->edited)
		sip_edit_init(&p->proxy->edit, p->msg);
	w->edited = true;
	return &p->proxy->edit;
}

/* ---- keeping ---- */

/* The message as it is by now, in memory of its own. */
static int copy_message(struct sip_walk *to, const struct sip_walk *from)
{
	struct sip_proxy *px = from->p.proxy;
	size_t n = from->edited ? sip_edit_bound(&px->edit) : from->p.msg->raw.n;
	ssize_t written = (ssize_t)n;
	int r;
	to->raw = malloc(n);
	if (!to->raw)
		return -ENOMEM;
	if (from->edited)
		written = sip_edit_write(&px->edit, to->raw, n);
	else
		memcpy(to->raw, from->p.msg->raw.p, n);
	if (written < 0)
		return (int)written;
	r = sip_msg_parse(&to->msg, (struct text){ to->raw, (size_t)written }, SIP_DATAGRAM, NULL);
	if (r != SIP_OK)
		return r < 0 ? r : -EBADMSG;
	return sip_basics_read(&to->msg, &to->basics) == SIP_OK ? 0 : -EBADMSG;
}

static void places_free(struct sip_walk *w)
{
	while (w->n_places > 0)
		sip_branch_free(w->places[--w->n_places]);
}

/* A request without a transaction gets one: 0, or a refusal. */
static enum sip_refusal need_server(struct sip_walk *w)
{
	struct sip_proxy *px = w->p.proxy;
	if (w->server)
		return SIP_ACCEPTED;
	int r = sip_server_new(px->txs, w->p.msg, w->p.basics, &w->p.from, &w->server);
	return r < 0 ? SIP_REFUSE_RESOURCES : (enum sip_refusal)r;
}

struct sip_passage *sip_passage_keep(struct sip_passage *p)
{
	struct sip_walk *w = walk_of(p), *kept;
	struct sip_proxy *px = p->proxy;
	struct sip_charges *cs = sip_txs_charges(px->txs);
	if (w->kept)
		return p;
	if (cs->waiting >= cs->limits.waiting || need_server(w) != SIP_ACCEPTED)
		return NULL;
	kept = malloc(sizeof *kept);
	if (!kept)
		return NULL;
	memcpy(kept, w, offsetof(struct sip_walk, msg));
	kept->msg.more = NULL;
	kept->msg.raw.n = 0;
	kept->raw = NULL;
	if (copy_message(kept, w) < 0) {
		sip_msg_deinit(&kept->msg);
		free(kept->raw);
		free(kept);
		return NULL;
	}
	kept->p.msg = &kept->msg;
	kept->p.basics = &kept->basics;
	kept->kept = true;
	kept->edited = false;
	kept->lane = sip_lane_take(px, w->p.basics, true);
	list_init(&kept->node);
	list_append(&px->waits, &kept->node);
	sip_server_own(kept->server, &sip_px_walk_server, kept);
	cs->waiting++;
	w->moved = true;
	w->n_places = 0; /* they are the kept one's */
	w->answer = NULL;
	return &kept->p;
}

/* What a walk still holds. */
void sip_px_walk_deinit(struct sip_walk *w)
{
	struct sip_proxy *px = w->p.proxy;
	places_free(w);
	free(w->answer);
	w->answer = NULL;
	sip_lane_leave(px, w->lane);
	w->lane = NULL;
	if (!w->kept)
		return;
	sip_txs_charges(px->txs)->waiting--;
	list_unlink(&w->node);
	if (w->server && sip_server_owner(w->server, &sip_px_walk_server) == w)
		sip_server_own(w->server, NULL, NULL);
	sip_msg_deinit(&w->msg);
	free(w->raw);
	free(w);
}

void sip_px_walk_free(struct sip_walk *w)
{
	if (w->p.gone)
		w->p.gone(&w->p);
	sip_px_walk_deinit(w);
}

void sip_px_walk_cancel(struct sip_walk *w)
{
	w->cancelled = true;
}

static void walk_trying(struct sip_server_tx *s, void *owner)
{
	struct sip_walk *w = owner;
	struct sip_proxy *px = w->p.proxy;
	const struct sip_answer a = { .code = 100 };
	ssize_t n = sip_px_write(px, w->p.msg, w->p.basics, &a);
	if (n > 0)
		sip_px_respond(px, s, w->p.basics, &w->p.from, 100,
			       (struct text){ px->answer.p, (size_t)n });
}

static void walk_server_ended(struct sip_server_tx *s, void *owner)
{
	struct sip_walk *w = owner;
	(void)s;
	w->server = NULL;
}

const struct sip_server_user sip_px_walk_server = { walk_trying, walk_server_ended };

/* ---- deciding ---- */

const char *sip_foreign_route(const struct sip_passage *p, char *buf, size_t n)
{
	const struct sip_proxy_options *o = &p->proxy->o;
	struct sip_values it = sip_values(p->msg, SIP_H_ROUTE);
	struct sip_addr a;
	struct sip_uri u;
	struct text value;

	if (p->for_us || !o->is_domain || !o->is_domain(o->edge, p->basics->uri.host) ||
	    !sip_values_next(&it, &value) || sip_addr_parse(value, &a) < 0 || sip_uri_parse(a.uri, &u) < 0)
		return NULL;
	(void)snprintf(buf, n, "its Route names %.*s, which is no name of ours: if it should be, let the interface advertise it",
		       (int)MIN(u.host.n, (size_t)60), u.host.p);
	return buf;
}

/* Nobody has: what belongs to a dialog that went through us, or to a flow of our own, goes on; nothing else does. Where to,
 * the sender says: never to a listener of ours, where it would come in again, by sip.lan even as from the own network. */
static void decide_by_default(struct sip_walk *w)
{
	struct sip_passage *p = &w->p;
	struct sip_place place = { .q = 1000, .elsewhere = true };
	static const struct sip_answer here = { .code = 200 };
	char text[SIP_DETAIL_MAX];
	if (p->in_dialog || p->has_flow) {
		const struct sip_edge_ops *ops = p->proxy->o.ops;
		place.has_flow = place.only_flow =
			p->has_flow && (p->strict_flow || ops->alive(p->proxy->o.edge, &p->flow));
		place.hop = p->flow;
		place.may_challenge = p->may_challenge;
		if (!place.has_flow && !ops->interface(p->proxy->o.edge, p->flow.iface))
			place.hop.iface = 0; /* it was closed since */
		if (sip_forward(p, &place) < 0)
			sip_refuse(p, SIP_REFUSE_RESOURCES, NULL);
	} else if (p->for_us && p->msg->method == SIP_OPTIONS && !p->basics->uri.user.p) {
		sip_answer(p, &here);
	} else {
		sip_refuse(p, p->for_us ? SIP_REFUSE_UNKNOWN_USER : SIP_REFUSE_RELAY,
			   p->for_us ? NULL : sip_foreign_route(p, text, sizeof(text)));
	}
}

static void refuse(struct sip_walk *w, enum sip_refusal why, bool silent)
{
	const struct sip_refusing r = {
		.why = why,
		.detail = w->detail[0] ? w->detail : NULL,
		.m = w->p.msg,
		.b = w->p.basics,
		.from = &w->p.from,
		.server = w->server,
		.silent = silent,
	};
	sip_px_refuse(w->p.proxy, &r);
}

static void answer(struct sip_walk *w)
{
	enum sip_refusal why = w->answer_code < 300 ? need_server(w) : SIP_ACCEPTED;
	if (why != SIP_ACCEPTED)
		refuse(w, why, false);
	else
		sip_px_respond(w->p.proxy, w->server, w->p.basics, &w->p.from, w->answer_code,
			       (struct text){ w->answer, w->answer_n });
}

static void forward(struct sip_walk *w)
{
	struct sip_context *ctx;
	enum sip_refusal why = need_server(w);
	if (why == SIP_ACCEPTED)
		why = sip_context_new(w->p.proxy, w, &ctx);
	if (why != SIP_ACCEPTED)
		refuse(w, why, false);
	else
		sip_context_start(ctx);
}

/* Nobody has decided yet, and nobody was asked before. */
static bool undecided(const struct sip_walk *w)
{
	return w->decision == SIP_UNDECIDED && !w->cancelled && w->next_hook < w->p.proxy->o.n_hooks;
}

static void finish(struct sip_walk *w)
{
	if (w->cancelled)
		sip_refuse(&w->p, SIP_REFUSE_CANCELLED, NULL);
	else if (w->decision == SIP_UNDECIDED)
		decide_by_default(w);
	switch (w->decision) {
	case SIP_FORWARD: forward(w); break;
	case SIP_ANSWER: answer(w); break;
	case SIP_DROP: refuse(w, w->refusal, true); break;
	default: refuse(w, w->refusal, false); break;
	}
	sip_px_walk_deinit(w);
}

void sip_px_walk(struct sip_proxy *px, struct sip_walk *w)
{
	while (undecided(w)) {
		const struct sip_hook *h = px->o.hooks[w->next_hook++];
		enum sip_step step = h->request ? h->request(&w->p, h->arg) : SIP_GO_ON;
		if (w->moved)
			return; /* the kept one goes on */
		if (step == SIP_WAIT && w->kept)
			return;
		if (step == SIP_WAIT)
			sip_refuse(&w->p, SIP_REFUSE_RESOURCES,
				   "a hook waits without having kept the passage");
		if (step == SIP_DECIDED && w->decision == SIP_UNDECIDED)
			sip_refuse(&w->p, SIP_REFUSE_INTERNAL, h->name);
	}
	finish(w);
}

void sip_px_hygiene(struct sip_proxy *px, struct sip_walk *w)
{
	for (unsigned i = 0; i < px->o.n_hooks; i++)
		if (px->o.hooks[i]->stage == SIP_STAGE_HYGIENE && px->o.hooks[i]->request)
			(void)px->o.hooks[i]->request(&w->p, px->o.hooks[i]->arg);
}

void sip_passage_resume(struct sip_passage *p, uint64_t now)
{
	struct sip_walk *w = walk_of(p);
	p->gone = NULL;
	p->now = now;
	sip_px_walk(p->proxy, w);
}

bool sip_px_return(struct sip_proxy *px, struct sip_return *ret)
{
	for (unsigned i = 0; i < px->o.n_hooks; i++) {
		const struct sip_hook *h = px->o.hooks[i];
		if (h->response && !h->response(ret, h->arg))
			return false;
	}
	return true;
}
