/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile turn snippet: what a WebRTC page or a UC client needs to use this server, ready to paste, from the configuration; --live:
 * from the running server, settings and secrets made in the console included. A password that is no secret of
 * credentials is printed from the file alone, for who may read that has it anyway.
 */
#include "cli/command.h"
#include "cli/credential.h"
#include "common/bytes.h"
#include "turn/snippet.h"

static void print_server(json_t *server)
{
	json_t *j = json_pack("{s:[o]}", "iceServers", server);

	print_json(j);
	json_decref(j);
}

/* A password that only its owner knows is left to be filled in. */
static int run_live(struct cli *cli)
{
	json_t *args = cli->n_words ? json_pack("{s:s}", "host", cli->words[0]) : NULL, *got = NULL;
	int r = cli_ask(cli, "stile-turn", "turn.snippet", args, &got);
	const json_t *of = json_object_get(got, "credential_of");

	if (r == 0)
		print_server(json_pack("{s:O, s:O, s:O}", "urls", json_object_get(got, "urls"), "username", json_object_get(got, "username"),
				       "credential", of ? of : json_object_get(got, "credential")));
	if (r == 0 && of)
		fprintf(stderr, "the server gives no password away: put the %s there\n", json_string_value(of));
	json_decref(got);
	return r;
}

int run_snippet(struct cli *cli)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	struct credential cred;
	char buf[ADDR_STRLEN];

	if (cli_has(cli, "live"))
		return run_live(cli);
	if (cfg_load(cli_config_path(cli), &turn_cfg_root, &cfg) < 0) {
		if (cfg)
			cfg_print_errors(cfg, stderr);
		return EXIT_USAGE;
	}
	const struct turn_config *turn = &((const struct turn_root *)cfg_values(cfg))->turn;
	int r = credential_for_client(cli, turn, &cred);
	if (r)
		return r;
	const char *host = cli->n_words ? cli->words[0] : turn_snippet_host(turn, buf);
	print_server(json_pack("{s:o, s:s, s:s}", "urls", turn_snippet_urls(turn, host), "username", cred.user, "credential", cred.password));
	bytes_wipe(&cred, sizeof cred);
	return 0;
}
