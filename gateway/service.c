/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of stile-gateway: open binds the listeners and reads the certificate while still privileged; start hands the sockets
 * to two HTTP servers, one with TLS and one without; a reload makes new listeners before it closes old ones, and a new
 * certificate is for the connections from then on. Transfers go on.
 */
#include "gateway/service.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/health.h"
#include "common/unix_socket.h"
#include "gateway/log_msgs.h"

enum { PULSE_MS = 1000 };

struct listener {
	struct list node;
	struct gateway_service *gs;
	struct cfg_endpoint at;
	int fd; /* until the acceptor has it */
	struct acceptor *acceptor;
};

static const struct gateway_config *config_in(const struct cfg *c)
{
	return &((const struct gateway_root *)cfg_values(c))->gateway;
}

/* ---- connections ---- */

static struct httpd *server_of(const struct gateway_service *gs, unsigned proto)
{
	return proto == GATEWAY_TLS ? gs->tls : gs->plain;
}

/* Its listener may be gone: a reload does not wait for headers. */
static void on_arrival(const struct proxy_arrival *a, void *arg)
{
	httpd_take(server_of(arg, a->tag.kind), a->fd, &a->client);
}

static void on_untold(const struct addr *sender, struct proxy_tag tag, const char *why, void *arg)
{
	struct gateway_service *gs = arg;
	uint64_t suppressed;

	(void)sender;
	(void)tag;
	if (why && log_gate_pass(&gs->g.gates[GATEWAY_LINE_REFUSED], loop_now(gs->svc->loop), &suppressed))
		log_emit(&MSG_GATEWAY_REFUSED, LF_STR("how", "proxy-header"), LF_STR("reason", why), LF_U64("suppressed", suppressed));
}

static const struct proxy_intake_ops intake_ops = { .on_arrival = on_arrival, .on_refused = on_untold };

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct listener *l = arg;

	if (l->at.path[0])
		proxy_intake_take(l->gs->intake, fd, peer, local, (struct proxy_tag){ .kind = l->at.proto });
	else
		httpd_take(server_of(l->gs, l->at.proto), fd, peer);
}

static void on_accept_error(int err, void *arg)
{
	struct gateway_service *gs = ((struct listener *)arg)->gs;
	uint64_t suppressed;

	if (log_gate_pass(&gs->g.gates[GATEWAY_LINE_LISTENER], loop_now(gs->svc->loop), &suppressed))
		log_emit(&MSG_GATEWAY_LISTENER, LF_ERRNO("error", err), LF_U64("suppressed", suppressed));
}

static const struct acceptor_ops acceptor_ops = { .on_accept = on_accept, .on_error = on_accept_error };

/* ---- listeners ---- */

static bool same_place(const struct cfg_endpoint *a, const struct cfg_endpoint *b)
{
	return a->proto == b->proto && addr_equal(&a->at, &b->at) && strcmp(a->path, b->path) == 0;
}

static struct listener *find(const struct gateway_service *gs, const struct cfg_endpoint *e)
{
	list_for_each (it, &gs->listeners) {
		struct listener *l = list_entry(it, struct listener, node);

		if (same_place(&l->at, e))
			return l;
	}
	return NULL;
}

static void listener_free(struct listener *l)
{
	list_unlink(&l->node);
	acceptor_free(l->acceptor);
	if (l->fd >= 0)
		close(l->fd);
	if (l->at.path[0])
		(void)unix_socket_remove_dead(l->at.path);
	free(l);
}

static const char *place_text(const struct cfg_endpoint *e, char buf[static ADDR_STRLEN])
{
	return e->path[0] ? e->path : addr_print(&e->at, buf);
}

