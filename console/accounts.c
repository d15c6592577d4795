/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users, sessions and tokens: in memory as they are asked for, in the store as they survive a restart. Of a cookie and of a
 * token only the SHA-256 is kept, which is enough for 256 random bits; of a password its yescrypt. A user's and a token's
 * changes are audited with what was before and after, their secrets left out by the schema rows; sessions are state.
 *
 * Every change is written by itself and told when it is on the disk. What is in memory is ahead of it by that moment; a change
 * of a user that the store does not take is undone. A later one that is under way by then has taken it along: so memory becomes
 * what the store has when the last of them is over.
 */
#include "console/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <openssl/sha.h>
#include "common/bytes.h"
#include "common/clock.h"

enum { STORE_SEEN_MS = 60 * 1000 };

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
const struct store_kind console_store_kinds[] = {
	{ .name = "console.user", .schema = &kept_schema, .state = true },
	{ .name = "console.token", .schema = &kept_schema, .state = true },
	{ .name = "console.session", .state = true, .unaudited = true },
	{ .name = "console.action", .state = true },
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

static void sha256_hex(const char *s, char out[static 65])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *)s, strlen(s), digest);
	hex_encode(digest, sizeof(digest), out);
}

/* ---- the store ---- */

struct saving {
	account_done_fn fn;
	void *arg;
	struct accounts *a; /* of a user's change; else NULL */
	char name[64];
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

static void on_saved(const struct store_outcome *o, void *arg)
{
	struct saving *s = arg;
	struct user *u = s->a ? user_find(s->a, s->name) : NULL;

	if (u)
		user_saved(u, s, o->result == STORE_OK);
	if (s->fn)
		s->fn(o->result == STORE_OK || o->result == STORE_NOT_FOUND ? 0 : -EIO, s->arg);
	explicit_bzero(s, sizeof(*s));
	free(s);
}

struct change {
	const char *kind, *key, *who;
	json_t *body; /* taken; NULL: there was no memory for it, unless deleted */
	bool deleted;
	struct user *user; /* whose change it is */
};

static void save(struct accounts *a, struct change ch, account_done_fn fn, void *arg)
{
	struct saving *s = calloc(1, sizeof(*s));
	struct store_call call = { .loop = a->c->svc->loop, .who = ch.who, .done = on_saved, .arg = s };
	int r = s && (ch.body || ch.deleted) ? 0 : -ENOMEM;

	if (s)
		*s = (struct saving){ .fn = fn, .arg = arg };
	if (s && ch.user) {
		s->a = a;
		(void)snprintf(s->name, sizeof(s->name), "%s", ch.key);
		s->number = ++a->n_saved;
		s->wanted = kept_of(ch.user);
	}
	if (r == 0)
		r = ch.deleted ? store_delete(a->c->svc->store, &call, ch.kind, ch.key, STORE_ANY) :
				 store_put(a->c->svc->store, &call, ch.kind, ch.key, STORE_ANY, json_incref(ch.body));
	json_decref(ch.body);
	if (r == 0 && ch.user)
		ch.user->saving = s->number;
	if (r == 0)
		return;
	if (ch.user)
		settle(ch.user);
	free(s);
	if (fn)
		fn(r, arg);
}

static void copy_string(const json_t *o, const char *key, char *out, size_t n)
{
	const char *s = json_string_value(json_object_get(o, key));

	(void)snprintf(out, n, "%s", s ? s : "");
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
	list_for_each(it, &a->users) {
		struct user *u = list_entry(it, struct user, node);

		if (name && strcmp(u->name, name) == 0)
			return u;
	}
	return NULL;
}

unsigned accounts_admins(const struct accounts *a)
{
	unsigned n = 0;

	list_for_each(it, &a->users)
		n += list_entry(it, struct user, node)->role == CONTROL_ADMIN;
	return n;
}

struct user *user_add(struct accounts *a, const char *name, enum control_role role, const char *hash)
{
	struct user *u = a->n_users < USERS_MAX ? calloc(1, sizeof(*u)) : NULL;

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
	save(a, (struct change){ "console.user", u->name, who, o, false, u }, fn, arg);
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

/* ---- sessions ---- */

static void session_free(struct accounts *a, struct session *s)
{
	list_unlink(&s->node);
	a->n_sessions--;
	free(s);
}

void session_remove(struct accounts *a, struct session *s)
{
	events_end_of_session(a->c->events, s);
	save(a, (struct change){ "console.session", s->id, "console", NULL, true, NULL }, NULL, NULL);
	session_free(a, s);
}

void sessions_remove_of(struct accounts *a, const struct user *u, const struct session *but)
{
	list_for_each_safe(it, &a->sessions) {
		struct session *s = list_entry(it, struct session, node);

		if (s->user == u && s != but)
			session_remove(a, s);
	}
}

static void save_session(struct accounts *a, struct session *s)
{
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:s, s:s}", "user", s->user->name, "csrf", s->csrf, "created_at",
			      (json_int_t)s->created_at, "seen_at", (json_int_t)s->seen_at, "address", s->address, "agent", s->agent);

	s->stored_at = s->seen_at;
	save(a, (struct change){ "console.session", s->id, "console", o, false, NULL }, NULL, NULL);
}

