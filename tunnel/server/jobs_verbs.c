/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control verbs of the tunnel's jobs: the three tables, sockets, what may be done with a connection or a job, the
 * counters, and the state of the whole. Those of jobs made here are in jobs_offer.c, of agents in agents_verbs.c.
 *
 * A job is named as AGENT and NAME apart; a connection by its number.
 */
#include <errno.h>
#include <string.h>
#include "common/json.h"
#include "tunnel/log_msgs.h"
#include "tunnel/server/jobs_priv.h"

enum { PAGE = 200, PAGE_MAX = 1000, KICK_S = 60 };

static void verb_status(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_jobs *j = arg;
	json_t *listen = json_array(), *monitor;
	const struct cfg_endpoint *l = j->config->listen.items;
	char buf[ADDR_STRLEN];

	(void)args;
	for (size_t i = 0; i < j->config->listen.n; i++)
		json_array_append_new(listen, l[i].path[0] ? json_sprintf("unix:%s", l[i].path) : json_string(addr_print(&l[i].at, buf)));
	j->monitor.lag_ms = jobs_lag_ms(j);
	monitor_sample(&j->monitor, loop_now(j->loop));
	monitor = monitor_json(&j->monitor);
	control_reply(rq, json_pack("{s:s, s:s, s:b, s:o, s:I, s:I, s:I, s:i, s:b, s:o}", "name", j->config->name ? j->config->name : j->host,
		"public_name", j->config->public_name ? j->config->public_name : "", "accept", j->config->accept, "listen", listen, "links",
		(json_int_t)tunnel_jobs_links(j), "jobs", (json_int_t)tunnel_jobs_count(j), "connections",
		(json_int_t)tunnel_jobs_connections(j), "workers", (int)j->n_workers, "draining", j->o.svc->draining, "monitor", monitor));
}

static void verb_links(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	control_reply(rq, json_pack("{s:o}", "rows", jobs_links_json(arg)));
}

static void verb_jobs(struct control_request *rq, const json_t *args, void *arg)
{
	control_reply(rq, json_pack("{s:o}", "rows", jobs_rows_json(arg, word_of_key(args, "agent"))));
}

static void verb_connections(struct control_request *rq, const json_t *args, void *arg)
{
	json_int_t limit = json_integer_value(json_object_get(args, "limit"));
	struct jobs_page p = { .agent = word_of_key(args, "agent"), .job = word_of_key(args, "job"),
			       .limit = limit > 0 ? (unsigned)MIN(limit, PAGE_MAX) : PAGE,
			       .cursor = (uint64_t)json_integer_value(json_object_get(args, "cursor")) };

	control_reply(rq, jobs_connections_json(arg, &p));
}

static void verb_paths(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	control_reply(rq, json_pack("{s:o}", "rows", paths_json(arg)));
}

static void verb_sockets(struct control_request *rq, const json_t *args, void *arg)
{
	json_t *rows = jobs_sockets_json(arg);

	(void)args;
	if (rows)
		control_reply(rq, json_pack("{s:o}", "rows", rows));
	else
		control_fail(rq, "failed", "RestrictAddressFamilies of the unit must hold AF_NETLINK", "the kernel does not tell of its sockets");
}

/* True if the request was ended. */
static bool acted(struct tunnel_jobs *j, struct control_request *rq, const json_t *args, enum job_act one)
{
	const json_t *id = json_object_get(args, "id");
	json_int_t n = json_integer_value(id);
	int r;

	if (!json_is_integer(id))
		return false;
	r = jobs_act(j, (uint64_t)n, one);
	if (r == -ENOENT && one == JOB_LOG_ON)
		control_fail(rq, "failed", "stile tunnel connections; tunnel.records.dir must be set", "there is no connection %lld, or no folder "
			     "for data logs", n);
	else if (r == -ENOENT)
		control_fail(rq, "not-found", "stile tunnel connections", "there is no connection %lld", n);
	else if (r < 0)
		control_fail(rq, "failed", NULL, "connection %lld: %s", n, strerror(-r));
	else
		control_reply(rq, json_pack("{s:I, s:i}", "id", n, "connections", 1));
	return true;
}

