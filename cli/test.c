/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile test turn: a TURN server tried with real traffic on every transport, as a checklist with the
 * reason of each failure. Finds or mints its own credentials; the traffic itself is cli/turn_probe's.
 * Exit 1 if any check failed, so scripts may rely on it.
 */
#include <string.h>
#include <unistd.h>
#include "cli/command.h"
#include "cli/credential.h"
#include "cli/turn_probe.h"
#include "common/bytes.h"
#include "common/config.h"

enum { STEP_MS = 5000, MAX_TARGETS = 16 };

struct target {
	enum turn_proto proto;
	struct addr at;
};

struct plan {
	struct cli *cli;
	struct cfg *cfg;
	const struct turn_config *turn; /* NULL: no configuration was read */
	struct turn_config view; /* what turn points to: of --realm */
	const struct turn_realm_section *realm; /* of --realm, if it is not the default one */
	const char *host;
	const char *realm_name; /* that was asked for */
	struct credential cred;
	struct target target[MAX_TARGETS];
	unsigned n;
	json_t *live; /* with --live: what the running server says of itself */
	json_t *report; /* with --json */
	unsigned good, bad;
};

/* ---- what to try ---- */

static void add_target(struct plan *pl, enum turn_proto proto, struct addr at)
{
	if (pl->n < MAX_TARGETS)
		pl->target[pl->n++] = (struct target){ proto, at };
}

static bool is_secure(unsigned proto)
{
	return proto == TURN_LISTEN_TLS || proto == TURN_LISTEN_DTLS;
}

/* A name that leads to the realm; of a pattern some name that it matches. */
static const char *realm_server_name(const struct turn_realm_section *x)
{
	static char some[256];
	char *const *names = x->server_names.items;

	if (!x->server_names.n)
		return NULL;
	snprintf(some, sizeof some, "%s%s", names[0][0] == '*' ? "stile-test" : "", names[0] + (names[0][0] == '*'));
	return some;
}

/* Whether this listener, itself or as one on all of the machine's addresses, is where a realm says its clients come. */
static bool is_its_own(const struct cfg_endpoint *own, const struct cfg_endpoint *l)
{
	return own->proto == l->proto && addr_port(&own->at) == addr_port(&l->at) &&
	       (addr_equal(&own->at, &l->at) || addr_classify(&l->at) == ADDR_UNSPECIFIED);
}

/* Whether clients of --realm come to this listener: by one of its addresses, or by a server name. */
static bool leads_to_realm(const struct turn_realm_section *x, const struct cfg_endpoint *l)
{
	const struct cfg_endpoint *own = x->listen.items;

	for (size_t i = 0; i < x->listen.n; i++)
		if (is_its_own(&own[i], l))
			return true;
	return is_secure(l->proto) && x->server_names.n;
}

/* Whether it is the address of a realm, so that no client of the default one comes there. */
static bool is_of_a_realm(const struct turn_config *t, const struct cfg_endpoint *l)
{
	const struct turn_realm_section *x = t->realms.items;

	for (size_t i = 0; i < t->realms.n; i++) {
		const struct cfg_endpoint *own = x[i].listen.items;
		for (size_t k = 0; k < x[i].listen.n; k++)
			if (own[k].proto == l->proto && addr_equal(&own[k].at, &l->at))
				return true;
	}
	return false;
}

/* A realm's own address, where the listener is on all of the machine's. */
static struct addr address_of(const struct plan *pl, const struct cfg_endpoint *l)
{
	const struct cfg_endpoint *own = pl->realm ? pl->realm->listen.items : NULL;

	for (size_t i = 0; own && i < pl->realm->listen.n; i++)
		if (is_its_own(&own[i], l))
			return own[i].at;
	return l->at;
}

/* Each listener of the configuration whose transport is wanted (a bit each); a wildcard is reached at
 * HOST's address, or loopback. */