static int listener_bind(struct gateway_service *gs, const struct cfg_endpoint *e, char *err, size_t err_n)
{
	struct listener *l = calloc(1, sizeof(*l));
	char at[ADDR_STRLEN];
	int r;

	if (!l)
		return -ENOMEM;
	*l = (struct listener){ .gs = gs, .at = *e, .fd = -1 };
	if (e->path[0])
		r = unix_socket_listen(e->path, &(struct unix_socket_options){ .mode = 0660, .uid = gs->svc->uid }, &l->fd);
	else
		r = stream_listen_socket(&e->at, &(struct listen_options){ .freebind = true, .v6only = true }, &l->fd);
	if (r < 0) {
		(void)snprintf(err, err_n, "cannot listen on %s: %s%s", place_text(e, at), strerror(-r),
			       e->path[0] ? "" : stream_listen_advice(r));
		free(l);
		return r;
	}
	list_append(&gs->listeners, &l->node);
	return 0;
}

static int listener_start(struct listener *l)
{
	int r = l->acceptor ? 0 : acceptor_new(l->gs->svc->loop, l->fd, &acceptor_ops, l, &l->acceptor);

	l->fd = -1; /* the acceptor's, or closed */
	return r;
}

/* What is missing is bound; what is there stays. */
static int bind_missing(struct gateway_service *gs, const struct cfg_list *listen, char *err, size_t err_n)
{
	const struct cfg_endpoint *e = listen->items;
	int r = 0;

	for (size_t i = 0; i < listen->n && r == 0; i++)
		if (!find(gs, &e[i]))
			r = listener_bind(gs, &e[i], err, err_n);
	return r;
}

static void close_others(struct gateway_service *gs, const struct cfg_list *listen)
{
	const struct cfg_endpoint *e = listen->items;

	list_for_each_safe (it, &gs->listeners) {
		struct listener *l = list_entry(it, struct listener, node);
		bool wanted = false;

		for (size_t i = 0; i < listen->n; i++)
			wanted |= same_place(&l->at, &e[i]);
		if (!wanted)
			listener_free(l);
	}
}

json_t *gateway_listeners_json(const struct gateway_service *gs)
{
	json_t *rows = json_array();
	char at[ADDR_STRLEN];

	list_for_each (it, &gs->listeners) {
		const struct listener *l = list_entry(it, struct listener, node);

		json_array_append_new(rows, json_sprintf("%s:%s%s", l->at.proto == GATEWAY_TLS ? "tls" : "http", l->at.path[0] ? "unix:" : "", place_text(&l->at, at)));
	}
	return rows;
}

/* ---- servers ---- */

static void on_refused(enum httpd_refusal why, const struct addr *peer, const char *text, void *arg)
{
	struct gateway *g = arg;
	uint64_t suppressed;

	if (log_gate_pass(&g->gates[GATEWAY_LINE_REFUSED], loop_now(g->loop), &suppressed))
		log_emit(&MSG_GATEWAY_REFUSED, LF_ADDR("client", peer), LF_STR("how", httpd_refusal_names[why]), LF_STR("reason", text), LF_U64("suppressed", suppressed));
}

static const struct httpd_ops httpd_ops = { .on_request = gateway_on_request, .on_refused = on_refused };

static struct httpd_limits limits_of(const struct gateway_config *c)
{
	return (struct httpd_limits){ .conns = (unsigned)c->limits.connections, .conns_per_addr = (unsigned)c->limits.connections_per_address,
				      .stall_ms = c->limits.stall_ms };
}

static int read_tls(const struct gateway_config *c, char *err, size_t err_n, struct httpd_tls **ret_t)
{
	*ret_t = NULL;
	return c->certificate ? httpd_tls_new(&(struct httpd_tls_options){ .cert_file = c->certificate, .key_file = c->key }, err, err_n, ret_t) : 0;
}

static void count_one(const struct httpd *h, struct httpd_counts *sum)
{
	const struct httpd_counts *c = h ? httpd_counts(h) : NULL;

	if (!c)
		return;
	sum->accepted += c->accepted;
	sum->conns += c->conns;
	for (unsigned i = 0; i < HTTPD_REFUSALS; i++)
		sum->refused[i] += c->refused[i];
}

