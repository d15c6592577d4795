/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory goes back to the system when a crowd has gone. What TLS sessions and allocations gave back, glibc
 * keeps for each thread's next use, in pieces: 12 MB were measured after 250 TLS and DTLS handshakes. So
 * the main loop looks now and then, and has it returned (malloc_trim) when fewer than half of the clients
 * of the last peak are left. It is not done on every lull: trimming takes the allocator's locks for
 * milliseconds, and what is returned must be asked for again.
 */
#include <malloc.h>
#include "turn/edge.h"

enum { LOOK_MS = 5000, LEAST_GONE = 64 };

static void on_look(struct timer *t, uint64_t now)
{
	struct turn_service *ts = container_of(t, struct turn_service, trim_timer);
	uint64_t held = turn_clients_count(ts->clients) + turn_totals_allocations(ts->totals);

	(void)now;
	ts->held_peak = MAX(ts->held_peak, held);
	if (ts->held_peak >= held + LEAST_GONE && held < ts->held_peak / 2) {
		(void)malloc_trim(0);
		ts->held_peak = held;
	}
	loop_timer_set(ts->svc->loop, &ts->trim_timer, LOOK_MS);
}

void turn_trim_start(struct turn_service *ts)
{
	ts->trim_timer.fire = on_look;
	loop_timer_set(ts->svc->loop, &ts->trim_timer, LOOK_MS);
}

void turn_trim_stop(struct turn_service *ts)
{
	timer_stop(&ts->trim_timer);
}
