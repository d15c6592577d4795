/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts in two lists, the file's and the store's; see accounts.h.
 * The file's wins. A change is validated, goes to the store, and
 * holds when the store has it.
 */
#include "sip-proxy/accounts.h"
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "common/hash.h"
#include "common/stored.h"
#include "sip-proxy/location.h"

static const char KIND[] = "sip.user";
enum { PASSWORD_MAX = 255, PAGE = 1000 };

struct account {
	struct hnode node; /* in by_name */
	size_t at;	   /* in v */
	char *password;
	char aor[];
};
struct list_of {
	struct htable by_name;
	struct account **v; /* in the order of listings */
	size_t n, cap;
};
struct sip_accounts {
	struct service *svc;
	struct list_of file, stored;
	struct hash_seed seed;
	char (*domains)[256];
	size_t n_domains;
};

/* ---- lists ---- */

static char *wipe(char *password)
{
	if (password)
		bytes_wipe(password, strlen(password));
	free(password);
	return NULL;
}

static void list_free(struct list_of *l)
{
	for (size_t i = 0; i < l->n; i++) {
		wipe(l->v[i]->password);
		free(l->v[i]);
	}
	free(l->v);
	htable_deinit(&l->by_name);
	*l = (struct list_of){ 0 };
}

static uint64_t hash_of(const struct sip_accounts *a, const char *aor)
{
	return hash_bytes(&a->seed, aor, strlen(aor));
}

static bool is_name(const struct hnode *n, const void *key)
{
	return strcmp(container_of(n, struct account, node)->aor, key) == 0;
}

static struct account *list_find(const struct sip_accounts *a, const struct list_of *l, const char *aor)
{
	struct hnode *n = htable_find(&l->by_name, hash_of(a, aor), is_name, aor);
	return n ? container_of(n, struct account, node) : NULL;
}

static int make_room(struct list_of *l)
{
	size_t cap = l->cap ? 2 * l->cap : 16;
	struct account **more;
	if (l->n < l->cap)
		return 0;
	more = realloc(l->v, cap * sizeof *more);
	if (!more)
		return -ENOMEM;
	l->v = more;
	l->cap = cap;
	return 0;
}

static int list_add(const struct sip_accounts *a, struct list_of *l, const char *aor, char *password)
{
	size_t n = strlen(aor) + 1;
	struct account *x = make_room(l) == 0 ? calloc(1, sizeof *x + n) : NULL;
	if (!x || htable_insert(&l->by_name, &x->node, hash_of(a, aor)) < 0) {
		free(x);
		return -ENOMEM;
	}
	memcpy(x->aor, aor, n);
	x->password = password;
	x->at = l->n;
	l->v[l->n++] = x;
	return 0;
}

static int list_set(const struct sip_accounts *a, struct list_of *l, const char *aor, const char *password)
{
	struct account *old = list_find(a, l, aor);
	char *fresh = strdup(password);
	if (fresh && old) {
		wipe(old->password);
		old->password = fresh;
		return 0;
	}
	if (fresh && list_add(a, l, aor, fresh) == 0)
		return 0;
	wipe(fresh);
	return -ENOMEM;
}

static void list_unset(const struct sip_accounts *a, struct list_of *l, const char *aor)
{
	struct account *x = list_find(a, l, aor);
	if (!x)
		return;
	htable_remove(&l->by_name, &x->node);
	l->v[x->at] = l->v[--l->n];
	l->v[x->at]->at = x->at;
	wipe(x->password);
	free(x);
}

