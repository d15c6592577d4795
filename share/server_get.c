/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be had of a share. A transfer reads a file where it is, seals one record at a time, and gives it out as the client takes it.
 *
 * A file that becomes another one while it is sent ends as broken: under one key there is one content.
 *
 * What is sent was opened by the tree; nothing here knows a path of the disk.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "common/bytes.h"
#include "share/server_priv.h"

enum { SCAN_MS = 2000 };

static const char octets[] = "application/octet-stream";

/* ---- meta ---- */

static void look_again(struct share_server *s)
{
	uint64_t now = loop_now(s->o.loop);

	if (!s->o.tree || (s->scanned && now - s->scanned < SCAN_MS))
		return;
	s->scanned = now;
	(void)tree_scan(s->o.tree); /* what cannot be read is not there */
}

static json_t *entry_json(const struct share_rq *q, uint64_t n, const struct tree_entry *e)
{
	char salt[SHARE_HEX_STRLEN], sha[2 * TREE_SHA + 1];
	json_t *o = json_pack("{s:I, s:s, s:I, s:I}", "n", (json_int_t)n, "path", e->shown, "size", (json_int_t)e->size, "mtime", (json_int_t)e->mtime);

	hex_encode(e->salt, SHARE_SALT, salt);
	if (!q->plain)
		json_object_set_new(o, "salt", json_string(salt));
	hex_encode(e->sha, TREE_SHA, sha);
	if (e->has_sha)
		json_object_set_new(o, "sha256", json_string(sha));
	return o;
}

static json_t *meta_json(struct share_rq *q)
{
	struct share_server *s = q->s;
	const char *kind = !s->o.tree ? "upload" : tree_is_dir(s->o.tree) ? "dir" : "file";
	json_t *entries = json_array();
	json_t *o = json_pack("{s:i, s:s, s:s, s:o, s:b, s:b, s:b}", "v", 1, "kind", kind, "name", s->o.name, "entries", entries, "more",
			      s->o.tree && tree_cut(s->o.tree), "once", s->o.once, "encrypted", !q->plain);

	for (size_t i = 0; s->o.tree && i < tree_count(s->o.tree); i++) {
		const struct tree_entry *e = tree_entry(s->o.tree, i);

		if (e)
			json_array_append_new(entries, entry_json(q, i, e));
	}
	if (s->o.uploads)
		json_object_set_new(o, "upload", json_pack("{s:I}", "limit", (json_int_t)uploads_room(s->o.uploads)));
	if (s->o.expires)
		json_object_set_new(o, "expires", json_integer((json_int_t)s->o.expires));
	return o;
}

static void get_meta(struct share_rq *q)
{
	if (q->s->claimed && !share_claim(q))
		return;
	look_again(q->s);
	share_answer_json(q, 200, meta_json(q));
}

/* ---- pieces ---- */

/* The record that holds at, into buf; at stands somewhere in it. */
static int fill_record(struct share_rq *q)
{
	uint64_t number = q->at / RECORD_SIZE, first = number * RECORD_PLAIN, n = MIN(q->plain_size - first, (uint64_t)RECORD_PLAIN);
	size_t got = 0;

	while (got < n) {
		ssize_t r = pread(q->fd, q->buf + got, n - got, (off_t)(first + got));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -ESTALE;
		got += (size_t)r;
	}
	if (!tree_same(&q->was, q->fd))
		return -ESTALE;
	q->buf_pos = q->at % RECORD_SIZE;
	q->buf_n = got + RECORD_TAG;
	return share_records_seal(q->ctx, (uint32_t)number, number + 1 == share_records_count(q->plain_size), q->buf, got, q->buf);
}

static int fill_plain(struct share_rq *q)
{
	ssize_t r = pread(q->fd, q->buf, MIN(q->end - q->at, (uint64_t)RECORD_PLAIN), (off_t)q->at);

	if (r <= 0 || !tree_same(&q->was, q->fd))
		return r < 0 ? -errno : -ESTALE;
	q->buf_pos = 0;
	q->buf_n = (size_t)r;
	return 0;
}

