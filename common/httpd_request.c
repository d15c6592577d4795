/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of the HTTP frame: what libmicrohttpd's calls mean, in order. The first comes with the head, then one for each
 * piece of the body, then a last one. An answer that is there at the first call would end the connection, so it waits for the
 * last one; only a body that nobody will read is answered early, and ends it. While the owner thinks, its connection is
 * suspended, and the call in which that happened comes again.
 */
#include "common/httpd.h"
#include "common/httpd_priv.h"

#include <errno.h>
#include <stdio.h>

enum {
	DISCARD_MAX = 1 << 20, /* of a body that is not wanted; a longer one costs the connection */
	BODY_FIRST = 4096,
};

struct httpd_rq *httpd_rq_new(struct httpd_conn *c, const char *target)
{
	struct httpd_rq *rq = calloc(1, sizeof(*rq));

	if (!rq)
		return NULL;
	rq->conn = c;
	rq->target = strdup(target);
	if (!rq->target) {
		free(rq);
		return NULL;
	}
	rq->query = text_of(rq->target);
	rq->path = text_cut(&rq->query, '?');
	return rq;
}

void httpd_rq_free(struct httpd_rq *rq)
{
	rq->conn->rq = NULL;
	if (rq->on_gone)
		rq->on_gone(rq, rq->arg);
	httpd_answer_deinit(&rq->answer);
	free(rq->body);
	free(rq->target);
	free(rq);
}

/* ---- what it says ---- */

struct text httpd_method(const struct httpd_rq *rq)
{
	return rq->method;
}

struct text httpd_path(const struct httpd_rq *rq)
{
	return rq->path;
}

struct text httpd_query(const struct httpd_rq *rq)
{
	return rq->query;
}

const char *httpd_field(const struct httpd_rq *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->conn->mhd, MHD_HEADER_KIND, name);
}

struct count {
	const char *name;
	unsigned n;
};

static enum MHD_Result count_field(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct count *c = cls;

	(void)kind;
	(void)value;
	c->n += text_ieq(text_of(name), text_of(c->name));
	return MHD_YES;
}

unsigned httpd_fields(const struct httpd_rq *rq, const char *name)
{
	struct count c = { .name = name };

	(void)MHD_get_connection_values(rq->conn->mhd, MHD_HEADER_KIND, count_field, &c);
	return c.n;
}

const struct addr *httpd_peer(const struct httpd_rq *rq)
{
	return &rq->conn->peer;
}

bool httpd_over_tls(const struct httpd_rq *rq)
{
	return rq->conn->tls;
}

int httpd_decode(struct text t, bool plus_is_blank, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < t.n; i++) {
		int c = (unsigned char)t.p[i];

		if (c == '%') {
			uint8_t byte;
			size_t one;

			if (t.n - i <= 2 || hex_decode((struct text){ t.p + i + 1, 2 }, &byte, 1, &one) < 0)
				return -EINVAL;
			c = byte;
			i += 2;
		} else if (c == '+' && plus_is_blank) {
			c = ' ';
		}
		if (c == 0)
			return -EINVAL;
		if (n + 1 >= cap)
			return -ENOSPC;
		out[n++] = (char)c;
	}
	if (n >= cap)
		return -ENOSPC;
	out[n] = 0;
	return 0;
}

int httpd_query_value(struct text query, const char *name, char *out, size_t cap)
{
	int r = -ENOENT;

	while (query.p) {
		struct text value = text_cut(&query, '&');
		struct text key = text_cut(&value, '=');

		if (!text_eq(key, text_of(name)))
			continue;
		if (r != -ENOENT)
			return -EEXIST;
		r = httpd_decode(value, true, out, cap);
		if (r < 0)
			return r;
	}
	return r;
}

void httpd_watch(struct httpd_rq *rq, void (*on_gone)(struct httpd_rq *rq, void *arg), void *arg)
{
	rq->on_gone = on_gone;
	rq->arg = arg;
}

/* ---- the body ---- */

bool httpd_has_body(const struct httpd_rq *rq)
{
	return rq->has_body;
}

uint64_t httpd_body_length(const struct httpd_rq *rq)
{
	return rq->length;
}

static void too_big(struct httpd_rq *rq)
{
	httpd_refuse(rq->conn->h, HTTPD_BIG_BODY, &rq->conn->peer, "");
	httpd_reply(rq, MHD_HTTP_CONTENT_TOO_LARGE, "text/plain; charset=utf-8", TEXT("The body of this request is too large.\n"));
}

void httpd_body_whole(struct httpd_rq *rq, size_t max, void (*fn)(struct httpd_rq *rq, struct text body, void *arg))
{
	if (!rq->has_body) {
		fn(rq, (struct text){ "", 0 }, rq->arg);
		return;
	}
	rq->body_max = max;
	rq->whole = fn;
	if (rq->length != UINT64_MAX && rq->length > max)
		too_big(rq);
	httpd_resume(rq);
}

void httpd_body_stream(struct httpd_rq *rq, const struct httpd_sink *sink)
{
	if (!rq->has_body) {
		sink->on_end(rq, rq->arg);
		return;
	}
	rq->sink = sink;
	httpd_resume(rq);
}

