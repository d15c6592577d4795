/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML text → tree of texts, lists and maps with their places, and the merge of several files.
 *
 * Only the part of YAML 1.2 that a configuration needs: no anchors, aliases, tags, merge keys or
 * second documents, and no types: a plain scalar is the text that stands there, so 0123, off and
 * 1e3 mean what their key's type says. libyaml finds the events; depth, nodes and keys are counted
 * here before anything is kept, and bytes that are no text are refused before libyaml sees them.
 * A syntax error ends its file; everything else is noted, and the reading goes on.
 */
#include <errno.h>
#include <string.h>
#include <yaml.h>
#include "common/bytes.h"
#include "common/config_priv.h"

/* ---- arena ---- */

struct cfg_chunk {
	struct cfg_chunk *next;
	size_t used, cap;
	max_align_t bytes[];
};

static void *arena_alloc(struct cfg_tree *t, size_t n)
{
	enum { CHUNK = 16 << 10, ALIGN = sizeof(max_align_t) };
	n = (n + ALIGN - 1) / ALIGN * ALIGN;
	struct cfg_chunk *c = t->chunks;
	if (!c || c->cap - c->used < n) {
		size_t cap = MAX(n, (size_t)CHUNK);
		c = calloc(1, sizeof(*c) + cap);
		if (!c)
			return NULL;
		c->cap = cap;
		c->next = t->chunks;
		t->chunks = c;
	}
	void *p = (char *)c->bytes + c->used;
	c->used += n;
	return p;
}

void cfg_tree_deinit(struct cfg_tree *t)
{
	while (t->chunks) {
		struct cfg_chunk *c = t->chunks;
		t->chunks = c->next;
		bytes_wipe(c->bytes, c->used);
		free(c);
	}
	t->root = NULL;
}

/* ---- tree ---- */

struct cfg_node *cfg_node_child(const struct cfg_node *map, struct text key)
{
	if (!map || map->kind != CFG_NODE_MAP)
		return NULL;
	for (struct cfg_node *n = map->first; n; n = n->next)
		if (text_eq(n->key, key))
			return n;
	return NULL;
}

static void append(struct cfg_node *parent, struct cfg_node *n)
{
	n->next = NULL;
	if (parent->last)
		parent->last->next = n;
	else
		parent->first = n;
	parent->last = n;
	parent->n_children++;
}

static int copy_text(struct cfg_tree *t, const void *p, size_t n, struct text *ret_t)
{
	char *s = arena_alloc(t, n + 1);
	if (!s)
		return -ENOMEM;
	memcpy(s, p, n);
	s[n] = 0;
	*ret_t = (struct text){ s, n };
	return 0;
}

int cfg_node_add(struct cfg_tree *t, struct cfg_node *parent, const struct cfg_node_new *what, struct cfg_node **ret_n)
{
	struct cfg_node *n;
	int r;

	if (++t->n_nodes > CFG_MAX_NODES)
		return -E2BIG;
	n = arena_alloc(t, sizeof(*n));
	if (!n)
		return -ENOMEM;
	*n = (struct cfg_node){ .kind = what->kind, .at = what->at, .key_at = what->at };
	r = what->key.p ? copy_text(t, what->key.p, what->key.n, &n->key) : 0;
	if (r == 0 && what->kind == CFG_NODE_TEXT)
		r = copy_text(t, what->value.p, what->value.n, &n->value);
	if (r < 0)
		return r;
	if (parent)
		append(parent, n);
	else
		t->root = n;
	*ret_n = n;
	return 0;
}

/* ---- events ---- */

/* One open list or map, and for a map the key that waits for its value. */
struct level {
	struct cfg_node *node;
	struct text key;
	struct cfg_mark key_at;
	bool has_key, drop; /* drop: a duplicate or a merge key, its value is read but not kept */
};

struct builder {
	struct cfg_tree *t;
	const struct cfg_source *source;
	struct level levels[CFG_MAX_DEPTH];
	unsigned depth;
	struct cfg_node *root;
	unsigned n_documents;
};

/* Positive results of the handlers: the file cannot be read further, and an error says why. */
enum { BUILD_STOP = 1 };

static struct cfg_mark mark_of(const struct builder *b, yaml_mark_t m)
{
	return (struct cfg_mark){ b->source, (unsigned)m.line + 1, (unsigned)m.column + 1 };
}

#define STOP(b, at, ...)                                                                           \
	({                                                                                         \
		cfg_note((b)->t->errors, (at), __VA_ARGS__);                                       \
		BUILD_STOP;                                                                        \
	})

