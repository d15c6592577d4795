/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile agent …: a running stile-agent: its servers, forward jobs and data connections; connect and disconnect; jobs made
 * while it runs. Enrolment and identity are in agent_enrol.c.
 * What is shown is what the service said, and nothing is kept.
 */
#include <string.h>
#include <unistd.h>
#include "cli/tunnel.h"
#include "common/json.h"
#include "common/text.h"

/* ---- status ---- */

static void print_server(const struct cli *cli, const json_t *s)
{
	const char *state = text_of_key(s, "state"), *why = text_of_key(s, "why");
	bool up = strcmp(state, "connected") == 0;
	char line[512];

	if (up)
		(void)snprintf(line, sizeof line, "connected to %.100s at %.60s as %.80s, %lld.%lld ms; %lld connections, %lld carriers (%lld ready)",
			       text_of_key(s, "name"), text_of_key(s, "address"), text_of_key(s, "known_as"), number_of_key(s, "rtt_us") / 1000,
			       number_of_key(s, "rtt_us") / 100 % 10, number_of_key(s, "connections"), number_of_key(s, "carriers"), number_of_key(s, "ready"));
	else
		(void)snprintf(line, sizeof line, "%.60s%s%.300s", state, *why ? ": " : "", why);
	print_check(cli, up, text_of_key(s, "server"), line);
}

static int run_status(struct cli *cli)
{
	json_t *st = NULL, *s;
	size_t i;
	int r = cli_ask(cli, AGENT_PROGRAM, "agent.status", NULL, &st);

	if (r == 0 && cli_has(cli, "json")) {
		print_json(st);
	} else if (r == 0) {
		printf("agent        ");
		print_clean(stdout, text_of_key(st, "name"));
		printf(", %s\njobs         %lld, with %lld connections\n", text_of_key(st, "identity"), number_of_key(st, "jobs"),
		       number_of_key(st, "connections"));
		monitor_print(json_object_get(st, "monitor"));
		printf("servers\n");
		json_array_foreach(json_object_get(st, "servers"), i, s)
			print_server(cli, s);
	}
	if (r == 0 && (size_t)number_of_key(st, "connected") < json_array_size(json_object_get(st, "servers")))
		r = EXIT_FAILED;
	json_decref(st);
	return r;
}

/* ---- jobs ---- */

static const struct column job_columns[] = {
	{ "name", "JOB", COL_TEXT },	       { "told_server", "SERVER", COL_TEXT },	{ "told_address", "REACHED AT", COL_TEXT },
	{ "mark", "", COL_TEXT },	       { "target", "TARGET", COL_TEXT },	{ "protocol", "", COL_TEXT },
	{ "sealed", "§", COL_TEXT },	       { "told_state", "STATE", COL_TEXT },	{ "origin", "FROM", COL_TEXT },
	{ "connections", "CONNS", COL_COUNT }, { "errors", "ERRORS", COL_COUNT },	{ "told", "REASON, LAST ERROR", COL_TEXT },
};

/* Of the first server; the JSON form has them all. */
static void polish_job(json_t *row)
{
	const json_t *s = json_array_get(json_object_get(row, "servers"), 0);
	const char *state = text_of_key(s, "state"), *text = text_of_key(s, "text");
	size_t more = json_array_size(json_object_get(row, "servers"));
	bool on = strcmp(state, "active") == 0 || strcmp(state, "target down") == 0;

	json_object_set_new(row, "told_server", more > 1 ? json_sprintf("%s +%zu", text_of_key(s, "server"), more - 1) :
							   json_string(text_of_key(s, "server")));
	json_object_set_new(row, "told_address", json_string(text_of_key(s, "address")));
	json_object_set_new(row, "told_state", json_string(state));
	json_object_set_new(row, "mark", json_string(on ? "--->" : "-||-"));
	json_object_set_new(row, "sealed", json_string(json_is_true(json_object_get(row, "encrypt")) ? "§" : ""));
	json_object_set_new(row, "told", json_string(*text ? text : text_of_key(row, "last_error")));
}

static int run_jobs(struct cli *cli)
{
	return table_show(cli, &(struct table_ask){ .program = AGENT_PROGRAM, .verb = "agent.jobs", .columns = job_columns,
						    .n_columns = ARRAY_LEN(job_columns), .none = "no jobs", .polish = polish_job });
}

