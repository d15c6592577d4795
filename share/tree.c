/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a share. Between the look at a file and its opening it may become another one: what was opened is looked at
 * again (fstat), and that counts.
 *
 * The walk is in the order of names, folders in their place.
 */
#include "share/tree.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "common/bytes.h"
#include "common/fd.h"
#include "share/names.h"

enum { HASH_CHUNK = 256 << 10 };

struct tree {
	struct loop *loop;
	int root; /* O_PATH: the folder, or where the file is */
	bool is_dir, cut;
	char name[SHARE_HOST_MAX + 1];
	struct tree_entry *entries;
	size_t n, cap, hint; /* hint: where the next one of a walk most likely is */
	struct list waits; /* in order; the first is being worked on */
	struct timer step;
	EVP_MD_CTX *md;
	int hash_fd;
	uint64_t hash_n, hashed; /* whose, and how much of it */
	struct tree_identity hash_was;
	uint8_t *chunk;
};

/* ---- opening ---- */

static int open_below(int root, const char *path, int flags)
{
	int more = flags & O_PATH ? O_CLOEXEC : O_CLOEXEC | O_NONBLOCK | O_NOCTTY; /* a pipe must not hold us up */
	const struct open_how how = { .flags = (uint64_t)(flags | more),
				      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

struct tree_identity tree_identity_of(const struct stat *st)
{
	return (struct tree_identity){ .dev = st->st_dev, .ino = st->st_ino, .size = st->st_size, .mtime = st->st_mtim, .ctime = st->st_ctim };
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_same(const struct tree_identity *a, const struct stat *st)
{
	return a->dev == st->st_dev && a->ino == st->st_ino && a->size == st->st_size && same_time(&a->mtime, &st->st_mtim) &&
	       same_time(&a->ctime, &st->st_ctim);
}

/* A file that is another one than before gets another salt: no key ever meets two contents. */
static int note(struct tree_entry *e, const struct stat *st)
{
	int r = bytes_random(e->salt, sizeof(e->salt));

	e->identity = tree_identity_of(st);
	e->size = (uint64_t)st->st_size;
	e->mtime = st->st_mtim.tv_sec;
	e->has_sha = false;
	return r;
}

/* ---- the walk ---- */

static struct tree_entry *entry_of_path(struct tree *t, const char *path)
{
	for (size_t i = 0; i < t->n; i++) {
		size_t at = (t->hint + i) % t->n;

		if (strcmp(t->entries[at].path, path) == 0) {
			t->hint = at + 1;
			return &t->entries[at];
		}
	}
	return NULL;
}

static int add(struct tree *t, const char *path, const struct stat *st)
{
	struct tree_entry *e = entry_of_path(t, path);
	char shown[TREE_PATH_MAX];

	if (e) {
		e->there = true;
		return is_same(&e->identity, st) ? 0 : note(e, st);
	}
	if (t->n == TREE_ENTRIES_MAX) {
		t->cut = true;
		return 0;
	}
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 16;
		struct tree_entry *grown = realloc(t->entries, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		t->entries = grown;
		t->cap = cap;
	}
	share_name_show(text_of(path), shown, sizeof(shown));
	e = &t->entries[t->n];
	*e = (struct tree_entry){ .path = strdup(path), .shown = strdup(shown), .there = true };
	if (!e->path || !e->shown || note(e, st) < 0) {
		free(e->path);
		free(e->shown);
		return -ENOMEM;
	}
	t->n++;
	return 0;
}

static int walk(struct tree *t, const char *path, unsigned depth);

/* What cannot be looked at is left out: it could not be served either. */
static int look(struct tree *t, const char *path, unsigned depth)
{
	struct stat st;
	int fd = open_below(t->root, path, O_PATH), r;

	if (fd < 0)
		return fd == -ENFILE || fd == -EMFILE ? fd : 0;
	r = fstat(fd, &st) < 0 ? -errno : 0;
	close(fd);
	if (r == 0 && S_ISREG(st.st_mode))
		return add(t, path, &st);
	if (r == 0 && S_ISDIR(st.st_mode) && depth < TREE_DEPTH_MAX)
		return walk(t, path, depth + 1);
	t->cut |= r == 0 && S_ISDIR(st.st_mode);
	return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_member(const struct dirent *d)
{
	return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static int walk(struct tree *t, const char *path, unsigned depth)
{
	struct dirent **names = NULL;
	int fd = open_below(t->root, path, O_RDONLY | O_DIRECTORY), n, r = 0;

	if (fd < 0)
		return 0;
	n = scandirat(fd, ".", &names, is_member, by_name);
	close(fd);
	for (int i = 0; i < n; i++) {
		char below[TREE_PATH_MAX];
		int len = snprintf(below, sizeof(below), "%s%s%s", depth ? path : "", depth ? "/" : "", names[i]->d_name);

		if (r == 0 && !(t->cut && t->n == TREE_ENTRIES_MAX) && len < (int)sizeof(below))
			r = look(t, below, depth);
		free(names[i]);
	}
	free(names);
	return r;
}

int tree_scan(struct tree *t)
{
	int r;

	for (size_t i = 0; i < t->n; i++)
		t->entries[i].there = false;
	t->cut = false;
	if (t->is_dir)
		r = walk(t, ".", 0);
	else
		r = t->n ? look(t, t->entries[0].path, 0) : 0;
	return r;
}

/* ---- life ---- */

static int refuse(char *err, size_t err_n, int r, const char *path, const char *why)
{
	(void)snprintf(err, err_n, "%s: %s", path, why);
	return r;
}

static int open_file(struct tree *t, const char *full, const struct stat *st)
{
	char dir[PATH_MAX], base[PATH_MAX];
	const char *name;

	(void)snprintf(dir, sizeof(dir), "%s", full);
	(void)snprintf(base, sizeof(base), "%s", full);
	name = basename(base);
	t->root = open(dirname(dir), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (t->root < 0)
		return -errno;
	return add(t, name, st);
}

int tree_open(struct loop *l, const char *path, char *err, size_t err_n, struct tree **ret_t)
{
	_cleanup_(tree_freep) struct tree *t = calloc(1, sizeof(*t));
	char full[PATH_MAX], base[PATH_MAX];
	struct stat st;
	int r;

	if (!t)
		return refuse(err, err_n, -ENOMEM, path, "out of memory");
	t->loop = l;
	t->root = t->hash_fd = -1;
	list_init(&t->waits);
	if (!realpath(path, full) || stat(full, &st) < 0)
		return refuse(err, err_n, -errno, path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return refuse(err, err_n, -EINVAL, path, "is neither a file nor a folder: devices, sockets and pipes cannot be shared");
	if (access(full, R_OK) < 0)
		return refuse(err, err_n, -errno, path, strerror(errno));
	(void)snprintf(base, sizeof(base), "%s", full);
	share_name_show(text_of(basename(base)), t->name, sizeof(t->name));
	t->is_dir = S_ISDIR(st.st_mode);
	if (t->is_dir) {
		t->root = open(full, O_PATH | O_DIRECTORY | O_CLOEXEC);
		r = t->root < 0 ? -errno : tree_scan(t);
	} else {
		r = open_file(t, full, &st);
	}
	if (r < 0)
		return refuse(err, err_n, r, path, strerror(-r));
	*ret_t = steal_ptr(&t);
	return 0;
}

static void end_hash(struct tree *t)
{
	if (t->hash_fd >= 0)
		close(t->hash_fd);
	t->hash_fd = -1;
	EVP_MD_CTX_free(t->md);
	t->md = NULL;
}

struct tree *tree_free(struct tree *t)
{
	if (!t)
		return NULL;
	timer_stop(&t->step);
	end_hash(t);
	for (size_t i = 0; i < t->n; i++) {
		free(t->entries[i].path);
		free(t->entries[i].shown);
	}
	free(t->entries);
	free(t->chunk);
	if (t->root >= 0)
		close(t->root);
	free(t);
	return NULL;
}

/* ---- looking ---- */

bool tree_is_dir(const struct tree *t)
{
	return t->is_dir;
}

const char *tree_name(const struct tree *t)
{
	return t->name;
}

bool tree_cut(const struct tree *t)
{
	return t->cut;
}

size_t tree_count(const struct tree *t)
{
	return t->n;
}

uint64_t tree_total(const struct tree *t)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < t->n; i++)
		sum += t->entries[i].there ? t->entries[i].size : 0;
	return sum;
}

const struct tree_entry *tree_entry(const struct tree *t, uint64_t n)
{
	return n < t->n && t->entries[n].there ? &t->entries[n] : NULL;
}

const struct tree_entry *tree_named(const struct tree *t, struct text shown, uint64_t *ret_n)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->entries[i].there && text_eq(text_of(t->entries[i].shown), shown)) {
			*ret_n = i;
			return &t->entries[i];
		}
	return NULL;
}

int tree_open_entry(struct tree *t, uint64_t n, int *ret_fd, struct tree_identity *ret_was)
{
	struct tree_entry *e = n < t->n ? &t->entries[n] : NULL;
	struct stat st;
	int fd = e ? open_below(t->root, e->path, O_RDONLY) : -ENOENT, r;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		e->there = true;
		if (is_same(&e->identity, &st)) {
			*ret_fd = fd;
			*ret_was = e->identity;
			return 0;
		}
		close(fd);
		r = note(e, &st);
		return r < 0 ? r : -ESTALE;
	}
	if (fd >= 0)
		close(fd);
	if (e && fd != -EMFILE && fd != -ENFILE)
		e->there = false;
	return fd < 0 && fd != -ELOOP ? fd : -ENOENT;
}

bool tree_same(const struct tree_identity *was, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && is_same(was, &st);
}

/* ---- hashes ---- */

static void finish_hash(struct tree *t, struct tree_wait *w, int r)
{
	end_hash(t);
	list_unlink(&w->node);
	if (!list_empty(&t->waits))
		loop_timer_set(t->loop, &t->step, 0);
	w->done(w, r);
}

static int begin_hash(struct tree *t, uint64_t n)
{
	int r = tree_open_entry(t, n, &t->hash_fd, &t->hash_was);

	if (r == -ESTALE)
		r = tree_open_entry(t, n, &t->hash_fd, &t->hash_was);
	if (r < 0)
		return r;
	t->hash_n = n;
	t->hashed = 0;
	t->chunk = t->chunk ? t->chunk : malloc(HASH_CHUNK);
	t->md = EVP_MD_CTX_new();
	return t->chunk && t->md && EVP_DigestInit_ex(t->md, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

static void hash_some(struct timer *timer, uint64_t now)
{
	struct tree *t = container_of(timer, struct tree, step);
	struct tree_wait *w;
	struct tree_entry *e;
	ssize_t got;
	int r = 0;

	(void)now;
	if (list_empty(&t->waits))
		return;
	w = list_entry(t->waits.next, struct tree_wait, node);
	e = w->n < t->n ? &t->entries[w->n] : NULL;
	if (t->md && t->hash_n != w->n)
		end_hash(t); /* of one that nobody waits for any more */
	if (!e || e->has_sha || (!t->md && (r = begin_hash(t, w->n)) < 0)) {
		finish_hash(t, w, e ? r : -ENOENT);
		return;
	}
	got = read(t->hash_fd, t->chunk, HASH_CHUNK);
	if (got < 0 || (got && EVP_DigestUpdate(t->md, t->chunk, (size_t)got) != 1)) {
		finish_hash(t, w, -EIO);
	} else if (got) {
		t->hashed += (uint64_t)got;
		loop_timer_set(t->loop, &t->step, 0);
	} else {
		bool same = tree_same(&t->hash_was, t->hash_fd) && tree_same(&e->identity, t->hash_fd) && t->hashed == e->size;

		e->has_sha = same && EVP_DigestFinal_ex(t->md, e->sha, NULL) == 1;
		finish_hash(t, w, e->has_sha ? 0 : -ESTALE);
	}
}

void tree_hash(struct tree *t, struct tree_wait *w)
{
	t->step.fire = hash_some;
	list_append(&t->waits, &w->node);
	if (!timer_is_set(&t->step))
		loop_timer_set(t->loop, &t->step, 0);
}

void tree_hash_cancel(struct tree_wait *w)
{
	if (w->node.next)
		list_unlink(&w->node);
}
