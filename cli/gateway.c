/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile gateway …: a running stile-gateway: what it listens on and carries, the transfers of browsers, an end to one of them,
 * its counters.
 * What is shown is what the service said, and nothing is kept.
 */
#include "cli/tunnel.h"
#include "common/json.h"
#include "common/text.h"

static const char GATEWAY_PROGRAM[] = "stile-gateway";

static int run_status(struct cli *cli)
{
	json_t *st = NULL;
	int r = cli_ask(cli, GATEWAY_PROGRAM, "gateway.status", NULL, &st);
	const char *error = text_of_key(st, "tunnel_error");

	if (r == 0 && cli_has(cli, "json")) {
		print_json(st);
	} else if (r == 0) {
		printf("listens      ");
		print_strings(json_object_get(st, "listeners"), ", ");
		printf("\nstile-tunnel %s%s%s\ncarries      %lld transfers over %lld connections; %lld bytes to browsers, %lld to shares%s\n",
		       text_of_key(st, "tunnel"), *error ? ", not reached: " : "", error,
		       number_of_key(st, "transfers"), number_of_key(st, "connections"), number_of_key(st, "bytes_to_browser"), number_of_key(st, "bytes_to_share"),
		       json_is_true(json_object_get(st, "draining")) ? "; draining" : "");
		monitor_print(json_object_get(st, "monitor"));
	}
	if (r == 0 && *error)
		r = EXIT_FAILED;
	json_decref(st);
	return r;
}

static const struct column columns[] = {
	{ "id", "NUMBER", COL_COUNT },		     { "share", "SHARE", COL_TEXT }, { "client", "BROWSER", COL_TEXT },		{ "method", "", COL_TEXT },
	{ "what", "WHAT", COL_TEXT },		     { "state", "STATE", COL_TEXT }, { "bytes_to_browser", "TO BROWSER", COL_BYTES },
	{ "bytes_to_share", "TO SHARE", COL_BYTES }, { "rate", "/s", COL_BYTES },    { "age_ms", "AGE", COL_MS },
};

static int run_transfers(struct cli *cli)
{
	return table_show(cli, &(struct table_ask){ .program = GATEWAY_PROGRAM, .verb = "gateway.transfers", .columns = columns,
						    .n_columns = ARRAY_LEN(columns), .none = "no transfers" });
}

static int run_kick(struct cli *cli)
{
	uint64_t id;

	if (text_u64(text_of(cli->words[0]), &id) < 0 || id > INT64_MAX)
		return cli_wrong(cli, "NUMBER is a number; stile gateway transfers shows it");
	return cli_do(cli, GATEWAY_PROGRAM, "gateway.kick", json_pack("{s:I}", "id", (json_int_t)id), "transfer %s is ended", cli->words[0]);
}

static int run_metrics(struct cli *cli)
{
	return cli_metrics(cli, GATEWAY_PROGRAM, "gateway.metrics");
}

static const struct option_row transfers_options[] = {
	{ "watch", 'w', NULL, "show them again every second, until Ctrl-C", false },
};
static const struct command rows[] = {
	{ "gateway status", "", "what the gateway listens on and carries", NULL, NULL, 0, 0, 0, run_status, WITHOUT_CONFIG },
	{ "gateway transfers", "", "browsers' transfers under way", NULL, transfers_options, ARRAY_LEN(transfers_options), 0, 0, run_transfers, WITHOUT_CONFIG },
	{ "gateway kick", "NUMBER", "end one transfer; the browser may begin it again", NULL, NULL, 0, 1, 1, run_kick, WITHOUT_CONFIG },
	{ "gateway metrics", "[NAME]", "the gateway's counters", NULL, NULL, 0, 0, 1, run_metrics, WITHOUT_CONFIG },
};
const struct command_table gateway_commands = { rows, ARRAY_LEN(rows) };
