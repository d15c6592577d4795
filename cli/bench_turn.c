/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile bench turn: how much a TURN server relays, and what a packet costs it. JSON for scripts, a few
 * lines for people. The load itself is made by cli/turn_load; here are its options and the report. The
 * server's CPU time is known only if it runs on this machine.
 */
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
		if (i == ARRAY_LEN(mode_names))
			return cli_wrong(cli, "--mode is relay, allocate or binding");
		if (strcmp(mode, mode_names[i]) == 0) {
			o->mode = (enum turn_load_mode)i;
			break;
		}
	}
	if (dir && strcmp(dir, "up") == 0)
		o->directions = LOAD_UP;
	else if (dir && strcmp(dir, "down") == 0)
		o->directions = LOAD_DOWN;
	else if (dir && strcmp(dir, "both") != 0)
		return cli_wrong(cli, "--direction is up, down or both");
	if (proto && turn_proto_parse(text_of(proto), &o->proto) < 0)
		return cli_wrong(cli, "--transport is udp, tcp, tls or dtls");
	if (o->mode == LOAD_BINDING && o->proto != TURN_UDP)
		return cli_wrong(cli, "Bindings are measured over udp");
	return 0;
}

static int parse_numbers(struct cli *cli, struct turn_load_options *o, uint64_t *port)
{
	uint64_t n = 64, size = 160, burst = 1, pid = 0, in_flight = 64;
	int r;

	o->rate = 20000;
	o->run_ms = 5000;
	if ((r = cli_number(cli, "allocations", 1, 100000, &n)) || (r = cli_number(cli, "size", LOAD_MIN_SIZE, LOAD_MAX_SIZE, &size)) ||
	    (r = cli_number(cli, "burst", 1, LOAD_MAX_BURST, &burst)) || (r = cli_number(cli, "rate", 1, 100000000, &o->rate)) ||
	    (r = cli_number(cli, "pid", 1, 1u << 30, &pid)) || (r = cli_number(cli, "in-flight", 1, 4096, &in_flight)) ||
	    (r = cli_number(cli, "port", 1, 65535, port)) || (r = cli_time(cli, "time", &o->run_ms)) ||
	    (r = cli_time(cli, "volley", &o->volley_ms)))
		return r;
	o->warmup_ms = MIN(o->run_ms / 4, 500);
	o->allocations = (unsigned)n;
	o->size = (unsigned)size;
	o->burst = (unsigned)burst;
	o->server_pid = (pid_t)pid;
	o->in_flight = (unsigned)in_flight;
	o->no_gso = cli_has(cli, "no-gso");
	o->no_sha256 = cli_has(cli, "no-sha256");
	return 0;
}

static double per(double seconds, uint64_t n)
{
	return n ? seconds * 1e6 / (double)n : 0;
}

/* null where it is not known: no server process to look at, nothing that came through. */
static void set_real(json_t *j, const char *key, bool known, double v)
{
	json_object_set_new(j, key, known ? json_real(v) : json_null());
}

static void set_count(json_t *j, const char *key, uint64_t v)
{
	json_object_set_new(j, key, json_integer((json_int_t)v));
}

static const char *direction_name(const struct turn_load_options *o)
{
	return o->directions == LOAD_UP ? "up" : o->directions == LOAD_DOWN ? "down" : "both";
}

static json_t *settings_json(const struct turn_load_options *o)
{
	char server[ADDR_STRLEN], peer[ADDR_STRLEN];
	json_t *j = json_pack("{s:s, s:s, s:s, s:b, s:b}", "mode", mode_names[o->mode], "transport", turn_proto_name(o->proto),
			      "server", addr_print(&o->server, server), "gso", !o->no_gso, "sha256", !o->no_sha256);

	set_count(j, "clients", o->allocations);
	json_object_set_new(j, "server_pid", o->server_pid ? json_integer(o->server_pid) : json_null());
	if (o->mode != LOAD_BINDING)
		set_count(j, "in_flight", o->in_flight);
	if (o->mode == LOAD_ALLOCATE)
		return j;
	set_count(j, "burst", o->burst);
	set_count(j, "rate_asked", o->rate);
	set_count(j, "volley_ms", o->volley_ms);
	if (o->mode == LOAD_RELAY) {
		set_count(j, "size", o->size);
		json_object_set_new(j, "direction", json_string(direction_name(o)));
		json_object_set_new(j, "peer", json_string(addr_print_ip(&o->peer_ip, peer)));
	}
	return j;
}

