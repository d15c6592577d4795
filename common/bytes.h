/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one cursor for all binary messages: a bounded reader and a bounded writer.
 *
 * Reads latch failure and return zero, so a parser reads on and tests once at the end. A length
 * on the wire makes a child reader that cannot see past itself. Writers latch in the same way;
 * lengths are back-patched by wr_close16(), never computed by hand. All integers are big-endian.
 * Nothing here allocates or owns memory.
 */
#pragma once
#include <endian.h>
#include <string.h>
#include "common/defs.h"

struct rd {
	const uint8_t *pos, *end;
	bool failed; /* latched: some read wanted more than there was */
};

static inline struct rd rd_init(const void *p, size_t n)
{
	return (struct rd){ .pos = p, .end = n ? (const uint8_t *)p + n : p };
}
/* The only one that advances; NULL and latch if short. */
const uint8_t *rd_take(struct rd *r, size_t n);
uint8_t rd_u8(struct rd *r); /* 0 after failure, like all below */
uint16_t rd_u16(struct rd *r);
uint32_t rd_u24(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
/* A child of exactly n bytes; the parent skips them; both failed if short. */
struct rd rd_sub(struct rd *r, size_t n);
static inline size_t rd_left(const struct rd *r)
{
	return r->failed ? 0 : (size_t)(r->end - r->pos);
}
bool rd_done(const struct rd *r); /* nothing failed and nothing left */

struct wr {
	uint8_t *start, *pos, *end;
	bool failed; /* latched: something did not fit */
};

static inline struct wr wr_init(void *p, size_t n)
{
	return (struct wr){ .start = p, .pos = p, .end = n ? (uint8_t *)p + n : p };
}
uint8_t *wr_take(struct wr *w, size_t n); /* room for n bytes, or NULL and latch */
void wr_u8(struct wr *w, uint8_t v);
void wr_u16(struct wr *w, uint16_t v);
void wr_u24(struct wr *w, uint32_t v);
void wr_u32(struct wr *w, uint32_t v);
void wr_u64(struct wr *w, uint64_t v);
void wr_bytes(struct wr *w, const void *p, size_t n);
void wr_zero(struct wr *w, size_t n);
/* A nested block with a 16-bit length in front: open writes the room, close patches the length. */
size_t wr_open16(struct wr *w);
void wr_close16(struct wr *w, size_t mark);
static inline size_t wr_len(const struct wr *w)
{
	return (size_t)(w->pos - w->start);
}

/* Unaligned loads and stores for the packet path, where the bounds are already proven. */
static inline uint16_t load_be16(const void *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return be16toh(v);
}
static inline uint32_t load_be32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return be32toh(v);
}
static inline void store_be16(void *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof v);
}
static inline void store_be32(void *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof v);
}

/* True if both runs are equal; takes the same time whatever they hold. For MACs and secrets. */
bool bytes_equal_ct(const void *a, const void *b, size_t n);
/* Zeroes memory that held a secret; never optimised away. */
void bytes_wipe(void *p, size_t n);
/* Cryptographic random bytes (OpenSSL); 0 or -EIO. */
int bytes_random(void *p, size_t n);
/* The same out of a store, for who needs a few each time; zeroed memory is an empty one. Of one thread. */
struct bytes_pool {
	uint8_t bytes[256];
	size_t left;
};
int bytes_pool_take(struct bytes_pool *pool, void *p, size_t n);
