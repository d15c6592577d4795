/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts, API tokens, sessions and the audit of the console. They are its own and no service's, so its verb console.api takes what its
 * REST API takes: method, path and body, with the same rules and answers.
 *
 * stile console api is that verb as it is.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "cli/command.h"
#include "common/bytes.h"
#include "common/text.h"

static const char program[] = "stile-console";

/* Of a path: what a name may have that a path may not is escaped. */
static void path_of(const char *what, const char *name, char *out, size_t n)
{
	struct sb b = sb_init(out, n);

	sb_fmt(&b, "/api/v1/%s", what);
	if (name)
		sb_char(&b, '/');
	for (const unsigned char *p = (const unsigned char *)name; p && *p; p++) {
		if (strchr("%/?# ", *p) || *p >= 0x80 || *p < 0x20)
			sb_fmt(&b, "%%%02x", *p);
		else
			sb_char(&b, (char)*p);
	}
}

/* What console.api asks for. body is taken; NULL: none. */
static json_t *request(const char *method, const char *path, json_t *body)
{
	json_t *args = json_pack("{s:s, s:s}", "method", method, "path", path);

	if (body)
		json_object_set_new(args, "body", body);
	return args;
}

/* 0 or an exit code. */
static int api(struct cli *cli, const char *method, const char *path, json_t *body, json_t **ret_result)
{
	return cli_ask(cli, program, "console.api", request(method, path, body), ret_result);
}

/* And says what was done: done has the first word in it. */
static int change(struct cli *cli, const char *method, const char *path, json_t *body, const char *done)
{
	return cli_do(cli, program, "console.api", request(method, path, body), done, cli->words[0]);
}

static void time_text(json_t *row, const char *key, const char *as, const char *never)
{
	time_t at = (time_t)(json_integer_value(json_object_get(row, key)) / 1000);
	char text[40] = "";
	struct tm tm;

	if (at && localtime_r(&at, &tm))
		strftime(text, sizeof text, "%F %R", &tm);
	json_object_set_new(row, as, json_string(at ? text : never));
}

static int list(struct cli *cli, const char *what, const struct column *cols, unsigned n, void (*prepare)(json_t *row), const char *none)
{
	char path[128];
	json_t *result = NULL, *rows, *row;
	size_t i;
	int r;

	path_of(what, NULL, path, sizeof path);
	r = api(cli, "GET", path, NULL, &result);
	if (r)
		return r;
	rows = json_object_get(result, "rows");
	if (!cli_has(cli, "json"))
		json_array_foreach(rows, i, row)
			prepare(row);
	print_list(cli, cols, n, rows, none);
	json_decref(result);
	return 0;
}

/* ---- users ---- */

static const struct column user_columns[] = {
	{ "name", "NAME", COL_TEXT }, { "role", "ROLE", COL_TEXT }, { "totp", "ONE-TIME CODES", COL_BOOL }, { "made", "MADE", COL_TEXT },
};

static void prepare_user(json_t *row)
{
	time_text(row, "created_at", "made", "");
}

static int run_users(struct cli *cli)
{
	return list(cli, "users", user_columns, ARRAY_LEN(user_columns), prepare_user, "no accounts: stile console setup");
}

/* Into body; 0 or an exit code. */
static int read_password(struct cli *cli, json_t *body)
{
	char password[300];
	json_t *v;
	int r = cli_read_secret(cli, "password", password, sizeof password);

	if (r)
		return r;
	v = json_string(password);
	bytes_wipe(password, sizeof password);
	if (!v)
		return cli_fail(cli, "a password must be UTF-8");
	json_object_set_new(body, "password", v);
	return 0;
}

static int run_user_add(struct cli *cli)
{
	const char *role = cli_option(cli, "role");
	json_t *body = json_pack("{s:s, s:s}", "name", cli->words[0], "role", role ? role : "viewer");
	int r = body ? read_password(cli, body) : cli_fail(cli, "a name must be UTF-8");

	if (r == 0)
		return change(cli, "POST", "/api/v1/users", body, "%s is made");
	json_decref(body);
	return r;
}

