/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which keys were changed that only a restart applies: those whose row has no CFG_RELOAD. A reload must
 * say so, or the administrator takes them for applied.
 *
 * The values of the start are kept as a text, a line a key in the order of the rows, because the
 * configuration itself is replaced by each reload. Of a secret there is a hash.
 */
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "common/config_priv.h"
#include "common/hash.h"

enum { VALUE_MAX = 1024 };

struct fixed {
	FILE *to;
	unsigned lists; /* inside so many: a list is one line, whatever it holds */
};

static void put_values(struct fixed *f, const struct cfg_schema *s, const void *values, const char *path);

static void put_one(struct fixed *f, const struct cfg_row *row, const void *at)
{
	static const struct hash_seed seed; /* it stays in this process */
	char text[VALUE_MAX];
	struct sb b = sb_init(text, sizeof(text));

	row->type->print(row, at, &b);
	if (!(row->flags & CFG_SECRET)) {
		fprintf(f->to, "%s;", text);
		return;
	}
	fprintf(f->to, "%016llx;", (unsigned long long)hash_bytes(&seed, text, b.n));
	bytes_wipe(text, sizeof(text));
}

static void put_list(struct fixed *f, const struct cfg_row *row, const struct cfg_list *l)
{
	size_t size = row->sub ? row->sub->size : row->type->size;

	f->lists++;
	for (size_t i = 0; i < l->n; i++) {
		const void *item = (const char *)l->items + i * size;

		if (row->sub)
			put_values(f, row->sub, item, "");
		else
			put_one(f, row, item);
	}
	f->lists--;
}

/* at NULL: in an optional map that is absent. Its keys have their lines all the same. */
static void put_row(struct fixed *f, const struct cfg_row *row, const void *at, const char *path)
{
	bool list = row->flags & CFG_LIST;

	if (row->sub && !list) {
		if (at && (row->flags & CFG_OPTIONAL_MAP))
			at = *(void *const *)at;
		put_values(f, row->sub, at, path);
		return;
	}
	if (row->flags & CFG_RELOAD)
		return;
	fprintf(f->to, "%s=", path);
	if (at && list)
		put_list(f, row, at);
	else if (at)
		put_one(f, row, at);
	fputc(f->lists ? '|' : '\n', f->to);
}

static void put_values(struct fixed *f, const struct cfg_schema *s, const void *values, const char *path)
{
	char key[128];

	for (size_t i = 0; i < s->n_rows; i++) {
		snprintf(key, sizeof(key), "%s%s%s", path, *path ? "." : "", s->rows[i].name);
		put_row(f, &s->rows[i], values ? (const char *)values + s->rows[i].offset : NULL, key);
	}
}

char *cfg_fixed_values(const struct cfg *c)
{
	char *text = NULL;
	size_t n;
	struct fixed f = { .to = open_memstream(&text, &n) };

	if (!f.to)
		return NULL;
	put_values(&f, c->root->schema, c->values, "");
	if (fclose(f.to) == 0)
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
