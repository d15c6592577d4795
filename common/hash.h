/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyed hashing (SipHash-1-3) and an intrusive hash table that grows and shrinks without a stall.
 *
 * A stranger may choose the keys, so the seed is random per process (hash_seed_random) and fixed
 * only in tests. The table moves a few buckets per insert or remove while it changes its size (two
 * arrays live for a while), so no operation walks the whole table. The table owns only its bucket
 * arrays; nodes live inside their owners, who remove them before they die.
 */
#pragma once
#include "common/defs.h"

struct hash_seed {
	uint64_t k0, k1;
};
struct hash_seed hash_seed_random(void); /* from the kernel; does not allocate, does not fail */
uint64_t hash_bytes(const struct hash_seed *s, const void *p, size_t n);

struct hnode {
	struct hnode *next;
	uint64_t hash;
};

struct htable {
	struct hnode **slots, **old; /* old: being emptied while growing or shrinking */
	size_t n_slots, n_old;	     /* sizes are powers of two, or 0 */
	size_t moved;		     /* buckets of old below this one are empty */
	size_t count;		     /* nodes */
	bool walking;		     /* inside htable_each: the arrays stay as they are */
};

void htable_init(struct htable *t);   /* no memory yet; the first insert allocates */
void htable_deinit(struct htable *t); /* frees the arrays, not the nodes */
/* The caller has made sure that the key is not there. -ENOMEM only for the very first insert; later
 * a failed growth just leaves the table fuller. */
int htable_insert(struct htable *t, struct hnode *n, uint64_t hash);
void htable_remove(struct htable *t, struct hnode *n); /* harmless if it is not linked */
/* First node of this full hash for which eq(node, key) holds. */
struct hnode *htable_find(const struct htable *t, uint64_t hash,
			  bool (*eq)(const struct hnode *, const void *), const void *key);
/* Visits every node; fn may remove (and free) the node it was given, nothing else. Stops when fn
 * returns false. */
void htable_each(struct htable *t, bool (*fn)(struct hnode *, void *), void *arg);
