/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounded reader and writer, and the handling of secret bytes. See bytes.h for the contract.
 *
 * rd_take() and wr_take() are the only two functions that move a cursor; everything else is built
 * on them, so there is one place where a bound is checked. A cursor over nothing (NULL, 0) is
 * legal.
 */
#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include "common/bytes.h"

const uint8_t *rd_take(struct rd *r, size_t n)
{
	const uint8_t *p = r->pos;
	if (r->failed || n > (size_t)(r->end - r->pos)) {
		r->failed = true;
		return NULL;
	}
	if (n > 0)
		r->pos += n;
	return p;
}

uint8_t rd_u8(struct rd *r)
{
	const uint8_t *p = rd_take(r, 1);
	return p ? *p : 0;
}

uint16_t rd_u16(struct rd *r)
{
	const uint8_t *p = rd_take(r, 2);
	return p ? load_be16(p) : 0;
}

uint32_t rd_u24(struct rd *r)
{
	const uint8_t *p = rd_take(r, 3);
	return p ? (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2] : 0;
}

uint32_t rd_u32(struct rd *r)
{
	const uint8_t *p = rd_take(r, 4);
	return p ? load_be32(p) : 0;
}

uint64_t rd_u64(struct rd *r)
{
	const uint8_t *p = rd_take(r, 8);
	return p ? (uint64_t)load_be32(p) << 32 | load_be32(p + 4) : 0;
}

struct rd rd_sub(struct rd *r, size_t n)
{
	const uint8_t *p = rd_take(r, n);
	if (r->failed)
		return (struct rd){ .failed = true };
	return rd_init(p, n);
}

bool rd_done(const struct rd *r)
{
	return !r->failed && r->pos == r->end;
}

uint8_t *wr_take(struct wr *w, size_t n)
{
	uint8_t *p = w->pos;
	if (w->failed || n > (size_t)(w->end - w->pos)) {
		w->failed = true;
		return NULL;
	}
	if (n > 0)
		w->pos += n;
	return p;
}

void wr_u8(struct wr *w, uint8_t v)
{
	uint8_t *p = wr_take(w, 1);
	if (p)
		*p = v;
}

void wr_u16(struct wr *w, uint16_t v)
{
	uint8_t *p = wr_take(w, 2);
	if (p)
		store_be16(p, v);
}

void wr_u24(struct wr *w, uint32_t v)
{
	if (v > 0xffffff)
		w->failed = true; /* a value cut short on the wire is worse than no message */
	uint8_t *p = wr_take(w, 3);
	if (!p)
		return;
	p[0] = (uint8_t)(v >> 16);
	store_be16(p + 1, (uint16_t)v);
}

void wr_u32(struct wr *w, uint32_t v)
{
	uint8_t *p = wr_take(w, 4);
	if (p)
		store_be32(p, v);
}

void wr_u64(struct wr *w, uint64_t v)
{
	uint8_t *p = wr_take(w, 8);
	if (!p)
		return;
	store_be32(p, (uint32_t)(v >> 32));
	store_be32(p + 4, (uint32_t)v);
}

void wr_bytes(struct wr *w, const void *p, size_t n)
{
	uint8_t *to = wr_take(w, n);
	if (to && n > 0)
		memcpy(to, p, n);
}

void wr_zero(struct wr *w, size_t n)
{
	uint8_t *to = wr_take(w, n);
	if (to && n > 0)
		memset(to, 0, n);
}

size_t wr_open16(struct wr *w)
{
	size_t mark = wr_len(w);
	wr_u16(w, 0);
	return mark;
}

void wr_close16(struct wr *w, size_t mark)
{
	if (w->failed)
		return;
	size_t n = wr_len(w) - mark - 2;
	if (n > UINT16_MAX)
		w->failed = true;
	else
		store_be16(w->start + mark, (uint16_t)n);
}

bool bytes_equal_ct(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}

void bytes_wipe(void *p, size_t n)
{
	if (n > 0)
		OPENSSL_cleanse(p, n);
}

int bytes_random(void *p, size_t n)
{
	uint8_t *at = p;
	while (n > 0) {
		size_t part = MIN(n, (size_t)INT_MAX); /* RAND_bytes counts in int */
		if (RAND_bytes(at, (int)part) != 1)
			return -EIO;
		at += part;
		n -= part;
	}
	return 0;
}

int bytes_pool_take(struct bytes_pool *pool, void *p, size_t n)
{
	if (n > sizeof pool->bytes)
		return bytes_random(p, n);
	if (n > pool->left) {
		int r = bytes_random(pool->bytes, sizeof pool->bytes);
		if (r < 0)
			return r;
		pool->left = sizeof pool->bytes;
	}
	pool->left -= n;
	memcpy(p, pool->bytes + pool->left, n);
	bytes_wipe(pool->bytes + pool->left, n); /* what is given twice is no secret */
	return 0;
}
