/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile sip servers, and stile sip server users: the UC servers of the LAN and who lives at which.
 *
 * The first is for monitoring, too: its exit status says whether all of them are there and well. The second shows what
 * the proxy has learned, which a configured range need not be.
 */
#include <string.h>
#include <time.h>
#include "cli/sip.h"
#include "common/text.h"

static const struct column server_columns[] = {
	{ "name", "SERVER", COL_TEXT },	  { "state", "STATE", COL_TEXT },
	{ "health", "HEALTH", COL_TEXT }, { "address", "ADDRESS", COL_TEXT },
	{ "transport", "BY", COL_TEXT },  { "when", "SINCE", COL_TEXT },
	{ "users", "USERS", COL_COUNT },  { "weight", "WEIGHT", COL_COUNT },
	{ "group", "GROUP", COL_TEXT },	  { "trouble", "LAST ERROR", COL_TEXT },
};
static const struct column user_columns[] = {
	{ "user", "USER", COL_TEXT },
	{ "server", "SERVER", COL_TEXT },
	{ "how", "KNOWN BY", COL_TEXT },
	{ "expires_s", "FOR (S)", COL_COUNT },
};

static void put_time(json_t *row, const char *from, const char *to, const char *behind)
{
	time_t t = (time_t)json_integer_value(json_object_get(row, from));
	const char *more = behind ? json_string_value(json_object_get(row, behind)) : NULL;
	char text[320] = "";
	struct tm tm;

	if (t > 0 && localtime_r(&t, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	if (more && *more) {
		text_append(text, sizeof(text), " ");
		text_append(text, sizeof(text), more);
	}
	json_object_set_new(row, to, json_string(text));
}

/* All of them are one page: there are few. Exit 1 if one of them is not there. */
static int run_servers(struct cli *cli)
{
	json_t *result = NULL, *row;
	int r = sip_call(cli, "sip.servers", NULL, &result);
	json_t *rows = json_object_get(result, "rows");
	bool good = true;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		put_time(row, "since", "when", NULL);
		put_time(row, "last_error_at", "trouble", "last_error");
		good &= strcmp(json_string_value(json_object_get(row, "health")), "well") == 0;
	}
	if (r == 0)
		print_list(cli, server_columns, ARRAY_LEN(server_columns), rows,
			   "no UC servers are configured (sip.lan.servers)");
	json_decref(result);
	return r == 0 && !good ? EXIT_FAILED : r;
}

static int run_users(struct cli *cli)
{
	return sip_show(cli, &(struct sip_shown){ "sip.server.users",
						  "nobody is known to live at one of the servers",
						  user_columns, ARRAY_LEN(user_columns) });
}

static int run_credentials(struct cli *cli)
{
	json_t *c = NULL;
	int r = sip_call(cli, "sip.turn.credentials", cli_named(cli), &c);

	if (r == 0 && cli_has(cli, "json"))
		print_json(c);
	else if (r == 0)
		printf("username  %s\npassword  %s\ngood for  %lld s\nuris      %s\n",
		       json_string_value(json_object_get(c, "username")),
		       json_string_value(json_object_get(c, "password")),
		       (long long)json_integer_value(json_object_get(c, "ttl")),
		       json_string_value(json_object_get(c, "uris")));
	json_decref(c);
	return r;
}

static const struct option_row list_options[] = {
	{ "limit", 'n', "N", "show at most so many (default 1000)", false },
};

static const struct command rows[] = {
	{ "sip servers", "", "UC servers: who is logged on, since when, well or not",
	  "Each of sip.lan.servers with its address, transport, users that are known to live there, weight and last error. Exit "
	  "status 1 if one is not logged on or does not answer.",
	  NULL, 0, 0, 0, run_servers, WITHOUT_CONFIG },
	{ "sip server users", "", "which user lives at which UC server, as far as it is remembered",
	  "Known by a registration that the server accepted, or by its answer to the proxy's question. Users of the configured\n"
	  "ranges (sip.lan.servers[].users) need not be remembered and are not shown.",
	  list_options, ARRAY_LEN(list_options), 0, 0, run_users, WITHOUT_CONFIG },
	{ "sip credentials", "USER", "credentials of stile-turn for a UC client",
	  "USER is alice@example.org. The same that a client gets in the answer to its REGISTER, if it asks (sip.turn.header).",
	  NULL, 0, 1, 1, run_credentials, WITHOUT_CONFIG },
};
const struct command_table sip_server_commands = { rows, ARRAY_LEN(rows) };
