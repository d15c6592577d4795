/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile conform turn: the conformance suite as a command, against any TURN server. Goes through the
 * areas on each transport, prints a line a check with its clause, and sums up. A check that fails makes
 * the exit code 1 unless it is advisory; one that cannot be tried is skipped and says why.
 */
#include "cli/conform.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cli/command.h"
#include "cli/credential.h"
#include "common/config.h"
#include "common/fd.h"

static const struct check_area *const areas[] = {
	&conform_binding,    &conform_auth,   &conform_algorithms, &conform_allocate, &conform_refresh, &conform_permission,
	&conform_safety,     &conform_channel, &conform_data,	   &conform_stream,   &conform_tcp,	&conform_bad,
};

struct tally {
	unsigned passed, failed, advised, skipped;
};

struct run {
	struct cli *cli;
	const char *only;
	struct cfg *cfg;
	struct credential cred, other;
	struct conform_options o;
	struct tally total;
	bool asked_for;	    /* this transport was named by --transport */
	unsigned reached;   /* transports that could be tried */
	json_t *transports; /* with --json */
	json_t *checks;	    /* of the present transport */
};

static bool is_wanted(const struct run *run, const struct check_area *area, const struct check_row *row)
{
	return !run->only || strstr(row->id, run->only) || strstr(row->clause, run->only) || strcmp(area->name, run->only) == 0;
}

/* ---- showing ---- */

static const struct {
	const char *name, *mark, *color;
} verdicts[] = {
	[CONFORM_PASSED] = { "passed", "✔", "\033[32m" },
	[CONFORM_FAILED] = { "failed", "✘", "\033[31m" },
	[CONFORM_SKIPPED] = { "skipped", "-", "\033[2m" },
};

static void show_line(const struct run *run, const struct check_row *row, const struct conform_result *res)
{
	bool advised = res->verdict == CONFORM_FAILED && (row->flags & ADVISORY);
	const char *on = !run->cli->color ? "" : advised ? "\033[33m" : verdicts[res->verdict].color;

	printf("  %s%s%s %-22s %-17s %s", on, advised ? "!" : verdicts[res->verdict].mark, run->cli->color ? "\033[0m" : "",
	       row->id, row->clause, row->expect);
	if (res->verdict != CONFORM_PASSED) {
		printf(" - %s", res->verdict == CONFORM_SKIPPED ? "skipped: " : advised ? "advisory: " : "FAILED: ");
		print_clean(stdout, res->note); /* may hold the server's words */
	}
	putchar('\n');
	fflush(stdout);
}

static void show(struct run *run, const struct check_area *area, const struct check_row *row,
		 struct conform_result *res)
{
	if (!run->checks) {
		show_line(run, row, res);
		return;
	}
	text_as_utf8(res->note); /* the server's words */
	json_array_append_new(run->checks,
			      json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:f}", "id", row->id, "area", area->name, "clause",
					row->clause, "expect", row->expect, "advisory", (row->flags & ADVISORY) != 0, "result",
					verdicts[res->verdict].name, "note", res->note, "ms", res->ms));
}

static json_t *tally_json(const struct tally *t)
{
	return json_pack("{s:i, s:i, s:i, s:i}", "passed", (int)t->passed, "failed", (int)t->failed, "advisory_failed",
			 (int)t->advised, "skipped", (int)t->skipped);
}

static void print_tally(const char *what, const struct tally *t)
{
	printf("%s: %u passed, %u failed, %u advisory not followed, %u skipped\n", what, t->passed, t->failed, t->advised, t->skipped);
}

/* ---- one transport ---- */

static void count(struct tally *t, const struct check_row *row, enum conform_verdict v)
{
	t->passed += v == CONFORM_PASSED;
	t->failed += v == CONFORM_FAILED && !(row->flags & ADVISORY);
	t->advised += v == CONFORM_FAILED && (row->flags & ADVISORY);
	t->skipped += v == CONFORM_SKIPPED;
}

static void run_areas(struct run *run, const struct conform_server *s, struct tally *t)
{
	struct conform_result res;

	for (size_t i = 0; i < ARRAY_LEN(areas); i++)
		for (size_t k = 0; k < areas[i]->n; k++) {
			const struct check_row *row = &areas[i]->rows[k];
			if (!is_wanted(run, areas[i], row) || (row->flags & (NEED_DATAGRAM | NEED_STREAM) & ~s->have))
				continue; /* not asked for, or of the other kind of transport */
			conform_run(&run->o, s, row, &res);
			count(t, row, res.verdict);
			count(&run->total, row, res.verdict);
			show(run, areas[i], row, &res);
		}
}

