/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer of a request. It is kept until libmicrohttpd may have it (httpd_request.c says when), so that it can be given at
 * any time: fields first, then the body, which is a buffer, a part of a file, or a source that is asked piece by piece.
 * Without memory for it the connection is cut: the client learns as much as it would from half an answer.
 */
#include "common/httpd.h"
#include "common/httpd_priv.h"

#include <errno.h>
#include <stdio.h>

enum { FIELDS_MAX = 8 << 10, VALUE_MAX = 4 << 10, STREAM_BLOCK = 64 << 10 };

void httpd_answer_deinit(struct httpd_answer *a)
{
	free(a->fields);
	free(a->type);
	free(a->taken);
	*a = (struct httpd_answer){ 0 };
}

bool httpd_replied(const struct httpd_rq *rq)
{
	return rq->answer.kind != ANSWER_NONE;
}

static bool is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

void httpd_add(struct httpd_rq *rq, const char *name, const char *fmt, ...)
{
	struct httpd_answer *a = &rq->answer;
	size_t name_n = strlen(name) + 1;
	char value[VALUE_MAX];
	char *bigger;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(value) || !is_plain(value) || a->fields_n + name_n + (size_t)n + 1 > FIELDS_MAX) {
		a->bad = true;
		return;
	}
	bigger = realloc(a->fields, a->fields_n + name_n + (size_t)n + 1);
	if (!bigger) {
		a->bad = true;
		return;
	}
	a->fields = bigger;
	memcpy(bigger + a->fields_n, name, name_n);
	memcpy(bigger + a->fields_n + name_n, value, (size_t)n + 1);
	a->fields_n += name_n + (size_t)n + 1;
}

/* The answer is whole: whoever waits for it goes on. A second one is a mistake of the handler, and the first one stays. */
static bool begin(struct httpd_rq *rq, enum httpd_answer_kind kind, unsigned status, const char *type)
{
	struct httpd_answer *a = &rq->answer;

	if (httpd_replied(rq))
		return false;
	a->kind = kind;
	a->status = status;
	a->type = type ? strdup(type) : NULL;
	a->bad |= type && !a->type;
	return true;
}

static void finish(struct httpd_rq *rq)
{
	if (rq->stage == RQ_BODY && rq->conn->suspended)
		httpd_phase_set(rq->conn, CONN_BODY); /* the rest is read and thrown away, in its time */
	httpd_resume(rq);
}

void httpd_reply(struct httpd_rq *rq, unsigned status, const char *type, struct text body)
{
	char *copy = malloc(body.n + 1);

	if (!copy) {
		httpd_refuse(rq->conn->h, HTTPD_NO_MEMORY, &rq->conn->peer, "");
		httpd_reply_static(rq, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, (struct text){ "", 0 });
		return;
	}
	if (body.n)
		memcpy(copy, body.p, body.n);
	httpd_reply_taken(rq, status, type, copy, body.n);
}

void httpd_reply_static(struct httpd_rq *rq, unsigned status, const char *type, struct text body)
{
	if (!begin(rq, ANSWER_STATIC, status, type))
		return;
	rq->answer.body = body;
	finish(rq);
}

void httpd_reply_taken(struct httpd_rq *rq, unsigned status, const char *type, char *body, size_t n)
{
	if (!begin(rq, ANSWER_TAKEN, status, type)) {
		free(body);
		return;
	}
	rq->answer.taken = body;
	rq->answer.n = n;
	finish(rq);
}

void httpd_reply_stream(struct httpd_rq *rq, unsigned status, const char *type, uint64_t n, const struct httpd_source *src)
{
	if (!begin(rq, ANSWER_STREAM, status, type))
		return;
	rq->answer.n = n;
	rq->answer.src = src;
	finish(rq);
}

void httpd_wake(struct httpd_rq *rq)
{
	rq->woken = true;
	if (!rq->starved)
		return;
	rq->starved = false;
	httpd_watch_gone(rq->conn, false);
	httpd_resume(rq);
}

/* ---- for libmicrohttpd ---- */

static ssize_t pull(void *cls, uint64_t at, char *buf, size_t max)
{
	struct httpd_rq *rq = cls;
	ssize_t n;

	(void)at;
	if (rq->conn->cut)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	do {
		rq->woken = false;
		n = rq->answer.src->pull(rq, (uint8_t *)buf, max, rq->arg);
	} while (n == 0 && rq->woken);
	if (n > 0)
		return n;
	if (n < 0)
		return n == HTTPD_END ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
	rq->starved = rq->rested = true;
	httpd_hold(rq);
	httpd_watch_gone(rq->conn, true);
	return 0;
}

static struct MHD_Response *make(struct httpd_rq *rq)
{
	struct httpd_answer *a = &rq->answer;
	struct MHD_Response *r;

	switch (a->kind) {
	case ANSWER_STATIC:
		return MHD_create_response_from_buffer(a->body.n, (void *)a->body.p, MHD_RESPMEM_PERSISTENT);
	case ANSWER_TAKEN:
		r = MHD_create_response_from_buffer(a->n, a->taken, MHD_RESPMEM_MUST_FREE);
		if (r)
			a->taken = NULL; /* is its own now */
		return r;
	case ANSWER_STREAM:
		return MHD_create_response_from_callback(a->n == UINT64_MAX ? MHD_SIZE_UNKNOWN : a->n, STREAM_BLOCK, pull, rq, NULL);
	case ANSWER_NONE:
		break;
	}
	return NULL;
}

static bool add_fields(struct httpd_rq *rq, struct MHD_Response *r)
{
	struct httpd_answer *a = &rq->answer;
	bool good = !a->type || MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, a->type) == MHD_YES;

	if (rq->conn->h->draining)
		good = good && MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES;
	for (size_t i = 0; good && i < a->fields_n;) {
		const char *name = a->fields + i, *value = name + strlen(name) + 1;

		good = MHD_add_response_header(r, name, value) == MHD_YES;
		i = (size_t)(value + strlen(value) + 1 - a->fields);
	}
	return good;
}

enum MHD_Result httpd_queue(struct httpd_rq *rq)
{
	struct httpd_answer *a = &rq->answer;
	struct MHD_Response *r;
	enum MHD_Result result = MHD_NO;

	if (a->bad) {
		httpd_answer_deinit(a);
		httpd_reply_static(rq, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, (struct text){ "", 0 });
	}
	r = make(rq);
	if (r && add_fields(rq, r)) {
		httpd_phase_set(rq->conn, CONN_SEND);
		result = MHD_queue_response(rq->conn->mhd, a->status, r);
	}
	if (r)
		MHD_destroy_response(r);
	else
		httpd_refuse(rq->conn->h, HTTPD_NO_MEMORY, &rq->conn->peer, "");
	return result;
}
