/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema walk: tree of texts + schema rows → the program's structs.
 *
 * Row by row: the value from the file, else the default through the same parse function, else
 * nothing. Every fault becomes a note with its place, and the walk goes on, so that all faults are
 * shown at once. What stands in the file and in no row is a fault too. Only -ENOMEM ends the walk.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/bytes.h"
#include "common/config_priv.h"

/* Where a map is filled from: its node, or NULL and the nearest place that the file has. */
struct place {
	const struct cfg_node *map;
	struct cfg_mark at;
};

static int fill_map(struct cfg *c, const struct cfg_schema *s, struct place from, void *dst);

static const char *const kind_names[] = { "nothing", "a text", "a list", "a map" };

size_t cfg_row_size(const struct cfg_row *row)
{
	if (row->flags & CFG_LIST)
		return sizeof(struct cfg_list);
	if (row->flags & CFG_OPTIONAL_MAP)
		return sizeof(void *);
	return row->sub ? row->sub->size : row->type->size;
}

/* ---- did you mean ---- */

void cfg_suggest(struct cfg_suggestion *s, const char *candidate)
{
	size_t d = text_distance(s->wanted, text_of(candidate));
	size_t limit = MAX((size_t)2, s->wanted.n / 3);
	if (s->wanted.n <= 2)
		limit = 1; /* with two letters everything would be near */
	if (d <= limit && (!s->best || d < s->distance)) {
		s->best = candidate;
		s->distance = d;
	}
}

static bool has_file_key(const struct cfg_row *row)
{
	return (row->flags & CFG_SECRET) && row->type && !(row->flags & CFG_LIST);
}

/* Whether key is the row's NAME, or NAME_file of a secret. */
static bool row_takes(const struct cfg_row *row, struct text key)
{
	struct text name = text_of(row->name);
	if (text_eq(name, key))
		return true;
	return has_file_key(row) && key.n == name.n + 5 && text_starts(key, name) &&
	       text_eq(text_drop(key, name.n), TEXT("_file"));
}

static bool schema_takes(const struct cfg_schema *s, struct text key)
{
	for (size_t i = 0; i < s->n_rows; i++)
		if (row_takes(&s->rows[i], key))
			return true;
	return false;
}

static void list_keys(const struct cfg_schema *s, const char *const *more, struct sb *out)
{
	for (size_t i = 0; i < s->n_rows; i++)
		sb_fmt(out, "%s%s", i ? ", " : "", s->rows[i].name);
	for (; more && *more; more++)
		sb_fmt(out, "%s%s", out->n ? ", " : "", *more);
}

static void note_unknown(struct cfg *c, const struct cfg_schema *s, const struct cfg_node *n)
{
	bool is_root = s == c->root->schema;
	const char *const *others = is_root ? c->root->other_sections : NULL;
	struct cfg_suggestion near = { .wanted = n->key };
	char where[80] = "", keys[200];
	struct sb w = sb_init(where, sizeof(where)), k = sb_init(keys, sizeof(keys));
	if (!is_root)
		sb_fmt(&w, " in %s", s->name);
	for (size_t i = 0; i < s->n_rows; i++)
		cfg_suggest(&near, s->rows[i].name);
	for (size_t i = 0; others && others[i]; i++)
		cfg_suggest(&near, others[i]);
	const char *what = is_root ? "section" : "key";
	for (size_t i = 0; i < s->n_rows && (!near.best || near.distance > 0); i++)
		if (s->rows[i].sub && schema_takes(s->rows[i].sub, n->key)) {
			cfg_note(&c->errors, &n->key_at, "unknown %s '%.*s%s'%s; it belongs in %s: is the line indented wrongly?",
				 what, CFG_SHOWN(n->key), where, s->rows[i].sub->name);
			return;
		}
	if (near.best) {
		cfg_note(&c->errors, &n->key_at, "unknown %s '%.*s%s'%s; did you mean '%s'?", what, CFG_SHOWN(n->key),
			 where, near.best);
		return;
	}
	list_keys(s, others, &k);
	cfg_note(&c->errors, &n->key_at, "unknown %s '%.*s%s'%s; known are: %s%s", what, CFG_SHOWN(n->key), where, keys,
		 k.truncated ? "…" : "");
}

static void check_unknown(struct cfg *c, const struct cfg_schema *s, const struct cfg_node *map)
{
	for (const struct cfg_node *n = map->first; n && !cfg_notes_full(&c->errors); n = n->next) {
		bool known = schema_takes(s, n->key);
		const char *const *o = s == c->root->schema ? c->root->other_sections : NULL;
		for (; !known && o && *o; o++)
			known = text_eq(n->key, text_of(*o));
		if (!known)
			note_unknown(c, s, n);
	}
}

