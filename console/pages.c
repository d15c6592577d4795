/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is no API: the embedded page and its files, the description of the API, and the two questions of a supervisor.
 *
 * Files are looked up by their whole path in a table that the build made; there is no folder behind it. Those with a hash in
 * their name may be kept for ever, the others are asked for each time and answered with 304.
 */
#include "console/console.h"

#include <stdio.h>
#include <string.h>
#include "console/openapi.h"
#include "console/web_bundle.h"

static const struct web_file *find_file(struct text path)
{
	for (size_t i = 0; i < web_files_n; i++)
		if (text_eq(text_of(web_files[i].path), path))
			return &web_files[i];
	return NULL;
}

/* "gzip, br;q=1": that gzip is named and not by q=0 is all that is asked. */
static bool takes_gzip(struct httpd_rq *rq)
{
	struct text rest = text_of(httpd_field(rq, "Accept-Encoding"));

	while (rest.p) {
		struct text one = text_trim(text_cut(&rest, ','));
		struct text coding = text_trim(text_cut(&one, ';'));

		if (text_ieq(coding, TEXT("gzip")))
			return !(one.p && text_starts(text_trim(one), TEXT("q=0")) && !text_starts(text_trim(one), TEXT("q=0.")));
	}
	return false;
}

void pages_serve(struct console *c, struct httpd_rq *rq)
{
	const struct web_file *f = find_file(httpd_path(rq));
	struct text method = httpd_method(rq);
	const char *known = httpd_field(rq, "If-None-Match");
	bool gzip;

	console_add_headers(c, rq, f != NULL);
	if (!text_eq(method, TEXT("GET")) && !text_eq(method, TEXT("HEAD"))) {
		console_count(c, 405);
		httpd_reply_static(rq, 405, "text/plain; charset=utf-8", TEXT("This is only read.\n"));
		return;
	}
	if (!f) {
		console_count(c, 404);
		httpd_reply_static(rq, 404, "text/plain; charset=utf-8", TEXT("There is no such page.\n"));
		return;
	}
	httpd_add(rq, "ETag", "%s", f->etag);
	httpd_add(rq, "Cache-Control", "%s", f->immutable ? "public, max-age=31536000, immutable" : "no-cache");
	httpd_add(rq, "Vary", "Accept-Encoding");
	if (known && strcmp(known, f->etag) == 0) {
		console_count(c, 304);
		httpd_reply_static(rq, 304, NULL, (struct text){ "", 0 });
		return;
	}
	gzip = f->gz_size > 0 && takes_gzip(rq);
	if (gzip)
		httpd_add(rq, "Content-Encoding", "gzip");
	console_count(c, 200);
	httpd_reply_static(rq, 200, f->type, gzip ? (struct text){ (const char *)f->gz, f->gz_size } : (struct text){ (const char *)f->data, f->size });
}

void openapi_get(struct ask *a)
{
	console_add_headers(a->c, a->rq, false);
	console_count(a->c, 200);
	httpd_reply_static(a->rq, 200, "application/json", (struct text){ (const char *)console_openapi, console_openapi_n });
}

void healthz_get(struct ask *a)
{
	console_add_headers(a->c, a->rq, false);
	console_count(a->c, 200);
	httpd_reply_static(a->rq, 200, "text/plain; charset=utf-8", TEXT("alive\n"));
}

void readyz_get(struct ask *a)
{
	bool ready = backends_ready(a->c->backends) && !a->c->stopping;

	console_add_headers(a->c, a->rq, false);
	console_count(a->c, ready ? 200 : 503);
	httpd_reply_static(a->rq, ready ? 200 : 503, "text/plain; charset=utf-8", ready ? TEXT("ready\n") : TEXT("not ready\n"));
}
