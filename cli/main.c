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
#include "common/service.h"
#include "common/text.h"

static const struct command_table *const tables[] = {
	&check_commands, &status_commands, &lifecycle_commands, &supervise_commands, &service_commands, &logs_commands, &test_all_commands,
	&top_commands, &capacity_commands, &completion_commands, &ask_commands, &turn_commands, &turn_secret_commands, &test_commands, &conform_commands, &bench_commands,
	&netcheck_commands, &import_commands, &config_commands, &config_change_commands, &config_object_commands, &backup_commands, &restore_commands, &ready_commands,
	&relay_run_commands, &relay_commands, &relay_watch_commands, &relay_route_commands,
	&tunnel_commands, &tunnel_agents_commands, &tunnel_identity_commands, &tunnel_job_commands,
	&share_commands, &get_commands,
	&agent_commands, &agent_enrol_commands, &test_tcp_commands, &test_reach_commands, &gateway_commands, &sip_commands, &sip_test_commands,
	&sip_user_commands, &direct_commands, &agent_visit_commands, &sip_server_commands, &sip_certificate_commands,
	&sip_interface_commands, &sip_test_servers_commands, &sip_server_set_commands,
	&sip_route_commands, &sip_federation_commands, &sip_explain_commands, &sip_doctor_commands, &console_commands, &console_account_commands,
};

static const struct option_row common_options[] = {
	{ "config", 'c', "FILE",
	  "configuration (default /etc/stile/stile.yaml); of a folder its stile.yaml and instance" },
	{ "instance", 'i', "NAME", "the service's instance, when there are several" },
	{ "runtime-dir", 0, "DIR", "where the control sockets are (default /run/stile)" },
	{ "json", 'j', NULL, "print JSON" },
	{ "help", 'h', NULL, "this help" },
};
static const unsigned common_without[ARRAY_LEN(common_options)] = { WITHOUT_CONFIG, WITHOUT_SERVICE, WITHOUT_SERVICE };

static bool common_applies(const struct command *cmd, unsigned i)
{
	return !cmd || !(cmd->without & common_without[i]);
}

const struct command *cli_nth_command(size_t i)
{
	for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
		if (i < tables[t]->n)
			return &tables[t]->rows[i];
		i -= tables[t]->n;
	}
	return NULL;
}

const struct option_row *cli_nth_option(const struct command *cmd, unsigned i)
{
	if (i < cmd->n_options)
		return &cmd->options[i];
	i -= cmd->n_options;
	for (unsigned k = 0; k < ARRAY_LEN(common_options); k++)
		if (common_applies(cmd, k) && i-- == 0)
			return &common_options[k];
	return NULL;
}

/* ---- help ---- */

static void print_option(const struct option_row *o)
{
	char left[64];

	snprintf(left, sizeof left, "%c%c%s--%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ', o->letter ? ", " : "  ",
		 o->name, o->value ? " " : "", o->value ? o->value : "");
	printf("  %-26s %s\n", left, o->help);
}

/* cmd NULL: those that commands share. */
static void print_options(const struct command *cmd)
{
	for (unsigned i = 0; cmd && i < cmd->n_options; i++)
		print_option(&cmd->options[i]);
	for (unsigned i = 0; i < ARRAY_LEN(common_options); i++)
		if (common_applies(cmd, i))
			print_option(&common_options[i]);
}

/* Does the command's name begin with these words, and go on? */
static bool in_group(const struct command *cmd, const char *group)
{
	size_t n = strlen(group);

	return strncmp(cmd->name, group, n) == 0 && cmd->name[n] == ' ';
}

static unsigned print_commands(FILE *to, const char *group)
{
	unsigned n = 0;

	for (size_t t = 0; t < ARRAY_LEN(tables); t++)
		for (size_t i = 0; i < tables[t]->n; i++) {
			const struct command *cmd = &tables[t]->rows[i];
			char left[64];
			if (group && !in_group(cmd, group))
				continue;
			snprintf(left, sizeof left, "%s%s%s", cmd->name, cmd->words[0] ? " " : "", cmd->words);
			fprintf(to, "  %-29s %s\n", left, cmd->summary);
			n++;
		}
	return n;
}

static int help_all(void)
{
	printf("stile %s - set up, watch and test the services of Stile\n\n"
	       "Usage: stile COMMAND [WORDS] [OPTIONS]\n\nCommands:\n", STILE_VERSION);
	print_commands(stdout, NULL);
	printf("\nOptions of most commands (stile COMMAND --help lists a command's own):\n");
	print_options(NULL);
	printf("\nThe configuration, its keys and their defaults: stile check --reference, or man 5 stile.yaml.\n"
	       "Exit status: 0 good, 1 something failed (the reason is printed), 2 wrong usage or a bad configuration.\n");
	return 0;
}

