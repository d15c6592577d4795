/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile-turn says in service.health: public addresses that are not known, backends of a front that do not answer, a
 * fast path that is wished for and not there.
 * The rows are those of turn.status.
 */
#include <string.h>
#include "common/health.h"
#include "common/json.h"
#include "turn/edge.h"
#include "turn/external.h"
#include "turn/offload.h"
#include "turn/service.h"

/* Unknown is a fault; known, but not confirmed now, is worth a line. */
static void say_external(const struct turn_service *ts, struct health *h)
{
	char at[ADDR_STRLEN];

	for (size_t i = 0; i < ts->net.relay.n; i++) {
		json_t *row = json_object();
		const char *why, *external;

		turn_external_describe(ts->external, &ts->net.relay.v[i], row);
		why = text_of_key(row, "external_why");
		external = text_of_key(row, "external");
		if (*why && !(*external && strcmp(text_of_key(row, "external_why_key"), "asking") == 0)) {
			addr_print_ip(&ts->net.relay.v[i].at, at);
			health_add(h, HEALTH_PUBLIC_ADDRESS, *external ? HEALTH_WARNING : HEALTH_ERROR, at, "%s: %s%s: %s", at,
				   *external ? "clients are still told " : "allocations are refused", external, why);
			health_arg_str(h, "why", text_of_key(row, "external_why_key"));
			health_arg_str(h, "external", external);
		}
		json_decref(row);
	}
}

static void say_front(struct turn_service *ts, struct health *h)
{
	json_t *front = turn_front_json(ts), *b;
	size_t i;

	json_array_foreach(json_object_get(front, "backends"), i, b) {
		const char *down = text_of_key(b, "down"), *name = text_of_key(b, "backend");

		if (!*down)
			continue;
		health_add(h, HEALTH_BACKEND_DOWN, HEALTH_WARNING, name, "connections for %s are lost: %s", name, down);
		health_arg_str(h, "why", down);
	}
	json_decref(front);
}

static void add_connected(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;
	struct turn_offload_state *st = arg;

	if (w->offload)
		turn_offload_state(w->offload, st);
}

void turn_health(struct service *s, struct health *h)
{
	struct turn_service *ts = s->state;
	struct turn_offload_state st = { 0 };

	say_external(ts, h);
	say_front(ts, h);
	if (turn_policy_config(ts->policy)->fast_path.mode == FAST_OFF)
		return;
	workers_call(&ts->workers, add_connected, &st);
	if (!st.connected)
		health_add(h, HEALTH_FAST_PATH, HEALTH_WARNING, "turn.fast_path", "the fast path is switched on, but stile-fastpath is not there");
}
