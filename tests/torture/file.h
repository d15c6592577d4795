/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the unit tests of the messages that stand beside this file: the bytes of one of them, in a block of exactly its size, so
 * that a sanitizer sees who reads beyond it. Needs cmocka, and TORTURE_DIR from tests/unit/meson.build.
 */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include "common/text.h"

static inline char *torture_read(const char *file, const char *ending, size_t *ret_n)
{
	char path[512];
	struct sb b = sb_init(path, sizeof path);
	sb_fmt(&b, "%s/%s%s", TORTURE_DIR, file, ending);
	FILE *f = fopen(path, "rb");
	if (!f)
		fail_msg("%s is not there", path);
	fseek(f, 0, SEEK_END);
	size_t n = (size_t)ftell(f);
	rewind(f);
	char *block = malloc(n);
	assert_non_null(block);
	assert_int_equal(fread(block, 1, n, f), n);
	fclose(f);
	*ret_n = n;
	return block;
}
