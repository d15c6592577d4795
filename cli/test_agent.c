/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile test agent NAME: a site end to end, from the server's machine: is the agent connected, is each job active, and
 * does a connection to it arrive at its target. What becomes of the connection is read in the table of data
 * connections, for the target itself need not say a word.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include "cli/test_probe.h"
#include "cli/tunnel.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/json.h"

enum { CONNECT_MS = 5000, OPEN_MS = 15000, LOOK_MS = 100, WORD_TRIES = 20 };

struct site {
	struct cli *cli;
	struct control_client *cl;
	const char *name;
	struct cli_report report;
	unsigned jobs;
};

static json_t *rows_of(struct site *s, const char *verb, json_t *args)
{
	json_t *result = NULL, *rows = NULL;

	if (cli_call(s->cli, s->cl, verb, args, &result) == 0)
		rows = json_incref(json_object_get(result, "rows"));
	json_decref(result);
	return rows;
}

/* ---- the control connection ---- */

static bool check_link(struct site *s)
{
	json_t *rows = rows_of(s, "tunnel.links", NULL), *row;
	bool found = false;
	size_t i;

	json_array_foreach(rows, i, row) {
		if (strcmp(text_of_key(row, "name"), s->name) != 0)
			continue;
		found = json_is_true(json_object_get(row, "up"));
		cli_report(&s->report, found, "connection", found ? "%s from %s, %lld.%lld ms%s" : "%s; last seen from %s (%lld.%lld ms): %s", text_of_key(row, "state"),
		     text_of_key(row, "address"), number_of_key(row, "rtt_us") / 1000, number_of_key(row, "rtt_us") / 100 % 10, text_of_key(row, "why"));
	}
	if (!json_array_size(rows) || (!found && !s->report.bad))
		cli_report(&s->report, false, "connection", "the agent %s is not connected; stile tunnel agents shows those that are known", s->name);
	json_decref(rows);
	return found;
}

/* ---- a job ---- */

static const json_t *own_row(const json_t *rows, const char *source)
{
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row)
		if (strcmp(text_of_key(row, "source"), source) == 0)
			return row;
	return NULL;
}

static bool was_cut(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	if (poll(&p, 1, LOOK_MS) <= 0)
		return false;
	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

static void last_error(struct site *s, const char *job, char *out, size_t n)
{
	json_t *rows = rows_of(s, "tunnel.jobs", json_pack("{s:s}", "agent", s->name)), *row;
	size_t i;

	json_array_foreach(rows, i, row)
		if (strcmp(text_of_key(row, "name"), job) == 0)
			snprintf(out, n, "%s", text_of_key(row, "last_error"));
	json_decref(rows);
}

/* Until the agent has reached the target, or has said why not. */
static void follow(struct site *s, const char *job, int fd, uint64_t began)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof ss;
	struct addr local;
	char source[ADDR_STRLEN], why[256] = "";

	if (getsockname(fd, (struct sockaddr *)&ss, &n) < 0 || addr_from_sockaddr((struct sockaddr *)&ss, n, &local) < 0)
		return;
	(void)addr_print(&local, source);
	while (clock_steady_us() - began < OPEN_MS * 1000u) {
		json_t *rows = rows_of(s, "tunnel.connections", json_pack("{s:s, s:s}", "agent", s->name, "job", job));
		const json_t *row = own_row(rows, source);
		bool open = row && *text_of_key(row, "target");

		if (open)
			cli_report(&s->report, true, job, "leads to %s, reached in %.0f ms%s", text_of_key(row, "target"), (double)(clock_steady_us() - began) / 1000,
			     json_is_true(json_object_get(row, "encrypted")) ? "" : ", not encrypted");
		json_decref(rows);
		if (open)
			return;
		if (was_cut(fd)) {
			for (int i = 0; i < WORD_TRIES && !*why; i++) { /* the reset may be here before the agent's word is there */
				if (i)
					(void)usleep(LOOK_MS * 1000);
				last_error(s, job, why, sizeof why);
			}
			cli_report(&s->report, false, job, "refused: %s", *why ? why : "the job may not allow this machine (its allow)");
			return;
		}
	}
	cli_report(&s->report, false, job, "the agent has not reached the target within %d s", OPEN_MS / 1000);
}

static void check_job(struct site *s, const json_t *row)
{
	const char *state = text_of_key(row, "state"), *name = text_of_key(row, "name");
	struct addr at;
	uint64_t us;
	int fd;

	s->jobs++;
	if (strcmp(state, "interrupted") == 0) {
		cli_report(&s->report, true, name, "interrupted: not tried");
		return;
	}
	if (strcmp(state, "active") != 0) {
		cli_report(&s->report, false, name, "%s: %s", state, text_of_key(row, "reason"));
		return;
	}
	if (strcmp(text_of_key(row, "protocol"), "udp") == 0) {
		cli_report(&s->report, true, name, "active at %s (UDP is not tried)", text_of_key(row, "address"));
		return;
	}
	if (addr_parse(text_of(text_of_key(row, "bound")), 0, &at) < 0)
		return;
	if (addr_classify(&at) == ADDR_UNSPECIFIED) {
		uint16_t port = addr_port(&at);
		(void)addr_parse(text_of(addr_family(&at) == AF_INET6 ? "::1" : "127.0.0.1"), port, &at);
	}
	fd = probe_connect(&at, CONNECT_MS, &us);
	if (fd < 0) {
		cli_report(&s->report, false, name, "its port %u cannot be connected to: %s", addr_port(&at), strerror(-fd));
		return;
	}
	follow(s, name, fd, clock_steady_us());
	close(fd);
}

int run_test_agent(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	struct site s = { .cli = cli, .name = cli->words[0], .report = cli_report_begin(cli) };
	int r = cli_connect(cli, RELAY_PROGRAM, &cl);
	json_t *rows = NULL, *row;
	size_t i;

	s.cl = cl;
	if (r == 0 && check_link(&s)) {
		rows = rows_of(&s, "tunnel.jobs", json_pack("{s:s}", "agent", s.name));
		json_array_foreach(rows, i, row)
			check_job(&s, row);
		if (!s.jobs)
			cli_report(&s.report, false, "jobs", "the agent has none");
	}
	json_decref(rows);
	cli_report_end(&s.report, r == 0);
	return r ? r : s.report.bad ? EXIT_FAILED : 0;
}
