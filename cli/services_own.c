/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of each service in `stile status`.
 * A key that an older service does not send is shown as 0.
 * More than a few lines belong to the service's own commands.
 */
#include "cli/services.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
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

void print_gateway(const json_t *own)
{
	printf("    listeners   %zu; transfers %lld, connections %lld\n", json_array_size(json_object_get(own, "listeners")),
	       (long long)json_integer_value(json_object_get(own, "transfers")), (long long)json_integer_value(json_object_get(own, "connections")));
}

/* ---- stile-turn, and its fast path ---- */

/* "10.0.0.5 seen as 203.0.113.7 (found by 198.51.100.1:3478 at 2026-05-01 12:00:00)" */
static void print_relay(const json_t *l, bool first)
{
	const char *external = json_string_value(json_object_get(l, "external"));
	const char *server = json_string_value(json_object_get(l, "external_server"));
	const char *state = json_string_value(json_object_get(l, "external_state"));
	time_t at = (time_t)json_integer_value(json_object_get(l, "external_found_at"));
	char when[32] = "";
	struct tm tm;

	printf("%s%s", first ? "" : ", ", json_string_value(json_object_get(l, "address")));
	if (external)
		printf(" seen as %s", external);
	if (external && server && localtime_r(&at, &tm) && strftime(when, sizeof when, "%F %T", &tm))
		printf(" (%s by %s at %s)", state && strcmp(state, "remembered") == 0 ? "remembered; told" : "told", server, when);
	else if (external)
		printf(" (as configured)");
	else if (state && strcmp(state, "unknown") == 0)
		printf(" (public address not known yet)");
}

/* The default one stands in the lines above. */
static void print_realms(const json_t *own)
{
	size_t i;
	json_t *x;

	json_array_foreach(json_object_get(own, "realms"), i, x) {
		const json_t *names = json_object_get(x, "server_names"), *listen = json_object_get(x, "listen");
		json_int_t limit = json_integer_value(json_object_get(x, "allocations_limit"));
		if (i == 0)
			continue;
		printf("    realm       ");
		print_clean(stdout, json_string_value(json_object_get(x, "name")));
		printf(": ");
		if (json_is_true(json_object_get(x, "removed")))
			printf("removed from the configuration, but not empty; ");
		print_strings(names, ", ");
		fputs(json_array_size(names) && json_array_size(listen) ? ", " : "", stdout);
		print_strings(listen, ", ");
		printf("%sallocations %lld", json_array_size(names) || json_array_size(listen) ? "; " : "",
		       (long long)json_integer_value(json_object_get(x, "allocations")));
		if (limit > 0)
			printf(" of %lld", (long long)limit);
		printf("\n");
	}
}

static void print_listener(const json_t *l, bool first)
{
	printf("%s%s:%s", first ? "" : ", ", json_string_value(json_object_get(l, "transport")),
	       json_string_value(json_object_get(l, "address")));
}

static bool is_removed(const json_t *l)
{
	const char *state = json_string_value(json_object_get(l, "state"));

	return state && strcmp(state, "listening") != 0;
}

/* Those that were removed, with what keeps them. */
static void print_leaving(const json_t *own)
{
	const json_t *l;
	size_t i, n = 0;

	json_array_foreach(json_object_get(own, "listeners"), i, l) {
		json_int_t allocations = json_integer_value(json_object_get(l, "allocations"));
		json_int_t connections = json_integer_value(json_object_get(l, "connections"));

		if (!is_removed(l))
			continue;
		printf("%s", n ? "" : "    draining    ");
		print_listener(l, n++ == 0);
		if (allocations || !connections)
			printf(" (%lld allocation%s)", (long long)allocations, allocations == 1 ? "" : "s");
		else
			printf(" (%lld connection%s)", (long long)connections, connections == 1 ? "" : "s");
	}
	if (n)
		putchar('\n');
}

