/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that forgets (power.h). Of each file there are two: the one that SQLite reads and writes, and the disk's. A
 * write goes to the first, and to the disk's by chance, else into a list that a sync works off and that dies with the process.
 * A file without shared memory (methods of version 1): the store locks its database for itself, so SQLite needs none.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/unit/power.h"

struct write {
	struct write *next;
	sqlite3_int64 at;
	int n; /* -1: the file is cut off here */
	char data[];
};

struct file {
	sqlite3_file base;
	int disk; /* -1: a file that a machine forgets anyway */
	struct write *first, **last;
	sqlite3_file real[]; /* as large as the system's VFS wants it */
};

static sqlite3_vfs *below;
static bool liar;

static struct file *of(sqlite3_file *f)
{
	return (struct file *)f;
}

static sqlite3_file *real_of(sqlite3_file *f)
{
	return of(f)->real;
}

static int reaches_disk(const struct file *f, const struct write *w)
{
	if (w->n < 0)
		return ftruncate(f->disk, w->at) == 0 ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
	return pwrite(f->disk, w->data, (size_t)w->n, w->at) == w->n ? SQLITE_OK : SQLITE_IOERR_WRITE;
}

static int remember(struct file *f, const void *data, int n, sqlite3_int64 at)
{
	struct write *w;
	int r = SQLITE_OK;

	if (f->disk < 0)
		return SQLITE_OK;
	w = malloc(sizeof(*w) + (size_t)(n > 0 ? n : 0));
	if (!w)
		return SQLITE_IOERR_NOMEM;
	*w = (struct write){ .at = at, .n = n };
	if (n > 0)
		memcpy(w->data, data, (size_t)n);
	if (n > 0 && rand() % 3 == 0) /* the kernel felt like it */
		r = reaches_disk(f, w);
	*f->last = w; /* and again at the sync, in its turn */
	f->last = &w->next;
	return r;
}

static void forget(struct file *f)
{
	while (f->first) {
		struct write *w = f->first;

		f->first = w->next;
		free(w);
	}
	f->last = &f->first;
}

static int file_sync(sqlite3_file *v, int flags)
{
	struct file *f = of(v);
	int r = SQLITE_OK;

	(void)flags;
	if (f->disk < 0 || liar)
		return SQLITE_OK;
	for (struct write *w = f->first; w && r == SQLITE_OK; w = w->next)
		r = reaches_disk(f, w);
	forget(f);
	return r;
}

static int file_write(sqlite3_file *v, const void *data, int n, sqlite3_int64 at)
{
	int r = real_of(v)->pMethods->xWrite(real_of(v), data, n, at);

	return r == SQLITE_OK ? remember(of(v), data, n, at) : r;
}

static int file_truncate(sqlite3_file *v, sqlite3_int64 size)
{
	int r = real_of(v)->pMethods->xTruncate(real_of(v), size);

	return r == SQLITE_OK ? remember(of(v), NULL, -1, size) : r;
}

static int file_close(sqlite3_file *v)
{
	forget(of(v));
	if (of(v)->disk >= 0)
		close(of(v)->disk);
	return real_of(v)->pMethods->xClose(real_of(v));
}

/* ---- what only passes through ---- */

static int file_read(sqlite3_file *v, void *data, int n, sqlite3_int64 at)
{
	return real_of(v)->pMethods->xRead(real_of(v), data, n, at);
}

static int file_size(sqlite3_file *v, sqlite3_int64 *ret_n)
{
	return real_of(v)->pMethods->xFileSize(real_of(v), ret_n);
}

static int file_lock(sqlite3_file *v, int level)
{
	return real_of(v)->pMethods->xLock(real_of(v), level);
}

static int file_unlock(sqlite3_file *v, int level)
{
	return real_of(v)->pMethods->xUnlock(real_of(v), level);
}

static int file_reserved(sqlite3_file *v, int *ret_is)
{
	return real_of(v)->pMethods->xCheckReservedLock(real_of(v), ret_is);
}

static int file_control(sqlite3_file *v, int op, void *arg)
{
	return real_of(v)->pMethods->xFileControl(real_of(v), op, arg);
}

static int file_sector(sqlite3_file *v)
{
	return real_of(v)->pMethods->xSectorSize(real_of(v));
}

static int file_character(sqlite3_file *v)
{
	(void)v;
	return 0; /* no write is atomic, and none is in order */
}

static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_reserved,
	.xFileControl = file_control,
	.xSectorSize = file_sector,
	.xDeviceCharacteristics = file_character,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *v, int flags, int *ret_flags)
{
	struct file *f = of(v);
	char disk[256];
	int r;

	(void)vfs;
	*f = (struct file){ .disk = -1, .last = &f->first };
	r = below->xOpen(below, name, f->real, flags, ret_flags);
	if (r != SQLITE_OK)
		return r;
	if (name && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL))) {
		snprintf(disk, sizeof(disk), "%s.disk", name);
		f->disk = open(disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	}
	f->base.pMethods = &methods;
	return SQLITE_OK;
}

void power_begin(bool lies)
{
	static sqlite3_vfs vfs;

	liar = lies;
	below = sqlite3_vfs_find(NULL);
	vfs = *below;
	vfs.zName = "power";
	vfs.szOsFile = (int)sizeof(struct file) + below->szOsFile;
	vfs.xOpen = vfs_open;
	sqlite3_vfs_register(&vfs, 1);
}

/* ---- between two processes ---- */

static void copy(const char *from, const char *to)
{
	char block[65536];
	int in = open(from, O_RDONLY | O_CLOEXEC), out;
	ssize_t n;

	if (in < 0) { /* it is not there, so it is not there */
		unlink(to);
		return;
	}
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	while ((n = read(in, block, sizeof(block))) > 0)
		if (write(out, block, (size_t)n) != n)
			abort();
	close(in);
	close(out);
}

static void each(const char *path, bool to_disk)
{
	static const char *const ends[] = { "", "-wal" };
	char file[200], disk[256];

	for (size_t i = 0; i < 2; i++) {
		snprintf(file, sizeof(file), "%s%s", path, ends[i]);
		snprintf(disk, sizeof(disk), "%s.disk", file);
		copy(to_disk ? file : disk, to_disk ? disk : file);
	}
}

void power_failure(const char *path)
{
	each(path, false);
}

void power_restored(const char *path)
{
	each(path, true);
}
