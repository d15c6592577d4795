/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads in both directions. A browser's fields are passed on if they stand in a list and are plain text, once each; so are the
 * share's. All else stays where it came from, above all whatever could be read differently on the two sides (RFC 9112 11.2):
 * a share is asked by HTTP/1.0, so an answer is as long as it says, or until its end.
 */
#include <errno.h>
#include <string.h>
#include "common/head.h"
#include "gateway/transfer.h"

enum { VALUE_MAX = 512, TARGET_MAX = 4096, FIELDS_MAX = 48 };

static const char *const to_share[] = { "Stile-Token", "Stile-Receiver", "Range", "If-Range", "If-None-Match", "Content-Range", "Content-Type" };

enum field { F_LENGTH = 1, F_TYPE, F_TRANSFER, F_RANGE, F_ETAG, F_ACCEPT, F_OFFSET, F_ERROR, F_DISPOSITION, F_RETRY, F_MODIFIED };
static const struct header_row rows[] = {
	{ "Content-Length", 0, HDR_SINGLE, F_LENGTH },
	{ "Content-Type", 0, HDR_SINGLE, F_TYPE },
	{ "Transfer-Encoding", 0, HDR_SINGLE, F_TRANSFER },
	{ "Content-Range", 0, HDR_SINGLE, F_RANGE },
	{ "ETag", 0, HDR_SINGLE, F_ETAG },
	{ "Accept-Ranges", 0, HDR_SINGLE, F_ACCEPT },
	{ "Upload-Offset", 0, HDR_SINGLE, F_OFFSET },
	{ "Stile-Error", 0, HDR_SINGLE, F_ERROR },
	{ "Content-Disposition", 0, HDR_SINGLE, F_DISPOSITION },
	{ "Retry-After", 0, HDR_SINGLE, F_RETRY },
	{ "Last-Modified", 0, HDR_SINGLE, F_MODIFIED },
};
static struct header_table table;

int gateway_heads_init(void)
{
	return header_table_init(&table, rows, ARRAY_LEN(rows));
}

void gateway_heads_deinit(void)
{
	header_table_deinit(&table);
}

static bool is_plain(struct text t, size_t max, char least)
{
	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] < least || t.p[i] > '~')
			return false;
	return t.n <= max;
}

bool gateway_path(struct text path, struct text *ret_id, struct text *ret_rest)
{
	uint64_t number;

	if (!text_starts(path, TEXT("/s/")) || path.n < 3 + GATEWAY_ID)
		return false;
	if (text_hex64((struct text){ path.p + 3, GATEWAY_ID }, &number) < 0)
		return false;
	*ret_id = (struct text){ path.p + 3, GATEWAY_ID };
	*ret_rest = (struct text){ 0 };
	if (path.n == 3 + GATEWAY_ID)
		return true;
	if (path.p[3 + GATEWAY_ID] != '/')
		return false;
	*ret_rest = (struct text){ path.p + 4 + GATEWAY_ID, path.n - 4 - GATEWAY_ID };
	return true;
}

static const char *ask_fields(const struct httpd_rq *rq, struct sb *b)
{
	for (size_t i = 0; i < ARRAY_LEN(to_share); i++) {
		unsigned n = httpd_fields(rq, to_share[i]);
		struct text v = text_of(httpd_field(rq, to_share[i]));

		if (n > 1)
			return "a field of the request is there twice";
		if (n && !is_plain(v, VALUE_MAX, ' '))
			return "a field of the request is not plain text, or too long";
		if (n)
			sb_fmt(b, "%s: %.*s\r\n", to_share[i], TEXT_FMT(v));
	}
	return NULL;
}

const char *gateway_ask(const struct httpd_rq *rq, char *out, size_t cap, size_t *ret_n)
{
	struct sb b = sb_init(out, cap);
	struct text method = httpd_method(rq), path = httpd_path(rq), query = httpd_query(rq);
	const struct addr *peer = httpd_peer(rq);
	char ip[ADDR_STRLEN];
	const char *why;

	if (!is_plain(path, TARGET_MAX, '!') || !is_plain(query, TARGET_MAX, '!'))
		return "the path is not plain text, or too long";
	if (httpd_has_body(rq) && httpd_body_length(rq) == UINT64_MAX)
		return "a body needs a length";
	sb_fmt(&b, "%.*s %.*s%s%.*s HTTP/1.0\r\nHost: share\r\nConnection: close\r\n", TEXT_FMT(method), TEXT_FMT(path), query.n ? "?" : "", TEXT_FMT(query));
	if (peer && addr_family(peer) != AF_UNSPEC)
		sb_fmt(&b, "Stile-Client: %s\r\n", addr_print_ip(peer, ip));
	why = ask_fields(rq, &b);
	if (why)
		return why;
	if (httpd_has_body(rq))
		sb_fmt(&b, "Content-Length: %llu\r\n", (unsigned long long)httpd_body_length(rq));
	else if (text_eq(method, TEXT("POST")) || text_eq(method, TEXT("PUT")))
		sb_str(&b, "Content-Length: 0\r\n");
	sb_str(&b, "\r\n");
	*ret_n = b.n;
	return b.truncated ? "the head of the request is too long" : NULL;
}

static int take_field(const struct head_field *f, struct gateway_answer *a)
{
	switch (f->row->id) {
	case F_TRANSFER: return -EBADMSG; /* to a request of HTTP/1.0 */
	case F_LENGTH: return text_u64(f->value, &a->length) < 0 || a->length == UINT64_MAX ? -EBADMSG : 0;
	case F_TYPE: a->type = f->value; return 0;
	default:
		if (!is_plain(f->value, VALUE_MAX, ' ') || a->n_pass == ARRAY_LEN(a->pass))
			return -EBADMSG;
		a->pass[a->n_pass].name = f->row->name;
		a->pass[a->n_pass++].value = f->value;
		return 0;
	}
}

int gateway_read_answer(struct text buf, struct gateway_answer *ret_a, const char **ret_why)
{
	const struct head_rules rules = { .table = &table, .max_length = GATEWAY_HEAD_MAX };
	struct head_field fields[FIELDS_MAX];
	struct gateway_answer a = { .length = UINT64_MAX };
	struct text words[3];
	struct head h;
	uint64_t status = 0;
	enum head_error e = head_parse(buf, &rules, fields, FIELDS_MAX, &h);

	if (e == HEAD_INCOMPLETE && buf.n < GATEWAY_HEAD_MAX)
		return -EAGAIN;
	*ret_why = "its answer is no HTTP";
	if (e != HEAD_OK || head_start_words(h.start_line, words) != HEAD_OK || !text_starts(words[0], TEXT("HTTP/1.")))
		return -EBADMSG;
	if (text_u64(words[1], &status) < 0 || status < 200 || status > 599)
		return -EBADMSG;
	*ret_why = "its answer has a field that cannot be passed on";
	for (unsigned i = 0; i < h.n_fields; i++)
		if (fields[i].row && take_field(&fields[i], &a) < 0)
			return -EBADMSG;
	if (!is_plain(a.type, VALUE_MAX, ' '))
		return -EBADMSG;
	a.status = (unsigned)status;
	a.head = h.length;
	*ret_a = a;
	return 0;
}
