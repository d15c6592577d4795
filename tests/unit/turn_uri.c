/* SPDX-License-Identifier: Apache-2.0 */
/* URIs of TURN servers that a tunnel server gives: read and written back, cut at any byte, and what is none that can be used. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "tunnel/link/turn_uri.h"

static void uris_are_read_and_written_back(void **state)
{
	static const char *const uris[] = { "turn:turn.example.org:3478?transport=udp", "turn:192.0.2.1:443?transport=tcp",
					    "turn:[2001:db8::1]:3478?transport=udp" };
	struct turn_uri u;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
		char out[TURN_URI_STRLEN];
		size_t n = strlen(uris[i]);
		assert_int_equal(turn_uri_parse(text_of(uris[i]), &u), 0);
		assert_int_equal(turn_uri_print(&u, out), n);
		assert_string_equal(out, uris[i]);
		for (size_t k = 0; k < n; k++) {
			char *block = test_malloc(k ? k : 1);
			memcpy(block, uris[i], k);
			int r = turn_uri_parse((struct text){ block, k }, &u);
			if (!memchr(block, '?', k) && r == 0)
				assert_true(u.port > 0 && !u.tcp); /* without transport it is UDP */
			else if (k > 5 && block[k - 1] != '?')
				assert_int_equal(r, -EINVAL);
			test_free(block);
		}
	}
}

static void what_cannot_be_used_is_refused(void **state)
{
	static const char *const bad[] = { "", "turn:", "turns:turn.example.org:5349?transport=tcp", "stun:192.0.2.1:3478", "turn:192.0.2.1",
					   "turn::3478", "turn:a:0", "turn:a:65536", "turn:a:123456", "turn:a:+1", "turn:2001:db8::1:3478",
					   "turn:[]:3478", "turn:a b:3478", "turn:a/b:3478", "turn:a:3478?transport=sctp",
					   "turn:a:3478?transport=udp&x", "turn:a:3478?" };
	struct turn_uri u = { .port = 7 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (turn_uri_parse(text_of(bad[i]), &u) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(u.port, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uris_are_read_and_written_back),
		cmocka_unit_test(what_cannot_be_used_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
