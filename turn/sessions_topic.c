/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The topic turn.sessions: {allocations, made}, once a second at most, when allocations were made or have ended since. Who shows
 * them asks again then, by turn.sessions, and need not ask for nothing.
 *
 * Workers tell nobody: what they count anyway is looked at here, and only while somebody listens.
 */
#include "turn/edge.h"

enum { LOOK_MS = 1000 };

static void on_look(struct timer *t, uint64_t now)
{
	struct turn_service *ts = container_of(t, struct turn_service, topic_timer);
	uint64_t made = turn_totals_made(ts->totals), there = turn_totals_allocations(ts->totals);

	(void)now;
	if ((made != ts->told_made || there != ts->told_allocations) && control_has_subscribers(ts->svc->control, "turn.sessions")) {
		ts->told_made = made;
		ts->told_allocations = there;
		control_publish(ts->svc->control, "turn.sessions",
				json_pack("{s:I, s:I}", "allocations", (json_int_t)there, "made", (json_int_t)made));
	}
	loop_timer_set(ts->svc->loop, &ts->topic_timer, LOOK_MS);
}

void turn_sessions_topic_start(struct turn_service *ts)
{
	ts->topic_timer.fire = on_look;
	loop_timer_set(ts->svc->loop, &ts->topic_timer, LOOK_MS);
}

void turn_sessions_topic_stop(struct turn_service *ts)
{
	timer_stop(&ts->topic_timer);
}
