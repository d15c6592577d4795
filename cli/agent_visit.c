/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile agent visit …: visits that stay, kept in the agent's store; and stile agent share …: what is done at the agent with a share that
 * stile share has made. The keys of a visit are those of agent.visits, which the agent judges, so errors are those of the file.
 *
 * For a moment: stile connect (cli/direct.c).
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "cli/tunnel.h"
#include "common/text.h"

static const struct {
	const char *option, *key;
} texts[] = {
	{ "name", "name" },   { "identity", "identity" }, { "head-start", "head_start" }, { "limit", "connections" },
	{ "target", "target" }, { "listen", "listen" }, /* of a change */
};

static void options_into(const struct cli *cli, json_t *v)
{
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (cli_has(cli, texts[i].option))
			json_object_set_new(v, texts[i].key, json_string(cli_option(cli, texts[i].option)));
	if (cli_has(cli, "udp"))
		json_object_set_new(v, "protocol", json_string("udp"));
	if (cli_has(cli, "disabled"))
		json_object_set_new(v, "enabled", json_false());
}

static int put(struct cli *cli, const char *verb, json_t *args)
{
	json_t *row = NULL;
	int r = cli_ask(cli, AGENT_PROGRAM, verb, args, &row);

	if (r == 0 && cli_has(cli, "json")) {
		print_json(row);
	} else if (r == 0) {
		printf("visit ");
		print_clean(stdout, text_of_key(row, "name"));
		printf(" is kept; it listens on ");
		print_clean(stdout, *text_of_key(row, "listen") ? text_of_key(row, "listen") : "nothing");
		if (*text_of_key(row, "why")) {
			printf("; ");
			print_clean(stdout, text_of_key(row, "why"));
		}
		putchar('\n');
	}
	json_decref(row);
	return r;
}

static int run_add(struct cli *cli)
{
	json_t *v = json_pack("{s:s, s:s, s:s*}", "agent", cli->words[0], "target", cli->words[1], "listen", cli->n_words > 2 ? cli->words[2] : NULL);

	options_into(cli, v);
	return put(cli, "agent.visit.add", json_pack("{s:o, s:b}", "visit", v, "replace", cli_has(cli, "replace")));
}

static int run_change(struct cli *cli)
{
	json_t *v = json_object();

	options_into(cli, v);
	if (json_object_size(v))
		return put(cli, "agent.visit.change", json_pack("{s:s, s:o}", "name", cli->words[0], "visit", v));
	json_decref(v);
	return cli_wrong(cli, "nothing to change: give an option, as --target HOST:PORT");
}

static int run_start(struct cli *cli)
{
	return put(cli, "agent.visit.start", cli_named(cli));
}

static int run_stop(struct cli *cli)
{
	return cli_do(cli, AGENT_PROGRAM, "agent.visit.stop", cli_named(cli), "visit %s is interrupted", cli->words[0]);
}

static int run_delete(struct cli *cli)
{
	return cli_do(cli, AGENT_PROGRAM, "agent.visit.delete", cli_named(cli), "visit %s is deleted", cli->words[0]);
}

static int run_end(struct cli *cli)
{
	uint64_t number;

	if (text_u64(text_of(cli->words[0]), &number) < 0 || number > UINT32_MAX)
		return cli_wrong(cli, "NUMBER is a number; stile agent peers shows it");
	return cli_do(cli, AGENT_PROGRAM, "agent.visit.end", json_pack("{s:I}", "number", (json_int_t)number), "visit %s is ended", cli->words[0]);
}

/* ---- shares ---- */

static int run_share_end(struct cli *cli)
{
	return cli_do(cli, AGENT_PROGRAM, "agent.share.end", json_pack("{s:s}", "share", cli->words[0]), "the share %s is over", cli->words[0]);
}

static int run_share_change(struct cli *cli)
{
	uint64_t ms = 0;
	int bad = cli_time(cli, "expire", &ms);

	if (bad)
		return bad;
	if (!cli_has(cli, "expire"))
		return cli_wrong(cli, "say when it ends: --expire 2h; --expire 0s: not by itself");
	return cli_do(cli, AGENT_PROGRAM, "agent.share.change",
		      json_pack("{s:s, s:I}", "share", cli->words[0], "expires", ms ? (json_int_t)(time(NULL) + (time_t)((ms + 999) / 1000)) : 0),
		      ms ? "the share %s ends then" : "the share %s does not end by itself", cli->words[0]);
}

/* clang-format off */
#define VISIT_OPTIONS \
	{ "identity", 0, "FINGERPRINT", "of the other agent's key; default: the known agent of this name", false }, \
	{ "head-start", 0, "TIME", "how long only direct paths are tried: 200ms (default), 0s, or unlimited", false }, \
	{ "limit", 0, "N", "connections at a time", false }
static const struct option_row add_options[] = {
	VISIT_OPTIONS,
	{ "name", 0, "NAME", "how it is called (default: agent and target)", false },
	{ "udp", 'u', NULL, "datagrams instead of connections", false },
	{ "disabled", 0, NULL, "keep it, but do not start it yet", false },
	{ "replace", 0, NULL, "change the visit of this name", false },
};
static const struct option_row change_options[] = {
	VISIT_OPTIONS,
	{ "target", 0, "HOST:PORT", "another host and port in the other agent's network", false },
	{ "listen", 0, "LOCAL", "another port of 127.0.0.1, or an address and a port", false },
};
static const struct option_row expire_options[] = {
	{ "expire", 0, "TIME", "from now on: 2h, 7d; 0s: not by itself", false },
};

static const struct command rows[] = {
	{ "agent visit add", "AGENT HOST:PORT [LOCAL]", "a port here leads to HOST:PORT in the network of another agent, for good",
	  "As stile connect, but kept in the agent's store: it is there again after a restart. The keys are those of agent.visits: man 5 stile.yaml.",
	  add_options, ARRAY_LEN(add_options), 2, 3, run_add, WITHOUT_CONFIG },
	{ "agent visit change", "VISIT", "give a visit of the store other values; its connections end", NULL, change_options,
	  ARRAY_LEN(change_options), 1, 1, run_change, WITHOUT_CONFIG },
	{ "agent visit start", "VISIT", "a visit of the store is there again", NULL, NULL, 0, 1, 1, run_start, WITHOUT_CONFIG },
	{ "agent visit stop", "VISIT", "interrupt a visit of the store; its connections end", NULL, NULL, 0, 1, 1, run_stop, WITHOUT_CONFIG },
	{ "agent visit delete", "VISIT", "delete a visit of the store; its connections end", NULL, NULL, 0, 1, 1, run_delete, WITHOUT_CONFIG },
	{ "agent visit end", "NUMBER", "end a visit of stile connect or stile get; stile agent peers shows its number", NULL, NULL, 0, 1, 1, run_end,
	  WITHOUT_CONFIG },
	{ "agent share change", "ID", "another time at which a share ends by itself", "ID is that of stile agent shares.", expire_options,
	  ARRAY_LEN(expire_options), 1, 1, run_share_change, WITHOUT_CONFIG },
	{ "agent share end", "ID", "end a share; stile share ends with it", NULL, NULL, 0, 1, 1, run_share_end, WITHOUT_CONFIG },
};
/* clang-format on */
const struct command_table agent_visit_commands = { rows, ARRAY_LEN(rows) };
