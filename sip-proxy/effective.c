/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File and store as one configuration; see effective.h. The file's is exported as JSON, the store's objects are appended
 * to its lists, and the whole is read again: JSON is YAML, so nothing here knows a key but the one that names an object.
 * The answers of the verbs come when the store has written.
 */
#include "sip-proxy/effective.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/store_secrets.h"
#include "common/stored.h"
#include "sip-proxy/config.h"
#include "sip-proxy/log_msgs.h"
#include "sip-proxy/uri.h"

struct list_of {
	struct sip_effective *e;
	struct stored *stored;
	json_t *good; /* of the store: name → body, those that passed last */
};
struct sip_effective {
	struct service *svc;
	struct list_of lists[SIP_LISTS];
	void (*changed)(void *arg);
	void *arg;
};

static const struct place_of {
	const char *map, *key; /* sip.MAP.KEY; map NULL: sip.KEY */
	const char *id;	       /* the key that names an object */
	const char *hint, *where, *like;
	const struct cfg_schema *schema;
	bool domain; /* names are domains: case means nothing */
} places[SIP_LISTS] = {
	[SIP_LIST_ROUTES] = { NULL, "routes", "domain", "stile sip route list", "sip.routes",
			      "partner.example", &sip_route_schema, true },
	[SIP_LIST_PARTNERS] = { "federation", "partners", "domain", "stile sip federation list",
				"sip.federation.partners", "partner.example", &sip_partner_schema, true },
	[SIP_LIST_SERVERS] = { "lan", "servers", "user", "stile sip server list", "sip.lan.servers",
			       "uc-a", &sip_server_schema, false },
};

/* ---- file and store, read as one ---- */

static json_t *sub(json_t *parent, const char *key, bool list)
{
	json_t *j = json_object_get(parent, key);

	if (!j && json_object_set_new(parent, key, list ? json_array() : json_object()) == 0)
		j = json_object_get(parent, key);
	return j;
}

static json_t *array_in(json_t *root, enum sip_list l)
{
	json_t *map = sub(root, "sip", false);

	if (places[l].map)
		map = sub(map, places[l].map, false);
	return sub(map, places[l].key, true);
}

static const char *name_of(const struct place_of *l, const json_t *o)
{
	const char *s = json_string_value(json_object_get(o, l->id));

	return s ? s : "";
}

static bool has(const struct place_of *l, const json_t *array, const char *name)
{
	size_t i;
	json_t *o;

	json_array_foreach(array, i, o)
	{
		struct text t = text_of(name_of(l, o));
		if (l->domain ? text_ieq(t, text_of(name)) : text_eq(t, text_of(name)))
			return true;
	}
	return false;
}

static void append(const struct place_of *l, json_t *array, const char *name, const json_t *body)
{
	json_t *o;

	if (has(l, array, name))
		return; /* the file's, which wins */
	o = json_copy((json_t *)body);
	json_object_set_new(o, l->id, json_string(name));
	json_array_append_new(array, o);
}

/* The file with these objects behind its lists. 0, also with errors in it; -ENOMEM. */
static int read_both(const struct sip_effective *e, const struct cfg *file,
		     json_t *const sets[SIP_LISTS], struct cfg **ret_cfg)
{
	struct cfg *c = NULL;
	json_t *root = NULL, *body;
	const char *name;
	char *text;
	int r = cfg_export(file, true, &root);

	for (int l = 0; r == 0 && l < SIP_LISTS; l++)
		json_object_foreach(sets[l], name, body)
			append(&places[l], array_in(root, (enum sip_list)l), name, body);
	text = r == 0 ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (!text)
		return -ENOMEM;
	r = cfg_load_text(text_of(text), e->svc->config_path, &sip_cfg_root, &c);
	if (r == 0)
		sip_config_check(c);
	free(text);
	if (!c)
		return r < 0 ? r : -ENOMEM;
	*ret_cfg = c;
	return 0;
}

