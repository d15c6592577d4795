/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts, tokens and sessions of others, and the audit: all of it an administrator's. The last administrator can neither go
 * nor become less, for nobody could make another one.
 *
 * A change of somebody's role or password ends his sessions, so that what he may do now is what the table says; his tokens, and those
 * that were made with them, never have a higher role than he.
 */
#include "console/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/clock.h"
#include "console/log_msgs.h"

static void told(const struct ask *a, const char *what, const char *of)
{
	log_emit(&MSG_CONSOLE_ACCOUNT, LF_STR("what", what), LF_STR("of", of), LF_STR("by", a->who.name));
}

/* ---- users ---- */

/* What an administrator may change of an account, as a number (FNV-1a): another one, and somebody has changed it. */
static uint64_t revision_of(const struct user *u)
{
	char what[HASH_MAX + 16];
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	(void)snprintf(what, sizeof(what), "%s %d %s", role_name(u->role), u->totp, u->hash);
	for (const char *p = what; *p; p++)
		h = (h ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	return h >> 11; /* a number of JSON that every reader takes as it is */
}

/* The request was made for the account as it is now; false: answered with how it is. */
static bool is_as_seen(struct ask *a, const struct user *u)
{
	uint64_t seen = 0;
	int r = ask_if_match(a, &seen);
	json_t *error;

	if (r == -ENOENT || (r == 0 && seen == revision_of(u)))
		return true;
	if (r < 0)
		return false;
	error = json_pack("{s:s, s:s, s:{s:{s:s, s:s, s:b}, s:I}}", "code", "conflict", "text", "somebody has changed this account meanwhile", "theirs",
			  "body", "name", u->name, "role", role_name(u->role), "totp", u->totp, "revision", (json_int_t)revision_of(u));
	ask_service_error(a, error);
	json_decref(error);
	return false;
}

void users_get(struct ask *a)
{
	json_t *rows = json_array();

	list_for_each(it, &a->c->accounts->users) {
		const struct user *u = list_entry(it, struct user, node);

		json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:b, s:I, s:I}", "name", u->name, "role", role_name(u->role), "language",
						      u->language, "totp", u->totp, "created_at", (json_int_t)u->created_at, "revision",
						      (json_int_t)revision_of(u)));
	}
	ask_reply(a, 200, json_pack("{s:o}", "rows", rows));
}

static void hashing(struct ask *a, int r)
{
	if (r == 0)
		return;
	ask_fail(a, 503, "busy", "too many passwords are being hashed; try again");
	ask_unref(a);
}

/* The store has the new account, or nobody has it. */
static void on_made(int r, void *arg)
{
	struct ask *a = arg;
	struct user *u = user_find(a->c->accounts, ask_string(a, "name"));

	if (r < 0 && u)
		user_remove(a->c->accounts, u, "console", NULL, NULL);
	else if (r == 0)
		told(a, "made", ask_string(a, "name"));
	ask_on_saved(r, a);
}

static void on_user_hash(bool match, const char *hash, void *arg)
{
	struct ask *a = arg;
	const char *name = ask_string(a, "name");
	enum control_role role = CONTROL_VIEWER;
	struct user *u = NULL;
	char as[96];

	(void)match;
	if (!ask_may_still(a)) {
		ask_unref(a);
		return;
	}
	(void)role_parse(ask_string(a, "role"), &role);
	if (*hash && !user_find(a->c->accounts, name))
		u = user_add(a->c->accounts, name, role, hash);
	if (!u) {
		ask_fail(a, 409, "exists", "there is an account of this name, or there are too many");
		ask_unref(a);
		return;
	}
	user_save(a->c->accounts, u, ask_as(a, as), on_made, a);
}

void users_post(struct ask *a)
{
	const char *name = ask_string(a, "name"), *password = ask_string(a, "password");
	enum control_role role;

	if (!user_name_is_good(name))
		ask_field_error(a, "name", "a name has 1 to 63 bytes, and neither '/' nor control characters");
	else if (role_parse(ask_string(a, "role"), &role) < 0)
		ask_field_error(a, "role", "must be viewer, operator or administrator");
	else if (user_find(a->c->accounts, name))
		ask_fail(a, 409, "exists", "there is an account of this name");
	else if (ask_password_is_good(a, password))
		hashing(a, hasher_make(a->c->hasher, password, on_user_hash, ask_ref(a)));
}

