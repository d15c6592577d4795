/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links to other agents: a visitor calls (OFFER), the host answers (ANSWER), both tell what else they find (ICE), and the two
 * children meet. One link is one call: 16 random bytes of the visitor, which every word of it names.
 *
 * An old offer is known by its epoch: it holds 16 random bytes of the host's process. The visitor learns them by a refusal, signed
 * and for this very call, and calls again. Within an epoch no call is answered twice; the host makes another epoch before its memory
 * of calls is full. So nobody needs a clock that is right.
 *
 * Timer of a link: no answer in time; later, a visitor's link that nobody wants any more.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/clock.h"
#include "tunnel/agent/direct_priv.h"
#include "tunnel/log_msgs.h"

enum { ANSWER_MS = 20 * 1000, UNWANTED_MS = 30 * 1000, CANDIDATES_MAX = 256 /* of each side in one generation of a call */ };

/* ---- the table ---- */

struct dlink *dlink_find(struct direct *d, uint32_t id)
{
	list_for_each (it, &d->links) {
		struct dlink *l = list_entry(it, struct dlink, node);

		if (l->id == id)
			return l;
	}
	return NULL;
}

struct dlink *dlink_of_call(struct direct *d, const struct identity_hash *peer, const uint8_t *call)
{
	list_for_each (it, &d->links) {
		struct dlink *l = list_entry(it, struct dlink, node);

		if (identity_hash_equal(&l->peer, peer) && memcmp(l->call, call, OFFER_CALL) == 0)
			return l;
	}
	return NULL;
}

/* For people who look at the server: which site is direct and which relayed, and why. Lost with the connection; told again. */
static void tell_server(const struct dlink *l, bool over)
{
	uint8_t state = l->stage == DLINK_TALKING ? l->told.state : (uint8_t)CHILD_LINK_CONNECTING; /* the wire has the same numbers */
	const struct wire_path_msg m = { .peer = { l->peer.b, WIRE_PIN }, .state = over ? (uint8_t)WIRE_PATH_OVER : state, .path = l->told.path, .host = l->role != CHILD_VISITOR,
					 .name = text_of(l->name), .reason = text_of(l->told.reason), .rtt_us = l->told.rtt_us,
					 .streams = l->told.streams, .since = l->told.since ? l->told.since : (uint64_t)l->begun };

	if (agent_tells_paths(l->end->agent))
		(void)agent_send(l->end->agent, WIRE_PATH, &m);
}

void dlinks_tell(struct direct *d, const struct agent_end *e)
{
	list_for_each (it, &d->links) {
		const struct dlink *l = list_entry(it, struct dlink, node);

		if (l->end == e)
			tell_server(l, false);
	}
}

/* What it was asked for it will not answer any more. */
void dlinks_server_down(struct direct *d, const struct agent_end *e)
{
	list_for_each (it, &d->links) {
		struct dlink *l = list_entry(it, struct dlink, node);

		l->relay_asked &= l->end != e;
	}
}

static void publish(struct dlink *l, const char *event)
{
	control_publish(l->d->as->svc->control, "agent.peers", json_pack("{s:s, s:o}", "event", event, "link", dlink_json(l)));
}

static void on_timer(struct timer *t, uint64_t now)
{
	struct dlink *l = container_of(t, struct dlink, timer);

	(void)now;
	if (l->stage != DLINK_TALKING)
		dlink_end(l, WIRE_R_TIMEOUT, "the other agent did not answer in time", true);
	else if (l->role == CHILD_VISITOR && !l->refs)
		dlink_end(l, WIRE_R_NONE, "nobody needs it any more", true);
}

static struct dlink *dlink_new(struct direct *d, struct agent_end *e, uint8_t role, const struct direct_peer *p)
{
	struct dlink *l = d->n_links < DIRECT_LINKS_MAX ? calloc(1, sizeof(*l)) : NULL;

	if (!l)
		return NULL;
	l->d = d;
	l->id = ++d->last_link;
	l->role = role;
	l->peer = p->id;
	l->end = e;
	l->begun = clock_unix_ms();
	l->timer.fire = on_timer;
	l->told.state = CHILD_LINK_CONNECTING;
	(void)snprintf(l->name, sizeof(l->name), "%s", p->name);
	list_append(&d->links, &l->node);
	d->n_links++;
	loop_timer_set(d->loop, &l->timer, ANSWER_MS);
	return l;
}

