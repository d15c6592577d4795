/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile netcheck: what this machine's network lets through, and what that means for direct connections. The
 * servers are those of --server, else stun_servers of the configuration (the one list of all
 * services). Exit 1 if UDP does not work.
 */
#include "cli/netcheck.h"
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <time.h>
#include "common/config.h"
#include "turn/config.h"

enum { STUN_PORT = 3478 };

/* ---- which servers ---- */

static int resolve(struct netcheck *nc, struct nc_server *s)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *found;
	int r = getaddrinfo(s->host, NULL, &hints, &found);

	if (r)
		return cli_fail(nc->cli, "cannot resolve %s: %s", s->host, gai_strerror(r));
	for (struct addrinfo *i = found; i; i = i->ai_next) {
		struct addr a;
		if (addr_from_sockaddr(i->ai_addr, i->ai_addrlen, &a) < 0)
			continue;
		struct addr *at = &s->at[addr_family(&a) == AF_INET ? NC_V4 : NC_V6];
		addr_set_port(&a, s->port);
		if (addr_family(at) == AF_UNSPEC)
			*at = a;
	}
	freeaddrinfo(found);
	return 0;
}

static struct nc_server *add_server(struct netcheck *nc, struct text host, uint16_t port)
{
	struct nc_server *s;

	if (nc->n >= NC_SERVERS || host.n == 0 || host.n >= sizeof s->host)
		return NULL;
	s = &nc->server[nc->n++];
	snprintf(s->host, sizeof s->host, "%.*s", TEXT_FMT(host));
	snprintf(s->name, sizeof s->name, text_find(host, ':') < 0 ? "%s:%u" : "[%s]:%u", s->host, port);
	s->port = port;
	return s;
}

/* HOST, HOST:PORT, ADDRESS, [IPv6]:PORT */
static int add_option(struct netcheck *nc, const char *given)
{
	struct text rest = text_of(given), host;
	struct addr a;
	char ip[ADDR_STRLEN];
	uint64_t port = STUN_PORT;

	if (addr_parse(rest, STUN_PORT, &a) == 0) {
		host = text_of(addr_print_ip(&a, ip));
		port = addr_port(&a);
	} else {
		host = text_cut(&rest, ':');
		if (rest.p && (text_u64(rest, &port) < 0 || port < 1 || port > 65535))
			host.n = 0;
	}
	if (add_server(nc, host, (uint16_t)port))
		return 0;
	return cli_wrong(nc->cli, "--server must be HOST or HOST:PORT, not '%s'", given);
}

static int servers_from_config(struct netcheck *nc)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const char *path = cli_config_path(nc->cli);

	if (cfg_load(path, &turn_cfg_root, &cfg) < 0) {
		if (cfg && cli_has(nc->cli, "config"))
			cfg_print_errors(cfg, stderr);
		return cli_fail(nc->cli, "name a STUN server: --server HOST:PORT, or stun_servers: [HOST:PORT] in %s", path);
	}
	const struct cfg_list *list = &((const struct turn_root *)cfg_values(cfg))->stun_servers;
	const struct cfg_hostport *h = list->items;
	for (size_t i = 0; i < list->n && i < NC_SERVERS; i++)
		(void)add_server(nc, text_of(h[i].host), h[i].port ? h[i].port : STUN_PORT);
	if (nc->n)
		return 0;
	return cli_fail(nc->cli, "%s has no stun_servers; write: stun_servers: [stun.example.net:3478], or use --server HOST:PORT",
			path);
}

static int find_servers(struct netcheck *nc)
{
	int r = 0;
	unsigned good = 0;

	for (unsigned i = 0; i < nc->cli->n_many && !r; i++)
		r = add_option(nc, nc->cli->many[i]);
	if (!nc->cli->n_many)
		r = servers_from_config(nc);
	for (unsigned i = 0; i < nc->n && !r; i++) /* one name that cannot be resolved is said and left out */
		good += resolve(nc, &nc->server[i]) == 0;
	return r ? r : good ? 0 : EXIT_FAILED;
}

/* ---- judging ---- */

bool nc_udp_works(const struct netcheck *nc)
{
	return nc->family[NC_V4].nat.answered || nc->family[NC_V6].nat.answered;
}

