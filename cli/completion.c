/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile completion bash|zsh|fish|man: scripts that know every command, word and option, printed from the tables that parse
 * them. A script has the tables as data and a few lines that walk them; so what is new in a table needs nothing here.
 *
 * What a value is, is told by its name in the tables: FILE, DIR, NAME of an instance, LEVEL, SERVICE. Other values
 * have no completion, which is better than a wrong one.
 */
#include "cli/completion.h"
#include <string.h>
#include "common/manager.h"
#include "common/text.h"

/* Within '…' of a shell. */
static void put_quoted(FILE *f, const char *s)
{
	fputc('\'', f);
	for (; *s; s++)
		if (*s == '\'')
			fputs("'\\''", f);
		else
			fputc(*s, f);
	fputc('\'', f);
}

static const char *kind_of_value(const struct option_row *o)
{
	if (strcmp(o->value, "FILE") == 0)
		return "file";
	if (strcmp(o->value, "DIR") == 0)
		return "dir";
	if (strcmp(o->name, "instance") == 0)
		return "instance";
	return strcmp(o->value, "LEVEL") == 0 ? "level" : "any";
}

/* What its words may be; "" if nothing is known of them. Choices as they are written: "on|off", "link|root". */
static void kinds_of_words(const struct command *cmd, char *out, size_t n)
{
	struct text rest = text_of(cmd->words);
	struct sb b = sb_init(out, n);

	*out = 0;
	while (rest.n) {
		struct text word = text_cut(&rest, ' ');

		while (word.n && (word.p[0] == '[' || word.p[word.n - 1] == ']' || word.p[word.n - 1] == '.'))
			word = word.p[0] == '[' ? (struct text){ word.p + 1, word.n - 1 } : (struct text){ word.p, word.n - 1 };
		while (word.n) {
			struct text one = text_cut(&word, '|');
			bool choice = one.n && one.p[0] >= 'a' && one.p[0] <= 'z';

			if (choice)
				sb_fmt(&b, "%s%.*s", b.n ? " " : "", TEXT_FMT(one));
			else if (text_eq(one, TEXT("SERVICE")))
				sb_fmt(&b, "%s@services", b.n ? " " : "");
			else if (text_eq(one, TEXT("FILE")))
				sb_fmt(&b, "%s@files", b.n ? " " : "");
			else if (text_eq(one, TEXT("LEVEL")))
				sb_fmt(&b, "%s@levels", b.n ? " " : "");
		}
	}
}

static void put_services(FILE *f)
{
	for (const char *const *p = manager_programs; *p; p++)
		fprintf(f, "%s%s", p == manager_programs ? "" : " ", *p + strlen("stile-"));
}

/* ---- bash ---- */

/* name → options, with a mark for those that take a value; name → words. */
static void put_tables(FILE *f)
{
	char words[128];

	fputs("declare -gA _stile_options=(\n", f);
	for (size_t i = 0; cli_nth_command(i); i++) {
		const struct command *cmd = cli_nth_command(i);

		fputs("\t[", f);
		put_quoted(f, cmd->name);
		fputs("]='", f);
		for (unsigned k = 0; cli_nth_option(cmd, k); k++)
			fprintf(f, "%s--%s", k ? " " : "", cli_nth_option(cmd, k)->name);
		fputs("'\n", f);
	}
	fputs(")\ndeclare -gA _stile_values=(\n", f);
	for (size_t i = 0; cli_nth_command(i); i++)
		for (unsigned k = 0; cli_nth_option(cli_nth_command(i), k); k++) {
			const struct option_row *o = cli_nth_option(cli_nth_command(i), k);
			if (!o->value)
				continue;
			fprintf(f, "\t['%s --%s']=%s\n", cli_nth_command(i)->name, o->name, kind_of_value(o));
			if (o->letter)
				fprintf(f, "\t['%s -%c']=%s\n", cli_nth_command(i)->name, o->letter, kind_of_value(o));
		}
	fputs(")\ndeclare -gA _stile_words=(\n", f);
	for (size_t i = 0; cli_nth_command(i); i++) {
		kinds_of_words(cli_nth_command(i), words, sizeof words);
		if (*words)
			fprintf(f, "\t['%s']='%s'\n", cli_nth_command(i)->name, words);
	}
	fputs(")\n", f);
}

