/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile turn …: sessions, kill, drain, why, metrics, users; and stile credentials. Each is one call of a control verb and its
 * answer as a table or as JSON; passwords come from the terminal or from standard input, never from the
 * command line, where every user of the machine could read them.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cli/command.h"
#include "cli/credential.h"
#include "common/bytes.h"
#include "common/text.h"

/* ---- sessions ---- */

/* VIA, CLIENT and SERVER are the five-tuple. */
static const struct column session_columns[] = {
	{ "id", "ID", COL_COUNT },
	{ "user", "USER", COL_TEXT },
	{ "realm", "REALM", COL_TEXT },
	{ "transport", "VIA", COL_TEXT },
	{ "client", "CLIENT", COL_TEXT },
	{ "local", "SERVER", COL_TEXT },
	{ "relay", "RELAY", COL_TEXT },
	{ "packets_up", "PKT UP", COL_COUNT },
	{ "bytes_up", "UP", COL_BYTES },
	{ "packets_down", "PKT DOWN", COL_COUNT },
	{ "bytes_down", "DOWN", COL_BYTES },
	{ "age_ms", "AGE", COL_MS },
	{ "remaining_ms", "REMAINING", COL_MS },
};

/* A table of a server with one realm needs no column for it. */
static void print_rows(const struct column *columns, size_t n, json_t *rows)
{
	const char *first = json_string_value(json_object_get(json_array_get(rows, 0), "realm"));
	struct column shown[16];
	bool several = false;
	unsigned kept = 0;
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row) {
		const char *realm = json_string_value(json_object_get(row, "realm"));
		several |= realm && first && strcmp(realm, first) != 0;
	}
	for (i = 0; i < n && kept < ARRAY_LEN(shown); i++)
		if (several || strcmp(columns[i].key, "realm") != 0)
			shown[kept++] = columns[i];
	print_table(stdout, shown, kept, rows);
}

/* --realm, if it was given, goes with the verb's arguments. */
static json_t *with_realm(const struct cli *cli, json_t *args)
{
	const char *realm = cli_option(cli, "realm");

	if (args && realm)
		json_object_set_new(args, "realm", json_string(realm));
	return args;
}

static int run_sessions(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	uint64_t limit = 1000;
	json_t *rows = json_array();
	bool more = false;
	int r = cli_number(cli, "limit", 1, 1000000, &limit);

	if (!r)
		r = cli_connect(cli, "stile-turn", &cl);
	if (!r)
		r = cli_rows(cli, cl, &(struct cli_list){ "turn.sessions", limit, "realm", cli_option(cli, "realm") }, rows, &more);
	if (r == 0 && cli_has(cli, "json"))
		print_json(rows);
	else if (r == 0 && json_array_size(rows))
		print_rows(session_columns, ARRAY_LEN(session_columns), rows);
	else if (r == 0)
		printf("no sessions\n");
	if (more)
		fprintf(stderr, "stile turn sessions: there may be more than these %zu; --limit shows them\n", json_array_size(rows));
	json_decref(rows);
	return r;
}

/* ---- one verb, one line ---- */

static int simple_call(struct cli *cli, const char *verb, json_t *args, const char *done)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *result = NULL;
	int r = cli_connect(cli, "stile-turn", &cl);

	if (r) {
		json_decref(args);
		return r;
	}
	r = cli_call(cli, cl, verb, args, &result);
	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		printf("%s\n", done);
	json_decref(result);
	return r;
}

static int kill_realm(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *result = NULL;
	int r = cli_connect(cli, "stile-turn", &cl);

	if (!r)
		r = cli_call(cli, cl, "turn.kill", with_realm(cli, json_object()), &result);
	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		printf("%lld sessions of realm %s are ended\n", (long long)json_integer_value(json_object_get(result, "killed")),
		       cli_option(cli, "realm"));
	json_decref(result);
	return r;
}

