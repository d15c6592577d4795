/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile sip route …: static routes made, switched and taken away while the service runs. They are kept in its store; those
 * of the file are shown and stay as the file says. The service judges the values by the rows of sip.routes, so
 * errors are the same as in the file.
 */
#include <string.h>
#include "cli/sip.h"
#include "common/text.h"

static const struct column columns[] = {
	{ "domain", "DOMAIN", COL_TEXT },   { "host", "GATEWAY", COL_TEXT },
	{ "port", "PORT", COL_TEXT },	    { "transport", "TRANSPORT", COL_TEXT },
	{ "bind", "FROM", COL_TEXT },	    { "active", "ACTIVE", COL_TEXT },
	{ "trusted", "TRUSTED", COL_TEXT }, { "user", "ACCOUNT", COL_TEXT },
	{ "from", "SET IN", COL_TEXT },	    { "warn", "WARNING", COL_TEXT },
	{ "why", "GATEWAY IS SILENT", COL_TEXT },
};

static int run_list(struct cli *cli)
{
	json_t *result = NULL, *rows, *row;
	size_t i;
	int r = sip_call(cli, "sip.route.list", json_object(), &result);

	rows = json_object_get(result, "rows");
	json_array_foreach(rows, i, row)
	{
		const json_t *transport = json_object_get(row, "transport"), *port = json_object_get(row, "port");
		if (json_is_integer(port)) /* the file's; the store has what was typed */
			json_object_set_new(row, "port", json_sprintf("%lld", (long long)json_integer_value(port)));
		sip_or_default(row, "transport", "tls");
		sip_or_default(row, "port", "-");
		sip_or_default(row, "bind", "-");
		sip_or_default(row, "active", "true");
		sip_or_default(row, "trusted",
			   transport && strcmp(json_string_value(transport), "mtls") == 0 ? "by certificate"
											  : "false");
		sip_or_default(row, "user", "-");
	}
	if (r == 0)
		print_list(cli, columns, ARRAY_LEN(columns), rows, "no static routes");
	if (r == 0 && json_is_false(json_object_get(result, "used")))
		fprintf(stderr, "stile sip route list: none of them is used: stile sip routes on, or sip.use_routes\n");
	json_decref(result);
	return r;
}

static int run_add(struct cli *cli)
{
	static const char *const texts[] = { "port", "transport", "bind", "user" };
	json_t *route = json_pack("{s:s, s:s}", "domain", cli->words[0], "host", cli->words[1]);

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (cli_has(cli, texts[i]))
			json_object_set_new(route, texts[i], json_string(cli_option(cli, texts[i])));
	if (cli_has(cli, "trusted"))
		json_object_set_new(route, "trusted", json_true());
	if (cli_has(cli, "disabled"))
		json_object_set_new(route, "active", json_false());
	return cli_do(cli, SIP_PROGRAM, "sip.route.put",
		      json_pack("{s:o, s:b}", "route", route, "create", !cli_has(cli, "replace")),
		      "requests for %s go this way now", cli->words[0]);
}

static int run_delete(struct cli *cli)
{
	return cli_do(cli, SIP_PROGRAM, "sip.route.delete", json_pack("{s:s}", "domain", cli->words[0]),
		      "the route for %s is deleted; calls that are there go on", cli->words[0]);
}

static int run_switch(struct cli *cli, bool on)
{
	return cli_do(cli, SIP_PROGRAM, "sip.route.switch",
		      json_pack("{s:s, s:b}", "domain", cli->words[0], "active", on),
		      on ? "the route for %s is on"
			 : "the route for %s is off; calls that are there go on",
		      cli->words[0]);
}

static int run_enable(struct cli *cli)
{
	return run_switch(cli, true);
}

static int run_disable(struct cli *cli)
{
	return run_switch(cli, false);
}

/* A setting in the store, under the file: what stands there is refused with its place. */
static int use_all(struct cli *cli, bool on)
{
	return cli_do(cli, SIP_PROGRAM, "config.set",
		      json_pack("{s:s, s:b}", "path", "sip.use_routes", "value", on),
		      on ? "static routes are used%s" : "no static route is used%s; calls that are there go on", "");
}

static int run_all_on(struct cli *cli)
{
	return use_all(cli, true);
}

static int run_all_off(struct cli *cli)
{
	return use_all(cli, false);
}

static const struct option_row add_options[] = {
	{ "port", 0, "PORT", "the gateway's port (default: its SRV record's, or the transport's own)" },
	{ "transport", 't', "udp|tcp|tls|mtls", "default tls" },
	{ "bind", 0, "ADDRESS", "address of ours to send from" },
	{ "trusted", 0, NULL, "no password for who comes from there: TLS, or TCP from its own addresses" },
	{ "user", 0, "NAME",
	  "the account of sip.users by which the other side proves itself, if it is not trusted" },
	{ "disabled", 0, NULL, "keep it, but do not use it yet" },
	{ "replace", 0, NULL, "change the route of this domain: what is not named stays" },
};

static const struct command rows[] = {
	{ "sip route list", "", "static routes of the file and of the store",
	  "A route that stands in the configuration file is changed there; the others by stile sip route.",
	  NULL, 0, 0, 0, run_list, WITHOUT_CONFIG },
	{ "sip route add", "DOMAIN HOST", "send requests for a domain to a gateway, at once",
	  "HOST is a name or an address; all of its addresses are tried. With mtls its certificate must name DOMAIN. The route is\n"
	  "kept in the store and is there after a restart. man 5 stile.yaml tells more of the keys (sip.routes).\n\n"
	  "  stile sip route add partner.example sip.partner.example --transport mtls",
	  add_options, ARRAY_LEN(add_options), 2, 2, run_add, WITHOUT_CONFIG },
	{ "sip route delete", "DOMAIN", "delete a route of the store", NULL, NULL, 0, 1, 1,
	  run_delete, WITHOUT_CONFIG },
	{ "sip route enable", "DOMAIN", "use a route of the store again", NULL, NULL, 0, 1, 1,
	  run_enable, WITHOUT_CONFIG },
	{ "sip route disable", "DOMAIN", "do not use a route of the store",
	  "Calls that are there go on.", NULL, 0, 1, 1, run_disable, WITHOUT_CONFIG },
	{ "sip routes on", "", "use the static routes again", "All that are active.", NULL, 0, 0, 0,
	  run_all_on, WITHOUT_CONFIG },
	{ "sip routes off", "", "do not use any static route, of the file or of the store",
	  "The switch is kept in the store (sip.use_routes); none is changed or lost. Calls that are there go on.",
	  NULL, 0, 0, 0, run_all_off, WITHOUT_CONFIG },
};
const struct command_table sip_route_commands = { rows, ARRAY_LEN(rows) };
