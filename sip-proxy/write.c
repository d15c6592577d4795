/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of our own; see write.h. Everything goes through one bounded writer that latches,
 * and nothing that is put in by the caller may bring a line end with it: a reason phrase or
 * a tag is not the place to begin a header.
 */
#include <errno.h>
#include "common/bytes.h"
#include "sip-proxy/headers.h"
#include "sip-proxy/lex_priv.h"
#include "sip-proxy/write.h"

static void put(struct wr *w, struct text t)
{
	wr_bytes(w, t.p, t.n);
}

/* A text from the caller: latches failure if it holds a line end that is no fold. */
static void put_own(struct wr *w, struct text t)
{
	for (size_t i = 0; i < t.n; i++) {
		bool fold = t.n - i > 2 && t.p[i] == '\r' && t.p[i + 1] == '\n' &&
			    lex_is(t.p[i + 2], LEX_BLANK);
		if ((t.p[i] == '\r' && !fold) ||
		    (t.p[i] == '\n' && (i == 0 || t.p[i - 1] != '\r')) || !t.p[i])
			w->failed = true;
	}
	put(w, t);
}

static void put_number(struct wr *w, uint64_t v)
{
	char digits[24];
	struct sb b = sb_init(digits, sizeof digits);
	sb_u64(&b, v, 1);
	put(w, (struct text){ digits, b.n });
}

static void put_header(struct wr *w, struct text name, struct text value)
{
	put_own(w, name);
	put(w, TEXT(": "));
	put_own(w, value);
	put(w, TEXT("\r\n"));
}

static void copy_field(struct wr *w, const struct head_field *f)
{
	put(w, f->name);
	put(w, TEXT(": "));
	put(w, f->value);
	put(w, TEXT("\r\n"));
}

static void copy_all(struct wr *w, const struct sip_msg *m, enum sip_header id)
{
	for (const struct head_field *f = sip_find(m, id); f; f = sip_find_next(m, f))
		copy_field(w, f);
}

static void put_lines(struct wr *w, const struct sip_line *lines, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put_header(w, lines[i].name, lines[i].value);
}

static void put_body(struct wr *w, struct text type, struct text body)
{
	if (body.n > 0)
		put_header(w, TEXT("Content-Type"), type);
	put(w, TEXT("Content-Length: "));
	put_number(w, body.n);
	put(w, TEXT("\r\n\r\n"));
	put(w, body);
}

static ssize_t finish(const struct wr *w)
{
	return w->failed ? -ENOSPC : (ssize_t)wr_len(w);
}

/* All Via values; the first one may be another text. */
static void put_vias(struct wr *w, const struct sip_msg *m, struct text top)
{
	const struct head_field *first = sip_find(m, SIP_H_VIA);
	struct sip_values it = sip_values(m, SIP_H_VIA);
	struct text value;
	if (!top.p) {
		copy_all(w, m, SIP_H_VIA);
		return;
	}
	put_header(w, TEXT("Via"), top);
	sip_values_next(&it, &value);
	if (it.rest.p) /* others shared its line */
		put_header(w, TEXT("Via"), lex_trim(it.rest));
	for (const struct head_field *f = sip_find_next(m, first); f; f = sip_find_next(m, f))
		copy_field(w, f);
}

static void put_to(struct wr *w, const struct sip_msg *m, struct text tag)
{
	const struct head_field *f = sip_find(m, SIP_H_TO);
	struct sip_addr a;
	put(w, f->name);
	put(w, TEXT(": "));
	put(w, f->value);
	if (tag.p && sip_addr_parse(f->value, &a) == 0 && !a.tag.p) {
		put(w, TEXT(";tag="));
		put_own(w, tag);
	}
	put(w, TEXT("\r\n"));
}

