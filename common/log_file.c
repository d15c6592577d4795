/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log's file: append, rotate by size (name.log → name.log.1 … name.log.<keep>), empty daily at
 * local midnight, and survive a full disk.
 *
 * A failed rotation goes on in the old file; a failed write costs the lines that were in it, which
 * are counted and reported when writing works again, and never leaves half a line. Without a
 * folder it is stderr, unrotated. Knows nothing of threads: the writer in log.c is its one caller.
 */
#include "common/log_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/log_msgs.h"

struct log_file {
	int fd;
	int dir_fd;	/* -1: stderr */
	char name[128]; /* "stile-turn.log" */
	uint64_t size, max_size;
	unsigned keep;
	bool delete_daily, json;
	bool failing; /* the last write failed, and stderr was told */
	int day;      /* local day of the contents, see day_of() */
	uint64_t lost;
};

static atomic_bool any_failing; /* of the one log that a process has; read by everyone */

enum { MODE_FILE = 0640, STDERR_PATIENCE_MS = 1000 };

static int day_of(time_t t)
{
	struct tm tm;
	return localtime_r(&t, &tm) ? tm.tm_year * 366 + tm.tm_yday : 0;
}

static time_t next_midnight(time_t now)
{
	struct tm tm;
	if (!localtime_r(&now, &tm))
		return now + 86400;
	tm.tm_mday++; /* mktime brings it into range and knows summer time */
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	time_t t = mktime(&tm);
	return t > now ? t : now + 86400;
}

/* "stile-turn.log.3"; n 0 is the file itself. */
static const char *numbered(const struct log_file *f, unsigned n, char buf[static NAME_MAX])
{
	struct sb b = sb_init(buf, NAME_MAX);
	sb_str(&b, f->name);
	if (n)
		sb_fmt(&b, ".%u", n);
	return buf;
}

static bool is_log_file(int fd, struct stat *ret_st)
{
	return fstat(fd, ret_st) == 0 && S_ISREG(ret_st->st_mode);
}

/* Opens name.log for appending; -1 and errno. One that root makes belongs to the folder's owner. */
static int open_current(const struct log_file *f, struct stat *ret_st)
{
	int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	struct stat dir;
	int fd = openat(f->dir_fd, f->name, flags);
	if (fd < 0 && errno == ENOENT) {
		fd = openat(f->dir_fd, f->name, flags | O_CREAT | O_EXCL, MODE_FILE);
		if (fd >= 0 && geteuid() == 0 && fstat(f->dir_fd, &dir) == 0 && fchown(fd, dir.st_uid, dir.st_gid) < 0) {
			/* e.g. a file system without owners: then the folder's rules hold */
		}
	}
	if (fd >= 0 && !is_log_file(fd, ret_st)) {
		close(fd);
		errno = EINVAL; /* a FIFO or a device */
		return -1;
	}
	return fd;
}

static int refuse(char *err, size_t err_n, int e, const char *what, const char *path)
{
	struct sb b = sb_init(err, err_n);
	sb_fmt(&b, "log.dir: %s %s: %s%s", what, path, strerror(e),
	       e == EROFS ? "; a unit of systemd's needs ReadWritePaths= for it" : "");
	return -e;
}

static int open_dir(const struct log_config *c, int *ret_fd, char *err, size_t err_n)
{
	int fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return refuse(err, err_n, errno, "cannot open the folder", c->dir);
	if (faccessat(AT_FDCWD, c->dir, W_OK | X_OK, AT_EACCESS) < 0) {
		int e = errno;
		close(fd);
		return refuse(err, err_n, e, "cannot write to the folder", c->dir);
	}
	*ret_fd = fd;
	return 0;
}

int log_check(const struct log_config *c, char *err, size_t err_n)
{
	struct stat st;
	char path[PATH_MAX];
	struct sb b = sb_init(path, sizeof(path));
	int dir_fd = -1, r = 0;
	if (!c->dir || !*c->dir)
		return 0;
	r = open_dir(c, &dir_fd, err, err_n);
	if (r < 0)
		return r;
	sb_fmt(&b, "%s/%s.log", c->dir, c->name);
	if (lstat(path, &st) == 0) {
		if (!S_ISREG(st.st_mode))
			r = refuse(err, err_n, EINVAL, "not a regular file:", path);
		else if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0)
			r = refuse(err, err_n, errno, "cannot write", path);
	}
	close(dir_fd);
	return r;
}

