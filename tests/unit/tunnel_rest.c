/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent at rest gives back, and that it all still works afterwards.
 */
#include <openssl/evp.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "tunnel/agent/rest.h"

/* KiB of files' pages that are mapped here. */
static long mapped_kib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[128];
	long kib = -1;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "RssFile: %ld kB", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

static void use_libcrypto(void)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	assert_int_equal(EVP_Digest("abc", 3, digest, &n, EVP_sha256(), NULL), 1);
	assert_int_equal(n, 32);
	assert_int_equal(digest[0], 0xba);
}

static void code_that_was_dropped_comes_back_when_it_is_used(void **state)
{
	long before, after;

	(void)state;
	use_libcrypto();
	before = mapped_kib();
	assert_true(agent_rest_now() > 0);
	after = mapped_kib();
	assert_true(after < before);
	use_libcrypto();
}

static uint64_t carried(void *arg)
{
	return *(uint64_t *)arg;
}

static void an_agent_rests_when_nothing_was_carried_between_two_looks(void **state)
{
	uint64_t bytes = 7;
	struct agent_rest r = { .work = carried, .arg = &bytes };

	(void)state;
	agent_rest_look(&r);
	assert_false(r.resting);
	agent_rest_look(&r);
	assert_true(r.resting);
	agent_rest_look(&r);
	assert_true(r.resting);
	bytes = 8;
	agent_rest_look(&r);
	assert_false(r.resting);
	agent_rest_look(&r);
	assert_true(r.resting);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(code_that_was_dropped_comes_back_when_it_is_used),
		cmocka_unit_test(an_agent_rests_when_nothing_was_carried_between_two_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
