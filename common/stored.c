/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of one change: queued for the store's thread, answered by mail in this loop, then done and replied to. What
 * the store says no to has changed nothing.
 * Main thread of the service.
 */
#include "common/stored.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/service_priv.h"

struct stored {
	struct service *svc;
	const struct stored_ops *ops;
	void *arg;
	json_t *bodies;
};

static void on_loaded(const struct store_object *o, void *arg)
{
	struct stored *s = arg;

	json_object_set(s->bodies, o->key, o->body);
}

static void gone(struct stored *s, const char *name, bool flag)
{
	json_t *was = json_object_get(s->bodies, name);

	if (was && s->ops->leaving)
		s->ops->leaving(name, was, s->arg);
	json_object_del(s->bodies, name);
	s->ops->deleted(name, flag, s->arg);
}

/* A change that came by another way than the kind's verbs. */
static int on_apply(const char *name, json_t *body, uint64_t revision, void *arg, char *err, size_t err_n)
{
	struct stored *s = arg;

	(void)revision;
	if (!body) {
		gone(s, name, false);
		return 0;
	}
	snprintf(err, err_n, "%s", strerror(ENOMEM));
	return json_object_set(s->bodies, name, body) < 0 ? -ENOMEM : s->ops->put(name, body, false, s->arg, err, err_n);
}

static int on_check(const char *name, json_t **body, void *arg, char *err, size_t err_n)
{
	const struct stored *s = arg;

	return s->ops->check(name, body, s->arg, err, err_n);
}

static void own(struct stored *s)
{
	struct service_owner o = { .kind = s->ops->kind, .check = s->ops->check ? on_check : NULL, .apply = on_apply, .arg = s };

	if (s->ops->put)
		service_own(s->svc, &o);
}

int stored_new(struct service *svc, const struct stored_ops *ops, void *arg, struct stored **ret_s)
{
	struct stored *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->svc = svc;
	s->ops = ops;
	s->arg = arg;
	s->bodies = json_object();
	if (!s->bodies)
		r = -ENOMEM;
	else if (svc->store)
		r = store_load(svc->store, ops->kind, on_loaded, s);
	if (r != 0) {
		stored_free(s);
		return r < 0 ? r : -EIO;
	}
	own(s);
	*ret_s = s;
	return 0;
}

struct stored *stored_free(struct stored *s)
{
	if (!s)
		return NULL;
	service_disown(s->svc, s);
	json_decref(s->bodies);
	free(s);
	return NULL;
}

json_t *stored_bodies(struct stored *s)
{
	return s->bodies;
}

/* ---- one change on its way to the disk ---- */

struct change {
	struct stored *s;
	struct control_request *rq;
	char *name;
	json_t *body; /* NULL: delete */
	bool flag;
};

static void change_free(struct change *c)
{
	json_decref(c->body);
	free(c->name);
	free(c);
}

/* It was changed since whoever asks has seen it: both versions, without secrets. */
static void conflict(const struct change *c, const struct store_outcome *out)
{
	json_t *theirs = json_deep_copy(json_array_get(out->rows, 0)), *yours = json_deep_copy(c->body), *body = json_object_get(theirs, "body");

	service_hide(c->s->svc, c->s->ops->kind, body);
	service_hide(c->s->svc, c->s->ops->kind, yours);
	control_fail_with(c->rq, "conflict", "look at both and repeat the change with the new revision",
			  json_pack("{s:o, s:o}", "yours", yours ? yours : json_null(), "theirs", theirs ? theirs : json_null()),
			  "%s %s was changed meanwhile", c->s->ops->noun, c->name);
}

static void not_found(const struct stored *s, struct control_request *rq, const char *name)
{
	control_fail(rq, "not-found", s->ops->list_hint, "there is no %s %s in the store", s->ops->noun, name);
}

static void store_refused(const struct change *c, const struct store_outcome *out)
{
	const struct stored_ops *o = c->s->ops;
	int result = out->result;

	if (result == STORE_NOT_FOUND)
		not_found(c->s, c->rq, c->name);
	else if (result == STORE_CONFLICT)
		conflict(c, out);
	else if (result == STORE_EXISTS)
		control_fail(c->rq, "exists", "change it with replace, or choose another name",
			     "there is a %s %s already", o->noun, c->name);
	else
		control_fail(c->rq, "failed", NULL, "%s %s: %s", o->noun, c->name,
			     result > 0 ? store_result_text((enum store_result)result)
					: strerror(-result));
}

static void do_delete(struct change *c)
{
	gone(c->s, c->name, c->flag);
	control_reply(c->rq, json_pack("{s:s}", "name", c->name));
}

static void do_put(struct change *c)
{
	char err[256] = "";
	json_t *row;
	int r;

	json_object_set(c->s->bodies, c->name, c->body);
	r = c->s->ops->put(c->name, c->body, c->flag, c->s->arg, err, sizeof(err));
	if (r < 0) {
		control_fail(c->rq, "failed", "it is stored and will hold after a restart",
			     "%s %s: %s", c->s->ops->noun, c->name, err);
		return;
	}
	row = c->s->ops->row(c->name, c->s->arg);
	control_reply(c->rq, row ? row : json_pack("{s:s}", "name", c->name));
}

static void on_stored(const struct store_outcome *o, void *arg)
{
	struct change *c = arg;

	if (o->result != STORE_OK)
		store_refused(c, o);
	else if (c->body)
		do_put(c);
	else
		do_delete(c);
	change_free(c);
}

