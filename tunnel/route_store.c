/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes made while the service runs (`stile relay route add`): kept in the store under the kind "relay.route", a
 * route's name being the key and its keys as in the file the body. A name that the file uses is locked: the
 * file's route runs, and the store's waits until the file lets go of the name.
 *
 * A change is checked as the file would be, stored, and then done.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/stored.h"
#include "tunnel/log_msgs.h"
#include "tunnel/service.h"

struct tunnel_routes {
	struct tunnel_service *ts;
	struct stored *stored;
};

/* ---- what is stored ---- */

static void put_one(struct tunnel_routes *t, const char *name, const json_t *body)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	char err[256];
	int r = route_parse(body, err, sizeof(err), &c);

	if (r == 0)
		r = relay_put(t->ts->relay, cfg_values(c), ROUTE_OF_STORE, err, sizeof(err));
	if (r < 0) /* one bad route must not keep the relay from the others */
		log_emit(&MSG_RELAY_ROUTE_SKIPPED, LF_STR("route", name), LF_STR("why", err));
}

void tunnel_routes_apply(struct tunnel_routes *t)
{
	const char *name;
	json_t *body;

	json_object_foreach(stored_bodies(t->stored), name, body) if (!relay_find(t->ts->relay, name))
		put_one(t, name, body);
}

/* ---- a change that is on the disk ---- */

static void tell(const struct tunnel_routes *t, const char *name, const char *what)
{
	control_publish(t->ts->svc->control, "relay.routes", json_pack("{s:s, s:s}", "what", what, "route", name));
}

static json_t *row_of(const char *name, void *arg)
{
	struct tunnel_routes *t = arg;
	json_t *rows = relay_routes_json(t->ts->relay), *row, *found = NULL;
	size_t i;

	json_array_foreach(rows, i, row)
		if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0)
			found = json_incref(row);
	json_decref(rows);
	return found;
}

static void on_deleted(const char *name, bool drop, void *arg)
{
	struct tunnel_routes *t = arg;

	(void)relay_remove(t->ts->relay, name, ROUTE_OF_STORE, drop);
	tell(t, name, "deleted");
}

static int on_put(const char *name, const json_t *body, bool drop, void *arg, char *err, size_t err_n)
{
	struct tunnel_routes *t = arg;
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	int r = route_parse(body, err, err_n, &cfg);

	if (r == 0)
		r = relay_put(t->ts->relay, cfg_values(cfg), ROUTE_OF_STORE, err, err_n);
	if (r == 0 && drop)
		relay_drop(t->ts->relay, name);
	if (r == 0)
		tell(t, name, "changed");
	return r;
}

static int on_check(const char *name, json_t **body, void *arg, char *err, size_t err_n)
{
	struct tunnel_routes *t = arg;
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const struct route *there = relay_find(t->ts->relay, name);
	char buf[ROUTE_LISTEN_STRLEN];
	const struct route_config *c;
	const char *other;
	int r = route_parse(*body, err, err_n, &cfg);

	if (r < 0)
		return r;
	c = cfg_values(cfg);
	other = relay_conflict(t->ts->relay, c, name);
	if (strcmp(c->name ? c->name : route_listen_name(c, buf), name) != 0)
		snprintf(err, err_n, "'name' must be the object's key, %s", name);
	else if (there && there->origin != ROUTE_OF_STORE) {
		snprintf(err, err_n, "the route %s is set in %s", name, t->ts->svc->config_path);
		return -EEXIST;
	} else if (other)
		snprintf(err, err_n, "the route %s has this port already", other);
	else if (c->log_data && !((const struct tunnel_root *)cfg_values(t->ts->svc->cfg))->tunnel.records.dir)
		snprintf(err, err_n, "a data log needs a folder: set tunnel.records.dir");
	else {
		json_decref(*body);
		*body = route_config_json(c);
		return *body ? 0 : -ENOMEM;
	}
	return -EINVAL;
}

static const struct stored_ops stored_ops = { .kind = "relay.route",
					      .noun = "route",
					      .list_hint = "stile relay route list",
					      .put = on_put,
					      .deleted = on_deleted,
					      .row = row_of,
					      .check = on_check };

int tunnel_routes_new(struct tunnel_service *ts, struct tunnel_routes **ret_t)
{
	struct tunnel_routes *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->ts = ts;
	r = stored_new(ts->svc, &stored_ops, t, &t->stored);
	if (r < 0) {
		tunnel_routes_free(t);
		return r;
	}
	*ret_t = t;
	return 0;
}

