/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's secrets and their verbs: turn.secret.list, turn.secret.put, turn.secret.delete. The way of a change is
 * common/stored.h's; what it does is a new policy, into which turn/service.c merges what is here. Nothing here is
 * asked on the packet path.
 */
#include "turn/secrets.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/stored.h"
#include "turn/edge.h"
#include "turn/service.h"

enum { ID_MAX = 63, SECRET_MIN = 16, SECRET_MAX = 1024, KEY_CAP = 256 };
enum { OF_DEFAULT, OF_REALMS, PLACES };

struct place {
	struct turn_secrets *s;
	bool of_realms;
	struct stored *stored;
};
struct turn_secrets {
	struct turn_service *ts;
	struct place at[PLACES];
};

/* The realm of a key and its id: "2026a", or "partner.example/2026a". realm NULL: the default one. */
static bool key_parts(const char *key, bool of_realms, char realm[static 128], const char **ret_realm, const char **ret_id)
{
	const char *slash = of_realms ? strchr(key, '/') : NULL;

	*ret_realm = NULL;
	*ret_id = key;
	if (!of_realms)
		return true;
	if (!slash || slash - key >= 128)
		return false;
	snprintf(realm, 128, "%.*s", (int)(slash - key), key);
	*ret_realm = realm;
	*ret_id = slash + 1;
	return true;
}

static const struct turn_config *file_config(const struct turn_service *ts)
{
	return &((const struct turn_root *)cfg_values(ts->svc->cfg))->turn;
}

/* As configured; NULL: there is no such realm. */
static const struct cfg_list *file_secrets(const struct turn_config *cfg, const char *realm)
{
	const struct turn_realm_section *x = cfg->realms.items;

	if (!realm || strcmp(realm, cfg->realm) == 0)
		return &cfg->secrets;
	for (size_t i = 0; i < cfg->realms.n; i++)
		if (strcmp(x[i].name, realm) == 0)
			return &x[i].secrets;
	return NULL;
}

static bool has_id(const struct cfg_list *list, const char *id)
{
	const struct turn_secret_section *s = list->items;

	for (size_t i = 0; i < list->n; i++)
		if (strcmp(s[i].id, id) == 0)
			return true;
	return false;
}

/* ---- judged ---- */