static int run_user_set(struct cli *cli)
{
	const char *role = cli_option(cli, "role");
	json_t *body = json_object();
	char path[400];
	int r = 0;

	path_of("users", cli->words[0], path, sizeof path);
	if (!role && !cli_has(cli, "password") && !cli_has(cli, "totp-off")) {
		r = cli_wrong(cli, "what? --role, --password or --totp-off");
	}
	if (role)
		json_object_set_new(body, "role", json_string(role));
	if (cli_has(cli, "totp-off"))
		json_object_set_new(body, "totp_off", json_true());
	if (r == 0 && cli_has(cli, "password"))
		r = read_password(cli, body);
	if (r == 0)
		return change(cli, "PUT", path, body, "%s is changed; its sessions have ended");
	json_decref(body);
	return r;
}

static int run_user_delete(struct cli *cli)
{
	char path[400];

	path_of("users", cli->words[0], path, sizeof path);
	return change(cli, "DELETE", path, NULL, "%s is removed, with its sessions and tokens");
}

/* ---- tokens ---- */

static const struct column token_columns[] = {
	{ "id", "ID", COL_TEXT }, { "name", "NAME", COL_TEXT }, { "user", "OF", COL_TEXT }, { "role", "ROLE", COL_TEXT },
	{ "scopes", "SCOPE", COL_TEXT }, { "until", "GOOD UNTIL", COL_TEXT }, { "used", "LAST USED", COL_TEXT },
};

static void prepare_token(json_t *row)
{
	json_object_set_new(row, "scopes", strings_joined(json_object_get(row, "scope"), " "));
	time_text(row, "expires_at", "until", "it is removed");
	time_text(row, "used_at", "used", "never");
}

static int run_tokens(struct cli *cli)
{
	return list(cli, "tokens", token_columns, ARRAY_LEN(token_columns), prepare_token, "no API tokens");
}

static int run_token_add(struct cli *cli)
{
	const char *role = cli_option(cli, "role");
	json_t *scope = cli_list_of(cli, "scope"), *body, *result = NULL;
	uint64_t days = 0;
	int r = cli_number(cli, "days", 1, 36500, &days);

	if (!json_array_size(scope))
		json_array_append_new(scope, json_string("read"));
	body = json_pack("{s:s, s:s, s:o}", "name", cli->words[0], "role", role ? role : "viewer", "scope", scope);
	if (days)
		json_object_set_new(body, "expires_in_s", json_integer((json_int_t)days * 86400));
	if (r) {
		json_decref(body);
		return r;
	}
	r = api(cli, "POST", "/api/v1/tokens", body, &result);
	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		printf("%s\nIt is shown this once. Use it as: Authorization: Bearer TOKEN\n", json_string_value(json_object_get(result, "token")));
	json_decref(result);
	return r;
}

static int run_token_delete(struct cli *cli)
{
	char path[400];

	path_of("tokens", cli->words[0], path, sizeof path);
	return change(cli, "DELETE", path, NULL, "%s is removed");
}

/* ---- sessions and the audit ---- */

static const struct column session_columns[] = {
	{ "short", "ID", COL_TEXT }, { "user", "USER", COL_TEXT }, { "address", "FROM", COL_TEXT }, { "since", "SINCE", COL_TEXT },
	{ "seen", "SEEN", COL_TEXT }, { "agent", "BROWSER", COL_TEXT },
};

static void prepare_session(json_t *row)
{
	json_object_set_new(row, "short", json_sprintf("%.12s", json_string_value(json_object_get(row, "id"))));
	time_text(row, "created_at", "since", "");
	time_text(row, "seen_at", "seen", "");
}

static int run_sessions(struct cli *cli)
{
	return list(cli, "sessions", session_columns, ARRAY_LEN(session_columns), prepare_session, "nobody is logged in");
}

/* The one whose id begins so. */
static int run_session_end(struct cli *cli)
{
	json_t *result = NULL, *row;
	const char *id = NULL;
	char path[400] = "";
	size_t i, n = 0;
	int r = api(cli, "GET", "/api/v1/sessions", NULL, &result);

	json_array_foreach(json_object_get(result, "rows"), i, row)
		if (strncmp(json_string_value(json_object_get(row, "id")), cli->words[0], strlen(cli->words[0])) == 0) {
			id = json_string_value(json_object_get(row, "id"));
			n++;
		}
	if (r == 0 && n != 1)
		r = cli_fail(cli, n ? "%s is the beginning of several sessions" : "there is no session %s", cli->words[0]);
	if (r == 0) {
		path_of("sessions", id, path, sizeof path);
		r = change(cli, "DELETE", path, NULL, "%s has ended");
	}
	json_decref(result);
	return r;
}

