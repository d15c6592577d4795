/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks of 64 KiB for bytes that have to wait: what was sent over a carrier and is not known to have arrived, and what
 * a local socket does not take. A pool of the loop lends them, keeps a few spare ones, and is given them back, so that an
 * idle connection holds none.
 */
#pragma once
#include <sys/uio.h>
#include "common/defs.h"

enum { CHUNK_BYTES = 64 << 10, CHUNK_SPARE_MAX = 16 };

struct chunk {
	struct chunk *next;
	uint64_t offset;   /* owner's: of the first byte in its stream */
	uint32_t start, n; /* bytes in use are p[start] to p[n] */
	uint8_t p[CHUNK_BYTES];
};

struct chunk_pool {
	struct chunk *spare;
	unsigned n_spare, n_lent;
};
struct chunk *chunk_take(struct chunk_pool *p); /* empty; NULL: no memory */
void chunk_give(struct chunk_pool *p, struct chunk *c);
void chunk_pool_trim(struct chunk_pool *p); /* gives the spare ones back to the system */

/* Bytes in the order they came. Zeroed is empty. */
struct chunk_queue {
	struct chunk_pool *pool;
	struct chunk *first, *last;
	size_t n;
};
int chunk_queue_add(struct chunk_queue *q, const void *p, size_t n); /* all or nothing: 0 or -ENOMEM */
int chunk_queue_iov(const struct chunk_queue *q, struct iovec *v,
		    int most);				/* from the front; how many were filled */
void chunk_queue_drop(struct chunk_queue *q, size_t n); /* from the front */
