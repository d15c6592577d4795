/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of an agent's jobs. A few hundred at most, so it is a list. A changed job keeps its number and gets
 * another revision; the connections that it has go on where it still allows them (conns.c).
 *
 * Timers: `tick` once a second ends jobs whose time is over; `probing` of a job tries its target.
 */
#include "tunnel/agent/jobs.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/clock.h"
#include "tunnel/job_wire.h"
#include "tunnel/log_msgs.h"
#include "tunnel/policy.h"

enum { TICK_MS = 1000, PROBE_FIRST_MS = 200 };

struct agent_jobs {
	struct loop *loop;
	struct dns *dns;
	const struct agent_jobs_ops *ops;
	void *arg;
	struct list all;
	struct cfg_list allow; /* owned */
	uint32_t last_id;
	uint64_t began; /* ms of the loop: the agent's start */
	struct timer tick;
};

/* ---- one job ---- */

static struct agent_job *job_free(struct agent_job *j)
{
	if (!j)
		return NULL;
	list_unlink(&j->node);
	timer_stop(&j->probing);
	j->probe = agent_target_free(j->probe);
	json_decref(j->json);
	cfg_free(j->cfg);
	free(j);
	return NULL;
}

static bool is_own(const struct agent_job *j)
{
	return j->origin != AGENT_JOB_OF_SERVER;
}

/* Own jobs lead where they say if there is no list; a server's lead nowhere then. */
static const struct cfg_list *list_of(const struct agent_job *j)
{
	return is_own(j) && !j->all->allow.n ? NULL : &j->all->allow;
}

void agent_job_failed(struct agent_job *j, const char *why)
{
	j->errors++;
	j->error_at = clock_unix_ms();
	(void)snprintf(j->error, sizeof(j->error), "%s", why);
}

/* ---- health ---- */

static void on_probed(const struct agent_target_answer *a, void *arg)
{
	struct agent_job *j = arg;
	bool down = a->fd < 0, changed = !j->probed || down != j->down;

	j->probe = NULL;
	if (a->fd >= 0)
		close(a->fd);
	j->probed = true;
	j->down = down;
	j->probe_ms = a->took_ms;
	(void)snprintf(j->down_why, sizeof(j->down_why), "%s", a->text);
	if (changed && down)
		log_emit(&MSG_AGENT_TARGET_DOWN, LF_STR("job", j->name), LF_STR("reason", a->text));
	else if (changed)
		log_emit(&MSG_AGENT_TARGET_UP, LF_STR("job", j->name), LF_U64("connect_ms", a->took_ms));
	if (changed)
		j->all->ops->target(j, j->all->arg);
	loop_timer_set(j->all->loop, &j->probing, j->c->health_ms);
}

static void on_probing(struct timer *t, uint64_t now)
{
	struct agent_job *j = container_of(t, struct agent_job, probing);
	struct agent_target_ask a = { .host = j->c->target.host,
				      .port = j->c->target.port ? j->c->target.port : j->c->port.first,
				      .connect_ms = MIN(j->c->connect_ms, j->c->health_ms),
				      .allow = list_of(j) };

	(void)now;
	if (j->probe || agent_target_reach(j->all->loop, j->all->dns, &a, on_probed, j, &j->probe) < 0)
		loop_timer_set(j->all->loop, &j->probing, j->c->health_ms);
}

static void begin_probing(struct agent_job *j)
{
	timer_stop(&j->probing);
	j->probe = agent_target_free(j->probe);
	j->probed = j->down = false;
	j->down_why[0] = 0;
	if (j->c->health_ms && j->c->enabled)
		loop_timer_set(j->all->loop, &j->probing, PROBE_FIRST_MS);
}

/* ---- the table ---- */

