/* SPDX-License-Identifier: Apache-2.0 */
/* common/server_name.c: which patterns are host names, and which names of clients they match. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "common/server_name.h"

static void what_no_client_could_send_is_refused_with_a_reason(void **state)
{
	static const struct {
		const char *pattern, *fault;
	} rows[] = {
		{ "turn.example.org", NULL },	  { "turn.example.org.", NULL }, { "*.example.org", NULL },
		{ "localhost", NULL },		  { "xn--bcher-kva.example", NULL }, { "_turn.example", NULL },
		{ "a.1", NULL },		  { "", "no host name" },	 { ".", "no host name" },
		{ "a..b", "no host name" },	  { ".example", "no host name" }, { "a b.example", "no host name" },
		{ "-a.example", "no host name" }, { "a-.example", "no host name" },
		{ "192.0.2.1", "no addresses" },  { "2001:db8::1", "no addresses" }, { "host:443", "no addresses" },
		{ "*", "first label" },		  { "*.*.example", "first label" }, { "a.*.example", "first label" },
		{ "tu*.example", "first label" }, { "*.", "first label" }, { "b\xc3\xbc" "cher.example", "ASCII" },
		{ "a123456789b123456789c123456789d123456789e123456789f123456789g12.example", NULL },
		{ "a123456789b123456789c123456789d123456789e123456789f123456789g123.example", "no host name" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *f = server_name_fault(text_of(rows[i].pattern));
		if (!f != !rows[i].fault || (f && !strstr(f, rows[i].fault)))
			fail_msg("'%s': %s", rows[i].pattern, f ? f : "no fault");
	}
}

static void a_name_is_matched_whatever_its_case_and_dot(void **state)
{
	static const struct {
		const char *pattern, *name;
		int how;
	} rows[] = {
		{ "turn.example.org", "turn.example.org", 2 },	 { "turn.example.org", "TURN.Example.ORG", 2 },
		{ "turn.example.org", "turn.example.org.", 2 },	 { "Turn.example.org.", "turn.example.org", 2 },
		{ "turn.example.org", "xturn.example.org", 0 },	 { "turn.example.org", "turn.example.or", 0 },
		{ "turn.example.org", "", 0 },			 { "*.example.org", "turn.example.org", 1 },
		{ "*.example.org", "TURN.EXAMPLE.ORG.", 1 },	 { "*.example.org", "a.b.example.org", 0 },
		{ "*.example.org", "example.org", 0 },		 { "*.example.org", ".example.org", 0 },
		{ "*.example.org", "turnexample.org", 0 },	 { "*.example.org", "turn.example.org.evil", 0 },
		{ "*.example.org", "*.example.org", 2 },	 { "*.example.org", "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (server_name_match(text_of(rows[i].pattern), text_of(rows[i].name)) != rows[i].how)
			fail_msg("%s against %s", rows[i].name, rows[i].pattern);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_no_client_could_send_is_refused_with_a_reason),
		cmocka_unit_test(a_name_is_matched_whatever_its_case_and_dot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
