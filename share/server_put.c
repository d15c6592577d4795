/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What receivers send. As records: POST tells name and size, PUT brings whole records from where the upload stands; each is opened before a
 * byte of it is written. As it is: PUT with its name, whose place in the table of uploads is a hash of name and receiver.
 *
 * A body that breaks off leaves the upload where the last whole record ended; the next PUT goes on there.
 */
#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include "common/bytes.h"
#include "share/server_priv.h"

enum { NAME_BODY_MAX = 8192 };

/* ---- answers ---- */

static unsigned status_of(enum upload_error e)
{
	switch (e) {
	case UPLOAD_LIMIT: return 413;
	case UPLOAD_DISK: return 507;
	case UPLOAD_OFFSET: return 409;
	default: return 503;
	}
}

static uint64_t offset_of(const struct share_rq *q)
{
	uint64_t got = q->up->got;

	if (q->plain)
		return got;
	return q->up->done ? share_records_size(q->up->size) : got / RECORD_PLAIN * RECORD_SIZE + (got % RECORD_PLAIN ? got % RECORD_PLAIN + RECORD_TAG : 0);
}

static void refuse(struct share_rq *q, enum upload_error e)
{
	static const char *const codes[] = { [UPLOAD_LIMIT] = "limit", [UPLOAD_DISK] = "disk", [UPLOAD_MANY] = "busy", [UPLOAD_OFFSET] = "offset",
					     [UPLOAD_FAILED] = "disk" };

	if (q->up)
		httpd_add(q->rq, "Upload-Offset", "%llu", (unsigned long long)offset_of(q));
	share_answer(q, status_of(e), codes[e], upload_error_text(e));
}

static void answer_whole(struct share_rq *q, unsigned status)
{
	char sha[2 * UPLOAD_SHA + 1];

	hex_encode(q->up->sha, UPLOAD_SHA, sha);
	httpd_add(q->rq, "Upload-Offset", "%llu", (unsigned long long)offset_of(q));
	share_answer_json(q, status, json_pack("{s:s, s:I, s:s}", "name", q->up->name, "size", (json_int_t)q->up->size, "sha256", sha));
}

static void answer_offset(struct share_rq *q, unsigned status)
{
	httpd_add(q->rq, "Upload-Offset", "%llu", (unsigned long long)offset_of(q));
	httpd_add(q->rq, "Cache-Control", "no-store");
	httpd_reply(q->rq, status, NULL, (struct text){ 0 });
}

/* It may go from here on. */
static void let_go(struct share_rq *q)
{
	if (q->owns)
		q->up->busy = false;
	q->owns = false;
}

static void finish(struct share_rq *q)
{
	enum upload_error e = upload_finish(q->up);

	let_go(q);
	if (e != UPLOAD_OK) {
		share_answer(q, status_of(e), "disk", uploads_why(q->s->o.uploads));
		return;
	}
	share_tell(q, SHARE_UPLOADED, q->up->name, q->up->size, q->up->size);
	answer_whole(q, 201);
	if (!q->s->o.tree)
		share_complete(q->s);
}

/* ---- the body ---- */

static void write_plain(struct share_rq *q, const uint8_t *p, size_t n)
{
	if (q->error == UPLOAD_OK)
		q->error = upload_write(q->up, p, n);
	q->s->counts.received += n;
}

static void open_record(struct share_rq *q)
{
	uint64_t number = q->up->got / RECORD_PLAIN;
	bool last = number + 1 == share_records_count(q->up->size);

	if (share_records_open(q->ctx, (uint32_t)number, last, q->buf, q->buf_n, q->buf) < 0)
		q->bad = true;
	else
		write_plain(q, q->buf, q->buf_n - RECORD_TAG);
	q->buf_n = 0;
}

/* Of the record that is being gathered: how long it is. */
static size_t record_length(const struct share_rq *q)
{
	return (size_t)MIN(q->up->size - q->up->got, (uint64_t)RECORD_PLAIN) + RECORD_TAG;
}

