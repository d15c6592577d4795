/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NAT-PMP and PCP messages, byte by byte from RFC 6886 3.2 and RFC 6887 7 and 14.1; every shorter answer and
 * every other opcode is refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "stun/portmap.h"

static void the_questions_are_as_in_their_rfcs(void **state)
{
	static const uint8_t announce[24] = { 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 1, 7 };
	uint8_t out[PORTMAP_REQUEST_MAX];
	struct addr ours = addr_v4(0xc0a80107, 4000);

	(void)state;
	assert_int_equal(portmap_ask(PORTMAP_NATPMP, &ours, out), 2);
	assert_memory_equal(out, "\0\0", 2);
	assert_int_equal(portmap_ask(PORTMAP_PCP, &ours, out), 24);
	assert_memory_equal(out, announce, 24);
}

static void nat_pmp_tells_the_external_address(void **state)
{
	static const uint8_t answer[12] = { 0, 128, 0, 0, 0, 0, 1, 0, 203, 0, 113, 5 };
	static const uint8_t refused[8] = { 0, 128, 0, 2, 0, 0, 0, 9 };
	struct addr want = addr_v4(0xcb007105, 0);
	struct portmap_answer a;

	(void)state;
	assert_int_equal(portmap_parse(answer, sizeof answer, &a), 0);
	assert_int_equal(a.protocol, PORTMAP_NATPMP);
	assert_int_equal(a.result, PORTMAP_SUCCESS);
	assert_int_equal(a.epoch_s, 256);
	assert_true(addr_equal(&a.external, &want));
	assert_int_equal(portmap_parse(refused, sizeof refused, &a), 0);
	assert_int_equal(a.result, PORTMAP_NOT_AUTHORIZED);
	assert_int_equal(addr_family(&a.external), AF_UNSPEC);
}

static void pcp_tells_that_it_is_there(void **state)
{
	uint8_t answer[24] = { 2, 128, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0 };
	struct portmap_answer a;

	(void)state;
	assert_int_equal(portmap_parse(answer, sizeof answer, &a), 0);
	assert_int_equal(a.protocol, PORTMAP_PCP);
	assert_int_equal(a.result, PORTMAP_SUCCESS);
	assert_int_equal(a.epoch_s, 512);
	answer[3] = 1;
	assert_int_equal(portmap_parse(answer, sizeof answer, &a), 0);
	assert_int_equal(a.result, PORTMAP_UNSUPPORTED_VERSION);
}

static void what_is_short_or_something_else_is_refused(void **state)
{
	static const uint8_t natpmp[12] = { 0, 128, 0, 0, 0, 0, 1, 0, 203, 0, 113, 5 }, pcp[24] = { 2, 128 };
	uint8_t other[24] = { 2, 129 };
	struct portmap_answer a = { .result = 77 };

	(void)state;
	for (size_t n = 0; n < sizeof natpmp; n++)
		assert_int_equal(portmap_parse(natpmp, n, &a), -EBADMSG);
	for (size_t n = 0; n < sizeof pcp; n++)
		assert_int_equal(portmap_parse(pcp, n, &a), -EBADMSG);
	assert_int_equal(portmap_parse(other, sizeof other, &a), -EBADMSG);
	other[0] = 1;
	other[1] = 128;
	assert_int_equal(portmap_parse(other, sizeof other, &a), -EBADMSG);
	assert_int_equal(a.result, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_questions_are_as_in_their_rfcs),
		cmocka_unit_test(nat_pmp_tells_the_external_address),
		cmocka_unit_test(pcp_tells_that_it_is_there),
		cmocka_unit_test(what_is_short_or_something_else_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
