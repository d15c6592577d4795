/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told to people: figures, routes with their state and the reason for it, connections in pages, and what they may
 * do with one of these. Rows are copies; what a worker owns is asked for by workers_call. Words of states are
 * read by programs, too: they are added to, never changed.
 */
#include <errno.h>
#include <string.h>
#include "tunnel/relay_priv.h"

/* ---- figures ---- */

size_t relay_enabled(const struct relay *r)
{
	size_t n = 0;

	list_for_each(it, &r->entries)
		n += list_entry(it, struct relay_entry, node)->route->c->enabled;
	return n;
}

size_t relay_listening(const struct relay *r)
{
	size_t n = 0;

	list_for_each(it, &r->entries) {
		const struct relay_entry *e = list_entry(it, struct relay_entry, node);

		n += e->route->c->enabled && e->n_bound == e->n_ports;
	}
	return n;
}

int64_t relay_connections(const struct relay *r)
{
	return metric_sum(r->metrics, RELAY_M_CONNECTIONS, RELAY_TCP) + metric_sum(r->metrics, RELAY_M_CONNECTIONS, RELAY_UDP);
}

struct metrics *relay_metrics(struct relay *r)
{
	return r->metrics;
}

/* ---- routes ---- */

static const char *const origins[] = { [ROUTE_OF_FILE] = "file", [ROUTE_OF_STORE] = "store", [ROUTE_OF_COMMAND] = "command" };

static const char *state_of(const struct relay_entry *e)
{
	if (!e->route->c->enabled)
		return "disabled";
	if (e->n_bound == 0)
		return "not listening";
	if (e->n_bound < e->n_ports)
		return "partly listening";
	if (e->name_why[0])
		return "target not resolved";
	return e->absent ? "waiting for its address" : "listening";
}

static const char *reason_of(const struct relay_entry *e)
{
	if (!e->route->c->enabled)
		return "";
	if (e->bind_why[0])
		return e->bind_why;
	if (e->name_why[0])
		return e->name_why;
	return e->absent ? "this machine does not have the address yet; the port is bound and answers as soon as it does" : "";
}

static json_t *targets_json(const struct relay_entry *e)
{
	const struct route_target *t = e->route->c->target.items;
	uint64_t now = loop_now(e->relay->loop);
	json_t *rows = json_array();

	for (size_t i = 0; i < e->route->c->target.n; i++) {
		char buf[320];
		struct sb out = sb_init(buf, sizeof(buf));
		unsigned failures = atomic_load_explicit(&e->route->health[i].failures, memory_order_relaxed);

		cfg_route_target.print(NULL, &t[i], &out);
		json_array_append_new(rows, json_pack("{s:s, s:i, s:b}", "target", buf, "failures", (int)failures, "aside",
						      route_aside(e->route, (unsigned)i, now)));
	}
	return rows;
}

static json_int_t load(const _Atomic uint64_t *v)
{
	return (json_int_t)atomic_load_explicit(v, memory_order_relaxed);
}

static json_t *entry_json(const struct relay_entry *e)
{
	const struct route_totals *t = e->route->totals;
	const struct route_config *c = e->route->c;
	char buf[ROUTE_LISTEN_STRLEN];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:o, s:O, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}",
			 "name", e->route->name, "from", origins[e->route->origin], "listen", route_listen_name(c, buf), "target",
			 e->route->target, "state", state_of(e), "reason", reason_of(e), "enabled", c->enabled, "locked",
			 e->route->origin == ROUTE_OF_FILE, "targets", targets_json(e), "config", e->route->json, "ports",
			 (int)e->n_ports, "ports_bound", (int)e->n_bound, "connections",
			 (json_int_t)atomic_load_explicit(&t->connections, memory_order_relaxed), "connections_limit",
			 c->limits.connections == UINT64_MAX ? (json_int_t)-1 : (json_int_t)c->limits.connections, "accepted",
			 load(&t->accepted), "refused", load(&t->refused), "failed", load(&t->failed), "bytes_up", load(&t->bytes[0]),
			 "bytes_down", load(&t->bytes[1]), "note", c->note ? c->note : "");
}

static void count(struct worker *wk, void *arg)
{
	(void)arg;
	relay_conns_count(wk->state);
	relay_flows_count(wk->state);
}

void relay_count_bytes(struct relay *r)
{
	if (r->started)
		workers_call(&r->workers, count, NULL);
}

json_t *relay_routes_json(const struct relay *r)
{
	json_t *rows = json_array();

	list_for_each(it, &r->entries)
		json_array_append_new(rows, entry_json(list_entry(it, struct relay_entry, node)));
	return rows;
}

/* ---- connections ---- */

struct page {
	json_t *rows;
	const struct relay_page *p;
	unsigned left;
};

static int set_addr(json_t *o, const char *key, const struct addr *a)
{
	char buf[ADDR_STRLEN];

	return json_object_set_new(o, key, addr_family(a) == AF_UNSPEC ? json_string("") : json_string(addr_print(a, buf)));
}