/* ---- one value ---- */

int cfg_parse_value(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	char why[300] = "";
	int r = row->type->parse(row, t, dst, why, sizeof(why));
	if (r == 0 || r == -ENOMEM)
		return r;
	/* The sentence quotes the value, which must not happen to a secret. The types of secrets
	 * (text, path) quote nothing; for any other, the sentence is left out. */
	if ((row->flags & CFG_SECRET) && row->type != &cfg_string)
		snprintf(why, sizeof(why), "is not a good %s", row->type->name);
	snprintf(err, err_n, "%s'%s' %s", row->flags & CFG_LIST ? "an item of " : "", row->name, why);
	cfg_clean(err);
	return -EINVAL;
}

int cfg_check_value(const struct cfg_row *row, struct text value, char *err, size_t err_n)
{
	if (!row->type) {
		snprintf(err, err_n, "'%s' is a map, not one value", row->name);
		return -EINVAL;
	}
	if (value.n && memchr(value.p, 0, value.n)) {
		snprintf(err, err_n, "'%s' must not hold a NUL byte", row->name);
		return -EINVAL;
	}
	void *tmp = calloc(1, row->type->size);
	if (!tmp)
		return -ENOMEM;
	int r = cfg_parse_value(row, value, tmp, err, err_n);
	if (r == 0 && row->type->free)
		row->type->free(tmp);
	free(tmp);
	return r;
}

/* A path as written → as used: cred:NAME, or relative to the folder of the file it stands in. */
static int resolve_path(struct cfg *c, struct text t, const struct cfg_mark *at, char *buf, size_t buf_n)
{
	struct sb b = sb_init(buf, buf_n);
	if (text_starts(t, TEXT("cred:"))) {
		const char *dir = getenv("CREDENTIALS_DIRECTORY");
		t = text_drop(t, 5);
		if (!t.n || text_find(t, '/') >= 0 || t.p[0] == '.') {
			cfg_note(&c->errors, at, "'cred:' wants the name of a credential, such as cred:turn.password");
			return -EINVAL;
		}
		if (!dir || dir[0] != '/') {
			cfg_note(&c->errors, at, "'cred:%.*s%s' needs LoadCredential= in the systemd unit: "
				 "$CREDENTIALS_DIRECTORY is not set", CFG_SHOWN(t));
			return -EINVAL;
		}
		sb_fmt(&b, "%s/", dir);
	} else if (t.n && t.p[0] != '/' && at->source->folder) {
		sb_fmt(&b, "%s/", at->source->folder);
	}
	sb_text(&b, t);
	if (b.truncated) {
		cfg_note(&c->errors, at, "the path is too long");
		return -EINVAL;
	}
	return 0;
}

/* Parses t, which stands at *at, into dst. 0 also when it is bad: then there is a note. */
static int take_value(struct cfg *c, const struct cfg_row *row, struct text t, const struct cfg_mark *at, void *dst)
{
	char err[360] = "", path[PATH_MAX];
	struct cfg_row any;
	if (c->root->masked && (row->flags & CFG_SECRET) && text_eq(t, TEXT(CFG_MASK))) {
		any = *row;
		any.min = 0;
		row = &any;
	}
	if (row->type == &cfg_path && t.n) {
		if (resolve_path(c, t, at, path, sizeof(path)) < 0)
			return 0;
		t = text_of(path);
	}
	int r = cfg_parse_value(row, t, dst, err, sizeof(err));
	if (r == -EINVAL)
		cfg_note(&c->errors, at, "%s", err);
	return r == -ENOMEM ? r : 0;
}

/* The node's text, or an error that says what stands there instead. */
static int fill_scalar(struct cfg *c, const struct cfg_row *row, const struct cfg_node *n, void *dst)
{
	if (n->bad)
		return 0;
	if (n->kind == CFG_NODE_TEXT)
		return take_value(c, row, n->value, &n->at, dst);
	if (n->kind == CFG_NODE_NULL)
		cfg_note(&c->errors, &n->at, "%s'%s' has no value%s", row->flags & CFG_LIST ? "an item of " : "", row->name,
			 row->type == &cfg_string && row->min == 0 ? "; an empty text is written \"\"" : "");
	else
		cfg_note(&c->errors, &n->at, "%s'%s' must be one %s, not %s", row->flags & CFG_LIST ? "an item of " : "",
			 row->name, row->type->name, kind_names[n->kind]);
	return 0;
}

/* ---- secrets ---- */

static void warn_readable(struct cfg *c, const struct cfg_mark *at, unsigned mode, const char *what)
{
	if (mode & S_IROTH)
		cfg_note(&c->warnings, at, "%s can be read by everyone (mode %04o); chmod o-r is safer", what, mode & 07777);
}

