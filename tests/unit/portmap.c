/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NAT-PMP and PCP messages, byte by byte from RFC 6886 3.2 and RFC 6887 7 and 14.1; every shorter answer and
 * every other opcode is refused. Mappings as in RFC 6886 3.3 and RFC 6887 11.
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

/* ---- mappings: RFC 6886 3.3, RFC 6887 11.1 ---- */

static const uint8_t nonce[PORTMAP_NONCE] = "twelve bytes";

static void a_wish_is_as_in_their_rfcs(void **state)
{
	static const uint8_t natpmp[12] = { 0, 1, 0, 0, 0x0f, 0xa0, 0x0f, 0xa0, 0, 0, 0x0e, 0x10 };
	static const uint8_t natpmp_end[12] = { 0, 2, 0, 0, 0x0f, 0xa0, 0, 0, 0, 0, 0, 0 };
	struct portmap_wish w = { .inside = addr_v4(0xc0a80107, 4000), .outside_port = 4000, .lifetime_s = 3600 };
	uint8_t out[PORTMAP_REQUEST_MAX];
	uint8_t pcp[60] = { 2, 1, 0, 0, 0, 0, 0x0e, 0x10, [18] = 0xff, 0xff, 192, 168, 1, 7, [36] = 17, 0, 0, 0, 0x0f, 0xa0, 0x0f, 0xa0,
			    [54] = 0xff, 0xff };

	(void)state;
	memcpy(w.nonce, nonce, sizeof nonce);
	memcpy(pcp + 24, nonce, sizeof nonce);
	assert_int_equal(portmap_map(PORTMAP_NATPMP, &w, out), 12);
	assert_memory_equal(out, natpmp, 12);
	assert_int_equal(portmap_map(PORTMAP_PCP, &w, out), 60);
	assert_memory_equal(out, pcp, 60);
	w.lifetime_s = 0;
	w.tcp = true;
	assert_int_equal(portmap_map(PORTMAP_NATPMP, &w, out), 12);
	assert_memory_equal(out, natpmp_end, 12);
	assert_int_equal(addr_parse(TEXT("2001:db8::7"), 4000, &w.inside), 0);
	assert_int_equal(portmap_map(PORTMAP_NATPMP, &w, out), 0); /* it cannot say that */
	assert_int_equal(portmap_map(PORTMAP_PCP, &w, out), 60);
	assert_int_equal(out[36], 6);
}

static void a_grant_is_read_and_a_shorter_one_is_not(void **state)
{
	static const uint8_t natpmp[16] = { 0, 129, 0, 0, 0, 0, 0, 9, 0x0f, 0xa0, 0x9c, 0x40, 0, 0, 0x0e, 0x10 };
	uint8_t pcp[60] = { 2, 129, 0, 0, 0, 0, 0x0e, 0x10, 0, 0, 0, 9, [36] = 17, 0, 0, 0, 0x0f, 0xa0, 0x9c, 0x40,
			    [54] = 0xff, 0xff, 203, 0, 113, 5 };
	struct addr want = addr_v4(0xcb007105, 40000);
	struct portmap_answer a;

	(void)state;
	memcpy(pcp + 24, nonce, sizeof nonce);
	assert_int_equal(portmap_parse(natpmp, sizeof natpmp, &a), 0);
	assert_true(a.mapping && !a.tcp && a.inside_port == 4000 && a.outside_port == 40000 && a.lifetime_s == 3600 && a.epoch_s == 9);
	assert_int_equal(portmap_parse(pcp, sizeof pcp, &a), 0);
	assert_true(a.mapping && !a.tcp && a.inside_port == 4000 && a.lifetime_s == 3600 && a.epoch_s == 9);
	assert_true(addr_equal(&a.external, &want));
	assert_memory_equal(a.nonce, nonce, sizeof nonce);
	for (size_t n = 0; n < sizeof natpmp; n++)
		assert_int_equal(portmap_parse(natpmp, n, &a), -EBADMSG);
	for (size_t n = 0; n < sizeof pcp; n++)
		assert_int_equal(portmap_parse(pcp, n, &a), -EBADMSG);
	pcp[36] = 1; /* ICMP */
	assert_int_equal(portmap_parse(pcp, sizeof pcp, &a), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_questions_are_as_in_their_rfcs),
		cmocka_unit_test(nat_pmp_tells_the_external_address),
		cmocka_unit_test(pcp_tells_that_it_is_there),
		cmocka_unit_test(what_is_short_or_something_else_is_refused),
		cmocka_unit_test(a_wish_is_as_in_their_rfcs),
		cmocka_unit_test(a_grant_is_read_and_a_shorter_one_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