static void drop_old(struct log_file *f, bool (*old)(const struct stat *, int), int today)
{
	char name[NAME_MAX];
	struct stat st;
	/* Beyond keep too: it may have been larger before. */
	for (unsigned i = 1, misses = 0; misses < 3; i++) {
		if (fstatat(f->dir_fd, numbered(f, i, name), &st, AT_SYMLINK_NOFOLLOW) < 0) {
			misses += i > f->keep;
			continue;
		}
		if (old(&st, today))
			unlinkat(f->dir_fd, name, 0);
	}
}

static bool any_day(const struct stat *st, int today)
{
	(void)today;
	return S_ISREG(st->st_mode);
}

static bool earlier_day(const struct stat *st, int today)
{
	return S_ISREG(st->st_mode) && day_of(st->st_mtime) < today;
}

static void empty(struct log_file *f)
{
	if (ftruncate(f->fd, 0) == 0)
		f->size = 0;
}

int log_file_new(const struct log_config *c, time_t now, struct log_file **ret_f, char *err, size_t err_n)
{
	_cleanup_(log_file_freep) struct log_file *f = calloc(1, sizeof(*f));
	struct stat st;
	int r;
	if (!f)
		return refuse(err, err_n, ENOMEM, "cannot open", c->name ? c->name : "the log");
	f->fd = STDERR_FILENO;
	f->dir_fd = -1;
	f->json = c->json;
	if (c->dir && *c->dir) {
		struct sb b = sb_init(f->name, sizeof(f->name));
		sb_fmt(&b, "%s.log", c->name);
		r = open_dir(c, &f->dir_fd, err, err_n);
		if (r < 0)
			return r;
		f->fd = open_current(f, &st);
		if (f->fd < 0 || b.truncated)
			return refuse(err, err_n, b.truncated ? ENAMETOOLONG : errno, "cannot write a log file in", c->dir);
		f->size = (uint64_t)st.st_size;
		f->max_size = c->max_size;
		f->keep = c->keep;
		f->delete_daily = c->delete_daily;
		f->day = day_of(now);
		if (f->delete_daily) {
			drop_old(f, earlier_day, f->day);
			if (f->size && earlier_day(&st, f->day))
				empty(f);
		}
	}
	*ret_f = steal_ptr(&f);
	return 0;
}

struct log_file *log_file_free(struct log_file *f)
{
	if (!f)
		return NULL;
	if (f->dir_fd >= 0)
		close(f->dir_fd);
	if (f->fd >= 0 && f->fd != STDERR_FILENO)
		close(f->fd);
	free(f);
	return NULL;
}

struct log_file *log_file_replace(struct log_file *old, struct log_file *by)
{
	by->lost += old->lost;
	log_file_free(old);
	return by;
}

/* ---- rotation ---- */

static void rotate(struct log_file *f)
{
	char from[NAME_MAX], to[NAME_MAX];
	struct stat st;
	if (f->keep == 0) {
		empty(f);
		return;
	}
	for (unsigned i = f->keep + 1; unlinkat(f->dir_fd, numbered(f, i, to), 0) == 0; i++)
		continue; /* keep was larger before */
	for (unsigned i = f->keep; i > 0; i--)
		renameat(f->dir_fd, numbered(f, i - 1, from), f->dir_fd, numbered(f, i, to));
	int fd = open_current(f, &st);
	if (fd < 0) {
		f->size = 0; /* goes on in the old file, under its new name, and tries again a file later */
		return;
	}
	close(f->fd);
	f->fd = fd;
	f->size = (uint64_t)st.st_size;
}

time_t log_file_daily(struct log_file *f, time_t now)
{
	int today = day_of(now);
	if (!f->delete_daily)
		return 0;
	if (today != f->day) {
		f->day = today;
		drop_old(f, any_day, today);
		empty(f);
	}
	return next_midnight(now);
}

/* ---- writing ---- */

static uint64_t count_lines(const char *p, size_t n)
{
	uint64_t lines = 0;
	for (const char *end = p + n; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++)
		lines++;
	return lines;
}

/* Bytes written: fewer than n only if errno says why. */
static size_t write_all(struct log_file *f, const char *p, size_t n)
{
	size_t done = 0;
	while (done < n) {
		ssize_t k = write(f->fd, p + done, n - done);
		if (k > 0)
			done += (size_t)k;
		else if (k < 0 && errno == EAGAIN && f->dir_fd < 0) {
			struct pollfd wait = { .fd = f->fd, .events = POLLOUT };
			if (poll(&wait, 1, STDERR_PATIENCE_MS) <= 0)
				break;
		} else if (k == 0 || errno != EINTR)
			break;
	}
	return done;
}