static size_t on_bytes(struct httpd_rq *rq, const uint8_t *p, size_t n, void *arg)
{
	struct share_rq *q = arg;
	size_t left = n;

	(void)rq;
	if (!q->up)
		return n; /* another connection has taken over */
	if (n > q->expected || q->bad || q->error != UPLOAD_OK)
		q->bad |= n > q->expected;
	else if (q->plain)
		write_plain(q, p, n);
	else
		while (left && !q->bad && q->error == UPLOAD_OK) {
			size_t part = MIN(left, record_length(q) - q->buf_n);

			memcpy(q->buf + q->buf_n, p, part);
			q->buf_n += part;
			p += part;
			left -= part;
			if (q->buf_n == record_length(q))
				open_record(q);
		}
	q->expected -= MIN((uint64_t)n, q->expected);
	if (q->bad)
		share_answer(q, 422, "upload", "what came cannot be opened with the code of this share");
	else if (q->error != UPLOAD_OK)
		refuse(q, q->error);
	return n;
}

static void on_end(struct httpd_rq *rq, void *arg)
{
	struct share_rq *q = arg;

	if (httpd_replied(rq))
		return;
	if (q->buf_n || q->expected) {
		share_answer(q, 400, "upload", "the body is not as long as its Content-Range says, or ends within a record");
	} else if (q->up->got == q->up->size) {
		finish(q);
	} else {
		let_go(q);
		answer_offset(q, 204);
	}
}

static const struct httpd_sink sink = { .on_bytes = on_bytes, .on_end = on_end };

void share_upload_gone(struct share_rq *q)
{
	let_go(q);
}

/* Bytes first … first + n of total, as the client counts. False: answered. */
static bool may_go_on(struct share_rq *q, uint64_t first, uint64_t n, uint64_t total)
{
	uint64_t size = q->plain ? q->up->size : share_records_size(q->up->size);

	if (q->up->busy) { /* its sender knows better: the connection of before is as good as gone */
		struct share_rq *before = q->up->owner;

		let_go(before);
		before->up = NULL;
		share_answer(before, 409, "busy", "this file is being sent by another connection");
	}
	if (total != size || first != offset_of(q) || (httpd_body_length(q->rq) != UINT64_MAX && httpd_body_length(q->rq) != n)) {
		refuse(q, UPLOAD_OFFSET);
		return false;
	}
	return true;
}

static int make_ctx(struct share_rq *q)
{
	int r = share_records_of(q->s->o.code->secret, q->up->salt, "upload", false, &q->ctx);

	q->buf = r == 0 ? malloc(RECORD_SIZE) : NULL;
	return q->buf ? 0 : -ENOMEM;
}

static void take_body(struct share_rq *q, uint64_t first, uint64_t n, uint64_t total)
{
	if (q->up->done) {
		answer_whole(q, 200);
		return;
	}
	if (!may_go_on(q, first, n, total))
		return;
	if (!q->plain && make_ctx(q) < 0) {
		share_answer(q, 503, "busy", "the other side is short of memory");
		return;
	}
	q->up->busy = true;
	q->up->owner = q;
	q->owns = true;
	q->expected = n;
	if (q->up->got == 0)
		share_tell(q, SHARE_UPLOADING, q->up->name, 0, q->up->size);
	httpd_body_stream(q->rq, &sink);
}

static bool content_range(struct share_rq *q, uint64_t *ret_first, uint64_t *ret_n, uint64_t *ret_total)
{
	const char *range = httpd_field(q->rq, "Content-Range");

	if (!range && httpd_body_length(q->rq) != UINT64_MAX) {
		*ret_first = 0;
		*ret_n = *ret_total = httpd_body_length(q->rq);
		return true;
	}
	if (range && share_content_range(text_of(range), ret_first, ret_n, ret_total) == 0)
		return true;
	share_answer(q, 400, "upload", range ? "Content-Range must be: bytes FIRST-LAST/TOTAL" : "say how long it is: Content-Length, or Content-Range");
	return false;
}

/* ---- as records ---- */

static void begin_named(struct share_rq *q, const char *name, uint64_t size)
{
	enum upload_error e = uploads_begin(q->s->o.uploads, q->w.salt, text_of(name), size, &q->up);

	if (e == UPLOAD_FAILED)
		share_answer(q, 503, "disk", uploads_why(q->s->o.uploads));
	else if (e != UPLOAD_OK)
		refuse(q, e);
	else
		answer_offset(q, 201);
}