static struct user *named(struct ask *a)
{
	struct user *u = user_find(a->c->accounts, a->params[0]);

	if (!u)
		ask_fail(a, 404, "not-found", "there is no account of this name");
	return u;
}

static bool would_be_last(const struct ask *a, const struct user *u)
{
	return u->role == CONTROL_ADMIN && accounts_admins(a->c->accounts) == 1;
}

/* Asked before a password is hashed and behind it, for time goes by there. False: answered. */
static bool may_change(struct ask *a, const struct user *u)
{
	const char *role = ask_string(a, "role");
	enum control_role r = CONTROL_ADMIN;

	if (role && role_parse(role, &r) < 0) {
		ask_field_error(a, "role", "must be viewer, operator or administrator");
		return false;
	}
	if (!is_as_seen(a, u))
		return false;
	if (r == CONTROL_ADMIN || !would_be_last(a, u))
		return true;
	ask_fail(a, 409, "conflict", "this is the last administrator");
	return false;
}

/* Whose rights or password have changed logs in again; streams of his pages end, too. hash NULL: the password stays. */
static void change(struct ask *a, struct user *u, const char *hash)
{
	char as[96];

	if (ask_string(a, "role"))
		(void)role_parse(ask_string(a, "role"), &u->role);
	if (json_is_true(json_object_get(a->body, "totp_off")))
		u->totp = false;
	if (hash)
		(void)snprintf(u->hash, sizeof(u->hash), "%s", hash);
	sessions_remove_of(a->c->accounts, u, ask_session(a)); /* his own one stays, if it is he */
	told(a, "changed", u->name);
	user_save(a->c->accounts, u, ask_as(a, as), ask_on_saved, ask_ref(a));
}

static void on_changed_hash(bool match, const char *hash, void *arg)
{
	struct ask *a = arg;
	struct user *u = user_find(a->c->accounts, a->params[0]);

	(void)match;
	if (!ask_may_still(a)) {
		ask_unref(a);
		return;
	}
	if (!u || !*hash)
		ask_fail(a, 404, "not-found", "there is no account of this name any more");
	else if (may_change(a, u))
		change(a, u, hash);
	ask_unref(a);
}

void user_put(struct ask *a)
{
	const char *password = ask_string(a, "password");
	struct user *u = named(a);

	if (!u || !may_change(a, u))
		return;
	if (!password)
		change(a, u, NULL);
	else if (ask_password_is_good(a, password))
		hashing(a, hasher_make(a->c->hasher, password, on_changed_hash, ask_ref(a)));
}

void user_delete(struct ask *a)
{
	struct user *u = named(a);
	char as[96];

	if (!u || !is_as_seen(a, u))
		return;
	if (would_be_last(a, u)) {
		ask_fail(a, 409, "conflict", "this is the last administrator");
		return;
	}
	if (a->who.session && a->who.session->user == u) {
		ask_fail(a, 409, "conflict", "nobody removes his own account; another administrator can");
		return;
	}
	told(a, "removed", u->name);
	user_remove(a->c->accounts, u, ask_as(a, as), ask_on_saved, ask_ref(a));
}

/* ---- tokens ---- */

static json_t *token_json(const struct token *t)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I}", "id", t->id, "name", t->name, "user", t->user, "role", role_name(t->role),
			 "scope", scope_json(t->scope), "created_at", (json_int_t)t->created_at, "expires_at", (json_int_t)t->expires_at, "used_at",
			 (json_int_t)t->used_at);
}

void tokens_get(struct ask *a)
{
	json_t *rows = json_array();

	list_for_each(it, &a->c->accounts->tokens)
		json_array_append_new(rows, token_json(list_entry(it, struct token, node)));
	ask_reply(a, 200, json_pack("{s:o}", "rows", rows));
}

struct new_token {
	json_t *row;
	char secret[64];
};

static void new_token_free(void *p)
{
	struct new_token *n = p;

	json_decref(n->row);
	explicit_bzero(n->secret, sizeof(n->secret));
	free(n);
}

static void on_token_saved(int r, void *arg)
{
	struct ask *a = arg;
	struct new_token *n = a->state;

	if (r < 0) {
		ask_fail(a, 500, "failed", "the token cannot be kept: the store is full or failing");
	} else {
		json_object_set_new(n->row, "token", json_string(n->secret)); /* once, and never again */
		ask_reply(a, 201, json_incref(n->row));
	}
	ask_unref(a);
}

