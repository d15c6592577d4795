/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users and tokens: in memory as they are asked for, in the store as they survive a restart. Of a token only the SHA-256 is kept,
 * which is enough for 256 random bits; of a password its yescrypt. Their changes are audited with what was before and after, their
 * secrets left out by the schema rows. Sessions are sessions.c's.
 *
 * Every change is written by itself and told when it is on the disk. What is in memory is ahead of it by that moment; a change
 * of a user that the store does not take is undone. A later one that is under way by then has taken it along: so memory becomes
 * what the store has when the last of them is over. Who is removed, or a token that is, counts no more from then on, and goes when
 * the store has let go of it.
 */
#include "console/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <openssl/sha.h>
#include "common/bytes.h"
#include "common/clock.h"
#include "common/json.h"

static const char *const roles[] = { [CONTROL_VIEWER] = "viewer", [CONTROL_OPERATOR] = "operator", [CONTROL_ADMIN] = "administrator" };

/* What the audit may not show. */
struct kept {
	char *hash, *totp;
};
static const struct cfg_row kept_rows[] = {
	{ .name = "hash", .type = &cfg_string, CFG_AT(struct kept, hash), .flags = CFG_SECRET, .help = "The password's hash." },
	{ .name = "totp", .type = &cfg_string, CFG_AT(struct kept, totp), .flags = CFG_SECRET, .help = "The secret of one-time passwords." },
};
static const struct cfg_schema kept_schema = { "console.kept", kept_rows, ARRAY_LEN(kept_rows), sizeof(struct kept) };
#define CODES "console.code" /* of a user: the step of the last one-time code that was taken. Each login writes it, so that it is no part of him */
const struct store_kind console_store_kinds[] = {
	{ .name = "console.user", .schema = &kept_schema },
	{ .name = "console.token", .schema = &kept_schema },
	{ .name = "console.session", .unaudited = true },
	{ .name = CODES, .unaudited = true },
	{ .name = "console.action" },
	{ 0 },
};

const char *role_name(enum control_role r)
{
	return roles[r];
}

int role_parse(const char *s, enum control_role *ret_r)
{
	for (unsigned i = 0; s && i < ARRAY_LEN(roles); i++)
		if (strcmp(s, roles[i]) == 0) {
			*ret_r = (enum control_role)i;
			return 0;
		}
	return -EINVAL;
}

void sha256_hex(const char *s, char out[static 65])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *)s, strlen(s), digest);
	hex_encode(digest, sizeof(digest), out);
}

/* ---- the store ---- */

struct saving {
	account_done_fn fn;
	void *arg;
	struct accounts *a;
	enum saved { OTHER, USER, USER_GONE, TOKEN_GONE } what;
	char name[64]; /* of the user, or the token's id */
	uint64_t number;
	struct user_kept wanted;
};

static struct user_kept kept_of(const struct user *u)
{
	struct user_kept k = { .role = u->role, .totp = u->totp };

	memcpy(k.language, u->language, sizeof(k.language));
	memcpy(k.hash, u->hash, sizeof(k.hash));
	memcpy(k.totp_secret, u->totp_secret, sizeof(k.totp_secret));
	return k;
}

static void put_back(struct user *u)
{
	u->role = u->kept.role;
	u->totp = u->kept.totp;
	memcpy(u->language, u->kept.language, sizeof(u->language));
	memcpy(u->hash, u->kept.hash, sizeof(u->hash));
	memcpy(u->totp_secret, u->kept.totp_secret, sizeof(u->totp_secret));
}

/* Who was never kept is its maker's to remove. */
static void settle(struct user *u)
{
	if (!u->saving && *u->kept.hash)
		put_back(u);
}

static void user_saved(struct user *u, const struct saving *s, bool good)
{
	if (good)
		u->kept = s->wanted;
	if (u->saving == s->number)
		u->saving = 0;
	settle(u);
}

/* Be it that he is leaving. */
static struct user *user_known(const struct accounts *a, const char *name)
{
	list_for_each(it, &a->users) {
		struct user *u = list_entry(it, struct user, node);

		if (name && strcmp(u->name, name) == 0)
			return u;
	}
	return NULL;
}

static void user_forget(struct accounts *a, struct user *u)
{
	sessions_remove_of(a, u, NULL);
	list_unlink(&u->node);
	a->n_users--;
	explicit_bzero(u, sizeof(*u));
	free(u);
}

static void token_free(struct accounts *a, struct token *t)
{
	list_unlink(&t->node);
	a->n_tokens--;
	free(t);
}

static struct token *token_find(const struct accounts *a, const char *id)
{
	list_for_each(it, &a->tokens) {
		struct token *t = list_entry(it, struct token, node);

		if (strcmp(t->id, id) == 0)
			return t;
	}
	return NULL;
}

