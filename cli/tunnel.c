/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile tunnel status, control, jobs, connections, sockets, kick, reset, log-data, watch: the tunnel of a running stile-tunnel.
 * Agents and their enrolment are in tunnel_agents.c, jobs that are made on the server in tunnel_job.c.
 *
 * Marks of the tables: ---> a job that is started, -||- one that is interrupted, § encrypted.
 */
#include <string.h>
#include <time.h>
#include "cli/tunnel.h"
#include "common/json.h"
#include "common/text.h"

/* ---- status ---- */

static int run_status(struct cli *cli)
{
	json_t *st = NULL;
	int r = cli_ask(cli, RELAY_PROGRAM, "tunnel.status", NULL, &st);

	if (r == 0 && cli_has(cli, "json")) {
		print_json(st);
	} else if (r == 0) {
		printf("tunnel       ");
		print_clean(stdout, text_of_key(st, "name"));
		printf(", agents connect to ");
		print_strings(json_object_get(st, "listen"), ", ");
		if (*text_of_key(st, "public_name"))
			printf(" (%s)", text_of_key(st, "public_name"));
		printf("%s\nagents       %lld connected, with %lld jobs\n", json_is_true(json_object_get(st, "draining")) ? "; draining" : "",
		       number_of_key(st, "links"), number_of_key(st, "jobs"));
		printf("connections  %lld, in %lld workers\n", number_of_key(st, "connections"), number_of_key(st, "workers"));
		monitor_print(json_object_get(st, "monitor"));
	}
	json_decref(st);
	return r;
}

/* ---- control connections ---- */

static const struct column control_columns[] = {
	{ "id", "CONN", COL_COUNT },	  { "started", "SINCE", COL_TEXT },   { "age_ms", "FOR", COL_MS },
	{ "name", "NAME", COL_TEXT },	  { "type", "TYPE", COL_TEXT },	      { "version", "VERSION", COL_TEXT },
	{ "short", "IDENTITY", COL_TEXT }, { "host", "HOST", COL_TEXT },	      { "dns_name", "CALLED", COL_TEXT },
	{ "address", "ADDRESS", COL_TEXT }, { "sealed", "§", COL_TEXT },	      { "rtt", "RTT", COL_TEXT },
	{ "state_text", "STATE", COL_TEXT },
};

static void set_rtt(json_t *row)
{
	long long us = number_of_key(row, "rtt_us");

	json_object_set_new(row, "rtt", us ? json_sprintf("%lld.%03lld ms", us / 1000, us % 1000) : json_string(""));
}

static void polish_control(json_t *row)
{
	const char *identity = text_of_key(row, "identity"), *why = text_of_key(row, "why");
	bool up = json_is_true(json_object_get(row, "up"));

	row_set_time(row, "started", (time_t)(number_of_key(row, "started_at") / 1000));
	set_rtt(row);
	json_object_set_new(row, "short", json_sprintf("%.16s", strncmp(identity, "sha256:", 7) == 0 ? identity + 7 : identity));
	json_object_set_new(row, "sealed", json_string(up ? "§" : ""));
	if (up)
		json_object_set_new(row, "state_text", number_of_key(row, "reconnects") ? json_sprintf("connected, came back %lld times",
				    number_of_key(row, "reconnects")) : json_string("connected"));
	else if (!json_object_get(row, "state_text"))
		json_object_set_new(row, "state_text", json_sprintf("reconnecting %lld: %s", number_of_key(row, "reconnects") + 1, why));
}

static bool has_identity(const json_t *rows, const char *identity)
{
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row)
		if (strcmp(text_of_key(row, "identity"), identity) == 0)
			return true;
	return false;
}

/* Agents that are known and have no control connection: when they were seen last, and whence. */
static void add_disconnected(json_t *rows, const json_t *agents)
{
	size_t i;
	json_t *a, *row;
	char when[32];
	struct tm tm;

	json_array_foreach(agents, i, a) {
		time_t seen = (time_t)number_of_key(a, "last_seen");
		if (strcmp(text_of_key(a, "state"), "approved") != 0 || has_identity(rows, text_of_key(a, "fingerprint")))
			continue;
		when[0] = 0;
		if (seen && localtime_r(&seen, &tm))
			(void)strftime(when, sizeof when, "%F %T", &tm);
		row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "name", text_of_key(a, "name"), "type", "agent", "version",
				text_of_key(a, "program"), "identity", text_of_key(a, "fingerprint"), "host", text_of_key(a, "host"), "address",
				text_of_key(a, "address"), "up", 0);
		json_object_set_new(row, "state_text", seen ? json_sprintf("disconnected, last seen %s", when) :
							       json_string("disconnected, never seen"));
		json_array_append_new(rows, row);
	}
}

