/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile config get|set|unset, and begin|commit|… : the settings of running services, and changes of them that are tried,
 * committed as one, confirmed and undone. What lies in a file is not touched: it wins over what is set here, and is shown as locked.
 *
 * The service of a key is the one that its first word names; log and stun_servers belong to each, so --service says whose.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "cli/cli_services.h"
#include "cli/command.h"
#include "cli/config_change.h"
#include "cli/services.h"
#include "common/bytes.h"
#include "common/manager.h"

enum { CHANGE_TIMEOUT_MS = 60000, SECRET_CAP = 1024 };

/* ---- which service ---- */

/* 0, or an exit code after a sentence. key NULL: --service must say it. */
static int program_of(struct cli *cli, const char *key, char program[static SERVICE_NAME])
{
	const char *named = cli_option(cli, "service"), *of;
	struct text rest = text_of(key ? key : ""), section = text_cut(&rest, '.');

	if (named)
		return services_name(cli, named, "", program);
	for (size_t i = 0; i < cli_n_services; i++) {
		if (!text_eq(section, text_of(cli_services[i].section)))
			continue;
		of = cli_services[i].ops.program;
		if (manager_program(of, strlen(of)))
			return services_name(cli, of, "", program);
		return cli_wrong(cli, "%s is read from the file by each %s, and by no service: set it there", key, of);
	}
	return cli_wrong(cli, "%s is not of one service alone: add --service turn, tunnel, agent, sip, console or gateway", key ? key : "what is asked for");
}

static int ask(struct cli *cli, const char *program, const char *verb, json_t *args, json_t **ret_result)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	int r = cli_connect_patient(cli, program, CHANGE_TIMEOUT_MS, &cl);

	if (r == 0)
		return cli_call(cli, cl, verb, args, ret_result);
	json_decref(args);
	return r;
}

/* ---- what a change did ---- */

static void print_change(const json_t *row)
{
	const char *was = json_string_value(json_object_get(row, "was")), *is = json_string_value(json_object_get(row, "is"));

	printf("  ");
	print_clean(stdout, json_string_value(json_object_get(row, "key")));
	printf(" ");
	if (was && is) {
		print_clean(stdout, was);
		printf(" → ");
		print_clean(stdout, is);
	} else {
		print_clean(stdout, json_string_value(json_object_get(row, "what")));
	}
	printf("%s\n", json_is_true(json_object_get(row, "restart")) ? "  (needs a restart)" : "");
}

static void print_changes(const json_t *rows)
{
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row)
		print_change(row);
}

static void print_done(const char *program, const json_t *done)
{
	long long change = (long long)json_integer_value(json_object_get(done, "change")), left;
	const json_t *until = json_object_get(done, "confirm_until"), *revisions = json_object_get(done, "revisions");
	const char *short_name = program + strlen("stile-");
	size_t i;
	json_t *row;

	printf("%s: change %lld is made\n", program, change);
	print_changes(json_object_get(done, "changes"));
	json_array_foreach(revisions, i, row)
		if (strcmp(json_string_value(json_object_get(row, "kind")), "setting") != 0)
			printf("  %s %s\n", json_string_value(json_object_get(row, "kind")), json_string_value(json_object_get(row, "key")));
	if (until) {
		left = (long long)json_integer_value(until) / 1000 - (long long)time(NULL);
		printf("It is taken back in %lld s unless you keep it: stile config confirm %s\n", left, short_name);
	} else {
		printf("To take it back: stile config undo %s %lld\n", short_name, change);
	}
}

/* A step or a change: said what became of it. */
int config_send(struct cli *cli, const char *program, const char *verb, json_t *args)
{
	json_t *done = NULL;
	uint64_t within = 0, number = 0;
	int r = cli_time(cli, "confirm-within", &within);

	if (r == 0 && cli_has(cli, "transaction"))
		r = cli_number(cli, "transaction", 1, UINT32_MAX, &number);
	if (r) {
		json_decref(args);
		return r;
	}
	if (within)
		json_object_set_new(args, "confirm_within_ms", json_integer((json_int_t)within));
	if (number)
		json_object_set_new(args, "transaction", json_integer((json_int_t)number));
	r = ask(cli, program, verb, args, &done);
	if (r == 0 && cli_has(cli, "json"))
		print_json(done);
	else if (r == 0 && json_object_get(done, "change"))
		print_done(program, done);
	else if (r == 0)
		printf("%s: transaction %lld has %lld changes; stile config commit %s %lld makes them\n", program,
		       (long long)json_integer_value(json_object_get(done, "transaction")),
		       (long long)json_integer_value(json_object_get(done, "changes")), program + strlen("stile-"),
		       (long long)json_integer_value(json_object_get(done, "transaction")));
	json_decref(done);
	return r;
}

