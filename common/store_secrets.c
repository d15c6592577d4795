/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets in audit rows. A mark is {"secret": "kept"} or {"secret": "changed"} where the schema has a text, so
 * it cannot be mistaken for a value. Maps and lists of maps within an object are walked by their own schema; items of
 * a list are compared by their place.
 */
#include "common/store_secrets.h"
#include <errno.h>
#include <string.h>

static const char MARK[] = "secret", KEPT[] = "kept", CHANGED[] = "changed";

/* What is done with each secret: of is the map that holds it, beside the same map of the other object (NULL: it
 * has none). 0, a store_result or -ENOMEM. */
typedef int (*secret_fn)(json_t *of, const char *name, const json_t *beside);

static int walk(const struct cfg_schema *schema, json_t *of, const json_t *beside, secret_fn fn);

static int walk_list(const struct cfg_schema *schema, json_t *items, const json_t *beside, secret_fn fn)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(items); i++)
		r = walk(schema, json_array_get(items, i), json_array_get(beside, i), fn);
	return r;
}

static int walk(const struct cfg_schema *schema, json_t *of, const json_t *beside, secret_fn fn)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < schema->n_rows; i++) {
		const struct cfg_row *row = &schema->rows[i];
		json_t *value = json_object_get(of, row->name);

		if (!value)
			continue;
		if (row->flags & CFG_SECRET)
			r = fn(of, row->name, beside);
		else if (row->sub && (row->flags & CFG_LIST))
			r = walk_list(row->sub, value, json_object_get(beside, row->name), fn);
		else if (row->sub)
			r = walk(row->sub, value, json_object_get(beside, row->name), fn);
	}
	return r;
}

static int put_mark(json_t *of, const char *name, const json_t *beside)
{
	bool kept = json_equal(json_object_get(of, name), json_object_get(beside, name));

	return json_object_set_new(of, name, json_pack("{s:s}", MARK, kept ? KEPT : CHANGED)) < 0 ? -ENOMEM : 0;
}

static int fill_mark(json_t *of, const char *name, const json_t *beside)
{
	const char *mark = json_string_value(json_object_get(json_object_get(of, name), MARK));
	json_t *value = json_object_get(beside, name);

	if (!mark)
		return 0; /* a value: of before there were marks */
	if (strcmp(mark, KEPT) != 0 || !value)
		return STORE_SECRET;
	return json_object_set(of, name, value) < 0 ? -ENOMEM : 0;
}

static int put_mask(json_t *of, const char *name, const json_t *beside)
{
	(void)beside;
	return json_object_set_new(of, name, json_string(CFG_MASK)) < 0 ? -ENOMEM : 0;
}

static int find_mask(json_t *of, const char *name, const json_t *beside)
{
	const char *text = json_string_value(json_object_get(of, name));

	(void)beside;
	return text && strcmp(text, CFG_MASK) == 0 ? STORE_SECRET : 0;
}

/* Of a list what has the same name: its place may be another one. */
static const json_t *namesake(const struct cfg_schema *schema, const json_t *item, const json_t *list)
{
	const json_t *name = json_object_get(item, schema->rows[0].name), *one;
	size_t i;

	json_array_foreach(list, i, one)
		if (name && json_equal((json_t *)name, json_object_get(one, schema->rows[0].name)))
			return one;
	return NULL;
}

static int unmask(json_t *of, const char *name, const json_t *beside)
{
	json_t *value = json_object_get(beside, name);

	if (find_mask(of, name, NULL) == 0)
		return 0;
	if (!value)
		return STORE_SECRET;
	return json_object_set(of, name, value) < 0 ? -ENOMEM : 0;
}

int store_unhide(const struct cfg_schema *schema, json_t *of, const json_t *beside)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < schema->n_rows; i++) {
		const struct cfg_row *row = &schema->rows[i];
		json_t *value = json_object_get(of, row->name), *old = json_object_get(beside, row->name), *item;
		size_t k;

		if (value && (row->flags & CFG_SECRET))
			r = unmask(of, row->name, beside);
		else if (value && row->sub && !(row->flags & CFG_LIST))
			r = store_unhide(row->sub, value, old);
		else if (value && row->sub)
			for (k = 0; r == 0 && (item = json_array_get(value, k)); k++)
				r = store_unhide(row->sub, item, namesake(row->sub, item, old));
	}
	return r;
}

bool store_is_hidden(const struct cfg_schema *schema, json_t *of)
{
	return walk(schema, of, NULL, find_mask) != 0;
}

int store_hide(const struct cfg_schema *schema, json_t *of)
{
	return walk(schema, of, NULL, put_mask);
}

/* 0 with NULL for NULL; -ENOMEM or -EINVAL. */
static int parse(const char *text, json_t **ret_o)
{
	json_error_t e;

	*ret_o = text ? json_loads(text, JSON_DECODE_ANY, &e) : NULL;
	if (!text || *ret_o)
		return 0;
	return json_error_code(&e) == json_error_out_of_memory ? -ENOMEM : -EINVAL;
}

/* of (a copy is walked, of stays) as text. */
static int render(const struct cfg_schema *schema, const json_t *of, const json_t *beside, secret_fn fn, char **ret_text)
{
	json_t *copy = json_deep_copy(of);
	int r = copy ? walk(schema, copy, beside, fn) : -ENOMEM;

	if (r == 0) {
		*ret_text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
		r = *ret_text ? 0 : -ENOMEM;
	}
	json_decref(copy);
	return r;
}

static int plain(const char *text, char **ret_copy)
{
	*ret_copy = text ? strdup(text) : NULL;
	return text && !*ret_copy ? -ENOMEM : 0;
}

int store_mask(const struct cfg_schema *schema, const char *before, const char *after, struct store_masked *ret_m)
{
	struct store_masked m = { 0 };
	json_t *b = NULL, *a = NULL;
	int r;

	if (!schema) {
		r = plain(before, &m.before);
		r = r < 0 ? r : plain(after, &m.after);
	} else {
		r = parse(before, &b);
		r = r < 0 ? r : parse(after, &a);
		if (r == 0 && b)
			r = render(schema, b, a, put_mark, &m.before);
		if (r == 0 && a)
			r = render(schema, a, b, put_mark, &m.after);
	}
	json_decref(b);
	json_decref(a);
	/* Within a text the quotes would be escaped. */
	m.lost = schema && m.before && strstr(m.before, "{\"secret\":\"changed\"}");
	if (r == 0)
		*ret_m = m;
	else
		store_masked_done(&m);
	return r;
}

void store_masked_done(struct store_masked *m)
{
	free(m->before);
	free(m->after);
}

int store_unmask(const struct cfg_schema *schema, const char *masked, const char *now, char **ret_body)
{
	json_t *of = NULL, *beside = NULL;
	int r;

	if (!schema || !masked)
		return plain(masked, ret_body);
	r = parse(masked, &of);
	if (r == 0)
		r = parse(now, &beside);
	if (r == 0)
		r = render(schema, of, beside, fill_mark, ret_body);
	json_decref(of);
	json_decref(beside);
	return r;
}