void tokens_post(struct ask *a)
{
	const json_t *expires = json_object_get(a->body, "expires_at"), *in = json_object_get(a->body, "expires_in_s");
	struct token like = { .expires_at = json_integer_value(expires) };
	const char *name = ask_string(a, "name");
	struct new_token *n;
	struct token *t;
	char as[96];

	if (json_is_integer(in) && json_integer_value(in) > 0 && json_integer_value(in) < 3155760000)
		like.expires_at = clock_unix_ms() + json_integer_value(in) * 1000;
	if (!user_name_is_good(name) || strlen(name) > 50) {
		ask_field_error(a, "name", "a name has 1 to 50 bytes, and neither '/' nor control characters");
	} else if (role_parse(ask_string(a, "role"), &like.role) < 0) {
		ask_field_error(a, "role", "must be viewer, operator or administrator");
	} else if (scope_parse(json_object_get(a->body, "scope"), &like.scope) < 0) {
		ask_field_error(a, "scope", "is a list of read, write and metrics");
	} else if (like.expires_at && like.expires_at < clock_unix_ms()) {
		ask_field_error(a, "expires_at", "is in the past");
	} else {
		(void)snprintf(like.name, sizeof(like.name), "%s", name);
		(void)snprintf(like.user, sizeof(like.user), "%s", a->who.user);
		n = a->state = calloc(1, sizeof(*n));
		a->state_free = n ? new_token_free : NULL;
		t = n ? token_add(a->c->accounts, &like, ask_as(a, as), n->secret, on_token_saved, ask_ref(a)) : NULL;
		if (!t) {
			ask_fail(a, 409, "failed", "there are too many tokens, or no memory");
			if (n)
				ask_unref(a);
			return;
		}
		n->row = token_json(t);
		told(a, "token made", name);
	}
}

void token_delete(struct ask *a)
{
	char as[96];

	list_for_each(it, &a->c->accounts->tokens) {
		struct token *t = list_entry(it, struct token, node);

		if (strcmp(t->id, a->params[0]) != 0)
			continue;
		told(a, "token removed", t->name);
		token_remove(a->c->accounts, t, ask_as(a, as), ask_on_saved, ask_ref(a));
		return;
	}
	ask_fail(a, 404, "not-found", "there is no such token");
}

/* ---- sessions ---- */

void sessions_get(struct ask *a)
{
	json_t *rows = json_array();

	list_for_each(it, &a->c->accounts->sessions) {
		const struct session *s = list_entry(it, struct session, node);

		json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:b}", "id", s->id, "user", s->user->name, "address", s->address,
						      "agent", s->agent, "created_at", (json_int_t)s->created_at, "seen_at",
						      (json_int_t)s->seen_at, "own", s == a->who.session));
	}
	ask_reply(a, 200, json_pack("{s:o}", "rows", rows));
}

void session_delete(struct ask *a)
{
	list_for_each(it, &a->c->accounts->sessions) {
		struct session *s = list_entry(it, struct session, node);

		if (strcmp(s->id, a->params[0]) != 0)
			continue;
		told(a, "session ended", s->user->name);
		session_remove(a->c->accounts, s);
		ask_reply(a, 200, json_object());
		return;
	}
	ask_fail(a, 404, "not-found", "there is no such session");
}

/* ---- the audit ---- */

static void on_audit(const struct store_outcome *o, void *arg)
{
	struct ask *a = arg;

	if (o->result == STORE_OK)
		ask_reply(a, 200, json_pack("{s:O}", "rows", o->rows));
	else
		ask_fail(a, 500, "failed", "the store: %s",
			 o->result > 0 ? store_result_text((enum store_result)o->result) : strerror(-o->result));
	ask_unref(a);
}

static uint64_t query_number(const struct ask *a, const char *name, uint64_t otherwise)
{
	char text[24];
	uint64_t v;

	return ask_query(a, name, text, sizeof(text)) == 0 && text_u64(text_of(text), &v) == 0 ? v : otherwise;
}

void audit_get(struct ask *a)
{
	struct store_call call = { .loop = a->c->svc->loop, .who = "", .done = on_audit, .arg = a };
	uint64_t limit = query_number(a, "limit", 100);

	ask_ref(a);
	if (store_audit(a->c->svc->store, &call, query_number(a, "before", 0), (unsigned)MIN(MAX(limit, 1u), 500u)) == 0)
		return;
	ask_unref(a);
	ask_fail(a, 503, "busy", "the store is busy; try again");
}
