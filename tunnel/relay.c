/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes of the main thread: put, changed, removed, tried again. Ports are bound in relay_ports.c; what
 * connects is the workers' business.
 *
 * A route that is changed keeps its sockets if it listens where it did, so nothing that waits in their queues
 * is lost, and its connections, but for those of sources that it does not allow any more. Ports that cannot be bound,
 * and names of targets that cannot be resolved, are tried again with growing pauses; each change of fortune is one
 * event. Whether a name resolves is only asked here to be told: each connection asks for itself.
 */
#include "tunnel/relay_priv.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { RETRY_MS = 1000, RETRY_MAX_MS = 30000, ASK_MS = 60000 };

/* ---- events ---- */

static void tell_about(const struct relay *r, enum relay_event what, const struct event_about *a)
{
	if (r->o.on_event)
		r->o.on_event(what, a, r->o.arg);
	else
		relay_event(what, a);
}

static void tell(const struct relay_entry *e, enum relay_event what, const char *target, const char *reason)
{
	char buf[ROUTE_LISTEN_STRLEN];
	struct event_about a = { .route = e->route->name, .listen = route_listen_name(e->route->c, buf),
				 .target = target ? target : e->route->target, .reason = reason };

	tell_about(e->relay, what, &a);
}

static bool is_ready(const struct relay_entry *e)
{
	return e->route->c->enabled && e->n_bound == e->n_ports && !e->name_why[0];
}

static void tell_if_ready(struct relay_entry *e)
{
	bool ready = is_ready(e);

	if (ready && !e->told_ready)
		tell(e, EVENT_READY, NULL, NULL);
	e->told_ready = ready;
}

/* ---- ports ---- */

static uint64_t pause_ms(unsigned n)
{
	return MIN((uint64_t)RETRY_MS << MIN(n, 10), RETRY_MAX_MS);
}

static void try_bind(struct relay_entry *e)
{
	int before = e->error;

	relay_ports_bind(e);
	if (!e->error) {
		e->retries = 0;
		tell_if_ready(e);
		return;
	}
	if (e->error != before)
		tell(e, relay_event_of(e->error, EVENT_CANNOT_BIND), NULL, e->bind_why);
	e->told_ready = false;
	loop_timer_set(e->relay->loop, &e->retry, pause_ms(e->retries++));
}

static void on_retry(struct timer *t, uint64_t now)
{
	(void)now;
	try_bind(container_of(t, struct relay_entry, retry));
}

/* ---- names ---- */

static void ask_next(struct relay_entry *e);

static void round_over(struct relay_entry *e)
{
	if (!e->name_bad) {
		e->name_why[0] = 0;
		e->asks = 0;
		tell_if_ready(e);
	}
	loop_timer_set(e->relay->loop, &e->ask, e->name_bad ? pause_ms(e->asks++) : ASK_MS);
}

static void name_failed(struct relay_entry *e, const char *host, const char *why)
{
	bool known = e->name_why[0] != 0;

	e->name_bad = true;
	(void)snprintf(e->name_why, sizeof(e->name_why), "%s: %s", host, why);
	e->told_ready = false;
	if (!known)
		tell(e, EVENT_CANNOT_RESOLVE, host, why);
}

static void on_answer(const struct dns_answer *a, void *arg)
{
	struct relay_entry *e = arg;
	const struct route_target *t = e->route->c->target.items;

	e->query = NULL;
	if (a->status != DNS_OK)
		name_failed(e, t[e->asked].host, dns_status_text(a->status));
	e->asked++;
	ask_next(e);
}

static void ask_next(struct relay_entry *e)
{
	const struct route_target *t = e->route->c->target.items;
	struct addr a;

	while (e->asked < e->route->c->target.n && addr_parse(text_of(t[e->asked].host), 1, &a) == 0)
		e->asked++;
	if (e->asked == e->route->c->target.n) {
		round_over(e);
		return;
	}
	struct dns_request rq = { .host = t[e->asked].host, .port = 1, .done = on_answer, .arg = e,
				  .family = addr_family(&e->route->c->source_address) };
	int r = e->relay->dns ? 0 : dns_new(e->relay->loop, NULL, &e->relay->dns);

	if (r == 0)
		r = dns_addresses(e->relay->dns, &rq, &e->query);
	if (r < 0) {
		name_failed(e, t[e->asked].host, strerror(-r));
		round_over(e);
	}
}

