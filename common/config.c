/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration from the outside: which files are read in which order, the list of errors, and
 * the questions that may be asked afterwards (where was this set, is this one value good).
 *
 * The YAML reader (config_yaml.c) makes the tree, the walk (config_walk.c) fills the structs. The
 * tree stays alive as long as the values, so that a service's own checks can name places.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/bytes.h"
#include "common/config_priv.h"

/* ---- errors and warnings ---- */

void cfg_clean(char *s)
{
	size_t left = strlen(s), n;
	for (; left; s += n, left -= n) {
		unsigned char c = (unsigned char)*s;
		n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
		bool good = n <= left && text_is_utf8((struct text){ s, n });
		bool control = c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)s[1] < 0xa0);
		if (!good)
			n = 1;
		if (!good || control)
			memset(s, '?', n);
	}
}

/* NULL: there was no room. */
static struct cfg_error *_printf_(3, 0) note_v(struct cfg_notes *n, const struct cfg_mark *at, const char *fmt, va_list ap)
{
	unsigned order = at->source ? at->source->order : 0;
	size_t i = n->n;
	if (cfg_notes_full(n)) {
		n->lost++;
		return NULL;
	}
	while (i && (n->order[i - 1] > order ||
		     (n->order[i - 1] == order && (n->list[i - 1].line > at->line ||
		      (n->list[i - 1].line == at->line && n->list[i - 1].column > at->column)))))
		i--;
	memmove(n->list + i + 1, n->list + i, (n->n - i) * sizeof(n->list[0]));
	memmove(n->order + i + 1, n->order + i, (n->n - i) * sizeof(n->order[0]));
	n->n++;
	n->order[i] = order;
	struct cfg_error *e = &n->list[i];
	*e = (struct cfg_error){ .line = at->line, .column = at->column };
	struct sb file = sb_init(e->file, sizeof(e->file));
	sb_str(&file, at->source ? at->source->name : "");
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	cfg_clean(e->file);
	cfg_clean(e->text);
	return e;
}

void cfg_note(struct cfg_notes *n, const struct cfg_mark *at, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	note_v(n, at, fmt, ap);
	va_end(ap);
}

size_t cfg_n_errors(const struct cfg *c)
{
	return c->errors.n;
}

const struct cfg_error *cfg_error(const struct cfg *c, size_t i)
{
	return i < c->errors.n ? &c->errors.list[i] : NULL;
}

size_t cfg_n_warnings(const struct cfg *c)
{
	return c->warnings.n;
}

const struct cfg_error *cfg_warning(const struct cfg *c, size_t i)
{
	return i < c->warnings.n ? &c->warnings.list[i] : NULL;
}

size_t cfg_print_errors(const struct cfg *c, FILE *to)
{
	for (size_t i = 0; i < c->errors.n; i++) {
		const struct cfg_error *e = &c->errors.list[i];
		if (e->line)
			fprintf(to, "%s:%u:%u: %s\n", e->file, e->line, e->column, e->text);
		else if (e->column) /* a setting */
			fprintf(to, "%s: %s: %s\n", e->file, e->key.s, e->text);
		else
			fprintf(to, "%s: %s\n", e->file, e->text);
	}
	if (c->errors.lost)
		fprintf(to, "… and %zu more errors\n", c->errors.lost);
	return c->errors.n + c->errors.lost;
}

/* ---- files ---- */

static struct cfg_source *source_free(struct cfg_source *s)
{
	if (s) {
		free(s->name);
		free(s->folder);
		free(s);
	}
	return NULL;
}

/* The folder of a path, absolute, so that a later chdir does not move what it names. */
static char *folder_of(const char *path)
{
	char *real = NULL, cwd[PATH_MAX], *dir;
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	if (path[0] == '/')
		return text_dup(n ? (struct text){ path, n } : TEXT("/"));
	if (!getcwd(cwd, sizeof(cwd)))
		return text_dup(n ? (struct text){ path, n } : TEXT("."));
	dir = asprintf(&real, "%s%s%.*s", cwd, n ? "/" : "", (int)n, path) < 0 ? NULL : real;
	return dir;
}