static int help_command(const struct command *cmd)
{
	printf("Usage: stile %s%s%s [OPTIONS]\n\n%c%s.\n", cmd->name, cmd->words[0] ? " " : "", cmd->words,
	       cmd->summary[0] & ~0x20 /* every summary begins with a small letter */, cmd->summary + 1);
	if (cmd->help)
		printf("\n%s\n", cmd->help);
	printf("\nOptions:\n");
	print_options(cmd);
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

struct guess {
	char best[64];
	size_t distance; /* less than this is nearer */
};

/* Takes what is meant if wrong is a misspelling of candidate, and no other word altogether. */
static void guess_one(struct guess *g, const char *wrong, struct text candidate, struct text meant)
{
	size_t d = text_distance(text_of(wrong), candidate);

	if (d >= g->distance || d * 3 > candidate.n + 1)
		return;
	g->distance = d;
	snprintf(g->best, sizeof g->best, "%.*s", TEXT_FMT(meant));
}

/* Commands, their groups, and what follows the group: "sessions" means "turn sessions". */
static void guess_command(struct guess *g, const char *wrong)
{
	for (size_t t = 0; t < ARRAY_LEN(tables); t++)
		for (size_t i = 0; i < tables[t]->n; i++) {
			struct text name = text_of(tables[t]->rows[i].name);
			ptrdiff_t space = text_find(name, ' ');
			struct text group = { name.p, space > 0 ? (size_t)space : name.n };
			guess_one(g, wrong, name, name);
			guess_one(g, wrong, group, group);
			if (space > 0)
				guess_one(g, wrong, text_drop(name, group.n + 1), name);
		}
}

/* The words of a command line up to its first option, at most n of them. */
static void join_words(int argc, char **argv, int n, char *out, size_t cap)
{
	struct sb b = sb_init(out, cap);

	for (int i = 0; i < argc && i < n && argv[i][0] != '-'; i++)
		sb_fmt(&b, "%s%s", i ? " " : "", argv[i]);
}

/* "stile turn", "stile turn user --help": the commands that begin so. */
static int show_group(int argc, char **argv, const char *group)
{
	bool asked = strcmp(argv[argc - 1], "--help") == 0 || strcmp(argv[argc - 1], "-h") == 0;

	fprintf(asked ? stdout : stderr, "%s %s:\n", asked ? "Commands of stile" : "One word more is needed behind stile", group);
	print_commands(asked ? stdout : stderr, group);
	return asked ? 0 : EXIT_USAGE;
}

static int unknown_command(int argc, char **argv)
{
	struct guess g = { .distance = 3 };
	char words[64];

	join_words(argc, argv, argc, words, sizeof words);
	for (size_t t = 0; t < ARRAY_LEN(tables); t++)
		for (size_t i = 0; words[0] && i < tables[t]->n; i++)
			if (in_group(&tables[t]->rows[i], words))
				return show_group(argc, argv, words);
	if (argv[0][0] == '-') {
		guess_one(&g, argv[0], TEXT("--help"), TEXT("--help"));
		guess_one(&g, argv[0], TEXT("--version"), TEXT("--version"));
		fprintf(stderr, "stile: the command comes first, its options behind it; not '");
		print_clean(stderr, argv[0]);
		fprintf(stderr, "'%s%s%s\nstile --help lists the commands\n", g.best[0] ? "; did you mean " : "", g.best, g.best[0] ? "?" : "");
		return EXIT_USAGE;
	}
	for (int n = 3; n > 0 && !g.best[0]; n--) {
		join_words(argc, argv, n, words, sizeof words);
		guess_command(&g, words);
	}
	join_words(argc, argv, 2, words, sizeof words);
	fprintf(stderr, "stile: there is no command '");
	print_clean(stderr, words);
	fprintf(stderr, "'%s%s%s\nstile --help lists the commands\n", g.best[0] ? "; did you mean 'stile " : "", g.best,
		g.best[0] ? "'?" : "");
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

/* Its position in the command's table, then the common one; -1 if the command does not know it. */
static int find_option(const struct command *cmd, struct text name, char letter)
{
	const struct option_row *o;

	for (unsigned i = 0; (o = option_at(cmd, i)); i++)
		if (i >= cmd->n_options && !common_applies(cmd, i - cmd->n_options))
			continue;
		else if (letter ? o->letter == letter : text_eq(name, text_of(o->name)))
			return (int)i;
	return -1;
}

static int bad_option(const struct command *cmd, const char *arg, const char *what)
{
	fprintf(stderr, "stile %s: ", cmd->name);
	print_clean(stderr, arg);
	fprintf(stderr, " %s\nstile %s --help lists the options\n", what, cmd->name);
	return EXIT_USAGE;
}

static int unknown_option(const struct command *cmd, const char *arg, struct text name)
{
	struct guess g = { .distance = 3 };
	const struct option_row *o;
	char wrong[64], what[128];

	snprintf(wrong, sizeof wrong, "%.*s", (int)MIN(name.n, sizeof wrong - 1), name.p);
	for (unsigned i = 0; arg[1] == '-' && (o = option_at(cmd, i)); i++)
		if (i < cmd->n_options || common_applies(cmd, i - cmd->n_options))
			guess_one(&g, wrong, text_of(o->name), text_of(o->name));
	snprintf(what, sizeof what, "is not one of its options%s%s%s", g.best[0] ? "; did you mean --" : "", g.best,
		 g.best[0] ? "?" : "");
	return bad_option(cmd, arg, what);
}

/* Perhaps the mistyped end of a longer command: "stile test trun". */
static int extra_word(const struct command *cmd, const char *word)
{
	struct guess g = { .distance = 3 };
	char words[64], what[128];

	snprintf(words, sizeof words, "%s %s", cmd->name, word);
	guess_command(&g, words);
	if (g.best[0] && strcmp(g.best, cmd->name) != 0)
		snprintf(what, sizeof what, "is one word too many; did you mean 'stile %s'?", g.best);
	else
		snprintf(what, sizeof what, "is one word too many");
	return bad_option(cmd, word, what);
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
		return unknown_option(c->command, arg, name);
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
	if (o->many && c->n_many >= CLI_MAX_WORDS)
		return bad_option(c->command, arg, "is given too often");
	if (o->many)
		c->many[c->n_many++] = c->values[at];
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
			return extra_word(c->command, argv[i]);
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

/* Of a folder that is --config, an instance's as its service takes it; "" for what there is none of. */
struct config_folder {
	char path[4096], name[64];
};

static const struct config_folder *config_folder(const struct cli *c)
{
	static struct config_folder f;
	const char *config = cli_option(c, "config");

	f.path[0] = f.name[0] = '\0';
	if (config)
		(void)instance_folder(config, f.path, sizeof(f.path), f.name, sizeof(f.name));
	return &f;
}

const char *cli_config_path(const struct cli *c)
{
	const struct config_folder *f = config_folder(c);
	const char *given = cli_option(c, "config");

	return *f->path ? f->path : given ? given : "/etc/stile/stile.yaml";
}

const char *cli_instance(const struct cli *c)
{
	const struct config_folder *f = config_folder(c);
	const char *given = cli_option(c, "instance");

	return given || !*f->name ? given : f->name;
}

int cli_number(const struct cli *c, const char *name, uint64_t min, uint64_t max, uint64_t *v)
{
	const char *s = cli_option(c, name);
	uint64_t n;

	if (!s)
		return 0;
	if (text_u64(text_of(s), &n) < 0 || n < min || n > max)
		return cli_wrong(c, "--%s must be a number from %llu to %llu, not '%s'", name, (unsigned long long)min, (unsigned long long)max, s);
	*v = n;
	return 0;
}

json_t *cli_list_of(const struct cli *c, const char *name)
{
	struct text rest = text_of(cli_option(c, name));
	json_t *list = json_array();

	while (rest.p) {
		struct text part = text_trim(text_cut(&rest, ','));
		if (part.n)
			json_array_append_new(list, json_stringn(part.p, part.n));
	}
	return list;
}

int cli_time(const struct cli *c, const char *name, uint64_t *ms)
{
	const char *s = cli_option(c, name);

	if (!s || text_duration(text_of(s), ms) == 0)
		return 0;
	return cli_wrong(c, "--%s must be a time such as 30s, 10m or 24h, not '%s'", name, s);
}

static void _printf_(2, 0) complain(const struct cli *c, const char *fmt, va_list ap)
{
	char text[2048];

	vsnprintf(text, sizeof text, fmt, ap);
	fprintf(stderr, "stile %s: ", c->command->name);
	for (char *line = text, *next; line; line = next) { /* our own line breaks; nothing else that steers a terminal */
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		print_clean(stderr, line);
		fputc('\n', stderr);
	}
}

int cli_fail(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(c, fmt, ap);
	va_end(ap);
	return EXIT_FAILED;
}

int cli_wrong(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(c, fmt, ap);
	va_end(ap);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct cli cli = { .color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") };
	int used = 0, r;

	signal(SIGPIPE, SIG_IGN);
	if (argc > 2 && strcmp(argv[1], "help") == 0) { /* "stile help turn kill" is "stile turn kill --help" */
		memmove(argv + 1, argv + 2, (size_t)(argc - 2) * sizeof *argv);
		argv[argc - 1] = (char *)"--help";
	}
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
		fprintf(stderr, "stile %s: something is missing: stile %s %s\nstile %s --help tells more\n", cli.command->name,
			cli.command->name, cli.command->words, cli.command->name);
		return EXIT_USAGE;
	}
	return print_end(&cli, cli.command->run(&cli));
}
