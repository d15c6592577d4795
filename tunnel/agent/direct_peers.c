/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is known: visitors and visited agents of the configuration (and of the store), by their keys. And what is said between agents:
 * every offer is signed, and read only from somebody who is known, within what he may say.
 *
 * Each word is charged before its signature is looked at: a flood costs that much until the allowance of the peer is gone, and
 * nothing after that.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/json.h"
#include "common/stored.h"
#include "tunnel/agent/direct_priv.h"
#include "tunnel/log_msgs.h"

enum { WORDS_BURST = 100, WORD_EVERY_MS = 100 };

/* ---- the table ---- */

struct direct_peer *peer_find(struct direct *d, const struct identity_hash *id)
{
	list_for_each (it, &d->peers) {
		struct direct_peer *p = list_entry(it, struct direct_peer, node);

		if (identity_hash_equal(&p->id, id))
			return p;
	}
	return NULL;
}

struct direct_peer *peer_named(struct direct *d, const char *name)
{
	struct direct_peer *found = NULL;

	list_for_each (it, &d->peers) {
		struct direct_peer *p = list_entry(it, struct direct_peer, node);

		if (strcmp(p->name, name) != 0 || (!p->visitor && !p->host)) /* guests have no name that counts */
			continue;
		if (found)
			return NULL;
		found = p;
	}
	return found;
}

static void peer_free(struct direct_peer *p)
{
	list_unlink(&p->node);
	free(p->allow.items);
	free(p);
}

struct direct_peer *peer_add(struct direct *d, const struct identity_hash *id, const char *name)
{
	struct direct_peer *p = peer_find(d, id);

	if (!p)
		p = calloc(1, sizeof(*p));
	if (!p || p->node.next) {
		if (p && !p->name[0])
			(void)snprintf(p->name, sizeof(p->name), "%s", name);
		return p;
	}
	p->id = *id;
	p->words.left = WORDS_BURST;
	(void)snprintf(p->name, sizeof(p->name), "%s", name);
	list_append(&d->peers, &p->node);
	return p;
}

void peers_free(struct direct *d)
{
	d->stored = stored_free(d->stored);
	list_for_each_safe (it, &d->peers)
		peer_free(list_entry(it, struct direct_peer, node));
}

static int set_allow(struct direct_peer *p, const struct cfg_list *allow)
{
	struct reach *r = NULL;

	if (allow->n) {
		r = malloc(allow->n * sizeof(*r));
		if (!r)
			return -ENOMEM;
		memcpy(r, allow->items, allow->n * sizeof(*r));
	}
	p->less |= reaches_less(&p->allow, allow);
	free(p->allow.items);
	p->allow = (struct cfg_list){ .items = r, .n = allow->n };
	return 0;
}

static void end_links_of(struct direct *d, const struct identity_hash *id, uint8_t role, const char *why)
{
	list_for_each_safe (it, &d->links) {
		struct dlink *l = list_entry(it, struct dlink, node);

		if (l->role == role && identity_hash_equal(&l->peer, id))
			dlink_end(l, WIRE_R_NOT_ALLOWED, why, true);
	}
}

/* A visitor of the file is what the file says, whatever the store has. */
static int add_stored(struct direct *d)
{
	const char *key;
	json_t *body;
	char err[256];
	int r = 0;

	json_object_foreach(stored_bodies(d->stored), key, body) {
		_cleanup_(cfg_freep) struct cfg *cfg = NULL;
		const struct peer_config *c;
		struct direct_peer *p;

		if (peer_parse(body, err, sizeof(err), &cfg) < 0)
			continue; /* nobody is let in by what cannot be read */
		c = cfg_values(cfg);
		p = peer_add(d, &c->identity.id, c->name ? c->name : "");
		if (!p || (c->visitor && !p->visitor && set_allow(p, &c->allow) < 0))
			r = -ENOMEM;
		if (!p)
			continue;
		p->visitor |= c->visitor;
		p->host |= c->host;
	}
	return r;
}

