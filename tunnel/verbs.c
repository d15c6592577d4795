/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control verbs of the relay: status, connections, what may be done with one of them, metrics. Those of
 * routes are in tunnel/route_store.c, relay.watch is in tunnel/watch.c. A verb reads its arguments, asks
 * the relay, and answers; what the relay cannot do is answered with words that say what to do.
 */
#include <errno.h>
#include <string.h>
#include "common/monitor.h"
#include "tunnel/events.h"
#include "tunnel/service.h"

enum { PAGE = 200, PAGE_MAX = 1000 };

/* ---- relay.status ---- */

static json_t *records_json(const struct tunnel_service *ts)
{
	const struct tunnel_config *c = &((const struct tunnel_root *)cfg_values(ts->svc->cfg))->tunnel;
	struct records_figures f;
	json_t *stops = json_object();
	uint64_t stopped = 0;

	records_figures(ts->records, &f);
	for (unsigned i = 1; i < DATA_LOG_STOPS; i++) {
		stopped += f.stops[i];
		json_object_set_new(stops, data_log_stop_text((enum data_log_stop)i), json_integer((json_int_t)f.stops[i]));
	}
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "dir", c->records.dir ? c->records.dir : "", "lines", (json_int_t)f.lines, "lines_lost",
			 (json_int_t)f.lines_lost, "data_logs", (json_int_t)f.data_logs, "data_logs_open",
			 (json_int_t)f.data_logs_open, "data_bytes", (json_int_t)f.data_bytes, "waits", (json_int_t)f.waits,
			 "data_logs_stopped", (json_int_t)stopped, "stops", stops);
}

static void verb_status(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_service *ts = arg;
	struct monitor m = { 0 };
	struct relay_pool_figures p;
	struct tunnel_counts c;
	json_t *routes = relay_routes_json(ts->relay);
	size_t n = json_array_size(routes);

	(void)args;
	relay_pool_figures(ts->relay, &p);
	monitor_sample(&m, loop_now(ts->svc->loop));
	json_decref(routes);
	tunnel_count(ts->tunnel, &c);
	control_reply(rq, json_pack("{s:b, s:I, s:I, s:I, s:i, s:i, s:i, s:I, s:i, s:b, s:I, s:I, s:{s:I, s:I, s:I, s:I}, s:o}", "tunnel", ts->tunnel != NULL, "agents",
		(json_int_t)c.links, "jobs", (json_int_t)c.jobs, "data_connections", (json_int_t)c.connections, "routes", (int)n,
		"enabled", (int)relay_enabled(ts->relay), "listening", (int)relay_listening(ts->relay), "connections",
		(json_int_t)relay_connections(ts->relay), "workers", (int)p.workers, "draining", ts->svc->draining, "descriptors",
		(json_int_t)m.descriptors, "descriptors_limit", (json_int_t)m.descriptors_limit, "pipes", "lent", (json_int_t)p.pipes_lent,
		"spare", (json_int_t)p.pipes_spare, "made", (json_int_t)p.pipes_made, "short", (json_int_t)p.pipes_short,
		"records", records_json(ts)));
}

/* ---- connections ---- */

static void verb_connections(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_service *ts = arg;
	json_int_t limit = json_integer_value(json_object_get(args, "limit"));
	struct relay_page p = { .route = json_string_value(json_object_get(args, "route")),
				.limit = limit > 0 ? (unsigned)MIN(limit, PAGE_MAX) : PAGE,
				.cursor = (uint64_t)json_integer_value(json_object_get(args, "cursor")) };

	control_reply(rq, relay_connections_json(ts->relay, &p));
}

/* True if the request was ended. */
static bool refused(struct control_request *rq, json_int_t id, int r)
{
	if (r == 0)
		return false;
	if (r == -ENOENT)
		control_fail(rq, "not-found", "stile relay connections", "there is no connection %lld", id);
	else
		control_fail(rq, "failed", NULL, "connection %lld: %s", id, strerror(-r));
	return true;
}

static bool has_id(struct control_request *rq, const json_t *args, json_int_t *ret_id)
{
	const json_t *id = json_object_get(args, "id");

	*ret_id = json_integer_value(id);
	if (json_is_integer(id) && *ret_id > 0)
		return true;
	control_fail(rq, "bad-request", "stile relay connections shows the numbers", "id must be a number");
	return false;
}

