/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the configuration only: the tree that the YAML reader builds and the schema walk reads,
 * and the bounded list of errors that both write.
 *
 * Nodes and their texts live in the tree's arena and die with it (wiped first: they hold secrets).
 * Several files merge into one tree, so each node knows the file it came from.
 */
#pragma once
#include "common/config.h"

enum {
	CFG_MAX_DEPTH = 16,
	CFG_MAX_NODES = 100000, /* all files together */
	CFG_MAX_KEYS = 1000,	/* of one map of one file; keeps the search for duplicates cheap */
	CFG_MAX_FILE = 4 << 20,
	CFG_MAX_SOURCES = 256,
	CFG_MAX_SECRET = 64 << 10,
	CFG_MAX_NOTES = 64,
};

struct cfg_source {
	char *name;   /* as it was given: for messages */
	char *folder; /* absolute, what relative paths start from; NULL: paths stay as they are */
	unsigned order;
	unsigned mode; /* st_mode, or 0 for a text */
};

struct cfg_mark {
	const struct cfg_source *source;
	unsigned line, column; /* 1-based; 0: the file as a whole */
};

enum cfg_kind { CFG_NODE_NULL, CFG_NODE_TEXT, CFG_NODE_LIST, CFG_NODE_MAP };

struct cfg_node {
	enum cfg_kind kind;
	bool bad; /* an error was already reported: the walk passes it in silence */
	struct cfg_mark at;
	struct text key; /* in a map; p NULL in a list and for the root */
	struct cfg_mark key_at;
	struct text value; /* CFG_NODE_TEXT; NUL-terminated too, and no NUL inside */
	struct cfg_node *first, *last; /* children, in the order of the file */
	struct cfg_node *next;
	unsigned n_children;
};

/* Sorted by file and place. A fixed array, so that noting an error cannot fail. */
struct cfg_notes {
	struct cfg_error list[CFG_MAX_NOTES];
	unsigned order[CFG_MAX_NOTES]; /* of the source */
	size_t n, lost;
};
/* Messages quote what stands in a file and are shown on terminals: control bytes and what is not
 * UTF-8 (a character cut in half) become question marks. */
void cfg_clean(char *s);
void cfg_note(struct cfg_notes *n, const struct cfg_mark *at, const char *fmt, ...) _printf_(3, 4);
static inline bool cfg_notes_full(const struct cfg_notes *n)
{
	return n->n == CFG_MAX_NOTES;
}

struct cfg_chunk;
struct cfg_tree {
	struct cfg_chunk *chunks;
	struct cfg_node *root; /* NULL: nothing was read, or only empty files */
	struct cfg_notes *errors;
	size_t n_nodes;
	bool broken; /* a file was not YAML: what is missing in the tree means nothing */
};
/* Reads one file's text and merges it. 0 or -ENOMEM; everything else becomes an error note. */
int cfg_tree_add(struct cfg_tree *t, const struct cfg_source *source, struct text yaml);
void cfg_tree_deinit(struct cfg_tree *t);
struct cfg_node *cfg_node_child(const struct cfg_node *map, struct text key); /* NULL if there is none */
/* A node in the tree's arena, last among parent's (NULL: the root), its texts copied. -ENOMEM, or -E2BIG: there are too many. */
struct cfg_node_new {
	enum cfg_kind kind;
	struct text key, value;
	struct cfg_mark at;
};
int cfg_node_add(struct cfg_tree *t, struct cfg_node *parent, const struct cfg_node_new *what, struct cfg_node **ret_n);
/* Settings into the tree, under what it has. source: theirs. */
int cfg_tree_under(struct cfg_tree *t, const struct cfg_source *source, const json_t *settings);

struct cfg {
	const struct cfg_root *root;
	struct cfg_tree tree;
	struct cfg_source *sources[CFG_MAX_SOURCES]; /* [0] is the file that was asked for */
	size_t n_sources;
	bool warned[CFG_MAX_SOURCES]; /* that this file holds a secret and is readable by everyone */
	const struct cfg_source *settings; /* one of them, or NULL */
	void *values;
	struct cfg_notes errors, warnings;
};

/* Fills c->values from the tree: 0 or -ENOMEM; everything else becomes an error note. */
int cfg_walk(struct cfg *c);
void cfg_values_free(const struct cfg_schema *s, void *values); /* what they own; not the block itself */
size_t cfg_row_size(const struct cfg_row *row); /* bytes at the row's offset */
/* Fills in which key each error is about, where it is not known yet. */
void cfg_name_keys(struct cfg *c);
const struct cfg_node *cfg_find_path(const struct cfg *c, const char *key_path);
/* config_export.c: a row's value as it was set by node n; and that node, also of NAME_file. NULL without memory; if nothing sets it. */
json_t *cfg_export_row(const struct cfg_row *row, const struct cfg_node *n, const char *at, bool secrets);
const struct cfg_node *cfg_set_by(const struct cfg_row *row, const struct cfg_node *map);

/* Reads the whole file into a malloc'd block. 0, -ENOMEM, -EFBIG or another -errno. */
int cfg_read_file(const char *path, size_t max, char **ret_p, size_t *ret_n, unsigned *ret_mode);

/* The choice nearest to t, NULL if none is near enough to be meant. */
struct cfg_suggestion {
	struct text wanted;
	const char *best;
	size_t distance;
};
void cfg_suggest(struct cfg_suggestion *s, const char *candidate);
/* One line of UTF-8 without control characters. */
int cfg_text_check(struct text t, char *err, size_t err_n);
/* A whole path that fits a sockaddr_un; t is what stands behind "unix:". */
int cfg_unix_path_parse(struct text t, char path[static CFG_UNIX_PATH], char *err, size_t err_n);
/* "'listen' must be …": the subject in front of a type's sentence. Used for files and single values. */
int cfg_parse_value(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n);
/* A value for a message: quoted, cut at a sensible length. */
#define CFG_SHOWN(t) (int)MIN((t).n, (size_t)48), (t).p, (t).n > 48 ? "…" : ""
