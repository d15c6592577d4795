/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Visits: a listening socket here, and a link to the agent that it leads to. The socket is bound by the supervisor and handed (a copy)
 * to the child with each link; while there is none, clients wait in its queue.
 *
 * A visit keeps its link for as long as it is there: whoever connects finds it ready. Without one it is tried again after 1 s,
 * twice as long each time, 30 s at most, and at once when a server is there again; after a refusal for the epoch, at once.
 *
 * Timer: retry.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "tunnel/agent/direct_priv.h"
#include "tunnel/link/frame_conn.h"
#include "tunnel/log_msgs.h"
#include "tunnel/policy.h"
#include "common/stored.h"
#include "common/values.h"

enum { RETRY_FIRST_MS = 1000, RETRY_LAST_MS = 30 * 1000, EPOCH_TRIES = 2, PORT_AGAIN_MS = 50, PORT_TRIES = 1 };

struct dvisit *visit_numbered(struct direct *d, uint32_t number)
{
	list_for_each (it, &d->visits) {
		struct dvisit *v = list_entry(it, struct dvisit, node);

		if (v->number == number)
			return v;
	}
	return NULL;
}

static void set_why(struct dvisit *v, const char *why)
{
	if (strcmp(v->why, why) == 0)
		return;
	(void)snprintf(v->why, sizeof(v->why), "%s", why);
	if (*why)
		log_emit(&MSG_AGENT_VISIT_WAITS, LF_STR("visit", v->name), LF_STR("reason", why));
	visit_news(v);
}

/* ---- its link ---- */

static void later(struct dvisit *v)
{
	uint64_t wait = (uint64_t)RETRY_FIRST_MS << MIN(v->tries, 10u);

	v->tries++;
	loop_timer_set(v->d->loop, &v->retry, MIN(wait, (uint64_t)RETRY_LAST_MS));
}

static void hand_over(struct dvisit *v)
{
	const struct child_listen m = { .visit = v->number, .link = v->link->id, .kind = v->c->udp ? WIRE_JOB_UDP : WIRE_JOB_TCP,
					.host = text_of(v->c->target.host), .port = v->c->target.port,
					.connections = (uint32_t)MIN(v->c->connections, (uint64_t)UINT32_MAX) };
	int fd = fcntl(v->fd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0) {
		(void)direct_tell(v->d, CHILD_LISTEN, &m, fd);
		return;
	}
	set_why(v, strerror(errno));
	dlink_release(steal_ptr(&v->link)); /* it is there when there is a descriptor again */
	later(v);
}

static const struct direct_peer *whom(const struct dvisit *v, const char **ret_why)
{
	const struct direct_peer *p = v->c->identity.set ? peer_find(v->d, &v->c->identity.id) : peer_named(v->d, v->c->agent);

	*ret_why = "the key of that agent is not known here: give its identity, or make first contact with stile connect";
	return p;
}

static void try_link(struct dvisit *v)
{
	const struct direct_peer *p;
	const char *why;

	if (v->link || v->fd < 0)
		return;
	timer_stop(&v->retry);
	p = whom(v, &why);
	v->link = p ? dlink_to(v->d, p, v->c->head_start_ms, &why) : NULL;
	if (!v->link) {
		set_why(v, why);
		later(v);
		return;
	}
	if (child_ready(v->d->child)) /* else when it is */
		hand_over(v);
}

void visit_try(struct dvisit *v)
{
	v->tries = 0;
	try_link(v);
}

static int listen_at(struct dvisit *v);

/* Also its port: another program may have had it, or the child a moment longer than the visit of before. */
static void on_retry(struct timer *t, uint64_t now)
{
	struct dvisit *v = container_of(t, struct dvisit, retry);

	(void)now;
	if (v->fd < 0 && listen_at(v) < 0) {
		later(v);
		return;
	}
	direct_want_child(v->d);
	try_link(v);
}

void visits_link_over(struct direct *d, struct dlink *l, enum wire_reason reason, const char *why)
{
	list_for_each (it, &d->visits) {
		struct dvisit *v = list_entry(it, struct dvisit, node);

		if (v->link != l)
			continue;
		v->link = NULL;
		v->connections = 0;
		if (reason == WIRE_R_EPOCH && v->tries < EPOCH_TRIES) { /* the next call holds the right one */
			v->tries++;
			loop_timer_set(d->loop, &v->retry, 0);
			continue;
		}
		set_why(v, why);
		later(v);
		if (v->guest)
			guest_link_over(v->guest, reason);
	}
}

/* A server is there, or a child: what waits is tried, and what waited for the child is handed to it. */
void visits_try(struct direct *d, struct agent_end *e)
{
	list_for_each (it, &d->visits) {
		struct dvisit *v = list_entry(it, struct dvisit, node);

		if (!e && v->link)
			hand_over(v);
		v->tries = e ? 0 : v->tries;
		try_link(v);
	}
}