/* A secret in the configuration itself; one warning per file is enough. */
static void warn_inline(struct cfg *c, const struct cfg_node *n)
{
	const struct cfg_source *s = n->key_at.source;
	if (!c->warned[s->order])
		warn_readable(c, &n->key_at, s->mode, "this file holds a secret and");
	c->warned[s->order] = true;
}

static int secret_from_file(struct cfg *c, const struct cfg_row *row, const struct cfg_node *n, void *dst)
{
	char path[PATH_MAX], *p = NULL;
	size_t size = 0;
	unsigned mode = 0;
	if (n->bad || resolve_path(c, n->value, &n->at, path, sizeof(path)) < 0)
		return 0;
	int r = cfg_read_file(path, CFG_MAX_SECRET, &p, &size, &mode);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		cfg_note(&c->errors, &n->at, "'%s_file': %s cannot be read: %s", row->name, path, strerror(-r));
		return 0;
	}
	struct text t = { p, size };
	if (t.n && t.p[t.n - 1] == '\n')
		t.n -= t.n > 1 && t.p[t.n - 2] == '\r' ? 2 : 1;
	if (!t.n)
		cfg_note(&c->errors, &n->at, "'%s_file': %s is empty", row->name, path);
	else if (memchr(t.p, 0, t.n))
		cfg_note(&c->errors, &n->at, "'%s_file': %s holds a NUL byte: it is not a text", row->name, path);
	else
		r = take_value(c, row, t, &n->at, dst);
	warn_readable(c, &n->at, mode, path);
	bytes_wipe(p, size);
	free(p);
	return r;
}

/* NAME_file of a secret row, if it stands in the map. */
static const struct cfg_node *file_node(const struct cfg_row *row, const struct cfg_node *map)
{
	for (const struct cfg_node *n = map && has_file_key(row) ? map->first : NULL; n; n = n->next)
		if (n->key.n > strlen(row->name) && row_takes(row, n->key))
			return n;
	return NULL;
}

static int fill_secret_file(struct cfg *c, const struct cfg_row *row, const struct cfg_node *n, void *dst)
{
	if (n->kind == CFG_NODE_TEXT && n->value.n)
		return secret_from_file(c, row, n, dst);
	if (!n->bad)
		cfg_note(&c->errors, &n->at, "'%s_file' must be the path of a file", row->name);
	return 0;
}

/* ---- lists and maps ---- */

static int alloc_list(struct cfg_list *l, size_t n, size_t item)
{
	l->items = n ? calloc(n, item) : NULL;
	if (n && !l->items)
		return -ENOMEM;
	l->n = n;
	return 0;
}

static void note_not_list(struct cfg *c, const struct cfg_row *row, const struct cfg_node *n)
{
	bool show = n->kind == CFG_NODE_TEXT && row->type && !(row->flags & CFG_SECRET);
	if (n->bad)
		return;
	if (show)
		cfg_note(&c->errors, &n->at, "'%s' must be a list; write %s: [\"%.*s%s\"]", row->name, row->name,
			 CFG_SHOWN(n->value));
	else
		cfg_note(&c->errors, &n->at, "'%s' must be a list, not %s; each item begins with '- '", row->name,
			 kind_names[n->kind]);
}

static int fill_list(struct cfg *c, const struct cfg_row *row, const struct cfg_node *n, struct cfg_list *l)
{
	size_t item = row->sub ? row->sub->size : row->type->size, i = 0;
	int r;
	if (n->kind == CFG_NODE_TEXT && (row->flags & CFG_BARE)) {
		r = alloc_list(l, 1, item);
		return r < 0 ? r : fill_scalar(c, row, n, l->items);
	}
	if (n->kind == CFG_NODE_TEXT || n->kind == CFG_NODE_MAP || n->bad) {
		note_not_list(c, row, n);
		return 0;
	}
	if (!n->n_children && (row->flags & CFG_REQUIRED))
		cfg_note(&c->errors, &n->at, "'%s' needs at least one item", row->name);
	if (row->most && n->n_children > row->most)
		cfg_note(&c->errors, &n->at, "'%s' has at most %u items, not %u", row->name,
			 row->most, n->n_children);
	r = alloc_list(l, n->n_children, item);
	for (const struct cfg_node *e = n->first; r == 0 && e; e = e->next, i++) {
		void *dst = (char *)l->items + i * item;
		if (!row->sub)
			r = fill_scalar(c, row, e, dst);
		else if (e->kind == CFG_NODE_MAP)
			r = fill_map(c, row->sub, (struct place){ e, e->at }, dst);
		else if (!e->bad)
			cfg_note(&c->errors, &e->at, "an item of '%s' must be a map such as {%s: …}, not %s", row->name,
				 row->sub->rows[0].name, kind_names[e->kind]);
	}
	return r;
}

