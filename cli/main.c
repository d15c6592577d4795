/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile: the command-line tool. Finds the command's row, parses the options against its table, runs
 * it; prints help from the same rows. A new command is a row in one of the tables named here and a
 * function; nothing else knows the commands.
 */
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include "cli/command.h"
#include "common/text.h"

static const struct command_table *const tables[] = {
	&check_commands, &service_commands, &turn_commands, &test_commands, &bench_commands,
};

static const struct option_row common_options[] = {
	{ "config", 'c', "FILE", "configuration (default /etc/stile/stile.yaml)" },
	{ "instance", 'i', "NAME", "the service's instance, when there are several" },
	{ "runtime-dir", 0, "DIR", "where the control sockets are (default /run/stile)" },
	{ "json", 'j', NULL, "print JSON" },
	{ "help", 'h', NULL, "this help" },
};

/* ---- help ---- */

static void print_options(const struct option_row *rows, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char left[64];
		snprintf(left, sizeof left, "%c%c%s--%s%s%s", rows[i].letter ? '-' : ' ', rows[i].letter ? rows[i].letter : ' ',
			 rows[i].letter ? ", " : "  ", rows[i].name, rows[i].value ? " " : "", rows[i].value ? rows[i].value : "");
		printf("  %-28s %s\n", left, rows[i].help);
	}
}

static void print_commands(const char *group)
{
	for (size_t t = 0; t < ARRAY_LEN(tables); t++)
		for (size_t i = 0; i < tables[t]->n; i++) {
			const struct command *cmd = &tables[t]->rows[i];
			char left[64];
			if (group && !text_starts(text_of(cmd->name), text_of(group)))
				continue;
			snprintf(left, sizeof left, "%s%s%s", cmd->name, cmd->words[0] ? " " : "", cmd->words);
			printf("  %-34s %s\n", left, cmd->summary);
		}
}

static int help_all(void)
{
	printf("stile %s - set up, watch and test the services of Stile\n\n"
	       "Usage: stile COMMAND [WORDS] [OPTIONS]\n\nCommands:\n", STILE_VERSION);
	print_commands(NULL);
	printf("\nOptions of every command:\n");
	print_options(common_options, ARRAY_LEN(common_options));
	printf("\nstile COMMAND --help tells more. Exit: 0 good, 1 something failed, 2 wrong usage or configuration.\n");
	return 0;
}

static int help_command(const struct command *cmd)
{
	printf("Usage: stile %s%s%s [OPTIONS]\n\n%s.\n", cmd->name, cmd->words[0] ? " " : "", cmd->words, cmd->summary);
	if (cmd->help)
		printf("\n%s\n", cmd->help);
	printf("\nOptions:\n");
	print_options(cmd->options, cmd->n_options);
	print_options(common_options, ARRAY_LEN(common_options));
	return 0;
}

/* ---- finding the command ---- */

/* The row whose words all stand at the front of argv; the longest wins. */
static const struct command *find_command(int argc, char **argv, int *ret_used)
{
	const struct command *best = NULL;

	for (size_t t = 0; t < ARRAY_LEN(tables); t++)
		for (size_t i = 0; i < tables[t]->n; i++) {
			struct text rest = text_of(tables[t]->rows[i].name);
			int used = 0;
			bool match = true;
			while (rest.p && match) {
				struct text word = text_cut(&rest, ' ');
				match = used < argc && text_eq(text_of(argv[used]), word);
				used++;
			}
			if (match && (!best || used > *ret_used)) {
				best = &tables[t]->rows[i];
				*ret_used = used;
			}
		}
	return best;
}

static const char *nearest(const char *wrong)
{
	const char *best = NULL;
	size_t best_d = 3;

	for (size_t t = 0; t < ARRAY_LEN(tables); t++)
		for (size_t i = 0; i < tables[t]->n; i++) {
			size_t d = text_distance(text_of(wrong), text_of(tables[t]->rows[i].name));
			if (d < best_d) {
				best = tables[t]->rows[i].name;
				best_d = d;
			}
		}
	return best;
}

static int unknown_command(int argc, char **argv)
{
	const char *guess;
	char joined[128];

	for (size_t t = 0; t < ARRAY_LEN(tables); t++) /* "stile turn" alone: its commands */
		for (size_t i = 0; i < tables[t]->n; i++)
			if (argc == 1 && text_starts(text_of(tables[t]->rows[i].name), text_of(argv[0])) &&
			    tables[t]->rows[i].name[strlen(argv[0])] == ' ') {
				printf("Commands of stile %s:\n", argv[0]);
				print_commands(argv[0]);
				return EXIT_USAGE;
			}
	snprintf(joined, sizeof joined, "%s%s%s", argv[0], argc > 1 && argv[1][0] != '-' ? " " : "",
		 argc > 1 && argv[1][0] != '-' ? argv[1] : "");
	guess = nearest(joined);
	if (!guess)
		guess = nearest(argv[0]);
	fprintf(stderr, "stile: unknown command '%s'", joined);
	if (guess)
		fprintf(stderr, "; did you mean '%s'?", guess);
	fprintf(stderr, "\nstile --help lists all commands\n");
	return EXIT_USAGE;
}