/* Whom a visit of the store names by key. */
static int add_visited(struct direct *d)
{
	const char *key;
	json_t *body;
	char err[256];

	json_object_foreach(stored_bodies(d->kept), key, body) {
		_cleanup_(cfg_freep) struct cfg *cfg = NULL;
		const struct visit_config *v;
		struct direct_peer *p;

		if (visit_parse(body, err, sizeof(err), &cfg) < 0)
			continue;
		v = cfg_values(cfg);
		p = v->identity.set ? peer_add(d, &v->identity.id, v->agent) : NULL;
		if (v->identity.set && !p)
			return -ENOMEM;
		if (p)
			p->host = true;
	}
	return 0;
}

void peers_reach_less(struct direct *d)
{
	list_for_each (it, &d->peers)
		list_entry(it, struct direct_peer, node)->less = true;
}

/* What it has open may lead to what is not for it any more: its links end, and it makes new ones. */
void peer_reaches_less(struct direct *d, const struct identity_hash *id)
{
	end_links_of(d, id, CHILD_HOST, "what the visitor may reach is less than before");
}

int peers_configure(struct direct *d, const struct agent_config *c)
{
	const struct visitor_config *w = c->visitors.items;
	const struct visit_config *v = c->visits.items;

	list_for_each (it, &d->peers) {
		struct direct_peer *p = list_entry(it, struct direct_peer, node);

		p->visitor = p->host = p->of_file = false;
	}
	for (size_t i = 0; i < c->visitors.n; i++) {
		struct direct_peer *p = w[i].enabled ? peer_add(d, &w[i].identity.id, w[i].name ? w[i].name : "") : NULL;

		if (w[i].enabled && (!p || set_allow(p, &w[i].allow) < 0))
			return -ENOMEM;
		if (p)
			p->visitor = p->of_file = true;
	}
	for (size_t i = 0; i < c->visits.n; i++) {
		struct direct_peer *p = v[i].identity.set ? peer_add(d, &v[i].identity.id, v[i].agent) : NULL;

		if (v[i].identity.set && !p)
			return -ENOMEM;
		if (p)
			p->host = p->of_file = true;
	}
	if (add_stored(d) < 0 || add_visited(d) < 0)
		return -ENOMEM;
	list_for_each_safe (it, &d->peers) {
		struct direct_peer *p = list_entry(it, struct direct_peer, node);

		if (!p->visitor && !p->guest)
			end_links_of(d, &p->id, CHILD_HOST, "the other agent is not welcome any more");
		else if (p->less)
			peer_reaches_less(d, &p->id);
		p->less = false;
		if (!p->visitor && !p->host && !p->guest) {
			end_links_of(d, &p->id, CHILD_VISITOR, "the other agent is not known any more"); /* it would not be listened to */
			peer_free(p);
		}
	}
	return 0;
}

void peer_guest_gone(struct direct *d, const struct identity_hash *id)
{
	struct direct_peer *p = peer_find(d, id);

	if (!p || --p->guest)
		return;
	if (!p->visitor)
		end_links_of(d, &p->id, CHILD_HOST, "its share is over");
	if (!p->visitor && !p->host)
		peer_free(p);
}

bool direct_may_speak(struct direct_words *w, uint64_t now, unsigned burst, unsigned every_ms)
{
	uint64_t gained = (now - w->at) / every_ms;

	w->left = (unsigned)MIN(w->left + gained, (uint64_t)burst);
	w->at += gained * every_ms;
	if (!w->left)
		return false;
	w->left--;
	return true;
}

/* ---- in the store: by fingerprint ---- */

static void apply(struct direct *d)
{
	(void)peers_configure(d, agent_config_of(d->as)); /* without memory the others stay as they are */
	visits_peers_changed(d);
	direct_want_child(d);
}

static int on_put(const char *name, const json_t *body, bool flag, void *arg, char *err, size_t err_n)
{
	(void)name;
	(void)body;
	(void)flag;
	(void)err;
	(void)err_n;
	apply(arg);
	return 0;
}

static void on_deleted(const char *name, bool flag, void *arg)
{
	(void)name;
	(void)flag;
	apply(arg);
}

