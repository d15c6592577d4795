/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile check: reads the configuration as the services do and shows every error with its place. A
 * section is judged by the program that it belongs to, and only if it is there; so the one file may be
 * checked on a machine that runs only some of the services.
 */
#include <errno.h>
#include <string.h>
#include "cli/cli_services.h"
#include "cli/command.h"
#include "common/config.h"
#include "gateway/config.h"
#include "share/forward/config.h"
#include "console/config.h"
#include "sip-proxy/config.h"
#include "tunnel/agent/config.h"
#include "turn/config.h"

/* One row per service: the part of its operations that reads and judges the file. */
const struct cli_service cli_services[] = {
	{ "turn",
	  { .program = "stile-turn",
	    .config = &turn_cfg_root,
	    .check = turn_config_check,
	    .log_config = turn_log_config } },
	{ "tunnel",
	  { .program = "stile-tunnel",
	    .config = &tunnel_cfg_root,
	    .check = tunnel_config_check,
	    .log_config = tunnel_log_config } },
	{ "sip",
	  { .program = "stile-sip",
	    .config = &sip_cfg_root,
	    .check = sip_config_check,
	    .log_config = sip_log_config } },
	{ "agent",
	  { .program = "stile-agent",
	    .config = &agent_cfg_root,
	    .check = agent_config_check,
	    .log_config = agent_log_config } },
	{ "gateway",
	  { .program = "stile-gateway",
	    .config = &gateway_cfg_root,
	    .check = gateway_config_check,
	    .log_config = gateway_log_config } },
	{ "share",
	  { .program = "stile share",
	    .config = &share_cfg_root,
	    .check = share_config_check,
	    .log_config = share_log_config } },
	{ "console",
	  { .program = "stile-console",
	    .config = &console_cfg_root,
	    .check = console_config_check,
	    .log_config = console_log_config } },
};
const size_t cli_n_services = ARRAY_LEN(cli_services);

static bool has_row(const struct cfg_row *rows, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(rows[i].name, name) == 0)
			return true;
	return false;
}

/* One page of all sections: those that several services read stand there once. */
static int reference(void)
{
	struct cfg_row rows[32];
	struct cfg_schema all = { .name = cli_services[0].ops.config->schema->name, .rows = rows };

	for (size_t i = 0; i < cli_n_services; i++) {
		const struct cfg_schema *s = cli_services[i].ops.config->schema;

		for (size_t k = 0; k < s->n_rows; k++)
			if (all.n_rows < ARRAY_LEN(rows) && !has_row(rows, all.n_rows, s->rows[k].name))
				rows[all.n_rows++] = s->rows[k];
	}
	return cfg_reference_markdown(&all, stdout) < 0 ? 1 : 0;
}

static json_t *notes_json(const struct cfg *cfg, size_t n, const struct cfg_error *(*at)(const struct cfg *, size_t))
{
	json_t *rows = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct cfg_error *e = at(cfg, i);
		json_array_append_new(rows, json_pack("{s:s, s:i, s:i, s:s}", "file", e->file, "line", (int)e->line,
						      "column", (int)e->column, "text", e->text));
	}
	return rows;
}

/* Warnings and errors, a line each; what an earlier service has found as well (a key that stands twice, say) is told once. */
static void print_notes(const struct cfg *cfg, json_t *told)
{
	_cleanup_(freep) char *all = NULL;
	size_t n;
	FILE *f = open_memstream(&all, &n);

	if (!f)
		return;
	for (size_t i = 0; i < cfg_n_warnings(cfg); i++) {
		const struct cfg_error *w = cfg_warning(cfg, i);
		fprintf(f, "%s:%u:%u: warning: %s\n", w->file, w->line, w->column, w->text);
	}
	cfg_print_errors(cfg, f);
	fclose(f);
	for (struct text rest = text_of(all); rest.n;) {
		struct text line = text_cut(&rest, '\n');

		if (json_object_getn(told, line.p, line.n))
			continue;
		json_object_setn_new(told, line.p, line.n, json_true());
		fprintf(stderr, "%.*s\n", TEXT_FMT(line));
	}
	fflush(stderr);
}

