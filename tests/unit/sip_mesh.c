/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mesh of UC servers knows without any message: which user matches a pattern of sip.lan.servers[].users. The way of
 * log-ons, questions and requests is shown with real sockets in tests/sip/mesh.py, and with real servers in
 * tests/sip/sites.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "common/text.h"
#include "sip-proxy/mesh_priv.h"

static const struct row {
	const char *pattern, *user;
	bool matches;
} rows[] = {
	{ "alice", "alice", true },
	{ "alice", "Alice", false }, /* a user part is compared as it is (RFC 3261 19.1.4) */
	{ "alice", "alic", false },
	{ "alice", "alicea", false },
	{ "2*", "2", true },
	{ "2*", "204", true },
	{ "2*", "102", false },
	{ "*", "anybody", true },
	{ "*", "", true },
	{ "100-199", "100", true },
	{ "100-199", "150", true },
	{ "100-199", "199", true },
	{ "100-199", "200", false },
	{ "100-199", "0150", false }, /* another number of digits is another number */
	{ "100-199", "15a", false },
	{ "100-199", "", false },
	{ "1-99999999999999999999999", "5", false }, /* too long for a number: a name like any other */
	{ "1-99999999999999999999999", "1-99999999999999999999999", true },
	{ "a-b", "a-b", true },
	{ "a-b", "a", false },
	{ "", "", true },
	{ "", "x", false },
};

static void patterns_match_names_prefixes_and_ranges(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (mesh_user_matches(rows[i].pattern, text_of(rows[i].user)) != rows[i].matches)
			fail_msg("'%s' and '%s'", rows[i].pattern, rows[i].user);
}

/* A user's name is a slice of a message: nothing behind it is looked at. */
static void a_name_ends_where_its_slice_ends(void **state)
{
	const char *text = "1509", *pattern = "100-199";
	char *exact = malloc(3);

	(void)state;
	assert_non_null(exact);
	memcpy(exact, text, 3);
	assert_true(mesh_user_matches(pattern, (struct text){ exact, 3 }));
	assert_true(mesh_user_matches("150", (struct text){ exact, 3 }));
	assert_false(mesh_user_matches("1509", (struct text){ exact, 3 }));
	for (size_t n = 0; n < 3; n++)
		assert_false(mesh_user_matches(pattern, (struct text){ exact, n }));
	free(exact);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns_match_names_prefixes_and_ranges),
		cmocka_unit_test(a_name_ends_where_its_slice_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
