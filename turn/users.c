/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's users and their verbs: turn.user.list, turn.user.put, turn.user.delete. A change is
 * written first, and takes effect when it is durable; until then the request waits. Passwords are wiped
 * when they are let go, and never leave by a verb.
 */
#include "turn/users.h"
#include <errno.h>
#include <string.h>
#include "common/stored.h"
#include "turn/edge.h"
#include "turn/log_msgs.h"
#include "turn/service.h"

/* Of the default realm the key is the name; of another it is "realm/name", and no realm's name has a slash. */
static const char KIND[] = "turn.user", REALM_KIND[] = "turn.realms.user";
const struct store_kind turn_store_kinds[] = {
	{ KIND, &turn_user_schema, "turn.users" },
	{ REALM_KIND, &turn_user_schema, "turn.realms[].users" },
	{ "turn.secret", &turn_secret_schema, "turn.secrets" },
	{ "turn.realms.secret", &turn_secret_schema, "turn.realms[].secrets" },
	{ 0 },
};
enum { USER_MAX = 255 /* a password, too */, USER_CAP = 1024, KEY_CAP = USER_CAP + 128 };

struct turn_users {
	struct store *store;
	struct turn_extra_user *list; /* owned strings */
	size_t n;
};

static bool same_realm(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static ptrdiff_t find(const struct turn_users *u, const char *realm, const char *name)
{
	for (size_t i = 0; i < u->n; i++)
		if (same_realm(u->list[i].realm, realm) && strcmp(u->list[i].name, name) == 0)
			return (ptrdiff_t)i;
	return -1;
}

static void drop(struct turn_extra_user *x)
{
	if (x->password)
		bytes_wipe((char *)x->password, strlen(x->password));
	free((char *)x->name);
	free((char *)x->password);
	free((char *)x->realm);
	*x = (struct turn_extra_user){ 0 };
}

static int set(struct turn_users *u, const struct turn_extra_user *user)
{
	struct turn_extra_user fresh = { strdup(user->name), strdup(user->password), user->realm ? strdup(user->realm) : NULL };
	ptrdiff_t at = find(u, user->realm, user->name);

	if (!fresh.name || !fresh.password || (user->realm && !fresh.realm)) {
		drop(&fresh);
		return -ENOMEM;
	}
	if (at < 0) {
		struct turn_extra_user *more = realloc(u->list, (u->n + 1) * sizeof *more);
		if (!more) {
			drop(&fresh);
			return -ENOMEM;
		}
		u->list = more;
		at = (ptrdiff_t)u->n++;
	} else {
		drop(&u->list[at]);
	}
	u->list[at] = fresh;
	return 0;
}

static void unset(struct turn_users *u, const char *realm, const char *name)
{
	ptrdiff_t at = find(u, realm, name);

	if (at < 0)
		return;
	drop(&u->list[at]);
	u->list[at] = u->list[--u->n];
}

/* What clients' bytes are compared with (OpaqueString, RFC 8265): two spellings of a name are one user, and
 * what the policy would refuse never comes into the store. 0, -EINVAL or -ENOMEM. */
static int prepare_name(const char *in, char out[static USER_CAP])
{
	size_t n;
	int r = in ? stun_opaque_string(text_of(in), out, USER_CAP - 1, &n) : -EINVAL;

	if (r == -ENOMEM)
		return r;
	if (r != 0 || n == 0 || n > USER_MAX)
		return -EINVAL;
	out[n] = 0;
	return 0;
}

static bool good_password(const char *password)
{
	char prepared[512];
	size_t n;
	bool good = password && stun_opaque_string(text_of(password), prepared, sizeof prepared, &n) == 0 && n > 0;

	bytes_wipe(prepared, sizeof prepared);
	return good;
}

/* What a file could have, too; one that is longer and in the store already goes on. */
static bool good_new_password(const char *password)
{
	return good_password(password) && strlen(password) <= USER_MAX;
}

/* One bad row of an old or damaged store must not keep the server from its other users. */
static void load_one(struct turn_users *u, const struct store_object *o, const char *realm, const char *written)
{
	const char *password = json_string_value(json_object_get(o->body, "password"));
	char name[USER_CAP];

	if (prepare_name(written, name) == 0 && good_password(password))
		(void)set(u, &(struct turn_extra_user){ name, password, realm });
	else
		log_emit(&MSG_TURN_USER_SKIPPED, LF_STR("user", o->key));
}

static void on_loaded(const struct store_object *o, void *arg)
{
	load_one(arg, o, NULL, o->key);
}

static void on_loaded_of_realm(const struct store_object *o, void *arg)
{
	const char *slash = strchr(o->key, '/');
	char realm[128];

	if (slash && (size_t)(slash - o->key) < sizeof realm)
		snprintf(realm, sizeof realm, "%.*s", (int)(slash - o->key), o->key);
	else
		slash = NULL;
	load_one(arg, o, slash ? realm : "", slash ? slash + 1 : NULL);
}

/* ---- what comes by config.put, an undo or a restore ---- */

static const struct turn_realm *realm_of(const struct turn_service *ts, const char *name)
{
	return name ? turn_policy_find_realm(ts->policy, name) : turn_policy_realm(ts->policy, 0);
}

static bool in_file(const struct turn_service *ts, const char *realm, const char *name)
{
	const struct turn_realm *x = realm_of(ts, realm);

	for (size_t i = 0; x && i < x->n_users; i++)
		if (x->users[i].from_file && strcmp(x->users[i].name, name) == 0)
			return true;
	return false;
}

/* "realm/name" of another realm than the default one. False: it is no such key. */
static bool key_parts(const char *key, bool of_realm, char realm[static 128], const char **ret_name)
{
	const char *slash = of_realm ? strchr(key, '/') : NULL;

	*ret_name = slash ? slash + 1 : key;
	if (slash && (size_t)(slash - key) < 128)
		snprintf(realm, 128, "%.*s", (int)(slash - key), key);
	return slash ? slash - key < 128 : !of_realm;
}

static int check_user(struct turn_service *ts, const char *realm, const char *name, const json_t *body, char *err, size_t err_n)
{
	char normal[USER_CAP];

	if (prepare_name(name, normal) < 0 || strcmp(normal, name) != 0)
		snprintf(err, err_n, "a user name has 1 to 255 bytes in its normal form, without control and invisible characters");
	else if (!good_new_password(json_string_value(json_object_get(body, "password"))) ||
		 json_object_size(body) != 1)
		snprintf(err, err_n, "'password' has 1 to 255 bytes, without control and invisible characters, and is all there is");
	else if (!realm_of(ts, realm))
		snprintf(err, err_n, "there is no realm %s", realm);
	else if (in_file(ts, realm, name)) {
		snprintf(err, err_n, "user %s is set in %s", name, ts->svc->config_path);
		return -EEXIST;
	} else {
		return 0;
	}
	return -EINVAL;
}

static int apply_user(struct turn_service *ts, const struct turn_extra_user *u, char *err, size_t err_n)
{
	int r = 0;

	snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (u->password)
		r = set(ts->users, u);
	else
		unset(ts->users, u->realm, u->name);
	return r < 0 ? r : turn_service_rebuild(ts, err, err_n);
}

static int on_check(const char *key, json_t **body, void *arg, char *err, size_t err_n)
{
	return check_user(arg, NULL, key, *body, err, err_n);
}

static int on_check_of_realm(const char *key, json_t **body, void *arg, char *err, size_t err_n)
{
	char realm[128];
	const char *name;

	if (key_parts(key, true, realm, &name))
		return check_user(arg, realm, name, *body, err, err_n);
	snprintf(err, err_n, "the key is REALM/NAME");
	return -EINVAL;
}

static int on_apply(const char *key, json_t *body, uint64_t revision, void *arg, char *err, size_t err_n)
{
	(void)revision;
	return apply_user(arg, &(struct turn_extra_user){ key, json_string_value(json_object_get(body, "password")), NULL }, err, err_n);
}

static int on_apply_of_realm(const char *key, json_t *body, uint64_t revision, void *arg, char *err, size_t err_n)
{
	char realm[128];
	const char *name;

	(void)revision;
	if (!key_parts(key, true, realm, &name))
		return 0; /* a start skips it, too */
	return apply_user(arg, &(struct turn_extra_user){ name, json_string_value(json_object_get(body, "password")), realm }, err, err_n);
}

int turn_users_new(struct store *st, struct turn_users **ret_u)
{
	struct turn_users *u = calloc(1, sizeof *u);
	int r;

	if (!u)
		return -ENOMEM;
	u->store = st;
	if (st && ((r = store_load(st, KIND, on_loaded, u)) != 0 ||
		   (r = store_load(st, REALM_KIND, on_loaded_of_realm, u)) != 0)) {
		turn_users_free(u);
		return r < 0 ? r : -EIO;
	}
	*ret_u = u;
	return 0;
}

struct turn_users *turn_users_free(struct turn_users *u)
{
	if (!u)
		return NULL;
	for (size_t i = 0; i < u->n; i++)
		drop(&u->list[i]);
	free(u->list);
	free(u);
	return NULL;
}

const struct turn_extra_user *turn_users_list(const struct turn_users *u, size_t *ret_n)
{
	*ret_n = u->n;
	return u->list;
}

/* ---- verbs ---- */

static void add_row(json_t *rows, const char *realm, const char *name, bool locked)
{
	json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:b}", "name", name, "realm", realm, "from", "store", "locked", locked));
}

