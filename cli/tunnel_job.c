/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile tunnel job …: forward jobs made on the server's side. They are kept in the server's store and offered to their
 * agent, whose agent.allow must hold the target; jobs of the agent itself are changed there.
 * What is shown is what the service said, and nothing is kept.
 */
#include <string.h>
#include "cli/tunnel.h"

static const struct column columns[] = {
	{ "agent", "AGENT", COL_TEXT }, { "name", "JOB", COL_TEXT },	   { "port", "PORT", COL_TEXT },
	{ "target", "TARGET", COL_TEXT }, { "protocol", "", COL_TEXT }, { "answer", "THE AGENT SAYS", COL_TEXT },
};

static void polish(json_t *row)
{
	const json_t *job = json_object_get(row, "job");

	json_object_set(row, "port", json_object_get(job, "port"));
	json_object_set(row, "target", json_object_get(job, "target"));
	json_object_set(row, "protocol", json_object_get(job, "protocol"));
	if (!json_object_get(row, "answer"))
		json_object_set_new(row, "answer", json_string("(not yet: it was not asked)"));
}

static int run_list(struct cli *cli)
{
	return table_show(cli, &(struct table_ask){ .program = RELAY_PROGRAM, .verb = "tunnel.job.list", .columns = columns,
						    .n_columns = ARRAY_LEN(columns), .none = "no jobs were made here", .polish = polish });
}

static int run_add(struct cli *cli)
{
	json_t *args = json_pack("{s:s, s:o, s:b}", "agent", cli->words[0], "job", job_of_words(cli, 1), "replace", cli_has(cli, "replace"));

	return cli_do(cli, RELAY_PROGRAM, "tunnel.job.add", args, "the job is kept and offered to %s; stile tunnel jobs shows what becomes of it",
			 cli->words[0]);
}

static json_t *one(const struct cli *cli)
{
	return json_pack("{s:s, s:s}", "agent", cli->words[0], "name", cli->words[1]);
}

static int run_delete(struct cli *cli)
{
	return cli_do(cli, RELAY_PROGRAM, "tunnel.job.delete", one(cli), "job %s is deleted", cli->words[1]);
}

static int run_start(struct cli *cli)
{
	return cli_do(cli, RELAY_PROGRAM, "tunnel.job.start", one(cli), "job %s is started", cli->words[1]);
}

static int run_stop(struct cli *cli)
{
	return cli_do(cli, RELAY_PROGRAM, "tunnel.job.stop", one(cli), "job %s is interrupted", cli->words[1]);
}

static const struct command rows[] = {
	{ "tunnel job list", "", "jobs that were made on this side, with their agents' answers", NULL, NULL, 0, 0, 0, run_list, WITHOUT_CONFIG },
	{ "tunnel job add", "AGENT PORT HOST [TPORT]", "offer a forward job to an agent, now and whenever it comes",
	  "The agent takes it if its agent.allow holds the target. HOST is in a network of the agent's.", job_options, JOB_OPTIONS, 3, 4,
	  run_add, WITHOUT_CONFIG },
	{ "tunnel job delete", "AGENT JOB", "take such a job away; its connections end", NULL, NULL, 0, 2, 2, run_delete, WITHOUT_CONFIG },
	{ "tunnel job start", "AGENT JOB", "let a job take connections",
	  "Jobs that were made here, and those of the agent itself that were interrupted here, also while it is away.", NULL, 0, 2, 2,
	  run_start, WITHOUT_CONFIG },
	{ "tunnel job stop", "AGENT JOB", "interrupt a job; its connections end",
	  "A job of the agent itself, too: its port stays closed until it is started here again.", NULL, 0, 2, 2, run_stop, WITHOUT_CONFIG },
};
const struct command_table tunnel_job_commands = { rows, ARRAY_LEN(rows) };