static int source_add(struct cfg *c, const char *name, bool is_file, struct cfg_source **ret_s)
{
	struct cfg_source *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->name = text_dup(text_of(name));
	s->folder = is_file ? folder_of(name) : NULL;
	if (!s->name || (is_file && !s->folder)) {
		source_free(s);
		return -ENOMEM;
	}
	s->order = (unsigned)c->n_sources;
	c->sources[c->n_sources++] = s;
	*ret_s = s;
	return 0;
}

int cfg_read_file(const char *path, size_t max, char **ret_p, size_t *ret_n, unsigned *ret_mode)
{
	struct stat st;
	size_t cap = 4096, n = 0;
	int r = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	char *p = malloc(cap);
	if (!p)
		r = -ENOMEM;
	else if (fstat(fd, &st) < 0 || fcntl(fd, F_SETFL, 0) < 0) /* O_NONBLOCK was for the opening of a FIFO only */
		r = -errno;
	while (r == 0) {
		ssize_t got = read(fd, p + n, cap - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			r = -errno;
		if (got <= 0)
			break;
		n += (size_t)got;
		if (n > max) {
			r = -EFBIG;
		} else if (n == cap) {
			char *more = malloc(cap * 2); /* not realloc: the old block is wiped */
			if (more)
				memcpy(more, p, n);
			else
				r = -ENOMEM;
			if (more) {
				bytes_wipe(p, n);
				free(p);
				p = more;
				cap *= 2;
			}
		}
	}
	close(fd);
	if (r < 0) {
		if (p)
			bytes_wipe(p, n);
		free(p);
		return r;
	}
	*ret_p = p;
	*ret_n = n;
	*ret_mode = st.st_mode;
	return 0;
}

/* Reads one file into the tree. 0, -ENOMEM, or the -errno of a file that could not be read (noted). */
static int add_file(struct cfg *c, const char *path)
{
	struct cfg_source *s = NULL;
	char *p = NULL;
	size_t n = 0;
	int r = source_add(c, path, true, &s);
	if (r < 0)
		return r;
	struct cfg_mark whole = { .source = s };
	r = cfg_read_file(path, CFG_MAX_FILE, &p, &n, &s->mode);
	if (r == -EFBIG)
		cfg_note(&c->errors, &whole, "larger than %d MiB: this is not a configuration", CFG_MAX_FILE >> 20);
	else if (r < 0 && r != -ENOMEM)
		cfg_note(&c->errors, &whole, "cannot be read: %s", strerror(-r));
	if (r < 0)
		return r;
	r = cfg_tree_add(&c->tree, s, (struct text){ p, n });
	bytes_wipe(p, n);
	free(p);
	return r;
}

static int is_conf(const struct dirent *e)
{
	struct text t = text_of(e->d_name);
	return e->d_name[0] != '.' &&
	       ((t.n > 5 && text_eq(text_drop(t, t.n - 5), TEXT(".yaml"))) ||
		(t.n > 4 && text_eq(text_drop(t, t.n - 4), TEXT(".yml"))));
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name); /* not alphasort: the locale must not matter */
}

static int add_conf_d_entry(struct cfg *c, const char *dir, const char *name)
{
	char path[PATH_MAX];
	struct sb b = sb_init(path, sizeof(path));
	struct cfg_mark whole = { .source = c->sources[0] };
	sb_str(&b, dir);
	sb_char(&b, '/');
	sb_str(&b, name);
	size_t n = strlen(name);
	if (n > 4 && strcmp(name + n - 4, ".yml") == 0) {
		cfg_note(&c->warnings, &whole, "conf.d/%s is not read: its name must end in .yaml", name);
		return 0;
	}
	if (b.truncated || c->n_sources == CFG_MAX_SOURCES) {
		cfg_note(&c->errors, &whole, "conf.d/%s: %s", name, b.truncated ? "the path is too long" : "too many files");
		return -E2BIG;
	}
	return add_file(c, path);
}

