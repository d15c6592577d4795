/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory goes back to the system when a crowd has gone. What TLS sessions and allocations gave back, glibc
 * keeps for each thread's next use, in pieces: 12 MB were measured after 250 TLS and DTLS handshakes. So
 * the main loop looks now and then, and has it returned (malloc_trim) when fewer than half of the clients
 * of the last peak are left. It is not done on every lull: trimming takes the allocator's locks for
 * milliseconds, and what is returned must be asked for again.
 *
 * malloc_trim leaves the free end of a thread's heap alone. That is returned by free() alone, when a block of
 * 64 KB or more is freed and the end is larger than M_TRIM_THRESHOLD; so each worker frees one. glibc raises
 * that threshold to megabytes as soon as a larger block (a table that grew) was freed; so it is set here and
 * stays.
 */
#include <malloc.h>
#include "turn/edge.h"

enum { LOOK_MS = 1000, LEAST_GONE = 64, HEAP_END = 256 << 10, LARGE = 72 << 10 };

/* In the worker's thread, whose heap it is. */
static void return_end(struct worker *w, void *arg)
{
	void *volatile block = malloc(LARGE); /* volatile: or the compiler sees that it does nothing */

	(void)w;
	(void)arg;
	free(block);
}

static void on_look(struct timer *t, uint64_t now)
{
	struct turn_service *ts = container_of(t, struct turn_service, trim_timer);
	uint64_t clients = clients_count(ts->clients), held = clients + turn_totals_allocations(ts->totals);
	uint64_t peak = clients + turn_totals_peak(ts->totals); /* a crowd may have come and gone since the last look */

	(void)now;
	ts->held_peak = MAX(ts->held_peak, peak);
	if (ts->held_peak >= held + LEAST_GONE && held < ts->held_peak / 2) {
		(void)malloc_trim(0);
		workers_call(&ts->workers, return_end, NULL);
		ts->held_peak = held;
	}
	loop_timer_set(ts->svc->loop, &ts->trim_timer, LOOK_MS);
}

void turn_trim_start(struct turn_service *ts)
{
	(void)mallopt(M_TRIM_THRESHOLD, HEAP_END);
	ts->trim_timer.fire = on_look;
	loop_timer_set(ts->svc->loop, &ts->trim_timer, LOOK_MS);
}

void turn_trim_stop(struct turn_service *ts)
{
	timer_stop(&ts->trim_timer);
}