/* Takes body. */
static void submit(struct stored *s, struct control_request *rq, const char *name, json_t *body,
		   uint64_t revision, bool flag)
{
	struct change *c = calloc(1, sizeof(*c));
	struct store_call call = {
		.loop = s->svc->loop, .who = control_request_who(rq), .done = on_stored, .arg = c
	};
	int r = -ENOMEM;

	if (c) {
		*c = (struct change){ .s = s, .rq = rq, .name = strdup(name), .body = body, .flag = flag };
		if (c->name)
			r = body ? store_put(s->svc->store, &call, s->ops->kind, name, revision,
					     json_incref(body))
				 : store_delete(s->svc->store, &call, s->ops->kind, name, STORE_ANY);
	}
	if (r == 0)
		return;
	control_fail(rq, "failed", NULL, "%s %s: %s", s->ops->noun, name, strerror(-r));
	if (c)
		change_free(c);
	else
		json_decref(body);
}

static bool has_store(struct stored *s, struct control_request *rq)
{
	if (s->svc->store)
		return true;
	control_fail(rq, "failed", "set store.path", "this service runs without a store");
	return false;
}

uint64_t stored_revision(const json_t *args, uint64_t otherwise)
{
	const json_t *v = json_object_get(args, "revision");

	return json_is_integer(v) && json_integer_value(v) >= 0 ? (uint64_t)json_integer_value(v) : otherwise;
}

void stored_put(struct stored *s, struct control_request *rq, const char *name, json_t *body,
		uint64_t revision, bool flag)
{
	if (!body)
		control_fail(rq, "failed", NULL, "%s", strerror(ENOMEM));
	else if (has_store(s, rq))
		submit(s, rq, name, body, revision, flag);
	else
		json_decref(body);
}

void stored_delete(struct stored *s, struct control_request *rq, const char *name, bool flag)
{
	if (has_store(s, rq))
		submit(s, rq, name, NULL, STORE_ANY, flag);
}

/* ---- the usual verbs ---- */

/* The body of a change: what is kept under name, with values over it and called as it is called, if a name may be that long (else its
 * default makes the name). NULL: the request was ended. */
static json_t *changed(struct stored *s, struct control_request *rq, const char *name, const json_t *values)
{
	const json_t *there = json_object_get(s->bodies, name);
	json_t *body;

	if (!there) {
		not_found(s, rq, name);
		return NULL;
	}
	if (!json_is_object(values)) {
		control_fail(rq, "bad-request", NULL, "%s must be a map with the keys that change", s->ops->noun);
		return NULL;
	}
	body = json_deep_copy(there);
	if (body && (strlen(name) > s->ops->name_max || json_object_set_new(body, "name", json_string(name)) == 0) &&
	    json_object_update(body, (json_t *)values) == 0)
		return body;
	json_decref(body);
	control_reply(rq, NULL);
	return NULL;
}

static void change(struct stored *s, struct control_request *rq, const json_t *args, const json_t *values, uint64_t revision)
{
	const char *name = json_string_value(json_object_get(args, "name"));
	json_t *body = s->ops->locked(rq, name, s->arg) ? NULL : changed(s, rq, name, values);

	if (body)
		s->ops->submit(rq, name, body, revision, s->arg);
	json_decref(body);
}

static void set_enabled(struct stored *s, struct control_request *rq, const json_t *args, bool on)
{
	json_t *values = json_pack("{s:b}", "enabled", on);

	change(s, rq, args, values, STORE_ANY);
	json_decref(values);
}

void stored_verb_add(struct control_request *rq, const json_t *args, void *arg)
{
	const struct stored *s = arg;
	bool replace = json_is_true(json_object_get(args, "replace"));

	s->ops->submit(rq, NULL, json_object_get(args, s->ops->noun), stored_revision(args, replace ? STORE_ANY : 0), s->arg);
}

void stored_verb_change(struct control_request *rq, const json_t *args, void *arg)
{
	struct stored *s = arg;

	change(s, rq, args, json_object_get(args, s->ops->noun), stored_revision(args, STORE_ANY));
}

void stored_verb_start(struct control_request *rq, const json_t *args, void *arg)
{
	set_enabled(arg, rq, args, true);
}

void stored_verb_stop(struct control_request *rq, const json_t *args, void *arg)
{
	set_enabled(arg, rq, args, false);
}

void stored_verb_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct stored *s = arg;
	const char *name = json_string_value(json_object_get(args, "name"));

	if (!s->ops->locked(rq, name, s->arg))
		stored_delete(s, rq, name, false);
}

bool stored_keeps_name(const struct stored *s, struct control_request *rq, const char *name, const char *called)
{
	if (strcmp(name, called) == 0)
		return true;
	control_fail(rq, "bad-request", "delete it and make another one", "the %s %s would be called %s then", s->ops->noun, name, called);
	return false;
}

void stored_set(struct stored *s, const char *name, json_t *body, const char *who)
{
	struct store_call call = { .who = who };

	if (!body)
		return;
	json_object_set(s->bodies, name, body);
	if (s->svc->store)
		(void)store_put(s->svc->store, &call, s->ops->kind, name, STORE_ANY, body);
	else
		json_decref(body);
}

void stored_drop(struct stored *s, const char *name, const char *who)
{
	struct store_call call = { .who = who };

	if (s->svc->store)
		(void)store_delete(s->svc->store, &call, s->ops->kind, name, STORE_ANY);
	json_object_del(s->bodies, name); /* last: it may be the name's owner */
}
