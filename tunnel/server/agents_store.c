/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of agents and codes on their way to the disk. The table in memory changes when the store has
 * answered, in one place (apply), and what follows from the change follows there: who waited is let in,
 * who was revoked is cut off, who asked is answered.
 *
 * Without a store the same happens at once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "tunnel/log_msgs.h"
#include "tunnel/server/agents_priv.h"

struct change { /* a deed under way */
	struct list node;
	struct tunnel_agents *a; /* NULL: it has gone meanwhile */
	struct deed d;
};
struct code_change {
	struct list node;
	struct tunnel_agents *a; /* the same */
	struct code code;
	struct control_request *rq;
};

/* The store will still answer, to nobody. */
void agents_let_go(struct tunnel_agents *a)
{
	list_for_each_safe (n, &a->changes) {
		list_entry(n, struct change, node)->a = NULL;
		list_unlink(n);
	}
	list_for_each_safe (n, &a->code_changes) {
		list_entry(n, struct code_change, node)->a = NULL;
		list_unlink(n);
	}
}

/* ---- at the start ---- */

struct loading {
	struct tunnel_agents *a;
	uint64_t now_s;
};

static void skipped(const struct store_object *o, const char *why)
{
	log_emit(&MSG_TUNNEL_AGENT_SKIPPED, LF_STR("kind", o->kind), LF_STR("key", o->key),
		 LF_STR("why", why));
}

static void load_agent(const struct store_object *o, void *arg)
{
	struct loading *l = arg;
	struct entry e;
	char err[256];
	int r = entry_read(o->key, o->body, err, sizeof(err), &e);

	if (r == 0) {
		r = registry_load(l->a->registry, &e);
		(void)snprintf(err, sizeof(err), "%s", strerror(-r));
	}
	if (r < 0)
		skipped(o, err);
}

static void load_code(const struct store_object *o, void *arg)
{
	struct loading *l = arg;
	struct store_call call = { .who = "expired" };
	struct code c;
	char err[256];

	if (code_read(o->key, o->body, err, sizeof(err), &c) < 0) {
		skipped(o, err);
		return;
	}
	if (l->now_s >= c.expires)
		(void)store_delete(l->a->o.store, &call, REGISTRY_CODE_KIND, o->key, STORE_ANY);
	else if (registry_code_put(l->a->registry, &c, l->now_s) < 0)
		skipped(o, strerror(ENOMEM));
	bytes_wipe(&c, sizeof(c));
}

int agents_load(struct tunnel_agents *a, char *err, size_t err_n)
{
	struct loading l = { a, agents_now_s() };
	int r;

	if (!a->o.store)
		return 0;
	r = store_load(a->o.store, REGISTRY_AGENT_KIND, load_agent, &l);
	if (r == 0)
		r = store_load(a->o.store, REGISTRY_CODE_KIND, load_code, &l);
	if (r == 0)
		return 0;
	(void)snprintf(err, err_n, "cannot read the agents of the store: %s",
		       r > 0 ? store_result_text((enum store_result)r) : strerror(-r));
	return r < 0 ? r : -EIO;
}

/* ---- agents ---- */

/* The visit may have gone, and its memory be another's by now. */
static struct visit *still_there(const struct tunnel_agents *a, const struct deed *d)
{
	list_for_each (n, &a->visits) {
		struct visit *v = list_entry(n, struct visit, node);

		if (v == d->visit && v->at_disk && identity_hash_equal(&v->id, &d->entry.id))
			return v;
	}
	return NULL;
}

static bool on_its_way(const struct tunnel_agents *a, const struct identity_hash *id)
{
	list_for_each (n, &a->changes)
		if (identity_hash_equal(&list_entry(n, struct change, node)->d.entry.id, id))
			return true;
	return false;
}

static bool will_be(const struct deed *d, const char *name, const struct identity_hash *other_than)
{
	return d->kind != DEED_DELETE && d->entry.state != ENTRY_REVOKED && strcmp(d->entry.name, name) == 0 &&
	       !identity_hash_equal(&d->entry.id, other_than);
}

const struct entry *agents_other_named(const struct tunnel_agents *a, const char *name, const struct identity_hash *whose)
{
	const struct entry *e = registry_named(a->registry, text_of(name));

	if (e && !identity_hash_equal(&e->id, whose) && !on_its_way(a, &e->id))
		return e;
	list_for_each (n, &a->changes) {
		const struct change *c = list_entry(n, struct change, node);

		if (will_be(&c->d, name, whose))
			return &c->d.entry;
	}
	return NULL;
}

static void cut_off(struct tunnel_agents *a, const struct entry *e, enum wire_reason reason,
		    const char *text)
{
	visit_decided(a, e);
	if (a->server)
		tunnel_server_end_identity(a->server, e->id.b, reason, text);
}