static int targets_from_config(struct plan *pl, unsigned wanted)
{
	const struct cfg_endpoint *l = pl->turn->listen.items;

	for (size_t i = 0; i < pl->turn->listen.n; i++) {
		struct addr at = address_of(pl, &l[i]);
		uint16_t port = addr_port(&at);
		unsigned proto = l[i].proto == TURN_LISTEN_FRONT ? TURN_LISTEN_TLS : l[i].proto;
		if (l[i].path[0] || !(wanted & 1u << proto)) /* the same order: udp, tcp, tls, dtls */
			continue;
		if (pl->realm ? !leads_to_realm(pl->realm, &l[i]) : is_of_a_realm(pl->turn, &l[i]))
			continue;
		if (pl->host) {
			int r = cli_resolve(pl->cli, pl->host, port, &at);
			if (r)
				return r;
		} else if (addr_classify(&at) == ADDR_UNSPECIFIED) {
			at = addr_family(&at) == AF_INET ? addr_v4(INADDR_LOOPBACK, port) :
							   addr_v6((const uint8_t *)&in6addr_loopback, port);
		}
		add_target(pl, (enum turn_proto)proto, at);
	}
	return pl->n ? 0 : cli_fail(pl->cli, "%s has no listener of this transport", cli_config_path(pl->cli));
}

static int targets_from_options(struct plan *pl, unsigned wanted)
{
	uint64_t port = 0, tls_port = 0;
	int r = cli_number(pl->cli, "port", 1, 65535, &port);

	if (!r)
		r = cli_number(pl->cli, "tls-port", 1, 65535, &tls_port);
	for (unsigned proto = TURN_UDP; !r && proto <= TURN_DTLS; proto++) {
		bool secure = proto == TURN_TLS || proto == TURN_DTLS;
		uint64_t p = secure ? tls_port : port;
		struct addr at;
		if (!(wanted & 1u << proto))
			continue;
		r = cli_resolve(pl->cli, pl->host ? pl->host : "localhost",
				p ? (uint16_t)p : turn_proto_default_port(proto), &at);
		if (!r)
			add_target(pl, proto, at);
	}
	return r;
}

/* What the running server has told; a wildcard is reached on loopback. */
static int targets_from_server(struct plan *pl, unsigned wanted)
{
	json_t *rows = json_object_get(pl->live, "targets"), *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		const char *transport = json_string_value(json_object_get(row, "transport"));
		const char *at = json_string_value(json_object_get(row, "address"));
		enum turn_proto proto;
		struct addr a;

		if (!transport || !at || turn_proto_parse(text_of(transport), &proto) < 0 || addr_parse(text_of(at), 0, &a) < 0 ||
		    !(wanted & 1u << proto))
			continue;
		if (addr_classify(&a) == ADDR_UNSPECIFIED)
			a = addr_family(&a) == AF_INET ? addr_v4(INADDR_LOOPBACK, addr_port(&a)) :
							 addr_v6((const uint8_t *)&in6addr_loopback, addr_port(&a));
		add_target(pl, proto, a);
	}
	return pl->n ? 0 : cli_fail(pl->cli, "the running server has no listener of this transport%s", pl->realm_name ? " for this realm" : "");
}

static int parse_transports(struct plan *pl, unsigned *ret_wanted)
{
	struct text rest = text_of(cli_option(pl->cli, "transport"));
	unsigned wanted = 0;

	if (!rest.p)
		rest = TEXT("udp,tcp,tls,dtls");
	while (rest.p) {
		struct text name = text_cut(&rest, ',');
		enum turn_proto proto;
		if (turn_proto_parse(text_trim(name), &proto) < 0)
			return cli_wrong(pl->cli, "--transport is a list of udp, tcp, tls, dtls; not '%.*s'", TEXT_FMT(name));
		wanted |= 1u << proto;
	}
	*ret_wanted = wanted;
	return 0;
}

static int find_targets(struct plan *pl)
{
	bool ports = cli_has(pl->cli, "port") || cli_has(pl->cli, "tls-port");
	unsigned wanted = 0;
	int r = parse_transports(pl, &wanted);

	if (r)
		return r;
	if (pl->live)
		return targets_from_server(pl, wanted);
	return pl->turn && !ports ? targets_from_config(pl, wanted) : targets_from_options(pl, wanted);
}

/* ---- trying it ---- */

static json_t *result_json(const struct turn_probe_result *res)
{
	json_t *steps = json_array();

	for (unsigned i = 0; i < PROBE_STEPS; i++)
		if (res->done[i])
			json_array_append_new(steps, json_pack("{s:s, s:b, s:f, s:s}", "step", turn_probe_step_names[i], "ok",
							       res->good[i], "ms", res->ms[i], "text", res->text[i]));
	return steps;
}

