/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer says of the NAT before it. Whatever is taken is written back and read again as the same, and a block that
 * would be probed has an address and lies within the ports that NATs use.
 */
#include <assert.h>
#include <string.h>
#include "tunnel/direct/site_nat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *block = calloc(1, size ? size : 1);
	struct site_nat n, again;

	assert(block);
	if (size)
		memcpy(block, data, size);
	if (site_nat_parse((struct text){ block, size }, &n) == 0) {
		char line[SITE_NAT_STRLEN];
		size_t len = site_nat_print(&n, line);
		assert(len < SITE_NAT_STRLEN - 1);
		assert(site_nat_parse((struct text){ line, len }, &again) == 0);
		assert(again.mapping == n.mapping && again.low == n.low && again.high == n.high && again.probe_port == n.probe_port);
		assert(addr_equal(&again.public, &n.public));
		if (n.mapping == SITE_VARIES)
			assert(n.low >= 1024 && n.low <= n.high && addr_family(&n.public) != AF_UNSPEC);
	}
	free(block);
	return 0;
}
