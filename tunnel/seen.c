/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mail a piece. A mail that is not delivered any more, because the loop has ended, is dropped with it. Whoever
 * watches is not known here: the outlet is asked in its own thread.
 * The outlet must outlive the threads that push.
 */
#include "tunnel/seen.h"
#include <string.h>
#include "common/clock.h"

enum { QUEUED_MAX = 4 << 20 };

struct seen_mail {
	struct mail mail;
	struct seen_outlet *outlet;
	struct seen seen;
	uint8_t bytes[];
};

static void drop(struct mail *m)
{
	free(container_of(m, struct seen_mail, mail));
}

static void deliver(struct mail *m, struct loop *l)
{
	struct seen_mail *s = container_of(m, struct seen_mail, mail);
	struct seen_outlet *o = s->outlet;

	(void)l;
	atomic_fetch_sub_explicit(&o->queued, (int64_t)s->seen.n, memory_order_relaxed);
	if (o->on_seen)
		o->on_seen(&s->seen, o->arg);
	free(s);
}

void seen_push(struct seen_outlet *o, uint64_t id, unsigned way, uint64_t *unseen, const uint8_t *p,
	       size_t n)
{
	bool room = atomic_load_explicit(&o->queued, memory_order_relaxed) + (int64_t)n <= QUEUED_MAX;
	struct seen_mail *s = room ? malloc(sizeof(*s) + n) : NULL;

	if (!s) {
		*unseen += n;
		return;
	}
	s->mail = (struct mail){ .deliver = deliver, .drop = drop };
	s->outlet = o;
	s->seen = (struct seen){
		.id = id, .way = way, .at = clock_unix_ms(), .lost = *unseen, .p = s->bytes, .n = n
	};
	memcpy(s->bytes, p, n);
	*unseen = 0;
	atomic_fetch_add_explicit(&o->queued, (int64_t)n, memory_order_relaxed);
	loop_post(o->loop, &s->mail);
}

void seen_ended(struct seen_outlet *o, uint64_t id)
{
	struct seen_mail *s = calloc(1, sizeof(*s));

	if (!s)
		return; /* they will find out when they ask for it again */
	s->mail = (struct mail){ .deliver = deliver, .drop = drop };
	s->outlet = o;
	s->seen = (struct seen){ .id = id, .at = clock_unix_ms(), .ended = true };
	loop_post(o->loop, &s->mail);
}
