/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What systemd is told: ready, reloading, stopping, and "still alive" while that is true.
 *
 * The watchdog is fed from the main loop at half its interval, and only if the service says that
 * all its workers have moved since the last time; a stuck worker thus ends in a restart. Without
 * systemd (no NOTIFY_SOCKET, no WATCHDOG_USEC) nothing is sent.
 */
#include "common/log_msgs.h"
#include "common/service_priv.h"
#include "common/systemd.h"

static bool silent; /* written before there are threads of the service */

void ready_notify(const char *state)
{
	if (!silent)
		sd_notify(0, state);
}

void ready_silence(void)
{
	silent = true;
}

static void on_feeding_time(struct timer *t, uint64_t now)
{
	struct watchdog *w = container_of(t, struct watchdog, timer);
	const struct service_ops *ops = w->s->ops;

	(void)now;
	if (!ops->alive || ops->alive(w->s)) {
		ready_notify("WATCHDOG=1");
		w->starved = false;
	} else if (!w->starved) {
		w->starved = true;
		log_emit(&MSG_SERVICE_STUCK);
	}
	loop_timer_set(w->s->loop, &w->timer, w->every_ms);
}

void watchdog_start(struct watchdog *w, struct service *s)
{
	uint64_t usec = 0;

	*w = (struct watchdog){ .s = s, .timer.fire = on_feeding_time };
	if (sd_watchdog_enabled(0, &usec) <= 0)
		return;
	w->every_ms = MAX(usec / 2000, 1);
	loop_timer_set(s->loop, &w->timer, w->every_ms);
}

void watchdog_stop(struct watchdog *w)
{
	timer_stop(&w->timer);
}