/* ---- get ---- */

static const struct column get_columns[] = {
	{ "path", "KEY", COL_TEXT }, { "shown", "VALUE", COL_TEXT }, { "from", "SET IN", COL_TEXT },
};

static void show_value(json_t *row)
{
	json_t *v = json_object_get(row, "value");
	char *text = json_is_string(v) ? NULL : json_is_null(v) ? NULL : json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	const char *source = json_string_value(json_object_get(row, "source")), *file = json_string_value(json_object_get(row, "file"));
	char from[400];

	if (json_is_string(v))
		json_object_set(row, "shown", v);
	else
		json_object_set_new(row, "shown", json_string(text ? text : "not set"));
	free(text);
	if (file)
		snprintf(from, sizeof from, "%s:%lld", file, (long long)json_integer_value(json_object_get(row, "line")));
	else
		snprintf(from, sizeof from, "%s%s", source, json_object_get(row, "skipped") ? "; the store's value is bad and left out" : "");
	json_object_set_new(row, "from", json_string(from));
}

static void print_line(const char *what, const json_t *row, const char *key)
{
	const json_t *v = json_object_get(row, key);
	char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

	if (v && !json_is_null(v)) {
		printf("  %-10s ", what);
		print_clean(stdout, text ? text : json_string_value(v));
		printf("\n");
	}
	free(text);
}

static void print_key(const json_t *row)
{
	printf("%s\n", json_string_value(json_object_get(row, "path")));
	print_line("value", row, "shown");
	print_line("set in", row, "from");
	print_line("stored", row, "stored");
	print_line("left out", row, "skipped");
	print_line("default", row, "default");
	print_line("type", row, "type");
	print_line("from", row, "min");
	print_line("to", row, "max");
	print_line("unit", row, "unit");
	print_line("one of", row, "choices");
	print_line("revision", row, "revision");
	printf("  %s%s\n", json_string_value(json_object_get(row, "help")),
	       json_is_true(json_object_get(row, "reload")) ? "" : " A change needs a restart.");
}

static int run_get(struct cli *cli)
{
	const char *key = cli->n_words ? cli->words[0] : NULL;
	char program[SERVICE_NAME];
	json_t *got = NULL, *rows, *row;
	size_t i;
	int r = program_of(cli, key, program);

	if (r == 0)
		r = ask(cli, program, "config.get", key ? json_pack("{s:s}", "path", key) : json_object(), &got);
	if (r)
		return r;
	rows = json_object_get(got, "rows");
	if (cli_has(cli, "json")) {
		print_json(got);
	} else {
		json_array_foreach(rows, i, row)
			show_value(row);
		if (json_array_size(rows) == 1)
			print_key(json_array_get(rows, 0));
		else
			print_table(stdout, get_columns, ARRAY_LEN(get_columns), rows);
	}
	json_decref(got);
	return 0;
}

/* ---- set, unset ---- */

/* What the service says of the key: whether it is a list, and whether a secret. */
static int row_of(struct cli *cli, const char *program, const char *key, json_t **ret_got, const json_t **ret_row)
{
	int r = ask(cli, program, "config.get", json_pack("{s:s}", "path", key), ret_got);

	*ret_row = json_array_get(json_object_get(*ret_got, "rows"), 0);
	return r;
}

/* "[::1]:8443" is an address, "[2001:db8::/64]:22" a prefix: one item of a list. */
static bool is_bracketed(const char *s)
{
	return *s == '[' && !strpbrk(s, "\"{, ");
}

