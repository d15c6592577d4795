/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a log again: the files name.log, name.log.1 … of a folder, their last lines or those that came since, with a
 * filter, their bytes, and deleting them. What common/log_file.c writes; nothing here knows a running log.
 *
 * A place in a log is a cursor, "INODE:OFFSET", which holds over rotations as long as the file is there. Blocks on the
 * disk: for a thread of its own, or for the tool.
 */
#pragma once
#include <jansson.h>
#include "common/log.h"

enum {
	LOG_READ_LINES_MAX = 2000,
	LOG_READ_BYTES_MAX = 256 << 10, /* of lines in one answer */
	LOG_READ_CHUNK_MAX = 256 << 10, /* bytes of a file in one answer */
	LOG_READ_SCAN_MAX = 64 << 20,	/* bytes that are looked through for one answer */
	LOG_READ_FILES_MAX = 256,
};

struct log_place {
	const char *dir, *name; /* name: "stile-turn@lab": its files are stile-turn@lab.log, .log.1 … */
};
/* Rows {name, size, modified (unix ms), current}, the newest first. 0 or -errno. */
int log_read_list(const struct log_place *p, json_t **ret_rows);

struct log_query {
	struct log_place place;
	unsigned lines;	      /* at most; 0: 200 */
	const char *match;    /* a part of the line, in any case of letters; NULL: all */
	enum log_level level; /* and heavier; LOG_LVL_TRACE: all */
	const char *after, *before; /* cursors: what came since, or the lines before; at most one of them */
};
/* {rows: [lines, the oldest first], first, next: cursors before the first row and behind the last; lost: the place of
 * `after` is there no more, so this begins at the oldest file; more: there are more on that side}. 0, -EINVAL: a bad cursor,
 * or -errno. */
int log_read_lines(const struct log_query *q, json_t **ret_j);

/* Bytes of one of the files of the list: {name, offset, size (of the file now), data (base64)}. 0, -ENOENT: none of this
 * name. */
struct log_chunk {
	struct log_place place;
	const char *file;
	uint64_t offset;
	size_t n;
};
int log_read_chunk(const struct log_chunk *c, json_t **ret_j);

/* Deletes one file of the list, or with file NULL those last written to before `before` (unix s; 0: all). The current one is
 * emptied, not removed: whoever writes it has it open. {deleted: [names], bytes}. 0, -ENOENT or -errno. */
int log_delete(const struct log_place *p, const char *file, int64_t before, json_t **ret_j);

/* The level of a line, of either format; LOG_LVL_ERROR for what has none (a sanitizer, a library). */
enum log_level log_line_level(const char *line, size_t n);