static int new_node(struct builder *b, enum cfg_kind kind, yaml_mark_t at, struct cfg_node **ret_n)
{
	struct cfg_mark m = mark_of(b, at);
	if (++b->t->n_nodes > CFG_MAX_NODES)
		return STOP(b, &m, "more than %d values: this is not a configuration", CFG_MAX_NODES);
	struct cfg_node *n = arena_alloc(b->t, sizeof(*n));
	if (!n)
		return -ENOMEM;
	*n = (struct cfg_node){ .kind = kind, .at = m, .key_at = m };
	*ret_n = n;
	return 0;
}

/* The node is the next value of the innermost list or map, or the root. */
static void attach(struct builder *b, struct cfg_node *n)
{
	if (b->depth == 0) {
		b->root = n;
		return;
	}
	struct level *l = &b->levels[b->depth - 1];
	if (l->node->kind == CFG_NODE_MAP) {
		n->key = l->key;
		n->key_at = l->key_at;
		l->has_key = false;
		if (l->drop)
			return;
	}
	append(l->node, n);
}

static bool wants_key(const struct builder *b)
{
	return b->depth && b->levels[b->depth - 1].node->kind == CFG_NODE_MAP &&
	       !b->levels[b->depth - 1].has_key;
}

static int on_key(struct builder *b, const yaml_event_t *e)
{
	struct level *l = &b->levels[b->depth - 1];
	struct cfg_mark at = mark_of(b, e->start_mark);
	int r = copy_text(b->t, e->data.scalar.value, e->data.scalar.length, &l->key);
	if (r < 0)
		return r;
	if (l->node->n_children >= CFG_MAX_KEYS)
		return STOP(b, &at, "more than %d keys in one map", CFG_MAX_KEYS);
	l->key_at = at;
	l->has_key = true;
	l->drop = false;
	const struct cfg_node *twin = cfg_node_child(l->node, l->key);
	if (twin) {
		cfg_note(b->t->errors, &at, "'%.*s%s' is set twice; the first time in line %u", CFG_SHOWN(l->key),
			 twin->key_at.line);
		l->drop = true;
	} else if (e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && text_eq(l->key, TEXT("<<"))) {
		cfg_note(b->t->errors, &at, "merge keys (<<) are not supported; write the keys out");
		l->drop = true;
	}
	return 0;
}

static bool is_null(const yaml_event_t *e, struct text t)
{
	return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (t.n == 0 || text_eq(t, TEXT("~")) || text_ieq(t, TEXT("null")));
}

/* Anchors and tags are noted as errors; the node they stand at is still read. */
static void refuse_extras(struct builder *b, const yaml_event_t *e, const void *anchor, const void *tag)
{
	struct cfg_mark at = mark_of(b, e->start_mark);
	if (anchor)
		cfg_note(b->t->errors, &at, "anchors (&name) are not supported; write the value out");
	if (tag)
		cfg_note(b->t->errors, &at, "tags (!name) are not supported; quote the text if it begins with '!'");
}

static int on_scalar(struct builder *b, const yaml_event_t *e)
{
	refuse_extras(b, e, e->data.scalar.anchor, e->data.scalar.tag);
	if (wants_key(b))
		return on_key(b, e);
	struct cfg_node *n = NULL;
	int r = new_node(b, CFG_NODE_TEXT, e->start_mark, &n);
	if (r == 0)
		r = copy_text(b->t, e->data.scalar.value, e->data.scalar.length, &n->value);
	if (r != 0)
		return r;
	if (memchr(n->value.p, 0, n->value.n)) {
		cfg_note(b->t->errors, &n->at, "a value must not hold a NUL byte");
		n->bad = true;
	} else if (is_null(e, n->value)) {
		n->kind = CFG_NODE_NULL;
	}
	attach(b, n);
	return 0;
}

static int on_open(struct builder *b, const yaml_event_t *e, enum cfg_kind kind)
{
	struct cfg_mark at = mark_of(b, e->start_mark);
	if (wants_key(b))
		return STOP(b, &at, "a key must be a text, not a %s", kind == CFG_NODE_MAP ? "map" : "list");
	if (b->depth == CFG_MAX_DEPTH)
		return STOP(b, &at, "lists and maps are nested more than %d deep", CFG_MAX_DEPTH);
	struct cfg_node *n = NULL;
	int r = new_node(b, kind, e->start_mark, &n);
	if (r != 0)
		return r;
	attach(b, n);
	b->levels[b->depth++] = (struct level){ .node = n };
	return 0;
}

