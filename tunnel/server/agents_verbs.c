/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control verbs of agents and enrolment codes. A verb finds the agent by name or fingerprint, makes the
 * entry as it is to be, and hands it to the store; the answer comes when the disk has it.
 *
 * A code is shown once, in the answer to the verb that makes it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "tunnel/server/agents_priv.h"

enum { CODE_LIFE_S = 3600, CODE_LIFE_MAX_S = 30 * 86400 };

static const char *const states[] = { "pending", "approved", "revoked" };

/* ---- as JSON ---- */

static json_t *ports_json(const struct entry *e)
{
	json_t *a = json_array();
	char text[16];

	for (unsigned i = 0; i < e->n_ports; i++) {
		(void)snprintf(text, sizeof(text),
			       e->ports[i].first == e->ports[i].last ? "%u" : "%u-%u",
			       e->ports[i].first, e->ports[i].last);
		json_array_append_new(a, json_string(text));
	}
	return a;
}

json_t *agents_entry_json(const struct tunnel_agents *a, const struct entry *e)
{
	json_t *row;
	bool current = identity_hash_equal(&e->root, identity_hash(a->keys.root));
	const char *root = !identity_hash_is_set(&e->root) ? "none"
			   : current			   ? "current"
							   : "former";

	row = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:o}", "name",
			e->name, "fingerprint", e->key, "state", states[e->state], "enrolled_by",
			e->way == ENTRY_BY_CODE ? "code" : "password", "created",
			(json_int_t)e->created_at, "last_seen", (json_int_t)e->last_seen, "address",
			e->address, "program", e->program, "host", e->host, "note", e->note, "root",
			root, "ports", ports_json(e));
	if (row && e->copied_at)
		json_object_set_new(row, "copied_key",
				    json_pack("{s:I, s:s, s:s}", "at", (json_int_t)e->copied_at,
					      "connected", e->copied_from, "refused", e->copied_by));
	return row;
}

/* ---- tunnel.agents ---- */

struct listing {
	const struct tunnel_agents *a;
	json_t *rows;
};

static bool add_row(struct entry *e, void *arg)
{
	struct listing *l = arg;

	json_array_append_new(l->rows, agents_entry_json(l->a, e));
	return true;
}

static bool add_code(struct code *c, void *arg)
{
	struct listing *l = arg;

	json_array_append_new(l->rows,
			      json_pack("{s:s, s:s, s:I, s:b}", "id", c->key, "name", c->name,
					"expires", (json_int_t)c->expires, "replace", c->replace));
	return true;
}

static void verb_agents(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_agents *a = arg;
	struct listing agents = { a, json_array() }, codes = { a, json_array() };
	char root[IDENTITY_STRLEN];

	(void)args;
	registry_each(a->registry, add_row, &agents);
	registry_each_code(a->registry, add_code, &codes);
	control_reply(rq, json_pack("{s:o, s:o, s:s, s:b}", "rows", agents.rows, "codes", codes.rows,
				    "fingerprint", identity_print(identity_hash(a->keys.root), root),
				    "password", a->has_password));
}

/* ---- changes ---- */

/* NULL: the request was ended. */
static struct entry *named(struct tunnel_agents *a, struct control_request *rq, const json_t *args)
{
	const char *name = json_string_value(json_object_get(args, "agent"));
	struct entry *e = name ? registry_look_up(a->registry, text_of(name)) : NULL;

	if (!name)
		control_fail(rq, "bad-request", "stile tunnel agents",
			     "agent must be a name or a fingerprint");
	else if (!e)
		control_fail(rq, "not-found", "stile tunnel agents shows names and fingerprints",
			     "there is no agent %s", name);
	return e;
}

static void submit(struct tunnel_agents *a, const struct deed *d)
{
	int r = agents_store(a, d, control_request_who(d->rq));

	if (r == -EBUSY)
		control_fail(d->rq, "busy", "try again", "agent %s is being changed", d->entry.name);
	else if (r < 0)
		control_fail(d->rq, "failed", NULL, "agent %s: %s", d->entry.name, strerror(-r));
}

static struct deed change_of(const struct entry *e, struct control_request *rq, const char *event)
{
	return (struct deed){ .kind = DEED_CHANGE, .entry = *e, .rq = rq, .event = event };
}

/* True: somebody else has this name, and the request was ended. */
static bool taken(struct tunnel_agents *a, struct control_request *rq, const struct entry *e,
		  const char *name)
{
	const struct entry *other = agents_other_named(a, name, &e->id);

	if (!other)
		return false;
	control_fail(rq, "exists", "rename or revoke it, or choose another name",
		     "there is an agent %s already (%s)", name, other->key);
	return true;
}