static void put_bash(FILE *f)
{
	fputs("# Completions of stile for bash, made by: stile completion bash\n", f);
	put_tables(f);
	fputs("_stile_services='", f);
	put_services(f);
	fputs("'\n"
	      "_stile_instances()\n{\n"
	      "\tlocal s\n"
	      "\tfor s in \"${XDG_RUNTIME_DIR:-/run}\"/stile/*@*.sock /run/stile/*@*.sock; do\n"
	      "\t\t[[ -e $s ]] && s=${s##*@} && printf '%s\\n' \"${s%.sock}\"\n"
	      "\tdone\n}\n"
	      "# The value of a kind that begins with the word.\n"
	      "_stile_value()\n{\n"
	      "\tcase $1 in\n"
	      "\tfile) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$2\") ;;\n"
	      "\tdir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- \"$2\") ;;\n"
	      "\tinstance) mapfile -t COMPREPLY < <(compgen -W \"$(_stile_instances)\" -- \"$2\") ;;\n"
	      "\tlevel) mapfile -t COMPREPLY < <(compgen -W 'error warn info debug trace' -- \"$2\") ;;\n"
	      "\tesac\n}\n"
	      "_stile()\n{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} name= w next= words= kinds= i k\n"
	      "\tCOMPREPLY=()\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tw=${name:+$name }${COMP_WORDS[i]}\n"
	      "\t\tfor k in \"${!_stile_options[@]}\"; do\n"
	      "\t\t\tif [[ $k == \"$w\" || $k == \"$w \"* ]]; then name=$w; continue 2; fi\n"
	      "\t\tdone\n"
	      "\t\tbreak\n"
	      "\tdone\n"
	      "\tif [[ $prev == -* && -n ${_stile_values[\"$name $prev\"]-} ]]; then\n"
	      "\t\t_stile_value \"${_stile_values[\"$name $prev\"]}\" \"$cur\"\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tif [[ $cur == -* ]]; then\n"
	      "\t\t[[ -n $name ]] && mapfile -t COMPREPLY < <(compgen -W \"${_stile_options[\"$name\"]-}\" -- \"$cur\")\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tlocal -i whole=$((i == COMP_CWORD)) # no word of another kind stands between\n"
	      "\t[[ -z $name && $whole == 0 ]] && return\n"
	      "\tfor k in \"${!_stile_options[@]}\"; do\n"
	      "\t\t((whole)) || break\n"
	      "\t\tif [[ -z $name ]]; then next+=\" ${k%% *}\"\n"
	      "\t\telif [[ $k == \"$name \"* ]]; then k=${k#\"$name \"}; next+=\" ${k%% *}\"; fi\n"
	      "\tdone\n"
	      "\t[[ -n $name ]] && kinds=${_stile_words[\"$name\"]-}\n"
	      "\tfor k in $kinds; do\n"
	      "\t\tcase $k in\n"
	      "\t\t@services) words+=\" $_stile_services\" ;;\n"
	      "\t\t@levels) words+=' error warn info debug trace' ;;\n"
	      "\t\t@files) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	      "\t\t*) words+=\" $k\" ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tmapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W \"$next $words\" -- \"$cur\" | sort -u)\n"
	      "}\n"
	      "complete -F _stile stile\n", f);
}

/* ---- zsh ---- */

/* "word:what it is", as _describe has it: colons of the word escaped (there are none), those of the text harmless. */
static void put_zsh_tables(FILE *f)
{
	char words[128];

	fputs("typeset -gA _stile_summaries _stile_opts _stile_vals _stile_kinds\n", f);
	for (size_t i = 0; cli_nth_command(i); i++) {
		const struct command *cmd = cli_nth_command(i);

		fprintf(f, "_stile_summaries+=('%s' ", cmd->name);
		put_quoted(f, cmd->summary);
		fprintf(f, ")\n_stile_opts+=('%s' $'", cmd->name);
		for (unsigned k = 0; cli_nth_option(cmd, k); k++) {
			const struct option_row *o = cli_nth_option(cmd, k);
			fprintf(f, "%s--%s:", k ? "\\n" : "", o->name);
			for (const char *s = o->help; *s; s++) {
				if (*s == '\'' || *s == '\\')
					fputc('\\', f);
				fputc(*s, f);
			}
		}
		fputs("')\n", f);
		for (unsigned k = 0; cli_nth_option(cmd, k); k++) {
			const struct option_row *o = cli_nth_option(cmd, k);
			if (o->value)
				fprintf(f, "_stile_vals+=('%s --%s' %s)\n", cmd->name, o->name, kind_of_value(o));
			if (o->value && o->letter)
				fprintf(f, "_stile_vals+=('%s -%c' %s)\n", cmd->name, o->letter, kind_of_value(o));
		}
		kinds_of_words(cmd, words, sizeof words);
		if (*words)
			fprintf(f, "_stile_kinds+=('%s' '%s')\n", cmd->name, words);
	}
}

