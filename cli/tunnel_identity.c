/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile tunnel identity …: the keys by which agents know a tunnel server. Backups are files of mode 0600
 * whose keys are locked by a passphrase; it is typed, or the first line of standard input.
 *
 * The service does all of it; the tool only carries the text.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/relay.h"
#include "common/bytes.h"
#include "common/fd.h"
#include "common/json.h"

enum { PASSPHRASE_MAX = 256, BACKUP_MAX = 64 * 1024 };

/* ---- shown, rotated ---- */

static void print_keys(const json_t *k)
{
	json_int_t behind = json_integer_value(json_object_get(k, "agents_behind"));
	json_int_t astray = json_integer_value(json_object_get(k, "agents_astray"));

	printf("root       %s%s\n", text_of_key(k, "root"),
	       json_is_true(json_object_get(k, "root_key")) ? "" : "  (its key is not here)");
	printf("successor  %s%s\n", text_of_key(k, "successor"),
	       json_is_true(json_object_get(k, "successor_key")) ? "" : "  (its key is kept elsewhere)");
	printf("link       %s\n", text_of_key(k, "link"));
	if (behind)
		printf("%lld agent%s not connected since this root is in use\n", (long long)behind,
		       behind == 1 ? " has" : "s have");
	if (astray)
		printf("%lld agent%s another successor\n", (long long)astray,
		       astray == 1 ? " knows" : "s know");
}

static int call_and_print(struct cli *cli, const char *verb, json_t *args)
{
	json_t *result = NULL;
	int r = cli_ask(cli, RELAY_PROGRAM, verb, args, &result);

	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		print_keys(result);
	json_decref(result);
	return r;
}

static int run_show(struct cli *cli)
{
	return call_and_print(cli, "tunnel.identity", NULL);
}

static int run_rotate(struct cli *cli)
{
	return call_and_print(
		cli, "tunnel.identity.rotate",
		json_pack("{s:s, s:b}", "what", cli->words[0], "force", cli_has(cli, "force")));
}

/* ---- backup ---- */

/* Never over a file that is there: it may be the only backup. */
static int write_backup(struct cli *cli, const char *path, const char *pem)
{
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t n = strlen(pem);

	if (fd < 0)
		return cli_fail(cli,
				errno == EEXIST ? "%s is there already; choose another name"
						: "%s cannot be made: %m",
				path);
	if (write(fd, pem, n) != (ssize_t)n || fsync(fd) < 0) {
		int r = cli_fail(cli, "%s cannot be written: %m", path);

		(void)unlink(path);
		return r;
	}
	return 0;
}

/* First the file, then, if asked, the key is removed from the server: so it is never nowhere. */
static int export(struct cli *cli, bool successor, bool remove)
{
	char passphrase[PASSPHRASE_MAX];
	json_t *args, *result = NULL;
	int r = cli_read_new_secret(cli, "passphrase of the backup", passphrase, PASSPHRASE_MAX);

	if (r)
		return r;
	args = json_pack("{s:s, s:b}", "passphrase", passphrase, "successor", successor);
	r = cli_ask(cli, RELAY_PROGRAM, "tunnel.identity.export", args, &result);
	if (r == 0)
		r = write_backup(cli, cli->words[0], text_of_key(result, "pem"));
	json_decref(result);
	result = NULL;
	if (r == 0 && remove)
		r = cli_ask(cli, RELAY_PROGRAM, "tunnel.identity.export",
			       json_pack("{s:s, s:b, s:b}", "passphrase", passphrase, "successor",
					 true, "remove", true),
			       &result);
	json_decref(result);
	bytes_wipe(passphrase, sizeof(passphrase));
	if (r == 0 && cli_has(cli, "json")) {
		json_t *j = json_pack("{s:s, s:b}", "file", cli->words[0], "removed", remove);
		print_json(j);
		json_decref(j);
	} else if (r == 0) {
		printf(remove ? "%s holds the successor's key, which is on the server no longer. Keep it apart from the server.\n"
			      : "%s holds the keys, locked by the passphrase. Keep it apart from the server.\n",
		       cli->words[0]);
	}
	return r;
}

static int run_export(struct cli *cli)
{
	return export(cli, false, false);
}

static int run_successor_export(struct cli *cli)
{
	return export(cli, true, !cli_has(cli, "keep"));
}

static int run_import(struct cli *cli)
{
	static char pem[BACKUP_MAX];
	char passphrase[PASSPHRASE_MAX];
	_cleanup_(closep) int fd = open(cli->words[0], O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, pem, sizeof(pem) - 1);
	json_t *args;
	int r;

	if (n < 0)
		return cli_fail(cli, "%s cannot be read: %m", cli->words[0]);
	r = cli_read_secret(cli, "passphrase of the backup", passphrase, PASSPHRASE_MAX);
	if (r)
		return r;
	args = json_pack("{s:s, s:s, s:b}", "pem", pem, "passphrase", passphrase, "force",
			 cli_has(cli, "force"));
	bytes_wipe(passphrase, sizeof(passphrase));
	if (!args)
		return cli_fail(cli, "%s is no backup: it must be text", cli->words[0]);
	return call_and_print(cli, "tunnel.identity.import", args);
}

static const struct option_row force_options[] = {
	{ "force", 0, NULL, "even if agents are locked out by it" },
};
static const struct option_row keep_options[] = {
	{ "keep", 0, NULL, "leave the key on the server, too" },
};

static const struct command rows[] = {
	{ "tunnel identity", "", "fingerprints of the server's root, successor and link key", NULL,
	  NULL, 0, 0, 0, run_show, WITHOUT_CONFIG },
	{ "tunnel identity show", "", "the same", NULL, NULL, 0, 0, 0, run_show, WITHOUT_CONFIG },
	{ "tunnel identity rotate", "link|root", "make a new link key, or make the successor the root",
	  "A new link key is taken by every agent as it is, for the root signs it. Rotating the root shuts out whoever stole a\n"
	  "link or root key: agents know the successor already, and are told of the next one when they connect. It is refused while\n"
	  "some have not connected since the last time, or know another successor.",
	  force_options, ARRAY_LEN(force_options), 1, 1, run_rotate, WITHOUT_CONFIG },
	{ "tunnel identity export", "FILE", "back the root and its successor up, locked by a passphrase",
	  "With this file another machine becomes the same server for all agents. Keep it where the server's disk is not.",
	  NULL, 0, 1, 1, run_export, WITHOUT_CONFIG },
	{ "tunnel identity successor export", "FILE",
	  "take the successor's key off the server, into a file",
	  "So that whoever takes over the server cannot take the successor with it. It is needed for rotating the root: stile tunnel\n"
	  "identity import FILE.",
	  keep_options, ARRAY_LEN(keep_options), 1, 1, run_successor_export, WITHOUT_CONFIG },
	{ "tunnel identity import", "FILE", "take a backup, or the successor's key, back in",
	  "Keys that are none of this server's are taken with --force only: on a new machine, before any agent knows it.",
	  force_options, ARRAY_LEN(force_options), 1, 1, run_import, WITHOUT_CONFIG },
};
const struct command_table tunnel_identity_commands = { rows, ARRAY_LEN(rows) };
