/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds a file of the pages. The policy lets them load nothing from elsewhere, and lets nobody put them into a frame; the
 * frame that they open themselves is the download.
 * The files are few: they are looked through one after the other.
 */
#include "gateway/page.h"

const char *const page_fields[] = {
	"Content-Security-Policy",
	("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; worker-src 'self'; frame-src 'self'; img-src data:; "
	 "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
	"Referrer-Policy", "no-referrer",
	"X-Content-Type-Options", "nosniff",
	"Cache-Control", "no-cache",
	NULL,
};

const struct page_file *page_find(struct text name)
{
	for (size_t i = 0; i < page_n_files; i++)
		if (text_eq(name, text_of(page_files[i].name)))
			return &page_files[i];
	return NULL;
}
