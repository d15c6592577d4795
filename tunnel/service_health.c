/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile-tunnel says in service.health: routes that do not listen or whose target has no address, forward jobs whose
 * port is taken or whose target is down, records that cannot be written. The rows are those of relay.routes and
 * tunnel.jobs.
 */
#include <string.h>
#include "common/health.h"
#include "common/json.h"
#include "tunnel/service.h"

static void say_route(const json_t *row, struct health *h)
{
	const char *name = text_of_key(row, "name"), *state = text_of_key(row, "state"), *why = text_of_key(row, "reason");
	bool resolved = strcmp(state, "target not resolved") != 0;

	if (!*why)
		return;
	health_add(h, resolved ? HEALTH_LISTENER_NOT_BOUND : HEALTH_ROUTE_FAILING,
		   strcmp(state, "not listening") == 0 ? HEALTH_ERROR : HEALTH_WARNING, name, "the route %s on %s is %s: %s", name,
		   text_of_key(row, "listen"), state, why);
	health_arg_str(h, "state", state);
	health_arg_str(h, "why", why);
}

/* Of several targets those that others stand in for; of one, it is the route that fails. */
static void say_targets(const json_t *row, struct health *h)
{
	const char *name = text_of_key(row, "name");
	json_t *t;
	size_t i;

	json_array_foreach(json_object_get(row, "targets"), i, t) {
		if (!json_is_true(json_object_get(t, "aside")))
			continue;
		health_add(h, HEALTH_ROUTE_FAILING, HEALTH_WARNING, name, "the target %s of the route %s does not answer", text_of_key(t, "target"),
			   name);
		health_arg_str(h, "target", text_of_key(t, "target"));
	}
}

static void say_job(const json_t *row, struct health *h)
{
	const char *name = text_of_key(row, "name"), *agent = text_of_key(row, "agent"), *state = text_of_key(row, "state");
	bool down = strcmp(state, "target down") == 0;

	if (!down && strcmp(state, "port taken") != 0 && strcmp(state, "refused") != 0)
		return;
	health_add(h, HEALTH_JOB_FAILING, down ? HEALTH_WARNING : HEALTH_ERROR, name, "the job %s of the agent %s: %s: %s", name, agent, state,
		   text_of_key(row, "reason"));
	health_arg_str(h, "agent", agent);
	health_arg_str(h, "state", state);
	health_arg_str(h, "why", text_of_key(row, "reason"));
}

void tunnel_service_health(struct service *s, struct health *h)
{
	struct tunnel_service *ts = s->state;
	const struct tunnel_config *c = &((const struct tunnel_root *)cfg_values(s->cfg))->tunnel;
	json_t *routes = relay_routes_json(ts->relay), *jobs = ts->tunnel ? tunnel_jobs_json(ts->tunnel) : NULL, *row;
	size_t i;

	json_array_foreach(routes, i, row) {
		say_route(row, h);
		say_targets(row, h);
	}
	json_array_foreach(jobs, i, row)
		say_job(row, h);
	json_decref(routes);
	json_decref(jobs);
	health_folder(h, "records", c->records.dir);
}
