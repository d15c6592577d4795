/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file for the sender of a share, which takes some: sealed record by record, and where it breaks off it goes on at what the other side says it
 * has. The salt is new for each call, so the same file sent twice is two files; and a file that is not what it was is sent no further, for a
 * record may have gone already, and goes under one key with one content only.
 *
 * Blocking, one step after the other; what is sent is read from the disk a record at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/get.h"
#include "common/bytes.h"
#include "common/fd.h"
#include "common/json.h"
#include "share/tree.h"

struct sending {
	struct get *g;
	const char *path;
	char name[256], where[48], salt_hex[SHARE_HEX_STRLEN];
	uint8_t salt[SHARE_SALT];
	int fd;
	struct tree_identity was;
	uint64_t size, offset; /* offset: of records */
	struct share_records_ctx *ctx;
	uint8_t buf[RECORD_SIZE];
};

static int fail_at(struct sending *s, const char *why)
{
	share_bar_end(&s->g->bar);
	return cli_fail(s->g->cli, "%s: %s", s->path, why);
}

static int open_file(struct sending *s)
{
	char copy[4096];
	struct stat st;
	int r;

	s->fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (s->fd < 0 || fstat(s->fd, &st) < 0)
		return fail_at(s, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail_at(s, "is no file");
	s->was = tree_identity_of(&st);
	s->size = (uint64_t)st.st_size;
	(void)snprintf(copy, sizeof copy, "%s", s->path);
	(void)snprintf(s->name, sizeof s->name, "%s", basename(copy));
	r = bytes_random(s->salt, sizeof s->salt);
	if (r == 0)
		r = share_records_of(s->g->code.secret, s->salt, "upload", true, &s->ctx);
	hex_encode(s->salt, SHARE_SALT, s->salt_hex);
	(void)snprintf(s->where, sizeof s->where, "u/%s", s->salt_hex);
	return r < 0 ? fail_at(s, strerror(-r)) : 0;
}

static int announce(struct sending *s)
{
	json_t *o = json_pack("{s:s, s:I}", "name", s->name, "size", (json_int_t)s->size);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	uint8_t *sealed = NULL;
	size_t n = 0;
	int r;

	json_decref(o);
	if (!text)
		return fail_at(s, "its name is no UTF-8");
	r = sealed_make(s->g->code.secret, "name", text_of(text), &sealed, &n);
	free(text);
	if (r < 0)
		return fail_at(s, strerror(-r));
	r = get_ask(s->g, &(struct share_ask){ .method = "POST", .path = s->where, .body = sealed, .body_n = n, .has_body = true });
	free(sealed);
	if (r)
		return r;
	if (s->g->http.status != 200 && s->g->http.status != 201)
		return get_fail_status(s->g);
	s->offset = s->g->http.upload_offset;
	return 0;
}

static int ask_offset(struct sending *s)
{
	int r = get_ask(s->g, &(struct share_ask){ .method = "HEAD", .path = s->where });

	if (r)
		return r;
	if (s->g->http.status == 404)
		return announce(s); /* it was started again, and knows nothing of it */
	s->offset = s->g->http.upload_offset;
	return 0;
}

static int put_record(struct sending *s, uint64_t number)
{
	uint64_t at = number * RECORD_PLAIN;
	size_t n = (size_t)MIN(s->size - at, (uint64_t)RECORD_PLAIN), got = 0;

	while (got < n) {
		ssize_t r = pread(s->fd, s->buf + got, n - got, (off_t)(at + got));

		if (r <= 0)
			return fail_at(s, r < 0 ? strerror(errno) : "has become shorter while it was sent");
		got += (size_t)r;
	}
	if (!tree_same(&s->was, s->fd))
		return fail_at(s, "has changed while it was sent");
	if (share_records_seal(s->ctx, (uint32_t)number, number + 1 == share_records_count(s->size), s->buf, n, s->buf) < 0)
		return fail_at(s, "cannot be encrypted");
	return share_http_send(&s->g->http, s->buf, n + RECORD_TAG);
}

/* What is left of it, in one request: 0: there is an answer; -errno: the way was lost; an exit code. */
static int put_rest(struct sending *s)
{
	uint64_t total = share_records_size(s->size), number = s->offset / RECORD_SIZE;
	char fields[120];
	const struct share_ask a = { .method = "PUT", .path = s->where, .fields = fields, .rest = total - s->offset, .has_body = true };
	int r;

	(void)snprintf(fields, sizeof fields, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)s->offset, (unsigned long long)total - 1,
		       (unsigned long long)total);
	r = share_http_begin(&s->g->http, &a);
	for (; r == 0 && number < share_records_count(s->size); number++) {
		r = put_record(s, number);
		s->g->at = MIN((number + 1) * RECORD_PLAIN, s->size);
		get_progress(s->g, false);
	}
	return r ? r : share_http_answer(&s->g->http);
}

static int told(struct sending *s)
{
	json_t *o = get_sealed(s->g);
	char line[700];
	struct sb b = sb_init(line, sizeof line);
	char own[2 * GET_SHA + 1] = "";
	int r = o ? 0 : EXIT_FAILED;

	(void)get_sha(s->fd, s->buf, own);
	if (r == 0 && strcmp(own, text_of_key(o, "sha256")) != 0)
		r = fail_at(s, "arrived with another SHA-256");
	if (r == 0) {
		sb_fmt(&b, "✔ %s  ", s->name);
		sb_size(&b, s->size);
		sb_fmt(&b, "  SHA-256 %s  there as %s", own, text_of_key(o, "name"));
		get_say(s->g, "sent", s->name, s->size, line);
	}
	json_decref(o);
	return r;
}

static int send_it(struct sending *s)
{
	int r = announce(s);

	s->g->what = s->name;
	s->g->size = s->size;
	while (r == 0) {
		r = put_rest(s);
		if (r > 0)
			return r;
		if (r == 0 && (s->g->http.status == 200 || s->g->http.status == 201))
			return told(s);
		if (r == 0 && s->g->http.status != 409 && s->g->http.status != 503 && s->g->http.status != 404)
			return get_fail_status(s->g);
		if (r == 0 && strcmp(s->g->http.error_code, "taken") == 0)
			return get_fail_status(s->g);
		r = get_wait(s->g);
		if (r == 0)
			r = ask_offset(s);
	}
	return r;
}

int get_send(struct get *g, const char *path)
{
	struct sending *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return cli_fail(g->cli, "out of memory");
	s->g = g;
	s->path = path;
	s->fd = -1;
	r = open_file(s);
	if (r == 0)
		r = send_it(s);
	g->what = NULL;
	share_bar_end(&g->bar);
	share_records_free(s->ctx);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
	return r;
}
