/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands before TCP and TLS clients where others have a say: load balancers that tell whose connection it is
 * (turn.proxy_protocol), services that hand on over a Unix socket, and the front of a port that stile-turn
 * shares (turn.front, common/front.h). However a connection came, it ends in turn_conn_arrived() with
 * its client's address, or is closed, counted and logged with the reason.
 */
#include <string.h>
#include "common/front.h"
#include "common/proxy_intake.h"
#include "turn/edge.h"
#include "turn/log_msgs.h"
#include "turn/metrics.h"

static void count(struct turn_worker *w, enum turn_drop drop)
{
	metric_add(w->ts->metrics, w->index, TURN_M_DROPS, drop, 1);
}

/* While it is on its way to a turn_conn or with a backend, a connection counts at its listener. */
static void hold(struct turn_listener *l)
{
	atomic_fetch_add(&l->conns, 1);
}

static void release(struct turn_listener *l)
{
	atomic_fetch_sub(&l->conns, 1);
}

/* ---- by its kind ---- */

/* The client's address is known now. */
static void go_on(struct turn_worker *w, const struct turn_accepted *a)
{
	if (a->proto != TURN_LISTEN_FRONT) {
		turn_conn_arrived(w, &(struct turn_arrival){ a->fd, a->peer, a->local, a->listener, a->proto == TURN_LISTEN_TLS });
		return;
	}
	hold(a->listener);
	if (!front_take(w->front, a->fd, a->peer, a->local, a->listener))
		release(a->listener);
}

static bool is_balancer(const struct turn_worker *w, const struct addr *from)
{
	const struct cfg_list *l = &turn_policy_config(w->policy)->proxy_protocol.from;
	const struct prefix *p = l->items;
	struct addr real = l->n ? addr_canonical(from) : *from;

	for (size_t i = 0; i < l->n; i++)
		if (prefix_contains(&p[i], &real))
			return true;
	return false;
}

void turn_stream_accepted(struct turn_worker *w, const struct turn_accepted *a)
{
	if (addr_family(a->peer) != AF_UNSPEC && !is_balancer(w, a->peer)) {
		go_on(w, a);
		return;
	}
	hold(a->listener);
	proxy_intake_take(w->intake, a->fd, a->peer, a->local, (struct proxy_tag){ a->listener, a->proto });
}

/* ---- PROXY headers ---- */

static void on_header(const struct proxy_arrival *a, void *arg)
{
	go_on(arg, &(struct turn_accepted){ a->fd, &a->client, &a->server, a->tag.of, (enum turn_listen_proto)a->tag.kind });
	release(a->tag.of);
}

static void on_no_header(const struct addr *sender, struct proxy_tag tag, const char *why, void *arg)
{
	struct turn_worker *w = arg;
	char ip[ADDR_STRLEN];
	uint64_t suppressed;

	release(tag.of);
	if (!why)
		return;
	count(w, TURN_DROP_PROXY_HEADER);
	if (turn_edge_may_log(w, TURN_LINE_PROXY, &suppressed))
		log_emit(&MSG_TURN_PROXY_REFUSED,
			 LF_STR("sender", addr_family(sender) == AF_UNSPEC ? "a Unix socket" : addr_print_ip(sender, ip)),
			 LF_STR("why", why), LF_U64("suppressed", suppressed));
}

static const struct proxy_intake_ops intake_ops = { .on_arrival = on_header, .on_refused = on_no_header };

/* ---- the front ---- */

static bool admit(const struct addr *client, void *arg)
{
	struct turn_worker *w = arg;
	const struct turn_config *cfg = turn_policy_config(w->policy);
	enum clients_verdict v = clients_enter(w->ts->front_clients, client, cfg->front.connections,
							cfg->front.connections_per_address);
	uint64_t suppressed;

	if (v == CLIENTS_OK)
		return true;
	count(w, TURN_DROP_FRONT_LIMIT);
	if (turn_edge_may_log(w, TURN_LINE_FRONT, &suppressed))
		log_emit(v == CLIENTS_ADDRESS ? &MSG_TURN_FRONT_LIMIT_ADDRESS : &MSG_TURN_FRONT_LIMIT,
			 LF_ADDR("client", client), LF_U64("suppressed", suppressed));
	return false;
}

static void leave(const struct addr *client, void *tag, void *arg)
{
	clients_leave(((struct turn_worker *)arg)->ts->front_clients, client);
	if (tag)
		release(tag);
}

static void on_self(const struct front_own *o, void *arg)
{
	turn_conn_arrived(arg, &(struct turn_arrival){ o->fd, o->client, o->server, o->tag, o->tls });
}

