/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker of the relay: a thread with its loop, its listeners' sockets, its connections and flows. Its state is
 * touched by no other thread; the main thread's orders come by workers_call. And what connections and flows have
 * in common: their numbers, what they are counted against, what is recorded of them.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "common/clock.h"
#include "tunnel/log_msgs.h"
#include "tunnel/relay_priv.h"

enum { HEARTBEAT_MS = 1000 };

uint64_t relay_next_id(struct relay_worker *w)
{
	return ++w->seq << 8 | w->index;
}

bool relay_may_log(struct relay_worker *w, enum relay_line line, uint64_t *ret_suppressed)
{
	return log_gate_pass(&w->gates[line], loop_now(w->loop), ret_suppressed);
}

void relay_count(struct relay_worker *w, unsigned row, unsigned label, int64_t v)
{
	metric_add(w->relay->metrics, w->index, row, label, v);
}

struct dns *relay_worker_dns(struct relay_worker *w)
{
	if (!w->dns && dns_new(w->loop, NULL, &w->dns) < 0)
		return NULL;
	return w->dns;
}

/* ---- data logs and watchers ---- */

int relay_peer_log(struct relay_peer *p, void (*room)(void *arg))
{
	const struct route_target *targets = p->route->c->target.items;
	const struct data_log_options o = { .loop = p->worker->loop, .room = room, .arg = p, .id = p->id, .route = p->route->name,
					    .source = p->source, .source_name = p->source_name, .target = p->target,
					    .target_name = targets[p->target_index].host };

	return p->log ? 0 : data_log_open(p->worker->relay->records, &o, clock_unix_ms(), &p->log);
}

int relay_peer_passes(struct relay_peer *p, unsigned way, const uint8_t *data, size_t n)
{
	int r = p->log ? data_log_packet(p->log, way == 0 ? DATA_LOG_UP : DATA_LOG_DOWN, data, n, clock_unix_ms()) : 0;

	if (r != 0 && r != DATA_LOG_WAIT) {
		p->log = data_log_close(p->log, NULL, clock_unix_ms());
		r = DATA_LOG_STOPPED;
	}
	if (p->watched)
		seen_push(&p->worker->relay->seen, p->id, way, &p->unseen, data, n);
	return r;
}

/* ---- names of sources ---- */

static void on_source_name(const struct dns_answer *a, void *arg)
{
	struct relay_peer *p = arg;

	p->naming = NULL;
	p->source_name = a->name ? strdup(a->name) : NULL; /* without memory it has none */
	relay_count(p->worker, RELAY_M_NAMES, a->name ? RELAY_NAME_FOUND : RELAY_NAME_NONE, 1);
}

/* Nothing waits for the name. A source of UDP may be forged: whoever forges would make us ask for everybody. */
static void ask_source_name(struct relay_peer *p)
{
	const struct dns_request rq = { .done = on_source_name, .arg = p };
	struct dns *dns;

	if (p->route->c->udp || !atomic_load_explicit(&p->worker->relay->resolve_names, memory_order_relaxed))
		return;
	dns = relay_worker_dns(p->worker);
	if (!dns || dns_name(dns, &p->source, &rq, &p->naming) < 0)
		relay_count(p->worker, RELAY_M_NAMES, RELAY_NAME_NOT_ASKED, 1); /* too many, or no memory: it goes without */
}

/* ---- connections and flows ---- */

int relay_peer_begin(struct relay_peer *p, struct relay_listener *l, const struct addr *source, const struct addr *local)
{
	struct relay_worker *w = l->worker;

	list_init(&p->node);
	if (!route_enter(l->route))
		return -EUSERS;
	p->worker = w;
	p->route = route_ref(l->route);
	p->id = relay_next_id(w);
	p->source = *source;
	p->listener = *local;
	p->opened_at = clock_unix_ms();
	p->opened_ms = loop_now(w->loop);
	relay_count(w, RELAY_M_CONNECTIONS, p->route->c->udp ? RELAY_UDP : RELAY_TCP, 1);
	relay_count(w, RELAY_M_ACCEPTED, p->route->c->udp ? RELAY_UDP : RELAY_TCP, 1);
	ask_source_name(p);
	return 0;
}

