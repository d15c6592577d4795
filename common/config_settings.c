/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings under a file: pieces of configuration from the store become nodes of the same tree, each where no file has set
 * anything. So the walk and every later check see one configuration, and errors know which key they are about.
 *
 * A node of a setting has line 0; its column is a running number, which tells it from the others.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/config_priv.h"

/* ---- into the tree ---- */

struct laying {
	struct cfg_tree *t;
	const struct cfg_source *source;
	unsigned n;
};

static int lay_map(struct laying *l, struct cfg_node *into, const json_t *map);

static int lay_list(struct laying *l, struct cfg_node *into, const json_t *list);

static int add(struct laying *l, struct cfg_node *parent, const char *key, const json_t *v, struct cfg_node **ret_n)
{
	const char *s = json_string_value(v);
	struct cfg_node_new what = { .kind = s ? CFG_NODE_TEXT : json_is_array(v) ? CFG_NODE_LIST : CFG_NODE_MAP,
				     .at = { l->source, 0, ++l->n } };

	if (key)
		what.key = text_of(key);
	if (s)
		what.value = text_of(s);
	return cfg_node_add(l->t, parent, &what, ret_n);
}

/* With all that is in it. */
static int add_whole(struct laying *l, struct cfg_node *parent, const char *key, const json_t *v)
{
	struct cfg_node *n = NULL;
	int r = add(l, parent, key, v, &n);

	if (r == 0 && n->kind == CFG_NODE_MAP)
		r = lay_map(l, n, v);
	else if (r == 0 && n->kind == CFG_NODE_LIST)
		r = lay_list(l, n, v);
	return r;
}