static void show_server(const struct conform_options *o, const struct conform_server *s, const char *at)
{
	printf("%s %s", turn_proto_name(o->proto), at);
	if (s->software[0]) {
		printf(", ");
		print_clean(stdout, s->software);
	}
	printf("; %s\n", !(s->have & NEED_RELAY) ? s->trouble : s->socket_peers ? "peers are sockets of this machine" :
			 s->have & NEED_PEER	 ? "peers are relayed addresses of the server" : "no peer is allowed");
}

static int unreachable(struct run *run, const char *at, const char *why)
{
	if (run->transports)
		json_array_append_new(run->transports, json_pack("{s:s, s:s, s:s}", "transport", turn_proto_name(run->o.proto),
								 "address", at, "unreachable", why));
	else
		printf("%s %s: %s\n", turn_proto_name(run->o.proto), at, why);
	if (run->asked_for)
		run->total.failed++;
	return 0;
}

static int try_transport(struct run *run)
{
	struct conform_server s;
	struct tally t = { 0 };
	char at[ADDR_STRLEN], why[256];

	addr_print(&run->o.server, at);
	int r = conform_explore(&run->o, &s, why, sizeof why);
	if (r == -ENOTCONN)
		return unreachable(run, at, why);
	if (r < 0)
		return cli_fail(run->cli, "%s", strerror(-r));
	text_as_utf8(s.software);
	text_as_utf8(s.trouble);
	run->reached++;
	if (run->transports)
		run->checks = json_array();
	else
		show_server(&run->o, &s, at);
	run_areas(run, &s, &t);
	if (!run->transports) {
		print_tally(turn_proto_name(run->o.proto), &t);
		return 0;
	}
	json_array_append_new(run->transports,
			      json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "transport", turn_proto_name(run->o.proto), "address", at,
					"software", s.software, "trouble", s.trouble, "checks", run->checks, "summary",
					tally_json(&t)));
	run->checks = NULL;
	return 0;
}

/* ---- the command ---- */

/* The address of ours that the route to the server uses; for an IPv6 server on loopback, 127.0.0.1. */
static int find_peer_address(struct run *run)
{
	const char *given = cli_option(run->cli, "peer");
	struct addr *peer = &run->o.peer;
	socklen_t len = sizeof *peer;

	if (given && addr_parse(text_of(given), 0, peer) < 0)
		return cli_wrong(run->cli, "--peer is an address of this machine, not '%s'", given);
	if (given)
		return 0;
	*peer = addr_v4(INADDR_LOOPBACK, 0);
	if (addr_classify(&run->o.server) == ADDR_LOOPBACK || addr_family(&run->o.server) != AF_INET)
		return 0;
	_cleanup_(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, &run->o.server.sa, addr_len(&run->o.server)) < 0 || getsockname(fd, &peer->sa, &len) < 0)
		return cli_fail(run->cli, "there is no way to %s", run->cli->words[0]);
	addr_set_port(peer, 0);
	return 0;
}

static int run_transports(struct run *run)
{
	struct text rest = text_of(cli_option(run->cli, "transport"));
	uint64_t port = 0, tls_port = 0;
	int r = cli_number(run->cli, "port", 1, 65535, &port);

	if (!r)
		r = cli_number(run->cli, "tls-port", 1, 65535, &tls_port);
	run->asked_for = rest.p != NULL;
	if (!rest.p)
		rest = TEXT("udp,tcp,tls,dtls");
	while (!r && rest.p) {
		struct text name = text_cut(&rest, ',');
		if (turn_proto_parse(text_trim(name), &run->o.proto) < 0)
			return cli_wrong(run->cli, "--transport is a list of udp, tcp, tls, dtls; not '%.*s'", TEXT_FMT(name));
		bool secure = run->o.proto == TURN_TLS || run->o.proto == TURN_DTLS;
		uint64_t p = secure ? tls_port : port;
		r = cli_resolve(run->cli, run->cli->words[0], p ? (uint16_t)p : turn_proto_default_port(run->o.proto),
				&run->o.server);
		if (!r)
			r = find_peer_address(run);
		if (!r)
			r = try_transport(run);
	}
	return r;
}

static int load_credentials(struct run *run)
{
	const struct turn_config *turn = NULL;
	struct turn_config view;
	bool given = cli_has(run->cli, "user") || cli_has(run->cli, "shared-secret");
	int r;

	if (cli_has(run->cli, "config") || !given) {
		if (cfg_load(cli_config_path(run->cli), &turn_cfg_root, &run->cfg) == 0)
			turn = &((const struct turn_root *)cfg_values(run->cfg))->turn;
		else if (run->cfg && cli_has(run->cli, "config"))
			cfg_print_errors(run->cfg, stderr);
	}
	if (turn && (r = credential_realm(run->cli, turn, &view, NULL)) != 0)
		return r;
	turn = turn ? &view : NULL;
	r = credential_for_test(run->cli, turn, &run->cred);
	if (!r)
		r = credential_for_other(run->cli, turn, &run->other);
	run->o.user = run->cred.user;
	run->o.password = run->cred.password;
	run->o.other_user = run->other.user[0] ? run->other.user : NULL;
	run->o.other_password = run->other.password;
	return r;
}