static int show_control(struct cli *cli, struct control_client *cl)
{
	json_t *links = NULL, *agents = NULL, *rows, *row;
	size_t i;
	int r = cli_call(cli, cl, "tunnel.links", NULL, &links);

	if (r == 0)
		r = cli_call(cli, cl, "tunnel.agents", NULL, &agents);
	rows = json_object_get(links, "rows");
	if (r == 0)
		add_disconnected(rows, json_object_get(agents, "rows"));
	json_array_foreach(rows, i, row)
		if (r == 0 && !cli_has(cli, "json"))
			polish_control(row);
	if (r == 0 && cli_has(cli, "json"))
		print_json(rows);
	else if (r == 0 && json_array_size(rows))
		print_table(stdout, control_columns, ARRAY_LEN(control_columns), rows);
	else if (r == 0)
		printf("no agents are known; stile tunnel enrol NAME makes a code for one\n");
	json_decref(links);
	json_decref(agents);
	return r;
}

static int run_control(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	int r = cli_connect(cli, RELAY_PROGRAM, &cl);

	if (!r)
		r = show_control(cli, cl);
	while (r == 0 && cli_has(cli, "watch") && table_next(cli))
		r = show_control(cli, cl);
	return r;
}

/* ---- jobs ---- */

static const struct column job_columns[] = {
	{ "number", "JOB", COL_COUNT },	     { "link", "CONN", COL_COUNT },	 { "agent", "AGENT", COL_TEXT },
	{ "name", "NAME", COL_TEXT },	     { "address", "REACHED AT", COL_TEXT }, { "mark", "", COL_TEXT },
	{ "target", "TARGET", COL_TEXT },    { "lan", "AGENT'S LAN", COL_TEXT }, { "protocol", "", COL_TEXT },
	{ "sealed", "§", COL_TEXT },	     { "state", "STATE", COL_TEXT },	 { "connections", "CONNS", COL_COUNT },
	{ "errors", "ERRORS", COL_COUNT },   { "bytes_up", "UP", COL_BYTES },	 { "bytes_down", "DOWN", COL_BYTES },
	{ "told", "REASON, LAST ERROR", COL_TEXT },
};

static void polish_job(json_t *row)
{
	const char *reason = text_of_key(row, "reason");

	json_object_set_new(row, "told", json_string(*reason ? reason : text_of_key(row, "last_error")));
}

static int run_jobs(struct cli *cli)
{
	json_t *args = cli->n_words ? json_pack("{s:s}", "agent", cli->words[0]) : NULL;
	int r = table_show(cli, &(struct table_ask){ .program = RELAY_PROGRAM, .verb = "tunnel.jobs", .args = args, .columns = job_columns,
						     .n_columns = ARRAY_LEN(job_columns), .none = "no jobs of connected agents", .polish = polish_job });

	json_decref(args);
	return r;
}

/* ---- connections ---- */

static const struct column connection_columns[] = {
	{ "id", "DATA", COL_COUNT },	     { "job_number", "JOB", COL_COUNT },  { "link", "CONN", COL_COUNT },
	{ "job", "NAME", COL_TEXT },	     { "started", "SINCE", COL_TEXT },	  { "age_ms", "FOR", COL_MS },
	{ "state", "STATE", COL_TEXT },	     { "sealed", "§", COL_TEXT },
	{ "source", "SOURCE", COL_TEXT },    { "source_name", "CALLED", COL_TEXT }, { "way", "ON THE WAY", COL_TEXT },
	{ "target", "TARGET", COL_TEXT },    { "bytes_up", "UP", COL_BYTES },	  { "rate_up", "UP/s", COL_BYTES },
	{ "bytes_down", "DOWN", COL_BYTES }, { "rate_down", "DOWN/s", COL_BYTES },
};