static void changed(struct tunnel_agents *a, const struct deed *d, const struct entry *before)
{
	log_emit(&MSG_TUNNEL_AGENT_CHANGED, LF_STR("name", d->entry.name),
		 LF_STR("fingerprint", d->entry.key), LF_STR("what", d->event),
		 LF_STR("by", d->rq ? control_request_who(d->rq) : "an undo or a code"));
	agents_publish(a, d->event, &d->entry);
	if (d->entry.state == ENTRY_REVOKED)
		cut_off(a, &d->entry, WIRE_R_REVOKED, "this agent's key was revoked on the server");
	else if (d->entry.state == ENTRY_APPROVED)
		visit_decided(a, &d->entry);
	if (a->o.changed)
		a->o.changed(before, &d->entry, a->o.arg);
	if (d->rq)
		control_reply(d->rq, agents_entry_json(a, &d->entry));
}

static void deleted(struct tunnel_agents *a, const struct deed *d)
{
	struct entry *e = registry_find(a->registry, &d->entry.id);
	json_t *row = agents_entry_json(a, &d->entry);

	log_emit(&MSG_TUNNEL_AGENT_CHANGED, LF_STR("name", d->entry.name),
		 LF_STR("fingerprint", d->entry.key), LF_STR("what", "deleted"),
		 LF_STR("by", d->rq ? control_request_who(d->rq) : ""));
	agents_publish(a, "deleted", &d->entry);
	if (e)
		registry_remove(a->registry, e);
	cut_off(a, &d->entry, WIRE_R_UNKNOWN_KEY, "this agent was deleted on the server");
	if (a->o.changed)
		a->o.changed(&d->entry, NULL, a->o.arg);
	if (d->rq)
		control_reply(d->rq, row);
	else
		json_decref(row);
}

static void enrolled(struct tunnel_agents *a, const struct deed *d)
{
	struct visit *v = still_there(a, d);
	struct entry *e = registry_find(a->registry, &d->entry.id);

	if (v && e)
		visit_stored(v, e);
}

static void failed(struct tunnel_agents *a, const struct deed *d, const char *why)
{
	struct visit *v = d->kind == DEED_ENROL ? still_there(a, d) : NULL;

	log_emit(&MSG_TUNNEL_AGENT_UNWRITTEN, LF_STR("name", d->entry.name),
		 LF_STR("fingerprint", d->entry.key), LF_STR("why", why));
	if (v)
		visit_not_stored(v);
	if (d->rq)
		control_fail(d->rq, "failed", NULL, "agent %s: %s", d->entry.name, why);
}

static void apply(struct tunnel_agents *a, const struct deed *d)
{
	const struct entry *e = registry_find(a->registry, &d->entry.id);
	const struct entry before = e ? *e : d->entry;
	int r = d->kind == DEED_ENROL || d->kind == DEED_CHANGE ? registry_put(a->registry, &d->entry)
								: 0;

	if (r < 0) {
		failed(a, d, strerror(-r));
		return;
	}
	if (d->kind == DEED_ENROL)
		enrolled(a, d);
	else if (d->kind == DEED_CHANGE)
		changed(a, d, &before);
	else if (d->kind == DEED_DELETE)
		deleted(a, d);
	agents_count(a);
}

static void on_stored(const struct store_outcome *o, void *arg)
{
	struct change *c = arg;
	struct entry *e = c->a ? registry_find(c->a->registry, &c->d.entry.id) : NULL;

	list_unlink(&c->node);
	if (e)
		e->changing = false;
	if (c->a && o->result == STORE_OK)
		apply(c->a, &c->d);
	else if (c->a)
		failed(c->a, &c->d,
		       o->result > 0 ? store_result_text((enum store_result)o->result)
				     : strerror(-o->result));
	free(c);
}

/* Nobody waits for it, and the next one says the same. */
static int queue_note(struct tunnel_agents *a, const struct deed *d, const char *who)
{
	struct store_call call = { .who = who, .quiet = true };
	json_t *body = entry_json(&d->entry);

	return body ? store_put(a->o.store, &call, REGISTRY_AGENT_KIND, d->entry.key, STORE_ANY, body)
		    : -ENOMEM;
}