static void put_zsh(FILE *f)
{
	fputs("#compdef stile\n# Completions of stile for zsh, made by: stile completion zsh\n", f);
	put_zsh_tables(f);
	fputs("_stile_services=(", f);
	put_services(f);
	fputs(")\n"
	      "_stile_value()\n{\n"
	      "\tlocal -a names levels\n"
	      "\tlevels=(error warn info debug trace)\n"
	      "\tcase $1 in\n"
	      "\tfile) _files ;;\n"
	      "\tdir) _files -/ ;;\n"
	      "\tinstance) names=(/run/stile/*@*.sock(N)); names=(${${names##*@}%.sock}); compadd -a names ;;\n"
	      "\tlevel) compadd -a levels ;;\n"
	      "\tesac\n}\n"
	      "_stile()\n{\n"
	      "\tlocal name= w k rest\n"
	      "\tlocal -a next opts more levels\n"
	      "\tlocal -A seen\n"
	      "\tinteger i\n"
	      "\tfor ((i = 2; i < CURRENT; i++)); do\n"
	      "\t\tw=${name:+$name }${words[i]}\n"
	      "\t\tfor k in ${(k)_stile_summaries}; do\n"
	      "\t\t\tif [[ $k == \"$w\" || $k == \"$w \"* ]]; then name=$w; continue 2; fi\n"
	      "\t\tdone\n"
	      "\t\tbreak\n"
	      "\tdone\n"
	      "\tk=\"$name ${words[CURRENT-1]}\"\n"
	      "\tif [[ ${words[CURRENT-1]} == -* && -n ${_stile_vals[$k]-} ]]; then\n"
	      "\t\t_stile_value ${_stile_vals[$k]}\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tif [[ ${words[CURRENT]} == -* ]]; then\n"
	      "\t\topts=(\"${(f)_stile_opts[$name]-}\")\n"
	      "\t\t_describe option opts\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\t[[ -z $name ]] && ((i < CURRENT)) && return\n"
	      "\tfor k in ${(ok)_stile_summaries}; do\n"
	      "\t\t((i < CURRENT)) && break # a word of another kind stands between\n"
	      "\t\trest=$k\n"
	      "\t\t[[ -z $name || $k == \"$name \"* ]] || continue\n"
	      "\t\t[[ -n $name ]] && rest=${k#$name }\n"
	      "\t\tw=${rest%% *}\n"
	      "\t\t[[ -n ${seen[$w]-} ]] && continue\n"
	      "\t\tseen[$w]=1\n"
	      "\t\tif [[ $rest == $w ]]; then next+=(\"${w}:${_stile_summaries[$k]}\"); else next+=(\"${w}:commands of ${w}\"); fi\n"
	      "\tdone\n"
	      "\t((${#next})) && _describe command next\n"
	      "\tfor k in ${=_stile_kinds[$name]-}; do\n"
	      "\t\tcase $k in\n"
	      "\t\t@services) compadd -a _stile_services ;;\n"
	      "\t\t@levels) levels=(error warn info debug trace); compadd -a levels ;;\n"
	      "\t\t@files) _files ;;\n"
	      "\t\t*) more=($k); compadd -a more ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "}\n"
	      "_stile \"$@\"\n", f);
}

/* ---- fish ---- */

static void put_fish_option(FILE *f, const struct command *cmd, const struct option_row *o)
{
	fprintf(f, "complete -c stile -n '__stile_is %s' -l %s", cmd->name, o->name);
	if (o->letter)
		fprintf(f, " -s %c", o->letter);
	if (o->value) {
		const char *kind = kind_of_value(o);
		fprintf(f, strcmp(kind, "file") == 0 ? " -r -F" : " -x");
		if (strcmp(kind, "dir") == 0)
			fputs(" -a '(__fish_complete_directories)'", f);
		else if (strcmp(kind, "level") == 0)
			fputs(" -a 'error warn info debug trace'", f);
		else if (strcmp(kind, "instance") == 0)
			fputs(" -a '(__stile_instances)'", f);
	}
	fputs(" -d ", f);
	/* within '…' fish reads \' and \\ */
	fputc('\'', f);
	for (const char *s = o->help; *s; s++) {
		if (*s == '\'' || *s == '\\')
			fputc('\\', f);
		fputc(*s, f);
	}
	fputs("'\n", f);
}