static void on_tick(struct timer *t, uint64_t now)
{
	struct agent_jobs *js = container_of(t, struct agent_jobs, tick);
	int64_t s = clock_unix_ms() / 1000;

	loop_timer_set(js->loop, &js->tick, TICK_MS);
	list_for_each_safe (it, &js->all) {
		struct agent_job *j = list_entry(it, struct agent_job, node);

		if (j->ends ? j->ends > now : !j->c->expire.at || j->c->expire.at > s)
			continue;
		log_emit(&MSG_AGENT_JOB_EXPIRED, LF_STR("job", j->name));
		js->ops->expired(j, js->arg);
		agent_jobs_remove(j);
	}
}

int agent_jobs_new(struct loop *l, const struct agent_jobs_ops *ops, void *arg, struct agent_jobs **ret_js)
{
	struct agent_jobs *js = calloc(1, sizeof(*js));
	int r;

	if (!js)
		return -ENOMEM;
	js->loop = l;
	js->began = loop_now(l);
	js->ops = ops;
	js->arg = arg;
	js->tick.fire = on_tick;
	list_init(&js->all);
	r = dns_new(l, NULL, &js->dns);
	if (r < 0) {
		free(js);
		return r;
	}
	loop_timer_set(l, &js->tick, TICK_MS);
	*ret_js = js;
	return 0;
}

struct agent_jobs *agent_jobs_free(struct agent_jobs *js)
{
	if (!js)
		return NULL;
	list_for_each_safe (it, &js->all)
		job_free(list_entry(it, struct agent_job, node));
	timer_stop(&js->tick);
	dns_free(js->dns);
	free(js->allow.items);
	free(js);
	return NULL;
}

void agent_jobs_network_changed(struct agent_jobs *js)
{
	dns_forget(js->dns);
}

int agent_jobs_allow(struct agent_jobs *js, const struct cfg_list *allow)
{
	struct prefix *p = NULL;

	if (allow->n) {
		p = malloc(allow->n * sizeof(*p));
		if (!p)
			return -ENOMEM;
		memcpy(p, allow->items, allow->n * sizeof(*p));
	}
	free(js->allow.items);
	js->allow = (struct cfg_list){ .items = p, .n = allow->n };
	return 0;
}

struct list *agent_jobs_all(struct agent_jobs *js)
{
	return &js->all;
}

struct agent_job *agent_jobs_find(struct agent_jobs *js, const char *name)
{
	struct agent_job *offered = NULL;

	list_for_each (it, &js->all) {
		struct agent_job *j = list_entry(it, struct agent_job, node);

		if (strcmp(j->name, name) != 0)
			continue;
		if (is_own(j))
			return j;
		offered = j;
	}
	return offered;
}

struct agent_job *agent_jobs_numbered(struct agent_jobs *js, unsigned server, uint32_t id)
{
	list_for_each (it, &js->all) {
		struct agent_job *j = list_entry(it, struct agent_job, node);

		if (j->id == id && (is_own(j) || j->server == server))
			return j;
	}
	return NULL;
}

static struct agent_job *place_of(struct agent_jobs *js, const struct agent_job_from *from,
				  const char *name)
{
	list_for_each (it, &js->all) {
		struct agent_job *j = list_entry(it, struct agent_job, node);

		if (from->origin == AGENT_JOB_OF_SERVER
			    ? j->origin == from->origin && j->server == from->server && j->id == from->id
			    : is_own(j) && strcmp(j->name, name) == 0)
			return j;
	}
	return NULL;
}

/* In a file a duration counts from the agent's start, whatever is read again since, and however the clock is set. */
static uint64_t ends_at(const struct agent_jobs *js, const struct job_config *c, enum agent_job_origin origin)
{
	return c->expire.in_ms ? (origin == AGENT_JOB_OF_FILE ? js->began : loop_now(js->loop)) + c->expire.in_ms : 0;
}

int64_t agent_job_expires(const struct agent_job *j)
{
	return j->ends ? (clock_unix_ms() + (int64_t)(j->ends - loop_now(j->all->loop))) / 1000 : j->c->expire.at;
}