/* A piece of the archive: the record's number says nothing of its length, so that the last one is known only when there is no more. */
static int fill_archive(struct share_rq *q)
{
	size_t got = q->ahead;

	if (got)
		q->buf[0] = q->buf[RECORD_SIZE]; /* the byte that was read ahead */
	q->ahead = 0;
	while (got < RECORD_PLAIN) {
		ssize_t r = share_archive_read(q->archive, q->buf + got, RECORD_PLAIN - got);

		if (r < 0)
			return (int)r;
		if (r == 0)
			break;
		got += (size_t)r;
	}
	if (got == RECORD_PLAIN) {
		ssize_t r = share_archive_read(q->archive, q->buf + RECORD_SIZE, 1);

		if (r < 0)
			return (int)r;
		q->ahead = (size_t)r;
	}
	q->last = !q->ahead;
	q->buf_pos = 0;
	q->buf_n = got;
	if (q->plain)
		return 0;
	q->buf_n += RECORD_TAG;
	return share_records_seal(q->ctx, q->number++, q->last, q->buf, got, q->buf);
}

static int fill(struct share_rq *q)
{
	if (q->archive)
		return fill_archive(q);
	return q->plain ? fill_plain(q) : fill_record(q);
}

static const char *name_of(const struct share_rq *q)
{
	const struct tree_entry *e = q->archive ? NULL : tree_entry(q->s->o.tree, q->n);

	return e ? e->shown : q->s->o.name;
}

static void begun(struct share_rq *q)
{
	q->transfer = true;
	q->s->counts.transfers++;
	share_tell(q, SHARE_BEGUN, name_of(q),
		   q->plain ? q->at : q->at / RECORD_SIZE * RECORD_PLAIN, q->plain_size);
}

static void given(struct share_rq *q)
{
	struct share_server *s = q->s;
	uint64_t whole = q->archive ? q->at : q->plain_size;

	q->transfer = false;
	s->counts.transfers--;
	share_tell(q, SHARE_SENT, name_of(q), whole, whole);
	if (q->archive || (!tree_is_dir(s->o.tree) && q->end == q->size))
		share_complete(s);
}

static ssize_t pull(struct httpd_rq *rq, uint8_t *p, size_t n, void *arg)
{
	struct share_rq *q = arg;
	size_t part;

	(void)rq;
	if (q->buf_pos == q->buf_n && !(q->archive ? q->last : q->at == q->end)) {
		int r = fill(q);

		if (r < 0)
			return HTTPD_BROKEN;
	}
	part = MIN(n, q->buf_n - q->buf_pos);
	if (!q->archive)
		part = (size_t)MIN((uint64_t)part, q->end - q->at);
	if (!part) {
		if (q->transfer)
			given(q);
		return HTTPD_END;
	}
	memcpy(p, q->buf + q->buf_pos, part);
	q->buf_pos += part;
	q->at += part;
	q->s->counts.sent += part;
	if (!q->archive && q->at == q->end && q->transfer)
		given(q); /* of a known length the end is not asked for */
	return (ssize_t)part;
}

static const struct httpd_source source = { .pull = pull };

static void begin(struct share_rq *q, unsigned status, const char *type, uint64_t n)
{
	q->buf = malloc(RECORD_SIZE + 1);
	if (!q->buf) {
		share_answer(q, 503, "busy", "the other side is short of memory");
		return;
	}
	if (q->archive && !q->plain) { /* its salt is in front */
		memcpy(q->buf, q->salt, SHARE_SALT);
		q->buf_n = SHARE_SALT;
	}
	if (!q->head)
		begun(q);
	httpd_reply_stream(q->rq, status, type, n, &source);
}

