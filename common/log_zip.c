/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libarchive with a client of ours underneath. Names come from file names of logs, which are ASCII; the archive
 * says UTF-8 all the same.
 *
 * The library has its own errors: a failed write of ours comes back as its errno.
 */
#include "common/log_zip.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>

struct log_zip {
	struct archive *a;
	int (*write)(const void *p, size_t n, void *arg);
	void *arg;
};

static int failed(struct log_zip *z)
{
	int e = archive_errno(z->a);

	return e > 0 && e < 4096 ? -e : -EIO;
}

static la_ssize_t on_write(struct archive *a, void *arg, const void *p, size_t n)
{
	struct log_zip *z = arg;
	int r = z->write(p, n, z->arg);

	if (r == 0)
		return (la_ssize_t)n;
	archive_set_error(a, -r, "cannot write");
	return -1;
}

int log_zip_new(int (*write)(const void *p, size_t n, void *arg), void *arg, struct log_zip **ret_z)
{
	_cleanup_(log_zip_freep) struct log_zip *z = calloc(1, sizeof(*z));

	if (!z)
		return -ENOMEM;
	z->write = write;
	z->arg = arg;
	z->a = archive_write_new();
	if (!z->a)
		return -ENOMEM;
	if (archive_write_set_format_zip(z->a) != ARCHIVE_OK || archive_write_set_options(z->a, "hdrcharset=UTF-8") < ARCHIVE_WARN ||
	    archive_write_set_bytes_in_last_block(z->a, 1) != ARCHIVE_OK || archive_write_open(z->a, z, NULL, on_write, NULL) != ARCHIVE_OK)
		return failed(z);
	*ret_z = steal_ptr(&z);
	return 0;
}

struct log_zip *log_zip_free(struct log_zip *z)
{
	if (!z)
		return NULL;
	if (z->a) {
		archive_write_fail(z->a); /* after an end it changes nothing; else nothing more is written */
		archive_write_free(z->a);
	}
	free(z);
	return NULL;
}

int log_zip_begin(struct log_zip *z, const char *name, int64_t modified)
{
	struct archive_entry *e = archive_entry_new();
	int r;

	if (!e)
		return -ENOMEM;
	archive_entry_set_pathname_utf8(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0640);
	archive_entry_set_mtime(e, (time_t)modified, 0);
	r = archive_write_header(z->a, e) < ARCHIVE_WARN ? failed(z) : 0;
	archive_entry_free(e);
	return r;
}

int log_zip_data(struct log_zip *z, const void *p, size_t n)
{
	return n && archive_write_data(z->a, p, n) < 0 ? failed(z) : 0;
}

int log_zip_end(struct log_zip *z)
{
	if (archive_write_finish_entry(z->a) < ARCHIVE_WARN || archive_write_close(z->a) < ARCHIVE_WARN)
		return failed(z);
	return 0;
}
