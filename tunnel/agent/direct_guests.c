/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Being a guest (stile get; docs/decisions/0024-sharing.md): whoever has a share is asked for through the server by the share's id, proves that he
 * has its key and is proven ours, and is visited then: a port here leads to what is shared.
 *
 * While the sender is not there it is asked for again; when it was restarted and does not know us any more, too. What is wrong for good (another
 * key, no such share) ends the request.
 *
 * Timer: no answer in time, or the next try.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/agent/direct_priv.h"

enum { INTERRUPTED_MS = 3000 };
enum { GUESTS_MAX = 64, ANSWER_MS = 8 * 1000, RETRY_FIRST_MS = 1000, RETRY_LAST_MS = 10 * 1000, PATIENCE_MS = 45 * 1000 };
#define GUEST_TAG (UINT64_C(1) << 63)

static const char asleep[] = "the sender's machine is not connected: it may be asleep or without a network";

struct dguest {
	struct list node;
	struct direct *d;
	uint32_t number;
	uint64_t id;
	uint8_t knock[PAIRING_SHARE_KEY];
	char head_start[32];
	struct pairing p;
	bool asking, met;
	struct identity_hash host;
	bool has_host;
	uint8_t kind;
	unsigned tries;
	uint64_t unknown_since; /* loop time: so long it is said that there is no such share; 0: it is not */
	struct timer timer;
	struct dvisit *visit;
	char why[DIRECT_WHY];
	struct control_request *request;
};

static void guest_free(struct dguest *g)
{
	timer_stop(&g->timer);
	list_unlink(&g->node);
	if (g->visit)
		visit_remove(g->visit);
	if (g->has_host)
		peer_guest_gone(g->d, &g->host);
	bytes_wipe(g->knock, sizeof(g->knock));
	free(g);
}

static void give_up(struct dguest *g, const char *why)
{
	struct direct *d = g->d;

	control_fail(steal_ptr(&g->request), "failed", NULL, "%s", why);
	guest_free(g);
	direct_want_child(d);
}

void guest_end(struct dguest *g, const char *why)
{
	give_up(g, why);
}

void guests_free(struct direct *d)
{
	list_for_each_safe (it, &d->guests) {
		struct dguest *g = list_entry(it, struct dguest, node);

		control_fail(steal_ptr(&g->request), "cancelled", NULL, "the agent stops");
		guest_free(g);
	}
}

/* ---- what is told ---- */

static void news(struct dguest *g)
{
	char at[ADDR_STRLEN];
	bool listens = g->visit && g->visit->fd >= 0;
	json_t *link = g->visit && g->visit->link ? dlink_json(g->visit->link) : json_null();
	const char *why = g->why[0] ? g->why : g->visit ? g->visit->why : "";

	control_progress(g->request, json_pack("{s:s, s:s, s:s, s:o}", "kind", !g->met ? "" : g->kind == WIRE_SHARE_TCP ? "tcp" : "http", "listen",
					       listens ? addr_print(&g->visit->at, at) : "", "why", why, "link", link));
}

static bool is_interrupted(const struct dguest *g)
{
	const struct dlink *l = g->visit ? g->visit->link : NULL;

	return l && l->stage == DLINK_TALKING && l->told.state == CHILD_LINK_INTERRUPTED;
}

/* A link that goes silent may come back; or the sender was started again, and knows nothing of it. */
void guest_news(struct dguest *g)
{
	if (!g->request)
		return;
	if (is_interrupted(g) && !g->asking && !timer_is_set(&g->timer))
		loop_timer_set(g->d->loop, &g->timer, INTERRUPTED_MS);
	news(g);
}

/* ---- asked for ---- */

static void later(struct dguest *g, const char *why)
{
	uint64_t wait = (uint64_t)RETRY_FIRST_MS << MIN(g->tries, 5u);

	g->asking = false;
	g->tries++;
	(void)snprintf(g->why, sizeof(g->why), "%.*s", (int)sizeof(g->why) - 1, why);
	loop_timer_set(g->d->loop, &g->timer, MIN(wait, (uint64_t)RETRY_LAST_MS));
	news(g);
}

/* The sender's agent, or its server, may have been restarted and not have heard of it yet; the first time there is nothing to hope for. */
static void unknown(struct dguest *g, const char *why)
{
	uint64_t now = loop_now(g->d->loop);

	if (!g->unknown_since)
		g->unknown_since = now;
	if (!g->met || now - g->unknown_since >= PATIENCE_MS)
		give_up(g, g->met ? "the sender has ended the share" : why);
	else
		later(g, "the sender does not share it just now");
}

static struct agent_end *some_server(struct direct *d)
{
	for (unsigned i = 0; i < d->as->n_ends; i++)
		if (agent_shares(d->as->ends[i].agent))
			return &d->as->ends[i];
	return NULL;
}