static int lay_list(struct laying *l, struct cfg_node *into, const json_t *list)
{
	json_t *v;
	size_t i;
	int r;

	json_array_foreach(list, i, v) {
		r = add_whole(l, into, NULL, v);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A key that somebody wrote stays; "turn:" with nothing behind it may still be filled. */
static int lay_key(struct laying *l, struct cfg_node *into, const char *key, const json_t *v)
{
	struct cfg_node *n = cfg_node_child(into, text_of(key));

	if (n && n->kind == CFG_NODE_NULL && json_is_object(v))
		n->kind = CFG_NODE_MAP;
	if (n)
		return n->kind == CFG_NODE_MAP && json_is_object(v) ? lay_map(l, n, v) : 0;
	return add_whole(l, into, key, v);
}

static int lay_map(struct laying *l, struct cfg_node *into, const json_t *map)
{
	const char *key;
	json_t *v;
	int r;

	json_object_foreach((json_t *)map, key, v) {
		r = lay_key(l, into, key, v);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool has_secret_file(const struct cfg_tree *t, const char *path)
{
	struct text rest = text_of(path);
	const struct cfg_node *n = t->root;
	char file[140];

	while (rest.p && n) {
		struct text key = text_cut(&rest, '.');

		if (!rest.p) {
			(void)snprintf(file, sizeof(file), "%.*s_file", TEXT_FMT(key));
			return cfg_node_child(n, text_of(file)) != NULL;
		}
		n = cfg_node_child(n, key);
	}
	return false;
}

int cfg_tree_under(struct cfg_tree *t, const struct cfg_source *source, const json_t *settings)
{
	struct laying l = { t, source, 0 };
	const char *path;
	json_t *piece;
	int r = 0;

	if (t->broken)
		return 0;
	if (!t->root)
		r = add(&l, NULL, NULL, NULL, &t->root);
	json_object_foreach((json_t *)settings, path, piece)
		if (r == 0 && !has_secret_file(t, path)) /* whose value it would be twice */
			r = lay_map(&l, t->root, piece);
	if (r == -E2BIG)
		cfg_note(t->errors, &(struct cfg_mark){ .source = source }, "more than %d values: this is not a configuration",
			 CFG_MAX_NODES);
	return r == -E2BIG ? 0 : r;
}

enum cfg_from cfg_from(const struct cfg *c, const char *key_path, const char **ret_file, unsigned *ret_line)
{
	const struct cfg_node *n = cfg_find_path(c, key_path);

	if (!n)
		return CFG_FROM_DEFAULT;
	if (n->key_at.source == c->settings)
		return CFG_FROM_SETTING;
	*ret_file = n->key_at.source->name;
	*ret_line = n->key_at.line;
	return CFG_FROM_FILE;
}

/* ---- which key an error is about ---- */

static bool is_at(const struct cfg_mark *m, const struct cfg_error *e, unsigned order)
{
	return m->source && m->source->order == order && m->line == e->line && m->column == e->column;
}

static bool name_key(const struct cfg_node *n, struct cfg_error *e, unsigned order, const char *path)
{
	char deeper[sizeof(e->key.s)];
	size_t i = 0;

	for (const struct cfg_node *k = n->first; k; k = k->next, i++) {
		if (n->kind == CFG_NODE_LIST)
			(void)snprintf(deeper, sizeof(deeper), "%s[%zu]", path, i);
		else
			(void)snprintf(deeper, sizeof(deeper), "%s%s%.*s", path, *path ? "." : "", TEXT_FMT(k->key));
		if (name_key(k, e, order, deeper))
			return true;
		if (is_at(&k->at, e, order) || is_at(&k->key_at, e, order)) {
			memcpy(e->key.s, deeper, sizeof(deeper));
			cfg_clean(e->key.s); /* a key that nobody knows may be anything, and cut anywhere */
			return true;
		}
	}
	return false;
}

void cfg_name_keys(struct cfg *c)
{
	for (size_t i = 0; i < c->errors.n && c->tree.root; i++)
		if (!c->errors.list[i].key.s[0] && c->errors.list[i].column)
			(void)name_key(c->tree.root, &c->errors.list[i], c->errors.order[i], "");
}

/* ---- making a setting ---- */

/* The row of path, and the map that holds it. */
static const struct cfg_row *find_row(const struct cfg_schema *s, const char *path, char *err, size_t err_n)
{
	struct text rest = text_of(path);
	const struct cfg_row *row = NULL;

	while (rest.p) {
		struct text key = text_cut(&rest, '.');
		struct cfg_suggestion near = { .wanted = key };

		row = NULL;
		for (size_t i = 0; i < s->n_rows; i++) {
			cfg_suggest(&near, s->rows[i].name);
			if (text_eq(text_of(s->rows[i].name), key))
				row = &s->rows[i];
		}
		if (!row) {
			snprintf(err, err_n, "there is no key '%.*s'%s%s%s%s%s", CFG_SHOWN(key), *s->name ? " in " : "", s->name,
				 near.best ? "; did you mean '" : "", near.best ? near.best : "");
			if (near.best)
				snprintf(err + strlen(err), err_n - MIN(strlen(err), err_n), "'?");
			return NULL;
		}
		if (!rest.p)
			break;
		if (!row->sub || (row->flags & CFG_LIST)) {
			snprintf(err, err_n, "'%s' is %s; it is set as a whole", row->name, row->sub ? "a list of maps" : "one value");
			return NULL;
		}
		s = row->sub;
	}
	return row;
}

/* Texts, as a file has them. NULL: no memory, or a null within. */
static json_t *as_texts(const json_t *v, bool *ret_null)
{
	char number[64];
	const char *key;
	json_t *out, *one;
	size_t i;

	if (json_is_string(v))
		return json_incref((json_t *)v);
	if (json_is_boolean(v))
		return json_string(json_is_true(v) ? "true" : "false");
	if (json_is_integer(v) || json_is_real(v)) {
		if (json_is_integer(v))
			snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		else
			snprintf(number, sizeof(number), "%g", json_real_value(v));
		return json_string(number);
	}
	*ret_null |= json_is_null(v);
	out = json_is_array(v) ? json_array() : json_is_object(v) ? json_object() : NULL;
	json_array_foreach(v, i, one)
		if (json_array_append_new(out, as_texts(one, ret_null)) < 0)
			goto failed;
	json_object_foreach((json_t *)v, key, one)
		if (json_object_set_new(out, key, as_texts(one, ret_null)) < 0)
			goto failed;
	return out;
failed:
	json_decref(out);
	return NULL;
}

/* {"a": {"b": value}} for a.b; value is taken. */
static json_t *wrap(const char *path, json_t *value)
{
	struct text rest = text_of(path), key = text_cut(&rest, '.');
	json_t *inner = rest.p ? wrap(rest.p, value) : value, *out = json_object();
	char name[128];

	(void)snprintf(name, sizeof(name), "%.*s", TEXT_FMT(key));
	if (!inner || json_object_set_new(out, name, inner) < 0) {
		json_decref(out);
		return NULL;
	}
	return out;
}

int cfg_setting(const struct cfg_root *root, const char *path, const json_t *value, json_t **ret_piece, char *err, size_t err_n)
{
	const struct cfg_row *row = find_row(root->schema, path, err, err_n);
	bool null = false;
	json_t *texts;

	if (!row)
		return -EINVAL;
	if (row->sub && !(row->flags & CFG_LIST)) {
		snprintf(err, err_n, "'%s' is a map; set its keys, such as %s.%s", path, path, row->sub->rows[0].name);
		return -EINVAL;
	}
	if (!value)
		return 0;
	texts = as_texts(value, &null);
	if (!texts && null) {
		snprintf(err, err_n, "'%s' must have a value; unset it to go back to the default", path);
		return -EINVAL;
	}
	*ret_piece = wrap(path, texts);
	return *ret_piece ? 0 : -ENOMEM;
}
