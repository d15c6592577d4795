/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of stile-sip: open binds the listeners and reads certificates while still privileged; start puts the core
 * behind them; a reload makes a whole plan first, which is where everything can fail, and takes it then:
 * connections, transactions and dialogs go on.
 */
#include "sip-proxy/service.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "common/clock.h"
#include "sip-proxy/log_msgs.h"
#include "sip-proxy/metrics.h"

enum { PRESSURE_MS = 250 };

static const struct sip_config *config_of(const struct cfg *c)
{
	return &((const struct sip_root *)cfg_values(c))->sip;
}

/* ---- start ---- */

static int open_parts(struct sip_service *ss, char *err, size_t err_n)
{
	const struct sip_config *c;
	struct sip_ways w = { 0 };
	char warning[TLS_ERRLEN];
	struct sip_edge_plan *p;
	int r = metrics_new(sip_metric_rows, SIP_METRICS, 1, &ss->metrics);

	if (r == 0)
		r = sip_edge_new(
			&(struct sip_edge_options){ .loop = ss->svc->loop, .metrics = ss->metrics },
			&ss->edge);
	if (r == 0)
		r = sip_service_federation(ss);
	if (r == 0)
		r = sip_effective_new(ss->svc, sip_service_changed, ss, &ss->effective);
	if (r == 0)
		r = sip_effective_make(ss->effective, ss->svc->cfg, &ss->cfg);
	c = r == 0 ? config_of(ss->cfg) : NULL;
	if (r == 0)
		r = sip_edge_set_partners(ss->edge, c->federation.addresses.items, c->federation.addresses.n);
	if (r == 0)
		r = sip_ways_make(c, &w);
	if (r < 0) {
		(void)snprintf(err, err_n, "%s", strerror(-r));
		return r;
	}
	r = sip_interfaces_new(ss, &ss->interfaces);
	if (r < 0)
		(void)snprintf(err, err_n, "%s", strerror(-r));
	else
		r = sip_service_plan(ss, c, warning, err, err_n, &p);
	if (r < 0) {
		sip_ways_deinit(&w);
		return r;
	}
	if (warning[0])
		log_emit(&MSG_SIP_CERTIFICATE, LF_STR("why", warning));
	sip_edge_take(ss->edge, p);
	sip_ways_take(ss, &w);
	return 0;
}

static int sip_open(struct service *s, char *err, size_t err_n)
{
	struct sip_service *ss = calloc(1, sizeof(*ss));

	(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!ss)
		return -ENOMEM;
	s->state = ss;
	s->drain_limit_ms = config_of(s->cfg)->drain_ms;
	ss->svc = s;
	if (sip_headers_init() < 0)
		return -ENOMEM;
	return open_parts(ss, err, err_n);
}

static uint64_t now_of(void *edge)
{
	return loop_now(sip_edge_loop(edge));
}

static bool is_domain(void *edge, struct text host)
{
	const struct sip_service *ss = sip_edge_owner(edge);

	return sip_routes_is_domain(ss->routing.routes, host);
}

static void known(void *edge, struct sip_target *t)
{
	const struct sip_service *ss = sip_edge_owner(edge);

	sip_mesh_known(ss->mesh, t);
}

static uint32_t limit_of(uint64_t v)
{
	return (uint32_t)MIN(v, (uint64_t)UINT32_MAX);
}

static struct sip_limits_tx limits_of(const struct sip_config *c)
{
	return (struct sip_limits_tx){ .open = limit_of(c->limits.transactions),
				       .open_per_source = limit_of(c->limits.transactions_per_source),
				       .bytes = c->limits.memory };
}

/* How full the sockets' queues are tells the core when neighbours should send less. */
static void on_pressure(struct timer *t, uint64_t now)
{
	struct sip_service *ss = container_of(t, struct sip_service, pressure);

	(void)now;
	sip_proxy_set_pressure(ss->proxy, sip_edge_fill(ss->edge));
	loop_timer_set(ss->svc->loop, t, PRESSURE_MS);
}

static struct sip_timer_values values_of(const struct sip_config *c)
{
	return (struct sip_timer_values){ .t1 = (uint32_t)c->timers.t1_ms,
					  .t2 = (uint32_t)c->timers.t2_ms,
					  .t4 = (uint32_t)c->timers.t4_ms };
}

