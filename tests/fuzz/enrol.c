/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enrolment codes as somebody may type them. What is taken has a spelling of its own, which is read
 * to the same code; and what is shown of it is printable.
 */
#include <assert.h>
#include <string.h>
#include "tunnel/link/enrol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size ? size : 1), text[ENROL_CODE_STRLEN], twice[ENROL_CODE_STRLEN];
	struct enrol_code c, again;

	if (!copy)
		abort();
	memcpy(copy, data, size);
	if (enrol_code_parse((struct text){ copy, size }, &c) == ENROL_OK) {
		enrol_code_write(&c, text);
		for (const char *p = text; *p; p++)
			assert(*p > ' ' && *p <= '~');
		assert(enrol_code_parse(text_of(text), &again) == ENROL_OK);
		assert(memcmp(c.secret, again.secret, ENROL_SECRET_LEN) == 0 &&
		       memcmp(c.root, again.root, LINK_PREFIX_LEN) == 0);
		assert(c.port == again.port && strcmp(c.host, again.host) == 0);
		assert(strcmp(enrol_code_write(&again, twice), text) == 0);
	}
	free(copy);
	return 0;
}
