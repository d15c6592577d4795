/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of stile-agent: the key pair and the store are opened, each server of agent.server gets a connection of its
 * own, and every job is told to each of them. A reload changes jobs, list and log; connections stay.
 *
 * What a server says of a job is kept beside it, for people. What it offers is taken if agent.allow holds the target.
 */
#include "tunnel/agent/service.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "tunnel/agent/child.h"
#include "tunnel/agent/direct.h"
#include "tunnel/job_wire.h"
#include "tunnel/log_msgs.h"

enum { NETWORK_SETTLE_MS = 250 }; /* an address that goes, and the next one that comes */

const struct agent_config *agent_config_of(const struct agent_service *as)
{
	return &((const struct agent_root *)cfg_values(as->svc->cfg))->agent;
}

/* ---- jobs, to the servers ---- */

static void tell_job(const struct agent_job *j, const struct agent_end *e)
{
	struct wire_job w;

	job_to_wire(j->c, j->name, agent_job_expires(j), &w);
	w.id = j->id;
	w.revision = j->revision;
	(void)agent_put_job(e->agent, &w); /* without memory it is told after the next reconnection */
}

static void on_job_put(const struct agent_job *j, void *arg)
{
	struct agent_service *as = arg;

	for (unsigned i = 0; i < as->n_ends; i++)
		tell_job(j, &as->ends[i]);
	agent_conns_of_job(as, j, false);
}

static void on_job_gone(const struct agent_job *j, void *arg)
{
	struct agent_service *as = arg;

	if (j->origin == AGENT_JOB_OF_SERVER)
		return; /* it ends them, and offers the job anew when it comes back: they go on */
	for (unsigned i = 0; i < as->n_ends; i++)
		agent_drop_job(as->ends[i].agent, j->id);
	agent_conns_of_job(as, j, true);
}

static void tell_target(const struct agent_job *j, const struct agent_end *e)
{
	struct wire_target_state t = { .job = j->id, .up = !j->down, .text = text_of(j->down_why), .connect_us = (uint32_t)j->probe_ms * 1000 };

	if (e->state == AGENT_UP) /* else it is said when the job is active again */
		(void)agent_send(e->agent, WIRE_TARGET_STATE, &t);
}

static void on_target(const struct agent_job *j, void *arg)
{
	struct agent_service *as = arg;

	for (unsigned i = 0; i < as->n_ends; i++)
		if (j->origin != AGENT_JOB_OF_SERVER || j->server == i)
			tell_target(j, &as->ends[i]);
}

/* What is over is not kept. */
static void on_expired(const struct agent_job *j, void *arg)
{
	struct agent_service *as = arg;

	if (j->origin == AGENT_JOB_OF_STORE)
		stored_drop(as->stored, j->name, "expired");
}

static const struct agent_jobs_ops job_ops = {
	.put = on_job_put, .gone = on_job_gone, .target = on_target, .expired = on_expired
};

/* ---- what servers say ---- */

static void on_job_state(struct agent_end *e, const struct wire_job_state_msg *m)
{
	struct agent_job *j = agent_jobs_numbered(e->as->jobs, e->index, m->id);
	struct agent_job_told *t = j ? &j->told[e->index] : NULL;
	unsigned before = t ? t->state : 0;

	if (!j)
		return;
	t->state = m->state;
	t->reason = m->reason;
	t->port = m->port;
	wire_text_copy(t->address, sizeof(t->address), m->address);
	wire_text_copy(t->text, sizeof(t->text), m->text);
	if (t->state == WIRE_JOB_ACTIVE && j->probed && j->down)
		tell_target(j, e);
	if (before == t->state)
		return;
	log_emit(t->state == WIRE_JOB_REFUSED || t->state == WIRE_JOB_PORT_TAKEN ? &MSG_AGENT_JOB_REFUSED : &MSG_AGENT_JOB_STATE,
		 LF_STR("job", j->name), LF_STR("server", e->server), LF_STR("state", job_state_text(t->state)), LF_STR("address", t->address),
		 LF_STR("reason", t->text));
	control_publish(e->as->svc->control, "agent.jobs", json_pack("{s:s, s:s, s:s, s:s, s:s}", "job", j->name, "server", e->server,
								     "state", job_state_text(t->state), "address", t->address, "text", t->text));
}

