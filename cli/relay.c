/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile relay status, connections, kick, log-data: the relay of a running stile-tunnel. Each is a call of a
 * control verb and its answer as a table or as JSON. `stile relay LISTEN HOST PORT` is in relay_run.c, routes are
 * in relay_route.c, the bytes of a connection in relay_watch.c.
 */
#include <string.h>
#include "cli/tunnel.h"
#include "common/json.h"
#include "common/text.h"

const char RELAY_PROGRAM[] = "stile-tunnel";

static const char *plural(const json_t *o, const char *key)
{
	return number_of_key(o, key) == 1 ? "" : "s";
}

/* ---- status ---- */

static void print_records(const json_t *rec)
{
	char size[32];
	struct sb b = sb_init(size, sizeof size);

	sb_size(&b, (uint64_t)number_of_key(rec, "data_bytes"));
	printf("records      %lld line%s, %lld lost; %lld data log%s, %lld open, %s written, %lld stopped\n", number_of_key(rec, "lines"),
	       plural(rec, "lines"), number_of_key(rec, "lines_lost"), number_of_key(rec, "data_logs"), plural(rec, "data_logs"),
	       number_of_key(rec, "data_logs_open"), size, number_of_key(rec, "data_logs_stopped"));
}

/* Routes that do not do what they should, a line for each unless they stand in the JSON; returns how many there are. */
static unsigned bad_routes(const struct cli *cli, const json_t *rows)
{
	unsigned bad = 0;
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row) {
		char line[512];
		if (!json_is_true(json_object_get(row, "enabled")) || !*text_of_key(row, "reason"))
			continue;
		bool waits = strncmp(text_of_key(row, "state"), "waiting", 7) == 0; /* for the virtual address of a pair */
		snprintf(line, sizeof line, "%.160s: %.300s", text_of_key(row, "state"), text_of_key(row, "reason"));
		if (!cli_has(cli, "json"))
			print_check(cli, waits, text_of_key(row, "name"), line);
		bad += !waits;
	}
	return bad;
}

static int run_status(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *st = NULL, *routes = NULL, *pipes;
	int r = cli_connect(cli, RELAY_PROGRAM, &cl);

	if (!r)
		r = cli_call(cli, cl, "relay.status", NULL, &st);
	if (!r)
		r = cli_call(cli, cl, "relay.route.list", NULL, &routes);
	if (r == 0 && cli_has(cli, "json")) {
		json_object_set(st, "route_rows", json_object_get(routes, "rows"));
		print_json(st);
	} else if (r == 0) {
		pipes = json_object_get(st, "pipes");
		printf("routes       %lld, %lld enabled, %lld listen%s%s\n", number_of_key(st, "routes"), number_of_key(st, "enabled"),
		       number_of_key(st, "listening"), number_of_key(st, "listening") == 1 ? "s" : "", json_is_true(json_object_get(st, "draining")) ? "; draining" : "");
		printf("connections  %lld, in %lld worker%s; %lld of %lld descriptors, %lld pipe%s lent and %lld spare\n",
		       number_of_key(st, "connections"), number_of_key(st, "workers"), plural(st, "workers"), number_of_key(st, "descriptors"),
		       number_of_key(st, "descriptors_limit"), number_of_key(pipes, "lent"), plural(pipes, "lent"), number_of_key(pipes, "spare"));
		print_records(json_object_get(st, "records"));
	}
	if (r == 0 && bad_routes(cli, json_object_get(routes, "rows")))
		r = EXIT_FAILED;
	json_decref(st);
	json_decref(routes);
	return r;
}

/* ---- events ---- */

static const struct column event_columns[] = {
	{ "when", "TIME", COL_TEXT }, { "event", "EVENT", COL_COUNT }, { "severity", "", COL_TEXT }, { "route", "ROUTE", COL_TEXT }, { "sentence", "", COL_TEXT },
};

static void polish_event(json_t *row)
{
	row_set_time(row, "when", (time_t)(number_of_key(row, "at") / 1000));
}

static int run_events(struct cli *cli)
{
	return table_show(cli, &(struct table_ask){ .program = RELAY_PROGRAM, .verb = "relay.events", .columns = event_columns,
						    .n_columns = ARRAY_LEN(event_columns), .none = "no events", .polish = polish_event });
}

