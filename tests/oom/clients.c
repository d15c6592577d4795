/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections per client address without memory: a newcomer is refused with its own reason, and nothing of it stays counted.
 * Who is there already is let in and out as ever, for that needs none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "common/text.h"
#include "tests/oom/failing.h"
#include "common/clients.h"

static void who_cannot_be_counted_is_not_let_in(void **state)
{
	const struct addr a = addr_v4(0xc0000201, 1), b = addr_v4(0xc0000202, 1);
	struct clients *c;

	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		c = clients_new();
		assert_true(c || oom_hit());
		clients_free(c);
	}
	c = clients_new();
	assert_non_null(c);
	for (unsigned n = 1; oom_next(&n);) {
		enum clients_verdict v = clients_enter(c, &a, 2, 1);
		assert_int_equal(v, oom_hit() ? CLIENTS_NO_MEMORY : CLIENTS_OK);
		if (v == CLIENTS_OK)
			clients_leave(c, &a);
	}
	assert_int_equal(clients_enter(c, &a, 2, 1), CLIENTS_OK);
	assert_int_equal(clients_enter(c, &a, 2, 1), CLIENTS_ADDRESS);
	assert_int_equal(clients_enter(c, &b, 2, 1), CLIENTS_OK); /* what failed is not in the total */
	assert_int_equal(clients_enter(c, &b, 2, 2), CLIENTS_TOTAL);
	clients_leave(c, &a);
	clients_leave(c, &b);
	clients_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_cannot_be_counted_is_not_let_in),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