static void show(struct plan *pl, const struct target *t, const struct turn_probe_result *res)
{
	char what[64], at[ADDR_STRLEN], line[320];

	if (pl->report) {
		json_array_append_new(pl->report, json_pack("{s:s, s:s, s:o}", "transport", turn_proto_name(t->proto), "address",
							    addr_print(&t->at, at), "steps", result_json(res)));
		return;
	}
	printf("%s %s\n", turn_proto_name(t->proto), addr_print(&t->at, at));
	for (unsigned i = 0; i < PROBE_STEPS; i++) {
		if (!res->done[i])
			continue;
		struct sb b = sb_init(line, sizeof line);
		snprintf(what, sizeof what, "%s %s", turn_proto_name(t->proto), turn_probe_step_names[i]);
		sb_str(&b, res->text[i]);
		if (res->good[i])
			sb_fmt(&b, " (%.1f ms)", res->ms[i]);
		print_check(pl->cli, res->good[i], what, line);
	}
}

static int try_target(struct plan *pl, const struct target *t)
{
	struct turn_probe_result res;
	uint64_t packets = 50, wait_ms = STEP_MS;
	const char *ca = cli_option(pl->cli, "ca");
	int r = cli_number(pl->cli, "packets", 1, 100000, &packets);

	if (!r)
		r = cli_time(pl->cli, "wait", &wait_ms);
	if (r)
		return r;
	/* A server of this machine is known by the very certificate that its configuration names, whatever name
	 * that is for. */
	const char *name = cli_option(pl->cli, "server-name");
	if (!name && pl->live)
		name = json_string_value(json_object_get(pl->live, "server_name"));
	else if (!name)
		name = pl->realm ? realm_server_name(pl->realm) : pl->host;
	if (!ca && pl->turn && !pl->host)
		ca = pl->realm && pl->realm->certificate ? pl->realm->certificate : pl->turn->certificate;
	if (!ca)
		ca = json_string_value(json_object_get(pl->live, "certificate"));
	struct turn_probe_options o = { .proto = t->proto, .server = t->at, .server_name = name,
					.verify = !cli_has(pl->cli, "insecure"), .ca_file = ca, .user = pl->cred.user,
					.password = pl->cred.password, .packets = (unsigned)packets, .step_ms = MAX(wait_ms, 1) };
	r = turn_probe(&o, &res);
	if (r < 0)
		return cli_fail(pl->cli, "%s", strerror(-r));
	show(pl, t, &res);
	for (unsigned i = 0; i < PROBE_STEPS; i++) {
		pl->good += res.done[i] && res.good[i];
		pl->bad += res.done[i] && !res.good[i];
	}
	return 0;
}

static int run_plan(struct plan *pl)
{
	int r = find_targets(pl);

	if (!r && !pl->live)
		r = credential_for_test(pl->cli, pl->turn, &pl->cred);
	if (r)
		return r;
	if (!pl->report)
		printf("as user %s (%s)%s%s\n", pl->cred.user, pl->cred.source, pl->realm ? " in realm " : "",
		       pl->realm ? pl->realm->name : "");
	for (unsigned i = 0; i < pl->n && !r; i++)
		r = try_target(pl, &pl->target[i]);
	if (r)
		return r;
	if (pl->report) {
		json_t *j = json_pack("{s:O, s:i, s:i}", "transports", pl->report, "good", (int)pl->good, "bad", (int)pl->bad);
		print_json(j);
		json_decref(j);
	} else if (pl->bad) {
		printf("%u check%s good, %u failed\n", pl->good, pl->good == 1 ? "" : "s", pl->bad);
	} else {
		printf("all %u checks are good\n", pl->good);
	}
	if (!pl->report && pl->turn && pl->turn->realms.n && !cli_has(pl->cli, "realm"))
		printf("(the default realm; --realm tries another, such as %s)\n",
		       ((const struct turn_realm_section *)pl->turn->realms.items)->name);
	return pl->bad ? EXIT_FAILED : 0;
}