/* Words as they stand; of a list each is an item; [..] and {..} are JSON. NULL: said why. */
static json_t *value_of(struct cli *cli, const json_t *row)
{
	const char *first = cli->n_words > 1 ? cli->words[1] : NULL;
	bool list = json_is_true(json_object_get(row, "list"));
	char secret[SECRET_CAP];
	json_error_t e;
	json_t *v = NULL;

	if (!first || strcmp(first, "-") == 0) {
		if (cli_read_secret(cli, "value", secret, sizeof secret) == 0 && !(v = json_string(secret)))
			cli_fail(cli, "a value must be UTF-8");
		bytes_wipe(secret, sizeof secret);
		return v;
	}
	if ((*first == '[' || *first == '{') && cli->n_words == 2 && list) {
		v = json_loads(first, 0, &e);
		if (!v && is_bracketed(first))
			v = json_pack("[s]", first);
		else if (!v)
			cli_fail(cli, "the value is no JSON: %s", e.text);
		return v;
	}
	if (!list && cli->n_words > 2) {
		cli_fail(cli, "%s has one value; quote it if it holds blanks", cli->words[0]);
		return NULL;
	}
	if (!list)
		return json_string(first);
	v = json_array();
	for (unsigned i = 1; i < cli->n_words; i++)
		json_array_append_new(v, json_string(cli->words[i]));
	return v;
}

/* The arguments of a change of the first word's key: only if it has still the revision that is named. */
static int path_args(struct cli *cli, json_t **ret_args)
{
	uint64_t revision = 0;
	int r = cli_number(cli, "revision", 0, INT64_MAX, &revision);

	if (r)
		return r;
	*ret_args = json_pack("{s:s}", "path", cli->words[0]);
	if (cli_has(cli, "revision"))
		json_object_set_new(*ret_args, "revision", json_integer((json_int_t)revision));
	return 0;
}

static int run_set(struct cli *cli)
{
	const char *key = cli->words[0];
	char program[SERVICE_NAME];
	json_t *got = NULL, *value = NULL, *args = NULL;
	const json_t *row = NULL;
	int r = program_of(cli, key, program);

	if (r == 0)
		r = path_args(cli, &args);
	if (r == 0)
		r = row_of(cli, program, key, &got, &row);
	if (r == 0 && json_is_true(json_object_get(row, "secret")) && cli->n_words > 1 && strcmp(cli->words[1], "-") != 0)
		fprintf(stderr, "stile config set: other users of this machine may see a secret on a command line; better: stile config set %s\n", key);
	if (r == 0 && !(value = value_of(cli, row)))
		r = EXIT_USAGE;
	json_decref(got);
	if (r) {
		json_decref(args);
		return r;
	}
	json_object_set_new(args, "value", value);
	return config_send(cli, program, "config.set", args);
}

static int run_unset(struct cli *cli)
{
	char program[SERVICE_NAME];
	json_t *args = NULL;
	int r = program_of(cli, cli->words[0], program);

	if (r == 0)
		r = path_args(cli, &args);
	return r ? r : config_send(cli, program, "config.unset", args);
}

/* ---- transactions ---- */

/* The service that the first word names, and {transaction} or {change} of the second one: 0, or an exit code after a sentence. */
static int numbered(struct cli *cli, const char *key, char program[static SERVICE_NAME], json_t **ret_args)
{
	int r = services_name(cli, cli->words[0], "", program);
	uint64_t n;

	if (r)
		return r;
	if (text_u64(text_of(cli->words[1]), &n) < 0 || !n || n > INT64_MAX)
		return cli_wrong(cli, "a %s is a number, not '%s'", key, cli->words[1]);
	*ret_args = json_pack("{s:I}", key, (json_int_t)n);
	return 0;
}

static int run_begin(struct cli *cli)
{
	char program[SERVICE_NAME];
	json_t *got = NULL;
	int r = services_name(cli, cli->words[0], "", program);

	if (r == 0)
		r = ask(cli, program, "config.begin", json_object(), &got);
	if (r == 0 && cli_has(cli, "json"))
		print_json(got);
	else if (r == 0)
		printf("transaction %lld\nstile config set KEY VALUE --service %s --transaction %lld, then stile config commit %s %lld\n",
		       (long long)json_integer_value(json_object_get(got, "transaction")), program + strlen("stile-"),
		       (long long)json_integer_value(json_object_get(got, "transaction")), program + strlen("stile-"),
		       (long long)json_integer_value(json_object_get(got, "transaction")));
	json_decref(got);
	return r;
}

