/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile ask: any verb of a service's control socket, with its arguments and its answer as JSON. Whatever can be asked can be
 * typed, also what has no command of its own; scripts get what the console gets.
 *
 * Without a verb the service's verbs are listed. Events and progress of long work are printed as they come.
 */
#include <string.h>
#include "cli/command.h"
#include "cli/services.h"
#include "common/manager.h"

enum { PATIENCE_MS = 120000 };

static const struct column verb_columns[] = {
	{ "verb", "VERB", COL_TEXT }, { "role", "ROLE", COL_TEXT }, { "help", "WHAT", COL_TEXT },
};

static int program_of(const struct cli *cli, const char *word, char out[static SERVICE_NAME])
{
	if (strcmp(word, MANAGER_SUPERVISOR) != 0 && strcmp(word, "supervisor") != 0)
		return services_name(cli, word, " supervisor", out);
	snprintf(out, SERVICE_NAME, MANAGER_SUPERVISOR);
	return 0;
}

static void on_progress(const json_t *progress, void *arg)
{
	(void)arg;
	json_dumpf(progress, stderr, JSON_COMPACT);
	fputc('\n', stderr);
}

static int parse_args(const struct cli *cli, json_t **ret_args)
{
	json_error_t e;

	*ret_args = NULL;
	if (cli->n_words < 3)
		return 0;
	*ret_args = json_loads(cli->words[2], JSON_REJECT_DUPLICATES, &e);
	if (json_is_object(*ret_args))
		return 0;
	json_decref(*ret_args);
	*ret_args = NULL;
	return cli_wrong(cli, "the arguments must be a JSON object, such as {\"limit\":10}");
}

static int run_ask(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	const char *verb = cli->n_words > 1 ? cli->words[1] : "verbs";
	char program[SERVICE_NAME];
	json_t *args, *result = NULL;
	int r = program_of(cli, cli->words[0], program);

	if (!r)
		r = parse_args(cli, &args);
	if (r)
		return r;
	r = cli_connect_patient(cli, program, PATIENCE_MS, &cl);
	if (r) {
		json_decref(args);
		return r;
	}
	control_on_progress(cl, on_progress, NULL);
	r = cli_call(cli, cl, verb, args, &result);
	if (r == 0 && cli->n_words < 2 && !cli_has(cli, "json"))
		print_table(stdout, verb_columns, ARRAY_LEN(verb_columns), json_object_get(result, "rows"));
	else if (r == 0)
		print_json(result);
	json_decref(result);
	return r;
}

static const struct command rows[] = {
	{ "ask", "SERVICE [VERB] [ARGS]", "call any verb of a service; without VERB list them",
	  "ARGS is a JSON object; the answer is printed as JSON. Lists come a page at a time: give the answer's cursor back.\n\n"
	  "  stile ask turn turn.sessions '{\"limit\":10}'\n"
	  "  stile ask sip service.health",
	  NULL, 0, 1, 3, run_ask, WITHOUT_CONFIG },
};
const struct command_table ask_commands = { rows, ARRAY_LEN(rows) };