static void on_saved(const struct store_outcome *o, void *arg)
{
	struct saving *s = arg;
	bool done = o->result == STORE_OK || o->result == STORE_NOT_FOUND;
	struct user *u = s->what == USER || s->what == USER_GONE ? user_known(s->a, s->name) : NULL;
	struct token *t = s->what == TOKEN_GONE ? token_find(s->a, s->name) : NULL;

	if (u && s->what == USER)
		user_saved(u, s, o->result == STORE_OK);
	else if (u && done)
		user_forget(s->a, u);
	else if (u)
		u->leaving = false;
	else if (t && done)
		token_free(s->a, t);
	else if (t)
		t->leaving = false;
	if (s->fn)
		s->fn(done ? 0 : -EIO, s->arg);
	explicit_bzero(s, sizeof(*s));
	free(s);
}

struct change {
	const char *kind, *key, *who;
	json_t *body; /* taken; NULL: there was no memory for it, unless deleted */
	bool deleted;
	struct user *user; /* whose change it is */
	struct token *token; /* that goes */
};

static enum saved what_of(const struct change *ch)
{
	return ch->token ? TOKEN_GONE : !ch->user ? OTHER : ch->deleted ? USER_GONE : USER;
}

/* The store has not taken it: nothing has changed. */
static void take_back(const struct change *ch)
{
	if (ch->token)
		ch->token->leaving = false;
	else if (ch->user && ch->deleted)
		ch->user->leaving = false;
	else if (ch->user)
		settle(ch->user);
}

static void save(struct accounts *a, struct change ch, account_done_fn fn, void *arg)
{
	struct saving *s = calloc(1, sizeof(*s));
	struct store_call call = { .loop = a->c->svc->loop, .who = ch.who, .done = on_saved, .arg = s };
	int r = s && (ch.body || ch.deleted) ? 0 : -ENOMEM;
	enum saved what = what_of(&ch);

	if (s) {
		*s = (struct saving){ .fn = fn, .arg = arg, .a = a, .what = what };
		(void)snprintf(s->name, sizeof(s->name), "%s", ch.key);
	}
	if (s && what == USER) {
		s->number = ++a->n_saved;
		s->wanted = kept_of(ch.user);
	}
	if (r == 0)
		r = ch.deleted ? store_delete(a->c->svc->store, &call, ch.kind, ch.key, STORE_ANY) :
				 store_put(a->c->svc->store, &call, ch.kind, ch.key, STORE_ANY, json_incref(ch.body));
	json_decref(ch.body);
	if (r == 0 && what == USER)
		ch.user->saving = s->number;
	if (r == 0)
		return;
	take_back(&ch);
	if (s)
		explicit_bzero(s, sizeof(*s));
	free(s);
	if (fn)
		fn(r, arg);
}

static void copy_string(const json_t *o, const char *key, char *out, size_t n)
{
	(void)snprintf(out, n, "%s", text_of_key(o, key));
}

/* ---- users ---- */

bool user_name_is_good(const char *name)
{
	size_t n = name ? strlen(name) : 0;

	if (n == 0 || n > 63 || !text_is_utf8(text_of(name)))
		return false;
	for (; *name; name++)
		if ((unsigned char)*name < 0x20 || *name == 0x7f || *name == '/')
			return false;
	return true;
}

struct user *user_find(const struct accounts *a, const char *name)
{
	struct user *u = user_known(a, name);

	return u && !u->leaving ? u : NULL;
}

unsigned accounts_admins(const struct accounts *a)
{
	unsigned n = 0;

	list_for_each(it, &a->users)
		n += list_entry(it, struct user, node)->role == CONTROL_ADMIN && !list_entry(it, struct user, node)->leaving;
	return n;
}

struct user *user_add(struct accounts *a, const char *name, enum control_role role, const char *hash)
{
	struct user *u = a->n_users < USERS_MAX && !user_known(a, name) ? calloc(1, sizeof(*u)) : NULL;

	if (!u)
		return NULL;
	(void)snprintf(u->name, sizeof(u->name), "%s", name);
	(void)snprintf(u->hash, sizeof(u->hash), "%s", hash);
	(void)snprintf(u->language, sizeof(u->language), "en");
	u->role = role;
	u->created_at = clock_unix_ms();
	list_append(&a->users, &u->node);
	a->n_users++;
	return u;
}