/* conf.d beside the file, in name order. Its absence is normal. */
static int add_conf_d(struct cfg *c, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct cfg_mark whole = { .source = c->sources[0] };
	struct dirent **list = NULL;
	char *dir = NULL;
	int first_error = 0;
	if (asprintf(&dir, "%.*sconf.d", slash ? (int)(slash - path) + 1 : 0, path) < 0)
		return -ENOMEM;
	int n = scandir(dir, &list, is_conf, by_bytes);
	if (n < 0 && errno != ENOENT && errno != ENOTDIR) {
		first_error = -errno;
		if (errno != ENOMEM)
			cfg_note(&c->errors, &whole, "conf.d cannot be read: %s", strerror(errno));
	}
	for (int i = 0; i < n; i++) {
		int r = first_error == -ENOMEM ? 0 : add_conf_d_entry(c, dir, list[i]->d_name);
		if (r == -ENOMEM || (r < 0 && first_error == 0))
			first_error = r;
		free(list[i]);
	}
	free(list);
	free(dir);
	return first_error;
}

/* ---- load and free ---- */

static struct cfg *cfg_new(const struct cfg_root *root)
{
	struct cfg *c = calloc(1, sizeof(*c));
	void *values = calloc(1, MAX(root->schema->size, (size_t)1));
	if (!c || !values) {
		free(c);
		free(values);
		return NULL;
	}
	c->root = root;
	c->values = values;
	c->tree.errors = &c->errors;
	return c;
}

struct cfg *cfg_free(struct cfg *c)
{
	if (!c)
		return NULL;
	cfg_values_free(c->root->schema, c->values);
	free(c->values);
	cfg_tree_deinit(&c->tree);
	for (size_t i = 0; i < c->n_sources; i++)
		source_free(c->sources[i]);
	free(c);
	return NULL;
}

/* Common end of both loads: r is what the reading gave. */
static int finish(struct cfg *c, int r, struct cfg **ret_cfg)
{
	if (r == 0 && !c->tree.broken)
		r = cfg_walk(c);
	cfg_name_keys(c);
	if (r == 0 && c->errors.n)
		r = -EINVAL;
	if (r == -ENOMEM)
		cfg_free(c);
	else
		*ret_cfg = c;
	return r;
}

/* Relative paths of settings start where those of the file do. */
static int add_settings(struct cfg *c, const char *path, const json_t *settings)
{
	struct cfg_source *s = NULL;
	if (!json_object_size(settings))
		return 0;
	if (c->n_sources == CFG_MAX_SOURCES) {
		cfg_note(&c->errors, &(struct cfg_mark){ .source = c->sources[0] }, "conf.d: too many files");
		return -E2BIG;
	}
	int r = source_add(c, path, true, &s);
	if (r < 0)
		return r;
	free(s->name);
	s->name = text_dup(TEXT("settings of the store"));
	c->settings = s;
	return s->name ? cfg_tree_under(&c->tree, s, settings) : -ENOMEM;
}

int cfg_load_over(const char *path, const struct cfg_root *root, const json_t *settings, struct cfg **ret_cfg)
{
	struct cfg *c = cfg_new(root);
	if (!c)
		return -ENOMEM;
	int r = add_file(c, path);
	if (r == 0)
		r = add_conf_d(c, path);
	if (r == 0)
		r = add_settings(c, path, settings);
	return finish(c, r, ret_cfg);
}

int cfg_load(const char *path, const struct cfg_root *root, struct cfg **ret_cfg)
{
	return cfg_load_over(path, root, NULL, ret_cfg);
}

int cfg_load_text(struct text yaml, const char *name, const struct cfg_root *root, struct cfg **ret_cfg)
{
	struct cfg_source *s = NULL;
	struct cfg *c = cfg_new(root);
	if (!c)
		return -ENOMEM;
	int r = source_add(c, name, false, &s);
	if (r == 0 && yaml.n > CFG_MAX_FILE) {
		cfg_note(&c->errors, &(struct cfg_mark){ .source = s }, "larger than %d MiB: this is not a configuration",
			 CFG_MAX_FILE >> 20);
		r = -EFBIG;
	} else if (r == 0) {
		r = cfg_tree_add(&c->tree, s, yaml);
	}
	return finish(c, r, ret_cfg);
}

