/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile bench turn: how much a TURN server relays, and what a packet costs it. JSON for scripts, a few
 * lines for people. The load itself is made by cli/turn_load; here are its options and the report. The
 * server's CPU time is known only if it runs on this machine.
 */
#include <netdb.h>
#include <string.h>
#include "cli/command.h"
#include "cli/credential.h"
#include "cli/turn_load.h"
#include "common/bytes.h"
#include "common/config.h"
#include "common/service.h"

static const char *const mode_names[] = { "relay", "allocate", "binding" };

static int parse_words(struct cli *cli, struct turn_load_options *o)
{
	const char *mode = cli_option(cli, "mode"), *dir = cli_option(cli, "direction"), *proto = cli_option(cli, "transport");

	o->directions = LOAD_UP | LOAD_DOWN;
	for (unsigned i = 0; mode && i <= ARRAY_LEN(mode_names); i++) {
		if (i == ARRAY_LEN(mode_names)) {
			fprintf(stderr, "stile bench turn: --mode is relay, allocate or binding\n");
			return EXIT_USAGE;
		}
		if (strcmp(mode, mode_names[i]) == 0) {
			o->mode = (enum turn_load_mode)i;
			break;
		}
	}
	if (dir && strcmp(dir, "up") == 0)
		o->directions = LOAD_UP;
	else if (dir && strcmp(dir, "down") == 0)
		o->directions = LOAD_DOWN;
	else if (dir && strcmp(dir, "both") != 0) {
		fprintf(stderr, "stile bench turn: --direction is up, down or both\n");
		return EXIT_USAGE;
	}
	if (proto && turn_proto_parse(text_of(proto), &o->proto) < 0) {
		fprintf(stderr, "stile bench turn: --transport is udp, tcp, tls or dtls\n");
		return EXIT_USAGE;
	}
	if (o->mode == LOAD_BINDING && o->proto != TURN_UDP) {
		fprintf(stderr, "stile bench turn: Bindings are measured over udp\n");
		return EXIT_USAGE;
	}
	return 0;
}

static int parse_numbers(struct cli *cli, struct turn_load_options *o, uint64_t *port)
{
	uint64_t n = 64, size = 160, burst = 1, pid = 0, in_flight = 64;
	int r;

	o->rate = 20000;
	o->run_ms = 5000;
	o->warmup_ms = 500;
	if ((r = cli_number(cli, "allocations", 1, 100000, &n)) || (r = cli_number(cli, "size", 16, 1400, &size)) ||
	    (r = cli_number(cli, "burst", 1, 256, &burst)) || (r = cli_number(cli, "rate", 1, 100000000, &o->rate)) ||
	    (r = cli_number(cli, "pid", 1, 1u << 30, &pid)) || (r = cli_number(cli, "in-flight", 1, 4096, &in_flight)) ||
	    (r = cli_number(cli, "port", 1, 65535, port)) || (r = cli_time(cli, "time", &o->run_ms)))
		return r;
	o->allocations = (unsigned)n;
	o->size = (unsigned)size;
	o->burst = (unsigned)burst;
	o->server_pid = (pid_t)pid;
	o->in_flight = (unsigned)in_flight;
	o->no_gso = cli_has(cli, "no-gso");
	o->no_sha256 = cli_has(cli, "no-sha256");
	return 0;
}

static int resolve(struct cli *cli, const char *host, uint16_t port, struct addr *ret_a)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *found;
	int r = getaddrinfo(host, NULL, &hints, &found);

	if (r)
		return cli_fail(cli, "cannot resolve %s: %s", host, gai_strerror(r));
	r = addr_from_sockaddr(found->ai_addr, found->ai_addrlen, ret_a);
	freeaddrinfo(found);
	addr_set_port(ret_a, port);
	return r < 0 ? cli_fail(cli, "%s has no usable address", host) : 0;
}

static double per(double seconds, uint64_t n)
{
	return n ? seconds * 1e6 / (double)n : 0;
}