static void verb_kick(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_service *ts = arg;
	const char *route = json_string_value(json_object_get(args, "route"));
	json_int_t id;

	if (route && !relay_find(ts->relay, route)) {
		control_fail(rq, "not-found", "stile relay route list", "there is no route %s", route);
	} else if (route) {
		relay_drop(ts->relay, route);
		control_reply(rq, json_pack("{s:s}", "route", route));
	} else if (has_id(rq, args, &id) && !refused(rq, id, relay_act(ts->relay, (uint64_t)id, RELAY_KICK))) {
		control_reply(rq, json_pack("{s:I}", "kicked", id));
	}
}

static void verb_log(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_service *ts = arg;
	const json_t *on = json_object_get(args, "on");
	json_int_t id;
	int r;

	if (!has_id(rq, args, &id))
		return;
	if (!json_is_boolean(on)) {
		control_fail(rq, "bad-request", NULL, "on must be true or false");
		return;
	}
	r = relay_act(ts->relay, (uint64_t)id, json_is_true(on) ? RELAY_LOG_ON : RELAY_LOG_OFF);
	if (r == -ENOENT && json_is_true(on) && relay_has(ts->relay, (uint64_t)id))
		control_fail(rq, "failed", "set tunnel.records.dir and run stile reload", "there is no folder for data logs");
	else if (!refused(rq, id, r))
		control_reply(rq, json_pack("{s:I, s:b}", "id", id, "on", json_is_true(on)));
}

/* The relay's, and those of the tunnel's parts if there is one. */
static struct metrics *metrics_at(struct tunnel_service *ts, unsigned i)
{
	return i == 0 ? relay_metrics(ts->relay) : tunnel_metrics(ts->tunnel, i - 1);
}

static void metrics_as_text(struct tunnel_service *ts, struct control_request *rq)
{
	json_t *text = json_string(""), *more;
	struct metrics *m;

	for (unsigned i = 0; (m = metrics_at(ts, i)); i++) {
		char *t = metrics_prometheus(m);

		more = json_sprintf("%s%s", json_string_value(text), t ? t : "");
		json_decref(text);
		text = more;
		free(t);
	}
	control_reply(rq, json_pack("{s:o}", "text", text));
}

static void verb_metrics(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_service *ts = arg;
	json_t *all = json_object();
	struct metrics *m;

	if (json_is_true(json_object_get(args, "text"))) {
		json_decref(all);
		metrics_as_text(ts, rq);
		return;
	}
	for (unsigned i = 0; (m = metrics_at(ts, i)); i++) {
		json_t *one = metrics_json(m);

		json_object_update(all, one);
		json_decref(one);
	}
	control_reply(rq, all);
}

static void verb_events(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	(void)arg;
	control_reply(rq, json_pack("{s:o}", "rows", relay_events_json()));
}

static void verb_watch(struct control_request *rq, const json_t *args, void *arg)
{
	watchers_ask(((struct tunnel_service *)arg)->watchers, rq, args);
}

static const struct control_verb verbs[] = {
	{ "relay.status", CONTROL_VIEWER, verb_status,
	  "counts of routes and connections, descriptors, pipes, records" },
	{ "relay.connections", CONTROL_VIEWER, verb_connections,
	  "{limit, cursor, route}: connections and flows with both ends, bytes, rates and age" },
	{ "relay.kick", CONTROL_OPERATOR, verb_kick,
	  "{id} or {route}: ends one connection, or all of a route" },
	{ "relay.log", CONTROL_OPERATOR, verb_log, "{id, on}: the data log of one connection" },
	{ "relay.events", CONTROL_VIEWER, verb_events, "the last events of the service and its routes, oldest first; they come as the topic relay.events, too" },
	{ "relay.watch", CONTROL_OPERATOR, verb_watch,
	  "{id}: the bytes of one connection as progress, until it ends or the request is cancelled" },
	{ "relay.metrics", CONTROL_VIEWER, verb_metrics,
	  "{text}: counters, as JSON or as Prometheus text" },
};

void tunnel_add_verbs(struct tunnel_service *ts)
{
	control_add_verbs(ts->svc->control, verbs, ARRAY_LEN(verbs), ts);
}
