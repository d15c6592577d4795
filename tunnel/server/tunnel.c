/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wires the three parts together and hands the configuration on to them. The order at the start: sockets are bound,
 * privileges dropped, then keys and store are read, for those files belong to the service's user. At the end the
 * connections go first, then the jobs, then the registry.
 */
#include "tunnel/server/tunnel.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tunnel/server/agents.h"
#include "tunnel/server/jobs.h"

struct tunnel {
	struct tunnel_options o;
	const struct tunnel_config *config;
	struct tunnel_server *server;
	struct tunnel_agents *agents;
	struct tunnel_jobs *jobs;
	struct cfg_list listen; /* struct addr: what is listened on; owned */
	char host[256], folder[600];
	char local_turn[512]; /* control socket of the stile-turn beside this one */
	bool started, draining;
};

/* ---- callbacks: each to the part that it is for ---- */

static void on_arrived(struct tunnel_arrival *a, void *arg)
{
	tunnel_agents_arrived(a, ((struct tunnel *)arg)->agents);
}

static void on_arrival_frame(struct tunnel_arrival *a, unsigned type, const union wire_msg *m, void *arg)
{
	tunnel_agents_arrival_frame(a, type, m, ((struct tunnel *)arg)->agents);
}

static void on_arrival_gone(struct tunnel_arrival *a, const char *why, void *arg)
{
	tunnel_agents_arrival_gone(a, why, ((struct tunnel *)arg)->agents);
}

static void on_copied_key(const struct tunnel_link_info *first, const struct tunnel_arrival_info *second, void *arg)
{
	tunnel_agents_copied_key(first, second, ((struct tunnel *)arg)->agents);
}

static void *on_worker_begin(struct tunnel_worker *w, void *arg, int *ret_r)
{
	return tunnel_jobs_worker_begin(((struct tunnel *)arg)->jobs, w, ret_r);
}

static void on_worker_end(struct tunnel_worker *w, void *owner, void *arg)
{
	(void)w;
	(void)arg;
	tunnel_jobs_worker_end(owner);
}

static unsigned ranges_of(const uint8_t identity[static WIRE_PIN], struct wire_range *r, unsigned max, void *arg)
{
	return (unsigned)tunnel_agents_ports(((struct tunnel *)arg)->agents, identity, r, max);
}

static const char *name_of(const uint8_t identity[static WIRE_PIN], void *arg)
{
	struct identity_hash h;
	char text[IDENTITY_STRLEN];
	const struct entry *e;

	memcpy(h.b, identity, sizeof(h.b));
	e = tunnel_agents_look_up(((struct tunnel *)arg)->agents, text_of(identity_print(&h, text)));
	return e && e->state != ENTRY_REVOKED ? e->name : NULL;
}

static bool look_up(const char *agent, uint8_t ret_identity[static WIRE_PIN], void *arg)
{
	const struct entry *e = tunnel_agents_look_up(((struct tunnel *)arg)->agents, text_of(agent));

	if (e)
		memcpy(ret_identity, e->id.b, WIRE_PIN);
	return e != NULL;
}

static const char *own_port(const struct addr *at, bool udp, void *arg)
{
	struct tunnel *t = arg;

	return t->o.route_at ? t->o.route_at(at, udp, t->o.arg) : NULL;
}

static bool let_go(const struct addr *at, void *arg)
{
	const struct tunnel *t = arg;

	return t->o.let_go && t->o.let_go(at, t->o.arg);
}

/* ---- listeners ---- */

static bool same_place(const struct cfg_endpoint *a, const struct cfg_endpoint *b)
{
	return addr_equal(&a->at, &b->at) && strcmp(a->path, b->path) == 0;
}

static bool holds(const struct cfg_list *l, const struct cfg_endpoint *one)
{
	const struct cfg_endpoint *e = l->items;

	for (size_t i = 0; i < l->n; i++)
		if (same_place(&e[i], one))
			return true;
	return false;
}

static int open_place(struct tunnel *t, const struct cfg_endpoint *e, char *err, size_t err_n)
{
	return e->path[0] ? tunnel_server_listen_unix(t->server, e->path, t->o.svc->uid, err, err_n)
			  : tunnel_server_listen(t->server, &e->at, err, err_n);
}

