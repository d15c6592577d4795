/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile sip explain: what the running service would do with a request, rule by rule, without anything being sent. The
 * service asks its own chain of rules (sip.explain); this file takes the words and prints the answer.
 * Exit 1: the request would be refused.
 */
#include <string.h>
#include "cli/sip.h"
#include "common/text.h"

static int print_steps(const struct cli *cli, const json_t *result)
{
	json_int_t code = json_integer_value(json_object_get(result, "code"));
	bool good = code < 300;
	size_t i;
	json_t *step;

	json_array_foreach(json_object_get(result, "steps"), i, step)
	{
		const char *rule = json_string_value(json_object_get(step, "rule")),
			   *says = json_string_value(json_object_get(step, "says"));
		if (strcmp(rule, "decision") == 0) {
			print_check(cli, good, rule, says);
		} else {
			printf("  %-12s ", rule);
			print_clean(stdout, says);
			putchar('\n');
		}
	}
	return good ? 0 : EXIT_FAILED;
}

static int run_explain(struct cli *cli)
{
	static const char *const texts[] = { "from", "to", "method", "via", "source" };
	json_t *args = json_object(), *result = NULL;
	int r;

	if (!cli_has(cli, "from") || !cli_has(cli, "to")) {
		json_decref(args);
		return cli_wrong(cli, "say who and to whom: --from alice@a.example --to bob@b.example");
	}
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (cli_has(cli, texts[i]))
			json_object_set_new(args, texts[i], json_string(cli_option(cli, texts[i])));
	if (cli_has(cli, "certificate"))
		json_object_set_new(args, "certificate", cli_list_of(cli, "certificate"));
	r = sip_call(cli, "sip.explain", args, &result);
	if (r == 0 && cli_has(cli, "json")) {
		print_json(result);
		r = json_integer_value(json_object_get(result, "code")) < 300 ? 0 : EXIT_FAILED;
	} else if (r == 0) {
		r = print_steps(cli, result);
	}
	json_decref(result);
	return r;
}

static const struct option_row options[] = {
	{ "from", 0, "ADDRESS", "who sends it: alice@a.example" },
	{ "to", 0, "ADDRESS", "for whom it is" },
	{ "method", 0, "METHOD", "default MESSAGE" },
	{ "via", 0, "TRANSPORT", "how it comes: udp (default), tcp, tls, mtls, ws, wss, or lan" },
	{ "source", 0, "ADDRESS", "from where it comes (default: an address outside)" },
	{ "certificate", 0, "NAMES",
	  "what the sender's certificate names: a.example,b.example (means mtls)" },
};

static const struct command rows[] = {
	{ "sip explain", "", "which rule decides about a request, step by step; nothing is sent",
	  "Asks the running service: each rule says what it thinks, the last line is what would happen. Exit 1 if the request\n"
	  "would be refused.\n\n"
	  "  stile sip explain --from alice@uc.example.org --to bob@partner.example --via lan\n"
	  "  stile sip explain --from eve@partner.example --to alice@uc.example.org --certificate other.example",
	  options, ARRAY_LEN(options), 0, 0, run_explain, WITHOUT_CONFIG },
};
const struct command_table sip_explain_commands = { rows, ARRAY_LEN(rows) };