/* Nothing is pulled of it: it is all given. */
static void give_empty(struct share_rq *q, const char *type)
{
	if (!q->head) {
		begun(q);
		given(q);
	}
	httpd_reply(q->rq, 200, type, (struct text){ 0 });
}

/* ---- an entry ---- */

static bool open_entry(struct share_rq *q)
{
	struct tree *t = q->s->o.tree;
	int r = tree_entry(t, q->n) ? tree_open_entry(t, q->n, &q->fd, &q->was) : -ENOENT;

	if (r == -ESTALE && q->plain)
		r = tree_open_entry(t, q->n, &q->fd, &q->was);
	if (r == 0)
		return true;
	if (r == -ESTALE)
		share_answer(q, 412, "changed", "the file has changed since the list was made");
	else if (r == -ENOENT || r == -EACCES)
		share_answer(q, 410, "gone", "the file is not there any more, or cannot be read");
	else
		share_answer(q, 503, "busy", "the other side cannot open the file now");
	return false;
}

static void send_entry(struct share_rq *q, const char *type)
{
	const struct tree_entry *e = tree_entry(q->s->o.tree, q->n);
	const char *if_range = httpd_field(q->rq, "If-Range"), *range = httpd_field(q->rq, "Range");
	char tag[SHARE_HEX_STRLEN];
	enum share_range part = SHARE_RANGE_ALL;
	uint64_t n;

	hex_encode(e->salt, SHARE_SALT, tag);
	q->plain_size = e->size;
	q->size = q->plain ? e->size : share_records_size(e->size);
	q->at = 0;
	n = q->size;
	if (range && (!if_range || share_tag_matches(text_of(if_range), tag)))
		part = share_range(text_of(range), q->size, &q->at, &n);
	httpd_add(q->rq, "ETag", "\"%s\"", tag);
	httpd_add(q->rq, "Accept-Ranges", "bytes");
	httpd_add(q->rq, "Cache-Control", "no-store");
	if (part == SHARE_RANGE_NOT) {
		httpd_add(q->rq, "Content-Range", "bytes */%llu", (unsigned long long)q->size);
		share_answer(q, 416, NULL, "the file is not that long");
		return;
	}
	q->end = q->at + n;
	if (part == SHARE_RANGE_PART)
		httpd_add(q->rq, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)q->at, (unsigned long long)q->end - 1,
			  (unsigned long long)q->size);
	if (!q->plain && share_records_of(q->s->o.code->secret, e->salt, "file", true, &q->ctx) < 0)
		share_answer(q, 503, "busy", "the other side is short of memory");
	else if (n == 0)
		give_empty(q, type);
	else
		begin(q, part == SHARE_RANGE_PART ? 206 : 200, type, n);
}

static void get_entry(struct share_rq *q)
{
	q->n = q->w.number;
	if (share_claim(q) && open_entry(q))
		send_entry(q, octets);
}

