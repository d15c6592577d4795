/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the allocator keeps for the next crowd is given back when there has been none for a while. Pages of code are
 * left alone: they are the page cache's, shared with whoever else runs the library, and dropping them from one process
 * would only make a figure smaller.
 */
#include "tunnel/agent/rest.h"
#include <malloc.h>

void agent_rest_look(struct agent_rest *r)
{
	uint64_t seen = r->work(r->arg);

	if (seen != r->seen) {
		r->seen = seen;
		r->resting = false;
	} else if (!r->resting) {
		r->resting = true;
		(void)malloc_trim(0);
	}
}

static void on_time(struct timer *t, uint64_t now)
{
	struct agent_rest *r = container_of(t, struct agent_rest, look);

	(void)now;
	agent_rest_look(r);
	loop_timer_set(r->loop, &r->look, AGENT_REST_MS);
}

void agent_rest_init(struct agent_rest *r, struct loop *l, uint64_t (*work)(void *arg), void *arg)
{
	*r = (struct agent_rest){ .loop = l, .work = work, .arg = arg };
	r->look.fire = on_time;
	loop_timer_set(l, &r->look, AGENT_REST_MS);
}

void agent_rest_deinit(struct agent_rest *r)
{
	timer_stop(&r->look);
}