void user_save(struct accounts *a, struct user *u, const char *who, account_done_fn fn, void *arg)
{
	char totp[2 * TOTP_SECRET + 1];
	json_t *o = json_pack("{s:s, s:s, s:s, s:I}", "role", role_name(u->role), "language", u->language, "hash", u->hash, "created_at",
			      (json_int_t)u->created_at);

	hex_encode(u->totp_secret, TOTP_SECRET, totp);
	if (o && u->totp && json_object_set_new(o, "totp", json_string(totp)) < 0) {
		json_decref(o);
		o = NULL;
	}
	save(a, (struct change){ .kind = "console.user", .key = u->name, .who = who, .body = o, .user = u }, fn, arg);
}

static void load_user(const struct store_object *o, void *arg)
{
	struct accounts *a = arg;
	enum control_role role = CONTROL_VIEWER;
	const char *totp = json_string_value(json_object_get(o->body, "totp"));
	struct user *u;
	size_t n = 0;

	(void)role_parse(json_string_value(json_object_get(o->body, "role")), &role);
	u = user_add(a, o->key, role, "");
	if (!u)
		return;
	copy_string(o->body, "hash", u->hash, sizeof(u->hash));
	copy_string(o->body, "language", u->language, sizeof(u->language));
	u->created_at = json_integer_value(json_object_get(o->body, "created_at"));
	u->totp = totp && hex_decode(text_of(totp), u->totp_secret, TOTP_SECRET, &n) == 0 && n == TOTP_SECRET;
	u->kept = kept_of(u);
}

/* A code that was taken is not taken again after a restart either. */
void user_took_code(struct accounts *a, struct user *u, uint64_t step)
{
	u->totp_last = step;
	accounts_keep(a, CODES, u->name, json_pack("{s:I}", "step", (json_int_t)step));
}

static void load_code(const struct store_object *o, void *arg)
{
	struct user *u = user_known(arg, o->key);

	if (u)
		u->totp_last = (uint64_t)json_integer_value(json_object_get(o->body, "step"));
}

/* ---- tokens ---- */

static const struct {
	const char *word;
	unsigned bit;
} scopes[] = { { "read", SCOPE_READ }, { "write", SCOPE_WRITE }, { "metrics", SCOPE_METRICS } };

json_t *scope_json(unsigned scope)
{
	json_t *j = json_array();

	for (size_t i = 0; i < ARRAY_LEN(scopes); i++)
		if (scope & scopes[i].bit)
			json_array_append_new(j, json_string(scopes[i].word));
	return j;
}

int scope_parse(const json_t *list, unsigned *ret_scope)
{
	size_t i;
	json_t *j;
	int r = 0;

	*ret_scope = 0;
	json_array_foreach(list, i, j) {
		unsigned bit = 0;

		for (size_t w = 0; json_is_string(j) && w < ARRAY_LEN(scopes); w++)
			if (strcmp(json_string_value(j), scopes[w].word) == 0)
				bit = scopes[w].bit;
		if (!bit)
			r = -EINVAL;
		*ret_scope |= bit;
	}
	return *ret_scope ? r : -EINVAL;
}

void token_remove(struct accounts *a, struct token *t, const char *who, account_done_fn fn, void *arg)
{
	t->leaving = true;
	events_end_of(a->c->events, t->id);
	save(a, (struct change){ .kind = "console.token", .key = t->id, .who = who, .deleted = true, .token = t }, fn, arg);
}

struct token *token_add(struct accounts *a, const struct token *like, const char *who, char secret[static 64], account_done_fn fn, void *arg)
{
	struct token *t = a->n_tokens < TOKENS_MAX ? calloc(1, sizeof(*t)) : NULL;
	uint8_t random[32], id[8];
	char text[48];
	json_t *o;

	if (!t || bytes_random(random, sizeof(random)) < 0 || bytes_random(id, sizeof(id)) < 0) {
		free(t);
		return NULL;
	}
	*t = *like;
	t->node = (struct list){ 0 };
	hex_encode(id, sizeof(id), t->id);
	base64url_encode(random, sizeof(random), text);
	(void)snprintf(secret, 64, "stile_%s", text);
	sha256_hex(secret, t->hash);
	t->created_at = clock_unix_ms();
	list_append(&a->tokens, &t->node);
	a->n_tokens++;
	o = json_pack("{s:s, s:s, s:s, s:o, s:s, s:I, s:I}", "name", t->name, "user", t->user, "role", role_name(t->role), "scope",
		      scope_json(t->scope), "hash", t->hash, "created_at", (json_int_t)t->created_at, "expires_at", (json_int_t)t->expires_at);
	save(a, (struct change){ .kind = "console.token", .key = t->id, .who = who, .body = o }, fn, arg);
	return t;
}

static bool has_expired(const struct token *t, int64_t now)
{
	return t->expires_at && t->expires_at < now;
}

struct token *token_of_secret(struct accounts *a, const char *secret)
{
	int64_t now = clock_unix_ms();
	char hash[65];

