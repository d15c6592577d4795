/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-1-3 against reference vectors, and the incremental table (common/hash.h): nothing is lost
 * while it grows and shrinks, and no single operation does more than a bounded amount of work,
 * which is counted in buckets and not timed.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "common/hash.h"

enum { MAX_BUCKETS_PER_OPERATION = 32 };

/* Key 00 01 … 0f, input 00 01 … of length 0 to 63. Computed with a separate Python program that
 * gives the paper's SipHash-2-4 vector and, with a zero key, the same values as CPython's own
 * siphash13. */
static const uint64_t vectors[64] = {
	/* clang-format off */
	0xabac0158050fc4dc, 0xc9f49bf37d57ca93, 0x82cb9b024dc7d44d, 0x8bf80ab8e7ddf7fb,
	0xcf75576088d38328, 0xdef9d52f49533b67, 0xc50d2b50c59f22a7, 0xd3927d989bb11140,
	0x369095118d299a8e, 0x25a48eb36c063de4, 0x79de85ee92ff097f, 0x70c118c1f94dc352,
	0x78a384b157b4d9a2, 0x306f760c1229ffa7, 0x605aa111c0f95d34, 0xd320d86d2a519956,
	0xcc4fdd1a7d908b66, 0x9cf2689063dbd80c, 0x8ffc389cb473e63e, 0xf21f9de58d297d1c,
	0xc0dc2f46a6cce040, 0xb992abfe2b45f844, 0x7ffe7b9ba320872e, 0x525a0e7fdae6c123,
	0xf464aeb267349c8c, 0x45cd5928705b0979, 0x3a3e35e3ca9913a5, 0xa91dc74e4ade3b35,
	0xfb0bed02ef6cd00d, 0x88d93cb44ab1e1f4, 0x540f11d643c5e663, 0x2370dd1f8c21d1bc,
	0x81157b6c16a7b60d, 0x4d54b9e57a8ff9bf, 0x759f12781f2a753e, 0xcea1a3bebf186b91,
	0x2cf508d3ada26206, 0xb6101c2da3c33057, 0xb3f47496ae3a36a1, 0x626b57547b108392,
	0xc1d2363299e41531, 0x667cc1923f1ad944, 0x65704ffec8138825, 0x24f280d1c28949a6,
	0xc2ca1cedfaf8876b, 0xc2164bfc9f042196, 0xa16e9c9368b1d623, 0x49fb169c8b5114fd,
	0x9f3143f8df074c46, 0xc6fdaf2412cc86b3, 0x7eaf49d10a52098f, 0x1cf313559d292f9a,
	0xc44a30dda2f41f12, 0x36fae98943a71ed0, 0x318fb34c73f0bce6, 0xa27abf3670a7e980,
	0xb4bcc0db243c6d75, 0x23f8d852fdb71513, 0x8f035f4da67d8a08, 0xd89cd0e5b7e8f148,
	0xf6f4e6bcf7a644ee, 0xaec59ad80f1837f2, 0xc3b2f6154b6694e0, 0x9d199062b7bbb3a8,
	/* clang-format on */
};

static void siphash_1_3_matches_the_reference_at_every_length_and_alignment(void **state)
{
	const struct hash_seed seed = { UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908) };
	(void)state;
	for (size_t shift = 0; shift < 8; shift++) {
		for (size_t n = 0; n < 64; n++) {
			uint8_t *in = malloc(shift + n + 1); /* no longer than needed: a read beyond shows */
			assert_non_null(in);
			for (size_t i = 0; i < n; i++)
				in[shift + i] = (uint8_t)i;
			uint8_t *exact = realloc(in, shift + n ? shift + n : 1);
			assert_non_null(exact);
			assert_true(hash_bytes(&seed, exact + shift, n) == vectors[n]);
			free(exact);
		}
	}
}

static void siphash_1_3_matches_cpython(void **state)
{
	const struct hash_seed seed = { 0 }; /* PYTHONHASHSEED=0 python3 -c 'print(hash(b"stile"))' */
	(void)state;
	assert_true(hash_bytes(&seed, "a", 1) == UINT64_C(0x407448d2b89b1813));
	assert_true(hash_bytes(&seed, "stile", 5) == UINT64_C(0x22e789b3528292a5));
	assert_true(hash_bytes(&seed, "0123456789abcdef", 16) == UINT64_C(0x1d42b30f7e060c24));
}

static void seeds_differ_and_change_the_hash(void **state)
{
	struct hash_seed a = hash_seed_random(), b = hash_seed_random();
	(void)state;
	assert_true(a.k0 != b.k0 && a.k1 != b.k1 && a.k0 != a.k1);
	assert_true(hash_bytes(&a, "x", 1) != hash_bytes(&b, "x", 1));
	b = a;
	b.k1 ^= 1;
	assert_true(hash_bytes(&a, "x", 1) != hash_bytes(&b, "x", 1));
}

