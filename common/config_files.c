/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files a configuration is made of and names: its own with conf.d, and by its rows keys, certificates and the files of
 * secrets. For backups.
 *
 * Paths come from the filled structs, where they are absolute; those of NAME_file are only in the tree.
 */
#include <stdio.h>
#include <string.h>
#include "common/config_priv.h"

struct naming {
	void (*fn)(const char *path, void *arg);
	void *arg;
};

static void name_map(const struct naming *t, const struct cfg_schema *s, const struct cfg_node *map, const char *values);

static void name_path(const struct naming *t, const char *at)
{
	const char *path = *(char *const *)(const void *)at;

	if (path && *path)
		t->fn(path, t->arg);
}

/* Not the value, but the file where it is. */
static void name_secret(const struct naming *t, const struct cfg_row *row, const struct cfg_node *map)
{
	char key[140], path[4096];
	const struct cfg_node *n;

	(void)snprintf(key, sizeof(key), "%s_file", row->name);
	n = cfg_node_child(map, text_of(key));
	if (!n || n->kind != CFG_NODE_TEXT || text_starts(n->value, TEXT("cred:")))
		return;
	(void)snprintf(path, sizeof(path), "%s%s%.*s", n->value.n && n->value.p[0] == '/' ? "" : n->at.source->folder ? n->at.source->folder : ".",
		       n->value.n && n->value.p[0] == '/' ? "" : "/", TEXT_FMT(n->value));
	t->fn(path, t->arg);
}

static void name_row(const struct naming *t, const struct cfg_row *row, const struct cfg_node *map, const char *at)
{
	const struct cfg_node *n = cfg_node_child(map, text_of(row->name)), *item;
	const struct cfg_list one = { (void *)at, 1 }, *l = row->flags & CFG_LIST ? (const void *)at : &one;
	size_t size = row->sub ? row->sub->size : row->type->size;

	if (row->flags & CFG_SECRET)
		name_secret(t, row, map);
	item = n && n->kind == CFG_NODE_LIST ? n->first : NULL;
	for (size_t i = 0; i < l->n; i++, item = item ? item->next : NULL) {
		const char *v = (const char *)l->items + i * size;
		if (row->sub && (row->flags & CFG_OPTIONAL_MAP)) {
			v = *(const char *const *)(const void *)v;
			if (!v)
				continue;
		}
		if (row->sub)
			name_map(t, row->sub, row->flags & CFG_LIST ? item : n, v);
		else if (row->type == &cfg_path)
			name_path(t, v);
	}
}

static void name_map(const struct naming *t, const struct cfg_schema *s, const struct cfg_node *map, const char *values)
{
	for (size_t i = 0; i < s->n_rows; i++)
		name_row(t, &s->rows[i], map, values + s->rows[i].offset);
}

void cfg_name_files(const struct cfg *c, void (*fn)(const char *path, void *arg), void *arg)
{
	const struct naming t = { fn, arg };

	for (size_t i = 0; i < c->n_sources; i++)
		if (c->sources[i] != c->settings)
			fn(c->sources[i]->name, arg);
	name_map(&t, c->root->schema, c->tree.root, c->values);
}