static bool has_names(const struct route_config *c)
{
	const struct route_target *t = c->target.items;
	struct addr a;

	for (size_t i = 0; i < c->target.n; i++)
		if (addr_parse(text_of(t[i].host), 1, &a) != 0)
			return true;
	return false;
}

static void on_ask(struct timer *t, uint64_t now)
{
	struct relay_entry *e = container_of(t, struct relay_entry, ask);

	(void)now;
	e->asked = 0;
	e->name_bad = false;
	ask_next(e);
}

/* ---- entries ---- */

static struct relay_entry *find(const struct relay *r, const char *name)
{
	list_for_each(it, &r->entries) {
		struct relay_entry *e = list_entry(it, struct relay_entry, node);

		if (strcmp(e->route->name, name) == 0)
			return e;
	}
	return NULL;
}

static void entry_rest(struct relay_entry *e)
{
	timer_stop(&e->retry);
	timer_stop(&e->ask);
	e->query = dns_cancel(e->query);
	e->retries = e->asks = 0;
	e->error = 0;
	e->told_ready = false;
	e->name_why[0] = e->bind_why[0] = 0;
}

static void entry_free(struct relay_entry *e)
{
	entry_rest(e);
	relay_ports_close(e);
	list_unlink(&e->node);
	route_unref(e->route);
	free(e->ports);
	free(e);
}

/* Whoever connects from now on is held against the new list already. */
static void recheck(const struct relay_entry *e)
{
	struct relay_order o = { .what = RELAY_RECHECK, .route = e->route };

	if (e->relay->started && e->route->c->allow.n)
		workers_call(&e->relay->workers, relay_obey, &o);
}

/* What the entry is from now on, without binding anything yet. Takes the route. */
static int entry_set(struct relay_entry *e, struct route *fresh)
{
	const struct route_config *c = fresh->c;
	unsigned n = c->enabled ? (unsigned)c->listen.last - addr_port(&c->listen.at) + 1 : 0;
	bool stays = e->route && n && n == e->n_ports && relay_same_ports(e->route->c, c);
	struct relay_port *ports = stays ? NULL : calloc(MAX(n, 1), sizeof(*ports));

	if (!stays && !ports)
		return -ENOMEM;
	entry_rest(e);
	if (!stays) {
		relay_ports_close(e);
		free(e->ports);
		e->ports = ports;
		e->n_ports = n;
	}
	route_unref(e->route);
	e->route = fresh;
	if (stays)
		relay_ports_reroute(e);
	recheck(e);
	return 0;
}

static void entry_go(struct relay_entry *e)
{
	if (!e->route->c->enabled)
		return;
	e->told_ready = false;
	try_bind(e);
	if (has_names(e->route->c))
		loop_timer_set(e->relay->loop, &e->ask, 0);
}

static struct relay_entry *entry_new(struct relay *r)
{
	struct relay_entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->relay = r;
	e->retry.fire = on_retry;
	e->ask.fire = on_ask;
	list_append(&r->entries, &e->node);
	return e;
}

/* Certificates are read anew by every put, so a route with TLS is never the same. */
static bool is_same(const struct relay_entry *e, const struct route *fresh)
{
	return e && !fresh->tls && !fresh->target_tls && route_same(e->route, fresh);
}

/* Puts a route that was made into its place; takes it. *ret_e: what has to go then, or NULL. */
static int place(struct relay *r, struct route *fresh, struct relay_entry **ret_e)
{
	struct relay_entry *e = find(r, fresh->name), *made = NULL;
	int rc;

	*ret_e = NULL;
	if (is_same(e, fresh)) {
		route_unref(fresh);
		return 0;
	}
	if (!e)
		e = made = entry_new(r);
	rc = e ? entry_set(e, fresh) : -ENOMEM;
	if (rc < 0) {
		route_unref(fresh);
		if (made) {
			list_unlink(&made->node);
			free(made);
		}
		return rc;
	}
	*ret_e = e;
	return 0;
}

static int make(struct relay *r, const struct route_config *c, enum route_origin from, char *err, size_t err_n,
		struct route **ret_route)
{
	char buf[ROUTE_LISTEN_STRLEN];
	const struct relay_entry *e = find(r, c->name ? c->name : route_listen_name(c, buf));

