/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One branch: a place, the lookup of its next hop, the copy that is written for it (RFC 3261 16.6), and what happens
 * while its answer is awaited: the next address if this one fails (RFC 3263 4.3), the TCP twin of a UDP address for a
 * large request (18.1.1), another address in place of one to which no connection comes about, another try beside one that
 * says nothing at all (INVITE; all else must not arrive twice), and
 *
 *	timer C		an INVITE that rings too long is cancelled (16.8)
 */
#include <errno.h>
#include <string.h>
#include "sip-proxy/proxy_priv.h"

static const struct sip_client_user client_user;
static void send_copy(struct sip_branch *b);

/* ---- life ---- */

static void copy_text(char **at, struct text *t)
{
	if (!t->p)
		return;
	if (t->n > 0)
		memcpy(*at, t->p, t->n);
	t->p = *at;
	*at += t->n + 1;
}

static void looked_up(struct sip_lookup *l, int status, const char *why,
		      const struct sip_target *targets, unsigned n);
static void on_timer(struct timer *t, uint64_t now);

static size_t places_texts(const struct sip_place *place)
{
	return place->uri.n + place->routes.n + place->next.n + place->name.n + 4;
}

struct sip_branch *sip_branch_new(const struct sip_place *place)
{
	struct sip_branch *b = calloc(1, sizeof *b + places_texts(place));
	char *at;
	if (!b)
		return NULL;
	at = b->texts;
	b->place = *place;
	copy_text(&at, &b->place.uri);
	copy_text(&at, &b->place.routes);
	copy_text(&at, &b->place.next);
	copy_text(&at, &b->place.name);
	b->lookup.done = looked_up;
	b->timer.fire = on_timer;
	list_init(&b->node);
	return b;
}

void sip_branch_free(struct sip_branch *b)
{
	if (!b)
		return;
	timer_stop(&b->timer);
	if (b->state == SIP_B_LOOKING)
		b->ctx->px->o.ops->lookup_cancel(b->ctx->px->o.edge, &b->lookup);
	if (b->client)
		sip_client_abandon(b->client);
	list_unlink(&b->node);
	free(b->targets);
	free(b);
}

static void done(struct sip_branch *b, enum sip_refusal why)
{
	unsigned code = sip_refusal_rows[why].code;
	timer_stop(&b->timer);
	sip_context_final(b, why == SIP_REFUSE_UNREACHABLE ? 503 : code, (struct text){ 0 });
}

/* ---- where to ---- */

int sip_px_next_hop(const struct sip_uri *u, struct sip_next *ret_next)
{
	struct sip_next next = {
		.host = u->maddr.p ? u->maddr : u->host,
		.port = u->port,
		.sips = u->scheme == SIP_SCHEME_SIPS,
		.has_proto = u->transport.p != NULL,
	};
	if (u->scheme != SIP_SCHEME_SIP && u->scheme != SIP_SCHEME_SIPS)
		return -EBADMSG;
	if (next.has_proto && sip_proto_parse(u->transport, &next.proto) < 0)
		return -EBADMSG;
	*ret_next = next;
	return 0;
}

static enum sip_proto proto_of(const struct sip_next *next)
{
	if (!next->sips)
		return next->has_proto ? next->proto : SIP_UDP;
	return next->has_proto && (next->proto == SIP_WS || next->proto == SIP_WSS) ? SIP_WSS : SIP_TLS;
}

bool sip_px_direct(const struct sip_next *next, struct sip_target *ret_t)
{
	enum sip_proto proto = proto_of(next);
	struct sip_target t = { .hop.proto = proto, .name = next->host };
	if (addr_parse(next->host, 0, &t.hop.remote) < 0)
		return false;
	addr_set_port(&t.hop.remote, next->port ? next->port : sip_proto_rows[proto].port);
	*ret_t = t;
	return true;
}

/* The first value of "<sip:a;lr>, <sip:b;lr>", or of the request's Route. */
static bool first_route(const struct sip_branch *b, const struct sip_msg *m, struct sip_uri *ret_u)
{
	struct sip_values it = sip_values(m, SIP_H_ROUTE);
	struct text value = b->place.routes;
	struct sip_addr a;
	if (value.p) {
		ptrdiff_t end = text_find(value, '>');
		if (end >= 0)
			value.n = (size_t)end + 1;
	} else if (!sip_values_next(&it, &value)) {
		return false;
	}
	return sip_addr_parse(value, &a) == 0 && sip_uri_parse(a.uri, ret_u) == 0;
}