json_t *turn_row_of_file(const struct turn_service *ts, json_t *row, const char *path)
{
	const char *file = NULL;
	unsigned line = 0;

	if (row && cfg_from(ts->svc->cfg, path, &file, &line) != CFG_FROM_DEFAULT && file)
		json_object_update_new(row, json_pack("{s:s, s:i}", "file", file, "line", (int)line));
	if (row)
		json_object_update_new(row, json_pack("{s:s, s:b}", "from", "file", "locked", 1));
	return row;
}

static void add_of_file(json_t *rows, const struct turn_service *ts, const char *realm, const char *path, const struct cfg_list *list)
{
	const struct turn_user_section *u = list->items;

	for (size_t i = 0; i < list->n; i++)
		json_array_append_new(rows, turn_row_of_file(ts, json_pack("{s:s, s:s}", "name", u[i].name, "realm", realm),
							     cfg_path_item(path, i, "").s));
}

static void verb_list(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	const struct turn_config *cfg = &((const struct turn_root *)cfg_values(ts->svc->cfg))->turn;
	const char *only = json_string_value(json_object_get(args, "realm"));
	const struct turn_realm_section *x = cfg->realms.items;
	json_t *rows = json_array();

	if (!only || strcmp(only, cfg->realm) == 0)
		add_of_file(rows, ts, cfg->realm, "turn.users", &cfg->users);
	for (size_t i = 0; i < cfg->realms.n; i++)
		if (!only || strcmp(only, x[i].name) == 0)
			add_of_file(rows, ts, x[i].name, cfg_path_item("turn.realms", i, "users").s, &x[i].users);
	for (size_t i = 0; i < ts->users->n; i++) {
		const struct turn_extra_user *u = &ts->users->list[i];
		const char *realm = u->realm ? u->realm : cfg->realm;
		if (!only || strcmp(only, realm) == 0)
			add_row(rows, realm, u->name, in_file(ts, u->realm, u->name));
	}
	control_reply(rq, json_pack("{s:o}", "rows", rows));
}

