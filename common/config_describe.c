/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration as a page of settings needs it: each key with its value, where that comes from, and what its row says of it
 * (type, range, unit, choices, help). The same rows as parsing and the reference page; nothing is said twice.
 *
 * A list of maps is one row; the keys of its maps are the columns.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/config_priv.h"

enum { ITEMS_MAX = 500 }; /* of a list: an answer is one line */

struct describing {
	const struct cfg *c;
	const char *prefix;
	json_t *rows;
	bool failed; /* no memory */
};

/* v is taken. */
static void put(struct describing *d, json_t *j, const char *key, json_t *v)
{
	d->failed |= json_object_set_new(j, key, v) < 0;
}

static void put_number(struct describing *d, json_t *j, const char *key, uint64_t v)
{
	put(d, j, key, json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX)));
}

static json_t *choices_of(struct describing *d, const struct cfg_row *row)
{
	json_t *a = json_array();

	for (const char *const *c = row->choices; *c; c++)
		d->failed |= json_array_append_new(a, json_string(*c)) < 0;
	return a;
}

static json_t *columns_of(struct describing *d, const struct cfg_schema *s);

/* What the schema says. */
static json_t *row_json(struct describing *d, const struct cfg_row *row)
{
	bool maps = row->sub != NULL;
	json_t *j = json_pack("{s:s, s:b, s:b, s:b, s:b, s:s*, s:s*, s:s*}", "type", maps ? "maps" : row->type->name, "list",
			      (row->flags & CFG_LIST) != 0, "required", (row->flags & CFG_REQUIRED) != 0, "reload",
			      (row->flags & CFG_RELOAD) != 0, "secret", (row->flags & CFG_SECRET) != 0, "unit", row->unit, "default",
			      row->def, "help", row->help);

	if (row->min || row->max)
		put_number(d, j, "min", row->min);
	if (row->max)
		put_number(d, j, "max", row->max);
	if (row->choices)
		put(d, j, "choices", choices_of(d, row));
	if (row->default_port)
		put_number(d, j, "default_port", row->default_port);
	if (maps)
		put(d, j, "columns", columns_of(d, row->sub));
	else if (row->type->example)
		put(d, j, "example", json_string(row->type->example));
	return j;
}

static json_t *columns_of(struct describing *d, const struct cfg_schema *s)
{
	json_t *a = json_array();

	for (size_t i = 0; i < s->n_rows; i++) {
		json_t *j = row_json(d, &s->rows[i]);

		put(d, j, "name", json_string(s->rows[i].name));
		d->failed |= json_array_append_new(a, j) < 0;
	}
	return a;
}

static void put_source(struct describing *d, json_t *j, const char *path)
{
	static const char *const names[] = { "default", "file", "store" };
	const char *file = NULL;
	unsigned line = 0;
	enum cfg_from from = cfg_from(d->c, path, &file, &line);

	put(d, j, "source", json_string(names[from]));
	put(d, j, "locked", json_boolean(from == CFG_FROM_FILE));
	if (from == CFG_FROM_FILE) {
		put(d, j, "file", json_string(file));
		put_number(d, j, "line", line);
	}
}

/* A long list is shown by its beginning; "cut" tells how long it is, and that it must not be written back. */
static void cut(struct describing *d, json_t *j, json_t *value)
{
	size_t n = json_array_size(value);

	if (n <= ITEMS_MAX)
		return;
	put_number(d, j, "cut", n);
	while (n > ITEMS_MAX)
		(void)json_array_remove(value, --n);
}

/* map: the node of the map that holds the row, at: its value; NULL where there is none. A list that nobody has set is shown by what its
 * default would be written as. */
static int put_row(struct describing *d, const struct cfg_row *row, const struct cfg_node *map, const char *at, const char *path)
{
	const struct cfg_node *n = cfg_set_by(row, map);
	json_t *j = row_json(d, row), *value = json_null();

	if (at && (n || (row->def && !(row->flags & CFG_LIST))))
		value = cfg_export_row(row, n, at, false);
	else if (at && row->def)
		value = json_string(row->def);
	cut(d, j, value);
	put(d, j, "path", json_string(path));
	put(d, j, "value", value);
	put_source(d, j, path);
	d->failed |= json_array_append_new(d->rows, j) < 0;
	return d->failed ? -ENOMEM : 0;
}

static bool is_below(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	return !n || (strncmp(path, prefix, n) == 0 && (!path[n] || path[n] == '.'));
}

static int put_map(struct describing *d, const struct cfg_schema *s, const struct cfg_node *map, const char *values, const char *path)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->n_rows; i++) {
		const struct cfg_row *row = &s->rows[i];
		const char *at = values ? values + row->offset : NULL;
		char deeper[128];

		(void)snprintf(deeper, sizeof(deeper), "%s%s%s", path, *path ? "." : "", row->name);
		if (row->sub && !(row->flags & CFG_LIST)) {
			if (at && (row->flags & CFG_OPTIONAL_MAP))
				at = *(const char *const *)(const void *)at;
			r = put_map(d, row->sub, cfg_node_child(map, text_of(row->name)), at, deeper);
		} else if (is_below(deeper, d->prefix)) {
			r = put_row(d, row, map, at, deeper);
		}
	}
	return r;
}

int cfg_describe(const struct cfg *c, const char *prefix, json_t **ret_rows)
{
	struct describing d = { c, prefix, json_array(), false };
	int r = d.rows ? put_map(&d, c->root->schema, c->tree.root, c->values, "") : -ENOMEM;

	if (r < 0)
		json_decref(d.rows);
	else
		*ret_rows = d.rows;
	return r;
}
