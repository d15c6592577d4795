/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile config export, stile config diff: what this node does, as one file of YAML, and whether another node
 * does the same. An export is the configuration file with its conf.d, and what was made in the
 * stores of the running services, in the places where a file would have it; so an export can be read as
 * a file, and two nodes of a fail-over pair are compared by the schema rows, not by their spelling.
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "cli/cli_services.h"
#include "cli/command.h"
#include "cli/config_yaml.h"
#include "common/bytes.h"
#include "common/fd.h"
#include "common/manager.h"

enum { TIMEOUT_MS = 10000, OTHER_MAX = 16 << 20 };
static const char MASKED_MARK[] = "# secrets are masked";

/* ---- what this node has ---- */

/* Where a service would have the objects of a kind in its file. */
struct place {
	const char *list; /* as in common/store.h */
	const char *key;  /* what the key of an object is there */
};

/* The item of the list whose value of key is name. Of domains case means nothing. */
static json_t *item_called(json_t *list, const char *key, struct text name)
{
	bool domain = strcmp(key, "domain") == 0;
	size_t i;
	json_t *item;

	json_array_foreach(list, i, item) {
		struct text its = text_of(json_string_value(json_object_get(item, key)));
		if (domain ? text_ieq(its, name) : text_eq(its, name))
			return item;
	}
	return NULL;
}

/* What `map` has under the name, made if it is not there. */
static json_t *under(json_t *map, struct text name, bool list)
{
	char key[64];
	json_t *j;

	snprintf(key, sizeof key, "%.*s", TEXT_FMT(name));
	j = json_object_get(map, key);
	if (!j)
		json_object_set_new(map, key, j = list ? json_array() : json_object());
	return j;
}

/* The list of the place, made if it is not there. "turn.realms[].users" with the key "partner.example/alice" → that of this item of
 * turn.realms, and alice is left of the key; NULL: there is no such item. */
static json_t *list_at(json_t *root, const struct place *at, const char **key)
{
	struct text rest = text_of(at->list);
	json_t *map = root;

	for (;;) {
		struct text brackets = text_cut(&rest, '.'), step = text_cut(&brackets, '[');
		if (!rest.p)
			return under(map, step, true);
		if (!brackets.p) {
			map = under(map, step, false);
			continue;
		}
		struct text left = text_of(*key), owner = text_cut(&left, '/');
		map = item_called(under(map, step, true), "name", owner);
		if (!map || !left.p)
			return NULL;
		*key = left.p; /* to the end of the key */
	}
}

/* A setting: what the file has not set. */
static void merge_under(json_t *into, json_t *piece)
{
	const char *key;
	json_t *v;

	json_object_foreach(piece, key, v) {
		json_t *there = json_object_get(into, key);
		if (!there)
			json_object_set(into, key, v);
		else if (json_is_object(there) && json_is_object(v))
			merge_under(there, v);
	}
}

static void add_object(json_t *root, const char *kind, const struct place *at, const json_t *row)
{
	const char *whole = json_string_value(json_object_get(row, "key")), *key = whole;
	json_t *body = json_object_get(row, "placed"), *list, *item;

	if (!body)
		body = json_object_get(row, "body");
	if (!key || !json_is_object(body)) /* one that has no place in a file */
		return;
	list = list_at(root, at, &key);
	if (!list)
		fprintf(stderr, "%s %s of the store belongs to nothing in the configuration, and is left out\n", kind, whole);
	if (!list || item_called(list, at->key, text_of(key))) /* the file wins */
		return;
	item = json_pack("{s:s}", at->key, key);
	json_object_update(item, body);
	json_array_append_new(list, item);
}

/* of: the place, as the service says it; NULL: settings, each a piece of the whole. */
static int add_kind(struct cli *cli, struct control_client *cl, json_t *root, const char *kind, const json_t *of, bool secrets)
{
	const struct place at = { json_string_value(json_object_get(of, "list")), json_string_value(json_object_get(of, "key")) };
	json_t *rows = json_array(), *row;
	size_t i;
	int r = cli_objects(cli, cl, kind, secrets, rows);

	json_array_foreach(rows, i, row)
		if (!of)
			merge_under(root, json_object_get(row, "body"));
		else if (at.list && at.key)
			add_object(root, kind, &at, row);
	json_decref(rows);
	return r;
}