const void *cfg_values(const struct cfg *c)
{
	return c->values;
}

/* ---- places ---- */

/* Takes the next step of "turn.users[2].name" off the path; an index comes as "[2]". */
static struct text next_step(struct text *path)
{
	size_t i = 0;
	if (path->n && path->p[0] == '.')
		*path = text_drop(*path, 1);
	while (i < path->n && path->p[i] != '.' && (path->p[i] != '[' || i == 0))
		i++;
	struct text step = { path->p, i };
	*path = text_drop(*path, i);
	return step;
}

static struct cfg_node *take_step(const struct cfg_node *at, struct text step)
{
	if (step.n > 2 && step.p[0] == '[' && at->kind == CFG_NODE_LIST) {
		uint64_t i;
		if (text_u64((struct text){ step.p + 1, step.n - 2 }, &i) < 0)
			return NULL;
		struct cfg_node *n = at->first;
		for (; n && i > 0; i--)
			n = n->next;
		return n;
	}
	struct cfg_node *n = cfg_node_child(at, step);
	char file_key[128];
	struct sb b = sb_init(file_key, sizeof(file_key));
	sb_text(&b, step);
	sb_str(&b, "_file"); /* a secret may have been set by its file */
	return n || b.truncated ? n : cfg_node_child(at, text_of(file_key));
}

/* The node of the path, or NULL; *ret_nearest is the last one on the way, NULL if there is none. */
static const struct cfg_node *find_path(const struct cfg *c, const char *key_path, const struct cfg_node **ret_nearest)
{
	const struct cfg_node *at = c->tree.root;
	struct text path = text_of(key_path);
	*ret_nearest = NULL;
	while (at && path.n) {
		at = take_step(at, next_step(&path));
		if (at)
			*ret_nearest = at;
	}
	return at;
}

const struct cfg_node *cfg_find_path(const struct cfg *c, const char *key_path)
{
	const struct cfg_node *nearest;
	return find_path(c, key_path, &nearest);
}

bool cfg_where(const struct cfg *c, const char *key_path, const char **ret_file, unsigned *ret_line)
{
	const struct cfg_node *n = cfg_find_path(c, key_path);
	if (!n)
		return false;
	*ret_file = n->key_at.source->name;
	*ret_line = n->key_at.line;
	return true;
}

static void _printf_(4, 0) add_note(const struct cfg *c, struct cfg_notes *notes, const char *key_path, const char *fmt,
				    va_list ap)
{
	const struct cfg_node *nearest;
	struct cfg_mark at = { .source = c->n_sources ? c->sources[0] : NULL };
	find_path(c, key_path, &nearest);
	if (nearest)
		at = nearest->kind == CFG_NODE_TEXT ? nearest->at : nearest->key_at;
	struct cfg_error *e = note_v(notes, &at, fmt, ap);
	if (e)
		(void)snprintf(e->key.s, sizeof(e->key.s), "%s", key_path);
}

struct cfg_path cfg_path_under(const char *path, const char *key)
{
	struct cfg_path p;

	(void)snprintf(p.s, sizeof(p.s), "%s.%s", path, key);
	return p;
}

struct cfg_path cfg_path_item(const char *list, size_t i, const char *key)
{
	struct cfg_path p;

	(void)snprintf(p.s, sizeof(p.s), "%s[%zu]%s%s", list, i, *key ? "." : "", key);
	return p;
}

void cfg_add_error(struct cfg *c, const char *key_path, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add_note(c, &c->errors, key_path, fmt, ap);
	va_end(ap);
}

void cfg_add_warning(struct cfg *c, const char *key_path, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add_note(c, &c->warnings, key_path, fmt, ap);
	va_end(ap);
}