static void errors_of(const struct cfg *c, char *err, size_t err_n)
{
	struct sb out = sb_init(err, err_n);

	for (size_t i = 0; i < cfg_n_errors(c); i++)
		sb_fmt(&out, "%s%s", i ? "; " : "", cfg_error(c, i)->text);
}

/* Those that pass together with what has passed already. */
static int sift(struct sip_effective *e, const struct cfg *file, json_t *const good[SIP_LISTS])
{
	const char *name;
	json_t *body;
	char why[512];

	for (int l = 0; l < SIP_LISTS; l++)
		json_object_foreach(stored_bodies(e->lists[l].stored), name, body)
		{
			_cleanup_(cfg_freep) struct cfg *c = NULL;
			json_object_set(good[l], name, body);
			if (read_both(e, file, good, &c) < 0)
				return -ENOMEM;
			if (!cfg_n_errors(c))
				continue;
			json_object_del(good[l], name);
			errors_of(c, why, sizeof(why));
			log_emit(&MSG_SIP_OBJECT_SKIPPED, LF_STR("list", places[l].where),
				 LF_STR("name", name), LF_STR("why", why));
		}
	return 0;
}

int sip_effective_make(struct sip_effective *e, const struct cfg *file, struct cfg **ret_cfg)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	json_t *good[SIP_LISTS];
	int r = 0;

	for (int l = 0; l < SIP_LISTS; l++)
		good[l] = json_copy(stored_bodies(e->lists[l].stored));
	r = read_both(e, file, good, &c);
	if (r == 0 && cfg_n_errors(c)) { /* one bad object must not keep the others out */
		for (int l = 0; l < SIP_LISTS; l++)
			json_object_clear(good[l]);
		c = cfg_free(c);
		r = sift(e, file, good);
		if (r == 0)
			r = read_both(e, file, good, &c);
	}
	for (int l = 0; l < SIP_LISTS; l++) {
		json_t *was = r == 0 ? e->lists[l].good : good[l];
		if (r == 0)
			e->lists[l].good = good[l];
		json_decref(was);
	}
	if (r == 0)
		*ret_cfg = steal_ptr(&c);
	return r;
}

/* ---- life ---- */

static int on_put(const char *name, const json_t *body, bool flag, void *arg, char *err, size_t err_n)
{
	struct list_of *l = arg;

	(void)name;
	(void)body;
	(void)flag;
	(void)err;
	(void)err_n;
	l->e->changed(l->e->arg);
	return 0;
}

static void on_deleted(const char *name, bool flag, void *arg)
{
	struct list_of *l = arg;

	(void)name;
	(void)flag;
	l->e->changed(l->e->arg);
}

static json_t *on_row(const char *name, void *arg)
{
	const struct list_of *l = arg;

	return json_pack("{s:s}", places[l - l->e->lists].id, name);
}

static int judge(const struct sip_effective *e, enum sip_list l, const char *name,
		 const json_t *body, char *err, size_t err_n);
static bool in_file(const struct sip_effective *e, enum sip_list l, const char *name);

static int on_check(const char *name, json_t **body, void *arg, char *err, size_t err_n)
{
	const struct list_of *l = arg;
	enum sip_list which = (enum sip_list)(l - l->e->lists);
	const struct place_of *at = &places[which];

	for (const char *p = name; at->domain && *p; p++)
		if (*p != sip_lower(*p)) {
			(void)snprintf(err, err_n, "the key is a domain in lower case");
			return -EINVAL;
		}
	if (!in_file(l->e, which, name))
		return judge(l->e, which, name, *body, err, err_n);
	(void)snprintf(err, err_n, "%s stands in %s of %s", name, at->where,
		       l->e->svc->config_path);
	return -EEXIST;
}