/* ---- connections ---- */

static const struct column connection_columns[] = {
	{ "id", "CONN", COL_COUNT },	   { "route", "ROUTE", COL_TEXT },	{ "state", "STATE", COL_TEXT },
	{ "source", "SOURCE", COL_TEXT },  { "source_name", "NAME", COL_TEXT }, { "target", "TARGET", COL_TEXT },
	{ "bytes_up", "UP", COL_BYTES },   { "rate_up", "UP/s", COL_BYTES },	{ "bytes_down", "DOWN", COL_BYTES },
	{ "rate_down", "DOWN/s", COL_BYTES }, { "age_ms", "AGE", COL_MS },	{ "logged", "LOGGED", COL_BOOL },
};

int relay_all_connections(struct cli *cli, struct control_client *cl, const char *route, uint64_t limit, json_t *rows,
			  bool *ret_more)
{
	return cli_rows(cli, cl, &(struct cli_list){ "relay.connections", limit, "route", route }, rows, ret_more);
}

static int show_connections(struct cli *cli, struct control_client *cl, uint64_t limit)
{
	json_t *rows = json_array();
	bool more = false;
	int r = relay_all_connections(cli, cl, cli->n_words ? cli->words[0] : NULL, limit, rows, &more);

	if (r == 0 && cli_has(cli, "names"))
		names_add(rows);
	if (r == 0 && cli_has(cli, "json"))
		print_json(rows);
	else if (r == 0 && json_array_size(rows))
		print_table(stdout, connection_columns, ARRAY_LEN(connection_columns), rows);
	else if (r == 0)
		printf("no connections\n");
	if (more)
		fprintf(stderr, "stile relay connections: there may be more than these %zu; --limit shows them\n", json_array_size(rows));
	json_decref(rows);
	return r;
}

static int run_connections(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	uint64_t limit = 1000;
	int r = cli_number(cli, "limit", 1, 1000000, &limit);

	if (!r)
		r = cli_connect(cli, RELAY_PROGRAM, &cl);
	if (!r)
		r = show_connections(cli, cl, limit);
	while (r == 0 && cli_has(cli, "watch") && table_next(cli))
		r = show_connections(cli, cl, limit);
	return r;
}

/* ---- one connection, or a route's ---- */

static bool is_number(const char *word, uint64_t *ret_id)
{
	return text_u64(text_of(word), ret_id) == 0 && *ret_id <= INT64_MAX;
}

static int run_kick(struct cli *cli)
{
	const char *word = cli->words[0];
	uint64_t id;

	if (is_number(word, &id))
		return cli_do(cli, RELAY_PROGRAM, "relay.kick", json_pack("{s:I}", "id", (json_int_t)id), "connection %s is ended", word);
	return cli_do(cli, RELAY_PROGRAM, "relay.kick", json_pack("{s:s}", "route", word), "the connections of route %s are ended", word);
}

static json_t *find_route(const json_t *rows, const char *name)
{
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row)
		if (strcmp(text_of_key(row, "name"), name) == 0)
			return row;
	return NULL;
}

/* Of the connections that are there; returns the number that could be switched. */
static int switch_connections(struct cli *cli, struct control_client *cl, const char *route, bool on, unsigned *ret_n)
{
	json_t *rows = json_array(), *row;
	bool more;
	size_t i;
	int r = relay_all_connections(cli, cl, route, 1000000, rows, &more);

	*ret_n = 0;
	json_array_foreach(rows, i, row) {
		json_t *result = NULL, *error = NULL; /* one that has ended meanwhile, or a flow, is no failure */
		if (r == 0 && control_call(cl, "relay.log", json_pack("{s:O, s:b}", "id", json_object_get(row, "id"), "on", on),
					   &result, &error) == 0)
			++*ret_n;
		json_decref(result);
		json_decref(error);
	}
	json_decref(rows);
	return r;
}

struct logged {
	const char *route;
	unsigned n; /* connections that were switched */
	bool on, locked;
};

static void tell_logged(const struct cli *cli, const struct logged *l)
{
	json_t *j;

	if (cli_has(cli, "json")) {
		j = json_pack("{s:s, s:b, s:i, s:b}", "route", l->route, "on", l->on, "connections", (int)l->n, "locked", l->locked);
		print_json(j);
		json_decref(j);
		return;
	}
	printf("%u connection%s of route %s %s logged now; new ones %s\n", l->n, l->n == 1 ? "" : "s", l->route, l->on ? "are" : "are not",
	       !l->locked ? (l->on ? "will be, too" : "will not be, either") : "go by the file: set log_data there and run stile reload tunnel");
}