static const char *bad_id(const char *id)
{
	size_t n = id ? strlen(id) : 0;

	if (n < 1 || n > ID_MAX || strchr(id, '/'))
		return "an id has 1 to 63 bytes and no slash";
	for (const char *c = id; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return "an id has no control characters";
	return NULL;
}

static const char *bad_secret(const char *secret)
{
	size_t n = secret ? strlen(secret) : 0;

	return n < SECRET_MIN || n > SECRET_MAX ? "'secret' has 16 to 1024 bytes, best random ones" : NULL;
}

static int on_check(const char *key, json_t **body, void *arg, char *err, size_t err_n)
{
	const struct place *p = arg;
	const char *realm, *id, *why;
	const struct cfg_list *file;
	char name[128];

	if (!key_parts(key, p->of_realms, name, &realm, &id)) {
		snprintf(err, err_n, "the key is REALM/ID");
		return -EINVAL;
	}
	why = bad_id(id);
	if (!why)
		why = bad_secret(json_string_value(json_object_get(*body, "secret")));
	if (!why && json_object_size(*body) != 1)
		why = "'secret' is all there is";
	if (why) {
		snprintf(err, err_n, "%s", why);
		return -EINVAL;
	}
	file = file_secrets(file_config(p->s->ts), realm);
	if (!file) {
		snprintf(err, err_n, "there is no realm %s", realm);
		return -EINVAL;
	}
	if (!has_id(file, id))
		return 0;
	snprintf(err, err_n, "secret %s is set in %s", id, p->s->ts->svc->config_path);
	return -EEXIST;
}

/* ---- done ---- */

static int on_put(const char *key, const json_t *body, bool flag, void *arg, char *err, size_t err_n)
{
	const struct place *p = arg;

	(void)key;
	(void)body;
	(void)flag;
	return turn_service_rebuild(p->s->ts, err, err_n);
}

/* It is gone from the store; that the policy cannot be made anew keeps it until the next one. */
static void on_deleted(const char *key, bool flag, void *arg)
{
	char err[256];

	(void)on_put(key, NULL, flag, arg, err, sizeof err);
}

static json_t *no_row(const char *key, void *arg)
{
	(void)key;
	(void)arg;
	return NULL;
}

static const struct stored_ops ops[PLACES] = {
	{ .kind = "turn.secret", .noun = "secret", .list_hint = "stile turn secret list", .put = on_put, .deleted = on_deleted,
	  .row = no_row, .check = on_check },
	{ .kind = "turn.realms.secret", .noun = "secret", .list_hint = "stile turn secret list", .put = on_put,
	  .deleted = on_deleted, .row = no_row, .check = on_check },
};

int turn_secrets_new(struct turn_service *ts, struct turn_secrets **ret_s)
{
	struct turn_secrets *s = calloc(1, sizeof *s);
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->ts = ts;
	for (size_t i = 0; i < PLACES && r == 0; i++) {
		s->at[i].s = s;
		s->at[i].of_realms = i == OF_REALMS;
		r = stored_new(ts->svc, &ops[i], &s->at[i], &s->at[i].stored);
	}
	if (r < 0) {
		turn_secrets_free(s);
		return r;
	}
	*ret_s = s;
	return 0;
}

struct turn_secrets *turn_secrets_free(struct turn_secrets *s)
{
	for (size_t i = 0; s && i < PLACES; i++)
		stored_free(s->at[i].stored);
	free(s);
	return NULL;
}

/* ---- compiled ---- */

/* Those of the store for this realm behind list's; the file's win. */
static int merge_list(const struct place *p, const char *wanted, struct cfg_list *list, struct turn_secrets_merged *m)
{
	json_t *bodies = stored_bodies(p->stored), *body;
	struct turn_secret_section *all;
	const char *key, *realm, *id;
	char name[128];
	size_t n = list->n;

	if (!json_object_size(bodies))
		return 0;
	all = calloc(list->n + json_object_size(bodies), sizeof *all);
	if (!all)
		return -ENOMEM;
	m->made[m->n++] = all;
	if (list->n)
		memcpy(all, list->items, list->n * sizeof *all);
	json_object_foreach(bodies, key, body) {
		const char *secret = json_string_value(json_object_get(body, "secret"));
		bool ours = key_parts(key, p->of_realms, name, &realm, &id) && (!realm || strcmp(realm, wanted) == 0);
		if (ours && !bad_id(id) && !bad_secret(secret) && !has_id(list, id))
			all[n++] = (struct turn_secret_section){ (char *)id, (char *)secret };
	}
	*list = (struct cfg_list){ all, n };
	return 0;
}

int turn_secrets_merge(const struct turn_secrets *s, struct turn_config *cfg, struct turn_secrets_merged *m)
{
	const struct place *of_realms = &s->at[OF_REALMS];
	struct turn_realm_section *realms;
	int r = merge_list(&s->at[OF_DEFAULT], cfg->realm, &cfg->secrets, m);

	if (r < 0 || !cfg->realms.n || !json_object_size(stored_bodies(of_realms->stored)))
		return r;
	realms = calloc(cfg->realms.n, sizeof *realms);
	if (!realms)
		return -ENOMEM;
	m->made[m->n++] = realms;
	memcpy(realms, cfg->realms.items, cfg->realms.n * sizeof *realms);
	cfg->realms.items = realms;
	for (size_t i = 0; i < MIN(cfg->realms.n, (size_t)TURN_REALMS_MAX) && r == 0; i++)
		r = merge_list(of_realms, realms[i].name, &realms[i].secrets, m);
	return r;
}

void turn_secrets_merged_done(struct turn_secrets_merged *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->made[i]);
	m->n = 0;
}

/* ---- verbs ---- */

static void add_of_file(json_t *rows, const struct turn_service *ts, const char *realm, const char *path, const struct cfg_list *list)
{
	const struct turn_secret_section *s = list->items;

	for (size_t i = 0; i < list->n; i++)
		json_array_append_new(rows, turn_row_of_file(ts, json_pack("{s:s, s:s}", "id", s[i].id, "realm", realm),
							     cfg_path_item(path, i, "").s));
}