static json_t *row_of(const char *name, void *arg)
{
	struct direct *d = arg;
	json_t *body = json_object_get(stored_bodies(d->stored), name);

	return body ? json_incref(body) : NULL;
}

static int on_check(const char *name, json_t **body, void *arg, char *err, size_t err_n)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const char *identity = json_string_value(json_object_get(*body, "identity"));

	(void)arg;
	if (identity && strcmp(identity, name) == 0)
		return peer_parse(*body, err, err_n, &cfg);
	(void)snprintf(err, err_n, "'identity' must be the object's key, %s", name);
	return -EINVAL;
}

static const struct stored_ops store_ops = { .kind = "agent.peer", .noun = "agent", .list_hint = "stile agent peers", .put = on_put,
					     .deleted = on_deleted, .row = row_of, .check = on_check };

int peers_open(struct direct *d)
{
	return stored_new(d->as->svc, &store_ops, d, &d->stored);
}

/* What is there and what is added. NULL: no memory. */
static json_t *merged(struct direct *d, const char *key, const struct peer_values *v)
{
	const json_t *old = json_object_get(stored_bodies(d->stored), key);
	json_t *body = old ? json_deep_copy(old) : json_object();

	json_object_set_new(body, "name", json_string(v->name));
	json_object_set_new(body, "identity", json_string(key));
	if (v->visitor)
		json_object_set_new(body, "visitor", json_string("true"));
	if (v->host)
		json_object_set_new(body, "host", json_string("true"));
	if (v->allow)
		json_object_set_new(body, "allow", json_deep_copy(v->allow));
	return body;
}

bool peer_allow_good(const json_t *allow, char *err, size_t err_n)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	static const struct identity_hash one = { { 1 } };
	char key[IDENTITY_STRLEN];
	json_t *body = json_pack("{s:s, s:O}", "identity", identity_print(&one, key), "allow", (json_t *)allow);
	bool good = body && peer_parse(body, err, err_n, &cfg) == 0;

	json_decref(body);
	return good;
}

bool peer_store(struct direct *d, struct control_request *rq, const struct peer_values *v)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	char key[IDENTITY_STRLEN], err[512] = "out of memory";
	json_t *body = merged(d, identity_print(v->id, key), v);

	if (peer_parse(body, err, sizeof(err), &cfg) < 0) {
		json_decref(body);
		control_fail(rq, "bad-request", NULL, "%s", err);
		return false;
	}
	stored_put(d->stored, rq, key, body, STORE_ANY, false);
	return true;
}

void peer_keep(struct direct *d, const struct identity_hash *id, const char *name, bool visitor, const json_t *allow)
{
	const struct peer_values v = { id, name, visitor, !visitor, allow };
	char key[IDENTITY_STRLEN];

	(void)identity_print(id, key);
	stored_set(d->stored, key, merged(d, key, &v), "first contact by code");
	log_emit(&MSG_AGENT_PEER_KNOWN, LF_STR("peer", name), LF_STR("identity", key), LF_BOOL("visitor", visitor));
	apply(d);
}

void peer_forget(struct direct *d, struct control_request *rq, const char *word)
{
	const char *key, *found = NULL;
	struct direct_peer *p = word ? peer_named(d, word) : NULL;
	json_t *body;

	json_object_foreach(stored_bodies(d->stored), key, body)
		if (word && (strcmp(key, word) == 0 || strcmp(text_of_key(body, "name"), word) == 0))
			found = key;
	if (found)
		stored_delete(d->stored, rq, found, false);
	else if (p)
		control_fail(rq, "locked", "change the file and run stile reload agent", "the agent %s is set in %s", word, d->as->svc->config_path);
	else
		control_fail(rq, "not-found", "stile agent peers", "no agent %s is known here", word ? word : "");
}

/* ---- said ---- */

