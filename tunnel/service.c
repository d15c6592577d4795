/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of stile-tunnel: open binds the ports of the file's routes while still privileged; start adds the
 * routes of the store and starts the workers; a reload makes the file's routes what the new file says and leaves
 * all connections as they are.
 */
#include "tunnel/service.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/log_msgs.h"

static const struct tunnel_config *config_of(const struct cfg *c)
{
	return &((const struct tunnel_root *)cfg_values(c))->tunnel;
}

static struct records_options records_options(const struct tunnel_config *c)
{
	return (struct records_options){ .dir = c->records.dir, .connections = c->records.connections,
					 .connections_json = c->records.json, .data_max_size = c->records.data_max_size,
					 .data_floor = c->records.data_floor, .keep_ms = c->records.keep_ms };
}

/* ---- start ---- */

static const char *route_at(const struct addr *at, bool udp, void *arg)
{
	struct tunnel_service *ts = arg;
	const struct route_config c = { .listen = { .at = *at, .last = addr_port(at) }, .udp = udp, .enabled = true };

	return relay_conflict(ts->relay, &c, "");
}

/* The file's routes become others after the tunnel. */
static bool let_go(const struct addr *at, void *arg)
{
	const struct tunnel_service *ts = arg;

	return ts->fresh && relay_lets_go(ts->relay, at, &ts->fresh->routes);
}

static struct tunnel_options tunnel_options(struct tunnel_service *ts, const struct tunnel_config *c)
{
	return (struct tunnel_options){
		.svc = ts->svc, .config = c, .route_at = route_at, .let_go = let_go, .arg = ts
	};
}

static int open_tunnel(struct tunnel_service *ts, const struct tunnel_config *c, char *err, size_t err_n)
{
	const struct tunnel_options o = tunnel_options(ts, c);

	return tunnel_open(&o, err, err_n, &ts->tunnel);
}

static int on_open(struct service *s, char *err, size_t err_n)
{
	const struct tunnel_config *c = config_of(s->cfg);
	struct tunnel_service *ts = calloc(1, sizeof(*ts));
	int r;

	(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!ts)
		return -ENOMEM;
	s->state = ts;
	s->drain_limit_ms = c->drain_ms;
	ts->svc = s;
	r = relay_new(s->loop, &(struct relay_options){ .workers = (unsigned)c->workers }, &ts->relay);
	if (r < 0)
		return r;
	relay_resolve_names(ts->relay, c->resolve_names);
	r = relay_put_file(ts->relay, &c->routes, err, err_n);
	return r < 0 || !c->listen.n ? r : open_tunnel(ts, c, err, err_n);
}

static void on_pause(int signo, void *arg)
{
	(void)signo;
	(void)arg;
	relay_event(EVENT_NO_PAUSE, NULL);
}

static int start_parts(struct tunnel_service *ts, char *err, size_t err_n)
{
	struct records_options o = records_options(config_of(ts->svc->cfg));
	int r = records_new(&o, err, err_n, &ts->records);

	if (r < 0)
		return r;
	relay_use_records(ts->relay, ts->records);
	r = tunnel_routes_new(ts, &ts->routes);
	if (r < 0) {
		(void)snprintf(err, err_n, "cannot read the routes of the store: %s", strerror(-r));
		return r;
	}
	tunnel_routes_apply(ts->routes);
	if (relay_enabled(ts->relay) == 0 && !ts->tunnel) {
		relay_event(EVENT_NO_ROUTES, NULL);
		(void)snprintf(err, err_n, "there is nothing to relay, and no tunnel; name a route in %s: tunnel: { routes: [ { listen: "
			       "\"0.0.0.0:1001\", target: \"10.3.100.14:25\" } ] }, or where agents connect: tunnel: { listen: [ "
			       "\"tls:0.0.0.0:7443\" ] }", ts->svc->config_path);
		return -ENOENT;
	}
	r = relay_start(ts->relay, err, err_n);
	return r < 0 || !ts->tunnel ? r : tunnel_start(ts->tunnel, ts->records, err, err_n);
}

static void tell_failure(int error, const char *why)
{
	const struct event_about a = { .reason = why };
	enum relay_event e = relay_event_of(error, EVENT_START_ERROR);

	if (e != EVENT_START_ERROR)
		relay_event(e, &a);
	relay_event(EVENT_START_ERROR, &a);
}

static void on_event(json_t *row, void *arg)
{
	control_publish(((struct tunnel_service *)arg)->svc->control, "relay.events", json_incref(row));
}

static int tap(uint64_t id, bool on, void *arg)
{
	struct tunnel_service *ts = arg;

	return relay_act(ts->relay, id, on ? RELAY_WATCH_ON : RELAY_WATCH_OFF);
}

