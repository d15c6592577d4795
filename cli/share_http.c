/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP/1.1 client for one server of our own: a share's, at the other end of a link. Answers have a Content-Length, or none
 * and no body; what else comes is refused. Blocking, and every wait is bounded: whoever waits is asked each second
 * whether to go on, for the way may be away for a while.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cli/share.h"
#include "common/head.h"
#include "share/request.h"

enum { ASK_MS = 1000, FIELDS_MAX = 48 };

static const struct header_table no_headers;
static const struct head_rules rules = { .table = &no_headers, .max_length = sizeof(((struct share_http *)0)->head) };

void share_http_close(struct share_http *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	h->left = 0;
	h->head_n = h->body_at = 0;
}

static int broken(struct share_http *h, int r)
{
	share_http_close(h);
	return r;
}

static int wait_for(struct share_http *h, short events)
{
	for (int waited = 0;; waited += ASK_MS) {
		struct pollfd p = { .fd = h->fd, .events = events };
		int n = poll(&p, 1, ASK_MS);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (waited >= h->timeout_ms || (h->patient && !h->patient(h->arg)))
			return -ETIMEDOUT;
	}
}

static int dial(struct share_http *h)
{
	int on = 1, r;

	h->fd = socket(addr_family(&h->at), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->fd < 0)
		return -errno;
	(void)setsockopt(h->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(h->fd, &h->at.sa, addr_len(&h->at)) < 0 && errno != EINPROGRESS)
		return broken(h, -errno);
	r = wait_for(h, POLLOUT);
	return r < 0 ? broken(h, r) : 0;
}

int share_http_send(struct share_http *h, const void *p, size_t n)
{
	const char *at = p;

	while (n) {
		ssize_t sent = send(h->fd, at, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EAGAIN) {
			struct pollfd early = { .fd = h->fd, .events = POLLIN };
			int r;

			if (poll(&early, 1, 0) > 0)
				return 0; /* an answer already: it says why */
			r = wait_for(h, POLLOUT);
			if (r < 0)
				return broken(h, r);
		} else if (sent < 0 && errno != EINTR) {
			struct pollfd early = { .fd = h->fd, .events = POLLIN };

			if ((errno == EPIPE || errno == ECONNRESET) && poll(&early, 1, 0) > 0 && (early.revents & POLLIN))
				return 0;
			return broken(h, -errno);
		} else if (sent > 0) {
			at += sent;
			n -= (size_t)sent;
		}
	}
	return 0;
}

static ssize_t receive(struct share_http *h, void *p, size_t n)
{
	for (;;) {
		ssize_t got = recv(h->fd, p, n, 0);
		int r;

		if (got > 0)
			return got;
		if (got == 0)
			return -ECONNRESET;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_for(h, POLLIN);
		if (r < 0)
			return r;
	}
}

/* ---- a request ---- */

int share_http_begin(struct share_http *h, const struct share_ask *a)
{
	char head[1024], token[SHARE_HEX_STRLEN], receiver[SHARE_HEX_STRLEN];
	struct sb b = sb_init(head, sizeof head);
	int r = 0;

	if (h->left)
		share_http_close(h); /* an answer that nobody wants to the end */
	if (h->fd < 0)
		r = dial(h);
	if (r < 0)
		return r;
	h->head_n = h->body_at = 0;
	hex_encode(h->token, sizeof(h->token), token);
	hex_encode(h->receiver, sizeof(h->receiver), receiver);
	sb_fmt(&b, "%s /s/%016llx/%s HTTP/1.1\r\nHost: share\r\nStile-Token: %s\r\nStile-Receiver: %s\r\n%s", a->method,
	       (unsigned long long)h->id, a->path, token, receiver, a->fields ? a->fields : "");
	if (a->has_body)
		sb_fmt(&b, "Content-Length: %llu\r\n", (unsigned long long)(a->body_n + a->rest));
	sb_str(&b, "\r\n");
	r = b.truncated ? -EINVAL : share_http_send(h, head, b.n);
	if (r == 0 && a->body_n)
		r = share_http_send(h, a->body, a->body_n);
	return r;
}

static void copy(char *to, size_t n, struct text t)
{
	(void)snprintf(to, n, "%.*s", (int)MIN(t.n, n - 1), t.p);
}

