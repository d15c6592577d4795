/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In place of the pages in a build that had no Node.js or no packages for them (console/web/meson.build chooses): one
 * text that says what is missing and how it is mended. The API is there all the same, so that a server built
 * without the pages can be used from elsewhere and by the tool.
 */
#include "console/web_bundle.h"

#define WORDS "This stile-console was built without its pages: Node.js or the packages that build them were missing.\n\n" \
	      "On the machine that builds it:  tools/install-web && meson setup --reconfigure BUILD && ninja -C BUILD\n\n" \
	      "The API is at /api/v1, and the tool has every command: stile --help\n"

static const unsigned char words[] = WORDS;

const struct web_file web_files[] = {
	{ "/", "text/plain; charset=utf-8", "\"none\"", words, sizeof(words) - 1, NULL, 0, false },
};
const size_t web_files_n = 1;