static void add_row(struct page *pg, const struct relay_peer *p, json_t *row, uint64_t now)
{
	if (!row)
		return;
	json_object_set_new(row, "id", json_integer((json_int_t)p->id));
	json_object_set_new(row, "route", json_string(p->route->name));
	json_object_set_new(row, "protocol", json_string(p->route->c->udp ? "udp" : "tcp"));
	json_object_set_new(row, "opened_at", json_integer(p->opened_at));
	json_object_set_new(row, "age_ms", json_integer((json_int_t)(now - p->opened_ms)));
	json_object_set_new(row, "logged", json_boolean(p->log != NULL));
	json_object_set_new(row, "watched", json_boolean(p->watched));
	set_addr(row, "source", &p->source);
	json_object_set_new(row, "source_name", json_string(p->source_name ? p->source_name : ""));
	set_addr(row, "listener", &p->listener);
	set_addr(row, "target", &p->target);
	json_array_append_new(pg->rows, row);
	pg->left--;
}

static void add_list(struct page *pg, struct relay_worker *w, const struct list *l, uint64_t after,
		     json_t *(*to_json)(const struct relay_peer *p, uint64_t now))
{
	uint64_t now = loop_now(w->loop);

	list_for_each(it, l) {
		const struct relay_peer *p = list_entry(it, struct relay_peer, node);

		if (!pg->left)
			return;
		if (p->id > after && (!pg->p->route || strcmp(pg->p->route, p->route->name) == 0))
			add_row(pg, p, to_json(p, now), now);
	}
}

/* The cursor is the last id, whose lowest byte is its worker; within one, all connections come before all flows, and
 * both are asked behind the same number: so a page ends with a whole kind or goes on within it. */
static void add_worker(struct worker *wk, void *arg)
{
	struct relay_worker *w = wk->state;
	struct page *pg = arg;
	uint64_t after = pg->p->cursor >> 1;
	bool flows = pg->p->cursor & 1;

	if (w->index < relay_worker_of(after) || !pg->left)
		return;
	if (w->index > relay_worker_of(after) || !pg->p->cursor) {
		after = 0;
		flows = false;
	}
	if (!flows)
		add_list(pg, w, &w->conns, after, relay_conn_json);
	add_list(pg, w, &w->flows_by_age, flows ? after : 0, relay_flow_json);
}

static json_int_t cursor_behind(const json_t *row)
{
	bool flow = strcmp(json_string_value(json_object_get(row, "protocol")), "udp") == 0;

	return json_integer_value(json_object_get(row, "id")) << 1 | flow;
}

json_t *relay_connections_json(struct relay *r, const struct relay_page *p)
{
	struct page pg = { .rows = json_array(), .p = p, .left = p->limit };
	json_t *result;
	size_t n;

	if (r->started)
		workers_call(&r->workers, add_worker, &pg);
	n = json_array_size(pg.rows);
	result = json_pack("{s:O}", "rows", pg.rows);
	if (n && !pg.left)
		json_object_set_new(result, "cursor", json_integer(cursor_behind(json_array_get(pg.rows, n - 1))));
	json_decref(pg.rows);
	return result;
}

struct act {
	uint64_t id;
	enum relay_act what;
	int r;
};

static void act(struct worker *wk, void *arg)
{
	struct relay_worker *w = wk->state;
	struct act *a = arg;

	if (w->index != relay_worker_of(a->id))
		return;
	a->r = relay_conn_act(w, a->id, a->what);
	if (a->r == -ENOENT)
		a->r = relay_flow_act(w, a->id, a->what);
}

int relay_act(struct relay *r, uint64_t id, enum relay_act what)
{
	struct act a = { id, what, -ENOENT };

	if (r->started)
		workers_call(&r->workers, act, &a);
	return a.r;
}

static void look_for(struct worker *wk, void *arg)
{
	struct relay_worker *w = wk->state;
	struct act *a = arg;
	const struct list *lists[] = { &w->conns, &w->flows_by_age };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_for_each(it, lists[i])
			if (list_entry(it, struct relay_peer, node)->id == a->id)
				a->r = 0;
}

bool relay_has(struct relay *r, uint64_t id)
{
	struct act a = { .id = id, .r = -ENOENT };

	if (r->started)
		workers_call(&r->workers, look_for, &a);
	return a.r == 0;
}

static void add_pool(struct worker *wk, void *arg)
{
	const struct joint_pool_stats *s = joint_pool_stats(((struct relay_worker *)wk->state)->pool);
	struct relay_pool_figures *f = arg;

	f->pipes_lent += s->pipes_lent;
	f->pipes_spare += s->pipes_spare;
	f->pipes_made += s->pipes_made;
	f->pipes_short += s->pipes_short;
}

void relay_pool_figures(struct relay *r, struct relay_pool_figures *ret_f)
{
	*ret_f = (struct relay_pool_figures){ .workers = r->n_workers };
	if (r->started)
		workers_call(&r->workers, add_pool, ret_f);
}