static void close_place(struct tunnel *t, const struct cfg_endpoint *e)
{
	if (e->path[0])
		tunnel_server_unlisten_unix(t->server, e->path);
	else
		tunnel_server_unlisten(t->server, &e->at);
}

static void close_others(struct tunnel *t, const struct cfg_list *from, const struct cfg_list *stay)
{
	const struct cfg_endpoint *e = from->items;

	for (size_t i = 0; i < from->n; i++)
		if (!holds(stay, &e[i]))
			close_place(t, &e[i]);
}

static void listen_leave(struct tunnel *t, struct cfg_list fresh)
{
	close_others(t, &fresh, &t->listen);
	free(fresh.items);
}

/* The new ones are there beside the old ones, or nothing has changed. *ret_fresh: for listen_take() or listen_leave(). */
static int listen_make(struct tunnel *t, const struct cfg_list *wanted, char *err, size_t err_n,
		       struct cfg_list *ret_fresh)
{
	const struct cfg_endpoint *e = wanted->items;
	struct cfg_list fresh = { .items = calloc(wanted->n + 1, sizeof(*e)) };
	int r = 0;

	if (!fresh.items) {
		(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	for (size_t i = 0; i < wanted->n && r == 0; i++) {
		if (!holds(&t->listen, &e[i]))
			r = open_place(t, &e[i], err, err_n);
		if (r == 0)
			((struct cfg_endpoint *)fresh.items)[fresh.n++] = e[i];
	}
	if (r < 0)
		listen_leave(t, fresh);
	else
		*ret_fresh = fresh;
	return r;
}

static void listen_take(struct tunnel *t, struct cfg_list fresh)
{
	close_others(t, &t->listen, &fresh);
	free(t->listen.items);
	t->listen = fresh;
}

static const struct cfg_list *places_of(const struct tunnel_config *c)
{
	static const struct cfg_list none;

	return c->accept ? &c->listen : &none;
}

static struct tunnel_rendezvous rendezvous_of(const struct tunnel *t, const struct tunnel_config *c)
{
	return (struct tunnel_rendezvous){ .enabled = c->direct.enabled, .relay = c->direct.relay, .relays = (unsigned)c->direct.relays,
					   .relay_bytes = c->direct.relay_bytes,
					   .relay_bitrate = c->direct.relay_bitrate == UINT64_MAX ? 0 : c->direct.relay_bitrate,
					   .turn_servers = &c->direct.turn_servers, .turn_secret = c->direct.turn_secret,
					   .public_name = c->public_name, .local_turn = c->direct.local_turn ? t->local_turn : NULL };
}

/* ---- life ---- */

int tunnel_open(const struct tunnel_options *o, char *err, size_t err_n, struct tunnel **ret_t)
{
	struct tunnel *t = calloc(1, sizeof(*t));
	struct tunnel_server_options so = { .workers = (unsigned)o->config->workers,
					    .window = (uint32_t)o->config->window,
					    .resume_ms = (uint32_t)o->config->resume_ms,
					    .allow_plain = o->config->allow_plain,
					    .arrived = on_arrived,
					    .arrival_frame = on_arrival_frame,
					    .arrival_gone = on_arrival_gone,
					    .copied_key = on_copied_key,
					    .worker_begin = on_worker_begin,
					    .worker_end = on_worker_end,
					    .link_ops = &tunnel_jobs_link_ops,
					    .let_go = let_go,
					    .arg = t };
	int r;

	(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!t)
		return -ENOMEM;
	t->o = *o;
	t->config = o->config;
	(void)snprintf(t->local_turn, sizeof(t->local_turn), "%s/stile-turn%s%s.sock", o->svc->instance.runtime_dir, *o->svc->instance.name ? "@" : "",
		       o->svc->instance.name);
	so.rendezvous = rendezvous_of(t, o->config);
	(void)gethostname(t->host, sizeof(t->host) - 1);
	r = tunnel_server_new(o->svc->loop, &so, &t->server);
	if (r == 0)
		r = listen_make(t, places_of(o->config), err, err_n, &t->listen);
	if (r < 0) {
		tunnel_free(t);
		return r;
	}
	*ret_t = t;
	return 0;
}

static void agent_changed(const struct entry *before, const struct entry *now, void *arg)
{
	struct tunnel *t = arg;

	if (!t->jobs)
		return;
	if (!now || now->state == ENTRY_REVOKED)
		tunnel_jobs_forget(t->jobs, before->id.b);
	if (now && strcmp(before->name, now->name) != 0)
		tunnel_jobs_renamed(t->jobs, now->id.b, before->name, now->name);
	tunnel_jobs_recheck(t->jobs);
}

static struct tunnel_agents_options agents_options(struct tunnel *t, const struct tunnel_config *c)
{
	const struct cfg_endpoint *l = c->listen.items;
	size_t i = 0;

	while (i < c->listen.n && l[i].path[0])
		i++; /* of a Unix socket the port in front of it is not known: agents try 443 anyway */
	return (struct tunnel_agents_options){ .loop = t->o.svc->loop, .store = t->o.svc->store, .control = t->o.svc->control,
					       .folder = t->folder, .password = c->password, .server_name = c->name ? c->name : t->host,
					       .public_name = c->public_name, .port = i < c->listen.n ? addr_port(&l[i].at) : 0,
					       .ports = &c->ports, .agents_max = c->limits.agents, .changed = agent_changed,
					       .arg = t };
}

static int make_folder(struct tunnel *t, char *err, size_t err_n)
{
	const char *store = tunnel_store_path(cfg_values(t->o.svc->cfg));

	(void)snprintf(t->folder, sizeof(t->folder), "%s/%s", store ? store : ".", t->o.svc->instance.full);
	if (mkdir(t->folder, 0700) == 0 || errno == EEXIST)
		return 0;
	(void)snprintf(err, err_n, "cannot make the folder of the server's keys, %s: %s", t->folder, strerror(errno));
	return -errno;
}

int tunnel_start(struct tunnel *t, struct records *records, char *err, size_t err_n)
{
	const struct tunnel_jobs_options jo = { .svc = t->o.svc, .records = records, .ranges = ranges_of, .name_of = name_of, .look_up = look_up,
						.own = own_port, .arg = t };
	struct tunnel_agents_options ao;
	int r = make_folder(t, err, err_n);

	ao = agents_options(t, t->config);
	if (r == 0)
		r = tunnel_server_gateway_make(t->server, t->config->gateway.path, t->o.svc->uid,
					       err, err_n);
	if (r == 0)
		r = tunnel_agents_new(&ao, err, err_n, &t->agents);
	if (r < 0)
		return r;
	r = tunnel_jobs_new(&jo, &t->jobs);
	if (r == 0)
		r = tunnel_agents_use_server(t->agents, t->server);
	if (r < 0) {
		(void)snprintf(err, err_n, "%s", strerror(-r));
		return r;
	}
	tunnel_jobs_use_server(t->jobs, t->server);
	tunnel_jobs_configure(t->jobs, t->config, t->config->resolve_names);
	r = tunnel_server_start(t->server, err, err_n);
	if (r < 0)
		return r;
	tunnel_server_gateway_take(t->server, t->config->gateway.path, t->config->gateway_url);
	t->started = true;
	tunnel_agents_add_verbs(t->agents);
	service_own(t->o.svc, &(struct service_owner){ .kind = REGISTRY_AGENT_KIND, .check = agents_check_object, .apply = agents_apply_object,
						     .arg = t->agents });
	tunnel_jobs_add_verbs(t->jobs);
	return 0;
}

int tunnel_examine(const struct tunnel *t, const struct tunnel_options *o, char *err, size_t err_n)
{
	const struct cfg_list *wanted = places_of(o->config);
	const struct cfg_endpoint *e = wanted->items;
	int r = tunnel_server_gateway_probe(t ? t->server : NULL, o->config->gateway.path, err, err_n);

	for (size_t i = 0; i < wanted->n && r == 0; i++)
		if (!(t && holds(&t->listen, &e[i])) && !o->let_go(&e[i].at, o->arg))
			r = tunnel_server_probe(t ? t->server : NULL, &e[i].at, e[i].path, err, err_n);
	return r;
}

/* All that may fail, and can be taken back until the password is taken, which comes last. */
static int reload_make(struct tunnel *t, const struct tunnel_config *c, char *err, size_t err_n,
		       struct cfg_list *ret_fresh)
{
	struct tunnel_agents_options ao = agents_options(t, c);
	struct cfg_list fresh;
	int r = listen_make(t, places_of(c), err, err_n, &fresh);

	if (r < 0)
		return r;
	r = tunnel_server_gateway_make(t->server, c->gateway.path, t->o.svc->uid, err, err_n);
	if (r == 0)
		r = tunnel_agents_configure(t->agents, &ao, err, err_n);
	if (r < 0) {
		tunnel_server_gateway_leave(t->server);
		listen_leave(t, fresh);
		return r;
	}
	*ret_fresh = fresh;
	return 0;
}

int tunnel_reload(struct tunnel *t, const struct tunnel_config *c, char *err, size_t err_n)
{
	static const char why[] = "this server lets no agents in at the moment (tunnel.accept)";
	const struct tunnel_rendezvous rendezvous = rendezvous_of(t, c);
	struct cfg_list fresh;
	int r = reload_make(t, c, err, err_n, &fresh);

	if (r < 0)
		return r;
	listen_take(t, fresh);
	tunnel_server_gateway_take(t->server, c->gateway.path, c->gateway_url);
	tunnel_server_close(t->server, c->accept ? NULL : why);
	if (!c->accept) {
		tunnel_agents_send_away(t->agents, why);
		tunnel_jobs_send_away(t->jobs, why);
	}
	t->config = c;
	tunnel_server_configure(t->server, (uint32_t)c->window, (uint32_t)c->resume_ms, c->allow_plain);
	tunnel_server_set_rendezvous(t->server, &rendezvous);
	tunnel_jobs_configure(t->jobs, c, c->resolve_names);
	return 0;
}

int64_t tunnel_drain(struct tunnel *t)
{
	if (!t || !t->started)
		return 0;
	if (!t->draining) {
		tunnel_jobs_drain(t->jobs);
		tunnel_server_drain(t->server, "the server stops", TUNNEL_AGAIN_S);
	}
	t->draining = true;
	return tunnel_jobs_connections(t->jobs);
}

struct tunnel *tunnel_free(struct tunnel *t)
{
	if (!t)
		return NULL;
	if (t->jobs)
		tunnel_jobs_stop(t->jobs);
	tunnel_server_free(t->server);
	tunnel_jobs_free(t->jobs);
	tunnel_agents_free(t->agents);
	free(t->listen.items);
	free(t);
	return NULL;
}

bool tunnel_alive(struct tunnel *t)
{
	return !t || !t->started || tunnel_server_alive(t->server);
}

struct metrics *tunnel_metrics(struct tunnel *t, unsigned i)
{
	if (!t || !t->started)
		return NULL;
	switch (i) {
	case 0:
		return tunnel_jobs_metrics(t->jobs);
	case 1:
		return tunnel_server_metrics(t->server);
	case 2:
		return tunnel_agents_metrics(t->agents);
	default:
		return NULL;
	}
}

void tunnel_count(struct tunnel *t, struct tunnel_counts *ret_c)
{
	*ret_c = (struct tunnel_counts){ 0 };
	if (!t || !t->started)
		return;
	ret_c->links = tunnel_jobs_links(t->jobs);
	ret_c->jobs = tunnel_jobs_count(t->jobs);
	ret_c->connections = (uint64_t)MAX(0, tunnel_jobs_connections(t->jobs));
}

json_t *tunnel_jobs_json(struct tunnel *t)
{
	return t && t->started ? jobs_rows_json(t->jobs, NULL) : json_array();
}

const struct store_kind tunnel_store_kinds[] = {
	{ "relay.route", &route_schema, "tunnel.routes" },
	{ "tunnel.job" }, /* of other machines' files, if anybody's */
	{ "tunnel.held" },
	{ REGISTRY_AGENT_KIND, &registry_agent_schema },
	{ REGISTRY_CODE_KIND, &registry_code_schema },
	{ 0 },
};
