/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the rows of a schema to write its values; reading them back is the configuration's own work, for JSON is
 * YAML. Nothing here knows a key.
 * The caller owns what comes out.
 */
#include "common/values.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { VALUE_MAX = 4096 };

/* Values that were not written and have no default are zeroed. */
static bool is_unset(const struct cfg_row *row, const void *src)
{
	static const uint8_t zeroes[sizeof(struct addr)];

	return !row->def && row->type->size <= sizeof(zeroes) &&
	       memcmp(src, zeroes, row->type->size) == 0;
}

static json_t *value_json(const struct cfg_row *row, const void *src)
{
	char buf[VALUE_MAX];
	struct sb out = sb_init(buf, sizeof(buf));

	if (is_unset(row, src))
		return NULL;
	if (row->type == &cfg_bool)
		return json_boolean(*(const bool *)src);
	row->type->print(row, src, &out);
	return out.n && !out.truncated ? json_stringn(buf, out.n) : NULL;
}

static json_t *list_json(const struct cfg_row *row, const struct cfg_list *l)
{
	json_t *a = json_array();

	for (size_t i = 0; i < l->n; i++)
		if (json_array_append_new(
			    a, value_json(row, (const char *)l->items + i * row->type->size)) < 0)
			break;
	if (a && json_array_size(a) == l->n && l->n)
		return a;
	json_decref(a);
	return NULL;
}

static json_t *row_json(const struct cfg_row *row, const void *src)
{
	if (row->sub && (row->flags & CFG_OPTIONAL_MAP))
		return *(void *const *)src ? values_json(row->sub, *(void *const *)src) : NULL;
	if (row->sub)
		return values_json(row->sub, src);
	return row->flags & CFG_LIST ? list_json(row, src) : value_json(row, src);
}

json_t *values_json(const struct cfg_schema *s, const void *values)
{
	json_t *o = json_object();

	for (size_t i = 0; i < s->n_rows; i++) {
		json_t *v = row_json(&s->rows[i], (const char *)values + s->rows[i].offset);

		if (v)
			json_object_set_new(o, s->rows[i].name, v);
	}
	return o;
}

/* All that is wrong, as far as it fits. */
static int put_errors(const struct cfg *c, int r, char *err, size_t err_n)
{
	struct sb out = sb_init(err, err_n);

	if (!c || !cfg_n_errors(c))
		sb_str(&out, strerror(r < 0 ? -r : EINVAL));
	for (size_t i = 0; c && i < cfg_n_errors(c); i++)
		sb_fmt(&out, "%s%s", i ? "; " : "", cfg_error(c, i)->text);
	return r < 0 ? r : -EINVAL;
}

int values_parse(const struct values_kind *k, const json_t *o, char *err, size_t err_n,
		 struct cfg **ret_cfg)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	json_t *document = json_pack("{s:O}", k->name, (json_t *)o);
	_cleanup_(freep) char *text = document ? json_dumps(document, JSON_PRESERVE_ORDER) : NULL;
	int r;

	json_decref(document);
	if (!text)
		return put_errors(NULL, -ENOMEM, err, err_n);
	r = cfg_load_text(text_of(text), k->name, k->root, &c);
	if (r == 0)
		k->check(c, k->name);
	if (r < 0 || cfg_n_errors(c))
		return put_errors(c, r, err, err_n);
	*ret_cfg = steal_ptr(&c);
	return 0;
}