static int kill_several(struct cli *cli)
{
	json_t *ids = json_array(), *result = NULL, *id;
	uint64_t n;
	size_t i;
	int r = 0;

	for (unsigned k = 0; k < cli->n_words && r == 0; k++)
		r = text_u64(text_of(cli->words[k]), &n) < 0 ? EXIT_USAGE : json_array_append_new(ids, json_integer((json_int_t)n));
	if (r) {
		json_decref(ids);
		return cli_wrong(cli, "an ID is a number; stile turn sessions shows it");
	}
	r = cli_ask(cli, "stile-turn", "turn.kill", json_pack("{s:o}", "ids", ids), &result);
	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0) {
		printf("%zu sessions are ended\n", json_array_size(json_object_get(result, "killed")));
		json_array_foreach(json_object_get(result, "gone"), i, id)
			printf("there is no session %lld\n", (long long)json_integer_value(id));
	}
	if (r == 0 && json_array_size(json_object_get(result, "gone")))
		r = EXIT_FAILED;
	json_decref(result);
	return r;
}

static int run_kill(struct cli *cli)
{
	uint64_t id;
	char done[64];

	if (cli_has(cli, "realm") && !cli->n_words)
		return kill_realm(cli);
	if (cli->n_words > 1 && !cli_has(cli, "realm"))
		return kill_several(cli);
	if (!cli->n_words || cli_has(cli, "realm") || text_u64(text_of(cli->words[0]), &id) < 0) {
		fprintf(stderr, "Usage: stile turn kill ID..., or stile turn kill --realm NAME\nID is a number; stile turn sessions shows it\n");
		return EXIT_USAGE;
	}
	snprintf(done, sizeof done, "session %llu is ended", (unsigned long long)id);
	return simple_call(cli, "turn.kill", json_pack("{s:I}", "id", (json_int_t)id), done);
}

/* ---- drain ---- */

static void print_drain(json_int_t allocations, json_int_t left_ms)
{
	char time[64];
	struct sb b = sb_init(time, sizeof time);

	sb_duration(&b, (uint64_t)MAX(left_ms, 0));
	printf("stile-turn makes no new allocations; it stops when the last of %lld has ended%s%s\n", (long long)allocations,
	       left_ms < 0 ? "" : ", or in ", left_ms < 0 ? "" : time);
}

static int run_drain(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *status = NULL, *result = NULL;
	uint64_t deadline = 0;
	int r = cli_time(cli, "deadline", &deadline);

	if (!r)
		r = cli_connect(cli, "stile-turn", &cl);
	if (!r)
		r = cli_call(cli, cl, "turn.status", NULL, &status); /* first: afterwards it may be gone */
	if (!r)
		r = cli_call(cli, cl, "service.drain", cli_has(cli, "deadline") ?
			     json_pack("{s:I}", "deadline_ms", (json_int_t)deadline) : NULL, &result);
	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		print_drain(json_integer_value(json_object_get(status, "allocations")),
			    json_integer_value(json_object_get(result, "drain_left_ms")));
	json_decref(status);
	json_decref(result);
	return r;
}

/* ---- why ---- */

static const struct column why_columns[] = {
	{ "ago_ms", "AGO", COL_MS },	  { "code", "CODE", COL_COUNT }, { "method", "ASKED", COL_TEXT },
	{ "user", "USER", COL_TEXT },	  { "realm", "REALM", COL_TEXT }, { "client", "CLIENT", COL_TEXT },
	{ "reason", "WHY", COL_TEXT },
};

static int run_why(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *result = NULL, *args = with_realm(cli, json_object());
	uint64_t limit = 20;
	int r = cli_number(cli, "limit", 1, 1000, &limit);

	if (!r)
		r = cli_connect(cli, "stile-turn", &cl);
	if (r) {
		json_decref(args);
		return r;
	}
	json_object_set_new(args, "limit", json_integer((json_int_t)limit));
	if (cli->n_words)
		json_object_set_new(args, "match", json_string(cli->words[0]));
	r = cli_call(cli, cl, "turn.why", args, &result);
	json_t *rows = json_object_get(result, "rows");
	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0 && json_array_size(rows))
		print_rows(why_columns, ARRAY_LEN(why_columns), rows);
	else if (r == 0)
		printf("nothing was refused lately%s%s\n", cli->n_words ? " to " : "", cli->n_words ? cli->words[0] : "");
	json_decref(result);
	return r;
}

/* ---- metrics ---- */

static int run_metrics(struct cli *cli)
{
	return cli_metrics(cli, "stile-turn", "turn.metrics");
}

/* ---- users ---- */