static void print_faults(const json_t *errors)
{
	size_t i;
	json_t *e;

	json_array_foreach(errors, i, e) {
		const char *path = json_string_value(json_object_get(e, "path")), *key = json_string_value(json_object_get(e, "key"));
		printf("  ✘ ");
		print_clean(stdout, path ? path : key ? key : "");
		printf("%s", path || key ? ": " : "");
		print_clean(stdout, json_string_value(json_object_get(e, "text")));
		printf("\n");
	}
}

static int run_review(struct cli *cli)
{
	char program[SERVICE_NAME];
	json_t *got = NULL, *args = NULL, *o;
	size_t i;
	bool good;
	int r = numbered(cli, "transaction", program, &args);

	if (r == 0)
		r = ask(cli, program, "config.diff", args, &got);
	if (r)
		return r;
	good = json_is_true(json_object_get(got, "good"));
	if (cli_has(cli, "json")) {
		print_json(got);
	} else {
		print_changes(json_object_get(got, "rows"));
		json_array_foreach(json_object_get(got, "objects"), i, o)
			printf("  %s %s %s\n", json_string_value(json_object_get(o, "kind")), json_string_value(json_object_get(o, "key")),
			       json_is_null(json_object_get(o, "after")) ? "deleted" : "made or changed");
		print_faults(json_object_get(got, "errors"));
		printf("%s\n", good ? "nothing stands against it" : "it cannot be committed like this");
	}
	json_decref(got);
	return good ? 0 : EXIT_FAILED;
}

static int on_number(struct cli *cli, const char *verb, const char *key)
{
	char program[SERVICE_NAME];
	json_t *args = NULL;
	int r = numbered(cli, key, program, &args);

	return r ? r : config_send(cli, program, verb, args);
}

static int run_commit(struct cli *cli)
{
	return on_number(cli, "config.commit", "transaction");
}

static int run_undo(struct cli *cli)
{
	return on_number(cli, "config.undo", "change");
}

static int run_abort(struct cli *cli)
{
	char program[SERVICE_NAME];
	json_t *args = NULL;
	int r = numbered(cli, "transaction", program, &args);

	return r ? r : cli_do(cli, program, "config.abort", args, "transaction %s is dropped; nothing was changed", cli->words[1]);
}

static int run_confirm(struct cli *cli)
{
	char program[SERVICE_NAME];
	int r = services_name(cli, cli->words[0], "", program);

	return r ? r : cli_do(cli, program, "config.confirm", json_object(), "the last change of %s stays", cli->words[0]);
}

/* ---- history ---- */

static const struct column history_columns[] = {
	{ "change", "CHANGE", COL_TEXT }, { "when", "WHEN", COL_TEXT }, { "who", "WHO", COL_TEXT }, { "what", "WHAT", COL_TEXT },
	{ "was", "BEFORE", COL_TEXT }, { "is", "AFTER", COL_TEXT },
};

/* A setting's piece down to its value: {"turn": {"realm": "x"}} is x. */
static json_t *bare(const json_t *body, bool setting)
{
	while (setting && json_is_object(body) && json_object_size(body) == 1 && !json_object_get(body, "secret"))
		body = json_object_iter_value(json_object_iter((json_t *)body));
	if (!body || json_is_null(body))
		return json_string("");
	if (json_is_string(body))
		return json_incref((json_t *)body);
	if (json_is_string(json_object_get(body, "secret")) && json_object_size(body) == 1)
		return json_string("a secret");
	char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
	json_t *s = json_string(text ? text : "");
	free(text);
	return s;
}

static void polish(json_t *row)
{
	const char *kind = json_string_value(json_object_get(row, "kind")), *key = json_string_value(json_object_get(row, "key"));
	bool setting = strcmp(kind, "setting") == 0;
	time_t at = (time_t)(json_integer_value(json_object_get(row, "at")) / 1000);
	char text[400], when[32];
	struct tm tm;

	snprintf(text, sizeof text, "%lld", (long long)json_integer_value(json_object_get(row, "change")));
	json_object_set_new(row, "change", json_string(text));
	if (localtime_r(&at, &tm) && strftime(when, sizeof when, "%F %T", &tm))
		json_object_set_new(row, "when", json_string(when));
	snprintf(text, sizeof text, "%s%s%.300s", setting ? "" : kind, setting ? "" : " ", key);
	if (json_object_get(row, "undoes"))
		snprintf(text + strlen(text), sizeof text - strlen(text), " (undoes %lld)",
			 (long long)json_integer_value(json_object_get(row, "undoes")));
	json_object_set_new(row, "what", json_string(text));
	json_object_set_new(row, "was", bare(json_object_get(row, "before"), setting));
	json_object_set_new(row, "is", bare(json_object_get(row, "after"), setting));
}

