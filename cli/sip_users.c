/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile sip user … and stile sip registrations: the accounts of the registrar, and who is registered where. Each is one
 * call of a control verb. A password is read from standard input or the terminal, never from the command line, where
 * every user of the machine could read it.
 */
#include "cli/sip.h"
#include "common/bytes.h"
#include "common/text.h"

static const struct column user_columns[] = {
	{ "name", "USER", COL_TEXT },
	{ "from", "FROM", COL_TEXT },
	{ "locked", "SET IN FILE", COL_BOOL },
};

static int run_list(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *rows = json_array();
	bool more;
	int r = cli_connect(cli, SIP_PROGRAM, &cl);
	if (r == 0)
		r = cli_rows(cli, cl,
			     &(struct cli_list){ .verb = "sip.user.list", .limit = UINT32_MAX },
			     rows, &more);
	if (r == 0)
		print_list(cli, user_columns, ARRAY_LEN(user_columns), rows, "no users");
	json_decref(rows);
	return r;
}

static int put(struct cli *cli, bool create, const char *done)
{
	char password[256];
	int r = cli_read_secret(cli, "password", password, sizeof password);
	if (r)
		return r;
	json_t *args = json_pack("{s:s, s:s, s:b}", "name", cli->words[0], "password", password,
				 "create", create);
	bytes_wipe(password, sizeof password);
	if (!args)
		return cli_fail(cli, "name and password must be UTF-8");
	return sip_change(cli, "user", "sip.user.put", args, done);
}

static int run_add(struct cli *cli)
{
	return put(cli, true, "may register now");
}

static int run_passwd(struct cli *cli)
{
	return put(cli, false,
		   "has the new password now; registrations that are there stay until they end");
}

static int run_delete(struct cli *cli)
{
	return sip_change(cli, "user", "sip.user.delete", cli_named(cli), "is deleted");
}

static const struct command rows[] = {
	{ "sip user list", "", "users of the file and of the store, without passwords",
	  "A user that stands in the configuration file is changed there; the others by stile sip user.",
	  NULL, 0, 0, 0, run_list, WITHOUT_CONFIG },
	{ "sip user add", "NAME", "make a user, at once",
	  "NAME is alice@example.org, or alice for the first of sip.domains. The password is asked for, or is the first line\n"
	  "of standard input. The user is kept in the store of the running service.",
	  NULL, 0, 1, 1, run_add, WITHOUT_CONFIG },
	{ "sip user passwd", "NAME", "change a user's password, at once",
	  "The password is asked for, or is the first line of standard input.", NULL, 0, 1, 1,
	  run_passwd, WITHOUT_CONFIG },
	{ "sip user delete", "NAME", "delete a user of the store",
	  "Registrations that are there stay until they end.", NULL, 0, 1, 1, run_delete,
	  WITHOUT_CONFIG },
};
const struct command_table sip_user_commands = { rows, ARRAY_LEN(rows) };
