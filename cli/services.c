/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands for every service: status, reload, log level. What runs is what has a live control socket in
 * the runtime folder, all instances included; a socket that does not answer is shown as such and makes
 * the health line red.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "common/text.h"

enum { MAX_SERVICES = 64, ASK_TIMEOUT_MS = 3000 };

static const char *const known_services[] = { "stile-turn" };

struct service_status {
	char socket[512];
	json_t *status; /* of service.status; NULL: it does not answer */
	json_t *own;	/* of its own status verb, if it has one */
};

static void ask(struct service_status *s)
{
	struct control_client *cl;
	json_t *error = NULL;

	if (control_connect(s->socket, ASK_TIMEOUT_MS, &cl) < 0)
		return;
	if (control_call(cl, "service.status", NULL, &s->status, &error) == CONTROL_ERROR)
		json_decref(error);
	const char *program = json_string_value(json_object_get(s->status, "program"));
	error = NULL;
	if (program && strcmp(program, "stile-turn") == 0 && control_call(cl, "turn.status", NULL, &s->own, &error) == CONTROL_ERROR)
		json_decref(error);
	control_client_free(cl);
}

static size_t find_services(const char *dir, struct service_status *out)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	for (struct dirent *e; d && n < MAX_SERVICES && (e = readdir(d));) {
		size_t len = strlen(e->d_name);
		if (len < 6 || strcmp(e->d_name + len - 5, ".sock") || strncmp(e->d_name, "stile", 5))
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

static void print_listeners(const json_t *own)
{
	size_t i;
	json_t *l;

	printf("    listens on  ");
	json_array_foreach(json_object_get(own, "listeners"), i, l)
		printf("%s%s:%s", i ? ", " : "", json_string_value(json_object_get(l, "transport")),
		       json_string_value(json_object_get(l, "address")));
	printf("\n    relays from ");
	json_array_foreach(json_object_get(own, "relay_addresses"), i, l) {
		const char *external = json_string_value(json_object_get(l, "external"));
		printf("%s%s%s%s", i ? ", " : "", json_string_value(json_object_get(l, "address")),
		       external ? " seen as " : "", external ? external : "");
	}
	printf(", ports %lld-%lld\n", (long long)json_integer_value(json_object_get(own, "relay_port_first")),
	       (long long)json_integer_value(json_object_get(own, "relay_port_last")));
	printf("    allocations %lld, client connections %lld, workers %lld\n",
	       (long long)json_integer_value(json_object_get(own, "allocations")),
	       (long long)json_integer_value(json_object_get(own, "connections")),
	       (long long)json_integer_value(json_object_get(own, "workers")));
}

/* What an administrator should know, a line each; returns whether all is well. */
static bool print_health(const struct cli *cli, const struct service_status *s)
{
	const char *reload_error = json_string_value(json_object_get(s->status, "reload_error"));
	json_int_t used = json_integer_value(json_object_get(s->status, "descriptors"));
	json_int_t limit = json_integer_value(json_object_get(s->status, "descriptors_limit"));
	bool good = true;
	char line[640];

	if (reload_error && *reload_error) {
		snprintf(line, sizeof line, "the last reload failed, the old configuration is at work: %s", reload_error);
		print_check(cli, false, "configuration", line);
		good = false;
	}
	if (limit > 0 && used * 10 > limit * 8) {
		snprintf(line, sizeof line, "%lld of %lld file descriptors are in use", (long long)used, (long long)limit);
		print_check(cli, false, "descriptors", line);
		good = false;
	}
	return good;
}

static bool print_service(const struct cli *cli, const struct service_status *s)
{
	char uptime[64], memory[32];
	struct sb b = sb_init(uptime, sizeof uptime), m = sb_init(memory, sizeof memory);
	const char *instance = json_string_value(json_object_get(s->status, "instance"));

	if (!s->status) {
		print_check(cli, false, "not answering", s->socket);
		return false;
	}
	sb_duration(&b, (uint64_t)json_integer_value(json_object_get(s->status, "uptime_ms")));
	sb_size(&m, (uint64_t)json_integer_value(json_object_get(s->status, "memory")));
	printf("%s%s%s  %s, pid %lld, up %s, %s of memory, log level %s\n",
	       json_string_value(json_object_get(s->status, "program")), instance && *instance ? "@" : "",
	       instance ? instance : "", json_string_value(json_object_get(s->status, "version")),
	       (long long)json_integer_value(json_object_get(s->status, "pid")), uptime, memory,
	       json_string_value(json_object_get(s->status, "log_level")));
	if (s->own)
		print_listeners(s->own);
	return print_health(cli, s);
}

static json_t *status_json(struct service_status *s, size_t n)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *row = s[i].status ? json_incref(s[i].status) : json_pack("{s:s}", "socket", s[i].socket);
		if (s[i].own)
			json_object_set(row, "turn", s[i].own);
		json_array_append_new(rows, row);
	}
	return rows;
}

static int run_status(struct cli *cli)
{
	struct service_status found[MAX_SERVICES];
	const char *dir = cli_runtime_dir(cli);
	size_t n = find_services(dir, found);
	bool good = n > 0;

	if (cli_has(cli, "json")) {
		json_t *j = status_json(found, n);
		print_json(j);
		json_decref(j);
	} else {
		for (size_t i = 0; i < n; i++)
			good &= print_service(cli, &found[i]);
		if (n == 0)
			fprintf(stderr, "no service of Stile runs (no control socket in %s)\n", dir);
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

static const char *service_word(const struct cli *cli, unsigned at)
{
	static char full[64];
	const char *w = at < cli->n_words ? cli->words[at] : known_services[0];

	snprintf(full, sizeof full, "%s%s", strncmp(w, "stile-", 6) ? "stile-" : "", w);
	return full;
}

static int call_service(struct cli *cli, const char *program, const char *verb, json_t *args, json_t **ret_result)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	int r = cli_connect(cli, program, &cl);

	if (r) {
		json_decref(args);
		return r;
	}
	return cli_call(cli, cl, verb, args, ret_result);
}

static int run_reload(struct cli *cli)
{
	json_t *result;
	const char *program = service_word(cli, 0);
	int r = call_service(cli, program, "service.reload", NULL, &result);

	if (r)
		return r;
	if (cli_has(cli, "json"))
		print_json(result);
	else
		printf("%s has read its configuration again\n", program);
	json_decref(result);
	return 0;
}

static int run_log_level(struct cli *cli)
{
	json_t *result;
	json_t *args = cli->n_words > 1 ? json_pack("{s:s}", "level", cli->words[1]) : NULL;
	const char *program = service_word(cli, 0);
	int r = call_service(cli, program, "log.level", args, &result);

	if (r)
		return r;
	if (cli_has(cli, "json"))
		print_json(result);
	else
		printf("%s logs at level %s\n", program, json_string_value(json_object_get(result, "level")));
	json_decref(result);
	return 0;
}

static const struct command rows[] = {
	{ "status", "", "what runs, on which addresses, and whether it is well", NULL, NULL, 0, 0, 0, run_status },
	{ "reload", "[SERVICE]", "make a service read its configuration again",
	  "The same as SIGHUP, with the outcome: a bad file leaves the old configuration at work.", NULL, 0, 0, 1, run_reload },
	{ "log level", "[SERVICE [LEVEL]]", "show or change the log level of a running service",
	  "Levels: error, warn, info, debug, trace. The change lasts until the next reload or restart.", NULL, 0, 0, 2,
	  run_log_level },
};
const struct command_table service_commands = { rows, ARRAY_LEN(rows) };
