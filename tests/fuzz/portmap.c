/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a router, or somebody who plays one, answers to NAT-PMP and PCP. Whatever is accepted names its
 * protocol by its first byte, and an address only with a success; bytes behind a NAT-PMP answer
 * change nothing.
 */
#include <assert.h>
#include <string.h>
#include "stun/portmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *block = calloc(1, size ? size : 1);
	struct portmap_answer a;

	assert(block);
	if (size)
		memcpy(block, data, size);
	if (portmap_parse(block, size, &a) == 0) {
		assert(size >= 8 && size <= PORTMAP_ANSWER_MAX);
		assert(a.protocol == (block[0] == 2 ? PORTMAP_PCP : PORTMAP_NATPMP));
		assert((addr_family(&a.external) != AF_UNSPEC) == (a.result == PORTMAP_SUCCESS && (a.protocol == PORTMAP_PCP) == a.mapping));
		assert(portmap_result_text(a.result));
	}
	free(block);
	return 0;
}