static int64_t ms_of(time_t now)
{
	return (int64_t)now * 1000;
}

bool log_is_failing(void)
{
	return atomic_load_explicit(&any_failing, memory_order_relaxed);
}

static void set_failing(struct log_file *f, bool failing)
{
	f->failing = failing;
	atomic_store_explicit(&any_failing, failing, memory_order_relaxed);
}

/* stderr may still work (the journal's disk is often another one): tells it once per failure. */
static void tell_stderr(struct log_file *f, int e, time_t now)
{
	char line[LOG_LINE_MAX + 8];
	if (f->failing || f->dir_fd < 0)
		return;
	const struct log_field fields[] = { LF_STR("file", f->name), LF_ERRNO("error", e), { .type = LF_END } };
	struct sb b = sb_init(line, sizeof(line));
	sb_str(&b, log_file_is_journal() ? log_priority(MSG_LOG_FAILED.level) : "");
	b.n += log_render(line + b.n, sizeof(line) - b.n - 1, &MSG_LOG_FAILED, fields, ms_of(now), f->json);
	sb_char(&b, '\n');
	if (write(STDERR_FILENO, line, b.n) < 0) {
		/* nobody is left to be told; the count goes on */
	}
}

/* Writes whole lines or counts them as lost; a half-written line is taken back. */
static bool put(struct log_file *f, const char *p, size_t n, time_t now)
{
	size_t done = write_all(f, p, n);
	if (done == n) {
		f->size += n;
		set_failing(f, false);
		return true;
	}
	int e = errno;
	const char *nl = done ? memrchr(p, '\n', done) : NULL;
	size_t whole = nl ? (size_t)(nl - p) + 1 : 0;
	struct stat st;
	if (f->dir_fd >= 0 && done > whole && fstat(f->fd, &st) == 0 && st.st_size >= (off_t)(done - whole) &&
	    ftruncate(f->fd, st.st_size - (off_t)(done - whole)) < 0) {
		/* the rest of the line stays: the next one follows it directly */
	}
	f->size += whole;
	f->lost += count_lines(p + whole, n - whole);
	tell_stderr(f, e, now);
	set_failing(f, true);
	return false;
}

static void report_lost(struct log_file *f, time_t now)
{
	char line[LOG_LINE_MAX + 8];
	uint64_t lost = f->lost;
	const struct log_field fields[] = { LF_U64("lines", lost), { .type = LF_END } };
	struct sb b = sb_init(line, sizeof(line));
	if (!lost)
		return;
	sb_str(&b, f->dir_fd < 0 && log_file_is_journal() ? log_priority(MSG_LOG_LOST.level) : "");
	b.n += log_render(line + b.n, sizeof(line) - b.n - 1, &MSG_LOG_LOST, fields, ms_of(now), f->json);
	sb_char(&b, '\n');
	if (put(f, line, b.n, now))
		f->lost = 0;
	else
		f->lost = lost; /* the report itself is not a lost line */
}

void log_file_add_lost(struct log_file *f, uint64_t n)
{
	f->lost += n;
}

/* As much of the lines as the current file takes: at least one line, else up to max_size. */
static size_t fitting(const struct log_file *f, const char *p, size_t n)
{
	uint64_t room = f->max_size > f->size ? f->max_size - f->size : 0;
	if (!f->max_size || n <= room)
		return n;
	const char *nl = room ? memrchr(p, '\n', room) : NULL;
	if (!nl && f->size == 0)
		nl = memchr(p, '\n', n);
	return nl ? (size_t)(nl - p) + 1 : f->size ? 0 : n;
}

void log_file_write(struct log_file *f, const char *lines, size_t n, time_t now)
{
	log_file_daily(f, now);
	report_lost(f, now);
	while (n) {
		size_t part = fitting(f, lines, n);
		if (part == 0) {
			rotate(f);
			if (f->size) /* it could not: better a large file than no line */
				f->size = 0;
			continue;
		}
		put(f, lines, part, now);
		lines += part;
		n -= part;
	}
}

bool log_file_is_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	struct text rest = text_of(env), dev;
	uint64_t d, i;
	struct stat st;
	if (!env || fstat(STDERR_FILENO, &st) < 0)
		return false;
	dev = text_cut(&rest, ':');
	return text_u64(dev, &d) == 0 && rest.p && text_u64(rest, &i) == 0 && d == st.st_dev && i == st.st_ino;
}

const char *log_priority(enum log_level l)
{
	static const char *const prio[LOG_LVL_COUNT] = { "<3>", "<4>", "<6>", "<7>", "<7>" };
	return prio[l];
}
