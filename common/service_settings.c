/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of the store: values that administrators have set while the service runs. They are read before the service
 * starts, and lie under the file at every reading of the configuration (config_settings.c). Here is what is in memory of them, and
 * what the start does with those that have become bad.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/log_msgs.h"
#include "common/service_priv.h"

/* ---- what is known ---- */

int service_settings_put(struct service_settings *t, const char *path, json_t *piece, uint64_t revision)
{
	json_object_del(t->skipped, path);
	if (!piece) {
		json_object_del(t->pieces, path);
		json_object_del(t->live, path);
		json_object_del(t->revisions, path);
		return 0;
	}
	if (json_object_set(t->pieces, path, piece) < 0 || json_object_set(t->live, path, piece) < 0 ||
	    json_object_set_new(t->revisions, path, json_integer((json_int_t)revision)) < 0)
		return -ENOMEM;
	return 0;
}

static void on_read(const struct store_object *o, void *arg)
{
	struct service_settings *t = arg;

	t->unread |= service_settings_put(t, o->key, o->body, o->revision) < 0;
}

struct service_settings *service_settings_free(struct service_settings *t)
{
	if (!t)
		return NULL;
	json_decref(t->pieces);
	json_decref(t->live);
	json_decref(t->revisions);
	json_decref(t->skipped);
	free(t);
	return NULL;
}

int service_settings_read(struct service *s, const char *store_file)
{
	struct service_settings *t = calloc(1, sizeof(*t));
	struct store_reader rd = { .kind = SETTING_KIND, .fn = on_read, .arg = t };
	char err[256];

	s->settings = t;
	if (!t)
		return -ENOMEM;
	t->pieces = json_object();
	t->live = json_object();
	t->revisions = json_object();
	t->skipped = json_object();
	if (!t->pieces || !t->live || !t->revisions || !t->skipped)
		return -ENOMEM;
	if (store_file && store_peek(&(struct store_options){ .path = store_file, .kinds = s->kinds, .quick = true }, &rd, err, sizeof(err)) != 0)
		t->unread = true;
	t->undone = rd.undone;
	return 0;
}

/* ---- the start ---- */

static bool is_part(const char *key, const char *path)
{
	size_t n = strlen(path);

	return strncmp(key, path, n) == 0 && (!key[n] || key[n] == '.' || key[n] == '[');
}

static void skip(struct service_settings *t, const char *path, const char *why)
{
	json_object_set_new(t->skipped, path, json_string(why));
	json_object_del(t->live, path);
}

/* Those that errors are about; how many. */
static size_t skip_named(struct service_settings *t, const struct cfg *c)
{
	const char *path, *file;
	unsigned line;
	json_t *piece;
	void *next;
	size_t n = 0;

	for (size_t i = 0; i < cfg_n_errors(c); i++)
		json_object_foreach_safe(t->live, next, path, piece)
			if (is_part(cfg_error(c, i)->key.s, path) && cfg_from(c, path, &file, &line) == CFG_FROM_SETTING) {
				skip(t, path, cfg_error(c, i)->text);
				n++;
				break;
			}
	return n;
}

static void skip_all(struct service_settings *t)
{
	const char *path;
	json_t *piece;
	void *next;

	json_object_foreach_safe(t->live, next, path, piece)
		skip(t, path, "this file and the settings do not go together");
}

int service_settings_load(struct service *s)
{
	int r;

	do {
		s->cfg = cfg_free(s->cfg);
		r = service_load(s->ops, s->user, s->config_path, s->settings->live, &s->cfg);
	} while (r < 0 && s->cfg && skip_named(s->settings, s->cfg));
	if (r == 0 || !s->cfg || !json_object_size(s->settings->live))
		return r;
	skip_all(s->settings); /* then its errors are the file's own */
	s->cfg = cfg_free(s->cfg);
	return service_load(s->ops, s->user, s->config_path, NULL, &s->cfg);
}

void service_settings_log(const struct service *s)
{
	const char *path;
	json_t *why;

	json_object_foreach(s->settings->skipped, path, why)
		log_emit(&MSG_CONFIG_SKIPPED, LF_STR("key", path), LF_STR("why", json_string_value(why)));
	if (s->settings->undone)
		log_emit(&MSG_CONFIG_ROLLED_BACK, LF_U64("change", s->settings->undone), LF_STR("when", "at this start"));
}

/* ---- config.get ---- */

/* What the file hides, in the place of the row's path. Secrets stay hidden. */
static json_t *value_in(const json_t *piece, const char *path)
{
	struct text rest = text_of(path);
	char key[128];

	while (rest.p && piece) {
		struct text step = text_cut(&rest, '.');
		snprintf(key, sizeof(key), "%.*s", TEXT_FMT(step));
		piece = json_object_get(piece, key);
	}
	return json_deep_copy(piece);
}

static void add_stored(const struct service_settings *t, json_t *row)
{
	const char *path = json_string_value(json_object_get(row, "path"));
	const json_t *piece = json_object_get(t->pieces, path), *why = json_object_get(t->skipped, path);
	bool secret = json_is_true(json_object_get(row, "secret")) || json_object_get(row, "columns");

	if (!piece)
		return;
	json_object_set(row, "revision", json_object_get(t->revisions, path));
	if (json_is_true(json_object_get(row, "locked")) || why)
		json_object_set_new(row, "stored", secret ? json_string(CFG_MASK) : value_in(piece, path));
	if (why)
		json_object_set(row, "skipped", (json_t *)why);
}

static json_t *pending_json(const struct service_edits *e)
{
	return e->pending ? json_pack("{s:I, s:I, s:s}", "change", (json_int_t)e->pending, "until", (json_int_t)e->until, "who",
				      e->pending_who) : json_null();
}

void service_on_get(struct control_request *rq, const json_t *args, void *arg)
{
	struct service *s = arg;
	const char *path = json_string_value(json_object_get(args, "path"));
	json_t *rows = NULL, *row;
	size_t i;

	if (cfg_describe(s->cfg, path ? path : "", &rows) < 0) {
		control_reply(rq, NULL);
		return;
	}
	json_array_foreach(rows, i, row)
		add_stored(s->settings, row);
	if (path && !json_array_size(rows)) {
		json_decref(rows);
		control_fail(rq, "not-found", "config.get without \"path\" lists all keys", "there is no key %s", path);
		return;
	}
	control_reply(rq, json_pack("{s:o, s:o, s:o, s:b}", "rows", rows, "pending", pending_json(s->edits), "transactions",
				    service_transactions_json(s->edits), "stored", s->store != NULL));
}
