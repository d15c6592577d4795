/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile sip server …: UC servers made, changed and taken away while the service runs, as stile sip route does with routes.
 * They are kept in its store; those of the file are shown and stay as the file says. The service judges the values by
 * the rows of sip.lan.servers, so errors are the same as in the file. How the servers are is sip_servers.c.
 */
#include "cli/sip.h"
#include "common/bytes.h"
#include "common/text.h"

static const struct column columns[] = {
	{ "user", "SERVER", COL_TEXT },	    { "password", "PASSWORD", COL_TEXT },
	{ "addresses", "FROM", COL_TEXT },  { "certificate_name", "CERTIFICATE", COL_TEXT },
	{ "contact", "CONTACT", COL_TEXT }, { "users", "USERS", COL_TEXT },
	{ "group", "GROUP", COL_TEXT },	    { "weight", "WEIGHT", COL_TEXT },
	{ "from", "SET IN", COL_TEXT },
};

/* A list as it would be typed. */
static void in_words(json_t *row, const char *key)
{
	const json_t *list = json_object_get(row, key);

	if (json_is_array(list))
		json_object_set_new(row, key, json_array_size(list) ? strings_joined(list, ",") : json_string("-"));
}

static int run_list(struct cli *cli)
{
	static const char *const none[] = { "addresses", "certificate_name", "contact", "users", "group" };
	json_t *result = NULL, *rows, *row;
	size_t i;
	int r = sip_call(cli, "sip.server.list", json_object(), &result);

	rows = json_object_get(result, "rows");
	json_array_foreach(rows, i, row)
	{
		if (cli_has(cli, "json"))
			break;
		json_object_set_new(row, "password",
				    json_string(json_object_get(row, "password") ? "set" : "none"));
		in_words(row, "addresses");
		in_words(row, "users");
		for (size_t k = 0; k < ARRAY_LEN(none); k++)
			sip_or_default(row, none[k], "-");
		sip_or_default(row, "weight", "100");
	}
	if (r == 0)
		print_list(cli, columns, ARRAY_LEN(columns), rows,
			   "no UC servers are configured: stile sip server add");
	json_decref(result);
	return r;
}

/* The keys that were given as options; "" takes one back to its default. NULL: it was said why not. */
static json_t *keys(struct cli *cli)
{
	static const struct {
		const char *option, *key;
		bool list;
	} v[] = { { "addresses", "addresses", true },	{ "certificate-name", "certificate_name", false },
		  { "contact", "contact", false },	{ "users", "users", true },
		  { "group", "group", false },		{ "weight", "weight", false } };
	json_t *o = json_pack("{s:s}", "user", cli->words[0]);
	char password[256];
	int r;

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		const char *s = cli_option(cli, v[i].option);
		if (s)
			json_object_set_new(o, v[i].key,
					    !*s		? json_null()
					    : v[i].list ? cli_list_of(cli, v[i].option)
							: json_string(s));
	}
	if (cli_has(cli, "no-password"))
		json_object_set_new(o, "password", json_null());
	if (!cli_has(cli, "password"))
		return o;
	r = cli_read_secret(cli, "password", password, sizeof password);
	if (r == 0)
		json_object_set_new(o, "password", json_string(password));
	bytes_wipe(password, sizeof password);
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}

static int put(struct cli *cli, bool create, const char *done)
{
	json_t *o = keys(cli);

	if (!o)
		return EXIT_FAILED;
	return cli_do(cli, SIP_PROGRAM, "sip.server.put",
		      json_pack("{s:o, s:b}", "server", o, "create", create), done, cli->words[0]);
}

static int run_add(struct cli *cli)
{
	return put(cli, true, "%s may log on now");
}

static int run_set(struct cli *cli)
{
	return put(cli, false, "%s is changed; if it is logged on it stays so");
}

static int run_remove(struct cli *cli)
{
	return cli_do(cli, SIP_PROGRAM, "sip.server.delete", json_pack("{s:s}", "user", cli->words[0]),
		      "%s is removed, and logged off; calls that are there go on", cli->words[0]);
}

#define KEYS                                                                                                  \
	{ "password", 'p', NULL, "ask for its password (or take the first line of standard input)", false },  \
		{ "addresses", 0, "LIST", "from where it may log on: 10.0.0.6,10.1.0.0/24", false },          \
		{ "certificate-name", 0, "NAME", "name in its certificate, over mutual TLS", false },         \
		{ "contact", 0, "URI", "where it is, if it cannot log on: sip:10.0.0.6:5060;transport=tcp", false }, \
		{ "users", 0, "LIST", "who lives there, as far as it is known: alice,2*,100-199", false },    \
		{ "group", 0, "NAME", "servers of one group serve the same users", false },                   \
	{                                                                                                     \
		"weight", 0, "N", "its share of the users of a group (default 100)", false                    \
	}
static const struct option_row add_options[] = { KEYS };
static const struct option_row set_options[] = {
	KEYS,
	{ "no-password", 0, NULL, "take its password away", false },
};

static const struct command rows[] = {
	{ "sip server list", "", "UC servers of the file and of the store, as they are configured",
	  "A server that stands in the configuration file is changed there; the others by stile sip server. How they are says\n"
	  "stile sip servers.",
	  NULL, 0, 0, 0, run_list, WITHOUT_CONFIG },
	{ "sip server add", "NAME", "let a UC server log on, at once",
	  "NAME is the user part of To in its REGISTER. It needs a password, addresses, the name in its certificate, or a contact. It is\n"
	  "kept in the store and is there after a restart. man 5 stile.yaml tells more of the keys (sip.lan.servers).\n\n"
	  "  stile sip server add uc-b --password --addresses 10.1.0.6 --users 2*",
	  add_options, ARRAY_LEN(add_options), 1, 1, run_add, WITHOUT_CONFIG },
	{ "sip server set", "NAME", "change a UC server of the store, at once",
	  "What is not named stays; an option with an empty value takes the key back to its default.",
	  set_options, ARRAY_LEN(set_options), 1, 1, run_set, WITHOUT_CONFIG },
	{ "sip server remove", "NAME", "remove a UC server of the store",
	  "It is logged off, and its users are not reached any more. Calls that are there go on.", NULL, 0,
	  1, 1, run_remove, WITHOUT_CONFIG },
};
const struct command_table sip_server_set_commands = { rows, ARRAY_LEN(rows) };