static int start_core(struct sip_service *ss)
{
	const struct sip_config *c = config_of(ss->svc->cfg);
	struct sip_proxy_options o = {
		.timers = loop_timers(ss->svc->loop),
		.now = now_of,
		.ops = &sip_edge_ops,
		.edge = ss->edge,
		.hooks = ss->chain,
		.n_hooks = ss->n_hooks,
		.is_domain = is_domain,
		.known = known,
		.values = values_of(c),
		.limits = limits_of(c),
		.timer_c = (uint32_t)c->timers.ringing_ms,
		.failover = (uint32_t)c->timers.failover_ms,
		.overload_control = c->overload_control,
		.unix_offset = clock_unix_ms() - (int64_t)loop_now(ss->svc->loop),
		.seed = hash_seed_random(),
		.watch = &sip_service_watch,
		.watch_arg = ss,
	};
	int r = sip_service_token_key(ss, o.token_key.mac);

	if (r == 0)
		r = bytes_random(&o.token_key.epoch, sizeof(o.token_key.epoch));
	if (r == 0)
		r = sip_proxy_new(&o, &ss->proxy);
	bytes_wipe(&o.token_key, sizeof(o.token_key));
	return r;
}

static int sip_start(struct service *s, char *err, size_t err_n)
{
	struct sip_service *ss = s->state;
	int r = sip_service_registrar(ss, config_of(s->cfg));

	if (r == 0)
		r = sip_service_certificates(ss);
	if (r == 0)
		r = sip_service_sites(ss, config_of(ss->cfg));
	if (r == 0)
		r = sip_service_hooks(ss);
	sip_edge_set_owner(ss->edge, ss);
	if (r == 0)
		r = start_core(ss);
	if (r == 0)
		r = sip_traces_new(ss, &ss->traces);
	if (r == 0)
		r = sip_probes_new(ss, config_of(s->cfg)->timers.probe_ms, &ss->probes);
	if (r < 0) {
		(void)snprintf(err, err_n, "cannot start the proxy: %s", strerror(-r));
		return r;
	}
	sip_edge_set_core(ss->edge, &sip_proxy_events, ss->proxy);
	ss->pressure.fire = on_pressure;
	loop_timer_set(s->loop, &ss->pressure, PRESSURE_MS);
	sip_mesh_set_core(ss->mesh, ss->proxy);
	sip_interfaces_watch(ss->interfaces, cfg_values(s->cfg));
	sip_interfaces_verbs(ss->interfaces, s->control);
	sip_add_verbs(ss);
	sip_service_sites_verbs(ss);
	sip_service_registrar_verbs(ss);
	sip_service_federation_verbs(ss);
	return 0;
}

/* ---- reload ---- */

static int sip_examine(struct service *s, const struct cfg *c, struct service_changes *ch,
		       char *err, size_t err_n)
{
	struct sip_service *ss = s->state;
	char warning[TLS_ERRLEN];
	_cleanup_(sip_edge_plan_freep) struct sip_edge_plan *p = NULL;
	int r = sip_service_plan(ss, config_of(c), warning, err, err_n, &p);

	return r < 0 ? r : sip_edge_plan_changes(p, ch);
}

/* What is under way beyond a lower limit goes on. */
static void set_limits(struct sip_service *ss, const struct sip_config *c)
{
	struct sip_limits_tx *now = &sip_txs_charges(sip_proxy_txs(ss->proxy))->limits;
	const struct sip_limits_tx fresh = limits_of(c);

	now->open = fresh.open;
	now->open_per_source = fresh.open_per_source;
	now->bytes = fresh.bytes;
}

static void set_times(struct sip_service *ss, const struct sip_config *c)
{
	const struct sip_timer_values v = values_of(c);

	sip_proxy_set_times(ss->proxy, &v, (uint32_t)c->timers.ringing_ms, (uint32_t)c->timers.failover_ms);
	sip_probes_set(ss->probes, c->timers.probe_ms);
}

