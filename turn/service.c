/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of stile-turn: open binds every listener (turn/listeners.c) and loads the certificate while
 * still privileged; start compiles the policy and starts the workers; reload swaps policy and certificate.
 * Everything that the workers share is owned here and outlives them.
 */
#include "turn/service.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/front.h"
#include "common/ring.h"
#include "common/sandbox.h"
#include "turn/external.h"
#include "turn/log_msgs.h"
#include "turn/metrics.h"
#include "turn/secrets.h"
#include "turn/users.h"

enum {
	NONCE_TICK_MS = 60000,
	NONCE_ROTATE_MS = 3600000,
	MAX_WORKERS = 250, /* a worker's number is one byte in ids */
};

static const struct turn_root *root_of(const struct cfg *c)
{
	return cfg_values(c);
}

/* ---- open: privileged ---- */

static int load_contexts(struct turn_service *ts, const struct turn_config *cfg, char *err, size_t err_n)
{
	char warning[TLS_ERRLEN];
	int r = turn_contexts_load(ts, cfg, warning, err, err_n, &ts->contexts);

	if (r == 0 && *warning)
		log_emit(&MSG_TURN_CERTIFICATE, LF_STR("why", warning));
	return r;
}

static int open_listeners(struct turn_service *ts, const struct turn_config *cfg, char *err, size_t err_n)
{
	struct turn_listeners_plan plan;
	int r = turn_listeners_plan(ts, cfg, err, err_n, &plan);

	if (r == 0)
		turn_listeners_take(ts, &plan);
	turn_listeners_plan_deinit(&plan, ts->n_workers);
	return r;
}

/* Before the call that makes them is given up. */
static void make_rings(struct turn_service *ts)
{
	for (unsigned i = 0; i < ts->n_workers; i++)
		(void)ring_new(&ts->rings[i]); /* without one it sends socket by socket */
}

static void service_free(struct turn_service *ts);

static int turn_open(struct service *s, char *err, size_t err_n)
{
	const struct turn_config *cfg = &root_of(s->cfg)->turn;
	struct turn_service *ts = calloc(1, sizeof *ts);
	int r;

	snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!ts)
		return -ENOMEM;
	s->state = ts;
	list_init(&ts->listeners);
	s->drain_limit_ms = cfg->drain_ms;
	ts->svc = s;
	ts->n_workers = cfg->workers ? (unsigned)MIN(cfg->workers, MAX_WORKERS) : MIN(workers_default_count(), MAX_WORKERS);
	ts->passes = calloc(ts->n_workers, sizeof *ts->passes);
	ts->rings = calloc(ts->n_workers, sizeof *ts->rings);
	if (!ts->passes || !ts->rings)
		return -ENOMEM;
	make_rings(ts);
	ts->seed = hash_seed_random();
	r = open_listeners(ts, cfg, err, err_n);
	if (r == 0)
		r = load_contexts(ts, cfg, err, err_n);
	if (r == 0)
		r = turn_network_find(ts, cfg, &ts->net, err, err_n);
	return r;
}

/* ---- policy ---- */

static int compile_policy(struct turn_service *ts, const struct turn_config *cfg, const struct turn_network *net, char *err,
			  size_t err_n, struct turn_policy **ret_p)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = NULL;
	size_t n_extra;
	const struct turn_extra_user *extra = turn_users_list(ts->users, &n_extra);
	struct turn_extra_user *all = calloc(n_extra + 1, sizeof *all);
	int r = all ? 0 : -ENOMEM;

	if (r == 0) {
		if (n_extra)
			memcpy(all, extra, n_extra * sizeof *all);
		n_extra += turn_self_test_user(ts, &all[n_extra]);
		r = turn_policy_new(cfg, all, n_extra, err, err_n, &p);
	}
	free(all);
	if (r < 0)
		return r;
	r = turn_policy_set_own(p, net->own.v, net->own.n);
	if (r == 0)
		r = turn_policy_set_former(p, net->former, net->n_former);
	if (r == 0)
		r = turn_policy_settle(p, ts->policy, ts->totals);
	if (r < 0)
		snprintf(err, err_n, "%s", r == -ENOSPC ? "too many realms that were removed still have allocations; wait, or "
							  "end them: stile turn kill" : strerror(-r));
	else
		*ret_p = steal_ptr(&p);
	return r;
}