/* Its values are written and read again, so that the job does not hang on the file's. */
static int set_values(struct agent_job *j, const struct job_config *c, enum agent_job_origin origin)
{
	json_t *json = job_config_json(c);
	struct cfg *cfg = NULL;
	char err[512];
	int r = json ? job_parse(json, err, sizeof(err), &cfg) : -ENOMEM;

	if (r < 0) {
		json_decref(json);
		return r;
	}
	json_decref(j->json);
	cfg_free(j->cfg);
	j->json = json;
	j->cfg = cfg;
	j->c = cfg_values(cfg);
	j->ends = ends_at(j->all, j->c, origin);
	(void)job_name(j->c, j->name);
	j->revision++;
	return 0;
}

static struct agent_job *job_new(struct agent_jobs *js, const struct agent_job_from *from)
{
	struct agent_job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->all = js;
	j->server = from->server;
	j->id = from->origin == AGENT_JOB_OF_SERVER ? from->id : ++js->last_id;
	j->probing.fire = on_probing;
	list_init(&j->node);
	return j;
}

static unsigned n_offered(const struct agent_jobs *js)
{
	unsigned n = 0;

	list_for_each (it, &js->all)
		n += !is_own(list_entry(it, struct agent_job, node));
	return n;
}

int agent_jobs_put(struct agent_jobs *js, const struct agent_job_from *from,
		   const struct job_config *c, struct agent_job **ret_j)
{
	char name[JOB_NAME_STRLEN];
	struct agent_job *j = place_of(js, from, job_name(c, name)),
			 *fresh = j ? NULL : job_new(js, from);
	json_t *same = j ? job_config_json(c) : NULL;
	int r = j || fresh ? 0 : -ENOMEM;

	if (j && json_equal(same, j->json) && j->origin == from->origin) {
		json_decref(same);
		if (ret_j)
			*ret_j = j;
		return 0; /* an expiry that counts from now does not begin anew */
	}
	json_decref(same);
	if (fresh && from->origin == AGENT_JOB_OF_SERVER && n_offered(js) >= AGENT_OFFERED_MAX)
		r = -EUSERS;
	if (r == 0)
		r = set_values(j ? j : fresh, c, from->origin);
	if (r < 0) {
		job_free(fresh);
		return r;
	}
	if (fresh)
		list_append(&js->all, &fresh->node);
	j = j ? j : fresh;
	j->origin = from->origin;
	begin_probing(j);
	if (is_own(j))
		js->ops->put(j, js->arg);
	if (ret_j)
		*ret_j = j;
	return 0;
}

void agent_jobs_remove(struct agent_job *j)
{
	struct agent_jobs *js = j->all;

	list_unlink(&j->node); /* it is found no more */
	js->ops->gone(j, js->arg);
	job_free(j);
}

static bool is_listed(const struct cfg_list *jobs, const char *name)
{
	const struct job_config *c = jobs->items;
	char buf[JOB_NAME_STRLEN];

	for (size_t i = 0; i < jobs->n; i++)
		if (strcmp(job_name(&c[i], buf), name) == 0)
			return true;
	return false;
}

int agent_jobs_put_file(struct agent_jobs *js, const struct cfg_list *jobs)
{
	const struct job_config *c = jobs->items;
	int r = 0;

	list_for_each_safe (it, &js->all) {
		struct agent_job *j = list_entry(it, struct agent_job, node);

		if (j->origin == AGENT_JOB_OF_FILE && !is_listed(jobs, j->name))
			agent_jobs_remove(j);
	}
	for (size_t i = 0; i < jobs->n && r == 0; i++) {
		uint64_t ends = ends_at(js, &c[i], AGENT_JOB_OF_FILE);
		if (!ends || ends > loop_now(js->loop)) /* or it has ended by itself */
			r = agent_jobs_put(js, &(struct agent_job_from){ .origin = AGENT_JOB_OF_FILE }, &c[i], NULL);
	}
	return r;
}

void agent_jobs_forget_server(struct agent_jobs *js, unsigned server)
{
	list_for_each (it, &js->all)
		list_entry(it, struct agent_job, node)->told[server] = (struct agent_job_told){ 0 };
}