ssize_t sip_response_write(char *buf, size_t cap, const struct sip_msg *request,
			   const struct sip_response_parts *parts)
{
	static const enum sip_header needed[] = { SIP_H_VIA, SIP_H_FROM, SIP_H_TO, SIP_H_CALL_ID,
						  SIP_H_CSEQ };
	struct wr w = wr_init(buf, cap);
	for (size_t i = 0; i < ARRAY_LEN(needed); i++)
		if (!sip_has(request, needed[i]))
			return -EBADMSG;
	put(&w, TEXT("SIP/2.0 "));
	put_number(&w, parts->code);
	put(&w, TEXT(" "));
	put_own(&w, parts->reason);
	put(&w, TEXT("\r\n"));
	put_vias(&w, request, parts->top_via);
	if (parts->record_routes)
		copy_all(&w, request, SIP_H_RECORD_ROUTE);
	copy_field(&w, sip_find(request, SIP_H_FROM));
	put_to(&w, request, parts->to_tag);
	copy_field(&w, sip_find(request, SIP_H_CALL_ID));
	copy_field(&w, sip_find(request, SIP_H_CSEQ));
	if (parts->code == 100)
		copy_all(&w, request, SIP_H_TIMESTAMP);
	put_lines(&w, parts->lines, parts->n_lines);
	put_body(&w, parts->content_type, parts->body);
	return finish(&w);
}

/* ACK and CANCEL: request line, topmost Via, Route, From, Call-ID and the number of CSeq are the request's. */
static int put_within(struct wr *w, const struct sip_msg *request, struct text method,
		      const struct head_field *to)
{
	struct sip_values it = sip_values(request, SIP_H_VIA);
	struct text via;
	struct sip_cseq cseq;
	if (!request->is_request || !to || !sip_values_next(&it, &via) ||
	    !sip_has(request, SIP_H_FROM) || !sip_has(request, SIP_H_CALL_ID) ||
	    sip_cseq_parse(sip_value(request, SIP_H_CSEQ), &cseq) < 0)
		return -EBADMSG;
	put(w, method);
	put(w, TEXT(" "));
	put(w, request->uri);
	put(w, TEXT(" SIP/2.0\r\n"));
	put_header(w, TEXT("Via"), via);
	copy_all(w, request, SIP_H_ROUTE);
	copy_field(w, sip_find(request, SIP_H_FROM));
	copy_field(w, to);
	copy_field(w, sip_find(request, SIP_H_CALL_ID));
	put(w, TEXT("CSeq: "));
	put_number(w, cseq.number);
	put(w, TEXT(" "));
	put(w, method);
	put(w, TEXT("\r\nMax-Forwards: 70\r\n"));
	return 0;
}

ssize_t sip_ack_write(char *buf, size_t cap, const struct sip_msg *request, const struct sip_msg *response)
{
	struct wr w = wr_init(buf, cap);
	int r = put_within(&w, request, TEXT("ACK"), sip_find(response, SIP_H_TO));
	if (r < 0)
		return r;
	put_body(&w, (struct text){ 0 }, (struct text){ 0 });
	return finish(&w);
}

ssize_t sip_cancel_write(char *buf, size_t cap, const struct sip_msg *request,
			 const struct sip_line *lines, unsigned n_lines)
{
	struct wr w = wr_init(buf, cap);
	int r = put_within(&w, request, TEXT("CANCEL"), sip_find(request, SIP_H_TO));
	if (r < 0)
		return r;
	put_lines(&w, lines, n_lines);
	put_body(&w, (struct text){ 0 }, (struct text){ 0 });
	return finish(&w);
}

ssize_t sip_request_write(char *buf, size_t cap, const struct sip_request_parts *parts)
{
	struct wr w = wr_init(buf, cap);
	put_own(&w, parts->method);
	put(&w, TEXT(" "));
	put_own(&w, parts->uri);
	put(&w, TEXT(" SIP/2.0\r\n"));
	put_header(&w, TEXT("Via"), parts->via);
	put(&w, TEXT("Max-Forwards: "));
	put_number(&w, parts->max_forwards);
	put(&w, TEXT("\r\n"));
	put_header(&w, TEXT("From"), parts->from);
	put_header(&w, TEXT("To"), parts->to);
	put_header(&w, TEXT("Call-ID"), parts->call_id);
	put(&w, TEXT("CSeq: "));
	put_number(&w, parts->cseq);
	put(&w, TEXT(" "));
	put_own(&w, parts->method);
	put(&w, TEXT("\r\n"));
	put_lines(&w, parts->lines, parts->n_lines);
	put_body(&w, parts->content_type, parts->body);
	return finish(&w);
}