static int build_policy(struct turn_service *ts, const struct turn_config *cfg, const struct turn_network *net, char *err,
			size_t err_n, struct turn_policy **ret_p)
{
	struct turn_config found = *cfg; /* shallow: the policy copies what it keeps */
	struct turn_secrets_merged secrets = { .n = 0 };
	int r;

	struct addr at[TURN_MAX_OWN], outside[TURN_MAX_OWN];

	snprintf(err, err_n, "%s", strerror(ENOMEM));
	for (size_t i = 0; i < net->relay.n; i++) {
		at[i] = net->relay.v[i].at;
		outside[i] = net->relay.v[i].outside;
	}
	found.relay.addresses = (struct cfg_list){ at, net->relay.n };
	found.relay.outside = (struct cfg_list){ outside, net->relay.n };
	r = turn_secrets_merge(ts->secrets, &found, &secrets);
	if (r == 0)
		r = compile_policy(ts, &found, net, err, err_n, ret_p);
	turn_secrets_merged_done(&secrets);
	return r;
}

static void give_policy(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;

	turn_policy_unref(w->policy);
	w->policy = turn_policy_ref(arg);
	turn_server_set_policy(w->server, arg);
}

/* Two keys live at a time, so a nonce outlives the next rotation but not the one after it. */
static void set_rotation(struct turn_service *ts, const struct turn_config *cfg)
{
	ts->nonces.rotate_ms = MAX(cfg->lifetime.nonce_ms, (uint64_t)NONCE_ROTATE_MS);
}

/* A label that cannot be had is one row less, no reason to refuse a configuration. */
static void name_realms(struct turn_service *ts)
{
	for (unsigned i = 0; i < TURN_REALM_SLOTS; i++)
		(void)metrics_name_slot(ts->metrics, i, turn_policy_slot_name(ts->policy, i));
}

static void take_policy(struct turn_service *ts, struct turn_policy *fresh)
{
	turn_policy_unref(ts->policy);
	ts->policy = fresh;
	name_realms(ts);
	workers_call(&ts->workers, give_policy, fresh);
}

int turn_service_rebuild(struct turn_service *ts, char *err, size_t err_n)
{
	struct turn_policy *fresh;
	int r = build_policy(ts, &root_of(ts->svc->cfg)->turn, &ts->net, err, err_n, &fresh);

	if (r == 0)
		take_policy(ts, fresh);
	return r;
}

/* ---- nonces: one set of keys for all workers, rotated here ---- */

static void give_nonces(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;

	turn_server_set_nonces(w->server, arg);
}

static void on_nonce_tick(struct timer *t, uint64_t now)
{
	struct turn_service *ts = container_of(t, struct turn_service, nonce_timer);
	uint64_t before = ts->nonces.rotated_at;

	stun_nonces_tick(&ts->nonces, now);
	if (ts->nonces.rotated_at != before)
		workers_call(&ts->workers, give_nonces, &ts->nonces);
	loop_timer_set(ts->svc->loop, &ts->nonce_timer, NONCE_TICK_MS);
}

/* ---- start: privileges are gone ---- */

static void log_started(struct turn_service *ts)
{
	for (size_t i = 0; i < ts->net.relay.n; i++) {
		char ip[ADDR_STRLEN];
		log_emit(&MSG_TURN_RELAYING, LF_STR("address", addr_print_ip(&ts->net.relay.v[i].at, ip)));
	}
}

static int start_shared(struct turn_service *ts, const struct turn_config *cfg, char *err, size_t err_n)
{
	int r;

	snprintf(err, err_n, "%s", strerror(ENOMEM));
	ts->totals = turn_totals_new();
	ts->clients = clients_new();
	ts->front_clients = clients_new();
	ts->reservations = ts->totals ? turn_reservations_new(&turn_udp_relay_ops, ts->totals) : NULL;
	if (!ts->totals || !ts->clients || !ts->front_clients || !ts->reservations ||
	    turn_front_table(ts, cfg, &ts->front) < 0)
		return -ENOMEM;
	if ((r = metrics_new(turn_metric_rows, TURN_METRICS, ts->n_workers, &ts->metrics)) < 0)
		return r;
	if ((r = stun_nonces_init(&ts->nonces, loop_now(ts->svc->loop))) < 0) {
		snprintf(err, err_n, "no random numbers to be had");
		return r;
	}
	set_rotation(ts, cfg);
	if ((r = turn_users_new(ts->svc->store, &ts->users)) < 0) {
		snprintf(err, err_n, "cannot read the users of the store: %s", strerror(-r));
		return r;
	}
	if ((r = turn_secrets_new(ts, &ts->secrets)) < 0) {
		snprintf(err, err_n, "cannot read the secrets of the store: %s", strerror(-r));
		return r;
	}
	if ((r = turn_external_new(ts, &ts->external)) < 0) {
		snprintf(err, err_n, "cannot read the public addresses of the store: %s", strerror(-r));
		return r;
	}
	turn_external_fill(ts->external, &ts->net.relay);
	r = build_policy(ts, cfg, &ts->net, err, err_n, &ts->policy);
	if (r == 0)
		name_realms(ts);
	return r;
}

