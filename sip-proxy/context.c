/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The response context (RFC 3261 16.2): the branches of one request, which of them are tried when (16.5, 16.6), which
 * response goes back (16.7), CANCEL (16.10). It lives as long as its server transaction; behind the final response it
 * lets go of all that is not needed for further 2xx.
 */
#include <errno.h>
#include <string.h>
#include "sip-proxy/proxy_priv.h"

static void check(struct sip_context *ctx);

/* ---- life ---- */

static bool records_route(const struct sip_walk *w)
{
	switch (w->p.msg->method) {
	case SIP_INVITE:
	case SIP_SUBSCRIBE:
	case SIP_REFER: return w->record_route < 0 ? !w->p.has_to_tag : w->record_route;
	case SIP_NOTIFY:
		return w->record_route != 0; /* it may make a dialog of its own (RFC 6665 4.4.1) */
	default: return w->record_route > 0;
	}
}

static bool is_of_ours(const struct sip_proxy *px, struct text uri)
{
	struct sip_uri u;
	return px->o.is_domain && sip_uri_parse(uri, &u) == 0 && px->o.is_domain(px->o.edge, u.host);
}

/* Which sides of the dialog are none of ours. A NOTIFY that makes one within another has them of that: its Request-URI is what the
 * other side has written. */
static uint8_t sides_of(const struct sip_proxy *px, const struct sip_passage *p)
{
	const struct sip_basics *b = p->basics;
	bool caller = p->from_outside, callee = p->to_outside;
	if (!p->in_dialog) {
		caller = !is_of_ours(px, b->from.uri);
		callee = !is_of_ours(px, b->to.uri) && !is_of_ours(px, b->uri.raw);
	}
	return (uint8_t)((caller ? SIP_TOKEN_CALLER_OUTSIDE : 0) |
			 (callee ? SIP_TOKEN_CALLEE_OUTSIDE : 0));
}

/* Of a group only the first is tried at once. */
static void mark_reserves(struct sip_walk *w)
{
	for (unsigned i = 0; i < w->n_places; i++)
		for (unsigned j = 0; j < i; j++)
			if (w->places[i]->place.group &&
			    w->places[i]->place.group == w->places[j]->place.group)
				w->places[i]->reserve = true;
}

/* The request as all copies get it, into memory of the context, and parsed. */
static enum sip_refusal keep_request(struct sip_proxy *px, struct sip_context *ctx, struct sip_walk *w)
{
	struct sip_charges *cs = sip_txs_charges(px->txs);
	size_t n = w->edited ? sip_edit_bound(&px->edit) : w->p.msg->raw.n;
	ssize_t written;
	if (!sip_charge_bytes(cs, n))
		return SIP_REFUSE_OVERLOAD;
	ctx->raw_n = (uint32_t)n;
	ctx->raw = malloc(n);
	if (!ctx->raw)
		return SIP_REFUSE_RESOURCES;
	sip_msg_deinit(&px->base);
	px->base_of = NULL;
	if (w->edited) {
		written = sip_edit_write(&px->edit, ctx->raw, n);
		if (written < 0)
			return SIP_REFUSE_TOO_LARGE;
		int r = sip_msg_parse(&px->base, (struct text){ ctx->raw, (size_t)written },
				      SIP_DATAGRAM, NULL);
		if (r != SIP_OK || sip_basics_read(&px->base, &px->base_basics) != SIP_OK)
			return r < 0 ? SIP_REFUSE_RESOURCES : SIP_REFUSE_INTERNAL;
		sip_uncharge_bytes(cs, n - (size_t)written);
		ctx->raw_n = (uint32_t)written;
	} else if (sip_msg_copy(&px->base, w->p.msg, ctx->raw) < 0 ||
		   sip_basics_read(&px->base, &px->base_basics) != SIP_OK) {
		return SIP_REFUSE_RESOURCES;
	}
	px->base_of = ctx;
	return SIP_ACCEPTED;
}

static void forget_request(struct sip_context *ctx)
{
	struct sip_proxy *px = ctx->px;
	if (px->base_of == ctx) {
		sip_msg_deinit(&px->base);
		px->base_of = NULL;
	}
	if (ctx->raw_n)
		sip_uncharge_bytes(sip_txs_charges(px->txs), ctx->raw_n);
	free(ctx->raw);
	ctx->raw = NULL;
	ctx->raw_n = 0;
	free(ctx->best);
	ctx->best = NULL;
	free(ctx->challenges);
	ctx->challenges = NULL;
}