/* With its copy of d; the entry in it is nobody's node. */
static int queue(struct tunnel_agents *a, const struct deed *d, const char *who)
{
	struct change *c = calloc(1, sizeof(*c));
	struct store_call call = { .loop = a->o.loop, .who = who, .done = on_stored, .arg = c };
	json_t *body = NULL;
	int r;

	if (c && d->kind != DEED_DELETE)
		body = entry_json(&d->entry);
	if (!c || (d->kind != DEED_DELETE && !body)) {
		free(c);
		return -ENOMEM;
	}
	*c = (struct change){ .a = a, .d = *d };
	c->d.entry.changing = false;
	r = body ? store_put(a->o.store, &call, REGISTRY_AGENT_KIND, d->entry.key, STORE_ANY, body)
		 : store_delete(a->o.store, &call, REGISTRY_AGENT_KIND, d->entry.key, STORE_ANY);
	if (r < 0)
		free(c);
	else
		list_append(&a->changes, &c->node);
	return r;
}

int agents_store(struct tunnel_agents *a, const struct deed *d, const char *who)
{
	struct entry *known = registry_find(a->registry, &d->entry.id);
	int r;

	if (!known && d->kind == DEED_ENROL &&
	    registry_full(a->registry, (enum entry_state)d->entry.state))
		return -ENOSPC;
	if (known && known->changing)
		return d->kind == DEED_NOTE ? 0 : -EBUSY;
	if (!a->o.store) {
		apply(a, d);
		return 0;
	}
	if (d->kind == DEED_NOTE)
		return queue_note(a, d, who);
	r = queue(a, d, who);
	if (r == 0 && known)
		known->changing = true;
	return r;
}

/* ---- what comes by an undo ---- */

int agents_check_object(const char *key, json_t **body, void *arg, char *err, size_t err_n)
{
	struct tunnel_agents *a = arg;
	struct entry e;
	const struct entry *other;
	int r = entry_read(key, *body, err, err_n, &e);

	if (r < 0)
		return r;
	other = registry_named(a->registry, text_of(e.name));
	if (e.state == ENTRY_REVOKED || !other || memcmp(&other->id, &e.id, sizeof(e.id)) == 0)
		return 0;
	(void)snprintf(err, err_n, "there is another agent %s (%s)", e.name, other->key);
	return -EINVAL;
}

int agents_apply_object(const char *key, json_t *body, uint64_t revision, void *arg, char *err, size_t err_n)
{
	struct tunnel_agents *a = arg;
	struct deed d = { .kind = body ? DEED_CHANGE : DEED_DELETE, .event = "changed" };
	struct identity_hash id;
	const struct entry *e;
	int r = 0;

	(void)revision;
	if (body)
		r = entry_read(key, body, err, err_n, &d.entry);
	else if (identity_parse(text_of(key), &id) == 0 && (e = registry_find(a->registry, &id)))
		d.entry = *e;
	else
		return 0; /* it was not here either */
	if (r < 0)
		return r;
	apply(a, &d);
	if (body && d.entry.state == ENTRY_PENDING)
		cut_off(a, &d.entry, WIRE_R_REVOKED, "this agent's approval was taken back on the server");
	return 0;
}

/* ---- codes ---- */

static void code_done(struct code_change *c, const char *why)
{
	struct code *there = c->a && why ? registry_code(c->a->registry, text_of(c->code.key), 0) : NULL;

	list_unlink(&c->node);
	if (there)
		registry_code_remove(c->a->registry, there);
	if (c->a && why)
		control_fail(c->rq, "failed", NULL, "the code cannot be kept: %s", why);
	else if (c->a)
		agents_code_reply(c->a, c->rq, &c->code);
	bytes_wipe(c, sizeof(*c));
	free(c);
}

static void on_code_stored(const struct store_outcome *o, void *arg)
{
	const char *why = NULL;

	if (o->result != STORE_OK)
		why = o->result > 0 ? store_result_text((enum store_result)o->result)
				    : strerror(-o->result);
	code_done(arg, why);
}

int agents_store_code(struct tunnel_agents *a, const struct code *code, struct control_request *rq)
{
	struct code_change *c = calloc(1, sizeof(*c));
	struct store_call call = {
		.loop = a->o.loop, .who = control_request_who(rq), .done = on_code_stored, .arg = c
	};
	int r = c ? registry_code_put(a->registry, code, agents_now_s()) : -ENOMEM;

	if (r < 0) {
		free(c);
		return r;
	}
	*c = (struct code_change){ .a = a, .code = *code, .rq = rq };
	list_append(&a->code_changes, &c->node);
	if (!a->o.store) {
		code_done(c, NULL);
		return 0;
	}
	r = store_put(a->o.store, &call, REGISTRY_CODE_KIND, code->key, STORE_ANY, code_json(code));
	if (r < 0)
		code_done(c, strerror(-r));
	return 0;
}

void agents_forget_code(struct tunnel_agents *a, struct code *c, const char *who)
{
	struct store_call call = { .who = who };

	if (a->o.store)
		(void)store_delete(a->o.store, &call, REGISTRY_CODE_KIND, c->key, STORE_ANY);
	registry_code_remove(a->registry, c);
}