static json_t *result_json(const struct turn_load_options *o, const struct turn_load_result *r)
{
	json_t *j = json_pack("{s:s, s:s, s:i, s:i, s:i, s:I, s:I, s:f}", "mode", mode_names[o->mode], "transport",
			      turn_proto_name(o->proto), "allocations", (int)r->allocations, "size", (int)o->size, "burst",
			      (int)o->burst, "rate_asked", (json_int_t)o->rate, "corrupt", (json_int_t)r->corrupt, "seconds", r->run_s);

	if (o->mode != LOAD_ALLOCATE) {
		json_object_set_new(j, "sent", json_integer((json_int_t)r->sent));
		json_object_set_new(j, "received", json_integer((json_int_t)r->received));
		json_object_set_new(j, "loss", json_real(r->sent ? 1 - (double)r->received / (double)r->sent : 0));
		json_object_set_new(j, "pps", json_real(r->run_s > 0 ? (double)r->received / r->run_s : 0));
		json_object_set_new(j, "latency_us", json_pack("{s:f, s:f, s:f, s:f}", "p50", latency_us(&r->latency, .5), "p90",
				    latency_us(&r->latency, .9), "p99", latency_us(&r->latency, .99), "max",
				    (double)r->latency.max / 1e3));
		json_object_set_new(j, "server_cpu_us_per_packet", json_real(per(r->run.server_s, r->received)));
		json_object_set_new(j, "host_cpu_us_per_packet", json_real(per(r->run.host_busy_s, r->received)));
		json_object_set_new(j, "generator_cpu_us_per_packet", json_real(per(r->run.generator_s, r->received)));
	}
	if (o->mode != LOAD_BINDING) {
		json_object_set_new(j, "setup_seconds", json_real(r->setup_s));
		json_object_set_new(j, "allocations_per_second", json_real(r->setup_s > 0 ? (double)r->allocations / r->setup_s : 0));
		json_object_set_new(j, "server_cpu_us_per_allocation", json_real(per(r->setup.server_s, r->allocations)));
		json_object_set_new(j, "server_bytes_per_allocation",
				    json_real(r->allocations ? ((double)r->rss_after - (double)r->rss_before) / (double)r->allocations : 0));
	}
	return j;
}

static void print_result(const struct turn_load_options *o, const struct turn_load_result *r)
{
	char cpu[64] = "not known (give --pid)";

	if (o->mode != LOAD_BINDING) {
		if (o->server_pid)
			snprintf(cpu, sizeof cpu, "%.1f µs each", per(r->setup.server_s, r->allocations));
		printf("allocations    %llu in %.3f s, %.0f/s; server CPU %s\n", (unsigned long long)r->allocations, r->setup_s,
		       (double)r->allocations / r->setup_s, cpu);
	}
	if (o->mode == LOAD_ALLOCATE)
		return;
	if (o->server_pid)
		snprintf(cpu, sizeof cpu, "%.2f µs a packet", per(r->run.server_s, r->received));
	printf("%-14s %llu of %llu came through (loss %.4f %%), %.0f/s over %.1f s\n",
	       o->mode == LOAD_BINDING ? "bindings" : "packets", (unsigned long long)r->received, (unsigned long long)r->sent,
	       r->sent ? 100 - 100.0 * (double)r->received / (double)r->sent : 0, (double)r->received / r->run_s, r->run_s);
	printf("latency        p50 %.0f µs, p90 %.0f µs, p99 %.0f µs, most %.0f µs\n", latency_us(&r->latency, .5),
	       latency_us(&r->latency, .9), latency_us(&r->latency, .99), (double)r->latency.max / 1e3);
	printf("server CPU     %s; host %.2f µs (generator's %.2f µs among it)\n", cpu, per(r->run.host_busy_s, r->received),
	       per(r->run.generator_s, r->received));
	if (r->corrupt)
		printf("CORRUPT        %llu packets came with other bytes than were sent\n", (unsigned long long)r->corrupt);
}

/* The pid of this machine's server, when it is the one that is measured. */
static pid_t local_pid(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *result = NULL, *error = NULL;
	struct instance i;
	char err[256];

	if (instance_init(&i, "stile-turn", cli_option(cli, "instance"), cli_option(cli, "runtime-dir"), err, sizeof err) < 0 ||
	    control_connect(i.socket_path, 2000, &cl) < 0)
		return 0;
	int r = control_call(cl, "service.status", NULL, &result, &error);
	pid_t pid = r == 0 ? (pid_t)json_integer_value(json_object_get(result, "pid")) : 0;
	json_decref(result);
	json_decref(error);
	return pid;
}