void relay_peer_end(struct relay_peer *p)
{
	relay_count(p->worker, RELAY_M_CONNECTIONS, p->route->c->udp ? RELAY_UDP : RELAY_TCP, -1);
	p->log = data_log_close(p->log, NULL, clock_unix_ms());
	if (p->watched)
		seen_ended(&p->worker->relay->seen, p->id);
	p->naming = dns_cancel(p->naming);
	free(p->source_name);
	p->source_name = NULL;
	list_unlink(&p->node);
	route_leave(p->route);
	p->route = route_unref(p->route);
}

void relay_peer_count(struct relay_peer *p, const uint64_t bytes[2])
{
	for (unsigned w = 0; w < 2; w++) {
		uint64_t more = bytes[w] - p->counted[w];

		if (!more)
			continue;
		p->counted[w] = bytes[w];
		atomic_fetch_add_explicit(&p->route->totals->bytes[w], more, memory_order_relaxed);
		relay_count(p->worker, RELAY_M_BYTES, w, (int64_t)more);
	}
}

bool relay_peer_struck_off(const struct relay_peer *p, const struct route *r)
{
	return strcmp(p->route->name, r->name) == 0 && !route_allows(r, &p->source);
}

static const struct log_msg *const messages[RECORD_KINDS] = {
	[RECORD_OPENED] = &MSG_RELAY_CONNECTION_OPENED,
	[RECORD_ENDED] = &MSG_RELAY_CONNECTION_ENDED,
};

/* Every connection has its line in the connection log; the service's log has them only where it tells all. Refusals
 * and failures have lines with a gate of their own. */
static void log_connection(const struct relay_peer *p, enum record_kind kind, const char *reason, const uint64_t bytes[2])
{
	if (!messages[kind] || !log_enabled(LOG_LVL_DEBUG))
		return;
	log_emit(messages[kind], LF_STR("route", p->route->name), LF_ADDR("source", &p->source), LF_ADDR("target", &p->target),
		 LF_U64("connection", p->id), LF_U64("bytes_up", bytes[0]), LF_U64("bytes_down", bytes[1]),
		 LF_STR("reason", reason ? reason : ""));
}

void relay_peer_record(const struct relay_peer *p, enum record_kind kind, const char *reason, const uint64_t bytes[2])
{
	const struct route_target *t = p->route->c->target.items;
	struct record r = { .kind = kind, .id = p->id, .protocol = p->route->c->udp ? "udp" : "tcp", .route = p->route->name,
			    .source = p->source, .source_name = p->source_name, .listener = p->listener, .target = p->target,
			    .target_name = t[p->target_index].host, .reason = reason, .opened_at = p->opened_at,
			    .bytes_up = bytes[0], .bytes_down = bytes[1] };

	log_connection(p, kind, reason, bytes);
	if (p->worker->relay->records)
		records_connection(p->worker->relay->records, &r, clock_unix_ms());
}

void relay_refused(struct relay_listener *l, const struct addr *source, enum relay_refusal why)
{
	struct relay_worker *w = l->worker;
	struct record r = { .kind = RECORD_REFUSED, .protocol = l->route->c->udp ? "udp" : "tcp", .route = l->route->name,
			    .source = *source, .listener = l->at, .reason = relay_refusal_texts[why] };
	uint64_t suppressed;

	atomic_fetch_add_explicit(&l->route->totals->refused, 1, memory_order_relaxed);
	relay_count(w, RELAY_M_REFUSED, why, 1);
	if (w->relay->records)
		records_connection(w->relay->records, &r, clock_unix_ms());
	if (relay_may_log(w, RELAY_LINE_REFUSED, &suppressed))
		log_emit(&MSG_RELAY_CONNECTION_REFUSED, LF_STR("route", l->route->name), LF_ADDR("source", source),
			 LF_STR("reason", relay_refusal_texts[why]), LF_U64("suppressed", suppressed));
}

/* ---- listeners ---- */

static uint64_t hash_id(uint64_t id)
{
	return id * 0x9e3779b97f4a7c15u;
}

static bool has_id(const struct hnode *n, const void *key)
{
	return container_of(n, struct relay_listener, node)->id == *(const uint64_t *)key;
}

static struct relay_listener *find_listener(struct relay_worker *w, uint64_t id)
{
	struct hnode *n = htable_find(&w->listeners, hash_id(id), has_id, &id);

	return n ? container_of(n, struct relay_listener, node) : NULL;
}

