/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile tunnel enrol, stile tunnel agents …: who may connect to a tunnel server. The list joins the
 * registry with the control connections that are up (tunnel.links), by fingerprint.
 *
 * Fingerprints are shortened to 16 digits in the table; every command takes as much of one as is unique.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "cli/relay.h"
#include "common/json.h"
#include "common/text.h"

enum { SHORT_DIGITS = 16 };

static const struct column agent_columns[] = {
	{ "name", "AGENT", COL_TEXT },	      { "state", "STATE", COL_TEXT },
	{ "short", "FINGERPRINT", COL_TEXT }, { "connected", "CONNECTED", COL_TEXT },
	{ "seen", "LAST SEEN", COL_TEXT },    { "address", "FROM", COL_TEXT },
	{ "program", "PROGRAM", COL_TEXT },   { "host", "HOST", COL_TEXT },
	{ "ports_text", "PORTS", COL_TEXT },  { "note", "NOTE", COL_TEXT },
};
static const struct column code_columns[] = {
	{ "name", "CODE FOR", COL_TEXT },
	{ "until", "GOOD UNTIL", COL_TEXT },
	{ "id", "ID", COL_TEXT },
};

static json_t *when(json_int_t unix_s)
{
	time_t t = (time_t)unix_s;
	char text[32] = "never";
	struct tm tm;

	if (t && localtime_r(&t, &tm))
		(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm);
	return json_string(text);
}

/* ---- list ---- */

static const json_t *link_of(const json_t *links, const char *fingerprint)
{
	json_t *row;
	size_t i;

	json_array_foreach(links, i, row)
	{
		const char *of = text_of_key(row, "identity");

		if (strncmp(of, "sha256:", 7) == 0)
			of += 7;
		if (*of && strcmp(of, fingerprint + 7) == 0 && json_is_true(json_object_get(row, "up")))
			return row;
	}
	return NULL;
}

static void for_people(json_t *row, const json_t *links)
{
	const char *fingerprint = text_of_key(row, "fingerprint");
	struct text digits = { fingerprint, strlen(fingerprint) };

	if (text_starts(digits, TEXT("sha256:")))
		digits = text_drop(digits, 7);
	json_object_set_new(row, "short", json_stringn(digits.p, MIN(digits.n, (size_t)SHORT_DIGITS)));
	json_object_set_new(row, "seen", when(json_integer_value(json_object_get(row, "last_seen"))));
	json_object_set_new(row, "connected",
			    json_string(!links			      ? "?"
					: link_of(links, fingerprint) ? "yes"
								      : "no"));
	json_object_set_new(row, "ports_text", strings_joined(json_object_get(row, "ports"), ","));
}

static void print_pending(const json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) if (strcmp(text_of_key(row, "state"), "pending") == 0)
	{
		printf("\n");
		print_clean(stdout, text_of_key(row, "name"));
		printf(" waits for approval. Compare its fingerprint with `stile agent identity` there:\n  %s\n",
		       text_of_key(row, "fingerprint"));
	}
}

static void print_copied(const json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const json_t *c = json_object_get(row, "copied_key");
		json_t *at = when(json_integer_value(json_object_get(c, "at")));

		if (c) {
			printf("\ntwo machines use the key of ");
			print_clean(stdout, text_of_key(row, "name"));
			printf(", last at %s: connected is ", json_string_value(at));
			print_clean(stdout, text_of_key(c, "connected"));
			printf(", refused was ");
			print_clean(stdout, text_of_key(c, "refused"));
			printf("\n  If one is a clone, remove agent-identity.pem on it and enrol it. If nobody knows it, revoke the agent.\n");
		}
		json_decref(at);
	}
}

/* By name: insertion, for the lists are short. */
static void sort(json_t *rows)
{
	for (size_t i = 1; i < json_array_size(rows); i++) {
		json_t *row = json_incref(json_array_get(rows, i));
		size_t at = i;

		while (at > 0 &&
		       strcmp(text_of_key(json_array_get(rows, at - 1), "name"), text_of_key(row, "name")) > 0)
			at--;
		json_array_remove(rows, i);
		json_array_insert_new(rows, at, row);
	}
}

static void print_lists(const json_t *result, const json_t *links)
{
	json_t *rows = json_object_get(result, "rows"), *codes = json_object_get(result, "codes"), *row;
	size_t i;

	sort(rows);
	sort(codes);
	json_array_foreach(rows, i, row) for_people(row, links);
	json_array_foreach(codes, i, row) json_object_set_new(
		row, "until", when(json_integer_value(json_object_get(row, "expires"))));
	if (json_array_size(rows))
		print_table(stdout, agent_columns, ARRAY_LEN(agent_columns), rows);
	else
		printf("no agents\n");
	if (json_array_size(codes)) {
		printf("\n");
		print_table(stdout, code_columns, ARRAY_LEN(code_columns), codes);
	}
	print_pending(rows);
	print_copied(rows);
	printf("\nthis server: %s\n", text_of_key(result, "fingerprint"));
}

static int run_agents(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *result = NULL, *links = NULL, *error = NULL;
	int r = cli_connect(cli, RELAY_PROGRAM, &cl);

	if (r == 0)
		r = cli_call(cli, cl, "tunnel.agents", NULL, &result);
	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0) {
		if (control_call(cl, "tunnel.links", NULL, &links, &error) != 0)
			links = NULL;
		print_lists(result, json_object_get(links, "rows"));
	}
	json_decref(result);
	json_decref(links);
	json_decref(error);
	return r;
}

/* ---- changes ---- */

