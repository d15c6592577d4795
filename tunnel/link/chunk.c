/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool of chunks, and queues of bytes in them. A chunk belongs to whoever took it until it is given back; the pool
 * knows only how many are out. Queues take what they need before they change anything, so that one without memory is
 * as it was.
 */
#include <errno.h>
#include <string.h>
#include "tunnel/link/chunk.h"

struct chunk *chunk_take(struct chunk_pool *p)
{
	struct chunk *c = p->spare;

	if (c) {
		p->spare = c->next;
		p->n_spare--;
	} else {
		c = malloc(sizeof(*c));
	}
	if (!c)
		return NULL;
	c->next = NULL;
	c->offset = 0;
	c->start = c->n = 0;
	p->n_lent++;
	return c;
}

void chunk_give(struct chunk_pool *p, struct chunk *c)
{
	p->n_lent--;
	if (p->n_spare >= CHUNK_SPARE_MAX) {
		free(c);
		return;
	}
	c->next = p->spare;
	p->spare = c;
	p->n_spare++;
}

void chunk_pool_trim(struct chunk_pool *p)
{
	while (p->spare) {
		struct chunk *c = p->spare;

		p->spare = c->next;
		free(c);
	}
	p->n_spare = 0;
}

/* ---- queues ---- */

/* Chunks for n more bytes behind the last one, linked to each other: NULL if there is no memory. */
static struct chunk *take_for(struct chunk_pool *p, size_t n)
{
	struct chunk *first = NULL;

	for (size_t had = 0; had < n; had += CHUNK_BYTES) {
		struct chunk *c = chunk_take(p);

		if (!c) {
			while (first) {
				c = first->next;
				chunk_give(p, first);
				first = c;
			}
			return NULL;
		}
		c->next = first;
		first = c;
	}
	return first;
}

int chunk_queue_add(struct chunk_queue *q, const void *p, size_t n)
{
	size_t room = q->last ? CHUNK_BYTES - q->last->n : 0, part = MIN(room, n);
	const uint8_t *from = p;
	struct chunk *more = NULL;

	if (n > part) {
		more = take_for(q->pool, n - part);
		if (!more)
			return -ENOMEM;
	}
	q->n += n;
	while (n) {
		if (part) {
			memcpy(q->last->p + q->last->n, from, part);
			q->last->n += (uint32_t)part;
			from += part;
			n -= part;
		}
		if (more) {
			if (q->last)
				q->last->next = more;
			else
				q->first = more;
			q->last = more;
			more = more->next;
		}
		part = MIN(n, (size_t)CHUNK_BYTES);
	}
	return 0;
}

int chunk_queue_iov(const struct chunk_queue *q, struct iovec *v, int most)
{
	int n = 0;

	for (const struct chunk *c = q->first; c && n < most; c = c->next)
		v[n++] = (struct iovec){ (void *)(c->p + c->start), c->n - c->start };
	return n;
}

void chunk_queue_drop(struct chunk_queue *q, size_t n)
{
	q->n -= n;
	while (q->first) {
		struct chunk *c = q->first;
		size_t part = MIN(n, (size_t)(c->n - c->start));

		c->start += (uint32_t)part;
		n -= part;
		if (c->start < c->n)
			return;
		q->first = c->next;
		if (!q->first)
			q->last = NULL;
		chunk_give(q->pool, c);
	}
}
