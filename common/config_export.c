/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration as one JSON object of texts: what was set, in the order of the rows, each value as the
 * service understood it. The file and its conf.d have become one, paths are absolute, and a secret is
 * there in the clear or as CFG_MASK, wherever it was read from. Defaults that nobody wrote are left out.
 *
 * Values come from the filled structs, what was set from the tree; both are walked side by side.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "common/config_priv.h"

enum { PRINTED_MAX = 2048 };

static json_t *export_map(const struct cfg_schema *s, const struct cfg_node *map, const char *values, bool secrets);

static json_t *export_value(const struct cfg_row *row, const char *at, bool secrets)
{
	char buf[PRINTED_MAX];
	struct sb b = sb_init(buf, sizeof buf);

	if ((row->flags & CFG_SECRET) && !secrets)
		return json_string(CFG_MASK);
	if (row->type == &cfg_string || row->type == &cfg_path) { /* of any length */
		const char *s = *(char *const *)(const void *)at;
		return json_string(s ? s : "");
	}
	row->type->print(row, at, &b);
	json_t *j = json_string(buf);
	bytes_wipe(buf, b.n);
	return j;
}

static json_t *export_list(const struct cfg_row *row, const struct cfg_node *n, const char *at, bool secrets)
{
	const struct cfg_list *l = (const void *)at;
	const struct cfg_node *item = n->kind == CFG_NODE_LIST ? n->first : NULL;
	size_t size = row->sub ? row->sub->size : row->type->size;
	json_t *out = json_array();

	for (size_t i = 0; i < l->n; i++) {
		const char *p = (const char *)l->items + i * size;
		json_t *j = !row->sub ? export_value(row, p, secrets) : item ? export_map(row->sub, item, p, secrets) : NULL;
		if (!j || json_array_append_new(out, j) < 0) {
			json_decref(out);
			return NULL;
		}
		item = item ? item->next : NULL;
	}
	return out;
}

json_t *cfg_export_row(const struct cfg_row *row, const struct cfg_node *n, const char *at, bool secrets)
{
	if (row->flags & CFG_LIST)
		return export_list(row, n, at, secrets);
	if (!row->sub)
		return export_value(row, at, secrets);
	if (row->flags & CFG_OPTIONAL_MAP)
		at = *(const char *const *)(const void *)at;
	return at ? export_map(row->sub, n, at, secrets) : json_object();
}

/* The node that sets this row, also as NAME_file; NULL if nothing does. */
const struct cfg_node *cfg_set_by(const struct cfg_row *row, const struct cfg_node *map)
{
	const struct cfg_node *n = cfg_node_child(map, text_of(row->name));
	char file[128];

	if (n || !(row->flags & CFG_SECRET))
		return n;
	snprintf(file, sizeof file, "%s_file", row->name);
	return cfg_node_child(map, text_of(file));
}

static json_t *export_map(const struct cfg_schema *s, const struct cfg_node *map, const char *values, bool secrets)
{
	json_t *out = json_object();

	for (size_t i = 0; i < s->n_rows && map && map->kind == CFG_NODE_MAP; i++) {
		const struct cfg_row *row = &s->rows[i];
		const struct cfg_node *n = cfg_set_by(row, map);
		json_t *j;
		if (!n)
			continue;
		j = cfg_export_row(row, n, values + row->offset, secrets);
		if (!j || json_object_set_new(out, row->name, j) < 0) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

int cfg_export(const struct cfg *c, bool secrets, json_t **ret_j)
{
	json_t *j = export_map(c->root->schema, c->tree.root, c->values, secrets);

	if (!j)
		return -ENOMEM;
	*ret_j = j;
	return 0;
}
