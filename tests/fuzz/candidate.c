/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Candidate lines as a peer may send them. Whatever is taken is written back and read again as the same, and
 * no verdict lets a packet go to a loopback address, a group, or nowhere.
 */
#include <assert.h>
#include <string.h>
#include "tunnel/direct/candidate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct candidate_policy policy = { 0 };
	char *block = calloc(1, size ? size : 1);
	struct candidate c, again;

	assert(block);
	if (size)
		memcpy(block, data, size);
	if (candidate_parse((struct text){ block, size }, &c) == 0) {
		char line[CANDIDATE_STRLEN], second[CANDIDATE_STRLEN];
		size_t n = candidate_print(&c, line);
		assert(n < CANDIDATE_STRLEN - 1 && n == strlen(line));
		assert(candidate_parse((struct text){ line, n }, &again) == 0);
		assert(candidate_same_place(&c, &again));
		candidate_print(&again, second);
		assert(strcmp(line, second) == 0);
		if (candidate_judge(&c, &policy) == CANDIDATE_TAKEN) {
			enum addr_class class = addr_classify(&c.addr);
			assert(class != ADDR_LOOPBACK && class != ADDR_MULTICAST && class != ADDR_BROADCAST && class != ADDR_UNSPECIFIED);
			assert(c.priority != 0);
		}
	}
	free(block);
	return 0;
}