static void add_allocations(json_t *j, const struct turn_load_options *o, const struct turn_load_result *r)
{
	double n = (double)MAX(r->allocations, 1);

	set_count(j, "allocations", r->allocations);
	set_real(j, "setup_seconds", true, r->setup_s);
	set_real(j, "allocations_per_second", r->setup_s > 0, (double)r->allocations / r->setup_s);
	set_real(j, "server_cpu_us_per_allocation", o->server_pid, per(r->setup.server_s, r->allocations));
	set_real(j, "generator_cpu_us_per_allocation", true, per(r->setup.generator_s, r->allocations));
	set_real(j, "server_bytes_per_allocation", o->server_pid, ((double)r->rss_after - (double)r->rss_before) / n);
	set_real(j, "server_bytes_per_allocation_released", o->server_pid && o->mode == LOAD_ALLOCATE,
		 ((double)r->rss_released - (double)r->rss_before) / n);
}

static void add_packets(json_t *j, const struct turn_load_options *o, const struct turn_load_result *r)
{
	bool some = r->received > 0;

	set_real(j, "seconds", true, r->run_s);
	set_count(j, "sent", r->sent);
	set_count(j, "received", r->received);
	set_count(j, "corrupt", r->corrupt);
	set_count(j, "reordered", r->reordered);
	set_real(j, "loss", r->sent > 0, 1 - (double)r->received / (double)MAX(r->sent, 1));
	set_real(j, "pps", r->run_s > 0, (double)r->received / r->run_s);
	json_object_set_new(j, "latency_us", !some ? json_null() : json_pack("{s:f, s:f, s:f, s:f}", "p50",
			    latency_us(&r->latency, .5), "p90", latency_us(&r->latency, .9), "p99", latency_us(&r->latency, .99),
			    "max", (double)r->latency.max / 1e3));
	set_real(j, "server_cpu_us_per_packet", some && o->server_pid, per(r->run.server_s, r->received));
	set_real(j, "generator_cpu_us_per_packet", some, per(r->run.generator_s, r->received));
	set_real(j, "host_cpu_us_per_packet", some, per(r->run.host_busy_s, r->received));
}

static json_t *result_json(const struct turn_load_options *o, const struct turn_load_result *r)
{
	json_t *j = settings_json(o);

	if (o->mode != LOAD_BINDING)
		add_allocations(j, o, r);
	if (o->mode != LOAD_ALLOCATE)
		add_packets(j, o, r);
	return j;
}

static void print_allocations(const struct turn_load_options *o, const struct turn_load_result *r)
{
	double n = (double)MAX(r->allocations, 1);

	printf("allocations    %llu in %.3f s, %.0f/s\n", (unsigned long long)r->allocations, r->setup_s,
	       (double)r->allocations / r->setup_s);
	if (!o->server_pid)
		return;
	printf("their cost     server CPU %.1f µs each (generator's %.1f µs)\n", per(r->setup.server_s, r->allocations),
	       per(r->setup.generator_s, r->allocations));
	if (o->mode == LOAD_ALLOCATE)
		printf("server memory  %.0f bytes each; %.0f still held after their release\n",
		       ((double)r->rss_after - (double)r->rss_before) / n,
		       ((double)r->rss_released - (double)r->rss_before) / n);
}

