/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schema rows of the `tunnel` section: each key once, with type, range, default and help. What must hold
 * between several of them is in tunnel/config_check.c.
 *
 * Names and meanings of the keys are promised to administrators: they grow, they do not change.
 */
#include "tunnel/config.h"
#include "stun/public.h"
#include "tunnel/link/wire.h"

#define SCHEMA(n, r, s) { .name = (n), .rows = (r), .n_rows = ARRAY_LEN(r), .size = (s) }
#define LIMIT(member) .offset = offsetof(struct route_config, limits.member) - offsetof(struct route_config, limits)

static const char *const proxy_choices[] = { "off", "v2", NULL };

/* clang-format off */
static const struct cfg_row limits_rows[] = {
	{ .name = "connections", .type = &cfg_count, LIMIT(connections), .flags = CFG_RELOAD, .min = 1, .def = "10000",
	  .unit = "connections", .help = "Connections of this route at a time, or flows of a UDP route; more are refused. Each "
	  "connection takes two descriptors, a flow one." },
	{ .name = "bitrate", .type = &cfg_bitrate, LIMIT(bitrate), .flags = CFG_RELOAD, .min = 8000, .def = "unlimited",
	  .unit = "bit/s", .help = "Traffic of this route, all connections and both directions together; one second's worth may "
	  "go at once. TCP then waits, UDP is dropped." },
};
static const struct cfg_schema limits_schema = SCHEMA("tunnel.routes.limits", limits_rows, sizeof(((struct route_config *)NULL)->limits));

static const struct cfg_row tls_rows[] = {
	{ .name = "certificate", .type = &cfg_path, CFG_AT(struct route_tls, certificate), .flags = CFG_REQUIRED | CFG_RELOAD,
	  .help = "PEM file with the certificate that sources are shown, followed by its chain. A reload reads it anew." },
	{ .name = "key", .type = &cfg_path, CFG_AT(struct route_tls, key), .flags = CFG_REQUIRED | CFG_RELOAD,
	  .help = "PEM file with the certificate's private key." },
};
static const struct cfg_schema tls_schema = SCHEMA("tunnel.routes.tls", tls_rows, sizeof(struct route_tls));

static const struct cfg_row target_tls_rows[] = {
	{ .name = "ca", .type = &cfg_path, CFG_AT(struct route_target_tls, ca), .flags = CFG_RELOAD,
	  .help = "PEM file with the certificates that the target's must come from, or with the target's own. Default: those "
	  "that the system trusts." },
	{ .name = "server_name", .type = &cfg_string, CFG_AT(struct route_target_tls, server_name), .flags = CFG_RELOAD,
	  .min = 1, .max = 253, .help = "Name that the target is asked for and that its certificate must have. Default: the host "
	  "of the target." },
	{ .name = "verify", .type = &cfg_bool, CFG_AT(struct route_target_tls, verify), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether the target's certificate is checked. Without that, whoever sits between here and the target can "
	  "read and change everything." },
};
static const struct cfg_schema target_tls_schema = SCHEMA("tunnel.routes.target_tls", target_tls_rows, sizeof(struct route_target_tls));