struct item {
	struct hnode node;
	uint64_t key;
	bool in; /* the naive model */
	unsigned visits;
};

static const struct hash_seed fixed = { 1, 2 };

static uint64_t hash_of(uint64_t key)
{
	return hash_bytes(&fixed, &key, sizeof key);
}

static bool key_is(const struct hnode *n, const void *key)
{
	return container_of(n, struct item, node)->key == *(const uint64_t *)key;
}

static struct item *find(const struct htable *t, uint64_t key)
{
	struct hnode *n = htable_find(t, hash_of(key), key_is, &key);
	return n ? container_of(n, struct item, node) : NULL;
}

static void insert(struct htable *t, struct item *it)
{
	assert_int_equal(htable_insert(t, &it->node, hash_of(it->key)), 0);
	it->in = true;
}

static void an_empty_table_finds_and_removes_nothing(void **state)
{
	struct htable t;
	struct item it = { .key = 1 };
	(void)state;
	htable_init(&t);
	assert_null(find(&t, 1));
	htable_remove(&t, &it.node);
	assert_null(t.slots); /* no memory before the first insert */
	htable_deinit(&t);
}

static void removing_twice_or_a_stranger_is_harmless(void **state)
{
	struct htable t;
	struct item a = { .key = 1 }, b = { .key = 2 }, zero = { 0 };
	(void)state;
	htable_init(&t);
	insert(&t, &a);
	insert(&t, &b);
	htable_remove(&t, &zero.node);
	htable_remove(&t, &a.node);
	htable_remove(&t, &a.node);
	assert_int_equal(t.count, 1);
	assert_null(find(&t, 1));
	assert_ptr_equal(find(&t, 2), &b);
	htable_deinit(&t);
}

