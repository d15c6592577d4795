/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile netcheck --site AGENT: what the network means for reaching one other site. Where the stile-agent that runs here has a link to
 * it, that is told as it is, with the path and the reason why it is not better; else what this side's NAT leaves possible stands
 * in the report above, and how to try it is said.
 */
#include <stdio.h>
#include <string.h>
#include "cli/netcheck.h"
#include "common/json.h"

enum { PATH_TEXT = 512 };

static json_t *row_of(const json_t *peers, const char *name)
{
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(peers, "rows"), i, row)
		if (strcmp(text_of_key(row, "peer"), name) == 0)
			return row;
	return NULL;
}

json_t *nc_site_json(struct cli *cli, const char *name, int *ret_r)
{
	json_t *peers = NULL, *site;

	*ret_r = cli_ask(cli, "stile-agent", "agent.peers", NULL, &peers);
	site = json_pack("{s:s, s:O?}", "agent", name, "link", row_of(peers, name)); /* null: there is none, or no agent to ask */
	json_decref(peers);
	return site;
}

int nc_site(struct cli *cli, const char *name)
{
	json_t *peers = NULL;
	const json_t *row;
	int r = cli_ask(cli, "stile-agent", "agent.peers", NULL, &peers);
	char text[PATH_TEXT];

	if (r)
		return r;
	row = row_of(peers, name);
	if (!row)
		printf("site %s\n  there is no link to it now: stile ping %s --until-direct makes one and says what becomes of it\n", name, name);
	else {
		snprintf(text, sizeof text, "%s%s%s%s", text_of_key(row, "path"), *text_of_key(row, "pair") ? " (" : "", text_of_key(row, "pair"),
			 *text_of_key(row, "pair") ? ")" : "");
		printf("site %s\n  the link is %s, path ", name, text_of_key(row, "state"));
		print_clean(stdout, *text ? text : "none yet"); /* the other agent has a word in it */
		if (*text_of_key(row, "reason")) {
			printf("\n  not better, because: ");
			print_clean(stdout, text_of_key(row, "reason"));
		}
		putchar('\n');
	}
	json_decref(peers);
	return 0;
}