static void verb_approve(struct control_request *rq, const json_t *args, void *arg)
{
	struct entry *e = named(arg, rq, args);
	struct deed d;

	if (!e)
		return;
	if (e->state == ENTRY_REVOKED && taken(arg, rq, e, e->name))
		return;
	d = change_of(e, rq, "approved");
	d.entry.state = ENTRY_APPROVED;
	submit(arg, &d);
}

static void verb_revoke(struct control_request *rq, const json_t *args, void *arg)
{
	struct entry *e = named(arg, rq, args);
	struct deed d;

	if (!e)
		return;
	d = change_of(e, rq, "revoked");
	d.entry.state = ENTRY_REVOKED;
	submit(arg, &d);
}

static void verb_rename(struct control_request *rq, const json_t *args, void *arg)
{
	const char *name = json_string_value(json_object_get(args, "name"));
	struct entry *e = named(arg, rq, args);
	struct deed d;

	if (!e)
		return;
	if (!name || !registry_name_good(text_of(name))) {
		control_fail(rq, "bad-request", NULL,
			     "name must have 1 to %d bytes, no blanks at its ends, and not look like a fingerprint",
			     REGISTRY_NAME_MAX);
		return;
	}
	if (taken(arg, rq, e, name))
		return;
	d = change_of(e, rq, "renamed");
	(void)snprintf(d.entry.name, sizeof(d.entry.name), "%s", name);
	submit(arg, &d);
}

static void verb_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct entry *e = named(arg, rq, args);
	struct deed d;

	if (!e)
		return;
	d = change_of(e, rq, "deleted");
	d.kind = DEED_DELETE;
	submit(arg, &d);
}

static void verb_set(struct control_request *rq, const json_t *args, void *arg)
{
	const char *note = json_string_value(json_object_get(args, "note")),
		   *ports = json_string_value(json_object_get(args, "ports"));
	struct entry *e = named(arg, rq, args);
	struct deed d;
	char err[256];

	if (!e)
		return;
	d = change_of(e, rq, "changed");
	if (note && strlen(note) > REGISTRY_TEXT_MAX)
		control_fail(rq, "bad-request", NULL, "note: at most %d bytes", REGISTRY_TEXT_MAX);
	else if (ports && entry_set_ports(&d.entry, text_of(ports), err, sizeof(err)) < 0)
		control_fail(rq, "bad-request", NULL, "ports: %s", err);
	else if (!note && !ports)
		control_fail(rq, "bad-request", NULL, "ports or note must be given");
	else {
		if (note)
			(void)snprintf(d.entry.note, sizeof(d.entry.note), "%s", note);
		submit(arg, &d);
	}
}

/* ---- codes ---- */

/* HOST:PORT for the code: as asked, else tunnel.public_name, else none. */
static bool set_place(const struct tunnel_agents *a, const char *asked, struct enrol_code *c)
{
	struct enrol_code full;
	char text[ENROL_CODE_STRLEN + ENROL_HOST_MAX + 2];

	if (!asked && a->o.public_name && a->o.port) {
		(void)snprintf(c->host, sizeof(c->host), "%s", a->o.public_name);
		c->port = a->o.port;
	}
	if (!asked)
		return true;
	(void)enrol_code_write(c, text);
	text_append(text, sizeof(text), "@");
	text_append(text, sizeof(text), asked); /* read as it will be read */
	if (enrol_code_parse(text_of(text), &full) != ENROL_OK)
		return false;
	*c = full;
	bytes_wipe(text, sizeof(text));
	return true;
}

/* The place of a code is not kept: it stands in what was printed. */
void agents_code_reply(struct tunnel_agents *a, struct control_request *rq, const struct code *c)
{
	struct enrol_code full = { .host = "" };
	char text[ENROL_CODE_STRLEN], root[IDENTITY_STRLEN];

	memcpy(full.secret, c->secret, ENROL_SECRET_LEN);
	memcpy(full.root, identity_hash(a->keys.root)->b, LINK_PREFIX_LEN);
	memcpy(full.host, c->host, sizeof(full.host));
	full.port = c->port;
	control_reply(rq, json_pack("{s:s, s:s, s:s, s:I, s:s}", "code", enrol_code_write(&full, text),
				    "name", c->name, "id", c->key, "expires", (json_int_t)c->expires,
				    "fingerprint", identity_print(identity_hash(a->keys.root), root)));
	bytes_wipe(text, sizeof(text));
	bytes_wipe(&full, sizeof(full));
}

