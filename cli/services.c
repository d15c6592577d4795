/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands for every service: status, reload, log level. What runs is what has a live control socket in
 * the runtime folder, all instances included; a socket that does not answer is shown as such and makes
 * the health line red.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include "cli/command.h"
#include "cli/services.h"
#include "common/log.h"
#include "common/text.h"

enum { MAX_SERVICES = 64, ASK_TIMEOUT_MS = 3000 };

static const char *const known_services[] = { "stile-turn", "stile-tunnel", "stile-agent", "stile-sip", "stile-fastpath", "stile-console" };

/* Services that have a status of their own. */
struct kind {
	const char *program, *verb, *key; /* key: in the JSON form */
	const char *left; /* of what a drain waits for: its key is this and an s */
	void (*print)(const json_t *own);
};
static void print_turn(const json_t *own);
static void print_fastpath(const json_t *own);
static const struct kind kinds[] = {
	{ "stile-turn", "turn.status", "turn", "allocation", print_turn },
	{ "stile-tunnel", "relay.status", "relay", "connection", print_tunnel },
	{ "stile-agent", "agent.status", "agent", "connection", print_agent },
	{ "stile-sip", "sip.status", "sip", "transaction", print_sip },
	{ "stile-console", "console.status", "console", "connection", print_console },
	{ "stile-fastpath", "fastpath.status", "fastpath", "channel", print_fastpath },
};

struct service_status {
	char socket[512];
	int error; /* of the attempt to reach it: 0 or -errno */
	json_t *status; /* of service.status; NULL: it does not answer */
	const struct kind *kind; /* NULL: none of kinds */
	json_t *own;	/* of its own status verb, if it has one */
};

static void ask(struct service_status *s)
{
	struct control_client *cl;
	json_t *error = NULL;

	s->error = control_connect(s->socket, ASK_TIMEOUT_MS, &cl);
	if (s->error < 0)
		return;
	if (control_call(cl, "service.status", NULL, &s->status, &error) == CONTROL_ERROR)
		json_decref(error);
	const char *program = json_string_value(json_object_get(s->status, "program"));
	error = NULL;
	for (size_t i = 0; program && i < ARRAY_LEN(kinds); i++)
		if (strcmp(program, kinds[i].program) == 0) {
			s->kind = &kinds[i];
			if (control_call(cl, kinds[i].verb, NULL, &s->own, &error) == CONTROL_ERROR)
				json_decref(error);
		}
	control_client_free(cl);
}

/* "stile-turn@lab.sock" is of the instance "lab". */
static bool is_instance(const char *socket_name, const char *instance)
{
	const char *at = strchr(socket_name, '@');
	size_t n = strlen(instance);

	return at ? strncmp(at + 1, instance, n) == 0 && strcmp(at + 1 + n, ".sock") == 0 : !n;
}

/* instance NULL: all of them. */
static size_t find_services(const char *dir, const char *instance, struct service_status *out)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	for (struct dirent *e; d && n < MAX_SERVICES && (e = readdir(d));) {
		size_t len = strlen(e->d_name);
		if (len < 6 || strcmp(e->d_name + len - 5, ".sock") != 0 || strncmp(e->d_name, "stile", 5) != 0 ||
		    (instance && !is_instance(e->d_name, instance)))
			continue;
		out[n] = (struct service_status){ 0 };
		snprintf(out[n].socket, sizeof out[n].socket, "%s/%s", dir, e->d_name);
		ask(&out[n++]);
	}
	if (d)
		closedir(d);
	return n;
}

/* ---- status ---- */

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