static void on_pulse(struct timer *t, uint64_t now)
{
	struct gateway_service *gs = container_of(t, struct gateway_service, pulse);
	struct httpd_counts sum = { 0 };

	(void)now;
	count_one(gs->tls, &sum);
	count_one(gs->plain, &sum);
	metric_set(gs->g.metrics, 0, GATEWAY_M_CONNECTIONS, 0, sum.conns);
	metric_add(gs->g.metrics, 0, GATEWAY_M_ACCEPTED, 0, (int64_t)(sum.accepted - gs->counted_accepted));
	gs->counted_accepted = sum.accepted;
	for (unsigned i = 0; i < HTTPD_REFUSALS; i++) {
		metric_add(gs->g.metrics, 0, GATEWAY_M_REFUSED, i, (int64_t)(sum.refused[i] - gs->counted_refused[i]));
		gs->counted_refused[i] = sum.refused[i];
	}
	loop_timer_set(gs->svc->loop, t, PULSE_MS);
}

/* ---- start ---- */

/* A first certificate makes the server that has it, beside the one that is there. */
static int take_tls(struct gateway_service *gs, const struct gateway_config *c, struct httpd_tls *tls)
{
	struct httpd_limits limits = limits_of(c);
	int r = 0;

	if (gs->tls && tls)
		httpd_set_tls(gs->tls, tls);
	else if (tls)
		r = httpd_new(gs->svc->loop, &limits, tls, &httpd_ops, &gs->g, &gs->tls);
	if (r == 0 && gs->tls)
		httpd_count_together(gs->tls, gs->plain);
	return r;
}