static int change(struct cli *cli, const char *verb, const char *form)
{
	return cli_do(cli, RELAY_PROGRAM, verb, json_pack("{s:s}", "agent", cli->words[0]), form, cli->words[0]);
}

static int run_approve(struct cli *cli)
{
	return change(cli, "tunnel.agents.approve", "agent %s is approved");
}

static int run_revoke(struct cli *cli)
{
	return change(cli, "tunnel.agents.revoke",
		      "agent %s is revoked: its connections have ended, its key is refused");
}

static int run_delete(struct cli *cli)
{
	return change(cli, "tunnel.agents.delete", "agent %s is forgotten");
}

static int run_rename(struct cli *cli)
{
	return cli_do(cli, RELAY_PROGRAM, "tunnel.agents.rename",
			json_pack("{s:s, s:s}", "agent", cli->words[0], "name", cli->words[1]),
			"the agent is called %s now", cli->words[1]);
}

static int run_set(struct cli *cli)
{
	json_t *args = json_pack("{s:s}", "agent", cli->words[0]);

	if (cli_has(cli, "ports"))
		json_object_set_new(args, "ports", json_string(cli_option(cli, "ports")));
	if (cli_has(cli, "note"))
		json_object_set_new(args, "note", json_string(cli_option(cli, "note")));
	return cli_do(cli, RELAY_PROGRAM, "tunnel.agents.set", args, "agent %s is changed", cli->words[0]);
}

/* ---- enrol ---- */

static void print_code(const json_t *result)
{
	json_t *until = when(json_integer_value(json_object_get(result, "expires")));

	printf("%s\n", text_of_key(result, "code"));
	fflush(stdout);
	fprintf(stderr,
		"\nThis code is shown once. It is good for one agent, until %s.\n"
		"On the agent's machine:  stile agent enrol CODE   (or agent.code in its stile.yaml)\n",
		json_string_value(until));
	json_decref(until);
}

static int run_enrol(struct cli *cli)
{
	json_t *args = json_pack("{s:s, s:b}", "name", cli->words[0], "replace",
				 cli_has(cli, "replace")),
	       *result = NULL;
	uint64_t ms;
	int r = 0;

	if (cli_has(cli, "cancel")) {
		json_decref(args);
		return cli_do(cli, RELAY_PROGRAM, "tunnel.enrol.cancel", cli_named(cli),
				"the code for %s is good no longer", cli->words[0]);
	}
	if (cli_has(cli, "expire")) {
		r = cli_time(cli, "expire", &ms);
		if (r == 0)
			json_object_set_new(args, "expire", json_integer((json_int_t)(ms / 1000)));
	}
	if (cli_has(cli, "for"))
		json_object_set_new(args, "for", json_string(cli_option(cli, "for")));
	if (r) {
		json_decref(args);
		return r;
	}
	r = cli_ask(cli, RELAY_PROGRAM, "tunnel.enrol", args, &result);
	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		print_code(result);
	json_decref(result);
	return r;
}

static const struct option_row enrol_options[] = {
	{ "expire", 0, "TIME", "how long the code is good (default 1h)" },
	{ "for", 0, "HOST:PORT",
	  "where the agent reaches this server (default: tunnel.public_name and its port)" },
	{ "replace", 0, NULL, "an agent of this name is revoked when the code is used" },
	{ "cancel", 0, NULL, "make the codes for NAME, or the one with this id, worthless" },
};
static const struct option_row set_options[] = {
	{ "ports", 0, "RANGES", "ports that it may open: 20000-20099,3389; \"\" is tunnel.ports" },
	{ "note", 0, "TEXT", "for people" },
};

static const struct command rows[] = {
	{ "tunnel enrol", "NAME", "make a one-time code with which an agent enrols, and is called NAME",
	  "The code holds a secret of 128 bits and the fingerprint of this server, so the agent knows whom it talks to. Give it\n"
	  "to whoever sets the agent up, by any way that nobody else reads.",
	  enrol_options, ARRAY_LEN(enrol_options), 1, 1, run_enrol, WITHOUT_CONFIG },
	{ "tunnel agents", "",
	  "agents of this server: state, fingerprint, when seen, whence; and codes that are out",
	  NULL, NULL, 0, 0, 0, run_agents, WITHOUT_CONFIG },
	{ "tunnel agents approve", "AGENT", "let an agent in that waits, or that was revoked",
	  "AGENT is a name, or the beginning of a fingerprint (eight digits at least). Compare the fingerprint first: stile agent\n"
	  "identity on the agent's machine prints it.",
	  NULL, 0, 1, 1, run_approve, WITHOUT_CONFIG },
	{ "tunnel agents rename", "AGENT NAME", "call an agent by another name",
	  "Live tables show it from the agent's next connection on.", NULL, 0, 2, 2, run_rename,
	  WITHOUT_CONFIG },
	{ "tunnel agents revoke", "AGENT", "refuse an agent's key from now on, and end its connections",
	  "The key stays refused, also with a new code or the password; the machine needs a new key to come back.",
	  NULL, 0, 1, 1, run_revoke, WITHOUT_CONFIG },
	{ "tunnel agents delete", "AGENT", "forget an agent, and end its connections",
	  "It may enrol again, with the same key.", NULL, 0, 1, 1, run_delete, WITHOUT_CONFIG },
	{ "tunnel agents set", "AGENT", "the ports that an agent may open, and a note", NULL,
	  set_options, ARRAY_LEN(set_options), 1, 1, run_set, WITHOUT_CONFIG },
};
const struct command_table tunnel_agents_commands = { rows, ARRAY_LEN(rows) };