	return route_new(c, from, e ? e->route : NULL, err, err_n, ret_route);
}

int relay_put(struct relay *r, const struct route_config *c, enum route_origin from, char *err, size_t err_n)
{
	struct route *fresh;
	struct relay_entry *e;
	int rc = make(r, c, from, err, err_n, &fresh);

	if (rc < 0)
		return rc;
	rc = place(r, fresh, &e);
	if (rc < 0)
		(void)snprintf(err, err_n, "%s", strerror(-rc));
	else if (e)
		entry_go(e);
	return rc;
}

void relay_drop(struct relay *r, const char *name)
{
	struct relay_entry *e = find(r, name);
	struct relay_order o = { .what = RELAY_DROP };

	if (!e || !r->started)
		return;
	o.route = e->route;
	workers_call(&r->workers, relay_obey, &o);
}

bool relay_remove(struct relay *r, const char *name, enum route_origin from, bool drop)
{
	struct relay_entry *e = find(r, name);
	struct relay_order o = { .what = RELAY_DROP };

	if (!e || e->route->origin != from)
		return false;
	o.route = route_ref(e->route);
	entry_free(e);
	if (drop && r->started)
		workers_call(&r->workers, relay_obey, &o);
	route_unref(o.route);
	return true;
}

/* ---- the routes of the file ---- */

static bool is_among(const char *name, struct route *const *fresh, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(fresh[i]->name, name) == 0)
			return true;
	return false;
}

static void remove_others(struct relay *r, struct route *const *fresh, size_t n)
{
	list_for_each_safe(it, &r->entries) {
		struct relay_entry *e = list_entry(it, struct relay_entry, node);

		if (e->route->origin == ROUTE_OF_FILE && !is_among(e->route->name, fresh, n))
			entry_free(e);
	}
}

struct relay_file {
	struct route **fresh; /* n of them */
	struct relay_entry **changed;
	size_t n;
};

struct relay_file *relay_file_free(struct relay_file *f)
{
	if (!f)
		return NULL;
	while (f->n > 0)
		route_unref(f->fresh[--f->n]);
	free(f->fresh);
	free(f->changed);
	free(f);
	return NULL;
}

int relay_file_make(struct relay *r, const struct cfg_list *routes, char *err, size_t err_n,
		    struct relay_file **ret_f)
{
	_cleanup_(relay_file_freep) struct relay_file *f = calloc(1, sizeof(*f));
	const struct route_config *c = routes->items;

	(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!f)
		return -ENOMEM;
	f->fresh = calloc(routes->n + 1, sizeof(struct route *));
	f->changed = calloc(routes->n + 1, sizeof(struct relay_entry *));
	if (!f->fresh || !f->changed)
		return -ENOMEM;
	for (; f->n < routes->n; f->n++) {
		int rc = make(r, &c[f->n], ROUTE_OF_FILE, err, err_n, &f->fresh[f->n]);

		if (rc < 0)
			return rc;
	}
	*ret_f = steal_ptr(&f);
	return 0;
}

static int place_or_tell(struct relay *r, struct route *fresh, struct relay_entry **ret_e)
{
	char buf[ROUTE_LISTEN_STRLEN];
	_cleanup_(route_unrefp) struct route *told = route_ref(fresh);
	int rc = place(r, fresh, ret_e);

	if (rc < 0)
		tell_about(r, EVENT_CANNOT_BIND,
			   &(struct event_about){ .route = told->name, .listen = route_listen_name(told->c, buf),
						  .target = told->target, .reason = strerror(-rc) });
	return rc;
}

/* Ports that become free are free before others are bound: two routes may change places. */
int relay_file_put(struct relay *r, struct relay_file *f)
{
	int rc = 0;

	remove_others(r, f->fresh, f->n);
	for (size_t i = 0; i < f->n; i++) {
		int one = place_or_tell(r, f->fresh[i], &f->changed[i]);

		rc = rc ? rc : one;
	}
	for (size_t i = 0; i < f->n; i++)
		if (f->changed[i])
			entry_go(f->changed[i]);
	f->n = 0; /* they are placed */
	relay_file_free(f);
	return rc;
}