void dlink_end(struct dlink *l, enum wire_reason reason, const char *text, bool tell_peer)
{
	struct direct *d = l->d;
	struct offer bye = { .kind = OFFER_BYE, .reason = (uint8_t)reason, .text = text_of(text) };
	const struct child_link m = { .link = l->id, .reason = (uint8_t)reason, .text = text_of(text) };

	timer_stop(&l->timer);
	(void)direct_tell(d, CHILD_LINK_CLOSE, &m, -1);
	if (tell_peer && (l->sent || l->role == CHILD_HOST)) /* a visitor that has not called yet is not known there */
		(void)dlink_say(l, &bye);
	list_unlink(&l->node);
	d->n_links--;
	log_emit(&MSG_AGENT_LINK_ENDED, LF_STR("peer", l->name), LF_U64("link", l->id), LF_STR("reason", text));
	publish(l, "ended");
	tell_server(l, true);
	visits_link_over(d, l, reason, text);
	pings_link_over(d, l, reason, text);
	l->relay = relay_end_free(l->relay);
	json_decref(l->told.more);
	free(l);
	direct_want_child(d);
}

void dlinks_of_dead_child(struct direct *d, const char *why)
{
	char text[DIRECT_WHY];

	(void)snprintf(text, sizeof(text), "stile-agent-direct: %s", why);
	list_for_each_safe (it, &d->links) {
		struct dlink *l = list_entry(it, struct dlink, node);

		if (l->stage != DLINK_GATHERING) /* others wait for the next child */
			dlink_end(l, WIRE_R_ERROR, text, true);
	}
}

/* ---- called ---- */

void dlink_announce(struct dlink *l)
{
	const struct child_link_open m = { .link = l->id, .role = l->role, .peer = { l->peer.b, WIRE_PIN }, .name = text_of(l->name),
					   .dcid = { l->dcid, CHILD_DCID },
					   .head_start = l->head_start_ms == VISIT_ONLY_DIRECT ? CHILD_HEAD_START_ONLY_DIRECT :
												  (uint32_t)MIN(l->head_start_ms, 3600000u),
					   .no_relay = l->head_start_ms == VISIT_ONLY_DIRECT };

	if (child_ready(l->d->child))
		(void)direct_tell(l->d, CHILD_LINK_OPEN, &m, -1);
}

struct agent_end *direct_some_server(struct direct *d)
{
	for (unsigned i = 0; i < d->as->n_ends; i++)
		if (agent_meets(d->as->ends[i].agent))
			return &d->as->ends[i];
	return NULL;
}

static struct dlink *existing(struct direct *d, const struct identity_hash *id, uint64_t head_start_ms)
{
	list_for_each (it, &d->links) {
		struct dlink *l = list_entry(it, struct dlink, node);

		if (l->role == CHILD_VISITOR && l->head_start_ms == head_start_ms && identity_hash_equal(&l->peer, id))
			return l;
	}
	return NULL;
}

struct dlink *dlink_to(struct direct *d, const struct direct_peer *p, uint64_t head_start_ms, const char **ret_why)
{
	struct dlink *l = existing(d, &p->id, head_start_ms);
	struct agent_end *e = l ? l->end : direct_some_server(d);

	*ret_why = !d->enabled ? "agent.direct.enabled is false" :
		   !e ? "no server that knows direct links is connected" : "there are too many links, or no memory";
	if (!d->enabled || !e)
		return NULL;
	if (!l) {
		l = dlink_new(d, e, CHILD_VISITOR, p);
		if (!l)
			return NULL;
		l->head_start_ms = head_start_ms;
		if (bytes_random(l->call, sizeof(l->call)) < 0 || bytes_random(l->dcid, sizeof(l->dcid)) < 0) {
			dlink_end(l, WIRE_R_ERROR, "no random bytes", false);
			return NULL;
		}
		direct_want_child(d);
		dlink_announce(l);
	}
	if (l->stage == DLINK_TALKING)
		timer_stop(&l->timer);
	l->refs++;
	return l;
}

