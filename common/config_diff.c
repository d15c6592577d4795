/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between two configurations of one schema, row by row: the key's path, the old value and the
 * new one as they would be written, and whether a reload applies it. Of a secret only that it changed.
 *
 * Items of a list of maps are told apart by their name (the first row, if it is a text, and one that all of
 * them have), so that a user taken out of the middle is one difference and not one for each that follows.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/config_priv.h"

enum { SHOWN_MAX = 256, KEY_MAX = 384 };

struct diff {
	int (*fn)(const struct cfg_change *ch, void *arg);
	void *arg;
};

/* Two places of the same row; NULL: that side does not have it. */
struct pair {
	const char *was, *is;
};

static int diff_map(const struct diff *d, const struct cfg_schema *s, struct pair at, const char *path);

static struct pair pair_at(struct pair p, size_t offset)
{
	return (struct pair){ p.was ? p.was + offset : NULL, p.is ? p.is + offset : NULL };
}

/* ---- one value ---- */

static bool is_text(const struct cfg_row *row)
{
	return row->type == &cfg_string || row->type == &cfg_path;
}

static const char *text_at(const void *at)
{
	return *(char *const *)at;
}

static bool same_value(const struct cfg_row *row, const void *a, const void *b)
{
	char x[SHOWN_MAX * 2], y[SHOWN_MAX * 2]; /* more than any type but a text prints */
	struct sb one = sb_init(x, sizeof(x)), other = sb_init(y, sizeof(y));

	if (is_text(row)) { /* of any length, and not to be copied about: it may be a secret */
		const char *s = text_at(a), *t = text_at(b);

		return s == t || (s && t && strcmp(s, t) == 0);
	}
	row->type->print(row, a, &one);
	row->type->print(row, b, &other);
	return strcmp(x, y) == 0;
}

static bool same(const struct cfg_row *row, struct pair at)
{
	const struct cfg_list *a = (const void *)at.was, *b = (const void *)at.is;

	if (!a || !b)
		return a == b;
	if (!(row->flags & CFG_LIST))
		return same_value(row, a, b);
	for (size_t i = 0; i < a->n && a->n == b->n; i++)
		if (!same_value(row, (const char *)a->items + i * row->type->size,
				(const char *)b->items + i * row->type->size))
			return false;
	return a->n == b->n;
}

/* A number that must not be 0 and is, and has no default: nobody wrote it. */
static bool not_written(const struct cfg_row *row, const void *at)
{
	return !row->def && row->min && row->type->size == sizeof(uint64_t) && !is_text(row) && *(const uint64_t *)at == 0;
}

static void show(const struct cfg_row *row, const char *at, char out[static SHOWN_MAX])
{
	const struct cfg_list *l = (const void *)at;
	struct sb b = sb_init(out, SHOWN_MAX - 4);

	if (at && (row->flags & CFG_LIST)) {
		sb_str(&b, "[");
		for (size_t i = 0; i < l->n; i++) {
			sb_str(&b, i ? ", " : "");
			row->type->print(row, (const char *)l->items + i * row->type->size, &b);
		}
		sb_str(&b, "]");
	} else if (at && (is_text(row) ? text_at(at) != NULL : !not_written(row, at))) {
		row->type->print(row, at, &b);
	} else {
		sb_str(&b, "not set");
	}
	cfg_clean(out);
	if (b.truncated)
		memcpy(out + strlen(out), "…", sizeof "…"); /* out is longer than b by that */
}

static int diff_value(const struct diff *d, const struct cfg_row *row, struct pair at, const char *key)
{
	char was[SHOWN_MAX], is[SHOWN_MAX];
	struct cfg_change ch = { .key = key, .what = "changed", .restart = !(row->flags & CFG_RELOAD) };

	if (same(row, at))
		return 0;
	if (!(row->flags & CFG_SECRET)) {
		show(row, at.was, was);
		show(row, at.is, is);
		ch.was = was;
		ch.is = is;
	}
	return d->fn(&ch, d->arg);
}

/* ---- lists of maps ---- */

struct items { /* what those of two lists have in common */
	const struct cfg_schema *s;
	const struct cfg_row *name; /* NULL: they are told apart by their place */
};

static const char *item_at(const struct cfg_list *l, const struct cfg_schema *s, size_t i)
{
	return (const char *)l->items + i * s->size;
}

static const char *name_of(const struct cfg_row *name, const char *item)
{
	const char *s = text_at(item + name->offset);

	return s ? s : "";
}

static bool all_named(const struct cfg_schema *s, const struct cfg_row *name, const struct cfg_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (!*name_of(name, item_at(l, s, i)))
			return false;
	return true;
}

