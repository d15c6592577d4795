/* SPDX-License-Identifier: Apache-2.0 */
/* Candidate lines of RFC 8839 and RFC 6544, lines that are none, and candidates that order packets to where none may go. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "tunnel/direct/candidate.h"

static int parse(const char *line, struct candidate *ret_c)
{
	return candidate_parse(text_of(line), ret_c);
}

static void the_lines_of_rfc_8839_are_read_and_written_back(void **state)
{
	static const char *const lines[] = {
		"candidate:1 1 UDP 2130706431 203.0.113.141 8998 typ host",
		"candidate:2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998",
		"candidate:3 2 UDP 16777215 192.0.2.10 50000 typ relay raddr 192.0.2.3 rport 45664",
		"candidate:4 1 UDP 2130706431 2001:db8::17 40000 typ host",
		"candidate:5 1 TCP 2124414975 192.0.2.1 40001 typ host tcptype passive",
		"candidate:6 1 TCP 2105458943 192.0.2.1 9 typ host tcptype active",
		"candidate:7+/ 1 TCP 1684799999 198.51.100.1 40003 typ srflx raddr 10.0.0.1 rport 40003 tcptype so",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct candidate c;
		char out[CANDIDATE_STRLEN], with_a[CANDIDATE_STRLEN + 8];
		assert_int_equal(parse(lines[i], &c), 0);
		assert_int_equal(candidate_print(&c, out), strlen(lines[i]));
		assert_string_equal(out, lines[i]);
		snprintf(with_a, sizeof with_a, "a=%s", lines[i]);
		assert_int_equal(parse(with_a, &c), 0);
	}
}

static void extensions_are_skipped_and_letters_may_be_of_any_case(void **state)
{
	struct candidate c;

	(void)state;
	assert_int_equal(parse("candidate:1 1 udp 100 192.0.2.1 4000 TYP Host generation 0 ufrag abcd network-cost 999", &c), 0);
	assert_int_equal(c.type, CANDIDATE_HOST);
	assert_int_equal(c.priority, 100);
	assert_int_equal(parse("candidate:1 1 UDP 100 192.0.2.1 4000 typ srflx raddr 0.0.0.0 rport 0", &c), 0); /* browsers hide it so */
	assert_int_equal(addr_family(&c.related), AF_INET);
}

static void what_is_no_candidate_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "candidate", "candidate:", "candidate:1 1 UDP 1 192.0.2.1 4000 typ", "candidate:1 1 UDP 1 192.0.2.1 4000 type host",
		"candidate: 1 UDP 1 192.0.2.1 4000 typ host", "candidate:1  1 UDP 1 192.0.2.1 4000 typ host",
		"candidate:123456789012345678901234567890123 1 UDP 1 192.0.2.1 4000 typ host", /* RFC 8839: 32 at most */
		"candidate:a-b 1 UDP 1 192.0.2.1 4000 typ host", "candidate:1 257 UDP 1 192.0.2.1 4000 typ host",
		"candidate:1 -1 UDP 1 192.0.2.1 4000 typ host", "candidate:1 1 UDP 4294967296 192.0.2.1 4000 typ host",
		"candidate:1 1 UDP 1 192.0.2.1 65536 typ host", "candidate:1 1 UDP 1 192.0.2.1:7 4000 typ host",
		"candidate:1 1 UDP 1 [2001:db8::1] 4000 typ host", "candidate:1 1 UDP 1 192.0.2.1 4000 typ host raddr",
		"candidate:1 1 UDP 1 192.0.2.1 4000 typ host raddr x", "candidate:1 1 UDP 1 192.0.2.1 4000 typ host tcptype so",
		"candidate:1 1 TCP 1 192.0.2.1 4000 typ host tcptype both", "candidate:1 1 UDP 1 192.0.2.1 4000 typ host ",
	};
	static const char *const foreign[] = {
		"candidate:1 1 UDP 1 f0f0f0f0-0000-4000-8000-000000000000.local 4000 typ host",
		"candidate:1 1 SCTP 1 192.0.2.1 4000 typ host", "candidate:1 1 UDP 1 192.0.2.1 4000 typ dolphin",
	};
	struct candidate c = { .priority = 7 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (parse(bad[i], &c) != -EBADMSG)
			fail_msg("taken: %s", bad[i]);
	for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
		if (parse(foreign[i], &c) != -EOPNOTSUPP)
			fail_msg("not known as foreign: %s", foreign[i]);
	assert_int_equal(c.priority, 7); /* untouched */
}

static void a_line_cut_at_any_byte_does_no_harm(void **state)
{
	static const char line[] = "candidate:7 1 TCP 1684799999 2001:db8::1 40003 typ srflx raddr 10.0.0.1 rport 40003 tcptype so";

	(void)state;
	for (size_t n = 0; n < sizeof line; n++) {
		char *block = test_malloc(n ? n : 1);
		struct candidate c;
		memcpy(block, line, n);
		int r = candidate_parse((struct text){ block, n }, &c);
		if (n < sizeof "candidate:7 1 TCP 1684799999 2001:db8::1 40003 typ srflx" - 1)
			assert_int_not_equal(r, 0);
		test_free(block);
	}
}

static void longer_lines_than_anybody_needs_are_refused(void **state)
{
	char line[CANDIDATE_LINE_MAX + 200] = "candidate:1 1 UDP 1 192.0.2.1 4000 typ host";
	struct candidate c;

	(void)state;
	while (strlen(line) + 4 <= CANDIDATE_LINE_MAX)
		strcat(line, " x y");
	assert_int_equal(parse(line, &c), 0);
	strcat(line, " x y");
	assert_int_equal(parse(line, &c), -EBADMSG);
}

