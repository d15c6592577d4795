/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile ready: one question with a yes or no, for check scripts (keepalived, a load balancer, a start script that
 * waits), of one service or of several. Ready means: the service answers on its control socket within the time given, it does not
 * drain, and, of the relay, that it listens on at least one route, or on all with --all-routes; of an agent, that it is
 * connected to every server.
 *
 * It says why not on one line, and asks again until --wait is over.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "cli/command.h"
#include "cli/services.h"
#include "common/clock.h"
#include "common/service.h"

enum { ANSWER_MS = 2000, AGAIN_MS = 100, WHY = 256 };

/* The relay's own idea of it. */
static bool routes_ready(const struct cli *cli, const json_t *own, char why[static WHY])
{
	json_int_t all = json_integer_value(json_object_get(own, "enabled"));
	json_int_t ready = json_integer_value(json_object_get(own, "listening"));

	if (all == 0 && json_is_true(json_object_get(own, "tunnel")))
		return true;
	if (all == 0 || (ready < all && cli_has(cli, "all-routes")) || ready == 0) {
		snprintf(why, WHY, all ? "%lld of %lld routes listen" : "no route is enabled", (long long)ready, (long long)all);
		return false;
	}
	return true;
}

static bool servers_ready(const struct cli *cli, const json_t *own, char why[static WHY])
{
	json_int_t all = (json_int_t)json_array_size(json_object_get(own, "servers"));
	json_int_t up = json_integer_value(json_object_get(own, "connected"));

	(void)cli;
	if (up == all)
		return true;
	snprintf(why, WHY, "%lld of %lld servers are connected", (long long)up, (long long)all);
	return false;
}

static const struct {
	const char *program, *verb; /* verb: of its own state, NULL: it has none that matters here */
	bool (*ready)(const struct cli *cli, const json_t *own, char why[static WHY]);
} services[] = {
	{ "stile-tunnel", "relay.status", routes_ready },
	{ "stile-agent", "agent.status", servers_ready },
	{ NULL, NULL, NULL }, /* any other */
};

static bool state_ready(const json_t *status, char why[static WHY])
{
	const char *state = json_string_value(json_object_get(status, "state"));

	if (state && strcmp(state, "running") == 0)
		return true;
	snprintf(why, WHY, "its state is %s", state ? state : "unknown");
	return false;
}

static bool ask(const struct cli *cli, size_t i, const struct instance *at, char why[static WHY])
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *status = NULL, *own = NULL, *error = NULL;
	int r = control_connect(at->socket_path, ANSWER_MS, &cl);
	bool ready = false;

	if (r == 0)
		r = control_call(cl, "service.status", NULL, &status, &error);
	if (r == 0 && services[i].verb)
		r = control_call(cl, services[i].verb, NULL, &own, &error);
	if (r == -ENOENT || r == -ECONNREFUSED)
		snprintf(why, WHY, "it is not running");
	else if (r == -EACCES)
		snprintf(why, WHY, "no access to %.100s: run as root or as a member of the group stile", at->socket_path);
	else if (r < 0)
		snprintf(why, WHY, "%s", r == -ETIMEDOUT ? "it does not answer" : strerror(-r));
	else if (r == CONTROL_ERROR)
		snprintf(why, WHY, "%s", json_string_value(json_object_get(error, "text")));
	else
		ready = state_ready(status, why) && (!services[i].verb || services[i].ready(cli, own, why));
	json_decref(status);
	json_decref(own);
	json_decref(error);
	return ready;
}

struct question {
	struct instance at;
	size_t service;
	bool ready;
	char why[WHY];
};

static bool all_ready(const struct cli *cli, struct question *q, size_t n)
{
	bool all = true;

	for (size_t i = 0; i < n; i++) {
		q[i].ready = ask(cli, q[i].service, &q[i].at, q[i].why);
		all &= q[i].ready;
	}
	return all;
}

static json_t *answer(const struct question *q)
{
	return json_pack("{s:s, s:b, s:s}", "service", q->at.full, "ready", q->ready, "why", q->ready ? "" : q->why);
}

static void report(const struct cli *cli, const struct question *q, size_t n)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < n; i++) {
		if (cli_has(cli, "json"))
			json_array_append_new(rows, answer(&q[i]));
		else
			printf("%s is %sready%s%s\n", q[i].at.full, q[i].ready ? "" : "not ", q[i].ready ? "" : ": ", q[i].ready ? "" : q[i].why);
	}
	if (cli_has(cli, "json"))
		print_json(n == 1 ? json_array_get(rows, 0) : rows);
	json_decref(rows);
}

/* 0, or the command's status. */
static int question_init(struct cli *cli, const char *word, struct question *q)
{
	const char *program, *instance;
	char err[256];
	size_t i = 0;
	int r = services_word(cli, word, "", &program, &instance);

	if (r)
		return r;
	while (services[i].program && strcmp(program, services[i].program) != 0)
		i++;
	*q = (struct question){ .service = i };
	if (instance_init(&q->at, program, instance, cli_option(cli, "runtime-dir"), err, sizeof err) < 0)
		return cli_fail(cli, "%s", err);
	return 0;
}

static int run_ready(struct cli *cli)
{
	struct question q[CLI_MAX_WORDS];
	size_t n = MAX((size_t)cli->n_words, (size_t)1);
	uint64_t wait = 0, until;
	bool ready;

	for (size_t i = 0; i < n; i++) {
		int r = question_init(cli, cli->n_words ? cli->words[i] : "turn", &q[i]);

		if (r)
			return r;
	}
	if (cli_time(cli, "wait", &wait))
		return EXIT_USAGE;
	until = clock_steady_ms() + wait;
	while (!(ready = all_ready(cli, q, n)) && clock_steady_ms() < until)
		nanosleep(&(struct timespec){ .tv_nsec = AGAIN_MS * 1000000L }, NULL);
	report(cli, q, n);
	return ready ? 0 : EXIT_FAILED;
}

static const struct option_row ready_options[] = {
	{ "wait", 'w', "TIME", "ask again until it is ready, for so long at most (default: once)" },
	{ "all-routes", 0, NULL, "of the tunnel: every enabled route must listen, not just one" },
};

static const struct command rows[] = {
	{ "ready", "[SERVICE...]", "is a service ready, or are all of these? Exit 0 if so: for check scripts",
	  "Ready is a service that answers, does not drain and, of the tunnel's relay, listens on a route. A node of a fail-over\n"
	  "pair lets keepalived ask this; a draining node hands its address over before it stops. SERVICE is turn (the\n"
	  "default), tunnel, agent, sip, fastpath, console or gateway, turn@lab the instance lab; of several all must be ready.",
	  ready_options, ARRAY_LEN(ready_options), 0, CLI_MAX_WORDS, run_ready, WITHOUT_CONFIG },
};
const struct command_table ready_commands = { rows, ARRAY_LEN(rows) };