static void on_name(struct httpd_rq *rq, struct text body, void *arg)
{
	struct share_rq *q = arg;
	json_t *o = NULL, *size, *name;
	char *text;
	size_t n;

	(void)rq;
	if (sealed_open(q->s->o.code->secret, "name", body, &text, &n) == 0) {
		o = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
		free(text);
	}
	name = json_object_get(o, "name");
	size = json_object_get(o, "size");
	if (!json_is_string(name) || !json_is_integer(size) || json_integer_value(size) < 0 ||
	    (uint64_t)json_integer_value(size) > RECORDS_PLAIN_MAX)
		share_answer(q, 422, "upload", "what came cannot be opened with the code of this share, or does not say name and size");
	else
		begin_named(q, json_string_value(name), (uint64_t)json_integer_value(size));
	json_decref(o);
}

static void put_records(struct share_rq *q)
{
	uint64_t first, n, total;
	bool post = text_eq(httpd_method(q->rq), TEXT("POST"));

	q->up = uploads_find(q->s->o.uploads, q->w.salt);
	if (post && !q->up) {
		httpd_body_whole(q->rq, NAME_BODY_MAX, on_name);
	} else if (!q->up) {
		share_answer(q, 404, "upload", "this upload is not known here: begin it again");
	} else if (q->head || post) {
		answer_offset(q, 200);
		q->up = NULL;
	} else if (content_range(q, &first, &n, &total)) {
		take_body(q, first, n, total);
	}
}

/* ---- as it is ---- */

static void place_of(struct share_rq *q, uint64_t total, uint8_t salt[static SHARE_SALT])
{
	const char *receiver = httpd_field(q->rq, "Stile-Receiver");
	char buf[64] = "";
	uint8_t all[SHARE_NAME_MAX + 256], sum[SHA256_DIGEST_LENGTH];
	struct wr w = wr_init(all, sizeof(all));

	if (!receiver && httpd_query_value(httpd_query(q->rq), "r", buf, sizeof(buf)) == 0)
		receiver = buf;
	wr_u64(&w, total);
	wr_bytes(&w, receiver ? receiver : q->client, MIN(strlen(receiver ? receiver : q->client), (size_t)64));
	wr_u8(&w, 0);
	wr_bytes(&w, q->w.rest.p, q->w.rest.n);
	SHA256(all, wr_len(&w), sum);
	memcpy(salt, sum, SHARE_SALT);
}

/* Told of a HEAD: the size by ?size=, for it is part of what a file is known by. */
static uint64_t size_parameter(struct share_rq *q)
{
	char buf[32];
	uint64_t size;

	return httpd_query_value(httpd_query(q->rq), "size", buf, sizeof(buf)) == 0 && text_u64(text_of(buf), &size) == 0 ? size : 0;
}

static void put_plain(struct share_rq *q)
{
	uint64_t first = 0, n = 0, total = 0;
	char name[SHARE_NAME_MAX + 1];
	enum upload_error e = UPLOAD_OK;

	if (q->head)
		total = size_parameter(q);
	else if (!content_range(q, &first, &n, &total))
		return;
	place_of(q, total, q->w.salt);
	q->up = uploads_find(q->s->o.uploads, q->w.salt);
	if (q->head) {
		httpd_add(q->rq, "Upload-Offset", "%llu", (unsigned long long)(q->up ? q->up->got : 0));
		httpd_reply(q->rq, 200, NULL, (struct text){ 0 });
		q->up = NULL;
		return;
	}
	if (q->up && q->up->done && first == 0) { /* the same file once more */
		upload_drop(q->up);
		q->up = NULL;
	}
	(void)snprintf(name, sizeof(name), "%.*s", TEXT_FMT(q->w.rest));
	if (!q->up && total <= RECORDS_PLAIN_MAX)
		e = uploads_begin(q->s->o.uploads, q->w.salt, text_of(name), total, &q->up);
	if (!q->up || e != UPLOAD_OK)
		refuse(q, e == UPLOAD_OK ? UPLOAD_LIMIT : e);
	else
		take_body(q, first, n, total);
}

void share_put(struct share_rq *q)
{
	if (!q->s->o.uploads) {
		share_answer(q, 403, "upload", "this share takes no files");
		return;
	}
	if (!share_claim(q))
		return;
	(q->plain ? put_plain : put_records)(q);
}