/* One change on its way to the disk. */
struct change {
	struct turn_service *ts;
	struct control_request *rq;
	char *name, *password; /* password NULL: delete */
	char *realm;	       /* NULL: the default one */
};

static void change_free(struct change *c)
{
	if (c->password)
		bytes_wipe(c->password, strlen(c->password));
	free(c->name);
	free(c->realm);
	free(c->password);
	free(c);
}

static void store_refused(const struct change *c, int result)
{
	if (result == STORE_NOT_FOUND)
		control_fail(c->rq, "not-found", "stile turn user list", "there is no user %s in the store", c->name);
	else if (result == STORE_CONFLICT)
		control_fail(c->rq, "conflict", "look at it and repeat the change with the new revision", "user %s was changed meanwhile", c->name);
	else if (result == STORE_EXISTS)
		control_fail(c->rq, "exists", "stile turn user passwd changes the password", "there is a user %s already", c->name);
	else
		control_fail(c->rq, "failed", NULL, "user %s: %s", c->name, result > 0 ? store_result_text(result) : strerror(-result));
}

static void on_stored(const struct store_outcome *o, void *arg)
{
	struct change *c = arg;
	char err[256];
	int r = 0;

	if (o->result != STORE_OK) {
		store_refused(c, o->result);
		change_free(c);
		return;
	}
	if (c->password)
		r = set(c->ts->users, &(struct turn_extra_user){ c->name, c->password, c->realm });
	else
		unset(c->ts->users, c->realm, c->name);
	if (r == 0)
		r = turn_service_rebuild(c->ts, err, sizeof err);
	else
		snprintf(err, sizeof err, "%s", strerror(-r));
	if (r < 0)
		control_fail(c->rq, "failed", "it is stored and will hold after a restart", "user %s: %s", c->name, err);
	else
		control_reply(c->rq, json_pack("{s:s, s:I}", "name", c->name, "revision", (json_int_t)o->revision));
	change_free(c);
}

static struct change *change_new(struct turn_service *ts, struct control_request *rq, const struct turn_extra_user *u)
{
	struct change *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->ts = ts;
	c->rq = rq;
	c->name = strdup(u->name);
	c->password = u->password ? strdup(u->password) : NULL;
	c->realm = u->realm ? strdup(u->realm) : NULL;
	if (!c->name || (u->password && !c->password) || (u->realm && !c->realm)) {
		change_free(c);
		return NULL;
	}
	return c;
}

