/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the differential fuzz target (sip_diff.c) and the differences it accepts (sip_diff_rules.c) share: the facts, by
 * number, and the other parsers.
 */
#pragma once
#include "sip-proxy/msg.h"
#include "tests/bench/sip_parse.h"

enum diff_peer { DIFF_SOFIA, DIFF_OSIP, DIFF_RE, DIFF_PEERS };
enum diff_what {
	DIFF_VIA_HOST,
	DIFF_VIA_BRANCH,
	DIFF_ROUTE_HOST,
	DIFF_FROM_HOST,
	DIFF_FROM_TAG,
	DIFF_TO_HOST,
	DIFF_TO_USER,
	DIFF_CALL_ID,
	DIFF_CONTACT_USER,
	DIFF_URI_USER,
	DIFF_METHOD,
	DIFF_BODY,
	DIFF_CSEQ,
	DIFF_MAX_FORWARDS,
	DIFF_FACTS
};
struct diff_fact {
	const char *name;
	size_t offset, size;
};
extern const struct diff_fact diff_facts[DIFF_FACTS];
size_t diff_value(const struct sip_facts *f, enum diff_what w);

/* The rule by which this difference is accepted, or NULL. */
const char *diff_rule_for(const struct sip_msg *m, enum diff_what w, enum diff_peer peer, size_t ours,
			  size_t theirs);