/* A list's default: items separated by commas, at the place of the whole file. */
static int default_list(struct cfg *c, const struct cfg_row *row, const struct cfg_mark *at, struct cfg_list *l)
{
	size_t n = 1, i = 0;
	for (const char *p = row->def; *p; p++)
		n += *p == ',';
	int r = alloc_list(l, n, row->type->size);
	for (struct text rest = text_of(row->def); r == 0 && rest.p; i++) {
		struct text t = text_trim(text_cut(&rest, ','));
		r = take_value(c, row, t, at, (char *)l->items + i * row->type->size);
	}
	return r;
}

static int fill_submap(struct cfg *c, const struct cfg_row *row, const struct cfg_node *n, struct place from,
		       void *dst)
{
	struct place sub = { NULL, n ? n->key_at : from.at };
	if (n && (n->bad || n->kind == CFG_NODE_TEXT || n->kind == CFG_NODE_LIST)) {
		if (!n->bad)
			cfg_note(&c->errors, &n->at, "'%s' must be a map of keys, not %s", row->name, kind_names[n->kind]);
		return 0;
	}
	if (n && n->kind == CFG_NODE_MAP)
		sub.map = n;
	if (row->flags & CFG_OPTIONAL_MAP) {
		if (!n)
			return 0;
		void *p = calloc(1, MAX(row->sub->size, (size_t)1));
		if (!p)
			return -ENOMEM;
		*(void **)dst = p;
		dst = p;
	}
	return fill_map(c, row->sub, sub, dst);
}

static int fill_default(struct cfg *c, const struct cfg_row *row, const struct cfg_schema *s, struct place from,
			void *dst)
{
	struct cfg_mark whole = { .source = c->sources[0] };
	if (row->flags & CFG_REQUIRED)
		cfg_note(&c->errors, &from.at, "'%s' is required%s%s", row->name, s == c->root->schema ? "" : " in ",
			 s == c->root->schema ? "" : s->name);
	else if (row->def && (row->flags & CFG_LIST))
		return default_list(c, row, &whole, dst);
	else if (row->def)
		return take_value(c, row, text_of(row->def), &whole, dst);
	return 0;
}

static int fill_row(struct cfg *c, const struct cfg_schema *s, const struct cfg_row *row, struct place from, void *dst)
{
	const struct cfg_node *n = cfg_node_child(from.map, text_of(row->name)), *f = file_node(row, from.map);
	if (row->sub && !(row->flags & CFG_LIST))
		return n || !(row->flags & CFG_REQUIRED) ? fill_submap(c, row, n, from, dst) :
							   fill_default(c, row, s, from, dst);
	if (n && f)
		cfg_note(&c->errors, &f->key_at, "both '%s' and '%s_file' are set; keep one", row->name, row->name);
	if (n && (row->flags & CFG_LIST))
		return fill_list(c, row, n, dst);
	if (n && (row->flags & CFG_SECRET))
		warn_inline(c, n);
	if (n)
		return fill_scalar(c, row, n, dst);
	return f ? fill_secret_file(c, row, f, dst) : fill_default(c, row, s, from, dst);
}

static int fill_map(struct cfg *c, const struct cfg_schema *s, struct place from, void *dst)
{
	int r = 0;
	if (from.map)
		check_unknown(c, s, from.map);
	for (size_t i = 0; r == 0 && i < s->n_rows; i++)
		r = fill_row(c, s, &s->rows[i], from, (char *)dst + s->rows[i].offset);
	return r;
}

int cfg_walk(struct cfg *c)
{
	struct place all = { c->tree.root, { .source = c->sources[0] } };
	return fill_map(c, c->root->schema, all, c->values);
}

/* ---- giving it back ---- */

static void free_row(const struct cfg_row *row, void *dst)
{
	struct cfg_list one = { dst, 1 }, *l = &one;
	size_t item = row->sub ? row->sub->size : row->type->size;
	if (row->flags & CFG_LIST)
		l = dst;
	else if (row->flags & CFG_OPTIONAL_MAP)
		one.items = *(void **)dst;
	for (size_t i = 0; l->items && i < l->n; i++) {
		void *at = (char *)l->items + i * item;
		if (row->sub)
			cfg_values_free(row->sub, at);
		else if (row->type->free)
			row->type->free(at);
	}
	if (row->flags & (CFG_LIST | CFG_OPTIONAL_MAP))
		free(l->items);
}

void cfg_values_free(const struct cfg_schema *s, void *values)
{
	for (size_t i = 0; i < s->n_rows; i++)
		free_row(&s->rows[i], (char *)values + s->rows[i].offset);
}