static int turn_start(struct service *s, char *err, size_t err_n)
{
	struct turn_service *ts = s->state;
	int r = start_shared(ts, &root_of(s->cfg)->turn, err, err_n);

	if (r < 0)
		return r;
	if ((r = workers_start(&ts->workers, ts->n_workers, &turn_worker_ops, ts)) < 0) {
		snprintf(err, err_n, "cannot start the workers: %s", strerror(-r));
		return r;
	}
	if ((r = turn_external_watch(ts->external, &ts->net.relay, &root_of(s->cfg)->stun_servers)) < 0) {
		snprintf(err, err_n, "cannot look for public addresses: %s", strerror(-r));
		return r;
	}
	ts->nonce_timer.fire = on_nonce_tick;
	loop_timer_set(s->loop, &ts->nonce_timer, NONCE_TICK_MS);
	turn_sessions_topic_start(ts);
	turn_trim_start(ts);
	turn_add_verbs(ts);
	turn_users_add_verbs(ts);
	turn_secrets_add_verbs(ts);
	turn_self_test_add_verbs(ts);
	turn_certificates_add_verbs(ts);
	log_started(ts);
	return 0;
}

/* ---- reload, stop ---- */

/* What a reload puts in the place of the old: all of it is made before anything is swapped. */
struct fresh {
	struct turn_policy *policy;
	struct turn_network net;
	struct turn_contexts contexts;
	struct turn_listeners_plan listeners;
	struct front_table *front;
	char warning[TLS_ERRLEN]; /* about the certificate; "" if there is none */
};

static void fresh_deinit(struct fresh *f, unsigned n_workers)
{
	turn_policy_unref(f->policy);
	turn_contexts_deinit(&f->contexts);
	front_table_unref(f->front);
	turn_listeners_plan_deinit(&f->listeners, n_workers);
}

static int make_fresh(struct turn_service *ts, const struct cfg *c, char *err, size_t err_n, struct fresh *f)
{
	const struct turn_config *cfg = &root_of(c)->turn;
	int r = turn_contexts_load(ts, cfg, f->warning, err, err_n, &f->contexts);

	if (r == 0)
		r = turn_network_find(ts, cfg, &f->net, err, err_n);
	if (r == 0 && (r = turn_front_table(ts, cfg, &f->front)) < 0)
		snprintf(err, err_n, "%s", strerror(-r));
	return r < 0 ? r : build_policy(ts, cfg, &f->net, err, err_n, &f->policy);
}

static int turn_examine(struct service *s, const struct cfg *c, struct service_changes *ch, char *err, size_t err_n)
{
	struct turn_service *ts = s->state;
	struct fresh f = { 0 };
	int r = make_fresh(ts, c, err, err_n, &f);

	if (r == 0)
		r = turn_contexts_diff(&ts->contexts, &f.contexts, ch);
	if (r == 0)
		r = turn_listeners_examine(ts, &root_of(c)->turn, ch, err, err_n);
	fresh_deinit(&f, ts->n_workers);
	return r;
}

/* In the workers listeners come first: that is the last thing that can fail, for want of memory, and they need the
 * certificate. */
static int serve_fresh(struct turn_service *ts, char *err, size_t err_n, struct fresh *f)
{
	int r;

	turn_contexts_swap(ts, &f->contexts);
	r = turn_listeners_serve(ts, &f->listeners);
	if (r == 0)
		return 0;
	turn_contexts_swap(ts, &f->contexts);
	snprintf(err, err_n, "the workers cannot serve the listeners: %s", strerror(-r));
	return r;
}