/* --live: the running server gives a credential and says where its clients go. */
static int ask_server(struct plan *pl)
{
	json_t *args = pl->realm_name ? json_pack("{s:s}", "realm", pl->realm_name) : NULL;
	int r;

	if (pl->host || cli_has(pl->cli, "port") || cli_has(pl->cli, "tls-port") || cli_has(pl->cli, "user")) {
		json_decref(args);
		return cli_wrong(pl->cli, "--live tries the server of this machine, as it says itself: no HOST, ports or user");
	}
	r = cli_ask(pl->cli, "stile-turn", "turn.test.credential", args, &pl->live);
	if (r)
		return r;
	snprintf(pl->cred.user, sizeof pl->cred.user, "%s", json_string_value(json_object_get(pl->live, "username")));
	snprintf(pl->cred.password, sizeof pl->cred.password, "%s", json_string_value(json_object_get(pl->live, "password")));
	snprintf(pl->cred.source, sizeof pl->cred.source, "made for this test");
	return 0;
}

static int run_test_turn(struct cli *cli)
{
	struct plan pl = { .cli = cli, .host = cli->n_words ? cli->words[0] : NULL, .realm_name = cli_option(cli, "realm") };
	bool live = cli_has(cli, "live");
	bool own_credentials = cli_has(cli, "user") || cli_has(cli, "password") || cli_has(cli, "shared-secret");
	bool asked = cli_has(cli, "config") || !pl.host;
	int r = 0;

	/* Another machine's server may be tried where there is no configuration. */
	if (live)
		r = ask_server(&pl);
	else if (asked || (!own_credentials && access(cli_config_path(cli), R_OK) == 0)) {
		if (cfg_load(cli_config_path(cli), &turn_cfg_root, &pl.cfg) == 0)
			pl.turn = &((const struct turn_root *)cfg_values(pl.cfg))->turn;
		else
			r = pl.cfg && cfg_print_errors(pl.cfg, stderr) ? EXIT_USAGE : EXIT_FAILED;
	}
	if (r && !live && !cli_has(cli, "config"))
		fprintf(stderr, "stile test turn: name a HOST, or this machine's configuration with -c FILE\n");
	if (cli_has(cli, "json"))
		pl.report = json_array();
	if (!r && pl.turn) {
		r = credential_realm(cli, pl.turn, &pl.view, &pl.realm);
		pl.turn = &pl.view;
	}
	if (!r)
		r = run_plan(&pl);
	bytes_wipe(&pl.cred, sizeof pl.cred);
	json_decref(pl.live);
	json_decref(pl.report);
	cfg_free(pl.cfg);
	return r;
}

static const struct option_row turn_options[] = {
	{ "live", 'l', NULL, "the running server of this machine, as it is now" },
	{ "transport", 't', "LIST", "udp,tcp,tls,dtls (default: the configuration's listeners, or all four)" },
	{ "port", 'p', "PORT", "for udp and tcp (default 3478)" },
	{ "tls-port", 0, "PORT", "for tls and dtls (default 5349)" },
	{ "user", 'u', "NAME", "user name" },
	{ "password", 0, "WORD", "its password" },
	{ "shared-secret", 0, "WORD", "mint a credential from this secret of the REST API" },
	{ "realm", 'r', "NAME", "this realm of the configuration: its credential, server name and addresses" },
	{ "server-name", 0, "NAME", "ask for this server name by TLS and DTLS, and check the certificate for it (default HOST)" },
	{ "ca", 0, "FILE", "trust this certificate or CA (PEM) instead of the system's" },
	{ "insecure", 'k', NULL, "do not check the server's certificate" },
	{ "packets", 'n', "N", "packets for each echo (default 50)" },
	{ "wait", 'w', "TIME", "how long each step may take (default 5s)" },
};

static const struct command rows[] = {
	{ "test turn", "[HOST]", "try a STUN/TURN server with real traffic",
	  "On each transport: connect (with TLS its certificate), Binding, two allocations, an echo from one to the other\n"
	  "through Send indications and through ChannelData, whether link-local peers are refused, release. A line for\n"
	  "each, with the reason of a failure. Exit 1 if one failed.\n\n"
	  "Without HOST the server of this machine's configuration is tried, on its listeners and with a credential\n"
	  "from there. With --live the running one is asked where its clients go, settings of the console included, and for a\n"
	  "credential of a few minutes. With HOST any TURN server can be tried:\n\n"
	  "  stile test turn turn.example.org --user alice --password secret\n"
	  "  stile test turn 192.0.2.10 --transport tls --tls-port 443 --shared-secret SECRET",
	  turn_options, ARRAY_LEN(turn_options), 0, 1, run_test_turn },
};
const struct command_table test_commands = { rows, ARRAY_LEN(rows) };