static void answer(struct agent_end *e, const struct wire_job *w, const char *why)
{
	struct wire_offer_answer a = { .id = w->id, .revision = w->revision, .taken = !why, .text = text_of(why) };

	(void)agent_send(e->agent, WIRE_OFFER_ANSWER, &a);
	if (why)
		log_emit(&MSG_AGENT_OFFER_REFUSED, LF_STR("server", e->server), LF_TEXT("job", w->name), LF_STR("reason", why));
	else
		log_emit(&MSG_AGENT_OFFER_TAKEN, LF_STR("server", e->server), LF_TEXT("job", w->name), LF_TEXT("target", w->host));
}

static void on_offer(struct agent_end *e, const struct wire_job *w)
{
	struct agent_job_from from = { .origin = AGENT_JOB_OF_SERVER, .server = e->index, .id = w->id };
	struct agent_job *j = agent_jobs_numbered(e->as->jobs, e->index, w->id), *put = NULL;
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	char err[512];
	const char *why;
	int r;

	if (w->over) {
		if (j && j->origin == AGENT_JOB_OF_SERVER)
			agent_jobs_remove(j);
		return;
	}
	if (!(w->id & AGENT_OFFERED))
		why = "this number is the agent's";
	else
		why = job_from_wire(w, err, sizeof(err), &cfg) < 0 ? err :
			agent_jobs_refuses(e->as->jobs, cfg_values(cfg), agent_config_of(e->as)->allow_plain);
	r = why ? 0 : agent_jobs_put(e->as->jobs, &from, cfg_values(cfg), &put);
	if (put && !j) /* offered again: of before the control connection was another one it may have some */
		put->connections = agent_conns_count(e, w->id);
	if (r < 0)
		why = r == -EUSERS ? "the agent has as many jobs of servers as it takes (1024)" : "the agent is out of memory";
	if (why && j && j->origin == AGENT_JOB_OF_SERVER)
		agent_jobs_remove(j);
	answer(e, w, why);
}

static void on_frame(struct agent *a, unsigned type, const union wire_msg *m, void *arg)
{
	struct agent_end *e = arg;

	(void)a;
	if (type == WIRE_JOB_STATE)
		on_job_state(e, &m->job_state);
	else if (type == WIRE_OFFER_JOB)
		on_offer(e, &m->job);
	else if (type == WIRE_REACHED)
		agent_reach_on_frame(e, &m->reached);
	else if (e->as->direct)
		direct_on_frame(e->as->direct, e, type, m);
}

static void on_state(struct agent *a, enum agent_state s, const char *text, void *arg)
{
	struct agent_end *e = arg;
	bool was_up = e->state == AGENT_UP;

	(void)a;
	e->state = s;
	if (s == AGENT_UP && !was_up && e->as->direct)
		direct_server_up(e->as->direct, e);
	if (s != AGENT_UP && e->as->direct)
		direct_server_down(e->as->direct, e);
	if (s != AGENT_UP)
		agent_jobs_forget_server(e->as->jobs, e->index);
	if (was_up && s != AGENT_UP)
		log_emit(&MSG_AGENT_DISCONNECTED, LF_STR("server", e->server), LF_STR("reason", text));
	else if (s == AGENT_WAITING)
		log_emit(&MSG_AGENT_CANNOT_CONNECT, LF_STR("server", e->server), LF_STR("reason", text));
	control_publish(e->as->svc->control, "agent.status", json_pack("{s:s, s:s, s:s}", "server", e->server, "state", agent_state_names[s],
								       "text", text));
}

/* The server offers its jobs anew. */
static void on_welcome(struct agent *a, const struct wire_welcome *w, bool same_session, void *arg)
{
	struct agent_end *e = arg;
	struct agent_info i;

	list_for_each_safe(it, agent_jobs_all(e->as->jobs)) {
		struct agent_job *j = list_entry(it, struct agent_job, node);

		if (j->origin == AGENT_JOB_OF_SERVER && j->server == e->index)
			agent_jobs_remove(j);
	}
	agent_info(a, &i);
	log_emit(&MSG_AGENT_CONNECTED, LF_STR("server", e->server), LF_TEXT("name", w->server_name), LF_ADDR("address", &i.server),
		 LF_TEXT("known_as", w->name), LF_BOOL("again", same_session));
}