static int run_and_report(struct cli *cli, const struct turn_load_options *o)
{
	struct turn_load_result *res = malloc(sizeof *res);
	int r = res ? turn_load(o, res) : -1;

	if (r < 0) {
		r = cli_fail(cli, "cannot begin: %s", res ? strerror(-r) : "no memory");
	} else if (r) {
		r = cli_fail(cli, "%s", res->error);
	} else if (cli_has(cli, "json")) {
		json_t *j = result_json(o, res);
		print_json(j);
		json_decref(j);
	} else {
		print_result(o, res);
	}
	free(res);
	return r;
}

static int run_bench_turn(struct cli *cli)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const char *host = cli->n_words ? cli->words[0] : "127.0.0.1", *peer = cli_option(cli, "peer");
	struct turn_load_options o = { .server_name = "localhost" };
	struct credential cred = { 0 };
	uint64_t port = 0;
	int r = parse_words(cli, &o);

	if (!r)
		r = parse_numbers(cli, &o, &port);
	if (!r)
		r = resolve(cli, host, port ? (uint16_t)port : turn_proto_default_port(o.proto), &o.server);
	if (!r)
		r = resolve(cli, peer ? peer : addr_family(&o.server) == AF_INET ? "127.0.0.1" : "::1", 0, &o.peer_ip);
	if (r)
		return r;
	if (o.mode != LOAD_BINDING) {
		const struct turn_config *turn = NULL;
		if (!cli_has(cli, "user") && cfg_load(cli_config_path(cli), &turn_cfg_root, &cfg) == 0)
			turn = &((const struct turn_root *)cfg_values(cfg))->turn;
		r = credential_for_test(cli, turn, &cred);
		if (r)
			return r;
	}
	o.user = cred.user;
	o.password = cred.password;
	if (!o.server_pid)
		o.server_pid = local_pid(cli);
	r = run_and_report(cli, &o);
	bytes_wipe(&cred, sizeof cred);
	return r;
}

static const struct option_row bench_options[] = {
	{ "mode", 'm', "WORD", "relay (default), allocate, or binding" },
	{ "transport", 't', "NAME", "udp (default), tcp, tls, dtls" },
	{ "port", 'p', "PORT", "of the server (default 3478, or 5349 for tls and dtls)" },
	{ "allocations", 'n', "N", "clients, each with its own sockets (default 64)" },
	{ "size", 's', "BYTES", "payload, 16 to 1400 (default 160)" },
	{ "rate", 'r', "PPS", "packets a second over all (default 20000)" },
	{ "burst", 'b', "N", "packets in a row for one allocation (default 1)" },
	{ "direction", 'd', "WORD", "up (client to peer), down, or both (default)" },
	{ "time", 'T', "TIME", "how long (default 5s)" },
	{ "peer", 0, "HOST", "address for the peers' sockets (default this machine's loopback; the server must allow it)" },
	{ "in-flight", 0, "N", "requests at a time while allocating (default 64)" },
	{ "no-gso", 0, NULL, "send every packet by itself" },
	{ "no-sha256", 0, NULL, "authenticate with MD5 and SHA-1 only" },
	{ "pid", 0, "PID", "the server's process, for its CPU time (default: this machine's stile-turn)" },
	{ "user", 'u', "NAME", "user name" },
	{ "password", 0, "WORD", "its password" },
	{ "shared-secret", 0, "WORD", "mint a credential from this secret of the REST API" },
};

static const struct command rows[] = {
	{ "bench turn", "[HOST]", "measure a TURN server: packets, loss, latency, CPU per packet",
	  "Makes N allocations and sends packets through them at a given rate; or measures allocations alone\n"
	  "(--mode allocate) or STUN Bindings (--mode binding). Works against any TURN server. Only for servers that\n"
	  "are yours: the load is real.",
	  bench_options, ARRAY_LEN(bench_options), 0, 1, run_bench_turn },
};
const struct command_table bench_commands = { rows, ARRAY_LEN(rows) };