static const struct cfg_row route_rows[] = {
	{ .name = "name", .type = &cfg_string, CFG_AT(struct route_config, name), .flags = CFG_RELOAD, .min = 1,
	  .max = ROUTE_NAME_MAX, .help = "Name of the route in commands, log and records. Default: as it listens, \"0.0.0.0:1001\", "
	  "with \"/udp\" behind it if it is one for UDP." },
	{ .name = "listen", .type = &cfg_route_listen, CFG_AT(struct route_config, listen), .flags = CFG_REQUIRED | CFG_RELOAD,
	  .help = "Where sources connect: address and port, or a range of ports. Without an address: every IPv4 address of this "
	  "machine; [::] is every IPv6 one. An address that this machine does not have yet is listened on all the same." },
	{ .name = "target", .type = &cfg_route_target, CFG_AT(struct route_config, target),
	  .flags = CFG_REQUIRED | CFG_RELOAD | CFG_LIST | CFG_BARE, .help = "Host (name or address) and port that connections "
	  "lead to. Without a port: the one that was connected to; with a range in tunnel.routes.listen, the port here belongs to "
	  "the first, and so on. Several: the first that can be reached; one that could not is left aside for a while." },
	{ .name = "udp", .type = &cfg_bool, CFG_AT(struct route_config, udp), .flags = CFG_RELOAD, .def = "false",
	  .help = "Relay UDP instead of TCP: a flow for each source, with a socket of its own." },
	{ .name = "enabled", .type = &cfg_bool, CFG_AT(struct route_config, enabled), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether the route takes connections." },
	{ .name = "log_data", .type = &cfg_bool, CFG_AT(struct route_config, log_data), .flags = CFG_RELOAD, .def = "false",
	  .help = "Write every byte of new connections to a data log in tunnel.records.dir. That costs speed, and what is "
	  "written may be secret." },
	{ .name = "allow", .type = &cfg_prefix, CFG_AT(struct route_config, allow), .flags = CFG_RELOAD | CFG_LIST,
	  .help = "Prefixes that sources may come from; none: all." },
	{ .name = "limits", .sub = &limits_schema, CFG_AT(struct route_config, limits), .flags = CFG_RELOAD,
	  .help = "What the route may use." },
	{ .name = "source_address", .type = &cfg_ip, CFG_AT(struct route_config, source_address), .flags = CFG_RELOAD,
	  .help = "Address of this machine from which targets are connected. Default: the system's choice." },
	{ .name = "proxy_protocol", .type = &cfg_enum, CFG_AT(struct route_config, proxy_protocol), .flags = CFG_RELOAD,
	  .choices = proxy_choices, .def = "off", .help = "v2: the target is told the source's address by a PROXY protocol header "
	  "in front of the connection; it must expect one." },
	{ .name = "tls", .sub = &tls_schema, CFG_AT(struct route_config, tls), .flags = CFG_OPTIONAL_MAP | CFG_RELOAD,
	  .help = "Sources speak TLS with this machine." },
	{ .name = "target_tls", .sub = &target_tls_schema, CFG_AT(struct route_config, target_tls),
	  .flags = CFG_OPTIONAL_MAP | CFG_RELOAD, .help = "This machine speaks TLS with the target." },
	{ .name = "connect_timeout", .type = &cfg_duration, CFG_AT(struct route_config, connect_ms), .flags = CFG_RELOAD,
	  .min = 100, .max = 300000, .def = "10s", .help = "How long each try to reach a target may take, its TLS handshake included." },
	{ .name = "idle_timeout", .type = &cfg_duration, CFG_AT(struct route_config, idle_ms), .flags = CFG_RELOAD,
	  .max = 30 * 86400000ull, .def = "0s", .help = "A connection without a byte either way ends after this long; 0: never (a peer "
	  "that has vanished is found by keep-alives in two minutes). A UDP flow always ends: after 60 s with 0." },
	{ .name = "half_close_timeout", .type = &cfg_duration, CFG_AT(struct route_config, half_close_ms), .flags = CFG_RELOAD,
	  .min = 1000, .max = 30 * 86400000ull, .def = "5m", .help = "The same once one side has closed its way and the other has not." },
	{ .name = "note", .type = &cfg_string, CFG_AT(struct route_config, note), .flags = CFG_RELOAD, .max = 255,
	  .help = "For people." },
};
const struct cfg_schema route_schema = SCHEMA("tunnel.routes", route_rows, sizeof(struct route_config));

static const struct cfg_row one_route_rows[] = {
	{ .name = "route", .sub = &route_schema, .flags = CFG_REQUIRED, .help = "One route." },
};
static const struct cfg_schema one_route_schema = SCHEMA("route", one_route_rows, sizeof(struct route_config));
const struct cfg_root route_cfg_root = { .schema = &one_route_schema };

static const struct cfg_row records_rows[] = {
	{ .name = "dir", .type = &cfg_path, CFG_AT(struct records_section, dir), .flags = CFG_RELOAD,
	  .help = "Folder of the connection log and of data logs; without it neither is written." },
	{ .name = "connections", .type = &cfg_bool, CFG_AT(struct records_section, connections), .flags = CFG_RELOAD, .def = "true",
	  .help = "Write a line for each connection to COyymmdd.LOG." },
	{ .name = "json", .type = &cfg_bool, CFG_AT(struct records_section, json), .flags = CFG_RELOAD, .def = "false",
	  .help = "Write begin, end, refusals and failures of connections as JSON lines to COyymmdd.jsonl." },
	{ .name = "data_max_size", .type = &cfg_size, CFG_AT(struct records_section, data_max_size), .flags = CFG_RELOAD, .def = "1GB",
	  .unit = "bytes", .help = "A data log ends at this size, its connection goes on; 0: no limit." },
	{ .name = "data_floor", .type = &cfg_size, CFG_AT(struct records_section, data_floor), .flags = CFG_RELOAD, .def = "1GB",
	  .unit = "bytes", .help = "Data logs end when the disk has no more than this left." },
	{ .name = "keep", .type = &cfg_duration, CFG_AT(struct records_section, keep_ms), .flags = CFG_RELOAD, .def = "0s",
	  .help = "Records that nobody wrote to for so long are removed; 0: never." },
};
static const struct cfg_schema records_schema = SCHEMA("tunnel.records", records_rows, sizeof(struct records_section));

#define TUNNEL_LIMIT(member) .offset = offsetof(struct tunnel_config, limits.member) - offsetof(struct tunnel_config, limits)
static const struct cfg_row tunnel_limits_rows[] = {
	{ .name = "agents", .type = &cfg_u64, TUNNEL_LIMIT(agents), .flags = CFG_RELOAD, .min = 1, .max = 100000, .def = "1000",
	  .unit = "agents", .help = "Agents that are known, connected or not; revoked ones do not count." },
	{ .name = "jobs_per_agent", .type = &cfg_u64, TUNNEL_LIMIT(jobs), .flags = CFG_RELOAD, .min = 1, .max = 10000, .def = "200",
	  .unit = "jobs", .help = "Forward jobs of an agent." },
	{ .name = "ports_per_agent", .type = &cfg_u64, TUNNEL_LIMIT(ports), .flags = CFG_RELOAD, .min = 1, .max = 65535, .def = "1000",
	  .unit = "ports", .help = "Ports that the jobs of an agent have together." },
	{ .name = "connections", .type = &cfg_u64, TUNNEL_LIMIT(connections), .flags = CFG_RELOAD, .min = 1, .max = 10000000,
	  .def = "20000", .unit = "connections", .help = "Data connections of all agents together, and flows." },
};
static const struct cfg_schema tunnel_limits_schema = SCHEMA("tunnel.limits", tunnel_limits_rows, sizeof(((struct tunnel_config *)NULL)->limits));

#define DIRECT(member) .offset = offsetof(struct tunnel_config, direct.member) - offsetof(struct tunnel_config, direct)
static const struct cfg_row direct_rows[] = {
	{ .name = "enabled", .type = &cfg_bool, DIRECT(enabled), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether agents may reach each other: the server passes on what they say to each other, which is signed by them. Agents "
	  "that are connected are told when they next connect." },
	{ .name = "relay", .type = &cfg_bool, DIRECT(relay), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether the server relays what two agents have for each other while they find no direct path. It sees "
	  "ciphertext only." },
	{ .name = "relays", .type = &cfg_u64, DIRECT(relays), .flags = CFG_RELOAD, .min = 1, .max = 10000, .def = "256",
	  .unit = "relays", .help = "Relays that an agent has at a time, whichever of the two asked first." },
	{ .name = "relay_bytes", .type = &cfg_size, DIRECT(relay_bytes), .flags = CFG_RELOAD, .def = "0", .unit = "bytes",
	  .help = "Bytes that pass through one relay before it ends, both ways together; 0: any number. Agents may ask for another one." },
	{ .name = "relay_bitrate", .type = &cfg_bitrate, DIRECT(relay_bitrate), .flags = CFG_RELOAD, .min = 8000, .def = "unlimited",
	  .unit = "bit/s", .help = "Traffic of one relay, both ways together." },
	{ .name = "turn_servers", .type = &cfg_hostport, DIRECT(turn_servers), .flags = CFG_LIST | CFG_BARE | CFG_RELOAD, .default_port = 3478,
	  .most = WIRE_URIS_MAX / 2, .help = "TURN servers that agents are given for their direct links (stile-turn or others), over UDP and TCP; they are STUN servers "
	  "for them, too. An agent gets credentials of its own, good for six hours, made of turn_secret." },
	{ .name = "turn_secret", .type = &cfg_string, DIRECT(turn_secret), .flags = CFG_SECRET | CFG_RELOAD, .min = 8, .max = 255,
	  .help = "The secret that those servers share for time-limited credentials: one of turn.secrets, or static-auth-secret of "
	  "coturn." },
	{ .name = "local_turn", .type = &cfg_bool, DIRECT(local_turn), .flags = CFG_RELOAD, .def = "true",
	  .help = "Where turn_servers names none: whether a stile-turn on this host is asked for the agents' credentials, over its control socket. "
	  "It needs turn.secrets, and a listener on a public address or tunnel.public_name here." },
};
static const struct cfg_schema direct_schema = SCHEMA("tunnel.direct", direct_rows, sizeof(((struct tunnel_config *)NULL)->direct));
static const char *const listen_choices[] = { "tls", NULL };

static const struct cfg_row tunnel_rows[] = {
	{ .name = "name", .type = &cfg_string, CFG_AT(struct tunnel_config, name), .flags = CFG_RELOAD, .min = 1, .max = 63,
	  .help = "Name of this tunnel server, as agents are shown it. Default: the host's." },
	{ .name = "public_name", .type = &cfg_string, CFG_AT(struct tunnel_config, public_name), .flags = CFG_RELOAD, .min = 1, .max = 253,
	  .help = "Name or address at which the ports of jobs are reached; each job shows it. Default: the address they are bound to." },
	{ .name = "listen", .type = &cfg_endpoint, CFG_AT(struct tunnel_config, listen), .flags = CFG_LIST | CFG_UNIX | CFG_RELOAD,
	  .choices = listen_choices, .default_port = 7443, .help = "Where agents connect, for example tls:0.0.0.0:7443; "
	  "tls:unix:/run/stile/tunnel-443.sock takes what another service's front hands on (turn.front, ALPN stile-agent/1). "
	  "Without any there is no tunnel, only the relay." },
	{ .name = "accept", .type = &cfg_bool, CFG_AT(struct tunnel_config, accept), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether agents are let in. false closes what tunnel.listen names and disconnects all agents, with their data "
	  "connections; routes go on, and nothing that is known of agents and jobs is lost." },
	{ .name = "password", .type = &cfg_string, CFG_AT(struct tunnel_config, password), .flags = CFG_SECRET | CFG_RELOAD, .min = 8,
	  .max = 255, .help = "Password with which agents may enrol. Without it they need a code of stile tunnel enrol." },
	{ .name = "ports", .type = &cfg_ports, CFG_AT(struct tunnel_config, ports), .flags = CFG_LIST | CFG_BARE | CFG_RELOAD,
	  .def = "20000-29999", .most = WIRE_RANGES_MAX, .help = "Ports that agents may open, unless stile tunnel agents says otherwise of one. Those below 1024 "
	  "must be named here, too, and a port that this server listens on itself is never given." },
	{ .name = "bind", .type = &cfg_ip, CFG_AT(struct tunnel_config, bind), .flags = CFG_RELOAD, .def = "0.0.0.0",
	  .help = "Address of this machine on which the ports of jobs appear, unless the job says otherwise." },
	{ .name = "binds", .type = &cfg_prefix, CFG_AT(struct tunnel_config, binds), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Addresses of this machine that a job may ask for with its bind; none: any." },
	{ .name = "window", .type = &cfg_size, CFG_AT(struct tunnel_config, window), .flags = CFG_RELOAD, .min = 262144, .max = 67108864,
	  .def = "4MiB", .unit = "bytes", .help = "What may be under way each way of one data connection, kept until the other side has "
	  "it: as much as rate times round-trip time." },
	{ .name = "resume", .type = &cfg_duration, CFG_AT(struct tunnel_config, resume_ms), .flags = CFG_RELOAD, .max = 600000, .def = "30s",
	  .help = "How long a data connection whose carrier was lost waits for the agent to go on with it, without a byte lost; its "
	  "job's port is kept for as long as the agent is known. 0: not at all." },
	{ .name = "allow_plain", .type = &cfg_bool, CFG_AT(struct tunnel_config, allow_plain), .flags = CFG_RELOAD, .def = "false",
	  .help = "Whether jobs may have encrypt: false." },
	{ .name = "limits", .sub = &tunnel_limits_schema, CFG_AT(struct tunnel_config, limits), .flags = CFG_RELOAD,
	  .help = "What agents and their jobs may use." },
	{ .name = "direct", .sub = &direct_schema, CFG_AT(struct tunnel_config, direct), .flags = CFG_RELOAD,
	  .help = "Direct links between agents." },
	{ .name = "gateway", .type = &cfg_backend, CFG_AT(struct tunnel_config, gateway), .flags = CFG_RELOAD,
	  .help = "The Unix socket at which stile-gateway asks for what agents share: unix:/run/stile/gateway.sock. Without it browsers "
	  "cannot take part in a share through this server." },
	{ .name = "gateway_url", .type = &cfg_string, CFG_AT(struct tunnel_config, gateway_url), .flags = CFG_RELOAD, .min = 9, .max = 253,
	  .help = "Where browsers reach the gateway, for the links of stile share: https://share.example.org" },
	{ .name = "routes", .sub = &route_schema, CFG_AT(struct tunnel_config, routes), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Routes of the plain relay: a port of this machine leads to a host and port. More can be added while the "
	  "service runs: stile relay route add." },
	{ .name = "records", .sub = &records_schema, CFG_AT(struct tunnel_config, records), .flags = CFG_RELOAD,
	  .help = "What is written about connections." },
	{ .name = "resolve_names", .type = &cfg_bool, CFG_AT(struct tunnel_config, resolve_names), .flags = CFG_RELOAD, .def = "true",
	  .help = "Ask the name server what the sources of TCP connections are called, for records and stile relay connections. No "
	  "connection waits for it, and answers are remembered. Whoever owns an address says what it is called: a name is no proof." },
	{ .name = "workers", .type = &cfg_u64, CFG_AT(struct tunnel_config, workers), .max = 250, .def = "0",
	  .unit = "threads", .help = "Worker threads; 0: one per core." },
	{ .name = "drain", .type = &cfg_duration, CFG_AT(struct tunnel_config, drain_ms), .flags = CFG_RELOAD, .max = 604800000,
	  .def = "0s", .help = "How long a stop (SIGTERM, systemctl stop) waits for connections to end before it ends them; new ones "
	  "are refused meanwhile. 0: not at all." },
	{ .name = "log", .sub = &cfg_log_schema, CFG_AT(struct tunnel_config, log), .flags = CFG_OPTIONAL_MAP | CFG_RELOAD,
	  .help = "Log settings of stile-tunnel alone, instead of those of the log section." },
};
static const struct cfg_schema tunnel_schema = SCHEMA("tunnel", tunnel_rows, sizeof(struct tunnel_config));

static const struct cfg_row root_rows[] = {
	{ .name = "log", .sub = &cfg_log_schema, CFG_AT(struct tunnel_root, log), .flags = CFG_RELOAD,
	  .help = "Where and how much the services log." },
	SERVICE_SANDBOX_ROW(struct tunnel_root),
	{ .name = "store", .sub = &cfg_store_schema, CFG_AT(struct tunnel_root, store),
	  .help = "Where objects are kept that are made while the services run." },
	{ .name = "stun_servers", .type = &cfg_hostport, CFG_AT(struct tunnel_root, stun_servers), .flags = CFG_LIST | CFG_RELOAD, .most = PUBLIC_SERVERS_MAX,
	  .help = "STUN servers outside of this network, to find one's own public address." },
	{ .name = "tunnel", .sub = &tunnel_schema, CFG_AT(struct tunnel_root, tunnel), .help = "The tunnel server and the plain relay." },
};
/* clang-format on */
static const struct cfg_schema root_schema = SCHEMA("stile.yaml", root_rows, sizeof(struct tunnel_root));

static const char *const others[] = { "turn", "agent", "sip", "console", "gateway", "share", NULL };
const struct cfg_root tunnel_cfg_root = { .schema = &root_schema, .other_sections = others };

void tunnel_log_config(const void *values, struct log_config *ret_lc)
{
	const struct tunnel_root *root = values;

	log_section_config(root->tunnel.log ? root->tunnel.log : &root->log, ret_lc);
}

const char *tunnel_store_path(const void *values)
{
	return ((const struct tunnel_root *)values)->store.path;
}

const char *tunnel_records_path(const void *values)
{
	return ((const struct tunnel_root *)values)->tunnel.records.dir;
}

const char *route_listen_name(const struct route_config *c, char buf[static ROUTE_LISTEN_STRLEN])
{
	struct sb out = sb_init(buf, ROUTE_LISTEN_STRLEN);

	cfg_route_listen.print(NULL, &c->listen, &out);
	if (c->udp)
		sb_str(&out, "/udp");
	return buf;
}