static struct items items_of(const struct cfg_schema *s, const struct cfg_list *was, const struct cfg_list *is)
{
	const struct cfg_row *row = s->n_rows ? &s->rows[0] : NULL;

	if (!row || row->type != &cfg_string || (row->flags & (CFG_SECRET | CFG_LIST)) || !all_named(s, row, was) ||
	    !all_named(s, row, is))
		row = NULL;
	return (struct items){ s, row };
}

/* The item of l that is called as wanted is, looked for from `hint` on and then from the start (lists seldom
 * change much); without names the one at the hint. l->n: there is none. */
static size_t item_find(const struct cfg_list *l, const struct items *it, const char *wanted, size_t hint)
{
	if (!it->name)
		return MIN(hint, l->n);
	for (size_t k = 0; k < l->n; k++) {
		size_t i = (hint + k) % l->n;

		if (strcmp(name_of(it->name, item_at(l, it->s, i)), name_of(it->name, wanted)) == 0)
			return i;
	}
	return l->n;
}

static void item_key(const char *path, const struct items *it, const char *item, size_t i, char out[static KEY_MAX])
{
	struct sb b = sb_init(out, KEY_MAX);

	if (it->name)
		sb_fmt(&b, "%s[%.200s]", path, name_of(it->name, item));
	else
		sb_fmt(&b, "%s[%zu]", path, i);
	cfg_clean(out);
}

/* Calls fn for the items of `in` that `other` does not have. */
static int diff_lone_items(const struct diff *d, const struct items *it, struct cfg_list in, struct cfg_list other,
			   struct cfg_change ch, const char *path)
{
	char key[KEY_MAX];
	int r = 0;

	for (size_t i = 0, hint = 0; i < in.n && r == 0; i++) {
		const char *item = item_at(&in, it->s, i);
		size_t there = item_find(&other, it, item, it->name ? hint : i);

		if (there < other.n) {
			hint = there + 1;
			continue;
		}
		item_key(path, it, item, i, key);
		ch.key = key;
		r = d->fn(&ch, d->arg);
	}
	return r;
}

static int diff_items(const struct diff *d, const struct cfg_row *row, struct pair at, const char *path)
{
	static const struct cfg_list none;
	const struct cfg_list was = at.was ? *(const struct cfg_list *)(const void *)at.was : none;
	const struct cfg_list is = at.is ? *(const struct cfg_list *)(const void *)at.is : none;
	const struct items it = items_of(row->sub, &was, &is);
	bool restart = !(row->flags & CFG_RELOAD), moved = false;
	char key[KEY_MAX];
	int r = diff_lone_items(d, &it, was, is, (struct cfg_change){ .what = "removed", .restart = restart }, path);

	if (r == 0)
		r = diff_lone_items(d, &it, is, was, (struct cfg_change){ .what = "added", .restart = restart }, path);
	for (size_t i = 0, next = 0; i < is.n && r == 0; i++) {
		const char *item = item_at(&is, it.s, i);
		size_t before = item_find(&was, &it, item, it.name ? next : i);

		if (before == was.n)
			continue;
		moved |= before < next;
		next = before + 1;
		item_key(path, &it, item, i, key);
		r = diff_map(d, it.s, (struct pair){ item_at(&was, it.s, before), item }, key);
	}
	if (r == 0 && moved)
		r = d->fn(&(struct cfg_change){ .key = path, .what = "in another order", .restart = restart }, d->arg);
	return r;
}

/* ---- maps ---- */

static int diff_row(const struct diff *d, const struct cfg_row *row, struct pair at, const char *key)
{
	if (!row->sub)
		return diff_value(d, row, at, key);
	if (row->flags & CFG_LIST)
		return diff_items(d, row, at, key);
	if (row->flags & CFG_OPTIONAL_MAP) {
		at.was = at.was ? *(const char *const *)(const void *)at.was : NULL;
		at.is = at.is ? *(const char *const *)(const void *)at.is : NULL;
	}
	return at.was || at.is ? diff_map(d, row->sub, at, key) : 0;
}

static int diff_map(const struct diff *d, const struct cfg_schema *s, struct pair at, const char *path)
{
	char key[KEY_MAX];
	int r = 0;

	for (size_t i = 0; i < s->n_rows && r == 0; i++) {
		snprintf(key, sizeof(key), "%s%s%s", path, *path ? "." : "", s->rows[i].name);
		r = diff_row(d, &s->rows[i], pair_at(at, s->rows[i].offset), key);
	}
	return r;
}

int cfg_diff(const struct cfg *was, const struct cfg *is, int (*fn)(const struct cfg_change *ch, void *arg), void *arg)
{
	const struct diff d = { fn, arg };

	return diff_map(&d, is->root->schema, (struct pair){ was->values, is->values }, "");
}
