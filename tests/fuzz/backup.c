/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first line of a backup: whatever stands there, it is taken or refused with words, and what was taken lies within
 * the file with room for the tag behind it.
 */
#include <assert.h>
#include <string.h>
#include "common/backup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char err[256] = "";
	json_t *about = NULL;
	size_t line = 0;

	if (backup_parse((struct text){ (const char *)data, n }, &about, &line, err, sizeof(err)) == 0) {
		assert(line > 0 && line + 16 <= n && data[line - 1] == '\n');
		json_decref(about);
	} else {
		assert(err[0]);
	}
	return 0;
}