/* Every address between source and target: where it came in, the carrier's two ends, the agent's own. */
static void polish_connection(json_t *row)
{
	row_set_time(row, "started", (time_t)(number_of_key(row, "opened_at") / 1000));
	json_object_set_new(row, "way", json_sprintf("%s | %s < %s | %s", text_of_key(row, "listener"), text_of_key(row, "carrier_server"),
						     text_of_key(row, "carrier_agent"), text_of_key(row, "agent_local")));
}

/* "AGENT", "AGENT/JOB" */
static json_t *agent_and_job(const char *word)
{
	struct text rest = text_of(word), agent = text_cut(&rest, '/');
	json_t *args = json_object();

	json_object_set_new(args, "agent", json_stringn(agent.p, agent.n));
	if (rest.p)
		json_object_set_new(args, "job", json_stringn(rest.p, rest.n));
	return args;
}

static int run_connections(struct cli *cli)
{
	json_t *args = cli->n_words ? agent_and_job(cli->words[0]) : NULL;
	int r = table_show(cli, &(struct table_ask){ .program = RELAY_PROGRAM, .verb = "tunnel.connections", .args = args,
						     .columns = connection_columns, .n_columns = ARRAY_LEN(connection_columns),
						     .none = "no data connections", .polish = polish_connection, .pages = true });

	json_decref(args);
	return r;
}

/* ---- sockets ---- */

static const struct column socket_columns[] = {
	{ "what", "WHAT", COL_TEXT },	       { "agent", "AGENT", COL_TEXT },	    { "job", "JOB", COL_TEXT },
	{ "connection", "DATA", COL_COUNT },   { "protocol", "", COL_TEXT },	    { "state", "STATE", COL_TEXT },
	{ "local", "LOCAL", COL_TEXT },	       { "peer", "PEER", COL_TEXT },	    { "recv_queue", "RECV-Q", COL_COUNT },
	{ "send_queue", "SEND-Q", COL_COUNT }, { "rtt", "RTT", COL_TEXT },	    { "retransmits", "RETRANS", COL_COUNT },
	{ "lost", "LOST", COL_COUNT },
};

static void polish_socket(json_t *row)
{
	set_rtt(row);
}

static int run_sockets(struct cli *cli)
{
	return table_show(cli, &(struct table_ask){ .program = RELAY_PROGRAM, .verb = "tunnel.sockets", .columns = socket_columns,
						    .n_columns = ARRAY_LEN(socket_columns), .none = "no sockets", .polish = polish_socket });
}

/* ---- links between agents ---- */

static const struct column path_columns[] = {
	{ "agent", "AGENT", COL_TEXT }, { "peer", "TO", COL_TEXT }, { "role", "ROLE", COL_TEXT }, { "state", "STATE", COL_TEXT },
	{ "path", "PATH", COL_TEXT }, { "rtt", "RTT", COL_TEXT }, { "connections", "CONNS", COL_COUNT }, { "reason", "WHY NOT BETTER", COL_TEXT },
};

static int run_paths(struct cli *cli)
{
	return table_show(cli, &(struct table_ask){ .program = RELAY_PROGRAM, .verb = "tunnel.paths", .columns = path_columns,
						    .n_columns = ARRAY_LEN(path_columns), .none = "no agent tells of a link to another one", .polish = polish_socket });
}

/* ---- what may be done ---- */

/* A number, or "AGENT", "AGENT/JOB". */
static json_t *which(const char *word)
{
	uint64_t id;

	if (text_u64(text_of(word), &id) == 0 && id <= INT64_MAX)
		return json_pack("{s:I}", "id", (json_int_t)id);
	return agent_and_job(word);
}

static int tell_count(struct cli *cli, const char *verb, json_t *args, const char *key, const char *what)
{
	json_t *result = NULL;
	int r = cli_ask(cli, RELAY_PROGRAM, verb, args, &result);

	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		printf("%lld %s\n", number_of_key(result, key), what);
	json_decref(result);
	return r;
}

static int run_kick(struct cli *cli)
{
	return tell_count(cli, "tunnel.kick", which(cli->words[0]), "connections", "data connections are ended");
}

static int run_drop(struct cli *cli)
{
	bool over = cli_has(cli, "over");

	return cli_do(cli, RELAY_PROGRAM, "tunnel.drop", json_pack("{s:s, s:b}", "agent", cli->words[0], "over", over),
		      over ? "the agent is disconnected, and may come back in a minute" : "the control connection is closed; the agent comes back", "");
}

