/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn.coalesce: under traffic a worker waits that long between two passes, so that each wake-up finds several
 * datagrams and each system call carries several. Packets come later by at most that much, by half of it on
 * average; in return the server spends less on each (docs/benchmarks.md has figures).
 *
 * It waits by sleeping behind a pass that received datagrams, and behind no other: the pass that finds
 * nothing goes to wait in the loop, so an idle server stays idle and the first packet after a lull is not
 * delayed. Mail and timers wait along.
 */
#include <sys/prctl.h>
#include <time.h>
#include "turn/edge.h"

enum { SLACK_NS = 1000 }; /* the kernel's own, 50 µs, would be added to every wait */

static void on_pass_end(struct pass_hook *h)
{
	struct turn_worker *w = container_of(h, struct turn_worker, coalesce);
	uint64_t us = turn_policy_config(w->policy)->coalesce_us, rx = dgram_io_stats(w->dgram)->rx;

	if (us && rx != w->coalesce_rx) {
		const struct timespec wait = { .tv_nsec = (long)us * 1000 };
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, NULL);
	}
	w->coalesce_rx = rx;
}

void turn_coalesce_start(struct turn_worker *w)
{
	(void)prctl(PR_SET_TIMERSLACK, SLACK_NS, 0, 0, 0); /* of this thread; without it waits are longer, no more */
	w->coalesce.run = on_pass_end;
	loop_add_hook(w->loop, &w->coalesce);
}