static int run_history(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	struct cli_list l = { .verb = "config.audit", .limit = 50 };
	char program[SERVICE_NAME];
	json_t *rows = json_array(), *row;
	bool more;
	size_t i;
	int r = cli_number(cli, "limit", 1, 100000, &l.limit);

	if (r == 0)
		r = services_name(cli, cli->words[0], "", program);
	if (r == 0)
		r = cli_connect(cli, program, &cl);
	if (r == 0)
		r = cli_rows(cli, cl, &l, rows, &more);
	if (r == 0 && !cli_has(cli, "json"))
		json_array_foreach(rows, i, row)
			polish(row);
	if (r == 0)
		print_list(cli, history_columns, ARRAY_LEN(history_columns), rows, "nothing was changed over the control socket so far");
	json_decref(rows);
	return r;
}

#define OPTION_SERVICE { "service", 0, "NAME", "whose: turn, tunnel, agent, sip, console, gateway; needed for log and stun_servers" }
#define OPTION_REVISION { "revision", 0, "NUMBER", "only if it still is what you have seen (stile config get KEY); 0: only if it is not set" }
static const struct option_row get_options[] = { OPTION_SERVICE };
static const struct option_row set_options[] = { OPTION_SERVICE, CONFIG_OPTION_TRANSACTION, CONFIG_OPTION_CONFIRM, OPTION_REVISION };
static const struct option_row confirm_options[] = { CONFIG_OPTION_CONFIRM };
static const struct option_row history_options[] = { { "limit", 0, "N", "the newest N; 50 if not given" } };

static const struct command rows[] = {
	{ "config get", "[KEY]", "keys of a running service: values, and where each is set", "KEY may be a part: turn.limits.", get_options,
	  ARRAY_LEN(get_options), 0, 1, run_get, WITHOUT_CONFIG },
	{ "config set", "KEY [VALUE...]", "set a key of a running service, now and for all starts to come",
	  "It is checked as the file would be, applied as a reload would, and kept in the service's store. What the file sets wins and\n"
	  "cannot be set here. Of a list each VALUE is an item, and a list of maps is given as JSON; a secret is asked for\n"
	  "if no VALUE is given, or read from standard input.",
	  set_options, ARRAY_LEN(set_options), 1, 16, run_set, WITHOUT_CONFIG },
	{ "config unset", "KEY", "let a key go back to its default", NULL, set_options, ARRAY_LEN(set_options), 1, 1, run_unset, WITHOUT_CONFIG },
	{ "config begin", "SERVICE", "begin a transaction: changes that are made as one", NULL, NULL, 0, 1, 1, run_begin, WITHOUT_CONFIG },
	{ "config review", "SERVICE TRANSACTION", "what a transaction would change, and what stands against it", NULL, NULL, 0, 2, 2, run_review,
	  WITHOUT_CONFIG },
	{ "config commit", "SERVICE TRANSACTION", "make the changes of a transaction, all or none", NULL, confirm_options,
	  ARRAY_LEN(confirm_options), 2, 2, run_commit, WITHOUT_CONFIG },
	{ "config abort", "SERVICE TRANSACTION", "drop a transaction", NULL, NULL, 0, 2, 2, run_abort, WITHOUT_CONFIG },
	{ "config confirm", "SERVICE", "keep the change that waits for its confirmation", NULL, NULL, 0, 1, 1, run_confirm, WITHOUT_CONFIG },
	{ "config undo", "SERVICE CHANGE", "take a change back, settings and objects alike",
	  "All that the change has changed becomes what it was before, as a change of its own. Refused if any of it was changed since.",
	  confirm_options, ARRAY_LEN(confirm_options), 2, 2, run_undo, WITHOUT_CONFIG },
	{ "config history", "SERVICE", "who changed what and when, newest first", NULL, history_options, ARRAY_LEN(history_options), 1, 1,
	  run_history, WITHOUT_CONFIG },
};
const struct command_table config_change_commands = { rows, ARRAY_LEN(rows) };