static void on_open(struct agent *a, struct data_conn *d, const struct wire_open *o, void *arg)
{
	(void)a;
	agent_conn_open(arg, d, o);
}

static const struct agent_ops ops = { .on_state = on_state, .on_welcome = on_welcome, .on_frame = on_frame, .on_open = on_open };

/* ---- start ---- */

static int agent_open(struct service *s, char *err, size_t err_n)
{
	struct agent_service *as = calloc(1, sizeof(*as));

	(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!as)
		return -ENOMEM;
	s->state = as;
	as->svc = s;
	list_init(&as->conns);
	list_init(&as->reaches);
	(void)gethostname(as->host, sizeof(as->host) - 1);
	return bytes_random(as->instance, sizeof(as->instance));
}

static int add_server(struct agent_service *as, const struct agent_server *server, char *err, size_t err_n)
{
	const struct agent_config *c = agent_config_of(as);
	struct agent_end *e = &as->ends[as->n_ends];
	struct agent_options o = { .name = c->name ? c->name : as->host, .program = "stile-agent " STILE_VERSION, .host = as->host,
				   .ops = &ops, .arg = e };
	struct sb b = sb_init(e->server, sizeof(e->server));
	int r;

	sb_fmt(&b, strchr(server->host, ':') ? "[%s]:%u" : "%s:%u", server->host, server->port);
	e->as = as;
	e->index = as->n_ends;
	memcpy(o.instance, as->instance, sizeof(o.instance));
	r = dialers_add(as->dialers, server, c, err, err_n, &e->dialer);
	if (r < 0)
		return r;
	dialer_hooks(e->dialer, &o.dialer);
	r = agent_new(as->svc->loop, &o, &e->agent);
	if (r < 0) {
		(void)snprintf(err, err_n, "%s", strerror(-r));
		return r;
	}
	dialer_attach(e->dialer, e->agent);
	as->n_ends++;
	return 0;
}

static void on_network(void *arg)
{
	struct agent_service *as = arg;

	dialers_network_changed(as->dialers); /* first: what follows asks for names */
	agent_jobs_network_changed(as->jobs);
	for (unsigned i = 0; i < as->n_ends; i++)
		agent_network_changed(as->ends[i].agent);
	direct_network_changed(as->direct);
}

/* What tells a busy agent from one at rest. */
static uint64_t carried(void *arg)
{
	struct agent_service *as = arg;
	uint64_t sum = 0;
	struct agent_info i;

	for (unsigned n = 0; n < as->n_ends; n++) {
		agent_info(as->ends[n].agent, &i);
		sum += i.bytes[0] + i.bytes[1] + i.streams + i.tries + i.reconnects;
	}
	return sum;
}

static int start_parts(struct agent_service *as, char *err, size_t err_n)
{
	const struct agent_config *c = agent_config_of(as);
	const struct agent_server *servers = c->server.items;
	char folder[600];
	int r = agent_jobs_new(as->svc->loop, &job_ops, as, &as->jobs);

	if (r == 0)
		r = agent_jobs_allow(as->jobs, &c->allow);
	if (r == 0)
		r = agent_store_new(as);
	(void)snprintf(err, err_n, "%s", strerror(-r));
	(void)snprintf(folder, sizeof(folder), "%s/%s", agent_store_path(cfg_values(as->svc->cfg)), as->svc->instance.full);
	if (r == 0)
		r = dialers_new(&(struct dialers_options){ .loop = as->svc->loop, .folder = folder, .control = as->svc->control }, err, err_n,
				&as->dialers);
	for (size_t i = 0; i < c->server.n && r == 0; i++)
		r = add_server(as, &servers[i], err, err_n);
	if (r < 0)
		return r;
	(void)net_changes_new_with(as->svc->loop, &(struct net_changes_options){ .settle_ms = NETWORK_SETTLE_MS }, on_network, as, &as->changes);
	r = direct_new(as, &as->direct);
	if (r == 0)
		r = direct_configure(as->direct, cfg_values(as->svc->cfg));
	if (r < 0) {
		(void)snprintf(err, err_n, "%s", strerror(-r));
		return r;
	}
	agent_rest_init(&as->rest, as->svc->loop, carried, as);
	r = agent_jobs_put_file(as->jobs, &c->jobs);
	(void)snprintf(err, err_n, "%s", strerror(-r));
	return r;
}