static int log_route(struct cli *cli, const char *name, bool on)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *list = NULL, *row, *config, *put = NULL;
	bool locked;
	unsigned n = 0;
	int r = cli_connect(cli, RELAY_PROGRAM, &cl);

	if (!r)
		r = cli_call(cli, cl, "relay.route.list", NULL, &list);
	if (r)
		return r;
	row = find_route(json_object_get(list, "rows"), name);
	if (!row) {
		json_decref(list);
		return cli_fail(cli, "there is no route %s\n  try: stile relay route list", name);
	}
	locked = json_is_true(json_object_get(row, "locked"));
	if (!locked) {
		config = json_deep_copy(json_object_get(row, "config"));
		json_object_set_new(config, "log_data", json_boolean(on));
		r = cli_call(cli, cl, "relay.route.add", json_pack("{s:o, s:b}", "route", config, "replace", 1), &put);
	}
	if (!r)
		r = switch_connections(cli, cl, name, on, &n);
	if (!r)
		tell_logged(cli, &(struct logged){ name, n, on, locked });
	json_decref(put);
	json_decref(list);
	return r;
}

static int run_metrics(struct cli *cli)
{
	return cli_metrics(cli, RELAY_PROGRAM, "relay.metrics");
}

static int run_log_data(struct cli *cli)
{
	const char *word = cli->words[1];
	bool on = strcmp(cli->words[0], "on") == 0;
	uint64_t id;

	if (!on && strcmp(cli->words[0], "off") != 0)
		return cli_wrong(cli, "first on or off, then the route or the connection");
	if (!is_number(word, &id))
		return log_route(cli, word, on);
	return cli_do(cli, RELAY_PROGRAM, "relay.log", json_pack("{s:I, s:b}", "id", (json_int_t)id, "on", on),
			on ? "connection %s is logged from now on" : "connection %s is no longer logged", word);
}

static const struct option_row connections_options[] = {
	{ "limit", 'n', "N", "show at most N (default 1000)" },
	{ "names", 0, NULL, "ask for names of sources here, too, for 2 s at most: of UDP, or where tunnel.resolve_names is off" },
	{ "watch", 'w', NULL, "show them again every second, until Ctrl-C" },
};

static const struct command rows[] = {
	{ "relay status", "", "routes, connections and records of the relay, and what is not well",
	  "Exit 1 if an enabled route does not listen or its target is not known by name; the line with ✘ says why.",
	  NULL, 0, 0, 0, run_status, WITHOUT_CONFIG },
	{ "relay connections", "[ROUTE]", "live connections: both ends, bytes and rates each way, age",
	  "UP is from the source to the target. The number in front is what stile relay kick, watch and log-data take.",
	  connections_options, ARRAY_LEN(connections_options), 0, 1, run_connections, WITHOUT_CONFIG },
	{ "relay events", "", "the last events of the service and its routes, with the numbers 100 and 101", NULL, NULL, 0, 0, 0, run_events, WITHOUT_CONFIG },
	{ "relay kick", "CONN|ROUTE", "end one connection, or all of a route",
	  "Both sides are reset. A source that may connect can do so again at once: to keep it out, see tunnel.routes.allow.",
	  NULL, 0, 1, 1, run_kick, WITHOUT_CONFIG },
	{ "relay log-data", "on|off ROUTE|CONN", "switch the data log of a route or a connection, at once",
	  "Every byte is written to a file of its own in tunnel.records.dir, in hex and text; what is written may be secret. Only\n"
	  "the connections that are logged become slower. A route of the file is changed in the file.",
	  NULL, 0, 2, 2, run_log_data, WITHOUT_CONFIG },
	{ "relay metrics", "[NAME]", "counters of stile-tunnel, in the form that Prometheus reads",
	  "NAME is a part of the names to show. docs/metrics.md explains each.", NULL, 0, 0, 1, run_metrics, WITHOUT_CONFIG },
};
const struct command_table relay_commands = { rows, ARRAY_LEN(rows) };
