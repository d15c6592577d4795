/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile agent enrol, stile agent identity: an agent and the servers that it knows, asked of a running
 * stile-agent.
 *
 * The code may be given in several words, as it was read out.
 */
#include <stdio.h>
#include <string.h>
#include "cli/command.h"
#include "cli/tunnel.h"
#include "common/bytes.h"
#include "common/json.h"
#include "common/text.h"

enum { CODE_MAX = 512 };

static void print_identity(const json_t *result)
{
	json_t *row;
	size_t i;

	printf("this agent  %s\n", text_of_key(result, "fingerprint"));
	json_array_foreach(json_object_get(result, "servers"), i, row)
	{
		printf("server      ");
		print_clean(stdout, text_of_key(row, "server"));
		printf("%s\n", json_is_true(json_object_get(row, "enrolled"))
				       ? ""
				       : "  (has not let this agent in yet)");
		printf("  root      %s\n", *text_of_key(row, "root") ? text_of_key(row, "root") : "not pinned");
		if (*text_of_key(row, "shown"))
			printf("  shows     %s\n", text_of_key(row, "shown"));
		if (*text_of_key(row, "successor"))
			printf("  successor %s\n", text_of_key(row, "successor"));
		if (*text_of_key(row, "way"))
			printf("  reached   at %s\n", text_of_key(row, "way"));
	}
}

static int run_identity(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *result = NULL;
	int r = cli_connect(cli, AGENT_PROGRAM, &cl);

	if (r == 0)
		r = cli_call(cli, cl, "agent.identity", NULL, &result);
	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		print_identity(result);
	json_decref(result);
	return r;
}

static int run_enrol(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	char code[CODE_MAX] = "";
	json_t *args, *result = NULL;
	int r;

	for (unsigned i = 0; i < cli->n_words; i++)
		text_append(code, sizeof(code), cli->words[i]);
	args = json_pack("{s:s}", "code", code);
	bytes_wipe(code, sizeof(code));
	if (cli_has(cli, "server"))
		json_object_set_new(args, "server", json_string(cli_option(cli, "server")));
	r = cli_connect(cli, AGENT_PROGRAM, &cl);
	if (r) {
		json_decref(args);
		return r;
	}
	r = cli_call(cli, cl, "agent.enrol", args, &result);
	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		printf("enrolled at %s\n", text_of_key(result, "server"));
	json_decref(result);
	return r;
}

static const struct option_row enrol_options[] = {
	{ "server", 0, "HOST:PORT", "which of the agent's servers, if the code does not say" },
};

static const struct command rows[] = {
	{ "agent enrol", "CODE", "enrol this agent with a code of stile tunnel enrol, at once",
	  "Blanks, dashes, small letters, O for 0 and I or L for 1 do not matter.", enrol_options,
	  ARRAY_LEN(enrol_options), 1, CLI_MAX_WORDS, run_enrol, WITHOUT_CONFIG },
	{ "agent identity", "", "the fingerprint of this agent, and what is pinned of its servers",
	  NULL, NULL, 0, 0, 0, run_identity, WITHOUT_CONFIG },
};
const struct command_table agent_enrol_commands = { rows, ARRAY_LEN(rows) };
