/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The browser's pages of a share (gateway/web/), built into the program: the same for stile-gateway and for a share that
 * answers by itself. They hold no secret and nothing of a share; whoever asks may have them.
 * A new file there is a line in gateway/meson.build.
 */
#pragma once
#include "common/text.h"

struct page_file {
	const char *name; /* behind /s/ID/: "" is the page itself */
	const char *type;
	const char *etag; /* with its quotes */
	struct text data;
};
/* NULL: there is none of this name. */
const struct page_file *page_find(struct text name);
/* Fields that every one of them is answered with: name, value, …, NULL. */
extern const char *const page_fields[];

/* Made by gateway/embed.py. */
extern const struct page_file page_files[];
extern const size_t page_n_files;