enum sip_refusal sip_context_new(struct sip_proxy *px, struct sip_walk *w, struct sip_context **ret_ctx)
{
	struct sip_context *ctx = calloc(1, sizeof *ctx);
	enum sip_refusal why;
	if (!ctx)
		return SIP_REFUSE_RESOURCES;
	ctx->px = px;
	why = keep_request(px, ctx, w);
	if (why != SIP_ACCEPTED) {
		forget_request(ctx);
		free(ctx);
		return why;
	}
	ctx->server = w->server;
	ctx->lane = steal_ptr(&w->lane);
	ctx->from = w->p.from;
	ctx->loop = w->loop;
	ctx->breadth = w->breadth;
	ctx->made = px_now(px);
	ctx->method = w->p.msg->method;
	ctx->outside = sides_of(px, &w->p);
	ctx->record_route = records_route(w);
	ctx->path = w->path;
	ctx->trusted = w->p.trusted;
	ctx->wants_turn = w->p.wants_turn;
	ctx->begins = !w->p.has_to_tag;
	ctx->asks = px->o.overload_control && sip_oc_asks(&w->p.basics->via);
	list_init(&ctx->branches);
	mark_reserves(w);
	for (unsigned i = 0; i < w->n_places; i++) {
		w->places[i]->ctx = ctx;
		list_append(&ctx->branches, &w->places[i]->node);
	}
	w->n_places = 0;
	list_append(&px->contexts, &ctx->node);
	sip_server_own(ctx->server, &sip_context_server, ctx);
	*ret_ctx = ctx;
	return SIP_ACCEPTED;
}

void sip_context_free(struct sip_context *ctx)
{
	list_for_each_safe (it, &ctx->branches)
		sip_branch_free(container_of(it, struct sip_branch, node));
	sip_lane_leave(ctx->px, ctx->lane);
	forget_request(ctx);
	free(ctx->reason);
	free(ctx->why);
	list_unlink(&ctx->node);
	free(ctx);
}

const struct sip_msg *sip_context_request(struct sip_context *ctx)
{
	struct sip_proxy *px = ctx->px;
	if (px->base_of == ctx)
		return &px->base;
	if (!ctx->raw)
		return NULL;
	sip_msg_deinit(&px->base);
	px->base_of = NULL;
	if (sip_msg_parse(&px->base, (struct text){ ctx->raw, ctx->raw_n }, SIP_DATAGRAM, NULL) != SIP_OK ||
	    sip_basics_read(&px->base, &px->base_basics) != SIP_OK)
		return NULL;
	px->base_of = ctx;
	return &px->base;
}

/* ---- trying ---- */

static bool is_due(const struct sip_branch *b)
{
	return b->state == SIP_B_WAITING && !b->reserve;
}

/* Starts the places of the highest q that were not tried yet, as many at once as Max-Breadth allows. */
static bool start_level(struct sip_context *ctx)
{
	struct sip_branch *now[SIP_PLACES_MAX];
	unsigned n = 0;
	int q = -1;
	list_for_each (it, &ctx->branches) {
		const struct sip_branch *b = container_of(it, struct sip_branch, node);
		if (is_due(b) && b->place.q > q)
			q = b->place.q;
	}
	list_for_each (it, &ctx->branches) {
		struct sip_branch *b = container_of(it, struct sip_branch, node);
		if (is_due(b) && b->place.q == q && n < SIP_PLACES_MAX && (int)n < ctx->breadth)
			now[n++] = b;
	}
	ctx->starting = true;
	for (unsigned i = 0; i < n; i++) {
		now[i]->breadth = ctx->breadth / (int)n + ((int)i < ctx->breadth % (int)n);
		sip_branch_start(now[i]);
	}
	ctx->starting = false;
	return n > 0;
}

void sip_context_start(struct sip_context *ctx)
{
	check(ctx);
	sip_context_left(ctx);
}

void sip_context_left(struct sip_context *ctx)
{
	if (!ctx->lane)
		return;
	list_for_each (it, &ctx->branches) {
		const struct sip_branch *b = container_of(it, struct sip_branch, node);
		if (b->state == SIP_B_LOOKING || (b->state == SIP_B_SENT && b->queued))
			return;
	}
	sip_lane_leave(ctx->px, steal_ptr(&ctx->lane));
}

