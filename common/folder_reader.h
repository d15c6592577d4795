/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a folder that belong to somebody by their names (the relay's connection and data logs): which there are, their bytes, and
 * deleting them. As common/log_reader.h does for a log; but there may be thousands of these, so a list comes in pages and none is
 * kept open.
 *
 * Blocks on the disk: for a thread of its own. Names come from the folder and never from who asks.
 */
#pragma once
#include <jansson.h>
#include "common/defs.h"

enum { FOLDER_PAGE = 1000, FOLDER_CHUNK_MAX = 256 << 10, FOLDER_WRITTEN_S = 24 * 3600 };

struct folder {
	const char *dir;
	bool (*takes)(const char *name); /* is it one of these? */
};
/* Those behind the name `after` (NULL: from the first), by name: {rows: [{name, size, modified (unix ms), current}], next: the last name,
 * if there are more}. current: somebody wrote to it in the last day. 0 or -errno. */
int folder_list(const struct folder *f, const char *after, json_t **ret_j);
/* {name, offset, size, data (base64)}; n 0: as much as goes. 0, -ENOENT, or -errno. */
struct folder_chunk {
	const char *name;
	uint64_t offset;
	size_t n;
};
int folder_read(const struct folder *f, const struct folder_chunk *c, json_t **ret_j);
/* One of them, or with name NULL those that nobody wrote to since `before` (unix s; 0: all). Current ones are emptied, not removed: their
 * writer has them open. {deleted: [names], bytes}; of more than 10000 names only these. 0, -ENOENT, or -errno. */
int folder_delete(const struct folder *f, const char *name, int64_t before, json_t **ret_j);
