/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our parser beside sofia-sip, libosip2 and libre: what the four find in one datagram. An optional target
 * (-Dfuzz_peers=true), for those libraries are no dependency of ours. The readers are those of tests/bench/sip_parse*.c.
 *
 * A request that we take must be read the same way by each of the others that takes it, or a rule of sip_diff_rules.c
 * says why theirs is another reading. That we refuse what the others take is what this parser is for, and what it does
 * not read (headers beyond the eight, what stands behind a list's first value) may be as it likes: messages that all of
 * the others take and we do not, and the other way round, are printed with STILE_DIFF_SHOW=1, to be judged by a reader.
 * docs/fuzzing.md has the judgements.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sip-proxy/headers.h"
#include "tests/fuzz/sip_diff.h"

static const struct sip_parser *const parsers[DIFF_PEERS] = { &parser_sofia, &parser_osip, &parser_re };

#define FACT(name) { #name, offsetof(struct sip_facts, name), sizeof(((struct sip_facts *)0)->name) }
const struct diff_fact diff_facts[DIFF_FACTS] = {
	FACT(via_host), FACT(via_branch), FACT(route_host), FACT(from_host), FACT(from_tag),
	FACT(to_host),	FACT(to_user),	  FACT(call_id),    FACT(contact_user), FACT(uri_user),
	FACT(method),	FACT(body),	  FACT(cseq),	    FACT(max_forwards),
};

size_t diff_value(const struct sip_facts *f, enum diff_what w)
{
	const char *p = (const char *)f + diff_facts[w].offset;
	size_t n;
	unsigned u;
	if (diff_facts[w].size == sizeof n)
		return memcpy(&n, p, sizeof n), n;
	return memcpy(&u, p, sizeof u), u;
}

static void show(const char *what, struct text in)
{
	fprintf(stderr, "---- %s\n", what);
	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		if (c == '\n' || (c >= ' ' && c < 0x7f && c != '\\'))
			fputc(c, stderr);
		else
			fprintf(stderr, "\\x%02x", c);
	}
	fputs("\n----\n", stderr);
}

/* With STILE_DIFF_SHOW a reader looks at all of them. */
static void end(void)
{
	if (!getenv("STILE_DIFF_SHOW"))
		abort();
}

static void compare(const struct sip_msg *m, const struct sip_facts *ours, const struct sip_facts *theirs,
		    enum diff_peer peer, struct text in)
{
	for (unsigned w = 0; w < DIFF_FACTS; w++) {
		size_t a = diff_value(ours, w), b = diff_value(theirs, w);
		if (a == b || diff_rule_for(m, (enum diff_what)w, peer, a, b))
			continue;
		fprintf(stderr, "%s: %s is %zu, ours %zu\n", parsers[peer]->name, diff_facts[w].name, b, a);
		show("read differently", in);
		end();
	}
}

/* Why we do not take it, when all of the others do. */
static void show_refusal(struct text in)
{
	struct sip_msg m;
	struct sip_basics b;
	int v = sip_msg_parse(&m, in, SIP_DATAGRAM, NULL);
	if (v == SIP_OK)
		v = sip_basics_read(&m, &b);
	show(v == SIP_OK ? "refused: a URI" : sip_verdict_row((enum sip_verdict)v)->text, in);
	sip_msg_deinit(&m);
}

/* Responses are left out, and bytes behind a body: the others keep those in other ways. */
static void compare_all(struct text in)
{
	struct sip_facts ours = { 0 }, theirs[DIFF_PEERS] = { 0 };
	unsigned taken = 0;
	struct sip_msg m;
	bool good[DIFF_PEERS], we = parser_stile.parse(in.p, in.n, &ours);
	for (unsigned i = 0; i < DIFF_PEERS; i++) {
		good[i] = parsers[i]->parse(in.p, in.n, &theirs[i]);
		taken += good[i];
	}
	if (!we) {
		if (taken == DIFF_PEERS && getenv("STILE_DIFF_SHOW"))
			show_refusal(in);
		return;
	}
	if (sip_msg_parse(&m, in, SIP_DATAGRAM, NULL) != SIP_OK)
		abort();
	for (unsigned i = 0; i < DIFF_PEERS; i++)
		if (good[i])
			compare(&m, &ours, &theirs[i], (enum diff_peer)i, in);
	if (taken == 0 && getenv("STILE_DIFF_SHOW"))
		show("taken by nobody else", in);
	sip_msg_deinit(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	if (!ready) {
		ready = parser_stile.setup();
		for (unsigned i = 0; i < DIFF_PEERS; i++)
			ready = ready && parsers[i]->setup();
		if (!ready)
			abort();
	}
	if (size == 0 || size > 8000)
		return 0;
	char *copy = malloc(size + 1); /* libosip2 reads up to a NUL */
	if (!copy)
		abort();
	memcpy(copy, data, size);
	copy[size] = 0;
	compare_all((struct text){ copy, size });
	free(copy);
	return 0;
}