/* Users, secrets, limits, peer rules, relay addresses, lifetimes, certificates and listeners are swapped; for the rest the
 * frame says that it needs a restart. */
static int turn_reload(struct service *s, struct cfg *c, char *err, size_t err_n)
{
	struct turn_service *ts = s->state;
	struct fresh f = { 0 };
	int r = make_fresh(ts, c, err, err_n, &f);

	if (r == 0)
		r = turn_listeners_plan(ts, &root_of(c)->turn, err, err_n, &f.listeners);
	if (r == 0)
		r = serve_fresh(ts, err, err_n, &f);
	if (r == 0) {
		ts->net = f.net;
		take_policy(ts, f.policy);
		f.policy = NULL;
		if (turn_external_watch(ts->external, &ts->net.relay, &root_of(c)->stun_servers) < 0)
			log_emit(&MSG_TURN_EXTERNAL_FAILED, LF_STR("why", strerror(ENOMEM)));
		turn_front_swap(ts, steal_ptr(&f.front), root_of(c)->turn.front.idle_ms);
		turn_listeners_take(ts, &f.listeners);
		set_rotation(ts, &root_of(c)->turn);
		s->drain_limit_ms = root_of(c)->turn.drain_ms;
		if (f.warning[0])
			log_emit(&MSG_TURN_CERTIFICATE, LF_STR("why", f.warning));
	}
	fresh_deinit(&f, ts->n_workers);
	return r;
}

static void refuse_new(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;

	(void)arg;
	turn_server_set_draining(w->server, true);
}

/* Asked for again and again until it is true. Reserved ports count as allocations: their owner may come yet. */
static bool turn_drain(struct service *s)
{
	struct turn_service *ts = s->state;

	if (!ts->draining)
		workers_call(&ts->workers, refuse_new, NULL);
	ts->draining = true;
	return turn_totals_allocations(ts->totals) == 0;
}

static void turn_stop(struct service *s)
{
	struct turn_service *ts = s->state;

	if (!ts)
		return;
	timer_stop(&ts->nonce_timer);
	timer_stop(&ts->listeners_timer);
	turn_sessions_topic_stop(ts);
	turn_trim_stop(ts);
	if (ts->workers.n)
		workers_stop(&ts->workers);
	service_free(ts);
	s->state = NULL;
}

static void service_free(struct turn_service *ts)
{
	turn_external_free(ts->external);
	turn_listeners_close(ts);
	free(ts->discovery);
	free(ts->passes);
	for (unsigned i = 0; ts->rings && i < ts->n_workers; i++)
		ring_free(ts->rings[i]);
	free(ts->rings);
	turn_policy_unref(ts->policy);
	turn_users_free(ts->users);
	turn_secrets_free(ts->secrets);
	turn_self_test_free(ts->self_test);
	metrics_free(ts->metrics);
	clients_free(ts->clients);
	clients_free(ts->front_clients);
	front_table_unref(ts->front);
	turn_reservations_free(ts->reservations);
	turn_totals_free(ts->totals);
	turn_contexts_deinit(&ts->contexts);
	bytes_wipe(&ts->nonces, sizeof ts->nonces);
	free(ts);
}

static bool turn_alive(struct service *s)
{
	struct turn_service *ts = s->state;
	bool all = true;

	for (unsigned i = 0; i < ts->workers.n; i++) {
		uint64_t passes = loop_passes(ts->workers.w[i].loop);
		all &= passes != ts->passes[i];
		ts->passes[i] = passes;
	}
	return all;
}

const struct service_ops turn_service_ops = {
	.program = "stile-turn",
	.summary = "STUN/TURN server for unified-communications and WebRTC clients (RFC 8489, 8656, 5389, 5766)",
	.config = &turn_cfg_root,
	.check = turn_config_check,
	.log_config = turn_log_config,
	.store_path = turn_store_path,
	.binds_later = true,
	.store_kinds = turn_store_kinds,
	.open = turn_open,
	.sandbox_calls = SANDBOX_RING,
	.start = turn_start,
	.examine = turn_examine,
	.reload = turn_reload,
	.drain = turn_drain,
	.stop = turn_stop,
	.alive = turn_alive,
	.health = turn_health,
};
