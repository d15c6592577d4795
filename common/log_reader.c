/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set is the log's files, opened once for each question: a rotation meanwhile changes names, not what is open. Names
 * come from the folder and never from who asks, so nobody reads another file by a name with a slash.
 *
 * Backwards a file is read in blocks from its end; forwards from the cursor's byte, which always begins a line.
 */
#include "common/log_reader.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/fd.h"

enum { BLOCK = 64 << 10, NAME = 200, LINES_DEFAULT = 200 };

struct log_one {
	char name[NAME];
	unsigned number; /* 0: the current one */
	int fd;
	uint64_t inode, size;
	int64_t modified_ms;
};
struct log_set {
	struct log_one *v; /* the newest first */
	size_t n;
};

/* ---- the files ---- */

static void set_close(struct log_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		close(s->v[i].fd);
	free(s->v);
	*s = (struct log_set){ 0 };
}

/* "stile-turn.log", "stile-turn.log.12": 0 and its number. */
static int number_of(const struct log_place *p, const char *file, unsigned *ret_n)
{
	size_t n = strlen(p->name);
	uint64_t v;

	if (strncmp(file, p->name, n) != 0 || strncmp(file + n, ".log", 4) != 0)
		return -EINVAL;
	file += n + 4;
	*ret_n = 0;
	if (!*file)
		return 0;
	if (*file != '.' || text_u64(text_of(file + 1), &v) < 0 || v == 0 || v > 100000)
		return -EINVAL;
	*ret_n = (unsigned)v;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const struct log_one *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int open_one(int dir, const char *file, struct log_one *ret_o)
{
	_cleanup_(closep) int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	ret_o->inode = st.st_ino;
	ret_o->size = (uint64_t)st.st_size;
	ret_o->modified_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	(void)snprintf(ret_o->name, sizeof(ret_o->name), "%s", file);
	ret_o->fd = steal_fd(&fd);
	return 0;
}

/* A file that cannot be opened, for it has gone meanwhile, is left out; unless none can. */
static int set_open(const struct log_place *p, struct log_set *ret_s)
{
	struct log_set s = { 0 };
	DIR *d = opendir(p->dir);
	int why = 0;

	if (!d)
		return -errno;
	s.v = calloc(LOG_READ_FILES_MAX, sizeof(*s.v));
	for (struct dirent *e; s.v && s.n < LOG_READ_FILES_MAX && (e = readdir(d));) {
		struct log_one *o = &s.v[s.n];
		int k = strlen(e->d_name) < NAME ? number_of(p, e->d_name, &o->number) : -EINVAL;

		if (k < 0)
			continue;
		k = open_one(dirfd(d), e->d_name, o);
		s.n += k == 0;
		why = k < 0 ? k : why;
	}
	(void)closedir(d);
	if (!s.v)
		return -ENOMEM;
	if (s.n == 0 && why < 0) {
		set_close(&s);
		return why;
	}
	qsort(s.v, s.n, sizeof(*s.v), by_number);
	*ret_s = s;
	return 0;
}

int log_read_list(const struct log_place *p, json_t **ret_rows)
{
	_cleanup_(set_close) struct log_set s = { 0 };
	json_t *rows;
	int r = set_open(p, &s);

	if (r < 0)
		return r;
	rows = json_array();
	for (size_t i = 0; i < s.n; i++)
		json_array_append_new(rows, json_pack("{s:s, s:I, s:I, s:b}", "name", s.v[i].name, "size", (json_int_t)s.v[i].size, "modified",
						      (json_int_t)s.v[i].modified_ms, "current", s.v[i].number == 0));
	*ret_rows = rows;
	return 0;
}

/* ---- lines ---- */

/* "2026-… info turn.alloc.created …", or JSON with "level":"info". */
enum log_level log_line_level(const char *line, size_t n)
{
	static const char key[] = "\"level\":\"";
	const char *p = n && line[0] == '{' ? memmem(line, n, key, sizeof(key) - 1) : memchr(line, ' ', n), *end = line + n, *stop;
	enum log_level l;

	if (!p)
		return LOG_LVL_ERROR;
	p += line[0] == '{' ? sizeof(key) - 1 : 1;
	for (stop = p; stop < end && *stop >= 'a' && *stop <= 'z'; stop++)
		continue;
	return log_level_parse((struct text){ p, (size_t)(stop - p) }, &l) < 0 ? LOG_LVL_ERROR : l;
}

static bool holds(const char *line, size_t n, const char *match)
{
	size_t k = strlen(match);

	for (size_t i = 0; i + k <= n; i++)
		if (strncasecmp(line + i, match, k) == 0)
			return true;
	return false;
}

static bool is_wanted(const struct log_query *q, const char *line, size_t n)
{
	if (q->level < LOG_LVL_TRACE && log_line_level(line, n) > q->level)
		return false;
	return !q->match || !*q->match || holds(line, n, q->match);
}

/* A line that is no UTF-8 is shown with question marks. */
static json_t *line_json(const char *line, size_t n)
{
	json_t *j = json_stringn(line, n);
	char *copy = j ? NULL : strndup(line, n);

	for (char *c = copy; c && *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	if (copy)
		j = json_string(copy);
	free(copy);
	return j;
}

struct answer {
	const struct log_query *q;
	unsigned lines; /* that it may have */
	json_t *rows;	/* backwards: the newest first */
	size_t bytes;
	uint64_t scanned;
	bool full;
};

/* False: no more fit. */
static bool take(struct answer *a, const char *line, size_t n)
{
	if (n == 0 || !is_wanted(a->q, line, n))
		return true;
	if (json_array_size(a->rows) >= a->lines || (a->bytes && a->bytes + n > LOG_READ_BYTES_MAX)) {
		a->full = true;
		return false;
	}
	a->bytes += n;
	json_array_append_new(a->rows, line_json(line, MIN(n, (size_t)LOG_LINE_MAX)));
	return true;
}

struct place {
	size_t file; /* in the set */
	uint64_t at;
};

static json_t *cursor_json(const struct log_set *s, const struct place *p)
{
	return s->n ? json_sprintf("%llu:%llu", (unsigned long long)s->v[p->file].inode, (unsigned long long)p->at) : json_string("");
}

/* 0, -EINVAL, or -ESTALE: that file is there no more, or was emptied. */
static int cursor_parse(const struct log_set *s, const char *cursor, struct place *ret_p)
{
	struct text at = text_of(cursor), inode = text_cut(&at, ':');
	uint64_t i, offset;

	if (!at.p || text_u64(inode, &i) < 0 || text_u64(at, &offset) < 0)
		return -EINVAL;
	for (size_t k = 0; k < s->n; k++)
		if (s->v[k].inode == i && s->v[k].size >= offset) {
			*ret_p = (struct place){ k, offset };
			return 0;
		}
	return -ESTALE;
}

/* From p on, whole lines only: what has no newline yet is being written. Moves p behind what was taken. */
static int forwards_in_file(struct answer *a, const struct log_one *f, struct place *p, char *buf)
{
	while (p->at < f->size && !a->full && a->scanned < LOG_READ_SCAN_MAX) {
		ssize_t n = pread(f->fd, buf, BLOCK, (off_t)p->at);
		const char *line = buf, *nl;

		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		for (; (nl = memchr(line, '\n', (size_t)(buf + n - line))); line = nl + 1)
			if (!take(a, line, (size_t)(nl - line)))
				break;
		if (line == buf && (a->full || n < BLOCK))
			return 0;
		n = line == buf ? n : line - buf; /* a line without an end fills the block: passed over */
		p->at += (uint64_t)n;
		a->scanned += (uint64_t)n;
	}
	return 0;
}

static int forwards(struct answer *a, const struct log_set *s, struct place *p, char *buf)
{
	for (;;) {
		int r = forwards_in_file(a, &s->v[p->file], p, buf);

		if (r < 0 || a->full || a->scanned >= LOG_READ_SCAN_MAX || p->file == 0)
			return r;
		*p = (struct place){ p->file - 1, 0 }; /* the next newer one */
	}
}

/* Lines that end before p->at, the last first; moves p before what was taken. Partial: a line's end that the block before
 * it will complete. */
static int backwards_in_file(struct answer *a, const struct log_one *f, struct place *p, char *buf)
{
	while (p->at > 0 && !a->full && a->scanned < LOG_READ_SCAN_MAX) {
		uint64_t from = p->at > BLOCK ? p->at - BLOCK : 0;
		ssize_t n = pread(f->fd, buf, (size_t)(p->at - from), (off_t)from);
		const char *end, *nl;

		if (n < 0)
			return -errno;
		if ((uint64_t)n < p->at - from) /* it was emptied */
			return 0;
		for (end = buf + n; end > buf; end = nl ? nl + 1 : buf) {
			const char *stop = end[-1] == '\n' ? end - 1 : end;
			nl = memrchr(buf, '\n', (size_t)(stop - buf));
			if (!nl && from > 0 && end < buf + n)
				break; /* it begins in an earlier block */
			const char *line = nl ? nl + 1 : buf;
			if (!take(a, line, (size_t)(stop - line)))
				break;
		}
		a->scanned += (uint64_t)(buf + n - end);
		p->at = from + (uint64_t)(end - buf);
	}
	return 0;
}

static int backwards(struct answer *a, const struct log_set *s, struct place *p, char *buf)
{
	for (;;) {
		int r = backwards_in_file(a, &s->v[p->file], p, buf);

		if (r < 0 || a->full || a->scanned >= LOG_READ_SCAN_MAX || p->file + 1 >= s->n)
			return r;
		p->file++;
		p->at = s->v[p->file].size;
	}
}

static void turn_round(json_t *rows)
{
	size_t n = json_array_size(rows);

	for (size_t i = 0; i < n / 2; i++) {
		json_t *a = json_incref(json_array_get(rows, i)), *b = json_incref(json_array_get(rows, n - 1 - i));
		json_array_set_new(rows, i, b);
		json_array_set_new(rows, n - 1 - i, a);
	}
}

/* The end of the last whole line. */
static uint64_t whole(const struct log_one *f, char *buf)
{
	uint64_t from = f->size > BLOCK ? f->size - BLOCK : 0;
	ssize_t n = pread(f->fd, buf, (size_t)(f->size - from), (off_t)from);
	const char *nl = n > 0 ? memrchr(buf, '\n', (size_t)n) : NULL;

	return nl ? from + (uint64_t)(nl + 1 - buf) : n > 0 && from == 0 ? 0 : f->size;
}

int log_read_lines(const struct log_query *q, json_t **ret_j)
{
	_cleanup_(set_close) struct log_set s = { 0 };
	struct answer a = { .q = q, .lines = q->lines ? MIN(q->lines, (unsigned)LOG_READ_LINES_MAX) : LINES_DEFAULT };
	struct place first = { 0 }, next = { 0 };
	_cleanup_(freep) char *buf = malloc(BLOCK);
	bool lost = false;
	int r = buf ? set_open(&q->place, &s) : -ENOMEM;

	if (r < 0)
		return r;
	a.rows = json_array();
	if (s.n && q->after) {
		r = cursor_parse(&s, q->after, &first);
		lost = r == -ESTALE;
		if (lost)
			first = (struct place){ s.n - 1, 0 };
		next = first;
		r = r == -EINVAL ? r : forwards(&a, &s, &next, buf);
	} else if (s.n) {
		next = (struct place){ 0, whole(&s.v[0], buf) };
		r = q->before ? cursor_parse(&s, q->before, &next) : 0;
		lost = r == -ESTALE;
		first = next;
		r = r == -EINVAL ? r : lost ? 0 : backwards(&a, &s, &first, buf);
		turn_round(a.rows);
	}
	if (r < 0) {
		json_decref(a.rows);
		return r;
	}
	*ret_j = json_pack("{s:o, s:o, s:o, s:b, s:b}", "rows", a.rows, "first", cursor_json(&s, &first), "next", cursor_json(&s, &next), "lost",
			   lost, "more", a.full || a.scanned >= LOG_READ_SCAN_MAX);
	return *ret_j ? 0 : -ENOMEM;
}

/* ---- bytes ---- */

int log_read_chunk(const struct log_chunk *c, json_t **ret_j)
{
	_cleanup_(set_close) struct log_set s = { 0 };
	size_t want = MIN(c->n ? c->n : (size_t)LOG_READ_CHUNK_MAX, (size_t)LOG_READ_CHUNK_MAX), cap = BASE64_LEN(want) + 1;
	_cleanup_(freep) uint8_t *buf = malloc(want);
	_cleanup_(freep) char *out = malloc(cap);
	int r = buf && out ? set_open(&c->place, &s) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < s.n; i++) {
		ssize_t n;

		if (strcmp(s.v[i].name, c->file) != 0)
			continue;
		n = pread(s.v[i].fd, buf, want, (off_t)c->offset);
		if (n < 0)
			return -errno;
		base64_encode(buf, (size_t)n, out);
		*ret_j = json_pack("{s:s, s:I, s:I, s:s}", "name", s.v[i].name, "offset", (json_int_t)c->offset, "size", (json_int_t)s.v[i].size,
				   "data", out);
		return *ret_j ? 0 : -ENOMEM;
	}
	return r < 0 ? r : -ENOENT;
}

/* ---- deleting ---- */

static int delete_one(const char *dir, const struct log_one *f)
{
	char path[1024];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, f->name) >= sizeof(path))
		return -ENAMETOOLONG;
	return (f->number == 0 ? truncate(path, 0) : unlink(path)) < 0 ? -errno : 0;
}

int log_delete(const struct log_place *p, const char *file, int64_t before, json_t **ret_j)
{
	_cleanup_(set_close) struct log_set s = { 0 };
	json_t *names = json_array();
	uint64_t bytes = 0;
	bool found = false;
	int r = set_open(p, &s);

	for (size_t i = 0; r == 0 && i < s.n; i++) {
		if (file ? strcmp(s.v[i].name, file) != 0 : before && s.v[i].modified_ms / 1000 >= before)
			continue;
		found = true;
		r = delete_one(p->dir, &s.v[i]);
		if (r == 0) {
			bytes += s.v[i].size;
			json_array_append_new(names, json_string(s.v[i].name));
		}
	}
	if (r == 0 && file && !found)
		r = -ENOENT;
	if (r < 0) {
		json_decref(names);
		return r;
	}
	*ret_j = json_pack("{s:o, s:I}", "deleted", names, "bytes", (json_int_t)bytes);
	return *ret_j ? 0 : -ENOMEM;
}