void dlink_release(struct dlink *l)
{
	if (--l->refs == 0 && l->stage == DLINK_TALKING)
		loop_timer_set(l->d->loop, &l->timer, UNWANTED_MS);
}

/* ---- what this side has gathered ---- */

/* False: these are too many. */
static bool told_of(struct dlink_told *t, const struct child_ice *m)
{
	if (m->generation > t->generation)
		*t = (struct dlink_told){ .generation = m->generation };
	t->candidates += m->n_candidates;
	return t->candidates <= CANDIDATES_MAX;
}

void dlink_on_ice(struct dlink *l, const struct child_ice *m)
{
	struct direct_peer *p = peer_find(l->d, &l->peer);
	struct offer o = { .kind = OFFER_ICE, .ice = *m };
	int r;

	if (!told_of(&l->own, m))
		return; /* the other side would not look at them */
	if (l->stage == DLINK_GATHERING && l->role == CHILD_VISITOR) {
		o.kind = OFFER_OFFER;
		o.dcid = (struct wire_bytes){ l->dcid, CHILD_DCID };
		if (p && p->has_epoch)
			o.epoch = (struct wire_bytes){ p->epoch, OFFER_EPOCH };
		l->stage = DLINK_CALLING;
	} else if (l->stage == DLINK_GATHERING) {
		o.kind = OFFER_ANSWER;
		l->stage = DLINK_TALKING;
		timer_stop(&l->timer);
	}
	r = dlink_say(l, &o);
	if (r < 0 && o.kind != OFFER_ICE) {
		dlink_end(l, WIRE_R_ERROR, r == -ENOTCONN ? "the server is not connected" : strerror(-r), false);
		return;
	}
	if (o.kind == OFFER_ANSWER)
		publish(l, "answered");
}

/* ---- what the other side says ---- */

static void pass_on(struct dlink *l, const struct offer *o)
{
	struct child_ice m = o->ice;

	if (!m.ufrag.n && !m.n_candidates && !m.extra.n && !m.generation)
		return; /* it has no ICE */
	m.link = l->id;
	if (!told_of(&l->theirs, &m)) { /* the rest is not looked at: no peer has so many places */
		m.n_candidates = 0;
		m.done = 1;
	}
	(void)direct_tell(l->d, CHILD_ICE_REMOTE, &m, -1);
}

static bool was_answered(struct direct *d, const uint8_t *call)
{
	for (unsigned i = 0; i < d->n_seen; i++)
		if (memcmp(d->seen[i], call, OFFER_CALL) == 0)
			return true;
	return false;
}

/* Before it cannot remember: what was offered until now is old. False: it can not. */
static bool remember(struct direct *d, const uint8_t *call)
{
	if (d->n_seen == DIRECT_SEEN_MAX) {
		if (bytes_random(d->epoch, sizeof(d->epoch)) < 0)
			return false;
		d->n_seen = 0;
	}
	memcpy(d->seen[d->n_seen++], call, OFFER_CALL);
	return true;
}

/* The oldest one makes way for its peer's next: it was started again, or has lost its way. */
static void make_room(struct direct *d, const struct identity_hash *peer)
{
	struct dlink *oldest = NULL;
	unsigned n = 0;

	list_for_each (it, &d->links) {
		struct dlink *l = list_entry(it, struct dlink, node);

		if (l->role != CHILD_HOST || !identity_hash_equal(&l->peer, peer))
			continue;
		oldest = oldest ? oldest : l;
		n++;
	}
	if (n >= DIRECT_LINKS_PER_PEER)
		dlink_end(oldest, WIRE_R_REPLACED, "", true);
}

