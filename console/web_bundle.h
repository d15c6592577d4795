/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages, as they stand in the program: a table that console/web/build/embed.mjs makes at build time out
 * of what Vite has built. Sorted by path (strcmp). Files under /assets/ have a hash of what they hold in their
 * name and may be kept for ever; the others are asked for again by their ETag.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct web_file {
	const char *path; /* "/", "/assets/index-B3x.js" */
	const char *type; /* Content-Type */
	const char *etag; /* with its quotes */
	const unsigned char *data;
	size_t size;
	const unsigned char *gz; /* the same, gzipped; NULL where that would not be smaller */
	size_t gz_size;
	bool immutable;
};

extern const struct web_file web_files[];
extern const size_t web_files_n;
