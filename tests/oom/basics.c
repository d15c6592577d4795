/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without memory, the containers of common/ return an error or stay as they were, and work on: the
 * hash table also while it would like to grow or shrink. Each of their calls allocates once at most,
 * so arming the next allocation before a call is all it takes.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "common/hash.h"
#include "common/header_table.h"
#include "common/text.h"
#include "common/timers.h"
#include "tests/oom/failing.h"

static void constructors_say_so(void **state)
{
	static const struct header_row rows[] = { { "Via", 'v', 0, 1 } };
	struct header_table t;
	(void)state;
	oom_arm(1);
	assert_null(timers_new(0));
	assert_true(oom_hit());
	oom_arm(1);
	assert_null(text_dup(TEXT("x")));
	assert_true(oom_hit());
	oom_arm(1);
	assert_int_equal(header_table_init(&t, rows, 1), -ENOMEM);
	assert_true(oom_hit());
	assert_null(header_find(&t, TEXT("Via")));
	header_table_deinit(&t);
}

struct item {
	struct hnode node;
	uint64_t key;
};

static bool key_is(const struct hnode *n, const void *key)
{
	return container_of(n, struct item, node)->key == *(const uint64_t *)key;
}

static uint64_t spread(uint64_t key)
{
	return key * UINT64_C(0x9e3779b97f4a7c15) >> 7;
}

static void check_all(const struct htable *t, const struct item *items, size_t from, size_t to, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct hnode *found = htable_find(t, spread(i), key_is, &items[i].key);
		assert_ptr_equal(found, i >= from && i < to ? &items[i].node : NULL);
	}
}

static void a_table_without_memory_fills_up_and_recovers(void **state)
{
	enum { N = 2000 };
	static struct item items[N];
	struct htable t;
	unsigned refused = 0;
	(void)state;
	htable_init(&t);
	oom_arm(1);
	assert_int_equal(htable_insert(&t, &items[0].node, spread(0)), -ENOMEM);
	assert_int_equal(t.count, 0);
	for (size_t i = 0; i < N; i++) {
		items[i].key = i;
		oom_arm(i > 0); /* only the very first array can be had */
		assert_int_equal(htable_insert(&t, &items[i].node, spread(i)), 0);
		refused += oom_hit();
	}
	oom_arm(0);
	size_t small = t.n_slots;
	assert_true(refused > 1 && small < 100);
	check_all(&t, items, 0, N, N);
	for (size_t i = 0; i < N / 2; i++) { /* memory is back: it grows though nodes go */
		htable_remove(&t, &items[i].node);
		check_all(&t, items, i + 1, N, i % 100 == 0 ? N : 0);
	}
	assert_true(t.n_slots > small);
	size_t large = t.n_slots;
	for (size_t i = N / 2; i < N; i++) {
		oom_arm(1); /* shrinking needs memory, too, and can wait */
		htable_remove(&t, &items[i].node);
	}
	oom_arm(0);
	assert_int_equal(t.count, 0);
	assert_true(t.n_slots >= large);
	assert_int_equal(htable_insert(&t, &items[0].node, spread(0)), 0);
	check_all(&t, items, 0, 1, N);
	htable_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(constructors_say_so),
		cmocka_unit_test(a_table_without_memory_fills_up_and_recovers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
