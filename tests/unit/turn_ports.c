/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which relay ports are tried: all of the range, nothing outside, even ones where asked, and
 * spread evenly.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "turn/ports.h"

static unsigned walk_all(struct cfg_port_range range, enum turn_parity parity, uint8_t seen[65536])
{
	struct turn_port_walk w;
	uint16_t port;
	unsigned n = 0;

	memset(seen, 0, 65536);
	assert_int_equal(turn_port_walk_init(&w, range, parity), 0);
	while (turn_port_walk_next(&w, &port) == 0) {
		assert_in_range(port, range.first, range.last);
		seen[port] = 1;
		n++;
	}
	assert_int_equal(turn_port_walk_next(&w, &port), -ENOSPC);
	return n;
}

static unsigned count(const uint8_t seen[65536])
{
	unsigned n = 0;

	for (unsigned i = 0; i < 65536; i++)
		n += seen[i];
	return n;
}

static void every_port_of_the_range_is_tried_and_no_other(void **state)
{
	static uint8_t seen[65536];

	(void)state;
	assert_int_equal(walk_all((struct cfg_port_range){ 49152, 65535 }, TURN_PORT_ANY, seen),
			 TURN_PORT_RANDOM_TRIES + 16384);
	assert_int_equal(count(seen), 16384);
	walk_all((struct cfg_port_range){ 65535, 65535 }, TURN_PORT_ANY, seen);
	assert_int_equal(count(seen), 1);
	walk_all((struct cfg_port_range){ 1, 65535 }, TURN_PORT_ANY, seen);
	assert_int_equal(count(seen), 65535);
}

static void even_ports_are_even_and_a_pair_fits_into_the_range(void **state)
{
	static uint8_t seen[65536];

	(void)state;
	walk_all((struct cfg_port_range){ 50001, 50006 }, TURN_PORT_EVEN, seen);
	assert_true(count(seen) == 3 && seen[50002] && seen[50004] && seen[50006]);
	walk_all((struct cfg_port_range){ 50001, 50006 }, TURN_PORT_EVEN_PAIR, seen);
	assert_true(count(seen) == 2 && seen[50002] && seen[50004]);
	walk_all((struct cfg_port_range){ 49152, 65535 }, TURN_PORT_EVEN_PAIR, seen);
	assert_true(count(seen) == 8192 && seen[65534]);
}

static void a_range_without_such_a_port_is_told(void **state)
{
	struct turn_port_walk w;

	(void)state;
	assert_int_equal(turn_port_walk_init(&w, (struct cfg_port_range){ 50001, 50001 }, TURN_PORT_EVEN),
			 -ERANGE);
	assert_int_equal(turn_port_walk_init(&w, (struct cfg_port_range){ 50000, 50000 },
					     TURN_PORT_EVEN_PAIR),
			 -ERANGE);
	assert_int_equal(turn_port_walk_init(&w, (struct cfg_port_range){ 65535, 65535 }, TURN_PORT_EVEN),
			 -ERANGE);
	assert_int_equal(turn_port_walk_init(&w, (struct cfg_port_range){ 0, 0 }, TURN_PORT_EVEN_PAIR),
			 -ERANGE);
}

/* Advisory: CVE-2025-69217. */
static void first_picks_are_spread_over_the_range(void **state)
{
	unsigned buckets[16] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 16000; i++) {
		struct turn_port_walk w;
		uint16_t port;
		assert_int_equal(turn_port_walk_init(&w, (struct cfg_port_range){ 49152, 65535 },
						     TURN_PORT_ANY),
				 0);
		assert_int_equal(turn_port_walk_next(&w, &port), 0);
		buckets[(port - 49152) / 1024]++;
	}
	for (unsigned i = 0; i < 16; i++) /* 1000 each; 8 standard deviations */
		assert_in_range(buckets[i], 750, 1250);
}

static void walk(uint16_t ports[static 16])
{
	for (unsigned i = 0; i < 16; i++) {
		struct turn_port_walk w;
		assert_int_equal(turn_port_walk_init(&w, (struct cfg_port_range){ 49152, 65535 }, TURN_PORT_ANY), 0);
		assert_int_equal(turn_port_walk_next(&w, &ports[i]), 0);
	}
}

/* Nobody who knows or sets the C library's seed knows our ports; and a forked process has others.
 * Advisory: CVE-2025-69217. */
static void ports_do_not_follow_from_the_librarys_generator(void **state)
{
	uint16_t first[16], second[16], there[16];
	int fds[2], status;

	(void)state;
	srand(42), srandom(42), srand48(42);
	walk(first);
	srand(42), srandom(42), srand48(42);
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		walk(there);
		_exit(write(fds[1], there, sizeof there) != sizeof there);
	}
	walk(second);
	assert_int_equal(read(fds[0], there, sizeof there), sizeof there);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_memory_not_equal(first, second, sizeof first); /* equal by chance: 2^-224 */
	assert_memory_not_equal(second, there, sizeof second);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_port_of_the_range_is_tried_and_no_other),
		cmocka_unit_test(even_ports_are_even_and_a_pair_fits_into_the_range),
		cmocka_unit_test(a_range_without_such_a_port_is_told),
		cmocka_unit_test(first_picks_are_spread_over_the_range),
		cmocka_unit_test(ports_do_not_follow_from_the_librarys_generator),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