/* The word behind a group: "turn" → "sessions". The group "" is that of all commands. */
static void put_fish_words(FILE *f, const struct command *cmd)
{
	const char *space = strrchr(cmd->name, ' ');
	char words[128];
	struct text rest;

	fprintf(f, "complete -c stile -f -n '__stile_under%s%.*s' -a %s -d ", space ? " " : "", space ? (int)(space - cmd->name) : 0, cmd->name,
		space ? space + 1 : cmd->name);
	fputc('\'', f);
	for (const char *s = cmd->summary; *s; s++) {
		if (*s == '\'' || *s == '\\')
			fputc('\\', f);
		fputc(*s, f);
	}
	fputs("'\n", f);
	for (const char *p = strchr(cmd->name, ' '); p; p = strchr(p + 1, ' ')) { /* groups on the way: turn, turn user */
		int n = (int)(p - cmd->name);
		const char *before = memrchr(cmd->name, ' ', (size_t)n);
		fprintf(f, "complete -c stile -f -n '__stile_under%s%.*s' -a %.*s\n", before ? " " : "", before ? (int)(before - cmd->name) : 0, cmd->name,
			before ? (int)(p - before - 1) : n, before ? before + 1 : cmd->name);
	}
	kinds_of_words(cmd, words, sizeof words);
	rest = text_of(words);
	while (rest.n) {
		struct text k = text_cut(&rest, ' ');
		fprintf(f, "complete -c stile -n '__stile_is %s' ", cmd->name);
		if (text_eq(k, TEXT("@files")))
			fputs("-F\n", f);
		else if (text_eq(k, TEXT("@levels")))
			fputs("-f -a 'error warn info debug trace'\n", f);
		else if (text_eq(k, TEXT("@services"))) {
			fputs("-f -a '", f);
			put_services(f);
			fputs("'\n", f);
		} else {
			fprintf(f, "-f -a %.*s\n", TEXT_FMT(k));
		}
	}
}

static void put_fish(FILE *f)
{
	fputs("# Completions of stile for fish, made by: stile completion fish\n"
	      "set -g __stile_names", f);
	for (size_t i = 0; cli_nth_command(i); i++)
		fprintf(f, " '%s'", cli_nth_command(i)->name);
	fputs("\n# The command that stands on the line, as far as the words are of one.\n"
	      "function __stile_name\n"
	      "\tset -l name ''\n"
	      "\tfor w in (commandline -opc)[2..-1]\n"
	      "\t\tset -l more (string trim -- \"$name $w\")\n"
	      "\t\tif contains -- $more $__stile_names; or string match -q -- \"$more *\" $__stile_names\n"
	      "\t\t\tset name $more\n"
	      "\t\telse\n"
	      "\t\t\tbreak\n"
	      "\t\tend\n"
	      "\tend\n"
	      "\techo $name\n"
	      "end\n"
	      "function __stile_is\n"
	      "\ttest (__stile_name) = \"$argv\"\n"
	      "end\n"
	      "# The same, with no word behind it.\n"
	      "function __stile_under\n"
	      "\ttest (string join ' ' -- (commandline -opc)[2..-1]) = \"$argv\"\n"
	      "end\n"
	      "function __stile_instances\n"
	      "\tfor s in /run/stile/*@*.sock\n"
	      "\t\tstring replace -r '.*@(.*)\\.sock$' '$1' -- $s\n"
	      "\tend\n"
	      "end\n"
	      "complete -c stile -f\n", f);
	for (size_t i = 0; cli_nth_command(i); i++) {
		put_fish_words(f, cli_nth_command(i));
		for (unsigned k = 0; cli_nth_option(cli_nth_command(i), k); k++)
			put_fish_option(f, cli_nth_command(i), cli_nth_option(cli_nth_command(i), k));
	}
}

/* ---- the command ---- */

static int run_completion(struct cli *cli)
{
	static const struct {
		const char *name;
		void (*put)(FILE *f);
	} all[] = { { "bash", put_bash }, { "zsh", put_zsh }, { "fish", put_fish }, { "man", completion_man } };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (strcmp(cli->words[0], all[i].name) == 0) {
			all[i].put(stdout);
			return 0;
		}
	return cli_wrong(cli, "there is bash, zsh, fish and man; not '%s'", cli->words[0]);
}

static const struct command rows[] = {
	{ "completion", "bash|zsh|fish|man", "completions for a shell, or the man page of all commands",
	  "Packages install them. By hand, for this shell alone: source <(stile completion bash)",
	  NULL, 0, 1, 1, run_completion, WITHOUT_CONFIG | WITHOUT_SERVICE },
};
const struct command_table completion_commands = { rows, ARRAY_LEN(rows) };