static const struct column connection_columns[] = {
	{ "id", "DATA", COL_COUNT },	     { "server", "SERVER", COL_TEXT },	  { "job", "JOB", COL_TEXT },
	{ "state", "STATE", COL_TEXT },	     { "sealed", "§", COL_TEXT },	  { "source", "SOURCE", COL_TEXT },
	{ "listener", "CAME IN AT", COL_TEXT }, { "agent_local", "FROM", COL_TEXT }, { "target", "TARGET", COL_TEXT },
	{ "bytes_up", "UP", COL_BYTES },     { "rate_up", "UP/s", COL_BYTES },	  { "bytes_down", "DOWN", COL_BYTES },
	{ "rate_down", "DOWN/s", COL_BYTES }, { "age_ms", "AGE", COL_MS },
};

static int run_connections(struct cli *cli)
{
	json_t *args = cli->n_words ? json_pack("{s:s}", "job", cli->words[0]) : NULL;
	int r = table_show(cli, &(struct table_ask){ .program = AGENT_PROGRAM, .verb = "agent.connections", .args = args,
						     .columns = connection_columns, .n_columns = ARRAY_LEN(connection_columns),
						     .none = "no data connections" });

	json_decref(args);
	return r;
}

static int run_kick(struct cli *cli)
{
	uint64_t id;

	if (text_u64(text_of(cli->words[0]), &id) < 0 || id > INT64_MAX)
		return cli_wrong(cli, "DATA is a number; stile agent connections shows it");
	return cli_do(cli, AGENT_PROGRAM, "agent.kick", json_pack("{s:I}", "id", (json_int_t)id), "connection %s is ended", cli->words[0]);
}

/* ---- connect, disconnect ---- */

static json_t *server_word(const struct cli *cli)
{
	return cli->n_words ? json_pack("{s:s}", "server", cli->words[0]) : NULL;
}

static int run_connect(struct cli *cli)
{
	return cli_do(cli, AGENT_PROGRAM, "agent.connect", server_word(cli), "the agent connects; stile agent status shows how it goes", "");
}

static int run_disconnect(struct cli *cli)
{
	return cli_do(cli, AGENT_PROGRAM, "agent.disconnect", server_word(cli), "the agent is disconnected until stile agent connect", "");
}

/* ---- jobs made while it runs ---- */

/* Has every connected server said what becomes of it? */
static bool is_answered(const json_t *row)
{
	size_t i;
	json_t *s;

	json_array_foreach(json_object_get(row, "servers"), i, s)
		if (strncmp(text_of_key(s, "state"), "told", 4) == 0)
			return false;
	return true;
}

static json_t *row_called(const json_t *rows, const char *name)
{
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row)
		if (strcmp(text_of_key(row, "name"), name) == 0 && strcmp(text_of_key(row, "origin"), "server") != 0)
			return json_incref(row);
	return NULL;
}

/* The servers' word takes a round trip: it is waited for a moment. Takes row. */
static json_t *settled(struct cli *cli, struct control_client *cl, json_t *row)
{
	for (int i = 0; i < 20 && row && !is_answered(row); i++) {
		json_t *all = NULL, *fresh;

		(void)usleep(100000);
		if (cli_call(cli, cl, "agent.jobs", NULL, &all))
			break;
		fresh = row_called(json_object_get(all, "rows"), text_of_key(row, "name"));
		json_decref(all);
		if (!fresh)
			break;
		json_decref(row);
		row = fresh;
	}
	return row;
}

static int put(struct cli *cli, const char *verb, json_t *args)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *result = NULL;
	int r = cli_connect(cli, AGENT_PROGRAM, &cl);

	if (r) {
		json_decref(args);
		return r;
	}
	r = cli_call(cli, cl, verb, args, &result);
	if (r == 0) {
		result = settled(cli, cl, result);
		r = job_told(cli, result, text_of_key(result, "name"));
	}
	json_decref(result);
	return r;
}

static int run_add(struct cli *cli)
{
	return put(cli, "agent.job.add", json_pack("{s:o, s:b}", "job", job_of_words(cli, 0), "replace", cli_has(cli, "replace")));
}

