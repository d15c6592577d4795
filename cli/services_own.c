/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of stile-tunnel, stile-agent and stile-sip in `stile status`. A key that an older service does not
 * send is shown as 0.
 * More than a few lines belong to the service's own commands.
 */
#include "cli/services.h"
#include <stdio.h>
#include "cli/command.h"

void print_tunnel(const json_t *own)
{
	if (json_is_true(json_object_get(own, "tunnel")))
		printf("    agents      %lld with %lld jobs; data connections %lld\n", (long long)json_integer_value(json_object_get(own, "agents")),
		       (long long)json_integer_value(json_object_get(own, "jobs")),
		       (long long)json_integer_value(json_object_get(own, "data_connections")));
	printf("    routes      %lld, %lld enabled, %lld listen; connections %lld, workers %lld\n",
	       (long long)json_integer_value(json_object_get(own, "routes")),
	       (long long)json_integer_value(json_object_get(own, "enabled")),
	       (long long)json_integer_value(json_object_get(own, "listening")),
	       (long long)json_integer_value(json_object_get(own, "connections")),
	       (long long)json_integer_value(json_object_get(own, "workers")));
}

void print_agent(const json_t *own)
{
	const json_t *s;
	size_t i;

	printf("    jobs        %lld\n", (long long)json_integer_value(json_object_get(own, "jobs")));
	json_array_foreach(json_object_get(own, "servers"), i, s) {
		printf("    server      %s: %s ", json_string_value(json_object_get(s, "server")), json_string_value(json_object_get(s, "state")));
		print_clean(stdout, json_string_value(json_object_get(s, "why")));
		putchar('\n');
	}
}

void print_sip(const json_t *own)
{
	printf("    listeners   %zu; domains %zu, routes %zu; transactions %lld, connections %lld\n",
	       json_array_size(json_object_get(own, "listeners")),
	       json_array_size(json_object_get(own, "domains")),
	       json_array_size(json_object_get(own, "routes")),
	       (long long)json_integer_value(json_object_get(own, "transactions")),
	       (long long)json_integer_value(json_object_get(own, "connections")));
}

void print_console(const json_t *own)
{
	printf("    console     %s%s; sessions %lld, live pages %lld\n", json_string_value(json_object_get(own, "url")),
	       json_is_true(json_object_get(own, "setup_needed")) ? " waits for its set-up: stile console setup" : "",
	       (long long)json_integer_value(json_object_get(own, "sessions")), (long long)json_integer_value(json_object_get(own, "streams")));
}
