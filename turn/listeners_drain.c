/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removed listeners: once a second the main thread counts what each one still has, over all workers, and closes
 * it when that is nothing. Before datagram sockets are closed the workers stop reading them and are asked once
 * more, so that nothing can begin between the last look and the end; what waited meanwhile is read later if
 * the listener stays. And what status tells of listeners.
 */
#include <errno.h>
#include "turn/edge.h"
#include "turn/log_msgs.h"

enum { LOOK_MS = 1000 };

static void count_path(struct turn_path *p, void *arg)
{
	struct turn_listener *l = p->transport->listener ? p->transport->listener(p) : NULL;

	(void)arg;
	if (l)
		l->allocations++;
}

static void count_worker(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;

	(void)arg;
	turn_dtls_leave(w);
	turn_server_each_path(w->server, count_path, NULL);
}

void turn_listeners_count(struct turn_service *ts)
{
	list_for_each(it, &ts->listeners)
		list_entry(it, struct turn_listener, node)->allocations = 0;
	workers_call(&ts->workers, count_worker, NULL);
}

static bool is_empty(const struct turn_listener *l)
{
	return l->allocations == 0 && atomic_load(&l->conns) == 0;
}

static void settle_one(struct worker *wk, void *arg)
{
	turn_listener_kind(arg)->settle(wk->state, arg);
}

static void close_one(struct worker *wk, void *arg)
{
	turn_listener_kind(arg)->close(wk->state, arg);
}

static void set_paused(struct turn_service *ts, struct turn_listener *l, bool paused)
{
	l->paused = paused;
	workers_call(&ts->workers, settle_one, l);
}

static void finish(struct turn_service *ts, struct turn_listener *l)
{
	char place[TURN_PLACE_STRLEN];

	set_paused(ts, l, true);
	turn_listeners_count(ts);
	if (!is_empty(l)) {
		set_paused(ts, l, false);
		return;
	}
	workers_call(&ts->workers, close_one, l);
	log_emit(&MSG_TURN_LISTENER_CLOSED, LF_STR("transport", turn_listener_kind(l)->name),
		 LF_STR("address", turn_listener_place(&l->spec, place)));
	turn_listener_free(l, ts->n_workers);
}

static void on_look(struct timer *t, uint64_t now)
{
	struct turn_service *ts = container_of(t, struct turn_service, listeners_timer);

	(void)now;
	turn_listeners_drain(ts);
}

void turn_listeners_drain(struct turn_service *ts)
{
	bool any = false;

	list_for_each(it, &ts->listeners)
		any |= list_entry(it, struct turn_listener, node)->removed;
	if (!any)
		return;
	turn_listeners_count(ts);
	list_for_each_safe(it, &ts->listeners) {
		struct turn_listener *l = list_entry(it, struct turn_listener, node);
		if (l->removed && is_empty(l))
			finish(ts, l);
	}
	ts->listeners_timer.fire = on_look;
	loop_timer_set(ts->svc->loop, &ts->listeners_timer, LOOK_MS);
}

static const char *state_of(const struct turn_listener *l)
{
	return !l->removed ? "listening" : l->covered ? "covered" : "draining";
}

json_t *turn_listeners_json(struct turn_service *ts, bool removed_too)
{
	json_t *rows = json_array();
	char at[TURN_PLACE_STRLEN];

	if (removed_too)
		turn_listeners_count(ts);
	list_for_each(it, &ts->listeners) {
		const struct turn_listener *l = list_entry(it, struct turn_listener, node);
		if (l->removed && !removed_too)
			continue;
		json_t *row = json_pack("{s:s, s:s}", "transport", turn_listener_kind(l)->name, "address",
					turn_listener_place(&l->spec, at));
		if (row && removed_too)
			json_object_update_new(row, json_pack("{s:s, s:i, s:i}", "state", state_of(l), "allocations",
							      (int)l->allocations, "connections",
							      (int)atomic_load(&l->conns)));
		json_array_append_new(rows, row);
	}
	return rows;
}