static int agent_start(struct service *s, char *err, size_t err_n)
{
	struct agent_service *as = s->state;
	int r = start_parts(as, err, err_n);

	if (r < 0)
		return r;
	agent_store_apply(as);
	agent_add_verbs(as);
	agent_reach_init(as);
	agent_store_add_verbs(as);
	dialers_add_verbs(as->dialers);
	direct_add_verbs(as->direct);
	for (unsigned i = 0; i < as->n_ends && agent_config_of(as)->auto_connect; i++)
		agent_connect(as->ends[i].agent);
	return 0;
}

/* ---- reload, stop ---- */

static int agent_reload(struct service *s, struct cfg *c, char *err, size_t err_n)
{
	struct agent_service *as = s->state;
	const struct agent_config *fresh = &((const struct agent_root *)cfg_values(c))->agent;
	struct agent_info info;
	int r = 0;

	for (unsigned i = 0; i < as->n_ends; i++) {
		r = dialer_reload(as->ends[i].dialer, fresh, err, err_n);
		if (r < 0)
			return r;
	}
	r = agent_jobs_allow(as->jobs, &fresh->allow);
	if (r == 0)
		r = agent_jobs_put_file(as->jobs, &fresh->jobs);
	if (r == 0)
		r = direct_configure(as->direct, cfg_values(c));
	if (r < 0) {
		(void)snprintf(err, err_n, "%s", strerror(-r));
		return r;
	}
	agent_store_apply(as);
	agent_conns_recheck(as, &fresh->allow);
	for (unsigned i = 0; i < as->n_ends; i++) {
		agent_info(as->ends[i].agent, &info);
		if (info.state == AGENT_WAITING) /* what was in its way may be mended */
			agent_network_changed(as->ends[i].agent);
	}
	return 0;
}

static bool agent_drain(struct service *s)
{
	(void)s;
	return true; /* what is under way belongs to the server's clients, who are told at once */
}

static void agent_stop(struct service *s)
{
	struct agent_service *as = s->state;

	if (!as)
		return;
	as->changes = net_changes_free(as->changes);
	agent_rest_deinit(&as->rest);
	as->direct = direct_free(as->direct);
	agent_reach_free(as);
	agent_conns_free(as);
	for (unsigned i = 0; i < as->n_ends; i++) {
		dialer_attach(as->ends[i].dialer, NULL);
		as->ends[i].agent = agent_free(as->ends[i].agent);
	}
	as->n_ends = 0;
	as->jobs = agent_jobs_free(as->jobs);
	as->dialers = dialers_free(as->dialers);
	as->stored = stored_free(as->stored);
	free(as);
	s->state = NULL;
}

static bool agent_alive(struct service *s)
{
	(void)s;
	return true; /* it is its loop that asks */
}

static const struct store_kind kinds[] = {
	{ "agent.job", &job_schema, "agent.jobs" },
	{ "agent.peer", &peer_schema, "agent.visitors", peer_as_visitor },
	{ "agent.visit", &visit_schema, "agent.visits" },
	{ 0 },
};

const struct service_ops agent_service_ops = {
	.program = "stile-agent",
	.summary = "agent of a tunnel: ports of a server lead to hosts and ports of this network",
	.config = &agent_cfg_root,
	.check = agent_config_check,
	.log_config = agent_log_config,
	.store_path = agent_store_path,
	.store_kinds = kinds,
	.program_path = child_program,
	.open = agent_open,
	.start = agent_start,
	.reload = agent_reload,
	.drain = agent_drain,
	.stop = agent_stop,
	.alive = agent_alive,
	.health = agent_health,
};