static void equal_hashes_are_told_apart_by_the_key(void **state)
{
	struct htable t;
	struct item items[100];
	(void)state;
	htable_init(&t);
	for (size_t i = 0; i < ARRAY_LEN(items); i++) {
		items[i] = (struct item){ .key = i };
		assert_int_equal(htable_insert(&t, &items[i].node, 42), 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		assert_ptr_equal(htable_find(&t, 42, key_is, &items[i].key), &items[i].node);
	/* the bucket is right, the hash is not: eq must not even be asked */
	assert_null(htable_find(&t, 42 + (UINT64_C(1) << 40), key_is, &items[0].key));
	for (size_t i = 0; i < ARRAY_LEN(items); i += 2)
		htable_remove(&t, &items[i].node);
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		assert_int_equal(htable_find(&t, 42, key_is, &items[i].key) != NULL, i % 2 == 1);
	htable_deinit(&t);
}

/* Buckets of the old array that this operation dealt with, given the table before it. */
static size_t buckets_moved(const struct htable *before, const struct htable *after)
{
	if (!before->old)
		return after->old ? after->moved : 0;
	return (after->old == before->old ? after->moved : before->n_old) - before->moved;
}

static void a_million_nodes_come_and_go_without_a_stall(void **state)
{
	enum { N = 1000000 };
	struct item *items = calloc(N, sizeof *items);
	struct htable t;
	size_t worst = 0, resizes = 0;
	(void)state;
	assert_non_null(items);
	htable_init(&t);
	for (size_t i = 0; i < N; i++) {
		struct htable before = t;
		items[i].key = i * UINT64_C(0x9e3779b97f4a7c15);
		insert(&t, &items[i]);
		worst = MAX(worst, buckets_moved(&before, &t));
		resizes += before.slots && before.slots != t.slots;
		if (before.slots != t.slots) /* a change of size begins only when the last one is over */
			assert_null(before.old);
		if (i % 997 == 0) /* also in the middle of a move, the oldest and the newest are there */
			assert_true(find(&t, items[i].key) == &items[i] && find(&t, items[i / 2].key));
	}
	assert_int_equal(t.count, N);
	assert_true(t.count <= 2 * t.n_slots); /* it really grew … */
	assert_true(resizes >= 15);	       /* … step by step */
	assert_true(worst > 0 && worst <= MAX_BUCKETS_PER_OPERATION);
	for (size_t i = 0; i < N; i++)
		assert_ptr_equal(find(&t, items[i].key), &items[i]);
	worst = resizes = 0;
	for (size_t i = 0; i < N; i++) {
		struct htable before = t;
		htable_remove(&t, &items[i].node);
		if (t.count > 0)
			worst = MAX(worst, buckets_moved(&before, &t));
		resizes += before.slots != t.slots;
		if (i % 997 == 0)
			assert_true(!find(&t, items[i].key) &&
				    (i == N - 1 || find(&t, items[N - 1].key)));
	}
	assert_true(worst > 0 && worst <= MAX_BUCKETS_PER_OPERATION);
	assert_true(resizes >= 5);
	assert_int_equal(t.count, 0);
	assert_true(t.n_slots <= 16 && !t.old); /* the memory is given back */
	htable_deinit(&t);
	free(items);
}

static void random_operations_agree_with_a_naive_model(void **state)
{
	enum { N = 3000, STEPS = 400000 };
	static struct item items[N];
	struct htable t;
	uint64_t rnd = 88172645463325252u;
	size_t count = 0;
	(void)state;
	htable_init(&t);
	for (size_t i = 0; i < N; i++)
		items[i] = (struct item){ .key = i };
	for (size_t step = 0; step < STEPS; step++) {
		rnd ^= rnd << 13, rnd ^= rnd >> 7, rnd ^= rnd << 17;
		struct item *it = &items[rnd % N];
		bool filling = step / 20000 % 2 == 0; /* waves, so that it grows and shrinks often */
		if ((rnd >> 40) % 4 != 0 ? filling : !filling) {
			if (!it->in) {
				insert(&t, it);
				count++;
			}
		} else if (it->in) {
			htable_remove(&t, &it->node);
			it->in = false;
			count--;
		}
		assert_int_equal(t.count, count);
		it = &items[(rnd >> 20) % N];
		assert_ptr_equal(find(&t, it->key), it->in ? it : NULL);
	}
	htable_deinit(&t);
}

static bool count_visit(struct hnode *n, void *arg)
{
	container_of(n, struct item, node)->visits++;
	++*(size_t *)arg;
	return true;
}

static bool remove_odd(struct hnode *n, void *arg)
{
	struct item *it = container_of(n, struct item, node);
	if (it->key % 2) {
		htable_remove(arg, n);
		memset(it, 0xee, sizeof *it); /* as if freed */
	}
	return true;
}

static bool free_all(struct hnode *n, void *arg)
{
	htable_remove(arg, n);
	free(container_of(n, struct item, node));
	return true;
}

static bool stop_at_three(struct hnode *n, void *arg)
{
	(void)n;
	return ++*(size_t *)arg < 3;
}

static void a_walk_visits_each_node_once_even_in_the_middle_of_a_move(void **state)
{
	enum { N = 600 };
	static struct item items[N];
	struct htable t;
	size_t moving = 0;
	(void)state;
	for (size_t n = 1; n < N; n += 7) {
		size_t visited = 0;
		htable_init(&t);
		memset(items, 0, sizeof items);
		for (size_t i = 0; i < n; i++) {
			items[i].key = i;
			insert(&t, &items[i]);
		}
		moving += t.old != NULL;
		htable_each(&t, count_visit, &visited);
		assert_int_equal(visited, n);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(items[i].visits, 1);
		htable_each(&t, remove_odd, &t);
		assert_int_equal(t.count, (n + 1) / 2);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(find(&t, i) != NULL, i % 2 == 0);
		visited = 0;
		htable_each(&t, stop_at_three, &visited);
		assert_int_equal(visited, MIN((n + 1) / 2, (size_t)3));
		htable_deinit(&t);
	}
	assert_true(moving > 5); /* else this tested less than it says */
}

static void a_walk_may_free_every_node(void **state)
{
	struct htable t;
	(void)state;
	htable_init(&t);
	for (size_t i = 0; i < 5000; i++) {
		struct item *it = calloc(1, sizeof *it);
		assert_non_null(it);
		it->key = i;
		insert(&t, it);
	}
	htable_each(&t, free_all, &t);
	assert_int_equal(t.count, 0);
	assert_true(t.n_slots <= 16 && !t.old);
	size_t visited = 0;
	htable_each(&t, count_visit, &visited);
	assert_int_equal(visited, 0);
	htable_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(siphash_1_3_matches_the_reference_at_every_length_and_alignment),
		cmocka_unit_test(siphash_1_3_matches_cpython),
		cmocka_unit_test(seeds_differ_and_change_the_hash),
		cmocka_unit_test(an_empty_table_finds_and_removes_nothing),
		cmocka_unit_test(removing_twice_or_a_stranger_is_harmless),
		cmocka_unit_test(equal_hashes_are_told_apart_by_the_key),
		cmocka_unit_test(a_million_nodes_come_and_go_without_a_stall),
		cmocka_unit_test(random_operations_agree_with_a_naive_model),
		cmocka_unit_test(a_walk_visits_each_node_once_even_in_the_middle_of_a_move),
		cmocka_unit_test(a_walk_may_free_every_node),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