static int on_start(struct service *s, char *err, size_t err_n)
{
	struct tunnel_service *ts = s->state;
	int r = start_parts(ts, err, err_n);

	if (r == 0)
		r = watchers_new(&(struct watch_source){ relay_seen(ts->relay), tap, ts,
							 "stile relay connections", &MSG_RELAY_WATCHED },
				 &ts->watchers);
	if (r < 0) {
		tell_failure(-r, err);
		return r;
	}
	(void)loop_on_signal(s->loop, SIGTSTP, on_pause, NULL);
	tunnel_add_verbs(ts);
	tunnel_routes_add_verbs(ts);
	relay_events_hear(on_event, ts);
	relay_event(EVENT_STARTED, NULL);
	return 0;
}

/* ---- reload ---- */

static int on_examine(struct service *s, const struct cfg *c, struct service_changes *ch, char *err, size_t err_n)
{
	struct tunnel_service *ts = s->state;
	const struct tunnel_options to = tunnel_options(ts, config_of(c));
	struct records_options o = records_options(to.config);
	int r = records_check(&o, err, err_n);

	(void)ch;
	if (r < 0 || (!ts->tunnel && !to.config->listen.n))
		return r;
	ts->fresh = to.config;
	r = tunnel_examine(ts->tunnel, &to, err, err_n);
	ts->fresh = NULL;
	return r;
}

/* A tunnel may begin with a reload; when its listeners go it stays, without. */
static int reload_tunnel(struct tunnel_service *ts, const struct tunnel_config *c, char *err, size_t err_n)
{
	int r;

	if (ts->tunnel)
		return tunnel_reload(ts->tunnel, c, err, err_n);
	if (!c->listen.n)
		return 0;
	r = open_tunnel(ts, c, err, err_n);
	if (r == 0)
		r = tunnel_start(ts->tunnel, ts->records, err, err_n);
	if (r < 0)
		ts->tunnel = tunnel_free(ts->tunnel);
	return r;
}

/* All that may fail, and the tunnel last of it: that takes all or nothing, and is not taken back. */
static int reload_make(struct tunnel_service *ts, const struct tunnel_config *fresh, char *err,
		       size_t err_n, struct relay_file **ret_routes,
		       struct records_settings **ret_records)
{
	_cleanup_(relay_file_freep) struct relay_file *routes = NULL;
	_cleanup_(records_settings_freep) struct records_settings *records = NULL;
	const struct records_options o = records_options(fresh);
	int r = relay_file_make(ts->relay, &fresh->routes, err, err_n, &routes);

	if (r == 0)
		r = records_settings_new(&o, err, err_n, &records);
	if (r < 0)
		return r;
	ts->fresh = fresh;
	r = reload_tunnel(ts, fresh, err, err_n);
	ts->fresh = NULL;
	if (r < 0)
		return r;
	*ret_routes = steal_ptr(&routes);
	*ret_records = steal_ptr(&records);
	return 0;
}

static int on_reload(struct service *s, struct cfg *c, char *err, size_t err_n)
{
	struct tunnel_service *ts = s->state;
	const struct tunnel_config *fresh = config_of(c);
	struct relay_file *routes;
	struct records_settings *records;
	int r = reload_make(ts, fresh, err, err_n, &routes, &records);

	if (r < 0)
		return r;
	records_take(ts->records, records);
	(void)relay_file_put(ts->relay, routes); /* what does not go has told so */
	tunnel_routes_apply(ts->routes);
	relay_resolve_names(ts->relay, fresh->resolve_names);
	s->drain_limit_ms = fresh->drain_ms;
	return 0;
}

/* ---- stop ---- */

static bool on_drain(struct service *s)
{
	struct tunnel_service *ts = s->state;

	relay_refuse_new(ts->relay);
	return tunnel_drain(ts->tunnel) == 0 && relay_connections(ts->relay) == 0;
}

static void on_stop(struct service *s)
{
	struct tunnel_service *ts = s->state;

	if (!ts)
		return;
	ts->watchers = watchers_free(ts->watchers);
	ts->tunnel = tunnel_free(ts->tunnel);
	ts->relay = relay_free(ts->relay);
	ts->routes = tunnel_routes_free(ts->routes);
	ts->records = records_free(ts->records);
	relay_events_hear(NULL, NULL);
	relay_event(EVENT_STOPPED, NULL);
	free(ts);
	s->state = NULL;
}

static bool on_alive(struct service *s)
{
	struct tunnel_service *ts = s->state;

	bool tunnel = tunnel_alive(ts->tunnel), relay = relay_alive(ts->relay);

	return tunnel && relay;
}

const struct service_ops tunnel_service_ops = {
	.program = "stile-tunnel",
	.summary = "tunnel server: ports of this machine lead into agents' networks; and plain TCP and UDP relay",
	.config = &tunnel_cfg_root,
	.check = tunnel_config_check,
	.log_config = tunnel_log_config,
	.store_path = tunnel_store_path,
	.records_path = tunnel_records_path,
	.is_record = records_is_ours,
	.binds_later = true, /* routes made while it runs, and ports that were taken and are tried again */
	.store_kinds = tunnel_store_kinds,
	.open = on_open,
	.start = on_start,
	.examine = on_examine,
	.reload = on_reload,
	.drain = on_drain,
	.stop = on_stop,
	.alive = on_alive,
	.health = tunnel_service_health,
};
