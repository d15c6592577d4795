/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schema rows of the `agent` section, its kinds of values, and the checks between its keys. Jobs have their rows in
 * tunnel/job.c.
 *
 * Names and meanings of the keys are promised to administrators: they grow, they do not change.
 */
#include "tunnel/agent/config.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "stun/public.h"

#define SCHEMA(n, r, s)                                                                            \
	{                                                                                          \
		.name = (n), .rows = (r), .n_rows = ARRAY_LEN(r), .size = (s)                      \
	}
#define AGENT(member) CFG_AT(struct agent_config, member)

/* clang-format off */
#define DIRECT(member) .offset = offsetof(struct agent_config, direct.member) - offsetof(struct agent_config, direct)
static const char *const congestions[] = { "bbr", "bbr2", "cubic", NULL };
static const char *const turn_transports[] = { "udp", "tcp", NULL };
#define TURN(member) CFG_AT(struct direct_turn_config, member)
static const struct cfg_row turn_server_rows[] = {
	{ .name = "server", .type = &cfg_hostport, TURN(server), .flags = CFG_REQUIRED | CFG_RELOAD, .default_port = 3478,
	  .help = "Host and port of the TURN server." },
	{ .name = "transport", .type = &cfg_enum, TURN(tcp), .flags = CFG_RELOAD, .choices = turn_transports, .def = "udp",
	  .help = "How it is spoken to." },
	{ .name = "user", .type = &cfg_string, TURN(user), .flags = CFG_REQUIRED | CFG_RELOAD, .min = 1, .max = 255, .help = "User name there." },
	{ .name = "password", .type = &cfg_string, TURN(password), .flags = CFG_REQUIRED | CFG_SECRET | CFG_RELOAD, .min = 1, .max = 255,
	  .help = "Password there." },
};
static const struct cfg_schema turn_server_schema = SCHEMA("agent.direct.turn_servers", turn_server_rows, sizeof(struct direct_turn_config));
static const struct cfg_row direct_rows[] = {
	{ .name = "enabled", .type = &cfg_bool, DIRECT(enabled), .def = "true",
	  .help = "Whether this agent takes part in links between agents at all." },
	{ .name = "direct", .type = &cfg_bool, DIRECT(direct), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether direct paths are tried; false: links go through relays only." },
	{ .name = "ipv6", .type = &cfg_bool, DIRECT(ipv6), .flags = CFG_RELOAD, .def = "true", .help = "Whether IPv6 addresses are tried." },
	{ .name = "port_mapping", .type = &cfg_bool, DIRECT(portmap), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether a router is asked to open a port for a link (UPnP, NAT-PMP, PCP)." },
	{ .name = "probes", .type = &cfg_bool, DIRECT(probes), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether hard NATs are tried with many packets to likely ports, at most 100 a second." },
	{ .name = "tcp", .type = &cfg_bool, DIRECT(tcp), .flags = CFG_RELOAD, .def = "true", .help = "Whether direct TCP is tried." },
	{ .name = "turn", .type = &cfg_bool, DIRECT(turn), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether TURN servers are used as relays beside the tunnel server." },
	{ .name = "turn_servers", .sub = &turn_server_schema, DIRECT(turn_servers), .flags = CFG_LIST | CFG_RELOAD, .most = AGENT_TURN_MAX,
	  .help = "TURN servers of one's own, beside those that the tunnel server gives with credentials (tunnel.direct.turn_servers there)." },
	{ .name = "ports", .type = &cfg_ports, DIRECT(ports), .flags = CFG_RELOAD, .def = "1024-65535",
	  .help = "UDP ports that direct paths use here, for firewalls that must know them." },
	{ .name = "congestion", .type = &cfg_enum, DIRECT(congestion), .flags = CFG_RELOAD, .choices = congestions, .def = "bbr",
	  .help = "Congestion control of links between agents." },
};
static const struct cfg_schema direct_schema = SCHEMA("agent.direct", direct_rows, sizeof(((struct agent_config *)NULL)->direct));

static const struct cfg_row agent_rows[] = {
	{ .name = "name", .type = &cfg_string, AGENT(name), .min = 1, .max = 63,
	  .help = "Name of this agent, as the server shows it. Default: the host's." },
	{ .name = "server", .type = &cfg_agent_server, AGENT(server), .flags = CFG_LIST | CFG_BARE, .default_port = 7443,
	  .help = "Tunnel server: host and port, and #sha256: with the fingerprint of its root key, which stile tunnel status shows "
	  "there; without one an agent that enrols by password waits to be approved. Several: the agent is connected to "
	  "each, and every job runs on each." },
	{ .name = "fallback_ports", .type = &cfg_ports, AGENT(fallback_ports), .flags = CFG_LIST | CFG_BARE, .def = "443,80",
	  .help = "Ports of the server that are tried, one shortly after the other, when its own does not answer at once." },
	{ .name = "password", .type = &cfg_string, AGENT(password), .flags = CFG_SECRET | CFG_RELOAD, .min = 1, .max = 255,
	  .help = "tunnel.password of the server, for the first connection; the keys decide from then on." },
	{ .name = "code", .type = &cfg_string, AGENT(code), .flags = CFG_SECRET | CFG_RELOAD, .min = 1, .max = 255,
	  .help = "The code of stile tunnel enrol, for the first connection; it is good once." },
	{ .name = "guest", .type = &cfg_string, AGENT(guest), .min = 16, .max = 16,
	  .help = "The id of a share: this agent is not enrolled, and is let in as a guest of that share alone. stile get writes it for the agent "
	  "that it starts where there is none." },
	{ .name = "proxy", .type = &cfg_string, AGENT(proxy), .flags = CFG_SECRET | CFG_RELOAD, .min = 8, .max = 600,
	  .help = "An HTTP proxy that allows CONNECT: http://HOST:PORT or http://USER:PASSWORD@HOST:PORT (Basic or Digest, as it asks "
	  "for). The servers are tried through it beside the direct way." },
	{ .name = "jobs", .sub = &job_schema, AGENT(jobs), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Forward jobs: a port of the server leads to a host and port here. More can be added while the agent runs: stile "
	  "agent job add." },
	{ .name = "allow", .type = &cfg_prefix, AGENT(allow), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Addresses that connections of jobs may lead to, looked at after a name is resolved, for each connection. Empty: "
	  "the targets of this agent's own jobs. Jobs made on the server's side need an entry here." },
	{ .name = "visits", .sub = &visit_schema, AGENT(visits), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Ports here that lead into the networks of other agents, over a direct link where one is possible. For a moment: stile connect." },
	{ .name = "visitors", .sub = &visitor_schema, AGENT(visitors), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Other agents that may come here, and what they reach. More can be accepted while the agent runs: stile agent peer accept." },
	{ .name = "direct", .sub = &direct_schema, AGENT(direct), .flags = CFG_RELOAD,
	  .help = "Links between this agent and others." },
	{ .name = "auto_connect", .type = &cfg_bool, AGENT(auto_connect), .def = "true",
	  .help = "Connect at the start; false waits for stile agent connect." },
	{ .name = "allow_plain", .type = &cfg_bool, AGENT(allow_plain), .flags = CFG_RELOAD, .def = "false",
	  .help = "Whether a job made on the server's side may have encrypt: false." },
	{ .name = "log", .sub = &cfg_log_schema, AGENT(log), .flags = CFG_OPTIONAL_MAP | CFG_RELOAD,
	  .help = "Log settings of stile-agent alone, instead of those of the log section." },
};
static const struct cfg_schema agent_schema = SCHEMA("agent", agent_rows, sizeof(struct agent_config));

static const struct cfg_row root_rows[] = {
	{ .name = "log", .sub = &cfg_log_schema, CFG_AT(struct agent_root, log), .flags = CFG_RELOAD,
	  .help = "Where and how much the services log." },
	SERVICE_SANDBOX_ROW(struct agent_root),
	{ .name = "store", .sub = &cfg_store_schema, CFG_AT(struct agent_root, store),
	  .help = "Where objects are kept that are made while the services run." },
	{ .name = "stun_servers", .type = &cfg_hostport, CFG_AT(struct agent_root, stun_servers), .flags = CFG_LIST | CFG_RELOAD, .most = PUBLIC_SERVERS_MAX,
	  .help = "STUN servers outside of this network, to find one's own public address." },
	{ .name = "agent", .sub = &agent_schema, CFG_AT(struct agent_root, agent), .help = "The agent of a tunnel." },
};
/* clang-format on */
static const struct cfg_schema root_schema = SCHEMA("stile.yaml", root_rows, sizeof(struct agent_root));

static const char *const others[] = { "turn", "tunnel", "sip", "console", "gateway", "share", NULL };
const struct cfg_root agent_cfg_root = { .schema = &root_schema, .other_sections = others };

/* ---- a server ---- */

static int parse_server(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	struct agent_server s = { 0 };
	struct text pin = t, at = text_cut(&pin, '#');
	struct cfg_hostport h = { 0 };
	size_t n = 0;
	int r = 0;

	if (pin.p) {
		if (!text_starts(pin, TEXT("sha256:")) ||
		    hex_decode(text_drop(pin, 7), s.fingerprint, sizeof(s.fingerprint), &n) < 0 ||
		    n != sizeof(s.fingerprint)) {
			(void)snprintf(err, err_n,
				       "must have a fingerprint of 64 hexadecimal digits behind #sha256:, as stile tunnel status "
				       "shows it, not '%.*s'",
				       (int)MIN(pin.n, 80u), pin.p);
			return -EINVAL;
		}
		s.pinned = true;
	}
	r = cfg_hostport.parse(row, at, &h, err, err_n);
	if (r < 0)
		return r;
	s.host = h.host;
	s.port = h.port;
	*(struct agent_server *)dst = s;
	return 0;
}

static void print_server(const struct cfg_row *row, const void *src, struct sb *out)
{
	const struct agent_server *s = src;
	const struct cfg_hostport h = { .host = s->host, .port = s->port };
	char hex[2 * sizeof(s->fingerprint) + 1];

	if (!s->host)
		return;
	cfg_hostport.print(row, &h, out);
	if (!s->pinned)
		return;
	hex_encode(s->fingerprint, sizeof(s->fingerprint), hex);
	sb_fmt(out, "#sha256:%s", hex);
}

static void free_server(void *dst)
{
	struct agent_server *s = dst;

	free(s->host);
	s->host = NULL;
}

/* clang-format off */
const struct cfg_type cfg_agent_server = { "server", sizeof(struct agent_server), "tunnel.example.org:7443", parse_server, print_server, free_server };
/* clang-format on */

/* ---- checks ---- */

void agent_config_check(struct cfg *c)
{
	const struct agent_config *a = &((const struct agent_root *)cfg_values(c))->agent;
	const struct agent_server *s = a->server.items;
	uint64_t id;

	job_list_check(c, "agent.jobs", &a->jobs);
	visits_check(c, &a->visits, &a->visitors);
	if (!a->server.n)
		cfg_add_error(c, "agent",
			      "an agent needs a server: agent: { server: \"tunnel.example.org:7443\" }");
	if (a->server.n > AGENT_SERVERS_MAX)
		cfg_add_error(c, "agent.server", "an agent has at most %d servers", AGENT_SERVERS_MAX);
	for (size_t i = 1; i < a->server.n; i++)
		for (size_t k = 0; k < i; k++)
			if (s[i].host && s[k].host && strcmp(s[i].host, s[k].host) == 0 &&
			    s[i].port == s[k].port)
				cfg_add_error(c, cfg_path_item("agent.server", i, "").s, "the server %s stands here twice", s[i].host);
	if (a->guest && (text_hex64(text_of(a->guest), &id) < 0 || a->code || a->password || a->jobs.n))
		cfg_add_error(c, "agent.guest", "a guest has the id of a share (sixteen hexadecimal digits), and neither code, password nor jobs");
	if (a->code && a->password)
		cfg_add_error(c, "agent.code",
			      "an agent enrols by code or by password: take one of them away");
}

void agent_log_config(const void *values, struct log_config *ret_lc)
{
	const struct agent_root *root = values;

	log_section_config(root->agent.log ? root->agent.log : &root->log, ret_lc);
}

const char *agent_store_path(const void *values)
{
	return ((const struct agent_root *)values)->store.path;
}
