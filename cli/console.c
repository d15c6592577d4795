/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about stile-console itself: where it is reached, the one-time token of the first login, and the way back in for
 * who has lost a password and has this machine.
 *
 * Accounts, tokens and sessions are cli/console_accounts.c's. All else that the console does are verbs of the services, which have
 * commands of their own.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cli/command.h"
#include "common/bytes.h"
#include "common/json.h"

static const char program[] = "stile-console";

static int run_setup(struct cli *cli)
{
	json_t *result = NULL;
	int r = cli_ask(cli, program, "console.setup", NULL, &result);

	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0 && json_is_true(json_object_get(result, "needed")))
		printf("address  %s\ntoken    %s\n\nOpen %s in a browser on this machine and make the first administrator. The token holds until "
		       "that is done, or the console is restarted.\n",
		       text_of_key(result, "url"), text_of_key(result, "token"), text_of_key(result, "link"));
	else if (r == 0)
		printf("the set-up is done; log in at %s\n", text_of_key(result, "url"));
	json_decref(result);
	return r;
}

static int run_status(struct cli *cli)
{
	json_t *result = NULL;
	int r = cli_ask(cli, program, "console.status", NULL, &result);

	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		printf("%s  accounts %lld, sessions %lld, tokens %lld, live pages %lld, connections %lld\n%s", text_of_key(result, "url"),
		       number_of_key(result, "users"), number_of_key(result, "sessions"), number_of_key(result, "tokens"), number_of_key(result, "streams"),
		       number_of_key(result, "connections"),
		       json_is_true(json_object_get(result, "setup_needed")) ? "it waits for its first administrator: stile console setup\n" : "");
	json_decref(result);
	return r;
}

static int run_password(struct cli *cli)
{
	json_t *result = NULL, *args;
	char password[300];
	int r = cli_read_secret(cli, "password", password, sizeof password);

	if (r)
		return r;
	args = json_pack("{s:s, s:s}", "user", cli->words[0], "password", password);
	bytes_wipe(password, sizeof password);
	if (!args)
		return cli_fail(cli, "name and password must be UTF-8");
	r = cli_ask(cli, program, "console.password", args, &result);
	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		printf("%s has a new password; one-time codes are off, sessions have ended\n", text_of_key(result, "user"));
	json_decref(result);
	return r;
}

static int run_metrics(struct cli *cli)
{
	return cli_metrics(cli, program, "console.metrics");
}

static const struct command rows[] = {
	{ .name = "console", .words = "", .summary = "where the console is reached, and who is there", .run = run_status },
	{ .name = "console setup", .words = "", .summary = "address and one-time token of the first login", .run = run_setup },
	{ .name = "console token", .words = "", .summary = "the same as console setup", .run = run_setup },
	{ .name = "console password", .words = "NAME", .min_words = 1, .max_words = 1,
	  .summary = "a new password for an account of the console",
	  .help = "For who can log in no more: it is read from the terminal or from standard input. One-time codes of the account are "
	  "switched off, and its sessions end.", .run = run_password },
	{ .name = "console metrics", .words = "", .summary = "counters of the console as Prometheus text", .run = run_metrics },
};
const struct command_table console_commands = { rows, ARRAY_LEN(rows) };