void dlink_on_offer(struct direct *d, struct agent_end *e, struct direct_peer *p, const struct offer *o)
{
	struct dlink *l;

	if (!p->visitor && !p->guest) {
		direct_refuse(d, e, o, WIRE_R_NOT_ALLOWED, "this agent is not among the visitors there (agent.visitors)");
		return;
	}
	if (o->epoch.n != OFFER_EPOCH || memcmp(o->epoch.p, d->epoch, OFFER_EPOCH) != 0) {
		direct_refuse(d, e, o, WIRE_R_EPOCH, "");
		return;
	}
	if (was_answered(d, o->call.p) || !remember(d, o->call.p))
		return; /* the very same offer: somebody else says it, or could */
	make_room(d, &p->id);
	l = dlink_new(d, e, CHILD_HOST, p);
	if (!l) {
		direct_refuse(d, e, o, WIRE_R_LIMIT, "there are too many links");
		return;
	}
	memcpy(l->call, o->call.p, OFFER_CALL);
	memcpy(l->dcid, o->dcid.p, CHILD_DCID);
	l->heard = o->number;
	log_emit(&MSG_AGENT_LINK_CALLED, LF_STR("peer", l->name), LF_U64("link", l->id), LF_STR("server", e->server));
	direct_want_child(d);
	if (!child_ready(d->child)) {
		dlink_end(l, WIRE_R_ERROR, "stile-agent-direct is being started; ask again", true);
		return;
	}
	dlink_announce(l);
	pass_on(l, o);
}

/* The host did not know the epoch: the next call holds the right one. */
static void on_epoch(struct dlink *l, const struct offer *o)
{
	struct direct_peer *p = peer_find(l->d, &l->peer);

	if (!p || o->epoch.n != OFFER_EPOCH)
		return;
	memcpy(p->epoch, o->epoch.p, OFFER_EPOCH);
	p->has_epoch = true;
}

static void on_bye(struct dlink *l, const struct offer *o)
{
	char text[DIRECT_WHY];

	wire_text_copy(text, sizeof(text), o->text);
	if (o->reason == WIRE_R_EPOCH && l->role == CHILD_VISITOR)
		on_epoch(l, o);
	dlink_end(l, (enum wire_reason)o->reason, *text ? text : wire_reason_text(o->reason), false);
}

static void on_answer(struct dlink *l, const struct offer *o)
{
	if (l->role != CHILD_VISITOR || l->stage != DLINK_CALLING)
		return;
	l->stage = DLINK_TALKING;
	timer_stop(&l->timer);
	if (l->refs)
		pass_on(l, o);
	else
		dlink_end(l, WIRE_R_NONE, "nobody needs it any more", true);
}

void dlink_on_word(struct dlink *l, const struct offer *o)
{
	const struct child_signal s = { .link = l->id, .body = o->body };

	switch (o->kind) {
	case OFFER_ANSWER: on_answer(l, o); break;
	case OFFER_ICE: pass_on(l, o); break;
	case OFFER_SIGNAL: (void)direct_tell(l->d, CHILD_SIGNAL, &s, -1); break;
	case OFFER_BYE: on_bye(l, o); break;
	default: break;
	}
}

void dlink_on_lost(struct direct *d, struct agent_end *e, const struct wire_signal_lost *m)
{
	struct dlink *l = m->tag <= UINT32_MAX ? dlink_find(d, (uint32_t)m->tag) : NULL;
	char text[DIRECT_WHY];

	contact_lost(d, m);
	guests_lost(d, m);
	if (!l || l->end != e)
		return;
	wire_text_copy(text, sizeof(text), m->text);
	if (m->reason == WIRE_R_UNKNOWN_KEY)
		log_emit(&MSG_AGENT_PEER_CHANGED, LF_STR("peer", l->name), LF_STR("identity", text));
	if (l->stage == DLINK_CALLING) /* later words are of use, but the link can do without */
		dlink_end(l, (enum wire_reason)m->reason, *text ? text : wire_reason_text(m->reason), false);
}

/* ---- its relay ---- */

static void no_carrier(struct dlink *l, const char *why, bool final)
{
	const struct child_carrier m = { .link = l->id, .kind = CHILD_PATH_RELAY, .text = text_of(why), .final = final };

	(void)direct_tell(l->d, CHILD_CARRIER, &m, -1);
}

static void on_joined(struct relay_end *r, int fd, void *arg)
{
	struct dlink *l = arg;
	struct child_carrier m = { .link = l->id, .kind = CHILD_PATH_RELAY, .text = text_of(l->end->server) };

	(void)r;
	(void)direct_tell(l->d, CHILD_CARRIER, &m, fd);
}

