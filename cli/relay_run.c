/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile relay LISTEN HOST PORT: one route in the foreground, with the same engine as stile-tunnel. It says when it
 * listens and is ready, ends on Ctrl-C and, on a terminal, on ESC, and closes its connections then. What
 * keeps it from beginning is an error with what to do about it; once it runs, it goes on trying.
 *
 * No configuration, no control socket, no store: what is wanted stands on the command line.
 */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "cli/relay.h"
#include "common/log.h"
#include "tunnel/relay.h"

enum { ESC = 0x1b, DATA_FLOOR = 100 << 20, DATA_MAX = 1 << 30 };

struct run {
	struct cli *cli;
	struct loop *loop;
	struct io keys;
	struct termios before;
	bool on_terminal, started;
	int failed; /* exit code of what keeps it from beginning */
	uint16_t port;
	bool udp;
};

/* ---- errors ---- */

/* error: positive; what to raise depends on what has run out. The engine's own advice, behind a semicolon, is for a service. */
static int no_resources(const struct cli *cli, int error, const char *why)
{
	return cli_fail(cli, "no resources to relay: %.*s\n%s, or free memory", (int)strcspn(why, ";"), why,
			error == EAGAIN ? "Raise the limit of processes (ulimit -u)" : "Raise the limit of descriptors (ulimit -n)");
}

static int not_bound(const struct run *r, const struct event_about *a)
{
	char who[128];

	if (strstr(a->reason ? a->reason : "", strerror(EADDRINUSE)) && port_holder(r->port, r->udp, who, sizeof who))
		return cli_fail(r->cli, "not bound to port %s: it is in use by %s\nEnd that program, or listen on another port", a->listen, who);
	return cli_fail(r->cli, "not bound to port %s: %s", a->listen, a->reason ? a->reason : "?");
}

/* The engine's events, in the words of a terminal. */
static void on_event(enum relay_event e, const struct event_about *a, void *arg)
{
	struct run *r = arg;

	if (e == EVENT_READY && !r->started)
		return; /* said when all is there */
	if (r->started) {
		char text[LOG_FIELD_MAX];
		struct sb b = sb_init(text, sizeof text);
		relay_event_text(e, a, &b);
		fprintf(stderr, "stile relay: ");
		print_clean(stderr, text);
		fputc('\n', stderr);
		return;
	}
	if (e == EVENT_CANNOT_BIND)
		r->failed = not_bound(r, a);
	else if (e == EVENT_NO_SOCKETS)
		r->failed = cli_fail(r->cli, "no socket support: %s\nIs IPv4 or IPv6 switched off, or does a sandbox forbid sockets?",
				     a->reason ? a->reason : "?");
	else if (e == EVENT_NO_RESOURCES)
		r->failed = no_resources(r->cli, 0, a->reason ? a->reason : "?");
}

/* Asked once before all begins, so that a mistyped name is an error and not a connection that fails later. */
static int check_name(const struct cli *cli, const char *host)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
	int r = getaddrinfo(host, NULL, &hints, &found);

	if (r == 0) {
		freeaddrinfo(found);
		return 0;
	}
	return cli_fail(cli, "cannot resolve %s: %s\nIs it spelled as the name server knows it? Try: getent hosts %s, or give the address", host,
			r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r), host);
}

/* ---- the end ---- */

static void say_end(struct run *r)
{
	printf("Closing connections…\n");
	fflush(stdout);
	loop_stop(r->loop);
}

static void on_signal(int signo, void *arg)
{
	(void)signo;
	say_end(arg);
}

static void on_key(struct io *io, int events)
{
	struct run *r = container_of(io, struct run, keys);
	unsigned char c[16];
	ssize_t n = read(STDIN_FILENO, c, sizeof c);

	(void)events;
	if (n == 1 && c[0] == ESC) /* alone: an arrow key sends more behind it */
		say_end(r);
	else if (n <= 0)
		io_stop(io);
}

/* Keys come one by one and unseen; Ctrl-C stays a signal. */
static void take_terminal(struct run *r)
{
	struct termios t;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &r->before) < 0 || tcgetpgrp(STDIN_FILENO) != getpgrp())
		return;
	t = r->before;
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &t) < 0)
		return;
	r->on_terminal = true;
	(void)io_start(&r->keys, r->loop, STDIN_FILENO, IO_READ, on_key);
}

static void give_terminal(struct run *r)
{
	io_stop(&r->keys);
	if (r->on_terminal)
		tcsetattr(STDIN_FILENO, TCSANOW, &r->before);
}

/* ---- the beginning ---- */

static int open_records(const struct cli *cli, struct records **ret_rec)
{
	const char *dir = cli_option(cli, "log-dir");
	struct records_options o = { .dir = dir ? dir : cli_has(cli, "data") ? "." : NULL, .connections = dir, .connections_json = dir,
				     .data_max_size = DATA_MAX, .data_floor = DATA_FLOOR };
	char err[512];

	if (!o.dir || records_new(&o, err, sizeof err, ret_rec) == 0)
		return 0;
	return cli_fail(cli, "%s", err);
}