static int read_fields(struct share_http *h, const struct head *head)
{
	uint64_t n;

	h->length = 0;
	h->upload_offset = UINT64_MAX;
	h->error_code[0] = h->error_text[0] = '\0';
	for (unsigned i = 0; i < head->n_fields; i++) {
		const struct head_field *f = &head->fields[i];

		if (text_ieq(f->name, TEXT("Content-Length")) && text_u64(f->value, &h->length) < 0)
			return -EPROTO;
		if (text_ieq(f->name, TEXT("Transfer-Encoding")))
			return -EPROTO;
		if (text_ieq(f->name, TEXT("Upload-Offset")) && text_u64(f->value, &h->upload_offset) < 0)
			return -EPROTO;
		if (text_ieq(f->name, TEXT("Content-Range")))
			(void)share_content_range(f->value, &h->range_first, &n, &h->range_total);
		if (text_ieq(f->name, TEXT("Stile-Error")))
			copy(h->error_code, sizeof(h->error_code), f->value);
	}
	return 0;
}

static int parse(struct share_http *h, const char *method)
{
	struct head_field fields[FIELDS_MAX];
	struct head head;
	struct text words[3];
	uint64_t status;
	enum head_error e = head_parse((struct text){ h->head, h->head_n }, &rules, fields, FIELDS_MAX, &head);
	int r;

	if (e == HEAD_INCOMPLETE)
		return -EAGAIN;
	if (e != HEAD_OK || head_start_words(head.start_line, words) != HEAD_OK || text_u64(words[1], &status) < 0)
		return -EPROTO;
	h->range_first = h->range_total = 0;
	r = read_fields(h, &head);
	h->status = (unsigned)status;
	h->body_at = head.length;
	h->left = strcmp(method, "HEAD") == 0 || status == 204 || status == 304 ? 0 : h->length;
	return r;
}

static void read_sentence(struct share_http *h)
{
	size_t n = 0;

	while (h->left && n < sizeof(h->error_text) - 1) {
		ssize_t got = share_http_read(h, h->error_text + n, sizeof(h->error_text) - 1 - n);

		if (got <= 0)
			break;
		n += (size_t)got;
	}
	h->error_text[n] = '\0';
	h->error_text[strcspn(h->error_text, "\r\n")] = '\0';
}

static int answer(struct share_http *h, const char *method)
{
	int r;

	h->head_n = h->body_at = 0;
	while ((r = parse(h, method)) == -EAGAIN) {
		ssize_t got = h->head_n < sizeof(h->head) ? receive(h, h->head + h->head_n, sizeof(h->head) - h->head_n) : -EPROTO;

		if (got < 0)
			return broken(h, (int)got);
		h->head_n += (size_t)got;
	}
	if (r < 0)
		return broken(h, r);
	if (h->status >= 400)
		read_sentence(h);
	return 0;
}

int share_http_answer(struct share_http *h)
{
	return answer(h, "PUT");
}

int share_http_ask(struct share_http *h, const struct share_ask *a)
{
	bool old = h->fd >= 0;
	int r = share_http_begin(h, a);

	if (r == 0)
		r = answer(h, a->method);
	if (r < 0 && old && r != -ETIMEDOUT) { /* the server may close a connection that was idle */
		r = share_http_begin(h, a);
		if (r == 0)
			r = answer(h, a->method);
	}
	return r;
}

/* ---- a body ---- */

ssize_t share_http_read(struct share_http *h, void *p, size_t n)
{
	ssize_t got;

	n = (size_t)MIN((uint64_t)n, h->left);
	if (!n)
		return 0;
	if (h->body_at < h->head_n) {
		n = MIN(n, h->head_n - h->body_at);
		memcpy(p, h->head + h->body_at, n);
		h->body_at += n;
		got = (ssize_t)n;
	} else {
		got = receive(h, p, n);
	}
	if (got < 0)
		return broken(h, (int)got);
	h->left -= (uint64_t)got;
	return got;
}

int share_http_whole(struct share_http *h, size_t max, char **ret_p, size_t *ret_n)
{
	size_t n = (size_t)h->left, at = 0;
	char *p = h->left <= max ? malloc(n + 1) : NULL;

	if (!p)
		return broken(h, h->left <= max ? -ENOMEM : -EMSGSIZE);
	while (at < n) {
		ssize_t got = share_http_read(h, p + at, n - at);

		if (got <= 0) {
			free(p);
			return got < 0 ? (int)got : broken(h, -ECONNRESET);
		}
		at += (size_t)got;
	}
	p[n] = '\0';
	*ret_p = p;
	*ret_n = n;
	return 0;
}