struct tunnel_routes *tunnel_routes_free(struct tunnel_routes *t)
{
	if (t)
		stored_free(t->stored);
	free(t);
	return NULL;
}

/* ---- verbs ---- */

/* True if the request was ended. */
static bool refused(struct tunnel_service *ts, struct control_request *rq, const char *name)
{
	const struct route *r = name ? relay_find(ts->relay, name) : NULL;

	if (!name || !*name)
		control_fail(rq, "bad-request", "stile relay route list shows the names", "name must be the name of a route");
	else if (r && r->origin != ROUTE_OF_STORE)
		control_fail(rq, "locked", "change the file and run stile reload",
			     "the route %s is set in %s", name, ts->svc->config_path);
	else
		return false;
	return true;
}

static void verb_list(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_service *ts = arg;

	(void)args;
	control_reply(rq, json_pack("{s:o}", "rows", relay_routes_json(ts->relay)));
}

static void verb_add(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_service *ts = arg;
	const json_t *o = json_object_get(args, "route");
	bool replace = json_is_true(json_object_get(args, "replace"));
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	char err[1024], buf[ROUTE_LISTEN_STRLEN];
	const struct route_config *c;
	const char *name, *other;

	if (!json_is_object(o)) {
		control_fail(rq, "bad-request", NULL, "route must be a map with the keys of tunnel.routes");
		return;
	}
	if (route_parse(o, err, sizeof(err), &cfg) < 0) {
		control_fail(rq, "bad-request", NULL, "%s", err);
		return;
	}
	c = cfg_values(cfg);
	name = c->name ? c->name : route_listen_name(c, buf);
	if (refused(ts, rq, name))
		return;
	other = relay_conflict(ts->relay, c, name);
	if (other) {
		control_fail(rq, "exists", "choose another port, or disable that route", "the route %s has this port already", other);
		return;
	}
	if (c->log_data && !((const struct tunnel_root *)cfg_values(ts->svc->cfg))->tunnel.records.dir) {
		control_fail(rq, "bad-request", "set tunnel.records.dir and run stile reload", "a data log needs a folder");
		return;
	}
	stored_put(ts->routes->stored, rq, name, route_config_json(c), stored_revision(args, replace ? STORE_ANY : 0), false);
}

static void verb_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_service *ts = arg;
	const char *name = json_string_value(json_object_get(args, "name"));

	if (!refused(ts, rq, name))
		stored_delete(ts->routes->stored, rq, name,
			      json_is_true(json_object_get(args, "drop")));
}

static void set_enabled(struct tunnel_service *ts, struct control_request *rq, const json_t *args, bool on)
{
	const char *name = json_string_value(json_object_get(args, "name"));
	json_t *body;

	if (refused(ts, rq, name))
		return;
	body = json_deep_copy(json_object_get(stored_bodies(ts->routes->stored), name));
	if (!body) {
		control_fail(rq, "not-found", "stile relay route list", "there is no route %s in the store", name);
		return;
	}
	json_object_set_new(body, "enabled", json_boolean(on));
	stored_put(ts->routes->stored, rq, name, body, STORE_ANY,
		   !on && json_is_true(json_object_get(args, "drop")));
}

static void verb_enable(struct control_request *rq, const json_t *args, void *arg)
{
	set_enabled(arg, rq, args, true);
}

static void verb_disable(struct control_request *rq, const json_t *args, void *arg)
{
	set_enabled(arg, rq, args, false);
}

static const struct control_verb verbs[] = {
	{ "relay.route.list", CONTROL_VIEWER, verb_list, "routes of the file and of the store, with state, reason and counts" },
	{ "relay.route.add", CONTROL_ADMIN, verb_add, "{route: {listen, target, …}, replace}: makes a route, or changes one of the store" },
	{ "relay.route.delete", CONTROL_ADMIN, verb_delete, "{name, drop}: deletes a route of the store; drop ends its connections, too" },
	{ "relay.route.enable", CONTROL_ADMIN, verb_enable, "{name}: the route listens" },
	{ "relay.route.disable", CONTROL_ADMIN, verb_disable, "{name, drop}: the route takes nothing new; drop ends its connections, too" },
};

void tunnel_routes_add_verbs(struct tunnel_service *ts)
{
	control_add_verbs(ts->svc->control, verbs, ARRAY_LEN(verbs), ts);
}