static int on_alias(struct builder *b, const yaml_event_t *e)
{
	struct cfg_mark at = mark_of(b, e->start_mark);
	struct cfg_node *n = NULL;
	if (wants_key(b))
		return STOP(b, &at, "a key must be a text, not an alias");
	cfg_note(b->t->errors, &at, "aliases (*name) are not supported; write the value out");
	int r = new_node(b, CFG_NODE_NULL, e->start_mark, &n);
	if (r != 0)
		return r;
	n->bad = true;
	attach(b, n);
	return 0;
}

static int on_document(struct builder *b, const yaml_event_t *e)
{
	struct cfg_mark at = mark_of(b, e->start_mark);
	if (b->n_documents++ > 0)
		return STOP(b, &at, "a second document (---) begins here; a file holds one");
	return 0;
}

static int on_event(struct builder *b, const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_SCALAR_EVENT:
		return on_scalar(b, e);
	case YAML_ALIAS_EVENT:
		return on_alias(b, e);
	case YAML_MAPPING_START_EVENT:
		refuse_extras(b, e, e->data.mapping_start.anchor, e->data.mapping_start.tag);
		return on_open(b, e, CFG_NODE_MAP);
	case YAML_SEQUENCE_START_EVENT:
		refuse_extras(b, e, e->data.sequence_start.anchor, e->data.sequence_start.tag);
		return on_open(b, e, CFG_NODE_LIST);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		if (b->depth == 0)
			return -EINVAL;
		b->depth--;
		return 0;
	case YAML_DOCUMENT_START_EVENT:
		return on_document(b, e);
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		return 0;
	}
	return -EINVAL;
}

static struct text line_of(struct text yaml, size_t line)
{
	for (; line > 0 && yaml.n > 0; line--)
		text_cut(&yaml, '\n');
	return text_cut(&yaml, '\n');
}

/* Whether the line is indented with a tab: YAML forbids it, and libyaml's words do not say so. */
static bool tab_indents(struct text line)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a text with bytes has them somewhere */
	for (size_t i = 0; i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'); i++)
		if (line.p[i] == '\t')
			return true;
	return false;
}

/* What libyaml says, and what an administrator most probably did. */
static const struct {
	const char *problem, *line_holds, *hint;
} hints[] = {
	{ NULL, "[::", "; an address in brackets must be quoted, as \"udp:[::]:3478\"" },
	{ NULL, "]:", "; an address in brackets must be quoted, as \"udp:[::]:3478\"" },
	{ "found character that cannot start any token", NULL, "; quote a text that begins with %, @ or `" },
	{ "mapping values are not allowed in this context", NULL,
	  "; check the indentation and the ':' of the line above, and quote a text that holds ': '" },
	{ "did not find expected key", NULL, "; check the indentation of this line" },
	{ "could not find expected ':'", NULL, "; a key is written 'key: value'" },
};

static const char *hint_for(const char *problem, struct text line)
{
	for (size_t i = 0; i < ARRAY_LEN(hints); i++)
		if (hints[i].problem ? strcmp(hints[i].problem, problem) == 0 :
				       line.p && memmem(line.p, line.n, hints[i].line_holds, strlen(hints[i].line_holds)) != NULL)
			return hints[i].hint;
	return "";
}

static void note_syntax(struct builder *b, const yaml_parser_t *p, struct text yaml)
{
	yaml_mark_t m = p->error == YAML_READER_ERROR ? p->mark : p->problem_mark;
	struct cfg_mark at = mark_of(b, m);
	const char *problem = p->problem ? p->problem : "it cannot be read";
	struct text line = line_of(yaml, m.line);
	if (tab_indents(line))
		cfg_note(b->t->errors, &at, "a tab in the indentation: YAML is indented with blanks");
	else if (p->context && p->context_mark.line < m.line)
		cfg_note(b->t->errors, &at, "not valid YAML: %s (%s that began in line %zu)%s", problem, p->context,
			 p->context_mark.line + 1, hint_for(problem, line));
	else
		cfg_note(b->t->errors, &at, "not valid YAML: %s%s", problem, hint_for(problem, line));
}

/* Runs libyaml over the text. 0, BUILD_STOP or -ENOMEM. */
static int build(struct builder *b, struct text yaml)
{
	yaml_parser_t p;
	if (!yaml_parser_initialize(&p))
		return -ENOMEM;
	yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p, (const unsigned char *)yaml.p, yaml.n);
	int r = 0;
	for (bool end = false; r == 0 && !end;) {
		yaml_event_t e;
		if (!yaml_parser_parse(&p, &e)) {
			if (p.error == YAML_MEMORY_ERROR) {
				r = -ENOMEM;
			} else {
				note_syntax(b, &p, yaml);
				r = BUILD_STOP;
			}
			break;
		}
		r = on_event(b, &e);
		end = e.type == YAML_STREAM_END_EVENT;
		if (e.type == YAML_SCALAR_EVENT)
			bytes_wipe(e.data.scalar.value, e.data.scalar.length);
		yaml_event_delete(&e);
	}
	yaml_parser_delete(&p);
	return r;
}