/* ---- options ---- */

static const struct option_row *option_at(const struct command *cmd, unsigned i)
{
	if (i < cmd->n_options)
		return &cmd->options[i];
	i -= cmd->n_options;
	return i < ARRAY_LEN(common_options) ? &common_options[i] : NULL;
}

static int find_option(const struct command *cmd, struct text name, char letter)
{
	const struct option_row *o;

	for (unsigned i = 0; (o = option_at(cmd, i)); i++)
		if (letter ? o->letter == letter : text_eq(name, text_of(o->name)))
			return (int)i;
	return -1;
}

static int bad_option(const struct command *cmd, const char *arg, const char *what)
{
	fprintf(stderr, "stile %s: %s %s\nstile %s --help lists the options\n", cmd->name, arg, what, cmd->name);
	return EXIT_USAGE;
}

/* One "-x", "--name", "--name=value" with its value; *i moves past a value of its own. */
static int parse_option(struct cli *c, int argc, char **argv, int *i)
{
	const char *arg = argv[*i];
	bool is_long = arg[1] == '-';
	struct text rest = text_of(arg + (is_long ? 2 : 1));
	struct text name = is_long ? text_cut(&rest, '=') : rest;
	int at = find_option(c->command, name, is_long ? 0 : arg[1]);

	if (at < 0)
		return bad_option(c->command, arg, "is not an option here");
	const struct option_row *o = option_at(c->command, (unsigned)at);
	if (!is_long) {
		rest = text_of(arg + 2);
		if (!rest.n)
			rest.p = NULL;
	}
	if (!o->value) {
		if (rest.p)
			return bad_option(c->command, arg, "takes no value");
		c->values[at] = "";
		return 0;
	}
	if (!rest.p && *i + 1 >= argc)
		return bad_option(c->command, arg, "needs a value");
	c->values[at] = rest.p ? rest.p : argv[++*i];
	return 0;
}

static int parse(struct cli *c, int argc, char **argv)
{
	bool words_only = false;

	for (int i = 0; i < argc; i++) {
		if (!words_only && strcmp(argv[i], "--") == 0) {
			words_only = true;
		} else if (!words_only && argv[i][0] == '-' && argv[i][1]) {
			int r = parse_option(c, argc, argv, &i);
			if (r)
				return r;
		} else if (c->n_words >= c->command->max_words || c->n_words >= CLI_MAX_WORDS) {
			return bad_option(c->command, argv[i], "is one word too many");
		} else {
			c->words[c->n_words++] = argv[i];
		}
	}
	return 0;
}

const char *cli_option(const struct cli *c, const char *name)
{
	int at = find_option(c->command, text_of(name), 0);

	return at < 0 ? NULL : c->values[at];
}

const char *cli_config_path(const struct cli *c)
{
	const char *path = cli_option(c, "config");

	return path ? path : "/etc/stile/stile.yaml";
}

int cli_number(const struct cli *c, const char *name, uint64_t min, uint64_t max, uint64_t *v)
{
	const char *s = cli_option(c, name);
	uint64_t n;

	if (!s)
		return 0;
	if (text_u64(text_of(s), &n) < 0 || n < min || n > max) {
		fprintf(stderr, "stile %s: --%s must be a number from %llu to %llu, not '%s'\n", c->command->name, name,
			(unsigned long long)min, (unsigned long long)max, s);
		return EXIT_USAGE;
	}
	*v = n;
	return 0;
}

int cli_time(const struct cli *c, const char *name, uint64_t *ms)
{
	const char *s = cli_option(c, name);

	if (!s || text_duration(text_of(s), ms) == 0)
		return 0;
	fprintf(stderr, "stile %s: --%s must be a time such as 30s, 10m or 24h, not '%s'\n", c->command->name, name, s);
	return EXIT_USAGE;
}

int cli_fail(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "stile %s: ", c->command->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_FAILED;
}

int main(int argc, char **argv)
{
	struct cli cli = { .color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") };
	int used = 0, r;

	signal(SIGPIPE, SIG_IGN);
	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
		return help_all();
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		printf("stile %s\n", STILE_VERSION);
		return 0;
	}
	cli.command = find_command(argc - 1, argv + 1, &used);
	if (!cli.command)
		return unknown_command(argc - 1, argv + 1);
	r = parse(&cli, argc - 1 - used, argv + 1 + used);
	if (r)
		return r;
	if (cli_has(&cli, "help"))
		return help_command(cli.command);
	if (cli.n_words < cli.command->min_words) {
		fprintf(stderr, "Usage: stile %s %s\nstile %s --help tells more\n", cli.command->name, cli.command->words,
			cli.command->name);
		return EXIT_USAGE;
	}
	return cli.command->run(&cli);
}
