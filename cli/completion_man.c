/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-commands(1), in the man macros: every command with its words, what it does, and its options, from the tables. What
 * belongs together and why is told by stile(1) and the guides, which people have written.
 *
 * Text is set line by line as it stands: a line that begins with a dot or an apostrophe, and every hyphen and
 * backslash, would mean something else to roff.
 */
#include <string.h>
#include "cli/completion.h"

static void put_text(FILE *f, const char *s)
{
	bool begin = true;

	for (; *s; s++) {
		if (begin && (*s == '.' || *s == '\''))
			fputs("\\&", f);
		if (*s == '-')
			fputs("\\-", f);
		else if (*s == '\\')
			fputs("\\e", f);
		else
			fputc(*s, f);
		begin = *s == '\n';
	}
}

/* Paragraphs; what is indented is an example. */
static void put_help(FILE *f, const char *help)
{
	bool example = false, open = false;

	for (const char *line = help, *next; line; line = next) {
		size_t n = strcspn(line, "\n");
		char one[400];

		next = line[n] ? line + n + 1 : NULL;
		snprintf(one, sizeof one, "%.*s", (int)n, line);
		if ((one[0] == ' ') != example) {
			fputs(example ? ".EE\n" : ".PP\n.EX\n", f);
			example = !example;
			open = false;
		}
		if (!*one) {
			open = false;
			continue;
		}
		if (!example && !open)
			fputs(".PP\n", f);
		open = true;
		put_text(f, one);
		fputc('\n', f);
	}
	if (example)
		fputs(".EE\n", f);
}

static void put_option(FILE *f, const struct option_row *o)
{
	fputs(".TP\n", f);
	if (o->letter)
		fprintf(f, "\\fB\\-%c\\fR, ", o->letter);
	fputs("\\fB\\-\\-", f);
	put_text(f, o->name);
	fputs("\\fR", f);
	if (o->value) {
		fputs(" \\fI", f);
		put_text(f, o->value);
		fputs("\\fR", f);
	}
	fputc('\n', f);
	put_text(f, o->help);
	fputs(".\n", f);
}

static void put_command(FILE *f, const struct command *cmd)
{
	fputs(".SS \"stile ", f);
	put_text(f, cmd->name);
	if (cmd->words[0]) {
		fputc(' ', f);
		put_text(f, cmd->words);
	}
	fputs("\"\n", f);
	fputc(cmd->summary[0] & ~0x20, f); /* every summary begins with a small letter */
	put_text(f, cmd->summary + 1);
	fputs(cmd->summary[strlen(cmd->summary) - 1] == '?' ? "\n" : ".\n", f);
	if (cmd->help)
		put_help(f, cmd->help);
	for (unsigned k = 0; cli_nth_option(cmd, k); k++)
		put_option(f, cli_nth_option(cmd, k));
}

void completion_man(FILE *f)
{
	fputs(".\\\" Made by: stile completion man\n"
	      ".TH stile\\-commands 1 \"\" \"Stile " STILE_VERSION "\"\n"
	      ".SH NAME\nstile\\-commands \\- all commands of stile and their options\n"
	      ".SH DESCRIPTION\n"
	      "Every command with its words and options, as the tool itself has them; \\fBstile\\fR(1) tells what they are for, and\n"
	      "\\fBstile.yaml\\fR(5) what can be configured. Exit status: 0 good, 1 something failed (the reason is printed), 2 wrong usage\n"
	      "or a bad configuration.\n"
	      ".SH COMMANDS\n", f);
	for (size_t i = 0; cli_nth_command(i); i++)
		put_command(f, cli_nth_command(i));
	fputs(".SH SEE ALSO\n\\fBstile\\fR(1), \\fBstile.yaml\\fR(5), \\fBstile\\-turn\\fR(8), \\fBstile\\-tunnel\\fR(8), \\fBstile\\-agent\\fR(8), \\fBstile\\-sip\\fR(8), "
	      "\\fBstile\\-console\\fR(8), \\fBstile\\-gateway\\fR(8), \\fBstile\\-fastpath\\fR(8)\n", f);
}