/* ---- what may be reached ---- */

const char *agent_jobs_refuses(struct agent_jobs *js, const struct job_config *c, bool plain_allowed)
{
	struct addr a;

	if (!js->allow.n)
		return "the agent's list agent.allow is empty: it takes no jobs that are made on the server";
	if (!c->encrypt && !plain_allowed)
		return "the agent takes no jobs of the server that are not encrypted (agent.allow_plain)";
	if (addr_parse(text_of(c->target.host), 0, &a) == 0 && !prefixes_hold(&js->allow, &a))
		return "the agent's list agent.allow does not hold the target";
	return NULL; /* a name is looked at when it is resolved, for each connection */
}

unsigned agent_jobs_reach(struct agent_job *j, const struct agent_open *o,
			  void (*done)(const struct agent_target_answer *a, void *arg), void *arg,
			  struct agent_target **ret_t, const char **ret_text)
{
	const struct job_config *c = j->c;
	struct agent_target_ask a = {
		.host = c->target.host,
		.port = (uint16_t)((c->target.port ? c->target.port : c->port.first) + o->offset),
		.udp = o->udp,
		.connect_ms = c->connect_ms,
		.allow = list_of(j)
	};

	if (!c->enabled || o->udp != c->udp || (o->offset && o->offset >= job_ports(c))) {
		*ret_text = "the agent's job is another one by now";
		return WIRE_R_UNKNOWN_JOB;
	}
	if (c->proxy_protocol == ROUTE_PROXY_V2) {
		a.source = o->source;
		a.server = o->server;
	}
	if (agent_target_reach(j->all->loop, j->all->dns, &a, done, arg, ret_t) < 0) {
		*ret_text = "the agent is out of memory";
		return WIRE_R_MEMORY;
	}
	return WIRE_R_NONE;
}

/* ---- for people ---- */

static const char *const origins[] = {
	[AGENT_JOB_OF_FILE] = "file", [AGENT_JOB_OF_STORE] = "store", [AGENT_JOB_OF_SERVER] = "server"
};

static json_t *told_json(const struct agent_job_told *t, const struct agent_job_server *s)
{
	return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s}", "server", s->name, "state", t->state || !s->up ? job_state_text(t->state) : "told, no answer yet", "port", (int)t->port, "address", t->address,
			 "reason", t->reason ? wire_reason_label(t->reason) : "", "text", t->text);
}

json_t *agent_job_row(const struct agent_job *j, const struct agent_job_server *servers, unsigned n_servers)
{
	json_t *o = json_pack(
		"{s:s, s:s, s:b, s:b, s:b, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I}",
		"name", j->name, "origin", origins[j->origin], "locked",
		j->origin != AGENT_JOB_OF_STORE, "enabled", j->c->enabled, "encrypt", j->c->encrypt,
		"target_down", j->down, "target_error", j->down_why, "connections",
		(json_int_t)j->connections, "accepted", (json_int_t)j->accepted, "errors",
		(json_int_t)j->errors, "bytes_up", (json_int_t)j->bytes[0], "bytes_down",
		(json_int_t)j->bytes[1], "last_error", j->error, "last_error_at",
		(json_int_t)j->error_at, "expires_at", (json_int_t)(agent_job_expires(j) * 1000));
	json_t *told = json_array();

	if (!o)
		return NULL;
	json_object_set_new(o, "id", json_integer((json_int_t)j->id));
	json_object_set(o, "config", j->json);
	json_object_set(o, "port", json_object_get(j->json, "port"));
	json_object_set(o, "target", json_object_get(j->json, "target"));
	json_object_set_new(o, "protocol", json_string(j->c->udp ? "udp" : "tcp"));
	for (unsigned i = 0; i < n_servers; i++)
		if (is_own(j) || j->server == i)
			json_array_append_new(told, told_json(&j->told[i], &servers[i]));
	json_object_set_new(o, "servers", told);
	return o;
}