/* Objects of the service's store. One that does not run is a note, not a failure. */
static int add_objects(struct cli *cli, const char *program, json_t *root, bool secrets)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	struct instance at;
	char err[256];
	json_t *answer = NULL, *places, *of;
	const char *kind;
	int r;

	if (!manager_program(program, strlen(program)))
		return 0; /* stile share is no service, and has no store */
	r = cli_place(cli, program, &at, err, sizeof err);

	if (r < 0)
		return cli_fail(cli, "%s", err);
	if (control_connect(at.socket_path, TIMEOUT_MS, &cl) < 0) {
		fprintf(stderr, "stile %s: %s cannot be asked: what was made in its store is not here\n", cli->command->name, at.full);
		return 0;
	}
	r = cli_call(cli, cl, "service.objects", NULL, &answer);
	places = json_object_get(answer, "places");
	if (r == 0 && !places) /* it was not restarted since its files were replaced */
		r = cli_fail(cli, "%s is of an older version than this tool: restart it", at.full);
	if (r == 0)
		r = add_kind(cli, cl, root, "setting", NULL, secrets); /* first: a realm of theirs may have objects */
	json_object_foreach(places, kind, of)
		if (r == 0)
			r = add_kind(cli, cl, root, kind, of, secrets);
	json_decref(answer);
	return r;
}

static int add_service(struct cli *cli, const struct cli_service *s, json_t *root, bool secrets)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const char *file;
	json_t *part;
	unsigned line;
	int r = cfg_load(cli_config_path(cli), s->ops.config, &cfg);

	if (!cfg || cfg_n_errors(cfg)) {
		if (cfg)
			cfg_print_errors(cfg, stderr);
		else
			cli_fail(cli, "%s: %s", cli_config_path(cli), strerror(-r));
		return EXIT_USAGE;
	}
	if (!cfg_where(cfg, s->section, &file, &line))
		return 0;
	if (cfg_export(cfg, secrets, &part) < 0)
		return cli_fail(cli, "out of memory");
	json_object_update_missing(root, part);
	json_decref(part);
	return add_objects(cli, s->ops.program, root, secrets);
}

static int this_node(struct cli *cli, bool secrets, json_t *root)
{
	int r = 0;

	for (size_t i = 0; i < cli_n_services && r == 0; i++)
		r = add_service(cli, &cli_services[i], root, secrets);
	if (r == 0 && !json_object_size(root)) {
		fprintf(stderr, "%s: no service of Stile has a section here\n", cli_config_path(cli));
		return EXIT_USAGE;
	}
	return r;
}

/* ---- export ---- */

static void print_export(FILE *f, const json_t *root, bool secrets)
{
	char host[256] = "", when[64];
	time_t now = time(NULL);

	gethostname(host, sizeof host - 1);
	strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S %Z", localtime(&now));
	fprintf(f, "# stile config export of %s, %s\n", host, when);
	if (!secrets)
		fprintf(f, "%s: \"%s\" stands for each; --secrets shows them\n", MASKED_MARK, CFG_MASK);
	print_yaml(f, root);
}

static int run_export(struct cli *cli)
{
	bool secrets = cli_has(cli, "secrets");
	json_t *root = json_object();
	int r = this_node(cli, secrets, root);

	if (r == 0 && cli_has(cli, "json"))
		print_json(root);
	else if (r == 0)
		print_export(stdout, root, secrets);
	json_decref(root);
	return r;
}

/* ---- the other node ---- */

