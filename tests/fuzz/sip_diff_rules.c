/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The differences that sip_diff.c accepts, each with its reason; docs/fuzzing.md has the same list in words.
 */
#include <string.h>
#include "tests/fuzz/sip_diff.h"

struct rule {
	const char *name;
	unsigned peers; /* 1 << enum diff_peer */
	unsigned facts; /* 1 << enum diff_what */
	bool (*holds)(const struct sip_msg *m, size_t ours, size_t theirs);
};

static const struct rule rules[] = {
	{ "none", 0, 0, NULL },
};

const char *diff_rule_for(const struct sip_msg *m, enum diff_what w, enum diff_peer peer, size_t ours,
			  size_t theirs)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if ((rules[i].peers >> peer & 1) && (rules[i].facts >> w & 1) &&
		    (!rules[i].holds || rules[i].holds(m, ours, theirs)))
			return rules[i].name;
	return NULL;
}

const char *diff_rule_for_all(const struct sip_msg *m)
{
	(void)m;
	return NULL;
}

bool diff_harms(enum diff_peer peer, struct text in)
{
	(void)peer;
	(void)in;
	return false;
}