	sha256_hex(secret, hash);
	list_for_each(it, &a->tokens) {
		struct token *t = list_entry(it, struct token, node);

		if (strcmp(t->hash, hash) != 0)
			continue;
		if (t->leaving || has_expired(t, now))
			return NULL;
		t->used_at = now;
		return t;
	}
	return NULL;
}

/* Requests are judged as they come; a stream was judged when it began. */
void accounts_sweep(struct accounts *a)
{
	int64_t now = clock_unix_ms();

	sessions_sweep(a);
	list_for_each(it, &a->tokens) {
		const struct token *t = list_entry(it, struct token, node);

		if (has_expired(t, now))
			events_end_of(a->c->events, t->id);
	}
}

static void load_token(const struct store_object *o, void *arg)
{
	struct accounts *a = arg;
	struct token *t = a->n_tokens < TOKENS_MAX ? calloc(1, sizeof(*t)) : NULL;

	if (!t)
		return;
	(void)snprintf(t->id, sizeof(t->id), "%s", o->key);
	copy_string(o->body, "name", t->name, sizeof(t->name));
	copy_string(o->body, "user", t->user, sizeof(t->user));
	copy_string(o->body, "hash", t->hash, sizeof(t->hash));
	(void)role_parse(json_string_value(json_object_get(o->body, "role")), &t->role);
	(void)scope_parse(json_object_get(o->body, "scope"), &t->scope); /* what we know of it */
	t->created_at = json_integer_value(json_object_get(o->body, "created_at"));
	t->expires_at = json_integer_value(json_object_get(o->body, "expires_at"));
	list_append(&a->tokens, &t->node);
	a->n_tokens++;
}

void user_remove(struct accounts *a, struct user *u, const char *who, account_done_fn fn, void *arg)
{
	sessions_remove_of(a, u, NULL);
	list_for_each_safe(it, &a->tokens) {
		struct token *t = list_entry(it, struct token, node);

		if (strcmp(t->user, u->name) == 0)
			token_remove(a, t, who, NULL, NULL);
	}
	accounts_drop(a, CODES, u->name);
	u->leaving = true;
	if (*u->kept.hash) {
		save(a, (struct change){ .kind = "console.user", .key = u->name, .who = who, .deleted = true, .user = u }, fn, arg);
		return;
	}
	save(a, (struct change){ .kind = "console.user", .key = u->name, .who = who, .deleted = true }, fn, arg);
	user_forget(a, u); /* he was never kept */
}

/* ---- state that is nobody's change ---- */

void accounts_keep(struct accounts *a, const char *kind, const char *key, json_t *body)
{
	save(a, (struct change){ .kind = kind, .key = key, .who = "console", .body = body }, NULL, NULL);
}

void accounts_drop(struct accounts *a, const char *kind, const char *key)
{
	save(a, (struct change){ .kind = kind, .key = key, .who = "console", .deleted = true }, NULL, NULL);
}

/* An object for each service: its row in the audit is what counts, "before" is the action before it. */
void accounts_audit_action(struct accounts *a, const char *who, const char *service, json_t *what)
{
	save(a, (struct change){ .kind = "console.action", .key = service, .who = who, .body = what }, NULL, NULL);
}

/* ---- life ---- */

int accounts_new(struct console *c, char *err, size_t err_n, struct accounts **ret_a)
{
	struct accounts *a = calloc(1, sizeof(*a));
	int r;

	(void)snprintf(err, err_n, "out of memory");
	if (!a)
		return -ENOMEM;
	a->c = c;
	list_init(&a->users);
	list_init(&a->sessions);
	list_init(&a->tokens);
	*ret_a = a;
	r = store_load(c->svc->store, "console.user", load_user, a);
	if (r == 0)
		r = store_load(c->svc->store, CODES, load_code, a);
	if (r == 0)
		r = store_load(c->svc->store, "console.token", load_token, a);
	if (r == 0)
		r = sessions_load(a);
	if (r != 0)
		(void)snprintf(err, err_n, "the accounts in the store cannot be read: %s",
			       r > 0 ? store_result_text((enum store_result)r) : strerror(-r));
	return r > 0 ? -EIO : r;
}

struct accounts *accounts_free(struct accounts *a)
{
	if (!a)
		return NULL;
	list_for_each_safe(it, &a->sessions)
		session_free(a, list_entry(it, struct session, node));
	list_for_each_safe(it, &a->tokens)
		token_free(a, list_entry(it, struct token, node));
	list_for_each_safe(it, &a->users) {
		struct user *u = list_entry(it, struct user, node);

		list_unlink(&u->node);
		explicit_bzero(u, sizeof(*u));
		free(u);
	}
	free(a);
	return NULL;
}