static void on_relay_over(struct relay_end *r, const char *why, void *arg)
{
	struct dlink *l = arg;

	(void)r;
	l->relay = relay_end_free(l->relay);
	no_carrier(l, why, false);
}

static const struct relay_end_ops relay_ops = { .joined = on_joined, .over = on_relay_over };

/* The child wants a relay before it has gathered anything: direct paths are switched off. False: the link has ended. */
static bool begin_without_ice(struct dlink *l)
{
	struct direct *d = l->d;
	const uint32_t id = l->id;

	dlink_on_ice(l, &(struct child_ice){ .link = id, .done = 1 });
	return dlink_find(d, id) != NULL;
}

void dlink_want_carrier(struct dlink *l)
{
	const struct wire_relay m = { .identity = { l->peer.b, WIRE_PIN }, .call = { l->call, WIRE_CALL } };

	if (l->stage == DLINK_GATHERING && !begin_without_ice(l))
		return;
	if (l->relay_asked)
		return;
	l->relay = relay_end_free(l->relay);
	if (l->role == CHILD_VISITOR && l->head_start_ms == VISIT_ONLY_DIRECT) {
		no_carrier(l, "head_start is unlimited: only direct paths are wanted", true);
		return;
	}
	l->relay_asked = agent_meets(l->end->agent) && agent_send(l->end->agent, WIRE_RELAY, &m) == 0;
	if (!l->relay_asked)
		no_carrier(l, "the server is not connected", false);
}

static void on_granted(struct dlink *l, uint64_t session)
{
	int r = relay_end_new(l->end->agent, session, &relay_ops, l, &l->relay);

	l->relay_asked = false;
	if (r < 0)
		no_carrier(l, strerror(-r), false);
}

void dlink_on_relay(struct direct *d, struct agent_end *e, const struct wire_relay *m)
{
	struct identity_hash peer;
	struct dlink *l;
	char text[DIRECT_WHY];

	memcpy(peer.b, m->identity.p, sizeof(peer.b));
	l = dlink_of_call(d, &peer, m->call.p);
	if (!l || l->end != e)
		return;
	if (m->reason) {
		l->relay_asked = false;
		wire_text_copy(text, sizeof(text), m->text);
		no_carrier(l, *text ? text : wire_reason_text(m->reason), m->reason == WIRE_R_NOT_ALLOWED);
	} else if (!m->session) {
		dlink_want_carrier(l);
	} else if (l->relay_asked) {
		on_granted(l, m->session);
	}
}

/* ---- what the child tells ---- */

void dlink_on_show(struct dlink *l, json_t *more)
{
	json_decref(l->told.more);
	l->told.more = more;
}

static void log_path(const struct dlink *l)
{
	log_emit(&MSG_AGENT_LINK_PATH, LF_STR("peer", l->name), LF_U64("link", l->id), LF_STR("path", child_path_names[l->told.path]),
		 LF_STR("pair", l->told.pair), LF_STR("reason", l->told.reason), LF_U64("rtt_us", l->told.rtt_us));
}

void dlink_on_state(struct dlink *l, const struct child_link_state_msg *m)
{
	bool changed = l->told.state != m->state || l->told.path != m->path, other_reason = !text_eq(m->reason, text_of(l->told.reason));

	l->told.state = m->state;
	l->told.path = m->path;
	l->told.local = m->local;
	l->told.remote = m->remote;
	l->told.rtt_us = m->rtt_us;
	l->told.loss_ppm = m->loss_ppm;
	l->told.streams = m->streams;
	l->told.moves = m->moves;
	l->told.gap_max_us = m->gap_max_us;
	memcpy(l->told.rate, m->rate, sizeof(m->rate));
	memcpy(l->told.bytes, m->bytes, sizeof(m->bytes));
	l->told.since = m->since;
	l->told.local_candidates = m->local_candidates;
	l->told.remote_candidates = m->remote_candidates;
	l->told.trying = m->trying;
	wire_text_copy(l->told.reason, sizeof(l->told.reason), m->reason);
	wire_text_copy(l->told.pair, sizeof(l->told.pair), m->pair);
	if (changed || other_reason)
		tell_server(l, false);
	if (!changed)
		return;
	log_path(l);
	publish(l, "path");
	visits_link_news(l);
	ping_link_news(l);
}