void httpd_body_go(struct httpd_rq *rq)
{
	rq->go = true;
	if (rq->stage == RQ_BODY && rq->conn->suspended) {
		httpd_phase_set(rq->conn, CONN_BODY);
		httpd_resume(rq);
	}
}

static void keep(struct httpd_rq *rq, const char *p, size_t n)
{
	size_t cap = rq->body_cap ? rq->body_cap : BODY_FIRST;
	char *bigger;

	if (n > rq->body_max - rq->body_n) {
		too_big(rq);
		return;
	}
	while (cap < rq->body_n + n)
		cap *= 2;
	if (cap != rq->body_cap) {
		bigger = realloc(rq->body, cap);
		if (!bigger) {
			httpd_refuse(rq->conn->h, HTTPD_NO_MEMORY, &rq->conn->peer, "");
			httpd_reply(rq, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, (struct text){ "", 0 });
			return;
		}
		rq->body = bigger;
		rq->body_cap = cap;
	}
	memcpy(rq->body + rq->body_n, p, n);
	rq->body_n += n;
}

/* What the sink takes of it; the rest waits, and the connection with it. */
static size_t pour(struct httpd_rq *rq, const char *p, size_t n)
{
	size_t taken = 0;

	do {
		rq->go = false;
		taken += rq->sink->on_bytes(rq, (const uint8_t *)p + taken, n - taken, rq->arg);
	} while (taken < n && rq->go && !httpd_replied(rq));
	if (taken < n && !httpd_replied(rq)) {
		httpd_phase_set(rq->conn, CONN_WAIT);
		httpd_hold(rq);
	}
	return taken;
}

static enum MHD_Result on_body(struct httpd_rq *rq, const char *p, size_t *n)
{
	if (!httpd_replied(rq) && rq->whole) {
		keep(rq, p, *n);
		rq->got += *n;
		*n = 0;
	} else if (!httpd_replied(rq)) {
		size_t taken = pour(rq, p, *n);

		rq->got += taken;
		*n -= taken;
	}
	if (httpd_replied(rq)) { /* the answer is known, the rest is of no use */
		rq->discarded += *n;
		*n = 0;
	}
	return rq->discarded > DISCARD_MAX ? MHD_NO : MHD_YES;
}

static void on_body_end(struct httpd_rq *rq)
{
	if (httpd_replied(rq))
		return;
	if (rq->whole)
		rq->whole(rq, (struct text){ rq->body ? rq->body : "", rq->body_n }, rq->arg);
	else if (rq->sink)
		rq->sink->on_end(rq, rq->arg);
}

/* ---- libmicrohttpd's calls ---- */

static void read_head(struct httpd_rq *rq, const char *method)
{
	const char *length = httpd_field(rq, "Content-Length");
	const char *expect = httpd_field(rq, "Expect");

	(void)snprintf(rq->method_buf, sizeof(rq->method_buf), "%s", method);
	rq->method = text_of(rq->method_buf);
	if (httpd_field(rq, "Transfer-Encoding"))
		rq->length = UINT64_MAX;
	else if (!length || text_u64(text_of(length), &rq->length) < 0)
		rq->length = 0; /* libmicrohttpd has answered what is not a number */
	rq->has_body = rq->length > 0;
	rq->expects = expect && text_ieq(text_of(expect), TEXT("100-continue"));
}

static void on_head(struct httpd_rq *rq, const char *method)
{
	struct httpd_conn *c = rq->conn;
	const union MHD_ConnectionInfo *size = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	c->h->counts.requests++;
	rq->stage = RQ_HEAD;
	httpd_phase_set(c, CONN_WAIT);
	read_head(rq, method);
	if (!size || size->header_size > c->h->limits.head) {
		httpd_refuse(c->h, HTTPD_BIG_HEAD, &c->peer, "");
		httpd_add(rq, "Connection", "close");
		httpd_reply(rq, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "text/plain; charset=utf-8",
			    TEXT("The head of this request is too large.\n"));
		return;
	}
	c->h->ops->on_request(rq, c->h->arg);
}

/* Behind the head: an early answer, a body, or the last call. */
static enum MHD_Result after_head(struct httpd_rq *rq)
{
	bool replied = httpd_replied(rq);

	if (!rq->has_body) {
		rq->stage = RQ_END;
		return MHD_YES;
	}
	if (replied && (rq->expects || rq->length > DISCARD_MAX))
		return httpd_queue(rq);
	if (!replied && !rq->whole && !rq->sink) {
		httpd_hold(rq);
		return MHD_YES;
	}
	rq->stage = RQ_BODY;
	httpd_phase_set(rq->conn, CONN_BODY);
	return MHD_YES;
}

enum MHD_Result httpd_on_access(struct httpd_rq *rq, const char *method, const char *upload, size_t *upload_n)
{
	if (rq->stage == RQ_NEW)
		on_head(rq, method);
	if (rq->stage == RQ_HEAD)
		return after_head(rq);
	if (rq->stage == RQ_BODY) {
		if (*upload_n > 0)
			return on_body(rq, upload, upload_n);
		rq->stage = RQ_END;
		httpd_phase_set(rq->conn, CONN_WAIT);
		on_body_end(rq);
	}
	if (httpd_replied(rq))
		return httpd_queue(rq);
	httpd_hold(rq);
	return MHD_YES;
}
