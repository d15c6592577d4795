/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's users and their verbs: turn.user.list, turn.user.put, turn.user.delete. A change is
 * written first, and takes effect when it is durable; until then the request waits. Passwords are wiped
 * when they are let go, and never leave by a verb.
 */
#include "turn/users.h"
#include <errno.h>
#include <string.h>
#include "turn/edge.h"
#include "turn/log_msgs.h"
#include "turn/service.h"

static const char KIND[] = "turn.user";
const struct store_kind turn_store_kinds[] = { { KIND, &turn_user_schema }, { NULL, NULL } };
enum { USER_MAX = 255, USER_CAP = 1024 };

struct turn_users {
	struct store *store;
	struct turn_extra_user *list; /* owned strings */
	size_t n;
};

static ptrdiff_t find(const struct turn_users *u, const char *name)
{
	for (size_t i = 0; i < u->n; i++)
		if (strcmp(u->list[i].name, name) == 0)
			return (ptrdiff_t)i;
	return -1;
}

static void drop(struct turn_extra_user *x)
{
	if (x->password)
		bytes_wipe((char *)x->password, strlen(x->password));
	free((char *)x->name);
	free((char *)x->password);
	*x = (struct turn_extra_user){ 0 };
}

static int set(struct turn_users *u, const char *name, const char *password)
{
	struct turn_extra_user fresh = { strdup(name), strdup(password) };
	ptrdiff_t at = find(u, name);

	if (!fresh.name || !fresh.password) {
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

static void unset(struct turn_users *u, const char *name)
{
	ptrdiff_t at = find(u, name);

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

/* One bad row of an old or damaged store must not keep the server from its other users. */
static void on_loaded(const struct store_object *o, void *arg)
{
	const char *password = json_string_value(json_object_get(o->body, "password"));
	char name[USER_CAP];

	if (prepare_name(o->key, name) == 0 && good_password(password))
		(void)set(arg, name, password);
	else
		log_emit(&MSG_TURN_USER_SKIPPED, LF_STR("user", o->key));
}

int turn_users_new(struct store *st, struct turn_users **ret_u)
{
	struct turn_users *u = calloc(1, sizeof *u);
	int r;

	if (!u)
		return -ENOMEM;
	u->store = st;
	if (st && (r = store_load(st, KIND, on_loaded, u)) != 0) {
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

static bool in_file(struct turn_service *ts, const char *name)
{
	const struct turn_config *cfg = turn_policy_config(ts->policy);
	const struct turn_user_section *users = cfg->users.items;

	char prepared[USER_CAP];

	for (size_t i = 0; i < cfg->users.n; i++)
		if (prepare_name(users[i].name, prepared) == 0 && strcmp(prepared, name) == 0)
			return true;
	return false;
}

static void verb_list(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	const struct turn_config *cfg = turn_policy_config(ts->policy);
	const struct turn_user_section *users = cfg->users.items;
	json_t *rows = json_array();

	(void)args;
	for (size_t i = 0; i < cfg->users.n; i++)
		json_array_append_new(rows, json_pack("{s:s, s:s, s:b}", "name", users[i].name, "from", "file", "locked", 1));
	for (size_t i = 0; i < ts->users->n; i++)
		json_array_append_new(rows, json_pack("{s:s, s:s, s:b}", "name", ts->users->list[i].name, "from",
						      "store", "locked", in_file(ts, ts->users->list[i].name)));
	control_reply(rq, json_pack("{s:o}", "rows", rows));
}

/* One change on its way to the disk. */
struct change {
	struct turn_service *ts;
	struct control_request *rq;
	char *name, *password; /* password NULL: delete */
};

static void change_free(struct change *c)
{
	if (c->password)
		bytes_wipe(c->password, strlen(c->password));
	free(c->name);
	free(c->password);
	free(c);
}

static void store_refused(const struct change *c, int result)
{
	if (result == STORE_NOT_FOUND)
		control_fail(c->rq, "not-found", "stile turn user list", "there is no user %s in the store", c->name);
	else if (result == STORE_EXISTS || result == STORE_CONFLICT)
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
		r = set(c->ts->users, c->name, c->password);
	else
		unset(c->ts->users, c->name);
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

static struct change *change_new(struct turn_service *ts, struct control_request *rq, const char *name, const char *password)
{
	struct change *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->ts = ts;
	c->rq = rq;
	c->name = strdup(name);
	c->password = password ? strdup(password) : NULL;
	if (!c->name || (password && !c->password)) {
		change_free(c);
		return NULL;
	}
	return c;
}

/* What both verbs refuse; true if the request was ended. Else name is the argument's normal form. */
static bool refused(struct turn_service *ts, struct control_request *rq, const json_t *args, char name[static USER_CAP])
{
	if (prepare_name(json_string_value(json_object_get(args, "name")), name) < 0)
		control_fail(rq, "bad-request", NULL, "a user name has 1 to 255 bytes, without control and invisible characters");
	else if (in_file(ts, name))
		control_fail(rq, "locked", "change the file and run stile reload", "user %s is set in %s", name, ts->svc->config_path);
	else if (!ts->users->store)
		control_fail(rq, "failed", "set store.path", "this server runs without a store");
	else
		return false;
	return true;
}

static void verb_put(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	const char *password = json_string_value(json_object_get(args, "password"));
	const json_t *create = json_object_get(args, "create"); /* absent: either way */
	char name[USER_CAP];

	if (refused(ts, rq, args, name))
		return;
	if (json_is_false(create) && find(ts->users, name) < 0) {
		control_fail(rq, "not-found", "stile turn user add makes one", "there is no user %s", name);
		return;
	}
	if (!good_password(password)) {
		control_fail(rq, "bad-request", NULL, "a password has 1 to 255 bytes, without control and invisible characters");
		return;
	}
	struct change *c = change_new(ts, rq, name, password);
	json_t *body = json_pack("{s:s}", "password", password);
	struct store_call call = { .loop = ts->svc->loop, .who = control_request_who(rq), .done = on_stored, .arg = c };
	int r = -ENOMEM;

	if (c && body)
		r = store_put(ts->users->store, &call, KIND, name, json_is_true(create) ? 0 : STORE_ANY, body);
	else
		json_decref(body);
	if (r < 0) {
		control_fail(rq, "failed", NULL, "user %s: %s", name, strerror(-r));
		if (c)
			change_free(c);
	}
}

static void verb_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	char name[USER_CAP];

	if (refused(ts, rq, args, name))
		return;
	struct change *c = change_new(ts, rq, name, NULL);
	struct store_call call = { .loop = ts->svc->loop, .who = control_request_who(rq), .done = on_stored, .arg = c };
	int r = c ? store_delete(ts->users->store, &call, KIND, name, STORE_ANY) : -ENOMEM;
	if (r < 0) {
		control_fail(rq, "failed", NULL, "user %s: %s", name, strerror(-r));
		if (c)
			change_free(c);
	}
}

static const struct control_verb verbs[] = {
	{ "turn.user.list", CONTROL_OPERATOR, verb_list, "users of the file and of the store, without passwords" },
	{ "turn.user.put", CONTROL_ADMIN, verb_put, "{name, password, create}: makes a user (create true), changes its password (false), or either" },
	{ "turn.user.delete", CONTROL_ADMIN, verb_delete, "{name}: deletes a user of the store" },
};

void turn_users_add_verbs(struct turn_service *ts)
{
	control_add_verbs(ts->svc->control, verbs, ARRAY_LEN(verbs), ts);
}