static void print_strings(const json_t *list, const char *between)
{
	size_t i;
	json_t *s;

	json_array_foreach(list, i, s)
		printf("%s%s", i ? between : "", json_string_value(s));
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
		printf("    realm       %s: ", json_string_value(json_object_get(x, "name")));
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

static void print_turn(const json_t *own)
{
	print_listeners(own);
	print_front(json_object_get(own, "front"));
	print_fast_path(json_object_get(own, "fast_path"));
}

static void print_fastpath(const json_t *own)
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

static void print_draining(const struct service_status *s)
{
	json_int_t left = json_integer_value(json_object_get(s->status, "drain_left_ms"));
	char time[64], key[64];
	struct sb b = sb_init(time, sizeof time);

	printf("    draining, ");
	if (s->own && s->kind) {
		snprintf(key, sizeof key, "%ss", s->kind->left);
		json_int_t n = json_integer_value(json_object_get(s->own, key));
		printf("%lld %s%s left; ", (long long)n, s->kind->left, n == 1 ? "" : "s");
	}
	if (left < 0) {
		printf("stops when nothing is left\n");
		return;
	}
	sb_duration(&b, (uint64_t)left);
	printf("stops when nothing is left, or in %s\n", time);
}

/* Public addresses that are asked for: unknown is a fault; known, but not confirmed now, is worth a line. */
static bool check_external(const struct cli *cli, const struct service_status *s, bool show)
{
	bool good = true;
	size_t i;
	json_t *l;

	json_array_foreach(json_object_get(s->own, "relay_addresses"), i, l) {
		const char *why = json_string_value(json_object_get(l, "external_why"));
		const char *key = json_string_value(json_object_get(l, "external_why_key"));
		const char *external = json_string_value(json_object_get(l, "external"));
		char line[640];

		if (!why || (key && strcmp(key, "asking") == 0 && external))
			continue;
		good &= external != NULL;
		snprintf(line, sizeof line, "%.60s: %s%.60s: %.400s", json_string_value(json_object_get(l, "address")),
			 external ? "clients are still told " : "allocations are refused", external ? external : "", why);
		if (show)
			print_check(cli, external != NULL, "public address", line);
	}
	return good;
}

/* What an administrator should know; with show, a line each. Returns whether all is well. */
static bool check_health(const struct cli *cli, const struct service_status *s, bool show)
{
	const char *reload_error = json_string_value(json_object_get(s->status, "reload_error"));
	const char *restart = json_string_value(json_object_get(s->status, "restart_needed"));
	json_int_t used = json_integer_value(json_object_get(s->status, "descriptors"));
	json_int_t limit = json_integer_value(json_object_get(s->status, "descriptors_limit"));
	char line[640];
	bool good = true;

	if (reload_error && *reload_error) {
		good = false;
		snprintf(line, sizeof line, "the last reload failed, the old configuration is at work: %s", reload_error);
		if (show)
			print_check(cli, false, "configuration", line);
	}
	if (restart && *restart) {
		good = false;
		snprintf(line, sizeof line, "changed in the file, but needs a restart: %s", restart);
		if (show)
			print_check(cli, false, "restart", line);
	}
	if (limit > 0 && used * 10 > limit * 8) {
		good = false;
		snprintf(line, sizeof line, "%lld of %lld file descriptors are in use", (long long)used, (long long)limit);
		if (show)
			print_check(cli, false, "descriptors", line);
	}
	return check_external(cli, s, show) && good;
}

static bool print_service(const struct cli *cli, const struct service_status *s)
{
	char uptime[64], memory[32], line[640];
	struct sb b = sb_init(uptime, sizeof uptime), m = sb_init(memory, sizeof memory);
	const char *instance = json_string_value(json_object_get(s->status, "instance"));

	if (!s->status) {
		const char *why = s->error == -EACCES ? "no access: run as root or as a member of the group stile" :
				  s->error == -ECONNREFUSED ? "it has ended without a clean stop; start it again" :
				  s->error < 0 ? strerror(-s->error) : "it does not answer";
		snprintf(line, sizeof line, "%.500s: %.100s", s->socket, why);
		print_check(cli, false, "not answering", line);
		return false;
	}
	sb_duration(&b, (uint64_t)json_integer_value(json_object_get(s->status, "uptime_ms")));
	sb_size(&m, (uint64_t)json_integer_value(json_object_get(s->status, "memory")));
	printf("%s%s%s  %s, pid %lld, up %s, %s of memory, log level %s\n",
	       json_string_value(json_object_get(s->status, "program")), instance && *instance ? "@" : "",
	       instance ? instance : "", json_string_value(json_object_get(s->status, "version")),
	       (long long)json_integer_value(json_object_get(s->status, "pid")), uptime, memory,
	       json_string_value(json_object_get(s->status, "log_level")));
	if (s->own && s->kind)
		s->kind->print(s->own);
	const char *state = json_string_value(json_object_get(s->status, "state"));
	if (state && strcmp(state, "draining") == 0)
		print_draining(s);
	return check_health(cli, s, true);
}

static json_t *status_json(struct service_status *s, size_t n)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *row = s[i].status ? json_incref(s[i].status) : json_pack("{s:s}", "socket", s[i].socket);
		if (s[i].own && s[i].kind)
			json_object_set(row, s[i].kind->key, s[i].own);
		json_array_append_new(rows, row);
	}
	return rows;
}

static int run_status(struct cli *cli)
{
	struct service_status found[MAX_SERVICES];
	const char *dir = cli_runtime_dir(cli);
	size_t n = find_services(dir, cli_option(cli, "instance"), found);
	bool good = n > 0;

	if (cli_has(cli, "json")) {
		json_t *j = status_json(found, n);
		print_json(j);
		json_decref(j);
		for (size_t i = 0; i < n; i++)
			good &= found[i].status && check_health(cli, &found[i], false);
	} else {
		for (size_t i = 0; i < n; i++)
			good &= print_service(cli, &found[i]);
		if (n == 0)
			fprintf(stderr, "no service of Stile runs%s (no control socket in %s)\n",
				cli_has(cli, "instance") ? " under this name" : "", dir);
		else if (good)
			print_check(cli, true, "health", "nothing to do");
	}
	for (size_t i = 0; i < n; i++) {
		json_decref(found[i].status);
		json_decref(found[i].own);
	}
	return good ? 0 : EXIT_FAILED;
}

/* ---- verbs of one service ---- */