static bool is_active(const struct sip_context *ctx)
{
	list_for_each (it, &ctx->branches) {
		const struct sip_branch *b = container_of(it, struct sip_branch, node);
		if (!b->orphan && (b->state == SIP_B_LOOKING || b->state == SIP_B_SENT))
			return true;
	}
	return false;
}

/* ---- the end ---- */

/* Behind the final response: what remains is what may bring a 2xx to INVITE. */
static void settle(struct sip_context *ctx)
{
	ctx->final = true;
	list_for_each_safe (it, &ctx->branches) {
		struct sip_branch *b = container_of(it, struct sip_branch, node);
		bool may = ctx->method == SIP_INVITE && b->client &&
			   sip_client_state(b->client) <= SIP_TX_ACCEPTED;
		if (!may)
			sip_branch_free(b);
	}
	sip_context_left(ctx);
	forget_request(ctx);
}

static void answered(struct sip_context *ctx, unsigned code)
{
	struct sip_proxy *px = ctx->px;
	if (!ctx->final && px->o.watch && px->o.watch->answered)
		px->o.watch->answered(px->o.watch_arg, ctx->method, code, px_now(px) - ctx->made);
}

static void heard(struct sip_context *ctx)
{
	struct sip_proxy *px = ctx->px;
	if (!ctx->heard && px->o.watch && px->o.watch->heard)
		px->o.watch->heard(px->o.watch_arg, ctx->method, px_now(px) - ctx->made);
	ctx->heard = true;
}

static void respond(struct sip_context *ctx, unsigned code, struct text bytes)
{
	struct sip_proxy *px = ctx->px;
	int r = sip_server_respond(ctx->server, code, bytes);
	if (code > 100)
		heard(ctx);
	if (r == -EALREADY &&
	    code / 100 == 2) /* a 2xx behind our own final response: it must not be lost (16.7.5) */
		px->o.ops->send(px->o.edge, sip_server_reply(ctx->server), bytes, NULL, NULL);
	px->counts.responses_out[ctx->method][code / 100]++;
}

static void refuse(struct sip_context *ctx, enum sip_refusal why)
{
	const struct sip_msg *m = sip_context_request(ctx);
	const struct sip_refusing r = {
		.why = why,
		.detail = ctx->why,
		.m = m,
		.b = &ctx->px->base_basics,
		.from = &ctx->from,
		.server = ctx->server,
	};
	answered(ctx, sip_refusal_rows[why].code);
	if (m)
		sip_px_refuse(ctx->px, &r);
	else
		sip_server_give_up(ctx->server);
}

/* All challenges of all branches in one response (16.7.7). */
static bool merge_challenges(struct sip_context *ctx, struct text *ret_bytes)
{
	struct sip_proxy *px = ctx->px;
	struct sip_msg best;
	bool good = sip_msg_parse(&best, (struct text){ ctx->best, ctx->best_n }, SIP_DATAGRAM,
				  NULL) == SIP_OK;
	ssize_t n = -1;
	if (good) {
		sip_edit_init(&px->edit, &best);
		sip_edit_remove(&px->edit, SIP_H_WWW_AUTHENTICATE);
		sip_edit_remove(&px->edit, SIP_H_PROXY_AUTHENTICATE);
		for (const char *p = ctx->challenges; p < ctx->challenges + ctx->challenges_n;
		     p += strlen(p) + 1)
			sip_edit_append_named(&px->edit,
					      *p == 'W' ? TEXT("WWW-Authenticate")
							: TEXT("Proxy-Authenticate"),
					      text_of(p + 1));
		if (sip_buffer_room(&px->out, sip_edit_bound(&px->edit)))
			n = sip_edit_write(&px->edit, px->out.p, px->out.cap);
	}
	sip_msg_deinit(&best);
	if (n > 0)
		*ret_bytes = (struct text){ px->out.p, (size_t)n };
	return n > 0;
}

void sip_context_why(struct sip_context *ctx, const char *why)
{
	if (!ctx->why && why && *why)
		ctx->why = strdup(why); /* without memory there is no detail */
}

static enum sip_refusal refusal_of(unsigned code)
{
	switch (code) {
	case 430: return SIP_REFUSE_FLOW;
	case 408: return SIP_REFUSE_TIMEOUT;
	case 480: return SIP_REFUSE_IN_CLEAR;
	case 482: return SIP_REFUSE_LOOP;
	case 502: return SIP_REFUSE_UNRESOLVED;
	case 487: return SIP_REFUSE_CANCELLED;
	default:
		return SIP_REFUSE_UNREACHABLE; /* 503, which is not for those upstream: 500 (16.7.6) */
	}
}