static int run_change(struct cli *cli)
{
	json_t *job = json_object();

	job_options_into(cli, job);
	if (json_object_size(job))
		return put(cli, "agent.job.change", json_pack("{s:s, s:o}", "name", cli->words[0], "job", job));
	json_decref(job);
	return cli_wrong(cli, "nothing to change: give an option, as --target HOST:PORT");
}

static int run_start(struct cli *cli)
{
	return put(cli, "agent.job.start", cli_named(cli));
}

static int run_stop(struct cli *cli)
{
	return cli_do(cli, AGENT_PROGRAM, "agent.job.stop", cli_named(cli), "job %s is interrupted", cli->words[0]);
}

static int run_delete(struct cli *cli)
{
	return cli_do(cli, AGENT_PROGRAM, "agent.job.delete", cli_named(cli), "job %s is deleted", cli->words[0]);
}

static const struct option_row table_options[] = {
	{ "watch", 'w', NULL, "show it again every second, until Ctrl-C", false },
};
static const struct option_row change_options[] = {
	{ "port", 0, "PORT", "another port of the server, a range, or *", false },
	{ "target", 0, "HOST:PORT", "another target", false },
	{ "bind", 0, "ADDRESS", "address of the server on which the port appears", false },
	{ "allow", 0, "PREFIXES", "where sources may come from; \"\": from everywhere", false },
	{ "expire", 0, "TIME", "when it ends by itself: 2h, or \"2026-12-01 18:00\"", false },
	{ "limit", 0, "N", "connections at a time", false },
	{ "bitrate", 0, "RATE", "of all connections together: 20Mbit/s", false },
	{ "proxy-protocol", 0, "v2|off", "tell the target the source's address", false },
	{ "health-check", 0, "TIME", "try the target so often; 0s: never", false },
	{ "note", 0, "TEXT", "for people", false },
};

static const struct command rows[] = {
	{ "agent status", "", "the agent's servers, and whether each is connected", "Exit 1 if one is not; the line with ✘ says why.",
	  NULL, 0, 0, 0, run_status, WITHOUT_CONFIG },
	{ "agent jobs", "", "forward jobs of the file, of the store and of servers, with what the servers say",
	  "---> is a job that is started, -||- one that is interrupted; § is encrypted.", table_options, ARRAY_LEN(table_options), 0, 0,
	  run_jobs, WITHOUT_CONFIG },
	{ "agent connections", "[JOB]", "data connections at the agent: both ends, bytes and rates", NULL, table_options,
	  ARRAY_LEN(table_options), 0, 1, run_connections, WITHOUT_CONFIG },
	{ "agent kick", "DATA", "end a data connection", NULL, NULL, 0, 1, 1, run_kick, WITHOUT_CONFIG },
	{ "agent connect", "[SERVER]", "connect to the servers, and stay connected", NULL, NULL, 0, 0, 1, run_connect, WITHOUT_CONFIG },
	{ "agent disconnect", "[SERVER]", "disconnect until told to connect; data connections end", NULL, NULL, 0, 0, 1, run_disconnect,
	  WITHOUT_CONFIG },
	{ "agent job add", "PORT HOST [TPORT]", "make a forward job, at once: the server's PORT leads to HOST",
	  "PORT is a port of the server, a range, or * for one that the server chooses. HOST is a name or an address, with its port\n"
	  "behind a colon or in TPORT. The job is kept in the agent's store. The keys are those of agent.jobs: man 5 stile.yaml.",
	  job_options, JOB_OPTIONS, 2, 3, run_add, WITHOUT_CONFIG },
	{ "agent job change", "JOB", "give a job of the store other values; its connections go on where they can", NULL, change_options,
	  ARRAY_LEN(change_options), 1, 1, run_change, WITHOUT_CONFIG },
	{ "agent job start", "JOB", "let a job of the store take connections", NULL, NULL, 0, 1, 1, run_start, WITHOUT_CONFIG },
	{ "agent job stop", "JOB", "interrupt a job of the store; its connections end", NULL, NULL, 0, 1, 1, run_stop, WITHOUT_CONFIG },
	{ "agent job delete", "JOB", "delete a job of the store; its connections end", NULL, NULL, 0, 1, 1, run_delete, WITHOUT_CONFIG },
};
const struct command_table agent_commands = { rows, ARRAY_LEN(rows) };