/* An agent that is a guest itself is told so at the door. */
static bool refused_at_the_door(const struct direct *d)
{
	struct agent_info i;

	for (unsigned n = 0; n < d->as->n_ends && agent_config_of(d->as)->guest; n++) {
		agent_info(d->as->ends[n].agent, &i);
		if (i.refused == WIRE_R_UNKNOWN_SHARE)
			return true;
	}
	return false;
}

static const char *why_no_server(const struct direct *d)
{
	static char why[300];
	struct agent_info i;

	for (unsigned n = 0; n < d->as->n_ends; n++) {
		agent_info(d->as->ends[n].agent, &i);
		if (i.state == AGENT_UP)
			return "the server is older than sharing, or does not allow it (tunnel.direct.enabled)";
		if (i.why[0]) {
			(void)snprintf(why, sizeof(why), "not connected to %.80s: %.180s", d->as->ends[n].server, i.why);
			return why;
		}
	}
	return "the agent is not connected to its server yet";
}

static void ask(struct dguest *g)
{
	struct agent_end *e = some_server(g->d);
	uint8_t body[PAIRING_BODY_MAX] = { PAIRING_BY_SHARE };
	struct wr w = wr_init(body + 1, ENROL_ID_LEN);
	struct offer o = { .kind = OFFER_KNOCK, .call = { g->p.call, OFFER_CALL }, .number = 1, .body = { body, sizeof(body) } };
	static const struct identity_hash nobody;

	if (!e) {
		if (refused_at_the_door(g->d))
			unknown(g, wire_reason_text(WIRE_R_UNKNOWN_SHARE));
		else
			later(g, why_no_server(g->d));
		return;
	}
	o.to = (struct wire_bytes){ nobody.b, WIRE_PIN };
	wr_u64(&w, g->id);
	g->p.visitor = *identity_hash(dialers_identity(g->d->as->dialers));
	if (bytes_random(g->p.call, sizeof(g->p.call)) < 0 || pairing_share_proof(&g->p, g->knock, false, body + 1 + ENROL_ID_LEN) < 0 ||
	    direct_say_share(e, &o, g->id, GUEST_TAG | g->number) < 0) {
		later(g, "the server is not connected");
		return;
	}
	g->asking = true;
	loop_timer_set(g->d->loop, &g->timer, ANSWER_MS);
}

static void on_timer(struct timer *t, uint64_t now)
{
	struct dguest *g = container_of(t, struct dguest, timer);

	(void)now;
	if (g->asking)
		later(g, "the sender's machine does not answer: it may be asleep");
	else if (!g->met || !g->visit || !g->visit->link || is_interrupted(g))
		ask(g);
}

void guests_lost(struct direct *d, const struct wire_signal_lost *m)
{
	char text[DIRECT_WHY];

	list_for_each_safe (it, &d->guests) {
		struct dguest *g = list_entry(it, struct dguest, node);

		if (m->tag != (GUEST_TAG | g->number) || !g->asking)
			continue;
		wire_text_copy(text, sizeof(text), m->text);
		if (m->reason == WIRE_R_UNKNOWN_SHARE)
			unknown(g, wire_reason_text(m->reason));
		else if (m->reason == WIRE_R_PROTOCOL) /* asked again it would be no other */
			give_up(g, *text ? text : wire_reason_text(m->reason));
		else
			later(g, m->reason == WIRE_R_NOT_THERE ? asleep : *text ? text : wire_reason_text(m->reason));
	}
}

/* A server is there: whoever waits need not wait longer. */
void guests_try(struct direct *d)
{
	list_for_each (it, &d->guests) {
		struct dguest *g = list_entry(it, struct dguest, node);

		if (!g->asking && timer_is_set(&g->timer))
			loop_timer_set(d->loop, &g->timer, 0);
	}
}

/* ---- met ---- */

static int make_visit(struct dguest *g)
{
	char id[IDENTITY_STRLEN], target[64], err[300];
	struct cfg *cfg = NULL;
	json_t *o;
	int r;

	(void)snprintf(target, sizeof(target), DIRECT_SHARE_PREFIX "%016llx:1", (unsigned long long)g->id);
	o = json_pack("{s:s, s:s, s:s, s:s, s:s*}", "agent", "sender", "identity", identity_print(&g->host, id), "target", target, "listen",
		      "127.0.0.1:0", "head_start", g->head_start[0] ? g->head_start : NULL);
	r = visit_parse(o, err, sizeof(err), &cfg);
	json_decref(o);
	if (r == 0)
		r = visit_add(g->d, cfg, NULL, &g->visit, err, sizeof(err));
	if (r < 0) {
		give_up(g, err);
		return r;
	}
	g->visit->guest = g;
	return 0;
}