static int say(struct agent_end *e, struct offer *o, const char *name, uint64_t share, uint64_t tag)
{
	static const uint8_t nobody[WIRE_PIN];
	const struct identity *id = dialers_identity(e->as->dialers);
	uint8_t body[OFFER_MAX];
	struct wire_signal m = { .name = text_of(name), .tag = tag, .share = share };
	size_t n;
	int r = agent_meets(e->agent) ? offer_write(o, identity_key(id), body, &n) : -ENOTCONN;

	if (r < 0)
		return r;
	if (memcmp(o->to.p, nobody, WIRE_PIN) != 0)
		m.identity = o->to;
	m.body = (struct wire_bytes){ body, n };
	return agent_send(e->agent, WIRE_SIGNAL, &m);
}

int direct_say(struct agent_end *e, struct offer *o, const char *name, uint64_t tag)
{
	return say(e, o, name, 0, tag);
}

int direct_say_share(struct agent_end *e, struct offer *o, uint64_t share, uint64_t tag)
{
	return say(e, o, "", share, tag);
}

int dlink_say(struct dlink *l, struct offer *o)
{
	o->to = (struct wire_bytes){ l->peer.b, WIRE_PIN };
	o->call = (struct wire_bytes){ l->call, OFFER_CALL };
	o->number = ++l->sent;
	return direct_say(l->end, o, l->role == CHILD_VISITOR ? l->name : "", l->id); /* the name: so that the server says if it is another one's now */
}

void direct_refuse(struct direct *d, struct agent_end *e, const struct offer *o, enum wire_reason reason, const char *text)
{
	struct offer no = { .kind = OFFER_BYE, .to = o->from, .call = o->call, .number = 1, .reason = (uint8_t)reason, .text = text_of(text) };

	if (reason == WIRE_R_EPOCH)
		no.epoch = (struct wire_bytes){ d->epoch, OFFER_EPOCH };
	(void)direct_say(e, &no, "", 0);
}

/* ---- heard ---- */

static void log_refused(struct direct *d, const struct wire_signal *m, const char *why)
{
	struct identity_hash id;
	char text[IDENTITY_STRLEN];
	uint64_t suppressed;

	if (!log_gate_pass(&d->gate, loop_now(d->loop), &suppressed))
		return;
	memcpy(id.b, m->identity.p, sizeof(id.b));
	log_emit(&MSG_AGENT_PEER_REFUSED, LF_TEXT("peer", m->name), LF_STR("identity", identity_print(&id, text)), LF_STR("reason", why),
		 LF_U64("suppressed", suppressed));
}

void direct_on_signal(struct direct *d, struct agent_end *e, const struct wire_signal *m)
{
	const struct identity_hash *self = identity_hash(dialers_identity(d->as->dialers));
	struct identity_hash from;
	struct direct_peer *p;
	struct dlink *l;
	struct offer o;
	const char *why;

	if (m->identity.n != WIRE_PIN)
		return;
	memcpy(from.b, m->identity.p, sizeof(from.b));
	p = peer_find(d, &from);
	if (!(p ? direct_may_speak(&p->words, loop_now(d->loop), WORDS_BURST, WORD_EVERY_MS) : contact_may_knock(d))) {
		log_refused(d, m, "it says too much");
		return;
	}
	if (offer_read(m->body.p, m->body.n, &from, self, &o, &why) < 0) {
		log_refused(d, m, why);
		return;
	}
	if (guests_heard(d, &o, m->name) || shares_knocked(d, e, &o, m->name) || contact_heard(d, e, &o, m->name))
		return;
	if (!p) {
		log_refused(d, m, "its key is not known here");
		if (o.kind == OFFER_OFFER)
			direct_refuse(d, e, &o, WIRE_R_UNKNOWN_PEER, "that agent does not know this one: make first contact, or see agent.visitors there");
		return;
	}
	l = dlink_of_call(d, &from, o.call.p);
	if (l && o.number > l->heard && o.kind != OFFER_OFFER) {
		l->heard = o.number;
		dlink_on_word(l, &o);
	} else if (!l && o.kind == OFFER_OFFER) {
		dlink_on_offer(d, e, p, &o);
	} else if (l) {
		log_refused(d, m, "it was said before, or after what came later");
	}
}
