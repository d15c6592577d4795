/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which keys were changed that only a restart applies: those whose row has no CFG_RELOAD. A reload must
 * say so, or the administrator takes them for applied.
 *
 * The values of the start are kept as a text, a line a key in the order of the rows, because the
 * configuration itself is replaced by each reload. Secrets are left out; all of them can be reloaded.
 */
#include <stdio.h>
#include <string.h>
#include "common/config_priv.h"

enum { VALUE_MAX = 1024 };

static void put_values(const struct cfg_schema *s, const void *values, const char *path, FILE *to);

static void put_one(const struct cfg_row *row, const void *at, FILE *to)
{
	char text[VALUE_MAX];
	struct sb b = sb_init(text, sizeof(text));

	row->type->print(row, at, &b);
	fprintf(to, "%s;", text);
}

static void put_row(const struct cfg_row *row, const void *at, const char *path, FILE *to)
{
	const struct cfg_list *l = at;
	bool list = row->flags & CFG_LIST;
	size_t size = row->sub ? row->sub->size : row->type->size;

	if (row->sub && !list) {
		if (row->flags & CFG_OPTIONAL_MAP)
			at = *(void *const *)at;
		if (at)
			put_values(row->sub, at, path, to);
		return;
	}
	if (row->flags & (CFG_RELOAD | CFG_SECRET))
		return;
	fprintf(to, "%s=", path);
	for (size_t i = 0; list && i < l->n; i++) {
		if (row->sub)
			put_values(row->sub, (const char *)l->items + i * size, "", to);
		else
			put_one(row, (const char *)l->items + i * size, to);
	}
	if (!list)
		put_one(row, at, to);
	fputc('\n', to);
}

static void put_values(const struct cfg_schema *s, const void *values, const char *path, FILE *to)
{
	char key[128];

	for (size_t i = 0; i < s->n_rows; i++) {
		snprintf(key, sizeof(key), "%s%s%s", path, *path ? "." : "", s->rows[i].name);
		put_row(&s->rows[i], (const char *)values + s->rows[i].offset, key, to);
	}
}

char *cfg_fixed_values(const struct cfg *c)
{
	char *text = NULL;
	size_t n;
	FILE *to = open_memstream(&text, &n);

	if (!to)
		return NULL;
	put_values(c->root->schema, c->values, "", to);
	if (fclose(to) == 0)
		return text;
	free(text);
	return NULL;
}

void cfg_fixed_changes(const char *then, const char *now, char *out, size_t n)
{
	struct text a = text_of(then), b = text_of(now);
	struct sb list = sb_init(out, n);

	while (a.p && b.p) { /* the same rows, so the same lines */
		struct text was = text_cut(&a, '\n'), is = text_cut(&b, '\n');

		if (text_eq(was, is))
			continue;
		sb_str(&list, list.n ? ", " : "");
		sb_text(&list, text_cut(&is, '='));
	}
}
