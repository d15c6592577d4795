/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections per client address: what counts as one address, the two limits, and that counts come
 * back to nothing, also from several threads at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include "common/text.h"
#include "common/clients.h"

enum { THREADS = 4, ROUNDS = 20000, ADDRESSES = 37, TOTAL = 60, PER_ADDRESS = 3 };

static struct addr at(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text_of(text), 0, &a), 0);
	return a;
}

static enum clients_verdict enter(struct clients *c, const char *from, uint64_t total, uint64_t per_address)
{
	struct addr a = at(from);

	return clients_enter(c, &a, total, per_address);
}

static void leave(struct clients *c, const char *from)
{
	struct addr a = at(from);

	clients_leave(c, &a);
}

static int setup(void **state)
{
	*state = clients_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	clients_free(*state);
	return 0;
}

static void an_address_has_its_limit_whatever_the_port(void **state)
{
	struct clients *c = *state;

	assert_int_equal(enter(c, "192.0.2.1:1", 10, 2), CLIENTS_OK);
	assert_int_equal(enter(c, "192.0.2.1:2", 10, 2), CLIENTS_OK);
	assert_int_equal(enter(c, "192.0.2.1:3", 10, 2), CLIENTS_ADDRESS);
	assert_int_equal(enter(c, "192.0.2.2:1", 10, 2), CLIENTS_OK);
	assert_int_equal(clients_count(c), 3);
	leave(c, "192.0.2.1:2");
	assert_int_equal(enter(c, "192.0.2.1:9", 10, 2), CLIENTS_OK);
}

static void all_together_have_a_limit(void **state)
{
	struct clients *c = *state;

	assert_int_equal(enter(c, "192.0.2.1:1", 2, 2), CLIENTS_OK);
	assert_int_equal(enter(c, "192.0.2.2:1", 2, 2), CLIENTS_OK);
	assert_int_equal(enter(c, "192.0.2.3:1", 2, 2), CLIENTS_TOTAL);
	assert_int_equal(clients_count(c), 2);
	leave(c, "192.0.2.1:1");
	assert_int_equal(enter(c, "192.0.2.3:1", 2, 2), CLIENTS_OK);
}

static void a_lowered_limit_holds_for_the_next(void **state)
{
	struct clients *c = *state;

	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(enter(c, "192.0.2.1:1", 10, 5), CLIENTS_OK);
	assert_int_equal(enter(c, "192.0.2.1:1", 10, 3), CLIENTS_ADDRESS);
	leave(c, "192.0.2.1:1");
	leave(c, "192.0.2.1:1");
	assert_int_equal(enter(c, "192.0.2.1:1", 10, 3), CLIENTS_ADDRESS);
	leave(c, "192.0.2.1:1");
	assert_int_equal(enter(c, "192.0.2.1:1", 10, 3), CLIENTS_OK);
}

static void ipv6_counts_by_its_64_bit_prefix(void **state)
{
	struct clients *c = *state;

	assert_int_equal(enter(c, "[2001:db8:1:2::1]:1", 10, 2), CLIENTS_OK);
	assert_int_equal(enter(c, "[2001:db8:1:2:ffff:ffff:ffff:ffff]:1", 10, 2), CLIENTS_OK);
	assert_int_equal(enter(c, "[2001:db8:1:2:8000::]:1", 10, 2), CLIENTS_ADDRESS);
	assert_int_equal(enter(c, "[2001:db8:1:3::1]:1", 10, 2), CLIENTS_OK);
}

static void a_mapped_address_is_the_ipv4_address(void **state)
{
	struct clients *c = *state;

	assert_int_equal(enter(c, "192.0.2.1:1", 10, 1), CLIENTS_OK);
	assert_int_equal(enter(c, "[::ffff:192.0.2.1]:1", 10, 1), CLIENTS_ADDRESS);
	leave(c, "[::ffff:192.0.2.1]:1");
	assert_int_equal(clients_count(c), 0);
}

static void an_ipv4_address_is_no_prefix_of_an_ipv6_one(void **state)
{
	struct clients *c = *state;

	assert_int_equal(enter(c, "32.1.13.184:1", 10, 1), CLIENTS_OK); /* 20 01 0d b8 */
	assert_int_equal(enter(c, "[2001:db8::1]:1", 10, 1), CLIENTS_OK);
}

static void leaving_without_having_entered_changes_nothing(void **state)
{
	struct clients *c = *state;

	leave(c, "192.0.2.1:1");
	assert_int_equal(clients_count(c), 0);
	assert_int_equal(enter(c, "192.0.2.2:1", 10, 1), CLIENTS_OK);
	leave(c, "192.0.2.1:1");
	assert_int_equal(clients_count(c), 1);
}

struct crowd {
	struct clients *c;
	unsigned number, wrong; /* cmocka's assertions belong to the main thread */
};

static void *come_and_go(void *arg)
{
	struct crowd *cr = arg;
	unsigned held[ADDRESSES] = { 0 };

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned k = (i * 7 + cr->number * 11) % ADDRESSES;
		struct addr a = addr_v4(0xc0000200 + k, (uint16_t)i);
		if (held[k] && i % 3) {
			clients_leave(cr->c, &a);
			held[k]--;
		} else if (clients_enter(cr->c, &a, TOTAL, PER_ADDRESS) == CLIENTS_OK) {
			held[k]++;
			cr->wrong += held[k] > PER_ADDRESS;
		}
		cr->wrong += clients_count(cr->c) > TOTAL;
	}
	for (unsigned k = 0; k < ADDRESSES; k++)
		for (; held[k]; held[k]--) {
			struct addr a = addr_v4(0xc0000200 + k, 1);
			clients_leave(cr->c, &a);
		}
	return NULL;
}

static void threads_share_the_limits_and_leave_nothing(void **state)
{
	struct crowd crowd[THREADS];
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		crowd[i] = (struct crowd){ .c = *state, .number = i };
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &crowd[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(crowd[i].wrong, 0);
	}
	assert_int_equal(clients_count(*state), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_address_has_its_limit_whatever_the_port),
		TEST(all_together_have_a_limit),
		TEST(a_lowered_limit_holds_for_the_next),
		TEST(ipv6_counts_by_its_64_bit_prefix),
		TEST(a_mapped_address_is_the_ipv4_address),
		TEST(an_ipv4_address_is_no_prefix_of_an_ipv6_one),
		TEST(leaving_without_having_entered_changes_nothing),
		TEST(threads_share_the_limits_and_leave_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