/* All that can be read from f, NUL-terminated; NULL if it is too much or there is no memory. */
static char *read_all(FILE *f)
{
	size_t cap = 65536, n = 0;
	char *p = malloc(cap);

	while (p) {
		n += fread(p + n, 1, cap - n - 1, f);
		if (n + 1 < cap)
			break;
		char *more = cap < OTHER_MAX ? realloc(p, cap *= 2) : NULL;
		if (!more)
			free(p);
		p = more;
	}
	if (p)
		p[n] = 0;
	return p;
}

/* `ssh HOST stile config export`: its standard output; what ssh has to say goes to the terminal. */
static int ask_host(struct cli *cli, const char *host, char **ret_text)
{
	int out[2], status = 0;
	pid_t pid;

	if (pipe(out) < 0 || (pid = fork()) < 0)
		return cli_fail(cli, "cannot start ssh: %s", strerror(errno));
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		close(out[1]);
		execlp("ssh", "ssh", "--", host, "stile config export", (char *)NULL);
		fprintf(stderr, "cannot run ssh: %s\n", strerror(errno));
		_exit(127);
	}
	close(out[1]);
	FILE *f = fdopen(out[0], "r");
	*ret_text = f ? read_all(f) : NULL;
	if (f)
		fclose(f);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && *ret_text)
		return 0;
	free(*ret_text);
	*ret_text = NULL;
	return cli_fail(cli, "%s gave no export\nTry by hand: ssh %s stile config export | stile config diff -", host, host);
}

static int read_other(struct cli *cli, const char *word, char **ret_text)
{
	bool is_stdin = strcmp(word, "-") == 0;
	FILE *f = is_stdin ? stdin : fopen(word, "re");

	if (!f && errno == ENOENT && !strchr(word, '/'))
		return ask_host(cli, word, ret_text);
	if (!f)
		return cli_fail(cli, "%s: %s", word, strerror(errno));
	*ret_text = read_all(f);
	if (!is_stdin)
		fclose(f);
	return *ret_text ? 0 : cli_fail(cli, "%s is too large for a configuration", word);
}

/* ---- diff ---- */

struct comparison {
	struct cli *cli;
	json_t *rows;
};

static bool is_ignored(const struct cli *cli, const char *key)
{
	for (unsigned i = 0; i < cli->n_many; i++) {
		size_t n = strlen(cli->many[i]);
		if (strncmp(key, cli->many[i], n) == 0 && (!key[n] || key[n] == '.' || key[n] == '['))
			return true;
	}
	return false;
}

static bool is_known(const json_t *rows, const char *key)
{
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row) /* log and store are sections of every service */
		if (strcmp(json_string_value(json_object_get(row, "key")), key) == 0)
			return true;
	return false;
}

static int on_change(const struct cfg_change *ch, void *arg)
{
	struct comparison *cmp = arg;
	const char *here = ch->was, *there = ch->is;

	if (is_ignored(cmp->cli, ch->key) || is_known(cmp->rows, ch->key))
		return 0;
	if (strcmp(ch->what, "added") == 0) {
		here = "not here";
		there = "there";
	} else if (strcmp(ch->what, "removed") == 0) {
		here = "here";
		there = "not there";
	} else if (!here) {
		here = ch->what[0] == 'c' ? "a secret" : "";
		there = ch->what[0] == 'c' ? "another one" : ch->what;
	}
	json_array_append_new(cmp->rows, json_pack("{s:s, s:s, s:s}", "key", ch->key, "here", here, "there", there));
	return 0;
}

static int load_text(struct cli *cli, const char *yaml, const char *name, const struct cfg_root *root, struct cfg **ret_c)
{
	int r = cfg_load_text(text_of(yaml), name, root, ret_c);

	if (r == 0 && cfg_n_errors(*ret_c) == 0)
		return 0;
	if (!*ret_c)
		return cli_fail(cli, "%s: %s", name, strerror(-r));
	cfg_print_errors(*ret_c, stderr);
	return EXIT_USAGE;
}

