/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile relay route …: routes made, switched and taken away while the service runs. They are kept in its store;
 * those of the file are shown and stay as the file says. What can be said of a route is what
 * tunnel.routes knows: the service judges the values by the same rows, so errors are the same, too.
 */
#include <stdio.h>
#include <string.h>
#include "cli/relay.h"
#include "common/text.h"

static const struct column route_columns[] = {
	{ "name", "ROUTE", COL_TEXT },	      { "listen", "LISTENS ON", COL_TEXT }, { "target", "TARGET", COL_TEXT },
	{ "state", "STATE", COL_TEXT },	      { "connections", "CONNS", COL_COUNT }, { "accepted", "ACCEPTED", COL_COUNT },
	{ "refused", "REFUSED", COL_COUNT },  { "failed", "FAILED", COL_COUNT },    { "bytes_up", "UP", COL_BYTES },
	{ "bytes_down", "DOWN", COL_BYTES },  { "locked", "SET IN FILE", COL_BOOL }, { "reason", "REASON", COL_TEXT },
};

static int run_list(struct cli *cli)
{
	json_t *result = NULL, *rows;
	int r = cli_ask(cli, RELAY_PROGRAM, "relay.route.list", NULL, &result);

	rows = json_object_get(result, "rows");
	if (r == 0)
		print_list(cli, route_columns, ARRAY_LEN(route_columns), rows, "no routes");
	json_decref(result);
	return r;
}

/* ---- add ---- */

static json_t *target_of(const char *host, const char *port)
{
	bool bare6 = strchr(host, ':') && host[0] != '[';

	if (!port)
		return json_sprintf(bare6 ? "[%s]" : "%s", host);
	return json_sprintf(bare6 ? "[%s]:%s" : "%s:%s", host, port);
}

static json_t *list_of(const char *commas)
{
	struct text rest = text_of(commas);
	json_t *list = json_array();

	while (rest.p) {
		struct text part = text_trim(text_cut(&rest, ','));
		json_array_append_new(list, json_stringn(part.p, part.n));
	}
	return list;
}

/* Options that are a key of the route as they stand. */
static const struct {
	const char *option, *map, *key; /* map NULL: of the route itself */
} texts[] = {
	{ "name", NULL, "name" },
	{ "note", NULL, "note" },
	{ "limit", "limits", "connections" },
	{ "bitrate", "limits", "bitrate" },
	{ "source-address", NULL, "source_address" },
	{ "proxy-protocol", NULL, "proxy_protocol" },
	{ "certificate", "tls", "certificate" },
	{ "key", "tls", "key" },
	{ "ca", "target_tls", "ca" },
	{ "server-name", "target_tls", "server_name" },
	{ "connect-timeout", NULL, "connect_timeout" },
	{ "idle-timeout", NULL, "idle_timeout" },
};

static json_t *map_of(json_t *route, const char *name)
{
	json_t *map = name ? json_object_get(route, name) : route;

	if (!map)
		json_object_set_new(route, name, map = json_object());
	return map;
}

static json_t *route_of(const struct cli *cli)
{
	json_t *route = json_object(), *targets = json_array();

	json_array_append_new(targets, target_of(cli->words[1], cli->n_words > 2 ? cli->words[2] : NULL));
	for (unsigned i = 0; i < cli->n_many; i++)
		json_array_append_new(targets, json_string(cli->many[i]));
	json_object_set_new(route, "listen", json_string(cli->words[0]));
	json_object_set_new(route, "target", targets);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (cli_has(cli, texts[i].option))
			json_object_set_new(map_of(route, texts[i].map), texts[i].key, json_string(cli_option(cli, texts[i].option)));
	if (cli_has(cli, "allow"))
		json_object_set_new(route, "allow", list_of(cli_option(cli, "allow")));
	if (cli_has(cli, "target-tls"))
		map_of(route, "target_tls");
	if (cli_has(cli, "insecure"))
		json_object_set_new(map_of(route, "target_tls"), "verify", json_false());
	if (cli_has(cli, "udp"))
		json_object_set_new(route, "udp", json_true());
	if (cli_has(cli, "log-data"))
		json_object_set_new(route, "log_data", json_true());
	if (cli_has(cli, "disabled"))
		json_object_set_new(route, "enabled", json_false());
	return route;
}

/* What became of it: a route that is kept may still be unable to listen. */
static int tell_added(struct cli *cli, const json_t *row)
{
	const char *name = json_string_value(json_object_get(row, "name")), *state = json_string_value(json_object_get(row, "state"));
	const char *reason = json_string_value(json_object_get(row, "reason"));
	bool bad = state && strcmp(state, "not listening") == 0;

	if (cli_has(cli, "json")) {
		print_json(row);
		return bad ? EXIT_FAILED : 0;
	}
	if (bad || (reason && *reason))
		fflush(stdout);
	if (bad)
		return cli_fail(cli, "route %s is kept, but does not listen: %s\nIt is tried again; stile relay route list shows its state",
				name, reason ? reason : "");
	printf("route ");
	print_clean(stdout, name ? name : "?");
	printf(": %s%s", state ? state : "kept", reason && *reason ? ": " : "");
	print_clean(stdout, reason ? reason : "");
	putchar('\n');
	return 0;
}