static int run_reset(struct cli *cli)
{
	return tell_count(cli, "tunnel.reset", cli->n_words ? agent_and_job(cli->words[0]) : NULL, "jobs", "jobs count from zero");
}

static int run_metrics(struct cli *cli)
{
	return cli_metrics(cli, RELAY_PROGRAM, "relay.metrics");
}

static int run_log_data(struct cli *cli)
{
	bool on = strcmp(cli->words[0], "on") == 0;
	json_t *args;

	if (!on && strcmp(cli->words[0], "off") != 0)
		return cli_wrong(cli, "first on or off, then the connection, AGENT or AGENT/JOB");
	args = which(cli->words[1]);
	json_object_set_new(args, "on", json_boolean(on));
	return tell_count(cli, "tunnel.log", args, "connections", on ? "data connections are logged now" : "data connections are no longer logged");
}

static const struct option_row table_options[] = {
	{ "watch", 'w', NULL, "show it again every second, until Ctrl-C", false },
};
static const struct option_row connection_options[] = {
	{ "limit", 'n', "N", "show at most N (default 1000)", false },
	{ "watch", 'w', NULL, "show it again every second, until Ctrl-C", false },
};

static const struct option_row drop_options[] = {
	{ "over", 0, NULL, "its data connections end, too, and it stays away for a minute", false },
};

static const struct command rows[] = {
	{ "tunnel status", "", "the tunnel server, its agents and what it uses of the machine", NULL, NULL, 0, 0, 0, run_status, WITHOUT_CONFIG },
	{ "tunnel control", "", "control connections of agents: since when, who, whence, round-trip time, and why one is not there",
	  "All agents that are known; those that are not connected with when they were seen last.", table_options, ARRAY_LEN(table_options),
	  0, 0, run_control, WITHOUT_CONFIG },
	{ "tunnel jobs", "[AGENT]", "forward jobs of connected agents, and those interrupted here of others: state, addresses, connections, errors",
	  "---> is a job that is started, -||- one that is interrupted; § is encrypted. CONN is the number of its agent's control\n"
	  "connection (stile tunnel agents). UP is from the source to the target.",
	  table_options, ARRAY_LEN(table_options), 0, 1, run_jobs, WITHOUT_CONFIG },
	{ "tunnel connections", "[AGENT[/JOB]]", "data connections: both ends and every address on the way, bytes and rates",
	  "On the way: where the source came in, the server's and the agent's end of the carrier, the agent's end towards the\n"
	  "target. DATA is what stile tunnel kick and watch take.",
	  connection_options, ARRAY_LEN(connection_options), 0, 1, run_connections, WITHOUT_CONFIG },
	{ "tunnel sockets", "", "the service's sockets as the kernel sees them: queues, round-trip time, retransmissions", NULL,
	  table_options, ARRAY_LEN(table_options), 0, 0, run_sockets, WITHOUT_CONFIG },
	{ "tunnel paths", "", "links between agents: direct or relayed, and why", NULL, table_options, ARRAY_LEN(table_options), 0, 0, run_paths, WITHOUT_CONFIG },
	{ "tunnel kick", "DATA|AGENT[/JOB]", "end a data connection, or all of a job or an agent",
	  "A source that may connect can do so again at once.", NULL, 0, 1, 1, run_kick, WITHOUT_CONFIG },
	{ "tunnel drop", "AGENT", "close the control connection of an agent; it comes back, and its data connections go on",
	  NULL, drop_options, ARRAY_LEN(drop_options), 1, 1, run_drop, WITHOUT_CONFIG },
	{ "tunnel reset", "[AGENT[/JOB]]", "let the counters of jobs begin at zero", NULL, NULL, 0, 0, 1, run_reset, WITHOUT_CONFIG },
	{ "tunnel log-data", "on|off DATA|AGENT[/JOB]", "write every byte of data connections to data logs, or stop it",
	  "Needs tunnel.records.dir. Of AGENT/JOB those to come, too, until it is switched off or the service restarts.", NULL, 0, 2, 2, run_log_data, WITHOUT_CONFIG },
	{ "tunnel metrics", "[NAME]", "counters of stile-tunnel, in the form that Prometheus reads",
	  "NAME is a part of the names to show. docs/metrics.md explains each.", NULL, 0, 0, 1, run_metrics, WITHOUT_CONFIG },
};
const struct command_table tunnel_commands = { rows, ARRAY_LEN(rows) };