static int summarise(struct run *run)
{
	if (!run->reached)
		return cli_fail(run->cli, "no transport of %s could be reached", run->cli->words[0]);
	if (run->transports) {
		json_t *j = json_pack("{s:s, s:s, s:O, s:o}", "server", run->cli->words[0], "suite", STILE_VERSION, "transports",
				      run->transports, "summary", tally_json(&run->total));
		print_json(j);
		json_decref(j);
	} else {
		print_tally("all", &run->total);
	}
	if (run->total.passed + run->total.failed + run->total.advised + run->total.skipped == 0)
		return cli_fail(run->cli, "no check is named like '%s'; --list names them", run->only);
	return run->total.failed ? EXIT_FAILED : 0;
}

static int list_checks(const struct run *run)
{
	json_t *all = json_array();
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_LEN(areas); i++)
		for (size_t k = 0; k < areas[i]->n; k++) {
			const struct check_row *row = &areas[i]->rows[k];
			if (!is_wanted(run, areas[i], row))
				continue;
			n++;
			if (cli_has(run->cli, "json"))
				json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:b}", "id", row->id, "area", areas[i]->name,
								     "clause", row->clause, "expect", row->expect, "advisory",
								     (row->flags & ADVISORY) != 0));
			else
				printf("  %-22s %-17s %s%s\n", row->id, row->clause, row->expect, row->flags & ADVISORY ? " (advisory)" : "");
		}
	if (cli_has(run->cli, "json"))
		print_json(all);
	else
		printf("%u checks\n", n);
	json_decref(all);
	return 0;
}

static int run_conform(struct cli *cli)
{
	struct run run = { .cli = cli, .only = cli_option(cli, "only") };
	int r;

	if (cli_has(cli, "list"))
		return list_checks(&run);
	if (!cli->n_words) {
		fprintf(stderr, "Usage: stile conform turn HOST\nstile conform turn --help tells more\n");
		return EXIT_USAGE;
	}
	run.o.server_name = cli_has(cli, "server-name") ? cli_option(cli, "server-name") : cli->words[0];
	run.o.ca_file = cli_option(cli, "ca");
	run.o.verify = !cli_has(cli, "insecure");
	run.o.exhaust = cli_has(cli, "exhaust");
	if (cli_has(cli, "json"))
		run.transports = json_array();
	r = load_credentials(&run);
	if (!r)
		r = run_transports(&run);
	if (!r)
		r = summarise(&run);
	bytes_wipe(&run.cred, sizeof run.cred);
	bytes_wipe(&run.other, sizeof run.other);
	json_decref(run.transports);
	cfg_free(run.cfg);
	return r;
}

static const struct option_row options[] = {
	{ "transport", 't', "LIST", "udp,tcp,tls,dtls (default: those of the four that can be reached)" },
	{ "port", 'p', "PORT", "for udp and tcp (default 3478)" },
	{ "tls-port", 0, "PORT", "for tls and dtls (default 5349)" },
	{ "user", 'u', "NAME", "user name" },
	{ "password", 0, "WORD", "its password" },
	{ "other-user", 0, "NAME", "a second user, for what one must not do to the other" },
	{ "other-password", 0, "WORD", "its password" },
	{ "shared-secret", 0, "WORD", "mint both from this secret of the REST API" },
	{ "realm", 'r', "NAME", "credentials of this realm of the configuration" },
	{ "server-name", 0, "NAME", "ask for this server name by TLS and DTLS (default HOST)" },
	{ "ca", 0, "FILE", "trust this certificate" },
	{ "insecure", 'k', NULL, "do not check the server's certificate" },
	{ "peer", 0, "ADDRESS", "address of this machine for peers (default: that of the route to the server)" },
	{ "only", 'o', "TEXT", "checks whose name or clause holds TEXT, or of the area TEXT" },
	{ "exhaust", 0, NULL, "also allocate until the server refuses: not on a server in use" },
	{ "list", 'l', NULL, "name the checks, try nothing" },
};

static const struct command rows[] = {
	{ "conform turn", "[HOST]", "check a TURN server against the RFCs, clause by clause",
	  "One line a check: ✔ passed, ✘ failed, ! an advisory one (a SHOULD, or a clause that can be read in two\n"
	  "ways) not followed, - skipped with the reason. Peers are UDP sockets of this machine; with a server that\n"
	  "refuses those, relayed addresses of the server itself. Everything allocated is released again.\n"
	  "Exit 0 if every check passed that is not advisory. Credentials: --user and --password, --shared-secret, or\n"
	  "those of the configuration.",
	  options, ARRAY_LEN(options), 0, 1, run_conform },
};
const struct command_table conform_commands = { rows, ARRAY_LEN(rows) };