static const struct column user_columns[] = {
	{ "name", "USER", COL_TEXT }, { "realm", "REALM", COL_TEXT }, { "from", "FROM", COL_TEXT },
	{ "locked", "SET IN FILE", COL_BOOL },
};

static int run_user_list(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *result = NULL;
	int r = cli_connect(cli, "stile-turn", &cl);

	if (!r)
		r = cli_call(cli, cl, "turn.user.list", with_realm(cli, json_object()), &result);
	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0 && json_array_size(json_object_get(result, "rows")))
		print_rows(user_columns, ARRAY_LEN(user_columns), json_object_get(result, "rows"));
	else if (r == 0)
		printf("no users\n");
	json_decref(result);
	return r;
}

static int put_user(struct cli *cli, bool create, const char *done_form)
{
	char password[256], done[300];

	int r = cli_read_secret(cli, "password", password, sizeof password);
	if (r)
		return r;
	snprintf(done, sizeof done, "user %.200s %s", cli->words[0], done_form);
	json_t *args = json_pack("{s:s, s:s, s:b}", "name", cli->words[0], "password", password, "create", create);
	bytes_wipe(password, sizeof password);
	if (!args)
		return cli_fail(cli, "name and password must be UTF-8");
	return simple_call(cli, "turn.user.put", with_realm(cli, args), done);
}

static int run_user_add(struct cli *cli)
{
	return put_user(cli, true, "may use the server now");
}

static int run_user_passwd(struct cli *cli)
{
	return put_user(cli, false, "has the new password now; sessions that are open go on");
}

static int run_user_delete(struct cli *cli)
{
	char done[300];

	snprintf(done, sizeof done, "user %.200s is deleted", cli->words[0]);
	return simple_call(cli, "turn.user.delete", with_realm(cli, cli_named(cli)), done);
}

/* ---- credentials ---- */

static int run_credentials(struct cli *cli)
{
	struct credential cred;
	uint64_t ttl = 86400000;
	int r = cli_time(cli, "ttl", &ttl);
	const char *mac = cli_option(cli, "mac");

	if (r)
		return r;
	if (mac && strcmp(mac, "sha1") != 0 && strcmp(mac, "sha256") != 0)
		return cli_wrong(cli, "--mac is sha1 or sha256");
	r = credential_mint(cli, cli->n_words ? cli->words[0] : "user", ttl / 1000, mac && strcmp(mac, "sha256") == 0, &cred);
	if (r)
		return r;
	if (cli_has(cli, "json")) {
		json_t *j = json_pack("{s:s, s:s, s:I, s:I, s:s}", "username", cred.user, "password", cred.password, "ttl",
				      (json_int_t)(ttl / 1000), "expires", (json_int_t)cred.expires, "realm", cred.realm);
		print_json(j);
		json_decref(j);
	} else {
		char when[64];
		time_t t = (time_t)cred.expires;
		strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S %Z", localtime(&t));
		printf("username %s\npassword %s\nvalid until %s\n", cred.user, cred.password, when);
	}
	bytes_wipe(&cred, sizeof cred);
	return 0;
}

#define REALM_OPTION(what) { "realm", 'r', "NAME", what }
static const struct option_row sessions_options[] = {
	REALM_OPTION("of this realm only"),
	{ "limit", 'n', "N", "show at most N (default 1000)" },
};
static const struct option_row drain_options[] = {
	{ "deadline", 'd', "TIME", "stop after this time, whoever is still there (default: wait for the last)" },
};
static const struct option_row kill_options[] = {
	REALM_OPTION("all allocations of this realm, instead of one"),
};
static const struct option_row user_options[] = {
	REALM_OPTION("of this realm (default turn.realm)"),
};
static const struct option_row user_list_options[] = {
	REALM_OPTION("of this realm only"),
};
static const struct option_row why_options[] = {
	REALM_OPTION("in this realm only"),
	{ "limit", 'n', "N", "show at most N (default 20)" },
};
static const struct option_row snippet_options[] = {
	{ "live", 'l', NULL, "of the running server, with a credential of its first shared secret" },
};
static const struct option_row credentials_options[] = {
	{ "ttl", 't', "TIME", "how long it is valid (default 24h)" },
	{ "secret", 's', "ID", "which of turn.secrets (default the first)" },
	REALM_OPTION("of this realm's secrets (default turn.secrets)"),
	{ "mac", 0, "NAME", "sha1 (default, what every client's server library makes) or sha256" },
};

