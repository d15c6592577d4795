/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the NAT before this site, as far as it matters to reach another site: does it give one port outside to a socket,
 * or another one for each destination (RFC 4787 4.1); and if so, out of which block of ports, in which steps.
 *
 * Plain values: judged from samples, told to the peer in a line beside the candidates, remembered over runs as text. What a
 * peer says of itself is parsed like all it says: strictly, and believed only as far as probes go.
 */
#pragma once
#include "common/addr.h"
#include "common/text.h"

enum { SITE_NAT_STRLEN = 128, SITE_NAT_SOCKETS = 6, SITE_NAT_TARGETS = 2 };
enum site_mapping {
	SITE_UNKNOWN,  /* nobody answered: UDP is blocked, or there is no server */
	SITE_ENDPOINT, /* one port outside for all destinations, or no NAT at all */
	SITE_VARIES,   /* "symmetric" */
};
struct site_nat {
	enum site_mapping mapping;
	struct addr public; /* port 0; AF_UNSPEC: not known */
	uint16_t low, high; /* SITE_VARIES: the block that the next ports will be out of */
	int step;	    /* between one mapping and the next, if it is always the same; 0: it is not */
	uint16_t probe_port; /* of the line: where the teller's probing socket is to be reached; 0: nowhere */
};

/* Mapped addresses in the order in which they were made: a row for each socket, a column for each destination; AF_UNSPEC: no answer. */
struct site_samples {
	struct addr mapped[SITE_NAT_SOCKETS][SITE_NAT_TARGETS];
};
struct site_nat site_nat_judge(const struct site_samples *s);

/* "nat:1 varies 203.0.113.5 40000 41023 0": version, mapping, public address, block, probing port. */
size_t site_nat_print(const struct site_nat *n, char buf[static SITE_NAT_STRLEN]);
int site_nat_parse(struct text line, struct site_nat *ret_n); /* 0 or -EBADMSG */
const char *site_mapping_name(enum site_mapping m);