static void print_outcome(struct cli *cli, const char *program, const char *section, const struct cfg *cfg, bool there)
{
	size_t errors = cfg_n_errors(cfg), warnings = cfg_n_warnings(cfg);
	char line[128];

	if (!errors && !there) {
		printf("  - %-18s not configured: there is no section %s\n", program, section);
		return;
	}
	if (errors)
		snprintf(line, sizeof line, "%zu error%s: it would not start", errors, errors == 1 ? "" : "s");
	else if (warnings)
		snprintf(line, sizeof line, "good, with %zu warning%s", warnings, warnings == 1 ? "" : "s");
	else
		snprintf(line, sizeof line, "good");
	print_check(cli, !errors, program, line);
}

/* *ret_there: the file has this service's section, or could not be read well enough to tell. */
static int check_one(struct cli *cli, size_t i, json_t *result, json_t *told, bool *ret_there)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const char *program = cli_services[i].ops.program, *file;
	unsigned line;
	int r = cfg_load(cli_config_path(cli), cli_services[i].ops.config, &cfg);

	if (!cfg)
		return cli_fail(cli, "%s: %s", cli_config_path(cli), strerror(-r));
	bool there = cfg_where(cfg, cli_services[i].section, &file, &line);
	if (r == 0 && there) {
		service_check(&cli_services[i].ops, cli_option(cli, "user"), cfg);
		service_check_files(&cli_services[i].ops, cli_option(cli, "user"), cfg);
	}
	if (cli_has(cli, "json"))
		json_array_append_new(result, json_pack("{s:s, s:b, s:o, s:o}", "program", program, "configured", there, "errors",
							notes_json(cfg, cfg_n_errors(cfg), cfg_error), "warnings",
							notes_json(cfg, cfg_n_warnings(cfg), cfg_warning)));
	else {
		print_notes(cfg, told);
		print_outcome(cli, program, cli_services[i].section, cfg, there);
	}
	*ret_there |= there || r < 0;
	return cfg_n_errors(cfg) ? EXIT_USAGE : 0;
}

static int run_check(struct cli *cli)
{
	json_t *result, *told;
	bool there = false;
	int r = 0;

	if (cli_has(cli, "reference"))
		return reference();
	result = json_array();
	told = json_object();
	if (!cli_has(cli, "json"))
		printf("%s\n", cli_config_path(cli));
	fflush(stdout);
	for (size_t i = 0; i < cli_n_services; i++) {
		int one = check_one(cli, i, result, told, &there);
		r = one ? one : r;
	}
	if (cli_has(cli, "json"))
		print_json(result);
	json_decref(result);
	json_decref(told);
	if (!there) {
		fprintf(stderr, "%s: no service of Stile has a section here: nothing would start\n", cli_config_path(cli));
		return EXIT_USAGE;
	}
	return r;
}

static const struct option_row check_options[] = {
	{ "user", 'u', "USER", "whom the services become when root starts them (default stile, else nobody)" },
	{ "reference", 0, NULL, "print every key with type, default and help, as Markdown" },
};

static const struct command rows[] = {
	{ "check", "", "check the configuration",
	  "Reads the file and its conf.d as the services do, and looks at what they need of this machine: certificate\n"
	  "and key, addresses, a log folder that can be written. Each error is shown as file:line:column with what is\n"
	  "wrong and, for a name that is not known, what was probably meant. Exit 2 if there is one.\n\n"
	  "Ports that other programs have are found at the start, not here: the service itself may be running.",
	  check_options, ARRAY_LEN(check_options), 0, 0, run_check, WITHOUT_SERVICE },
};
const struct command_table check_commands = { rows, ARRAY_LEN(rows) };
