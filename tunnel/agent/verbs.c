/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control verbs of the agent: its servers, jobs and data connections, what it uses of the machine, connect and disconnect.
 * Those that change jobs are in tunnel/agent/job_store.c; enrolment and identity are the dialer's.
 * Nothing here changes a job.
 */
#include <errno.h>
#include <string.h>
#include "common/json.h"
#include "tunnel/agent/service.h"

static json_t *server_json(const struct agent_end *e)
{
	struct agent_info i;
	struct dialer_info d;
	char a[ADDR_STRLEN], b[ADDR_STRLEN], c[ADDR_STRLEN], root[IDENTITY_STRLEN];
	const struct addr none = { 0 };
	bool up;

	agent_info(e->agent, &i);
	dialer_info(e->dialer, &d);
	up = i.state == AGENT_UP;
	return json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:I, s:i, s:i, s:i, s:i, s:I, "
			 "s:I, s:I}",
			 "number", (int)e->index, "server", e->server, "state", agent_state_names[i.state], "why", i.why, "since",
			 (json_int_t)i.since, "retry_in_ms", (json_int_t)i.retry_in_ms, "tries", (int)i.tries, "reconnects", (int)i.reconnects,
			 "known_as", i.name, "name", i.server_name, "version", i.server_program, "public_name", i.public_name, "address",
			 up ? addr_print(&i.server, a) : "", "local", up ? addr_print(&i.local, b) : "", "observed",
			 addr_family(&i.observed) != AF_UNSPEC ? addr_print(up ? &i.observed : &none, c) : "", "way", d.way, "encrypted", 1,
			 "fingerprint", d.pinned || d.enrolled ? identity_print(&d.root, root) : "", "rtt_us", (json_int_t)i.rtt_us, "carriers",
			 (int)i.carriers, "ready", (int)i.ready, "connections", (int)i.streams, "detached", (int)i.detached, "keepalive_ms",
			 (json_int_t)i.keepalive_ms, "bytes_up", (json_int_t)i.bytes[DATA_UP], "bytes_down", (json_int_t)i.bytes[DATA_DOWN]);
}

static void verb_status(struct control_request *rq, const json_t *args, void *arg)
{
	struct agent_service *as = arg;
	json_t *servers = json_array(), *rows = agent_jobs_json(as), *conns = agent_conns_json(as, NULL);
	const struct agent_config *c = agent_config_of(as);
	char id[IDENTITY_STRLEN];
	unsigned up = 0;

	(void)args;
	for (unsigned i = 0; i < as->n_ends; i++) {
		json_array_append_new(servers, server_json(&as->ends[i]));
		up += as->ends[i].state == AGENT_UP;
	}
	monitor_sample(&as->monitor, loop_now(as->svc->loop));
	control_reply(rq, json_pack("{s:s, s:s, s:s, s:o, s:i, s:i, s:i, s:o}", "name", c->name ? c->name : as->host, "host", as->host, "identity",
				    identity_print(identity_hash(dialers_identity(as->dialers)), id), "servers", servers, "connected", (int)up,
				    "jobs", (int)json_array_size(rows), "connections", (int)json_array_size(conns), "monitor",
				    monitor_json(&as->monitor)));
	json_decref(rows);
	json_decref(conns);
}

json_t *agent_jobs_json(struct agent_service *as)
{
	struct agent_job_server servers[AGENT_SERVERS_MAX];
	json_t *rows = json_array();

	for (unsigned i = 0; i < as->n_ends; i++)
		servers[i] = (struct agent_job_server){ as->ends[i].server, as->ends[i].state == AGENT_UP };
	list_for_each(it, agent_jobs_all(as->jobs))
		json_array_append_new(rows, agent_job_row(list_entry(it, struct agent_job, node), servers, as->n_ends));
	return rows;
}

static void verb_jobs(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	control_reply(rq, json_pack("{s:o}", "rows", agent_jobs_json(arg)));
}

static void verb_connections(struct control_request *rq, const json_t *args, void *arg)
{
	control_reply(rq, json_pack("{s:o}", "rows", agent_conns_json(arg, word_of_key(args, "job"))));
}

static void verb_kick(struct control_request *rq, const json_t *args, void *arg)
{
	const json_t *id = json_object_get(args, "id");

	if (!json_is_integer(id))
		control_fail(rq, "bad-request", "stile agent connections shows the numbers", "id must be a number");
	else if (agent_conns_kick(arg, (uint64_t)json_integer_value(id)) < 0)
		control_fail(rq, "not-found", "stile agent connections", "there is no connection %lld", json_integer_value(id));
	else
		control_reply(rq, json_pack("{s:O}", "id", (json_t *)id));
}

bool agent_end_is(const struct agent_end *e, const char *server)
{
	size_t n = strlen(server);

	return strncmp(e->server, server, n) == 0 && (!e->server[n] || e->server[n] == ':');
}

static void for_servers(struct agent_service *as, struct control_request *rq, const json_t *args, void (*fn)(struct agent *a))
{
	const char *server = word_of_key(args, "server");
	json_t *done = json_array();

	for (unsigned i = 0; i < as->n_ends; i++)
		if (!server || agent_end_is(&as->ends[i], server)) {
			fn(as->ends[i].agent);
			json_array_append_new(done, json_string(as->ends[i].server));
		}
	if (json_array_size(done)) {
		control_reply(rq, json_pack("{s:o}", "servers", done));
		return;
	}
	json_decref(done);
	control_fail(rq, "not-found", "stile agent status shows the servers", "this agent has no server %s", server ? server : "");
}

static void verb_connect(struct control_request *rq, const json_t *args, void *arg)
{
	for_servers(arg, rq, args, agent_connect);
}

static void verb_disconnect(struct control_request *rq, const json_t *args, void *arg)
{
	for_servers(arg, rq, args, agent_disconnect);
}

static const struct control_verb verbs[] = {
	{ "agent.status", CONTROL_VIEWER, verb_status, "servers with state, address and round-trip time; counts; what the process uses of the machine" },
	{ "agent.jobs", CONTROL_VIEWER, verb_jobs, "jobs of the file, of the store and of servers, with what each server says of them" },
	{ "agent.connections", CONTROL_VIEWER, verb_connections, "{job}: data connections with every address on the way" },
	{ "agent.kick", CONTROL_OPERATOR, verb_kick, "{id}: ends one data connection" },
	{ "agent.connect", CONTROL_OPERATOR, verb_connect, "{server}: connects, and stays connected" },
	{ "agent.disconnect", CONTROL_OPERATOR, verb_disconnect, "{server}: disconnects until told to connect; data connections end" },
};

void agent_add_verbs(struct agent_service *as)
{
	control_add_verbs(as->svc->control, verbs, ARRAY_LEN(verbs), as);
}