static int next_of(const struct sip_branch *b, const struct sip_msg *m, struct sip_next *ret_next)
{
	struct sip_uri u;
	int r;
	if (b->place.next.p ? sip_uri_parse(b->place.next, &u) < 0
			    : !first_route(b, m, &u) &&
				      sip_uri_parse(b->place.uri.p ? b->place.uri : m->uri, &u) < 0)
		return -EBADMSG;
	r = sip_px_next_hop(&u, ret_next);
	if (r < 0)
		return r;
	ret_next->sips |= !b->place.next.p &&
			  sip_branch_wants_tls(b); /* a Route without it is asked for as if it had it */
	ret_next->federation = b->place.federation;
	ret_next->sips_srv = b->place.sips_srv;
	return 0;
}

static struct text name_of(const struct sip_branch *b, const struct sip_next *next)
{
	return b->place.name.p ? b->place.name : next->host;
}

static void look_up(struct sip_branch *b, const struct sip_next *next)
{
	struct sip_proxy *px = b->ctx->px;
	int r = px->o.ops->lookup(px->o.edge, next, &b->lookup);
	if (r < 0) {
		done(b, SIP_REFUSE_UNREACHABLE);
		return;
	}
	b->state = SIP_B_LOOKING;
	if (!b->ctx->lane && !b->ctx->final) {
		const struct sip_msg *m = sip_context_request(b->ctx);
		if (m)
			b->ctx->lane = sip_lane_take(px, &px->base_basics, true);
	}
}

void sip_branch_start(struct sip_branch *b)
{
	struct sip_proxy *px = b->ctx->px;
	const struct sip_msg *m = sip_context_request(b->ctx);
	struct sip_next next;
	int r;
	if (!m) {
		done(b, SIP_REFUSE_UNREACHABLE);
		return;
	}
	r = next_of(b, m, &next);
	b->one = (struct sip_target){ .mutual = b->place.mutual };
	if (b->place.has_flow) {
		b->one.hop = b->place.hop;
		b->one.only_flow = b->place.only_flow;
		if (r == 0)
			b->one.name = name_of(b, &next);
		if (b->place.only_flow && !px->o.ops->alive(px->o.edge, &b->place.hop)) {
			done(b, SIP_REFUSE_FLOW);
			return;
		}
	} else if (r < 0) {
		done(b, SIP_REFUSE_UNRESOLVED);
		return;
	} else if (sip_px_direct(&next, &b->one)) {
		b->one.mutual = b->place.mutual;
		b->one.hop.iface = b->place.hop.iface;
		b->one.name = name_of(b, &next);
		px_known(px, &b->one);
	} else {
		look_up(b, &next);
		return;
	}
	b->n_targets = 1;
	send_copy(b);
}

static void looked_up(struct sip_lookup *l, int status, const char *why,
		      const struct sip_target *targets, unsigned n)
{
	struct sip_branch *b = container_of(l, struct sip_branch, lookup);
	struct sip_context *ctx = b->ctx;
	const struct sip_msg *m = sip_context_request(ctx);
	struct sip_next next;
	b->state = SIP_B_WAITING;
	if (status != 0)
		sip_context_why(ctx, why);
	b->cap_targets = 2 * MIN(n, SIP_TARGETS_MAX); /* each may be tried twice: see take_back() */
	if (m && status == 0 && n > 1)
		b->targets = malloc(b->cap_targets * sizeof *b->targets);
	if (!m || status != 0 || n == 0 || (n > 1 && !b->targets) || next_of(b, m, &next) < 0) {
		done(b, status != 0 ? SIP_REFUSE_UNRESOLVED : SIP_REFUSE_UNREACHABLE);
		sip_context_left(ctx);
		return;
	}
	b->n_targets = MIN(n, SIP_TARGETS_MAX);
	for (unsigned i = 0; i < b->n_targets; i++) {
		struct sip_target *t = b->targets ? &b->targets[i] : &b->one;
		*t = targets[i];
		t->name = name_of(b, &next); /* of the request's or the branch's own text: it stays */
		t->mutual = b->place.mutual;
		t->federation = b->place.federation;
		if (b->place.hop.iface)
			t->hop.iface = b->place.hop.iface;
		px_known(ctx->px, t);
	}
	send_copy(b);
	sip_context_left(ctx);
}

/* ---- what goes there ---- */

