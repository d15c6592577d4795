/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libarchive writes; we pull. Each step puts one head or one piece of a file in, and what comes out waits in a buffer until it is read.
 *
 * ZIP64 where it is needed: libarchive sees to that.
 * Wire and meaning are in docs/decisions/0024-sharing.md.
 */
#include "share/zip.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { PIECE = 65536 };

struct share_archive {
	struct tree *tree;
	struct archive *zip;
	size_t next; /* entry */
	uint64_t at; /* the one under way */
	int fd;
	struct tree_identity was;
	uint64_t left;
	bool closed;
	char *out; /* what was written and not read yet */
	size_t n, pos, cap;
	char piece[PIECE];
};

static la_ssize_t on_write(struct archive *zip, void *arg, const void *p, size_t n)
{
	struct share_archive *a = arg;

	if (a->pos) {
		memmove(a->out, a->out + a->pos, a->n - a->pos);
		a->n -= a->pos;
		a->pos = 0;
	}
	if (a->n + n > a->cap) {
		char *grown = realloc(a->out, a->n + n);

		if (!grown) {
			archive_set_error(zip, ENOMEM, "out of memory");
			return -1;
		}
		a->out = grown;
		a->cap = a->n + n;
	}
	memcpy(a->out + a->n, p, n);
	a->n += n;
	return (la_ssize_t)n;
}

int share_archive_new(struct tree *t, struct share_archive **ret_a)
{
	struct share_archive *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->tree = t;
	a->fd = -1;
	a->zip = archive_write_new();
	if (!a->zip || archive_write_set_format_zip(a->zip) != ARCHIVE_OK ||
	    archive_write_set_options(a->zip, "zip:compression=store,zip:hdrcharset=UTF-8") < ARCHIVE_WARN ||
	    archive_write_set_bytes_per_block(a->zip, 0) != ARCHIVE_OK || archive_write_open(a->zip, a, NULL, on_write, NULL) != ARCHIVE_OK) {
		share_archive_free(a);
		return -ENOMEM;
	}
	*ret_a = a;
	return 0;
}

struct share_archive *share_archive_free(struct share_archive *a)
{
	if (!a)
		return NULL;
	if (a->zip)
		archive_write_free(a->zip);
	if (a->fd >= 0)
		close(a->fd);
	free(a->out);
	free(a);
	return NULL;
}

static int begin_file(struct share_archive *a)
{
	const struct tree_entry *e = tree_entry(a->tree, a->next);
	struct archive_entry *h;
	char path[TREE_PATH_MAX + 256];
	int r;

	a->at = a->next++;
	if (!e)
		return 0;
	r = tree_open_entry(a->tree, a->at, &a->fd, &a->was);
	if (r == -ESTALE)
		r = tree_open_entry(a->tree, a->at, &a->fd, &a->was);
	if (r < 0)
		return r == -EMFILE || r == -ENFILE ? r : 0; /* it has gone since: it is not in the archive */
	h = archive_entry_new();
	if (!h)
		return -ENOMEM;
	(void)snprintf(path, sizeof(path), "%s/%s", tree_name(a->tree), e->shown);
	archive_entry_update_pathname_utf8(h, path);
	archive_entry_set_size(h, (la_int64_t)e->size);
	archive_entry_set_mtime(h, e->mtime, 0);
	archive_entry_set_filetype(h, AE_IFREG);
	archive_entry_set_perm(h, 0644);
	r = archive_write_header(a->zip, h) < ARCHIVE_WARN ? -EIO : 0;
	archive_entry_free(h);
	a->left = e->size;
	return r;
}

static int put_piece(struct share_archive *a)
{
	ssize_t n = a->left ? read(a->fd, a->piece, MIN(a->left, (uint64_t)PIECE)) : 0;

	if (n < 0 || (a->left && n == 0) || (!a->left && !tree_same(&a->was, a->fd)))
		return n < 0 ? -errno : -ESTALE;
	if (n && archive_write_data(a->zip, a->piece, (size_t)n) != n)
		return -EIO;
	a->left -= (uint64_t)n;
	if (n)
		return 0;
	close(a->fd);
	a->fd = -1;
	return archive_write_finish_entry(a->zip) < ARCHIVE_WARN ? -EIO : 0;
}

static int step(struct share_archive *a)
{
	if (a->fd >= 0)
		return put_piece(a);
	if (a->next < tree_count(a->tree))
		return begin_file(a);
	a->closed = true;
	return archive_write_close(a->zip) < ARCHIVE_WARN ? -EIO : 0;
}

ssize_t share_archive_read(struct share_archive *a, void *p, size_t n)
{
	while (a->n == a->pos && !a->closed) {
		int r = step(a);

		if (r < 0)
			return r;
	}
	n = MIN(n, a->n - a->pos);
	memcpy(p, a->out + a->pos, n);
	a->pos += n;
	return (ssize_t)n;
}
