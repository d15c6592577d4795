/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers of a stream: bytes appended at one end and consumed at the other. Memory exists only while
 * there are bytes, and doubles as they grow. The limits are the caller's to check; pointers into a
 * buffer hold until the next call here.
 */
#include "common/stream_priv.h"

#include <errno.h>
#include <string.h>

enum { BUF_MIN = 2048 };

void stream_buf_drop(struct stream_buf *b)
{
	free(b->p);
	*b = (struct stream_buf){ 0 };
}

void stream_buf_consume(struct stream_buf *b, size_t n)
{
	b->start += n;
	b->n -= n;
	if (!b->n)
		stream_buf_drop(b);
}

/* Room for more bytes behind what is there; the caller has checked its limit. */
int stream_buf_reserve(struct stream_buf *b, size_t more)
{
	size_t cap = b->cap ? b->cap : BUF_MIN;
	uint8_t *p;

	if (b->start + b->n + more <= b->cap)
		return 0;
	if (b->start) {
		memmove(b->p, b->p + b->start, b->n);
		b->start = 0;
	}
	while (cap < b->n + more)
		cap *= 2;
	if (cap == b->cap)
		return 0;
	p = realloc(b->p, cap);
	if (!p)
		return -ENOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

int stream_buf_append(struct stream_buf *b, const void *p, size_t n)
{
	int r = n ? stream_buf_reserve(b, n) : 0;

	if (r < 0 || !n)
		return r;
	memcpy(b->p + b->start + b->n, p, n);
	b->n += n;
	return 0;
}