static void print_packets(const struct turn_load_options *o, const struct turn_load_result *r)
{
	char cpu[64] = "not known (give --pid)";

	printf("%-14s %llu of %llu came through (loss %.4f %%), %.0f/s over %.1f s\n",
	       o->mode == LOAD_BINDING ? "bindings" : "packets", (unsigned long long)r->received, (unsigned long long)r->sent,
	       r->sent ? 100 - 100.0 * (double)r->received / (double)r->sent : 0, (double)r->received / r->run_s, r->run_s);
	if (r->received)
		printf("latency        p50 %.0f µs, p90 %.0f µs, p99 %.0f µs, most %.0f µs\n", latency_us(&r->latency, .5),
		       latency_us(&r->latency, .9), latency_us(&r->latency, .99), (double)r->latency.max / 1e3);
	if (o->server_pid)
		snprintf(cpu, sizeof cpu, "%.2f µs a packet", per(r->run.server_s, r->received));
	printf("server CPU     %s; generator %.2f µs, whole host %.2f µs\n", cpu, per(r->run.generator_s, r->received),
	       per(r->run.host_busy_s, r->received));
	if (r->corrupt)
		printf("CORRUPT        %llu packets came with other bytes than were sent, or to somebody else\n",
		       (unsigned long long)r->corrupt);
	if (r->reordered)
		printf("REORDERED      %llu packets came behind a later one of their flow, or twice\n",
		       (unsigned long long)r->reordered);
	if (r->run_s > 0 && (double)r->sent < 0.95 * (double)o->rate * r->run_s)
		printf("NOT AS ASKED   the generator sent %.0f/s instead of %llu/s: it or the machine was too busy\n",
		       (double)r->sent / r->run_s, (unsigned long long)o->rate);
}

static void print_result(const struct turn_load_options *o, const struct turn_load_result *r)
{
	if (o->mode != LOAD_BINDING)
		print_allocations(o, r);
	if (o->mode != LOAD_ALLOCATE)
		print_packets(o, r);
}

/* The pid of this machine's server, when it is the one that is measured. */
static pid_t local_pid(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *result = NULL, *error = NULL;
	struct instance i;
	char err[256];

	if (cli_place(cli, "stile-turn", &i, err, sizeof err) < 0 ||
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
		r = cli_resolve(cli, host, port ? (uint16_t)port : turn_proto_default_port(o.proto), &o.server);
	if (!r)
		r = cli_resolve(cli, peer ? peer : addr_family(&o.server) == AF_INET ? "127.0.0.1" : "::1", 0, &o.peer_ip);
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
	{ "allocations", 'n', "N", "clients, each with its own sockets and allocation (default 64)" },
	{ "size", 's', "BYTES", "payload, 16 to 1400 (default 160)" },
	{ "rate", 'r', "PPS", "packets a second over all (default 20000)" },
	{ "burst", 'b', "N", "packets in a row for one allocation, 1 to 256 (default 1)" },
	{ "direction", 'd', "WORD", "up (client to peer), down, or both (default)" },
	{ "volley", 0, "TIME", "what is due leaves so often, all at once, as from clients of one clock: 1ms, ... (default: each burst at its time)" },
	{ "time", 'T', "TIME", "how long to measure, behind a warm-up of a quarter, at most 0.5s (default 5s)" },
	{ "peer", 0, "HOST", "address for the peers' sockets (default this machine's loopback; the server must allow it)" },
	{ "in-flight", 0, "N", "requests at a time while allocating (default 64)" },
	{ "no-gso", 0, NULL, "hand the kernel every packet by itself: it arrives by itself too" },
	{ "no-sha256", 0, NULL, "authenticate with MD5 and SHA-1 only" },
	{ "pid", 0, "PID", "the server's process, for its CPU time (default: this machine's stile-turn)" },
	{ "user", 'u', "NAME", "user name" },
	{ "password", 0, "WORD", "its password" },
	{ "shared-secret", 0, "WORD", "mint a credential from this secret of the REST API" },
};

static const struct command rows[] = {
	{ "bench turn", "[HOST]", "measure a TURN server: packets, loss, latency, CPU per packet",
	  "Makes N allocations and sends packets through them, up (client to peer) and down, at a given rate; or\n"
	  "measures allocations alone (--mode allocate) or STUN Bindings (--mode binding). The far end checks every\n"
	  "packet: counted is what came whole, to the right socket. Works against any TURN server; what it costs\n"
	  "the server is measured when its process runs on this machine. Only for servers that are yours: the load\n"
	  "is real. The server must allow the peers' address (stile-turn: turn.peers.allow), so many allocations\n"
	  "of one user (turn.limits.allocations_per_user), and Bindings or first requests at that rate from one\n"
	  "address (turn.limits.unauthenticated_bitrate).\n\n"
	  "server CPU is the process's own time. It is a measure of the server only while nothing else keeps the\n"
	  "machine busy; compare two servers in alternating runs.",
	  bench_options, ARRAY_LEN(bench_options), 0, 1, run_bench_turn },
};
const struct command_table bench_commands = { rows, ARRAY_LEN(rows) };