static int sip_reload(struct service *s, struct cfg *c, char *err, size_t err_n)
{
	struct sip_service *ss = s->state;
	_cleanup_(cfg_freep) struct cfg *both = NULL;
	const struct sip_config *file = config_of(c), *fresh; /* what others keep pointers into is the file's */
	_cleanup_(sip_ways_deinit) struct sip_ways w = { 0 };
	_cleanup_(sip_edge_plan_freep) struct sip_edge_plan *p = NULL;
	char warning[TLS_ERRLEN];
	int r = sip_effective_make(ss->effective, c, &both);

	fresh = r == 0 ? config_of(both) : NULL;
	if (r == 0)
		r = sip_ways_make(fresh, &w);
	if (r != 0) {
		(void)snprintf(err, err_n, "%s", strerror(-r));
		return r;
	}
	sip_interfaces_put_back(ss->interfaces);
	r = sip_service_plan(ss, fresh, warning, err, err_n, &p);
	if (r < 0)
		return r;
	r = sip_edge_set_partners(ss->edge, fresh->federation.addresses.items, fresh->federation.addresses.n);
	if (r == 0)
		r = sip_accounts_reload(ss->accounts, file);
	if (r == 0)
		r = sip_service_registrar_set(ss, file);
	if (r < 0) {
		(void)snprintf(err, err_n, "%s", strerror(-r));
		return r;
	}
	if (warning[0])
		log_emit(&MSG_SIP_CERTIFICATE, LF_STR("why", warning));
	sip_edge_take(ss->edge, steal_ptr(&p));
	set_limits(ss, file);
	sip_proxy_set_overload_control(ss->proxy, fresh->overload_control);
	sip_ways_take(ss, &w);
	set_times(ss, file);
	sip_service_certificates_look(ss);
	sip_interfaces_watch(ss->interfaces, cfg_values(c));
	if (sip_service_sites_set(ss, fresh) < 0)
		log_emit(&MSG_SIP_INTERNAL,
			 LF_STR("why", "no memory for sip.lan.servers: they are as before"));
	s->drain_limit_ms = fresh->drain_ms;
	cfg_free(ss->cfg);
	ss->cfg = steal_ptr(&both);
	return 0;
}

/* ---- stop ---- */

static bool sip_drain(struct service *s)
{
	struct sip_service *ss = s->state;

	sip_proxy_drain(ss->proxy, true);
	ss->probes = sip_probes_free(ss->probes);
	sip_mesh_drain(ss->mesh);
	sip_edge_drain(ss->edge);
	return sip_proxy_idle(ss->proxy);
}

static void sip_stop(struct service *s)
{
	struct sip_service *ss = s->state;

	if (!ss)
		return;
	timer_stop(&ss->pressure);
	ss->traces = sip_traces_free(ss->traces);
	ss->probes = sip_probes_free(ss->probes);
	if (ss->edge)
		sip_edge_set_core(ss->edge, NULL, NULL);
	if (ss->mesh)
		sip_mesh_set_core(ss->mesh, NULL);
	ss->proxy = sip_proxy_free(ss->proxy);
	sip_service_certificates_free(ss);
	sip_service_sites_free(ss);
	sip_service_registrar_free(ss);
	sip_service_federation_free(ss);
	ss->interfaces = sip_interfaces_free(ss->interfaces);
	ss->effective = sip_effective_free(ss->effective);
	ss->cfg = cfg_free(ss->cfg);
	ss->edge = sip_edge_free(ss->edge);
	ss->metrics = metrics_free(ss->metrics);
	sip_headers_deinit();
	free(ss);
	s->state = NULL;
}

/* The protocol is in the loop that feeds the watchdog. */
static bool sip_alive(struct service *s)
{
	(void)s;
	return true;
}

static const struct store_kind kinds[] = {
	{ "sip.secret", &sip_secret_schema }, /* of this server's own tokens */
	{ "sip.interface", &sip_interface_schema, "sip.interfaces" },
	{ "sip.user", &sip_user_schema, "sip.users" },
	{ "sip.route", &sip_route_schema, "sip.routes" },
	{ "sip.partner", &sip_partner_schema, "sip.federation.partners" },
	{ "sip.server", &sip_server_schema, "sip.lan.servers" },
	{ .name = SIP_BINDING_KIND, .unaudited = true },
	{ .name = SIP_LOGON_KIND, .unaudited = true },
	{ 0 },
};

const struct service_ops sip_service_ops = {
	.program = "stile-sip",
	.summary = "SIP proxy and registrar for unified-communications servers and clients (RFC 3261)",
	.config = &sip_cfg_root,
	.check = sip_config_check,
	.log_config = sip_log_config,
	.store_path = sip_store_path,
	.store_kinds = kinds,
	.binds_later = true,
	.open = sip_open,
	.start = sip_start,
	.examine = sip_examine,
	.reload = sip_reload,
	.drain = sip_drain,
	.stop = sip_stop,
	.alive = sip_alive,
	.health = sip_service_health,
};
