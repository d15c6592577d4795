/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forward job as `stile agent job add` and `stile tunnel job add` take it: words and options become the keys of
 * agent.jobs, which the service judges by its rows, so errors are those of the file.
 * What is shown is what the service said, and nothing is kept.
 */
#include <stdio.h>
#include <string.h>
#include "cli/tunnel.h"
#include "common/json.h"
#include "common/text.h"

const struct option_row job_options[JOB_OPTIONS] = {
	{ "name", 0, "NAME", "how it is called (default: its port)", false },
	{ "udp", 'u', NULL, "UDP instead of TCP", false },
	{ "bind", 0, "ADDRESS", "address of the server on which the port appears", false },
	{ "allow", 0, "PREFIXES", "where sources may come from: 10.0.0.0/8,192.0.2.7", false },
	{ "expire", 0, "TIME", "when it ends by itself: 2h, or \"2026-12-01 18:00\"", false },
	{ "limit", 0, "N", "connections at a time", false },
	{ "bitrate", 0, "RATE", "of all connections together: 20Mbit/s", false },
	{ "proxy-protocol", 0, "v2", "tell the target the source's address", false },
	{ "health-check", 0, "TIME", "try the target so often, and refuse while it is down", false },
	{ "plain", 0, NULL, "without encryption, where both sides allow it", false },
	{ "disabled", 0, NULL, "keep it, but do not start it yet", false },
	{ "note", 0, "TEXT", "for people", false },
	{ "replace", 0, NULL, "change the job of this name", false },
};

static const struct {
	const char *option, *map, *key; /* map NULL: of the job itself */
} texts[] = {
	{ "name", NULL, "name" },     { "bind", NULL, "bind" },	      { "expire", NULL, "expire" },
	{ "note", NULL, "note" },     { "limit", "limits", "connections" }, { "bitrate", "limits", "bitrate" },
	{ "proxy-protocol", NULL, "proxy_protocol" }, { "health-check", NULL, "health_check" },
	{ "port", NULL, "port" },     { "target", NULL, "target" }, /* of a change */
};

static json_t *map_of(json_t *job, const char *name)
{
	json_t *map = name ? json_object_get(job, name) : job;

	if (!map)
		json_object_set_new(job, name, map = json_object());
	return map;
}

void job_options_into(const struct cli *cli, json_t *job)
{
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (cli_has(cli, texts[i].option))
			json_object_set_new(map_of(job, texts[i].map), texts[i].key, json_string(cli_option(cli, texts[i].option)));
	if (cli_has(cli, "allow"))
		json_object_set_new(job, "allow", cli_list_of(cli, "allow"));
	if (cli_has(cli, "udp"))
		json_object_set_new(job, "protocol", json_string("udp"));
	if (cli_has(cli, "plain"))
		json_object_set_new(job, "encrypt", json_false());
	if (cli_has(cli, "disabled"))
		json_object_set_new(job, "enabled", json_false());
}

json_t *job_of_words(const struct cli *cli, unsigned first)
{
	json_t *job = json_object();
	const char *host = cli->words[first + 1], *port = cli->n_words > first + 2 ? cli->words[first + 2] : NULL;
	bool bare6 = port && strchr(host, ':') && host[0] != '[';

	json_object_set_new(job, "port", json_string(cli->words[first]));
	json_object_set_new(job, "target", port ? json_sprintf(bare6 ? "[%s]:%s" : "%s:%s", host, port) : json_string(host));
	job_options_into(cli, job);
	return job;
}

int job_told(struct cli *cli, const json_t *row, const char *name)
{
	const json_t *server;
	size_t i;

	if (cli_has(cli, "json")) {
		print_json(row);
		return 0;
	}
	printf("job ");
	print_clean(stdout, name);
	printf(" is kept\n");
	json_array_foreach(json_object_get(row, "servers"), i, server) {
		printf("  at ");
		print_clean(stdout, text_of_key(server, "server"));
		printf(": %s ", text_of_key(server, "state"));
		print_clean(stdout, *text_of_key(server, "text") ? text_of_key(server, "text") : text_of_key(server, "address"));
		putchar('\n');
	}
	return 0;
}