static const struct stored_ops ops[SIP_LISTS] = {
	[SIP_LIST_ROUTES] = { .kind = "sip.route",
			      .noun = "route for",
			      .list_hint = "stile sip route list",
			      .put = on_put,
			      .deleted = on_deleted,
			      .row = on_row,
			      .check = on_check },
	[SIP_LIST_PARTNERS] = { .kind = "sip.partner",
				.noun = "partner",
				.list_hint = "stile sip federation list",
				.put = on_put,
				.deleted = on_deleted,
				.row = on_row,
				.check = on_check },
	[SIP_LIST_SERVERS] = { .kind = "sip.server",
			       .noun = "UC server",
			       .list_hint = "stile sip server list",
			       .put = on_put,
			       .deleted = on_deleted,
			       .row = on_row,
			       .check = on_check },
};

int sip_effective_new(struct service *svc, void (*changed)(void *arg), void *arg,
		      struct sip_effective **ret_e)
{
	struct sip_effective *e = calloc(1, sizeof(*e));
	int r = e ? 0 : -ENOMEM;

	if (!e)
		return r;
	e->svc = svc;
	e->changed = changed;
	e->arg = arg;
	for (int l = 0; r == 0 && l < SIP_LISTS; l++) {
		e->lists[l].e = e;
		r = stored_new(svc, &ops[l], &e->lists[l], &e->lists[l].stored);
	}
	if (r < 0) {
		sip_effective_free(e);
		return r;
	}
	*ret_e = e;
	return 0;
}

struct sip_effective *sip_effective_free(struct sip_effective *e)
{
	for (int l = 0; e && l < SIP_LISTS; l++) {
		stored_free(e->lists[l].stored);
		json_decref(e->lists[l].good);
	}
	free(e);
	return NULL;
}

/* ---- verbs ---- */

static json_t *file_list(const struct sip_effective *e, enum sip_list l)
{
	json_t *root = NULL, *a;

	if (cfg_export(e->svc->cfg, false, &root) < 0)
		return json_array();
	a = json_incref(array_in(root, l));
	json_decref(root);
	return a;
}

static bool in_file(const struct sip_effective *e, enum sip_list l, const char *name)
{
	json_t *file = file_list(e, l);
	bool there = has(&places[l], file, name);

	json_decref(file);
	return there;
}

/* A row of the store, as it is shown. NULL: no memory, or nothing that may be shown. */
static json_t *shown_row(const struct place_of *l, const char *name, const json_t *body, bool in_use)
{
	json_t *row = json_deep_copy(body);

	if (!row || store_hide(l->schema, row) < 0) {
		json_decref(row);
		return NULL;
	}
	json_object_set_new(row, l->id, json_string(name));
	json_object_set_new(row, "from", json_string(in_use ? "store" : "store, not in use"));
	json_object_set_new(row, "locked", json_false());
	return row;
}

json_t *sip_effective_rows(struct sip_effective *e, enum sip_list l)
{
	const struct place_of *at = &places[l];
	json_t *rows = file_list(e, l), *file = json_deep_copy(rows), *row, *body;
	size_t i;
	const char *name;

	json_array_foreach(rows, i, row)
	{
		json_object_set_new(row, "from", json_string("file"));
		json_object_set_new(row, "locked", json_true());
	}
	json_object_foreach(stored_bodies(e->lists[l].stored), name, body)
	{
		bool good = json_object_get(e->lists[l].good, name) && !has(at, file, name);
		row = shown_row(at, name, body, good);
		if (row)
			json_array_append_new(rows, row);
	}
	json_decref(file);
	return json_pack("{s:o}", "rows", rows);
}

void sip_effective_list(struct sip_effective *e, enum sip_list l, struct control_request *rq)
{
	control_reply(rq, sip_effective_rows(e, l));
}