static void make_code(struct tunnel_agents *a, struct control_request *rq, const json_t *args,
		      uint64_t life_s)
{
	const char *place = json_string_value(json_object_get(args, "for"));
	struct enrol_code full;
	struct code c = { .replace = json_is_true(json_object_get(args, "replace")),
			  .expires = agents_now_s() + life_s };
	int r;

	if (enrol_code_make(identity_hash(a->keys.root), &full) < 0) {
		control_fail(rq, "failed", NULL, "there are no random numbers");
		return;
	}
	if (!set_place(a, place, &full)) {
		control_fail(rq, "bad-request", NULL,
			     "for must be HOST:PORT, where agents reach this server, not %s", place);
		return;
	}
	(void)snprintf(c.name, sizeof(c.name), "%s", json_string_value(json_object_get(args, "name")));
	memcpy(c.secret, full.secret, ENROL_SECRET_LEN);
	memcpy(c.host, full.host, sizeof(c.host));
	c.port = full.port;
	registry_code_key(c.secret, c.key);
	r = agents_store_code(a, &c, rq);
	if (r < 0)
		control_fail(rq, "failed",
			     r == -ENOSPC ? "wait until some have expired, or cancel them" : NULL,
			     "the code cannot be kept: %s",
			     r == -ENOSPC ? "too many are out" : strerror(-r));
	bytes_wipe(&c, sizeof(c));
	bytes_wipe(&full, sizeof(full));
}

static void verb_enrol(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_agents *a = arg;
	const char *name = json_string_value(json_object_get(args, "name"));
	const json_t *expire = json_object_get(args, "expire");
	json_int_t life = expire ? json_integer_value(expire) : CODE_LIFE_S;
	const struct entry *other;

	if (!name || !registry_name_good(text_of(name))) {
		control_fail(rq, "bad-request", NULL,
			     "name must have 1 to %d bytes, no blanks at its ends, and not look like a fingerprint",
			     REGISTRY_NAME_MAX);
		return;
	}
	if (life <= 0 || life > CODE_LIFE_MAX_S) {
		control_fail(rq, "bad-request", NULL,
			     "expire must be a number of seconds, at most 30 days");
		return;
	}
	other = registry_named(a->registry, text_of(name));
	if (other && other->state == ENTRY_APPROVED && !json_is_true(json_object_get(args, "replace"))) {
		control_fail(rq, "exists",
			     "--replace revokes it when the code is used; or choose another name",
			     "there is an agent %s already (%s)", name, other->key);
		return;
	}
	make_code(a, rq, args, (uint64_t)life);
}

struct cancel {
	const char *which; /* name or id */
	struct code *found;
};

static bool is_this(struct code *c, void *arg)
{
	struct cancel *f = arg;

	if (strcmp(c->name, f->which) == 0 || strcmp(c->key, f->which) == 0)
		f->found = c;
	return !f->found;
}

static void verb_cancel(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_agents *a = arg;
	struct cancel f = { .which = json_string_value(json_object_get(args, "name")) };
	json_int_t n = 0;

	for (f.found = NULL; f.which; n++) {
		f.found = NULL;
		registry_each_code(a->registry, is_this, &f);
		if (!f.found)
			break;
		agents_forget_code(a, f.found, control_request_who(rq));
	}
	if (n)
		control_reply(rq, json_pack("{s:I}", "cancelled", n));
	else
		control_fail(rq, "not-found", "stile tunnel agents shows those that are out",
			     "there is no code for %s", f.which ? f.which : "?");
}

static const struct control_verb verbs[] = {
	{ "tunnel.agents", CONTROL_VIEWER, verb_agents,
	  "agents of the registry, and enrolment codes that are out" },
	{ "tunnel.agents.approve", CONTROL_ADMIN, verb_approve,
	  "{agent}: lets a pending (or revoked) agent in" },
	{ "tunnel.agents.rename", CONTROL_ADMIN, verb_rename, "{agent, name}" },
	{ "tunnel.agents.revoke", CONTROL_ADMIN, verb_revoke,
	  "{agent}: its key is refused from now on, its connections end" },
	{ "tunnel.agents.delete", CONTROL_ADMIN, verb_delete, "{agent}: forgets it; it can enrol again" },
	{ "tunnel.agents.set", CONTROL_ADMIN, verb_set,
	  "{agent, ports, note}: ports that it may open (\"20000-20099,3389\"; \"\": tunnel.ports)" },
	{ "tunnel.enrol", CONTROL_ADMIN, verb_enrol,
	  "{name, expire, for, replace}: a one-time code; expire in seconds, for is HOST:PORT" },
	{ "tunnel.enrol.cancel", CONTROL_ADMIN, verb_cancel,
	  "{name}: the codes for this name, or the one with this id, are good no longer" },
};

void tunnel_agents_add_verbs(struct tunnel_agents *a)
{
	control_add_verbs(a->o.control, verbs, ARRAY_LEN(verbs), a);
	agents_keys_add_verbs(a);
}
