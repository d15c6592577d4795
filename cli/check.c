/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile check: reads the configuration as the services do and shows every error with its place. A
 * section is judged by the program that it belongs to, and only if it is there; so the one file may be
 * checked on a machine that runs only some of the services.
 */
#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "common/config.h"
#include "common/service.h"
#include "turn/config.h"

/* One row per service: the part of its operations that reads and judges the file. */
static const struct {
	const char *section;
	struct service_ops ops;
} services[] = {
	{ "turn", { .program = "stile-turn", .config = &turn_cfg_root, .check = turn_config_check, .log_config = turn_log_config } },
};

static int reference(void)
{
	for (size_t i = 0; i < ARRAY_LEN(services); i++)
		cfg_reference_markdown(services[i].ops.config->schema, stdout);
	return 0;
}

static json_t *errors_json(const struct cfg *cfg)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < cfg_n_errors(cfg); i++) {
		const struct cfg_error *e = cfg_error(cfg, i);
		json_array_append_new(rows, json_pack("{s:s, s:i, s:i, s:s}", "file", e->file, "line", (int)e->line,
						      "column", (int)e->column, "text", e->text));
	}
	return rows;
}

static void print_warnings(const struct cfg *cfg)
{
	for (size_t i = 0; i < cfg_n_warnings(cfg); i++) {
		const struct cfg_error *w = cfg_warning(cfg, i);
		fprintf(stderr, "%s:%u:%u: warning: %s\n", w->file, w->line, w->column, w->text);
	}
}

static int check_one(struct cli *cli, size_t i, json_t *result)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const char *file;
	unsigned line;
	int r = cfg_load(cli_config_path(cli), services[i].ops.config, &cfg);

	if (!cfg)
		return cli_fail(cli, "%s: %s", cli_config_path(cli), strerror(-r));
	bool there = cfg_where(cfg, services[i].section, &file, &line);
	if (r == 0 && there)
		service_check(&services[i].ops, NULL, cfg);
	size_t n = cfg_n_errors(cfg);
	if (!cli_has(cli, "json"))
		print_warnings(cfg);
	if (cli_has(cli, "json"))
		json_array_append_new(result, json_pack("{s:s, s:b, s:o}", "program", services[i].ops.program, "configured",
							there, "errors", errors_json(cfg)));
	else if (cfg_print_errors(cfg, stderr) == 0)
		print_check(cli, true, services[i].ops.program, there ? "its section is good" : "has no section here and would not start");
	return n ? EXIT_USAGE : 0;
}

static int run_check(struct cli *cli)
{
	json_t *result = json_array();
	int r = 0;

	if (cli_has(cli, "reference")) {
		json_decref(result);
		return reference();
	}
	if (!cli_has(cli, "json"))
		printf("%s\n", cli_config_path(cli));
	for (size_t i = 0; i < ARRAY_LEN(services); i++) {
		int one = check_one(cli, i, result);
		r = one ? one : r;
	}
	if (cli_has(cli, "json"))
		print_json(result);
	json_decref(result);
	return r;
}

static const struct option_row check_options[] = {
	{ "reference", 0, NULL, "print every key with type, default and help, as Markdown" },
};

static const struct command rows[] = {
	{ "check", "", "check the configuration",
	  "Reads the file and its conf.d as the services do. Each error is shown as file:line:column with what is\n"
	  "wrong and, for a name that is not known, what was probably meant. Exit 2 if there is one.",
	  check_options, ARRAY_LEN(check_options), 0, 0, run_check },
};
const struct command_table check_commands = { rows, ARRAY_LEN(rows) };