static void verb_list(struct control_request *rq, const json_t *args, void *arg)
{
	const struct turn_secrets *s = ((struct turn_service *)arg)->secrets;
	const struct turn_config *cfg = file_config(arg);
	const char *only = json_string_value(json_object_get(args, "realm"));
	const struct turn_realm_section *x = cfg->realms.items;
	json_t *rows = json_array(), *body;
	const char *key, *realm, *id;
	char name[128];

	if (!only || strcmp(only, cfg->realm) == 0)
		add_of_file(rows, arg, cfg->realm, "turn.secrets", &cfg->secrets);
	for (size_t i = 0; i < cfg->realms.n; i++)
		if (!only || strcmp(only, x[i].name) == 0)
			add_of_file(rows, arg, x[i].name, cfg_path_item("turn.realms", i, "secrets").s, &x[i].secrets);
	for (size_t i = 0; i < PLACES; i++)
		json_object_foreach(stored_bodies(s->at[i].stored), key, body) {
			if (!key_parts(key, s->at[i].of_realms, name, &realm, &id))
				continue;
			const struct cfg_list *file = file_secrets(cfg, realm);
			if (!only || strcmp(only, realm ? realm : cfg->realm) == 0)
				json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:b}", "id", id, "realm", realm ? realm : cfg->realm,
								      "from", "store", "locked", file && has_id(file, id)));
		}
	control_reply(rq, json_pack("{s:o}", "rows", rows));
}

/* By the arguments realm and id: where it is kept, and under which key. NULL: the request was ended. */
static const struct place *place_of(struct turn_service *ts, struct control_request *rq, const json_t *args,
				    char key[static KEY_CAP])
{
	const char *id = json_string_value(json_object_get(args, "id")), *realm = json_string_value(json_object_get(args, "realm"));
	const char *why = bad_id(id);
	bool of_realms = realm && strcmp(realm, file_config(ts)->realm) != 0;
	const struct cfg_list *file = file_secrets(file_config(ts), realm);
	const struct place *p = &ts->secrets->at[of_realms ? OF_REALMS : OF_DEFAULT];

	if (why) {
		control_fail(rq, "bad-request", NULL, "%s", why);
		return NULL;
	}
	snprintf(key, KEY_CAP, "%s%s%s", of_realms ? realm : "", of_realms ? "/" : "", id);
	if (!file && !json_object_get(stored_bodies(p->stored), key)) { /* what a realm had that is gone can be deleted */
		control_fail(rq, "not-found", "stile status names the realms", "there is no realm %s", realm);
		return NULL;
	}
	if (file && has_id(file, id)) {
		control_fail(rq, "locked", "change the file and run stile reload", "secret %s is set in %s", id, ts->svc->config_path);
		return NULL;
	}
	return p;
}

static void verb_put(struct control_request *rq, const json_t *args, void *arg)
{
	const char *secret = json_string_value(json_object_get(args, "secret"));
	bool create = !json_is_false(json_object_get(args, "create"));
	const struct place *p;
	char key[KEY_CAP];

	p = place_of(arg, rq, args, key);
	if (!p)
		return;
	if (bad_secret(secret)) {
		control_fail(rq, "bad-request", NULL, "%s", bad_secret(secret));
		return;
	}
	if (!create && !json_object_get(stored_bodies(p->stored), key)) {
		control_fail(rq, "not-found", "stile turn secret add makes one", "there is no secret %s", key);
		return;
	}
	stored_put(p->stored, rq, key, json_pack("{s:s}", "secret", secret), stored_revision(args, create ? 0 : STORE_ANY), false);
}

static void verb_delete(struct control_request *rq, const json_t *args, void *arg)
{
	char key[KEY_CAP];
	const struct place *p = place_of(arg, rq, args, key);

	if (p)
		stored_delete(p->stored, rq, key, false);
}

static const struct control_verb verbs[] = {
	{ "turn.secret.list", CONTROL_OPERATOR, verb_list, "{realm}: ids of the shared secrets of the file and of the store" },
	{ "turn.secret.put", CONTROL_ADMIN, verb_put, "{id, secret, create, realm}: makes a shared secret, or replaces it (create false)" },
	{ "turn.secret.delete", CONTROL_ADMIN, verb_delete, "{id, realm}: deletes a shared secret of the store" },
};

void turn_secrets_add_verbs(struct turn_service *ts)
{
	control_add_verbs(ts->svc->control, verbs, ARRAY_LEN(verbs), ts);
}