void visits_peers_changed(struct direct *d)
{
	list_for_each (it, &d->visits) {
		struct dvisit *v = list_entry(it, struct dvisit, node);

		v->tries = 0;
		try_link(v);
	}
}

void visits_link_news(struct dlink *l)
{
	list_for_each (it, &l->d->visits) {
		struct dvisit *v = list_entry(it, struct dvisit, node);

		if (v->link != l)
			continue;
		if (l->told.state == CHILD_LINK_UP) {
			v->tries = 0;
			v->why[0] = '\0';
		}
		visit_news(v);
	}
}

/* ---- whoever waits at stile connect ---- */

void visit_news(struct dvisit *v)
{
	char at[ADDR_STRLEN];
	json_t *link;

	if (v->guest)
		guest_news(v->guest);
	if (!v->request)
		return;
	link = v->link ? dlink_json(v->link) : json_null();
	control_progress(v->request, json_pack("{s:s, s:s, s:s, s:o}", "name", v->name, "listen", v->fd >= 0 ? addr_print(&v->at, at) : "",
					       "why", v->why, "link", link));
}

/* ---- made and removed ---- */

static int listen_at(struct dvisit *v)
{
	const struct port_socket_options o = { .udp = v->c->udp, .single = true };
	struct addr local, peer;
	int r = port_socket(&v->c->listen, &o, &v->fd);

	v->at = v->c->listen;
	if (r < 0) {
		char at[ADDR_STRLEN];

		v->fd = -1;
		(void)snprintf(v->why, sizeof(v->why), "cannot listen on %s: %s%s", addr_print(&v->at, at), strerror(-r), port_socket_advice(-r));
		if (v->tries == PORT_TRIES) /* those before are a moment's affair */
			log_emit(&MSG_AGENT_VISIT_WAITS, LF_STR("visit", v->name), LF_STR("reason", v->why));
		return r;
	}
	v->tries = 0;
	v->why[0] = '\0';
	frame_conn_addresses_of(v->fd, &peer, &local);
	if (addr_family(&local) != AF_UNSPEC)
		v->at = local;
	return 0;
}

/* cfg is taken, also on failure. */
static struct dvisit *visit_new(struct direct *d, struct cfg *cfg)
{
	struct dvisit *v = d->n_visits < DIRECT_VISITS_MAX ? calloc(1, sizeof(*v)) : NULL;

	if (!v) {
		cfg_free(cfg);
		return NULL;
	}
	v->d = d;
	v->number = ++d->last_visit;
	v->cfg = cfg;
	v->c = (struct visit_config *)cfg_values(cfg);
	v->fd = -1;
	v->retry.fire = on_retry;
	(void)visit_name(v->c, v->name);
	list_append(&d->visits, &v->node);
	d->n_visits++;
	return v;
}

void visit_remove(struct dvisit *v)
{
	struct dlink *l = steal_ptr(&v->link);

	timer_stop(&v->retry);
	/* Also without a link: the child keeps the port from one to the next. */
	(void)direct_tell(v->d, CHILD_UNLISTEN, &(struct child_visit){ v->number }, -1);
	if (l)
		dlink_release(l);
	if (v->fd >= 0)
		close(v->fd);
	list_unlink(&v->node);
	v->d->n_visits--;
	cfg_free(v->cfg);
	free(v);
}

void visits_free(struct direct *d)
{
	list_for_each_safe (it, &d->visits) {
		struct dvisit *v = list_entry(it, struct dvisit, node);

		if (v->request)
			control_fail(steal_ptr(&v->request), "cancelled", NULL, "the agent stops");
		visit_remove(v);
	}
	d->kept = stored_free(d->kept);
}

int visit_add(struct direct *d, struct cfg *cfg, struct control_request *rq, struct dvisit **ret_v, char *err, size_t err_n)
{
	struct dvisit *v = visit_new(d, cfg);
	int r;

	(void)snprintf(err, err_n, "%s", v ? "" : "there are too many visits, or no memory");
	if (!v)
		return -ENOMEM;
	r = listen_at(v);
	if (r < 0) {
		(void)snprintf(err, err_n, "%s", v->why);
		visit_remove(v);
		return r;
	}
	v->request = rq;
	direct_want_child(d);
	try_link(v);
	*ret_v = v;
	return 0;
}

/* ---- those of the file and of the store ---- */

static struct dvisit *same(struct direct *d, const json_t *values, enum visit_origin origin)
{
	list_for_each (it, &d->visits) {
		struct dvisit *v = list_entry(it, struct dvisit, node);
		json_t *its = v->origin == origin ? values_json(&visit_schema, v->c) : NULL;
		bool equal = its && json_equal(its, values);

		json_decref(its);
		if (equal)
			return v;
	}
	return NULL;
}