static int send_to(struct sip_branch *b, const struct sip_target *to)
{
	struct sip_context *ctx = b->ctx;
	struct sip_proxy *px = ctx->px;
	char branch[SIP_BRANCH_MAX];
	ssize_t n;
	int r;
	sip_branch_make(px->txs, ctx->loop, branch);
	n = sip_branch_write(b, to, branch);
	if (n < 0)
		return (int)n;
	if (sip_px_is_long((size_t)n, to) && !b->no_tcp)
		return -EMSGSIZE;
	const struct sip_client_start st = {
		.request = { px->out.p, (size_t)n },
		.method = ctx->method,
		.method_name = px->base.method_name,
		.branch = branch,
		.to = to,
		.user = &client_user,
		.owner = b,
	};
	r = sip_client_new(px->txs, &st, &b->client);
	if (r == 0)
		px->counts.requests_out[ctx->method]++;
	return r;
}

/* A small message behind a large one must not be the first: the turn is kept until the large one has left. */
static void keep_turn(struct sip_branch *b)
{
	struct sip_context *ctx = b->ctx;
	b->queued = sip_client_is_held(b->client);
	if (b->queued && !ctx->lane && !ctx->final && ctx->px->base_of == ctx)
		ctx->lane = sip_lane_take(ctx->px, &ctx->px->base_basics, true);
}

static void leave_turn(struct sip_branch *b)
{
	if (!b->queued)
		return;
	b->queued = false;
	sip_context_left(b->ctx);
}

bool sip_px_by_tcp(const struct sip_proxy *px, const struct sip_target *to, struct sip_target *ret_tcp)
{
	*ret_tcp = *to;
	ret_tcp->hop = (struct sip_hop){ .proto = SIP_TCP, .remote = to->hop.remote };
	return !(px->o.ops->fails && px->o.ops->fails(px->o.edge, ret_tcp));
}

/* To this target, by TCP if it is too large for UDP and TCP works (RFC 3261 18.1.1). */
static int try_target(struct sip_branch *b, const struct sip_target *to)
{
	struct sip_target tcp;
	int r = send_to(b, to);
	b->by_tcp = false;
	if (r != -EMSGSIZE || to->hop.proto != SIP_UDP || b->no_tcp)
		return r;
	if (sip_px_by_tcp(b->ctx->px, to, &tcp) && send_to(b, &tcp) == 0) {
		b->by_tcp = true;
		keep_turn(b);
		return 0;
	}
	b->no_tcp = true;
	return send_to(b, to);
}

static bool has_more(const struct sip_branch *b)
{
	return b->by_tcp || b->at + 1 < b->n_targets;
}

/* The hand that stands first: another try in place of a silent one or beside it, or timer C. */
static void wind(struct sip_branch *b)
{
	struct sip_proxy *px = b->ctx->px;
	bool more = has_more(b) && !b->ringing && !b->waited;
	if (more || b->ctx->method == SIP_INVITE)
		timers_set(px->o.timers, &b->timer,
			   px_now(px) + (more ? px->o.failover : px->o.timer_c));
}

/* A way out that leads to a listener of ours: a wrong address in a route, a partner's SRV record, a registered Path. */
static bool is_us(const struct sip_branch *b, const struct sip_target *to)
{
	const struct sip_proxy *px = b->ctx->px;
	char ip[ADDR_STRLEN];
	addr_print_ip(&to->hop.remote, ip);
	return px->o.ops->is_us(px->o.edge, text_of(ip), addr_port(&to->hop.remote));
}

/* If another place may be tried beside this one, both must share what Max-Breadth allows (RFC 5393 5.3.3). */
static void share_breadth(struct sip_branch *b)
{
	b->breadth += b->breadth_left;
	b->breadth_left = b->ctx->method == SIP_INVITE && b->at + 1 < b->n_targets ? b->breadth / 2 : 0;
	b->breadth -= b->breadth_left;
}

static void send_copy(struct sip_branch *b)
{
	int r = -ENETUNREACH;
	b->queued = b->waited = false;
	for (; b->at < b->n_targets; b->at++, b->no_tcp = false) {
		const struct sip_target *to = b->targets ? &b->targets[b->at] : &b->one;
		share_breadth(b);
		r = b->place.elsewhere && is_us(b, to)				       ? -ELOOP
		    : !sip_proto_rows[to->hop.proto].secure && sip_branch_wants_tls(b) ? -EPROTO
		    : sip_px_hold_back(b, to)					       ? -EBUSY
					      : try_target(b, to);
		if (r == 0) {
			b->state = SIP_B_SENT;
			wind(b);
			return;
		}
		if (r == -ENOMEM)
			break;
	}
	if (r == -ELOOP)
		sip_context_why(b->ctx, "the way leads back to a listener of ours");
	done(b, r == -ELOOP			       ? SIP_REFUSE_LOOP
		: r == -EPROTO			       ? SIP_REFUSE_IN_CLEAR
		: r == -ENOTCONN && b->place.only_flow ? SIP_REFUSE_FLOW
						       : SIP_REFUSE_UNREACHABLE);
}