int relay_put_file(struct relay *r, const struct cfg_list *routes, char *err, size_t err_n)
{
	struct relay_file *f;
	int rc = relay_file_make(r, routes, err, err_n, &f);

	if (rc < 0)
		return rc;
	rc = relay_file_put(r, f);
	if (rc < 0)
		(void)snprintf(err, err_n, "%s", strerror(-rc));
	return rc;
}

/* ---- questions ---- */

static bool overlap(const struct route_config *a, const struct route_config *b)
{
	return a->udp == b->udp && addr_equal_ip(&a->listen.at, &b->listen.at) && addr_port(&a->listen.at) <= b->listen.last &&
	       addr_port(&b->listen.at) <= a->listen.last;
}

const char *relay_conflict(const struct relay *r, const struct route_config *c, const char *name)
{
	list_for_each(it, &r->entries) {
		const struct route *other = list_entry(it, struct relay_entry, node)->route;

		if (c->enabled && other->c->enabled && strcmp(other->name, name) != 0 && overlap(c, other->c))
			return other->name;
	}
	return NULL;
}

bool relay_lets_go(const struct relay *r, const struct addr *at, const struct cfg_list *routes)
{
	const struct route_config port = { .listen = { .at = *at, .last = addr_port(at) },
					   .enabled = true },
				  *c = routes->items;
	const char *name = relay_conflict(r, &port, "");

	if (!name || find(r, name)->route->origin != ROUTE_OF_FILE)
		return false;
	for (size_t i = 0; i < routes->n; i++)
		if (c[i].enabled && overlap(&c[i], &port))
			return false;
	return true;
}

void relay_use_records(struct relay *r, struct records *rec)
{
	r->records = rec;
}

void relay_resolve_names(struct relay *r, bool on)
{
	atomic_store_explicit(&r->resolve_names, on, memory_order_relaxed);
}

const struct route *relay_find(const struct relay *r, const char *name)
{
	const struct relay_entry *e = find(r, name);

	return e ? e->route : NULL;
}

bool relay_alive(struct relay *r)
{
	bool all = true;

	for (unsigned i = 0; i < r->workers.n; i++) {
		uint64_t passes = loop_passes(r->workers.w[i].loop);

		all &= passes != r->passes[i];
		r->passes[i] = passes;
	}
	return all;
}

struct seen_outlet *relay_seen(struct relay *r)
{
	return &r->seen;
}

/* ---- life ---- */

int relay_new(struct loop *l, const struct relay_options *o, struct relay **ret_r)
{
	_cleanup_(relay_freep) struct relay *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->loop = l;
	r->seen.loop = l;
	r->o = *o;
	r->n_workers = MIN(o->workers ? o->workers : workers_default_count(), RELAY_WORKERS_MAX);
	r->seed = hash_seed_random();
	list_init(&r->entries);
	r->passes = calloc(r->n_workers, sizeof(*r->passes));
	if (!r->passes)
		return -ENOMEM;
	rc = metrics_new(relay_metric_rows, RELAY_METRICS, r->n_workers, &r->metrics);
	if (rc < 0)
		return rc;
	*ret_r = steal_ptr(&r);
	return 0;
}

int relay_start(struct relay *r, char *err, size_t err_n)
{
	int rc = workers_start(&r->workers, r->n_workers, &relay_worker_ops, r);

	if (rc < 0) {
		(void)snprintf(err, err_n, "cannot start the workers: %s", strerror(-rc));
		return rc;
	}
	r->started = true;
	list_for_each(it, &r->entries) {
		struct relay_entry *e = list_entry(it, struct relay_entry, node);
		if (!relay_ports_hand_over(e)) /* a worker could not take one: it is bound anew, or the reason told */
			loop_timer_set(r->loop, &e->retry, 0);
	}
	return 0;
}

static void refuse_new(struct worker *wk, void *arg)
{
	(void)arg;
	((struct relay_worker *)wk->state)->draining = true;
}

void relay_refuse_new(struct relay *r)
{
	if (!r->draining && r->started)
		workers_call(&r->workers, refuse_new, NULL);
	r->draining = true;
}

struct relay *relay_free(struct relay *r)
{
	if (!r)
		return NULL;
	if (r->started)
		workers_stop(&r->workers);
	r->started = false;
	list_for_each_safe(it, &r->entries)
		entry_free(list_entry(it, struct relay_entry, node));
	dns_free(r->dns);
	metrics_free(r->metrics);
	free(r->passes);
	free(r);
	return NULL;
}