static int run_add(struct cli *cli)
{
	json_t *result = NULL;
	int r = cli_ask(cli, RELAY_PROGRAM, "relay.route.add",
			   json_pack("{s:o, s:b}", "route", route_of(cli), "replace", cli_has(cli, "replace")), &result);

	if (r == 0)
		r = tell_added(cli, result);
	json_decref(result);
	return r;
}

/* ---- delete, enable, disable ---- */

static json_t *name_and_drop(const struct cli *cli)
{
	json_t *args = cli_named(cli);

	if (args && cli_has(cli, "drop"))
		json_object_set_new(args, "drop", json_true());
	return args;
}

static int run_delete(struct cli *cli)
{
	return cli_do(cli, RELAY_PROGRAM, "relay.route.delete", name_and_drop(cli), "route %s is deleted", cli->words[0]);
}

static int run_enable(struct cli *cli)
{
	json_t *result = NULL;
	int r = cli_ask(cli, RELAY_PROGRAM, "relay.route.enable", cli_named(cli), &result);

	if (r == 0)
		r = tell_added(cli, result);
	json_decref(result);
	return r;
}

static int run_disable(struct cli *cli)
{
	return cli_do(cli, RELAY_PROGRAM, "relay.route.disable", name_and_drop(cli), "route %s takes no new connections", cli->words[0]);
}

static const struct option_row add_options[] = {
	{ "name", 0, "NAME", "how it is called (default: as it listens)" },
	{ "target", 0, "HOST:PORT", "a further target, for when the first is not reached; may be repeated", true },
	{ "udp", 'u', NULL, "UDP instead of TCP" },
	{ "allow", 0, "PREFIXES", "where sources may come from: 10.0.0.0/8,192.0.2.7" },
	{ "limit", 0, "N", "connections at a time" },
	{ "bitrate", 0, "RATE", "of all connections together: 20Mbit/s" },
	{ "source-address", 0, "ADDRESS", "address of this machine that targets see" },
	{ "proxy-protocol", 0, "v2", "tell the target the source's address" },
	{ "certificate", 0, "FILE", "sources speak TLS: the certificate, and --key its key" },
	{ "key", 0, "FILE", "the certificate's key" },
	{ "target-tls", 0, NULL, "the target speaks TLS" },
	{ "ca", 0, "FILE", "… and its certificate comes from here" },
	{ "server-name", 0, "NAME", "… and has this name" },
	{ "insecure", 0, NULL, "… and is not checked" },
	{ "connect-timeout", 0, "TIME", "for each try at a target" },
	{ "idle-timeout", 0, "TIME", "a connection without a byte ends after this" },
	{ "log-data", 'd', NULL, "write every byte to data logs" },
	{ "disabled", 0, NULL, "keep it, but do not listen yet" },
	{ "note", 0, "TEXT", "for people" },
	{ "replace", 0, NULL, "change the route of this name" },
};
static const struct option_row drop_options[] = {
	{ "drop", 0, NULL, "end its connections, too" },
};

static const struct command rows[] = {
	{ "relay route list", "", "routes of the file and of the store: state, reason, connections, bytes",
	  "A route that stands in the configuration file is changed there; the others by stile relay route.",
	  NULL, 0, 0, 0, run_list, WITHOUT_CONFIG },
	{ "relay route add", "LISTEN HOST [PORT]", "make a route, at once",
	  "LISTEN is a port, a range of ports, or address:port. Without PORT a connection goes to the port that it came to;\n"
	  "with a range, PORT belongs to the first. The route is kept in the store and is there after a restart. The same\n"
	  "keys as in tunnel.routes: man 5 stile.yaml tells more of them.",
	  add_options, ARRAY_LEN(add_options), 2, 3, run_add, WITHOUT_CONFIG },
	{ "relay route delete", "ROUTE", "delete a route of the store",
	  "Its connections go on, unless --drop is given.",
	  drop_options, ARRAY_LEN(drop_options), 1, 1, run_delete, WITHOUT_CONFIG },
	{ "relay route enable", "ROUTE", "let a route of the store listen", NULL, NULL, 0, 1, 1, run_enable, WITHOUT_CONFIG },
	{ "relay route disable", "ROUTE", "let a route of the store take nothing new",
	  "Its connections go on, unless --drop is given.",
	  drop_options, ARRAY_LEN(drop_options), 1, 1, run_disable, WITHOUT_CONFIG },
};
const struct command_table relay_route_commands = { rows, ARRAY_LEN(rows) };
