/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands against a change of settings and objects, before anything is written: the whole configuration as it would be, by
 * the rows of its schema, by the service's own checks and by what only shows when it is tried; and each object by who holds it. Every
 * fault names its key, so that a page can show it beside the field.
 */
#include <errno.h>
#include <stdio.h>
#include "common/service_priv.h"

static void fault(json_t *faults, const char *path, const json_t *step, const char *text)
{
	json_array_append_new(faults, json_pack("{s:s?, s:s*, s:s*, s:s}", "path", path, "kind", step ? step_text(step, "kind") : NULL, "key",
						step ? step_text(step, "key") : NULL, "text", text));
}

bool steps_have_settings(const json_t *steps)
{
	size_t i;
	json_t *step;

	json_array_foreach(steps, i, step)
		if (step_is_setting(step))
			return true;
	return false;
}

/* The settings as they would be. NULL: no memory. */
static json_t *settings_with(const struct service *s, const json_t *steps)
{
	json_t *all = json_copy(s->settings->live), *step;
	size_t i;

	json_array_foreach(steps, i, step) {
		json_t *body = json_object_get(step, "body");
		const char *path = step_text(step, "key");

		if (!all || !step_is_setting(step))
			continue;
		if (json_is_null(body))
			json_object_del(all, path);
		else if (json_object_set(all, path, body) < 0) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

/* An error with its place, if that is a line of a file. */
static void cfg_fault(json_t *faults, const struct cfg_error *e)
{
	char text[sizeof(e->text) + sizeof(e->file) + 32];

	if (e->line)
		snprintf(text, sizeof(text), "%s:%u:%u: %s", e->file, e->line, e->column, e->text);
	else
		snprintf(text, sizeof(text), "%s", e->text);
	fault(faults, e->key.s[0] ? e->key.s : NULL, NULL, text);
}

/* A value that the file has already would change nothing. */
static void find_locked(const struct cfg *c, const json_t *steps, json_t *faults, const char **ret_code)
{
	const char *file;
	unsigned line;
	size_t i;
	json_t *step;

	json_array_foreach(steps, i, step) {
		const char *path = step_text(step, "key");
		char text[400];

		if (!step_is_setting(step) || json_is_null(json_object_get(step, "body")) || cfg_from(c, path, &file, &line) != CFG_FROM_FILE)
			continue;
		snprintf(text, sizeof(text), "'%s' is set in %s:%u, and the file wins", path, file, line);
		fault(faults, path, NULL, text);
		step = json_array_get(faults, json_array_size(faults) - 1);
		json_object_set_new(step, "file", json_string(file));
		json_object_set_new(step, "line", json_integer(line));
		*ret_code = "locked";
	}
}

static int judge_settings(struct service *s, const json_t *steps, json_t *faults, struct service_changes *ch, const char **ret_code)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	json_t *settings = settings_with(s, steps);
	char err[512] = "";
	int r = settings ? service_examine(s, settings, ch, &c, err, sizeof(err)) : -ENOMEM;

	json_decref(settings);
	for (size_t i = 0; c && i < cfg_n_errors(c); i++)
		cfg_fault(faults, cfg_error(c, i));
	if (c && !cfg_n_errors(c))
		find_locked(c, steps, faults, ret_code);
	if (!c && r != -ENOMEM)
		fault(faults, NULL, NULL, err);
	return r == -ENOMEM ? r : 0;
}

/* By the rows of its kind. The key stands in the first row, as in a file, unless the body has one. */
static int judge_by_rows(const struct store_kind *k, const json_t *step, json_t *faults)
{
	const struct cfg_root root = { .schema = k->schema }; /* outlives c */
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	json_t *whole = json_copy(json_object_get(step, "body"));
	const char *first = k->schema && k->schema->n_rows ? k->schema->rows[0].name : NULL;
	char *text;

	if (!k->schema) {
		json_decref(whole);
		return 0;
	}
	if (first && !json_object_get(whole, first))
		json_object_set(whole, first, json_object_get(step, "key"));
	text = whole ? json_dumps(whole, JSON_COMPACT) : NULL;
	json_decref(whole);
	if (!text)
		return -ENOMEM;
	(void)cfg_load_text(text_of(text), k->name, &root, &c);
	free(text);
	for (size_t i = 0; c && i < cfg_n_errors(c); i++)
		fault(faults, cfg_error(c, i)->key.s[0] ? cfg_error(c, i)->key.s : NULL, step, cfg_error(c, i)->text);
	return c ? 0 : -ENOMEM;
}

static int judge_by_owner(const struct service_owner *o, json_t *step, json_t *faults, const char **ret_code)
{
	json_t *body = json_incref(json_object_get(step, "body"));
	char err[512] = "";
	int r = o->check(step_text(step, "key"), &body, o->arg, err, sizeof(err));

	if (r == 0 && json_object_set(step, "body", body) < 0)
		r = -ENOMEM;
	json_decref(body);
	if (r == -EEXIST)
		*ret_code = "locked";
	if (r < 0 && r != -ENOMEM)
		fault(faults, NULL, step, err);
	return r == -ENOMEM ? r : 0;
}

/* The rows first, for they name the key of each fault. */
static int judge_object(struct service *s, json_t *step, json_t *faults, const char **ret_code)
{
	size_t before = json_array_size(faults);
	int r = 0;
	const struct store_kind *k = service_find_kind(s, step_text(step, "kind"));
	const struct service_owner *o = k ? service_owner_of(s, k->name) : NULL;

	if (!k)
		fault(faults, NULL, step, "there is no kind of object of this name");
	else if (!o)
		fault(faults, NULL, step, "objects of this kind are kept by the service itself, and are changed by their own commands");
	else if (json_is_null(json_object_get(step, "body")))
		return 0;
	else
		r = judge_by_rows(k, step, faults);
	if (r == 0 && o && o->check && json_array_size(faults) == before)
		r = judge_by_owner(o, step, faults, ret_code);
	return r;
}

json_t *service_judge(struct service *s, json_t *steps, struct service_changes *ret_changes, const char **ret_code)
{
	json_t *faults = json_array(), *step;
	size_t i;
	int r = faults ? 0 : -ENOMEM;

	*ret_code = "bad-request";
	if (r == 0 && steps_have_settings(steps))
		r = judge_settings(s, steps, faults, ret_changes, ret_code);
	json_array_foreach(steps, i, step)
		if (r == 0 && !step_is_setting(step))
			r = judge_object(s, step, faults, ret_code);
	if (r == 0)
		return faults;
	json_decref(faults);
	return NULL;
}