/* ---- what comes back ---- */

static bool has_next(const struct sip_branch *b)
{
	const struct sip_context *ctx = b->ctx;
	if (ctx->final || ctx->cancelled || b->cancel_wanted || b->orphan || !ctx->raw)
		return false;
	return has_more(b);
}

/* The next address, if there is one and trying makes sense. */
static bool try_next(struct sip_branch *b)
{
	struct sip_context *ctx = b->ctx;
	if (!has_next(b))
		return false;
	if (b->by_tcp)
		b->no_tcp = true; /* the same one, by UDP */
	else
		b->at++;
	ctx->px->counts.failovers++;
	b->ringing = false;
	send_copy(b);
	return true;
}

/* What a response does to the branch's timers, and to a CANCEL that waits for it. */
static void on_progress(struct sip_branch *b, unsigned code)
{
	bool first = !b->ringing;
	leave_turn(b);
	if (code >= 200) {
		timer_stop(&b->timer);
		return;
	}
	b->ringing = true;
	if (b->cancel_wanted)
		sip_branch_cancel(b);
	else if (code > 100 || first)
		wind(b); /* timer C begins anew, but not by a 100 (16.7.2) */
}

static void on_response(struct sip_client_tx *c, void *owner, const struct sip_msg *m,
			const struct sip_basics *basics)
{
	struct sip_branch *b = owner;
	struct sip_context *ctx = b->ctx;
	struct sip_proxy *px = ctx->px;
	unsigned code = m->status;
	struct text bytes = { 0 };
	struct sip_return ret = {
		.proxy = px,
		.msg = m,
		.basics = basics,
		.from = sip_client_target(c)->hop,
		.to = ctx->from,
		.to_trusted = ctx->trusted,
		.wants_turn = ctx->wants_turn,
		.may_challenge = b->place.may_challenge,
		.place = &b->place,
		.edit = &px->edit,
	};
	sip_px_hear(px, &ret.from, &basics->via);
	on_progress(b, code);
	if (code == 100)
		return;
	if (code == 503) /* it has enough, or is ill: others of its name come first for a while */
		px->o.ops->report(px->o.edge, sip_client_target(c), EBUSY);
	if (code == 503 && has_next(b)) {
		sip_client_abandon(c);
		b->client = NULL;
		try_next(b);
		return;
	}
	sip_edit_init(&px->edit, m);
	sip_edit_remove_value(&px->edit, basics->via.raw);
	if (ctx->asks)
		sip_px_wish_edit(px, m);
	sip_px_state_length(&px->edit);
	if (!sip_px_return(px, &ret))
		return;
	if (ret.replace == 0 && sip_buffer_room(&px->out, sip_edit_bound(&px->edit))) {
		ssize_t n = sip_edit_write(&px->edit, px->out.p, px->out.cap);
		if (n > 0)
			bytes = (struct text){ px->out.p, (size_t)n };
	}
	if (ret.replace)
		code = ret.replace;
	if (code < 200 && bytes.p)
		sip_context_provisional(b, code, bytes);
	else if (code >= 200 && code < 300 && bytes.p)
		sip_context_success(b, code, bytes);
	else if (code >= 200)
		sip_context_final(b, code < 300 ? 500 : code, bytes);
}

static void on_failed(struct sip_client_tx *c, void *owner, enum sip_client_failure f, const char *why)
{
	struct sip_branch *b = owner;
	bool invite = b->ctx->method == SIP_INVITE;
	(void)c;
	sip_context_why(b->ctx, why);
	b->client = NULL;
	leave_turn(b);
	timer_stop(&b->timer);
	if ((f == SIP_CLIENT_TRANSPORT || (invite && !b->ringing)) && try_next(b))
		return;
	done(b, f == SIP_CLIENT_TRANSPORT ? SIP_REFUSE_UNREACHABLE : SIP_REFUSE_TIMEOUT);
}

static void on_ended(struct sip_client_tx *c, void *owner)
{
	struct sip_branch *b = owner;
	(void)c;
	b->client = NULL;
}