/* As it is the key: domains in lower case. False: the request was ended. */
static bool key_of(struct sip_effective *e, enum sip_list l, struct control_request *rq,
		   const char *name, char out[static 254])
{
	const struct place_of *at = &places[l];

	if (!name || !*name || strlen(name) > 253) {
		control_fail(rq, "bad-request", at->hint, "%s must be a name, such as %s", at->id, at->like);
		return false;
	}
	for (size_t i = 0; i <= strlen(name); i++)
		out[i] = at->domain ? sip_lower(name[i]) : name[i];
	if (!in_file(e, l, out))
		return true;
	control_fail(rq, "locked", "change the file and run stile reload",
		     "%s stands in %s of %s", out, at->where, e->svc->config_path);
	return false;
}

/* Is the configuration with it good? 0, -EINVAL and why, -ENOMEM. */
static int judge(const struct sip_effective *e, enum sip_list l, const char *name,
		 const json_t *body, char *err, size_t err_n)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	json_t *sets[SIP_LISTS];
	int r;

	for (int i = 0; i < SIP_LISTS; i++)
		sets[i] = e->lists[i].good ? json_copy(e->lists[i].good) : json_object();
	json_object_set(sets[l], name, (json_t *)body);
	r = read_both(e, e->svc->cfg, sets, &c);
	for (int i = 0; i < SIP_LISTS; i++)
		json_decref(sets[i]);
	if (r == 0 && cfg_n_errors(c)) {
		errors_of(c, err, err_n);
		r = -EINVAL;
	}
	return r;
}

/* True if the configuration with it is good; else the request was ended. */
static bool passes(struct sip_effective *e, enum sip_list l, struct control_request *rq,
		   const char *name, const json_t *body)
{
	char why[1024];
	int r = judge(e, l, name, body, why, sizeof(why));

	if (r == -EINVAL)
		control_fail(rq, "bad-request", NULL, "%s: %s", name, why);
	else if (r < 0)
		control_fail(rq, "failed", NULL, "%s: %s", name, strerror(-r));
	return r == 0;
}

void sip_effective_put(struct sip_effective *e, enum sip_list l, struct control_request *rq,
		       const json_t *object, bool create)
{
	char name[254];
	json_t *was, *body, *value;
	const char *key;

	if (!json_is_object(object)) {
		control_fail(rq, "bad-request", NULL, "an object with the keys of %s is wanted",
			     places[l].where);
		return;
	}
	if (!key_of(e, l, rq, name_of(&places[l], object), name))
		return;
	was = json_object_get(stored_bodies(e->lists[l].stored), name);
	body = was && !create ? json_copy(was) : json_object(); /* a change leaves what it does not name */
	json_object_foreach((json_t *)object, key, value)
		if (json_is_null(value)) /* back to the default */
			json_object_del(body, key);
		else
			json_object_set(body, key, value);
	json_object_del(body, places[l].id);
	if (passes(e, l, rq, name, body))
		stored_put(e->lists[l].stored, rq, name, json_incref(body),
			   create ? 0 : STORE_ANY, false);
	json_decref(body);
}

void sip_effective_set(struct sip_effective *e, enum sip_list l, struct control_request *rq,
		       const char *id, const char *key, json_t *value)
{
	char name[254];
	json_t *was, *o;

	if (!key_of(e, l, rq, id, name)) {
		json_decref(value);
		return;
	}
	was = json_object_get(stored_bodies(e->lists[l].stored), name);
	if (!was) {
		json_decref(value);
		control_fail(rq, "not-found", places[l].hint, "there is no %s %s in the store",
			     ops[l].noun, name);
		return;
	}
	o = json_pack("{s:s, s:o}", places[l].id, name, key, value);
	sip_effective_put(e, l, rq, o, false);
	json_decref(o);
}

void sip_effective_delete(struct sip_effective *e, enum sip_list l, struct control_request *rq,
			  const char *id)
{
	char name[254];

	if (key_of(e, l, rq, id, name))
		stored_delete(e->lists[l].stored, rq, name, false);
}
