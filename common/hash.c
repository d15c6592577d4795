/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF") and the incremental table.
 *
 * The table has one bucket per node when it is full and doubles then; it shrinks when seven of
 * eight buckets are empty. A change of size only allocates the new array; each later insert or
 * remove moves at most MOVE_NODES_IN buckets that hold something and looks at no more than
 * MOVE_VISIT, which is enough to be done long before the next change is due (and if it is not, that
 * change waits). Shrinking is a courtesy: if it cannot get memory, the table stays large.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "common/hash.h"

enum {
	MIN_SLOTS = 16,
	MOVE_NODES_IN = 4, /* buckets with nodes moved by one operation */
	MOVE_VISIT = 32,   /* buckets looked at by one operation */
};

struct hash_seed hash_seed_random(void)
{
	struct hash_seed s;
	/* Not OpenSSL's generator: it allocates, and this must work when memory is short.
	 * Without any randomness every table could be flooded, so there is nothing sensible to
	 * go on with. */
	if (getentropy(&s, sizeof s) < 0)
		abort();
	return s;
}

static inline uint64_t rotl(uint64_t v, int n)
{
	return v << n | v >> (64 - n);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t m)
{
	v[3] ^= m;
	sip_round(v);
	v[0] ^= m;
}

/* n is 4 or 8, a constant at each call. */
static inline uint64_t load_le(const uint8_t *p, size_t n)
{
	uint64_t v = 0;
	memcpy(&v, p, n);
	return le64toh(v);
}

uint64_t hash_bytes(const struct hash_seed *s, const void *p, size_t n)
{
	uint64_t v[4] = {
		s->k0 ^ UINT64_C(0x736f6d6570736575), /* "somepseudorandomlygeneratedbytes" */
		s->k1 ^ UINT64_C(0x646f72616e646f6d),
		s->k0 ^ UINT64_C(0x6c7967656e657261),
		s->k1 ^ UINT64_C(0x7465646279746573),
	};
	const uint8_t *b = p;
	uint64_t length = (uint64_t)n << 56;
	for (; n >= 8; b += 8, n -= 8)
		sip_word(v, load_le(b, 8));
	/* the last 0..7 bytes without a loop: overlapping loads agree where they overlap */
	if (n >= 4)
		sip_word(v, length | load_le(b, 4) | load_le(b + n - 4, 4) << (8 * (n - 4)));
	else if (n > 0)
		sip_word(v, length | b[0] | (uint64_t)b[n / 2] << (8 * (n / 2)) |
				    (uint64_t)b[n - 1] << (8 * (n - 1)));
	else
		sip_word(v, length);
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void htable_init(struct htable *t)
{
	*t = (struct htable){ 0 };
}

void htable_deinit(struct htable *t)
{
	free(t->slots);
	free(t->old);
	htable_init(t);
}

static void push(struct hnode **slots, size_t n_slots, struct hnode *n)
{
	struct hnode **slot = &slots[n->hash & (n_slots - 1)];
	n->next = *slot;
	*slot = n;
}

/* Moves the next few buckets of the old array; frees it when it is empty. */
static void move_some(struct htable *t)
{
	unsigned visits = MOVE_VISIT, moves = MOVE_NODES_IN;
	for (; t->moved < t->n_old && visits > 0 && moves > 0; t->moved++, visits--) {
		struct hnode *n = t->old[t->moved];
		t->old[t->moved] = NULL;
		moves -= n != NULL;
		while (n) {
			struct hnode *next = n->next;
			push(t->slots, t->n_slots, n);
			n = next;
		}
	}
	if (t->old && t->moved == t->n_old) {
		free(t->old);
		t->old = NULL;
		t->n_old = t->moved = 0;
	}
}

/* Starts the move to an array of n_slots; without memory the table stays as it is. */
static void resize(struct htable *t, size_t n_slots)
{
	struct hnode **slots = calloc(n_slots, sizeof(*slots));
	if (!slots)
		return;
	t->old = t->slots;
	t->n_old = t->n_slots;
	t->moved = 0;
	t->slots = slots;
	t->n_slots = n_slots;
	if (t->count == 0) { /* nothing to move: give the memory back now */
		free(t->old);
		t->old = NULL;
		t->n_old = 0;
	}
}

static void adjust(struct htable *t)
{
	if (t->walking)
		return;
	if (t->count == 0 && t->old) {
		free(t->old);
		t->old = NULL;
		t->n_old = t->moved = 0;
	}
	if (t->old)
		move_some(t);
	else if (t->count > t->n_slots)
		resize(t, t->n_slots * 2);
	else if (t->count == 0 && t->n_slots > MIN_SLOTS)
		resize(t, MIN_SLOTS);
	else if (t->count < t->n_slots / 8 && t->n_slots > MIN_SLOTS)
		resize(t, MAX(t->n_slots / 4, (size_t)MIN_SLOTS));
}

int htable_insert(struct htable *t, struct hnode *n, uint64_t hash)
{
	if (!t->slots) {
		t->slots = calloc(MIN_SLOTS, sizeof(*t->slots));
		if (!t->slots)
			return -ENOMEM;
		t->n_slots = MIN_SLOTS;
	}
	n->hash = hash;
	push(t->slots, t->n_slots, n);
	t->count++;
	adjust(t);
	return 0;
}

static bool unlink_from(struct hnode **slot, struct hnode *n)
{
	for (; *slot; slot = &(*slot)->next) {
		if (*slot != n)
			continue;
		*slot = n->next;
		n->next = NULL;
		return true;
	}
	return false;
}

void htable_remove(struct htable *t, struct hnode *n)
{
	if (!t->slots)
		return;
	if (!unlink_from(&t->slots[n->hash & (t->n_slots - 1)], n) &&
	    !(t->old && unlink_from(&t->old[n->hash & (t->n_old - 1)], n)))
		return;
	t->count--;
	adjust(t);
}

struct hnode *htable_find(const struct htable *t, uint64_t hash,
			  bool (*eq)(const struct hnode *, const void *), const void *key)
{
	if (!t->slots)
		return NULL;
	for (struct hnode *n = t->slots[hash & (t->n_slots - 1)]; n; n = n->next)
		if (n->hash == hash && eq(n, key))
			return n;
	if (!t->old)
		return NULL;
	for (struct hnode *n = t->old[hash & (t->n_old - 1)]; n; n = n->next)
		if (n->hash == hash && eq(n, key))
			return n;
	return NULL;
}

static bool walk(struct hnode **slots, size_t n, bool (*fn)(struct hnode *, void *), void *arg)
{
	for (size_t i = 0; i < n; i++) {
		for (struct hnode *it = slots[i], *next; it; it = next) {
			next = it->next; /* fn may free it */
			if (!fn(it, arg))
				return false;
		}
	}
	return true;
}

void htable_each(struct htable *t, bool (*fn)(struct hnode *, void *), void *arg)
{
	t->walking = true;
	if (walk(t->old, t->n_old, fn, arg))
		walk(t->slots, t->n_slots, fn, arg);
	t->walking = false;
	adjust(t);
}