/* RFC 6266 and RFC 8187: a name of any letters. */
static void add_disposition(struct share_rq *q, const char *name, const char *ending)
{
	static const char hex[] = "0123456789ABCDEF", plain[] = "-._";
	char out[3 * SHARE_NAME_MAX + 1];
	struct sb b = sb_init(out, sizeof(out));
	const char *slash = strrchr(name, '/');

	for (const char *p = slash ? slash + 1 : name; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if ((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || strchr(plain, c)) {
			sb_char(&b, *p);
		} else {
			sb_char(&b, '%');
			sb_char(&b, hex[c >> 4]);
			sb_char(&b, hex[c & 15]);
		}
	}
	httpd_add(q->rq, "Content-Disposition", "attachment; filename*=UTF-8''%s%s", out, ending);
	httpd_add(q->rq, "X-Content-Type-Options", "nosniff");
}

static void get_plain_file(struct share_rq *q)
{
	const struct tree_entry *e;

	look_again(q->s);
	e = tree_named(q->s->o.tree, q->w.rest, &q->n);
	if (!e) {
		share_answer(q, 404, "gone", "there is no such file in this share");
		return;
	}
	if (!share_claim(q) || !open_entry(q))
		return;
	add_disposition(q, e->shown, "");
	send_entry(q, octets);
}

/* ---- its hash ---- */

static void answer_hash(struct share_rq *q)
{
	const struct tree_entry *e = tree_entry(q->s->o.tree, q->n);
	char sha[2 * TREE_SHA + 1];

	if (!e || !e->has_sha) {
		share_answer(q, 410, "gone", "the file is not there any more, or cannot be read");
		return;
	}
	hex_encode(e->sha, TREE_SHA, sha);
	share_answer_json(q, 200, json_pack("{s:s, s:I}", "sha256", sha, "size", (json_int_t)e->size));
}

static void on_hash(struct tree_wait *w, int r)
{
	struct share_rq *q = container_of(w, struct share_rq, hash);

	if (r == -ESTALE)
		share_answer(q, 412, "changed", "the file has changed since the list was made");
	else
		answer_hash(q);
}

static void get_hash(struct share_rq *q)
{
	const struct tree_entry *e = tree_entry(q->s->o.tree, q->w.number);

	q->n = q->w.number;
	if (q->s->claimed && !share_claim(q))
		return;
	if (!e || e->has_sha) {
		answer_hash(q);
		return;
	}
	q->hash = (struct tree_wait){ .n = q->n, .done = on_hash };
	tree_hash(q->s->o.tree, &q->hash);
}

/* ---- a folder as one file ---- */

static void get_archive(struct share_rq *q)
{
	int r;

	if (!tree_is_dir(q->s->o.tree)) {
		share_answer(q, 404, NULL, "this share is one file");
		return;
	}
	if (!share_claim(q))
		return;
	look_again(q->s);
	r = bytes_random(q->salt, sizeof(q->salt));
	if (r == 0)
		r = q->plain ? 0 : share_records_of(q->s->o.code->secret, q->salt, "archive", true, &q->ctx);
	if (r == 0)
		r = share_archive_new(q->s->o.tree, &q->archive);
	if (r < 0) {
		share_answer(q, 503, "busy", "the other side is short of memory");
		return;
	}
	q->plain_size = tree_total(q->s->o.tree);
	if (q->plain)
		add_disposition(q, q->s->o.name, ".zip");
	httpd_add(q->rq, "Cache-Control", "no-store");
	begin(q, 200, q->plain ? "application/zip" : octets, UINT64_MAX);
}

void share_get(struct share_rq *q)
{
	bool meta = q->w.place == SHARE_AT_META || q->w.place == SHARE_AT_PLAIN_META;

	if (!meta && !q->s->o.tree) {
		share_answer(q, 404, "gone", "there is nothing to get in this share, only to send to it");
		return;
	}
	switch (q->w.place) {
	case SHARE_AT_META:
	case SHARE_AT_PLAIN_META: get_meta(q); break;
	case SHARE_AT_ENTRY: get_entry(q); break;
	case SHARE_AT_HASH: get_hash(q); break;
	case SHARE_AT_ARCHIVE:
	case SHARE_AT_PLAIN_ARCHIVE: get_archive(q); break;
	case SHARE_AT_PLAIN_FILE: get_plain_file(q); break;
	default: share_answer(q, 404, NULL, "there is nothing at this address");
	}
}

void share_rq_stop(struct share_rq *q)
{
	if (q->transfer) {
		q->s->counts.transfers--;
		share_tell(q, SHARE_BROKEN, name_of(q), q->plain || q->archive ? q->at : q->at / RECORD_SIZE * RECORD_PLAIN, q->plain_size);
	}
	tree_hash_cancel(&q->hash);
	share_upload_gone(q);
	share_records_free(q->ctx);
	share_archive_free(q->archive);
	if (q->fd >= 0)
		close(q->fd);
	free(q->buf);
}