static int compare(struct cli *cli, const char *here, const char *there, const char *name, json_t *rows)
{
	struct comparison cmp = { cli, rows };
	int r = 0;

	for (size_t i = 0; i < cli_n_services && r == 0; i++) {
		struct cfg_root root = *cli_services[i].ops.config;
		_cleanup_(cfg_freep) struct cfg *a = NULL, *b = NULL;
		const char *section = cli_services[i].section, *file;
		unsigned line;
		root.masked = true;
		r = load_text(cli, here, "this node", &root, &a);
		if (r == 0)
			r = load_text(cli, there, name, &root, &b);
		if (r)
			break;
		bool has_a = cfg_where(a, section, &file, &line), has_b = cfg_where(b, section, &file, &line);
		if (has_a && has_b)
			cfg_diff(a, b, on_change, &cmp);
		else if (has_a != has_b && !is_ignored(cli, section))
			json_array_append_new(rows, json_pack("{s:s, s:s, s:s}", "key", section, "here", has_a ? "here" : "not here",
							      "there", has_b ? "there" : "not there"));
	}
	return r;
}

/* This node's export as text. */
static int export_text(struct cli *cli, bool secrets, char **ret_text)
{
	json_t *root = json_object();
	size_t n;
	int r = this_node(cli, secrets, root);

	if (r == 0) {
		FILE *f = open_memstream(ret_text, &n);
		if (!f)
			r = cli_fail(cli, "out of memory");
		else
			print_export(f, root, secrets);
		if (f && fclose(f) != 0)
			r = cli_fail(cli, "out of memory");
	}
	json_decref(root);
	return r;
}

static const struct column diff_columns[] = {
	{ "key", "KEY", COL_TEXT }, { "here", "HERE", COL_TEXT }, { "there", "THERE", COL_TEXT },
};

static void wipe_text(char **p)
{
	if (*p)
		bytes_wipe(*p, strlen(*p));
	free(*p);
}

static int run_diff(struct cli *cli)
{
	_cleanup_(wipe_text) char *here = NULL, *there = NULL;
	json_t *rows = json_array();
	int r = read_other(cli, cli->words[0], &there);
	bool masked = there && strstr(there, MASKED_MARK);

	if (!r)
		r = export_text(cli, !masked, &here);
	if (!r)
		r = compare(cli, here, there, cli->words[0], rows);
	if (r == 0 && cli_has(cli, "json"))
		print_json(rows);
	else if (r == 0 && json_array_size(rows))
		print_table(stdout, diff_columns, ARRAY_LEN(diff_columns), rows);
	else if (r == 0)
		printf("alike%s\n", masked ? ", as far as an export with masked secrets tells" : "");
	if (r == 0 && json_array_size(rows))
		r = EXIT_FAILED;
	json_decref(rows);
	return r;
}

static const struct option_row export_options[] = {
	{ "secrets", 0, NULL, "with passwords and secrets in the clear (role admin)" },
};
static const struct option_row diff_options[] = {
	{ "ignore", 0, "KEY", "leave a key and what is below it out: turn.relay.addresses; may be repeated", true },
};

static const struct command rows[] = {
	{ "config export", "", "this node's configuration as one file: what is written and what was made in the stores",
	  "The file with its conf.d, and the objects that were added while the services run (users, routes) in the places where\n"
	  "a file would have them: the output can be read as a configuration file. What a file has no place for (enrolled agents,\n"
	  "registrations) is left out; stile backup takes it. Only what was set is shown; stile check --reference has the\n"
	  "defaults. Secrets are masked unless --secrets is given.",
	  export_options, ARRAY_LEN(export_options), 0, 0, run_export },
	{ "config diff", "HOST|FILE", "is another node configured alike?",
	  "FILE is another node's export or its stile.yaml, - is standard input; any other word is a HOST that is asked by ssh:\n"
	  "  ssh HOST stile config export | stile config diff -\n"
	  "Values are compared, not their spelling: 10MB and 10000000 are alike. Exit 0: alike, 1: they differ.",
	  diff_options, ARRAY_LEN(diff_options), 1, 1, run_diff },
};
const struct command_table config_commands = { rows, ARRAY_LEN(rows) };