/* A response of ours with this code, in place of one that the policy did not let through. */
static void answer(struct sip_context *ctx, unsigned code)
{
	struct sip_proxy *px = ctx->px;
	const struct sip_msg *m = sip_context_request(ctx);
	const struct sip_answer a = { .code = code };
	ssize_t n = m ? sip_px_write(px, m, &px->base_basics, &a) : -1;
	answered(ctx, code);
	if (n > 0)
		respond(ctx, code, (struct text){ px->answer.p, (size_t)n });
	else
		sip_server_give_up(ctx->server);
}

static void send_best(struct sip_context *ctx)
{
	struct text bytes = { ctx->best, ctx->best_n };
	unsigned code = ctx->best_code;
	if (ctx->cancelled && (code == 0 || code == 408 || !ctx->best)) {
		refuse(ctx, SIP_REFUSE_CANCELLED);
	} else if (code == 408 && ctx->method != SIP_INVITE) {
		ctx->px->counts.refused[SIP_REFUSE_TIMEOUT]++;
		sip_server_give_up(ctx->server); /* by now nobody waits for it any more (RFC 4320 4.2) */
	} else if (code == 503 || (!ctx->best && refusal_of(code) != SIP_REFUSE_UNREACHABLE) ||
		   code == 0) {
		refuse(ctx, code == 503 && ctx->held_back ? SIP_REFUSE_SPARED : refusal_of(code));
	} else if (!ctx->best) {
		answer(ctx, code);
	} else {
		if ((code == 401 || code == 407) && ctx->n_challenged > 1)
			merge_challenges(ctx, &bytes);
		answered(ctx, code);
		respond(ctx, code, bytes);
	}
	settle(ctx);
}

/* Nobody answered, and nobody is left to be asked: who was given up for silent may only be slow. */
static bool back_to_silent(struct sip_context *ctx)
{
	bool any = false;
	if (ctx->best && ctx->best_code != 503)
		return false;
	list_for_each (it, &ctx->branches)
		any |= sip_branch_take_up(container_of(it, struct sip_branch, node));
	return any;
}

static void check(struct sip_context *ctx)
{
	while (!ctx->final && !ctx->starting && !is_active(ctx)) {
		if (!ctx->cancelled && !ctx->declined && (start_level(ctx) || back_to_silent(ctx)))
			continue;
		send_best(ctx);
	}
}

/* ---- responses ---- */

/* The smaller, the better: 6xx first, then the lowest class; of 4xx those that say what to do (16.7.6). */
static unsigned rank(unsigned code, bool ours)
{
	static const uint16_t telling[] = { 401, 407, 415, 420, 484 };
	unsigned r = code / 100 == 6 ? 0 : code / 100 * 10;
	bool tells = false;
	for (unsigned i = 0; i < ARRAY_LEN(telling); i++)
		tells |= telling[i] == code;
	if (!tells)
		r += code == 408 || ours ? 2 : 1;
	return r;
}

/* Remembers the challenges of a 401 or 407, for all must reach the client. */
static void collect_challenges(struct sip_context *ctx, struct text bytes)
{
	static const enum sip_header ids[] = { SIP_H_WWW_AUTHENTICATE, SIP_H_PROXY_AUTHENTICATE };
	struct sip_msg m;
	if (sip_msg_parse(&m, bytes, SIP_DATAGRAM, NULL) == SIP_OK)
		for (unsigned i = 0; i < ARRAY_LEN(ids); i++)
			for (const struct head_field *f = sip_find(&m, ids[i]); f;
			     f = sip_find_next(&m, f)) {
				size_t n = ctx->challenges_n + f->value.n + 2;
				char *p = n <= 4096 ? realloc(ctx->challenges, n) : NULL;
				if (!p)
					continue;
				ctx->challenges = p;
				p += ctx->challenges_n;
				*p = i == 0 ? 'W' : 'P';
				memcpy(p + 1, f->value.p, f->value.n);
				p[1 + f->value.n] = 0;
				ctx->challenges_n = (uint32_t)n;
			}
	sip_msg_deinit(&m);
	ctx->n_challenged++;
}