/* "alice" and a domain, or "alice@domain", as the registrar compares it. 0 or -EINVAL. */
static int name_of(const char *user, const char *domain, char out[static SIP_AOR_MAX])
{
	struct text name = text_of(user);
	ptrdiff_t at = text_find(name, '@');
	struct sb b = sb_init(out, SIP_AOR_MAX);
	if (at >= 0)
		domain = user + at + 1;
	if (at >= 0)
		name.n = (size_t)at;
	if (name.n == 0 || name.n > 127 || !domain || !domain[0])
		return -EINVAL;
	for (size_t i = 0; i < name.n; i++)
		if ((unsigned char)name.p[i] <= ' ' || name.p[i] == '"' || name.p[i] == '\\' ||
		    name.p[i] == 0x7f)
			return -EINVAL;
	sb_text(&b, name);
	sb_char(&b, '@');
	for (const char *d = domain; *d; d++)
		sb_char(&b, sip_lower(*d));
	return b.truncated ? -EINVAL : 0;
}

static int read_file(const struct sip_accounts *a, const struct sip_config *c, struct list_of *l)
{
	const struct sip_user_section *u = c->users.items;
	char *const *domains = c->domains.items;
	char aor[SIP_AOR_MAX];
	for (size_t i = 0; i < c->users.n; i++) {
		const char *domain = u[i].domain ? u[i].domain : c->domains.n ? domains[0] : NULL;
		if (name_of(u[i].name, domain, aor) == 0 && list_set(a, l, aor, u[i].password) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int read_domains(struct sip_accounts *a, const struct sip_config *c)
{
	char(*domains)[256] = calloc(c->domains.n + 1, sizeof *domains);
	if (!domains)
		return -ENOMEM;
	for (size_t i = 0; i < c->domains.n; i++)
		text_append(domains[i], sizeof *domains, ((char *const *)c->domains.items)[i]);
	free(a->domains);
	a->domains = domains;
	a->n_domains = c->domains.n;
	return 0;
}

static void on_loaded(const struct store_object *o, void *arg)
{
	struct sip_accounts *a = arg;
	const char *password = json_string_value(json_object_get(o->body, "password"));
	if (password)
		(void)list_set(a, &a->stored, o->key, password);
}

/* ---- what comes by config.put or an undo ---- */

static bool is_ours(const struct sip_accounts *a, const char *aor)
{
	const char *at = strrchr(aor, '@');
	for (size_t i = 0; at && i < a->n_domains; i++)
		if (text_ieq(text_of(a->domains[i]), text_of(at + 1)))
			return true;
	return false;
}

static int on_check(const char *key, json_t **body, void *arg, char *err, size_t err_n)
{
	const struct sip_accounts *a = arg;
	const char *password = json_string_value(json_object_get(*body, "password"));
	char aor[SIP_AOR_MAX];
	if (name_of(key, NULL, aor) < 0 || strcmp(aor, key) != 0)
		snprintf(err, err_n, "the key is NAME@DOMAIN in its normal form, without blanks and quotes");
	else if (!password || !password[0] || strlen(password) > PASSWORD_MAX || json_object_size(*body) != 1)
		snprintf(err, err_n, "'password' has 1 to %d bytes, and is all there is", PASSWORD_MAX);
	else if (!is_ours(a, key))
		snprintf(err, err_n, "the domain of %s is none of sip.domains", key);
	else if (list_find(a, &a->file, key)) {
		snprintf(err, err_n, "user %s is set in %s", key, a->svc->config_path);
		return -EEXIST;
	} else
		return 0;
	return -EINVAL;
}

static int on_apply(const char *key, json_t *body, uint64_t revision, void *arg, char *err, size_t err_n)
{
	struct sip_accounts *a = arg;
	const char *password = json_string_value(json_object_get(body, "password"));
	int r = 0;
	(void)revision;
	if (password)
		r = list_set(a, &a->stored, key, password);
	else
		list_unset(a, &a->stored, key);
	snprintf(err, err_n, "%s", strerror(-r));
	return r;
}

int sip_accounts_new(struct service *svc, const struct sip_config *c, struct sip_accounts **ret_a)
{
	struct sip_accounts *a = calloc(1, sizeof *a);
	int r = a ? 0 : -ENOMEM;
	if (r == 0) {
		a->svc = svc;
		a->seed = hash_seed_random();
		r = read_domains(a, c);
	}
	if (r == 0)
		r = read_file(a, c, &a->file);
	if (r == 0 && svc->store)
		r = store_load(svc->store, KIND, on_loaded, a);
	if (r != 0) {
		sip_accounts_free(a);
		return r < 0 ? r : -EIO;
	}
	service_own(svc, &(struct service_owner){ .kind = KIND, .check = on_check, .apply = on_apply, .arg = a });
	*ret_a = a;
	return 0;
}

struct sip_accounts *sip_accounts_free(struct sip_accounts *a)
{
	if (!a)
		return NULL;
	list_free(&a->file);
	list_free(&a->stored);
	free(a->domains);
	free(a);
	return NULL;
}

int sip_accounts_reload(struct sip_accounts *a, const struct sip_config *c)
{
	struct list_of fresh = { 0 };
	int r = read_file(a, c, &fresh);
	if (r == 0)
		r = read_domains(a, c);
	if (r < 0) {
		list_free(&fresh);
		return r;
	}
	list_free(&a->file);
	a->file = fresh;
	return 0;
}

struct text sip_accounts_password(const struct sip_accounts *a, const char *aor)
{
	const struct account *x = list_find(a, &a->file, aor);
	if (!x)
		x = list_find(a, &a->stored, aor);
	return text_of(x ? x->password : NULL);
}

/* ---- verbs ---- */

/* A page at a time, for a line has its length: those of the file first. */
static void verb_list(struct control_request *rq, const json_t *args, void *arg)
{
	const struct sip_accounts *a = arg;
	json_int_t limit = json_integer_value(json_object_get(args, "limit")),
		   cursor = json_integer_value(json_object_get(args, "cursor"));
	size_t at = cursor > 0 ? (size_t)cursor : 0, all = a->file.n + a->stored.n, end;
	json_t *rows = json_array();
	end = MIN(all, at + (size_t)(limit > 0 ? MIN(limit, PAGE) : PAGE));
	for (; at < end; at++) {
		bool in_file = at < a->file.n;
		const struct account *x = in_file ? a->file.v[at] : a->stored.v[at - a->file.n];
		json_array_append_new(rows, json_pack("{s:s, s:s, s:b}", "name", x->aor, "from",
						      in_file ? "file" : "store", "locked",
						      in_file || list_find(a, &a->file, x->aor)));
	}
	control_reply(rq, at < all ? json_pack("{s:o, s:I}", "rows", rows, "cursor", (json_int_t)at)
				   : json_pack("{s:o}", "rows", rows));
}

struct change { /* on its way to the disk */
	struct sip_accounts *a;
	struct control_request *rq;
	char aor[SIP_AOR_MAX], password[PASSWORD_MAX + 1]; /* password "": delete */
};

static void change_free(struct change *c)
{
	bytes_wipe(c->password, sizeof c->password);
	free(c);
}

static void on_stored(const struct store_outcome *o, void *arg)
{
	struct change *c = arg;
	int r = 0;
	if (o->result == STORE_NOT_FOUND) {
		control_fail(c->rq, "not-found", "stile sip user list",
			     "there is no user %s in the store", c->aor);
	} else if (o->result == STORE_CONFLICT) {
		control_fail(c->rq, "conflict", "look at it and repeat the change with the new revision",
			     "user %s was changed meanwhile", c->aor);
	} else if (o->result == STORE_EXISTS) {
		control_fail(c->rq, "exists", "stile sip user passwd changes the password",
			     "there is a user %s already", c->aor);
	} else if (o->result != STORE_OK) {
		control_fail(c->rq, "failed", NULL, "user %s: %s", c->aor,
			     o->result > 0 ? store_result_text(o->result) : strerror(-o->result));
	} else {
		if (c->password[0])
			r = list_set(c->a, &c->a->stored, c->aor, c->password);
		else
			list_unset(c->a, &c->a->stored, c->aor);
		if (r < 0)
			control_fail(c->rq, "failed", "it is stored and will hold after a restart",
				     "user %s: %s", c->aor, strerror(-r));
		else
			control_reply(c->rq, json_pack("{s:s, s:I}", "name", c->aor, "revision",
						       (json_int_t)o->revision));
	}
	change_free(c);
}

/* What both verbs refuse; NULL if the request was ended. */
static struct change *change_of(struct sip_accounts *a, struct control_request *rq, const json_t *args)
{
	const char *name = json_string_value(json_object_get(args, "name")), *domain = NULL;
	char aor[SIP_AOR_MAX];
	bool ours = false;
	if (a->n_domains > 0)
		domain = a->domains[0];
	if (!name || name_of(name, domain, aor) < 0) {
		control_fail(rq, "bad-request", NULL,
			     "a user's name has 1 to 127 bytes without blanks and quotes, and a domain");
		return NULL;
	}
	for (size_t i = 0; i < a->n_domains; i++)
		ours |= text_ieq(text_of(a->domains[i]), text_of(strchr(aor, '@') + 1));
	if (!ours && !list_find(a, &a->stored, aor))
		control_fail(rq, "bad-request", "sip.domains", "%s is none of our domains",
			     strchr(aor, '@') + 1);
	else if (list_find(a, &a->file, aor))
		control_fail(rq, "locked", "change the file and run stile reload",
			     "user %s is set in %s", aor, a->svc->config_path);
	else if (!a->svc->store)
		control_fail(rq, "failed", "set store.path", "this server runs without a store");
	else {
		struct change *c = calloc(1, sizeof *c);
		if (c) {
			c->a = a;
			c->rq = rq;
			text_append(c->aor, sizeof c->aor, aor);
			return c;
		}
		control_fail(rq, "failed", NULL, "%s", strerror(ENOMEM));
	}
	return NULL;
}

static void send_change(struct change *c, json_t *body, uint64_t revision)
{
	struct store_call call = {
		.loop = c->a->svc->loop, .who = control_request_who(c->rq), .done = on_stored, .arg = c
	};
	int r = c->password[0] ? store_put(c->a->svc->store, &call, KIND, c->aor, revision, body)
			       : store_delete(c->a->svc->store, &call, KIND, c->aor, revision);
	if (r < 0) {
		control_fail(c->rq, "failed", NULL, "user %s: %s", c->aor, strerror(-r));
		change_free(c);
	}
}

static void verb_put(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_accounts *a = arg;
	const json_t *create = json_object_get(args, "create"); /* absent: either way */
	const char *password = json_string_value(json_object_get(args, "password"));
	struct change *c;
	if (!password || !password[0] || strlen(password) > PASSWORD_MAX) {
		control_fail(rq, "bad-request", NULL, "a password has 1 to %d bytes", PASSWORD_MAX);
		return;
	}
	if (!(c = change_of(a, rq, args)))
		return;
	if (json_is_false(create) && !list_find(a, &a->stored, c->aor)) {
		control_fail(rq, "not-found", "stile sip user add makes one", "there is no user %s",
			     c->aor);
		change_free(c);
		return;
	}
	text_append(c->password, sizeof c->password, password);
	send_change(c, json_pack("{s:s}", "password", password), stored_revision(args, json_is_true(create) ? 0 : STORE_ANY));
}

static void verb_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct change *c = change_of(arg, rq, args);
	if (c)
		send_change(c, NULL, stored_revision(args, STORE_ANY));
}

static const struct control_verb verbs[] = {
	{ "sip.user.list", CONTROL_OPERATOR, verb_list,
	  "{limit, cursor}: users of the file and of the store, without passwords" },
	{ "sip.user.put", CONTROL_ADMIN, verb_put,
	  "{name, password, create, revision}: makes a user (create true), changes its password (false), or either" },
	{ "sip.user.delete", CONTROL_ADMIN, verb_delete, "{name, revision}: deletes a user of the store" },
};

void sip_accounts_add_verbs(struct sip_accounts *a, struct control_server *cs)
{
	control_add_verbs(cs, verbs, ARRAY_LEN(verbs), a);
}
