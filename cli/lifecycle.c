/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile start, stop, restart: asked of whoever manages the services (common/manager.h): systemd, or the supervisor. A
 * service that does not start says how it ended and its last error.
 *
 * Several services are done one after the other; a start goes in the order of the words, and the first that fails ends it.
 */
#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "cli/services.h"
#include "common/manager.h"

static void say_done(const json_t *row, const struct manager_order *o)
{
	long long pid = (long long)json_integer_value(json_object_get(row, "pid"));

	printf("%s%s%s ", o->program, *o->instance ? "@" : "", o->instance);
	if (o->action == MANAGER_STOP)
		printf("has stopped\n");
	else if (pid)
		printf("runs, pid %lld\n", pid);
	else
		printf("runs\n");
}

static int do_one(struct cli *cli, enum manager_action action, const char *word, json_t *all)
{
	char instance[64], err[MANAGER_ERRLEN] = "";
	const char *program, *given;
	struct manager_order o = { .action = action, .instance = instance };
	json_t *row = NULL;
	int r = services_word(cli, word, "", &program, &given);

	if (r)
		return r;
	snprintf(instance, sizeof instance, "%s", given ? given : "");
	o.program = program;
	r = manager_do(cli_runtime_dir(cli), &o, &row, err);
	if (r < 0)
		r = cli_fail(cli, "%s", err);
	else if (!cli_has(cli, "json"))
		say_done(row, &o);
	json_array_append_new(all, row ? row : json_pack("{s:s, s:s}", "program", program, "instance", instance));
	return r;
}

static int do_all(struct cli *cli, enum manager_action action)
{
	json_t *all = json_array();
	int r = 0;

	for (unsigned i = 0; i < cli->n_words && !r; i++)
		r = do_one(cli, action, cli->words[i], all);
	if (cli_has(cli, "json") && json_array_size(all))
		print_json(all);
	json_decref(all);
	return r;
}

static int run_start(struct cli *cli)
{
	return do_all(cli, MANAGER_START);
}

static int run_stop(struct cli *cli)
{
	return do_all(cli, MANAGER_STOP);
}

static int run_restart(struct cli *cli)
{
	return do_all(cli, MANAGER_RESTART);
}

#define BY_WHOM                                                                                                                    \
	"systemd does it, or the supervisor (stile supervise) where there is none. SERVICE is turn, tunnel, agent, sip, fastpath,\n" \
	"console or gateway; turn@lab is the instance lab. Root may, and members of the group stile."

static const struct command rows[] = {
	{ "start", "SERVICE...", "start a service, and wait until it is ready",
	  BY_WHOM "\nOne that does not start says how it ended, and its last error. Exit 1 then.", NULL, 0, 1, CLI_MAX_WORDS, run_start, WITHOUT_CONFIG },
	{ "stop", "SERVICE...", "stop a service, and wait until it has ended",
	  BY_WHOM "\nWhat is under way gets the time that the service's drain has; stile turn drain waits longer.", NULL, 0, 1, CLI_MAX_WORDS, run_stop,
	  WITHOUT_CONFIG },
	{ "restart", "SERVICE...", "stop a service and start it again",
	  BY_WHOM "\nMost changes of the configuration need none: stile reload.", NULL, 0, 1, CLI_MAX_WORDS, run_restart, WITHOUT_CONFIG },
};
const struct command_table lifecycle_commands = { rows, ARRAY_LEN(rows) };