static int make_servers(struct gateway_service *gs, const struct gateway_config *c, char *err, size_t err_n)
{
	struct httpd_limits limits = limits_of(c);
	_cleanup_(httpd_tls_unrefp) struct httpd_tls *tls = NULL;
	int r = read_tls(c, err, err_n, &tls);

	if (r < 0)
		return r;
	(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	r = httpd_new(gs->svc->loop, &limits, NULL, &httpd_ops, &gs->g, &gs->plain);
	return r < 0 ? r : take_tls(gs, c, tls);
}

static int on_open(struct service *s, char *err, size_t err_n)
{
	struct gateway_service *gs = calloc(1, sizeof(*gs));
	const struct gateway_config *c = config_in(s->cfg);
	int r;

	(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!gs)
		return -ENOMEM;
	s->state = gs;
	s->drain_limit_ms = c->drain_ms;
	gs->svc = s;
	gs->g.loop = s->loop;
	gs->g.config = c;
	gs->pulse.fire = on_pulse;
	list_init(&gs->listeners);
	list_init(&gs->g.transfers);
	r = gateway_heads_init();
	if (r == 0)
		r = metrics_new(gateway_metric_rows, GATEWAY_METRICS, 1, &gs->g.metrics);
	if (r == 0)
		r = guesses_new(&gs->g.guesses);
	if (r == 0)
		r = proxy_intake_new(s->loop, NULL, &intake_ops, gs, &gs->intake);
	if (r == 0)
		r = make_servers(gs, c, err, err_n);
	return r < 0 ? r : bind_missing(gs, &c->listen, err, err_n);
}

static int start_listeners(struct gateway_service *gs, char *err, size_t err_n)
{
	int r = 0;

	list_for_each (it, &gs->listeners) {
		if (r == 0)
			r = listener_start(list_entry(it, struct listener, node));
	}
	if (r < 0)
		(void)snprintf(err, err_n, "%s", strerror(-r));
	return r;
}

static int on_start(struct service *s, char *err, size_t err_n)
{
	struct gateway_service *gs = s->state;
	int r = start_listeners(gs, err, err_n);

	if (r < 0)
		return r;
	gateway_add_verbs(gs);
	loop_timer_set(s->loop, &gs->pulse, PULSE_MS);
	return 0;
}

/* ---- reload, stop ---- */

static int on_examine(struct service *s, const struct cfg *c, struct service_changes *ch, char *err, size_t err_n)
{
	struct gateway_service *gs = s->state;
	_cleanup_(httpd_tls_unrefp) struct httpd_tls *tls = NULL;
	int r = read_tls(config_in(c), err, err_n, &tls);

	(void)ch;
	if (r < 0 || gs->draining)
		return r;
	r = bind_missing(gs, &config_in(c)->listen, err, err_n);
	close_others(gs, &gs->g.config->listen); /* it was to see whether it can be done */
	return r;
}

static int on_reload(struct service *s, struct cfg *c, char *err, size_t err_n)
{
	struct gateway_service *gs = s->state;
	const struct gateway_config *fresh = config_in(c);
	_cleanup_(httpd_tls_unrefp) struct httpd_tls *tls = NULL;
	int r = read_tls(fresh, err, err_n, &tls);

	if (r == 0)
		r = bind_missing(gs, &fresh->listen, err, err_n);
	if (r == 0)
		r = take_tls(gs, fresh, tls); /* behind what is most likely refused */
	if (r == 0)
		r = start_listeners(gs, err, err_n);
	if (r < 0) {
		close_others(gs, &gs->g.config->listen); /* what was new */
		return r;
	}
	close_others(gs, &fresh->listen);
	if (gs->tls)
		httpd_set_stall(gs->tls, fresh->limits.stall_ms);
	httpd_set_stall(gs->plain, fresh->limits.stall_ms);
	gs->g.config = fresh;
	s->drain_limit_ms = fresh->drain_ms;
	return 0;
}

static bool on_drain(struct service *s)
{
	struct gateway_service *gs = s->state;

	if (!gs->draining) {
		gs->draining = true;
		close_others(gs, &(const struct cfg_list){ 0 });
		if (gs->tls)
			httpd_drain(gs->tls);
		httpd_drain(gs->plain);
	}
	return gs->g.n_transfers == 0;
}

static void on_stop(struct service *s)
{
	struct gateway_service *gs = s->state;

	if (!gs)
		return;
	timer_stop(&gs->pulse);
	close_others(gs, &(const struct cfg_list){ 0 });
	gs->intake = proxy_intake_free(gs->intake);
	gs->tls = httpd_free(gs->tls);
	gs->plain = httpd_free(gs->plain);
	guesses_free(gs->g.guesses);
	metrics_free(gs->g.metrics);
	gateway_heads_deinit();
	free(gs);
	s->state = NULL;
}

int gateway_tunnel_reached(const struct gateway_service *gs)
{
	int fd = gateway_call_tunnel(&gs->g);

	if (fd < 0)
		return fd == -EAGAIN ? 0 : fd;
	close(fd);
	return 0;
}

static void on_health(struct service *s, struct health *h)
{
	struct gateway_service *gs = s->state;
	int r = gateway_tunnel_reached(gs);

	if (r < 0)
		health_add(h, HEALTH_SERVER_UNREACHABLE, HEALTH_ERROR, gs->g.config->tunnel,
			   "no stile-tunnel takes what is for shares at %s (its key tunnel.gateway): %s", gs->g.config->tunnel, strerror(-r));
}

static bool on_alive(struct service *s)
{
	(void)s;
	return true; /* it is its loop that asks */
}

const struct service_ops gateway_service_ops = {
	.program = "stile-gateway",
	.summary = "HTTPS for browsers that take part in a share",
	.config = &gateway_cfg_root,
	.check = gateway_config_check,
	.log_config = gateway_log_config,
	.binds_later = true,
	.open = on_open,
	.start = on_start,
	.examine = on_examine,
	.reload = on_reload,
	.drain = on_drain,
	.stop = on_stop,
	.alive = on_alive,
	.health = on_health,
};