/* Where the front of a shared port sends connections, and which of these places do not answer. */
static void print_front(const json_t *front)
{
	json_int_t waiting = json_integer_value(json_object_get(front, "waiting"));
	const json_t *b;
	size_t i;

	if (!front)
		return;
	printf("    front       ");
	json_array_foreach(json_object_get(front, "backends"), i, b) {
		const char *down = json_string_value(json_object_get(b, "down"));
		json_int_t open = json_integer_value(json_object_get(b, "open")), failed = json_integer_value(json_object_get(b, "failed"));

		printf("%s%s %lld taken", i ? ", " : "", json_string_value(json_object_get(b, "backend")),
		       (long long)json_integer_value(json_object_get(b, "taken")));
		if (open)
			printf(", %lld open", (long long)open);
		if (failed)
			printf(", %lld lost", (long long)failed);
		if (down)
			printf(" (down: %s)", down);
	}
	printf("%s", waiting ? "; " : "\n");
	if (waiting)
		printf("%lld waiting for their ClientHello\n", (long long)waiting);
}

static void print_listeners(const json_t *own)
{
	json_int_t users = json_integer_value(json_object_get(own, "users"));
	json_int_t secrets = json_integer_value(json_object_get(own, "secrets"));
	json_int_t limit = json_integer_value(json_object_get(own, "allocations_limit"));
	size_t i, n = 0;
	json_t *l;

	printf("    listens on  ");
	json_array_foreach(json_object_get(own, "listeners"), i, l)
		if (!is_removed(l))
			print_listener(l, n++ == 0);
	putchar('\n');
	print_leaving(own);
	printf("    relays from ");
	json_array_foreach(json_object_get(own, "relay_addresses"), i, l)
		print_relay(l, i == 0);
	printf(", ports %lld-%lld\n", (long long)json_integer_value(json_object_get(own, "relay_port_first")),
	       (long long)json_integer_value(json_object_get(own, "relay_port_last")));
	printf("    accepts     %s%lld user%s, %lld shared secret%s; realm %s\n",
	       json_is_true(json_object_get(own, "password")) ? "one password for all, " : "", (long long)users,
	       users == 1 ? "" : "s", (long long)secrets, secrets == 1 ? "" : "s",
	       json_string_value(json_object_get(own, "realm")));
	print_realms(own);
	printf("    allocations %lld", (long long)json_integer_value(json_object_get(own, "allocations")));
	if (limit > 0)
		printf(" of %lld", (long long)limit);
	printf(", client connections %lld, workers %lld\n",
	       (long long)json_integer_value(json_object_get(own, "connections")),
	       (long long)json_integer_value(json_object_get(own, "workers")));
}

static void print_fast_path(const json_t *f)
{
	json_int_t n = json_integer_value(json_object_get(f, "channels")), in = json_integer_value(json_object_get(f, "offloaded"));
	const char *mode = json_string_value(json_object_get(f, "mode"));
	size_t i;
	json_t *o;

	if (!json_is_true(json_object_get(f, "enabled")))
		return;
	if (!json_integer_value(json_object_get(f, "workers_connected")))
		printf("    fast path   waits for stile-fastpath; %lld channel%s in user space\n", (long long)n, n == 1 ? "" : "s");
	else
		printf("    fast path   %s on %s: %lld of %lld channel%s in the kernel\n", mode,
		       json_string_value(json_object_get(f, "interfaces")), (long long)in, (long long)n, n == 1 ? "" : "s");
	json_array_foreach(json_object_get(f, "others"), i, o)
		printf("                %lld not: %s\n", (long long)json_integer_value(json_object_get(o, "channels")),
		       json_string_value(json_object_get(o, "why")));
}

void print_turn(const json_t *own)
{
	print_listeners(own);
	print_front(json_object_get(own, "front"));
	print_fast_path(json_object_get(own, "fast_path"));
}

void print_fastpath(const json_t *own)
{
	const char *why;
	json_t *n;
	bool any = false;

	printf("    attached to %s by %s\n    channels    %lld of %lld in the kernel, limit %lld; %lld worker%s of stile-turn\n",
	       json_string_value(json_object_get(own, "interfaces")), json_string_value(json_object_get(own, "mode")),
	       (long long)json_integer_value(json_object_get(own, "offloaded")), (long long)json_integer_value(json_object_get(own, "channels")),
	       (long long)json_integer_value(json_object_get(own, "channels_limit")), (long long)json_integer_value(json_object_get(own, "clients")),
	       json_integer_value(json_object_get(own, "clients")) == 1 ? "" : "s");
	json_object_foreach(json_object_get(own, "left_to_user_space"), why, n)
		if (json_integer_value(n)) {
			printf("%s %s %lld", any ? "," : "    packets left to user space:", why, (long long)json_integer_value(n));
			any = true;
		}
	if (any)
		printf("\n");
}