static void verb_kick(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_jobs *j = arg;
	const char *agent = word_of_key(args, "agent"), *job = word_of_key(args, "job");
	unsigned n;

	log_emit(&MSG_TUNNEL_KICKED, LF_STR("by", control_request_who(rq)), LF_STR("agent", agent ? agent : ""), LF_STR("job", job ? job : ""),
		 LF_I64("connection", json_integer_value(json_object_get(args, "id"))));
	if (acted(j, rq, args, JOB_KICK))
		return;
	if (!agent) {
		control_fail(rq, "bad-request", "stile tunnel connections shows the numbers", "id must be a number, or agent a name");
		return;
	}
	n = jobs_act_all(j, agent, job, JOB_KICK);
	control_reply(rq, json_pack("{s:i}", "connections", (int)n));
}

/* The control connection of one agent: what an operator does when a site hangs, or must be out for a moment. */
static void verb_drop(struct control_request *rq, const json_t *args, void *arg)
{
	const char *agent = word_of_key(args, "agent");
	struct jobs_departure d = { .agent = agent, .why = "closed by an operator", .over = json_is_true(json_object_get(args, "over")),
				    .retry_after_s = KICK_S };

	if (!agent) {
		control_fail(rq, "bad-request", "stile tunnel control shows the names", "agent must be the name of an agent");
		return;
	}
	if (!jobs_depart(arg, &d)) {
		control_fail(rq, "not-found", "stile tunnel control", "the agent %s is not connected", agent);
		return;
	}
	log_emit(&MSG_TUNNEL_DROPPED, LF_STR("by", control_request_who(rq)), LF_STR("agent", agent), LF_BOOL("over", d.over));
	control_reply(rq, json_pack("{s:s, s:b}", "agent", agent, "over", d.over));
}

static void verb_log(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_jobs *j = arg;
	bool on = json_is_true(json_object_get(args, "on"));
	enum job_act what = on ? JOB_LOG_ON : JOB_LOG_OFF;

	if (acted(j, rq, args, what))
		return;
	if (!word_of_key(args, "agent"))
		control_fail(rq, "bad-request", "stile tunnel connections shows the numbers", "id must be a number, or agent a name");
	else
		control_reply(rq, json_pack("{s:i}", "connections", (int)jobs_act_all(j, word_of_key(args, "agent"), word_of_key(args, "job"), what)));
}

static void verb_reset(struct control_request *rq, const json_t *args, void *arg)
{
	unsigned n = jobs_reset(arg, word_of_key(args, "agent"), word_of_key(args, "job"));

	if (n || !word_of_key(args, "agent"))
		control_reply(rq, json_pack("{s:i}", "jobs", (int)n));
	else
		control_fail(rq, "not-found", "stile tunnel jobs", "there is no such job");
}

static void verb_watch(struct control_request *rq, const json_t *args, void *arg)
{
	watchers_ask(((struct tunnel_jobs *)arg)->watchers, rq, args);
}

static const struct control_verb verbs[] = {
	{ "tunnel.status", CONTROL_VIEWER, verb_status, "counts of agents, jobs and connections, and what the process uses of the machine" },
	{ "tunnel.links", CONTROL_VIEWER, verb_links, "control connections of agents: state, address, identity, round-trip time, carriers" },
	{ "tunnel.jobs", CONTROL_VIEWER, verb_jobs, "{agent}: forward jobs with state, addresses, counters and last error" },
	{ "tunnel.connections", CONTROL_VIEWER, verb_connections, "{agent, job, limit, cursor}: data connections with every address on the way" },
	{ "tunnel.paths", CONTROL_VIEWER, verb_paths, "links between agents, as these tell: direct or relayed, and why" },
	{ "tunnel.sockets", CONTROL_VIEWER, verb_sockets, "the kernel's view of the service's sockets, with the job that each belongs to" },
	{ "tunnel.kick", CONTROL_OPERATOR, verb_kick, "{id} or {agent, job}: ends one data connection, or all of a job or an agent" },
	{ "tunnel.drop", CONTROL_OPERATOR, verb_drop, "{agent, over}: closes the agent's control connection, and it comes back with its data connections; over: "
						      "they end, and it stays away for a minute" },
	{ "tunnel.reset", CONTROL_OPERATOR, verb_reset, "{agent, job}: counters of jobs begin at zero" },
	{ "tunnel.log", CONTROL_OPERATOR, verb_log, "{id, on} or {agent, job, on}: data logs; of a job for connections to come, too" },
	{ "tunnel.watch", CONTROL_OPERATOR, verb_watch, "{id}: the bytes of one connection as progress, until it ends or the request is cancelled" },
};

void tunnel_jobs_add_verbs(struct tunnel_jobs *j)
{
	control_add_verbs(j->o.svc->control, verbs, ARRAY_LEN(verbs), j);
	jobs_offers_add_verbs(j);
}
