/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile turn secret …: shared secrets of time-limited credentials that are made while the server runs; and what else is asked of
 * stile-turn in one line: turn peer, turn certificate list. Secrets come from the terminal or from standard input, never from
 * the command line, which every user of the machine can read.
 */
#include <string.h>
#include "cli/command.h"
#include "common/bytes.h"
#include "common/text.h"

enum { MADE_BYTES = 24, SECRET_MAX = 1024 };

static json_t *with_realm(const struct cli *cli, json_t *args)
{
	const char *realm = cli_option(cli, "realm");

	if (args && realm)
		json_object_set_new(args, "realm", json_string(realm));
	return args;
}

static const struct column secret_columns[] = {
	{ "id", "ID", COL_TEXT }, { "realm", "REALM", COL_TEXT }, { "from", "FROM", COL_TEXT }, { "locked", "SET IN FILE", COL_BOOL },
};

static int run_list(struct cli *cli)
{
	json_t *result = NULL;
	int r = cli_ask(cli, "stile-turn", "turn.secret.list", with_realm(cli, json_object()), &result);

	if (r == 0)
		print_list(cli, secret_columns, ARRAY_LEN(secret_columns), json_object_get(result, "rows"), "no secrets");
	json_decref(result);
	return r;
}

/* 192 random bits, in the letters of base64. */
static int make_up(struct cli *cli, char out[static BASE64_LEN(MADE_BYTES) + 1])
{
	uint8_t raw[MADE_BYTES];

	if (bytes_random(raw, sizeof raw) < 0)
		return cli_fail(cli, "no random numbers to be had");
	base64_encode(raw, sizeof raw, out);
	bytes_wipe(raw, sizeof raw);
	return 0;
}

static int put(struct cli *cli, bool create)
{
	char secret[SECRET_MAX + 2];
	bool random = cli_has(cli, "random");
	json_t *args;
	int r = random ? make_up(cli, secret) : cli_read_secret(cli, "secret", secret, sizeof secret);

	if (r && !random)
		fprintf(stderr, "--random makes one\n");
	if (r)
		return r;
	args = with_realm(cli, json_pack("{s:s, s:s, s:b}", "id", cli->words[0], "secret", secret, "create", create));
	r = args ? cli_do(cli, "stile-turn", "turn.secret.put", args,
			  create ? "secret %s counts now" : "secret %s is another now; credentials of the old one are refused from now on",
			  cli->words[0]) : cli_fail(cli, "id and secret must be UTF-8");
	if (r == 0 && random && !cli_has(cli, "json"))
		printf("%s\n", secret); /* this once */
	bytes_wipe(secret, sizeof secret);
	return r;
}

static int run_add(struct cli *cli)
{
	return put(cli, true);
}

static int run_change(struct cli *cli)
{
	return put(cli, false);
}

static int run_delete(struct cli *cli)
{
	return cli_do(cli, "stile-turn", "turn.secret.delete", with_realm(cli, json_pack("{s:s}", "id", cli->words[0])),
		      "secret %s is deleted; credentials made from it are refused from now on", cli->words[0]);
}

static int run_peer(struct cli *cli)
{
	json_t *result = NULL;
	int r = cli_ask(cli, "stile-turn", "turn.peer", with_realm(cli, json_pack("{s:s}", "address", cli->words[0])), &result);
	bool allowed = json_is_true(json_object_get(result, "allowed"));

	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		print_check(cli, allowed, cli->words[0], json_string_value(json_object_get(result, "rule")));
	json_decref(result);
	return r == 0 && !allowed ? EXIT_FAILED : r;
}

static int run_certificates(struct cli *cli)
{
	return cli_certificates(cli, "stile-turn", "turn.certificates", "turn.certificate and turn.key name the files");
}

static int run_files(struct cli *cli)
{
	return cli_certificate_files(cli, "stile-turn", "turn.certificate.files");
}

static const struct option_row realm_options[] = {
	{ "realm", 'r', "NAME", "of this realm (default turn.realm)" },
};
static const struct option_row put_options[] = {
	{ "realm", 'r', "NAME", "of this realm (default turn.realm)" },
	{ "random", 0, NULL, "make a random one, and print it this once" },
};

static const struct command rows[] = {
	{ "turn secret list", "", "shared secrets of the file and of the store, by their ids",
	  "A secret that stands in the configuration file is changed there; the others by stile turn secret.",
	  realm_options, ARRAY_LEN(realm_options), 0, 0, run_list, WITHOUT_CONFIG },
	{ "turn secret add", "ID", "make a shared secret for time-limited credentials, at once",
	  "The secret is asked for, or is the first line of standard input; --random makes one. Several are valid side by\n"
	  "side: add the new one, give it to who mints credentials, delete the old one.",
	  put_options, ARRAY_LEN(put_options), 1, 1, run_add, WITHOUT_CONFIG },
	{ "turn secret change", "ID", "replace a shared secret of the store, at once", NULL, put_options, ARRAY_LEN(put_options), 1, 1, run_change,
	  WITHOUT_CONFIG },
	{ "turn secret delete", "ID", "delete a shared secret of the store",
	  "Credentials that were made from it are refused from now on; what is open ends when it would be refreshed.",
	  realm_options, ARRAY_LEN(realm_options), 1, 1, run_delete, WITHOUT_CONFIG },
	{ "turn peer", "ADDRESS", "may clients reach this address through the relay, and by which rule",
	  "Exit status 1 if they may not.", realm_options, ARRAY_LEN(realm_options), 1, 1, run_peer, WITHOUT_CONFIG },
	{ "turn certificate list", "", "the certificates of a running stile-turn: names, issuer, validity, chain, key",
	  "Exit status 1 if one has a fault. A warning comes from 30 days before the end.", NULL, 0, 0, 0, run_certificates, WITHOUT_CONFIG },
	{ "turn certificate files", "", "certificates to choose from, with their keys",
	  "Those in the folders of the configuration and of its certificates.", NULL, 0, 0, 0, run_files, WITHOUT_CONFIG },
};
const struct command_table turn_secret_commands = { rows, ARRAY_LEN(rows) };