/* NULL: the default realm, by that word too. */
static const char *realm_arg(const struct turn_service *ts, const json_t *args)
{
	const char *realm = json_string_value(json_object_get(args, "realm"));

	return realm && strcmp(realm, turn_policy_realm(ts->policy, 0)->name) == 0 ? NULL : realm;
}

/* What both verbs refuse; true if the request was ended. Else name is the argument's normal form. A user of a realm
 * that is not configured can be deleted, but not made. */
static bool refused(struct turn_service *ts, struct control_request *rq, const json_t *args, char name[static USER_CAP])
{
	const char *realm = realm_arg(ts, args);

	if (prepare_name(json_string_value(json_object_get(args, "name")), name) < 0)
		control_fail(rq, "bad-request", NULL, "a user name has 1 to 255 bytes, without control and invisible characters");
	else if (!realm_of(ts, realm) && find(ts->users, realm, name) < 0)
		control_fail(rq, "not-found", "stile status names the realms", "there is no realm %s", realm);
	else if (in_file(ts, realm, name))
		control_fail(rq, "locked", "change the file and run stile reload", "user %s is set in %s", name, ts->svc->config_path);
	else if (!ts->users->store)
		control_fail(rq, "failed", "set store.path", "this server runs without a store");
	else
		return false;
	return true;
}

static const char *store_key(const struct turn_extra_user *u, char buf[static KEY_CAP])
{
	if (!u->realm)
		return u->name;
	snprintf(buf, KEY_CAP, "%s/%s", u->realm, u->name);
	return buf;
}

static void send_change(struct turn_service *ts, struct control_request *rq, const struct turn_extra_user *u,
			uint64_t revision)
{
	const char *kind = u->realm ? REALM_KIND : KIND;
	char buf[KEY_CAP];
	const char *key = store_key(u, buf);
	struct change *c = change_new(ts, rq, u);
	struct store_call call = { .loop = ts->svc->loop, .who = control_request_who(rq), .done = on_stored, .arg = c };
	json_t *body = u->password ? json_pack("{s:s}", "password", u->password) : NULL;
	int r = -ENOMEM;

	if (c && body)
		r = store_put(ts->users->store, &call, kind, key, revision, body);
	else if (c && !u->password)
		r = store_delete(ts->users->store, &call, kind, key, revision);
	else
		json_decref(body);
	if (r < 0) {
		control_fail(rq, "failed", NULL, "user %s: %s", u->name, strerror(-r));
		if (c)
			change_free(c);
	}
}

static void verb_put(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	const json_t *create = json_object_get(args, "create"); /* absent: either way */
	char name[USER_CAP];
	struct turn_extra_user u = { name, json_string_value(json_object_get(args, "password")), realm_arg(ts, args) };

	if (refused(ts, rq, args, name))
		return;
	if (json_is_false(create) && find(ts->users, u.realm, name) < 0) {
		control_fail(rq, "not-found", "stile turn user add makes one", "there is no user %s", name);
		return;
	}
	if (!good_new_password(u.password)) {
		control_fail(rq, "bad-request", NULL, "a password has 1 to 255 bytes, without control and invisible characters");
		return;
	}
	send_change(ts, rq, &u, stored_revision(args, json_is_true(create) ? 0 : STORE_ANY));
}

static void verb_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	char name[USER_CAP];

	if (!refused(ts, rq, args, name))
		send_change(ts, rq, &(struct turn_extra_user){ name, NULL, realm_arg(ts, args) }, stored_revision(args, STORE_ANY));
}

static const struct control_verb verbs[] = {
	{ "turn.user.list", CONTROL_OPERATOR, verb_list, "{realm}: users of the file and of the store, without passwords" },
	{ "turn.user.put", CONTROL_ADMIN, verb_put, "{name, password, create, realm, revision}: makes a user (create true), changes its password (false), or either" },
	{ "turn.user.delete", CONTROL_ADMIN, verb_delete, "{name, realm, revision}: deletes a user of the store" },
};

void turn_users_add_verbs(struct turn_service *ts)
{
	control_add_verbs(ts->svc->control, verbs, ARRAY_LEN(verbs), ts);
	service_own(ts->svc, &(struct service_owner){ .kind = KIND, .check = on_check, .apply = on_apply, .arg = ts });
	service_own(ts->svc, &(struct service_owner){ .kind = REALM_KIND, .check = on_check_of_realm, .apply = on_apply_of_realm, .arg = ts });
}
