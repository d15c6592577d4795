/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile config objects|put|delete: any object of a service's store by its kind and key, as the API has them. Most kinds have commands of
 * their own (turn user add, relay route add), which are easier to use and do the same.
 *
 * A body is JSON, on the command line or from standard input: it may have secrets in it.
 */
#include <string.h>
#include "cli/command.h"
#include "cli/config_change.h"
#include "cli/services.h"

static int run_objects(struct cli *cli)
{
	const char *kind = cli->n_words > 1 ? cli->words[1] : NULL;
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	char program[SERVICE_NAME];
	json_t *rows = json_array(), *got = NULL, *row;
	size_t i;
	int r = services_name(cli, cli->words[0], "", program);

	if (r == 0)
		r = cli_connect(cli, program, &cl);
	if (r == 0 && kind)
		r = cli_objects(cli, cl, kind, false, rows);
	else if (r == 0)
		r = cli_call(cli, cl, "service.objects", json_object(), &got);
	if (r == 0 && (kind || cli_has(cli, "json")))
		print_json(kind ? rows : json_object_get(got, "kinds"));
	else if (r == 0)
		json_array_foreach(json_object_get(got, "kinds"), i, row)
			printf("%s\n", json_string_value(row));
	json_decref(got);
	json_decref(rows);
	return r;
}

/* The third word behind the key, or standard input. NULL: said why. */
static json_t *body_of(const struct cli *cli)
{
	json_error_t e;
	json_t *body = cli->n_words > 3 ? json_loads(cli->words[3], JSON_REJECT_DUPLICATES, &e) : json_loadf(stdin, JSON_REJECT_DUPLICATES, &e);

	if (json_is_object(body))
		return body;
	json_decref(body);
	cli_fail(cli, "the body is no JSON object%s%s", body ? "" : ": ", body ? "" : e.text);
	return NULL;
}

static int change(struct cli *cli, const char *verb, json_t *body)
{
	char program[SERVICE_NAME];
	uint64_t revision = UINT64_MAX;
	json_t *args = json_pack("{s:s, s:s}", "kind", cli->words[1], "key", cli->words[2]);
	int r = cli_number(cli, "revision", 0, INT64_MAX, &revision);

	if (r == 0)
		r = services_name(cli, cli->words[0], "", program);
	if (body)
		json_object_set_new(args, "body", body);
	if (r) {
		json_decref(args);
		return r;
	}
	if (revision != UINT64_MAX)
		json_object_set_new(args, "revision", json_integer((json_int_t)revision));
	return config_send(cli, program, verb, args);
}

static int run_put(struct cli *cli)
{
	json_t *body = body_of(cli);

	return body ? change(cli, "config.put", body) : EXIT_USAGE;
}

static int run_delete(struct cli *cli)
{
	return change(cli, "config.delete", NULL);
}

static const struct option_row options[] = { CONFIG_OPTION_TRANSACTION, CONFIG_OPTION_CONFIRM, CONFIG_OPTION_REVISION };

static const struct command rows[] = {
	{ "config objects", "SERVICE [KIND]", "kinds of objects in a service's store, or those of one kind as JSON", "Secrets are not shown.", NULL, 0, 1, 2,
	  run_objects, WITHOUT_CONFIG },
	{ "config put", "SERVICE KIND KEY [BODY]", "make or change an object of a service's store",
	  "BODY is JSON, or comes from standard input: stile config put turn turn.user alice '{\"password\": \"…\"}'", options, ARRAY_LEN(options), 3,
	  4, run_put, WITHOUT_CONFIG },
	{ "config delete", "SERVICE KIND KEY", "delete an object of a service's store", NULL, options, ARRAY_LEN(options), 3, 3, run_delete,
	  WITHOUT_CONFIG },
};
const struct command_table config_object_commands = { rows, ARRAY_LEN(rows) };