/* ---- what is no text at all ---- */

/* Bytes at p that make one character which YAML allows, or 0. *ret_why is set with 0. */
static size_t good_char(const unsigned char *p, size_t left, const char **ret_why)
{
	unsigned char c = *p;
	if (c < 0x80) {
		*ret_why = c == 0 ? "a NUL byte: this is not a text file" : "a control character";
		return c >= 0x20 ? c != 0x7f : c == '\t' || c == '\n' || c == '\r';
	}
	size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	*ret_why = "not UTF-8: save the file in that encoding";
	if (n > left || !text_is_utf8((struct text){ (const char *)p, n }))
		return 0;
	*ret_why = "a control character";
	return n == 2 && c == 0xc2 && p[1] < 0xa0 && p[1] != 0x85 ? 0 : n;
}

static bool check_bytes(struct cfg_tree *t, const struct cfg_source *source, struct text yaml)
{
	struct cfg_mark at = { source, 1, 1 };
	const unsigned char *p = (const unsigned char *)yaml.p;
	for (size_t i = 0, n; i < yaml.n; i += n) {
		const char *why = NULL;
		n = good_char(p + i, yaml.n - i, &why);
		if (n == 0) {
			cfg_note(t->errors, &at, "%s", why);
			return false;
		}
		if (p[i] == '\n' || (p[i] == '\r' && (i + 1 == yaml.n || p[i + 1] != '\n'))) {
			at.line++;
			at.column = 1;
		} else {
			at.column++;
		}
	}
	return true;
}

/* ---- merging ---- */

static void merge_map(struct cfg_tree *t, struct cfg_node *into, struct cfg_node *from);

static void merge_node(struct cfg_tree *t, struct cfg_node *into, struct cfg_node *from)
{
	bool scalar = into->kind == CFG_NODE_TEXT || from->kind == CFG_NODE_TEXT;
	if (into->kind == CFG_NODE_MAP && from->kind == CFG_NODE_MAP) {
		merge_map(t, into, from);
	} else if (into->kind == CFG_NODE_LIST && from->kind == CFG_NODE_LIST) {
		for (struct cfg_node *n = from->first, *next; n; n = next) {
			next = n->next;
			append(into, n);
		}
	} else if (into->kind == CFG_NODE_NULL && !scalar) {
		into->kind = from->kind;
		into->first = from->first;
		into->last = from->last;
		into->n_children = from->n_children;
		into->bad |= from->bad;
	} else if (from->kind != CFG_NODE_NULL || scalar) {
		cfg_note(t->errors, &from->key_at, "'%.*s%s' is set twice; the first time in %s:%u",
			 CFG_SHOWN(from->key), into->key_at.source->name, into->key_at.line);
	}
}

static void merge_map(struct cfg_tree *t, struct cfg_node *into, struct cfg_node *from)
{
	for (struct cfg_node *n = from->first, *next; n; n = next) {
		next = n->next;
		struct cfg_node *twin = cfg_node_child(into, n->key);
		if (twin)
			merge_node(t, twin, n);
		else
			append(into, n);
	}
}

int cfg_tree_add(struct cfg_tree *t, const struct cfg_source *source, struct text yaml)
{
	struct builder b = { .t = t, .source = source };
	struct cfg_mark start = { source, 1, 1 };
	if (text_starts(yaml, TEXT("\xef\xbb\xbf")))
		yaml = text_drop(yaml, 3);
	if (text_starts(yaml, TEXT("\xff\xfe")) || text_starts(yaml, TEXT("\xfe\xff"))) {
		cfg_note(t->errors, &start, "this is UTF-16: save the file as UTF-8");
		t->broken = true;
		return 0;
	}
	int r = check_bytes(t, source, yaml) ? build(&b, yaml) : BUILD_STOP;
	if (r < 0)
		return r;
	if (r == BUILD_STOP) {
		t->broken = true;
		return 0;
	}
	if (!b.root || b.root->kind == CFG_NODE_NULL)
		return 0;
	if (b.root->kind != CFG_NODE_MAP) {
		cfg_note(t->errors, &b.root->at, "expected sections such as 'log:', found a %s",
			 b.root->kind == CFG_NODE_LIST ? "list" : "text");
		t->broken = true;
		return 0;
	}
	if (t->root)
		merge_map(t, t->root, b.root);
	else
		t->root = b.root;
	return 0;
}
