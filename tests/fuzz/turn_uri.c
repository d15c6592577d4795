/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URIs of TURN servers, as a tunnel server may send them. Whatever is taken has a host and a port, and is written back and read
 * again as the same.
 */
#include <assert.h>
#include <string.h>
#include "tunnel/link/turn_uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *block = calloc(1, size ? size : 1), out[TURN_URI_STRLEN];
	struct turn_uri u, again;

	assert(block);
	if (size)
		memcpy(block, data, size);
	if (turn_uri_parse((struct text){ block, size }, &u) == 0) {
		assert(u.host[0] && u.port);
		assert(turn_uri_parse((struct text){ out, turn_uri_print(&u, out) }, &again) == 0);
		assert(strcmp(u.host, again.host) == 0 && u.port == again.port && u.tcp == again.tcp);
	}
	free(block);
	return 0;
}