static bool has_ended(const struct accounts *a, const struct session *s, int64_t now)
{
	const struct console_config *k = console_config(a->c);

	return now - s->seen_at > (int64_t)k->session_idle_ms || now - s->created_at > (int64_t)k->session_life_ms || s->seen_at - now > 60000;
}

static void sweep(struct accounts *a)
{
	int64_t now = clock_unix_ms();

	list_for_each_safe(it, &a->sessions) {
		struct session *s = list_entry(it, struct session, node);

		if (has_ended(a, s, now))
			session_remove(a, s);
	}
}

/* At the limit whoever was away longest gives way. */
static void make_room(struct accounts *a)
{
	struct session *oldest = NULL;

	sweep(a);
	if (a->n_sessions < SESSIONS_MAX)
		return;
	list_for_each(it, &a->sessions) {
		struct session *s = list_entry(it, struct session, node);

		if (!oldest || s->seen_at < oldest->seen_at)
			oldest = s;
	}
	session_remove(a, oldest);
}

/* What a browser calls itself is shown to administrators: only what can be shown is kept. */
static void copy_agent(struct session *s, const char *agent)
{
	size_t n = 0;

	for (; agent && *agent && n + 1 < sizeof(s->agent); agent++)
		if ((unsigned char)*agent >= 0x20 && (unsigned char)*agent < 0x7f)
			s->agent[n++] = *agent;
	s->agent[n] = 0;
}

struct session *session_add(struct accounts *a, struct user *u, const struct addr *peer, const char *agent, char cookie[static COOKIE_LEN])
{
	uint8_t random[32], csrf[32];
	struct session *s;

	make_room(a);
	s = calloc(1, sizeof(*s));
	if (!s || bytes_random(random, sizeof(random)) < 0 || bytes_random(csrf, sizeof(csrf)) < 0) {
		free(s);
		return NULL;
	}
	base64url_encode(random, sizeof(random), cookie);
	base64url_encode(csrf, sizeof(csrf), s->csrf);
	sha256_hex(cookie, s->id);
	s->user = u;
	s->created_at = s->seen_at = clock_unix_ms();
	(void)addr_print_ip(peer, s->address);
	copy_agent(s, agent);
	list_append(&a->sessions, &s->node);
	a->n_sessions++;
	save_session(a, s);
	return s;
}

struct session *session_of_cookie(struct accounts *a, const char *cookie)
{
	int64_t now = clock_unix_ms();
	char id[65];

	sha256_hex(cookie, id);
	list_for_each(it, &a->sessions) {
		struct session *s = list_entry(it, struct session, node);

		if (strcmp(s->id, id) != 0)
			continue;
		if (has_ended(a, s, now)) {
			session_remove(a, s);
			return NULL;
		}
		s->seen_at = now;
		if (now - s->stored_at > STORE_SEEN_MS)
			save_session(a, s);
		return s;
	}
	return NULL;
}

static void load_session(const struct store_object *o, void *arg)
{
	struct accounts *a = arg;
	struct user *u = user_find(a, json_string_value(json_object_get(o->body, "user")));
	struct session *s = u && a->n_sessions < SESSIONS_MAX && strlen(o->key) == 64 ? calloc(1, sizeof(*s)) : NULL;

	if (!s)
		return;
	s->user = u;
	memcpy(s->id, o->key, 65);
	copy_string(o->body, "csrf", s->csrf, sizeof(s->csrf));
	copy_string(o->body, "address", s->address, sizeof(s->address));
	copy_string(o->body, "agent", s->agent, sizeof(s->agent));
	s->created_at = json_integer_value(json_object_get(o->body, "created_at"));
	s->seen_at = s->stored_at = json_integer_value(json_object_get(o->body, "seen_at"));
	list_append(&a->sessions, &s->node);
	a->n_sessions++;
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

static void token_free(struct accounts *a, struct token *t)
{
	list_unlink(&t->node);
	a->n_tokens--;
	free(t);
}

void token_remove(struct accounts *a, struct token *t, const char *who, account_done_fn fn, void *arg)
{
	save(a, (struct change){ "console.token", t->id, who, NULL, true, NULL }, fn, arg);
	token_free(a, t);
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
	save(a, (struct change){ "console.token", t->id, who, o, false, NULL }, fn, arg);
	return t;
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
		if (t->expires_at && t->expires_at < now)
			return NULL;
		t->used_at = now;
		return t;
	}
	return NULL;
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
	save(a, (struct change){ "console.user", u->name, who, NULL, true, NULL }, fn, arg);
	list_unlink(&u->node);
	a->n_users--;
	explicit_bzero(u, sizeof(*u));
	free(u);
}

/* ---- actions ---- */

/* An object for each service: its row in the audit is what counts, "before" is the action before it. */
void accounts_audit_action(struct accounts *a, const char *who, const char *service, json_t *what)
{
	save(a, (struct change){ "console.action", service, who, what, false, NULL }, NULL, NULL);
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
		r = store_load(c->svc->store, "console.token", load_token, a);
	if (r == 0)
		r = store_load(c->svc->store, "console.session", load_session, a);
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
