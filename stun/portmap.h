/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages by which a router is asked whether it maps ports: NAT-PMP (RFC 6886) and PCP (RFC 6887), both on
 * its UDP port 5351. Questions without an effect only: the external address (NAT-PMP) and ANNOUNCE
 * (PCP). No I/O, no state.
 */
#pragma once
#include "common/addr.h"

enum {
	PORTMAP_PORT = 5351,
	PORTMAP_REQUEST_MAX = 24,
	PORTMAP_ANSWER_MAX = 1100, /* RFC 6887 7 */
};
enum portmap_protocol { PORTMAP_NATPMP, PORTMAP_PCP };
enum { PORTMAP_SUCCESS = 0, PORTMAP_UNSUPPORTED_VERSION = 1, PORTMAP_NOT_AUTHORIZED = 2 }; /* in both protocols */

struct portmap_answer {
	enum portmap_protocol protocol;
	unsigned result;
	uint32_t epoch_s;      /* since the router lost its mappings */
	struct addr external;  /* NAT-PMP, on success; else AF_UNSPEC. Port 0 */
};

/* The question, from this address of ours. Returns its length. */
size_t portmap_ask(enum portmap_protocol p, const struct addr *ours, uint8_t out[static PORTMAP_REQUEST_MAX]);
/* 0, or -EBADMSG if it answers none of the two questions. */
int portmap_parse(const void *p, size_t n, struct portmap_answer *ret_a);
const char *portmap_result_text(unsigned result);