/* ---- the rules ---- */

static enum candidate_verdict judge(const char *line, const struct candidate_policy *p)
{
	struct candidate c;

	assert_int_equal(parse(line, &c), 0);
	return candidate_judge(&c, p);
}

static void candidates_that_point_at_others_are_not_used(void **state)
{
	static const struct {
		const char *line;
		enum candidate_verdict want;
	} cases[] = {
		{ "candidate:1 1 UDP 1 192.0.2.1 4000 typ host", CANDIDATE_TAKEN },
		{ "candidate:1 2 UDP 1 192.0.2.1 4000 typ relay", CANDIDATE_TAKEN },
		{ "candidate:1 1 UDP 1 10.1.2.3 4000 typ host", CANDIDATE_TAKEN },
		{ "candidate:1 1 UDP 1 100.64.0.9 4000 typ host", CANDIDATE_TAKEN },
		{ "candidate:1 1 UDP 1 fd00::9 4000 typ host", CANDIDATE_TAKEN },
		{ "candidate:1 1 UDP 0 192.0.2.1 4000 typ host", CANDIDATE_ZERO_PRIORITY },
		{ "candidate:1 1 UDP 2147483648 192.0.2.1 4000 typ host", CANDIDATE_ZERO_PRIORITY },
		{ "candidate:1 3 UDP 1 192.0.2.1 4000 typ host", CANDIDATE_COMPONENT },
		{ "candidate:1 0 UDP 1 192.0.2.1 4000 typ host", CANDIDATE_COMPONENT },
		{ "candidate:1 1 UDP 1 192.0.2.1 0 typ host", CANDIDATE_PORT },
		{ "candidate:1 1 UDP 1 192.0.2.1 53 typ host", CANDIDATE_PORT },
		{ "candidate:1 1 UDP 1 192.0.2.1 1023 typ host", CANDIDATE_PORT },
		{ "candidate:1 1 TCP 1 192.0.2.1 443 typ host tcptype passive", CANDIDATE_TAKEN },
		{ "candidate:1 1 UDP 1 127.0.0.1 4000 typ host", CANDIDATE_LOOPBACK_ADDRESS },
		{ "candidate:1 1 UDP 1 ::1 4000 typ host", CANDIDATE_LOOPBACK_ADDRESS },
		{ "candidate:1 1 UDP 1 ::ffff:127.0.0.1 4000 typ host", CANDIDATE_LOOPBACK_ADDRESS },
		{ "candidate:1 1 UDP 1 64:ff9b::7f00:1 4000 typ host", CANDIDATE_LOOPBACK_ADDRESS },
		{ "candidate:1 1 UDP 1 2002:7f00:1:: 4000 typ host", CANDIDATE_LOOPBACK_ADDRESS },
		{ "candidate:1 1 UDP 1 224.0.0.1 4000 typ host", CANDIDATE_GROUP },
		{ "candidate:1 1 UDP 1 ff02::1 4000 typ host", CANDIDATE_GROUP },
		{ "candidate:1 1 UDP 1 255.255.255.255 4000 typ host", CANDIDATE_GROUP },
		{ "candidate:1 1 UDP 1 0.0.0.0 4000 typ host", CANDIDATE_NO_ADDRESS },
		{ "candidate:1 1 UDP 1 :: 4000 typ host", CANDIDATE_NO_ADDRESS },
		{ "candidate:1 1 UDP 1 169.254.169.254 4000 typ host", CANDIDATE_NO_ADDRESS },
		{ "candidate:1 1 UDP 1 fe80::1 4000 typ host", CANDIDATE_NO_ADDRESS },
		{ "candidate:1 1 UDP 1 240.0.0.1 4000 typ host", CANDIDATE_NO_ADDRESS },
	};
	struct candidate_policy p = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (judge(cases[i].line, &p) != cases[i].want)
			fail_msg("%s: %s", cases[i].line, candidate_verdict_text(judge(cases[i].line, &p)));
}

static void loopback_is_a_candidate_only_where_all_is_on_one_machine(void **state)
{
	struct candidate_policy p = { .loopback = true };

	(void)state;
	assert_int_equal(judge("candidate:1 1 UDP 1 127.0.0.1 4000 typ host", &p), CANDIDATE_TAKEN);
	assert_int_equal(judge("candidate:1 1 UDP 1 224.0.0.1 4000 typ host", &p), CANDIDATE_GROUP);
}

static void every_verdict_has_words(void **state)
{
	(void)state;
	for (unsigned v = 0; v < CANDIDATE_VERDICTS; v++) {
		assert_true(strlen(candidate_verdict_text(v)) > 4);
		assert_true(strlen(candidate_verdict_key(v)) > 3);
	}
	assert_int_equal(candidate_priority(CANDIDATE_HOST, 65535, 1), 2130706431);
	assert_int_equal(candidate_priority(CANDIDATE_SRFLX, 65535, 1), 1694498815);
	assert_int_equal(candidate_priority(CANDIDATE_RELAY, 65535, 1), 16777215);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_lines_of_rfc_8839_are_read_and_written_back),
		cmocka_unit_test(extensions_are_skipped_and_letters_may_be_of_any_case),
		cmocka_unit_test(what_is_no_candidate_is_refused),
		cmocka_unit_test(a_line_cut_at_any_byte_does_no_harm),
		cmocka_unit_test(longer_lines_than_anybody_needs_are_refused),
		cmocka_unit_test(candidates_that_point_at_others_are_not_used),
		cmocka_unit_test(loopback_is_a_candidate_only_where_all_is_on_one_machine),
		cmocka_unit_test(every_verdict_has_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