static const struct column audit_columns[] = {
	{ "when", "WHEN", COL_TEXT }, { "who", "WHO", COL_TEXT }, { "kind", "KIND", COL_TEXT }, { "key", "OF", COL_TEXT }, { "action", "WHAT", COL_TEXT },
};

static void prepare_audit(json_t *row)
{
	const char *action = json_string_value(json_object_get(json_object_get(row, "after"), "action"));

	json_object_set_new(row, "action", json_string(action ? action : json_is_object(json_object_get(row, "after")) ? "changed" : "removed"));
	time_text(row, "at", "when", "");
}

static int run_audit(struct cli *cli)
{
	return list(cli, "audit?limit=200", audit_columns, ARRAY_LEN(audit_columns), prepare_audit, "nothing was done yet");
}

static int run_api(struct cli *cli)
{
	json_t *body = cli->n_words > 2 ? json_loads(cli->words[2], JSON_REJECT_DUPLICATES, NULL) : NULL, *result = NULL;
	int r;

	if (cli->n_words > 2 && !json_is_object(body)) {
		json_decref(body);
		return cli_wrong(cli, "BODY is a JSON object");
	}
	r = api(cli, cli->words[0], cli->words[1], body, &result);
	if (r == 0)
		print_json(result);
	json_decref(result);
	return r;
}

#define ROLE_OPTION { "role", 0, "ROLE", "viewer, operator or administrator (default viewer)" }
static const struct option_row add_options[] = { ROLE_OPTION };
static const struct option_row set_options[] = {
	{ "role", 0, "ROLE", "viewer, operator or administrator" },
	{ "password", 0, NULL, "a new password, read from the terminal or from standard input" },
	{ "totp-off", 0, NULL, "one-time codes go off: the telephone was lost" },
};
static const struct option_row token_options[] = {
	ROLE_OPTION,
	{ "scope", 0, "LIST", "read, write, metrics (default read)" },
	{ "days", 0, "N", "it ends after so many days (default: never)" },
};

static const struct command rows[] = {
	{ "console users", "", "accounts of the console", NULL, NULL, 0, 0, 0, run_users, 0 },
	{ "console users add", "NAME", "make an account of the console", "Its password is read from the terminal or from standard input.", add_options,
	  ARRAY_LEN(add_options), 1, 1, run_user_add, 0 },
	{ "console users set", "NAME", "change role, password or one-time codes of an account", NULL, set_options, ARRAY_LEN(set_options), 1, 1,
	  run_user_set, 0 },
	{ "console users delete", "NAME", "remove an account of the console", "The last administrator stays.", NULL, 0, 1, 1, run_user_delete, 0 },
	{ "console tokens", "", "API tokens", NULL, NULL, 0, 0, 0, run_tokens, 0 },
	{ "console tokens add", "NAME", "make an API token, which is shown once", NULL, token_options, ARRAY_LEN(token_options), 1, 1, run_token_add, 0 },
	{ "console tokens delete", "ID", "remove an API token", NULL, NULL, 0, 1, 1, run_token_delete, 0 },
	{ "console sessions", "", "who is logged in at the console", NULL, NULL, 0, 0, 0, run_sessions, 0 },
	{ "console sessions end", "ID", "end a session; the beginning of its id will do", NULL, NULL, 0, 1, 1, run_session_end, 0 },
	{ "console audit", "", "what was done by the console, and who did it, newest first", NULL, NULL, 0, 0, 0, run_audit, 0 },
	{ "console api", "METHOD PATH [BODY]", "users, tokens, sessions and audit as the REST API has them",
	  "stile console api GET /api/v1/users", NULL, 0, 2, 3, run_api, 0 },
};
const struct command_table console_account_commands = { rows, ARRAY_LEN(rows) };