static void consider(struct sip_context *ctx, unsigned code, struct text bytes)
{
	bool better = !ctx->best_code || rank(code, !bytes.p) < rank(ctx->best_code, !ctx->best);
	char *copy = NULL;
	if ((code == 401 || code == 407) && bytes.p)
		collect_challenges(ctx, bytes);
	if (!better)
		return;
	if (bytes.p) {
		copy = malloc(bytes.n);
		if (!copy && ctx->best_code)
			return; /* the second best will do */
		if (copy)
			memcpy(copy, bytes.p, bytes.n);
	}
	free(ctx->best);
	ctx->best = copy;
	ctx->best_n = copy ? (uint32_t)bytes.n : 0;
	ctx->best_code = code;
}

static void cancel_others(struct sip_context *ctx, const struct sip_branch *but)
{
	list_for_each_safe (it, &ctx->branches) {
		struct sip_branch *b = container_of(it, struct sip_branch, node);
		if (b == but || b->state == SIP_B_DONE)
			continue;
		if (ctx->method == SIP_INVITE || b->state != SIP_B_SENT)
			sip_branch_cancel(b);
	}
}

/* The next one of its group may be tried: this one was not reached (RFC 5626 5.3). */
static void call_reserve(const struct sip_branch *b)
{
	list_for_each (it, &b->ctx->branches) {
		struct sip_branch *other = container_of(it, struct sip_branch, node);
		if (b->place.group && other->reserve && other->place.group == b->place.group) {
			other->reserve = false;
			return;
		}
	}
}

void sip_context_final(struct sip_branch *b, unsigned code, struct text bytes)
{
	struct sip_context *ctx = b->ctx;
	bool was_orphan = b->orphan;
	b->state = SIP_B_DONE;
	if (b->timed_out && code == 487) {
		code = 408;
		bytes.p = NULL;
	}
	if (ctx->final || (was_orphan && !b->timed_out))
		return;
	consider(ctx, code, bytes);
	if (code == 430 || code == 408 || code == 502 || code == 503)
		call_reserve(b);
	if (code >= 600 && !ctx->declined) {
		bool starting = ctx->starting;
		ctx->declined = ctx->starting = true; /* nobody else is asked (16.7.5) */
		cancel_others(ctx, b);
		ctx->starting = starting;
	}
	check(ctx);
}

void sip_context_provisional(struct sip_branch *b, unsigned code, struct text bytes)
{
	struct sip_context *ctx = b->ctx;
	if (!ctx->final && !b->orphan)
		respond(ctx, code, bytes);
}

void sip_context_success(struct sip_branch *b, unsigned code, struct text bytes)
{
	struct sip_context *ctx = b->ctx;
	b->state = SIP_B_DONE;
	if (ctx->final && ctx->method != SIP_INVITE)
		return;
	answered(ctx, code);
	respond(ctx, code, bytes);
	if (ctx->final)
		return;
	ctx->starting = true;
	ctx->elsewhere = ctx->final = true;
	cancel_others(ctx, b);
	ctx->starting = false;
	settle(ctx);
}

/* ---- CANCEL ---- */

unsigned sip_context_reason(const struct sip_context *ctx, struct sip_line *ret_line)
{
	ret_line->name = TEXT("Reason");
	if (ctx->reason)
		ret_line->value = text_of(ctx->reason);
	else if (ctx->elsewhere)
		ret_line->value = TEXT("SIP;cause=200;text=\"Call completed elsewhere\"");
	else
		return 0;
	return 1;
}

void sip_context_cancel(struct sip_context *ctx, const struct sip_msg *cancel)
{
	struct text reason = sip_value(cancel, SIP_H_REASON);
	if (ctx->final || ctx->cancelled || ctx->method != SIP_INVITE)
		return;
	ctx->cancelled = true;
	if (reason.p)
		ctx->reason = text_dup(reason);
	ctx->starting = true;
	cancel_others(ctx, NULL);
	ctx->starting = false;
	check(ctx);
}

/* ---- server transaction ---- */

static void on_trying_due(struct sip_server_tx *s, void *owner)
{
	struct sip_context *ctx = owner;
	struct sip_proxy *px = ctx->px;
	const struct sip_msg *m = sip_context_request(ctx);
	const struct sip_answer a = { .code = 100 };
	ssize_t n = m ? sip_px_write(px, m, &px->base_basics, &a) : -1;
	if (n > 0)
		sip_px_respond(px, s, &px->base_basics, &ctx->from, 100,
			       (struct text){ px->answer.p, (size_t)n });
}

static void on_server_ended(struct sip_server_tx *s, void *owner)
{
	(void)s;
	sip_context_free(owner);
}

const struct sip_server_user sip_context_server = { on_trying_due, on_server_ended };
