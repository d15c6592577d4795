/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all paths share: ranks, state and counts. No path calls its sink for a batch or a new state but through
 * here, so that what is counted is what was handed on, and a state that has not changed is told to nobody. What a path does
 * is in a file of its own.
 */
#include "tunnel/direct/path.h"
#include <stdio.h>

unsigned path_rank(enum path_kind k)
{
	return k == PATH_TURN || k == PATH_RELAY;
}

void path_set_state(struct path *p, enum path_state s, const char *why)
{
	bool change = p->state != s;

	p->state = s;
	(void)snprintf(p->why, sizeof(p->why), "%s", why ? why : "");
	if (change && p->sink)
		p->sink->state(p, p->arg);
}

void path_arrived(struct path *p, uint8_t *data, size_t n, size_t segment)
{
	if (!segment || segment > n)
		segment = n;
	p->bytes[1] += n;
	p->packets[1] += path_count(n, segment);
	if (p->sink && n)
		p->sink->arrived(p, data, n, segment, p->arg);
}