static void listener_free(struct relay_listener *l)
{
	htable_remove(&l->worker->listeners, &l->node);
	if (l->acceptor)
		acceptor_free(l->acceptor);
	else if (l->fd >= 0)
		relay_udp_close(l);
	route_unref(l->route);
	free(l);
}

static int listen_on(struct relay_worker *w, const struct relay_order *o)
{
	struct relay_listener *l = calloc(1, sizeof(*l));
	int fd = o->fds[w->index], r = l ? 0 : -ENOMEM;

	if (r == 0) {
		*l = (struct relay_listener){ .id = o->id, .worker = w, .route = route_ref(o->route), .index = o->index, .at = o->at,
					      .fd = -1 };
		r = htable_insert(&w->listeners, &l->node, hash_id(l->id));
	}
	if (r < 0) {
		close(fd);
		if (l)
			route_unref(l->route);
		free(l);
		return r;
	}
	if (o->route->c->udp)
		r = relay_udp_open(l, fd);
	else
		r = acceptor_new(w->loop, fd, &relay_acceptor_ops, l, &l->acceptor);
	if (r < 0)
		listener_free(l);
	return r;
}

void relay_obey(struct worker *wk, void *arg)
{
	struct relay_worker *w = wk->state;
	struct relay_order *o = arg;
	struct relay_listener *l = find_listener(w, o->id);
	int r;

	switch (o->what) {
	case RELAY_LISTEN:
		r = listen_on(w, o);
		if (r < 0)
			o->error = r;
		break;
	case RELAY_REROUTE:
		if (!l)
			break;
		route_unref(l->route);
		l->route = route_ref(o->route);
		break;
	case RELAY_UNLISTEN:
		if (l)
			listener_free(l);
		break;
	case RELAY_DROP:
		relay_conns_drop(w, o->route->name);
		relay_flows_drop(w, o->route->name);
		break;
	case RELAY_RECHECK:
		relay_conns_recheck(w, o->route);
		relay_flows_recheck(w, o->route);
		break;
	}
}

/* ---- life ---- */

static void count_carried(struct relay_worker *w)
{
	const struct joint_pool_stats *s = joint_pool_stats(w->pool);
	const uint64_t now[2] = { s->bytes_spliced, s->bytes_copied };

	for (unsigned i = 0; i < 2; i++) {
		relay_count(w, RELAY_M_CARRIED, i, (int64_t)(now[i] - w->carried[i]));
		w->carried[i] = now[i];
	}
}

static void on_heartbeat(struct timer *t, uint64_t now)
{
	struct relay_worker *w = container_of(t, struct relay_worker, heartbeat);

	(void)now;
	relay_conns_count(w);
	relay_flows_count(w);
	count_carried(w);
	if (w->spare < 0)
		w->spare = acceptor_spare();
	loop_timer_set(w->loop, &w->heartbeat, HEARTBEAT_MS);
}

static bool free_one(struct hnode *n, void *arg)
{
	(void)arg;
	listener_free(container_of(n, struct relay_listener, node));
	return true;
}

static void teardown(struct worker *wk, void *arg)
{
	struct relay_worker *w = wk->state;

	(void)arg;
	if (!w)
		return;
	timer_stop(&w->heartbeat);
	relay_conns_drop(w, NULL);
	relay_flows_drop(w, NULL);
	htable_each(&w->listeners, free_one, NULL);
	htable_deinit(&w->listeners);
	htable_deinit(&w->flows);
	dns_free(w->dns);
	dgram_io_free(w->dgram);
	joint_pool_free(w->pool);
	if (w->spare >= 0)
		close(w->spare);
	free(w);
	wk->state = NULL;
}

static int setup(struct worker *wk, void *arg)
{
	struct relay_worker *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	wk->state = w;
	w->relay = arg;
	w->index = wk->index;
	w->loop = wk->loop;
	w->spare = -1;
	list_init(&w->conns);
	list_init(&w->flows_by_age);
	htable_init(&w->listeners);
	htable_init(&w->flows);
	w->heartbeat.fire = on_heartbeat;
	loop_timer_set(w->loop, &w->heartbeat, HEARTBEAT_MS);
	r = joint_pool_new(w->loop, NULL, &w->pool);
	if (r == 0)
		r = dgram_io_new(w->loop, NULL, &w->dgram);
	if (r < 0) {
		teardown(wk, arg);
		return r;
	}
	w->spare = acceptor_spare();
	return 0;
}

const struct worker_ops relay_worker_ops = { .setup = setup, .teardown = teardown };