static const struct command rows[] = {
	{ "turn sessions", "", "the allocations: user, five-tuple, relay address, traffic, lifetime",
	  "VIA, CLIENT and SERVER are the five-tuple, RELAY is the address that peers see. UP is what the client sent\n"
	  "to its peers, DOWN what came back. AGE counts from the allocation, REMAINING until it ends unless the\n"
	  "client refreshes it. stile turn kill ID ends one.",
	  sessions_options, ARRAY_LEN(sessions_options), 0, 0, run_sessions, WITHOUT_CONFIG },
	{ "turn kill", "[ID...]", "end one allocation, several, or all of a realm",
	  "ID is the number that stile turn sessions shows. The client may allocate again at once; to keep it out, delete\n"
	  "its user or change the password first.",
	  kill_options, ARRAY_LEN(kill_options), 0, CLI_MAX_WORDS, run_kill, WITHOUT_CONFIG },
	{ "turn drain", "", "take no new allocations, and stop when the last has ended",
	  "Clients keep what they have, and may refresh it; who asks for a new allocation is refused, or sent to\n"
	  "turn.alternate_servers. stile status shows how many are left. Called again it sets another deadline. A\n"
	  "stop (SIGTERM, systemctl stop) meanwhile waits for turn.drain at most.",
	  drain_options, ARRAY_LEN(drain_options), 0, 0, run_drain, WITHOUT_CONFIG },
	{ "turn why", "[USER|ADDRESS]", "why a request was refused: the last minutes' refusals",
	  "The reasons are for the administrator; the client was told only the code. Without a word, everybody's.",
	  why_options, ARRAY_LEN(why_options), 0, 1, run_why, WITHOUT_CONFIG },
	{ "turn metrics", "[NAME]", "counters and latencies, in the form that Prometheus reads",
	  "NAME is a part of the names to show. docs/metrics.md explains each. They count while things happen, not at a\n"
	  "session's end, and have no labels of users or peers.",
	  NULL, 0, 0, 1, run_metrics, WITHOUT_CONFIG },
	{ "turn user list", "", "users of the file and of the store",
	  "A user that stands in the configuration file is changed there; the others by stile turn user.",
	  user_list_options, ARRAY_LEN(user_list_options), 0, 0, run_user_list, WITHOUT_CONFIG },
	{ "turn user add", "NAME", "make a user, at once",
	  "The password is asked for, or is the first line of standard input. The user is kept in the store of the running\n"
	  "server and is there after a restart.",
	  user_options, ARRAY_LEN(user_options), 1, 1, run_user_add, WITHOUT_CONFIG },
	{ "turn user passwd", "NAME", "change a user's password, at once",
	  "The password is asked for, or is the first line of standard input. An open session ends when it cannot be\n"
	  "refreshed with the new one.",
	  user_options, ARRAY_LEN(user_options), 1, 1, run_user_passwd, WITHOUT_CONFIG },
	{ "turn user delete", "NAME", "delete a user of the store",
	  "It can make no more allocations. What is open ends when it would be refreshed, or by stile turn kill.",
	  user_options, ARRAY_LEN(user_options), 1, 1, run_user_delete, WITHOUT_CONFIG },
	{ "turn snippet", "[HOST]", "what a WebRTC page needs: iceServers, ready to paste",
	  "The URLs stand in the order of turn.listen. HOST is the name or address that clients use; without it the\n"
	  "external address, or a listener's. --live asks the running server, settings and secrets of the console included.",
	  snippet_options, ARRAY_LEN(snippet_options), 0, 1, run_snippet },
	{ "credentials", "[NAME]", "mint a time-limited TURN credential from turn.secrets",
	  "The form is that of the REST API for TURN: username \"expiry:name\", password base64(HMAC(secret, username)).\n"
	  "Made from the configuration file if it can be read, else by the running server.",
	  credentials_options, ARRAY_LEN(credentials_options), 0, 1, run_credentials },
};
const struct command_table turn_commands = { rows, ARRAY_LEN(rows) };