static int parse_route(struct run *r, struct cfg **ret_cfg)
{
	const struct cli *cli = r->cli;
	const char *host = cli->words[1];
	bool bare6 = strchr(host, ':') && host[0] != '[';
	char err[384];
	json_t *o = json_pack("{s:s, s:o, s:b, s:b}", "listen", cli->words[0], "target",
			      json_sprintf(bare6 ? "[%s]:%s" : "%s:%s", host, cli->words[2]), "udp", cli_has(cli, "udp"), "log_data",
			      cli_has(cli, "data"));
	int rc = o ? route_parse(o, err, sizeof err, ret_cfg) : -EINVAL;

	json_decref(o);
	if (rc == 0) {
		const struct route_config *c = cfg_values(*ret_cfg);
		r->port = addr_port(&c->listen.at);
		return 0;
	}
	return cli_wrong(cli, "%s\nstile relay --help tells how it is used", o ? err : "the words must be UTF-8");
}

static void say_ready(const struct run *r, const struct cfg *cfg)
{
	char listen[ROUTE_LISTEN_STRLEN];

	printf("Listening on %s\nReady to relay data to %s, port %s\n", route_listen_name(cfg_values(cfg), listen), r->cli->words[1],
	       r->cli->words[2]);
	if (r->on_terminal)
		printf("ESC or Ctrl-C stops it\n");
	fflush(stdout);
}

static void say_totals(struct relay *relay)
{
	relay_count_bytes(relay);
	json_t *rows = relay_routes_json(relay), *row = json_array_get(rows, 0);
	long long accepted = (long long)json_integer_value(json_object_get(row, "accepted"));
	char text[160];
	struct sb b = sb_init(text, sizeof text);

	sb_fmt(&b, "%lld connection%s, ", accepted, accepted == 1 ? "" : "s");
	sb_size(&b, (uint64_t)json_integer_value(json_object_get(row, "bytes_up")));
	sb_str(&b, " to the target, ");
	sb_size(&b, (uint64_t)json_integer_value(json_object_get(row, "bytes_down")));
	sb_str(&b, " back");
	printf("%s\n", text);
	json_decref(rows);
}

static int serve(struct run *r, struct relay *relay, const struct cfg *cfg)
{
	char err[512];
	int rc;

	if (relay_put(relay, cfg_values(cfg), ROUTE_OF_COMMAND, err, sizeof err) < 0)
		return cli_fail(r->cli, "%s", err);
	if (r->failed)
		return r->failed;
	rc = relay_start(relay, err, sizeof err);
	if (rc < 0)
		return no_resources(r->cli, -rc, err);
	rc = loop_on_signal(r->loop, SIGINT, on_signal, r);
	if (rc == 0)
		rc = loop_on_signal(r->loop, SIGTERM, on_signal, r);
	if (rc < 0)
		return no_resources(r->cli, -rc, strerror(-rc));
	take_terminal(r);
	r->started = true;
	say_ready(r, cfg);
	rc = loop_run(r->loop);
	give_terminal(r);
	say_totals(relay);
	return rc < 0 ? cli_fail(r->cli, "%s", strerror(-rc)) : 0;
}

static int run_relay(struct cli *cli)
{
	_cleanup_(loop_freep) struct loop *loop = NULL;
	_cleanup_(records_freep) struct records *rec = NULL; /* outlives the relay, whose data logs are in it */
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	_cleanup_(relay_freep) struct relay *relay = NULL;
	struct run r = { .cli = cli, .udp = cli_has(cli, "udp") };
	int rc = parse_route(&r, &cfg);

	if (!rc)
		rc = check_name(cli, cli->words[1]);
	if (!rc)
		rc = open_records(cli, &rec);
	if (rc)
		return rc;
	log_set_level(LOG_LVL_WARN); /* on stderr */
	rc = loop_new(&loop);
	r.loop = loop;
	if (rc == 0)
		rc = relay_new(loop, &(struct relay_options){ .on_event = on_event, .arg = &r }, &relay);
	if (rc < 0)
		return no_resources(cli, -rc, strerror(-rc));
	relay_use_records(relay, rec);
	return serve(&r, relay, cfg);
}

static const struct option_row run_options[] = {
	{ "data", 'd', NULL, "write every byte, in hex and text, to a file for each connection: here, or in --log-dir" },
	{ "udp", 'u', NULL, "UDP instead of TCP" },
	{ "log-dir", 0, "DIR", "write the connection log, COyymmdd.LOG, to this folder" },
};

static const struct command rows[] = {
	{ "relay", "LISTEN HOST PORT", "relay a port to a host and port, in the foreground",
	  "LISTEN is a port, or address:port; what connects there is connected with HOST, PORT. Ctrl-C stops it and closes its\n"
	  "connections, ESC as well when it runs on a terminal. To relay as a service, with routes that stay: stile relay\n"
	  "route, and man 8 stile-tunnel.",
	  run_options, ARRAY_LEN(run_options), 3, 3, run_relay, WITHOUT_CONFIG | WITHOUT_SERVICE },
};
const struct command_table relay_run_commands = { rows, ARRAY_LEN(rows) };