enum nat_type nc_type(const struct netcheck *nc, enum nc_family_id f)
{
	if (nc->family[f].nat.type == NAT_UDP_BLOCKED && !nc_any_tcp(nc) && !nc_udp_works(nc))
		return NAT_UNKNOWN;
	return nc->family[f].nat.type;
}

/* ---- running ---- */

static int look(struct netcheck *nc)
{
	int r = find_servers(nc), err;

	if (r)
		return r;
	err = nc_udp(nc);
	if (err == 0)
		err = nc_tcp(nc);
	if (err < 0)
		return cli_fail(nc->cli, "%s", strerror(-err));
	if (nc->ports)
		nc_portmap(nc);
	return nc_udp_works(nc) ? 0 : EXIT_FAILED;
}

/* Of the link to --site, if that is asked for: 0 or an exit code. */
static int show(const struct netcheck *nc, const struct netcheck *before, bool repeated)
{
	const char *site = cli_option(nc->cli, "site");
	int r = 0;

	if (cli_has(nc->cli, "json")) {
		json_t *j = nc_json(nc);
		if (site)
			json_object_set_new(j, "site", nc_site_json(nc->cli, site, &r));
		if (repeated)
			json_dumpf(j, stdout, JSON_COMPACT);
		else
			json_dumpf(j, stdout, JSON_INDENT(2));
		fputc('\n', stdout);
		json_decref(j);
	} else if (before) {
		nc_print_line(nc, before);
	} else {
		nc_print(nc);
	}
	if (site && !cli_has(nc->cli, "json"))
		r = nc_site(nc->cli, site);
	fflush(stdout);
	return r;
}

/* With --every until Ctrl-C, whatever a look finds; but not without a server to ask. */
static int look_on(struct netcheck *now, struct netcheck *before, uint64_t every_ms)
{
	const struct netcheck blank = *now;
	const struct timespec pause = { .tv_sec = (time_t)(every_ms / 1000), .tv_nsec = (long)(every_ms % 1000) * 1000000 };

	for (unsigned turn = 0;; turn++) {
		int r = look(now), s = now->n && r != EXIT_USAGE ? show(now, turn ? before : NULL, every_ms != 0) : 0;
		r = r ? r : s;
		if (!every_ms || !now->n || r == EXIT_USAGE || !print_is_read())
			return r;
		(void)nanosleep(&pause, NULL);
		*before = *now;
		*now = blank;
	}
}

static int run_netcheck(struct cli *cli)
{
	_cleanup_(freep) struct netcheck *nc = calloc(2, sizeof *nc); /* this look and the one before */
	uint64_t every_ms = 0;
	int r;

	if (!nc)
		return cli_fail(cli, "%s", strerror(ENOMEM));
	nc->cli = cli;
	nc->port443 = !cli_has(cli, "no-443");
	nc->ports = !cli_has(cli, "no-port-mapping");
	r = cli_time(cli, "every", &every_ms);
	if (!r)
		r = cli_time(cli, "lifetime", &nc->lifetime_ms);
	if (r)
		return r;
	return look_on(nc, nc + 1, every_ms);
}

static const struct option_row options[] = {
	{ "server", 's', "HOST:PORT", "ask this STUN server; may be repeated (default: stun_servers of the configuration)", true },
	{ "every", 0, "TIME", "look again that often, until Ctrl-C; says what has changed", false },
	{ "lifetime", 0, "TIME", "also measure how long the NAT keeps a silent binding, waiting at most so long", false },
	{ "site", 0, "AGENT", "also what that means for reaching this other agent: its link here, or how to try one", false },
	{ "no-443", 0, NULL, "leave out TCP and TLS on port 443", false },
	{ "no-port-mapping", 0, NULL, "do not ask the router for UPnP, NAT-PMP and PCP", false },
};

static const struct command rows[] = {
	{ "netcheck", "", "UDP, public address, type of NAT, and what that means for direct connections",
	  "Asks STUN servers on the internet. One with two addresses and two ports (RFC 5780) tells the type of the NAT;\n"
	  "any other one tells the public address, and two of them whether it varies by destination. A server in one's\n"
	  "own network sees nothing of the NAT and says so. Exit: 1 if UDP does not work.",
	  options, ARRAY_LEN(options), 0, 0, run_netcheck },
};
const struct command_table netcheck_commands = { rows, ARRAY_LEN(rows) };
