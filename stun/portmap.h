/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages by which a router is asked whether it maps ports, and to map one: NAT-PMP (RFC 6886) and PCP (RFC 6887), both on
 * its UDP port 5351. Questions without an effect are the external address (NAT-PMP) and ANNOUNCE (PCP); a mapping has a
 * lifetime, and one of 0 ends it. By PCP over IPv6 a mapping is a pinhole: the outside address is the inside one. No I/O,
 * no state.
 */
#pragma once
#include "common/addr.h"

enum {
	PORTMAP_PORT = 5351,
	PORTMAP_REQUEST_MAX = 60,
	PORTMAP_ANSWER_MAX = 1100, /* RFC 6887 7 */
	PORTMAP_NONCE = 12,
};
enum portmap_protocol { PORTMAP_NATPMP, PORTMAP_PCP };
enum { PORTMAP_SUCCESS = 0, PORTMAP_UNSUPPORTED_VERSION = 1, PORTMAP_NOT_AUTHORIZED = 2 }; /* in both protocols */

struct portmap_wish {
	struct addr inside; /* with its port; NAT-PMP is of IPv4 only */
	bool tcp;
	uint16_t outside_port; /* that would be welcome; 0: any */
	uint32_t lifetime_s;   /* 0: end it */
	uint8_t nonce[PORTMAP_NONCE]; /* PCP: whoever knows it may change the mapping */
};

struct portmap_answer {
	enum portmap_protocol protocol;
	bool mapping; /* of a wish; else of a question */
	unsigned result;
	uint32_t epoch_s;      /* since the router lost its mappings */
	struct addr external;  /* NAT-PMP's question, PCP's mapping, on success; else AF_UNSPEC. With the port, of a mapping */
	/* Of a mapping: */
	bool tcp;
	uint16_t inside_port, outside_port;
	uint32_t lifetime_s; /* as granted; of a PCP error: how long it will be so */
	uint8_t nonce[PORTMAP_NONCE];
};

/* The question, from this address of ours. Returns its length. */
size_t portmap_ask(enum portmap_protocol p, const struct addr *ours, uint8_t out[static PORTMAP_REQUEST_MAX]);
/* The wish; 0 if the protocol cannot express it (NAT-PMP and IPv6). */
size_t portmap_map(enum portmap_protocol p, const struct portmap_wish *w, uint8_t out[static PORTMAP_REQUEST_MAX]);
/* 0, or -EBADMSG if it answers none of these. */
int portmap_parse(const void *p, size_t n, struct portmap_answer *ret_a);
const char *portmap_result_text(unsigned result);