static int put(struct direct *d, const json_t *values, enum visit_origin origin)
{
	struct dvisit *v = same(d, values, origin);
	struct cfg *cfg;
	char err[256];
	int r;

	if (!v) {
		r = visit_parse(values, err, sizeof(err), &cfg);
		if (r < 0)
			return r;
		if (!((const struct visit_config *)cfg_values(cfg))->enabled) {
			cfg_free(cfg);
			return 0;
		}
		v = visit_new(d, cfg);
		if (!v)
			return -ENOMEM;
		v->origin = origin;
	}
	v->mark = true;
	return 0;
}

static int put_file(struct direct *d, const struct agent_config *c)
{
	const struct visit_config *v = c->visits.items;
	int r = 0;

	for (size_t i = 0; i < c->visits.n && r == 0; i++) {
		json_t *values = values_json(&visit_schema, &v[i]);

		r = values ? put(d, values, VISIT_OF_FILE) : -ENOMEM;
		json_decref(values);
	}
	return r;
}

bool visit_is_of_file(const struct agent_config *c, const char *name)
{
	const struct visit_config *v = c->visits.items;
	char buf[VISIT_NAME_STRLEN];

	for (size_t i = 0; i < c->visits.n; i++)
		if (strcmp(visit_name(&v[i], buf), name) == 0)
			return true;
	return false;
}

/* One that cannot be read must not keep the agent from the others. */
static void put_stored(struct direct *d, const struct agent_config *c)
{
	const char *name;
	json_t *body;

	json_object_foreach(stored_bodies(d->kept), name, body)
		if (!visit_is_of_file(c, name) && put(d, body, VISIT_OF_STORE) < 0)
			log_emit(&MSG_AGENT_VISIT_WAITS, LF_STR("visit", name), LF_STR("reason", "what the store has of it cannot be read, or there are too many"));
}

int visits_configure(struct direct *d, const struct agent_config *c)
{
	int r;

	list_for_each (it, &d->visits)
		list_entry(it, struct dvisit, node)->mark = false;
	r = put_file(d, c);
	if (r == 0)
		put_stored(d, c);
	list_for_each_safe (it, &d->visits) { /* the old ones first: a new one may want their port */
		struct dvisit *old = list_entry(it, struct dvisit, node);

		if (old->origin != VISIT_OF_REQUEST && !old->mark && r == 0)
			visit_remove(old);
	}
	list_for_each (it, &d->visits) {
		struct dvisit *fresh = list_entry(it, struct dvisit, node);

		if (fresh->origin == VISIT_OF_REQUEST || fresh->fd >= 0)
			continue;
		if (listen_at(fresh) == 0)
			try_link(fresh);
		else
			loop_timer_set(d->loop, &fresh->retry, PORT_AGAIN_MS);
	}
	return r;
}

/* ---- for people ---- */

/* v: NULL for one that is not there. */
static json_t *row(const struct visit_config *c, enum visit_origin origin, const struct dvisit *v)
{
	static const char *const origins[] = { [VISIT_OF_REQUEST] = "connect", [VISIT_OF_FILE] = "file", [VISIT_OF_STORE] = "store" };
	char at[ADDR_STRLEN], name[VISIT_NAME_STRLEN];
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:b}", "name", visit_name(c, name), "agent", c->agent,
			      "listen", v && v->fd >= 0 ? addr_print(&v->at, at) : "", "protocol", c->udp ? "udp" : "tcp", "origin", origins[origin],
			      "why", v ? v->why : "", "number", (json_int_t)(v ? v->number : 0), "link", (json_int_t)(v && v->link ? v->link->id : 0),
			      "opened", (json_int_t)(v ? v->opened : 0), "refused", (json_int_t)(v ? v->refused : 0), "state",
			      !v ? "interrupted" : v->link ? dlink_state(v->link) : "waiting", "enabled", v != NULL);
	json_t *config = values_json(&visit_schema, c);

	json_object_set(o, "target", json_object_get(config, "target"));
	json_object_set_new(o, "connections", json_integer((json_int_t)(v ? v->connections : 0)));
	json_object_set_new(o, "config", config);
	return o;
}

json_t *visits_json(struct direct *d)
{
	const struct agent_config *c = agent_config_of(d->as);
	const struct visit_config *of_file = c->visits.items;
	json_t *rows = json_array(), *body;
	const char *name;

	list_for_each (it, &d->visits) {
		const struct dvisit *v = list_entry(it, struct dvisit, node);

		json_array_append_new(rows, row(v->c, v->origin, v));
	}
	for (size_t i = 0; i < c->visits.n; i++)
		if (!of_file[i].enabled)
			json_array_append_new(rows, row(&of_file[i], VISIT_OF_FILE, NULL));
	json_object_foreach(stored_bodies(d->kept), name, body) {
		_cleanup_(cfg_freep) struct cfg *cfg = NULL;
		char err[256];

		if (visit_is_of_file(c, name) || visit_parse(body, err, sizeof(err), &cfg) < 0)
			continue;
		if (!((const struct visit_config *)cfg_values(cfg))->enabled)
			json_array_append_new(rows, row(cfg_values(cfg), VISIT_OF_STORE, NULL));
	}
	return rows;
}
