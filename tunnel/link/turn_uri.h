/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URIs of TURN servers (RFC 7065), as a tunnel server gives them to agents: "turn:HOST:PORT?transport=udp". Only what can be used: no
 * turns:, for libnice speaks no TLS with TURN servers, and always with a port.
 *
 * Pure: no I/O, no memory of its own.
 */
#pragma once
#include "common/text.h"

enum { TURN_URI_HOST_MAX = 255, TURN_URI_STRLEN = 300 };
struct turn_uri {
	char host[TURN_URI_HOST_MAX + 1]; /* a name or an address, without brackets */
	uint16_t port;
	bool tcp;
};
int turn_uri_parse(struct text t, struct turn_uri *ret_u); /* 0 or -EINVAL */
size_t turn_uri_print(const struct turn_uri *u, char buf[static TURN_URI_STRLEN]);