static const struct sip_client_user client_user = { on_response, on_failed, on_ended };

void sip_branch_cancel(struct sip_branch *b)
{
	struct sip_context *ctx = b->ctx;
	struct sip_line line;
	unsigned n = sip_context_reason(ctx, &line);
	if (b->state == SIP_B_LOOKING || b->state == SIP_B_WAITING) {
		if (b->state == SIP_B_LOOKING)
			ctx->px->o.ops->lookup_cancel(ctx->px->o.edge, &b->lookup);
		b->state = SIP_B_WAITING;
		done(b, SIP_REFUSE_CANCELLED);
		sip_context_left(ctx); /* whoever waits behind it waits for nothing more */
		return;
	}
	b->cancel_wanted = true; /* before a provisional response nothing may be sent (9.1) */
	if (b->state == SIP_B_SENT && b->client)
		sip_client_cancel(b->client, &line, n);
}

bool sip_branch_take_up(struct sip_branch *b)
{
	if (!b->orphan || b->state != SIP_B_SENT || !b->client || sip_client_state(b->client) != SIP_TX_CALLING)
		return false;
	b->orphan = b->cancel_wanted = false;
	b->waited = true;
	wind(b);
	return true;
}

/* ---- timers ---- */

/* Another place is tried beside a silent one, which only counts if it says yes after all. */
static void try_beside(struct sip_branch *b)
{
	struct sip_branch *other = sip_branch_new(&b->place);
	if (!other)
		return;
	other->ctx = b->ctx;
	other->breadth = b->breadth_left;
	b->breadth_left = 0;
	other->targets = steal_ptr(&b->targets);
	other->n_targets = b->n_targets;
	other->cap_targets = b->cap_targets;
	other->at = b->at + 1;
	for (unsigned i = 0; i < other->n_targets; i++) /* names of the place's own texts are the other's now */
		if (other->targets[i].name.p >= b->texts && other->targets[i].name.p < b->texts + places_texts(&b->place))
			other->targets[i].name.p = other->texts + (other->targets[i].name.p - b->texts);
	b->n_targets = 0;
	b->orphan = b->cancel_wanted = true;
	list_insert_before(&b->node, &other->node);
	b->ctx->px->counts.failovers++;
	send_copy(other);
}

/*
 * The request has not even left, for its connection is not there: it can be taken back and go elsewhere without being sent
 * twice. The place is tried once more when all others have failed, for it may only be slow; the connection goes on being made.
 */
static bool take_back(struct sip_branch *b)
{
	struct sip_context *ctx = b->ctx;
	struct sip_target slow = *sip_client_target(b->client);
	slow.name = b->targets ? b->targets[b->at].name : b->one.name;
	if (!sip_client_withdraw(b->client))
		return false;
	b->client = NULL;
	ctx->px->o.ops->report(ctx->px->o.edge, &slow, ETIMEDOUT);
	if (!b->by_tcp && b->targets && b->n_targets < b->cap_targets) {
		b->targets[b->n_targets] = b->targets[b->at];
		b->n_targets++;
	}
	try_next(b); /* if it was the last place, b may be gone */
	sip_context_left(ctx);
	return true;
}

/* A place has said nothing for so long that another one, if there is one, should be asked. */
static void on_silence(struct sip_branch *b)
{
	struct sip_proxy *px = b->ctx->px;
	if (has_next(b) && take_back(b))
		return;
	px->o.ops->report(px->o.edge, sip_client_target(b->client), ETIMEDOUT); /* until it says something */
	leave_turn(b);
	if (b->ctx->method == SIP_INVITE && has_next(b) && b->at + 1 < b->n_targets && b->breadth_left > 0) {
		try_beside(b);
		return;
	}
	b->waited = true;
	wind(b);
}

static void on_timer(struct timer *t, uint64_t now)
{
	struct sip_branch *b = container_of(t, struct sip_branch, timer);
	(void)now;
	if (b->state != SIP_B_SENT || !b->client)
		return;
	if (!b->ringing && !b->waited && has_more(b)) {
		on_silence(b);
		return;
	}
	if (b->ctx->method != SIP_INVITE)
		return;
	b->timed_out = true;
	if (b->ringing) {
		sip_branch_cancel(b);
		return;
	}
	b->orphan = b->cancel_wanted = true;
	b->state = SIP_B_SENT;
	done(b, SIP_REFUSE_TIMEOUT);
}