static void meet(struct dguest *g, uint8_t kind, struct text name)
{
	struct identity_hash host = g->p.host;
	char who[WIRE_NAME_MAX + 1];
	struct direct_peer *p;

	wire_text_copy(who, sizeof(who), name);
	if (g->has_host && !identity_hash_equal(&g->host, &host)) { /* the same share on another agent: a new visit */
		if (g->visit)
			visit_remove(steal_ptr(&g->visit));
		g->has_host = false;
		peer_guest_gone(g->d, &g->host);
	}
	if (!g->has_host) {
		p = peer_add(g->d, &host, who);
		if (!p) {
			give_up(g, "out of memory");
			return;
		}
		p->guest++;
		g->host = host;
		g->has_host = true;
	}
	g->met = true;
	g->asking = false;
	g->kind = kind;
	g->tries = 0;
	g->unknown_since = 0;
	g->why[0] = '\0';
	timer_stop(&g->timer);
	if (!g->visit && make_visit(g) < 0)
		return;
	if (is_interrupted(g))
		dlink_end(g->visit->link, WIRE_R_TIMEOUT, "the way was interrupted for long", true);
	visit_try(g->visit);
	news(g);
}

bool guests_heard(struct direct *d, const struct offer *o, struct text name)
{
	list_for_each_safe (it, &d->guests) {
		struct dguest *g = list_entry(it, struct dguest, node);
		uint8_t proof[PAIRING_PROOF];
		struct pairing_body b;
		char text[DIRECT_WHY];

		if (!g->asking || memcmp(g->p.call, o->call.p, OFFER_CALL) != 0)
			continue;
		if (o->kind == OFFER_BYE) {
			wire_text_copy(text, sizeof(text), o->text);
			if (o->reason == WIRE_R_UNKNOWN_SHARE)
				unknown(g, wire_reason_text(o->reason));
			else if (o->reason == WIRE_R_PASSWORD)
				give_up(g, "the code is not that of the share");
			else
				later(g, *text ? text : wire_reason_text(o->reason));
			return true;
		}
		if (o->kind != OFFER_NONCE_MSG || pairing_read(o->kind, &o->body, &b) != WIRE_OK || b.way != PAIRING_BY_SHARE)
			return false;
		memcpy(g->p.host.b, o->from.p, IDENTITY_LEN);
		if (pairing_share_proof(&g->p, g->knock, true, proof) < 0 || !bytes_equal_ct(proof, b.proof.p, sizeof(proof)))
			return true; /* somebody else: the right one may still answer */
		meet(g, b.kind, name);
		return true;
	}
	return false;
}

/* The sender does not know us any more: it was restarted. */
void guest_link_over(struct dguest *g, enum wire_reason reason)
{
	if (reason != WIRE_R_UNKNOWN_PEER && reason != WIRE_R_NOT_ALLOWED)
		return;
	g->asking = false;
	loop_timer_set(g->d->loop, &g->timer, 0);
}

/* ---- asked for by stile get ---- */

static void on_cancel(struct control_request *rq, void *arg)
{
	struct dguest *g = arg;
	struct direct *d = g->d;

	g->request = NULL;
	guest_free(g);
	direct_want_child(d);
	control_fail(rq, "cancelled", NULL, "the visit is over");
}

static const char *read_words(struct dguest *g, const json_t *args)
{
	const char *start = json_string_value(json_object_get(args, "head_start"));
	const char *bad = share_read_words(args, &g->id, g->knock);

	if (bad)
		return bad;
	if (start && strlen(start) >= sizeof(g->head_start))
		return "head_start must be a time";
	(void)snprintf(g->head_start, sizeof(g->head_start), "%s", start ? start : "");
	return NULL;
}

static void verb_guest(struct control_request *rq, const json_t *args, void *arg)
{
	struct direct *d = arg;
	struct dguest *g;
	const char *bad = d->enabled ? "too many guests, or no memory" : "agent.direct.enabled is false";
	unsigned n = 0;

	list_for_each (it, &d->guests)
		n++;
	g = d->enabled && n < GUESTS_MAX ? calloc(1, sizeof(*g)) : NULL;
	if (g)
		bad = read_words(g, args);
	if (bad) {
		free(g);
		control_fail(rq, "bad-request", NULL, "%s", bad);
		return;
	}
	g->d = d;
	g->number = ++d->last_guest;
	g->request = rq;
	g->timer.fire = on_timer;
	list_append(&d->guests, &g->node);
	control_on_cancel(rq, on_cancel, g);
	ask(g);
}

static const struct control_verb verbs[] = {
	{ "agent.guest", CONTROL_OPERATOR, verb_guest, "{share, knock, head_start}: a port here that leads to what somebody shares, until the request is cancelled "
						       "(stile get); progress tells the port, the path, and why it waits" },
};

void guests_add_verbs(struct direct *d)
{
	control_add_verbs(d->as->svc->control, verbs, ARRAY_LEN(verbs), d);
}
