/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page of a list is picked out of one pass over the folder: of the names behind the cursor the least are kept, so that a folder of any
 * size costs two pages of memory.
 *
 * A file is opened without following a link, and only if it is a plain one.
 */
#include "common/folder_reader.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "common/fd.h"
#include "common/text.h"

enum { NAME = 200, NAMES_MAX = 10000 };

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_current(const struct stat *st)
{
	return time(NULL) - st->st_mtim.tv_sec < FOLDER_WRITTEN_S;
}

/* ---- a page of the list ---- */

struct page { /* the FOLDER_PAGE least names behind the cursor, sorted whenever it is twice as many */
	char *v[2 * FOLDER_PAGE];
	size_t n;
	bool more;
};

static void page_shrink(struct page *p)
{
	qsort(p->v, p->n, sizeof(*p->v), by_name);
	while (p->n > FOLDER_PAGE) {
		free(p->v[--p->n]);
		p->more = true;
	}
}

static void page_free(struct page *p)
{
	for (size_t i = 0; p && i < p->n; i++)
		free(p->v[i]);
	free(p);
}

static int page_fill(struct page *p, const struct folder *f, DIR *d, const char *after)
{
	for (struct dirent *e; (e = readdir(d));) {
		if (strlen(e->d_name) >= NAME || !f->takes(e->d_name) || (after && strcmp(e->d_name, after) <= 0))
			continue;
		if (p->n == ARRAY_LEN(p->v))
			page_shrink(p);
		p->v[p->n] = strdup(e->d_name);
		if (!p->v[p->n])
			return -ENOMEM;
		p->n++;
	}
	page_shrink(p);
	return 0;
}

static json_t *page_rows(const struct page *p, int dir)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < p->n; i++) {
		struct stat st;

		if (fstatat(dir, p->v[i], &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		json_array_append_new(rows, json_pack("{s:s, s:I, s:I, s:b}", "name", p->v[i], "size", (json_int_t)st.st_size, "modified",
						      (json_int_t)st.st_mtim.tv_sec * 1000, "current", is_current(&st)));
	}
	return rows;
}

int folder_list(const struct folder *f, const char *after, json_t **ret_j)
{
	DIR *d = opendir(f->dir);
	struct page *p;
	int r;

	if (!d)
		return -errno;
	p = calloc(1, sizeof(*p));
	r = p ? page_fill(p, f, d, after) : -ENOMEM;
	if (r == 0) {
		*ret_j = json_pack("{s:o}", "rows", page_rows(p, dirfd(d)));
		if (*ret_j && p->more)
			json_object_set_new(*ret_j, "next", json_string(p->v[p->n - 1]));
		r = *ret_j ? 0 : -ENOMEM;
	}
	page_free(p);
	(void)closedir(d);
	return r;
}

/* ---- bytes ---- */

int folder_read(const struct folder *f, const struct folder_chunk *c, json_t **ret_j)
{
	size_t want = MIN(c->n ? c->n : (size_t)FOLDER_CHUNK_MAX, (size_t)FOLDER_CHUNK_MAX);
	_cleanup_(freep) uint8_t *buf = malloc(want);
	_cleanup_(freep) char *out = malloc(BASE64_LEN(want) + 1);
	_cleanup_(closep) int dir = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct stat st;
	ssize_t n;

	if (strchr(c->name, '/') || !f->takes(c->name))
		return -ENOENT;
	if (!buf || !out)
		return -ENOMEM;
	if (dir >= 0)
		fd = openat(dir, c->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	n = pread(fd, buf, want, (off_t)c->offset);
	if (n < 0)
		return -errno;
	base64_encode(buf, (size_t)n, out);
	*ret_j = json_pack("{s:s, s:I, s:I, s:s}", "name", c->name, "offset", (json_int_t)c->offset, "size", (json_int_t)st.st_size, "data", out);
	return *ret_j ? 0 : -ENOMEM;
}

/* ---- deleting ---- */

static int remove_one(int dir, const char *name, const struct stat *st)
{
	_cleanup_(closep) int fd = -1;

	if (!is_current(st))
		return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
	fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd < 0 || ftruncate(fd, 0) < 0 ? -errno : 0;
}

int folder_delete(const struct folder *f, const char *name, int64_t before, json_t **ret_j)
{
	DIR *d = opendir(f->dir);
	json_t *names;
	uint64_t bytes = 0;
	bool found = false;
	int r = 0;

	if (!d)
		return -errno;
	names = json_array();
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		struct stat st;

		if (!f->takes(e->d_name) || (name && strcmp(e->d_name, name) != 0) ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) || (before && st.st_mtim.tv_sec >= before))
			continue;
		found = true;
		r = remove_one(dirfd(d), e->d_name, &st);
		bytes += r == 0 ? (uint64_t)st.st_size : 0;
		if (r == 0 && json_array_size(names) < NAMES_MAX)
			json_array_append_new(names, json_string(e->d_name));
	}
	(void)closedir(d);
	if (r == 0 && name && !found)
		r = -ENOENT;
	if (r < 0) {
		json_decref(names);
		return r;
	}
	*ret_j = json_pack("{s:o, s:I}", "deleted", names, "bytes", (json_int_t)bytes);
	return *ret_j ? 0 : -ENOMEM;
}
