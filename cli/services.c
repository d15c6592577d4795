/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands for one running service, over its control socket: reload and log level.
 *
 * What all of them have to say together is cli/status.c's.
 * A service that does not run has no socket to be asked by.
 */
#include <string.h>
#include "cli/command.h"
#include "cli/services.h"
#include "common/log.h"
#include "common/text.h"

static const char THE_FIRST[] = "turn"; /* if none is named */

/* "  turn.limits.allocations  10000 → 20000", keys in one column. */
static void print_changes(const json_t *result)
{
	const json_t *rows = json_object_get(result, "changes"), *row;
	long long more = (long long)json_integer_value(json_object_get(result, "more"));
	int width = 0;
	size_t i;

	json_array_foreach(rows, i, row)
		width = MAX(width, (int)json_string_length(json_object_get(row, "key")));
	json_array_foreach(rows, i, row) {
		const char *was = json_string_value(json_object_get(row, "was")), *is = json_string_value(json_object_get(row, "is"));
		printf("  %-*s  ", MIN(width, 60), json_string_value(json_object_get(row, "key")));
		print_clean(stdout, was ? was : json_string_value(json_object_get(row, "what")));
		if (is) {
			fputs(" → ", stdout);
			print_clean(stdout, is);
		}
		puts(json_is_true(json_object_get(row, "restart")) ? "  (needs a restart)" : "");
	}
	if (more)
		printf("  and %lld more\n", more);
}

static void print_reload(const char *program, const json_t *result)
{
	bool dry = json_is_true(json_object_get(result, "dry_run"));
	const char *restart = json_string_value(json_object_get(result, "restart_needed"));
	size_t n = json_array_size(json_object_get(result, "changes"));

	if (dry)
		printf(n ? "a reload of %s would change:\n" : "a reload of %s would change nothing\n", program);
	else
		printf("%s has read its configuration again; %s\n", program, n ? "changed:" : "nothing has changed");
	print_changes(result);
	if (!dry && restart && *restart)
		printf("at work with old values, because they need a restart: %s\n", restart);
}

static int run_reload(struct cli *cli)
{
	char program[SERVICE_NAME];
	json_t *result;
	int r = services_name(cli, cli->n_words ? cli->words[0] : THE_FIRST, "", program);

	if (r)
		return r;
	r = cli_ask(cli, program, "service.reload",
			 cli_has(cli, "dry-run") ? json_pack("{s:b}", "dry_run", 1) : NULL, &result);
	if (r)
		return r;
	if (cli_has(cli, "json"))
		print_json(result);
	else
		print_reload(program, result);
	json_decref(result);
	return 0;
}

/* "log level", "log level turn", "log level debug", "log level turn debug". */
static int run_log_level(struct cli *cli)
{
	const char *level = cli->n_words ? cli->words[cli->n_words - 1] : NULL;
	char program[SERVICE_NAME];
	enum log_level parsed;
	json_t *result;
	int r;

	if (level && log_level_parse(text_of(level), &parsed) < 0) {
		if (cli->n_words == 2)
			return cli_wrong(cli, "a level is error, warn, info, debug or trace, not '%s'", level);
		level = NULL;
	}
	r = services_name(cli, cli->n_words && (cli->n_words == 2 || !level) ? cli->words[0] : THE_FIRST, "", program);
	if (r)
		return r;
	r = cli_ask(cli, program, "log.level", level ? json_pack("{s:s}", "level", level) : NULL, &result);
	if (r)
		return r;
	if (cli_has(cli, "json"))
		print_json(result);
	else
		printf("%s logs at level %s\n", program, json_string_value(json_object_get(result, "level")));
	json_decref(result);
	return 0;
}

static const struct option_row reload_options[] = {
	{ "dry-run", 0, NULL, "only show what would change; nothing is applied" },
};

static const struct command rows[] = {
	{ "reload", "[SERVICE]", "make a service read its configuration again",
	  "The same as SIGHUP, with the outcome: what has changed, key by key. A bad file leaves the old configuration\n"
	  "at work, and keys that only a restart applies are named. Sessions go on; a renewed certificate is for who\n"
	  "connects from now on. SERVICE is turn (if none is named), tunnel, agent, sip, fastpath, console or gateway; turn@lab is\n"
	  "the instance lab.",
	  reload_options, ARRAY_LEN(reload_options), 0, 1, run_reload, WITHOUT_CONFIG },
	{ "log level", "[SERVICE] [LEVEL]", "show or change the log level of a running service",
	  "Levels: error, warn, info, debug, trace. The change lasts until the next reload or restart. SERVICE is as for\n"
	  "stile reload.",
	  NULL, 0, 0, 2, run_log_level, WITHOUT_CONFIG },
};
const struct command_table service_commands = { rows, ARRAY_LEN(rows) };