static void on_refused(enum front_refusal r, const struct front_visit *v, void *arg)
{
	static const struct {
		enum turn_drop drop;
		const struct log_msg *msg;
	} rows[FRONT_REFUSALS] = {
		[FRONT_NOT_TLS] = { TURN_DROP_FRONT_NOT_TLS, &MSG_TURN_FRONT_NOT_TLS },
		[FRONT_BAD_HELLO] = { TURN_DROP_FRONT_BAD_HELLO, &MSG_TURN_FRONT_BAD_HELLO },
		[FRONT_SLOW] = { TURN_DROP_FRONT_SLOW, &MSG_TURN_FRONT_SLOW },
		[FRONT_WAITING_LIMIT] = { TURN_DROP_FRONT_LIMIT, &MSG_TURN_FRONT_WAITING },
		[FRONT_BACKEND_DOWN] = { TURN_DROP_FRONT_BACKEND_DOWN, &MSG_TURN_FRONT_BACKEND_DOWN },
		[FRONT_NO_MEMORY] = { TURN_DROP_FRONT_LIMIT, &MSG_TURN_FRONT_NO_MEMORY },
	};
	struct turn_worker *w = arg;
	uint64_t suppressed;

	count(w, rows[r].drop);
	if (turn_edge_may_log(w, TURN_LINE_FRONT, &suppressed))
		log_emit(rows[r].msg, LF_ADDR("client", v->client), LF_STR("backend", v->to ? v->to->name : NULL),
			 LF_STR("why", v->why), LF_U64("suppressed", suppressed));
}

static void on_joined(const struct front_visit *v, void *arg)
{
	struct turn_worker *w = arg;
	uint64_t suppressed;

	if (turn_edge_may_log(w, TURN_LINE_FRONT_JOINED, &suppressed))
		log_emit(&MSG_TURN_FRONT_JOINED, LF_ADDR("client", v->client), LF_STR("backend", v->to->name),
			 LF_U64("suppressed", suppressed));
}

static const struct front_ops front_ops = {
	.admit = admit,
	.leave = leave,
	.on_self = on_self,
	.on_refused = on_refused,
	.on_joined = on_joined,
};

/* ---- in a worker ---- */

int turn_front_open(struct turn_worker *w)
{
	int r = proxy_intake_new(w->loop, NULL, &intake_ops, w, &w->intake);

	if (r == 0)
		r = front_new(w->loop, w->ts->front, &front_ops, w, &w->front);
	if (r == 0)
		front_set_table(w->front, w->ts->front, turn_policy_config(w->policy)->front.idle_ms);
	return r;
}

void turn_front_close(struct turn_worker *w)
{
	w->intake = proxy_intake_free(w->intake);
	w->front = front_free(w->front);
}

/* ---- main thread: the table ---- */

int turn_front_table(const struct turn_service *ts, const struct turn_config *cfg, struct front_table **ret_t)
{
	return front_table_new(&cfg->front.routes, "turn", ts->front, ret_t);
}

struct swap {
	struct front_table *table;
	uint64_t idle_ms;
};

static void give_table(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;
	const struct swap *s = arg;

	front_set_table(w->front, s->table, s->idle_ms);
}

void turn_front_swap(struct turn_service *ts, struct front_table *fresh, uint64_t idle_ms)
{
	struct swap s = { fresh, idle_ms };

	workers_call(&ts->workers, give_table, &s);
	front_table_unref(ts->front);
	ts->front = fresh;
}

/* ---- status ---- */

static void add_waiting(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;

	*(json_int_t *)arg += front_waiting(w->front);
}

static bool has_front(const struct turn_service *ts)
{
	list_for_each(it, &ts->listeners)
		if (list_entry(it, struct turn_listener, node)->spec.proto == TURN_LISTEN_FRONT)
			return true;
	return false;
}

json_t *turn_front_json(struct turn_service *ts)
{
	if (!has_front(ts))
		return NULL;

	struct front_backend *const *list;
	size_t n = front_table_backends(ts->front, &list);
	json_int_t waiting = 0;
	json_t *rows = json_array();

	workers_call(&ts->workers, add_waiting, &waiting);
	for (size_t i = 0; i < n; i++) {
		int error = atomic_load_explicit(&list[i]->last_error, memory_order_relaxed);
		json_t *row = json_pack("{s:s, s:I, s:I, s:I}", "backend", list[i]->name, "taken", (json_int_t)list[i]->taken,
					"open", (json_int_t)list[i]->open, "failed", (json_int_t)list[i]->failed);
		if (error)
			json_object_set_new(row, "down", json_string(strerror(error)));
		json_array_append_new(rows, row);
	}
	return json_pack("{s:I, s:I, s:o}", "waiting", waiting, "connections", (json_int_t)clients_count(ts->front_clients),
			 "backends", rows);
}
