/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parsers in tests/bench/sip_parse*.c have in common: each takes one message and reads the eight headers that
 * a proxy reads, with the URIs in them. The facts are lengths and numbers, which must be the same for all of them; who
 * did not find something has not done the work. What is not in the message counts 0. tests/fuzz/sip_diff.c compares them
 * on messages of a fuzzer's.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct sip_facts {
	size_t via_host, via_branch, route_host, from_host, from_tag, to_host, to_user, call_id,
		contact_user, uri_user;
	size_t method, body;
	unsigned cseq, max_forwards;
};
struct sip_parser {
	const char *name;
	bool (*setup)(void);
	/* Once over: parse, read, and free whatever it took. */
	bool (*parse)(const char *p, size_t n, struct sip_facts *f);
};
extern const struct sip_parser parser_stile, parser_sofia, parser_osip, parser_re;