/* "turn" or "stile-turn" → "stile-turn"; NULL, and said why, if there is no such service. */
static const char *service_of(const struct cli *cli, const char *word)
{
	for (size_t i = 0; i < ARRAY_LEN(known_services); i++)
		if (strcmp(word, known_services[i]) == 0 || strcmp(word, known_services[i] + strlen("stile-")) == 0)
			return known_services[i];
	fprintf(stderr, "stile %s: there is no service '%s'; there is:", cli->command->name, word);
	for (size_t i = 0; i < ARRAY_LEN(known_services); i++)
		fprintf(stderr, " %s", known_services[i] + strlen("stile-"));
	fputc('\n', stderr);
	return NULL;
}

/* "  turn.limits.allocations  10000 → 20000", keys in one column. */
static void print_changes(const json_t *result)
{
	const json_t *rows = json_object_get(result, "changes"), *row;
	long long more = (long long)json_integer_value(json_object_get(result, "more"));
	int width = 0;
	size_t i;

	json_array_foreach(rows, i, row)
		width = MAX(width, (int)json_string_length(json_object_get(row, "key")));
	json_array_foreach(rows, i, row) {
		const char *was = json_string_value(json_object_get(row, "was")), *is = json_string_value(json_object_get(row, "is"));
		printf("  %-*s  ", MIN(width, 60), json_string_value(json_object_get(row, "key")));
		print_clean(stdout, was ? was : json_string_value(json_object_get(row, "what")));
		if (is) {
			fputs(" → ", stdout);
			print_clean(stdout, is);
		}
		puts(json_is_true(json_object_get(row, "restart")) ? "  (needs a restart)" : "");
	}
	if (more)
		printf("  and %lld more\n", more);
}

static void print_reload(const char *program, const json_t *result)
{
	bool dry = json_is_true(json_object_get(result, "dry_run"));
	const char *restart = json_string_value(json_object_get(result, "restart_needed"));
	size_t n = json_array_size(json_object_get(result, "changes"));

	if (dry)
		printf(n ? "a reload of %s would change:\n" : "a reload of %s would change nothing\n", program);
	else
		printf("%s has read its configuration again; %s\n", program, n ? "changed:" : "nothing has changed");
	print_changes(result);
	if (!dry && restart && *restart)
		printf("at work with old values, because they need a restart: %s\n", restart);
}

static int run_reload(struct cli *cli)
{
	const char *program = cli->n_words ? service_of(cli, cli->words[0]) : known_services[0];
	json_t *result;
	int r;

	if (!program)
		return EXIT_USAGE;
	r = cli_ask(cli, program, "service.reload",
			 cli_has(cli, "dry-run") ? json_pack("{s:b}", "dry_run", 1) : NULL, &result);
	if (r)
		return r;
	if (cli_has(cli, "json"))
		print_json(result);
	else
		print_reload(program, result);
	json_decref(result);
	return 0;
}

/* "log level", "log level turn", "log level debug", "log level turn debug". */
static int run_log_level(struct cli *cli)
{
	const char *program = known_services[0], *level = cli->n_words ? cli->words[cli->n_words - 1] : NULL;
	enum log_level parsed;
	json_t *result;
	int r;

	if (level && log_level_parse(text_of(level), &parsed) < 0) {
		if (cli->n_words == 2) {
			fprintf(stderr, "stile log level: a level is error, warn, info, debug or trace, not '%s'\n", level);
			return EXIT_USAGE;
		}
		level = NULL;
	}
	if (cli->n_words && (cli->n_words == 2 || !level))
		program = service_of(cli, cli->words[0]);
	if (!program)
		return EXIT_USAGE;
	r = cli_ask(cli, program, "log.level", level ? json_pack("{s:s}", "level", level) : NULL, &result);
	if (r)
		return r;
	if (cli_has(cli, "json"))
		print_json(result);
	else
		printf("%s logs at level %s\n", program, json_string_value(json_object_get(result, "level")));
	json_decref(result);
	return 0;
}

static const struct option_row reload_options[] = {
	{ "dry-run", 0, NULL, "only show what would change; nothing is applied" },
};

static const struct command rows[] = {
	{ "status", "", "what runs, on which addresses, and whether it is well",
	  "All services of this machine that have a control socket, or with --instance the ones of that name. Exit 1 if\n"
	  "nothing runs, or if something needs your attention; then a line with ✘ says what.",
	  NULL, 0, 0, 0, run_status, WITHOUT_CONFIG },
	{ "reload", "[SERVICE]", "make a service read its configuration again",
	  "The same as SIGHUP, with the outcome: what has changed, key by key. A bad file leaves the old configuration\n"
	  "at work, and keys that only a restart applies are named. Sessions go on; a renewed certificate is for who\n"
	  "connects from now on. SERVICE is turn (if none is named), tunnel or sip.",
	  reload_options, ARRAY_LEN(reload_options), 0, 1, run_reload, WITHOUT_CONFIG },
	{ "log level", "[SERVICE] [LEVEL]", "show or change the log level of a running service",
	  "Levels: error, warn, info, debug, trace. The change lasts until the next reload or restart. SERVICE is turn (if none is named), tunnel or sip.",
	  NULL, 0, 0, 2, run_log_level, WITHOUT_CONFIG },
};
const struct command_table service_commands = { rows, ARRAY_LEN(rows) };
